"""Too many at once, seen from the NAS: nobody is disconnected before an operator says so, and health says what waits."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import msgspec
import pytest
from pyrad import packet as pyrad

from netd.domain import plans, subscribers
from netd.domain.enforcement import WaveDecision, confirm
from netd.radius.control import Control
from tests.radius.test_enforce import enforcer_of
from tests.radius.world import ACTOR, TestNas, World, eventually, nak, nas_at, world


@pytest.fixture
async def careful(dsn: str, tmp_path: Path) -> AsyncIterator[TestNas]:
    """A NAS with four subscribers online, at a daemon that disconnects no more than one of them without asking."""
    async with world(dsn, tmp_path, NETD_ENFORCEMENT__HOLD_SESSIONS="1", NETD_ENFORCEMENT__HOLD_SHARE="0.3") as running:
        await running.add_plan()
        async with nas_at(running, "127.0.0.2") as device:
            for name in ("ann", "bob", "cat", "dan"):
                await running.add_subscriber(name)
                await device.online(name, name)
            yield device


async def part(of: World) -> dict[str, Any]:
    """What /health/ready says of enforcement."""

    def ask() -> bytes:
        with urlopen(f"{of.running.api.url}/health/ready") as answer:
            body: bytes = answer.read()
            return body

    parts = msgspec.json.decode(await asyncio.to_thread(ask))["parts"]
    found: dict[str, Any] = next(each for each in parts if each["name"] == "enforcement")
    return found


async def test_rows_that_changed_together_are_held_until_confirmed(careful: TestNas) -> None:
    world = careful.world
    assert (await part(world))["state"] == "ok"
    async with world.db.acquire() as conn:
        await conn.execute("update subscribers set state = 'suspended' where username <> 'dan'")
    assert await world.running.feed.settle()
    control = Control(enforcer_of(world))
    held = control.standing(1).held
    assert held is not None
    assert (held.sessions, held.live, held.causes) == (3, 4, {"suspended": 3})
    told = await part(world)
    assert told["state"] == "degraded"
    assert "3 sessions held for confirmation" in told["detail"]
    await asyncio.sleep(0.7)
    assert careful.told == [], "not one, however often it is swept"

    async def told_of_each() -> bool:
        return sorted(session.enforce_state or "" for session in await world.sessions()) == ["applied", "pending", "pending", "pending"]

    await eventually(told_of_each)
    await confirm(world.db, ACTOR, control, WaveDecision(sessions=3))
    await eventually(lambda: len(careful.told) == 3)
    assert sorted(order["User-Name"][0] for order in careful.told) == ["ann", "bob", "cat"]
    assert (await part(world))["state"] == "ok"


async def test_one_is_done_at_once_and_a_missing_row_is_a_change_like_any_other(careful: TestNas) -> None:
    world = careful.world
    await world.suspend("ann")
    await eventually(lambda: len(careful.told) == 1)
    async with world.db.acquire() as conn:
        await conn.execute("delete from subscribers where username <> 'ann'")
    assert await world.running.feed.settle()
    await asyncio.sleep(0.7)
    assert len(careful.told) == 1
    held = Control(enforcer_of(world)).standing(1).held
    assert held is not None
    assert (held.sessions, held.recent, held.causes) == (3, 1, {"the subscriber was deleted": 3})


async def test_a_nas_that_refuses_every_change_has_nobody_disconnected_for_it(careful: TestNas) -> None:
    def only_disconnect(request: pyrad.CoAPacket) -> Any:
        return nak(401)(request) if request.code == pyrad.CoARequest else request.CreateReply()

    careful.say = only_disconnect
    plan = await plans.by_name(careful.world.db, ACTOR, "home")
    await plans.update(careful.world.db, ACTOR, plan.id, plans.PlanPatch(down_bps=200_000_000))
    control = Control(enforcer_of(careful.world))
    await eventually(lambda: (held := control.standing(1).held) is not None and held.sessions == 4)
    await asyncio.sleep(0.7)
    assert [order.code for order in careful.told] == [pyrad.CoARequest] * 4, "a new rate is not held, what it would lead to is"
    control.discard(1, 4, "ann")
    await asyncio.sleep(0.7)
    assert len(careful.told) == 4
    ann = await subscribers.by_username(careful.world.db, ACTOR, "ann")
    await subscribers.delete(careful.world.db, ACTOR, ann.id)
    await eventually(lambda: len(careful.told) == 5)
    assert careful.told[4].code == pyrad.DisconnectRequest, "something else is wanted of this one"
