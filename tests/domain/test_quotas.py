"""Quotas of plans, top-ups and resets as operations."""

from datetime import UTC, datetime, timedelta

import pytest

from netd.domain import consumption, plans, quotas, standing
from netd.domain.consumption import NewTopUp, QuotaReset
from netd.domain.quotas import NewQuota, NewStage, NewWindow, QuotaPatch
from netd.errors import Conflict, InvalidInput, NotFound

GB = 10**9
NOW = datetime.now(UTC)
STAGES = (NewStage(percent=100, action="lower", down_bps=2_000_000), NewStage(percent=80, action="notify"))


def new(**members) -> NewQuota:
    return NewQuota(**{"name": "monthly", "unit": "volume", "period": "month", "amount": 100 * GB, "stages": STAGES, **members})


async def test_create_change_and_remove(world, database, actor):
    plan = await world.plan(actor)
    windows = (NewWindow(start="01:00", end="07:00", percent=50, days=("sat", "sun")),)
    made = await quotas.create(database, actor, plan.id, new(free_windows=windows, timezone="Europe/Berlin"))
    assert [(stage.percent, stage.action) for stage in made.stages] == [(80, "notify"), (100, "lower")], "in order of their percentage"
    assert made.free_windows[0].days == ("sat", "sun")
    assert (await quotas.page(database, actor, plan.id, quotas.QuotaQuery())).items == (made,)
    with pytest.raises(Conflict) as caught:
        await quotas.create(database, actor, plan.id, new(name="MONTHLY"))
    assert caught.value.field == "name"
    after = await quotas.update(database, actor, plan.id, made.id, QuotaPatch(amount=GB, stages=()), version=1)
    assert (after.amount, after.stages, after.version) == (GB, (), 2)
    with pytest.raises(Conflict):
        await quotas.update(database, actor, plan.id, made.id, QuotaPatch(amount=GB), version=1)
    with pytest.raises(Conflict, match="quotas"):
        await plans.delete(database, actor, plan.id)
    await quotas.delete(database, actor, plan.id, made.id)
    with pytest.raises(NotFound):
        await quotas.get(database, actor, plan.id, made.id)
    told = [(row.action, row.object_type) for row in await world.audited(actor)][1:]
    assert told == [("quota.create", "quota"), ("quota.update", "quota"), ("quota.delete", "quota")]
    changed = (await world.audited(actor))[2]
    assert changed.before["amount"] == 100 * GB
    assert changed.after == {"amount": GB, "stages": []}


async def test_all_faults_at_once(world, database, actor):
    plan = await world.plan(actor)
    stages = (
        NewStage(percent=80, action="lower"), NewStage(percent=90, action="wall", down_bps=5000),
        NewStage(percent=99, action="notify"), NewStage(percent=99, action="notify"),
    )  # fmt: skip
    windows = (NewWindow(start="01:00", end="01:00"), NewWindow(start="00:00", end="24:01"))
    with pytest.raises(InvalidInput) as caught:
        await quotas.create(database, actor, plan.id, new(unit="time", direction="up", timezone="Mars/Olympus", stages=stages, free_windows=windows))
    assert {fault.where for fault in caught.value.faults} == {
        "/direction", "/timezone", "/stages/0", "/stages/1", "/stages/3", "/free_windows/0", "/free_windows/1",
    }  # fmt: skip


async def test_top_up_and_reset(world, database, actor):
    plan = await world.plan(actor)
    await quotas.create(database, actor, plan.id, new())
    alice = await world.subscriber(actor)
    (before,) = await consumption.standings(database, actor, alice.id, NOW)
    assert (before.used, before.left, before.stage) == (0, 100 * GB, None)
    assert before.starts_at <= NOW < before.ends_at
    given = await consumption.top_up(database, actor, alice.id, NewTopUp(amount=5 * GB, expires_at=NOW + timedelta(days=9), note="bought"), NOW)
    assert (given.standing.left, given.standing.topped_up, given.top_up.created_by) == (105 * GB, 5 * GB, "ann")
    async with database.acquire() as conn:
        await conn.execute("update quota_usage set used = 102000000000, covered = 2000000000, held_percent = 80")
        await conn.execute("update top_ups set used = 2000000000")
    (spent,) = await consumption.standings(database, actor, alice.id, NOW)
    assert spent.stage is not None
    assert (spent.used, spent.left, spent.stage.percent) == (102 * GB, 3 * GB, 80)
    (after,) = await consumption.reset(database, actor, alice.id, QuotaReset(note="outage"), NOW)
    assert (after.used, after.left, after.stage) == (0, 103 * GB, None)
    told = [(row.action, row.before, row.after) for row in await world.audited(actor)][-1]
    assert told == ("subscriber.reset_quota", {"monthly": 102 * GB}, {"monthly": 0, "note": "outage"})
    page = await consumption.top_ups(database, actor, alice.id, consumption.TopUpQuery(count=True))
    assert [(each.amount, each.used, each.note) for each in page.items] == [(5 * GB, 2 * GB, "bought")]
    assert page.total == 1
    with pytest.raises(Conflict, match="1 top-up of quota monthly still has something left"):
        await quotas.delete(database, actor, plan.id, (await quotas.page(database, actor, plan.id, quotas.QuotaQuery())).items[0].id)


async def test_which_quota_is_topped_up(world, database, actor):
    plan = await world.plan(actor)
    alice = await world.subscriber(actor)
    with pytest.raises(InvalidInput, match="has no quota"):
        await consumption.top_up(database, actor, alice.id, NewTopUp(amount=1), NOW)
    await quotas.create(database, actor, plan.id, new())
    await quotas.create(database, actor, plan.id, new(name="daily", period="day"))
    with pytest.raises(InvalidInput, match="monthly, daily"):
        await consumption.top_up(database, actor, alice.id, NewTopUp(amount=1), NOW)
    with pytest.raises(InvalidInput, match="has no quota yearly"):
        await consumption.top_up(database, actor, alice.id, NewTopUp(amount=1, quota="yearly"), NOW)
    with pytest.raises(InvalidInput, match="/expires_at"):
        await consumption.top_up(database, actor, alice.id, NewTopUp(amount=1, quota="daily", expires_at=NOW - timedelta(seconds=1)), NOW)
    given = await consumption.top_up(database, actor, alice.id, NewTopUp(amount=1, quota="DAILY"), NOW)
    assert given.top_up.quota == "daily"
    daily, monthly = sorted(await consumption.standings(database, actor, alice.id, NOW), key=lambda each: each.quota)
    assert (daily.topped_up, monthly.topped_up) == (1, 0)


async def test_the_anniversary_is_that_of_the_last_activation(world, database, actor):
    await world.plan(actor)
    alice = await world.subscriber(actor)

    async def activated_at():
        return (await world.fetch("select activated_at from subscribers"))[0]["activated_at"]

    async with database.acquire() as conn:
        await conn.execute("update subscribers set activated_at = '2026-01-15T00:00Z'")
    await standing.suspend(database, actor, alice.id)
    await standing.restore(database, actor, alice.id)
    assert (await activated_at()).year == 2026
    assert (await activated_at()).day == 15, "a suspension moves nothing"
    await standing.terminate(database, actor, alice.id)
    await standing.reactivate(database, actor, alice.id)
    assert await activated_at() > NOW


async def test_other_tenants_quotas(world, database, actor, stranger):
    plan = await world.plan(actor)
    made = await quotas.create(database, actor, plan.id, new())
    alice = await world.subscriber(actor)
    for attempt in (
        quotas.page(database, stranger, plan.id, quotas.QuotaQuery()),
        quotas.get(database, stranger, plan.id, made.id), quotas.create(database, stranger, plan.id, new()),
        quotas.update(database, stranger, plan.id, made.id, QuotaPatch(amount=1)), quotas.delete(database, stranger, plan.id, made.id),
        consumption.standings(database, stranger, alice.id, NOW), consumption.top_up(database, stranger, alice.id, NewTopUp(amount=1), NOW),
        consumption.reset(database, stranger, alice.id, QuotaReset(), NOW), consumption.top_ups(database, stranger, alice.id, consumption.TopUpQuery()),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await attempt
    assert (await consumption.events(database, stranger, consumption.QuotaEventQuery(count=True))).total == 0
    assert await world.audited(stranger) == []
