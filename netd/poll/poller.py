"""Polling: every device at its slots, each in a task of its own, within a bound; what it says goes to the writer, the inventory and memory.

A look never waits for the store, and a device that is slow, silent or babbling costs one task until its deadline.
"""

import asyncio
import contextlib
import logging
import resource
import time
from collections.abc import Awaitable, Callable, Mapping, Set
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from netd.config import PollConfig
from netd.device.agent import ErrorStatus
from netd.device.snmp import BULK, Snmp, SnmpTransport
from netd.domain.facts import Observation
from netd.domain.ports import Part
from netd.domain.recognition import Recogniser
from netd.domain.telemetry import STALE_PERIODS
from netd.errors import ExtensionError, PeerError, PeerUnreachable
from netd.metrics import Counts, Metrics
from netd.model.telemetry import Aspect, CurrentDevice
from netd.poll.reader import Guard, Reader
from netd.poll.roster import Roster
from netd.poll.schedule import Schedule
from netd.poll.watched import Watched, Wrong
from netd.poll.writer import Writer, real, whole

log = logging.getLogger(__name__)

IDENTITY: Final = "identity"
PING: Final = "ping"
ORDER: Final[tuple[Literal["identity", "system", "interfaces", "optics"], ...]] = (IDENTITY, "system", "interfaces", "optics")
REACH: Final[frozenset[Aspect]] = frozenset(("reach",))
IDLE_SECONDS: Final = 1.0
SPARED_MOST: Final = 15
"""Looks in a row in which a group is left out that was wrong the last time."""

FULL_PATIENCE_EVERY: Final = 4
"""Of the looks in a row at a device that does not answer pings either, those in which it is waited for as for others."""

SESSIONS_MOST: Final = 8000
"""SNMP sockets that are kept open, if the process may have twice as many files; beyond that a device gets a new one for each look."""


Work = Callable[[Watched, tuple[str, ...]], Awaitable[bool]]
"""What is done with a device that is due, with its groups that are; whether it went well."""


class Ping(Protocol):
    """Whether somebody is there, as :class:`netd.device.ping.Pinger`."""

    async def round_trip(self, address: Any) -> float | None: ...


class Poller:
    """Polls the devices of a roster. ``clock`` is monotonic, ``now`` the time of day."""

    def __init__(
        self, config: PollConfig, transport: SnmpTransport, pinger: Ping, writer: Writer, guard: Guard, recogniser: Recogniser, *,
        now: Callable[[], datetime], clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.snmp = Schedule()
        self.reach = Schedule()
        self.looks = Counts()  # by outcome
        self.pings = Counts()
        self.seconds = 0.0  # that looks took, all together
        self.looked: Callable[[Watched, Set[Aspect]], None] = lambda watched, read: None  # called after each look and ping, with what was read in it
        self._config = config
        self._transport = transport
        self._pinger = pinger
        self._writer = writer
        self._recogniser = recogniser
        self._now = now
        self._clock = clock
        self._reader = Reader(guard, clock)
        self._roster: Roster
        self._sessions = 0
        self._sessions_most = min(SESSIONS_MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def attach(self, roster: Roster) -> None:
        """Say whose devices are polled; ``came`` and ``went`` are its callbacks."""
        self._roster = roster

    # -- who is polled ---------------------------------------------------------------------------------------------------

    def came(self, watched: Watched) -> None:
        """A device is new, or other than before."""
        now, device = self._clock(), watched.device
        config = self._config
        floor: Mapping[str, float] = {"system": config.system_seconds, "interfaces": config.interfaces_seconds, "optics": config.optics_seconds}
        periods: dict[str, float] = {IDENTITY: float(config.identity_seconds)}
        known, watched.groups = bool(watched.groups), {}
        if watched.driver is not None and watched.platform is not None:
            with contextlib.suppress(ExtensionError), self._reader.guard(watched.platform.vendor):
                for group in watched.driver.groups():
                    if not group.opt_in or group.name in device.poll_groups:
                        watched.groups[group.name] = group
                        periods[group.name] = float(max(floor[group.name], group.period_seconds))
        fresh = device.id not in self.snmp
        self.snmp.put(device.id, periods, now)
        self.reach.put(device.id, {PING: float(config.reach_seconds)}, now)
        if watched.driver is None if fresh else watched.groups and not known:
            self.snmp.at_once(device.id, now)  # nobody knows yet what it is, or it is known since just now; at a start they keep to their slots
        self._wake.set()

    def went(self, watched: Watched) -> None:
        """A device is not this node's to poll any more."""
        self.snmp.remove(watched.device.id)
        self.reach.remove(watched.device.id)
        self._drop(watched)

    def hurry(self) -> None:
        """Look at every device now, whenever it is due."""
        now = self._clock()
        for schedule in (self.snmp, self.reach):
            for key in sorted(schedule.keys()):
                schedule.at_once(key, now)
        self._wake.set()

    def current(self, device_id: int) -> CurrentDevice | None:
        """What is known of a device now; None: this node does not poll it."""
        watched = self._roster.devices.get(device_id)
        return None if watched is None else watched.current(self.snmp.missed_by.get(device_id, 0), self._stale(watched))

    def _stale(self, watched: Watched) -> tuple[Aspect, ...]:
        """What was not read for so long that it is no longer what is."""
        now, key = self._now(), watched.device.id
        read: tuple[tuple[Aspect, datetime | None, float | None], ...] = (
            ("reach", watched.up_at, self._config.reach_seconds), ("system", watched.system_at, self.snmp.period(key, "system")),
            ("interfaces", watched.interfaces_at, self.snmp.period(key, "interfaces")), ("optics", watched.optics_at, self.snmp.period(key, "optics")),
        )  # fmt: skip
        return tuple(name for name, at, period in read if at is not None and (period is None or (now - at).total_seconds() > STALE_PERIODS * period))

    def watched(self, device_id: int) -> Watched | None:
        """The device, if this node polls it."""
        return self._roster.devices.get(device_id)

    # -- when ------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Poll, for ever; cancelled, it ends what is under way."""
        snmp, reach = asyncio.Semaphore(self._config.in_flight), asyncio.Semaphore(self._config.in_flight)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._drive(self.snmp, snmp, self.look), name="polling")
                group.create_task(self._drive(self.reach, reach, self.ping), name="pinging")
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _drive(self, schedule: Schedule, room: asyncio.Semaphore, work: Work) -> None:
        while True:
            await room.acquire()
            taken = schedule.take(self._clock())
            if taken is None:
                room.release()
                await self._until_due(schedule)
                continue
            key, groups = taken
            watched = self._roster.devices.get(key)
            if watched is None:
                room.release()
                schedule.done(key, self._clock(), ok=True)
                continue
            task = asyncio.create_task(self._one(schedule, room, watched, groups, work), name=f"device-{key}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _until_due(self, schedule: Schedule) -> None:
        at = schedule.next_at()
        wait = IDLE_SECONDS if at is None else min(max(at - self._clock(), 0.001), IDLE_SECONDS)
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._wake.wait()

    async def _one(self, schedule: Schedule, room: asyncio.Semaphore, watched: Watched, groups: tuple[str, ...], work: Work) -> None:
        key, ok = watched.device.id, False
        try:
            ok = await work(watched, groups)
        except Exception:  # barrier: one device must not end the polling of all others
            log.exception("a look at a device failed", extra={"device": key})
            self.looks["failed"] += 1
        finally:
            schedule.done(key, self._clock(), ok=ok)
            room.release()

    # -- what ------------------------------------------------------------------------------------------------------------

    async def ping(self, watched: Watched, groups: tuple[str, ...]) -> bool:
        """Ask whether it is there. One that hides from pings but answers SNMP is. Always True: who is away is asked at every slot."""
        if watched.target is None:
            return True
        took = await self._pinger.round_trip(watched.target.address)
        ended = self._clock()
        by_snmp = watched.snmp_at is not None and ended - watched.snmp_at < STALE_PERIODS * self._config.system_seconds
        was, watched.up = watched.up, took is not None or by_snmp
        watched.up_at, watched.rtt_ms = self._now(), None if took is None else took * 1000
        if watched.up and not was:
            self.snmp.forgive(watched.device.id)
        self.pings["up" if watched.up else "down"] += 1
        device = watched.device
        self._writer.add("reach_samples", [
            (device.tenant_id, device.id, watched.up_at, watched.up, real(watched.rtt_ms), float(self._config.reach_seconds))
        ])  # fmt: skip
        self.looked(watched, REACH)
        return True

    async def look(self, watched: Watched, groups: tuple[str, ...]) -> bool:
        """Read what is due; whether the device answered. What its agent refuses to tell is told as the look's error, and asked for at the next slot anew."""
        begun = self._clock()
        outcome = "ok"
        read: set[Aspect] = {"reach"}
        try:
            async with asyncio.timeout(self._config.deadline_seconds):
                watched.last_error = await self._read(watched, groups, read)
                outcome = "incomplete" if watched.last_error else "ok"
        except TimeoutError:
            outcome, watched.last_error = "deadline", f"not read within {self._config.deadline_seconds} s"
        except PeerUnreachable as error:
            outcome, watched.last_error = error.reason, str(error)
        except PeerError as error:
            outcome, watched.last_error = "refused", str(error)
        except ExtensionError as error:
            outcome, watched.last_error = "driver", str(error)
        answered = outcome in ("ok", "incomplete")
        if answered:
            watched.snmp_at = self._clock()
        else:
            watched.snmp_at = None
            self._drop(watched)
            self._roster.doubt(watched)
        self.looks[outcome] += 1
        self.seconds += self._clock() - begun
        self.looked(watched, read)
        return answered

    async def _read(self, watched: Watched, groups: tuple[str, ...], read: set[Aspect]) -> str:
        """Read the groups, and add to ``read`` what was; what the agent breaks off or gets wrong in one keeps no other from being read, and is what is
        returned. One that is wrong is left out for more and more looks. Raises PeerError if nothing of use was read: then the device is left alone."""
        session = await self._session(watched)
        wrong: list[str] = []  # no errors: their tracebacks hold this frame
        asked = done = broken = 0
        try:
            for name in ORDER:
                if name not in groups:
                    continue
                was = watched.wrong.get(name)
                if was is not None and was.spared:
                    watched.wrong[name] = was._replace(spared=was.spared - 1)
                    wrong.append(was.error)
                    continue
                asked += 1
                try:
                    if name == "identity":
                        await self._identity(watched, session)
                    elif watched.driver is not None and name in watched.groups:
                        await getattr(self, f"_{name}")(watched, session, watched.driver)
                        read.add(name)
                    done += 1
                    watched.wrong.pop(name, None)
                except PeerUnreachable:
                    raise
                except ErrorStatus as error:  # said at once, and costs nothing
                    wrong.append(str(error))
                    broken += 1
                    watched.wrong.pop(name, None)
                except PeerError as error:
                    wrong.append(str(error))
                    times = 1 if was is None else was.times + 1
                    watched.wrong[name] = Wrong(times, min(2**times - 1, SPARED_MOST), str(error))
        finally:
            self._learn(watched, session)
        if asked and not done and not broken:
            raise PeerError(wrong[-1])
        return wrong[0] if wrong else ""

    def _learn(self, watched: Watched, session: Snmp) -> None:
        """Remember how many rows at a time it bears, also of a look that came to nothing: else the next one begins with too many again."""
        if watched.target is not None and session.bulk != (watched.target.snmp_bulk or BULK):
            self._roster.bulk(watched, session.bulk)

    async def _session(self, watched: Watched) -> Snmp:
        """The one that is open, else one with the profile that is answered."""
        target, session = watched.target, watched.session
        if target is None:
            raise PeerUnreachable(f"device {watched.device.id} cannot be reached yet: its credentials are not read", "invalid")
        if session is not None:
            if (session.target.address, session.target.credentials) == (target.address, target.credentials):
                return session
            self._drop(watched)
        # Many that are away at once, each with several profiles, must not keep those that are there waiting; yet who hides from pings may just be slow.
        quick = watched.up is False and self.snmp.failures(watched.device.id) % FULL_PATIENCE_EVERY != 0
        session = await self._transport.connect(target, attempts=1 if quick else None)
        self._roster.opened(watched, session.credential.id)
        if self._sessions < self._sessions_most and self._roster.devices.get(watched.device.id) is watched:
            self._sessions += 1
            watched.session = session
        return session

    def _drop(self, watched: Watched) -> None:
        if watched.session is not None:
            watched.session = None
            self._sessions -= 1

    async def _identity(self, watched: Watched, session: Snmp) -> None:
        said = await self._reader.identity(watched, session)
        session.trust()
        platform = self._recogniser.recognise(said.sys_object_id, said.sys_descr)
        name = None if platform is None else platform.platform.name
        self._roster.observe(
            watched, Observation(device_id=watched.device.id, source="snmp", at=self._now(), facts=said.facts, platform=name)
        )  # fmt: skip

    async def _system(self, watched: Watched, session: Snmp, driver: Any) -> None:
        sample = await self._reader.system(watched, session, driver)
        if sample is None:
            return
        watched.system, watched.system_at = sample, self._now()
        self._writer.add("device_samples", [(
            watched.device.tenant_id, watched.device.id, watched.system_at, whole(sample.uptime_seconds), real(sample.cpu_percent),
            whole(sample.memory_used_octets), whole(sample.memory_total_octets), real(sample.temperature_celsius), real(sample.voltage_volts),
            real(sample.power_watts),
        )])  # fmt: skip

    async def _interfaces(self, watched: Watched, session: Snmp, driver: Any) -> None:
        read = await self._reader.interfaces(watched, session, driver)
        at = self._now()
        period = self.snmp.period(watched.device.id, "interfaces") or self._config.interfaces_seconds
        watched.take_interfaces(read.samples, read.at, at, read.uptime, STALE_PERIODS * period)
        if watched.news() or any(port.id is None for port in watched.ports.values()):
            samples = tuple(port.look.sample for port in watched.ports.values())
            self._roster.observe(watched, Observation(device_id=watched.device.id, source="snmp", at=at, interfaces=samples))
        tenant_id, device_id = watched.device.tenant_id, watched.device.id
        self._writer.add("interface_samples", [
            (
                tenant_id, device_id, port.id, at, None if rates is None else real(rates.seconds), *(
                    (None,) * 8 if rates is None else (
                        whole(rates.in_bps), whole(rates.out_bps), real(rates.in_pps), real(rates.out_pps), real(rates.in_errors),
                        real(rates.out_errors), real(rates.in_discards), real(rates.out_discards),
                    )
                ), port.look.sample.oper_up, whole(port.look.sample.speed_bps),
            )
            for port in watched.ports.values() for rates in (port.rates,) if port.id is not None and port.monitored
        ])  # fmt: skip

    async def _optics(self, watched: Watched, session: Snmp, driver: Any) -> None:
        watched.optics = await self._reader.optics(watched, session, driver)
        watched.optics_at = self._now()
        self._writer.add("optics_samples", [
            (
                watched.device.tenant_id, watched.device.id, each.interface[:255], each.onu, watched.optics_at, real(each.rx_dbm), real(each.tx_dbm),
                real(each.olt_rx_dbm), real(each.temperature_celsius), real(each.voltage_volts), real(each.bias_milliamperes),
                each.distance_metres if each.distance_metres is not None and 0 <= each.distance_metres < 2**31 else None,
            )
            for each in watched.optics
        ])  # fmt: skip

    # -- how it stands ---------------------------------------------------------------------------------------------------

    def parts(self) -> list[Part]:
        """For the health page: degraded while samples wait for the database."""
        waiting = self._writer.waiting
        late = waiting > self._config.buffer_rows // 2
        detail = f"{len(self._roster.devices)} devices" + (f"; {waiting} samples wait for the database" if late else "")
        return [Part(name="polling", state="degraded" if late or self._roster.last_error else "ok", detail=self._roster.last_error or detail)]

    def register(self, metrics: Metrics) -> None:
        """Add the series of polling."""
        devices = self._roster.devices
        metrics.gauge("netd_poll_devices", "Devices that this node polls", lambda: len(devices))
        metrics.gauge("netd_poll_devices_down", "Devices that do not answer", lambda: sum(each.up is False for each in devices.values()))
        metrics.gauge("netd_poll_running", "Looks at devices under way", lambda: self.snmp.running)
        metrics.counter_of("netd_poll_looks", "Looks at devices by outcome", lambda: self.looks, ("outcome",))
        metrics.counter_of("netd_poll_look_seconds", "Time that looks at devices took", lambda: self.seconds)
        metrics.counter_of("netd_poll_pings", "Whether devices were there", lambda: self.pings, ("outcome",))
        metrics.counter_of("netd_poll_missed_slots", "Slots in which a device was not looked at, for it was still busy or there was no time",
                           lambda: {"snmp": self.snmp.missed, "ping": self.reach.missed}, ("kind",))  # fmt: skip
        metrics.counter_of("netd_poll_held_slots", "Slots of devices that are left alone because they did not answer", lambda: self.snmp.held)
