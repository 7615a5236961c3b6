"""Two servers asked the same, and their answers compared; the servers here are a few lines each."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest

from netd.freeradius.compare import METHODS, Login, compare, request
from netd.freeradius.shadow import Address, Shadow
from netd.wire import radius
from netd.wire.attributes import Avp, encode
from netd.wire.radius import Packet, SharedSecret
from tests.radius.world import eventually

SECRET = SharedSecret(b"shared")
AUTHENTICATOR = bytes(range(16))
LOOPBACK = [ip_network("127.0.0.0/8")]

Answer = Callable[[Packet], tuple[int, list[Avp]] | None]


@pytest.fixture
def answer(extensions):
    def make(code: int, *avps) -> Packet:
        return radius.parse(radius.reply(code, 1, AUTHENTICATOR, encode(extensions.dictionary, avps), SECRET))

    return make


@pytest.fixture
def difference(extensions):
    def find(netd, peer, **options):
        return compare(extensions.dictionary, netd, peer, SECRET, AUTHENTICATOR, **options)

    return find


def test_order_and_what_servers_make_up_themselves_do_not_count(answer, difference):
    one = answer(2, ("Reply-Message", "a"), ("Reply-Message", "b"), ("Class", b"x"), ("Session-Timeout", 60))
    other = answer(2, ("Session-Timeout", 60), ("Reply-Message", "b"), ("Reply-Message", "a"), ("Class", b"y"))
    assert difference(one, other) is None


def test_code_presence_value_and_number_count(answer, difference):
    base = answer(2, ("Reply-Message", "a"), ("Session-Timeout", 60))
    ours, theirs = difference(base, answer(3))
    assert (ours.code, theirs.code) == ("Access-Accept", "Access-Reject")
    ours, theirs = difference(base, answer(2, ("Reply-Message", "a"), ("Reply-Message", "a"), ("Session-Timeout", 61)))
    assert ours.only == ("Session-Timeout = 60",)
    assert theirs.only == ("Reply-Message = a", "Session-Timeout = 61")
    assert difference(base, answer(2, ("Reply-Message", "a"), ("Session-Timeout", 61)), slack_seconds=1) is None
    assert difference(base, answer(2, ("Reply-Message", "a"), ("Session-Timeout", 62)), slack_seconds=1) is not None
    assert difference(base, answer(2, ("Session-Timeout", 60)), ignored=("reply-message", "message-authenticator")) is None
    assert difference(base, None)[1].code == "no answer"


def test_a_password_is_in_no_repr(extensions):
    login = Login("alice", "wonderland")
    assert "wonderland" not in repr(login)
    with pytest.raises(ValueError):
        request(extensions.dictionary, Login("alice", "x" * 129), "pap", SECRET, 1, AUTHENTICATOR, bytes(32))


class Server(asyncio.DatagramProtocol):
    """Answers as it is told, and remembers."""

    def __init__(self, extensions, say: Answer) -> None:
        self.dictionary = extensions.dictionary
        self.say = say
        self.heard: list[bytes] = []

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.address: Address = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.heard.append(data)
        packet = radius.parse(data)
        said = self.say(packet)
        if said is not None:
            code, avps = said
            self.transport.sendto(radius.reply(code, packet.identifier, packet.authenticator, encode(self.dictionary, avps), SECRET), addr)


@pytest.fixture
def servers(extensions):
    @asynccontextmanager
    async def run(*answers: Answer) -> AsyncIterator[list[Server]]:
        loop = asyncio.get_running_loop()
        made = []
        for say in answers:
            server = Server(extensions, say)
            await loop.create_datagram_endpoint(lambda server=server: server, local_addr=("127.0.0.1", 0))  # type: ignore[misc]
            made.append(server)
        try:
            yield made
        finally:
            for server in made:
                server.transport.close()

    return run


def accept(packet: Packet):
    return 2, [("Session-Timeout", 60)]


def by_name(packet: Packet):
    return (2, [("Session-Timeout", 60)]) if packet.attributes[1].startswith(b"a") else (3, [])


async def test_every_user_by_every_method_at_both(extensions, servers):
    async with servers(accept, by_name) as (ours, theirs):
        shadow = Shadow(extensions.dictionary, ours.address, theirs.address, b"shared", timeout_seconds=60.0)
        logins = [Login(f"{letter}{number}", "pw") for letter in "ab" for number in range(150)]
        found = [each async for each in shadow.replay(logins, METHODS)]
    assert (shadow.compared, shadow.differing, shadow.accepted) == (900, 450, 450)
    assert {(each.username[0], each.netd.code, each.peer.code) for each in found} == {("b", "Access-Accept", "Access-Reject")}
    assert all(len(server.heard) == 900 for server in (ours, theirs))
    assert all(radius.message_authenticator_ok(radius.parse(data), SECRET) for data in ours.heard)


async def test_no_answer_is_a_difference_even_if_neither_answers(extensions, servers):
    async with servers(accept, lambda packet: None) as (one, silent):
        for ours, theirs in ((one, silent), (silent, silent)):
            shadow = Shadow(extensions.dictionary, ours.address, theirs.address, b"shared", timeout_seconds=0.3)
            (found,) = [each async for each in shadow.replay([Login("a", "b")], METHODS[:1])]
            assert found.peer.code == "no answer"
            assert shadow.unanswered == 1
        assert len(silent.heard) >= 3, "asked again"


async def test_an_answer_signed_with_another_secret_is_none(extensions, servers):
    async with servers(accept, accept) as (ours, theirs):
        shadow = Shadow(extensions.dictionary, ours.address, theirs.address, b"another", timeout_seconds=0.3)
        assert len([each async for each in shadow.replay([Login("a", "b")], METHODS[:1])]) == 1


async def test_a_mirror_answers_from_the_peer_and_tells_what_netd_says_otherwise(extensions, servers):
    loop = asyncio.get_running_loop()
    async with servers(by_name, accept) as (ours, theirs):
        shadow = Shadow(extensions.dictionary, ours.address, theirs.address, b"shared", timeout_seconds=60.0)
        started: asyncio.Future[Address] = loop.create_future()
        differences = shadow.mirror(("127.0.0.1", 0), LOOPBACK, started.set_result)
        first = asyncio.ensure_future(anext(differences))
        where = await started
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as nas:
            nas.connect(where)
            for number, name in enumerate(("alice", "bob")):
                data = request(extensions.dictionary, Login(name, "pw"), "pap", SECRET, number, AUTHENTICATOR, bytes(32))
                nas.send(data)
                async with asyncio.timeout(60):
                    reply = radius.parse(await loop.sock_recv(nas, 4096))
                assert (reply.code, reply.identifier) == (2, number)
                assert radius.response_authenticator_ok(reply, SECRET, AUTHENTICATOR)
                assert theirs.heard[-1] == data, "passed on as it came"
            async with asyncio.timeout(60):
                found = await first
        assert (found.username, found.method, found.netd.code, found.peer.code) == ("bob", "pap", "Access-Reject", "Access-Accept")
        await eventually(lambda: shadow.compared == 2)
        await differences.aclose()


async def test_a_mirror_serves_nobody_else_and_goes_on_while_netd_is_away(extensions, servers):
    loop = asyncio.get_running_loop()
    async with servers(lambda packet: None, accept) as (away, theirs):
        shadow = Shadow(extensions.dictionary, away.address, theirs.address, b"shared", timeout_seconds=0.3)
        for allowed, expected in (([ip_network("192.0.2.0/24")], 0), (LOOPBACK, 1)):
            started: asyncio.Future[Address] = loop.create_future()
            differences = shadow.mirror(("127.0.0.1", 0), allowed, started.set_result)
            first = asyncio.ensure_future(anext(differences))
            where = await started
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as nas:
                nas.connect(where)
                nas.send(request(extensions.dictionary, Login("alice", "pw"), "pap", SECRET, 1, AUTHENTICATOR, bytes(32)))
                if expected:
                    async with asyncio.timeout(60):
                        assert (await loop.sock_recv(nas, 4096))[0] == 2
                        assert (await first).netd.code == "no answer"
                else:
                    async with asyncio.timeout(60):
                        await eventually(lambda: shadow.skipped)
                    first.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await first
            await differences.aclose()
            assert len(set(theirs.heard)) == expected, "however often it was asked"
