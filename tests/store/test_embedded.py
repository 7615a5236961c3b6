"""The private server: it starts from nothing, lets in nobody else, and lives and dies with its supervisor."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from netd.errors import ConfigError, StoreError
from netd.store import binaries, embedded, placement
from netd.store.account import choose
from netd.store.database import Connection, Database, Target, connect
from netd.store.embedded import EmbeddedServer
from tests.conftest import PATIENCE_SECONDS

QUICK = {"fsync": "off", "shared_buffers": "16MB"}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what root does")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(reached: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not reached():  # noqa: ASYNC110 - nothing here tells
            await asyncio.sleep(0.02)


def user_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def inode(path: Path) -> int:
    return path.stat().st_ino


def remove(folder: Path) -> None:
    folder.rmdir()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def closed_folder(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that only its owner can enter, with a system root for what has to live elsewhere."""
    monkeypatch.setattr(binaries, "SYSTEM_ROOTS", (data_dir / "system",))
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    return closed


async def test_starts_from_nothing_and_keeps_what_it_has(data_dir: Path) -> None:
    async with EmbeddedServer(data_dir) as server:
        assert server.state == "running" and server.pid
        connection = await connect(server.dsn, PATIENCE_SECONDS)
        shown = {
            name: await connection.fetchval(f"show {name}")
            for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums", "listen_addresses", "TimeZone", "server_encoding")
        }
        assert shown == {
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "data_checksums": "on",
            "listen_addresses": "",
            "TimeZone": "UTC",
            "server_encoding": "UTF8",
        }
        await connection.execute("create table kept (id int); insert into kept values (1)")
        await connection.close()
        folder = Path(server.connect_kwargs()["host"])
        assert mode(folder) == 0o700
        assert user_of(server.pid) == choose().uid != 0
        pid = server.pid
    assert not alive(pid)
    async with EmbeddedServer(data_dir) as server:
        connection = await connect(server.connect_kwargs(), PATIENCE_SECONDS)
        assert await connection.fetchval("select id from kept") == 1
        await connection.close()


async def test_a_second_supervisor_is_refused(ready_data_dir: Path) -> None:
    async with EmbeddedServer(ready_data_dir, settings=QUICK) as server:
        second = EmbeddedServer(ready_data_dir, settings=QUICK)
        with pytest.raises(StoreError, match=f"in use by another netd .process {os.getpid()}"):
            await second.start()
        assert second.state == "failed"
        await second.stop()
        assert server.state == "running" and server.pid is not None and alive(server.pid)


async def test_a_killed_server_is_started_again(ready_data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with EmbeddedServer(ready_data_dir, settings=QUICK) as server:
        database = await Database.open(server.dsn, size=2, acquire_timeout_seconds=PATIENCE_SECONDS)
        async with database.acquire() as connection:
            await connection.execute("create table kept (id int)")
            await connection.execute("insert into kept values (1)")
        first = server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        # Not at once, as long as a backend of the old one is there: the new one ends then, and is started once more.
        await until(lambda: server.restarts > 0 and server.state == "running", 120)
        assert server.pid != first and "PostgreSQL ended by itself (killed by SIGKILL)" in caplog.text
        async with database.acquire() as connection:
            assert await connection.fetchval("select id from kept") == 1
        await database.close()


SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from netd.store.database import connect
from netd.store.embedded import EmbeddedServer
async def main():
    async with EmbeddedServer(Path(sys.argv[1])) as server:
        connection = await connect(server.dsn, 60)
        await connection.execute("create table if not exists kept (id int)")
        await connection.execute("insert into kept values (1)")
        print(server.pid, flush=True)
        await asyncio.sleep(3600)
asyncio.run(main())
"""


async def test_kill_9_of_the_supervisor_ends_the_server_and_loses_nothing(ready_data_dir: Path) -> None:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", SUPERVISOR, str(ready_data_dir), stdout=subprocess.PIPE)
    assert child.stdout is not None
    pid = int(await asyncio.wait_for(child.stdout.readline(), 120))
    assert alive(pid)
    child.kill()
    await child.wait()
    async with EmbeddedServer(ready_data_dir, settings=QUICK) as server:  # at once: it waits for the old one to be gone, which nobody but the kernel tells
        assert not alive(pid)
        connection = await connect(server.dsn, PATIENCE_SECONDS)
        assert await connection.fetchval("select count(*) from kept") == 1
        await connection.close()


async def test_a_new_supervisor_waits_for_the_old_server_to_end(ready_data_dir: Path) -> None:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", SUPERVISOR, str(ready_data_dir), stdout=subprocess.PIPE)
    assert child.stdout is not None
    pid = int(await asyncio.wait_for(child.stdout.readline(), 120))
    os.kill(pid, signal.SIGSTOP)
    child.kill()
    await child.wait()
    server = EmbeddedServer(ready_data_dir, settings=QUICK)
    start = asyncio.create_task(server.start())
    await asyncio.sleep(0.5)
    assert not start.done()
    os.kill(pid, signal.SIGCONT)
    await start
    assert server.pid not in (None, pid)
    await server.stop()


async def test_a_folder_that_cannot_be_written_is_told(ready_data_dir: Path) -> None:
    (ready_data_dir / "postgres" / "lock").unlink(missing_ok=True)
    (ready_data_dir / "postgres" / "lock").mkdir()
    with pytest.raises(StoreError, match=r"cannot start: .*lock"):
        await EmbeddedServer(ready_data_dir, settings=QUICK).start()


async def test_stop_gets_stronger_when_the_server_does_not_listen(ready_data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "QUIT_SECONDS", 0.2)
    monkeypatch.setattr(embedded, "KILL_SECONDS", 60.0)
    server = EmbeddedServer(ready_data_dir, settings=QUICK, stop_timeout_seconds=0.2)
    await server.start()
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await server.stop()
    assert not alive(pid) and server.state == "stopped"


@pytest.mark.parametrize(("start", "connect_for"), [(37.0, 37.0), (86_400.0, 60.0)])
async def test_one_that_runs_has_a_minute_of_the_start_to_answer(
    ready_data_dir: Path, monkeypatch: pytest.MonkeyPatch, start: float, connect_for: float
) -> None:  # fmt: skip
    """A busy machine may need longer than a connection otherwise has; to end the server for that makes nothing quicker. What hangs is ended all the same."""
    patience: list[float] = []

    async def connected(target: Target, timeout_seconds: float) -> Connection:
        patience.append(timeout_seconds)
        return await connect(target, timeout_seconds)

    monkeypatch.setattr(embedded, "connect", connected)
    async with EmbeddedServer(ready_data_dir, settings=QUICK, start_timeout_seconds=start):
        assert set(patience) == {connect_for}


async def test_a_server_that_does_not_start_says_why(ready_data_dir: Path) -> None:
    server = EmbeddedServer(ready_data_dir, settings={**QUICK, "max_connections": "many"})
    with pytest.raises(StoreError, match="max_connections"):
        await server.start()
    assert server.state == "failed" and server.pid is None
    async with EmbeddedServer(ready_data_dir, settings=QUICK) as server:
        assert server.state == "running"


async def test_a_cluster_is_run_by_its_own_major_only(data_dir: Path, require_peer: Callable[[str], str]) -> None:
    older = Path(require_peer("/usr/lib/postgresql/15/bin/postgres")).parent
    async with EmbeddedServer(data_dir, bin_dir=str(older), settings=QUICK) as server:
        assert server.version.startswith("15.")
    async with EmbeddedServer(data_dir, settings=QUICK) as server:
        assert server.version.startswith("15."), "the cluster's major, although a newer one is installed"
    wheel = binaries._wheel()
    assert wheel is not None
    with pytest.raises(ConfigError, match=r"PostgreSQL 18\.\d+, but the cluster was made by 15"):
        await EmbeddedServer(data_dir, bin_dir=str(wheel / "pginstall18" / "bin"), settings=QUICK).start()
    version = data_dir / "postgres" / "data" / "PG_VERSION"
    version.write_text("13\n")
    with pytest.raises(ConfigError, match="PostgreSQL 13"):
        await EmbeddedServer(data_dir, settings=QUICK).start()


async def test_no_programs_is_a_configuration_error(data_dir: Path) -> None:
    with pytest.raises(ConfigError, match="bin_dir"):
        await EmbeddedServer(data_dir, bin_dir="/nonexistent", settings=QUICK).start()


async def test_a_long_path_gets_a_short_socket_folder(data_dir: Path) -> None:
    long = data_dir / ("x" * 100)
    async with EmbeddedServer(long, settings=QUICK) as server:
        folder = Path(server.connect_kwargs()["host"])
        assert not folder.is_relative_to(long) and mode(folder) == 0o700
        connection = await connect(server.dsn, PATIENCE_SECONDS)
        await connection.close()
    remove(folder)
    remove(folder.parent)


async def test_a_socket_folder_open_to_others_is_refused(ready_data_dir: Path) -> None:
    run = ready_data_dir / "postgres" / "run"
    run.chmod(0o777)
    with pytest.raises(StoreError, match="with mode 0700"):
        await EmbeddedServer(ready_data_dir, settings=QUICK).start()


@as_root
async def test_nobody_else_gets_in(ready_data_dir: Path) -> None:
    """The server's own account reaches the socket, but is not the one who may log in."""
    async with EmbeddedServer(ready_data_dir, settings=QUICK) as server:
        status, said = await choose().run(server.binaries / "psql", "-h", server.connect_kwargs()["host"], "-U", "netd", "-d", "netd", "-c", "select 1")
        assert status != 0 and "Peer authentication failed" in said
        assert server.connect_kwargs()["user"] == "netd"


@as_root
async def test_a_closed_data_folder_has_its_cluster_elsewhere(closed_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = closed_folder / "data"
    async with EmbeddedServer(data, settings=QUICK) as server:
        home = server.home
        assert (data / "postgres.location").read_text() == f"{home}\n"
        assert home.parent == binaries.SYSTEM_ROOTS[0] / "clusters" and mode(home / "data") == 0o700
        connection = await connect(server.dsn, PATIENCE_SECONDS)
        await connection.execute("create table kept ()")
        await connection.close()
    assert mode(closed_folder) == 0o700
    assert "cannot enter" in caplog.text
    async with EmbeddedServer(data, settings=QUICK) as server:
        connection = await connect(server.dsn, PATIENCE_SECONDS)
        assert await connection.fetchval("select count(*) from kept") == 0
        await connection.close()
    # The data folder went and came back empty: its old database is no longer its, but kept.
    (data / "postgres.location").unlink()
    async with EmbeddedServer(data, settings=QUICK) as server:
        connection = await connect(server.dsn, PATIENCE_SECONDS)
        assert await connection.fetchval("select to_regclass('kept')") is None
        await connection.close()
    assert len(list(home.parent.glob(f"{home.name}.old-*"))) == 1
    # And a cluster that should be there is never replaced by an empty one.
    home.rename(home.with_name("elsewhere"))
    with pytest.raises(ConfigError, match="is not there"):
        await EmbeddedServer(data, settings=QUICK).start()


@as_root
async def test_programs_in_a_closed_folder_are_copied_once(closed_folder: Path, ready_data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = binaries._wheel()
    assert wheel is not None
    for name in (wheel.name, f"{wheel.name}.libs"):
        (closed_folder / name).symlink_to(wheel.parent / name)
    monkeypatch.setattr(binaries, "_wheel", lambda: closed_folder / wheel.name)
    async with EmbeddedServer(ready_data_dir, settings=QUICK) as server:
        assert server.version.startswith("18.") and server.binaries.is_relative_to(binaries.SYSTEM_ROOTS[0])
        copied = inode(server.binaries / "postgres")
    async with EmbeddedServer(ready_data_dir, settings=QUICK) as server:
        assert inode(server.binaries / "postgres") == copied
    assert [path.name.startswith("pgsql-") for path in binaries.SYSTEM_ROOTS[0].iterdir()] == [True]


@as_root
def test_a_system_folder_that_others_can_write_is_not_trusted(closed_folder: Path) -> None:
    root = binaries.SYSTEM_ROOTS[0]
    assert binaries.trusted_root() == root
    root.chmod(0o777)
    with pytest.raises(ConfigError):
        binaries.trusted_root()


def test_the_lock_survives_no_process(data_dir: Path) -> None:
    where = placement.Placement(data_dir, choose())
    where.lock()
    with pytest.raises(StoreError):
        placement.Placement(data_dir, choose()).lock()
    where.unlock()
    placement.Placement(data_dir, choose()).lock()
