"""The change feed: exact under concurrency, quick, and whole again after an outage."""

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Callable
from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest

from netd.errors import StoreError, StoreUnavailable
from netd.model.permission import Scope
from netd.store import feed as module
from netd.store.database import TENANT_ROLE, Connection, Database, connect
from netd.store.feed import Batch, ChangeFeed
from netd.store.migrate import migrate
from netd.store.partitions import ensure
from tests.conftest import PATIENCE_SECONDS

SQL = Path(__file__).resolve().parents[2] / "sql"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed that waits for its connection as long as a busy machine may need."""
    monkeypatch.setattr(module, "connect", functools.partial(connect, timeout_seconds=PATIENCE_SECONDS))


class Reader:
    """Collects what a feed delivers."""

    def __init__(self, dsn: str, poll_seconds: float = 2.0) -> None:
        self.batches: list[Batch] = []
        self.reloads = 0
        self.failures = 0
        self.feed = ChangeFeed(dsn, self.apply, self.reload, poll_seconds)

    async def apply(self, batch: Batch) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("away")
        self.batches.append(batch)

    async def reload(self) -> None:
        self.reloads += 1

    def ids(self, entity: str) -> list[int]:
        return sorted(id_ for batch in self.batches for id_ in batch.changed.get(entity, ()))

    async def until(self, reached: Callable[[], bool], seconds: float = 60.0) -> None:
        async with asyncio.timeout(seconds):
            while not reached():  # noqa: ASYNC110 - what is awaited is a plain list
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(reader: Reader) -> AsyncIterator[None]:
    task = asyncio.create_task(reader.feed.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def add_plan(connection: Connection, name: str) -> int:
    return int(await connection.fetchval("insert into plans (tenant_id, name, down_bps, up_bps) values (1, $1, 1, 1) returning id", name))


async def kill_feeds(connection: Connection) -> None:
    await connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")


async def test_a_transaction_that_commits_late_is_delivered(dsn: str, connection: Connection) -> None:
    reader = Reader(dsn)
    late = await connect(dsn, PATIENCE_SECONDS)
    transaction = late.transaction()
    await transaction.start()
    first = await add_plan(late, "late")
    await reader.feed.start()
    async with running(reader):
        second = await add_plan(connection, "early")
        await reader.until(lambda: reader.ids("plan") == [second])
        assert await reader.feed.settle(60)
        await transaction.commit()
        await reader.until(lambda: reader.ids("plan") == [first, second])
        assert await reader.feed.settle(60)
    assert len(reader.batches) == 2, "a row that was seen is not delivered again"
    assert reader.batches[0].tenants == {1}
    await late.close()


async def test_what_commits_between_start_and_run_is_delivered(dsn: str, connection: Connection) -> None:
    before = await add_plan(connection, "before")
    reader = Reader(dsn)
    await reader.feed.start()
    after = await add_plan(connection, "after")
    async with running(reader):
        await reader.until(lambda: reader.ids("plan") == [after])
    assert before not in reader.ids("plan") and reader.reloads == 0


async def test_a_rolled_back_change_is_never_seen(dsn: str, connection: Connection) -> None:
    reader = Reader(dsn)
    await reader.feed.start()
    async with running(reader):
        transaction = connection.transaction()
        await transaction.start()
        await add_plan(connection, "never")
        await transaction.rollback()
        kept = await add_plan(connection, "kept")
        await reader.until(lambda: bool(reader.batches))
        assert await reader.feed.settle(60)
    assert reader.ids("plan") == [kept]


async def test_notification_is_quick(dsn: str, connection: Connection) -> None:
    reader = Reader(dsn, poll_seconds=3600)
    await reader.feed.start()
    took = []
    async with running(reader):
        assert await reader.feed.settle(60)
        for number in range(20):  # on a busy machine it is quick now and then
            reader.batches.clear()
            started = time.monotonic()
            await add_plan(connection, f"quick{number}")
            await reader.until(lambda: bool(reader.batches))
            took.append(time.monotonic() - started)
            if took[-1] < 0.5:
                break
    assert min(took) < 0.5, took


async def test_poll_finds_what_no_notification_told(dsn: str, connection: Connection) -> None:
    reader = Reader(dsn, poll_seconds=0.1)
    await reader.feed.start()
    async with running(reader):
        await connection.execute("insert into changes (entity, entity_id) values ('nas', 7)")
        await reader.until(lambda: reader.ids("nas") == [7])


async def test_children_name_their_subscriber(dsn: str, connection: Connection) -> None:
    plan = await add_plan(connection, "p")
    subscriber = await connection.fetchval("insert into subscribers (tenant_id, username, username_key, plan_id) values (1, 'u', 'u', $1) returning id", plan)
    reader = Reader(dsn)
    await reader.feed.start()
    async with running(reader):
        for statement in (
            "insert into access_locks (tenant_id, subscriber_id, reason, mode, created_by) values (1, $1, 'admin', 'reject', 't')",
            "insert into radreply (tenant_id, subscriber_id, attribute, value) values (1, $1, 'Class', 'x')",
            "delete from radreply where subscriber_id = $1",
            "delete from subscribers where id = $1",
        ):
            reader.batches.clear()
            await connection.execute(statement, subscriber)
            await reader.until(lambda: reader.ids("subscriber") == [subscriber])
            assert await reader.feed.settle(60)


async def test_a_large_statement_is_one_batch(dsn: str, connection: Connection) -> None:
    plan = await add_plan(connection, "p")
    reader = Reader(dsn)
    await reader.feed.start()
    async with running(reader):
        await connection.execute(
            "insert into subscribers (tenant_id, username, username_key, plan_id) select 1, 'u' || i, 'u' || i, $1 from generate_series(1, 100000) i", plan
        )
        await reader.until(lambda: bool(reader.batches))
        assert await reader.feed.settle(60)
    assert [len(batch.changed["subscriber"]) for batch in reader.batches] == [100000]


async def test_a_lost_connection_is_made_again_and_misses_nothing(dsn: str, connection: Connection) -> None:
    reader = Reader(dsn, poll_seconds=3600)
    await reader.feed.start()
    async with running(reader):
        assert await reader.feed.settle(60)
        await kill_feeds(connection)
        await reader.until(lambda: not reader.feed.up)
        made = await add_plan(connection, "meanwhile")
        await reader.until(lambda: reader.feed.up and reader.ids("plan") == [made])
        assert reader.reloads == 0


async def test_a_transaction_id_given_out_again_after_a_crash_is_not_missed(dsn: str, connection: Connection) -> None:
    reader = Reader(dsn, poll_seconds=3600)
    await reader.feed.start()
    used = await connection.fetchval("select pg_current_xact_id()")
    async with running(reader):
        assert await reader.feed.settle(60)
        # Before the feed is cut off, for it looks once, as soon as it is back. Nobody tells it until then.
        await connection.execute("insert into changes (xid, entity, entity_id) values ($1, 'nas', 9)", used)
        await kill_feeds(connection)
        await reader.until(lambda: reader.ids("nas") == [9])


async def test_a_batch_that_could_not_be_applied_comes_again(dsn: str, connection: Connection) -> None:
    reader = Reader(dsn)
    await reader.feed.start()
    reader.failures = 2
    async with running(reader):
        made = await add_plan(connection, "again")
        await reader.until(lambda: reader.ids("plan") == [made])
    assert reader.reloads == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda position: msgspec.structs.replace(position, xmin=position.xmin + 1000000),
        lambda position: msgspec.structs.replace(position, at=position.at - timedelta(hours=13)),
    ],
)
async def test_a_position_of_no_use_asks_for_a_reload(dsn: str, connection: Connection, change: Callable) -> None:
    reader = Reader(dsn)
    await reader.feed.start()
    reader.feed._position = change(reader.feed._position)
    async with running(reader):
        await reader.until(lambda: reader.reloads == 1)
        made = await add_plan(connection, "after")
        await reader.until(lambda: reader.ids("plan") == [made])
    assert reader.reloads == 1


async def of_another_life(dsn: str) -> Reader:
    """One that has read from a server whose place another one has taken."""
    reader = Reader(dsn)
    await reader.feed.start()
    assert reader.feed._position is not None
    reader.feed._position = msgspec.structs.replace(reader.feed._position, life="1/00000001")
    return reader


async def test_another_life_of_the_server_asks_for_a_reload(dsn: str, connection: Connection) -> None:
    reader = await of_another_life(dsn)
    async with running(reader):
        assert await reader.feed.settle(60)
        assert reader.reloads == 0, "only a new connection can lead to another server"
        await kill_feeds(connection)
        await reader.until(lambda: reader.reloads == 1)


async def test_a_server_that_does_not_say_which_one_it_is_is_asked_again(dsn: str, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes over is slow at first: it may be another one all the same."""
    reader = await of_another_life(dsn)
    async with running(reader):
        assert await reader.feed.settle(60)
        with monkeypatch.context() as slow:
            slow.setattr(module, "_LIFE", "select 1 / 0")
            await kill_feeds(connection)
            await reader.until(lambda: "division by zero" in reader.feed.last_error)
        await reader.until(lambda: reader.reloads == 1)


@pytest.mark.parametrize("made_by", ["itself", "a superuser"])
async def test_an_ordinary_role_that_owns_its_database_is_enough(external_postgres15: str, made_by: str) -> None:
    """The role that the API acts as is made by the migration where the user may make roles, else by a superuser beforehand."""
    admin = await connect(external_postgres15, PATIENCE_SECONDS)
    aside = await admin.fetchval("select exists (select from pg_roles where rolname = 'netd_tenant')")  # of another test's database on this server
    if aside:
        await admin.execute("alter role netd_tenant rename to netd_tenant_aside")
    await admin.execute(f"create role plain login password 'plain' {'createrole' if made_by == 'itself' else ''}")
    await admin.execute("create database plain owner plain")
    url = external_postgres15.replace(external_postgres15.partition("//")[2].partition("@")[0], "plain:plain").replace("/netd", "/plain")
    connection = await connect(url, PATIENCE_SECONDS)
    try:
        assert not await connection.fetchval("select usesuper from pg_user where usename = current_user")
        if made_by == "a superuser":
            with pytest.raises(StoreError, match="as a superuser: create role netd_tenant nologin; grant netd_tenant to plain"):
                await migrate(connection, SQL)
            await admin.execute("create role netd_tenant nologin; grant netd_tenant to plain")
        assert await migrate(connection, SQL)
        await ensure(connection, date(2026, 1, 1))
        reader = Reader(url)
        await reader.feed.start()
        async with running(reader):
            made = await add_plan(connection, "p")
            await reader.until(lambda: reader.ids("plan") == [made])
        confined = await Database.open(url, size=1, role=TENANT_ROLE, acquire_timeout_seconds=PATIENCE_SECONDS)
        async with confined.transaction() as conn:
            assert await conn.fetchval("select count(*) from plans") == 0
        async with confined.transaction(Scope(1)) as conn:
            assert await conn.fetchval("select count(*) from plans") == 1
        await confined.close()
    finally:
        await connection.close()
        await admin.execute("drop database plain with (force)")
        await admin.execute("drop role plain")
        await admin.execute("drop role if exists netd_tenant")
        if aside:
            await admin.execute("alter role netd_tenant_aside rename to netd_tenant")
        await admin.close()


async def test_without_start_it_begins_with_a_reload(dsn: str) -> None:
    reader = Reader(dsn)
    async with running(reader):
        assert await reader.feed.settle(60)
    assert reader.reloads == 1


async def test_it_is_behind_until_what_somebody_waited_for_in_vain_is_applied(dsn: str, connection: Connection) -> None:
    reader = Reader(dsn)
    await reader.feed.start()
    assert not reader.feed.behind
    assert not await reader.feed.settle(0.05) and reader.feed.behind  # nobody reads yet
    reader.failures = 1
    await add_plan(connection, "once more")
    async with running(reader):
        await reader.until(lambda: not reader.feed.behind)
        assert reader.failures == 0 and len(reader.batches) == 1
        assert await reader.feed.settle(60) and not reader.feed.behind


async def test_start_says_when_the_database_is_away(data_dir: object) -> None:
    reader = Reader("postgresql://netd@/netd?host=%2Fnonexistent")
    with pytest.raises(StoreUnavailable):
        await reader.feed.start()
    assert not await reader.feed.settle(0.05)
