"""Access hours and the end of a subscription, end to end: what a NAS is told, and when a live session is ended."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyrad import packet as pyrad

from netd.domain import attempts, explain, plans, subscribers
from netd.domain.attempts import AttemptQuery
from netd.radius.enforce import Enforcer
from tests.radius.world import ACTOR, TestNas, World, eventually

DAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")


def from_now(begin_minutes: int, end_minutes: int) -> tuple[str, datetime, float]:
    """Hours (UTC) from so many whole minutes before or after this one, their begin, and Unix time of their end."""
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    begin, end = minute + timedelta(minutes=begin_minutes), minute + timedelta(minutes=end_minutes)
    return f"{DAYS[begin.weekday()]} {begin:%H:%M}-{end:%H:%M}", begin, end.timestamp()


async def change_plan(world: World, **members: Any) -> None:
    plan = await plans.by_name(world.db, ACTOR, "home")
    await plans.update(world.db, ACTOR, plan.id, plans.PlanPatch(**members))
    assert await world.running.feed.settle()


async def change(world: World, **members: Any) -> None:
    alice = await subscribers.by_username(world.db, ACTOR, "alice")
    patch = subscribers.SubscriberPatch(**members)
    await subscribers.update(world.db, ACTOR, world.running.keyring, alice.id, patch, world.running.server.directory.rows)
    assert await world.running.feed.settle()


def enforcer_of(world: World) -> Enforcer:
    found = world.running.server.accounting.on_open.__self__  # type: ignore[attr-defined]
    assert isinstance(found, Enforcer)
    return found


async def ends_at(bras: TestNas, end: float) -> pyrad.Packet:
    """Log in; the Session-Timeout is within a second of ``end`` and never beyond it."""
    begun = time.time()
    answer = await bras.login()
    ended = time.time()
    assert answer is not None
    assert answer.code == pyrad.AccessAccept
    assert end - ended - 1 <= answer["Session-Timeout"][0] <= end - begun
    return answer


async def code(bras: TestNas) -> int:
    answer = await bras.login()
    assert answer is not None
    return int(answer.code)


async def recorded(world: World) -> tuple[str, str | None]:
    """Reason and detail of the newest attempt that is written."""
    page = await attempts.page(world.db, ACTOR, AttemptQuery(username="alice", limit=1))
    return (page.items[0].reason.value, page.items[0].detail) if page.items else ("", None)


async def test_the_session_timeout_ends_with_the_hours(bras: TestNas) -> None:
    hours, _, end = from_now(-60, 20)
    await change_plan(bras.world, access_hours=hours, session_timeout_seconds=86_400)
    answer = await ends_at(bras, end)
    assert answer["Mikrotik-Rate-Limit"] == ["20M/100M"]
    await change_plan(bras.world, session_timeout_seconds=600)
    answer = await bras.login()
    assert answer is not None
    assert answer["Session-Timeout"] == [600], "what is shorter stays"
    soon = datetime.now(UTC) + timedelta(minutes=5)
    await change(bras.world, expires_at=soon)
    await ends_at(bras, soon.timestamp())


async def test_outside_the_hours_is_rejected_and_told(bras: TestNas) -> None:
    world = bras.world
    hours, begin, _ = from_now(30, 90)
    await change_plan(world, access_hours=hours, time_zone="Asia/Kolkata")
    assert await code(bras) == pyrad.AccessReject, "the same wall clock, another zone"
    await change_plan(world, access_hours=hours, time_zone=None)
    assert await code(bras) == pyrad.AccessReject
    opens = begin.strftime("opens %Y-%m-%dT%H:%M+00:00 UTC")

    async def both() -> bool:
        return (await recorded(world)) == ("outside_hours", opens)

    await eventually(both)
    told = await explain.explain(world.db, ACTOR, "alice", world.running.probe)
    assert (told.accept, told.reason.value, told.detail) == (False, "outside_hours", opens)
    assert opens in told.summary


async def test_a_subscribers_own_hours_stand_in_place_of_the_plans(bras: TestNas) -> None:
    world = bras.world
    closed, _, _ = from_now(30, 90)
    await change_plan(world, access_hours=closed)
    await change(world, access_hours="Al")
    answer = await bras.login()
    assert answer is not None
    assert answer.code == pyrad.AccessAccept
    assert "Session-Timeout" not in answer
    open_, _, end = from_now(-5, 10)
    await change(world, access_hours=open_)
    await ends_at(bras, end)
    await change(world, access_hours=None)
    assert await code(bras) == pyrad.AccessReject


@pytest.mark.usefixtures("by_notice_only")
async def test_other_hours_reach_a_live_session_at_once(bras: TestNas) -> None:
    world = bras.world
    open_, _, _ = from_now(-60, 60)
    await change_plan(world, access_hours=open_)
    await bras.online()
    closed, _, _ = from_now(30, 90)
    await change_plan(world, access_hours=closed)
    await eventually(lambda: bras.told)
    assert bras.told[0].code == pyrad.DisconnectRequest


async def test_a_session_that_its_nas_did_not_end_is_ended_at_the_end_of_the_hours(bras: TestNas) -> None:
    world = bras.world
    hours, _, end = from_now(-60, 20)
    await change(world, access_hours=hours)
    await bras.online()
    enforcer = enforcer_of(world)
    enforcer.policies.wall_clock = lambda: end - 0.5
    for live in list(enforcer.sessions.by_id.values()):
        assert not enforcer.consider(live), "not before"
    assert bras.told == []
    enforcer.policies.wall_clock = lambda: end
    await eventually(lambda: bras.told)
    assert bras.told[0].code == pyrad.DisconnectRequest

    async def told() -> bool:
        (session,) = await world.sessions()
        return "outside_hours (opens" in (session.enforce_detail or "")

    await eventually(told)


async def test_a_subscription_that_is_cut_short_ends_the_live_session(bras: TestNas) -> None:
    world = bras.world
    await bras.online()
    soon = datetime.now(UTC) + timedelta(minutes=10)
    await change(world, expires_at=soon)
    await ends_at(bras, soon.timestamp())
    assert bras.told == [], "it is paid until then"
    enforcer_of(world).policies.wall_clock = soon.timestamp
    await eventually(lambda: bras.told)
    assert bras.told[0].code == pyrad.DisconnectRequest


@pytest.mark.usefixtures("by_notice_only")
async def test_a_subscription_that_is_over_ends_the_live_session_at_once(bras: TestNas) -> None:
    await bras.online()
    await change(bras.world, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    await eventually(lambda: bras.told)
    assert bras.told[0].code == pyrad.DisconnectRequest
    assert await code(bras) == pyrad.AccessReject


async def test_hours_that_cannot_be_read_let_nobody_in_and_end_no_session(bras: TestNas) -> None:
    """Put in by SQL, past the checks of the API."""
    world = bras.world
    await bras.online()
    async with world.db.acquire() as conn:
        await conn.execute("update plans set access_hours = 'sometimes'")
    assert await world.running.feed.settle()
    assert await code(bras) == pyrad.AccessReject
    assert "plan" in str(world.running.server.directory.faults)
    assert bras.told == []
    await change_plan(world, access_hours="Al")
    assert await code(bras) == pyrad.AccessAccept
    assert world.running.server.directory.faults == {}
