"""The server's sockets, drops, duplicates and delays: over UDP on loopback, with packets made by hand."""

import logging
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from netd.errors import ConfigError
from netd.radius import accounting, server, sockets
from netd.radius.nas import NasRecord
from netd.store.postauth import PostAuth
from tests.radius.engine import (
    Engine,
    Peer,
    access_request,
    accounting_packet,
    accounting_request,
    attribute,
    check_answer,
    engine,
    packet,
    signed,
    status_server,
)
from tests.radius.world import eventually

ACCEPT, REJECT, ACCOUNTING_RESPONSE = 2, 3, 5
with_ipv6 = pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="no IPv6 here")


@pytest.fixture
async def running() -> AsyncIterator[Engine]:
    with engine("127.0.0.1") as made:
        yield made


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    with Peer("127.0.1.1") as made:
        yield made


@pytest.fixture
async def nas(running: Engine) -> NasRecord:
    return running.nas("127.0.1.1")


def commit(running: Engine, committed: bool = True) -> None:
    """Finish the accounting that waits, as its committer would."""
    queue = running.server.accounting._queue
    for pending in list(queue):
        pending.done(committed)
    queue.clear()


# -- addresses -------------------------------------------------------------------------------------------------------


async def test_a_wildcard_socket_answers_from_the_address_that_was_asked() -> None:
    with engine("0.0.0.0") as running, Peer("127.0.1.1") as peer:
        running.nas("127.0.1.1")
        for number, host in enumerate(("127.0.0.5", "127.0.0.1", "127.7.7.7")):
            for data in (access_request(), access_request(password=b"wrong"), status_server()):
                peer.send(data, running.auth_port, host)
                received = await peer.receive()
                assert received is not None
                assert received[1] == (host, running.auth_port)
            peer.send(accounting_request(identifier=number), running.acct_port, host)
            await eventually(lambda: len(running.server.accounting))
            commit(running)
            received = await peer.receive()
            assert received is not None
            assert received[1] == (host, running.acct_port)


async def test_a_cached_answer_leaves_from_the_address_that_was_asked_too() -> None:
    with engine("0.0.0.0") as running, Peer("127.0.1.1") as peer:
        nas = running.nas("127.0.1.1")
        data = access_request()
        for host in ("127.0.0.5", "127.0.0.6"):
            peer.send(data, running.auth_port, host)
            received = await peer.receive()
            assert received is not None
            assert received[1][0] == host
        assert (nas.accepts, nas.duplicates) == (1, 1)


async def test_a_delayed_reject_leaves_from_the_address_that_was_asked() -> None:
    with engine("0.0.0.0", reject_delay_seconds=0.1) as running, Peer("127.0.1.1") as peer:
        running.nas("127.0.1.1")
        for identifier, host in enumerate(("127.0.0.5", "127.0.0.6", "127.0.0.7")):
            peer.send(access_request(password=b"wrong", identifier=identifier), running.auth_port, host)
        heard = [await peer.receive() for _ in range(3)]
        assert [(answer[0][0], answer[1][0]) for answer in heard if answer] == [(REJECT, "127.0.0.5"), (REJECT, "127.0.0.6"), (REJECT, "127.0.0.7")]


@with_ipv6
@pytest.mark.parametrize("address", ["::1", "::"])
async def test_ipv6(address: str) -> None:
    with engine(address) as running, Peer("::1") as peer:
        nas = running.nas("::1/128")
        request = access_request()
        answer = await peer.ask(request, running.auth_port, "::1")
        assert answer is not None
        assert answer[0] == ACCEPT
        check_answer(answer, request)
        assert (nas.accepts, nas.status) == (1, 1)
        peer.send(accounting_request(), running.acct_port, "::1")
        await eventually(lambda: len(running.server.accounting))
        commit(running)
        received = await peer.receive()
        assert received is not None
        assert (received[0][0], received[1][:2]) == (ACCOUNTING_RESPONSE, ("::1", running.acct_port))


@with_ipv6
async def test_both_wildcards_share_a_port_and_know_their_own() -> None:
    with engine("0.0.0.0") as running:
        more = sockets.bind(("::",), running.auth_port, "auth", 7)
        with Peer("::1") as six, Peer("127.0.0.1") as four:
            running.server.start(more, [])
            running.nas("127.0.0.1/32", nas_id=1, name="four")
            running.nas("::1/128", nas_id=2, name="six")
            assert await six.ask(access_request(), running.auth_port, "::1") is not None
            running.server._loop.remove_reader(more[0].fileno)  # type: ignore[union-attr]
            more[0].close()
            four.send(access_request(), running.auth_port)
            assert await four.receive() is not None
        assert [record.accepts for record in running.directory.nas.values()] == [1, 1]


async def test_many_addresses_each_answer_for_themselves() -> None:
    addresses = tuple(f"127.0.3.{number}" for number in range(1, 6))
    bound: list[sockets.Socket] = []
    with engine("127.0.0.1") as running, Peer("127.0.1.1") as peer:
        nas = running.nas("127.0.1.1")
        try:
            for number, address in enumerate(addresses, 10):
                bound += sockets.bind((address,), running.auth_port, "auth", number)
            running.server.start(bound, [])
            data = access_request()
            for address in addresses:
                peer.send(data, running.auth_port, address)
                received = await peer.receive()
                assert received is not None
                assert received[1][0] == address
            assert (nas.accepts, nas.duplicates) == (5, 0), "the same octets to another listener are another request"
        finally:
            for sock in bound:
                running.server._loop.remove_reader(sock.fileno)  # type: ignore[union-attr]
                sock.close()


def test_a_taken_port_names_the_key_and_leaves_nothing_bound() -> None:
    (holder,) = sockets.bind(("127.0.4.2",), 0, "radius.auth_port", 0)
    try:
        with pytest.raises(ConfigError, match=rf"radius.auth_port: cannot listen on 127.0.4.2 port {holder.port}/udp: Address already in use"):
            sockets.bind(("127.0.4.1", "127.0.4.2"), holder.port, "radius.auth_port", 0)
        (first,) = sockets.bind(("127.0.4.1",), holder.port, "radius.auth_port", 0)
        first.close()
    finally:
        holder.close()
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1 "):
        sockets.bind(("192.0.2.1",), 0, "radius.auth_port", 0)


# -- what is dropped -------------------------------------------------------------------------------------------------

VALID = access_request()
GARBAGE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "packet_too_short"),
    "nineteen octets": (VALID[:19], "packet_too_short"),
    "cut off": (VALID[:-1], "length_mismatch"),
    "length below twenty": (VALID[:2] + b"\x00\x13" + VALID[4:], "length_mismatch"),
    "length beyond the end": (VALID[:2] + b"\xff\xff" + VALID[4:], "length_mismatch"),
    "code 0": (b"\x00" + VALID[1:], "unknown_code"),
    "code 99": (b"\x63" + VALID[1:], "unknown_code"),
    "attribute 0": (packet(1, 1, bytes(16), attribute(0, b"x")), "attribute_zero"),
    "attribute of length 0": (packet(1, 1, bytes(16), b"\x01\x00"), "attribute_length"),
    "attribute of length 1": (packet(1, 1, bytes(16), b"\x01\x01"), "attribute_length"),
    "attribute over the end": (packet(1, 1, bytes(16), b"\x01\x09alice"), "attribute_length"),
    "attribute without length": (packet(1, 1, bytes(16), attribute(1, b"alice") + b"\x02"), "attribute_length"),
    "201 attributes": (packet(1, 1, bytes(16), attribute(33, b"") * 201), "too_many_attributes"),
    "an Access-Accept": (packet(2, 1, bytes(16), b""), "unexpected_code"),
    "a Disconnect-Request": (packet(40, 1, bytes(16), b""), "unexpected_code"),
    "no signature": (access_request(ma="absent"), "message_authenticator_missing"),
    "64 KiB": (os.urandom(60_000), "length_mismatch"),
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_garbage_is_dropped_and_counted_by_reason(running: Engine, nas: NasRecord, peer: Peer, name: str) -> None:
    data, reason = GARBAGE[name]
    if name == "64 KiB":
        data = b"\x01\x01\xff\xff" + data
    assert await peer.ask(data, running.auth_port) is None
    assert nas.drops == {reason: 1}
    assert await peer.ask(data, running.acct_port) is None
    assert sum(nas.drops.values()) == 2
    assert running.server.unknown == {}
    assert len(running.server.accounting) == 0


ACCOUNTING_GARBAGE: dict[str, tuple[bytes, str]] = {
    "an Access-Request": (VALID, "unexpected_code"),
    "wrong authenticator": (accounting_request()[:-1] + b"x", "request_authenticator_wrong"),
    "wrong secret": (accounting_request(secret=b"guessed"), "request_authenticator_wrong"),
    "wrong signature": (accounting_request(ma="wrong"), "message_authenticator_wrong"),
}


@pytest.mark.parametrize("name", ACCOUNTING_GARBAGE)
async def test_garbage_on_the_accounting_port(running: Engine, nas: NasRecord, peer: Peer, name: str) -> None:
    data, reason = ACCOUNTING_GARBAGE[name]
    assert await peer.ask(data, running.acct_port) is None
    assert nas.drops == {reason: 1}
    assert len(running.server.accounting) == 0


async def test_octets_after_the_length_are_padding(running: Engine, nas: NasRecord, peer: Peer) -> None:
    answer = await peer.ask(access_request() + b"padding", running.auth_port)
    assert answer is not None
    assert (answer[0], nas.drops) == (ACCEPT, {})


async def test_an_oversize_request_is_read_but_no_answer_is_over_4096(running: Engine, nas: NasRecord, peer: Peer) -> None:
    """FreeRADIUS takes requests over 4096 octets too; an answer that Proxy-State would make longer is not sent."""
    vendor = [(26, b"\0\0\x3a\x8c" + b"x" * 200)] * 30
    answer = await peer.ask(access_request(vendor), running.auth_port)
    assert answer is not None
    assert (answer[0], nas.drops) == (ACCEPT, {})
    assert await peer.ask(access_request([(33, b"x" * 253)] * 20), running.auth_port) is None
    assert await peer.ask(access_request([(33, b"x" * 253)] * 20, password=b"wrong"), running.auth_port) is None
    assert await peer.ask(accounting_request([(33, b"x" * 253)] * 20), running.acct_port) is None
    assert nas.drops == {"answer_too_long": 3}
    assert (nas.accepts, nas.rejects, len(running.server.accounting)) == (1, {}, 0)


async def test_what_strangers_send_is_not_even_parsed(running: Engine, nas: NasRecord) -> None:
    with Peer("127.0.2.1") as stranger:
        for data, _ in list(GARBAGE.values())[:5]:
            stranger.send(data, running.auth_port)
            stranger.send(data, running.acct_port)
        await eventually(lambda: running.server.unknown == {"unknown_client": 10})
        assert nas.drops == {}
        running.directory.remove_nas([1])
        disabled = running.nas("127.0.2.1", enabled=False)
        stranger.send(access_request(), running.auth_port)
        await eventually(lambda: running.server.unknown == {"unknown_client": 11})
        assert disabled.drops == {}


async def test_a_stranger_is_named_in_the_log_once_a_minute(running: Engine, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Peer("127.0.2.1") as one, Peer("127.0.2.2") as other:
        for _ in range(20):
            one.send(b"x", running.auth_port)
        other.send(b"x", running.auth_port)
        await eventually(lambda: running.server.unknown == {"unknown_client": 21})
    named = [record.__dict__["source"] for record in caplog.records if record.name == server.log.name]
    assert named == ["127.0.2.1", "127.0.2.2"]


@pytest.mark.parametrize("port", ["auth", "acct"])
async def test_ten_thousand_random_datagrams_never_stop_the_service(running: Engine, peer: Peer, port: str, caplog: pytest.LogCaptureFixture) -> None:
    nas = running.nas("127.0.1.1", "no", "no")
    number = running.auth_port if port == "auth" else running.acct_port
    chance = random.Random(7)
    models = [access_request([(31, b"AA")]), accounting_request(), status_server(), access_request([(26, b"\0\0\1\x37\x0b\x12" + bytes(16))], password=None)]
    sent = 0
    while sent < 10_000:
        for _ in range(200):
            peer.send(_random_datagram(chance, models), number)
        sent += 200
        await eventually(lambda sent=sent: _seen(running, nas) == sent)
        while await peer.receive(0.0) is not None:
            continue
    assert "internal_error" not in nas.drops, caplog.text[-2000:]
    assert len(nas.drops) >= 5, "many reasons were met"
    assert await peer.ask(access_request(identifier=200), running.auth_port) is not None


def _seen(running: Engine, nas: NasRecord) -> int:
    """Datagrams that came to any end."""
    waiting = len(running.server.accounting)
    return sum(nas.drops.values()) + sum(nas.rejects.values()) + nas.accepts + nas.duplicates + nas.status + nas.accounting + waiting


def _random_datagram(chance: random.Random, models: list[bytes]) -> bytes:
    kind = chance.random()
    if kind < 0.3:
        return chance.randbytes(chance.randint(0, 200))
    data = bytearray(chance.choice(models))
    if kind < 0.4:
        data = data[: chance.randint(0, len(data))]
    for _ in range(chance.randint(1, 4)):
        if data:
            data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


INTERESTING = (1, 2, 3, 4, 5, 6, 7, 8, 18, 24, 25, 26, 27, 30, 31, 32, 33, 40, 41, 42, 44, 46, 49, 52, 55, 60, 61, 70, 79, 87, 95, 96, 97, 123, 168, 241, 245)


@pytest.mark.parametrize("port", ["auth", "acct"])
async def test_well_signed_nonsense_never_trips_the_service(running: Engine, peer: Peer, port: str, caplog: pytest.LogCaptureFixture) -> None:
    """Signatures are right, so everything behind them is reached: attributes of any length and octets, several of a kind."""
    nas = running.nas("127.0.1.1", "no", "no")
    running.server.access._user_limit = running.server.access._source_limit = 10**9
    chance = random.Random(8)
    for number in range(3_000):
        body = attribute(1, b"alice") if chance.random() < 0.8 else b""
        for _ in range(chance.randint(0, 8)):
            length = chance.choice((0, 1, 3, 4, 4, 4, 8, 16, 17, 18, 50, 253))
            value = chance.randbytes(length)
            if chance.random() < 0.3:
                value = b"\0\0\1\x37" + bytes((chance.choice((1, 11, 25)), chance.randint(0, 60))) + chance.randbytes(chance.randint(0, 56))
                body += attribute(26, value)
            else:
                body += attribute(chance.choice(INTERESTING), value)
        if port == "auth":
            peer.send(signed(1, number % 256, chance.randbytes(16), body), running.auth_port)
        else:
            body = attribute(40, chance.choice((b"\0\0\0\1", b"\0\0\0\2", b"\0\0\0\3", b"\0\0\0\7", b"\0\0\0\x0f", b"\xff\xff\xff\xff"))) + body
            peer.send(accounting_packet(number % 256, body), running.acct_port)
        if number % 100 == 99:
            await eventually(lambda number=number: _seen(running, nas) == number + 1)
            while await peer.receive(0.0) is not None:
                continue
    assert "internal_error" not in nas.drops, caplog.text[-3000:]


# -- duplicates and delays -------------------------------------------------------------------------------------------


async def test_a_retransmission_during_the_delay_gets_one_answer(peer: Peer) -> None:
    with engine("127.0.0.1", reject_delay_seconds=0.2) as running:
        nas = running.nas("127.0.1.1")
        data = access_request(password=b"wrong")
        begun = time.monotonic()
        for _ in range(3):
            peer.send(data, running.auth_port)
        first = await peer.receive()
        assert time.monotonic() - begun >= 0.19
        assert first is not None
        assert first[0][0] == REJECT
        assert await peer.receive(0.1) is None
        assert (nas.rejects, nas.duplicates) == ({"wrong_password": 1}, 2)
        peer.send(data, running.auth_port)
        again = await peer.receive()
        assert again is not None
        assert again[0] == first[0], "afterwards the same octets, at once"


async def test_a_delayed_reject_holds_up_nobody(peer: Peer) -> None:
    with engine("127.0.0.1", reject_delay_seconds=1.0) as running:
        running.nas("127.0.1.1")
        begun = time.monotonic()
        for identifier in range(50):
            peer.send(access_request(password=b"wrong", identifier=identifier), running.auth_port)
        peer.send(access_request(identifier=99), running.auth_port)
        first = await peer.receive()
        assert first is not None
        assert (first[0][0], first[0][1]) == (ACCEPT, 99)
        rejects = [await peer.receive() for _ in range(50)]
        assert [answer[0][1] for answer in rejects if answer] == list(range(50))
        assert 0.99 <= time.monotonic() - begun < 25, "all wait at the same time"


async def test_a_new_request_under_an_identifier_whose_reject_waits_is_answered_itself(peer: Peer) -> None:
    with engine("127.0.0.1", reject_delay_seconds=0.1) as running:
        running.nas("127.0.1.1")
        wrong, right = access_request(password=b"wrong"), access_request()
        peer.send(wrong, running.auth_port)
        peer.send(right, running.auth_port)
        answers = [received[0] for received in (await peer.receive(), await peer.receive()) if received]
        assert [answer[0] for answer in answers] == [ACCEPT, REJECT]
        check_answer(answers[0], right)
        check_answer(answers[1], wrong)
        peer.send(right, running.auth_port)
        again = await peer.receive()
        assert again is not None
        assert again[0] == answers[0], "the late reject did not take the accept's place"


async def test_stopping_sends_what_is_delayed_and_answers_no_more(peer: Peer) -> None:
    with engine("127.0.0.1", reject_delay_seconds=10.0) as running:
        running.nas("127.0.1.1")
        peer.send(access_request(password=b"wrong"), running.auth_port)
        await eventually(lambda: running.server._delayed)
        running.server.stop()
        received = await peer.receive()
        assert received is not None
        assert received[0][0] == REJECT
        peer.send(access_request(identifier=2), running.auth_port)
        assert await peer.receive(0.1) is None
        assert running.server.reading is False
        running.server.stop()


async def test_accounting_is_answered_once_committed_and_repeated_from_memory(running: Engine, nas: NasRecord, peer: Peer) -> None:
    data = accounting_request([(33, b"one"), (33, b"two")], identifier=9)
    for _ in range(3):
        peer.send(data, running.acct_port)
    await eventually(lambda: nas.duplicates == 2)
    assert len(running.server.accounting) == 1, "what waits for its commit is not taken in again"
    assert await peer.receive(0.05) is None
    commit(running)
    first = await peer.receive()
    assert first is not None
    assert check_answer(first[0], data) == [(33, b"one"), (33, b"two")], "Proxy-State comes back; unsigned, as the request was"
    peer.send(data, running.acct_port)
    again = await peer.receive()
    assert again is not None
    assert again[0] == first[0]
    assert (nas.accounting, nas.duplicates, len(running.server.accounting)) == (1, 3, 0)


async def test_signed_accounting_is_answered_signed(running: Engine, nas: NasRecord, peer: Peer) -> None:
    data = accounting_request(ma="present")
    peer.send(data, running.acct_port)
    await eventually(lambda: len(running.server.accounting))
    commit(running)
    received = await peer.receive()
    assert received is not None
    assert [kind for kind, _ in check_answer(received[0], data)] == [80]


async def test_accounting_that_was_given_up_is_new_when_it_comes_again(running: Engine, nas: NasRecord, peer: Peer) -> None:
    data = accounting_request()
    peer.send(data, running.acct_port)
    await eventually(lambda: len(running.server.accounting))
    commit(running, committed=False)
    assert await peer.receive(0.05) is None
    peer.send(data, running.acct_port)
    await eventually(lambda: len(running.server.accounting))
    commit(running)
    assert await peer.receive() is not None
    assert (nas.accounting, nas.duplicates) == (1, 0)


async def test_what_does_not_fit_into_the_queue_is_dropped_unacknowledged_and_taken_later(
    running: Engine, nas: NasRecord, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounting, "QUEUE_LIMIT", 3)
    data = [accounting_request(identifier=number) for number in range(5)]
    for each in data:
        peer.send(each, running.acct_port)
    await eventually(lambda: nas.drops == {"overload": 2})
    assert running.server.accounting.shed == 2
    commit(running)
    assert {received[0][1] for received in [await peer.receive() for _ in range(3)] if received} == {0, 1, 2}
    assert await peer.receive(0.05) is None
    for each in data[3:]:
        peer.send(each, running.acct_port)
    await eventually(lambda: len(running.server.accounting) == 2)
    commit(running)
    assert {received[0][1] for received in [await peer.receive() for _ in range(2)] if received} == {3, 4}


async def test_a_status_type_that_tells_nothing_is_acknowledged(running: Engine, nas: NasRecord, peer: Peer) -> None:
    """Tunnel-Start (9) and its like (RFC 2867): there is nothing to keep, and a NAS that got no answer would repeat it for ever."""
    peer.send(accounting_packet(3, attribute(40, b"\0\0\0\x09") + attribute(44, b"tunnel")), running.acct_port)
    received = await peer.receive()
    assert received is not None
    assert received[0][0] == ACCOUNTING_RESPONSE
    assert len(running.server.accounting) == 0


@pytest.mark.parametrize(("body", "reason"), [(attribute(44, b"s"), "acct_status_type_missing"), (attribute(40, b"\0\0\0\1"), "acct_session_id_missing")])
async def test_accounting_that_lacks_what_rfc_2866_demands(running: Engine, nas: NasRecord, peer: Peer, body: bytes, reason: str) -> None:
    assert await peer.ask(accounting_packet(3, body), running.acct_port) is None
    assert nas.drops == {reason: 1}


async def test_log_ins_are_remembered_in_bounded_memory(running: Engine, nas: NasRecord, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "POSTAUTH_LIMIT", 3)
    for identifier in range(5):
        assert await peer.ask(access_request([(31, b"%d" % identifier)], identifier=identifier * 2), running.auth_port) is not None
    assert running.server.postauth_dropped == 2
    rows = running.server.take_postauth(10)
    assert [msgspec.json.decode(row, type=PostAuth).callingstationid for row in rows] == ["2", "3", "4"]
    assert b"wonderland" not in b"".join(rows)
