"""Whether anybody answers from an address, before it is offered to a new client (RFC 2131 2.2): ICMP echo, many at a time."""

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import Sequence
from typing import Final

from netd.ztp.sockets import checksum

log = logging.getLogger(__name__)

ECHO_REPLY: Final = 0
ECHO_REQUEST: Final = 8


class Probe:
    """One ICMP socket. Raises OSError where neither a ping socket nor a raw one may be opened."""

    def __init__(self, wait_seconds: float, identifier: int) -> None:
        self._wait_seconds = wait_seconds
        self._identifier = identifier & 0xFFFF
        self._raw = False
        try:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMP)
        except PermissionError:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMP)
            self._raw = True
        self._answered: dict[int, asyncio.Event] = {}
        self._sequence = 0

    def start(self) -> None:
        """Read answers from now on."""
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._readable)

    def close(self) -> None:
        """Let go of the socket."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()

    async def __call__(self, addresses: Sequence[int]) -> set[int]:
        """Those that somebody answers from within the time; it is over at once when all did."""
        events = {address: self._answered.setdefault(address, asyncio.Event()) for address in addresses}
        try:
            for address in events:
                self._send(address)
            waits = [asyncio.create_task(event.wait()) for event in events.values()]
            _, silent = await asyncio.wait(waits, timeout=self._wait_seconds)
            for task in silent:
                task.cancel()
            return {address for address, event in events.items() if event.is_set()}
        finally:
            for address in events:
                self._answered.pop(address, None)

    def _send(self, address: int) -> None:
        self._sequence = (self._sequence + 1) & 0xFFFF
        head = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, self._identifier, self._sequence) + b"netd"
        data = head[:2] + checksum(head).to_bytes(2, "big") + head[4:]
        try:
            self._socket.sendto(data, (socket.inet_ntoa(address.to_bytes(4, "big")), 0))
        except OSError as error:
            log.debug("address not probed", extra={"error": error.strerror})  # not reachable: nobody is there, as far as can be told

    def _readable(self) -> None:
        while True:
            try:
                data, source = self._socket.recvfrom(2048)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EINTR, errno.EHOSTUNREACH, errno.ECONNREFUSED):
                    log.warning("the probe's socket failed", extra={"error": error.strerror})
                return
            if self._raw:
                data = data[(data[0] & 15) * 4 :] if data else b""
            event = self._answered.get(int.from_bytes(socket.inet_aton(source[0]), "big"))
            if event is not None and len(data) >= 8 and data[0] == ECHO_REPLY:
                event.set()
