"""Connections let in to a port that anybody reaches: so many in all and of one source, and none that says nothing.

aiohttp accepts whatever comes and waits for ever for a first request, so that a few hundred silent connections would take the descriptors of the whole
daemon. Here they are counted as they are accepted, before TLS begins.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final, cast

from netd.metrics import Counts

log = logging.getLogger(__name__)

ACCEPTED_AT_ONCE: Final = 64
BACKLOG: Final = 128
EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
PAUSE_SECONDS: Final = 1.0


class _Watched(asyncio.Protocol):
    """Stands before the protocol that serves a connection, and tells the gate when it is over."""

    def __init__(self, inner: asyncio.Protocol, begun: Callable[[asyncio.Transport], None], ended: Callable[[], None]) -> None:
        self._inner = inner
        self._begun = begun
        self._ended = ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._begun(cast(asyncio.Transport, transport))  # before the protocol starts a clock of its own, which would end it uncounted
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended()
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


class Gate:
    """Listens on ``sock`` and serves with what ``factory`` makes. ``refused`` counts by reason (too_many, too_many_of_source, silent, no_tls)."""

    def __init__(
        self, sock: socket.socket, factory: Callable[[], asyncio.Protocol], key: Callable[[str], str], refused: Counts, *, most: int, most_of_source: int,
        silent_seconds: float, context: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self._socket = sock
        self._factory = factory
        self._key = key
        self._refused = refused
        self._most = most
        self._most_of_source = most_of_source
        self._silent_seconds = silent_seconds
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._of_source: Counts = Counts()
        self._open = 0
        self._beginning: set[asyncio.Task[None]] = set()
        self._silent: dict[asyncio.Transport, asyncio.TimerHandle] = {}
        self._resume: asyncio.TimerHandle | None = None

    @property
    def open(self) -> int:
        """Connections that are let in."""
        return self._open

    def start(self) -> None:
        """Accept."""
        self._resume = None
        self._loop.add_reader(self._socket.fileno(), self._readable)

    async def stop(self) -> None:
        """Accept no more; what is open stays."""
        if self._resume is not None:
            self._resume.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        for task in list(self._beginning):
            task.cancel()
        await asyncio.gather(*self._beginning, return_exceptions=True)

    def asked(self, transport: asyncio.BaseTransport | None) -> None:
        """A request came on this connection: it is not silent."""
        timer = self._silent.pop(cast(asyncio.Transport, transport), None)
        if timer is not None:
            timer.cancel()

    def _readable(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, address = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                log.warning("no boot file connection can be accepted", extra={"error": str(error)})
                self._loop.remove_reader(self._socket.fileno())
                self._resume = self._loop.call_later(PAUSE_SECONDS, self.start)
                return
            key = self._key(address[0])
            reason = "too_many" if self._open >= self._most else "too_many_of_source" if self._of_source[key] >= self._most_of_source else ""
            if reason:
                self._refused[reason] += 1
                sock.close()
                continue
            self._let_in(sock, key)

    def _let_in(self, sock: socket.socket, key: str) -> None:
        sock.setblocking(False)
        self._open += 1
        self._of_source[key] += 1
        task = self._loop.create_task(self._begin(sock, key), name="boot connection")
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _begin(self, sock: socket.socket, key: str) -> None:
        made: list[asyncio.Transport] = []

        def begun(transport: asyncio.Transport) -> None:
            made.append(transport)
            self._silent[transport] = self._loop.call_later(self._silent_seconds, self._said_nothing, transport)

        def ended() -> None:
            self.asked(made[0])
            self._over(key)

        within = None if self._context is None else self._silent_seconds
        try:
            await self._loop.connect_accepted_socket(
                lambda: _Watched(self._factory(), begun, ended), sock, ssl=self._context, ssl_handshake_timeout=within
            )  # fmt: skip
        except (OSError, ssl.SSLError, asyncio.CancelledError) as error:  # its TLS came to nothing
            if not made:
                self._refused["no_tls"] += not isinstance(error, asyncio.CancelledError)
                sock.close()
                self._over(key)
            if isinstance(error, asyncio.CancelledError):
                raise

    def _said_nothing(self, transport: asyncio.Transport) -> None:
        self._refused["silent"] += 1
        self._silent.pop(transport, None)
        transport.abort()

    def _over(self, key: str) -> None:
        self._open -= 1
        self._of_source[key] -= 1
        if not self._of_source[key]:
            del self._of_source[key]


def listening(address: str, port: int) -> socket.socket:
    """A socket that listens there. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
