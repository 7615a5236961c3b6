"""The dynamic authorization client alone, against NASes made of pyrad: what it sends, what it believes, and what it says came of it."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyrad import packet as pyrad

from netd.config import CoaConfig
from netd.model.control import ControlResult
from netd.radius.coa import CAUSES, READ_SECONDS, DynamicAuthorization, Target, target_of
from netd.wire.radius import SharedSecret
from tests.ports import free_port
from tests.radius.engine import Peer, attribute
from tests.radius.world import NAMES, eventually, nak

SECRET = b"a shared secret"
SHARED = SharedSecret(SECRET)
ALICE = attribute(1, b"alice")
NOW = 1_800_000_000.0


@dataclass
class Device(asyncio.DatagramProtocol):
    """A NAS that keeps every datagram it got, as it came. ``say`` makes the octets of the answer; None: none yet."""

    say: Callable[[pyrad.CoAPacket], bytes | None] = lambda request: bytes(request.CreateReply().ReplyPacket())
    got: list[bytes] = field(default_factory=list)
    peers: list[Any] = field(default_factory=list)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.got.append(data)
        self.peers.append(addr)
        answer = self.say(self.request())
        if answer is not None:
            self.transport.sendto(answer, addr)

    def request(self, number: int = -1) -> pyrad.CoAPacket:
        """A request as pyrad reads it, its authenticators checked."""
        request = pyrad.CoAPacket(secret=SECRET, dict=NAMES, packet=self.got[number])
        assert request.VerifyCoARequest()
        assert request.verify_message_authenticator(secret=SECRET)
        return request

    def answer(self, number: int, octets: bytes | None = None) -> None:
        """Answer the request of this number now."""
        self.transport.sendto(octets or bytes(self.request(number).CreateReply().ReplyPacket()), self.peers[number])

    @property
    def target(self) -> Target:
        host, port = self.transport.get_extra_info("sockname")[:2]
        return Target(host, port)


def silent(request: pyrad.CoAPacket) -> None:
    return None


@contextlib.asynccontextmanager
async def listening(say: Callable[[pyrad.CoAPacket], bytes | None] | None = None, address: str = "127.0.0.2") -> AsyncIterator[Device]:
    made = Device() if say is None else Device(say)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: made, local_addr=(address, 0))
    try:
        yield made
    finally:
        transport.close()


@contextlib.contextmanager
def client(**settings: Any) -> Any:
    """A client that waits as long as a busy machine may need to answer; less where nothing is to come."""
    config = {"attempts": 2, "timeout_seconds": 60.0, "window": 8, **settings}
    made = DynamicAuthorization(CoaConfig(**config), wall_clock=lambda: NOW)
    try:
        yield made
    finally:
        made.close()


async def disconnect(client: DynamicAuthorization, device: Device, attributes: bytes = ALICE) -> ControlResult:
    return await client.send("disconnect", device.target, SHARED, attributes)


def time_is_over(asking: DynamicAuthorization) -> None:
    """Of whatever is under way, and was asked for the last time."""
    for queue in asking._queues.values():
        for order in list(queue.in_flight.values()):
            queue._overdue(order)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each answer was waited for: by the clock of a busy machine it is any time longer."""
    told: list[float] = []

    class Loop:
        def __getattr__(self, name: str) -> Any:
            return getattr(asyncio.get_running_loop(), name)

        def call_later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> asyncio.TimerHandle:
            told.extend([delay] if delay != READ_SECONDS else [])
            return asyncio.get_running_loop().call_later(delay, callback, *arguments)

    monkeypatch.setattr("netd.radius.coa.asyncio", SimpleNamespace(**{**vars(asyncio), "get_running_loop": Loop}))
    return told


# -- what is sent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "code", "ack"), [("disconnect", pyrad.DisconnectRequest, pyrad.DisconnectACK), ("coa", pyrad.CoARequest, pyrad.CoAACK)])
async def test_a_request_is_what_rfc_5176_wants(action: Any, code: int, ack: int) -> None:
    with client() as asking:
        async with listening() as device:
            result = await asking.send(action, device.target, SHARED, ALICE + attribute(44, b"session"))
    request = device.request()
    assert request.code == code
    assert device.got[0][20:22] == b"\x50\x12", "Message-Authenticator first"
    assert (request["User-Name"], request["Acct-Session-Id"], request["Event-Timestamp"]) == (["alice"], ["session"], [int(NOW)])
    assert (result.outcome, result.action, result.attempts, result.error_cause, result.session_closed) == ("ack", action, 1, None, False)
    assert 0 <= result.duration_seconds < 60
    assert asking.results == {(action, "ack"): 1}
    assert ack == code + 1, "what pyrad answered"


async def test_a_retransmission_is_the_same_octets_after_twice_the_time(waits: list[float]) -> None:
    def third_time(request: pyrad.CoAPacket) -> bytes | None:
        return bytes(request.CreateReply().ReplyPacket()) if len(device.got) >= 3 else None

    with client(attempts=8, timeout_seconds=0.1) as asking:
        async with listening(third_time) as device:
            result = await disconnect(asking, device)
            assert result.outcome == "ack"
            await eventually(lambda: len(device.got) == result.attempts)
            await asyncio.sleep(1.0)
            assert (len(device.got), len(set(device.got))) == (result.attempts, 1), "nothing is sent after the answer"
    assert waits == pytest.approx([0.1 * 2**number for number in range(result.attempts)])
    assert len(waits) >= 3


async def test_silence_is_a_timeout_after_all_attempts(waits: list[float]) -> None:
    with client(attempts=3, timeout_seconds=0.05) as asking:
        async with listening(silent) as device:
            result = await disconnect(asking, device)
            await eventually(lambda: len(device.got) == 3)
            assert len(set(device.got)) == 1
            assert (result.outcome, result.attempts) == ("timeout", 3)
            assert f"no answer from 127.0.0.2 port {device.target.port} to 3 requests" in result.detail
            assert result.duration_seconds >= 0.34, "0.05 + 0.1 + 0.2"
            assert asking.waiting() == {}
    assert waits == pytest.approx([0.05, 0.1, 0.2])


async def test_an_answer_that_came_while_the_loop_stood_still_is_read_before_the_nas_is_given_up() -> None:
    """Timers come before sockets: what ended then is netd's own pause, not the NAS's silence."""
    with client(attempts=1) as asking, Peer("127.0.0.2") as nas:
        task = asyncio.create_task(asking.send("disconnect", Target(*nas.socket.getsockname()), SHARED, ALICE))
        received = await nas.receive()
        assert received is not None
        octets, (host, port) = received
        nas.send(bytes(pyrad.CoAPacket(secret=SECRET, dict=NAMES, packet=octets).CreateReply().ReplyPacket()), port, host)
        (queue,) = asking._queues.values()
        (order,) = queue.in_flight.values()
        queue._due(order)  # as the first thing after the pause
        result = await task
        assert (result.outcome, result.attempts) == ("ack", 1)
        assert asking.discarded() == {}


async def test_no_more_than_the_window_are_under_way_and_all_get_their_turn() -> None:
    with client(window=3, attempts=1) as asking:
        async with listening(silent) as device:
            tasks = [asyncio.create_task(disconnect(asking, device, attribute(1, b"user%d" % number))) for number in range(10)]
            answered = 0
            while answered < 10:
                most = min(10, answered + 3)
                await eventually(lambda most=most: len(device.got) >= most)
                await asyncio.sleep(0.03)
                assert len(device.got) == most
                assert asking.waiting() == {"127.0.0.2": 10 - answered}
                device.answer(answered)
                answered += 1
                await eventually(lambda expected=answered: sum(task.done() for task in tasks) == expected)
            assert {(await task).outcome for task in tasks} == {"ack"}
            assert [device.request(number)["User-Name"] for number in range(10)] == [[f"user{number}"] for number in range(10)], "in order"


async def test_more_than_256_requests_wrap_round_the_identifiers() -> None:
    stuck: list[int] = []

    def all_but_the_first(request: pyrad.CoAPacket) -> bytes | None:
        if request["User-Name"] == ["stuck"]:
            stuck.append(request.id)
            return None
        return bytes(request.CreateReply().ReplyPacket())

    with client(window=16, attempts=1) as asking:
        async with listening(all_but_the_first) as device:
            waits = asyncio.create_task(disconnect(asking, device, attribute(1, b"stuck")))
            await eventually(lambda: stuck)
            results = await asyncio.gather(*(disconnect(asking, device, attribute(1, b"u%d" % number)) for number in range(600)))
            assert {result.outcome for result in results} == {"ack"}
            identifiers = [device.request(number).id for number in range(601)]
            assert identifiers.count(stuck[0]) == 1, "an identifier that is in use is not given to another"
            assert len(set(identifiers)) == 256
            assert not waits.done()
            assert asking.discarded() == {}
            device.answer(0)
            assert (await waits).outcome == "ack"


async def test_two_nases_are_independent() -> None:
    with client(window=1) as asking:
        async with listening(silent) as dead, listening(address="127.0.0.3") as alive:
            stuck = [asyncio.create_task(disconnect(asking, dead)) for _ in range(5)]
            await eventually(lambda: dead.got)
            async with asyncio.timeout(30):  # half of what the first of the other would cost
                results = await asyncio.gather(*(disconnect(asking, alive) for _ in range(20)))
            assert {result.outcome for result in results} == {"ack"}
            assert asking.waiting() == {"127.0.0.2": 5}
            for task in stuck:
                task.cancel()


async def test_two_ports_of_one_address_are_two_nases() -> None:
    with client() as asking:
        async with listening(silent) as dead, listening() as alive:
            stuck = asyncio.create_task(disconnect(asking, dead))
            async with asyncio.timeout(30):
                assert (await disconnect(asking, alive)).outcome == "ack"
            assert not stuck.done()
            stuck.cancel()


def test_where_a_nas_takes_requests() -> None:
    assert target_of(None, "192.0.2.1", None, 3799) == ("192.0.2.1", 3799)
    assert target_of("192.0.2.9", "192.0.2.1", 1700, 3799) == ("192.0.2.9", 1700)


# -- what is believed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", [503, 501, 401, 602])
@pytest.mark.parametrize("action", ["disconnect", "coa"])
async def test_the_error_cause_is_kept(action: Any, cause: int) -> None:
    def refuse(request: pyrad.CoAPacket) -> bytes:
        answer = nak(cause)(request)
        assert answer is not None
        return bytes(answer.ReplyPacket())

    with client() as asking:
        async with listening(refuse) as device:
            result = await asking.send(action, device.target, SHARED, ALICE)
    assert (result.outcome, result.error_cause) == ("nak", cause)
    assert result.error_cause_name == CAUSES.get(cause, f"Error-Cause {cause}")
    assert not result.session_closed, "what follows from it is for others to decide"


@pytest.mark.parametrize("value", [b"", b"\1\xf7", bytes(8)], ids=len)
async def test_a_nak_with_a_malformed_error_cause_is_a_nak(value: bytes) -> None:
    def refuse(request: pyrad.CoAPacket) -> bytes:
        answer = request.CreateReply()
        answer.code = pyrad.DisconnectNAK
        answer[101] = [value]
        return bytes(answer.ReplyPacket())

    with client() as asking:
        async with listening(refuse) as device:
            result = await disconnect(asking, device)
    assert (result.outcome, result.error_cause, result.error_cause_name) == ("nak", None, None)


def _altered(at: int) -> Callable[[bytes], bytes]:
    return lambda octets: octets[:at] + bytes((octets[at] ^ 1,)) + octets[at + 1 :]


FORGED = {
    "response_authenticator_wrong": _altered(7),
    "unexpected_code": lambda octets: b"\x02" + octets[1:],
    "late_answer": lambda octets: octets[:1] + bytes((octets[1] ^ 1,)) + octets[2:],
    "packet_too_short": lambda octets: octets[:19],
    "length_mismatch": lambda octets: octets[:3] + b"\xff" + octets[4:],
    "unknown_code": lambda octets: b"\xff" + octets[1:],
}


@pytest.mark.parametrize("reason", FORGED)
async def test_what_cannot_be_believed_is_discarded_counted_and_waited_past(reason: str) -> None:
    with client(attempts=1) as asking:
        async with listening(silent) as device:
            task = asyncio.create_task(disconnect(asking, device))
            await eventually(lambda: device.got)
            honest = bytes(device.request().CreateReply().ReplyPacket())
            device.answer(0, FORGED[reason](honest))
            await eventually(asking.discarded)
            assert asking.discarded() == {reason: 1}
            await asyncio.sleep(0.02)
            assert not task.done(), "the true answer may still come"
            device.answer(0, honest)
            result = await task
    assert (result.outcome, result.attempts) == ("ack", 1)


async def test_an_answer_signed_with_another_secret_is_not_believed() -> None:
    def forger(request: pyrad.CoAPacket) -> bytes:
        answer = request.CreateReply()
        answer.secret = b"guessed"
        return bytes(answer.ReplyPacket())

    with client(attempts=1) as asking:
        async with listening(forger) as device:
            task = asyncio.create_task(disconnect(asking, device))
            await eventually(asking.discarded)
            assert asking.discarded() == {"response_authenticator_wrong": 1}
            time_is_over(asking)
            assert (await task).outcome == "timeout"


async def test_a_message_authenticator_in_an_answer_must_be_right() -> None:
    def half_signed(request: pyrad.CoAPacket) -> bytes:
        answer = request.CreateReply()
        answer[80] = [bytes(16)]
        return bytes(answer.ReplyPacket())  # the Response Authenticator is right, the Message-Authenticator is zeros

    def whole(request: pyrad.CoAPacket) -> bytes:
        answer = request.CreateReply()
        answer.authenticator = request.authenticator
        answer.add_message_authenticator()
        return bytes(answer.ReplyPacket())

    with client(attempts=1) as asking:
        async with listening(half_signed) as device:
            task = asyncio.create_task(disconnect(asking, device))
            await eventually(asking.discarded)
            assert asking.discarded() == {"message_authenticator_wrong": 1}
            time_is_over(asking)
            assert (await task).outcome == "timeout"
    with client(attempts=1) as asking:
        async with listening(whole) as device:
            assert (await disconnect(asking, device)).outcome == "ack"


async def test_the_answer_to_an_earlier_request_under_the_same_identifier_is_not_believed() -> None:
    with client(attempts=1, window=1) as asking:
        async with listening(silent) as device:
            task = asyncio.create_task(disconnect(asking, device))
            await eventually(lambda: device.got)
            time_is_over(asking)
            assert (await task).outcome == "timeout"
            late = bytes(device.request(0).CreateReply().ReplyPacket())
            device.say = Device().say
            for _ in range(255):
                assert (await disconnect(asking, device)).outcome == "ack"
            device.say = silent
            task = asyncio.create_task(disconnect(asking, device, attribute(1, b"bob")))
            await eventually(lambda: len(device.got) == 257)
            assert device.request().id == device.request(0).id
            device.answer(256, late)
            await eventually(asking.discarded)
            assert asking.discarded() == {"response_authenticator_wrong": 1}
            time_is_over(asking)
            assert (await task).outcome == "timeout"


async def test_an_answer_after_the_end_is_counted_and_hurts_nobody() -> None:
    with client(attempts=1) as asking:
        async with listening(silent) as device:
            task = asyncio.create_task(disconnect(asking, device))
            await eventually(lambda: device.got)
            time_is_over(asking)
            assert (await task).outcome == "timeout"
            device.answer(0)
            await eventually(asking.discarded)
            assert asking.discarded() == {"late_answer": 1}
            device.say = Device().say
            assert (await disconnect(asking, device)).outcome == "ack"
            device.answer(1)
            await eventually(lambda: asking.discarded() == {"late_answer": 2})


async def test_an_answer_from_elsewhere_is_not_even_heard() -> None:
    with client(attempts=1, timeout_seconds=0.3) as asking:
        async with listening(silent) as device:
            task = asyncio.create_task(disconnect(asking, device))
            await eventually(lambda: device.got)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.bind(("127.0.0.9", 0))
                stranger.sendto(bytes(device.request().CreateReply().ReplyPacket()), device.peers[0])
            assert (await task).outcome == "timeout"
            assert asking.discarded() == {}


async def test_discarded_answers_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A slow NAS answers every repetition, and whoever fakes its address may send as much as he likes."""
    with client(attempts=1) as asking:
        async with listening(silent) as device:
            task = asyncio.create_task(disconnect(asking, device))
            await eventually(lambda: device.got)
            honest = bytes(device.request().CreateReply().ReplyPacket())
            for _ in range(20):
                device.answer(0, FORGED["response_authenticator_wrong"](honest))
                device.answer(0, b"short")
            await eventually(lambda: sum(asking.discarded().values()) == 40)
            device.answer(0, honest)
            await task
    assert [record.getMessage() for record in caplog.records].count("answer to a dynamic authorization request discarded") == 2


async def test_random_octets_never_settle_anything() -> None:
    with client(attempts=1) as asking:
        async with listening(silent) as device:
            task = asyncio.create_task(disconnect(asking, device))
            await eventually(lambda: device.got)
            for length in range(1, 301):
                device.answer(0, os.urandom(length))
                if length % 30 == 0:  # not more than a socket holds
                    await eventually(lambda length=length: sum(asking.discarded().values()) == length)
            assert not task.done()
            device.answer(0)
            assert (await task).outcome == "ack"


# -- when the network says no ----------------------------------------------------------------------------------------


async def test_a_closed_port_is_silence_and_a_device_that_comes_up_meanwhile_is_reached() -> None:
    target = Target("127.0.0.2", free_port())
    with client(attempts=2, timeout_seconds=0.05) as asking:
        result = await asking.send("disconnect", target, SHARED, ALICE)
        assert (result.outcome, result.attempts) == ("timeout", 2), "ICMP can be forged, so it is no answer"
    with client(attempts=9, timeout_seconds=0.1) as asking:
        task = asyncio.create_task(asking.send("disconnect", target, SHARED, ALICE))
        await asyncio.sleep(0.15)
        device = Device()
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: device, local_addr=target)
        try:
            result = await task
        finally:
            transport.close()
        assert result.outcome == "ack"
        assert result.attempts > 1


async def test_an_address_without_a_route_is_an_error_that_says_so() -> None:
    with client() as asking:
        async with asyncio.timeout(20):
            result = await asking.send("disconnect", Target("255.255.255.255", 3799), SHARED, ALICE)
        assert result.outcome == "error"
        assert "255.255.255.255" in result.detail
        assert asking.results == {("disconnect", "error"): 1}


async def test_a_source_address_of_another_family_is_an_error_not_a_wait_for_ever() -> None:
    with client(source_address="127.0.0.1") as asking:
        async with asyncio.timeout(20):
            result = await asking.send("disconnect", Target("::1", 3799), SHARED, ALICE)
        assert result.outcome == "error"
        assert asking.waiting() == {}


async def test_the_configured_source_address_is_used() -> None:
    with client(source_address="127.0.0.77") as asking:
        async with listening() as device:
            assert (await disconnect(asking, device)).outcome == "ack"
    assert device.peers[0][0] == "127.0.0.77"


async def test_a_request_that_does_not_fit_is_an_error_and_the_next_one_goes() -> None:
    long = attribute(1, b"x" * 253) * 17
    with client() as asking:
        async with listening() as device:
            async with asyncio.timeout(20):
                result = await disconnect(asking, device, long)
            assert result.outcome == "error"
            assert (await disconnect(asking, device)).outcome == "ack"
            async with asyncio.timeout(20):
                result = await disconnect(asking, device, long)
            assert result.outcome == "error", "also when the socket is open already"
            assert (await disconnect(asking, device)).outcome == "ack"


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="no IPv6 here")
async def test_ipv6() -> None:
    with client() as asking:
        async with listening(address="::1") as device:
            assert (await disconnect(asking, device)).outcome == "ack"
            assert asking.waiting() == {}


# -- the end ---------------------------------------------------------------------------------------------------------


async def test_close_tells_everybody_who_waits() -> None:
    with client(window=2, attempts=1, timeout_seconds=30) as asking:
        async with listening(silent) as device:
            tasks = [asyncio.create_task(disconnect(asking, device)) for _ in range(5)]
            await eventually(lambda: len(device.got) == 2)
            asking.close()
            results = await asyncio.gather(*tasks)
            assert {(result.outcome, result.detail) for result in results} == {("error", "netd is stopping")}
            assert sorted(result.attempts for result in results) == [0, 0, 0, 1, 1], "what was sent may still be done by the NAS"
            await asyncio.sleep(0.05)
            assert len(device.got) == 2


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_close_while_the_socket_is_being_opened_leaves_no_socket() -> None:
    before = _descriptors()
    with client() as asking:
        async with listening(silent) as device:
            task = asyncio.create_task(disconnect(asking, device))
            await asyncio.sleep(0)  # the request is queued, its socket is not open yet
            asking.close()
            assert (await task).outcome == "error"
            await asyncio.sleep(0.1)
            assert device.got == []
    await asyncio.sleep(0)
    await eventually(lambda: _descriptors() <= before)


async def test_who_gives_up_waiting_disturbs_nobody() -> None:
    with client(window=1, attempts=1) as asking:
        async with listening(silent) as device:
            impatient = asyncio.create_task(disconnect(asking, device))
            queued = asyncio.create_task(disconnect(asking, device))
            patient = asyncio.create_task(disconnect(asking, device))
            await eventually(lambda: device.got)
            impatient.cancel()
            queued.cancel()
            device.say = Device().say
            time_is_over(asking)
            assert (await patient).outcome == "ack"
            assert len(device.got) == 2, "a request that nobody waits for any more is not sent"
