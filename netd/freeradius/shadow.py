"""Asks two RADIUS servers the same: log-ins of a list, or what real NAS send, who then get the peer's answer.

A mirrored packet is passed on octet by octet from a socket of its own, so that the shared secret must be one for NAS, mirror and both servers, and the mirror
must be a NAS of both. Whoever may send to the mirror may try passwords at the peer; so its sources are named.
"""

import asyncio
import secrets
import socket
from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Final

from netd.errors import WireError
from netd.freeradius.compare import IGNORED, Difference, Login, Method, Side, compare, request
from netd.wire import radius
from netd.wire.dictionary import Dictionary
from netd.wire.radius import Packet, SharedSecret

Address = tuple[str, int]
Network = IPv4Network | IPv6Network

ATTEMPTS: Final = 3
MIRRORED_AT_A_TIME: Final = 2_000
"""More than these at a time are passed on to the peer only, more than twice as many not at all: the mirror must never be what fails."""


class Asker(asyncio.DatagramProtocol):
    """One server: up to 256 requests under way at a time from one socket."""

    def __init__(self, secret: SharedSecret) -> None:
        self._secret = secret
        self._waiting: dict[int, tuple[bytes, asyncio.Future[Packet]]] = {}
        self._next = 0
        self.forged = 0
        self.refused = ""  # the system's last error: nobody listens there
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, address: Address, secret: SharedSecret) -> "Asker":
        """A socket to a server."""
        asker = cls(secret)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: asker, remote_addr=address)
        asker._transport = transport
        return asker

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()

    def take_identifier(self) -> int:
        """An identifier that no request under way has: at most 200 are."""
        while self._next in self._waiting:
            self._next = (self._next + 1) % 256
        taken = self._next
        self._next = (taken + 1) % 256
        return taken

    async def ask(self, data: bytes, timeout_seconds: float) -> Packet | None:
        """Send a request, again if need be; its answer, None if none came."""
        future: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        identifier = data[1]
        self._waiting[identifier] = (data[4:20], future)
        try:
            for _ in range(ATTEMPTS):
                if self._transport is not None:
                    self._transport.sendto(data)
                with suppress(TimeoutError):
                    return await asyncio.wait_for(asyncio.shield(future), timeout_seconds)
            return None
        finally:
            del self._waiting[identifier]

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """An answer; one that is not signed with the secret is counted and thrown away."""
        try:
            packet = radius.parse(data)
        except WireError:
            self.forged += 1
            return
        waiting = self._waiting.get(packet.identifier)
        if waiting is None or waiting[1].done():
            return
        if radius.response_authenticator_ok(packet, self._secret, waiting[0]):
            waiting[1].set_result(packet)
        else:
            self.forged += 1

    def error_received(self, exc: Exception) -> None:
        """The system says that nobody listens there."""
        self.refused = str(exc)


class Shadow:
    """Two servers and how their answers are compared."""

    def __init__(
        self, dictionary: Dictionary, netd: Address, peer: Address, secret: bytes, *,
        ignored: Collection[str] = IGNORED, slack_seconds: int = 0, timeout_seconds: float = 3.0,
    ) -> None:  # fmt: skip
        self.dictionary = dictionary
        self.netd = netd
        self.peer = peer
        self.secret = SharedSecret(secret)
        self.ignored = ignored
        self.slack_seconds = slack_seconds
        self.timeout_seconds = timeout_seconds
        self.compared = self.differing = self.unanswered = self.skipped = 0
        self.accepted = 0  # by both

    def judge(self, username: str, method: str, netd: Packet | None, peer: Packet | None, authenticator: bytes) -> Difference | None:
        """Count two answers to one request, and compare them."""
        self.compared += 1
        if netd is None or peer is None:
            self.unanswered += 1
        sides = compare(self.dictionary, netd, peer, self.secret, authenticator, self.ignored, self.slack_seconds)
        if sides is None and netd is None:  # neither answered: nothing was compared
            sides = Side(code="no answer"), Side(code="no answer")
        if sides is None:
            self.accepted += netd is not None and netd.code == radius.ACCESS_ACCEPT
            return None
        self.differing += 1
        return Difference(username=username, method=method, netd=sides[0], peer=sides[1])

    async def replay(self, logins: Iterable[Login], methods: Collection[Method], window: int = 64) -> AsyncGenerator[Difference, None]:
        """Log each in by each method at both servers, ``window`` at a time; yields what differs as it is found."""
        netd, peer = await Asker.open(self.netd, self.secret), await Asker.open(self.peer, self.secret)
        found: asyncio.Queue[Difference] = asyncio.Queue()
        todo = ((login, method) for login in logins for method in methods)

        async def work() -> None:
            for login, method in todo:
                authenticator, drawn = secrets.token_bytes(16), secrets.token_bytes(32)
                try:  # all octets are the same for both but the identifier and what signs it
                    ours, theirs = (
                        request(self.dictionary, login, method, self.secret, asker.take_identifier(), authenticator, drawn) for asker in (netd, peer)
                    )
                except ValueError:
                    self.skipped += 1
                    continue
                answers = await asyncio.gather(netd.ask(ours, self.timeout_seconds), peer.ask(theirs, self.timeout_seconds))
                difference = self.judge(login.username, method, answers[0], answers[1], authenticator)
                if difference is not None:
                    found.put_nowait(difference)

        workers = [asyncio.create_task(work()) for _ in range(min(window, 200))]
        everything: asyncio.Future[list[None]] = asyncio.gather(*workers)
        try:
            while not (everything.done() and found.empty()):
                getter = asyncio.create_task(found.get())
                either: list[asyncio.Future[Any]] = [getter, everything]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if getter.done():
                    yield getter.result()
                else:
                    getter.cancel()
            await everything
        finally:
            for worker in workers:
                worker.cancel()
            netd.close()
            peer.close()

    async def mirror(self, listen: Address, allowed: Collection[Network], started: Callable[[Address], object]) -> AsyncGenerator[Difference, None]:
        """Serve the NAS in ``allowed`` from the peer, and ask netd the same beside it, until cancelled; yields what differs.

        ``started`` is told the address once packets are taken.
        """
        loop = asyncio.get_running_loop()
        found: asyncio.Queue[Difference] = asyncio.Queue()
        served: dict[tuple[Address, bytes], bytes] = {}  # requests under way: a repetition is passed on by the task that has it
        tasks: set[asyncio.Task[None]] = set()
        listening = socket.socket(socket.AF_INET6 if ":" in listen[0] else socket.AF_INET, socket.SOCK_DGRAM)
        listening.setblocking(False)
        listening.bind(listen)
        started(listening.getsockname()[:2])

        async def serve(data: bytes, source: Address) -> None:
            try:
                await self._serve(data, source, listening, found, beside=len(tasks) <= MIRRORED_AT_A_TIME)
            finally:
                served.pop((source, data[1:20]), None)

        async def receive() -> None:
            while True:
                data, source = await loop.sock_recvfrom(listening, radius.MAX_PACKET)
                known = (source, data[1:20]) in served
                if known or len(data) < radius.HEADER or len(served) >= 2 * MIRRORED_AT_A_TIME or not _within(source[0], allowed):
                    self.skipped += not known
                    continue
                served[source, data[1:20]] = data
                task = asyncio.create_task(serve(data, source))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

        receiver = asyncio.create_task(receive())
        try:
            while True:
                getter = asyncio.create_task(found.get())
                either: list[asyncio.Future[Any]] = [getter, receiver]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if receiver.done():
                    getter.cancel()
                    receiver.result()
                yield getter.result()
        finally:
            receiver.cancel()
            for task in tasks:
                task.cancel()
            listening.close()

    async def _serve(self, data: bytes, source: Address, listening: socket.socket, found: asyncio.Queue[Difference], *, beside: bool) -> None:
        loop = asyncio.get_running_loop()
        netd = await Asker.open(self.netd, self.secret)
        peer = await Asker.open(self.peer, self.secret)
        try:
            ours = asyncio.ensure_future(netd.ask(data, self.timeout_seconds)) if beside else None
            theirs = await peer.ask(data, self.timeout_seconds)
            if theirs is not None:
                await loop.sock_sendto(listening, theirs.data, source)
            if ours is None:
                self.skipped += 1
                return
            answer = await ours
            name, method = _who(data)
            difference = self.judge(name, method, answer, theirs, data[4:20])
            if difference is not None:
                found.put_nowait(difference)
        finally:
            netd.close()
            peer.close()


def _within(host: str, allowed: Collection[Network]) -> bool:
    address = ip_address(host.partition("%")[0])
    return any(address in network for network in allowed)


def _who(data: bytes) -> tuple[str, str]:
    """User name and method of a request, for people."""
    try:
        packet = radius.parse(data)
    except WireError:
        return "?", "malformed"
    name = packet.attributes.get(radius.USER_NAME, b"").decode("utf-8", "replace")
    if packet.code != radius.ACCESS_REQUEST:
        return name, f"code {packet.code}"
    for kind, method in ((radius.USER_PASSWORD, "pap"), (radius.CHAP_PASSWORD, "chap"), (radius.EAP_MESSAGE, "eap")):
        if kind in packet.attributes:
            return name, method
    return name, "mschap" if radius.VENDOR_SPECIFIC in packet.attributes else "no credentials"
