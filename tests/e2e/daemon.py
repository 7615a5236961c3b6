"""The real command in a process of its own, as an operator and a service manager see it."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import asyncpg

T = TypeVar("T")

NETD = Path(sys.executable).parent / "netd"
START_SECONDS = 240.0
STOP_SECONDS = 90.0


def eventually(what: Callable[[], T | None], seconds: float = 60.0, step: float = 0.02) -> T:
    """The first true value of ``what``, asked again and again for a while; fails with the last one."""
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, f"still {value!r} after {seconds} s"
        time.sleep(step)
    return value


class Manager:
    """A service manager's end of $NOTIFY_SOCKET: keeps what it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while message := self._socket.recv(65536):
            self.told += message.decode().splitlines()

    def count(self, line: str) -> int:
        """How often it was told ``line``."""
        return self.told.count(line)

    def close(self) -> None:
        """End."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last, contextlib.suppress(OSError):
            last.sendto(b"", str(self.path))
        self._thread.join(5)
        self._socket.close()
        self.path.unlink(missing_ok=True)


class Daemon:
    """``netd serve`` on one data folder; can be started again after its end."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self.settings = settings
        self.program: list[str | Path] = [NETD, "serve"]
        self.process: subprocess.Popen[bytes] | None = None
        self.manager: Manager | None = None
        self.auth_port = self.acct_port = 0
        self.runs = 0

    @property
    def environment(self) -> dict[str, str]:
        """What the daemon and the commands are given: nothing of the caller's but where programs are."""
        return {
            "PATH": os.environ["PATH"], "HOME": str(self.data_dir), "NETD_DATA_DIR": str(self.data_dir), "NETD_RADIUS__ADDRESSES": "127.0.0.1",
            "NETD_COMPILED": os.environ.get("NETD_COMPILED", "auto"),
            "NETD_RADIUS__AUTH_PORT": "0", "NETD_RADIUS__ACCT_PORT": "0", "NETD_RELAY__PORT": "0", "NETD_WEB__PORT": "0", "NETD_LOG__FORMAT": "json",
            "NETD_RADIUS__REJECT_DELAY_SECONDS": "0.1", "NETD_COA__TIMEOUT_SECONDS": "0.3", "NETD_COA__ATTEMPTS": "2", **self.settings,
        }  # fmt: skip

    @property
    def pid(self) -> int:
        """The running process."""
        assert self.process is not None
        return self.process.pid

    @property
    def stdout(self) -> str:
        """What it wrote in all its runs."""
        return "".join(path.read_text() for path in sorted(self.data_dir.glob("stdout.*")))

    @property
    def stderr(self) -> str:
        """What it logged in all its runs."""
        return "".join(path.read_text() for path in sorted(self.data_dir.glob("stderr.*")))

    def launch(self, *arguments: str, managed: bool = True) -> None:
        """Start the process; returns at once."""
        self.runs += 1
        environment = self.environment
        if managed:
            self.manager = Manager(self.data_dir / f"notify.{self.runs}")
            environment |= {"NOTIFY_SOCKET": str(self.manager.path), "WATCHDOG_USEC": "400000"}
        with (self.data_dir / f"stdout.{self.runs}").open("wb") as out, (self.data_dir / f"stderr.{self.runs}").open("wb") as err:
            self.process = subprocess.Popen([*self.program, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd="/")

    def start(self) -> "Daemon":
        """Start it and wait until it says READY."""
        self.launch()
        assert self.process is not None
        assert self.manager is not None
        manager, process = self.manager, self.process
        eventually(lambda: manager.count("READY=1") or process.poll() is not None, START_SECONDS)
        assert manager.count("READY=1") == 1, self.stderr[-3000:]
        line = eventually(lambda: next((line for line in self.log() if line["message"] == "ready"), None))
        self.auth_port, self.acct_port = line["auth_port"], line["acct_port"]
        return self

    def log(self) -> list[dict[str, Any]]:
        """The log of this run."""
        lines = (self.data_dir / f"stderr.{self.runs}").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}\n")]

    def signal(self, number: int) -> None:
        """Send a signal to the daemon alone."""
        os.kill(self.pid, number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Its exit code."""
        assert self.process is not None
        code = self.process.wait(seconds)
        if self.manager is not None:
            self.manager.close()
        return code

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def close(self) -> None:
        """End it if it still runs, and wait until its database has gone."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.wait()
        eventually(lambda: not self.postgres(), STOP_SECONDS)

    # -- as an operator ----------------------------------------------------------------------------------------------

    def command(self, *arguments: str, typed: str | None = None, seconds: float = 240) -> subprocess.CompletedProcess[str]:
        """Run another netd command on this installation."""
        return subprocess.run([NETD, *arguments], input=typed, capture_output=True, text=True, env=self.environment, cwd="/", timeout=seconds, check=False)

    def netd(self, *arguments: str, typed: str | None = None) -> str:
        """The same, which must do; returns what it printed."""
        done = self.command(*arguments, typed=typed)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """The answer of a command with --json."""
        return json.loads(self.netd(*arguments, "--json"))

    @property
    def url(self) -> str:
        """The API's."""
        return (self.data_dir / "api.url").read_text().strip()

    def api(self, method: str, path: str, body: object = None, token: str | None = None) -> tuple[int, bytes]:
        """Status and answer of one request, by default with the admin's token; ``body`` is JSON, text is sent as it is."""
        text = body if isinstance(body, str) else json.dumps(body)
        headers = {"Authorization": f"Bearer {token or (self.data_dir / 'admin.token').read_text().strip()}", "Content-Type": "application/json"}
        request = Request(f"{self.url}{path}", method=method, data=None if body is None else text.encode(), headers=headers)
        try:
            with urlopen(request, timeout=120) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            return error.code, error.read()

    def metric(self, name: str) -> float:
        """The sum of a series at this moment."""
        with urlopen(f"{self.url}/metrics", timeout=120) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.partition(" ")[0].partition("{")[0] == name)

    def caught_up(self, seconds: float = 120.0) -> None:
        """Wait until everything acknowledged is in the tables: nothing waits, in memory or in the journal."""
        eventually(lambda: not any(self.metric(f"netd_radius_accounting_{what}") for what in ("journal_records", "queue")), seconds)

    def make(self, kind: str, **members: Any) -> None:
        """POST an object, which must do: quicker than a command where the command is not what is tested."""
        status, answer = self.api("POST", f"/api/v1/{kind}", members)
        assert status == 201, answer

    # -- as nobody should --------------------------------------------------------------------------------------------

    @property
    def cluster(self) -> Path:
        """The embedded database's home."""
        location = self.data_dir / "postgres.location"
        return Path(location.read_text().strip()) if location.exists() else self.data_dir / "postgres"

    def postmaster(self) -> int:
        """The embedded server's process id, 0 if it does not run."""
        try:
            return int((self.cluster / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return 0

    def postgres(self) -> list[int]:
        """Processes at work in the embedded cluster."""
        found, data = [], str((self.cluster / "data").resolve())
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str((process / "cwd").readlink()) == data:
                    found.append(int(process.name))
        return found

    def sql(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Rows of the database, straight from it."""

        async def ask() -> list[tuple[Any, ...]]:
            url = self.settings.get("NETD_DATABASE__URL")
            where: dict[str, Any] = {"dsn": url} if url else {"host": str(self.cluster / "run"), "user": "netd", "database": "netd", "ssl": False}
            connection = await asyncpg.connect(**where)
            try:
                return [tuple(row) for row in await connection.fetch(query, *arguments)]
            finally:
                await connection.close()

        return asyncio.run(ask())

    def stays_at(self, session: str) -> None:
        """Let the database stand still, as long as it runs, at whoever writes this session down."""
        ((since,),) = self.sql("select pg_postmaster_start_time()::text")
        self.sql(f"""
            create or replace function stay() returns trigger language plpgsql as $$
            begin
                if new.acctsessionid = '{session}' and pg_postmaster_start_time() = '{since}' then perform pg_sleep(3600); end if;
                return new;
            end $$""")
        for table in ("sessions", "radacct"):
            self.sql(f"create or replace trigger stay before insert on {table} for each row execute function stay()")

    def answers(self) -> bool:
        """Whether the database takes statements just now."""
        try:
            return bool(self.sql("select true"))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return False


@contextlib.contextmanager
def daemon(data_dir: Path, **settings: str) -> Iterator[Daemon]:
    """A daemon that is ready."""
    made = Daemon(data_dir, **settings)
    try:
        yield made.start()
    finally:
        made.close()


def furnish(running: Daemon, secret: str = "testing123", password: str = "wonderland") -> None:
    """A plan, the subscriber alice, and the NAS lab at each loopback address that is not another's."""
    running.make("radius/nas", name="lab", address="127.0.0.0/8", secret=secret, vendor="mikrotik")
    running.make("plans", name="home", down_bps=100_000_000, up_bps=20_000_000)
    running.make("subscribers", username="alice", password=password, plan="home")


def one_line(text: str) -> str:
    """The only line of ``text``."""
    assert re.fullmatch(r"[^\n]+\n", text), text
    return text.strip()
