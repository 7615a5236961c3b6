"""Everything that runs in the daemon: composed of its parts here, begun and ended together."""

import asyncio
import logging
import os
import socket
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network

from netd import __version__
from netd.config import Config
from netd.daemon.databases import Databases
from netd.daemon.folder import ADMIN_TOKEN, EXPORT, IMAGES
from netd.daemon.listeners import Listeners
from netd.device.cli import CliTransport
from netd.device.http import Client
from netd.device.ping import Pinger
from netd.device.queue import DeviceQueues
from netd.device.rest import RestTransport
from netd.device.snmp import SnmpLimits, SnmpTransport
from netd.domain import tokens
from netd.domain.bootfiles import BootFiles
from netd.domain.booting import Places, offered
from netd.domain.certificates import Terms
from netd.domain.commands import show_rules
from netd.domain.events import Stream
from netd.domain.joblog import JobWatch
from netd.domain.kinds import Kind, Kinds
from netd.domain.ports import Part
from netd.domain.recognition import Recogniser
from netd.domain.rendering import Renderer
from netd.domain.report_queries import Measured
from netd.extensions import Extensions
from netd.keyring import Keyring
from netd.metrics import Metrics
from netd.model.dhcp import BootProfile
from netd.poll import kinds as poll_kinds
from netd.poll.discovery import Discovery
from netd.poll.probe import TransportProber
from netd.poll.service import PollService
from netd.radius.service import RadiusService
from netd.store import events
from netd.store.database import Target
from netd.web import boot as boot_web
from netd.web.app import Listening
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
from netd.ztp.binding import Nobody
from netd.ztp.expected import Expected
from netd.ztp.service import DhcpService
from netd.ztp.tftp import TftpService

log = logging.getLogger(__name__)


def now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """The services by name. ``expected`` and ``dhcp`` are None where DHCP is not enabled."""

    metrics: Metrics
    client: Client
    radius: RadiusService
    stream: Stream
    webhooks: WebhookService
    reachability: Reachability
    people: LoginWatch
    kinds: Kinds
    jobs: JobService
    watch: JobWatch
    polling: PollService
    profiles: Mapping[str, BootProfile]
    renderer: Renderer
    expected: Expected | None
    dhcp: DhcpService | None
    boot_files: BootFiles
    tftp: TftpService

    def parts(self) -> list[Part]:
        """For /health, besides RADIUS'."""
        told = (self.webhooks, self.jobs, self.polling, self.reachability, self.dhcp, self.expected)
        return [part for each in told if each is not None for part in each.parts()]

    def start(self, group: asyncio.TaskGroup, listeners: Listeners) -> list[asyncio.Task[None]]:
        """Begin all; returns the tasks that :meth:`stop` does not end."""
        endless = {
            "events": self.stream.run(), "webhooks": self.webhooks.run(), "integrations": self.reachability.run(), "log-ins": self.people.run(),
            "jobs": self.jobs.run(), "job logs": self.watch.run(), "boot files' audit": self.boot_files.run(),
        }  # fmt: skip
        if self.expected is not None:
            endless["expected devices"] = self.expected.run()
        tasks = [group.create_task(work, name=name) for name, work in endless.items()]
        self.radius.start(group, listeners.auth, listeners.acct, listeners.coa)
        if self.dhcp is not None:
            self.dhcp.start(group, listeners.dhcp4, listeners.dhcp6)
        self.polling.start(group)
        self.tftp.start(listeners.tftp)
        return tasks

    async def stop(self) -> None:
        """Finish and acknowledge what is in work."""
        await self.tftp.stop()
        if self.dhcp is not None:
            await self.dhcp.stop()
        await self.radius.stop()
        await self.polling.stop()


async def compose(
    config: Config, target: Target, databases: Databases, keyring: Keyring, extensions: Extensions, more: Iterable[Kind], stack: AsyncExitStack,
) -> Services:  # fmt: skip
    """Make them and load what they need to know, to be closed with ``stack``. ``more`` are kinds of jobs besides netd's own."""
    metrics = Metrics(__version__)
    radius = await _radius(config, target, databases, keyring, extensions, stack)
    client = await stack.enter_async_context(Client(allowed=[ip_network(each) for each in config.webhooks.allowed_networks]))
    webhooks, people = WebhookService(databases.work, client, keyring), LoginWatch(databases.work, config.login)
    profiles = {name: offered(profile.shown(), config.boot) for name, profile in extensions.profiles.items()}
    queues, transport, renderer = DeviceQueues(), CliTransport(), Renderer()
    snmp = SnmpTransport(SnmpLimits(attempts=2, timeout_seconds=1.0))
    sessions = DeviceSessions(databases.jobs, keyring, extensions.platforms, transport, queues, rest=RestTransport(client), snmp=snmp, now=now)
    kinds = await _kinds(config, databases, keyring, extensions, client, snmp, sessions, profiles, renderer, more, stack)
    jobs = JobService(databases.jobs, kinds, keyring, at_once=config.jobs.at_once)
    polling = PollService(
        config.poll, databases.work, keyring, extensions.platforms, extensions.guard, client, node=f"{socket.gethostname()}-{os.getpid()}", now=now
    )  # fmt: skip
    await stack.enter_async_context(polling)
    expected = await _expected(config, target, databases, keyring, profiles, kinds, stack)
    dhcp = await _dhcp(config, target, databases, extensions, expected, stack)
    boot_files = BootFiles(databases.boot, keyring, profiles, config.boot, config.data_dir / IMAGES, kinds, now, time.monotonic, renderer)
    tftp = TftpService(boot_files, config.boot)
    for part in (radius, client, webhooks, people, jobs, queues, transport, polling, expected, dhcp, boot_files, tftp):
        if part is not None:
            part.register(metrics)
    if unused := unconfigured(config):
        log.info("integrations that are not configured: %s", ", ".join(unused))
    return Services(
        metrics=metrics, client=client, radius=radius, stream=Stream(databases.engine, databases.api), webhooks=webhooks,
        reachability=Reachability(client, targets(config)), people=people, kinds=kinds, jobs=jobs, watch=JobWatch(databases.work), polling=polling,
        profiles=profiles, renderer=renderer, expected=expected, dhcp=dhcp, boot_files=boot_files, tftp=tftp,
    )  # fmt: skip


async def _radius(config: Config, target: Target, databases: Databases, keyring: Keyring, extensions: Extensions, stack: AsyncExitStack) -> RadiusService:
    """The engine, loaded; with it the events begin, and at the first start there is a token for the administrator."""
    service = RadiusService(databases.engine, target, extensions, keyring.open, config)
    stack.push_async_callback(service.feed.close)
    stack.push_async_callback(service.close)
    await service.load()
    async with databases.engine.transaction() as conn:
        await events.rebase(conn)
    await tokens.ensure_admin(databases.engine, config.data_dir / ADMIN_TOKEN)
    return service


async def _kinds(
    config: Config, databases: Databases, keyring: Keyring, extensions: Extensions, client: Client, snmp: SnmpTransport,
    sessions: DeviceSessions, profiles: Mapping[str, BootProfile], renderer: Renderer, more: Iterable[Kind], stack: AsyncExitStack,
) -> Kinds:  # fmt: skip
    """Every kind of job, with what handlers work with."""
    pinger = await stack.enter_async_context(Pinger())
    recogniser = Recogniser(extensions.platforms)
    discovery = Discovery(databases.jobs, TransportProber(pinger, snmp, recogniser, extensions.guard), recogniser, now=now)
    acs = GenieAcs(client, config.genieacs) if config.genieacs.url else None
    tools = Tools(
        database=databases.handlers, owner=databases.jobs, keyring=keyring, sessions=sessions, images=config.data_dir / IMAGES,
        boot_retry_seconds=config.boot.login_retry_seconds, boot_patience_seconds=config.boot.login_patience_seconds,
        upgrade_patience_seconds=config.boot.upgrade_patience_seconds, rules=show_rules(config.commands),
        export=exporter(config.configurations, config.data_dir / EXPORT), measured=Measured(config.poll.kept_days(), config.poll.reach_seconds),
        looks=Looks(snmp, recogniser, extensions.guard, pinger.ping, acs), managed=Places(config.boot, profiles).managed,
        terms=Terms(days=config.boot.certificate_days, renew_days=config.boot.certificate_renew_days), renderer=renderer,
    )  # fmt: skip
    return Kinds((*bundled(tools), *poll_kinds.kinds(databases.handlers, databases.jobs, keyring, discovery), *more))


async def _expected(
    config: Config, target: Target, databases: Databases, keyring: Keyring, profiles: Mapping[str, BootProfile], kinds: Kinds, stack: AsyncExitStack,
) -> Expected | None:  # fmt: skip
    """The devices that are expected, loaded."""
    if not config.dhcp.enabled:
        return None
    expected = Expected(databases.boot, target, keyring, profiles, config.boot, kinds, now)
    stack.push_async_callback(expected.close)
    await expected.open()
    return expected


async def _dhcp(
    config: Config, target: Target, databases: Databases, extensions: Extensions, expected: Expected | None, stack: AsyncExitStack,
) -> DhcpService | None:  # fmt: skip
    """The DHCP responder, loaded."""
    if databases.dhcp is None:
        return None
    name = uuid.uuid5(uuid.NAMESPACE_OID, f"{socket.gethostname()} {config.data_dir}")  # the same after each start, another for each node
    service = DhcpService(databases.dhcp, target, extensions.profiles, expected or Nobody(), config.dhcp, b"\0\4" + name.bytes)
    stack.push_async_callback(service.close)
    await service.open()
    return service


@asynccontextmanager
async def boot_http(config: Config, files: BootFiles) -> AsyncIterator[list[Listening]]:
    """Boot files by HTTP, and by HTTPS where there is a certificate."""
    boot = config.boot
    if not boot.enabled:
        yield []
        return
    context = boot_web.encryption(boot.certificate, boot.key)
    async with boot_web.serve(files, boot, boot.http_port) as plain:
        if context is None:
            yield plain
        else:
            async with boot_web.serve(files, boot, boot.https_port, context) as encrypted:
                yield plain + encrypted
