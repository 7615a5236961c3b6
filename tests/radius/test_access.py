"""Authentication end to end: over UDP, from a NAS that is not ours, through the whole daemon."""

import asyncio
import hashlib
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyrad import packet as pyrad

from netd.domain import standing, subscribers
from netd.store.database import connect
from tests.radius.world import ACTOR, TestNas, World, eventually, world


async def test_an_accept_carries_the_plan(bras: TestNas) -> None:
    answer = await bras.login()
    assert answer is not None
    assert answer.code == pyrad.AccessAccept
    assert answer["Mikrotik-Rate-Limit"] == ["20M/100M"]  # rx is the subscriber's upload
    assert answer["Acct-Interim-Interval"] == [300]
    assert answer["Class"][0].startswith(b"netd1:")


async def test_a_wrong_password_is_rejected_after_the_delay(bras: TestNas) -> None:
    begun = time.monotonic()
    answer = await bras.login(password="looking-glass")
    assert answer is not None
    assert answer.code == pyrad.AccessReject
    assert time.monotonic() - begun >= 0.045


async def test_names_are_compared_in_lower_case(bras: TestNas) -> None:
    for name in ("ALICE", "Alice ", " alice"):
        answer = await bras.login(name)
        assert answer is not None
        assert answer.code == pyrad.AccessAccept, name


async def test_chap(bras: TestNas) -> None:
    packet = bras.request("alice", "-")
    del packet["User-Password"]
    challenge = b"0123456789abcdef"
    packet["CHAP-Challenge"] = challenge
    packet["CHAP-Password"] = b"\x07" + hashlib.md5(b"\x07wonderland" + challenge).digest()
    packet.add_message_authenticator()
    raw = await bras.ask(packet.RequestPacket(), bras.world.running.auth_port)
    assert raw is not None
    assert raw[0] == pyrad.AccessAccept


async def test_a_retransmission_gets_the_same_octets_and_one_decision(bras: TestNas) -> None:
    data = bras.request("alice", "wonderland").RequestPacket()
    port = bras.world.running.auth_port
    loop = asyncio.get_running_loop()
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind((bras.address, 0))
        answers = []
        for _ in range(3):
            sock.sendto(data, ("127.0.0.1", port))
            async with asyncio.timeout(20):
                answers.append(await loop.sock_recv(sock, 4096))
    assert len(set(answers)) == 1
    record = next(iter(bras.world.running.server.directory.nas.values()))
    assert (record.accepts, record.duplicates) == (1, 2)


async def test_one_bit_less_in_the_signature_and_nothing_is_answered(bras: TestNas) -> None:
    data = bytearray(bras.request("alice", "wonderland").RequestPacket())
    data[-1] ^= 1
    assert await bras.ask(bytes(data), bras.world.running.auth_port, 0.3) is None
    assert await bras.login(sign=False, seconds=0.3) is None
    record = next(iter(bras.world.running.server.directory.nas.values()))
    await eventually(lambda: record.drops == {"message_authenticator_wrong": 1, "message_authenticator_missing": 1})


async def test_strangers_get_nothing_and_are_counted(bras: TestNas) -> None:
    stranger = TestNas(bras.world, "127.0.0.99")
    assert await stranger.login(seconds=0.3) is None
    await eventually(lambda: bras.world.running.server.unknown == {"unknown_client": 1})


async def test_a_nas_and_a_subscriber_work_at_the_next_packet(daemon: World) -> None:
    device = TestNas(daemon, "127.0.0.7")
    assert await device.ask(device.request("bob", "builder").RequestPacket(), daemon.running.auth_port, 0.2) is None
    await daemon.add_nas("127.0.0.0/28", "huawei", name="access network")
    await daemon.add_plan()
    await daemon.add_subscriber("bob", "builder")
    answer = await device.login("bob", "builder")
    assert answer is not None
    assert answer.code == pyrad.AccessAccept
    # the longest prefix wins: another secret for one address of that network
    await daemon.add_nas("127.0.0.7", secret=b"its own secret")
    assert await device.login("bob", "builder", seconds=0.3) is None
    device.secret = b"its own secret"
    assert await device.login("bob", "builder") is not None


async def test_states_and_locks_decide_and_are_recorded(bras: TestNas) -> None:
    world = bras.world
    alice = await subscribers.by_username(world.db, ACTOR, "alice")

    async def code() -> int:
        assert await world.running.feed.settle()
        answer = await bras.login()
        assert answer is not None
        return int(answer.code)

    await standing.suspend(world.db, ACTOR, alice.id)
    assert await code() == pyrad.AccessReject
    await standing.restore(world.db, ACTOR, alice.id)
    assert await code() == pyrad.AccessAccept
    await standing.add_lock(world.db, ACTOR, alice.id, standing.NewLock(reason="overdue", mode="reject"))
    await standing.add_lock(world.db, ACTOR, alice.id, standing.NewLock(reason="fraud", mode="reject"))
    assert await code() == pyrad.AccessReject
    await standing.lift_lock(world.db, ACTOR, alice.id, "overdue")
    assert await code() == pyrad.AccessReject
    await standing.lift_lock(world.db, ACTOR, alice.id, "fraud")
    assert await code() == pyrad.AccessAccept
    await world.running.upkeep.flush_postauth()
    async with world.db.acquire() as conn:
        rows = await conn.fetch("select reply, reason from radpostauth order by id")
    assert [tuple(row) for row in rows] == [
        ("Access-Reject", "suspended"), ("Access-Accept", "ok"), ("Access-Reject", "locked"), ("Access-Reject", "locked"), ("Access-Accept", "ok"),
    ]  # fmt: skip


async def test_a_lock_can_end_by_itself_and_a_walled_one_lets_in(bras: TestNas, monkeypatch: pytest.MonkeyPatch) -> None:
    world = bras.world
    alice = await subscribers.by_username(world.db, ACTOR, "alice")
    until = datetime.now(UTC) + timedelta(hours=1)
    await standing.add_lock(world.db, ACTOR, alice.id, standing.NewLock(reason="overdue", mode="walled", until_at=until))
    assert await world.running.feed.settle()
    answer = await bras.login()
    assert answer is not None
    assert answer.code == pyrad.AccessAccept
    assert answer["Mikrotik-Address-List"] == ["walled-garden"]
    assert answer["Mikrotik-Rate-Limit"] == ["1M/1M"]
    monkeypatch.setattr(time, "time", lambda: until.timestamp() + 1)
    answer = await bras.login()
    assert answer is not None
    assert answer["Mikrotik-Rate-Limit"] == ["20M/100M"]


async def test_an_expiring_subscription_cuts_the_session_timeout(daemon: World, bras: TestNas) -> None:
    await daemon.add_subscriber("bob", "builder", expires_at=datetime.now(UTC) + timedelta(hours=2))
    answer = await bras.login("bob", "builder")
    assert answer is not None
    assert 7100 < answer["Session-Timeout"][0] <= 7200


async def test_static_addresses_and_own_attributes(daemon: World, bras: TestNas) -> None:
    await daemon.add_subscriber(
        "bob", "builder", ipv4="192.0.2.77", ipv6_prefix="2001:db8:1::/64", delegated_ipv6_prefix="2001:db8:77::/56",
        replies=(subscribers.NewReply(attribute="Acct-Interim-Interval", op=":=", value="600"), subscribers.NewReply(attribute="Filter-Id", value="bob")),
        checks=(subscribers.NewCheck(attribute="NAS-Port-Id", op="=~", value="^ether[12]$"),),
    )  # fmt: skip
    answer = await bras.login("bob", "builder", NAS_Port_Id="ether1")
    assert answer is not None
    assert answer["Framed-IP-Address"] == ["192.0.2.77"]
    assert answer["Delegated-IPv6-Prefix"] == ["2001:db8:77::/56"]
    assert answer["Framed-IPv6-Prefix"] == ["2001:db8:1::/64"]
    assert answer["Acct-Interim-Interval"] == [600]
    assert answer["Filter-Id"] == ["bob"]
    assert answer["Mikrotik-Rate-Limit"] == ["20M/100M"]
    refused = await bras.login("bob", "builder", NAS_Port_Id="ether3")
    assert refused is not None
    assert refused.code == pyrad.AccessReject


async def test_session_limit_holds_between_accept_and_start(daemon: World, bras: TestNas) -> None:
    await daemon.add_subscriber("bob", "builder", max_sessions=1)
    first = await bras.login("bob", "builder", Calling_Station_Id="AA:AA")
    second = await bras.login("bob", "builder", Calling_Station_Id="BB:BB")
    assert first is not None
    assert second is not None
    assert (first.code, second.code) == (pyrad.AccessAccept, pyrad.AccessReject)
    # the same line dialling again is not a second session
    again = await bras.login("bob", "builder", Calling_Station_Id="AA:AA")
    assert again is not None
    assert again.code == pyrad.AccessAccept
    assert await bras.account("Start", "b1", "bob", Class=again["Class"][0], Calling_Station_Id="AA:AA")
    third = await bras.login("bob", "builder", Calling_Station_Id="BB:BB")
    assert third is not None
    assert third.code == pyrad.AccessReject
    assert await bras.account("Stop", "b1", "bob", Class=again["Class"][0], Calling_Station_Id="AA:AA")
    # one hold is left of the first Accept, whose session never started
    running = bras.world.running.server.access.sessions
    running._holds.clear()
    fourth = await bras.login("bob", "builder", Calling_Station_Id="BB:BB")
    assert fourth is not None
    assert fourth.code == pyrad.AccessAccept


async def test_guessing_is_stopped_but_the_owner_is_not_locked_out(daemon: World, bras: TestNas) -> None:
    assert await bras.login(Calling_Station_Id="OWNER") is not None
    for _ in range(10):
        answer = await bras.login(password="guess", Calling_Station_Id="THIEF")
        assert answer is not None
        assert answer.code == pyrad.AccessReject
    right = await bras.login(Calling_Station_Id="THIEF")
    assert right is not None
    assert right.code == pyrad.AccessReject
    record = next(iter(daemon.running.server.directory.nas.values()))
    assert record.rejects == {"wrong_password": 10, "rate_limited": 1}
    owner = await bras.login(Calling_Station_Id="OWNER")
    assert owner is not None
    assert owner.code == pyrad.AccessAccept


async def test_proxy_state_comes_back_in_order(bras: TestNas) -> None:
    packet = bras.request("alice", "wonderland", sign=False)
    packet.AddAttribute("Proxy-State", b"one")
    packet.AddAttribute("Proxy-State", b"two")
    packet.add_message_authenticator()
    raw = await bras.ask(packet.RequestPacket(), bras.world.running.auth_port)
    assert raw is not None
    assert packet.CreateReply(packet=raw)["Proxy-State"] == [b"one", b"two"]


async def test_log_ins_that_fill_a_statement_wait_for_no_clock(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netd.radius.upkeep.POSTAUTH_SECONDS", 3600.0)
    monkeypatch.setattr("netd.radius.upkeep.POSTAUTH_ROWS", 3)
    async with world(dsn, tmp_path) as quiet:
        await quiet.add_plan()
        await quiet.add_subscriber()
        await quiet.add_nas("127.0.0.2")
        device = TestNas(quiet, "127.0.0.2")

        async def written() -> int:
            async with quiet.db.acquire() as conn:
                return int(await conn.fetchval("select count(*) from radpostauth"))

        for _ in range(2):
            await device.login()
        assert len(quiet.running.server.postauth) == 2
        await device.login()
        await eventually(lambda: not quiet.running.server.postauth)

        async def three() -> bool:
            return await written() == 3

        await eventually(three)


async def test_log_ins_written_by_two_flushes_at_once_stand_there_once(bras: TestNas) -> None:
    world = bras.world
    writer = await connect(world.dsn)
    try:
        async with writer.transaction():
            await writer.execute("lock table radpostauth in exclusive mode")
            await bras.login()
            flushes = [asyncio.create_task(world.running.upkeep.flush_postauth()) for _ in range(2)]
            await asyncio.wait(flushes, timeout=0.2)
        await asyncio.gather(*flushes)
    finally:
        await writer.close()
    async with world.db.acquire() as conn:
        assert await conn.fetchval("select count(*) from radpostauth") == 1
