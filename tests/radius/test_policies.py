"""Policies seen from the NAS: what a session really gets, where the arithmetic behind it is tested elsewhere."""

import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from pyrad import packet as pyrad

from netd.domain import consumption
from netd.domain.consumption import NewTopUp, QuotaReset
from netd.domain.quotas import NewStage, NewWindow
from tests.radius.test_quotas import GB, alice_of, standing, used, with_quota
from tests.radius.world import ACTOR, TestNas, World, eventually, nak, nas_at, silence

FULL, LOWERED = ["20M/100M"], ["1M/2M"]
LOWER = (NewStage(percent=100, action="lower", down_bps=2_000_000, up_bps=1_000_000),)


async def rate(device: TestNas) -> list[str]:
    """What a login from the line gets now: memory has followed whatever was acknowledged."""
    answer = await device.login()
    assert answer is not None
    found: list[str] = answer["Mikrotik-Rate-Limit"]
    return found


async def told(device: TestNas, number: int) -> list[str]:
    """The rates of the ``number``th request to the NAS, which is a CoA and the last."""
    await eventually(lambda: len(device.told) >= number)
    assert len(device.told) == number
    assert device.told[-1].code == pyrad.CoARequest
    found: list[str] = device.told[-1]["Mikrotik-Rate-Limit"]
    return found


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_direction_counts_by_itself(bras: TestNas, direction: str) -> None:
    await with_quota(bras.world, direction=direction, amount=3 * GB, stages=LOWER)
    await bras.online()
    mine, other = ("Acct_Input_Octets", "Acct_Output_Octets") if direction == "up" else ("Acct_Output_Octets", "Acct_Input_Octets")
    totals: dict[str, Any] = {mine: 3 * GB - 1, other: 4 * GB}
    assert await bras.account("Interim-Update", Acct_Session_Time=100, **totals)
    assert await rate(bras) == FULL
    totals[mine] += 1
    assert await bras.account("Interim-Update", Acct_Session_Time=200, **totals)
    assert await told(bras, 1) == LOWERED
    assert await rate(bras) == LOWERED


async def test_what_is_used_in_a_free_window_lowers_nothing(bras: TestNas) -> None:
    await with_quota(bras.world, stages=LOWER, free_windows=(NewWindow(start="00:00", end="24:00", percent=25),))
    await bras.online()
    assert await used(bras, 399 * GB, 100)
    assert await rate(bras) == FULL, "a quarter of it counts: 99.75 GB"
    assert await used(bras, 400 * GB, 200)
    assert await told(bras, 1) == LOWERED


async def test_a_lowered_rate_stays_until_usage_is_clearly_below(bras: TestNas) -> None:
    world = bras.world
    await with_quota(world, stages=LOWER, hysteresis_percent=10)
    await bras.online()
    assert await used(bras, 100 * GB, 100)
    assert await told(bras, 1) == LOWERED
    await consumption.top_up(world.db, ACTOR, await alice_of(world), NewTopUp(amount=5 * GB), datetime.now(UTC))
    assert await world.running.feed.settle()
    assert await rate(bras) == LOWERED, "95 %"
    await consumption.top_up(world.db, ACTOR, await alice_of(world), NewTopUp(amount=10 * GB), datetime.now(UTC))
    assert await told(bras, 2) == FULL, "87 %"


async def test_a_reset_brings_the_full_rate_back(bras: TestNas) -> None:
    world = bras.world
    await with_quota(world, stages=LOWER)
    await bras.online()
    assert await used(bras, 100 * GB, 100)
    assert await told(bras, 1) == LOWERED
    await consumption.reset(world.db, ACTOR, await alice_of(world), QuotaReset(note="goodwill"), datetime.now(UTC))
    assert await told(bras, 2) == FULL
    assert await used(bras, 199 * GB, 200)
    assert await rate(bras) == FULL
    assert await used(bras, 200 * GB, 300)
    assert await told(bras, 3) == LOWERED, "another 100 GB"


async def test_what_yesterday_left_unused_is_used_at_full_rate_today(bras: TestNas) -> None:
    world = bras.world
    await with_quota(world, period="day", amount=100 * GB, rollover_amount=50 * GB, stages=LOWER)
    midnight = int((await standing(world)).starts_at.timestamp())
    await bras.online()

    async def account(session: str, status: str, after: int, down: int) -> None:
        assert await bras.account(
            status, session, Acct_Output_Octets=down % 2**32, Acct_Output_Gigawords=down >> 32, Acct_Session_Time=1, Event_Timestamp=midnight + after
        )

    await account("yesterday", "Stop", -60, 70 * GB)
    await account("today", "Stop", 600, 129 * GB)
    assert await rate(bras) == FULL
    await account("later", "Stop", 1200, 1 * GB)
    assert await told(bras, 1) == LOWERED, "100 GB and the 30 GB that were left"


WISPR, MIKROTIK, NOKIA, ZTE, HUAWEI, CHILLI, CISCO, JUNIPER = 14122, 14988, 6527, 3902, 2011, 14559, 9, 4874


def number(value: int) -> bytes:
    """An integer attribute's octets."""
    return struct.pack("!I", value)


SPEED = {
    "generic": {(WISPR, 7): [number(20_000_000)], (WISPR, 8): [number(100_000_000)], (WISPR, 5): [number(5_000_000)], (WISPR, 6): [number(25_000_000)]},
    "mikrotik": {(MIKROTIK, 8): [b"20M/100M 40M/200M 20M/100M 8/8 8 5M/25M"]},
    "nokia": {(NOKIA, 126): [b"i:a:root:rate=20000", b"i:q:1:pir=20000,cir=5000", b"e:r:rate=100000", b"e:q:1:pir=100000,cir=25000"]},
    "huawei": {(HUAWEI, 2): [number(5_000_000)], (HUAWEI, 3): [number(20_000_000)], (HUAWEI, 5): [number(25_000_000)], (HUAWEI, 6): [number(100_000_000)]},
    "zte": {(ZTE, 89): [number(5_000_000)], (ZTE, 192): [number(20_000_000)], (ZTE, 83): [number(25_000_000)], (ZTE, 191): [number(100_000_000)]},
    "coova": {(CHILLI, 4): [number(20_000)], (CHILLI, 5): [number(100_000)]},
    "cisco": {(CISCO, 250): [b"QU;20000000;3750000;D;100000000;18750000"]},
    "juniper": {(JUNIPER, 65): [b"\x01internet(20000000,100000000)"]},
    "accel": {(0, 11): [b"100000/20000"]},
}  # fmt: skip


def octets(packet: bytes) -> dict[tuple[int, int], list[bytes]]:
    """An answer's attributes by vendor (0: none) and number, each as its octets."""
    found: dict[tuple[int, int], list[bytes]] = {}
    at = 20
    while at < len(packet):
        kind, length = packet[at], packet[at + 1]
        value = packet[at + 2 : at + length]
        if kind == 26:
            found.setdefault((int.from_bytes(value[:4]), value[4]), []).append(value[6 : 4 + value[5]])
        else:
            found.setdefault((0, kind), []).append(value)
        at += length
    return found


async def test_burst_and_contention_reach_each_vendor_that_has_a_place_for_them(daemon: World) -> None:
    burst: dict[str, Any] = {"burst_down_bps": 200_000_000, "burst_up_bps": 40_000_000, "burst_seconds": 8}
    await daemon.add_plan(contention_ratio=4, **burst)
    await daemon.add_plan("named", contention_ratio=4, profile="internet", **burst)
    await daemon.add_subscriber()
    await daemon.add_subscriber("bob", plan="named")
    arrived = {}
    for last, (vendor, expected) in enumerate(SPEED.items(), 2):
        await daemon.add_nas(f"127.0.0.{last}", vendor)
        device = TestNas(daemon, f"127.0.0.{last}")
        request = device.request("bob" if vendor == "juniper" else "alice", "wonderland")  # which takes rates by a named service only
        raw = await device.ask(request.RequestPacket(), daemon.running.auth_port)
        assert raw is not None
        assert raw[0] == pyrad.AccessAccept, vendor
        found = octets(raw)
        arrived[vendor] = {key: found.get(key) for key in expected}
    assert arrived == SPEED


async def test_how_an_attempt_ended_stands_there_with_time_and_cause(bras: TestNas) -> None:
    world = bras.world
    async with nas_at(world, "127.0.0.3", say=nak(501)) as stubborn, nas_at(world, "127.0.0.4", say=silence) as dead:
        for device in (bras, stubborn, dead):
            await device.online(device.address)
        begun = datetime.now(UTC)
        await world.suspend()

        async def settled() -> dict[str, tuple[str | None, str]]:
            """How it stands with them at one moment, in which none is asked once more."""
            found = {session.acct_session_id: session for session in await world.sessions()}
            assert all(session.enforce_at is not None for session in found.values() if session.enforce_detail)
            fresh = [session for session in found.values() if session.enforce_at is not None and session.enforce_at >= begun]
            states = {session.acct_session_id: session.enforce_state for session in fresh}
            as_expected = states == {"127.0.0.2": "applied", "127.0.0.3": "refused", "127.0.0.4": "unreachable"}
            return {session.acct_session_id: (session.enforce_state, session.enforce_detail or "") for session in fresh if as_expected}

        told = await eventually(settled)
        assert told["127.0.0.2"][1] == "disconnect acknowledged: suspended"
        assert told["127.0.0.3"][1] == "disconnect: Administratively Prohibited; wanted because suspended"
        assert "wanted because suspended" in told["127.0.0.4"][1]
        assert "no answer from 127.0.0.4" in told["127.0.0.4"][1]
