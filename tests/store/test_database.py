"""The pool: netd's errors, values as Python has them, bounded waits, and outages that end by themselves."""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import asyncpg
import pytest

from netd.errors import ConfigError, Conflict, StoreError, StoreUnavailable
from netd.store import database as module
from netd.store.database import Connection, Database, arguments, connect, savepoint
from netd.store.embedded import EmbeddedServer
from netd.store.translate import RULES, translated, translating
from tests.conftest import PATIENCE_SECONDS
from tests.garbage import freed_at_once

QUICK = {"fsync": "off", "shared_buffers": "16MB"}


async def until(reached: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not reached():  # noqa: ASYNC110 - what is awaited is a plain attribute
            await asyncio.sleep(0.02)


async def hasty(target: str, size: int, acquire_timeout_seconds: float = 1.0) -> Database:
    """A pool that waits for a second only, opened as often as a busy machine may need."""
    async with asyncio.timeout(120):
        while True:
            try:
                return await Database.open(target, size, command_timeout_seconds=1.0, acquire_timeout_seconds=acquire_timeout_seconds)
            except StoreUnavailable:
                continue


async def test_values(database: Database) -> None:
    async with database.acquire() as connection:
        row = await connection.fetchrow(
            "select '10.0.0.1'::inet a, '10.0.0.0/24'::cidr b, '10.0.0.3/32'::cidr c, '2001:db8::/56'::cidr d, '2001:db8::1'::inet e, $1::jsonb f, now() g,"
            " array['10.0.0.1'::inet] h, pg_current_xact_id() i",
            {"k": [1, None, "é"]},
        )
        assert tuple(row)[:5] == (
            IPv4Address("10.0.0.1"),
            IPv4Network("10.0.0.0/24"),
            IPv4Network("10.0.0.3/32"),
            IPv6Network("2001:db8::/56"),
            IPv6Address("2001:db8::1"),
        )
        assert row["f"] == {"k": [1, None, "é"]} and row["g"].utcoffset().total_seconds() == 0
        assert row["h"] == [IPv4Address("10.0.0.1")] and isinstance(row["i"], int)


async def test_transaction_commits_or_rolls_back(database: Database) -> None:
    async with database.transaction() as connection:
        await add_plan(connection, "kept")
    with pytest.raises(RuntimeError, match="mine"):
        async with database.transaction() as connection:
            await add_plan(connection, "lost")
            raise RuntimeError("mine")
    async with database.acquire() as connection:
        assert [row["name"] for row in await connection.fetch("select name from plans")] == ["kept"]


async def test_who_is_cancelled_while_it_begins_leaves_no_transaction(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    monkeypatch.setattr(module, "_begin", lambda scope: "begin; select pg_sleep(60)")

    async def begin() -> None:
        async with database.transaction():
            pytest.fail("it has begun")

    task = asyncio.create_task(begin())
    async with database.acquire() as connection:
        while not await connection.fetchval("select count(*) from pg_stat_activity where query like 'begin; select pg_sleep%' and state = 'active'"):  # noqa: ASYNC110 - the server's own
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not await connection.fetchval(
            "select count(*) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database() and state like '%in transaction%'"
        )
    assert told == []


async def add_plan(connection: Connection, name: str) -> int:
    return int(await connection.fetchval("insert into plans (tenant_id, name, down_bps, up_bps) values (1, $1, 1, 1) returning id", name))


PLAN = "insert into plans (tenant_id, name, down_bps, up_bps) values (1, 'p', 1, 1)"
SUBSCRIBER = "insert into subscribers (tenant_id, username, username_key, plan_id, ipv4) values (1, 'u', 'u', 1, '10.0.0.1')"
NAS = "insert into nas (tenant_id, nasname, shortname, type, secret) values (1, '10.0.0.1', 'n', 'generic', '')"


@pytest.mark.parametrize(
    ("statements", "field", "said"),
    [
        ([PLAN, PLAN.replace("'p'", "'P'")], "name", "exists"),
        ([PLAN, SUBSCRIBER, SUBSCRIBER.replace("10.0.0.1", "10.0.0.2")], "username", "exists"),
        ([PLAN, SUBSCRIBER, SUBSCRIBER.replace("'u'", "'v'")], "ipv4", "another subscriber"),
        ([SUBSCRIBER], "plan", "does not exist"),
        ([PLAN, SUBSCRIBER, "delete from plans"], "plan", "still have it"),
        ([NAS, NAS.replace("'n'", "'m'")], "address", "another NAS"),
        ([NAS, NAS.replace("10.0.0.1", "10.0.0.2")], "name", "exists"),
        ([PLAN.replace("1, 1)", "0, 1)")], "down_bps", "outside"),
        ([PLAN, SUBSCRIBER, "update subscribers set state = 'gone'"], "state", "outside"),
        ([PLAN, SUBSCRIBER.replace("'10.0.0.1'", "'fe80::1'")], "ipv4", "one IPv4 address"),
    ],
)
async def test_conflicts_name_the_field(database: Database, statements: list[str], field: str, said: str) -> None:
    with pytest.raises(Conflict, match=said) as caught:
        async with database.transaction() as connection:
            for statement in statements:
                await connection.execute(statement)
    assert caught.value.field == field


async def test_every_rule_is_of_a_constraint_that_exists(connection: Connection) -> None:
    """Or of one that a trigger names when it raises; and every unique rule of a table that people write to has a sentence."""
    names = {
        row["name"]
        for row in await connection.fetch(
            "select conname::text as name from pg_constraint union select indexrelid::regclass::text from pg_index where indisunique"
        )
    }
    raised = {
        "leases_fixed_" + row["member"]
        for row in await connection.fetch(
            "select m.member from unnest(array['ipv4', 'ipv6_prefix', 'delegated_ipv6_prefix', 'route']) m (member)"
            " join pg_proc p on p.prosrc like '%netd_fix(%' and strpos(p.prosrc, quote_literal(m.member)) > 0"
        )
    } | {
        row["name"]
        for row in await connection.fetch(
            "select (regexp_matches(prosrc, $$constraint = '([a-z_]+)';$$, 'g'))[1] as name from pg_proc where prosrc like '%raise%'"
        )
    }
    assert set(RULES) <= names | raised
    unique = {
        row["name"]
        for row in await connection.fetch(
            "select i.relname::text as name from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class t on t.oid = x.indrelid"
            " where x.indisunique and not x.indisprimary and t.relname in ('tenants', 'plans', 'subscribers', 'nas', 'access_locks', 'api_tokens')"
            " and i.relname !~ '_tenant_id_id_key$'"
        )
    }
    assert unique <= set(RULES)


async def test_other_refusals_are_store_errors_without_the_row(database: Database) -> None:
    with pytest.raises(StoreError, match="refused a statement") as caught:
        async with database.acquire() as connection:
            await connection.execute("insert into nas (tenant_id, nasname, shortname, secret) values (1, '10.0.0.1', 'n', 'sealed')")
    assert "sealed" not in str(caught.value) and not isinstance(caught.value, Conflict)
    for value, statement in (("hush", "select $1::bigint"), ("hush", "select $1::text::inet")):
        with pytest.raises(StoreError, match="refused a statement: invalid input") as caught:
            async with database.acquire() as connection:
                await connection.fetchval(statement, value)
        assert "hush" not in str(caught.value)
    assert database.up
    assert translated(ValueError("not the database's")) is None
    assert isinstance(translated(asyncpg.DeadlockDetectedError("d")), StoreUnavailable)
    assert isinstance(translated(asyncpg.DiskFullError("d")), StoreUnavailable)


async def refused(database: Database, dedicated: Connection, way: str) -> None:
    if way == "dedicated":
        with translating():
            await dedicated.execute("select 1 / 0")
    async with database.transaction() as connection:
        if way == "savepoint":
            async with savepoint(connection):
                await connection.execute("select 1 / 0")
        await connection.execute("select 1 / 0")


@pytest.mark.parametrize("way", ["acquire", "savepoint", "dedicated"])
async def test_a_refusal_leaves_nothing_to_the_garbage_collector(database: Database, connection: Connection, way: str) -> None:
    """It would keep all that the frames of its traceback hold: a request, a batch."""
    with freed_at_once(StoreError):
        try:
            await refused(database, connection, way)
        except StoreError as error:
            assert "division by zero" in str(error)
        else:
            pytest.fail("it was not refused")


async def test_waits_are_bounded(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database = await hasty(dsn, 1, PATIENCE_SECONDS)
    try:
        with pytest.raises(StoreUnavailable, match="did not answer in time"):
            async with database.acquire() as connection:
                await connection.execute("select pg_sleep(300)")
        async with database.acquire():
            with monkeypatch.context() as brief:
                brief.setattr(database, "_acquire_timeout_seconds", 0.2)
                with pytest.raises(StoreUnavailable, match="became free"):
                    async with database.acquire():
                        pass
        assert database.up, "a slow statement or a busy pool is no outage"
        async with database.acquire() as connection:
            assert await connection.fetchval("select 1", timeout=60) == 1
    finally:
        await database.close()


async def test_a_lost_connection_is_told_and_replaced(database: Database) -> None:
    with pytest.raises(StoreUnavailable, match="went away"):
        async with database.transaction() as connection:
            await add_plan(connection, "lost")
            await end_session(database, connection)
            await connection.fetchval("select 1")
    async with database.acquire() as connection:
        assert await connection.fetchval("select count(*) from plans") == 0
    assert database.up


async def test_losing_the_connection_during_a_commit_is_told_as_such(database: Database) -> None:
    with pytest.raises(StoreUnavailable, match="whether it was committed is unknown"):
        async with database.transaction() as connection:
            await add_plan(connection, "who knows")
            await end_session(database, connection)


async def end_session(database: Database, connection: Connection) -> None:
    async with database.acquire() as other:
        await other.execute("select pg_terminate_backend($1, 60_000)", connection.get_server_pid())


async def test_an_outage_is_seen_and_ends_by_itself(ready_data_dir: Path) -> None:
    server = EmbeddedServer(ready_data_dir, settings=QUICK)
    await server.start()
    database = await Database.open(server.dsn, size=3, acquire_timeout_seconds=PATIENCE_SECONDS)
    await server.stop()
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        async with database.acquire() as connection:
            await connection.fetchval("select 1")
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        async with database.transaction():
            pass
    assert time.monotonic() - started < 30 and not database.up and database.last_error
    async with EmbeddedServer(ready_data_dir, settings=QUICK):
        await until(lambda: database.up, 60)  # nobody asks: the probe finds out
        async with database.acquire() as connection:
            assert await connection.fetchval("select 1") == 1
        await database.close()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_a_frozen_server_hangs_nobody(ready_data_dir: Path) -> None:
    async with EmbeddedServer(ready_data_dir, settings=QUICK) as server:
        database = await hasty(server.dsn, 2)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)  # so that it has no more children
        frozen = [server.pid, *children(server.pid)]
        for pid in frozen[1:]:  # whichever of them the pool has: the probe may have connected, too
            os.kill(pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    async with database.acquire() as connection:
                        await connection.fetchval("select 1")
            assert time.monotonic() - started < 30, "a frozen server never answers"
        finally:
            for pid in reversed(frozen):
                os.kill(pid, signal.SIGCONT)
        await until(lambda: database.up, 60)
        await database.close()


async def test_open_says_when_nothing_answers(data_dir: Path) -> None:
    for url in ("postgresql://netd@127.0.0.1:1/netd", "postgresql://netd@/netd?host=%2Fnonexistent"):
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await Database.open(url)


@pytest.mark.parametrize("url", ["mysql://x/y", "postgresql://u@h:port/netd", "postgresql://h/d?statement_cache_size=many", "postgresql://h/d?sslmode=what"])
async def test_a_wrong_url_is_a_configuration_error_without_the_password(url: str) -> None:
    with pytest.raises(ConfigError, match="database: url") as caught:
        await Database.open(url.replace("u@", "u:hush@"))
    assert "hush" not in str(caught.value)


def test_arguments() -> None:
    found = arguments("postgresql://u@one:5432,two:5433/netd?statement_cache_size=0&sslmode=require")
    assert found == {"dsn": "postgresql://u@one:5432,two:5433/netd?sslmode=require&target_session_attrs=read-write", "statement_cache_size": 0}
    assert "target_session_attrs=any" in arguments("postgresql://u@h/netd?target_session_attrs=any")["dsn"]
    assert arguments({"host": "/run"}) == {"host": "/run"}


async def test_an_external_server_of_several_hosts(external_postgres15: str) -> None:
    host = external_postgres15.partition("@")[2].partition("/")[0]
    url = external_postgres15.replace(host, f"127.0.0.1:1,{host}")
    database = await Database.open(url + "?statement_cache_size=0", acquire_timeout_seconds=PATIENCE_SECONDS)
    async with database.acquire() as connection:
        assert await connection.fetchval("select 1") == 1
        assert connection.get_server_version().major == 15
    await database.close()
    with pytest.raises(StoreUnavailable, match="password authentication failed"):
        await Database.open(url.replace("netd:", "netd:not"), acquire_timeout_seconds=PATIENCE_SECONDS)
    connection = await connect(external_postgres15, PATIENCE_SECONDS)
    assert await connection.fetchval("select $1::jsonb", [1]) == [1]
    await connection.close()


async def test_a_connection_that_the_server_just_ended_is_no_other_error(database: Database, connection: asyncpg.Connection) -> None:
    """Its farewell may have been read when the next statement is sent: asyncpg calls that an internal error."""
    lost = 0
    for pause in itertools.count():
        if pause >= 36 and lost:  # how quick both of them are is the machine's affair: until it came at the wrong moment
            break
        ended: asyncio.Future[str] | None = None
        try:
            async with database.acquire() as used:
                backend = await used.fetchval("select pg_backend_pid()")
            ended = asyncio.ensure_future(connection.execute("select pg_terminate_backend($1)", backend))
            for _ in range(pause % 12):
                await asyncio.sleep(0.0002)
            async with database.acquire() as used:
                await used.fetchval("select 1")
        except StoreUnavailable:
            lost += 1
        if ended is not None:
            await ended
    assert isinstance(translated(asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")), StoreUnavailable)
