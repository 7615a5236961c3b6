"""States and locks."""

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

import pytest

from netd.domain import standing, subscribers
from netd.domain.standing import NewLock, StateNote
from netd.errors import Conflict, InvalidInput, NotFound

VERBS = {
    "activate": standing.activate,
    "suspend": standing.suspend,
    "restore": standing.restore,
    "terminate": standing.terminate,
    "reactivate": standing.reactivate,
}


async def test_suspend_and_restore(world, database, actor):
    await world.plan(actor)
    made = await world.subscriber(actor)
    change = await standing.suspend(database, actor, made.id, StateNote(note="unpaid since May"))
    assert (change.changed, change.was, change.subscriber.state, change.subscriber.state_reason) == (True, "active", "suspended", "unpaid since May")
    assert change.subscriber.state_changed_at > made.state_changed_at
    again = await standing.suspend(database, actor, made.id, StateNote(note="once more"))
    assert (again.changed, again.was, again.subscriber) == (False, "suspended", change.subscriber)
    back = await standing.restore(database, actor, made.id)
    assert (back.changed, back.subscriber.state, back.subscriber.state_reason) == (True, "active", None)
    told = [(row.action, row.before, row.after, row.result) for row in await world.audited(actor)][2:]
    assert told == [
        ("subscriber.suspend", {"state": "active", "state_reason": None}, {"state": "suspended", "state_reason": "unpaid since May"}, "ok"),
        ("subscriber.suspend", None, {"state": "suspended", "note": "once more"}, "unchanged"),
        ("subscriber.restore", {"state": "suspended", "state_reason": "unpaid since May"}, {"state": "active", "state_reason": None}, "ok"),
    ]


ALLOWED = {
    ("pending", "activate"): "active", ("active", "activate"): None, ("active", "suspend"): "suspended", ("suspended", "suspend"): None,
    ("suspended", "restore"): "active", ("active", "restore"): None, ("pending", "terminate"): "terminated", ("active", "terminate"): "terminated",
    ("suspended", "terminate"): "terminated", ("terminated", "terminate"): None, ("terminated", "reactivate"): "active", ("active", "reactivate"): None,
}  # fmt: skip


async def test_every_verb_from_every_state(world, database, actor):
    await world.plan(actor)
    for state in ("pending", "active", "suspended", "terminated"):
        for name, verb in VERBS.items():
            made = await world.subscriber(actor, f"{state}-{name}", state=state)
            if (state, name) not in ALLOWED:
                with pytest.raises(Conflict) as caught:
                    await verb(database, actor, made.id)
                assert caught.value.field == "state"
                assert (await subscribers.get(database, actor, made.id)).state == state
                continue
            change = await verb(database, actor, made.id)
            aim = ALLOWED[state, name]
            assert (change.changed, change.subscriber.state) == (aim is not None, aim or state), (state, name)


async def test_reactivation_needs_the_address_back(world, database, actor):
    await world.plan(actor)
    old = await world.subscriber(actor, "old", ipv4="192.0.2.1")
    await standing.terminate(database, actor, old.id)
    await world.subscriber(actor, "new", ipv4="192.0.2.1")
    with pytest.raises(Conflict) as caught:
        await standing.reactivate(database, actor, old.id)
    assert caught.value.field == "ipv4"
    assert (await subscribers.get(database, actor, old.id)).state == "terminated"


async def test_lifting_one_lock_lifts_no_other(world, database, actor):
    await world.plan(actor)
    made = await world.subscriber(actor)
    await standing.add_lock(database, actor, made.id, NewLock(reason="overdue", mode="walled", note="3 bills"))
    change = await standing.add_lock(database, actor, made.id, NewLock(reason="fraud"))
    assert [(lock.reason, lock.mode, lock.note, lock.created_by) for lock in change.subscriber.locks] == [
        ("overdue", "walled", "3 bills", "ann"),
        ("fraud", "reject", None, "ann"),
    ]
    left = await standing.lift_lock(database, actor, made.id, "overdue")
    assert [lock.reason for lock in left.locks] == ["fraud"]
    assert left.version == 4
    with pytest.raises(NotFound, match="lock overdue"):
        await standing.lift_lock(database, actor, made.id, "overdue")
    assert [row.action for row in await world.audited(actor)][2:] == ["subscriber.lock", "subscriber.lock", "subscriber.unlock"]
    restored = await standing.restore(database, actor, made.id)
    assert [lock.reason for lock in restored.subscriber.locks] == ["fraud"]


async def test_a_lock_of_the_same_reason_gives_way(world, database, actor):
    await world.plan(actor)
    made = await world.subscriber(actor)
    first = await standing.add_lock(database, actor, made.id, NewLock(reason="overdue", mode="walled"))
    second = await standing.add_lock(database, actor, made.id, NewLock(reason="overdue", mode="reject"))
    assert second.replaced == first.lock
    assert [lock.mode for lock in second.subscriber.locks] == ["reject"]
    assert await world.fetch("select mode, lifted_by from access_locks order by id") == [
        {"mode": "walled", "lifted_by": "ann"},
        {"mode": "reject", "lifted_by": None},
    ]
    told = (await world.audited(actor))[-1]
    assert (told.before["mode"], told.after["mode"]) == ("walled", "reject")


async def test_a_lock_that_has_run_out(world, database, actor):
    await world.plan(actor)
    made = await world.subscriber(actor)
    until = datetime.now(UTC) + timedelta(hours=1)
    assert (await standing.add_lock(database, actor, made.id, NewLock(reason="quota", until_at=until))).lock.until_at == until
    async with database.acquire() as conn:
        await conn.execute("update access_locks set until_at = now() - interval '1 minute'")
    assert (await subscribers.get(database, actor, made.id)).locks == ()
    again = await standing.add_lock(database, actor, made.id, NewLock(reason="quota"))
    assert again.replaced is None
    (old, _) = await world.fetch("select lifted_at = until_at as at_its_time, lifted_by from access_locks order by id")
    assert old == {"at_its_time": True, "lifted_by": "netd"}


async def test_a_lock_cannot_end_in_the_past(world, database, actor):
    await world.plan(actor)
    made = await world.subscriber(actor)
    with pytest.raises(InvalidInput, match="/until_at"):
        await standing.add_lock(database, actor, made.id, NewLock(reason="quota", until_at=datetime.now(UTC) - timedelta(seconds=1)))


async def test_other_tenants_subscriber(world, database, actor, stranger):
    await world.plan(actor)
    made = await world.subscriber(actor)
    locked = await standing.add_lock(database, actor, made.id, NewLock(reason="admin"))
    attempts: list[Awaitable[object]] = [verb(database, stranger, made.id) for verb in VERBS.values()]
    attempts += [standing.add_lock(database, stranger, made.id, NewLock(reason="fraud")), standing.lift_lock(database, stranger, made.id, "admin")]
    for attempt in attempts:
        with pytest.raises(NotFound):
            await attempt
    assert await subscribers.get(database, actor, made.id) == locked.subscriber
    assert await world.audited(stranger) == []
