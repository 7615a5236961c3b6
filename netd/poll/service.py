"""All that looks at devices by itself, put together: this node's part of them, the polling, what is kept of it, and for how long."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Final

from netd.config import PollConfig
from netd.device.http import Client
from netd.device.ping import Pinger
from netd.device.snmp import SnmpLimits, SnmpTransport
from netd.domain.ports import Part
from netd.domain.recognition import Recogniser
from netd.errors import StoreError
from netd.extensions import DevicePlatform
from netd.keyring import Keyring
from netd.metrics import Metrics
from netd.model.telemetry import CurrentDevice
from netd.poll.alarms import READ_SECONDS, WRITE_SECONDS, Alarms
from netd.poll.export import GATHER_SECONDS, SEND_SECONDS, Export
from netd.poll.poller import Poller
from netd.poll.reader import Guard
from netd.poll.roster import LEARN_SECONDS, REFRESH_SECONDS, Roster
from netd.poll.shares import RENEW_SECONDS, Shares
from netd.poll.watched import Watched
from netd.poll.writer import FLUSH_SECONDS, Writer
from netd.store import alarms as alarm_store
from netd.store import timeseries
from netd.store.database import Database

log = logging.getLogger(__name__)

SUM_SECONDS: Final = 30.0
SUM_AFTER: Final = timedelta(seconds=90)
"""So long after its end a span is taken to be complete."""

TURN_SECONDS: Final = 3600.0
STOP_SECONDS: Final = 5.0
WALK_SECONDS: Final = 30.0
MOST_ROWS: Final = 20_000


class PollService:
    """``async with``: its sockets; :meth:`start` begins the work. ``database`` is the daemon's own, ``node`` this process's name."""

    def __init__(
        self, config: PollConfig, database: Database, keyring: Keyring, platforms: Mapping[str, DevicePlatform], guard: Guard, client: Client, *, node: str,
        now: Callable[[], datetime], clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.config = config
        self.transport = SnmpTransport(SnmpLimits(walk_seconds=WALK_SECONDS, most_rows=MOST_ROWS))
        self.pinger = Pinger()
        self.writer = Writer(database, now, most_rows=config.buffer_rows)
        self.poller = Poller(config, self.transport, self.pinger, self.writer, guard, Recogniser(platforms), now=now, clock=clock)
        self.shares = Shares(database, node, lambda: self.roster.wake.set(), config.scrape_address)
        self.roster = Roster(database, keyring, platforms, self.shares.mine, came=self.poller.came, went=self._went, now=now)
        self.poller.attach(self.roster)
        self.alarms = Alarms(database, self.roster.devices, down_seconds=config.down_seconds, period_seconds=config.reach_seconds, now=now, clock=clock)
        self.poller.looked = self.alarms.looked
        self.export: Export | None = None
        if config.export_url:
            self.export = Export(
                client, config.export_url, config.export_token, self.roster.devices, self.poller.current, most_octets=config.export_buffer_octets
            )  # fmt: skip
        self._database = database
        self._now = now
        self._stack = AsyncExitStack()
        self._stopping = asyncio.Event()
        self._polling: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "PollService":
        if self.config.enabled:
            await self._stack.enter_async_context(self.pinger)
            async with self._database.acquire() as conn:
                await timeseries.ensure(conn, self._now().date())
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._stack.aclose()

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begin, in ``group``, until :meth:`stop`."""
        if not self.config.enabled:
            return
        loops = {
            "leases of devices": self._every(RENEW_SECONDS, self.shares.try_to_renew),
            "devices to poll": self._every(REFRESH_SECONDS, self.roster.try_to_refresh, self.roster.wake),
            "what devices say": self._every(LEARN_SECONDS, self.roster.try_to_learn),
            "samples": self._every(FLUSH_SECONDS, self.writer.flush),
            "thresholds": self._every(READ_SECONDS, self.alarms.read),
            "alarms": self._every(WRITE_SECONDS, self.alarms.write),
            "sums of samples": self._every(SUM_SECONDS, self.sum_up),
            "days of samples": self._every(TURN_SECONDS, self.turn),
        }  # fmt: skip
        if self.export is not None:
            loops["copies of values"] = self._every(GATHER_SECONDS, self.export.gather)
            loops["sending copies of values"] = self._every(SEND_SECONDS, self.export.send)
        self._polling = group.create_task(self.poller.run(), name="poller")
        self._tasks = {group.create_task(loop, name=name) for name, loop in loops.items()}

    async def stop(self) -> None:
        """End the polling, write what is there, let others have this node's part. What is in a transaction has a few seconds to end it."""
        if self._polling is None:
            return
        self._polling.cancel()
        self._stopping.set()
        self.roster.wake.set()
        _, late = await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(self._polling, *late, return_exceptions=True)
        await self.writer.flush()
        await self.alarms.write()
        if self.export is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self.export.gather()
                    await self.export.send()
        await self.shares.leave()

    def _went(self, watched: Watched) -> None:
        self.poller.went(watched)
        self.alarms.went(watched)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]], wake: asyncio.Event | None = None) -> None:
        """Work, and pause for so long or until ``wake`` is set, until all is to stop."""
        wake = wake or self._stopping
        while not self._stopping.is_set():
            await work()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await wake.wait()

    async def sum_up(self) -> None:
        """Sum up what is over."""
        try:
            await self.sum_up_once()
        except StoreError as error:
            log.warning("samples not summed up", extra={"error": str(error)})

    async def sum_up_once(self) -> None:
        """All spans that are over by now. Raises StoreError."""
        until = self._now() - SUM_AFTER
        for level in timeseries.LEVELS:
            while True:
                async with self._database.acquire() as conn:
                    if await timeseries.roll_up(conn, level, until) is None:
                        break

    async def turn(self) -> None:
        """Make the days ahead and drop old ones."""
        try:
            await self.turn_once()
        except StoreError as error:
            log.warning("days of samples not turned", extra={"error": str(error)})

    async def turn_once(self) -> None:
        """Once. Raises StoreError."""
        async with self._database.acquire() as conn:
            await timeseries.ensure(conn, self._now().date())
            await timeseries.retire(conn, self._now(), self.kept_days())
            await alarm_store.retire(conn, self._now() - timedelta(days=self.config.alarm_days))

    def hurry(self) -> None:
        """Look at all devices now, and see whether there are new ones: for demonstrations, where somebody waits for it."""
        self.roster.wake.set()
        self.poller.hurry()

    def current(self, device_id: int) -> CurrentDevice | None:
        """What is known of a device now; None: this node does not poll it."""
        return self.poller.current(device_id)

    def kept_days(self) -> Mapping[str, int]:
        """For how many days samples and their sums are kept, by :func:`netd.store.timeseries.level_of`."""
        return self.config.kept_days()

    def reach_seconds(self) -> int:
        """How often it is asked whether a device is there."""
        return self.config.reach_seconds

    def scrape_address(self, device_id: int) -> str:
        """Where the node is scraped that polls a device; "" if that is not known."""
        return self.shares.scrape_address(device_id)

    def parts(self) -> list[Part]:
        """For the health page."""
        if not self.config.enabled:
            return []
        return [*self.poller.parts(), *(self.export.parts() if self.export is not None else ())]

    def register(self, metrics: Metrics) -> None:
        """Add all series."""
        if self.config.enabled:
            self.transport.register(metrics)
            self.poller.register(metrics)
            self.writer.register(metrics)
            self.alarms.register(metrics)
            if self.export is not None:
                self.export.register(metrics)
            metrics.gauge("netd_poll_shards", "Of 256 parts of the devices, those that this node polls", lambda: len(self.shares.held))
