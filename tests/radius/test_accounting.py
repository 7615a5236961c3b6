"""Accounting end to end: what a NAS sends, in whatever order, against what the tables hold afterwards."""

import asyncio
import socket
import time
from types import SimpleNamespace
from typing import Any

import pytest

from netd.radius import record
from netd.radius.accounting import Attempt, Pending
from netd.store.database import connect
from netd.wire import radius
from tests.radius.world import TestNas, World, an_hour_ago, eventually

T0 = an_hour_ago()


async def rows(world: World, sql: str) -> list[tuple[Any, ...]]:
    async with world.db.acquire() as conn:
        return [tuple(row) for row in await conn.fetch(sql)]


async def test_a_session_from_login_to_stop(bras: TestNas) -> None:
    world = bras.world
    await bras.online(Framed_IP_Address="100.64.0.9", Calling_Station_Id="00:11:22:33:44:55", NAS_Port_Id="ether1")
    (session,) = await world.sessions()
    assert (session.username, str(session.framed_ip_address), session.calling_station_id, session.nas) == (
        "alice", "100.64.0.9", "00:11:22:33:44:55", "127.0.0.2",
    )  # fmt: skip
    assert session.subscriber_id is not None
    assert await bras.account("Interim-Update", Acct_Session_Time=300, Acct_Input_Octets=1, Acct_Output_Octets=2, Acct_Output_Gigawords=3)
    (session,) = await world.sessions()
    assert (session.up_octets, session.down_octets) == (1, 3 * 2**32 + 2)
    assert await bras.account("Stop", Acct_Session_Time=310, Acct_Input_Octets=5, Acct_Output_Octets=9, Acct_Output_Gigawords=3, Acct_Terminate_Cause=1)
    assert await world.sessions() == []
    (closed,) = await world.sessions("closed")
    assert (closed.id, closed.session_seconds, closed.down_octets, closed.terminate_cause, closed.closed_by) == (
        session.id, 310, 3 * 2**32 + 9, "User-Request", "stop",
    )  # fmt: skip
    assert await rows(world, "select sum(up_octets)::bigint, sum(down_octets)::bigint, sum(session_seconds)::bigint from usage_daily") == [
        (5, 3 * 2**32 + 9, 310)
    ]


async def test_out_of_order_and_replayed_packets_leave_one_row(bras: TestNas) -> None:
    packets = [
        bras.accounting("Start", Event_Timestamp=T0),
        bras.accounting("Interim-Update", Event_Timestamp=T0 + 300, Acct_Session_Time=300, Acct_Input_Octets=100),
        bras.accounting("Stop", Event_Timestamp=T0 + 400, Acct_Session_Time=400, Acct_Input_Octets=150),
    ]
    world = bras.world
    for order in ((2, 0, 1), (0, 1, 2), (1, 2, 0)):
        for number in order:
            assert await bras.ask(packets[number], world.running.acct_port) is not None
    assert await rows(
        world, "select extract(epoch from acctstarttime)::bigint, extract(epoch from acctstoptime)::bigint, acctsessiontime, acctinputoctets from radacct"
    ) == [(T0, T0 + 400, 400, 150)]
    assert await world.sessions() == []


async def test_an_interim_without_start_opens_the_session(bras: TestNas) -> None:
    assert await bras.account("Interim-Update", Event_Timestamp=T0 + 500, Acct_Session_Time=500)
    (session,) = await bras.world.sessions()
    assert session.started_at.timestamp() == T0


@pytest.mark.parametrize("status", ["Accounting-On", "Accounting-Off"])
async def test_a_restart_ends_the_sessions_of_that_nas_only(bras: TestNas, status: str) -> None:
    world = bras.world
    other = TestNas(world, "127.0.0.3")
    await world.add_nas("127.0.0.3")
    for number in range(3):
        assert await bras.account("Start", f"a{number}", f"user{number}")
    assert await other.account("Start", "b")
    assert await bras.account(status, "0", "")
    assert [session.acct_session_id for session in await world.sessions()] == ["b"]
    assert {session.closed_by for session in await world.sessions("closed")} == {"nas_reload"}
    assert await bras.account("Start", "a0", "user0", Event_Timestamp=int(time.time()) + 5)
    assert len(await world.sessions()) == 2


async def test_ipv6_columns(bras: TestNas) -> None:
    attributes = b"".join(
        bytes((kind, len(value) + 2)) + value
        for kind, value in (
            (40, b"\0\0\0\1"), (44, b"v6"), (1, b"alice"), (97, b"\0\x40" + bytes.fromhex("20010db800010000")),
            (123, b"\0\x38" + bytes.fromhex("20010db8007700")), (168, bytes.fromhex("20010db8000100000000000000000007")),
            (96, bytes.fromhex("021122fffe334455")),
        )
    )  # fmt: skip
    data = radius.request(4, 9, attributes, radius.SharedSecret(bras.secret), sign=False)
    assert await bras.ask(data, bras.world.running.acct_port) is not None
    assert await rows(bras.world, "select text(framedipv6prefix), text(delegatedipv6prefix), host(framedipv6address), framedinterfaceid from sessions") == [
        ("2001:db8:1::/64", "2001:db8:77::/56", "2001:db8:1::7", "0211:22ff:fe33:4455")
    ]


async def test_forged_accounting_is_dropped(bras: TestNas) -> None:
    data = bytearray(bras.accounting("Start"))
    data[-1] ^= 1
    assert await bras.ask(bytes(data), bras.world.running.acct_port, 0.3) is None
    record = next(iter(bras.world.running.server.directory.nas.values()))
    await eventually(lambda: record.drops == {"request_authenticator_wrong": 1})
    assert await bras.world.sessions() == []


async def test_text_that_postgresql_cannot_hold_is_kept_readable(bras: TestNas) -> None:
    assert await bras.account("Start", "s\x00id", "al\x00ice", Called_Station_Id="a\x00b")
    (session,) = await bras.world.sessions()
    assert (session.acct_session_id, session.username, session.called_station_id) == ("s\ufffdid", "al\ufffdice", "a\ufffdb")


async def test_a_burst_is_committed_in_few_transactions(bras: TestNas) -> None:
    world = bras.world
    port = world.running.acct_port
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind((bras.address, 0))
        for number in range(200):
            sock.sendto(bras.accounting("Start", f"s{number}", f"u{number}"), ("127.0.0.1", port))
        acknowledged: set[int] = set()
        async with asyncio.timeout(60):
            while len(acknowledged) < 200:
                acknowledged.add((await loop.sock_recv(sock, 4096))[1])
    assert len(await world.sessions()) == 200
    assert world.running.server.accounting.batches < 40


async def test_packets_have_their_turn_during_a_large_commit(bras: TestNas) -> None:
    """Also between the last statement and the acknowledgements, for memory follows there."""
    world = bras.world
    accounting = world.running.server.accounting
    nas = world.running.server.directory.networks.source(bras.address)
    assert nas is not None
    turns = 0
    after_commit: list[tuple[bool, int]] = []

    def turn() -> None:
        nonlocal turns
        turns += 1
        if len(after_commit) < 500:
            asyncio.get_running_loop().call_soon(turn)

    batch = []
    for number in range(500):
        item = record.read(radius.parse(bras.accounting("Start", f"s{number}", f"u{number}")), nas, bras.address, time.time())
        assert item is not None
        batch.append(Pending(item, nas, lambda committed: after_commit.append((committed, turns))))
    asyncio.get_running_loop().call_soon(turn)
    await accounting._commit(Attempt(batch))
    assert [committed for committed, _ in after_commit] == [True] * 500
    assert after_commit[-1][1] - after_commit[0][1] >= 9, "fifty acknowledgements in a turn at the most"
    assert turns >= 50, "about ten each to attribute, fold, compare, follow and acknowledge"
    assert len(await world.sessions()) == 500


async def test_usage_over_midnight_is_that_of_both_days(bras: TestNas) -> None:
    midnight = T0 // 86_400 * 86_400
    assert await bras.account("Start", Event_Timestamp=midnight - 600)
    assert await bras.account("Stop", Event_Timestamp=midnight + 200, Acct_Session_Time=800, Acct_Input_Octets=8_000)
    found = await rows(bras.world, "select extract(epoch from day)::bigint, up_octets, session_seconds from usage_daily order by day")
    assert found == [(midnight - 86_400, 6_000, 600), (midnight, 2_000, 200)]


async def test_silent_sessions_are_reaped_at_their_last_sign_of_life(bras: TestNas) -> None:
    world = bras.world
    assert await bras.account("Interim-Update", "old", Event_Timestamp=T0, Acct_Session_Time=60)
    assert await bras.account("Interim-Update", "new", Event_Timestamp=int(time.time()), Acct_Session_Time=60)
    assert await world.running.upkeep.reap_once() == 0, "silence counts only while netd listens"
    world.running.server.accounting.listening_since = T0
    assert await world.running.upkeep.reap_once() == 0, "both were heard a moment ago, whatever the NAS's clock says"
    async with world.db.acquire() as conn:
        await conn.execute("update sessions set heard_at = acctupdatetime")
    assert await world.running.upkeep.reap_once() == 1
    (closed,) = await world.sessions("closed")
    assert (closed.acct_session_id, closed.stopped_at.timestamp(), closed.closed_by) == ("old", T0, "reaper")  # type: ignore[union-attr]
    # its NAS was only cut off: the session goes on
    assert await bras.account("Interim-Update", "old", Event_Timestamp=T0 + 3590, Acct_Session_Time=3650)
    assert {session.acct_session_id for session in await world.sessions()} == {"old", "new"}
    assert await world.sessions("closed") == []


async def test_a_clock_that_goes_ahead_makes_no_session_silent(bras: TestNas) -> None:
    """A machine that stood still for hours, or began with a clock that was hours behind: nothing could be heard in a time that was not lived through."""
    world = bras.world
    await bras.online()
    upkeep, accounting = world.running.upkeep, world.running.server.accounting
    accounting.listening_since = 0
    upkeep.wall_clock = lambda: time.time() + 7200
    assert await upkeep.reap_once() == 0
    assert len(await world.sessions()) == 1
    assert accounting.listening_since == pytest.approx(time.time() + 7200, abs=60)
    upkeep.wall_clock = lambda: time.time() + 7229  # set right a little, as clocks are
    accounting.listening_since = 0
    assert await upkeep.reap_once() == 1


async def test_a_clock_that_was_ahead_for_a_while_does_not_put_the_reaper_off(bras: TestNas) -> None:
    world = bras.world
    await bras.online()
    upkeep, accounting = world.running.upkeep, world.running.server.accounting
    upkeep.wall_clock = lambda: time.time() + 86_400
    assert await upkeep.reap_once() == 0
    assert accounting.listening_since > time.time() + 86_000
    upkeep.wall_clock = time.time
    assert await upkeep.reap_once() == 0
    assert accounting.listening_since <= time.time()


async def test_a_process_that_stood_still_makes_no_session_silent(bras: TestNas, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped container: both clocks go on, only nobody looks at them."""
    world = bras.world
    await bras.online()
    upkeep, accounting = world.running.upkeep, world.running.server.accounting
    accounting.listening_since = stood = 0.0
    monkeypatch.setattr("netd.radius.upkeep.time", SimpleNamespace(monotonic=lambda: time.monotonic() + stood))
    monkeypatch.setattr("netd.radius.upkeep.REAP_SECONDS", 0.2)
    upkeep.wall_clock = lambda: time.time() + stood
    reaping = asyncio.create_task(upkeep.reap())
    try:
        await asyncio.sleep(0)  # now it sleeps
        stood = 7200.0
        await eventually(lambda: accounting.listening_since > time.time() + 7000)
    finally:
        reaping.cancel()
    assert len(await world.sessions()) == 1


async def test_a_session_being_heard_of_just_now_is_not_reaped(bras: TestNas) -> None:
    world = bras.world
    await bras.online()
    async with world.db.acquire() as conn:
        await conn.execute("update sessions set heard_at = now() - interval '2 hours'")
    world.running.server.accounting.listening_since = 0
    writer = await connect(world.dsn)
    try:
        async with writer.transaction():  # as accounting does when the NAS comes back
            await writer.execute("update sessions set heard_at = now()")
            reaping = asyncio.create_task(world.running.upkeep.reap_once())
            await asyncio.wait({reaping}, timeout=0.3)
        assert await reaping == 0
    finally:
        await writer.close()
    assert len(await world.sessions()) == 1


async def test_accounting_of_a_subscriber_just_deleted_is_kept(bras: TestNas) -> None:
    world = bras.world
    async with world.db.transaction() as conn:  # behind the feed's back: the engine still knows alice
        await conn.execute("alter table subscribers disable trigger all")
        await conn.execute("delete from subscribers")
        await conn.execute("alter table subscribers enable trigger all")
    assert await bras.account("Start", Acct_Input_Octets=1)
    assert await bras.account("Interim-Update", Acct_Session_Time=60, Acct_Input_Octets=9)
    (session,) = await world.sessions()
    assert (session.username, session.subscriber_id, session.up_octets) == ("alice", None, 9)


async def test_a_session_time_that_counts_on_over_a_new_login_does_not_make_its_stop_unwelcome(bras: TestNas) -> None:
    first, second = await bras.login(), await bras.login()
    assert first is not None
    assert second is not None
    assert await bras.account("Start", Event_Timestamp=T0, Class=first["Class"][0])
    assert await bras.account("Start", Event_Timestamp=T0 + 500, Class=second["Class"][0])
    assert await bras.account("Interim-Update", Event_Timestamp=T0 + 700, Acct_Session_Time=700, Acct_Input_Octets=7, Class=second["Class"][0])
    assert await bras.account("Stop", Event_Timestamp=T0 + 800, Acct_Session_Time=800, Acct_Input_Octets=8, Class=second["Class"][0])
    assert await rows(
        bras.world, "select extract(epoch from acctstarttime)::bigint, extract(epoch from acctstoptime)::bigint, acctinputoctets from radacct"
    ) == [(T0, T0 + 800, 8)]
