"""The RADIUS service as one thing: its parts put together, loaded, started and stopped."""

import asyncio
import gc
import secrets
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from netd import compiled
from netd.config import Config
from netd.domain.ports import Part
from netd.extensions import Extensions
from netd.keyring import Opener
from netd.metrics import Metrics
from netd.radius import stats
from netd.radius.access import Access
from netd.radius.accounting import QUEUE_LIMIT, Accounting
from netd.radius.allocator import Allocator
from netd.radius.clients import Clients
from netd.radius.coa import DynamicAuthorization
from netd.radius.control import Control
from netd.radius.directory import Directory
from netd.radius.enforce import Enforcer
from netd.radius.grants import Wall
from netd.radius.journal import Journal
from netd.radius.lease_upkeep import LeaseUpkeep
from netd.radius.leases import Leases
from netd.radius.loader import Loader
from netd.radius.orders import Orders
from netd.radius.probe import Probe
from netd.radius.relay import Relay
from netd.radius.replay import Replay
from netd.radius.second_try import SecondTry
from netd.radius.server import Server
from netd.radius.sessions import Sessions
from netd.radius.sockets import Socket
from netd.radius.spool import Spool
from netd.radius.upkeep import Upkeep
from netd.store.database import Database, Target
from netd.store.feed import ChangeFeed

FLUSH_SECONDS: Final = 10.0
"""How long accounting in work may take to be committed when the service stops, and then what waits in the journal."""

COA_GRACE_SECONDS: Final = 3.0
COLLECT_AFTER: Final = 5_000
"""Objects between two looks for cycles: under a flood of accounting nearly all of them are in use, and walking through four times as many held the
loop for six milliseconds."""

JOURNAL: Final = "journal"
"""The journal's folder in the data folder."""


class RadiusService:
    """Everything that answers RADIUS, on one database pool of its own."""

    def __init__(self, database: Database, target: Target, extensions: Extensions, open_secret: Opener, config: Config) -> None:
        radius = config.radius
        self.database = database
        self.sessions = Sessions()
        self.directory = Directory(extensions, open_secret, Wall(radius.wall, radius.wall_url, radius.wall_down_bps, radius.wall_up_bps), radius.time_zone)
        reviews = [(name, plugin.policy.review) for name, plugin in extensions.plugins.items()]
        self.leases = Leases(self.directory.pools, radius.grant_hold_seconds, time.time)
        self.access = Access(self.directory, self.sessions, radius, reviews, secrets.token_hex(4), self.leases)
        self.access.database_up = lambda: database.up
        self.client = DynamicAuthorization(config.coa)
        self.orders = Orders(self.directory, self.client)
        self.enforcer = Enforcer(database, self.directory, self.access, self.sessions, self.orders, config.coa, config.enforcement)
        self.control = Control(self.enforcer)
        self.probe = Probe(self.directory, self.access)
        self.spool = Spool(Journal(config.data_dir / JOURNAL, radius.journal_max_mb << 20, socket.gethostname()))
        self.accounting = Accounting(database, self.directory, self.sessions, self.spool, radius)
        self.accounting.on_open, self.accounting.policy_of = self.enforcer.opened, self.enforcer.policies.of
        self.accounting.on_usage = self.enforcer.usage_changed
        self.accounting.on_number = self.enforcer.outcomes.numbered
        self.replay = Replay(database, self.accounting, radius.batch_records)
        self.second_try = SecondTry(self.accounting)
        self.server = Server(self.directory, self.access, self.accounting, radius)
        self.allocator = Allocator(database, self.leases, radius.grant_hold_seconds)
        self.server.on_want = self.allocator.offer
        self.sessions.on_begin, self.sessions.on_end = self.leases.begun, self.leases.ended
        self.leases.session_of, self.leases.on_doom = self.sessions.by_id.get, self.enforcer.doom
        self.lease_upkeep = LeaseUpkeep(database, self.leases, self.sessions, radius.grant_hold_seconds)
        self.allocator.flush = self.lease_upkeep.flush
        self.upkeep = Upkeep(database, self.server, self.accounting, self.sessions, radius, config.retention)
        self.server.on_learned, self.access.on_line_learned = self.upkeep.learn, self.upkeep.learn_line
        self.clients = Clients(open_secret, self.directory.faults)
        self.relay = Relay(database, self.clients, self.enforcer, config.relay)
        self.loader = Loader(database, self.directory, self.clients, self.sessions, self.enforcer, self.accounting, self.leases)
        self.feed = ChangeFeed(target, self.loader.apply, self.loader.reload)
        self._warn_percent = config.addresses.warn_percent
        self._started_at = time.time()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def load(self) -> None:
        """Read everything into memory. What changes from here on comes by the feed."""
        gc.disable()  # what is loaded stays: walking it again and again while it grows costs a fifth of the start
        try:
            await self.feed.start()
            await self.loader.load()
            await self.loader.load_sessions()
            await self.accounting.recover()
        finally:
            gc.enable()
        _calm_collector()

    def start(self, group: asyncio.TaskGroup, auth: Sequence[Socket], acct: Sequence[Socket], coa: Sequence[Socket] = ()) -> None:
        """Begin to answer, and to do all that goes on beside it."""
        endless: dict[str, Coroutine[Any, Any, None]] = {
            "accounting": self.accounting.run(), "replay": self.replay.run(), "second try": self.second_try.run(),
            "change feed": self.feed.run(), "enforcement": self.enforcer.run(),
            "enforcement outcomes": self.enforcer.keep_outcomes(), "log-ins": self.upkeep.keep_postauth(), "learned": self.upkeep.keep_learned(),
            "reaper": self.upkeep.reap(), "reconciler": self.upkeep.reconcile(), "partitions": self.upkeep.turn_partitions(),
            "quotas": self.accounting.quotas.run(), "relay audit": self.relay.keep_audit(),
            "allocator": self.allocator.run(), "leases": self.lease_upkeep.keep(), "lease reconciler": self.lease_upkeep.reconcile(),
            "pool usage": self.lease_upkeep.count(),
        }  # fmt: skip
        self._tasks = {name: group.create_task(work, name=name) for name, work in endless.items()}
        self.server.start(auth, acct)
        self.relay.start(coa)

    async def stop(self) -> None:
        """Read no more, commit and acknowledge what is in work, keep outcomes, and end."""
        self.server.stop()
        self.relay.stop()
        self.accounting.finish()
        await asyncio.wait({self._tasks["accounting"]}, timeout=FLUSH_SECONDS)
        await self.replay.drain(FLUSH_SECONDS)  # what is left stays in the journal for the next start
        self._tasks["enforcement"].cancel()  # begin nothing new; what is under way gets a moment
        await self.enforcer.stop(COA_GRACE_SECONDS)
        await self.relay.flush_audit()
        await self.upkeep.flush_postauth()
        await self.upkeep.flush_learned()
        await self.lease_upkeep.flush()
        for task in self._tasks.values():
            task.cancel()

    async def close(self) -> None:
        """Let go of the journal, once nothing runs any more."""
        if self.accounting.late is not None:
            self.accounting.late.cancel()
        await self.spool.close()

    def register(self, metrics: Metrics) -> None:
        """Add the service's series."""
        stats.register(metrics, self.directory, self.sessions, self.server, self.accounting, self.enforcer, self.relay, self.upkeep, self.loader)
        stats.register_pools(metrics, self.directory.pools, self.leases, self.allocator)

    def health(self, elsewhere: Callable[[], list[Part]]) -> "ServiceHealth":
        """The state of the service's parts, and of those that ``elsewhere`` tells of."""
        return ServiceHealth(self, elsewhere)

    def parts(self) -> list[Part]:
        """The state of each part, from memory.

        The database is not critical: authentication and the sessions in memory go on without it, and a load balancer that took this
        node out for it would turn a slow database into subscribers offline.
        """
        database, feed, directory = self.database, self.feed, self.directory
        broken = "; ".join(str(error) for error in directory.extensions.broken)
        faults = "; ".join(f"{name}: {why}" for name, why in list(directory.faults.items())[:5])
        engine = compiled.status()
        pools = directory.pools.short(self._warn_percent)
        short = "; ".join(f"pool {pool.name} has {max(0, pool.available - pool.used)} of {pool.available} free" for pool in pools[:5])
        return [
            Part(name="radius", state="ok" if self.server.reading else "down", critical=True, since=self._started_at),
            Part(
                name="database", state="ok" if database.up else "down", since=database.since, detail="" if database.up else database.last_error,
                latency_seconds=database.latency_seconds, last_error=database.last_error,
            ),
            Part(
                name="change_feed", state="ok" if feed.up else "down", since=feed.since, detail="" if feed.up else feed.last_error,
                last_error=feed.last_error,
            ),
            self._accounting_part(),
            self._enforcement(),
            Part(name="directory", state="degraded" if faults else "ok", since=self._started_at, detail=faults),
            Part(name="compiled_engine", state="degraded" if engine.stale else "ok", since=self._started_at, detail=engine.detail),
            Part(name="address_pools", state="degraded" if short else "ok", since=self._started_at, detail=short),
            Part(name="extensions", state="degraded" if broken else "ok", since=self._started_at, detail=broken),
        ]  # fmt: skip

    def _accounting_part(self) -> Part:
        """Degraded while anything waits in the journal, or too much in memory."""
        queued, detail = len(self.accounting), self.spool.state()
        if queued >= QUEUE_LIMIT // 2 or self.spool.trouble:
            detail = f"{queued} packets wait unacknowledged" + f"; {detail}" * bool(detail)
        return Part(name="accounting", state="degraded" if detail else "ok", since=self.spool.since, detail=detail)

    def _enforcement(self) -> Part:
        """Degraded while a wave waits for an operator, or a NAS answers no CoA and Disconnect."""
        enforcer = self.enforcer
        waves = [
            f"tenant {tenant_id}: {len(enforcer.guard.waves.held(tenant_id))} sessions held for confirmation" for tenant_id in enforcer.guard.waves.tenants()
        ]
        silent = self.client.unreachable()
        told = [f"{address} answers nothing since {datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M:%SZ}" for address, since in silent.items()]
        since = min([*silent.values(), *(enforcer.guard.waves.since(tenant_id) for tenant_id in enforcer.guard.waves.tenants())], default=self._started_at)
        return Part(name="enforcement", state="degraded" if waves or told else "ok", since=since, detail="; ".join([*waves, *told[:5]]))


class ServiceHealth:
    """netd.domain.ports.Health over the service and what stands beside it."""

    def __init__(self, service: RadiusService, elsewhere: Callable[[], list[Part]]) -> None:
        self._service = service
        self._elsewhere = elsewhere

    def parts(self) -> list[Part]:
        return [*self._service.parts(), *self._elsewhere()]


def _calm_collector() -> None:
    """Keep the garbage collector from walking the directory again and again: its records live as long as the process.

    What a packet leaves behind is freed by reference counting; cycles are rare, so looking for them seldom is enough.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 50, 100)
