"""Schedules on a real database: each run made once, whatever the number of nodes, and what was missed is told."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from netd.domain import jobs, schedules, timetable
from netd.domain.actor import Actor, Grant
from netd.domain.choice import DeviceChoice
from netd.domain.kinds import Kinds, Reach
from netd.domain.schedules import NewSchedule, SchedulePatch
from netd.errors import Conflict, InvalidInput, NotFound, OutsideScope
from netd.keyring import Keyring
from netd.model.hours import time_zone
from netd.model.job import Schedule
from netd.model.permission import BUILT_IN
from netd.store.database import Database
from netd.work.jobs import AHEAD_SECONDS
from tests.work.jobs import ACTOR, Stage, World, kinds, known

NOW = datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    stage = Stage()
    return World(database, Keyring.load_or_create(tmp_path / "secret.key"), stage, kinds(stage))


async def make(world: World, name: str = "nightly", actor: Actor = ACTOR, **members: Any) -> Schedule:
    members = {"kind": "quick", **({} if "interval_seconds" in members else {"cron": "0 * * * *"}), **members}
    return await schedules.create(world.database, actor, world.kinds, world.keyring, NewSchedule(name=name, **members), NOW)


async def fire(world: World, now: datetime) -> int:
    fired = 0
    while await schedules.fire(world.database, world.kinds, world.keyring, now):
        fired += 1
    return fired


async def made(world: World) -> list[tuple[Any, ...]]:
    rows = await world.rows("select schedule_id, due_at, state, kind from jobs order by id")
    return [tuple(row.values()) for row in rows]


def at(hour: int, minute: int = 0, day: int = 1, second: int = 0) -> datetime:
    return datetime(2026, 6, day, hour, minute, second, tzinfo=UTC)


async def test_a_run_is_made_once_by_however_many_nodes(world: World):
    schedule = await make(world)
    assert (schedule.due_at, schedule.fires_at) == (at(13), at(13))
    assert await fire(world, at(12, 59, second=59)) == 0
    await asyncio.gather(*(schedules.fire(world.database, world.kinds, world.keyring, at(13)) for _ in range(8)))
    assert await made(world) == [(schedule.id, at(13), "queued", "quick")]
    after = await schedules.get(world.database, ACTOR, schedule.id)
    assert (after.last_due_at, after.last_job_id, after.due_at, after.missed_count, after.version) == (at(13), 1, at(14), 0, schedule.version)
    (row,) = await world.rows("select actor, request_id from audit_log where action = 'job.submit'")
    assert (row["actor"], row["request_id"]) == ("ann", "schedule nightly")


@pytest.mark.parametrize(("missed", "runs", "counted"), [("skip", [], 4), ("run_once", [at(16)], 3)])
async def test_what_no_netd_was_there_for(world: World, missed: str, runs: list[datetime], counted: int):
    schedule = await make(world, missed=missed)
    assert await fire(world, at(16, 30)) == 1  # 13, 14, 15 and 16 o'clock
    assert [due for _, due, _, _ in await made(world)] == runs
    after = await schedules.get(world.database, ACTOR, schedule.id)
    assert (after.missed_count, after.missed_at, after.missed_why, after.due_at) == (counted, at(16), "no netd ran then", at(17))
    (event,) = await world.rows("select data from events where type = 'schedule.missed'")
    assert event["data"]["after"] == {"name": "nightly", "missed": counted, "due_at": "2026-06-01T16:00:00+00:00", "why": "no netd ran then"}


async def test_a_run_that_is_a_little_late_is_made(world: World):
    schedule = await make(world)
    await fire(world, at(13, 0, second=59))
    assert [due for _, due, _, _ in await made(world)] == [at(13)]
    assert (await schedules.get(world.database, ACTOR, schedule.id)).missed_count == 0


async def test_the_run_before_is_not_over(world: World):
    schedule = await make(world)
    await fire(world, at(13))
    await fire(world, at(14))
    after = await schedules.get(world.database, ACTOR, schedule.id)
    assert (after.missed_count, after.missed_why) == (1, "the run before is not over: job 1 with the key schedule:1 is not ended yet")
    await jobs.cancel(world.database, ACTOR, world.kinds, 1, NOW)
    await fire(world, at(15))
    assert [due for _, due, _, _ in await made(world)] == [at(13), at(15)]


async def test_jitter(world: World):
    schedule = await make(world, jitter_seconds=1800)
    assert schedule.due_at == at(13) and schedule.fires_at is not None and at(13) < schedule.fires_at < at(13, 30)
    assert await fire(world, schedule.fires_at - timedelta(milliseconds=1)) == 0
    assert await fire(world, schedule.fires_at) == 1
    assert [due for _, due, _, _ in await made(world)] == [at(13)]
    assert (await schedules.get(world.database, ACTOR, schedule.id)).missed_count == 0


async def test_disabled_and_enabled(world: World):
    schedule = await make(world, interval_seconds=600, begins_at=NOW)
    off = await change(world, schedule, enabled=False)
    assert (off.due_at, off.fires_at) == (None, None)
    assert await fire(world, at(20)) == 0
    on = await change(world, schedule, at(20), enabled=True)
    assert on.due_at == at(20, 0, second=30) and on.missed_count == 0
    assert (await change(world, on, at(20), cron="@daily", interval_seconds=None, time_zone="Europe/Berlin")).due_at == at(22)


async def change(world: World, schedule: Schedule, now: datetime = NOW, actor: Actor = ACTOR, version: int | None = None, **members: Any) -> Schedule:
    patch = SchedulePatch(**members)
    return await schedules.update(world.database, actor, world.kinds, world.keyring, schedule.id, patch, now, version=version)


async def test_what_cannot_be(world: World):
    with pytest.raises(InvalidInput) as caught:
        await make(world, cron="0 0 31 2 *", time_zone="Mars/Olympus")
    assert [fault.where for fault in caught.value.faults] == ["/cron", "/time_zone"]
    with pytest.raises(InvalidInput, match="either this or interval_seconds"):
        await make(world, cron=None)
    with pytest.raises(InvalidInput, match="there is no kind nap"):
        await make(world, kind="nap")
    with pytest.raises(InvalidInput, match="/args/colour: is not known here"):
        await make(world, args={"colour": "red"})
    schedule = await make(world)
    with pytest.raises(Conflict):
        await make(world, name="NIGHTLY")
    with pytest.raises(Conflict, match="at version 2"):
        await change(world, schedule, version=1, note="x")
    with pytest.raises(NotFound):
        await schedules.get(world.database, ACTOR, 99)
    eve = Actor(tenant_id=1, name="eve", role="x", grants=(Grant(frozenset(("jobs:schedule", "jobs:read"))),), sites=None, token_id=3)
    with pytest.raises(OutsideScope, match="need the permission nas:write"):
        await make(world, name="mine", actor=eve)
    with pytest.raises(OutsideScope):
        await change(world, schedule, actor=eve, note="mine")
    await schedules.delete(world.database, ACTOR, schedule.id)
    assert await world.rows("select from job_schedules") == []


async def test_secret_arguments(world: World):
    schedule = await make(world, kind="work", args={"password": "wonderland", "device": "7"})
    assert schedule.args["password"] == "***"
    await fire(world, at(13))
    (row,) = await world.rows("select args, sealed, lock_keys from jobs")
    assert row["args"]["password"] == "***" and row["lock_keys"] == ["device:7"]
    opened, secrets = jobs.opened(world.keyring, world.kinds.get("work"), row["args"], row["sealed"])
    assert (opened.password, secrets) == ("wonderland", ["wonderland"])
    off = await change(world, schedule, enabled=False)
    with pytest.raises(InvalidInput, match="give them again"):
        await change(world, off, enabled=True)
    again = await change(world, off, enabled=True, args={"password": "looking-glass"})
    assert again.enabled and "looking" not in str(await world.rows("select to_jsonb(s) - 'sealed' as s from job_schedules s"))


async def test_jobs_of_who_needs_approval_await_it(world: World):
    nora = Actor(tenant_id=1, name="nora", role="noc_engineer", grants=(Grant(BUILT_IN["noc_engineer"]),), sites=None, token_id=5)
    await known(world.database, nora)
    await make(world, kind="risky", actor=nora)
    await make(world, name="other", kind="risky")
    await fire(world, at(13))
    assert sorted((kind, state) for _, _, state, kind in await made(world)) == [("risky", "awaiting_approval"), ("risky", "queued")]


async def test_what_its_maker_may_not_do_any_more_is_not_done(world: World):
    """Kinds look at their arguments with each run, in the scope of who made the schedule."""
    schedule = await make(world, kind="work")
    async with world.database.acquire() as conn:
        await conn.execute("""update job_schedules set args = '{"colour": "red"}'""")
    await fire(world, at(13))
    after = await schedules.get(world.database, ACTOR, schedule.id)
    assert (after.missed_count, after.missed_why) == (1, "it cannot be done any more: /args/colour: is not known here")
    async with world.database.acquire() as conn:
        await conn.execute("update job_schedules set kind = 'nap'")
    await fire(world, at(14))
    assert "there is no kind nap" in ((await schedules.get(world.database, ACTOR, schedule.id)).missed_why or "")


async def test_one_that_cannot_be_made_does_not_hold_up_the_others(world: World):
    """Whatever a kind raises when it looks at its arguments, and whatever the database refuses, is that schedule's own."""

    async def gone(conn: Any, actor: Actor, arguments: Any) -> Reach:
        raise NotFound("expected device", 7)

    async def defect(conn: Any, actor: Actor, arguments: Any) -> Reach:
        raise ZeroDivisionError

    async def refused(conn: Any, actor: Actor, arguments: Any) -> Reach:
        await conn.execute("insert into job_schedules (tenant_id, name) values (1, null)")
        raise AssertionError

    looks = {"gone": gone, "defect": defect, "refused": refused}
    all_kinds = Kinds([*world.kinds, *(replace(world.kinds.get("quick"), name=name, reach=None) for name in looks)])
    for name in (*looks, "quick"):
        new = NewSchedule(name=name, kind=name, cron="0 * * * *", missed="run_once")
        await schedules.create(world.database, ACTOR, all_kinds, world.keyring, new, NOW)
    broken = Kinds([*world.kinds, *(replace(world.kinds.get("quick"), name=name, reach=look) for name, look in looks.items())])
    for _ in range(4):
        assert await schedules.fire(world.database, broken, world.keyring, at(13))
    assert not await schedules.fire(world.database, broken, world.keyring, at(13))
    assert [kind for _, _, _, kind in await made(world)] == ["quick"]
    found = {row["name"]: row["missed_why"] for row in await world.rows("select name, missed_why from job_schedules")}
    assert found["gone"] == "it cannot be done any more: expected device 7 does not exist"
    assert found["defect"] == "a defect of netd, see its log" and "it cannot be done" in found["refused"]


async def test_nobody_takes_a_schedules_key(world: World):
    with pytest.raises(InvalidInput, match="netd's own"):
        await world.submit("quick", job={"unique_key": "schedule:1"})


async def test_who_changes_when_it_is_done_is_who_it_is_done_for(world: World):
    nora = Actor(tenant_id=1, name="nora", role="noc_engineer", grants=(Grant(BUILT_IN["noc_engineer"]),), sites=None, token_id=5)
    await known(world.database, nora)
    schedule = await make(world, kind="risky", cron="0 3 1 1 *")
    await schedules.update(world.database, nora, world.kinds, world.keyring, schedule.id, SchedulePatch(note="soon"), NOW)
    assert (await schedules.get(world.database, ACTOR, schedule.id)).created_by == "ann"
    await schedules.update(world.database, nora, world.kinds, world.keyring, schedule.id, SchedulePatch(cron="0 * * * *"), NOW)
    await fire(world, at(13))
    (job,) = await world.rows("select state, created_by from jobs")
    assert (job["state"], job["created_by"]) == ("awaiting_approval", "nora")


@pytest.mark.parametrize("how", ["revoked", "expired", "narrower"])
async def test_a_schedule_ends_with_its_makers_rights(world: World, how: str):
    bob = Actor(tenant_id=1, name="bob", role="operator", grants=(Grant(BUILT_IN["operator"]),), sites=None, token_id=7)
    await known(world.database, bob)
    schedule = await make(world, actor=bob)
    await fire(world, at(13))
    change = {"revoked": "revoked_at = now()", "expired": "expires_at = '2026-06-01T13:30Z'", "narrower": "permissions = '{jobs:read}'"}[how]
    async with world.database.acquire() as conn:
        await conn.execute(f"update api_tokens set {change}")
        await conn.execute("update jobs set state = 'cancelled', finished_at = now()")
    await fire(world, at(14))
    assert len(await made(world)) == 1
    said = (await schedules.get(world.database, ACTOR, schedule.id)).missed_why or ""
    assert ("has not the permission" if how == "narrower" else "no longer good") in said


async def test_a_schedule_ends_with_its_user(world: World):
    async with world.database.acquire() as conn:
        ann = await conn.fetchval("insert into users (tenant_id, name, created_by) values (1, 'ann', 't') returning id")
        await conn.execute("insert into user_grants (tenant_id, user_id, role, created_by) values (1, $1, 'operator', 't')", ann)
    user = Actor(tenant_id=1, name="ann", role="operator", grants=(Grant(BUILT_IN["operator"]),), sites=None, user_id=ann)
    schedule = await make(world, actor=user)
    await fire(world, at(13))
    async with world.database.acquire() as conn:
        await conn.execute("update jobs set state = 'cancelled', finished_at = now()")
        await conn.execute("update users set disabled_at = now()")
    await fire(world, at(14))
    assert len(await made(world)) == 1
    assert "no longer a user" in ((await schedules.get(world.database, ACTOR, schedule.id)).missed_why or "")


async def test_devices_that_came_since_need_an_approval(world: World):
    """Whoever may change a group, or what stands in a selector, must not have others' changes done to more devices."""
    devices = {1: "core1"}

    async def look(conn: Any, actor: Actor, arguments: Any) -> Reach:
        return Reach(sites=actor.sites, devices=dict(devices))

    some = Kinds([replace(world.kinds.get("risky"), name="change", args=DeviceChoice, secrets=(), reach=look)])
    new = NewSchedule(name="change", kind="change", args={"group": "edge"}, cron="0 * * * *")
    await schedules.create(world.database, ACTOR, some, world.keyring, new, NOW)
    assert await schedules.fire(world.database, some, world.keyring, at(13))
    async with world.database.acquire() as conn:
        assert await conn.fetchval("select state from jobs") == "queued"
        await conn.execute("update jobs set state = 'cancelled', finished_at = now()")
    devices[2] = "core2"
    assert await schedules.fire(world.database, some, world.keyring, at(14))
    (job,) = await world.rows("select id, state, args from jobs where state <> 'cancelled'")
    assert job["state"] == "awaiting_approval"
    assert (job["args"]["devices"], job["args"]["group"]) == (["core1", "core2"], None)  # what is approved is done with these
    (said,) = await world.rows("select text from job_log where job_id = $1", job["id"])
    assert said["text"].endswith("it has other devices than its maker agreed to")


async def test_a_time_zone_that_is_gone_is_one_schedules_fault(world: World, monkeypatch: pytest.MonkeyPatch):
    """Time zone data are the machine's: a name may be gone with an update, or unknown to one of the nodes."""
    gone, other = await make(world, time_zone="Europe/Kyiv"), await make(world, "other")

    def zone(name: str) -> Any:
        if name == "Europe/Kyiv":
            raise ValueError(f"{name!r} is not a time zone that this machine knows")
        return time_zone(name)

    monkeypatch.setattr(timetable, "time_zone", zone)
    assert await fire(world, at(13)) == 2
    assert [schedule_id for schedule_id, *_ in await made(world)] == [other.id]
    after = await schedules.get(world.database, ACTOR, gone.id)
    assert (after.due_at, after.fires_at) == (at(13), at(13, second=20))
    assert after.missed_why == "it is not known when it is due: 'Europe/Kyiv' is not a time zone that this machine knows"
    assert await fire(world, at(13, second=20)) == 1
    assert len(await world.rows("select from events where type = 'schedule.missed'")) == 1  # not with every look
    monkeypatch.undo()
    assert await fire(world, at(13, second=40)) == 1
    assert (gone.id, at(13), "queued", "quick") in await made(world)


async def test_what_was_put_off_for_long_is_late(world: World, monkeypatch: pytest.MonkeyPatch):
    """Who wants a nightly upgrade skipped when it is late does not want it at noon, because the zone was unknown until then."""
    schedule = await make(world, cron="0 13 * * *", time_zone="Europe/Kyiv", missed="skip")
    assert schedule.due_at is not None
    due = schedule.due_at

    def zone(name: str) -> Any:
        raise ValueError(f"{name!r} is not a time zone that this machine knows")

    monkeypatch.setattr(timetable, "time_zone", zone)
    for minutes in range(0, 120, 10):
        assert await fire(world, due + timedelta(minutes=minutes)) == 1
    assert await fire(world, due + timedelta(hours=2, seconds=-25)) == 1
    monkeypatch.undo()
    assert await fire(world, due + timedelta(hours=2)) == 1
    after = await schedules.get(world.database, ACTOR, schedule.id)
    assert (after.last_due_at, after.missed_count, after.due_at) == (due, 1, due + timedelta(days=1)) and await made(world) == []


@pytest.mark.parametrize("members", [{}, {"interval_seconds": 3600}], ids=["cron", "interval"])
async def test_a_clock_that_was_far_ahead(world: World, members: dict[str, Any]):
    """A node that starts with a wrong clock must not put its schedules off for ten years."""
    schedule = await make(world, **members)
    assert await fire(world, NOW + timedelta(days=3650)) == 1
    ahead = await schedules.get(world.database, ACTOR, schedule.id)
    assert ahead.due_at is not None and ahead.due_at > NOW + timedelta(days=3649)
    assert not await schedules.return_to_now(world.database, NOW + timedelta(days=3650))
    seconds = [0.0]
    service = world.service(now=lambda: NOW, monotonic=lambda: seconds[0])
    for uptime in (0.0, AHEAD_SECONDS - 1):  # this clock may be the wrong one, until it is told
        seconds[0] = uptime
        await service.upkeep()
        assert (await schedules.get(world.database, ACTOR, schedule.id)).due_at == ahead.due_at
    seconds[0] = AHEAD_SECONDS
    await service.upkeep()
    assert not await schedules.return_to_now(world.database, NOW)
    back = await schedules.get(world.database, ACTOR, schedule.id)
    assert (back.due_at, back.fires_at) == (schedule.due_at, schedule.fires_at)
    assert await fire(world, NOW + timedelta(hours=1)) == 1
    assert (schedule.id, schedule.due_at, "queued", "quick") in await made(world)
