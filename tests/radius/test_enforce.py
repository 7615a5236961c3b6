"""Ending and changing live sessions: checked at the NAS, which is not ours."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from pyrad import packet as pyrad

from netd.domain import nas, plans, standing, subscribers
from netd.errors import StoreUnavailable
from netd.radius.enforce import Enforcer
from netd.store import accounting as store
from netd.store.database import Database
from tests.ports import free_port
from tests.radius.world import ACTOR, TestNas, World, eventually, nak, nas_at, silence, world


async def state(world: World) -> tuple[str | None, str | None]:
    found = await world.sessions()
    return (found[0].enforce_state, found[0].enforce_detail) if found else (None, None)


@pytest.mark.usefixtures("by_notice_only")
async def test_suspending_ends_the_session_at_once(bras: TestNas) -> None:
    await bras.online(Framed_IP_Address="100.64.0.9")
    begun = int(time.time())
    await bras.world.suspend()
    await eventually(lambda: bras.told)
    (request,) = bras.told
    assert request.code == pyrad.DisconnectRequest
    assert request["User-Name"] == ["alice"]
    assert request["Framed-IP-Address"] == ["100.64.0.9"]
    assert begun <= request["Event-Timestamp"][0] <= time.time()
    assert await bras.account("Stop")
    assert await bras.world.sessions() == []


async def test_another_rate_is_changed_live(bras: TestNas) -> None:
    world = bras.world
    await bras.online()
    plan = await plans.by_name(world.db, ACTOR, "home")
    await plans.update(world.db, ACTOR, plan.id, plans.PlanPatch(down_bps=200_000_000, up_bps=40_000_000))
    await eventually(lambda: bras.told)
    request = bras.told[0]
    assert request.code == pyrad.CoARequest
    assert request["Mikrotik-Rate-Limit"] == ["40M/200M"]

    async def applied() -> bool:
        return (await state(world))[0] == "applied" and "CoA acknowledged" in ((await state(world))[1] or "")

    await eventually(applied)
    told = len(bras.told)
    await asyncio.sleep(0.5)
    assert len(bras.told) == told, "what is applied is not sent again"


async def test_another_plan_for_one_subscriber_is_changed_live(bras: TestNas) -> None:
    world = bras.world
    await world.add_plan("fast", 1_000_000_000, 500_000_000)
    await bras.online()
    alice = await subscribers.by_username(world.db, ACTOR, "alice")
    await subscribers.update(
        world.db, ACTOR, world.running.keyring, alice.id, subscribers.SubscriberPatch(plan="fast"), world.running.server.directory.rows
    )  # fmt: skip
    await eventually(lambda: bras.told)
    assert bras.told[0]["Mikrotik-Rate-Limit"] == ["500M/1000M"]


async def test_a_refused_change_becomes_a_disconnect(bras: TestNas) -> None:
    def only_disconnect(request: pyrad.CoAPacket) -> Any:
        return nak(401)(request) if request.code == pyrad.CoARequest else request.CreateReply()

    bras.say = only_disconnect
    await bras.online()
    plan = await plans.by_name(bras.world.db, ACTOR, "home")
    await plans.update(bras.world.db, ACTOR, plan.id, plans.PlanPatch(down_bps=200_000_000))
    await eventually(lambda: len(bras.told) == 2)
    assert [request.code for request in bras.told] == [pyrad.CoARequest, pyrad.DisconnectRequest]


async def test_what_could_not_be_applied_is_tried_again(bras: TestNas) -> None:
    bras.say = silence
    await bras.online()
    await bras.world.suspend()

    async def unreachable() -> bool:
        return (await state(bras.world))[0] == "unreachable"

    await eventually(unreachable)
    assert bras.heard.count(bras.heard[0]) == 2, "one retransmission, and it is the same octets"
    bras.say = None
    await eventually(lambda: len(bras.told) > 1)

    async def acknowledged() -> bool:
        return (await state(bras.world))[0] == "applied"

    await eventually(acknowledged)


async def test_a_session_that_its_nas_does_not_know_is_closed_here(bras: TestNas) -> None:
    bras.say = nak(503)
    await bras.online()
    await bras.world.suspend()

    async def gone() -> bool:
        return not await bras.world.sessions()

    await eventually(gone)
    (closed,) = await bras.world.sessions("closed")
    assert closed.closed_by == "not_found"


async def test_a_lock_walls_and_lifting_it_frees(bras: TestNas) -> None:
    world = bras.world
    await bras.online()
    alice = await subscribers.by_username(world.db, ACTOR, "alice")
    await standing.add_lock(world.db, ACTOR, alice.id, standing.NewLock(reason="overdue", mode="walled"))
    await eventually(lambda: bras.told)
    assert bras.told[0].code == pyrad.DisconnectRequest, "RouterOS takes no address list by CoA"
    assert await bras.account("Stop")
    answer = await bras.online("s2")
    assert answer["Mikrotik-Address-List"] == ["walled-garden"]
    await standing.lift_lock(world.db, ACTOR, alice.id, "overdue")
    await eventually(lambda: len(bras.told) == 2)


async def test_a_deleted_subscriber_is_disconnected(bras: TestNas) -> None:
    await bras.online()
    alice = await subscribers.by_username(bras.world.db, ACTOR, "alice")
    await subscribers.delete(bras.world.db, ACTOR, alice.id)
    await eventually(lambda: bras.told)
    answer = await bras.login()
    assert answer is not None
    assert answer.code == pyrad.AccessReject


async def test_one_dead_nas_delays_no_other(dsn: str, tmp_path: Path) -> None:
    async with world(dsn, tmp_path, NETD_COA__TIMEOUT_SECONDS="60") as daemon:  # longer than is waited for the other
        await daemon.add_plan()
        await daemon.add_subscriber("dead", "man")
        await daemon.add_subscriber("quick", "one")
        async with nas_at(daemon, "127.0.0.2", say=silence) as dead, nas_at(daemon, "127.0.0.3") as alive:
            for number in range(20):
                await dead.online(f"d{number}", "dead", "man")
            await alive.online("q", "quick", "one")
            await daemon.suspend("dead")
            await eventually(lambda: dead.told)
            await daemon.suspend("quick")
            await eventually(lambda: alive.told)


async def test_the_old_session_of_a_line_that_dialled_again_is_ended(daemon: World, bras: TestNas) -> None:
    await daemon.add_subscriber("bob", "builder", max_sessions=1)
    await bras.online("old", "bob", "builder", Calling_Station_Id="AA")
    await bras.online("new", "bob", "builder", Calling_Station_Id="AA")
    await eventually(lambda: bras.told)
    await asyncio.sleep(0.1)
    assert [request["Acct-Session-Id"] for request in bras.told] == [["old"]]


async def test_an_unsigned_forged_answer_is_not_believed(bras: TestNas) -> None:
    def forged(request: pyrad.CoAPacket) -> Any:
        answer = request.CreateReply()
        answer.secret = b"not the secret"
        return answer

    bras.say = forged
    await bras.online()
    await bras.world.suspend()

    async def unreachable() -> bool:
        return (await state(bras.world))[0] == "unreachable"

    await eventually(unreachable)


async def test_enforcement_goes_on_after_a_restart_of_the_daemon(dsn: str, tmp_path: Any) -> None:
    async with world(dsn, tmp_path) as first:
        await first.add_plan()
        await first.add_subscriber()
        port = free_port()
        async with nas_at(first, "127.0.0.2", port=port) as device:
            await device.online()
    database = await Database.open(dsn, size=2, acquire_timeout_seconds=60)
    try:
        alice = await subscribers.by_username(database, ACTOR, "alice")
        await standing.suspend(database, ACTOR, alice.id)
    finally:
        await database.close()
    device = TestNas(first, "127.0.0.2", coa_port=port)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: device, local_addr=("127.0.0.2", port))
    try:
        async with world(dsn, tmp_path):
            await eventually(lambda: device.told)
    finally:
        transport.close()


def enforcer_of(world: World) -> Enforcer:
    found = world.running.server.accounting.on_open.__self__  # type: ignore[attr-defined]
    assert isinstance(found, Enforcer)
    return found


async def test_what_is_kept_of_one_session_is_not_kept_of_the_next_one_under_its_id(bras: TestNas, monkeypatch: pytest.MonkeyPatch) -> None:
    enforcer = enforcer_of(bras.world)
    flush = enforcer.outcomes.flush

    async def away() -> None:
        """What enforcement learned waits, as while the database is away."""

    monkeypatch.setattr(enforcer.outcomes, "flush", away)
    start = int(time.time()) - 3600
    first, second = await bras.login(), await bras.login()
    assert first is not None
    assert second is not None
    assert await bras.account("Start", Event_Timestamp=start, Class=first["Class"][0])
    (live,) = enforcer.sessions.by_id.values()
    live.doomed = "replaced by a new log-in from the same line"
    await eventually(lambda: bras.told)
    assert await bras.account("Start", Event_Timestamp=start + 500, Class=second["Class"][0])
    told = len(bras.told)
    await flush()
    assert await bras.account("Interim-Update", Event_Timestamp=start + 600, Acct_Session_Time=100, Class=second["Class"][0])
    await asyncio.sleep(0.7)
    assert len(bras.told) == told, "the newer session was never to end"


async def test_an_applied_policy_that_could_not_be_written_is_not_forgotten_for_a_later_outcome(bras: TestNas, monkeypatch: pytest.MonkeyPatch) -> None:
    await bras.online()
    enforcer = enforcer_of(bras.world)
    (live,) = enforcer.sessions.by_id.values()

    async def fails(conn: object, changes: object) -> None:
        enforcer.outcomes.note(live, None, "pending", "meanwhile")
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr("netd.store.accounting.applied", fails)
        enforcer.outcomes.note(live, "0123456789", "applied", "CoA acknowledged")
        await enforcer.outcomes.flush()
    await enforcer.outcomes.flush()
    async with bras.world.db.acquire() as conn:
        assert tuple(await conn.fetchrow("select applied_policy, enforce_state from sessions")) == ("0123456789", "pending")


async def test_the_last_flush_waits_for_the_one_under_way(bras: TestNas, monkeypatch: pytest.MonkeyPatch) -> None:
    """When netd stops, what is under way is cancelled right behind it."""
    await bras.online()
    outcomes = enforcer_of(bras.world).outcomes
    (live,) = enforcer_of(bras.world).sessions.by_id.values()
    entered, may_write = asyncio.Event(), asyncio.Event()
    real = store.applied

    async def slow(conn: Any, changes: Any) -> None:
        entered.set()
        await may_write.wait()
        await real(conn, changes)

    monkeypatch.setattr("netd.store.accounting.applied", slow)
    outcomes.note(live, "0123456789", "applied", "CoA acknowledged")
    first = asyncio.create_task(outcomes.flush())
    await entered.wait()
    last = asyncio.create_task(outcomes.flush())
    await asyncio.sleep(0.1)
    assert not last.done()
    may_write.set()
    await last
    async with bras.world.db.acquire() as conn:
        assert await conn.fetchval("select applied_policy from sessions") == "0123456789"
    await first


async def test_a_session_of_which_nothing_is_known_to_be_applied_is_left_alone(bras: TestNas) -> None:
    """A Start without Class while the plan could not be granted: when it can be again, nobody may be disconnected for it."""
    world = bras.world
    (alice,) = world.running.server.directory.subscribers.values()
    alice.own().fault, alice.simple = "a driver that is broken", False
    assert await bras.account("Start")
    (live,) = enforcer_of(world).sessions.by_id.values()
    assert (live.applied, live.subscriber_id) == (None, alice.id)
    alice.own().fault, alice.simple = "", True

    async def unverified() -> bool:
        return (await state(world))[0] == "unverified"

    await eventually(unverified)
    assert bras.told == []
    await world.suspend()
    await eventually(lambda: bras.told)
    assert bras.told[0].code == pyrad.DisconnectRequest, "a stated reason ends it all the same"


async def test_a_deletion_is_kept_even_while_its_nas_is_not_to_be_asked_again_yet(bras: TestNas) -> None:
    world = bras.world
    bras.say = silence
    await bras.online()
    await world.suspend()
    (live,) = enforcer_of(world).sessions.by_id.values()
    await eventually(lambda: live.attempts and not live.busy)
    live.due_at = time.time() + 3600
    alice = await subscribers.by_username(world.db, ACTOR, "alice")
    await subscribers.delete(world.db, ACTOR, alice.id)

    async def doomed() -> Any:
        async with world.db.acquire() as conn:
            return await conn.fetchval("select doomed from sessions")

    assert "deleted" in await eventually(doomed)


async def test_a_session_goes_over_to_the_entry_of_its_nas_that_was_made_anew(bras: TestNas) -> None:
    world = bras.world
    await bras.online()
    (entry,) = world.running.server.directory.nas
    await nas.delete(world.db, ACTOR, entry)
    assert await world.running.feed.settle()
    await world.add_nas(bras.address, coa_port=bras.coa_port)
    assert await bras.account("Interim-Update", Acct_Session_Time=1)
    (session,) = await world.sessions()
    assert session.nas == bras.address
    await world.suspend()
    await eventually(lambda: bras.told)


async def test_a_change_taken_back_after_an_unanswered_coa_is_sent_again(bras: TestNas) -> None:
    """The first CoA may have arrived, only its answer not: the session must be told the old rate again, not be called right."""
    world = bras.world
    await bras.online()
    plan = await plans.by_name(world.db, ACTOR, "home")
    bras.say = silence
    await plans.update(world.db, ACTOR, plan.id, plans.PlanPatch(down_bps=200_000_000))

    async def unreachable() -> bool:
        return (await state(world))[0] == "unreachable"

    await eventually(unreachable)
    await plans.update(world.db, ACTOR, plan.id, plans.PlanPatch(down_bps=100_000_000))
    await eventually(lambda: bras.told[-1]["Mikrotik-Rate-Limit"] == ["20M/100M"])
    bras.say = None  # not before: the change that was not answered would be tried again

    async def applied() -> bool:
        return (await state(world))[0] == "applied"

    await eventually(applied)
