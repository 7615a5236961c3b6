"""Gives what arrives on many connections to their protocols in turn and in small helpings, so that no wave of data holds the event loop.

A loop hands every socket that can be read its data in one go: five hundred devices that send at once, each a millisecond of decryption, are half a second
in which RADIUS is not answered. Here sockets are only emptied into bounded queues; the work on them takes at most BUDGET_SECONDS of each turn of the loop.
"""

import asyncio
import logging
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final, cast

log = logging.getLogger(__name__)

BUDGET_SECONDS: Final = 0.004
HELPING_OCTETS: Final = 8 << 10
MOST_QUEUED: Final = 64 << 10

TURNS: Final = 2
"""Of the loop, until what is in a socket has been read."""


async def arrived() -> None:
    """Return when the loop has read what is in its sockets by now: one that somebody held up meets the end of a time before what came in that time."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


class Pump:
    """Shared by the connections of a loop. It is what asyncssh calls a tunnel: something that makes connections."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._hungry: deque[_Valve] = deque()
        self._running = False
        self._turns = asyncio.Lock()
        self._valves = weakref.WeakValueDictionary[int, _Valve]()  # by the id of the protocol behind

    async def create_connection(
        self, session_factory: Callable[[], asyncio.Protocol], remote_host: str, remote_port: int
    ) -> tuple[asyncio.BaseTransport, asyncio.Protocol]:
        """A TCP connection whose protocol gets its data from the pump. Raises OSError."""
        transport, valve = await asyncio.get_running_loop().create_connection(lambda: _Valve(self, session_factory()), remote_host, remote_port)
        self._valves[id(valve.protocol)] = valve
        return transport, valve.protocol

    async def catch_up(self, protocol: object) -> None:
        """Return when a protocol was given what has come for it by now. What comes meanwhile is not waited for: that may have no end."""
        valve = self._valves.get(id(protocol))
        if valve is not None:
            await valve.catch_up()

    async def turn(self) -> None:
        """Return in a turn of the loop in which nobody else's does: what follows is dear, like the start of a connection."""
        async with self._turns:
            await asyncio.sleep(0)

    def offer(self, valve: "_Valve") -> None:
        """Something is queued there that was not before."""
        self._hungry.append(valve)
        if not self._running:
            self._running = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        until = self._clock() + BUDGET_SECONDS
        while self._hungry:
            valve = self._hungry.popleft()
            try:
                if valve.feed():
                    self._hungry.append(valve)
            except Exception:  # barrier: what one protocol trips over ends its connection, as the loop would have it, and not everybody's
                log.exception("a connection's protocol failed")
                valve.give_up()
            if self._clock() >= until:
                break
        self._running = bool(self._hungry)
        if self._running:
            asyncio.get_running_loop().call_soon(self._run)


class _Valve(asyncio.Protocol):
    """Between a transport, which the protocol writes to by itself, and the protocol."""

    def __init__(self, pump: Pump, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol
        self._pump = pump
        self._transport: asyncio.Transport
        self._queue = bytearray()
        self._paused = False
        self._ended: list[Callable[[], object]] = []  # what is to be told once the queue is empty
        self._lost = False
        self._given = 0  # octets, and ends that were told
        self._awaited: deque[tuple[int, asyncio.Future[None]]] = deque()  # what is told when so much was given

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not derived from it
        self.protocol.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        idle = not self.has_more
        self._queue += data
        if len(self._queue) > MOST_QUEUED and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        if idle:
            self._pump.offer(self)

    def eof_received(self) -> bool:
        self._end(self.protocol.eof_received)
        return True  # the protocol closes, after it has had everything

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._end(lambda: self.protocol.connection_lost(exc))

    def pause_writing(self) -> None:
        self.protocol.pause_writing()

    def resume_writing(self) -> None:
        self.protocol.resume_writing()

    def feed(self) -> bool:
        """Give the protocol a helping; returns whether there is more."""
        if self._queue:
            helping = bytes(self._queue[:HELPING_OCTETS])
            del self._queue[:HELPING_OCTETS]
            self._given += len(helping)
            if self._paused and not self._lost and len(self._queue) < MOST_QUEUED // 2:
                self._paused = False
                self._transport.resume_reading()
            self.protocol.data_received(helping)
        elif self._ended:
            self._given += 1
            self._ended.pop(0)()
        self._tell(sum(amount <= self._given for amount, _ in self._awaited))
        return self.has_more

    def give_up(self) -> None:
        """End the connection; nothing more is given to its protocol but that."""
        self._queue.clear()
        self._ended.clear()
        self._tell(len(self._awaited))
        if not self._lost:
            self._transport.abort()

    def _tell(self, count: int) -> None:
        for _ in range(count):
            told = self._awaited.popleft()[1]
            if not told.done():
                told.set_result(None)

    async def catch_up(self) -> None:
        """Return when what is queued now has been given."""
        if self.has_more:
            told = asyncio.get_running_loop().create_future()
            self._awaited.append((self._given + len(self._queue) + len(self._ended), told))
            await told

    @property
    def has_more(self) -> bool:
        return bool(self._queue or self._ended)

    def _end(self, tell: Callable[[], object]) -> None:
        idle = not self.has_more
        self._ended.append(tell)
        if idle:
            self._pump.offer(self)
