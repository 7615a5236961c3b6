"""Quotas from the accounting packet to what the NAS is told: checked at the NAS, which is not ours."""

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyrad import packet as pyrad

from netd.domain import consumption, explain, plans, quotas, subscribers
from netd.domain.consumption import NewTopUp, QuotaReset
from netd.domain.quotas import NewQuota, NewStage, NewWindow, QuotaPatch
from netd.errors import StoreUnavailable
from netd.model.access import Reason
from netd.radius.enforce import Enforcer
from tests.radius.test_enforce import enforcer_of
from tests.radius.world import ACTOR, TestNas, World, eventually, nas_at, world

GB = 10**9
STAGES = (
    NewStage(percent=80, action="notify"),
    NewStage(percent=100, action="lower", down_bps=2_000_000, up_bps=1_000_000),
    NewStage(percent=120, action="wall"),
)


def noon() -> str:
    """A time zone in which it is about noon now: no period ends while a test runs."""
    ahead = 12 - time.gmtime().tm_hour
    return f"Etc/GMT{-ahead:+d}" if ahead else "UTC"


async def with_quota(world: World, plan: str = "home", **members: Any) -> Any:
    found = await plans.by_name(world.db, ACTOR, plan)
    new = NewQuota(**{"name": "monthly", "unit": "volume", "period": "month", "amount": 100 * GB, "timezone": noon(), "stages": STAGES, **members})
    made = await quotas.create(world.db, ACTOR, found.id, new)
    assert await world.running.feed.settle()
    return made


async def alice_of(world: World) -> int:
    return (await subscribers.by_username(world.db, ACTOR, "alice")).id


async def used(device: TestNas, down: int, seconds: int, session: str = "s1", status: str = "Interim-Update", **more: Any) -> bool:
    """Account a session's totals."""
    return await device.account(
        status, session, Acct_Output_Octets=down % 2**32, Acct_Output_Gigawords=down >> 32, Acct_Session_Time=seconds, Event_Timestamp=int(time.time()), **more
    )


async def events(world: World) -> list[tuple[int, str]]:
    page = await consumption.events(world.db, ACTOR, consumption.QuotaEventQuery())
    return [(event.percent, event.action) for event in reversed(page.items)]


async def standing(world: World) -> Any:
    (found,) = await consumption.standings(world.db, ACTOR, await alice_of(world), datetime.now(UTC))
    return found


async def test_stages_one_after_the_other_on_mikrotik(bras: TestNas) -> None:
    world = bras.world
    await with_quota(world)
    await bras.online()
    assert await used(bras, 79 * GB, 100)
    assert await events(world) == []
    assert await used(bras, 80 * GB, 200)
    assert await events(world) == [(80, "notify")]
    assert bras.told == []

    assert await used(bras, 100 * GB, 300)
    await eventually(lambda: bras.told)
    (request,) = bras.told
    assert (request.code, request["Mikrotik-Rate-Limit"]) == (pyrad.CoARequest, ["1M/2M"])
    assert await events(world) == [(80, "notify"), (100, "lower")]
    again = await bras.login()
    assert again is not None
    assert again["Mikrotik-Rate-Limit"] == ["1M/2M"], "a new login does not bring the full rate back"

    given = await consumption.top_up(world.db, ACTOR, await alice_of(world), NewTopUp(amount=50 * GB), datetime.now(UTC))
    assert (given.standing.left, given.standing.stage.percent if given.standing.stage else 0) == (50 * GB, 0)
    await eventually(lambda: len(bras.told) == 2)
    assert bras.told[1]["Mikrotik-Rate-Limit"] == ["20M/100M"], "bought volume brings the full rate back at once"

    assert await used(bras, 150 * GB, 400)
    await eventually(lambda: len(bras.told) == 3)
    assert bras.told[2]["Mikrotik-Rate-Limit"] == ["1M/2M"]
    assert (await standing(world)).top_ups == (), "the top-up is used up"

    assert await used(bras, 181 * GB, 500)
    await eventually(lambda: len(bras.told) == 4)
    assert bras.told[3].code == pyrad.DisconnectRequest, "RouterOS takes no address list by CoA"
    assert await used(bras, 181 * GB, 501, status="Stop")
    walled = await bras.online("s2")
    assert walled["Mikrotik-Address-List"] == ["walled-garden"]
    assert await events(world) == [(80, "notify"), (100, "lower"), (120, "wall")], "each once, though the second was reached twice"
    assert world.running.server.accounting.quotas.crossings == {("1", "notify"): 1, ("1", "lower"): 1, ("1", "wall"): 1}
    told = await explain.explain(world.db, ACTOR, "alice", world.running.probe)
    assert told.reason is Reason.WALLED
    assert "quota monthly: 181.0 GB of 150.0 GB used (120 %), walled until 20" in told.summary

    await consumption.reset(world.db, ACTOR, await alice_of(world), QuotaReset(note="goodwill"), datetime.now(UTC))
    await eventually(lambda: len(bras.told) == 5)
    assert (await standing(world)).used == 0
    async with world.db.acquire() as conn:  # and whoever follows the events hears of it all
        heard = await conn.fetch(
            "select type, data ->> 'percent' as percent, data ->> 'username' as name from events where type like 'quota.%' order by xid, id"
        )
    assert [tuple(each) for each in heard] == [
        ("quota.reached", "80", "alice"), ("quota.reached", "100", "alice"), ("quota.topped_up", None, "alice"), ("quota.reached", "120", "alice"),
        ("quota.reset", None, "alice"),
    ]  # fmt: skip


async def test_a_rate_is_lowered_and_brought_back_on_nokia(daemon: World) -> None:
    await daemon.add_plan()
    await daemon.add_subscriber()
    await with_quota(daemon, stages=(NewStage(percent=100, action="lower", down_bps=2_000_000), NewStage(percent=120, action="block")))
    async with nas_at(daemon, "127.0.0.2", "nokia") as device:
        await device.online()
        assert await used(device, 101 * GB, 100)
        await eventually(lambda: device.told)
        assert device.told[0].code == pyrad.CoARequest
        assert device.told[0]["Alc-Subscriber-QoS-Override"] == ["i:a:root:rate=20000", "i:q:1:pir=20000", "e:r:rate=2000"], "up stays the plan's"
        again = await device.login()
        assert again is not None
        assert again["Alc-Subscriber-QoS-Override"][2] == "e:r:rate=2000"
        await consumption.top_up(daemon.db, ACTOR, await alice_of(daemon), NewTopUp(amount=10 * GB), datetime.now(UTC))
        await eventually(lambda: len(device.told) == 2)
        assert device.told[1]["Alc-Subscriber-QoS-Override"][2] == "e:r:rate=100000"
        assert await used(device, 200 * GB, 200)
        await eventually(lambda: device.told[-1].code == pyrad.DisconnectRequest)
        refused = await device.login()
        assert refused is not None
        assert refused.code == pyrad.AccessReject
        told = await explain.explain(daemon.db, ACTOR, "alice", daemon.running.probe)
        assert (told.accept, told.reason) == (False, Reason.QUOTA)
        assert "blocked until" in told.summary


async def test_the_period_s_end_brings_the_full_rate_back(bras: TestNas) -> None:
    world = bras.world
    await with_quota(world)
    await bras.online()
    assert await used(bras, 100 * GB, 100)
    await eventually(lambda: bras.told)
    enforcer: Enforcer = enforcer_of(world)
    ends_at = (await standing(world)).ends_at.timestamp()
    enforcer.policies.wall_clock = lambda: ends_at - 1
    await asyncio.sleep(0.7)
    assert len(bras.told) == 1, "not a second too early"
    enforcer.policies.wall_clock = lambda: ends_at
    await eventually(lambda: len(bras.told) == 2)
    assert bras.told[1]["Mikrotik-Rate-Limit"] == ["20M/100M"]


async def test_packets_again_and_again_count_once(bras: TestNas) -> None:
    world = bras.world
    await with_quota(world)
    answer = await bras.online()
    class_ = answer["Class"][0]
    steps = [(10 * GB, 100), (30 * GB, 200), (50 * GB, 300)]
    for down, seconds in [*steps, *reversed(steps), *steps]:
        assert await used(bras, down, seconds, Class=class_)
    for _ in range(3):
        assert await used(bras, 60 * GB, 400, status="Stop", Class=class_)
    assert await bras.account("Start", Class=class_)
    found = await standing(world)
    assert (found.used, found.left) == (60 * GB, 40 * GB)
    account = world.running.server.directory.accounts[await alice_of(world)]
    assert [row.used for row in account.newest.values()] == [60 * GB], "memory follows what was committed"


async def test_counters_that_begin_anew_are_added(bras: TestNas) -> None:
    """A NAS that uses an Acct-Session-Id again after a reboot, and beyond 32 bits."""
    world = bras.world
    await with_quota(world)
    begun = int(time.time()) - 5_000

    async def account(status: str, at: int, down: int, seconds: int) -> None:
        assert await bras.account(
            status, Acct_Output_Octets=down % 2**32, Acct_Output_Gigawords=down >> 32, Acct_Session_Time=seconds, Event_Timestamp=begun + at
        )

    await account("Start", 0, 0, 0)
    await account("Interim-Update", 300, 5 * GB, 300)
    await account("Start", 1_000, 0, 0)
    await account("Interim-Update", 1_300, 2 * GB, 300)
    assert (await standing(world)).used == 7 * GB


async def test_a_restart_keeps_it(dsn: str, tmp_path: Path) -> None:
    async with world(dsn, tmp_path) as first:
        await first.add_plan()
        await first.add_subscriber()
        await with_quota(first)
        async with nas_at(first, "127.0.0.2") as device:
            await device.online()
            assert await used(device, 100 * GB, 100)
            await eventually(lambda: device.told)
            port = device.coa_port
    async with world(dsn, tmp_path) as second:
        device = TestNas(second, "127.0.0.2", coa_port=port)
        again = await device.login()
        assert again is not None
        assert again["Mikrotik-Rate-Limit"] == ["1M/2M"]
        assert await used(device, 119 * GB, 200)
        found = await standing(second)
        assert (found.used, found.stage.percent) == (119 * GB, 100)
        assert await events(second) == [(80, "notify"), (100, "lower")]


async def test_a_time_quota_cuts_session_timeout_and_blocks(bras: TestNas) -> None:
    world = bras.world
    await with_quota(world, name="hours", unit="time", period="day", amount=36_000, stages=(NewStage(percent=100, action="block"),))
    answer = await bras.online()
    assert answer["Session-Timeout"] == [36_000]
    assert await used(bras, 0, 6_000)
    again = await bras.login()
    assert again is not None
    assert again["Session-Timeout"] == [30_000], "what is left"
    assert await used(bras, 0, 36_000)
    await eventually(lambda: bras.told)
    assert bras.told[0].code == pyrad.DisconnectRequest
    refused = await bras.login()
    assert refused is not None
    assert refused.code == pyrad.AccessReject


async def test_a_commit_whose_outcome_is_unknown_counts_once_and_memory_learns_of_it(bras: TestNas, monkeypatch: pytest.MonkeyPatch) -> None:
    world = bras.world
    await with_quota(world)
    await bras.online()
    accounting = world.running.server.accounting
    real = accounting.database.transaction
    lost: list[int] = []

    def transaction() -> Any:
        @asynccontextmanager
        async def once() -> Any:
            async with real() as conn:
                yield conn
            if not lost:
                lost.append(1)
                raise StoreUnavailable("the database went away during a commit; whether it was committed is unknown")

        return once()

    with monkeypatch.context() as patch:
        patch.setattr(accounting.database, "transaction", transaction)
        assert await used(bras, 100 * GB, 100)
    assert lost
    assert (await standing(world)).used == 100 * GB
    await eventually(lambda: bras.told)
    assert bras.told[0]["Mikrotik-Rate-Limit"] == ["1M/2M"]


async def test_a_greater_amount_lifts_the_stage_and_a_removed_quota_too(bras: TestNas) -> None:
    world = bras.world
    quota = await with_quota(world)
    await bras.online()
    assert await used(bras, 100 * GB, 100)
    await eventually(lambda: bras.told)
    await quotas.update(world.db, ACTOR, quota.plan_id, quota.id, QuotaPatch(amount=200 * GB))
    await eventually(lambda: len(bras.told) == 2)
    assert bras.told[1]["Mikrotik-Rate-Limit"] == ["20M/100M"]
    await quotas.update(world.db, ACTOR, quota.plan_id, quota.id, QuotaPatch(amount=10 * GB))
    await eventually(lambda: len(bras.told) == 3)
    assert bras.told[2].code == pyrad.DisconnectRequest, "ten times the amount: walled"
    await quotas.delete(world.db, ACTOR, quota.plan_id, quota.id)
    assert await world.running.feed.settle()
    again = await bras.login()
    assert again is not None
    assert again["Mikrotik-Rate-Limit"] == ["20M/100M"]


@pytest.mark.usefixtures("by_notice_only")
async def test_a_crossing_and_a_top_up_wait_for_no_sweep(dsn: str, tmp_path: Path) -> None:
    async with world(dsn, tmp_path) as still:
        await still.add_plan()
        await still.add_subscriber()
        await with_quota(still)
        async with nas_at(still, "127.0.0.2") as device:
            await device.online()
            assert await used(device, 100 * GB, 100)
            await eventually(lambda: device.told)
            await consumption.top_up(still.db, ACTOR, await alice_of(still), NewTopUp(amount=50 * GB), datetime.now(UTC))
            await eventually(lambda: len(device.told) == 2)


async def test_over_a_period_s_end_usage_is_divided_and_what_is_unused_carried_over(bras: TestNas) -> None:
    world = bras.world
    await with_quota(world, period="day", amount=1000, rollover_amount=500, stages=())
    midnight = int((await standing(world)).starts_at.timestamp())

    async def account(status: str, after: int, down: int, session: str = "s1") -> None:
        assert await bras.account(status, session, Acct_Output_Octets=down, Acct_Session_Time=after + 600, Event_Timestamp=midnight + after)

    async def days() -> list[tuple[int, int, int]]:
        async with world.db.acquire() as conn:
            rows = await conn.fetch("select used, carried, version from quota_usage order by starts_at")
        return [(row["used"], row["carried"], row["version"]) for row in rows]

    await account("Start", -600, 0)
    await account("Interim-Update", -300, 300)
    await account("Interim-Update", 300, 900)
    await account("Interim-Update", 300, 900)
    assert await days() == [(600, 0, 2), (300, 400, 1)], "half of the second packet is yesterday's; 400 were left then"
    await account("Start", -600, 0, "s2")
    await account("Stop", -1, 150, "s2")
    assert await days() == [(750, 0, 3), (300, 250, 2)], "a late packet of yesterday leaves less to carry"
    found = await standing(world)
    assert (found.used, found.carried, found.left) == (300, 250, 950)


async def test_a_free_window_counts_nothing(bras: TestNas) -> None:
    world = bras.world
    await with_quota(world, free_windows=(NewWindow(start="00:00", end="24:00", percent=25),))
    await bras.online()
    assert await used(bras, 100 * GB, 100)
    assert (await standing(world)).used == 25 * GB


async def test_the_table_is_the_truth_whatever_memory_has(bras: TestNas) -> None:
    """As if another node had counted: memory that knows nothing neither begins at zero nor tells a stage twice."""
    world = bras.world
    await with_quota(world)
    await bras.online()
    assert await used(bras, 90 * GB, 100)
    world.running.server.directory.accounts.clear()
    assert await used(bras, 95 * GB, 200)
    assert (await standing(world)).used == 95 * GB
    assert await events(world) == [(80, "notify")]
    world.running.server.directory.accounts.clear()
    assert await world.running.server.accounting.quotas.refresh() == {await alice_of(world)}
    assert await used(bras, 100 * GB, 300)
    await eventually(lambda: bras.told)


async def test_packets_and_top_ups_at_the_same_time_wait_for_each_other(bras: TestNas) -> None:
    world = bras.world
    await with_quota(world)
    await bras.online()
    alice = await alice_of(world)

    async def buy() -> None:
        for _ in range(10):
            await consumption.top_up(world.db, ACTOR, alice, NewTopUp(amount=GB), datetime.now(UTC))

    async def use() -> None:
        for step in range(1, 31):
            assert await used(bras, step * GB, step * 10)

    await asyncio.gather(buy(), use())
    found = await standing(world)
    assert (found.used, found.left) == (30 * GB, 80 * GB)


async def test_who_has_no_quota_is_not_asked_for_one(bras: TestNas) -> None:
    """The short way of nearly everybody: nothing is counted, no row is read or written."""
    world = bras.world
    await bras.online()
    assert await used(bras, 100 * GB, 100)
    async with world.db.acquire() as conn:
        assert await conn.fetchval("select count(*) from quota_usage") == 0
    plan = next(iter(world.running.server.directory.plans.values()))
    assert set(plan.grants) == {"mikrotik"}
    await with_quota(world)
    assert plan.grants == {}, "from now on the short way is closed"
