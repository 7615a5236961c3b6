"""Whether somebody is there: ICMP echo through an unprivileged ping socket, else a raw one, else a TCP connection that is taken or refused.

One socket per IP version serves any number of addresses at a time; an answer is believed only with the eight octets that were sent, from where they went.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Literal

from netd.device.pump import arrived
from netd.wire import icmp

log = logging.getLogger(__name__)

Address = IPv4Address | IPv6Address
Way = Literal["socket", "raw", "tcp"]
TOKEN_OCTETS: Final = 8
BUFFER_OCTETS: Final = 1 << 20
TCP_PORTS: Final = (22, 23, 80, 443)


class _Echo:
    """A socket of one IP version and who waits for answers on it."""

    def __init__(self, version: Literal[4, 6], opened: socket.socket, *, raw: bool, entropy: Callable[[int], bytes]) -> None:
        self.raw = raw
        self._version: Literal[4, 6] = version
        self._socket = opened
        self._header = raw and version == 4
        self._entropy = entropy
        self._identifier = int.from_bytes(entropy(2), "big")
        self._sequence = 0
        self._waiting: dict[tuple[Address, bytes], asyncio.Future[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(opened.fileno(), self._readable)

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    async def ask(self, address: Address, seconds: float) -> float | None:
        """Send one request and wait for its answer; how many seconds that took, None if it did not come. Raises OSError if there is no way there.

        More than ``seconds`` if the loop was held up meanwhile and found the answer afterwards: that time is the loop's.
        """
        token = self._entropy(TOKEN_OCTETS)
        self._sequence = (self._sequence + 1) & 0xFFFF
        answered: asyncio.Future[None] = self._loop.create_future()
        self._waiting[address, token] = answered
        begun = time.perf_counter()  # uvloop counts whole milliseconds
        try:
            self._socket.sendto(icmp.echo_request(self._version, self._identifier, self._sequence, token), (str(address), 0))
            await asyncio.wait((answered,), timeout=seconds)
            if not answered.done():
                await arrived()
        except BlockingIOError:  # a full buffer is a lost packet
            return None
        finally:
            del self._waiting[address, token]
        return time.perf_counter() - begun if answered.done() else None

    def _readable(self) -> None:
        for _ in range(64):
            try:
                data, source = self._socket.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error for a packet of before; its asker's time runs out
                continue
            reply = icmp.echo_reply(self._version, data, header=self._header)
            if reply is None:
                continue
            waiting = self._waiting.get((ip_address(source[0].partition("%")[0]), reply.payload[:TOKEN_OCTETS]))
            if waiting is not None and not waiting.done():
                waiting.set_result(None)


class Pinger:
    """Asks addresses whether they are there. ``async with``; ``ways`` may be given to leave some out."""

    def __init__(
        self, *, seconds: float = 1.0, attempts: int = 2, ways: Sequence[Way] = ("socket", "raw", "tcp"), tcp_ports: Sequence[int] = TCP_PORTS,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:  # fmt: skip
        self._seconds = seconds
        self._attempts = attempts
        self._ways = tuple(ways)
        self._tcp_ports = tuple(tcp_ports)
        self._entropy = entropy
        self._echo: dict[int, _Echo] = {}

    async def __aenter__(self) -> "Pinger":
        for version in (4, 6):
            opened = self._open(version)
            if opened is not None:
                self._echo[version] = opened
        if "tcp" in self._ways and not self._echo:
            log.warning("no ICMP: neither net.ipv4.ping_group_range nor CAP_NET_RAW allows it; whether a device is there is asked by TCP")
        return self

    async def __aexit__(self, *raised: object) -> None:
        for echo in self._echo.values():
            echo.close()

    def way(self, version: int) -> Way:
        """How addresses of an IP version are asked."""
        echo = self._echo.get(version)
        return "tcp" if echo is None else "raw" if echo.raw else "socket"

    async def ping(self, address: Address) -> bool:
        """Whether it answers one of the attempts, each of which has ``seconds``."""
        return await self.round_trip(address) is not None

    async def round_trip(self, address: Address) -> float | None:
        """How many seconds the answer took, counted from the attempt that was answered; None if none was."""
        echo = self._echo.get(address.version)
        if echo is None:
            begun = time.perf_counter()
            return time.perf_counter() - begun if await self._connects(address) else None
        for _ in range(self._attempts):
            try:
                took = await echo.ask(address, self._seconds)
                if took is not None and took > self._seconds:  # it is there; how far away, another answer may say
                    took = min(await echo.ask(address, self._seconds) or self._seconds, self._seconds)
            except OSError:  # no route, or forbidden: it does not answer
                return None
            if took is not None:
                return took
        return None

    def _open(self, version: Literal[4, 6] | int) -> _Echo | None:
        family, protocol = (socket.AF_INET, socket.IPPROTO_ICMP) if version == 4 else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
        for way, kind in (("socket", socket.SOCK_DGRAM), ("raw", socket.SOCK_RAW)):
            if way not in self._ways:
                continue
            with suppress(OSError):
                opened = socket.socket(family, kind, protocol)
                opened.setblocking(False)
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_OCTETS)
                return _Echo(4 if version == 4 else 6, opened, raw=way == "raw", entropy=self._entropy)
        return None

    async def _connects(self, address: Address) -> bool:
        """Whether one of a few TCP ports takes a connection, or refuses it: also that is an answer."""
        if "tcp" not in self._ways:
            return False
        tries = [asyncio.create_task(self._connect(address, port)) for port in self._tcp_ports]
        try:
            for done in asyncio.as_completed(tries):
                if await done:
                    return True
        finally:
            for each in tries:
                each.cancel()
            await asyncio.gather(*tries, return_exceptions=True)
        return False

    async def _connect(self, address: Address, port: int) -> bool:
        try:
            async with asyncio.timeout(self._seconds):
                _, writer = await asyncio.open_connection(str(address), port)
        except ConnectionRefusedError:
            return True
        except (TimeoutError, OSError):
            return False
        writer.transport.abort()
        return True
