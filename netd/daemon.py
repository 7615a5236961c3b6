"""The one place where the daemon is composed: resources on an exit stack around a group of services.

Order of start: sockets are bound (a taken port is noticed first), the database starts and is migrated, the directory and the open
sessions are loaded, and only then packets are read. Order of stop: nothing new is read, what is in work is finished and
acknowledged, outcomes are written, the database stops.
"""

import asyncio
import gc
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import uvloop

from netd import __version__
from netd.config import Config
from netd.domain import tokens
from netd.domain.ports import Part
from netd.errors import ConfigError, NetdError, StoreUnavailable
from netd.extensions import Extensions
from netd.keyring import Keyring
from netd.logs import setup as setup_logs
from netd.metrics import Metrics
from netd.notify import Notifier
from netd.radius import sockets, stats
from netd.radius.access import Access
from netd.radius.accounting import QUEUE_LIMIT, Accounting
from netd.radius.coa import DynamicAuthorization
from netd.radius.directory import Directory, Wall
from netd.radius.enforce import Enforcer
from netd.radius.loader import Loader
from netd.radius.server import Server
from netd.radius.sessions import Sessions
from netd.radius.upkeep import Upkeep
from netd.share import share
from netd.store import partitions
from netd.store.database import Connection, Database, Target, connect
from netd.store.embedded import EmbeddedServer
from netd.store.feed import ChangeFeed
from netd.store.migrate import migrate
from netd.web.app import Listening, create_app, serve
from netd.web.deps import WebDeps
from netd.wire.attributes import from_text

log = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 10.0
"""How long accounting in work may take to be committed when the daemon stops."""

COA_GRACE_SECONDS: Final = 3.0
ENGINE_CONNECTIONS: Final = 6
ADMIN_TOKEN: Final = "admin.token"
API_URL: Final = "api.url"


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
    """What a caller may know of a daemon that is ready: where it listens, and its parts."""

    api: Listening
    auth_port: int
    acct_port: int
    addresses: tuple[str, ...]
    data_dir: Path
    database: Database
    keyring: Keyring
    vendors: frozenset[str]
    feed: ChangeFeed
    server: Server
    upkeep: Upkeep


def run(config: Config) -> int:
    """Run the daemon until it is told to stop; returns the exit code. Raises ConfigError for what only shows at run time."""
    with setup_logs(config.log, sys.stderr):
        try:
            uvloop.run(_until_told(config))
        except ConfigError:
            raise
        except NetdError as error:
            log.critical("netd cannot run: %s", error)
            return 1
        except BaseExceptionGroup as group:
            refused = group.subgroup(ConfigError)
            if refused is not None:
                raise _first(refused) from None
            log.critical("a service failed, so netd ends", exc_info=group)
            return 1
    return 0


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _until_told(config: Config) -> None:
    stop = Stop()
    stop.listen()
    daemon = asyncio.create_task(serve_until(config, stop.wanted, _announce))
    told = asyncio.create_task(stop.wanted.wait())
    await asyncio.wait({daemon, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    try:
        await daemon
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
    command = Path(sys.argv[0]).absolute()
    print(
        f"""
netd {__version__} is ready.

  control API   {running.api.url}/api/v1     (described at {running.api.url}/api/openapi.json)
  admin token   {running.data_dir / ADMIN_TOKEN}
  RADIUS        authentication {running.auth_port}/udp, accounting {running.acct_port}/udp

A first subscriber online, from another terminal (radclient is in the package freeradius-utils):

  export NETD_DATA_DIR={running.data_dir}
  {command} nas add lab --address {host} --secret testing123 --vendor mikrotik
  {command} plan add home --down 100M --up 20M
  {command} subscriber add alice --password wonderland --plan home
  echo 'User-Name=alice,User-Password=wonderland,Message-Authenticator=0x00' | radclient -x {host}:{running.auth_port} auth testing123
  echo 'User-Name=alice,Acct-Session-Id=one,Acct-Status-Type=Start' | radclient -x {host}:{running.acct_port} acct testing123
  {command} session list
""",
        flush=True,
    )


class DaemonHealth:
    """The state of every part, read from memory when somebody asks (netd.domain.ports.Health).

    The database is not critical: authentication and the sessions in memory go on without it, and a load balancer that took this
    node out for it would turn a slow database into subscribers offline.
    """

    def __init__(
        self, database: Database, embedded: EmbeddedServer | None, feed: ChangeFeed, directory: Directory, server: Server, accounting: Accounting
    ) -> None:
        self._database = database
        self._embedded = embedded
        self._feed = feed
        self._directory = directory
        self._server = server
        self._accounting = accounting
        self._started_at = time.time()

    def parts(self) -> list[Part]:
        database, feed, directory = self._database, self._feed, self._directory
        waiting = len(self._accounting)
        broken = "; ".join(str(error) for error in directory.extensions.broken)
        faults = "; ".join(f"{name}: {why}" for name, why in list(directory.faults.items())[:5])
        parts = [
            Part(name="radius", state="ok" if self._server.reading else "down", critical=True, since=self._started_at),
            Part(name="database", state="ok" if database.up else "down", since=database.since, detail="" if database.up else database.last_error),
            Part(name="change_feed", state="ok" if feed.up else "down", since=feed.since, detail="" if feed.up else feed.last_error),
            Part(
                name="accounting", state="ok" if waiting < QUEUE_LIMIT // 2 else "degraded", since=self._accounting.listening_since,
                detail=f"{waiting} packets wait for the database" if waiting else "",
            ),
            Part(name="directory", state="degraded" if faults else "ok", since=self._started_at, detail=faults),
            Part(name="extensions", state="degraded" if broken else "ok", since=self._started_at, detail=broken),
        ]  # fmt: skip
        if self._embedded is not None:
            up = self._embedded.state == "running"
            detail = "" if up else f"{self._embedded.state}: {self._embedded.last_error}"
            parts.append(Part(name="embedded_postgresql", state="ok" if up else "down", since=self._embedded.since, detail=detail))
        return parts


async def serve_until(config: Config, wanted: asyncio.Event, ready: Callable[[Running], None]) -> None:
    """Compose and run the daemon until ``wanted`` is set. ``ready`` is called once it answers.

    Raises ConfigError or StoreError if it cannot start, and an ExceptionGroup if a service fails later.
    """
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        notifier = Notifier.from_environment(os.environ)
        stack.callback(notifier.close)
        radius = config.radius
        auth = sockets.bind(radius.addresses, radius.auth_port, "radius.auth_port", 0)
        acct = sockets.bind(radius.addresses, radius.acct_port, "radius.acct_port", len(auth))
        for sock in (*auth, *acct):
            stack.callback(sock.close)
        keyring = Keyring.load_or_create(config.key_file)
        extensions = Extensions.discover([Path(folder) for folder in config.extensions.folders], disabled=config.extensions.disabled)

        embedded: EmbeddedServer | None = None
        target: Target = config.database.url.reveal()
        if not target:
            embedded = EmbeddedServer(config.data_dir, bin_dir=config.database.bin_dir, start_timeout_seconds=config.database.start_timeout_seconds)
            await stack.enter_async_context(embedded)
            target = embedded.connect_kwargs()
        await _prepare(target, config, wanted)
        database = await Database.open(target, config.database.pool_size)
        stack.push_async_callback(database.close)
        engine = await Database.open(target, ENGINE_CONNECTIONS)  # of its own: slow reports must not hold up accounting
        stack.push_async_callback(engine.close)

        directory = Directory(extensions, keyring.open, Wall(radius.wall, radius.wall_url, radius.wall_down_bps, radius.wall_up_bps))
        live = Sessions()
        reviews = [(name, plugin.policy.review) for name, plugin in extensions.plugins.items()]
        access = Access(directory, live, radius, reviews, secrets.token_hex(4))
        client = DynamicAuthorization(config.coa)
        enforcer = Enforcer(engine, directory, access, live, client, config.coa)
        accounting = Accounting(engine, directory, live, radius)
        accounting.on_open, accounting.policy_of = enforcer.opened, enforcer.policy_of
        server = Server(directory, access, accounting, radius)
        upkeep = Upkeep(engine, server, accounting, live, radius, config.retention)
        server.on_learned = upkeep.learn
        loader = Loader(engine, directory, live, enforcer, accounting)
        feed = ChangeFeed(target, loader.apply, loader.reload)
        await feed.start()
        stack.push_async_callback(feed.close)
        await loader.load()
        await loader.load_sessions()
        _calm_collector()

        metrics = Metrics(__version__)
        stats.register(metrics, directory, live, server, accounting, client, upkeep, loader)
        deps = WebDeps(
            database=database, keyring=keyring, control=enforcer, probe=enforcer, metrics=metrics,
            health=DaemonHealth(engine, embedded, feed, directory, server, accounting),
            vendors=frozenset(name for name, vendor in extensions.vendors.items() if vendor.access is not None),
            validate_attribute=lambda name, text: _validate(extensions, name, text), now=lambda: datetime.now(UTC),
        )  # fmt: skip
        await tokens.ensure_admin(database, config.data_dir / ADMIN_TOKEN)

        async with asyncio.TaskGroup() as services:
            committer = services.create_task(accounting.run(), name="accounting")
            endless: dict[str, Coroutine[Any, Any, None]] = {
                "change feed": feed.run(), "enforcement": enforcer.run(), "enforcement outcomes": enforcer.keep_outcomes(),
                "log-ins": upkeep.keep_postauth(), "learned": upkeep.keep_learned(), "reaper": upkeep.reap(), "reconciler": upkeep.reconcile(),
                "partitions": upkeep.turn_partitions(), "watchdog": notifier.watch(),
            }  # fmt: skip
            tasks = [services.create_task(work, name=name) for name, work in endless.items()]
            server.start(auth, acct)
            try:
                async with serve(create_app(deps), config.web.address, config.web.port) as api:
                    (config.data_dir / API_URL).write_text(api.url + "\n")
                    notifier.ready(f"{len(directory.subscribers)} subscribers, {len(directory.nas)} NAS")
                    log.info("ready", extra={"version": __version__, "api": api.url, "auth_port": auth[0].port, "acct_port": acct[0].port})
                    ready(
                        Running(
                            api=api, auth_port=auth[0].port, acct_port=acct[0].port, addresses=radius.addresses, data_dir=config.data_dir,
                            database=database, keyring=keyring, vendors=deps.vendors, feed=feed, server=server, upkeep=upkeep,
                        )
                    )  # fmt: skip
                    await wanted.wait()
                    notifier.stopping()
                    server.stop()
            except OSError as error:
                raise ConfigError("configuration", "web.port", f"cannot listen on {config.web.address} port {config.web.port}/tcp: {os.strerror(error.errno or 0)}") from error
            finally:
                server.stop()
                accounting.finish()
                await asyncio.wait({committer}, timeout=FLUSH_SECONDS)
                await enforcer.stop(COA_GRACE_SECONDS)
                await upkeep.flush_postauth()
                for task in (committer, *tasks):
                    task.cancel()
    log.info("stopped")


def _calm_collector() -> None:
    """Keep the garbage collector from walking the directory again and again: its records live as long as the process.

    What a packet leaves behind is freed by reference counting; cycles are rare, so looking for them seldom is enough.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


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
        for name in await migrate(conn, share("sql")):
            log.info("migration applied", extra={"migration": name})
        await partitions.ensure(conn, datetime.now(UTC).date())
    finally:
        await conn.close()


def _validate(extensions: Extensions, name: str, text: str) -> None:
    """Whether a radcheck or radreply row can be carried; ValueError says why not."""
    try:
        attribute = extensions.dictionary.attribute(name.partition(":")[0])
    except LookupError:
        raise ValueError(f"there is no attribute {name}") from None
    from_text(attribute, text)
