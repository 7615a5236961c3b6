"""What an attacker, or a NAS that is merely odd, must not achieve."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import msgspec
import pytest
from pyrad import packet as pyrad

from netd.domain import plans
from netd.errors import StoreUnavailable
from netd.model.accounting import Row
from netd.radius.enforce import Enforcer
from netd.radius.sessions import LiveRecord
from netd.store import directory as directory_store
from netd.store.directory import SubscriberRow
from tests.radius.engine import Peer, access_request, engine
from tests.radius.test_enforce import enforcer_of
from tests.radius.world import ACTOR, SECRET, TestNas, World, eventually, nas_at

T0 = int(time.time()) - 7200


async def rows(world: World, sql: str) -> list[tuple[Any, ...]]:
    async with world.db.acquire() as conn:
        return [tuple(row) for row in await conn.fetch(sql)]


async def execute(world: World, sql: str) -> None:
    async with world.db.transaction() as conn:
        await conn.execute(sql)


class LosesAnswer:
    """A database whose next commit succeeds, but the word of it is lost."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self.losses = 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self._database.transaction() as conn:
            yield conn
        if self.losses:
            self.losses -= 1
            raise StoreUnavailable("the database went away during a commit; whether it was committed is unknown")


# -- accounting and memory --------------------------------------------------------------------------------------------


async def test_a_stop_whose_commit_was_lost_from_sight_leaves_no_ghost_in_memory(bras: TestNas) -> None:
    """Ledger sees no change the second time, so Opened is empty and the session stays in memory for ever: session_limit for good."""
    server = bras.world.running.server
    await bras.online()
    server.accounting.database = cast(Any, LosesAnswer(server.accounting.database))
    assert await bras.account("Stop", Acct_Session_Time=10)
    assert await bras.world.sessions() == []
    assert len(server.access.sessions) == 0


async def test_a_start_whose_commit_was_lost_from_sight_is_in_memory(bras: TestNas) -> None:
    server = bras.world.running.server
    server.accounting.database = cast(Any, LosesAnswer(server.accounting.database))
    assert await bras.account("Start")
    assert len(await bras.world.sessions()) == 1
    assert len(server.access.sessions) == 1


async def test_sessions_reaped_in_a_commit_whose_answer_was_lost_leave_memory(bras: TestNas) -> None:
    running = bras.world.running
    await bras.account("Start", Event_Timestamp=T0)
    await execute(bras.world, "update sessions set heard_at = now() - interval '1 day'")
    running.server.accounting.listening_since = 0.0
    running.upkeep.database = cast(Any, LosesAnswer(running.upkeep.database))
    with pytest.raises(StoreUnavailable):
        await running.upkeep.reap_once()
    await running.upkeep.reconcile_once()
    assert await bras.world.sessions() == []
    assert len(running.server.access.sessions) == 0


async def test_a_nas_whose_clock_is_an_hour_slow_keeps_its_sessions(bras: TestNas) -> None:
    """Silence is measured by event time: the reaper closes a session that spoke a moment ago."""
    running = bras.world.running
    running.server.accounting.listening_since = time.time() - 86_400
    slow = int(time.time()) - 3600
    assert await bras.account("Start", Event_Timestamp=slow)
    assert await bras.account("Interim-Update", Event_Timestamp=slow + 1, Acct_Session_Time=1)
    await running.upkeep.reap_once()
    assert len(await bras.world.sessions()) == 1


async def test_one_odd_delay_does_not_stop_the_reaper(bras: TestNas) -> None:
    """acctinterval of 32 years times three exceeds integer: the reaper's query fails for everybody."""
    running = bras.world.running
    assert await bras.account("Start", Acct_Delay_Time=1_000_000_000)
    assert await bras.account("Interim-Update", Acct_Session_Time=1)
    assert await bras.account("Start", session="dead", Event_Timestamp=T0)
    await execute(bras.world, "update sessions set heard_at = now() - interval '1 day' where acctsessionid = 'dead'")
    running.server.accounting.listening_since = 0.0
    assert await running.upkeep.reap_once() == 1


async def test_an_absurd_delay_does_not_get_later_packets_refused(bras: TestNas) -> None:
    assert await bras.account("Start", Acct_Delay_Time=0xFFFFFFFF)
    assert await bras.account("Interim-Update", Acct_Session_Time=60)


async def test_absurd_gigawords_do_not_lose_the_stop(bras: TestNas) -> None:
    await bras.online()
    assert await bras.account("Stop", Acct_Session_Time=10, Acct_Input_Octets=5, Acct_Output_Octets=1, Acct_Output_Gigawords=0xFFFFFFFF)
    assert await bras.world.sessions() == []


async def test_a_full_day_of_usage_does_not_get_later_packets_refused(bras: TestNas) -> None:
    await bras.online("one")
    assert await bras.account("Stop", "one", Acct_Session_Time=10, Acct_Output_Octets=1, Acct_Output_Gigawords=0x7FFFFFFF)
    await bras.online("two")
    assert await bras.account("Stop", "two", Acct_Session_Time=10, Acct_Output_Octets=1, Acct_Output_Gigawords=0x7FFFFFFF)


async def test_a_late_start_between_two_generations_is_accounted(bras: TestNas) -> None:
    """Generation A closed, C open; B's Start (between them) opens a second row with the key of C: refused for ever."""
    packets: list[tuple[str, int, dict[str, Any]]] = [("Start", 0, {}), ("Stop", 100, {"Acct_Session_Time": 100}), ("Start", 500, {}), ("Start", 200, {})]
    for status, at, more in packets:
        assert await bras.account(status, Event_Timestamp=T0 + at, **more), (status, at)


async def test_two_devices_in_one_prefix_may_use_the_same_session_id(daemon: World) -> None:
    await daemon.add_plan()
    await daemon.add_subscriber()
    await daemon.add_nas("127.0.9.0/24", coa_port=3799)
    one, two = TestNas(daemon, "127.0.9.1"), TestNas(daemon, "127.0.9.2")
    assert await one.account("Start", "00000001", Event_Timestamp=T0, Framed_IP_Address="100.64.0.1")
    assert await two.account("Start", "00000001", Event_Timestamp=T0 + 1, Framed_IP_Address="100.64.0.2")
    assert await one.account("Interim-Update", "00000001", Event_Timestamp=T0 + 300, Acct_Session_Time=300, Acct_Input_Octets=100)
    assert await two.account("Interim-Update", "00000001", Event_Timestamp=T0 + 301, Acct_Session_Time=300, Acct_Input_Octets=70)
    assert len(await daemon.sessions()) == 2
    assert await rows(daemon, "select sum(up_octets)::bigint from usage_daily") == [(170,)]


async def test_accounting_on_of_one_device_behind_a_proxy_spares_the_others(bras: TestNas) -> None:
    """FreeRADIUS closes by NAS-IP-Address; here every device behind the same source address loses its sessions."""
    packet_ = pyrad.AcctPacket(code=4, secret=SECRET, dict=bras.request("x", "y").dict, id=1)
    for name, value in (("Acct-Status-Type", "Start"), ("Acct-Session-Id", "s"), ("User-Name", "alice"), ("NAS-IP-Address", "10.0.0.2")):
        packet_[name] = value
    assert await bras.ask(packet_.RequestPacket(), bras.world.running.acct_port)
    on = pyrad.AcctPacket(code=4, secret=SECRET, dict=packet_.dict, id=2)
    on["Acct-Status-Type"], on["NAS-IP-Address"] = "Accounting-On", "10.0.0.1"
    assert await bras.ask(on.RequestPacket(), bras.world.running.acct_port)
    assert len(await bras.world.sessions()) == 1


async def test_a_stop_without_user_name_ends_the_session_that_its_class_names(bras: TestNas) -> None:
    answer = await bras.online()
    assert await bras.account("Interim-Update", Class=answer["Class"][0], Acct_Session_Time=300, Acct_Input_Octets=1000)
    assert await bras.account("Stop", username="", Class=answer["Class"][0], Acct_Session_Time=310, Acct_Input_Octets=1000)
    assert await rows(bras.world, "select sum(up_octets)::bigint from usage_daily") == [(1000,)]
    assert await bras.world.sessions() == []


# -- enforcement -------------------------------------------------------------------------------------------------------


async def test_a_repeated_stop_without_user_name_is_not_accounted_twice(bras: TestNas) -> None:
    """The token leaves memory with the session, so the retransmission (other identifier: its ack was lost) is a session of its own."""
    answer = await bras.online()
    for delay in (0, 5):
        assert await bras.account("Stop", username="", Class=answer["Class"][0], Acct_Session_Time=310, Acct_Input_Octets=1000, Acct_Delay_Time=delay)
    assert await rows(bras.world, "select sum(up_octets)::bigint from usage_daily") == [(1000,)]
    assert len(await bras.world.sessions("closed")) == 1


async def test_start_and_nameless_stop_in_one_batch_are_one_session(bras: TestNas) -> None:
    answer = await bras.login()
    assert answer is not None
    more = {"Class": answer["Class"][0], "Acct_Input_Octets": 1000}
    await asyncio.gather(
        bras.ask(bras.accounting("Start", Class=answer["Class"][0]), bras.world.running.acct_port),
        bras.ask(bras.accounting("Stop", username="", Acct_Session_Time=1, **more), bras.world.running.acct_port),
    )
    assert await bras.world.sessions() == []
    assert len(await bras.world.sessions("closed")) == 1


async def test_a_start_that_arrives_late_does_not_end_the_newer_session(bras: TestNas) -> None:
    """Two retransmitted Starts in the wrong order: the session that lives is the one that began last."""
    await bras.world.add_plan("one", max_sessions=1)
    await bras.world.add_subscriber("bob", plan="one")
    line = {"Calling_Station_Id": "00:11:22:33:44:55"}
    assert await bras.account("Start", "new", "bob", Event_Timestamp=T0 + 600, **line)
    assert await bras.account("Start", "old", "bob", Event_Timestamp=T0, **line)
    await eventually(lambda: bras.told)
    assert [str(each["Acct-Session-Id"][0]) for each in bras.told] == ["old"]


async def test_a_subscriber_deleted_between_accept_and_start_is_disconnected(bras: TestNas) -> None:
    from netd.domain import subscribers
    from tests.radius.world import ACTOR

    world = bras.world
    answer = await bras.login()
    assert answer is not None
    found = await subscribers.by_username(world.db, ACTOR, "alice")
    await subscribers.delete(world.db, ACTOR, found.id)
    assert await world.running.feed.settle()
    assert await bras.account("Start", Class=answer["Class"][0])
    await eventually(lambda: bras.told)


async def test_a_session_of_a_deleted_subscriber_is_ended_after_a_restart_too(dsn: str, tmp_path: Any) -> None:
    from netd.domain import subscribers
    from tests.radius.world import ACTOR, silence, world

    async with AsyncExitStack() as outlasts:  # the NAS is there all the time, at the same port
        async with world(dsn, tmp_path) as first:
            await first.add_plan()
            await first.add_subscriber()
            device = await outlasts.enter_async_context(nas_at(first, "127.0.0.2", say=silence))
            await device.online()
            found = await subscribers.by_username(first.db, ACTOR, "alice")
            await subscribers.delete(first.db, ACTOR, found.id)
            await eventually(lambda: device.told)
        device.told.clear()
        device.heard.clear()
        async with world(dsn, tmp_path) as second:
            assert len(await second.sessions()) == 1
            await eventually(lambda: device.told)


class Turns:
    """How many sessions enforcement looks at in one turn of the loop, and how long it works there."""

    def __init__(self, enforcer: Enforcer, patch: pytest.MonkeyPatch) -> None:
        self.looked_at = self.most = 0
        self.seconds = 0.0
        self._consider = enforcer.consider
        patch.setattr(enforcer, "consider", self._count)

    def _count(self, live: LiveRecord) -> bool:
        self.looked_at += 1
        return self._consider(live)

    async def watch(self) -> None:
        while True:
            before, at = self.looked_at, time.thread_time()  # what this thread worked, not what others had of its core
            await asyncio.sleep(0)
            self.most, self.seconds = max(self.most, self.looked_at - before), max(self.seconds, time.thread_time() - at)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        watcher = asyncio.create_task(self.watch())
        await asyncio.sleep(0)
        yield
        await asyncio.sleep(0.01)  # the last turn counts, too
        watcher.cancel()
        assert self.most <= 1_200, "those of a change and of a sweep"
        assert self.seconds < 0.5


def ten_thousand_sessions(bras: TestNas, applied: str | None = None) -> None:
    """Of alice, as far as memory knows."""
    server = bras.world.running.server
    (alice,), (nas,) = server.directory.subscribers.values(), server.directory.nas.values()
    for number in range(10_000):
        server.access.sessions.put(Row(
            acctuniqueid=f"{number:032x}", tenant_id=1, nas_id=nas.id, subscriber_id=alice.id, acctsessionid=str(number), username="alice",
            nasipaddress="127.0.0.2", nassourceaddress="127.0.0.2", radacctid=10_000 + number, started_at=0.0, updated_at=0.0,
            applied_policy=applied or enforcer_of(bras.world).policies.of(alice, nas),
        ))  # fmt: skip


@pytest.mark.usefixtures("frozen_heap")
async def test_a_plan_change_does_not_hold_the_loop(bras: TestNas, monkeypatch: pytest.MonkeyPatch) -> None:
    ten_thousand_sessions(bras, "00000000")
    turns = Turns(enforcer_of(bras.world), monkeypatch)
    async with turns.watched():
        home = await plans.by_name(bras.world.db, ACTOR, "home")
        await plans.update(bras.world.db, ACTOR, home.id, plans.PlanPatch(down_bps=50_000_000))
        await eventually(lambda: turns.looked_at >= 20_000)  # the change itself, and a sweep


@pytest.mark.usefixtures("frozen_heap")
async def test_a_change_that_leaves_every_session_as_it_is_does_not_either(bras: TestNas, monkeypatch: pytest.MonkeyPatch) -> None:
    ten_thousand_sessions(bras)
    enforcer = enforcer_of(bras.world)
    turns = Turns(enforcer, monkeypatch)
    async with turns.watched():
        await enforcer.plans_changed(list(enforcer.directory.plans))
    assert turns.looked_at >= 10_000
    assert bras.told == []


async def test_a_billing_run_does_not_hold_the_loop(bras: TestNas, monkeypatch: pytest.MonkeyPatch) -> None:
    world = bras.world
    sizes: list[int] = []
    real = directory_store.some_subscribers

    async def counted(conn: Any, ids: Sequence[int]) -> Any:
        sizes.append(len(ids))
        return await real(conn, ids)

    monkeypatch.setattr(directory_store, "some_subscribers", counted)
    async with world.db.acquire() as conn:
        await conn.execute(
            """insert into subscribers (tenant_id, username, username_key, plan_id)
               select tenant_id, 'user' || n, 'user' || n, plan_id from subscribers, generate_series(1, 450) as n"""
        )
    assert await world.running.feed.settle()
    assert sum(sizes) == 450
    assert max(sizes) <= 200, "a turn of some two milliseconds"
    assert len(world.running.server.directory.subscribers) == 451


# -- authentication ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "value"), [(3, bytes(22)), (3, bytes(5)), (2, bytes(15)), (2, bytes(144))], ids=["chap-22", "chap-5", "pap-15", "pap-144"])
async def test_malformed_credentials_in_a_genuine_request_are_rejected_not_dropped(kind: int, value: bytes) -> None:
    """The subscriber chooses the length of a CHAP response; silence makes the NAS think that the server is dead."""
    with engine("127.0.0.1") as made:
        made.nas("127.0.0.2/32")
        with Peer("127.0.0.2") as peer:
            answer = await peer.ask(access_request([(kind, value)], password=None), made.auth_port)
            assert answer is not None
            assert answer[0] == 3


async def test_malformed_ms_chap_is_rejected_not_dropped() -> None:
    def microsoft(kind: int, value: bytes) -> tuple[int, bytes]:
        return 26, (311).to_bytes(4, "big") + bytes((kind, len(value) + 2)) + value

    with engine("127.0.0.1") as made:
        made.nas("127.0.0.2/32")
        with Peer("127.0.0.2") as peer:
            answer = await peer.ask(access_request([microsoft(11, bytes(15)), microsoft(25, bytes(50))], password=None), made.auth_port)
            assert answer is not None
            assert answer[0] == 3


async def test_strangers_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with engine("127.0.0.1") as made, Peer("127.0.0.2") as barrier:
        made.nas("127.0.0.2/32")
        for number in range(3000):
            with Peer(f"127.1.{number // 250}.{number % 250 + 1}") as stranger:
                stranger.send(b"x", made.auth_port)
            if number % 50 == 49:
                await barrier.ask(access_request(), made.auth_port)
    assert sum("unknown client" in record.message for record in caplog.records) < 1500


async def test_a_huge_signed_request_does_not_write_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    with engine("127.0.0.1") as made:
        made.nas("127.0.0.2/32")
        with Peer("127.0.0.2") as peer:
            await peer.ask(access_request([(33, bytes(253))] * 40), made.auth_port)
    assert not [record for record in caplog.records if record.exc_info and record.name.startswith("netd.")]


async def test_a_disabled_nas_is_not_served_by_a_wider_entry() -> None:
    with engine("127.0.0.1") as made:
        made.nas("127.0.0.0/24", nas_id=1, name="wide")
        made.nas("127.0.0.2/32", nas_id=2, name="off", enabled=False)
        assert made.directory.networks.source("127.0.0.2") is None


async def test_two_subscribers_renamed_at_once_both_stay_known() -> None:
    with engine("127.0.0.1") as made:

        def row(number: int, name: str) -> SubscriberRow:
            return SubscriberRow(number, 1, name, name, b"x", 1, "active", 0.0, None, None, None, None, None, None, None, None)

        made.directory.put_subscribers([row(10, "anna"), row(11, "bert")])
        made.directory.put_subscribers([row(11, "anna"), row(10, "clara")])  # clara was anna, anna was bert
        users = made.directory.users[1]
        assert (users["anna"].id, users["clara"].id) == (11, 10)


# -- second round ------------------------------------------------------------------------------------------------------


async def test_an_absurd_session_time_does_not_take_the_record_out_of_the_history(bras: TestNas) -> None:
    """Start = event - 136 years -> radacct_default -> the hourly upkeep makes and detaches radacct_1890MM: the record is gone from every list."""
    assert await bras.account("Stop", Acct_Session_Time=0xFFFFFFFF, Acct_Input_Octets=7)
    assert len(await bras.world.sessions("closed")) == 1
    await bras.world.running.upkeep.turn_partitions_once()
    assert len(await bras.world.sessions("closed")) == 1
    assert await rows(bras.world, "select relname from pg_class where relname ~ '^radacct_1.*_detached$'") == []


async def test_slow_reports_do_not_hold_accounting_up(bras: TestNas) -> None:
    """Ten slow list requests (any read_only token, ?count=true) take every connection of the API's pool."""
    db = bras.world.running.database

    async def report() -> None:
        async with db.acquire() as conn:
            await conn.execute("select pg_sleep(120)")

    async def all_at_it() -> bool:
        ((count,),) = await rows(bras.world, "select count(*) from pg_stat_activity where wait_event = 'PgSleep'")
        return int(count) >= 10

    reports = [asyncio.create_task(report()) for _ in range(10)]
    try:
        await eventually(all_at_it)
        assert await bras.account("Start")
    finally:
        for each in reports:
            each.cancel()
        await asyncio.gather(*reports, return_exceptions=True)


async def test_a_grant_encoded_otherwise_by_a_new_release_disconnects_nobody(dsn: str, tmp_path: Any) -> None:
    """applied_policy is a hash of encoded octets: a driver that encodes the same plan otherwise makes every session differ, and the
    fingerprint before is unknown after a restart, so `reachable` says no and everybody is disconnected five seconds after an upgrade."""
    from tests.radius.world import world

    async with AsyncExitStack() as outlasts:  # the NAS is there all the time, at the same port
        async with world(dsn, tmp_path) as first:
            await first.add_plan()
            await first.add_subscriber()
            device = await outlasts.enter_async_context(nas_at(first, "127.0.0.2"))
            await device.online()
            async with first.db.acquire() as conn:  # what the release before this one would have written for the very same plan
                await conn.execute("update sessions set applied_policy = 'deadbeef'")
        async with world(dsn, tmp_path) as second:
            assert len(second.running.server.access.sessions) == 1
            await asyncio.sleep(2)
            assert [each.code for each in device.told if each.code == pyrad.DisconnectRequest] == []


async def test_a_session_that_another_node_closed_does_not_lock_its_subscriber_out(bras: TestNas) -> None:
    world = bras.world
    await world.add_plan("one", max_sessions=1)
    await world.add_subscriber("bob", plan="one")
    await bras.online("s9", "bob", Calling_Station_Id="00:11:22:33:44:55")
    async with world.db.transaction() as conn:
        from netd.store import sessions as store

        uid = await conn.fetchval("select acctuniqueid from sessions")
        await store.close(conn, [uid], "reaper", "Lost-Carrier", None)

    async def again() -> bool:
        answer = await bras.login("bob", Calling_Station_Id="66:77:88:99:aa:bb")
        return answer is not None and answer.code == pyrad.AccessAccept

    await world.running.upkeep.reconcile_once()
    assert await again()


async def test_a_disconnect_that_is_no_longer_wanted_is_not_sent(dsn: str, tmp_path: Any) -> None:
    """Orders queued for an unreachable NAS are sent when their turn comes, whatever was decided since."""
    from netd.domain import standing, subscribers
    from tests.radius.world import ACTOR, silence, world

    async with world(dsn, tmp_path, NETD_COA__WINDOW="1", NETD_COA__TIMEOUT_SECONDS="60") as running:
        await running.add_plan()
        await running.add_subscriber()
        await running.add_subscriber("bob")
        async with nas_at(running, "127.0.0.2", say=silence) as device:
            await device.online("s-alice")
            await device.online("s-bob", "bob")
            await running.suspend("bob")
            await eventually(lambda: device.told)
            await running.suspend("alice")
            assert await running.running.feed.settle()
            (alice,) = [live for live in running.running.server.access.sessions.by_id.values() if live.row.username == "alice"]
            assert alice.busy, "her order waits behind his"
            found = await subscribers.by_username(running.db, ACTOR, "alice")
            await standing.restore(running.db, ACTOR, found.id)
            assert await running.running.feed.settle()
            device.say = None
            device.transport.sendto(device.told[0].CreateReply().ReplyPacket(), device.peer)
            await eventually(lambda: not alice.busy)
            await asyncio.sleep(0.3)
            assert {each["Acct-Session-Id"][0] for each in device.told} == {"s-bob"}


async def test_usage_goes_to_whom_the_accept_was_given(bras: TestNas) -> None:
    """The NAS strips the realm, and the bare name is somebody else's: Class says whose session it is, the name wins."""
    world = bras.world
    await world.add_subscriber("alice@isp.example")
    answer = await bras.login("alice@isp.example")
    assert answer is not None
    assert await bras.account("Start", username="alice", Class=answer["Class"][0])
    (session,) = await world.sessions()
    assert (session.subscriber_id,) == (await rows(world, "select id from subscribers where username = 'alice@isp.example'"))[0]


async def test_refused_unseen_log_ins_are_not_all_written_down(bras: TestNas) -> None:
    """A router that redials ten times a second with a wrong password is 78 million rows in 90 days."""
    for _ in range(4):
        packets = [bras.request("alice", "wrong").RequestPacket() for _ in range(50)]
        assert None not in await asyncio.gather(*(bras.ask(packet, bras.world.running.auth_port) for packet in packets))
    await bras.world.running.upkeep.flush_postauth()
    assert (await rows(bras.world, "select count(*) from radpostauth where reason = 'rate_limited'"))[0][0] < 50


async def test_an_answer_that_does_not_fit_is_a_reject(bras: TestNas) -> None:
    from netd.model.subscriber import Attribute

    replies = tuple(Attribute(attribute="Reply-Message", op="+=", value="x" * 250) for _ in range(20))
    await bras.world.add_subscriber("carl", replies=replies)
    assert await bras.login("carl") is not None


async def test_a_lock_until_infinity_does_not_end_the_daemon(bras: TestNas) -> None:
    """jsonb makes the string "Infinity" of it; `until > wall_clock` raises TypeError in the sweep, the task group ends everything, at each start anew."""
    world = bras.world
    await bras.online()
    async with world.db.transaction() as conn:
        await conn.execute(
            "insert into access_locks (tenant_id, subscriber_id, reason, mode, until_at, created_by) "
            "select tenant_id, id, 'admin', 'walled', 'infinity', 'sql' from subscribers"
        )
    await asyncio.sleep(1)
    assert world.running.server.reading
    answer = await bras.login()
    assert answer is not None


async def test_a_subscription_without_end_is_served(bras: TestNas) -> None:
    """expires_at = 'infinity' (SQL): int(inf) raises OverflowError for each request: silence and a traceback."""
    async with bras.world.db.transaction() as conn:
        await conn.execute("update subscribers set expires_at = 'infinity'")
    assert await bras.world.running.feed.settle()
    assert await bras.login() is not None


async def test_a_driver_that_returns_nonsense_disables_only_itself(bras: TestNas) -> None:
    """encode() stands outside the barrier: a TypeError of it ends enforcement or the change feed, and with them the daemon."""

    class Broken:
        def grant(self, service: Any) -> Any:
            return None

    server = bras.world.running.server
    await bras.online()
    extensions: Any = server.directory.extensions
    broken: Any = Broken()
    vendors = dict(extensions.vendors)
    vendors["mikrotik"] = msgspec.structs.replace(vendors["mikrotik"], access=broken)
    extensions.vendors = vendors
    for plan in server.directory.plans.values():
        plan.grants = {}
    await asyncio.sleep(1)
    assert server.reading
