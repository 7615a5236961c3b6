"""The commands of a move, as far as no other server is needed."""

import csv
import sys
from pathlib import Path

import pytest

from netd.cli import freeradius


@pytest.fixture
def source(monkeypatch):
    """Says which password a command would use, and goes no further."""
    given: list[tuple[str, str | None]] = []

    def connect(dsn: str, password: str | None):
        given.append((dsn, password))
        raise SystemExit(9)

    monkeypatch.setattr("netd.freeradius.source.connect", connect)
    return given


def opened(*options: str) -> None:
    from netd.cli import parser

    arguments = parser("import").parse_args(["import", "freeradius", "postgresql://radius@db/radius", *options])
    with pytest.raises(SystemExit):
        freeradius.open_source(arguments)


def test_the_password_comes_from_the_environment_or_a_file(source, monkeypatch, tmp_path: Path):
    opened()
    monkeypatch.setenv("NETD_IMPORT_PASSWORD", "from the environment")
    opened()
    (tmp_path / "password").write_text("from a file\n")
    opened("--password-file", str(tmp_path / "password"))
    assert [password for _, password in source] == [None, "from the environment", "from a file"]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("oracle://u:hushhush@h/d", "write postgresql://"),
        ("postgresql://u:hushhush@127.0.0.1:1/d", "the source database"),
        ("mysql://u:hushhush@127.0.0.1:1/d", "the source database"),
        ("postgresql://u:hush#hush@h:x/d", "write postgresql://"),
        ("postgresql://u:hush/hush@127.0.0.1:1/d", ""),
    ],
)
async def test_a_dsn_that_does_not_work_is_told_without_its_password(netd, where, said):
    done = await netd("import", "freeradius", where, "--dry-run")
    assert done.code in (1, 2)
    assert said in done.err
    assert "hush" not in done.err + done.out
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--users", "u.csv", "--listen", "127.0.0.1:0"],
        ["--listen", "127.0.0.1:0"],
        ["--users", "no such file"],
        ["--users", "u.csv", "--methods", "eap"],
        ["--users", "u.csv", "--attribute", "Nonsense = 1"],
    ],
)
async def test_shadow_says_what_is_missing(netd, tmp_path: Path, options):
    (tmp_path / "secret").write_text("shared\n")
    with (tmp_path / "u.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["username", "password"], ["alice", "hushhush"]])
    line = [str(tmp_path / option) if option == "u.csv" else option for option in options]
    done = await netd("shadow", "--peer", "127.0.0.1:1", "--secret-file", str(tmp_path / "secret"), *line)
    assert done.code == 2, done.err
    assert len(done.err.splitlines()) == 1
    assert "hushhush" not in done.err


async def test_shadow_without_an_answer_is_an_error_not_a_difference(netd, tmp_path: Path):
    (tmp_path / "secret").write_text("shared\n")
    (tmp_path / "u.csv").write_text("username,password\nalice,hushhush\n")
    line = [
        "--peer",
        "127.0.0.1:1",
        "--netd",
        "127.0.0.1:2",
        "--secret-file",
        str(tmp_path / "secret"),
        "--users",
        str(tmp_path / "u.csv"),
        "--timeout",
        "0.05",
    ]
    done = await netd("shadow", *line)
    assert done.code == 2
    assert "no answer came" in done.err


def test_nothing_of_the_move_is_imported_for_other_commands():
    import subprocess

    code = "import sys; from netd.cli import parser; parser('import'); sys.exit('netd.freeradius' in sys.modules or 'asyncpg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_a_plan_s_replies_are_given_repeated_and_emptied(netd):
    made = await netd(
        "plan",
        "add",
        "p",
        "--down",
        "2M",
        "--up",
        "1M",
        "--raw",
        "yes",
        "--reply",
        "Framed-Route := 10.0.0.0/8",
        "--reply",
        "Framed-Route += 10.1.0.0/16",
        "--json",
    )
    assert made.value["raw"] is True
    assert [(row["op"], row["value"]) for row in made.value["replies"]] == [(":=", "10.0.0.0/8"), ("+=", "10.1.0.0/16")]
    changed = await netd("plan", "update", "p", "--raw", "no", "--reply", "none", "--json")
    assert (changed.value["raw"], changed.value["replies"]) == (False, [])
    refused = await netd("plan", "update", "p", "--reply", "Nonsense := 1")
    assert refused.code == 2
    assert "replies/0" in refused.err
    assert (await netd("plan", "update", "p", "--reply", "no operator")).code == 2
