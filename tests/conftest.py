"""Fixtures for everybody: a real PostgreSQL for the run, a fresh migrated database per test, and peers that must not go missing in CI.

The server is netd's own embedded one (without fsync, to be quick). NETD_TEST_DATABASE_URL switches the whole run to another server:
its user must be allowed to create databases.
"""

import gc
import os

os.environ.setdefault("NETD_COMPILED", "no")  # before netd is imported: the sources are what is tested, unless `make test-compiled` says otherwise

import asyncio
import contextlib
import itertools
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest.mock
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import hypothesis
import pytest

from netd import compiled
from netd.domain import rendering
from netd.errors import StoreUnavailable
from netd.store.database import Database, arguments, connect
from netd.store.embedded import EmbeddedServer
from netd.store.migrate import migrate
from tests.ports import free_port

T = TypeVar("T")

# How long an example takes, or the making of ten, says more of the machine than of what is tested.
hypothesis.settings.register_profile("netd", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("netd")

SQL = Path(__file__).resolve().parent.parent / "sql"
PATIENCE_SECONDS = 60.0
"""So long a busy machine may need for a connection."""

QUICK = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "shared_buffers": "32MB", "autovacuum": "off", "max_connections": "100"}


def pytest_report_header() -> str:
    """Which engine is tested: the sources, or what mypyc made of them. Ends the run if it is not the one asked for."""
    missing = compiled.missing()
    if missing:
        pytest.exit(f"{compiled.VARIABLE}: {missing}", 2)
    return f"netd: compiled engine {'on' if compiled.status().active else 'off'}: {compiled.status().detail}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test logged may hold octets that are no text, on purpose; reports travel between processes as UTF-8."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


MOST_SECOND_TRIES = 3
"""With ``--reruns``: so many failures may be the machine's. More are a defect of the tests or of netd, whatever the second tries say."""


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End a run badly in which too many tests passed at their second try only."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # in a process that xdist made
        return
    tried = len(reporter.stats.get("rerun", ()))
    if tried > MOST_SECOND_TRIES and session.exitstatus == pytest.ExitCode.OK:
        reporter.ensure_newline()
        reporter.write_line(f"{tried} tests needed a second try, and {MOST_SECOND_TRIES} may", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


class Background:
    """An event loop in a thread of its own, so that what lives for the whole run belongs to no test's loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test fixtures", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T], timeout_seconds: float = 110.0) -> T:
        """Run ``work`` to its end there; blocks the caller."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_seconds)

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class Cluster:
    """The server of the run. ``admin_url`` is a database on it from which others can be made."""

    def __init__(self, background: Background, admin_url: str) -> None:
        self._background = background
        self.admin_url = admin_url
        self._numbers = itertools.count(1)
        self._tag = f"{os.getpid()}_{secrets.token_hex(3)}"
        self.template = f"netd_template_{self._tag}"

    def url(self, database: str) -> str:
        """The URL of ``database`` on this server."""
        return urlunsplit(urlsplit(self.admin_url)._replace(path=f"/{database}"))

    def create(self, template: str = "template0") -> str:
        """Make a database; returns its name."""
        name = f"netd_test_{self._tag}_{next(self._numbers)}"
        self._background.call(self._execute(f'create database "{name}" template "{template}" strategy file_copy'))
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self._background.call(self._execute(f'drop database if exists "{name}" with (force)'))

    async def make_template(self) -> None:
        """Make the migrated database that :meth:`create` copies."""
        await self._execute(f'create database "{self.template}"')
        connection = await connect(self.url(self.template), PATIENCE_SECONDS)
        try:
            await migrate(connection, SQL)
        finally:
            await connection.close()

    async def _execute(self, statement: str) -> None:
        connection = await connect(self.admin_url, PATIENCE_SECONDS)
        try:
            async with asyncio.timeout(90):
                while not await self._executed(connection, statement):
                    continue
        finally:
            await connection.close()

    @staticmethod
    async def _executed(connection: asyncpg.Connection, statement: str) -> bool:
        try:
            await connection.execute(statement)
        except asyncpg.ObjectInUseError:  # PostgreSQL gives whoever was told to leave the database five seconds for it
            return False
        return True


@pytest.fixture(scope="session")
def require_peer() -> Callable[[str], str]:
    """``require_peer("radclient")`` -> its path; a program that is missing skips the test on a user's machine and fails it in CI."""

    def require(program: str) -> str:
        found = shutil.which(program)
        if found is None:
            said = f"{program} is not installed"
            if os.environ.get("CI") or os.environ.get("NETD_REQUIRE_PEERS"):
                pytest.fail(said)
            pytest.skip(said)
        return found

    return require


@pytest.fixture(scope="session", autouse=True)
def templates_have_time() -> Iterator[None]:
    """Processes that render templates yield to all else: where every processor is busy, one that only has to begin is not done in half a minute."""
    with unittest.mock.patch.dict(rendering.PATIENCE, dict.fromkeys(rendering.PATIENCE, rendering.Patience(240.0, 600.0, 0))):
        yield


@pytest.fixture
def frozen_heap() -> Iterator[None]:
    """The collector leaves alone what is there, as the daemon has it: what other tests left costs half a second to look through, in whoever's turn that is."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def _quickest() -> Path:
    # A copy of the template is some 300 files: 11 ms in memory, 400 ms on a busy disk. Root's server runs as another user, who must get there.
    memory = Path("/dev/shm")
    roomy = [memory] if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2 << 30 else []
    for place in (*roomy, Path(tempfile.gettempdir()), Path("/var/tmp")):
        if os.geteuid() != 0 or all(folder.stat().st_mode & 0o001 for folder in (place, *place.parents)):
            return place
    return Path(tempfile.gettempdir())


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """A temporary folder that an unprivileged account can enter too (pytest's own are 0700), so that root's clusters stay inside."""
    folder = Path(tempfile.mkdtemp(prefix="netd-test-", dir=_quickest()))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for location in folder.rglob("postgres.location"):  # of a cluster that had to live elsewhere
            shutil.rmtree(location.read_text().strip(), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A fresh data folder for a daemon or an EmbeddedServer, removed afterwards. Use it instead of tmp_path where a cluster is made."""
    with public_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def made_cluster(background: Background) -> Iterator[Path]:
    """A data folder with a stopped cluster."""
    with public_folder() as folder:
        server = EmbeddedServer(folder, settings=QUICK)
        background.call(server.start())
        background.call(server.stop())
        yield folder


@pytest.fixture
def ready_data_dir(made_cluster: Path, data_dir: Path) -> Path:
    """``data_dir`` with a cluster made already: saves initdb where its making is not what is tested."""
    if (made_cluster / "postgres").exists():  # else it lives elsewhere, and each folder makes its own
        subprocess.run(["cp", "-a", made_cluster / "postgres", data_dir], check=True)
    return data_dir


@pytest.fixture(scope="session")
def background() -> Iterator[Background]:
    """The loop of the session's fixtures."""
    running = Background()
    yield running
    running.close()


@pytest.fixture(scope="session")
def cluster(background: Background) -> Iterator[Cluster]:
    """The server of the run, with a migrated template database. Each process of the tests has one of its own: a transaction that is open in any
    database of a server holds events back in all of them."""
    with contextlib.ExitStack() as stack:
        url = os.environ.get("NETD_TEST_DATABASE_URL", "")
        if not url:
            folder = stack.enter_context(public_folder())
            server = EmbeddedServer(folder, settings=QUICK)
            background.call(server.start())
            stack.callback(lambda: background.call(server.stop()))
            url = server.dsn
        made = Cluster(background, url)
        background.call(made.make_template())
        stack.callback(made.drop, made.template)
        yield made


@pytest.fixture
def dsn(cluster: Cluster) -> Iterator[str]:
    """The URL of a fresh migrated database, dropped afterwards."""
    name = cluster.create(cluster.template)
    yield cluster.url(name)
    cluster.drop(name)


@pytest.fixture
def empty_dsn(cluster: Cluster) -> Iterator[str]:
    """The URL of a fresh database without any table."""
    name = cluster.create()
    yield cluster.url(name)
    cluster.drop(name)


@pytest.fixture
def connect_kwargs(dsn: str) -> dict[str, Any]:
    """asyncpg's arguments for the same database as ``dsn``."""
    return arguments(dsn)


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """A pool on a fresh migrated database, whose connections are waited for as long as a busy machine may need."""
    opened = await Database.open(dsn, size=5, acquire_timeout_seconds=PATIENCE_SECONDS)
    yield opened
    await opened.close()


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """One connection to a fresh migrated database."""
    opened = await connect(dsn, PATIENCE_SECONDS)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def external_postgres15(require_peer: Callable[[str], str]) -> Iterator[str]:
    """The URL of a server that netd does not run: the distribution's PostgreSQL 15 on TCP with a password, database netd."""
    programs = Path(require_peer("/usr/lib/postgresql/15/bin/postgres")).parent
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(public_folder())
        password = secrets.token_hex(8)
        (folder / "password").write_text(password)
        user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"] if os.geteuid() == 0 else ["setpriv"]
        (folder / "data").mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(folder / "data", user.pw_uid, user.pw_gid)
        subprocess.run(
            [
                *prefix,
                programs / "initdb",
                "-D",
                folder / "data",
                "-U",
                "netd",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--auth=scram-sha-256",
                f"--pwfile={folder / 'password'}",
                "--no-sync",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
        )
        port = free_port()
        parameters = {
            "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off", "lc_messages": "C", "autovacuum": "off",
        }  # fmt: skip
        options = [part for name, value in parameters.items() for part in ("-c", f"{name}={value}")]
        process = subprocess.Popen([*prefix, "--pdeathsig=INT", programs / "postgres", "-D", folder / "data", *options], stderr=subprocess.DEVNULL, cwd="/")
        stack.callback(process.wait, 60)
        stack.callback(process.send_signal, signal.SIGINT)  # by SIGTERM it would wait for whoever a failed test left connected
        url = f"postgresql://netd:{password}@127.0.0.1:{port}/postgres"
        made = Background()
        stack.callback(made.close)
        made.call(_create_database(url))
        yield f"postgresql://netd:{password}@127.0.0.1:{port}/netd"


async def _create_database(url: str) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            connection = await connect(url)
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            await connection.execute("create database netd")
            await connection.close()
            return
