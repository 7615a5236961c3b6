"""CVE-2024-3596: which requests are answered, which are dropped and why, and what ``auto`` learns: the whole table, over UDP.

What is expected is written down here anew from FreeRADIUS's rules, not taken from the code under test.
"""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from netd.domain import nas
from tests.radius.engine import Engine, Peer, access_request, accounting_request, attribute, check_answer, engine, packet, signed, status_server
from tests.radius.world import ACTOR, TestNas, World, eventually, world

ACCEPT, REJECT, ACCOUNTING_RESPONSE = 2, 3, 5
PROXY_STATE = (33, b"proxy")
EAP_IDENTITY = (79, b"\x02\x00\x00\x0a\x01alice")
SWITCHES = ("yes", "no", "auto")


class Case(NamedTuple):
    """The setting of a NAS and what its first Access-Request carries."""

    require: str
    limit: str
    ma: str  # present, absent, wrong
    proxy_state: bool
    eap: bool
    exact: bool


class Outcome(NamedTuple):
    """What becomes of the request (a reply code, or the reason of its drop), and what both switches are in force as afterwards."""

    result: int | str
    require: bool
    limit: bool
    open_switches: frozenset[str]  # those that are still learning


CASES = [Case(*values) for values in itertools.product(SWITCHES, SWITCHES, ("present", "absent", "wrong"), (False, True), (False, True), (True, False))]


def expected(case: Case) -> Outcome:
    """FreeRADIUS 3.2.9's rules in words of one syllable: one rule, one statement."""
    signed_ = case.ma == "present"
    in_force = {"require": case.require == "yes", "limit": case.limit == "yes"}
    learning = {name for name in ("require", "limit") if getattr(case, name) == "auto"}

    def outcome(result: int | str) -> Outcome:
        return Outcome(result, in_force["require"], in_force["limit"], frozenset(learning))

    def learn(name: str, strict: bool) -> None:
        if name in learning:
            in_force[name] = strict
            learning.discard(name)

    if case.ma == "wrong":
        return outcome("message_authenticator_wrong")  # a forged packet teaches nothing
    if not signed_ and (case.eap or case.require == "yes"):
        return outcome("message_authenticator_missing")
    if not signed_:
        learn("require", False)
    elif not case.eap and case.exact:
        learn("require", True)
    if case.proxy_state and not signed_:
        learn("limit", False)
    elif case.exact:
        learn("limit", True)
    if not signed_ and case.proxy_state and in_force["limit"]:
        return outcome("proxy_state_unsigned")
    return outcome(REJECT if case.eap else ACCEPT)  # netd speaks no EAP yet: refused, not dropped


def request_of(case: Case, identifier: int = 1) -> bytes:
    more = [PROXY_STATE] * case.proxy_state + [EAP_IDENTITY] * case.eap
    return access_request(more, password=None if case.eap else b"wonderland", ma=case.ma, identifier=identifier)


@pytest.fixture
async def running() -> AsyncIterator[Engine]:
    with engine("127.0.0.1") as made:
        yield made


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    with Peer("127.0.1.1") as made:
        yield made


def test_the_table_is_complete() -> None:
    assert len(set(CASES)) == 3 * 3 * 3 * 2 * 2 * 2
    results = {expected(case).result for case in CASES}
    assert results == {ACCEPT, REJECT, "message_authenticator_wrong", "message_authenticator_missing", "proxy_state_unsigned"}


@pytest.mark.parametrize("require", SWITCHES)
@pytest.mark.parametrize("exact", [True, False], ids=["host", "prefix"])
async def test_the_first_access_request(running: Engine, peer: Peer, require: str, exact: bool) -> None:
    for case in CASES:
        if (case.require, case.exact) != (require, exact):
            continue
        nas = running.nas("127.0.1.1" if exact else "127.0.1.0/24", require, case.limit)
        running.learned.clear()
        wanted = expected(case)
        request = request_of(case)
        answer = await peer.ask(request, running.auth_port)
        if answer is None:
            assert nas.drops == {wanted.result: 1}, case
        else:
            assert (answer[0], nas.drops) == (wanted.result, {}), case
            attributes = check_answer(answer, request)
            assert attributes[0][0] == 80, (case, "Message-Authenticator first")
            assert [value for kind, value in attributes if kind == 33] == [b"proxy"] * case.proxy_state, case
        assert (nas.require_ma, nas.limit_proxy_state) == (wanted.require, wanted.limit), case
        assert nas.learning == wanted.open_switches, case
        learned_now = {name for name in ("require", "limit") if getattr(case, name) == "auto"} - wanted.open_switches
        told = [
            ("bras", "yes" if wanted.require else "no", None) if learned_now == {"require"} else
            ("bras", None, "yes" if wanted.limit else "no") if learned_now == {"limit"} else
            ("bras", "yes" if wanted.require else "no", "yes" if wanted.limit else "no")
        ] if learned_now else []  # fmt: skip
        assert running.learned == told, (case, "what was learned is handed on to be kept, once")


@pytest.mark.parametrize(
    ("first", "then", "result"),
    [
        # signed at first: from then on it must be
        (Case("auto", "auto", "present", False, False, True), Case("", "", "absent", False, False, True), "message_authenticator_missing"),
        (Case("auto", "auto", "present", True, False, True), Case("", "", "present", True, False, True), ACCEPT),
        # unsigned at first: it may be, but a Proxy-State that was not there before may not come unsigned
        (Case("auto", "auto", "absent", False, False, True), Case("", "", "absent", False, False, True), ACCEPT),
        (Case("auto", "auto", "absent", False, False, True), Case("", "", "absent", True, False, True), "proxy_state_unsigned"),
        (Case("auto", "auto", "absent", False, False, True), Case("", "", "present", True, False, True), ACCEPT),
        # a proxy that does not sign, known as such from its first packet
        (Case("auto", "auto", "absent", True, False, True), Case("", "", "absent", True, False, True), ACCEPT),
        # EAP is always signed, so it says nothing about the rest
        (Case("auto", "auto", "present", False, True, True), Case("", "", "absent", False, False, True), ACCEPT),
        (Case("auto", "auto", "present", False, True, True), Case("", "", "present", False, False, True), ACCEPT),
        # behind a prefix there may be others that do not sign: nothing strict is learned
        (Case("auto", "auto", "present", False, False, False), Case("", "", "absent", False, False, False), ACCEPT),
        (Case("auto", "auto", "present", True, False, False), Case("", "", "absent", True, False, False), ACCEPT),
        # what is set by hand is not learned away
        (Case("no", "yes", "absent", False, False, True), Case("", "", "absent", True, False, True), "proxy_state_unsigned"),
        (Case("no", "no", "present", False, False, True), Case("", "", "absent", True, False, True), ACCEPT),
        (Case("yes", "auto", "present", True, False, True), Case("", "", "absent", True, False, True), "message_authenticator_missing"),
        # a forged first packet decides nothing
        (Case("auto", "auto", "wrong", False, False, True), Case("", "", "absent", False, False, True), ACCEPT),
    ],
)
async def test_the_second_access_request(running: Engine, peer: Peer, first: Case, then: Case, result: int | str) -> None:
    nas = running.nas("127.0.1.1" if first.exact else "127.0.1.0/24", first.require, first.limit)
    await peer.ask(request_of(first, 1), running.auth_port)
    nas.drops.clear()
    answer = await peer.ask(request_of(then, 9), running.auth_port)
    assert (answer[0] if answer else next(iter(nas.drops))) == result
    assert nas.drops == ({} if answer else {result: 1})


async def test_an_eap_first_packet_leaves_the_switch_open_until_one_without(running: Engine, peer: Peer) -> None:
    nas = running.nas("127.0.1.1", "auto", "auto")
    await peer.ask(request_of(Case("", "", "present", False, True, True), 1), running.auth_port)
    assert (nas.require_ma, nas.learning) == (False, frozenset({"require"}))
    await peer.ask(request_of(Case("", "", "present", False, False, True), 5), running.auth_port)
    assert (nas.require_ma, nas.learning) == (True, frozenset())
    assert running.learned == [("bras", None, "yes"), ("bras", "yes", None)]


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_one_switch_learned_is_not_unlearned_while_the_other_is_open(running: Engine, peer: Peer, restarted: bool) -> None:
    nas = running.nas("127.0.1.1", "auto", "auto")
    await peer.ask(request_of(Case("", "", "present", False, True, True), 1), running.auth_port)  # EAP: says nothing of the first switch
    if restarted:
        nas = running.nas("127.0.1.1", "auto", "auto", learned_limit_proxy_state="yes")
    assert (nas.learning, nas.limit_proxy_state) == (frozenset({"require"}), True)
    assert await peer.ask(request_of(Case("", "", "absent", True, False, True), 5), running.auth_port) is None
    assert nas.drops == {"proxy_state_unsigned": 1}


@pytest.mark.parametrize("require", SWITCHES)
@pytest.mark.parametrize("port", ["auth", "acct"])
async def test_status_server_is_always_signed(running: Engine, peer: Peer, require: str, port: str) -> None:
    nas = running.nas("127.0.1.1", require, "no")
    number = running.auth_port if port == "auth" else running.acct_port
    for ma, reason in (("absent", "message_authenticator_missing"), ("wrong", "message_authenticator_wrong")):
        assert await peer.ask(status_server(ma=ma), number) is None
        assert nas.drops.pop(reason) == 1
    assert (nas.drops, running.learned) == ({}, []), "a Status-Server teaches nothing"
    request = status_server(identifier=7)
    answer = await peer.ask(request, number)
    assert answer is not None
    assert answer[0] == (ACCEPT if port == "auth" else ACCOUNTING_RESPONSE)
    assert check_answer(answer, request)[0][0] == 80


@pytest.mark.parametrize("require", SWITCHES)
@pytest.mark.parametrize("octets", [b"", bytes(15), bytes(17)], ids=len)
async def test_a_message_authenticator_has_sixteen_octets(running: Engine, peer: Peer, require: str, octets: bytes) -> None:
    nas = running.nas("127.0.1.1", require, "no")
    authenticator = bytes(range(16))
    assert await peer.ask(packet(1, 1, authenticator, attribute(1, b"alice") + attribute(80, octets)), running.auth_port) is None
    assert nas.drops == {"message_authenticator_length": 1}


async def test_a_second_message_authenticator_is_not_a_way_in(running: Engine, peer: Peer) -> None:
    nas = running.nas("127.0.1.1")
    authenticator = bytes(range(16))
    request = signed(1, 1, authenticator, attribute(1, b"alice") + attribute(80, bytes(16)))
    assert await peer.ask(request, running.auth_port) is None
    assert nas.drops == {"message_authenticator_length": 1}


@pytest.mark.parametrize("require", SWITCHES)
@pytest.mark.parametrize("ma", ["present", "absent", "wrong"])
@pytest.mark.parametrize("beside", [(2, bytes(16)), (3, bytes(17)), (70, bytes(16))], ids=["User-Password", "CHAP-Password", "ARAP-Password"])
async def test_eap_beside_a_password_is_dropped(running: Engine, peer: Peer, require: str, ma: str, beside: tuple[int, bytes]) -> None:
    nas = running.nas("127.0.1.1", require, "no")
    assert await peer.ask(access_request([EAP_IDENTITY, beside], password=None, ma=ma), running.auth_port) is None
    assert nas.drops == {"eap_with_password": 1}
    assert running.learned == []


@pytest.mark.parametrize("ma", ["present", "absent", "wrong"])
@pytest.mark.parametrize("require", SWITCHES)
@pytest.mark.parametrize("limit", SWITCHES)
async def test_accounting_never_requires_a_message_authenticator(running: Engine, peer: Peer, require: str, limit: str, ma: str) -> None:
    nas = running.nas("127.0.1.1", require, limit)
    assert await peer.ask(accounting_request([PROXY_STATE], ma=ma), running.acct_port) is None, "not committed yet, so not answered"
    assert nas.drops == ({"message_authenticator_wrong": 1} if ma == "wrong" else {})
    assert len(running.server.accounting) == (0 if ma == "wrong" else 1), "taken in for its commit"
    assert running.learned == [], "accounting teaches nothing"


async def test_a_reject_is_signed_as_an_accept_is(running: Engine, peer: Peer) -> None:
    running.nas("127.0.1.1", "no", "no")
    request = access_request([PROXY_STATE], password=b"looking-glass", ma="absent")
    answer = await peer.ask(request, running.auth_port)
    assert answer is not None
    assert answer[0] == REJECT
    assert [kind for kind, _ in check_answer(answer, request)] == [80, 33]


async def test_drops_are_counted_for_the_nas_that_sent_them(running: Engine, peer: Peer) -> None:
    near = running.nas("127.0.1.1", nas_id=1, name="near")
    far = running.nas("127.0.1.0/24", nas_id=2, name="far")
    with Peer("127.0.1.2") as neighbour, Peer("127.0.2.1") as stranger:
        assert await peer.ask(access_request(ma="wrong"), running.auth_port) is None
        assert await neighbour.ask(access_request(ma="absent"), running.auth_port) is None
        stranger.send(access_request(), running.auth_port)
        await eventually(lambda: running.server.unknown)
    assert (near.drops, far.drops) == ({"message_authenticator_wrong": 1}, {"message_authenticator_missing": 1})
    assert running.server.unknown == {"unknown_client": 1}


async def _learned(daemon: World) -> list[tuple[str | None, str | None]]:
    async with daemon.db.acquire() as conn:
        rows = await conn.fetch("select learned_require_message_authenticator as r, learned_limit_proxy_state as l from nas order by id")
    return [(row["r"], row["l"]) for row in rows]


async def test_what_was_learned_outlives_a_restart(dsn: str, tmp_path: Path) -> None:
    async with world(dsn, tmp_path) as daemon:
        await daemon.add_plan()
        await daemon.add_subscriber()
        for address in ("127.0.1.1", "127.0.1.2"):
            await daemon.add_nas(address, require_message_authenticator="auto", limit_proxy_state="auto")
        assert await TestNas(daemon, "127.0.1.1").login() is not None
        assert await TestNas(daemon, "127.0.1.2").login(sign=False) is not None

        async def kept() -> bool:
            return await _learned(daemon) == [("yes", "yes"), ("no", "yes")]

        await eventually(kept)
    async with world(dsn, tmp_path) as daemon:
        signs, does_not = TestNas(daemon, "127.0.1.1"), TestNas(daemon, "127.0.1.2")
        assert await signs.ask(signs.request("alice", "wonderland", False).RequestPacket(), daemon.running.auth_port, 0.3) is None
        assert await does_not.login(sign=False) is not None
        with_proxy = does_not.request("alice", "wonderland", False, Proxy_State=b"forged")
        assert await does_not.ask(with_proxy.RequestPacket(), daemon.running.auth_port, 0.3) is None
        records = daemon.running.server.directory.nas.values()
        dropped = [("message_authenticator_missing",), ("proxy_state_unsigned",)]
        await eventually(lambda: sorted(tuple(record.drops) for record in records) == dropped)
        assert await does_not.login() is not None
        assert await signs.login() is not None
        assert await _learned(daemon) == [("yes", "yes"), ("no", "yes")], "nothing is learned twice"


async def test_an_operator_can_make_a_nas_learn_anew(dsn: str, tmp_path: Path) -> None:
    async with world(dsn, tmp_path) as daemon:
        await daemon.add_plan()
        await daemon.add_subscriber()
        made = await daemon.add_nas("127.0.1.1", require_message_authenticator="auto", limit_proxy_state="auto")
        device = TestNas(daemon, "127.0.1.1")
        assert await device.login() is not None
        await eventually(lambda: _has(daemon, ("yes", "yes")))
        unsigned = device.request("alice", "wonderland", False).RequestPacket()
        assert await device.ask(unsigned, daemon.running.auth_port, 0.3) is None
        for switch in ("yes", "auto"):
            await nas.update(daemon.db, ACTOR, daemon.running.keyring, made.id, nas.NasPatch(require_message_authenticator=switch), daemon.running.vendors)
        assert await daemon.running.feed.settle()
        assert await device.login(sign=False) is not None
        await eventually(lambda: _has(daemon, ("no", "yes")))


async def _has(daemon: World, learned: tuple[str, str]) -> bool:
    return await _learned(daemon) == [learned]
