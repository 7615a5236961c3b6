"""The one place where the daemon is composed: resources on an exit stack around a group of services.

Order of start: sockets are bound (a taken port is noticed first), the database starts and is migrated, the directory and the open
sessions are loaded, and only then packets are read. Order of stop: nothing new is read, what is in work is finished and
acknowledged, outcomes are written, the database stops.
"""

import asyncio
import logging
import os
import shlex
import signal
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import uvloop

from netd import __version__, compiled
from netd.config import Config, LogConfig
from netd.device.cli import CliTransport
from netd.device.fetch import HttpFetch
from netd.device.http import Client
from netd.device.ping import Pinger
from netd.device.queue import DeviceQueues
from netd.device.rest import RestTransport
from netd.device.snmp import SnmpLimits, SnmpTransport
from netd.domain import tokens
from netd.domain.bootfiles import BootFiles
from netd.domain.booting import Places
from netd.domain.certificates import Terms
from netd.domain.commands import show_rules
from netd.domain.devices import Catalogue
from netd.domain.events import Stream
from netd.domain.joblog import JobWatch
from netd.domain.kinds import Kind, Kinds
from netd.domain.oidc import Provider
from netd.domain.ports import AccessProbe, Health, Part
from netd.domain.recognition import Recogniser
from netd.domain.report_queries import Measured
from netd.errors import ConfigError, NetdError, StoreUnavailable
from netd.extensions import Extensions
from netd.keyring import Keyring
from netd.logs import setup as setup_logs
from netd.metrics import Metrics
from netd.model.dhcp import BootProfile
from netd.notify import Notifier
from netd.poll import kinds as poll_kinds
from netd.poll.discovery import Discovery
from netd.poll.probe import TransportProber
from netd.poll.service import PollService
from netd.radius import sockets
from netd.radius.allocator import Allocator
from netd.radius.lease_upkeep import LeaseUpkeep
from netd.radius.relay import Relay
from netd.radius.replay import Replay
from netd.radius.server import Server
from netd.radius.service import RadiusService
from netd.radius.upkeep import Upkeep
from netd.share import share
from netd.store import events, partitions
from netd.store.database import TENANT_ROLE, Connection, Database, Target, connect
from netd.store.embedded import EmbeddedServer
from netd.store.feed import ChangeFeed
from netd.store.migrate import migrate
from netd.web import boot as boot_web
from netd.web.app import Listening, create_app, serve
from netd.web.deps import WebDeps
from netd.web.ratelimit import RateLimit
from netd.work.genieacs import GenieAcs
from netd.work.gitexport import exporter
from netd.work.integrations import Reachability, targets, unconfigured
from netd.work.jobs import JobService
from netd.work.kinds import bundled
from netd.work.kinds.tools import Tools
from netd.work.logins import LoginWatch
from netd.work.looks import Looks
from netd.work.sessions import DeviceSessions
from netd.work.webhooks import WebhookService
from netd.ztp import tftp
from netd.ztp.binding import Binding, Nobody
from netd.ztp.expected import Expected
from netd.ztp.service import DhcpService
from netd.ztp.sockets import bind4, bind6
from netd.ztp.tftp import TftpService

log = logging.getLogger(__name__)

EXTEND_SECONDS: Final = 30.0
SETTLE_SECONDS: Final = 0.5
"""How long an answer of the API may wait for the engine to know of the change."""

ENGINE_CONNECTIONS: Final = 6
WORK_CONNECTIONS: Final = 6
JOB_CONNECTIONS: Final = 4
DHCP_CONNECTIONS: Final = 4
BOOT_CONNECTIONS: Final = 4
ADMIN_TOKEN: Final = "admin.token"
API_URL: Final = "api.url"
IMAGES: Final = "images"
EXPORT: Final = "configurations.git"
DEMO: Final = "demo.json"
"""Stands in the data folder of a demonstration (netd.demo), whoever runs on it."""


class Stop:
    """The wish to stop: set by SIGTERM or SIGINT. The second signal ends the process at once."""

    def __init__(self) -> None:
        self.wanted = asyncio.Event()

    def listen(self) -> None:
        """Take the signals of this process."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number.name)

    def _signalled(self, name: str) -> None:
        if self.wanted.is_set():
            log.warning("%s again: ending at once", name)
            os._exit(1)
        log.info("%s: stopping", name)
        self.wanted.set()


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


def run(config: Config, kinds: Iterable[Kind] = ()) -> int:
    """Run the daemon until it is told to stop, with further ``kinds`` of jobs; returns the exit code. Raises ConfigError for what only shows at run time,
    and for a folder whose subscribers and devices are simulated: nobody shall take them for real ones."""
    if (config.data_dir / DEMO).exists():
        raise ConfigError("configuration", "data_dir", f"{config.data_dir} is of `netd demo`: what is in it is simulated, and only that command runs it")
    return guarded(config.log, _until_told(config, kinds))


def guarded(logs: LogConfig, work: Coroutine[Any, Any, None]) -> int:
    """Run a daemon's ``work`` to its end; returns the exit code. Raises ConfigError."""
    with setup_logs(logs, sys.stderr):
        try:
            uvloop.run(work)
        except ConfigError:
            raise
        except NetdError as error:
            log.critical("netd cannot run: %s", error)
            return 1
        except BaseExceptionGroup as group:
            refused = group.subgroup(ConfigError)
            if refused is not None:
                raise first(refused) from None
            log.critical("a service failed, so netd ends", exc_info=group)
            return 1
    return 0


def first(group: BaseExceptionGroup[Any]) -> BaseException:
    """The first error within a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _until_told(config: Config, kinds: Iterable[Kind]) -> None:
    stop = Stop()
    stop.listen()
    try:
        await serve_until(config, stop.wanted, _announce, kinds)
    except StoreUnavailable:
        if not stop.wanted.is_set():
            raise
        log.info("stopped before the database answered")


def _announce(running: Running) -> None:
    """Tell the person who started netd by hand how to go on. Under a service manager the log is enough."""
    if "NOTIFY_SOCKET" in os.environ:
        return
    first = running.addresses[0]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(first, first)
    command, folder = shlex.quote(str(Path(sys.argv[0]).absolute())), shlex.quote(str(running.data_dir))
    print(
        f"""
netd {__version__} is ready.

  control API   {running.api.url}/api/v1     (described at {running.api.url}/api/openapi.json)
  admin token   {running.data_dir / ADMIN_TOKEN}
  RADIUS        authentication {running.auth_port}/udp, accounting {running.acct_port}/udp

A first subscriber online, from another terminal (radclient is in the package freeradius-utils):

  export NETD_DATA_DIR={folder}
  {command} nas add lab --address {host} --secret testing123 --vendor mikrotik
  {command} plan add home --down 100M --up 20M
  {command} subscriber add alice --password wonderland --plan home
  echo 'User-Name=alice,User-Password=wonderland,Message-Authenticator=0x00' | radclient -x {host}:{running.auth_port} auth testing123
  echo 'User-Name=alice,Acct-Session-Id=one,Acct-Status-Type=Start' | radclient -x {host}:{running.acct_port} acct testing123
  {command} session list
""",
        flush=True,
    )


async def _searches(stack: AsyncExitStack, extensions: Extensions, database: Database, acs: GenieAcs | None) -> tuple[Discovery, Looks]:
    """Discovery, and looks at devices that boot, with all that they ask by."""
    pinger = await stack.enter_async_context(Pinger())
    snmp = SnmpTransport(SnmpLimits(attempts=2, timeout_seconds=1.0))
    recogniser = Recogniser(extensions.platforms)
    discovery = Discovery(database, TransportProber(pinger, snmp, recogniser, extensions.guard), recogniser, now=lambda: datetime.now(UTC))
    return discovery, Looks(snmp, recogniser, extensions.guard, pinger.ping, acs)


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
        _make_data_dir(config.data_dir)
        radius, web = config.radius, config.web
        auth = sockets.bind(radius.addresses, radius.auth_port, "radius.auth_port", 0)
        for sock in auth:
            stack.callback(sock.close)
        acct = sockets.bind(radius.addresses, radius.acct_port, "radius.acct_port", len(auth))
        for sock in acct:
            stack.callback(sock.close)
        coa = sockets.bind(radius.addresses, config.relay.port, "relay.port", len(auth) + len(acct)) if config.relay.enabled else []
        for sock in coa:
            stack.callback(sock.close)
        dhcp_sockets = bind4(config.dhcp.addresses, config.dhcp.port, config.dhcp.interfaces) if config.dhcp.enabled else None
        dhcp6_sockets = bind6(config.dhcp.addresses, config.dhcp.port6, config.dhcp.interfaces) if config.dhcp.enabled else None
        for bound in (dhcp_sockets, dhcp6_sockets):
            if bound is not None:
                stack.callback(bound.close)
        tftp_sockets = tftp.bind(config.boot.addresses, config.boot.tftp_port) if config.boot.enabled else []
        for each in tftp_sockets:
            stack.callback(each.close)
        listener = stack.enter_context(_listen(web.address, web.port))
        keyring = Keyring.load_or_create(config.key_file)
        extensions = Extensions.discover([Path(folder) for folder in config.extensions.folders], disabled=config.extensions.disabled)

        embedded, target = await _server(config, stack)
        await _prepare(target, config, wanted)
        database = await Database.open(target, config.database.pool_size, role=TENANT_ROLE)
        stack.push_async_callback(database.close)
        engine = await Database.open(target, ENGINE_CONNECTIONS)  # of its own: slow reports must not hold up accounting
        stack.push_async_callback(engine.close)
        service = RadiusService(engine, target, extensions, keyring.open, config)
        stack.push_async_callback(service.feed.close)
        stack.push_async_callback(service.close)
        await service.load()
        async with engine.transaction() as conn:
            await events.rebase(conn)
        await tokens.ensure_admin(engine, config.data_dir / ADMIN_TOKEN)
        metrics = Metrics(__version__)
        service.register(metrics)
        stream = Stream(engine, database)
        work = await Database.open(target, WORK_CONNECTIONS)
        stack.push_async_callback(work.close)
        client = await stack.enter_async_context(Client(allowed=[ip_network(each) for each in config.webhooks.allowed_networks]))
        webhooks = WebhookService(work, client, keyring)
        reachability = Reachability(client, targets(config))
        people = LoginWatch(work, config.login)
        jobs_db = await Database.open(target, JOB_CONNECTIONS)  # leases are renewed whatever else is slow
        stack.push_async_callback(jobs_db.close)
        handlers_db = await Database.open(target, JOB_CONNECTIONS, role=TENANT_ROLE)
        stack.push_async_callback(handlers_db.close)
        searches, looks = await _searches(stack, extensions, jobs_db, GenieAcs(client, config.genieacs) if config.genieacs.url else None)
        profiles = {name: profile.shown() for name, profile in extensions.profiles.items()}
        looking = poll_kinds.kinds(handlers_db, jobs_db, keyring, searches)
        queues, transport = DeviceQueues(), CliTransport()
        device_sessions = DeviceSessions(jobs_db, keyring, extensions.platforms, transport, queues, now=lambda: datetime.now(UTC), rest=RestTransport(client))
        tools = Tools(
            database=handlers_db, owner=jobs_db, keyring=keyring, sessions=device_sessions, images=config.data_dir / IMAGES,
            boot_retry_seconds=config.boot.login_retry_seconds, rules=show_rules(config.commands),
            export=exporter(config.configurations, config.data_dir / EXPORT), measured=Measured(config.poll.kept_days(), config.poll.reach_seconds),
            looks=looks, managed=Places(config.boot, profiles).managed,
            terms=Terms(days=config.boot.certificate_days, renew_days=config.boot.certificate_renew_days),
        )  # fmt: skip
        all_kinds = Kinds((*bundled(tools), *looking, *kinds))
        jobs = JobService(jobs_db, all_kinds, keyring, at_once=config.jobs.at_once)
        watch = JobWatch(work)
        polling = PollService(
            config.poll, work, keyring, extensions.platforms, extensions.guard, client, node=f"{socket.gethostname()}-{os.getpid()}",
            now=lambda: datetime.now(UTC),
        )  # fmt: skip
        await stack.enter_async_context(polling)
        for part in (client, webhooks, people, jobs, queues, transport, polling):
            part.register(metrics)
        boot_db = work
        if config.dhcp.enabled or config.boot.enabled:
            boot_db = await Database.open(target, BOOT_CONNECTIONS)
            stack.push_async_callback(boot_db.close)
        expected = await _expected(config, boot_db, target, keyring, profiles, all_kinds, stack, metrics) if config.dhcp.enabled else None
        dhcp = await _dhcp(config, target, extensions, Nobody() if expected is None else expected, stack, metrics) if config.dhcp.enabled else None
        boot_files = BootFiles(boot_db, keyring, profiles, config.boot, config.data_dir / IMAGES, all_kinds, lambda: datetime.now(UTC), time.monotonic)
        tftp_service = TftpService(boot_files, config.boot)
        boot_files.register(metrics)
        tftp_service.register(metrics)
        if unused := unconfigured(config):
            log.info("integrations that are not configured: %s", ", ".join(unused))
        parts = [each for each in (webhooks, jobs, polling, reachability, dhcp, expected) if each is not None]
        simulated = _demo_part(config.data_dir)
        deps = WebDeps(
            stream=stream, client=client, kinds=all_kinds, watch=watch,
            database=database, owner=engine, keyring=keyring, control=service.control, enforcement=service.control,
            probe=service.enforcer, metrics=metrics, polling=polling,
            health=service.health(lambda: [*simulated, *_embedded_part(embedded), *(part for each in parts for part in each.parts())]),
            rules=service.directory, limit=RateLimit(web.requests_per_second, web.requests_burst),
            own_limit=RateLimit(web.own_requests_per_second, web.own_requests_burst),
            settled=lambda: service.feed.settle(SETTLE_SECONDS),
            images=config.data_dir / IMAGES,
            vendors=frozenset(name for name, vendor in extensions.vendors.items() if vendor.access is not None),
            boot_profiles=tuple(profiles.values()), boot_files=boot_files,
            catalogue=Catalogue(frozenset(extensions.vendors), extensions.platforms),
            now=lambda: datetime.now(UTC), login=config.login, oidc=Provider(config.oidc, HttpFetch(client)) if config.oidc.issuer else None,
            public_url=web.public_url, trusted_proxies=tuple(map(ip_network, web.trusted_proxies)),
        )  # fmt: skip

        metrics.counter_of("netd_login_attempts", "Log-ins of users by method and result", lambda: deps.login_attempts, ("method", "result"))

        async with asyncio.TaskGroup() as group:
            watchdog = group.create_task(notifier.watch(), name="watchdog")
            streaming = group.create_task(stream.run(), name="events")
            working = [
                group.create_task(service.run(), name=name)
                for name, service in (("webhooks", webhooks), ("integrations", reachability), ("log-ins", people), ("jobs", jobs), ("job logs", watch))
            ]
            service.start(group, auth, acct, coa)
            working.append(group.create_task(boot_files.run(), name="boot files' audit"))
            if expected is not None:
                working.append(group.create_task(expected.run(), name="expected devices"))
            if dhcp is not None:
                dhcp.start(group, dhcp_sockets, dhcp6_sockets)
            polling.start(group)
            tftp_service.start(tftp_sockets)
            boot_http = await stack.enter_async_context(_boot_http(config, boot_files))
            try:
                async with serve(create_app(deps), listener) as api:
                    (config.data_dir / API_URL).write_text(api.url + "\n")
                    directory = service.directory
                    starting.cancel()  # from here on silence means what it says
                    notifier.ready(f"{len(directory.subscribers)} subscribers, {len(directory.nas)} NAS")
                    log.info(
                        "ready",
                        extra={
                            "version": __version__,
                            "compiled": compiled.status().active,
                            "api": api.url,
                            "auth_port": auth[0].port,
                            "acct_port": acct[0].port,
                            "coa_port": coa[0].port if coa else None,
                        },
                    )
                    ready(
                        Running(
                            api=api, auth_port=auth[0].port, acct_port=acct[0].port, coa_port=coa[0].port if coa else None,
                            addresses=radius.addresses, data_dir=config.data_dir, database=database, owner=engine, keyring=keyring,
                            vendors=deps.vendors, feed=service.feed, server=service.server, relay=service.relay, upkeep=service.upkeep,
                            replay=service.replay, allocator=service.allocator, lease_upkeep=service.lease_upkeep, health=deps.health, probe=deps.probe,
                            metrics=metrics, polling=polling, boot=boot_http,
                        )
                    )  # fmt: skip
                    await wanted.wait()
                    notifier.stopping()
                    service.server.stop()
                    service.relay.stop()
            finally:
                await tftp_service.stop()
                if dhcp is not None:
                    await dhcp.stop()
                await service.stop()
                await polling.stop()
                watchdog.cancel()
                for task in (streaming, *working):
                    task.cancel()
    log.info("stopped")


async def _expected(
    config: Config, database: Database, target: Target, keyring: Keyring, profiles: Mapping[str, BootProfile], kinds: Kinds, stack: AsyncExitStack,
    metrics: Metrics,
) -> Expected:  # fmt: skip
    """The devices that are expected, loaded."""
    expected = Expected(database, target, keyring, profiles, config.boot, kinds, lambda: datetime.now(UTC))
    stack.push_async_callback(expected.close)
    await expected.open()
    expected.register(metrics)
    return expected


@asynccontextmanager
async def _boot_http(config: Config, files: BootFiles) -> AsyncIterator[list[Listening]]:
    """Boot files by HTTP, and by HTTPS where there is a certificate."""
    boot = config.boot
    if not boot.enabled:
        yield []
        return
    context = boot_web.encryption(boot.certificate, boot.key)
    async with boot_web.serve(files, boot.addresses, boot.http_port) as plain:
        if context is None:
            yield plain
        else:
            async with boot_web.serve(files, boot.addresses, boot.https_port, context) as encrypted:
                yield plain + encrypted


async def _dhcp(config: Config, target: Target, extensions: Extensions, binding: Binding, stack: AsyncExitStack, metrics: Metrics) -> DhcpService:
    """The DHCP responder, loaded, on connections of its own."""
    database = await Database.open(target, DHCP_CONNECTIONS)
    stack.push_async_callback(database.close)
    name = uuid.uuid5(uuid.NAMESPACE_OID, f"{socket.gethostname()} {config.data_dir}")  # the same after each start, another for each node
    service = DhcpService(database, target, extensions.profiles, binding, config.dhcp, b"\0\4" + name.bytes)
    stack.push_async_callback(service.close)
    await service.open()
    service.register(metrics)
    return service


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


def _make_data_dir(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("configuration", "data_dir", f"cannot make {folder}: {error.strerror}") from error


def _listen(address: str, port: int) -> socket.socket:
    """Bind the API's port before anything else is started, so that a taken one is noticed first."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family)
    except OSError as error:
        raise ConfigError("configuration", "web.port", f"cannot listen on {address} port {port}/tcp: {os.strerror(error.errno or 0)}") from error


async def _server(config: Config, stack: AsyncExitStack) -> tuple[EmbeddedServer | None, Target]:
    """The database to use: the configured one, else an embedded server that runs as long as ``stack``."""
    url = config.database.url.reveal()
    if url:
        return None, url
    embedded = EmbeddedServer(config.data_dir, bin_dir=config.database.bin_dir, start_timeout_seconds=config.database.start_timeout_seconds)
    await stack.enter_async_context(embedded)
    return embedded, embedded.connect_kwargs()


def _demo_part(data_dir: Path) -> list[Part]:
    """Says of a demonstration that it is one."""
    if not (data_dir / DEMO).exists():
        return []
    return [Part(name="demo", state="ok", since=time.time(), detail="SIMULATED: no device, subscriber or octet here is real")]


def _embedded_part(embedded: EmbeddedServer | None) -> list[Part]:
    if embedded is None:
        return []
    up = embedded.state == "running"
    return [
        Part(
            name="embedded_postgresql", state="ok" if up else "down", since=embedded.since, detail="" if up else f"{embedded.state}: {embedded.last_error}",
            last_error=embedded.last_error,
        )
    ]  # fmt: skip


async def _prepare(target: Target, config: Config, wanted: asyncio.Event) -> None:
    """Wait for the database, bring its schema up to date and make the months ahead. Raises StoreUnavailable after the start timeout."""
    give_up_at = time.monotonic() + config.database.start_timeout_seconds
    conn: Connection | None = None
    while conn is None:
        try:
            conn = await connect(target)
        except StoreUnavailable as error:
            if time.monotonic() >= give_up_at or wanted.is_set():
                raise
            log.warning("waiting for the database: %s", error)
            await asyncio.sleep(1.0)
    try:
        await migrate(conn, share("sql"))
        await partitions.ensure(conn, datetime.now(UTC).date())
    finally:
        await conn.close()
