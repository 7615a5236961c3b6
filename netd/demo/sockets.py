"""A simulated NAS on loopback: two sockets for what it asks, one for what it is asked."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from netd.demo.nas import At, Datagram, Nas
from netd.errors import ConfigError

LOOPBACK = "127.0.0.1"


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, received: Callable[[bytes, Any], None]) -> None:
        self._received = received

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._received(data, addr)


class NasSockets:
    """``address`` is the NAS's own; ``coa_port`` is where it listens once it is open. Datagrams go to ``server_ports`` on 127.0.0.1."""

    def __init__(self, nas: Nas, address: str, clock: Callable[[], At]) -> None:
        self.nas = nas
        self.coa_port = 0
        self.server_ports: dict[str, int] = {}
        self._address = address
        self._clock = clock
        self._open: dict[str, asyncio.DatagramTransport] = {}

    async def open(self, coa_port: int) -> None:
        """Listen; at ``coa_port`` if that is free. Raises ConfigError."""
        for name, received in (("auth", partial(self._answered, "auth")), ("acct", partial(self._answered, "acct")), ("coa", self._asked)):
            self._open[name] = await self._bind(received, coa_port if name == "coa" else 0)
        self.coa_port = self._open["coa"].get_extra_info("sockname")[1]

    async def _bind(self, received: Callable[[bytes, Any], None], port: int) -> asyncio.DatagramTransport:
        loop = asyncio.get_running_loop()
        for each in dict.fromkeys((port, 0)):
            try:
                transport, _ = await loop.create_datagram_endpoint(lambda: _Socket(received), (self._address, each))
            except OSError as error:
                if each == 0:
                    raise ConfigError("demo", "", f"a simulated NAS cannot listen on {self._address}: {error.strerror}") from None
            else:
                return transport
        raise AssertionError("port 0 returns or raises")

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """To netd."""
        for each in datagrams:
            self._open[each.to].sendto(each.data, (LOOPBACK, self.server_ports[each.to]))

    def close(self) -> None:
        """Listen no longer."""
        for transport in self._open.values():
            transport.close()

    def _answered(self, to: Literal["auth", "acct"], data: bytes, source: Any) -> None:
        if source == (LOOPBACK, self.server_ports.get(to)):
            self.nas.answered(to, data, self._clock())

    def _asked(self, data: bytes, source: Any) -> None:
        answer = self.nas.asked(data, self._clock())
        if answer is not None:
            self._open["coa"].sendto(answer, source)
