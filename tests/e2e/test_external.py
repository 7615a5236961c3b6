"""The daemon on the distribution's PostgreSQL 15, which somebody else runs."""

import asyncio
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tests.e2e.daemon import Daemon, daemon, furnish
from tests.e2e.load import Accountant, check_books
from tests.e2e.radclient import radclient

SIGNED = "Message-Authenticator = 0x00"


@pytest.fixture
def external(external_postgres15: str) -> Iterator[str]:
    """The URL of an empty database of ours on that server."""
    name = f"e2e_{secrets.token_hex(4)}"

    async def execute(statement: str) -> None:
        connection = await asyncpg.connect(external_postgres15)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(execute(f"create database {name}"))
    yield urlunsplit(urlsplit(external_postgres15)._replace(path=f"/{name}"))
    asyncio.run(execute(f"drop database {name} with (force)"))


def test_the_main_path(external: str, data_dir: Path, radclient_program: str) -> None:
    with daemon(data_dir, NETD_DATABASE__URL=external) as running:
        assert running.sql("select current_setting('server_version_num')::int / 10000") == [(15,)]
        assert not running.cluster.exists(), "no server of our own"
        furnish(running)

        def ask(command: str, attributes: str) -> str:
            port = running.acct_port if command == "acct" else running.auth_port
            name = radclient(radclient_program, port, command, f'User-Name = "alice", {attributes}').name
            running.caught_up()  # where the database was slow accounting is acknowledged from the journal
            return name

        assert ask("auth", f'User-Password = "wonderland", {SIGNED}') == "Access-Accept"
        assert ask("auth", f'CHAP-Password = "wonderland", {SIGNED}') == "Access-Accept"
        assert ask("auth", f'User-Password = "looking-glass", {SIGNED}') == "Access-Reject"
        for status in ("Start", "Interim-Update"):
            assert ask("acct", f'Acct-Session-Id = "one", Acct-Status-Type = {status}, Acct-Session-Time = 60') == "Accounting-Response"
        assert [session["username"] for session in running.json("session", "list")["items"]] == ["alice"]
        with Accountant("burst") as nas:
            for number in range(50):
                nas.add(number)
            nas.insist(running.acct_port)
            running.signal(signal.SIGKILL)
            running.wait()
            running.start()
            check_books(running, nas)
        assert [session["acct_session_id"] for session in running.json("session", "list")["items"]] == ["one"], "known again after a crash"
        assert ask("acct", 'Acct-Session-Id = "one", Acct-Status-Type = Stop, Acct-Session-Time = 90') == "Accounting-Response"
        assert running.json("session", "list")["items"] == []
        assert running.stop() == 0
        password = urlsplit(external).password
        assert password
        assert password not in running.stdout + running.stderr


def test_check_finds_the_database_in_order(external: str, data_dir: Path) -> None:
    command = Daemon(data_dir, NETD_DATABASE__URL=external)
    assert "applied" in command.netd("migrate")
    assert "nothing to apply" in command.netd("migrate")
    assert "the schema is up to date" in command.netd("check")
