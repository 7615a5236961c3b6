"""The one place where the daemon is put together: resources on an exit stack around a group of services.

Order of start: sockets are bound, the database starts and is migrated, the directory and the open sessions are loaded, and only then packets are
read. Order of stop: nothing new is read, what is in work is finished and acknowledged, outcomes are written, the database stops.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from netd import __version__, compiled
from netd.config import Config
from netd.daemon import databases as database_parts
from netd.daemon import folder, listeners
from netd.daemon.databases import Databases
from netd.daemon.services import Services, boot_http, compose, now
from netd.device.fetch import HttpFetch
from netd.domain.devices import Catalogue
from netd.domain.kinds import Kind
from netd.domain.oidc import Provider
from netd.domain.ports import AccessProbe, Health, Part
from netd.errors import ConfigError
from netd.extensions import Extensions
from netd.keyring import Keyring
from netd.metrics import Metrics
from netd.notify import Notifier
from netd.poll.service import PollService
from netd.radius.allocator import Allocator
from netd.radius.lease_upkeep import LeaseUpkeep
from netd.radius.relay import Relay
from netd.radius.replay import Replay
from netd.radius.server import Server
from netd.radius.upkeep import Upkeep
from netd.store.database import Database
from netd.store.embedded import EmbeddedServer
from netd.store.feed import ChangeFeed
from netd.web.app import Listening, create_app, serve
from netd.web.deps import WebDeps
from netd.web.ratelimit import RateLimit

log = logging.getLogger(__name__)

EXTEND_SECONDS: Final = 30.0
SETTLE_SECONDS: Final = 5.0
"""How long an answer of the API may wait for the engine to know of the change: what takes milliseconds takes a busy machine seconds."""

AWAY_SECONDS: Final = 0.5
"""Likewise while the change feed is not read, or somebody has waited in vain and it has not caught up since: who makes a thousand changes waits long once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """What a caller may know of a daemon that is ready: where it listens, and its parts. ``database`` is confined to scopes, ``owner`` is not."""

    api: Listening
    auth_port: int
    acct_port: int
    coa_port: int | None  # None: not listening for CoA- and Disconnect-Requests
    addresses: tuple[str, ...]
    data_dir: Path
    database: Database
    owner: Database
    keyring: Keyring
    vendors: frozenset[str]
    feed: ChangeFeed
    server: Server
    relay: Relay
    upkeep: Upkeep
    allocator: Allocator
    lease_upkeep: LeaseUpkeep
    replay: Replay
    health: Health
    probe: AccessProbe
    metrics: Metrics
    polling: PollService
    boot: list[Listening] = field(default_factory=list)


async def serve_until(config: Config, wanted: asyncio.Event, ready: Callable[[Running], None], kinds: Iterable[Kind] = ()) -> None:
    """Compose and run the daemon until ``wanted`` is set. ``ready`` is called once it answers. ``kinds`` are of jobs, besides its own.

    Raises ConfigError or StoreError if it cannot start, and an ExceptionGroup if a service fails later.
    """
    _look_at_engine()
    async with AsyncExitStack() as stack:
        notifier = Notifier.from_environment(os.environ)
        stack.callback(notifier.close)
        starting = asyncio.create_task(_ask_for_patience(notifier))
        stack.callback(starting.cancel)
        folder.make(config.data_dir)
        bound = listeners.bind(config, stack.enter_context(ExitStack()))
        keyring = Keyring.load_or_create(config.key_file)
        extensions = Extensions.discover([Path(each) for each in config.extensions.folders], disabled=config.extensions.disabled)
        embedded, target = await database_parts.server(config, stack)
        await database_parts.prepare(target, config, wanted)
        databases = await database_parts.connected(config, target, stack)
        services = await compose(config, target, databases, keyring, extensions, kinds, stack)
        deps = _web(config, services, databases, keyring, extensions, embedded)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(notifier.watch(), name="watchdog"), *services.start(group, bound)]
            boot = await stack.enter_async_context(boot_http(config, services.boot_files))
            try:
                async with serve(create_app(deps), bound.api) as api:
                    (config.data_dir / folder.API_URL).write_text(api.url + "\n")
                    starting.cancel()  # from here on silence means what it says
                    _tell(notifier, services, bound, api)
                    ready(_running(config, services, databases, keyring, deps, bound, api, boot))
                    await wanted.wait()
                    notifier.stopping()
                    services.radius.server.stop()
                    services.radius.relay.stop()
            finally:
                await services.stop()
                for task in tasks:
                    task.cancel()
    log.info("stopped")


def _web(config: Config, services: Services, databases: Databases, keyring: Keyring, extensions: Extensions, embedded: EmbeddedServer | None) -> WebDeps:
    """What the API works with."""
    web, radius, simulated = config.web, services.radius, _demo_part(config.data_dir)
    deps = WebDeps(
        stream=services.stream, client=services.client, kinds=services.kinds, watch=services.watch, database=databases.api, owner=databases.engine,
        keyring=keyring, control=radius.control, enforcement=radius.control, probe=radius.probe, metrics=services.metrics, polling=services.polling,
        health=radius.health(lambda: [*simulated, *database_parts.embedded_part(embedded), *services.parts()]), rules=radius.directory.rows,
        limit=RateLimit(web.requests_per_second, web.requests_burst), own_limit=RateLimit(web.own_requests_per_second, web.own_requests_burst),
        settled=lambda: radius.feed.settle(_settle_seconds(radius.feed)), images=config.data_dir / folder.IMAGES,
        vendors=frozenset(name for name, vendor in extensions.vendors.items() if vendor.access is not None),
        boot_profiles=tuple(services.profiles.values()), boot_files=services.boot_files, renderer=services.renderer,
        catalogue=Catalogue(frozenset(extensions.vendors), extensions.platforms), now=now, login=config.login,
        oidc=Provider(config.oidc, HttpFetch(services.client)) if config.oidc.issuer else None, public_url=web.public_url,
        trusted_proxies=tuple(map(ip_network, web.trusted_proxies)),
    )  # fmt: skip
    services.metrics.counter_of("netd_login_attempts", "Log-ins of users by method and result", lambda: deps.login_attempts, ("method", "result"))
    return deps


def _settle_seconds(feed: ChangeFeed) -> float:
    return SETTLE_SECONDS if feed.up and not feed.behind else AWAY_SECONDS


def _running(
    config: Config, services: Services, databases: Databases, keyring: Keyring, deps: WebDeps, bound: listeners.Listeners, api: Listening,
    boot: list[Listening],
) -> Running:  # fmt: skip
    radius = services.radius
    return Running(
        api=api, auth_port=bound.auth[0].port, acct_port=bound.acct[0].port, coa_port=bound.coa_port, addresses=config.radius.addresses,
        data_dir=config.data_dir, database=databases.api, owner=databases.engine, keyring=keyring, vendors=deps.vendors, feed=radius.feed,
        server=radius.server, relay=radius.relay, upkeep=radius.upkeep, replay=radius.replay, allocator=radius.allocator,
        lease_upkeep=radius.lease_upkeep, health=deps.health, probe=deps.probe, metrics=services.metrics, polling=services.polling, boot=boot,
    )  # fmt: skip


def _tell(notifier: Notifier, services: Services, bound: listeners.Listeners, api: Listening) -> None:
    directory = services.radius.directory
    notifier.ready(f"{len(directory.subscribers)} subscribers, {len(directory.nas)} NAS")
    log.info("ready", extra={
        "version": __version__, "compiled": compiled.status().active, "api": api.url, "auth_port": bound.auth[0].port,
        "acct_port": bound.acct[0].port, "coa_port": bound.coa_port,
    })  # fmt: skip


def _look_at_engine() -> None:
    """Raise ConfigError if NETD_COMPILED demands another engine than the one that was loaded; warn if one lies there that does not fit."""
    missing = compiled.missing()
    if missing:
        raise ConfigError("environment", compiled.VARIABLE, missing)
    engine = compiled.status()
    if engine.stale:
        log.warning("the compiled engine is not used", extra={"reason": engine.detail})


async def _ask_for_patience(notifier: Notifier) -> None:
    """Tell the service manager that the start goes on, until cancelled: a recovery or a migration may take longer than it waits."""
    while True:
        notifier.extend_timeout(EXTEND_SECONDS)
        await asyncio.sleep(EXTEND_SECONDS / 3)


def _demo_part(data_dir: Path) -> list[Part]:
    """Says of a demonstration that it is one."""
    if not (data_dir / folder.DEMO).exists():
        return []
    return [Part(name="demo", state="ok", since=time.time(), detail="SIMULATED: no device, subscriber or octet here is real")]
