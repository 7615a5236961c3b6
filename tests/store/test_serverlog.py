"""PostgreSQL's lines at netd's levels."""

import logging

import pytest

from netd.store.serverlog import ServerLog, level_of


@pytest.mark.parametrize(
    ("severity", "backend", "level"),
    [
        ("LOG", "postmaster", logging.INFO),
        ("ERROR", "client backend", logging.DEBUG),
        ("FATAL", "client backend", logging.DEBUG),
        ("ERROR", "checkpointer", logging.ERROR),
        ("PANIC", "client backend", logging.CRITICAL),
        ("WARNING", "autovacuum worker", logging.WARNING),
        ("DEBUG2", "postmaster", logging.DEBUG),
    ],
)
def test_levels(severity: str, backend: str, level: int) -> None:
    assert level_of(severity, backend) == level


def test_pieces_become_lines(caplog: pytest.LogCaptureFixture) -> None:
    lines = ServerLog(logging.getLogger("test.postgres"))
    with caplog.at_level(logging.DEBUG, logger="test.postgres"):
        for piece in (b"checkpointer[7] PA", b'NIC:  could not write\n\tto file "x"\npostgres: no such lib', b"rary\nstartup[8] LOG:  redo\n"):
            lines.feed(piece)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.CRITICAL, "checkpointer: could not write"),
        (logging.CRITICAL, 'to file "x"'),
        (logging.CRITICAL, "postgres: no such library"),
        (logging.INFO, "startup: redo"),
    ]
    assert lines.last[-1] == "LOG: redo"


def test_progress_is_what_a_server_at_work_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ServerLog(logging.getLogger("test.postgres"))
    lines.progress_at = 0.0
    lines.feed(b"client backend[9] FATAL:  the database system is starting up\n")
    assert lines.progress_at == 0.0
    lines.feed(b"startup[8] LOG:  redo in progress, elapsed time: 10.00 s, current LSN: 0/1\n")
    assert lines.progress_at > 0.0


def test_a_line_without_end_is_cut() -> None:
    lines = ServerLog(logging.getLogger("test.postgres"))
    for _ in range(100):
        lines.feed(b"x" * 1000)
    assert len(lines._rest) <= 8192 and all(len(line) <= 8192 for line in lines.last)
