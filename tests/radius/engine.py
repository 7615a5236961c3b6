"""The RADIUS service without a database, on loopback sockets, and packets made by hand: octets and hashlib, nothing of netd's."""

import asyncio
import hashlib
import hmac
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from netd.config import RadiusConfig
from netd.extensions import Extensions
from netd.model.plan import Plan
from netd.radius import sockets
from netd.radius.access import Access
from netd.radius.accounting import Accounting
from netd.radius.directory import Directory
from netd.radius.grants import Wall
from netd.radius.journal import Journal
from netd.radius.nas import NasRecord
from netd.radius.server import Server
from netd.radius.sessions import Sessions
from netd.radius.spool import Spool
from netd.store.directory import NasRow, SubscriberRow

SECRET = b"xyzzy5461"
Attributes = Iterable[tuple[int, bytes]]


@dataclass
class Engine:
    """A server that answers, its directory, and what it learned."""

    server: Server
    directory: Directory
    learned: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    auth_port: int = 0
    acct_port: int = 0

    def nas(self, address: str, require: str = "yes", limit: str = "yes", nas_id: int = 1, name: str = "bras", **more: Any) -> NasRecord:
        """Put a NAS in, in place of the one with this id; its counters begin at zero."""
        row = NasRow(
            id=nas_id, tenant_id=1, nasname=address, shortname=name, vendor="mikrotik", secret=SECRET, coa_address=None, coa_port=None,
            require_message_authenticator=require, limit_proxy_state=limit, learned_require_message_authenticator=None, learned_limit_proxy_state=None,
            enabled=True,
        )  # fmt: skip
        self.directory.remove_nas([nas_id])
        self.directory.put_nas([row._replace(**more)])
        return self.directory.nas[nas_id]


EXTENSIONS = cache(Extensions.discover)
"""Read once: it takes longer than most tests."""


def plan(down_bps: int = 100_000_000) -> Plan:
    """The plan that there is."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return Plan(
        id=1, tenant_id=1, name="home", down_bps=down_bps, up_bps=20_000_000, burst_down_bps=None, burst_up_bps=None, burst_threshold_down_bps=None,
        burst_threshold_up_bps=None, burst_seconds=None, priority=None, session_timeout_seconds=None, idle_timeout_seconds=None, interim_seconds=300,
        max_sessions=0, ipv4_pool=None, ipv6_pool=None, delegated_ipv6_pool=None, dns=(), profile=None, version=1, created_at=moment, updated_at=moment,
    )  # fmt: skip


@contextmanager
def engine(*addresses: str, **settings: Any) -> Iterator[Engine]:
    """Run the service on ``addresses``, any free ports. There is one subscriber, alice; accounting is taken and never committed."""
    config = msgspec.structs.replace(RadiusConfig(), **{"reject_delay_seconds": 0.0, "user_failures_per_minute": 1_000_000, **settings})
    directory = Directory(EXTENSIONS(), lambda sealed, context: sealed, Wall("walled-garden", "", 1_000_000, 1_000_000))
    directory.put_plans([plan()])
    directory.put_subscribers([SubscriberRow(1, 1, "alice", "alice", b"wonderland", 1, "active", 0.0, None, None, None, None, None, None, None, None)])
    sessions = Sessions()
    spool = Spool(Journal(Path("/nonexistent"), 0, "node"))
    accounting = Accounting(None, directory, sessions, spool, config)  # type: ignore[arg-type]  # nothing is committed, so no database is asked
    server = Server(directory, Access(directory, sessions, config, (), "node"), accounting, config)
    made = Engine(server, directory)
    server.on_learned = lambda nas, require, limit: made.learned.append((nas.name, require, limit))
    auth = sockets.bind(addresses, 0, "auth", 0)
    acct = sockets.bind(addresses, 0, "acct", len(auth))
    server.start(auth, acct)
    made.auth_port, made.acct_port = auth[0].port, acct[0].port
    try:
        yield made
    finally:
        server.stop()
        for sock in (*auth, *acct):
            sock.close()


def packet(code: int, identifier: int, authenticator: bytes, attributes: bytes) -> bytes:
    """A packet as it stands on the wire."""
    return bytes((code, identifier)) + (20 + len(attributes)).to_bytes(2, "big") + authenticator + attributes


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute."""
    return bytes((kind, len(value) + 2)) + value


def signed(code: int, identifier: int, authenticator: bytes, attributes: bytes, secret: bytes = SECRET, hashed: bytes | None = None) -> bytes:
    """A packet with a Message-Authenticator at its end; ``hashed`` is the authenticator that it is computed over, if another."""
    blank = packet(code, identifier, authenticator if hashed is None else hashed, attributes + attribute(80, bytes(16)))
    return packet(code, identifier, authenticator, attributes + attribute(80, hmac.new(secret, blank, hashlib.md5).digest()))


def pap(password: bytes, authenticator: bytes, secret: bytes = SECRET) -> bytes:
    """User-Password of at most 16 octets (RFC 2865 5.2)."""
    pad = hashlib.md5(secret + authenticator).digest()
    return bytes(a ^ b for a, b in zip(password.ljust(16, b"\0"), pad, strict=True))


def access_request(more: Attributes = (), *, password: bytes | None = b"wonderland", ma: str = "present", identifier: int = 1, secret: bytes = SECRET) -> bytes:
    """An Access-Request of alice; ``ma`` is present, absent or wrong."""
    authenticator = os.urandom(16)
    body = attribute(1, b"alice")
    if password is not None:
        body += attribute(2, pap(password, authenticator, secret))
    body += b"".join(attribute(kind, value) for kind, value in more)
    if ma == "absent":
        return packet(1, identifier, authenticator, body)
    whole = signed(1, identifier, authenticator, body, secret)
    return whole if ma == "present" else whole[:-1] + bytes((whole[-1] ^ 1,))


def accounting_request(more: Attributes = (), *, ma: str = "absent", identifier: int = 1, secret: bytes = SECRET) -> bytes:
    """A Start of alice (RFC 2866)."""
    body = attribute(40, b"\0\0\0\1") + attribute(44, b"session") + attribute(1, b"alice") + b"".join(attribute(kind, value) for kind, value in more)
    if ma != "absent":
        body = signed(4, identifier, bytes(16), body, secret)[20:]
        if ma == "wrong":
            body = body[:-1] + bytes((body[-1] ^ 1,))
    return accounting_packet(identifier, body, secret)


def accounting_packet(identifier: int, body: bytes, secret: bytes = SECRET) -> bytes:
    """An Accounting-Request with these attributes."""
    blank = packet(4, identifier, bytes(16), body)
    return packet(4, identifier, hashlib.md5(blank + secret).digest(), body)


def status_server(*, ma: str = "present", identifier: int = 1, secret: bytes = SECRET) -> bytes:
    """A Status-Server (RFC 5997)."""
    authenticator = os.urandom(16)
    if ma == "absent":
        return packet(12, identifier, authenticator, b"")
    whole = signed(12, identifier, authenticator, b"", secret)
    return whole if ma == "present" else whole[:-1] + bytes((whole[-1] ^ 1,))


def check_answer(answer: bytes, request: bytes, secret: bytes = SECRET) -> list[tuple[int, bytes]]:
    """Verify an answer's framing and both authenticators; returns its attributes in order."""
    assert answer[1] == request[1]
    assert int.from_bytes(answer[2:4], "big") == len(answer)
    assert hashlib.md5(answer[:4] + request[4:20] + answer[20:] + secret).digest() == answer[4:20], "Response Authenticator"
    attributes = []
    at = 20
    while at < len(answer):
        kind, length = answer[at], answer[at + 1]
        assert length >= 2
        value = answer[at + 2 : at + length]
        assert len(value) == length - 2
        if kind == 80:
            blank = answer[:4] + request[4:20] + answer[20 : at + 2] + bytes(16) + answer[at + 18 :]
            assert hmac.new(secret, blank, hashlib.md5).digest() == value, "Message-Authenticator"
        attributes.append((kind, value))
        at += length
    return attributes


class Peer:
    """A socket at its own loopback address."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind((address, 0))

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes, port: int, host: str = "127.0.0.1") -> None:
        """Send one datagram."""
        self.socket.sendto(data, (host, port))

    async def receive(self, seconds: float = 20.0) -> tuple[bytes, Any] | None:
        """The next datagram and where it came from, None if there is none."""
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.socket.fileno(), arrived.set)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    arrived.clear()
                    with suppress(BlockingIOError):
                        return self.socket.recvfrom(65535)
                    await arrived.wait()
        except TimeoutError:
            return None
        finally:
            loop.remove_reader(self.socket.fileno())

    async def ask(self, data: bytes, port: int, host: str = "127.0.0.1", secret: bytes = SECRET) -> bytes | None:
        """The answer to ``data``, None if it was dropped: what says so is the answer to a Status-Server sent right behind it."""
        self.send(data, port, host)
        barrier = status_server(identifier=(data[1] + 1) % 256 if len(data) > 1 else 1, secret=secret)
        self.send(barrier, port, host)
        answer = None
        while True:
            received = await self.receive()
            assert received is not None, "the service does not even answer a Status-Server"
            if received[0][1] == barrier[1]:
                return answer
            answer = received[0]
