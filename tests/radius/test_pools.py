"""Addresses from pools end to end: what a NAS that is not ours sees on the wire."""

import asyncio
import contextlib
import shutil
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pyrad import packet as pyrad

from netd.domain import leases, nas, pools, sites, subscribers
from netd.domain.leases import LeaseQuery, NewFramedRoute, Release
from netd.errors import Conflict
from netd.model.pool import Lease
from netd.store import leases as lease_store
from netd.store.database import connect
from tests.radius.world import ACTOR, TestNas, World, eventually, nas_at, world


async def add_pools(bras: TestNas) -> None:
    """One pool of each kind, for everybody."""
    await bras.world.add_pool("v4", "ipv4", ("100.64.0.0/24",))
    await bras.world.add_pool("v6", "ipv6", ("2001:db8::/48",))
    await bras.world.add_pool("pd", "delegated", ("2001:db8:100::/40",))


async def add_subscribers(daemon: World, *names: str, **more: Any) -> None:
    for name in names:
        await daemon.add_subscriber(name, **more)


async def address(bras: TestNas, username: str, line: str = "", **more: Any) -> str | None:
    """The IPv4 address that a log-in is answered with, None for a reject."""
    answer = await bras.login(username, Calling_Station_Id=line or f"line of {username}", **more)
    assert answer is not None
    if answer.code == pyrad.AccessReject:
        return None
    return str(answer["Framed-IP-Address"][0]) if "Framed-IP-Address" in answer else ""


async def online(bras: TestNas, username: str, session: str, line: str = "", **more: Any) -> str:
    """Log in and start a session with the address that was given."""
    answer = await bras.login(username, Calling_Station_Id=line or f"line of {username}")
    assert answer is not None
    assert answer.code == pyrad.AccessAccept
    given = str(answer["Framed-IP-Address"][0])
    told = {"Framed_IP_Address": given, "Class": answer["Class"][0], "Calling_Station_Id": line or f"line of {username}", **more}
    assert await bras.account("Start", session, username, **told)
    return given


async def the_leases(daemon: World, **wanted: Any) -> list[Lease]:
    return list((await leases.page(daemon.db, ACTOR, LeaseQuery(limit=1000, **wanted))).items)


async def state(daemon: World, username: str) -> list[str]:
    return [lease.state for lease in await the_leases(daemon, username=username)]


async def reason(daemon: World, username: str) -> str:
    """Why the last log-in of this name was answered as it was."""

    async def last() -> Any:
        async with daemon.db.acquire() as conn:
            return await conn.fetchval("select reason from radpostauth where username_key = $1 order by id desc limit 1", username)

    return str(await eventually(last))


async def age(daemon: World, seconds: int = 100_000) -> None:
    """Let time pass for leases whose session ended."""
    async with daemon.db.acquire() as conn:
        await conn.execute(
            "update leases set until_at = until_at - make_interval(secs => $1::integer) where until_at < 'infinity' and ended_at is not null", seconds
        )
    for held in list(held_leases(daemon).by_subscriber.values()):
        if held.ended:
            held.until -= seconds


def held_leases(daemon: World) -> Any:
    access = daemon.running.server.access
    assert access.leases is not None
    return access.leases


@contextlib.asynccontextmanager
async def outage(admin_url: str, daemon: World) -> AsyncIterator[None]:
    """The database lets nobody in, for as long as the context lasts."""
    name = urlsplit(daemon.dsn).path.lstrip("/")
    admin = await connect(admin_url)
    engine = daemon.running.server.accounting.database
    try:
        await admin.execute(f'alter database "{name}" allow_connections false')

        async def gone() -> bool:
            """Whoever was about to connect when the door was closed is thrown out, too."""
            await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()", name)
            return not engine.up

        await eventually(gone)
        yield
    finally:
        await admin.execute(f'alter database "{name}" allow_connections true')
        await admin.close()
    await eventually(lambda: engine.up and daemon.db.up and daemon.running.feed.up, 60)


async def test_a_dual_stack_subscriber_gets_all_three_kinds_again_and_again(bras: TestNas) -> None:
    await add_pools(bras)
    first = await bras.login(Calling_Station_Id="line 1")
    assert first is not None
    assert first.code == pyrad.AccessAccept
    assert first["Framed-IP-Address"] == ["100.64.0.1"], "neither network nor broadcast address"
    assert first["Framed-IPv6-Prefix"] == ["2001:db8::/64"]
    assert first["Delegated-IPv6-Prefix"] == ["2001:db8:100::/56"]
    assert first["Mikrotik-Rate-Limit"] == ["20M/100M"]
    again = await bras.login(Calling_Station_Id="line 1")
    assert again is not None
    for name in ("Framed-IP-Address", "Framed-IPv6-Prefix", "Delegated-IPv6-Prefix"):
        assert again[name] == first[name]


async def test_a_subscriber_gets_its_former_address_back(bras: TestNas) -> None:
    daemon = bras.world
    await bras.world.add_pool("v4", "ipv4", ("100.64.0.0/24",))
    await add_subscribers(daemon, "bob", "carol")
    mine = await online(bras, "alice", "s1")
    await eventually(lambda: state(daemon, "alice"))
    assert await state(daemon, "alice") == ["in_use"]
    assert await online(bras, "bob", "s2") != mine
    assert await bras.account("Stop", "s1", "alice", Framed_IP_Address=mine)

    async def graced() -> bool:
        return await state(daemon, "alice") == ["grace"]

    await eventually(graced)
    await age(daemon)
    assert await state(daemon, "alice") == ["remembered"]
    assert await address(bras, "carol") not in (mine, None), "what is remembered is not given while there is something else"
    assert await address(bras, "alice", "another router") == mine
    assert await state(daemon, "alice") == ["in_use"]


async def test_two_lines_at_a_time_have_two_addresses_and_a_line_that_dials_again_has_one(bras: TestNas) -> None:
    await bras.world.add_pool("v4", "ipv4", ("100.64.0.0/24",))
    one = await online(bras, "alice", "s1", "line 1")
    two = await online(bras, "alice", "s2", "line 2")
    assert one != two
    assert await address(bras, "alice", "line 1") == one
    assert await address(bras, "alice", "line 2") == two
    bras.say = None
    assert await online(bras, "alice", "s3", "line 1") == one
    await eventually(lambda: bras.told)
    assert bras.told[0].code == pyrad.DisconnectRequest, "the session that the new one replaced must not go on with its address"
    assert bras.told[0]["Acct-Session-Id"] == ["s1"]
    assert await bras.account("Stop", "s1", "alice", Framed_IP_Address=one)

    async def all_in_use() -> bool:
        return await state(bras.world, "alice") == ["in_use", "in_use"]

    await eventually(all_in_use)


async def test_what_the_nas_asks_again_while_in_work_is_answered_once(bras: TestNas) -> None:
    daemon = bras.world
    await bras.world.add_pool("v4", "ipv4", ("100.64.0.0/24",))
    data = bras.request("alice", "wonderland", Calling_Station_Id="line").RequestPacket()
    loop = asyncio.get_running_loop()
    record = next(iter(daemon.running.server.directory.nas.values()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind((bras.address, 0))
        async with daemon.db.transaction() as conn:
            await conn.execute("select 1 from pools for update")  # nobody leases meanwhile
            for _ in range(3):
                sock.sendto(data, ("127.0.0.1", daemon.running.auth_port))
            await eventually(lambda: record.duplicates == 2)
            assert record.accepts == 0
        async with asyncio.timeout(20):
            first = await loop.sock_recv(sock, 4096)
        assert first[0] == pyrad.AccessAccept
        sock.sendto(data, ("127.0.0.1", daemon.running.auth_port))
        async with asyncio.timeout(20):
            assert await loop.sock_recv(sock, 4096) == first
    assert len(await the_leases(daemon)) == 1


async def test_an_exhausted_pool_rejects_and_says_so_before(bras: TestNas) -> None:
    daemon = bras.world
    await daemon.add_pool("tiny", "ipv4", ("100.64.0.1-100.64.0.2",))
    await daemon.add_pool("v6", "ipv6", ("2001:db8::/48",))
    await add_subscribers(daemon, "bob", "carol")
    mine = await online(bras, "alice", "s1")
    assert await address(bras, "bob")
    assert await address(bras, "carol") is None
    assert await reason(daemon, "carol") == "no_address"
    assert await the_leases(daemon, username="carol") == [], "all three kinds or none"
    await daemon.running.lease_upkeep.count_once()
    (part,) = [part for part in daemon.running.health.parts() if part.name == "address_pools"]
    assert (part.state, part.detail) == ("degraded", "pool tiny has 0 of 2 free")
    page = daemon.running.metrics.render()[0].decode()
    assert 'netd_pool_addresses{pool="tiny",state="used",tenant="1"} 2.0' in page
    assert 'netd_pool_addresses{pool="tiny",state="free",tenant="1"} 0.0' in page
    usage = await pools.usage(daemon.db, ACTOR, (await the_leases(daemon))[0].pool_id)
    assert (usage.total, usage.used, usage.free) == (2, 2, 0)
    # Once alice is gone for longer than the grace time, another gets her address, and she does not believe she still has it.
    assert await bras.account("Stop", "s1", "alice", Framed_IP_Address=mine)

    async def ended() -> bool:
        return await state(daemon, "alice") == ["grace", "grace"]

    await eventually(ended)
    assert await address(bras, "carol") is None, "the grace time keeps it"
    await age(daemon)
    assert await address(bras, "carol") == mine
    assert await daemon.running.feed.settle()
    assert await address(bras, "alice") is None


async def test_a_plan_with_a_pool_on_the_nas_falls_back_to_it(bras: TestNas) -> None:
    daemon = bras.world
    await daemon.add_plan("both", ipv4_pool="on-the-nas")
    await add_subscribers(daemon, "bob", "carol", plan="both")
    await daemon.add_pool("tiny", "ipv4", ("100.64.0.1",))
    first = await bras.login("bob", Calling_Station_Id="b")
    assert first is not None
    assert first["Framed-IP-Address"] == ["100.64.0.1"]
    assert "Framed-Pool" not in first, "the NAS must not choose besides"
    second = await bras.login("carol", Calling_Station_Id="c")
    assert second is not None
    assert second.code == pyrad.AccessAccept
    assert second["Framed-Pool"] == ["on-the-nas"]
    assert "Framed-IP-Address" not in second


async def test_a_fixed_address_inside_a_pool_is_nobody_elses(bras: TestNas) -> None:
    daemon = bras.world
    await daemon.add_pool("v4", "ipv4", ("100.64.0.1-100.64.0.3",), gateway="100.64.0.1")
    await add_subscribers(daemon, "fixed", ipv4="100.64.0.2")
    await add_subscribers(daemon, "bob")
    assert await address(bras, "fixed") == "100.64.0.2"
    assert await address(bras, "alice") == "100.64.0.3"
    assert await address(bras, "bob") is None
    with pytest.raises(Conflict, match="leased to another"):
        await add_subscribers(daemon, "eve", ipv4="100.64.0.3")
    fixed = await subscribers.by_username(daemon.db, ACTOR, "fixed")
    await subscribers.delete(daemon.db, ACTOR, fixed.id)
    assert await address(bras, "bob") == "100.64.0.2", "what was fixed is free again"


async def test_fixing_an_address_disconnects_and_a_rule_does_not(bras: TestNas) -> None:
    daemon = bras.world
    await daemon.add_pool("v4", "ipv4", ("100.64.0.0/24",))
    mine = await online(bras, "alice", "s1")
    await daemon.add_pool("other", "ipv4", ("100.65.0.0/24",), rule={"plan": "home"})
    await asyncio.sleep(0.5)
    assert bras.told == []
    alice = await subscribers.by_username(daemon.db, ACTOR, "alice")
    patch = subscribers.SubscriberPatch(ipv4=mine)  # her own lease becomes hers for good
    await subscribers.update(daemon.db, ACTOR, daemon.running.keyring, alice.id, patch, daemon.running.server.directory.rows)
    await eventually(lambda: bras.told)
    assert bras.told[0].code == pyrad.DisconnectRequest
    assert await bras.account("Stop", "s1", "alice")
    assert await address(bras, "alice") == mine
    assert await the_leases(daemon, username="alice") == []


async def test_the_most_specific_rule_wins_at_the_next_log_in(bras: TestNas) -> None:
    daemon = bras.world
    await sites.create_site(daemon.db, ACTOR, sites.NewSite(name="north"))
    async with nas_at(daemon, "127.0.0.3", site="north", vrf="red") as north:
        await daemon.add_pool("all", "ipv4", ("10.0.0.0/24",))
        assert await address(bras, "alice") == "10.0.0.1"
        assert await address(north, "alice") == "10.0.0.1", "no rule sets them apart"
        await daemon.add_pool("plan", "ipv4", ("10.1.0.0/24",), rule={"plan": "home"})
        assert await address(north, "alice") == "10.1.0.1"
        await daemon.add_pool("vrf", "ipv4", ("10.2.0.0/24",), rule={"vrf": "red"}, vrf="red")
        assert await address(north, "alice") == "10.2.0.1"
        assert (await address(bras, "alice") or "").startswith("10.1.0.")
        await daemon.add_pool("site", "ipv4", ("10.3.0.0/24",), rule={"site": "NORTH"})
        assert await address(north, "alice") == "10.3.0.1"
        await daemon.add_pool("nas", "ipv4", ("10.4.0.0/24",), rule={"nas": "127.0.0.3"})
        assert await address(north, "alice") == "10.4.0.1"
        await daemon.add_pool("both", "ipv4", ("10.5.0.0/24",), rule={"nas": "127.0.0.3", "plan": "home"})
        assert await address(north, "alice") == "10.5.0.1"
        moved = await nas.by_name(daemon.db, ACTOR, "127.0.0.3")
        assert (moved.site, moved.vrf) == ("north", "red")


async def test_what_the_nas_used_instead_is_recorded(bras: TestNas) -> None:
    daemon = bras.world
    await daemon.add_pool("v4", "ipv4", ("100.64.0.0/24",))
    answer = await bras.login(Calling_Station_Id="l")
    assert answer is not None
    assert await bras.account("Start", Class=answer["Class"][0], Framed_IP_Address="192.0.2.99")

    async def recorded() -> list[Lease]:
        return await the_leases(daemon, state="conflict")

    (lease,) = await eventually(recorded)
    assert lease.conflict == "127.0.0.2 uses 192.0.2.99 in session s1"
    assert held_leases(daemon).conflict_count == 1
    assert b"netd_pool_conflicts_total 1.0" in daemon.running.metrics.render()[0]


async def test_networks_behind_a_subscriber(bras: TestNas) -> None:
    daemon = bras.world
    await bras.online()
    alice = await subscribers.by_username(daemon.db, ACTOR, "alice")
    await leases.add_route(daemon.db, ACTOR, alice.id, NewFramedRoute(prefix="10.9.0.0/24"))
    await leases.add_route(daemon.db, ACTOR, alice.id, NewFramedRoute(prefix="2001:db8:9::/48", gateway="2001:db8::1", metric=5))
    await eventually(lambda: bras.told)
    assert bras.told[0].code == pyrad.DisconnectRequest, "only a log-in brings routes"
    assert await daemon.running.feed.settle()
    answer = await bras.login()
    assert answer is not None
    assert answer["Framed-Route"] == ["10.9.0.0/24 0.0.0.0 1"]
    assert answer["Framed-IPv6-Route"] == ["2001:db8:9::/48 2001:db8::1 5"]
    await add_subscribers(daemon, "bob")
    await daemon.add_pool("v4", "ipv4", ("10.9.0.255-10.9.1.0",))
    assert await address(bras, "bob") == "10.9.1.0", "what is routed to another is not leased"
    bob = await subscribers.by_username(daemon.db, ACTOR, "bob")
    for taken in ("10.9.0.0/16", "10.9.1.0/24"):
        with pytest.raises(Conflict):
            await leases.add_route(daemon.db, ACTOR, (bob if taken.endswith("16") else alice).id, NewFramedRoute(prefix=taken))


async def test_an_address_released_by_hand_ends_the_session_only_by_force(bras: TestNas) -> None:
    daemon = bras.world
    await daemon.add_pool("v4", "ipv4", ("100.64.0.1",))
    await add_subscribers(daemon, "bob")
    mine = await online(bras, "alice", "s1")
    (lease,) = await the_leases(daemon, ip=mine)
    with pytest.raises(Conflict, match="in use by alice"):
        await leases.release(daemon.db, ACTOR, lease.id, Release())
    await leases.release(daemon.db, ACTOR, lease.id, Release(force=True))
    await eventually(lambda: bras.told)
    assert bras.told[0].code == pyrad.DisconnectRequest
    assert await bras.account("Stop", "s1", "alice", Framed_IP_Address=mine)
    assert await address(bras, "bob") == mine
    assert await address(bras, "alice") is None


async def test_a_restarted_nas_frees_what_its_sessions_had(bras: TestNas) -> None:
    daemon = bras.world
    await daemon.add_pool("v4", "ipv4", ("100.64.0.0/24",))
    await add_subscribers(daemon, "bob")
    await online(bras, "alice", "s1")
    await online(bras, "bob", "s2")
    assert await bras.account("Accounting-Off", "", "", Event_Timestamp=int(time.time()) + 2)  # times on the wire have whole seconds

    async def all_ended() -> bool:
        return [lease.state for lease in await the_leases(daemon)] == ["grace", "grace"]

    await eventually(all_ended)


async def test_leases_are_brought_in_line_with_sessions(bras: TestNas) -> None:
    daemon = bras.world
    await daemon.add_pool("v4", "ipv4", ("100.64.0.0/24",))
    await add_subscribers(daemon, "bob")
    await online(bras, "alice", "s1")
    await online(bras, "bob", "s2")

    async def all_in_use() -> bool:
        async with daemon.db.acquire() as conn:
            return bool(await conn.fetchval("select count(*) = 2 from leases where until_at = 'infinity'"))

    await eventually(all_in_use)
    async with daemon.db.acquire() as conn:  # what a crash may leave behind
        await conn.execute("delete from sessions where username = 'alice'")
        await conn.execute("update leases set until_at = now(), ended_at = now() where subscriber_id = (select id from subscribers where username = 'bob')")
    assert await daemon.running.lease_upkeep.reconcile_once() == (1, 1)
    assert (await state(daemon, "alice"), await state(daemon, "bob")) == (["grace"], ["in_use"])


async def test_known_leases_outlive_the_database(bras: TestNas, cluster: Any) -> None:
    daemon = bras.world
    await daemon.add_pool("v4", "ipv4", ("100.64.0.0/24",))
    await add_subscribers(daemon, "bob", "carol")
    mine = await online(bras, "alice", "s1")
    theirs = await address(bras, "bob")
    await daemon.running.lease_upkeep.flush()
    async with outage(cluster.admin_url, daemon):
        assert await address(bras, "alice") == mine
        assert await address(bras, "bob") == theirs
        assert await address(bras, "carol") is None
        for held in held_leases(daemon).by_subscriber.values():
            held.ended, held.until = True, 1.0  # however long ago
        assert await address(bras, "bob") == theirs
    assert await reason(daemon, "carol") == "no_address"
    assert await address(bras, "carol") not in (mine, theirs, None)


async def test_what_was_granted_during_an_outage_is_not_given_to_another_after_it(bras: TestNas, cluster: Any) -> None:
    daemon = bras.world
    await daemon.add_pool("tiny", "ipv4", ("100.64.0.1",))
    await add_subscribers(daemon, "bob")
    mine = await online(bras, "alice", "s1")
    assert await bras.account("Stop", "s1", "alice", Framed_IP_Address=mine)
    await daemon.running.lease_upkeep.flush()
    await age(daemon)
    flush, flushing = daemon.running.allocator.flush, asyncio.Event()

    async def noticed() -> None:
        flushing.set()
        await flush()

    daemon.running.allocator.flush = noticed
    async with daemon.running.lease_upkeep._flushing:  # what is known is not written by itself
        async with outage(cluster.admin_url, daemon):
            assert await address(bras, "alice") == mine
        asking = asyncio.create_task(address(bras, "bob"))
        await asyncio.wait((asking, asyncio.create_task(flushing.wait())), return_when=asyncio.FIRST_COMPLETED)
        assert not asking.done(), "what is known is written first"
    assert await asking is None


async def test_a_second_line_at_once_is_told_from_the_first(bras: TestNas) -> None:
    daemon = bras.world
    await daemon.add_pool("v4", "ipv4", ("100.64.0.0/24",))
    mine = await online(bras, "alice", "s1", "line 1")
    assert await bras.account("Stop", "s1", "alice", Framed_IP_Address=mine)
    await daemon.running.lease_upkeep.flush()
    async with daemon.running.lease_upkeep._flushing:
        assert await address(bras, "alice", "line 2") == mine
        assert await address(bras, "alice", "line 3") not in (mine, None), "the database is not told yet that line 2 has it"


async def test_a_second_line_is_told_from_the_first_while_that_is_being_written(bras: TestNas, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = bras.world
    await daemon.add_pool("v4", "ipv4", ("100.64.0.0/24",))
    mine = await online(bras, "alice", "s1", "line 1")
    assert await bras.account("Stop", "s1", "alice", Framed_IP_Address=mine)
    await daemon.running.lease_upkeep.flush()
    claim, begun, go = lease_store.claim, asyncio.Event(), asyncio.Event()

    async def slowly(*arguments: Any) -> dict[int, float]:
        if not begun.is_set():
            begun.set()
            await go.wait()
        return await claim(*arguments)

    monkeypatch.setattr(lease_store, "claim", slowly)
    assert await address(bras, "alice", "line 2") == mine
    await begun.wait()
    third = await address(bras, "alice", "line 3")
    go.set()
    assert third not in (mine, None), "the database is not told yet that line 2 has it"
    await daemon.running.lease_upkeep.flush()
    assert await address(bras, "alice", "line 2") == mine


async def test_an_address_lost_during_an_outage_is_given_up(bras: TestNas, cluster: Any) -> None:
    daemon = bras.world
    await daemon.add_pool("v4", "ipv4", ("100.64.0.0/24",))
    await add_subscribers(daemon, "bob")
    mine = await online(bras, "alice", "s1")
    assert await bras.account("Stop", "s1", "alice", Framed_IP_Address=mine)
    await daemon.running.lease_upkeep.flush()
    bob = await subscribers.by_username(daemon.db, ACTOR, "bob")
    # The other node is quicker than this one, which comes back as soon as it can.
    async with daemon.running.lease_upkeep._flushing, outage(cluster.admin_url, daemon):
        answer = await bras.login("alice", Calling_Station_Id="line of alice")
        assert answer is not None
        assert answer["Framed-IP-Address"] == [mine]
        name = urlsplit(daemon.dsn).path.lstrip("/")
        admin = await connect(cluster.admin_url)  # another node has the database all the time
        await admin.execute(f'alter database "{name}" allow_connections true')
        other = await connect(daemon.dsn)
        await other.execute("alter table leases disable trigger user")
        await other.execute("update leases set subscriber_id = $1, ended_at = null, token = 'x', until_at = 'infinity'", bob.id)
        await other.execute("alter table leases enable trigger user")
        await other.close()
        await admin.close()
    await daemon.running.lease_upkeep.flush()
    assert await bras.account("Start", "s2", "alice", Class=answer["Class"][0], Framed_IP_Address=mine, Calling_Station_Id="line of alice")
    await eventually(lambda: bras.told)
    assert bras.told[0].code == pyrad.DisconnectRequest
    assert held_leases(daemon).lost_count == 1
    assert await address(bras, "alice") not in (mine, None)


async def test_a_restart_keeps_all(dsn: str, tmp_path: Path) -> None:
    async with world(dsn, tmp_path) as first:
        await first.add_plan()
        await first.add_subscriber()
        await first.add_pool("v4", "ipv4", ("100.64.0.7-100.64.0.20",))
        async with nas_at(first, "127.0.0.2") as bras:
            mine = await online(bras, "alice", "s1")
    async with world(dsn, tmp_path) as second:
        bras = TestNas(second, "127.0.0.2")
        record = next(iter(held_leases(second).by_subscriber.values()))
        assert record.session, "it is linked to the session that goes on"
        assert await address(bras, "alice") == mine
        assert await second.running.lease_upkeep.reconcile_once() == (0, 0)


async def test_two_nodes_never_give_an_address_twice(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    async with world(dsn, tmp_path) as one:
        async with one.db.acquire() as conn:
            key = one.running.keyring
            await one.add_plan()
            sealed = key.seal(b"wonderland", subscribers.PASSWORD_CONTEXT)
            await conn.execute(
                """insert into subscribers (tenant_id, username, username_key, password, plan_id)
                   select 1, 'u' || n, 'u' || n, $1, (select id from plans) from generate_series(1, 160) n""", sealed)  # fmt: skip
        await one.add_pool("v4", "ipv4", ("100.64.0.1-100.64.0.150",))
        shutil.copy2(tmp_path / "secret.key", tmp_path / "b" / "secret.key")
        async with world(dsn, tmp_path / "b") as two, nas_at(one, "127.0.0.2") as bras:
            other = TestNas(two, "127.0.0.2")
            assert await two.running.feed.settle()
            given: list[str | None] = []
            for first in range(1, 161, 40):
                given += await asyncio.gather(*(address(bras if n % 2 else other, f"u{n}") for n in range(first, first + 40)))
            found = [each for each in given if each]
            assert len(found) == len(set(found)) == 150
            assert given.count(None) == 10
            # The other node knows nothing of a lease, and finds the same in the database.
            lucky = next(n for n in range(1, 161) if given[n - 1])
            assert await address(other if lucky % 2 else bras, f"u{lucky}") == given[lucky - 1]


async def test_a_thousand_first_log_ins_at_once_share_nothing(bras: TestNas) -> None:
    daemon = bras.world
    sealed = daemon.running.keyring.seal(b"wonderland", subscribers.PASSWORD_CONTEXT)
    async with daemon.db.acquire() as conn:
        await conn.execute(
            """insert into subscribers (tenant_id, username, username_key, password, plan_id)
               select 1, 'u' || n, 'u' || n, $1, (select id from plans) from generate_series(1, 1000) n""", sealed)  # fmt: skip
    await add_pools(bras)
    await daemon.running.feed.settle()
    (v4,) = (await pools.page(daemon.db, ACTOR, pools.PoolQuery(name="v4"))).items
    await pools.update(daemon.db, ACTOR, v4.id, pools.PoolPatch(ranges=("100.64.0.0/20",)))
    assert await daemon.running.feed.settle()
    requests = {}
    for number in range(1, 1001):
        packet = bras.request(f"u{number}", "wonderland", Calling_Station_Id=f"line {number}")
        requests[number] = packet.RequestPacket()
    loop = asyncio.get_running_loop()
    answers: dict[int, bytes] = {}
    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) for _ in range(4)]

    async def receive(sock: socket.socket, first: int) -> None:
        by_identifier = {requests[n][1]: n for n in range(first, first + 250)}
        for _ in range(250):
            raw = await loop.sock_recv(sock, 4096)
            answers[by_identifier[raw[1]]] = raw

    begun = time.monotonic()
    for place, sock in enumerate(socks):
        sock.bind((bras.address, 0))
        for number in range(place * 250 + 1, place * 250 + 251):
            sock.sendto(requests[number], ("127.0.0.1", daemon.running.auth_port))
    async with asyncio.timeout(120):
        await asyncio.gather(*(receive(sock, place * 250 + 1) for place, sock in enumerate(socks)))
    took = time.monotonic() - begun
    for sock in socks:
        sock.close()
    assert {raw[0] for raw in answers.values()} == {pyrad.AccessAccept}
    for kind, length in ((8, 6), (97, 20), (123, 20)):
        values = [raw[at + 2 : at + length] for raw in answers.values() if (at := raw.find(bytes((kind, length)))) > 0]
        assert len(values) == len(set(values)) == 1000, kind
    batches = daemon.running.allocator.batches
    assert batches < 100, "they share transactions"
    print(f"1,000 first log-ins of three leases each took {took:.2f} s and {batches} transactions")


async def test_who_comes_back_is_served_before_who_is_new_in_one_transaction(bras: TestNas) -> None:
    daemon = bras.world
    await daemon.add_plan("other")
    await daemon.add_pool("tiny", "ipv4", ("100.64.0.1",))
    await daemon.add_pool("other", "ipv4", ("100.65.0.1",), rule={"plan": "other"})
    await add_subscribers(daemon, "bob")
    await add_subscribers(daemon, "carol", plan="other")
    mine = await online(bras, "alice", "s1")
    assert await bras.account("Stop", "s1", "alice", Framed_IP_Address=mine)
    await daemon.running.lease_upkeep.flush()
    await age(daemon)
    record = next(iter(daemon.running.server.directory.nas.values()))
    async with daemon.db.transaction() as conn:
        await conn.execute("select 1 from pools for update")
        blocked = asyncio.create_task(address(bras, "carol"))  # its transaction waits for the lock, so the next two share one

        async def waits() -> bool:
            return bool(await conn.fetchval("select exists (select 1 from pg_locks where not granted)"))

        await eventually(waits)
        others = []
        for name in ("bob", "alice"):
            others.append(asyncio.create_task(address(bras, name)))
            await eventually(lambda: len(daemon.running.allocator) == len(others))
        assert record.accepts == 1
    assert await blocked == "100.65.0.1"
    assert [await each for each in others] == [None, mine]


async def test_a_reaped_session_frees_what_it_had(bras: TestNas) -> None:
    daemon = bras.world
    await daemon.add_pool("v4", "ipv4", ("100.64.0.0/24",))
    await online(bras, "alice", "s1")
    daemon.running.server.accounting.listening_since = 0.0
    async with daemon.db.acquire() as conn:
        await conn.execute("update sessions set heard_at = now() - interval '1 day'")
    assert await daemon.running.upkeep.reap_once() == 1
    await daemon.running.lease_upkeep.flush()
    assert await state(daemon, "alice") == ["grace"]


async def test_more_than_can_wait_are_left_to_ask_again(bras: TestNas, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = bras.world
    monkeypatch.setattr("netd.radius.allocator.WAITING_LIMIT", 0)
    await daemon.add_pool("v4", "ipv4", ("100.64.0.0/24",))
    data = bras.request("alice", "wonderland").RequestPacket()
    assert await bras.ask(data, daemon.running.auth_port, 0.3) is None
    record = next(iter(daemon.running.server.directory.nas.values()))
    await eventually(lambda: record.drops == {"overload": 1})
    monkeypatch.setattr("netd.radius.allocator.WAITING_LIMIT", 10)
    answer = await bras.ask(data, daemon.running.auth_port)
    assert answer is not None
    assert answer[0] == pyrad.AccessAccept, "the same request is taken up as new"


async def test_who_has_no_pool_pays_nothing(bras: TestNas) -> None:
    daemon = bras.world
    subscriber = next(iter(daemon.running.server.directory.subscribers.values()))
    assert (subscriber.simple, subscriber.own_body) == (True, False)
    made = await daemon.add_pool("v4", "ipv4", ("100.64.0.0/24",))
    assert subscriber.own_body
    (rule,) = (await pools.rules(daemon.db, ACTOR, pools.RuleQuery())).items
    await pools.delete_rule(daemon.db, ACTOR, rule.id)
    assert await daemon.running.feed.settle()
    assert not subscriber.own_body
    await pools.delete(daemon.db, ACTOR, made.id)


async def test_explaining_tells_the_address_or_the_pool(bras: TestNas) -> None:
    daemon = bras.world
    await daemon.add_pool("cgn", "ipv4", ("100.64.0.0/24",))
    probe = daemon.running.probe
    assert probe.decide(1, "alice", None).detail == "an address would be leased from cgn"
    mine = await address(bras, "alice")
    assert ("Framed-IP-Address", mine) in probe.decide(1, "alice", None).attributes
