"""A whole daemon on loopback, and a NAS made of pyrad, which shares no code with netd."""

import asyncio
import itertools
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from pyrad import packet as pyrad
from pyrad.dictionary import Dictionary

from netd.config import Config, load
from netd.daemon import Running, serve_until
from netd.domain import nas, plans, pools, sessions, standing, subscribers
from netd.domain.actor import system
from netd.model.session import Session

ACTOR = system(1, "test")
NAMES = Dictionary(str(Path(__file__).parent / "nas.dictionary"))
SECRET = b"a shared secret"
ANSWER_SECONDS = 20.0
"""How long a busy machine may take to answer."""


def an_hour_ago() -> int:
    """A moment about an hour ago (Unix time); the thousand seconds behind it are of the same day (UTC), by which usage is kept."""
    moment = int(time.time()) - 3600
    return moment if moment % 86_400 < 85_400 else moment - 1000


async def eventually(what: Callable[[], Any] | Callable[[], Awaitable[Any]], seconds: float = 30.0) -> Any:
    """The first true value of ``what``, asked again and again for as long as the busiest machine may need; fails with the last one."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        value = what()
        if isinstance(value, Awaitable):
            value = await value
        if value or asyncio.get_running_loop().time() > deadline:
            assert value, f"still {value!r} after {seconds} s"
            return value
        await asyncio.sleep(0.01)


@dataclass
class World:
    """A daemon that runs, and short ways to fill it."""

    running: Running
    dsn: str

    @property
    def db(self) -> Any:
        """The owner's connections, which see and change everything, as the engine's do."""
        return self.running.owner

    async def add_nas(self, address: str, vendor: str = "mikrotik", secret: bytes = SECRET, **more: Any) -> Any:
        new = nas.NewNas(name=more.pop("name", address), address=address, secret=secret.decode(), vendor=vendor, **more)
        made = await nas.create(self.db, ACTOR, self.running.keyring, new, self.running.vendors)
        assert await self.running.feed.settle()
        return made

    async def add_plan(self, name: str = "home", down: int = 100_000_000, up: int = 20_000_000, **more: Any) -> Any:
        return await plans.create(self.db, ACTOR, plans.NewPlan(name=name, down_bps=down, up_bps=up, **more))

    async def add_subscriber(self, username: str = "alice", password: str | None = "wonderland", plan: str = "home", **more: Any) -> Any:
        new = subscribers.NewSubscriber(username=username, password=password, plan=plan, **more)
        made = await subscribers.create(self.db, ACTOR, self.running.keyring, new, self.running.server.directory.rows)
        assert await self.running.feed.settle()
        return made

    async def add_pool(self, name: str, kind: str, ranges: tuple[str, ...], rule: dict[str, str] | None = None, **more: Any) -> Any:
        """A pool, and a rule that lets log-ins be served from it: all of them, or those that ``rule`` names."""
        new = msgspec.convert({"name": name, "kind": kind, "ranges": ranges, **more}, pools.NewPool)
        made = await pools.create(self.db, ACTOR, new)
        await pools.create_rule(self.db, ACTOR, pools.NewPoolRule(pool=name, **(rule or {})))
        assert await self.running.feed.settle()
        return made

    async def suspend(self, username: str = "alice") -> None:
        found = await subscribers.by_username(self.db, ACTOR, username)
        await standing.suspend(self.db, ACTOR, found.id)

    async def sessions(self, state: str = "open") -> list[Session]:
        page = await sessions.page(self.db, ACTOR, sessions.SessionQuery(limit=1000, state=state))
        return list(page.items)


@asynccontextmanager
async def world(dsn: str, data_dir: Path, **settings: str) -> AsyncIterator[World]:
    """Run a daemon on the database ``dsn`` while the context lasts.

    Its journal is for an outage: what is acknowledged is in the tables, however long a busy machine takes with a commit.
    """
    environ = {
        "NETD_DATA_DIR": str(data_dir), "NETD_DATABASE__URL": dsn, "NETD_RADIUS__ADDRESSES": "127.0.0.1", "NETD_RADIUS__AUTH_PORT": "0",
        "NETD_RADIUS__ACCT_PORT": "0", "NETD_RELAY__PORT": "0", "NETD_WEB__PORT": "0",
        "NETD_RADIUS__REJECT_DELAY_SECONDS": "0.05", "NETD_COA__TIMEOUT_SECONDS": "0.3",
        "NETD_COA__ATTEMPTS": "2", "NETD_COA__RETRY_SECONDS": "1", "NETD_RADIUS__JOURNAL_AFTER_MS": "60000", **settings,
    }  # fmt: skip
    config: Config = load(None, environ)
    wanted = asyncio.Event()
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    daemon = asyncio.create_task(serve_until(config, wanted, ready.set_result))
    await asyncio.wait({daemon, ready}, return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
    if daemon.done():
        await daemon
    try:
        yield World(ready.result(), dsn)
    finally:
        wanted.set()
        await daemon


Reply = Callable[[pyrad.CoAPacket], pyrad.CoAPacket | None]


@dataclass
class TestNas(asyncio.DatagramProtocol):
    """A NAS at its own loopback address: asks, accounts, and is told what to do. ``say`` decides how CoA and Disconnect are answered.

    ``heard`` is every datagram, the last one from ``peer``; ``told`` is every order once: a retransmission, which a slow machine brings about, is the
    same octets (RFC 5176 2.3).
    """

    __test__ = False
    world: World
    address: str
    secret: bytes = SECRET
    told: list[pyrad.CoAPacket] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)
    peer: Any = None
    say: Reply | None = None
    coa_port: int = 0
    identifiers: Any = field(default_factory=lambda: itertools.cycle(range(256)))

    def datagram_received(self, data: bytes, addr: Any) -> None:
        request = pyrad.CoAPacket(secret=self.secret, dict=NAMES, packet=data)
        assert request.VerifyCoARequest()
        assert request.verify_message_authenticator(secret=self.secret)
        if data not in self.heard:
            self.told.append(request)
        self.heard.append(data)
        self.peer = addr
        answer = self.say(request) if self.say else request.CreateReply()
        if answer is not None:
            self.transport.sendto(answer.ReplyPacket(), addr)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    async def ask(self, data: bytes, port: int, seconds: float = ANSWER_SECONDS) -> bytes | None:
        """Send octets from the NAS's address; what comes back, None if nothing does for ``seconds``: few where nothing is to come."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            sock.bind((self.address, 0))
            sock.sendto(data, ("127.0.0.1", port))
            try:
                async with asyncio.timeout(seconds):
                    return await loop.sock_recv(sock, 4096)
            except TimeoutError:
                return None

    def request(self, username: str, password: str, sign: bool = True, **attributes: Any) -> pyrad.AuthPacket:
        """An Access-Request with PAP."""
        packet = pyrad.AuthPacket(code=pyrad.AccessRequest, secret=self.secret, dict=NAMES, id=next(self.identifiers), authenticator=os.urandom(16))
        packet["User-Name"] = username
        packet["User-Password"] = packet.PwCrypt(password)
        for name, value in attributes.items():
            packet[name.replace("_", "-")] = value
        if sign:
            packet.add_message_authenticator()
        return packet

    async def login(
        self, username: str = "alice", password: str = "wonderland", sign: bool = True, seconds: float = ANSWER_SECONDS, **attributes: Any
    ) -> pyrad.Packet | None:
        """The answer to an Access-Request, verified; None if there was none for ``seconds``."""
        packet = self.request(username, password, sign, **attributes)
        raw = await self.ask(packet.RequestPacket(), self.world.running.auth_port, seconds)
        if raw is None:
            return None
        assert raw[20:22] == b"\x50\x12", "Message-Authenticator must come first"
        answer = packet.CreateReply(packet=raw)
        assert packet.VerifyReply(answer, raw)
        assert answer.verify_message_authenticator(secret=self.secret, original_authenticator=packet.authenticator)
        return answer

    def accounting(self, status: str, session: str = "s1", username: str = "alice", **attributes: Any) -> bytes:
        """An Accounting-Request's octets."""
        packet = pyrad.AcctPacket(code=pyrad.AccountingRequest, secret=self.secret, dict=NAMES, id=next(self.identifiers))
        packet["Acct-Status-Type"] = status
        packet["Acct-Session-Id"] = session
        if username:
            packet["User-Name"] = username
        packet["NAS-IP-Address"] = self.address
        for name, value in attributes.items():
            packet[name.replace("_", "-")] = value
        return bytes(packet.RequestPacket())

    async def account(self, status: str, session: str = "s1", username: str = "alice", **attributes: Any) -> bool:
        """Whether the packet was acknowledged."""
        raw = await self.ask(self.accounting(status, session, username, **attributes), self.world.running.acct_port)
        return raw is not None and raw[0] == pyrad.AccountingResponse

    async def online(self, session: str = "s1", username: str = "alice", password: str = "wonderland", **attributes: Any) -> pyrad.Packet:
        """Log in and start a session, handing Class back as a NAS must."""
        answer = await self.login(username, password, **attributes)
        assert answer is not None
        assert answer.code == pyrad.AccessAccept
        assert await self.account("Start", session, username, Class=answer["Class"][0], **attributes)
        return answer


@asynccontextmanager
async def nas_at(world: World, address: str, vendor: str = "mikrotik", say: Reply | None = None, port: int = 0, **more: Any) -> AsyncIterator[TestNas]:
    """A NAS that listens for dynamic authorization, at any port unless ``port`` names one, and is known to the daemon."""
    device = TestNas(world, address, say=say)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: device, local_addr=(address, port))
    device.coa_port = transport.get_extra_info("sockname")[1]
    await world.add_nas(address, vendor, coa_port=device.coa_port, **more)
    try:
        yield device
    finally:
        transport.close()


def nak(cause: int) -> Reply:
    """Refuse everything with this Error-Cause."""

    def say(request: pyrad.CoAPacket) -> pyrad.CoAPacket:
        answer = request.CreateReply()
        answer.code = pyrad.DisconnectNAK if request.code == pyrad.DisconnectRequest else pyrad.CoANAK
        answer["Error-Cause"] = cause
        return answer

    return say


def silence(request: pyrad.CoAPacket) -> None:
    """Answer nothing."""
    return


def as_json(value: Any) -> Any:
    """A model value as plain data."""
    return msgspec.to_builtins(value)
