"""The one HTTP client: for integrations, whose addresses the operator wrote down, and for webhooks, whose URLs anybody with the permission chose.

A request has one deadline over everything (name, connection, retries, body). Calls that may be repeated are repeated with back-off; an integration that
failed five times is left alone for a while (:class:`Breaker`) and then tried by one request. No error and no log line holds more of a URL than scheme,
host and port: the rest, and headers, may be secrets.
"""

import asyncio
import random
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from netd import __version__
from netd.device.addresses import Networks, refusal, within
from netd.errors import PeerUnreachable
from netd.metrics import Counts, Metrics

DEADLINE_SECONDS: Final = 30.0
MOST_OCTETS: Final = 8 << 20
ATTEMPTS: Final = 3
RETRY_SECONDS: Final = 0.25
IDEMPOTENT: Final = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))
WORTH_ANOTHER: Final = frozenset((429, 502, 503, 504))
OPEN_AFTER: Final = 5
OPEN_SECONDS: Final = 30.0
RESOLVERS: Final = 32
WEBHOOK_OCTETS: Final = 16 << 10
FINAL: Final = frozenset(("invalid", "tls", "host_key", "too_large", "not_allowed"))
"""What another attempt would not change."""

State = Literal["closed", "open", "half-open"]
_NUMBERS: Final[dict[State, int]] = {"closed": 0, "half-open": 1, "open": 2}


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What was answered, whatever the status. ``headers`` have lower-case names; ``seconds`` from the call to the last octet."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


class Names(Protocol):
    """Finds the addresses of a host."""

    async def __call__(self, host: str, port: int, family: int) -> list[ResolveResult]:
        """The addresses, in order of preference. Raises OSError."""
        ...


class Breaker:
    """Keeps requests from a peer that does not answer: open after ``open_after`` failures in a row, then one at a time until one goes well.

    Each failure from then on doubles the time, from ``open_seconds`` up to ``most_seconds``.
    """

    def __init__(self, open_after: int = OPEN_AFTER, open_seconds: float = OPEN_SECONDS, most_seconds: float = OPEN_SECONDS) -> None:
        self.failures = 0
        self._open_after = open_after
        self._open_seconds = open_seconds
        self._most_seconds = most_seconds
        self._opened_at = 0.0
        self._probing = False

    def state(self, now: float) -> State:
        """What the next request meets."""
        if self.failures < self._open_after:
            return "closed"
        seconds = min(self._open_seconds * 2.0 ** min(self.failures - self._open_after, 16), self._most_seconds)
        return "half-open" if now - self._opened_at >= seconds else "open"

    def enter(self, now: float) -> bool:
        """Whether a request may go out now; who was let in must call ``done``."""
        state = self.state(now)
        if state == "closed":
            return True
        if state == "open" or self._probing:
            return False
        self._probing = True
        return True

    def done(self, ok: bool | None, now: float) -> None:
        """How a request ended; None if it was cancelled, which says nothing."""
        self._probing = False
        if ok:
            self.failures = 0
        elif ok is False:
            self.failures += 1
            self._opened_at = now


class _Resolver(AbstractResolver):
    """Looks names up in threads of its own, each name once at a time: servers that do not answer must not use up the loop's threads."""

    def __init__(self, names: Names | None) -> None:
        self._names = names or self._system
        self._pool = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolve")
        self._asked: dict[tuple[str, int, int], asyncio.Future[list[ResolveResult]]] = {}

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        key = (host, port, int(family))
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = asyncio.ensure_future(self._names(host, port, int(family)))
            asked.add_done_callback(partial(self._answered, key))
        return await asyncio.shield(asked)  # another caller may wait for the same name

    def _answered(self, key: tuple[str, int, int], asked: asyncio.Future[list[ResolveResult]]) -> None:
        self._asked.pop(key, None)
        if not asked.cancelled():
            asked.exception()  # seen, also where every caller has given up

    async def _system(self, host: str, port: int, family: int) -> list[ResolveResult]:
        work = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
        found = await asyncio.get_running_loop().run_in_executor(self._pool, work)
        return [
            ResolveResult(hostname=host, host=str(address[0]), port=port, family=each, proto=proto, flags=socket.AI_NUMERICHOST)
            for each, _, proto, _, address in found
            if not str(address[0]).startswith("fe80:")
        ]

    async def close(self) -> None:
        for asked in list(self._asked.values()):
            asked.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Refused(OSError):
    """The guard kept a connection from being made."""


class Client:
    """Made by ``async with Client() as client``. ``allowed`` are networks that webhooks may reach although they are not public, and by plain HTTP.

    Connections of webhooks are kept apart from those of integrations, and plain ones from others: what one guard let through is never used by a
    request that another must judge.
    """

    def __init__(self, *, allowed: Networks = (), names: Names | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._allowed = allowed
        self._names = names
        self._clock = clock
        self._random = random.Random()
        self._breakers: dict[tuple[str, str], Breaker] = {}  # by integration and peer
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._resolver: _Resolver | None = None
        self.requests = Counts()  # by (integration, outcome)
        self.seconds: dict[tuple[str, ...], float] = {}

    async def __aenter__(self) -> "Client":
        self._resolver = _Resolver(self._names)
        self._sessions = {
            "integration": self._session(None),
            "https": self._session(partial(self._guarded, True)),
            "http": self._session(partial(self._guarded, False)),
        }
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self._sessions.values():
            await session.close()
        if self._resolver is not None:
            await self._resolver.close()

    def _session(self, factory: Callable[[Any], socket.socket] | None) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(resolver=self._resolver, limit=0, limit_per_host=0, socket_factory=factory, ttl_dns_cache=10, use_dns_cache=True)
        return aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False,
            headers={"User-Agent": f"netd/{__version__}", "Accept-Encoding": "identity"},
        )  # fmt: skip

    def _guarded(self, tls: bool, info: Any) -> socket.socket:
        """The socket for one address, which is the one that is connected to: what a name meant a moment before does not matter."""
        family, kind, proto, _, address = info
        text = str(address[0])
        why = refusal(text, self._allowed)
        if not why and not tls and not within(text, self._allowed):
            why = "plain http goes only to addresses in webhooks.allowed_networks"
        if why:
            raise _Refused(f"not allowed: {why}")
        return socket.socket(family, kind, proto)

    async def call(
        self, integration: str, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None,
        deadline_seconds: float = DEADLINE_SECONDS, most_octets: int = MOST_OCTETS, peer: str = "", called: str = "",
        certificate: bytes | None = None,
    ) -> Reply:  # fmt: skip
        """Ask an integration. Whatever status it answers with is an answer; raises PeerUnreachable without one.

        ``peer`` tells the many machines of one kind apart, each with a breaker of its own, and ``called`` is its name for people. ``certificate`` is the
        SHA-256 of the only one that is accepted, whoever signed it; without it the system's authorities judge.
        """
        breaker = self._breakers.setdefault((integration, peer), Breaker())
        if not breaker.enter(self._clock()):
            self.requests[integration, "breaker_open"] += 1
            raise PeerUnreachable(f"{called or peer or integration} failed {breaker.failures} times in a row and is left alone for a while", "breaker_open")
        ok: bool | None = None
        try:
            attempts = ATTEMPTS if method in IDEMPOTENT else 1
            reply = await self._within(integration, "integration", attempts, deadline_seconds, most_octets, method, url, headers, body, certificate)
            ok = reply.status < 500
        except PeerUnreachable:
            ok = False
            raise
        finally:
            breaker.done(ok, self._clock())
        return reply

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, deadline_seconds: float = DEADLINE_SECONDS) -> Reply:
        """Deliver to a webhook's URL, once, following no redirect; of the answer at most 16 KiB are looked at. Raises PeerUnreachable."""
        kind = "http" if url.startswith("http:") else "https"
        return await self._within("webhooks", kind, 1, deadline_seconds, WEBHOOK_OCTETS, "POST", url, headers, body)

    def state(self, integration: str) -> State:
        """How the integration's breaker stands."""
        breaker = self._breakers.get((integration, ""))
        return "closed" if breaker is None else breaker.state(self._clock())

    def register(self, metrics: Metrics) -> None:
        """Add the client's series."""
        labels = ("integration",)
        metrics.counter_of("netd_http_client_requests", "Requests to integrations and webhooks by outcome", lambda: self.requests, (*labels, "outcome"))
        metrics.counter_of("netd_http_client_seconds", "Seconds spent on them", lambda: self.seconds, labels)
        metrics.gauge(
            "netd_http_client_breaker", "Breaker of an integration: 0 closed, 1 half-open, 2 open",
            lambda: {name: float(_NUMBERS[self.state(name)]) for name, peer in self._breakers if not peer}, labels,
        )  # fmt: skip

    async def _within(
        self, integration: str, kind: str, attempts: int, deadline_seconds: float, most_octets: int, method: str, url: str,
        headers: Mapping[str, str] | None, body: bytes | None, certificate: bytes | None = None,
    ) -> Reply:  # fmt: skip
        """Up to ``attempts`` requests within one deadline, counted as one."""
        begun = self._clock()
        outcome = "cancelled"
        try:
            async with asyncio.timeout(deadline_seconds):
                reply = await self._tried(kind, attempts, most_octets, method, url, headers, body, certificate)
            outcome = f"{reply.status // 100}xx"
            return msgspec.structs.replace(reply, seconds=self._clock() - begun)
        except TimeoutError:
            outcome = "timeout"
            raise PeerUnreachable(f"{_place(url)} did not answer in {deadline_seconds:g} s", outcome) from None
        except PeerUnreachable as error:
            outcome = error.reason
            raise
        finally:
            self.requests[integration, outcome] += 1
            self.seconds[(integration,)] = self.seconds.get((integration,), 0.0) + self._clock() - begun

    async def _tried(
        self, kind: str, attempts: int, most_octets: int, method: str, url: str, headers: Mapping[str, str] | None, body: bytes | None,
        certificate: bytes | None,
    ) -> Reply:  # fmt: skip
        for number in range(1, attempts + 1):
            try:
                reply = await self._once(kind, most_octets, method, url, headers, body, certificate)
                if number == attempts or reply.status not in WORTH_ANOTHER:
                    return reply
            except PeerUnreachable as error:
                if number == attempts or error.reason in FINAL:
                    raise
            await asyncio.sleep(RETRY_SECONDS * 2 ** (number - 1) * self._random.uniform(0.5, 1.5))
        raise AssertionError("the last attempt returns or raises")

    async def _once(
        self, kind: str, most_octets: int, method: str, url: str, headers: Mapping[str, str] | None, body: bytes | None, certificate: bytes | None,
    ) -> Reply:  # fmt: skip
        try:
            # No timeout of aiohttp's own: the deadline is over all attempts.
            async with self._sessions[kind].request(
                method, url, data=body, headers=headers, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=None),
                ssl=aiohttp.Fingerprint(certificate) if certificate else True,
            ) as response:  # fmt: skip
                content = await _bounded(response, most_octets, cut=kind != "integration")
                return Reply(status=response.status, headers={k.lower(): v for k, v in response.headers.items()}, body=content, seconds=0.0)
        except PeerUnreachable:
            raise
        except (aiohttp.ClientError, OSError, ValueError, ssl.CertificateError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise _unreachable(url, error) from None  # the cause may quote the URL or a header


async def _bounded(response: aiohttp.ClientResponse, most_octets: int, *, cut: bool) -> bytes:
    """The body; beyond ``most_octets`` what there is if ``cut``, and the connection is given up."""
    found = bytearray()
    async for chunk in response.content.iter_any():
        found += chunk
        if len(found) > most_octets:
            response.close()
            if cut:
                return bytes(found[:most_octets])
            raise PeerUnreachable(f"{_place(str(response.url))} answered with more than {most_octets} octets", "too_large")
    return bytes(found)


def _place(url: str) -> str:
    """As much of a URL as may be told."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return "the URL"


def _unreachable(url: str, error: Exception) -> PeerUnreachable:
    place = _place(url)
    match error:
        case aiohttp.InvalidURL() | ValueError() if not isinstance(error, ssl.CertificateError):
            return PeerUnreachable(f"{place} is no usable URL", "invalid")
        case aiohttp.ClientConnectorDNSError():
            return PeerUnreachable(f"{place}: the name has no address", "dns")
        case aiohttp.ClientConnectorCertificateError() | ssl.CertificateError():
            inner = getattr(error, "certificate_error", error)
            return PeerUnreachable(f"{place}: the certificate is not good: {getattr(inner, 'verify_message', '') or type(inner).__name__}", "tls")
        case aiohttp.ServerFingerprintMismatch():
            return PeerUnreachable(f"{place} shows another certificate than the pinned one, SHA-256 {error.got.hex()}", "host_key")
        case aiohttp.ClientSSLError():
            return PeerUnreachable(f"{place} does not speak TLS as it should", "tls")
        case aiohttp.ClientConnectorError():
            if "not allowed: " in str(error.os_error):
                return PeerUnreachable(f"{place} is not allowed: {str(error.os_error).rpartition('not allowed: ')[2].rstrip(')]')}", "not_allowed")
            return PeerUnreachable(f"{place}: {error.os_error.strerror or 'cannot be reached'}", "connect")
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            return PeerUnreachable(f"{place} does not speak HTTP as it should", "protocol")
        case _:
            return PeerUnreachable(f"{place}: the connection was lost", "lost")
