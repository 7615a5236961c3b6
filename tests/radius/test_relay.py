"""Disconnect- and CoA-Requests of other systems, relayed: what reaches the NAS, and what the client is told. Packets are made by hand."""

import asyncio
import hashlib
import hmac
import os
import re
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pyrad import packet as pyrad

from netd.domain import audit, coa_clients, plans, standing, subscribers
from netd.domain.coa_clients import CoaClientPatch, NewCoaClient
from netd.radius.relay import Relay
from netd.wire.radius import SharedSecret
from tests.radius.engine import Peer, attribute, check_answer, packet
from tests.radius.test_enforce import enforcer_of
from tests.radius.world import ACTOR, TestNas, World, eventually, nak, nas_at, silence, world

SECRET = b"portal's own secret"
DISCONNECT, COA = 40, 43
ACK = {DISCONNECT: 41, COA: 44}
NAK = {DISCONNECT: 42, COA: 45}
USER = attribute(1, b"Alice")
SESSION = attribute(44, b"s1")
RATE = attribute(26, (14988).to_bytes(4, "big") + attribute(8, b"5M/50M"))


def request(
    code: int, attributes: bytes, *, identifier: int = 1, secret: bytes = SECRET, signed: bool = True, stamp: float | None = 0.0, flip: int | None = None
) -> bytes:
    """A request as it stands on the wire; ``stamp`` is how far its time is from now, ``flip`` an octet to spoil."""
    body = attributes
    if stamp is not None:
        body += attribute(55, int(time.time() + stamp).to_bytes(4, "big"))
    if signed:
        blank = packet(code, identifier, bytes(16), body + attribute(80, bytes(16)))
        body += attribute(80, hmac.new(secret, blank, hashlib.md5).digest())
    whole = packet(code, identifier, hashlib.md5(packet(code, identifier, bytes(16), body) + secret).digest(), body)
    return whole if flip is None else whole[:flip] + bytes((whole[flip] ^ 1,)) + whole[flip + 1 :]


class Portal(Peer):
    """A system that asks for sessions to be ended and changed."""

    def __enter__(self) -> "Portal":
        return self

    def __init__(self, world: World, address: str = "127.0.0.60") -> None:
        super().__init__(address)
        self.world = world
        self.identifier = 0

    @property
    def port(self) -> int:
        found = self.world.running.coa_port
        assert found is not None
        return found

    async def ask_for(self, code: int, attributes: bytes, seconds: float = 20.0, **more: Any) -> tuple[int, int | None, list[tuple[int, bytes]]] | None:
        """(code, Error-Cause, attributes) of the answer, its authenticators checked; None if there was none."""
        self.identifier = (self.identifier + 1) % 256
        sent = request(code, attributes, identifier=self.identifier, **more)
        self.send(sent, self.port)
        received = await self.receive(seconds)
        if received is None:
            return None
        found = check_answer(received[0], sent, SECRET)
        assert not more.get("signed", True) or found[0][0] == 80, "an answer to a signed request is signed, first of all"
        cause = next((int.from_bytes(value, "big") for kind, value in found if kind == 101), None)
        return received[0][0], cause, [(kind, value) for kind, value in found if kind not in (80, 101)]

    async def told(self, code: int, attributes: bytes, **more: Any) -> int | None:
        """The Error-Cause of a NAK, 0 for an ACK, None for silence."""
        answer = await self.ask_for(code, attributes, **more)
        if answer is None:
            return None
        assert answer[0] == (ACK if answer[1] is None else NAK)[code], answer
        return answer[1] or 0


async def let_in(world: World, address: str = "127.0.0.60", name: str = "portal", **rights: Any) -> Any:
    made = await coa_clients.create(
        world.db, ACTOR, world.running.keyring, NewCoaClient(name=name, address=address, secret=SECRET.decode(), **rights)
    )  # fmt: skip
    assert await world.running.feed.settle()
    return made


@pytest.fixture
async def portal(bras: TestNas) -> AsyncIterator[Portal]:
    """A portal that may do everything with single sessions."""
    await let_in(bras.world, may_change=True, may_override=True)
    with Portal(bras.world) as made:
        yield made


def relay_of(world: World) -> Relay:
    found: Relay = world.running.relay
    return found


def drops(world: World) -> dict[str, int]:
    (client,) = relay_of(world).clients.by_id.values()
    return client.drops


async def audited(world: World, action: str) -> list[dict[str, Any]]:
    await relay_of(world).flush_audit()
    async with world.db.acquire() as conn:
        return [dict(row) for row in await conn.fetch("select * from audit_log where action = $1 order by id", action)]


# -- what reaches the NAS --------------------------------------------------------------------------------------------


async def test_a_disconnect_reaches_the_nas_and_ends_nothing_before_the_stop(bras: TestNas, portal: Portal) -> None:
    await bras.online(Framed_IP_Address="100.64.0.9")
    answer = await portal.ask_for(DISCONNECT, USER + attribute(33, b"one") + attribute(33, b"two") + attribute(24, b"state"))
    assert answer == (ACK[DISCONNECT], None, [(33, b"one"), (33, b"two"), (24, b"state")]), "Proxy-State in order, State unchanged"
    (order,) = bras.told
    assert order.code == pyrad.DisconnectRequest
    assert (order["User-Name"], order["Acct-Session-Id"], order["Framed-IP-Address"]) == (["alice"], ["s1"], ["100.64.0.9"]), "as the driver names it"
    assert "Proxy-State" not in order, "the client's, not the NAS's"
    assert len(await bras.world.sessions()) == 1, "the NAS's Stop ends it"
    assert await bras.account("Stop")
    assert await bras.world.sessions() == []
    (row,) = await audited(bras.world, "session.disconnect")
    assert (row["actor"], str(row["address"]), row["result"], row["tenant_id"]) == ("coa-client portal", "127.0.0.60", "ack", 1)


async def test_a_change_is_passed_on_and_enforcement_leaves_it(bras: TestNas, portal: Portal) -> None:
    world = bras.world
    await bras.online()
    assert await portal.told(COA, SESSION + RATE + attribute(11, b"night")) == 0
    (order,) = bras.told
    assert order.code == pyrad.CoARequest
    assert (order["Mikrotik-Rate-Limit"], order["Filter-Id"], order["User-Name"]) == (["5M/50M"], ["night"], ["alice"])
    (row,) = await audited(world, "session.change")
    assert "5M/50M" in str(row["after"])

    async def unverified() -> bool:
        (session,) = await world.sessions()
        return session.enforce_state == "unverified" and "changed by CoA client portal: Mikrotik-Rate-Limit, Filter-Id" in (session.enforce_detail or "")

    await eventually(unverified)
    await enforcer_of(world).sweep()
    await asyncio.sleep(0.5)
    assert len(bras.told) == 1, "nobody fights over it"
    assert await unverified()
    plan = await plans.by_name(world.db, ACTOR, "home")
    await plans.update(world.db, ACTOR, plan.id, plans.PlanPatch(down_bps=200_000_000))
    await eventually(lambda: len(bras.told) == 2)
    assert bras.told[1]["Mikrotik-Rate-Limit"] == ["20M/200M"], "a new plan is netd's word again"


async def test_a_change_of_what_netd_enforces_needs_the_right_to(bras: TestNas) -> None:
    await bras.online()
    client = await let_in(bras.world, may_change=True)
    with Portal(bras.world) as portal:
        assert await portal.told(COA, SESSION + RATE) == 501
        assert bras.told == []
        (row,) = await audited(bras.world, "coa_client.coa")
        assert row["result"] == "refused"
        await coa_clients.update(bras.world.db, ACTOR, bras.world.running.keyring, client.id, CoaClientPatch(may_disconnect=False, may_override=True))
        assert await bras.world.running.feed.settle()
        assert await portal.told(DISCONNECT, SESSION) == 501
        assert await portal.told(COA, SESSION + RATE) == 0, "works at the next packet"


# -- which session is meant ------------------------------------------------------------------------------------------


WHO = {
    "user": USER, "user with blanks": attribute(1, b" ALICE "), "session": SESSION, "address": attribute(8, bytes((100, 64, 0, 9))),
    "mac in another form": attribute(31, b"aabb.ccdd.eeff"), "port": attribute(87, b"ether1"), "delegated": attribute(123, b"\0\x38\x20\x01\x0d\xb8\0\7\0\0\0"),
    "all": USER + SESSION + attribute(8, bytes((100, 64, 0, 9))) + attribute(4, bytes((127, 0, 0, 2))),
    "nas by identifier": USER + attribute(32, b"bras-x"), "operator nas": USER + attribute(241, b"\x08127.0.0.2"),
}  # fmt: skip
WHO_NOT = {
    "other user": (attribute(1, b"bob"), 503), "other session": (USER + attribute(44, b"s2"), 503), "other address": (USER + attribute(8, bytes(4)), 503),
    "other nas": (USER + attribute(4, bytes((127, 0, 0, 9))), 403), "other operator nas": (USER + attribute(241, b"\x08bras9"), 403),
    "nobody": (b"", 402), "only the nas": (attribute(4, bytes((127, 0, 0, 2))), 402), "only the called station": (attribute(30, b"x"), 402),
    "twice": (USER + USER, 404), "malformed address": (attribute(8, b"abc"), 407), "authorize only": (USER + attribute(6, b"\0\0\0\x11"), 405),
    "class": (USER + attribute(25, b"x"), 401), "rate in a disconnect": (USER + attribute(11, b"x"), 401),
}  # fmt: skip


async def test_all_that_is_given_must_fit(bras: TestNas, portal: Portal) -> None:
    await bras.online(
        Framed_IP_Address="100.64.0.9", Calling_Station_Id="AA-BB-CC-DD-EE-FF", NAS_Port_Id="ether1", NAS_Identifier="bras-x",
        Delegated_IPv6_Prefix="2001:db8:7::/56",
    )  # fmt: skip
    for name, attributes in WHO.items():
        assert await portal.told(DISCONNECT, attributes) == 0, name
    assert len(bras.told) == len(WHO)
    for name, (attributes, cause) in WHO_NOT.items():
        assert await portal.told(DISCONNECT, attributes) == cause, name
    assert await portal.told(COA, USER + attribute(69, b"\x01" + bytes(18))) == 401, "Tunnel-Password is encrypted with the client's secret"
    assert len(bras.told) == len(WHO), "nothing else reached the NAS"
    assert await portal.told(DISCONNECT, SESSION + attribute(5, b"\0\0\0\x07")) == 0
    assert bras.told[-1]["NAS-Port"] == [7], "what only the NAS can check it gets to check"


async def test_facts_that_come_later_find_the_session_and_old_ones_do_not(bras: TestNas, portal: Portal) -> None:
    await bras.online(Framed_IP_Address="100.64.0.9")
    assert await portal.told(DISCONNECT, attribute(8, bytes((100, 64, 0, 9)))) == 0
    assert await bras.account("Interim-Update", Framed_IP_Address="100.64.0.10", Acct_Session_Time=60)
    assert await portal.told(DISCONNECT, attribute(8, bytes((100, 64, 0, 9)))) == 503
    assert await portal.told(DISCONNECT, attribute(8, bytes((100, 64, 0, 10)))) == 0
    assert await bras.account("Stop")
    assert await portal.told(DISCONNECT, attribute(8, bytes((100, 64, 0, 10)))) == 503


async def test_several_sessions_are_refused_unless_the_client_may(bras: TestNas, portal: Portal) -> None:
    async with nas_at(bras.world, "127.0.0.3") as other:
        await bras.online("s1")
        await other.online("s2")
        assert await portal.told(DISCONNECT, USER) == 508
        assert bras.told + other.told == []
        (client,) = relay_of(bras.world).clients.by_id
        await coa_clients.update(bras.world.db, ACTOR, bras.world.running.keyring, client, CoaClientPatch(may_select_many=True))
        assert await bras.world.running.feed.settle()
        assert await portal.told(DISCONNECT, USER) == 0
        assert (len(bras.told), len(other.told)) == (1, 1)
        other.say = nak(504)
        assert await portal.told(DISCONNECT, USER) == 504, "an ACK only if all agreed"


async def test_another_tenants_sessions_do_not_exist(bras: TestNas, portal: Portal) -> None:
    await bras.online()
    async with bras.world.db.acquire() as conn:
        other = await conn.fetchval("insert into tenants (name) values ('other') returning id")
        await conn.execute("update coa_clients set tenant_id = $1", other)
    assert await bras.world.running.feed.settle()
    for attributes in (USER, SESSION):
        assert await portal.told(DISCONNECT, attributes) == 503
    assert bras.told == []


# -- what the NAS says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", [404, 501, 504])
async def test_a_refusal_is_passed_on(bras: TestNas, portal: Portal, cause: int) -> None:
    bras.say = nak(cause)
    await bras.online()
    assert await portal.told(DISCONNECT, USER) == cause
    assert len(await bras.world.sessions()) == 1


async def test_a_session_that_its_nas_does_not_know_is_closed(bras: TestNas, portal: Portal) -> None:
    bras.say = nak(503)
    await bras.online()
    assert await portal.told(COA, USER + RATE) == 503

    async def gone() -> bool:
        return not await bras.world.sessions()

    await eventually(gone)
    (closed,) = await bras.world.sessions("closed")
    assert closed.closed_by == "not_found"


async def test_a_silent_nas_is_505_and_retransmissions_meanwhile_start_nothing(bras: TestNas, portal: Portal) -> None:
    bras.say = silence
    await bras.online()
    sent = request(COA, USER + RATE)
    for _ in range(3):
        portal.send(sent, portal.port)
    received = await portal.receive()
    assert received is not None
    assert (101, (505).to_bytes(4, "big")) in check_answer(received[0], sent, SECRET)
    assert len({order.id for order in bras.told}) == 1, "one order, retransmitted"
    portal.send(sent, portal.port)
    again = await portal.receive()
    assert again is not None
    assert again[0] == received[0], "answered from the cache"
    (client,) = relay_of(bras.world).clients.by_id.values()
    assert client.duplicates == 3

    async def told() -> bool:
        (session,) = await bras.world.sessions()
        return session.enforce_state == "unverified" and "perhaps changed" in (session.enforce_detail or "")

    await eventually(told)


async def test_a_nas_that_is_gone_cannot_be_routed_to(bras: TestNas, portal: Portal) -> None:
    await bras.online()
    (live,) = enforcer_of(bras.world).sessions.by_id.values()
    live.row.nas_id = None
    assert await portal.told(DISCONNECT, USER) == 502


# -- who is believed -------------------------------------------------------------------------------------------------


DROPPED: dict[str, Callable[[], bytes]] = {
    "request_authenticator_wrong": lambda: request(DISCONNECT, USER, secret=b"guessed"),
    "message_authenticator_missing": lambda: request(DISCONNECT, USER, signed=False),
    "event_timestamp_missing": lambda: request(DISCONNECT, USER, stamp=None),
    "event_timestamp_stale": lambda: request(DISCONNECT, USER, stamp=-400.0),
    "unexpected_code": lambda: packet(4, 1, bytes(16), USER),
    "packet_too_short": lambda: b"\x28\x01\0",
    "attribute_length": lambda: packet(DISCONNECT, 1, bytes(16), b"\x01\xff"),
}


async def test_what_cannot_be_believed_is_dropped_and_counted(bras: TestNas, portal: Portal) -> None:
    await bras.online()
    for reason, make in DROPPED.items():
        portal.send(make(), portal.port)
        await eventually(lambda reason=reason: drops(bras.world).get(reason) == 1)
    portal.send(request(DISCONNECT, USER, stamp=400.0), portal.port)
    await eventually(lambda: drops(bras.world)["event_timestamp_stale"] == 2)
    body = USER + attribute(55, int(time.time()).to_bytes(4, "big")) + attribute(80, bytes(16))
    portal.send(packet(DISCONNECT, 1, hashlib.md5(packet(DISCONNECT, 1, bytes(16), body) + SECRET).digest(), body), portal.port)
    await eventually(lambda: drops(bras.world).get("message_authenticator_wrong") == 1)
    for length in range(60):
        portal.send(os.urandom(length), portal.port)
    with Portal(bras.world, "127.0.0.61") as stranger:
        stranger.send(request(DISCONNECT, USER), portal.port)
        await eventually(lambda: relay_of(bras.world).unknown.get("unknown_client") == 1)
    assert bras.told == []
    while await portal.receive(0.05) is not None:
        pytest.fail("none of it is answered")
    assert await portal.told(DISCONNECT, USER) == 0, "and the service goes on"


async def test_a_copy_of_a_request_does_nothing_from_wherever_it_comes(bras: TestNas, portal: Portal) -> None:
    """An eavesdropper who can forge the source may use another port, or another address of the client: RFC 5080's key would take the copy for new."""
    await bras.online()
    await let_in(bras.world, "127.0.1.0/24", "farm")
    with Portal(bras.world, "127.0.1.5") as one, Portal(bras.world, "127.0.1.6") as other:
        copied = request(DISCONNECT, SESSION)
        one.send(copied, portal.port)
        first = await one.receive()
        other.send(copied, portal.port)
        second = await other.receive()
        assert first is not None
        assert second is not None
        assert first[0] == second[0]
    assert len(bras.told) == 1
    bras.told.clear()
    sent = request(DISCONNECT, USER)
    portal.send(sent, portal.port)
    assert await portal.receive() is not None
    with Portal(bras.world) as elsewhere:
        elsewhere.send(sent, portal.port)
        assert await elsewhere.receive() is not None
    assert len(bras.told) == 1


async def test_without_signature_and_time_where_the_client_cannot_do_better(bras: TestNas) -> None:
    await let_in(bras.world, require_message_authenticator=False, require_event_timestamp=False)
    await bras.online()
    with Portal(bras.world) as portal:
        assert await portal.told(DISCONNECT, USER, signed=False, stamp=None) == 0
        assert await portal.told(DISCONNECT, USER, signed=False, stamp=-400.0, seconds=0.2) is None, "a time that is there must be right"
    assert len(bras.told) == 1


async def test_a_client_that_was_removed_or_disabled_is_dropped_at_once(bras: TestNas, portal: Portal) -> None:
    await bras.online()
    (client,) = relay_of(bras.world).clients.by_id
    await coa_clients.update(bras.world.db, ACTOR, bras.world.running.keyring, client, CoaClientPatch(enabled=False))
    assert await bras.world.running.feed.settle()
    assert await portal.told(DISCONNECT, USER, seconds=0.2) is None
    await coa_clients.update(bras.world.db, ACTOR, bras.world.running.keyring, client, CoaClientPatch(enabled=True, secret="another secret"))
    assert await bras.world.running.feed.settle()
    assert await portal.told(DISCONNECT, USER, seconds=0.2) is None
    await eventually(lambda: drops(bras.world) == {"request_authenticator_wrong": 1})
    await coa_clients.delete(bras.world.db, ACTOR, client)
    assert await bras.world.running.feed.settle()
    assert relay_of(bras.world).clients.by_id == {}


async def test_too_many_in_work_are_refused_and_may_be_asked_again(bras: TestNas, portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    await bras.online()
    sent = request(DISCONNECT, USER)
    with monkeypatch.context() as patch:
        patch.setattr("netd.radius.relay.CLIENT_LIMIT", 0)
        portal.send(sent, portal.port)
        received = await portal.receive()
    assert received is not None
    assert (101, (506).to_bytes(4, "big")) in check_answer(received[0], sent, SECRET)
    portal.send(sent, portal.port)
    received = await portal.receive()
    assert received is not None
    assert received[0][0] == ACK[DISCONNECT]


async def test_the_audit_log_waits_for_the_database(bras: TestNas, portal: Portal) -> None:
    from netd.errors import StoreUnavailable

    await bras.online()
    relay = relay_of(bras.world)
    database = relay.database

    class Away:
        def transaction(self) -> Any:
            raise StoreUnavailable("away")

    relay.database = Away()  # type: ignore[assignment]
    assert await portal.told(DISCONNECT, USER) == 0, "no database is needed to relay"
    await relay.flush_audit()
    relay.database = database
    assert len(await audited(bras.world, "session.disconnect")) == 1


async def test_the_last_row_of_the_audit_log_is_waited_for(bras: TestNas, portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    """When netd stops, what is under way is cancelled right behind it."""
    await bras.online()
    entered, may_write = asyncio.Event(), asyncio.Event()
    real = audit.record

    async def slow(*arguments: Any, **more: Any) -> None:
        entered.set()
        await may_write.wait()
        await real(*arguments, **more)

    monkeypatch.setattr("netd.radius.relay.audit.record", slow)
    assert await portal.told(DISCONNECT, USER) == 0
    first = asyncio.create_task(relay_of(bras.world).flush_audit())
    await entered.wait()
    last = asyncio.create_task(relay_of(bras.world).flush_audit())
    await asyncio.sleep(0.1)
    assert not last.done()
    may_write.set()
    await last
    await first
    assert len(await audited(bras.world, "session.disconnect")) == 1


# -- programs that nobody here wrote ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "more", "answer"), [("disconnect", "", "Disconnect-ACK"), ("coa", ", Filter-Id = night", "CoA-ACK")])
async def test_radclient(bras: TestNas, require_peer: Callable[[str], str], command: str, more: str, answer: str) -> None:
    await let_in(bras.world, "127.0.0.1", may_change=True, may_override=True)
    await bras.online()
    given = f'User-Name = "alice", Event-Timestamp = {int(time.time())}, Message-Authenticator = 0x00, Proxy-State = 0x0102{more}'
    line = [require_peer("radclient"), "-x", "-r", "3", "-t", "5", f"127.0.0.1:{bras.world.running.coa_port}", command, SECRET.decode()]
    done = await asyncio.to_thread(subprocess.run, line, input=given + "\n", capture_output=True, text=True, timeout=60, check=False)
    assert re.search(rf"Received {answer} .*\n(\t.*\n)*\tProxy-State = 0x0102", done.stdout), done.stdout + done.stderr
    assert len(bras.told) == 1


async def test_it_can_be_switched_off(dsn: str, tmp_path: Path) -> None:
    async with world(dsn, tmp_path, NETD_RELAY__ENABLED="false") as running:
        assert running.running.coa_port is None
        assert not relay_of(running).reading


def test_the_secret_is_not_shown() -> None:
    assert "portal" not in repr(SharedSecret(SECRET))
    assert "s3cret" not in repr(NewCoaClient(name="p", address="10.0.0.1", secret="s3cret-one"))


async def test_a_relayed_change_does_not_stop_a_lock(bras: TestNas, portal: Portal) -> None:
    await bras.online()
    assert await portal.told(COA, SESSION + RATE) == 0
    alice = await subscribers.by_username(bras.world.db, ACTOR, "alice")
    await standing.add_lock(bras.world.db, ACTOR, alice.id, standing.NewLock(reason="admin", mode="reject"))
    await eventually(lambda: len(bras.told) == 2)
    assert bras.told[1].code == pyrad.DisconnectRequest
