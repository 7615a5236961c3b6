"""Canaries: passwords, shared secrets and tokens that went through the whole daemon are found nowhere afterwards."""

import base64
import contextlib
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.conftest import public_folder
from tests.e2e.daemon import Daemon, daemon
from tests.e2e.device import device, nak
from tests.e2e.radclient import radclient
from tests.e2e.test_radclient import ms_chap_v2

pytestmark = pytest.mark.slow

SIGNED = "Message-Authenticator = 0x00"


def canary(kind: str) -> str:
    """Text that stands nowhere else."""
    return f"{kind}-{secrets.token_hex(8)}"


class Cage:
    """Canaries by what they are."""

    def __init__(self) -> None:
        self.password = canary("pw")
        self.other_password = canary("pw2")
        self.imported_password = canary("csv")
        self.guess = canary("guess")
        self.secret = canary("nas")
        self.other_secret = canary("nas2")
        self.token = ""
        self.bad_token = canary("token")

    def found_in(self, haystack: bytes) -> list[str]:
        """Which of them stand in ``haystack``, as they are or in a common disguise."""
        found = []
        for name, text in vars(self).items():
            plain = text.encode()
            disguises = (plain, plain.hex().encode(), plain.hex().upper().encode(), base64.b64encode(plain)[:-4], plain[::-1], text.encode("utf-16-le"))
            if any(disguise in haystack for disguise in disguises):
                found.append(name)
        return found


def exercise(running: Daemon, cage: Cage, radclient_program: str) -> list[str]:
    """Take the canaries through all that handles them; returns what commands and API said."""
    said = []
    with device("127.0.6.1", cage.secret.encode(), nak(506)) as nas:
        add = ["nas", "add", "lab", "--coa-port", str(nas.port), "--coa-address", nas.address]
        add += ["--address", "127.0.0.0/8", "--secret", "-", "--vendor", "mikrotik"]
        said.append(running.netd(*add, typed=cage.secret))
        said.append(running.command(*add, typed=cage.secret).stderr)  # exists already
        said.append(running.netd("nas", "add", "two", "--address", "127.0.6.2", "--secret", "-", "--vendor", "zte", typed=cage.other_secret))
        said.append(running.netd("plan", "add", "home", "--down", "100M", "--up", "20M"))
        said.append(running.netd("subscriber", "add", "alice", "--password", "-", "--plan", "home", typed=cage.password))
        said.append(running.command("subscriber", "add", "alice", "--password", "-", "--plan", "none", typed=cage.password).stderr)
        said.append(running.netd("subscriber", "add", "bob", "--password", "-", "--plan", "home", typed=cage.guess[:3]))
        said.append(running.netd("subscriber", "set-password", "bob", "--password", "-", typed=cage.other_password))
        csv = f"username,password,plan,ipv4\ncarol,{cage.imported_password},home,\ndave,{cage.imported_password},no such plan,\n"
        (running.data_dir / "in.csv").write_text(csv)
        said.append(running.command("import", "subscribers", str(running.data_dir / "in.csv")).stdout)
        (running.data_dir / "in.csv").unlink()
        cage.token = running.netd("token", "create", "--role", "operator", "--name", "canary").strip().splitlines()[-1].split()[-1]
        api = "/api/v1"
        for token in (cage.token, cage.bad_token):
            for method, path, body in (
                ("GET", "/subscribers", ""), ("POST", "/subscribers", f'{{"username": "eve", "password": "{cage.password}", "plan": 7}}'),
                ("POST", "/subscribers", f'{{"username": "eve", "passwort": "{cage.password}", "plan": "home"}}'),
                ("POST", "/subscribers", f'{{"password": "{cage.password}'),
                ("POST", "/radius/test/auth", f'{{"username": "alice", "password": "{cage.password}"}}'),
                ("POST", "/radius/test/auth", f'{{"username": "alice", "password": "{cage.guess}"}}'), ("GET", "/radius/nas", ""),
            ):  # fmt: skip
                said.append(str(running.api(method, api + path, body or None, token)))
        said.append(str(running.api("GET", f"/metrics?token={cage.bad_token}", token=cage.token)))
        for attribute, password in (("User-Password", cage.password), ("CHAP-Password", cage.password), ("MS-CHAP-Password", cage.password)):
            for text, name in ((password, "Access-Accept"), (cage.guess, "Access-Reject")):
                answer = radclient(radclient_program, running.auth_port, "auth", f'User-Name = "alice", {attribute} = "{text}", {SIGNED}', cage.secret)
                assert answer.name == name, answer.printed
        ms_chap_v2(running, cage.password, cage.secret.encode())
        radclient(radclient_program, running.auth_port, "auth", f'User-Name = "alice", User-Password = "{cage.guess}", {SIGNED}', cage.bad_token, 0.3)
        start = 'User-Name = "alice", Acct-Session-Id = "1", Acct-Status-Type = Start'
        assert radclient(radclient_program, running.acct_port, "acct", start, cage.secret).name == "Accounting-Response"
        said.append(running.command("session", "disconnect", "--username", "alice").stdout)
        for arguments in (("subscriber", "show", "alice"), ("subscriber", "explain", "alice"), ("nas", "show", "lab"), ("token", "list"), ("nas", "list")):
            said += [running.netd(*arguments), running.netd(*arguments, "--json")]
        said.append(running.netd("secret", "rotate"))
        said.append(running.command("check").stdout)
        assert nas.told
    return said


@pytest.fixture(scope="module")
def cage() -> Cage:
    return Cage()


@pytest.fixture(scope="module")
def traces(cage: Cage, made_cluster: Path, radclient_program: str) -> Iterator[tuple[Daemon, dict[str, bytes]]]:
    """The daemon after the exercise, and everything it left, by where."""
    with public_folder() as folder:
        if (made_cluster / "postgres").exists():
            subprocess.run(["cp", "-a", made_cluster / "postgres", folder], check=True)
        with daemon(folder, NETD_LOG__LEVEL="debug") as running:
            left: dict[str, bytes] = {"commands and API": "\n".join(exercise(running, cage, radclient_program)).encode()}
            with urlopen(f"{running.url}/metrics") as answer:
                left["metrics"] = answer.read()
            with urlopen(f"{running.url}/health/ready") as answer:
                left["health"] = answer.read()
            left["process list"] = b"\n".join(command_lines(running))
            running.stop()  # so that what waits in memory is written
            running.start()
            left["tables"] = dump(running)
            assert running.stop() == 0
            left["log"] = running.stderr.encode()
            left["standard output"] = running.stdout.encode()
            yield running, left


def command_lines(running: Daemon) -> list[bytes]:
    """Arguments and, for PostgreSQL, environment of the daemon and of all that it started."""
    lines = [Path(f"/proc/{running.pid}/cmdline").read_bytes()]
    children = running.postgres()
    assert len(children) >= 3
    for child in children:
        with contextlib.suppress(OSError):
            lines += [Path(f"/proc/{child}/{name}").read_bytes() for name in ("cmdline", "environ")]
    return lines


def dump(running: Daemon) -> bytes:
    """Every row of every table as PostgreSQL prints it."""
    tables = running.sql("select quote_ident(relname) from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'")
    texts = [f"{table}: {row}" for (table,) in tables for (row,) in running.sql(f"select t::text from {table} t")]
    return "\n".join(texts).encode()


PLACES = ("commands and API", "metrics", "health", "process list", "tables", "log", "standard output")


@pytest.mark.parametrize("place", PLACES)
def test_no_canary_in(place: str, cage: Cage, traces: tuple[Daemon, dict[str, bytes]]) -> None:
    assert cage.found_in(traces[1][place]) == []


def test_no_canary_in_any_file(cage: Cage, traces: tuple[Daemon, dict[str, bytes]]) -> None:
    """Also not in what PostgreSQL writes before it is a row: its log of changes, its sort files."""
    running, _ = traces
    looked_at = 0
    for folder, _, names in os.walk(running.data_dir):
        for name in names:
            path = Path(folder) / name
            if path.is_file():
                looked_at += 1
                assert cage.found_in(path.read_bytes()) == [], path
    assert looked_at > 500


def test_the_search_finds_what_is_there(cage: Cage, traces: tuple[Daemon, dict[str, bytes]]) -> None:
    _, left = traces
    for place, text in {
        "commands and API": b"alice", "metrics": b'nas="lab"', "process list": b"postgres", "tables": b"alice", "log": b"debug", "health": b"radius",
    }.items():  # fmt: skip
        assert text in left[place], place
    assert b"wrong_password" in left["tables"]
    assert cage.found_in(b"x" + cage.secret.encode().hex().encode() + b"y") == ["secret"]
    assert cage.found_in(base64.b64encode(cage.password.encode())) == ["password"]
    assert len(cage.token) > 40
