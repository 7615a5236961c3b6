"""The embedded PostgreSQL server: a private child process that lives and dies with netd."""

import asyncio
import contextlib
import logging
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import quote

from netd.errors import NetdError, StoreError, StoreUnavailable
from netd.store.account import ENVIRONMENT
from netd.store.binaries import Binaries, find
from netd.store.database import Connection, connect
from netd.store.placement import SOCKET_NAME, Placement, place, record_location
from netd.store.serverlog import LINE_PREFIX, ServerLog

log = logging.getLogger(__name__)
server_log = logging.getLogger("netd.postgres")

State = Literal["stopped", "starting", "running", "restarting", "stopping", "failed"]

ROLE = DATABASE = "netd"
PORT = SOCKET_NAME.rpartition(".")[2]
FIRST_BACKOFF_SECONDS = 0.2
LONGEST_BACKOFF_SECONDS = 30.0
CONNECT_SECONDS = 60.0  # at the most, to a server that calls itself ready: it is no longer at its recovery, for which a start may have hours
QUIT_SECONDS = 5.0  # for an immediate shutdown
KILL_SECONDS = 5.0  # for the kernel after a kill: as long as the other, but not the same, for here no server is left that could be at something
SETTLED_SECONDS = 60.0  # a server that ran this long was fine: its next restart begins with the first back-off

TUNING = {
    "shared_buffers": "64MB",
    "max_connections": "60",
    "max_wal_size": "512MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
# Never to be overridden: nobody but this process's user gets in, and no statement's text or row reaches the log.
FIXED = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": PORT,
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": LINE_PREFIX,
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "lc_messages": "C",
}


class EmbeddedServer:
    """Supervises one PostgreSQL server: makes the cluster, starts it, restarts it if it dies, stops it.

    Use as an async context manager or by :meth:`start` and :meth:`stop`. The server ends when the thread that started it ends, also by
    kill -9 (parent-death signal): start it from a thread that stays. ``state``, ``since`` (Unix time), ``restarts`` and ``last_error`` tell how it is.
    ``settings`` are PostgreSQL's own, by name. Raises ConfigError (no programs, no account) and StoreError (folder in use, does not start).
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        bin_dir: str = "",
        start_timeout_seconds: float = 60.0,
        stop_timeout_seconds: float = 20.0,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.state: State = "stopped"
        self.since = time.time()
        self.restarts = 0
        self.last_error = ""
        self._bin_dir = bin_dir
        self._start_timeout_seconds = start_timeout_seconds
        self._stop_timeout_seconds = stop_timeout_seconds
        self._settings = dict(settings or {})
        self._placement: Placement | None = None
        self._binaries: Binaries | None = None
        self._socket_folder = Path()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._supervisor: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "EmbeddedServer":
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process id while there is one."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def version(self) -> str:
        """The server's version, empty before it was started."""
        return self._binaries.version if self._binaries is not None else ""

    @property
    def home(self) -> Path:
        """The folder that holds the cluster and its lock."""
        return self._placed.home

    @property
    def binaries(self) -> Path:
        """The folder with the server's programs (pg_dump, psql); known once started."""
        return self._found.folder

    def connect_kwargs(self, database: str = DATABASE) -> dict[str, Any]:
        """Arguments for netd.store.database.Database.open or asyncpg.connect."""
        return {"host": str(self._socket_folder), "port": int(PORT), "user": ROLE, "database": database, "ssl": False}

    @property
    def dsn(self) -> str:
        """The same as a URL."""
        return f"postgresql://{ROLE}@/{DATABASE}?host={quote(str(self._socket_folder), safe='')}&port={PORT}&sslmode=disable"

    async def start(self) -> None:
        """Make the cluster if there is none, start the server, and return when it takes statements."""
        self._set("starting")
        try:
            self._placement = placement = await place(self.data_dir)
            placement.lock()
            self._binaries = await find(placement.account, self._bin_dir, placement.major())
            if placement.major() is None:
                await self._create_cluster()
            record_location(placement, self.data_dir)
            self._socket_folder = await placement.socket_folder()
            await self._launch()
            await self._ensure_database()
        except BaseException as error:
            await self._end()
            if self._placement is not None:
                self._placement.unlock()
            self._set("failed", str(error))
            if isinstance(error, OSError):
                raise StoreError(f"the embedded database cannot start: {error}") from error
            raise
        self._set("running")
        self._supervisor = asyncio.create_task(self._supervise(), name="embedded database")
        log.info("PostgreSQL %s runs in %s as user %s", self.version, self.home, self._placed.account.name)

    async def stop(self) -> None:
        """Stop the server: open transactions are rolled back, all that was committed is on disk. Never raises for a server that is gone."""
        if self.state in ("stopped", "failed"):
            return
        self._set("stopping")
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait([self._supervisor])
            self._supervisor = None
        await self._end()
        self._placed.unlock()
        self._set("stopped")

    @property
    def _placed(self) -> Placement:
        if self._placement is None:
            raise StoreError("the embedded database was not started")
        return self._placement

    @property
    def _found(self) -> Binaries:
        if self._binaries is None:
            raise StoreError("the embedded database was not started")
        return self._binaries

    def _set(self, state: State, error: str = "") -> None:
        self.state, self.since = state, time.time()
        if error:
            self.last_error = error

    async def _create_cluster(self) -> None:
        placement, major = self._placed, self._found.major
        new = placement.home / "data.new"
        if new.exists():  # left by an initdb that was interrupted; the lock says that it is not at work now
            await asyncio.to_thread(shutil.rmtree, new)
        placement.owned_folder(new)
        locale = ["--locale-provider=builtin", "--locale=C.UTF-8"] if major >= 17 else ["--locale=C.UTF-8"]  # builtin: no trouble with glibc's collations
        sync = ["--no-sync"] if self._settings.get("fsync") == "off" else []
        status, output = await placement.account.run(
            self._found.folder / "initdb",
            "-D",
            new,
            "-U",
            ROLE,
            "--encoding=UTF8",
            *locale,
            "--data-checksums",
            "--auth-local=peer",
            "--auth-host=reject",
            "--no-instructions",
            *sync,
        )
        if status != 0:
            await asyncio.to_thread(shutil.rmtree, new, ignore_errors=True)
            raise StoreError(f"initdb failed: {' '.join(output.split())[-500:]}")
        try:
            new.rename(placement.data)
        except OSError as error:
            raise StoreError(f"{placement.data} holds something that is no database: {error.strerror}") from None

    async def _launch(self) -> None:
        """Start the process and wait until it takes statements. On failure no process is left."""
        await self._predecessor_gone()
        placement, found = self._placed, self._found
        owner, role = placement.account.owner, ROLE
        files = {
            "hba_file": placement.write("pg_hba.conf", f"local all,replication {role} peer map=netd\nlocal all all reject\nhost all all all reject\n"),
            "ident_file": placement.write("pg_ident.conf", f'netd "{owner}" {role}\n'),
            "log_startup_progress_interval": f"{max(1, min(10, int(self._start_timeout_seconds / 3)))}s",
        }
        settings = {**TUNING, **self._settings, **FIXED, **{name: str(value) for name, value in files.items()}}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = placement.account.command(found.folder / "postgres", "-D", placement.data, "-k", self._socket_folder, *options, die_with_parent=True)
        # A session of its own: the terminal's Ctrl-C is for netd, which stops the server last.
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,
        )
        self._process = process
        lines = ServerLog(server_log)
        self._reader = asyncio.create_task(_drain(process, lines), name="embedded database log")
        try:
            await self._ready(process, lines)
        except (NetdError, OSError):
            await self._end()
            raise

    async def _ready(self, process: asyncio.subprocess.Process, lines: ServerLog) -> None:
        while self._postmaster() != (process.pid, "ready"):
            if process.returncode is not None:
                await asyncio.sleep(0.05)  # let its last words arrive
                raise StoreError(f"PostgreSQL ended at its start ({_manner(process.returncode)}): {'; '.join(lines.last) or 'it said nothing'}")
            if time.monotonic() - lines.progress_at > self._start_timeout_seconds:
                raise StoreUnavailable(f"PostgreSQL was not ready and silent for {self._start_timeout_seconds:g} s; it said last: {'; '.join(lines.last)}")
            await asyncio.sleep(0.01)
        connection = await self._administer()
        await connection.close()
        if self._postmaster()[0] != process.pid:
            raise StoreError(f"another server than ours answers in {self._socket_folder}")

    def _postmaster(self) -> tuple[int, str]:
        """Process id and status as the server itself wrote them; (0, "") if there is no server."""
        try:
            lines = (self._placed.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return 0, ""
        pid = int(lines[0]) if lines and lines[0].strip("-").isdecimal() else 0
        return pid, lines[7].strip() if len(lines) > 7 else ""

    async def _predecessor_gone(self) -> None:
        # After kill -9 of netd the old server is told to end by the kernel; it may need a moment to write its checkpoint.
        deadline = time.monotonic() + self._start_timeout_seconds
        while (pid := self._postmaster()[0]) and _works_in(pid, self._placed.data):
            if time.monotonic() > deadline:
                raise StoreError(f"process {pid}, an earlier server, still runs in {self._placed.data}")
            await asyncio.sleep(0.05)

    async def _administer(self) -> Connection:
        """Connect; a server that runs is not ended because the machine is busy."""
        return await connect(self.connect_kwargs("postgres"), min(self._start_timeout_seconds, CONNECT_SECONDS))

    async def _ensure_database(self) -> None:
        connection = await self._administer()
        try:
            if not await connection.fetchval("select true from pg_database where datname = $1", DATABASE):
                await connection.execute(f"create database {DATABASE}")
        finally:
            await connection.close()

    async def _supervise(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            process = self._process
            if process is None:
                return
            status = await process.wait()
            if self.state == "running":
                if time.time() - self.since > SETTLED_SECONDS:
                    backoff = FIRST_BACKOFF_SECONDS
                self._set("restarting", f"PostgreSQL ended by itself ({_manner(status)})")
                log.error("%s; starting it again in %.1f s", self.last_error, backoff)
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, LONGEST_BACKOFF_SECONDS)
            self.restarts += 1
            try:
                await self._launch()
            except (NetdError, OSError) as error:
                self.last_error = str(error)
                log.error("PostgreSQL does not start: %s; trying again in %.1f s", error, backoff)
                continue
            self._set("running")
            log.warning("PostgreSQL runs again (restart %d)", self.restarts)

    async def _end(self) -> None:
        """End the process by ever stronger signals: fast shutdown, immediate shutdown, kill."""
        process = self._process
        if process is not None:
            for number, patience in ((signal.SIGINT, self._stop_timeout_seconds), (signal.SIGQUIT, QUIT_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
                if process.returncode is not None:
                    break
                if number is not signal.SIGINT:
                    log.error("PostgreSQL did not stop in time; sending %s", number.name)
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(number)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await process.wait()
        if self._reader is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._reader
            self._reader = None


async def _drain(process: asyncio.subprocess.Process, lines: ServerLog) -> None:
    stream = process.stderr
    while stream is not None and (chunk := await stream.read(65536)):
        lines.feed(chunk)


def _works_in(pid: int, data: Path) -> bool:
    # The server's working folder is its data folder; a recycled process id has another one.
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
    except OSError:
        return False


def _manner(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
