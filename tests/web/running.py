"""The HTTP side on a real port, with a real database and stand-ins for what the engine would answer."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from netd.config import BootConfig
from netd.device.addresses import LOOPBACK
from netd.device.http import Client
from netd.domain import tokens
from netd.domain.actor import system
from netd.domain.bootfiles import BootFiles
from netd.domain.devices import Catalogue
from netd.domain.events import Stream
from netd.domain.joblog import JobWatch
from netd.domain.kinds import Kind, Kinds
from netd.domain.ports import Part, Verdict
from netd.errors import Conflict
from netd.extensions import DevicePlatform
from netd.keyring import Keyring
from netd.model.access import Reason
from netd.model.control import ControlResult, Enforcement, HeldWave, TenantQueueState
from netd.model.session import Session
from netd.model.telemetry import CurrentDevice
from netd.sdk.bootstrap import Bootstrap, Profile
from netd.sdk.device import Match, Platform
from netd.store.database import TENANT_ROLE, Database
from netd.web.app import create_app, serve
from netd.web.deps import WebDeps
from netd.web.ratelimit import RateLimit
from netd.work.kinds import bundled
from netd.work.kinds.tools import Tools

ROUTEROS = Platform(
    name="mikrotik_routeros", title="RouterOS", kind="router", driver="", data="",
    match=Match(sys_object_id=("1.3.6.1.4.1.14988.1",), sys_descr=("^RouterOS ",), banner=("ROSSSH",)),
)  # fmt: skip

PROFILES = tuple(
    Profile(Bootstrap(name=name, title=name, evidence="document", made_from=("this test",), everybody=name == "plain"), "generic").shown()
    for name in ("plain", "tr069_cpe")
)


class Polling:
    """Devices as a test says."""

    def __init__(self) -> None:
        self.devices: dict[int, CurrentDevice] = {}
        self.scraped: dict[int, str] = {}

    def scrape_address(self, device_id: int) -> str:
        return self.scraped.get(device_id, "")

    def current(self, device_id: int) -> CurrentDevice | None:
        return self.devices.get(device_id)

    def kept_days(self) -> dict[str, int]:
        return {"raw": 7, "optics": 90, "5m": 45, "1h": 400, "1d": 3650}

    def reach_seconds(self) -> int:
        return 60


@dataclass
class Control:
    """Answers every disconnect with ``result``; keeps whom it was asked about."""

    result: ControlResult = field(default_factory=lambda: ControlResult(outcome="ack", action="disconnect", attempts=1, duration_seconds=0.25))
    asked: list[Session] = field(default_factory=list)

    async def disconnect(self, session: Session) -> ControlResult:
        self.asked.append(session)
        return self.result


class Enforcing:
    """Enforcement that holds as many sessions as it is told to."""

    def __init__(self) -> None:
        self.held: HeldWave | None = None
        self.decided: list[tuple[str, int]] = []

    def hold(self, sessions: int) -> None:
        self.held = HeldWave(sessions=sessions, recent=0, live=sessions, since=datetime(2026, 11, 1, 12, tzinfo=UTC), causes={"suspended": sessions})

    def standing(self, tenant_id: int) -> Enforcement:
        queue = TenantQueueState(
            nas="bras1", address="10.0.0.1", port=3799, waiting=0, in_flight=1, window=4, unreachable_since=datetime(2026, 11, 1, 11, tzinfo=UTC)
        )
        return Enforcement(sessions={"applied": 7}, held=self.held, queues=(queue,))

    def confirm(self, tenant_id: int, sessions: int) -> int:
        return self._decide("confirm", sessions)

    def discard(self, tenant_id: int, sessions: int, who: str) -> int:
        return self._decide("discard", sessions)

    def _decide(self, what: str, sessions: int) -> int:
        if self.held is None or self.held.sessions > sessions:
            raise Conflict("more are held by now", "sessions")
        self.decided.append((what, sessions))
        self.held = None
        return sessions


@dataclass
class Probe:
    """Knows one user of the default tenant with one password."""

    asked: list[tuple[int, str, str | None, int | None]] = field(default_factory=list)

    def decide(self, tenant_id: int, username: str, password: str | None, nas_id: int | None = None) -> Verdict:
        self.asked.append((tenant_id, username, password, nas_id))
        if (tenant_id, username.lower()) != (1, "alice"):
            return Verdict(accept=False, reason=Reason.UNKNOWN_USER)
        if password not in (None, "sesame"):
            return Verdict(accept=False, reason=Reason.WRONG_PASSWORD)
        return Verdict(accept=True, reason=Reason.OK, attributes=(("Framed-IP-Address", "192.0.2.7"),))


@dataclass
class HealthBoard:
    """Says what it is told to say."""

    listed: list[Part] = field(default_factory=lambda: [Part(name="database", state="ok", critical=True), Part(name="coa", state="ok")])

    waited_for: int = 0

    async def settled(self) -> bool:
        self.waited_for += 1
        return True

    def parts(self) -> list[Part]:
        return self.listed


class Page:
    """Something to scrape."""

    def pieces(self, accept: str = "") -> tuple[Iterator[bytes], str]:
        return iter((b"netd_up", b" 1\n")), "text/plain; version=0.0.4; charset=utf-8"


class Rules:
    """Knows two attributes."""

    def validate_check(self, attribute: str, op: str, value: str) -> None:
        if attribute not in ("Framed-Route", "Calling-Station-Id"):
            raise ValueError(f"{attribute} is not in the dictionary")

    validate_reply = validate_check


@dataclass
class Answer:
    """What came back: ``value`` is the decoded body."""

    status: int
    value: Any
    headers: dict[str, str]
    raw: bytes
    cookies: list[str] = field(default_factory=list)  # Set-Cookie, as it came


@dataclass
class Api:
    """A client of the running API; ``tokens`` by role."""

    url: str
    tokens: dict[str, str]
    control: Control
    enforcing: Enforcing
    probe: Probe
    health: HealthBoard
    client: aiohttp.ClientSession
    app: aiohttp.web.Application
    confined: Database  # as the handlers use it
    deps: WebDeps
    polling: Polling

    async def call(
        self, method: str, path: str, *, role: str | None = "admin", body: Any = None, headers: dict[str, str] | None = None, decode: bool = True, **more: Any,
    ) -> Answer:  # fmt: skip
        """One request; ``path`` below /api/v1 unless it begins with ``//``, which stands for the server's root. Not ``decode``: only ``raw``."""
        sent = dict(headers or {})
        if role is not None:
            sent.setdefault("Authorization", f"Bearer {self.tokens[role]}")
        if body is not None:
            more["data"] = msgspec.json.encode(body)
            sent.setdefault("Content-Type", "application/json")
        target = self.url + (path[1:] if path.startswith("//") else "/api/v1" + path)
        async with self.client.request(method, target, headers=sent, **more) as response:
            raw = await response.read()
            set_ = response.headers.getall("Set-Cookie", [])
            value = msgspec.json.decode(raw) if decode and "json" in response.content_type and raw else None
            return Answer(response.status, value, {name.lower(): text for name, text in response.headers.items()}, raw, set_)

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.call("GET", path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        return await self.call("POST", path, body=body, **more)

    async def patch(self, path: str, body: Any, **more: Any) -> Answer:
        return await self.call("PATCH", path, body=body, **more)

    async def delete(self, path: str, **more: Any) -> Answer:
        return await self.call("DELETE", path, **more)


@asynccontextmanager
async def running(
    database: Database, folder: Path, limit: RateLimit | None = None, kinds: Iterable[Kind] = (), tools: Tools | None = None,
    catalogue: Catalogue | None = None,
) -> AsyncIterator[Api]:  # fmt: skip
    """The whole application on a free port of the loopback."""
    control, enforcing, probe, health, polling = Control(), Enforcing(), Probe(), HealthBoard(), Polling()
    confined = await Database.open(database.target, size=5, role=TENANT_ROLE, acquire_timeout_seconds=60)
    stream = Stream(database, confined)
    outside = await Client(allowed=LOOPBACK).__aenter__()
    keyring = Keyring.load_or_create(folder / "secret.key")
    watch, tools = JobWatch(database), tools or Tools(database=confined, owner=database, keyring=keyring)
    all_kinds = Kinds((*bundled(tools), *kinds))
    boot_files = BootFiles(
        database, keyring, {each.name: each for each in PROFILES}, BootConfig(host="boot.test"), folder / "images", all_kinds, lambda: datetime.now(UTC),
        time.monotonic,
    )  # fmt: skip
    deps = WebDeps(
        database=confined, owner=database, keyring=keyring, control=control,
        enforcement=enforcing, probe=probe, health=health, metrics=Page(), polling=polling,
        catalogue=catalogue or Catalogue(
            frozenset({"mikrotik", "generic"}), {"mikrotik_routeros": DevicePlatform(platform=ROUTEROS, vendor="mikrotik", driver=object())}
        ),
        vendors=frozenset({"mikrotik", "generic"}), boot_profiles=PROFILES, rules=Rules(),
        limit=limit or RateLimit(0, 1), own_limit=limit or RateLimit(0, 1), stream=stream,
        settled=health.settled, client=outside, kinds=all_kinds, boot_files=boot_files, watch=watch, images=folder / "images",
        now=lambda: datetime.now(UTC),
    )  # fmt: skip
    app = create_app(deps)
    made: dict[str, str] = {}
    for role in ("admin", "operator", "read_only"):
        made[role] = await new_token(database, role)
    streaming = [asyncio.create_task(stream.run()), asyncio.create_task(watch.run())]
    try:
        async with serve(app, socket.create_server(("127.0.0.1", 0))) as listening, aiohttp.ClientSession() as client:
            yield Api(listening.url, made, control, enforcing, probe, health, client, app, confined, deps, polling)
    finally:
        for task in streaming:
            task.cancel()
        await asyncio.wait(streaming)  # they have connections of the database, which whoever made it closes next
        await outside.__aexit__()
        await confined.close()


async def new_token(database: Database, role: str) -> str:
    """A token of this role."""
    issued = await tokens.create(database, system(1), tokens.NewToken(name=f"test {role}", role=role), datetime.now(UTC))
    return issued.text
