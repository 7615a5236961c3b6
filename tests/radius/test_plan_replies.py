"""A plan's own reply attributes, raw plans, and passwords known by their hash: checked at the NAS."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pyrad import packet as pyrad

from netd.domain import plans, standing, subscribers
from netd.domain.plans import PlanPatch
from netd.domain.subscribers import NewReply, SubscriberPatch
from tests.radius.world import ACTOR, TestNas, World, eventually, nas_at


def row(attribute: str, op: str, value: str = "") -> NewReply:
    return NewReply(attribute=attribute, op=op, value=value)  # type: ignore[arg-type]


@pytest.fixture
async def running(daemon: World) -> World:
    return daemon


@pytest.fixture
async def nas(running: World) -> AsyncIterator[TestNas]:
    async with nas_at(running, "127.30.0.1") as made:
        yield made


async def change_plan(running: World, **members: Any) -> None:
    plan = await plans.by_name(running.db, ACTOR, "home")
    await plans.update(running.db, ACTOR, plan.id, PlanPatch(**members), running.running.server.directory.rows)
    assert await running.running.feed.settle()


async def change_alice(running: World, *replies: NewReply) -> None:
    alice = await subscribers.by_username(running.db, ACTOR, "alice")
    patch = SubscriberPatch(replies=replies)
    await subscribers.update(running.db, ACTOR, running.running.keyring, alice.id, patch, running.running.server.directory.rows)
    assert await running.running.feed.settle()


async def answer(nas: TestNas, username: str = "alice", password: str = "wonderland") -> pyrad.Packet:
    found = await nas.login(username, password)
    assert found is not None
    return found


async def test_replies_come_beside_instead_of_and_off_what_the_driver_grants(running: World, nas: TestNas) -> None:
    replies = (
        row("Filter-Id", ":=", "gold"),
        row("Mikrotik-Rate-Limit", ":=", "1M/2M"),
        row("Acct-Interim-Interval", "!*"),
        row("Reply-Message", "+=", "hello"),
    )
    await running.add_plan(replies=replies)
    await running.add_subscriber()
    found = await answer(nas)
    assert found["Mikrotik-Rate-Limit"] == ["1M/2M"]
    assert found["Filter-Id"] == ["gold"]
    assert found["Reply-Message"] == ["hello"]
    assert "Acct-Interim-Interval" not in found.keys()  # noqa: SIM118


async def test_a_raw_plan_grants_its_replies_and_nothing_else_on_any_vendor(running: World, nas: TestNas) -> None:
    await running.add_plan(raw=True, replies=(row("Filter-Id", ":=", "gold"),))
    await running.add_subscriber()
    async with nas_at(running, "127.30.0.2", vendor="huawei") as other:
        for device in (nas, other):
            found = await answer(device)
            assert set(found.keys()) == {"Filter-Id", "Class", "Message-Authenticator"}


async def test_behind_the_wall_replies_count_for_nothing(running: World, nas: TestNas) -> None:
    await running.add_plan(raw=True, replies=(row("Mikrotik-Rate-Limit", ":=", "900M/900M"),))
    await running.add_subscriber()
    alice = await subscribers.by_username(running.db, ACTOR, "alice")
    await standing.add_lock(running.db, ACTOR, alice.id, standing.NewLock(reason="overdue", mode="walled"))
    assert await running.running.feed.settle()
    found = await answer(nas)
    assert found["Mikrotik-Rate-Limit"] != ["900M/900M"]
    assert found["Mikrotik-Address-List"] == ["walled-garden"]


async def test_nothing_of_the_subscribers_own_opens_the_wall(running: World, nas: TestNas) -> None:
    await running.add_plan()
    await running.add_subscriber()
    replies = (row("Mikrotik-Address-List", ":=", "customers"), row("Mikrotik-Rate-Limit", ":=", "900M/900M"), row("Acct-Interim-Interval", "!*"))
    await change_alice(running, *replies, row("Reply-Message", ":=", "hello"))
    assert (await answer(nas))["Mikrotik-Address-List"] == ["customers"]
    alice = await subscribers.by_username(running.db, ACTOR, "alice")
    await standing.add_lock(running.db, ACTOR, alice.id, standing.NewLock(reason="overdue", mode="walled"))
    assert await running.running.feed.settle()
    found = await answer(nas)
    assert found["Mikrotik-Address-List"] == ["walled-garden"]
    assert "900M/900M" not in found["Mikrotik-Rate-Limit"]
    assert found["Acct-Interim-Interval"] == [300]
    assert found["Reply-Message"] == ["hello"]


async def test_a_subscribers_vendor_attribute_replaces_the_drivers_and_one_can_be_taken_away(running: World, nas: TestNas) -> None:
    await running.add_plan()
    await running.add_subscriber()
    await change_alice(running, row("Mikrotik-Rate-Limit", ":=", "3M/3M"))
    assert (await answer(nas))["Mikrotik-Rate-Limit"] == ["3M/3M"]
    await change_alice(running, row("Acct-Interim-Interval", "!*"))
    found = await answer(nas)
    assert found["Mikrotik-Rate-Limit"] == ["20M/100M"]
    assert "Acct-Interim-Interval" not in found.keys()  # noqa: SIM118


async def test_a_new_rate_of_the_plan_does_not_overwrite_the_subscribers_own(running: World, nas: TestNas) -> None:
    await running.add_plan()
    await running.add_subscriber()
    await change_alice(running, row("Mikrotik-Rate-Limit", ":=", "3M/3M"))
    await nas.online()
    await change_plan(running, down_bps=200_000_000, session_timeout_seconds=7200)
    await eventually(lambda: nas.told)
    (told,) = nas.told
    assert told.code == pyrad.CoARequest
    assert told["Session-Timeout"] == [7200]
    assert "Mikrotik-Rate-Limit" not in told.keys()  # noqa: SIM118


async def test_other_replies_need_a_new_login_and_a_raw_plans_rates_nothing(running: World, nas: TestNas) -> None:
    await running.add_plan(raw=True, replies=(row("Filter-Id", ":=", "gold"),))
    await running.add_subscriber()
    await nas.online()
    await change_plan(running, down_bps=200_000_000)
    await change_plan(running, replies=(row("Filter-Id", ":=", "silver"),))
    await eventually(lambda: nas.told)
    assert [told.code for told in nas.told] == [pyrad.DisconnectRequest], "the first change sent nothing"
    assert (await answer(nas))["Filter-Id"] == ["silver"]


async def test_a_password_known_by_its_hash(running: World, nas: TestNas) -> None:
    await running.add_plan()
    await running.add_subscriber("bob", password=None, password_hash="{md5}" + hashlib.md5(b"builder").hexdigest())
    assert (await answer(nas, "bob", "builder")).code == pyrad.AccessAccept
    assert (await answer(nas, "bob", "{md5}" + hashlib.md5(b"builder").hexdigest())).code == pyrad.AccessReject
    request = nas.request("bob", "x")
    del request["User-Password"], request["Message-Authenticator"]
    request["CHAP-Password"] = b"\x01" + hashlib.md5(b"\x01builder" + request.authenticator).digest()
    request.add_message_authenticator()
    raw = await nas.ask(request.RequestPacket(), running.running.auth_port)
    assert raw is not None and raw[0] == pyrad.AccessReject
    assert running.running.server.access.probe(1, "bob", "builder", None, "mikrotik", 0.0, 0.0).accept
    bob = await subscribers.by_username(running.db, ACTOR, "bob")
    await subscribers.set_password(running.db, ACTOR, running.running.keyring, bob.id, subscribers.NewPassword(password="in clear"))
    assert await running.running.feed.settle()
    assert (await answer(nas, "bob", "in clear")).code == pyrad.AccessAccept
    assert (await answer(nas, "bob", "builder")).code == pyrad.AccessReject
