"""Rows that are counted in belong to one writer at a time."""

import asyncpg
import pytest

from netd.model.quota import QuotaUsage, Stage
from netd.store import metering, quotas
from netd.store.database import connect
from tests.conftest import PATIENCE_SECONDS


@pytest.fixture
async def usage(connection):
    """Usage of a subscriber, which is there."""
    plan = await connection.fetchval("insert into plans (tenant_id, name, down_bps, up_bps) values (1, 'p', 1, 1) returning id")
    alice = await connection.fetchval("insert into subscribers (tenant_id, username, username_key, plan_id) values (1, 'a', 'a', $1) returning id", plan)
    quota = await quotas.insert(connection, 1, {"plan_id": plan, "name": "q", "unit": "volume", "period": "day", "amount": 9}, [])
    made = QuotaUsage(tenant_id=1, subscriber_id=alice, quota_id=quota, starts_at=86_400.0, ends_at=172_800.0, amount=9, carried=3)
    await metering.ensure(connection, [made])
    return made


def key(usage):
    return usage.subscriber_id, usage.quota_id, usage.starts_at


async def test_a_row_is_written_as_it_was_counted(connection, usage):
    async with connection.transaction():
        (row,) = await metering.locked(connection, [key(usage)])
        assert row == usage
        row.used, row.used_rest, row.forgiven, row.covered, row.held_percent, row.amount, row.carried = 1 << 40, 99, 5, 6, 120, 10, 4
        await metering.write(connection, [row])
    assert row.version == 1
    assert await metering.usage(connection, [row.subscriber_id]) == [row]
    assert await metering.changed_usage(connection, 60.0) == [row]


async def test_a_row_that_somebody_counts_in_is_waited_for(connection, usage, dsn):
    other = await connect(dsn, PATIENCE_SECONDS)
    try:
        await other.execute("set lock_timeout = '100ms'")
        async with connection.transaction():
            await metering.locked(connection, [key(usage)])
            with pytest.raises(asyncpg.LockNotAvailableError):
                await metering.locked(other, [key(usage)])
        assert len(await metering.locked(other, [key(usage)])) == 1
    finally:
        await other.close()


async def test_making_a_row_again_changes_nothing_and_one_for_nobody_is_left_out(connection, usage):
    nobody = QuotaUsage(tenant_id=1, subscriber_id=10**9, quota_id=usage.quota_id, starts_at=0.0, ends_at=1.0, amount=9)
    again = QuotaUsage(tenant_id=1, subscriber_id=usage.subscriber_id, quota_id=usage.quota_id, starts_at=86_400.0, ends_at=1.0, amount=1)
    await metering.ensure(connection, [again, nobody])
    assert await metering.usage(connection) == [usage]


async def test_the_last_two_periods_are_read(connection, usage):
    later = [QuotaUsage(tenant_id=1, subscriber_id=usage.subscriber_id, quota_id=usage.quota_id, starts_at=at, ends_at=at + 1, amount=9) for at in (2e5, 3e5)]
    await metering.ensure(connection, later)
    assert await metering.usage(connection) == later


async def test_a_stage_is_kept_once(connection, usage):
    stage = Stage(percent=80, action="notify")
    assert await metering.add_events(connection, [(usage, stage, 9)]) == [(1, "notify")]
    assert await metering.add_events(connection, [(usage, stage, 9)]) == []


async def test_top_ups_with_something_left(connection, usage):
    for amount in (5, 7):
        await quotas.add_top_up(connection, 1, usage.subscriber_id, usage.quota_id, amount=amount, expires_at=None, note=None, created_by="ann")
    first, second = await metering.credits(connection, [usage.subscriber_id])
    first.used = 5
    second.used = 1
    await metering.draw(connection, [first, second])
    assert await metering.credits(connection) == [second]
    await connection.execute("update top_ups set expires_at = 'infinity'")
    assert (await metering.credits(connection))[0].expires_at is None
    await connection.execute("update top_ups set expires_at = now()")
    assert await metering.credits(connection) == []
