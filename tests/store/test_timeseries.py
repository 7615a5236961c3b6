"""Samples by day, their sums, and what is past keeping."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from netd.errors import StoreError
from netd.store import series, telemetry, timeseries
from netd.store.database import Database

DAY = datetime(2026, 11, 26, tzinfo=UTC)
KEPT = {"raw": 7, "optics": 90, "5m": 45, "1h": 400, "1d": 3650}


@pytest.fixture
async def conn(connection: asyncpg.Connection) -> asyncpg.Connection:
    await timeseries.ensure(connection, DAY.date())
    return connection


async def fill(conn: asyncpg.Connection, minutes: int, *, begin: datetime = DAY, device: int = 1) -> None:
    """A sample a minute: 100, 200, 300 … bit/s in, a tenth of it out; CPU goes up by one per minute; every fifth ping is lost."""
    at = [begin + timedelta(minutes=number) for number in range(minutes)]
    await telemetry.copy(conn, "interface_samples", [
        (1, device, 7, when, 60.0, 100 * n, 10 * n, 1.0 * n, 0.0, 0.5, 0.0, 0.0, 0.0, True, 10_000) for n, when in enumerate(at, 1)
    ])  # fmt: skip
    await telemetry.copy(conn, "device_samples", [(1, device, when, 60 * n, float(n % 100), 25, 100, None, None, None) for n, when in enumerate(at, 1)])
    await telemetry.copy(conn, "reach_samples", [(1, device, when, n % 5 != 0, None if n % 5 == 0 else 2.0, 60.0) for n, when in enumerate(at, 1)])


async def sums(conn: asyncpg.Connection, until: datetime) -> None:
    for level in timeseries.LEVELS:
        while await timeseries.roll_up(conn, level, until):
            continue


async def test_days_and_months_are_made_ahead_once(connection: asyncpg.Connection) -> None:
    made = await timeseries.ensure(connection, date(2026, 11, 30))
    assert {"interface_samples_20261129", "interface_samples_20261202", "interface_1h_202611", "interface_1h_202612", "optics_samples_20261130"} <= set(made)
    assert len(made) == 4 * 7 + 2 * 6
    assert await timeseries.ensure(connection, date(2026, 11, 30)) == []
    assert await timeseries.ensure(connection, date(2026, 12, 1)) != []


async def test_what_is_past_keeping_goes(connection: asyncpg.Connection) -> None:
    for ago in (800, 100, 60, 10, 0):
        await timeseries.ensure(connection, DAY.date() - timedelta(days=ago))
    await timeseries.retire(connection, DAY, KEPT)
    left = {name for (name,) in await connection.fetch("select relname from pg_class where relispartition and relkind = 'r' and relname not like 'radacct%'")}
    oldest = {table: min(name for name in left if name.startswith(f"{table}_2")) for table in timeseries.SPANS}
    assert oldest["interface_samples"] == "interface_samples_20261125" and oldest["interface_5m"] == "interface_5m_20261115"
    assert oldest["optics_samples"] == "optics_samples_20260926" and oldest["reach_1h"] == "reach_1h_202608" and oldest["reach_1d"] == "reach_1d_202409"
    assert await timeseries.retire(connection, DAY, KEPT) == []


async def test_sums_of_five_minutes_an_hour_and_a_day(conn: asyncpg.Connection) -> None:
    await fill(conn, 24 * 60)
    await sums(conn, DAY + timedelta(days=1, minutes=1))
    five = await conn.fetch("select * from interface_5m order by at")
    assert len(five) == 288 and five[0]["at"] == DAY
    first = five[0]
    assert (first["in_bps_avg"], first["in_bps_min"], first["in_bps_max"], first["seconds"], first["speed_bps"]) == (300, 100, 500, 300, 10_000)
    assert first["in_bps_p95"] == 480 and first["out_bps_avg"] == 30 and first["in_errors_avg"] == 0.5
    hour = await conn.fetchrow("select * from interface_1h order by at limit 1")
    assert (hour["in_bps_avg"], hour["in_bps_min"], hour["in_bps_max"]) == (3050, 100, 6000)
    assert hour["in_bps_p95"] == 300 + 500 * 11 * 0.95  # of the twelve averages over five minutes
    day = await conn.fetchrow("select * from interface_1d")
    assert (day["in_bps_avg"], day["in_bps_max"], day["seconds"]) == (72_050, 144_000, 86_400)
    system = await conn.fetchrow("select * from device_1d")
    assert system["samples"] == 1440 and system["memory_percent_avg"] == 25 and system["temperature_celsius_avg"] is None and system["cpu_percent_max"] == 99
    reach = await conn.fetchrow("select * from reach_1d")
    assert (reach["up"], reach["down"], reach["rtt_avg"], reach["rtt_max"]) == (1152, 288, 2.0, 2.0)


async def test_only_what_is_over_is_summed_up_and_late_samples_are_counted_in(conn: asyncpg.Connection) -> None:
    await fill(conn, 12)
    until = DAY + timedelta(minutes=12)
    assert await timeseries.roll_up(conn, "5m", until) == DAY + timedelta(minutes=10)
    assert await timeseries.roll_up(conn, "5m", until) is None
    assert await timeseries.roll_up(conn, "1h", DAY + timedelta(hours=2)) is None  # the five minutes are not that far
    await fill(conn, 5, device=2)
    await conn.execute("update interface_samples set interface_id = 8 where device_id = 2")
    await timeseries.late(conn, DAY + timedelta(minutes=1))
    await sums(conn, until)
    assert [tuple(row) for row in await conn.fetch("select interface_id, in_bps_avg from interface_5m where at = $1 order by 1", DAY)] == [(7, 300), (8, 300)]


class Stopped:
    """A connection: the lock is had, but its answer is lost; that it is to be given back is not heard."""

    def __init__(self, connection: asyncpg.Connection, statement: str) -> None:
        self._connection, self._statement = connection, statement

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    async def fetchval(self, query: str, *arguments: object) -> object:
        done = await self._connection.fetchval(query, *arguments)
        if self._statement in query:
            raise TimeoutError
        return done

    async def execute(self, query: str, *arguments: object, **more: object) -> object:
        if self._statement in query:
            raise TimeoutError
        return await self._connection.execute(query, *arguments, **more)


@pytest.mark.parametrize("statement", ["pg_try_advisory_lock", "pg_advisory_unlock"])
async def test_who_is_stopped_leaves_no_lock_behind(conn: asyncpg.Connection, dsn: str, statement: str) -> None:
    """The connection goes back to a pool, where nobody would let go of it."""
    await fill(conn, 12)
    until, taken = DAY + timedelta(minutes=12), await asyncpg.connect(dsn)
    with pytest.raises(TimeoutError):
        await timeseries.roll_up(Stopped(taken, statement), "5m", until)
    assert taken.is_closed()
    await fill(conn, 2, begin=DAY + timedelta(minutes=12))
    async with asyncio.timeout(60):  # the server buries the session in its own time
        while await conn.fetchval("select count(*) from pg_locks where locktype = 'advisory' and classid = $1::int::oid", timeseries.LOCK_KEY):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await timeseries.late(conn, DAY)
    assert await timeseries.roll_up(conn, "5m", until) is not None


async def test_another_node_at_it_is_left_alone(conn: asyncpg.Connection, dsn: str) -> None:
    await fill(conn, 12)
    other = await asyncpg.connect(dsn)
    try:
        assert await other.fetchval("select pg_try_advisory_lock($1, 300)", timeseries.LOCK_KEY)
        assert await timeseries.roll_up(conn, "5m", DAY + timedelta(minutes=12)) is None
    finally:
        await other.close()
    assert await timeseries.roll_up(conn, "5m", DAY + timedelta(minutes=12)) is not None


async def test_series(conn: asyncpg.Connection) -> None:
    await fill(conn, 60)
    await sums(conn, DAY + timedelta(hours=1))
    await conn.execute("delete from interface_samples where at >= $1 and at < $2", DAY + timedelta(minutes=10), DAY + timedelta(minutes=20))
    end = DAY + timedelta(hours=1)
    raw = await series.interface(conn, 1, 7, "in_bps", "samples", DAY, end, 300)
    assert [row[0].minute for row in raw] == [0, 5, 20, 25, 30, 35, 40, 45, 50, 55] and raw[0][1:] == (300, 100, 500, 480)
    summed = await series.interface(conn, 1, 7, "in_bps", "5m", DAY, end, 900)
    assert len(summed) == 4 and summed[0][1:4] == (800, 100, 1500)
    assert (await series.interface(conn, 1, 7, "in_errors", "5m", DAY, end, 3600))[0][1:4] == (0.5, 0.5, 0.5)
    assert (await series.device(conn, 1, 1, "memory_percent", "samples", DAY, end, 3600))[0][1] == 25
    assert await series.device(conn, 1, 1, "voltage_volts", "samples", DAY, end, 3600) == []
    assert (await series.reach(conn, 1, 1, "samples", DAY, end, 3600))[0][1:] == (80, 60, 2, 2)
    assert (await series.reach(conn, 1, 1, "5m", DAY, end, 3600))[0][1:] == (80, 60, 2, 2)
    assert await series.looks(conn, 1, 1, "5m", DAY, end, 60) == (60, 12, 2, 2, 3600, 720)
    assert await series.looks(conn, 1, 9, "5m", DAY, end, 60) == (0, 0, None, None, 0, 0)
    used = await series.utilisation(conn, 1, 7, "5m", DAY, end)
    assert (used["in_bps_avg"], used["in_bps_max"], used["speed_bps"], used["seconds"]) == (3050, 6000, 10_000, 3600)
    with pytest.raises(ValueError, match="1; drop"):
        await series.device(conn, 1, 1, "1; drop", "samples", DAY, end, 60)
    assert await series.interface(conn, 2, 7, "in_bps", "samples", DAY, end, 300) == []


async def test_the_95th_percentile_is_of_averages_over_five_minutes(conn: asyncpg.Connection) -> None:
    """Of an hour it is what was summed up as that, and not its average; the same over a span, and of gauges."""
    await fill(conn, 24 * 60)
    await sums(conn, DAY + timedelta(days=1, minutes=1))
    hour = 300 + 500 * 11 * 0.95  # of 300, 800, 1300 …
    assert [row[4] for row in await series.interface(conn, 1, 7, "in_bps", "1h", DAY, DAY + timedelta(hours=2), 3600)] == [hour, hour + 6000]
    assert [row[4] for row in await series.interface(conn, 1, 7, "in_bps", "1d", DAY, DAY + timedelta(days=1), 86_400)] == [300 + 500 * 287 * 0.95]
    assert [row[4] for row in await series.interface(conn, 1, 7, "in_bps", "5m", DAY, DAY + timedelta(hours=1), 3600)] == [hour]
    assert [row[4] for row in await series.interface(conn, 1, 7, "in_bps", "5m", DAY, DAY + timedelta(minutes=5), 300)] == [480]  # of five samples
    assert [row[4] for row in await series.interface(conn, 1, 7, "in_pps", "1h", DAY, DAY + timedelta(hours=1), 3600)] == [30.5]
    assert (await series.device(conn, 1, 1, "cpu_percent", "1h", DAY, DAY + timedelta(hours=1), 3600))[0][4] == 3 + 5 * 11 * 0.95
    assert (await series.utilisation(conn, 1, 7, "1d", DAY, DAY + timedelta(days=1)))["in_bps_p95"] == round(300 + 500 * 287 * 0.95)


async def test_each_look_stands_for_as_long_as_looks_did_then(conn: asyncpg.Connection) -> None:
    """An hour asked once a minute and away for half of it, then one asked every ten seconds; looks of before that was kept stand for today's time."""
    later = DAY + timedelta(hours=1)
    await telemetry.copy(conn, "reach_samples", [(1, 1, DAY + timedelta(minutes=n), n >= 30, 1.0, 60.0) for n in range(60)])
    await telemetry.copy(conn, "reach_samples", [(1, 1, later + timedelta(seconds=10 * n), True, 1.0, 10.0) for n in range(360)])
    await telemetry.copy(conn, "reach_samples", [(1, 2, DAY + timedelta(seconds=10 * n), n >= 60, 1.0, None) for n in range(360)])
    await conn.execute("insert into interface_samples (tenant_id, device_id, interface_id, at) values (1, 1, 7, $1)", DAY)
    await sums(conn, DAY + timedelta(days=1, minutes=1))
    for source in ("samples", "5m", "1h", "1d"):
        assert (await series.looks(conn, 1, 1, source, DAY, DAY + timedelta(days=1), 10))[4:] == (7200, 1800), source
        assert (await series.looks(conn, 1, 2, source, DAY, DAY + timedelta(days=1), 10))[4:] == (3600, 600), source


async def test_what_a_wrong_clock_summed_up_holds_up_nothing(conn: asyncpg.Connection) -> None:
    """A node whose clock was a year ahead said that all is summed up until then."""
    await fill(conn, 60)
    await conn.execute("update rollups set done_until = $1", DAY + timedelta(days=365))
    await sums(conn, DAY)
    assert {at for (at,) in await conn.fetch("select done_until from rollups")} == {DAY}
    await sums(conn, DAY + timedelta(hours=1))
    assert await conn.fetchval("select count(*) from interface_5m") == 12
    await sums(conn, DAY + timedelta(minutes=50))  # another node's clock, ten minutes behind
    assert await conn.fetchval("select done_until from rollups where level = '5m'") == DAY + timedelta(hours=1)


async def test_what_comes_while_it_is_summed_up_is_counted_in_the_next_time(conn: asyncpg.Connection, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sums up has looked already, and nobody waits for the other: an hour that the late sample is of is made again after its five minutes."""
    await fill(conn, 65)
    await sums(conn, DAY + timedelta(hours=1))
    await timeseries.late(conn, DAY)
    other, real = await asyncpg.connect(dsn), timeseries._ids
    came: list[str] = []

    async def ids(of: asyncpg.Connection, key: str, source: str, *, whole: bool) -> list[tuple[int, int]]:
        if source == "interface_samples" and not came:  # whether devices were there is summed up by now
            came.append(source)
            async with asyncio.timeout(60), other.transaction():
                await telemetry.copy(other, "reach_samples", [(1, 2, DAY + timedelta(minutes=2), False, None, 60.0)])
                await timeseries.late(other, DAY + timedelta(minutes=2))
            assert await timeseries.roll_up(other, "5m", DAY + timedelta(hours=1)) is None
        return await real(of, key, source, whole=whole)

    monkeypatch.setattr(timeseries, "_ids", ids)
    try:
        assert await timeseries.roll_up(conn, "5m", DAY + timedelta(hours=1)) == DAY + timedelta(minutes=30)
        assert await timeseries.roll_up(other, "1h", DAY + timedelta(hours=1)) is None  # the five minutes are not that far again
    finally:
        await other.close()
    await sums(conn, DAY + timedelta(hours=1))
    for level in ("5m", "1h"):
        assert [row[0] for row in await conn.fetch(f"select device_id from reach_{level} where at = $1 order by 1", DAY)] == [1, 2], level
    assert await conn.fetchval("select count(*) from rollup_late where level <> '1d'") == 0


async def test_who_sums_up_and_fails_lets_others_do_it(conn: asyncpg.Connection, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(conn, 12)
    other = await asyncpg.connect(dsn)
    with monkeypatch.context() as patched:
        patched.setattr(timeseries, "_RESTARTS", "select 1/0 from rollups where $1 < $2::timestamptz")
        with pytest.raises(asyncpg.DivisionByZeroError):
            await timeseries.roll_up(other, "5m", DAY + timedelta(minutes=12))
    assert other.is_closed()
    async with asyncio.timeout(60):
        while await timeseries.roll_up(conn, "5m", DAY + timedelta(minutes=12)) is None:  # noqa: ASYNC110 - the server has to notice
            await asyncio.sleep(0.01)


async def test_many_interfaces_are_summed_up_some_at_a_time(conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day of a quarter of a million interfaces is 72 million sums: one statement would not end in the time that statements have."""
    monkeypatch.setattr(timeseries, "IDS_AT_A_TIME", 2)
    for device in (1, 2, 9):
        await fill(conn, 60, device=device)
    await conn.execute("update interface_samples set interface_id = device_id")
    await sums(conn, DAY + timedelta(days=1))
    for level in ("1h", "1d"):
        found = [tuple(row) for row in await conn.fetch(f"select interface_id, in_bps_avg, seconds from interface_{level} order by 1")]
        assert found == [(each, 3050, 3600) for each in (1, 2, 9)], level
        assert await conn.fetchval(f"select count(*) from device_{level}") == await conn.fetchval(f"select count(*) from reach_{level}") == 3


async def test_days_are_made_while_somebody_reads(connection: asyncpg.Connection, dsn: str) -> None:
    """A backup reads for hours. What is made is indexed like the rest."""
    await timeseries.ensure(connection, DAY.date())
    other = await asyncpg.connect(dsn)
    try:
        async with other.transaction():
            await other.execute("lock table interface_samples, interface_5m, interface_1h in access share mode")
            made = await timeseries.ensure(connection, DAY.date() + timedelta(days=30))
    finally:
        await other.close()
    assert "interface_samples_20261226" in made
    indexes = [row[0] for row in await connection.fetch("select indexdef from pg_indexes where tablename = 'interface_5m_20261226' order by 1")]
    assert len(indexes) == 2 and "UNIQUE INDEX" in indexes[1] and "USING brin (at) WITH (pages_per_range='32', autosummarize='on')" in indexes[0]


async def test_a_day_that_is_not_there_is_refused(database: Database) -> None:
    with pytest.raises(StoreError):
        async with database.transaction() as conn:
            await telemetry.copy(conn, "reach_samples", [(1, 1, DAY - timedelta(days=400), True, None, 60.0)])


async def test_a_few_minutes_are_found_without_reading_the_day(conn: asyncpg.Connection) -> None:
    """Samples come in the order of time: of a day's the index leaves out all but some pages."""
    await conn.execute(
        """insert into interface_samples (tenant_id, device_id, interface_id, at, seconds)
           select 1, 1, n, $1::timestamptz + n * interval '1 second', 60 from generate_series(0, 79999) n""", DAY,
    )  # fmt: skip
    await conn.execute("analyze interface_samples")
    plan = await conn.fetch(
        "explain (analyze, format text) select sum(seconds) from interface_samples where at >= $1 and at < $2",
        DAY + timedelta(hours=9), DAY + timedelta(hours=9, minutes=5),
    )  # fmt: skip
    text = "\n".join(row[0] for row in plan)
    assert f"Bitmap Index Scan on interface_samples_{DAY:%Y%m%d}_at_idx" in text, text
