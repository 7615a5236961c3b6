"""Samples on their way into the store, with the database there, away and refusing."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from netd.errors import StoreUnavailable
from netd.poll.writer import BIGINT_MAX, Writer, real, whole
from netd.store import timeseries
from netd.store.database import Database

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


class Away:
    """A database that is away until the test says otherwise."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.away = True

    def transaction(self) -> Any:
        if self.away:
            raise StoreUnavailable("away")
        return self.database.transaction()

    def acquire(self) -> Any:
        return self.database.acquire()


@pytest.fixture
async def days(database: Database) -> Database:
    async with database.acquire() as conn:
        await timeseries.ensure(conn, NOW.date())
    return database


def row(number: int, at: datetime = NOW) -> tuple[Any, ...]:
    return (1, number, at, True, 1.0, 60.0)


async def test_an_outage_drops_the_oldest_and_nothing_else(days: Database) -> None:
    away = Away(days)
    writer = Writer(away, lambda: NOW, most_rows=1000)  # type: ignore[arg-type]
    for number in range(1500):
        writer.add("reach_samples", [row(number)])
    await writer.flush()
    assert writer.waiting == 1000 and writer.dropped == {"full": 500, "refused": 0} and not writer.stored
    away.away = False
    await writer.flush()
    assert writer.waiting == 0 and writer.stored == {"reach_samples": 1000}
    async with days.acquire() as conn:
        assert tuple(await conn.fetchrow("select min(device_id), max(device_id), count(*) from reach_samples")) == (500, 1499, 1000)


async def test_what_is_refused_is_counted_and_holds_up_nothing(days: Database) -> None:
    writer = Writer(days, lambda: NOW, most_rows=1000)
    writer.add("reach_samples", [row(1, NOW - timedelta(days=400))])
    writer.add("device_samples", [(1, 1, NOW, 1, None, None, None, None, None, None)])
    await writer.flush()
    assert writer.dropped == {"full": 0, "refused": 1} and writer.stored == {"device_samples": 1} and writer.waiting == 0


async def test_days_that_nobody_made_ahead_are_made_when_their_samples_come(days: Database) -> None:
    """The database was away for days, or the clock was years behind when netd began: the hourly look comes too late."""
    away, today = Away(days), NOW + timedelta(days=6)
    writer = Writer(away, lambda: today, most_rows=1000)  # type: ignore[arg-type]
    for number in range(6 * 24):
        writer.add("reach_samples", [row(1, NOW + timedelta(hours=number))])
    writer.add("optics_samples", [(1, 1, "0/1", None, today, -20.0, None, None, None, None, None, None)])
    await writer.flush()
    assert writer.waiting == 6 * 24 + 1
    away.away = False
    await writer.flush()
    assert writer.waiting == 0 and writer.dropped == {"full": 0, "refused": 0} and writer.stored == {"reach_samples": 6 * 24, "optics_samples": 1}
    async with days.acquire() as conn:
        assert await conn.fetchval("select count(distinct at) from reach_samples") == 6 * 24
        assert await timeseries.roll_up(conn, "5m", today) is not None  # the sums have their places, too


async def test_days_that_somebody_else_made_meanwhile(days: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another node, or this one's hourly look: what was refused for want of them goes in now."""

    async def too_late(conn: Any, day: date) -> list[str]:
        async with days.acquire() as other:
            await made(other, day)
        return await made(conn, day)

    made = timeseries.ensure
    monkeypatch.setattr(timeseries, "ensure", too_late)
    writer = Writer(days, lambda: NOW + timedelta(days=6), most_rows=1000)
    writer.add("reach_samples", [row(1, NOW + timedelta(days=6))])
    await writer.flush()
    assert writer.stored == {"reach_samples": 1} and not writer.waiting


async def test_late_samples_have_their_sums_made_again(days: Database) -> None:
    async with days.acquire() as conn:
        await conn.execute("update rollups set done_until = $1", NOW)
    writer = Writer(days, lambda: NOW, most_rows=1000)
    writer.add("reach_samples", [row(1, NOW - timedelta(minutes=1))])
    await writer.flush()
    async with days.acquire() as conn:
        assert await conn.fetchval("select min(done_until) from rollups") == NOW
        assert await conn.fetchval("select count(*) from rollup_late") == 0
        for ago in (61 * 60, 80):  # what is older than a minute may be of five minutes that are summed up a minute and a half after their end
            writer.add("reach_samples", [row(1, NOW - timedelta(seconds=ago))])
            await writer.flush()
        assert {at for (at,) in await conn.fetch("select at from rollup_late")} == {NOW - timedelta(seconds=61 * 60), NOW - timedelta(seconds=80)}
        for level in timeseries.LEVELS:
            assert await timeseries.roll_up(conn, level, NOW - timedelta(hours=2)) is None
        found = dict(await conn.fetch("select level, done_until from rollups"))
    assert found == {"5m": NOW - timedelta(minutes=65), "1h": NOW - timedelta(hours=2), "1d": NOW - timedelta(hours=12)}


def test_nothing_that_a_device_says_is_refused() -> None:
    assert whole(2**64 - 1) is None and whole(BIGINT_MAX) == BIGINT_MAX and whole(None) is None and whole(1.0) == 1
    assert real(float("nan")) is None and real(float("inf")) is None and real(1e39) is None and real(2) == 2.0 and real(None) is None
