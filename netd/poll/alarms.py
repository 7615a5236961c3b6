"""Alarms of the devices that this node polls: which thresholds hold for which, what is measured against them, and what of it is news for the store."""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Final

from netd.domain import alarms as domain
from netd.domain.alarms import OF_DEVICE, OF_INTERFACE
from netd.domain.imports import Slices
from netd.domain.telemetry import STALE_PERIODS
from netd.errors import StoreError, StoreUnavailable
from netd.metrics import Counts, Metrics
from netd.model.telemetry import Aspect, Threshold
from netd.poll.alarming import UNREACHABLE, Alarming, Change, Key, Rule
from netd.poll.counters import utilisation_percent
from netd.poll.watched import Port, Watched
from netd.store import alarms as store
from netd.store import devices as device_store
from netd.store import telemetry
from netd.store.alarms import Raised
from netd.store.database import Database

log = logging.getLogger(__name__)

READ_SECONDS: Final = 15.0
WRITE_SECONDS: Final = 2.0
MOST_WAITING: Final = 20_000
CHAIN_MOST: Final = 32
ELSEWHERE_SECONDS: Final = READ_SECONDS + 5.0
"""How long what another node finds out takes until it is read here: a ping, its way into the store, and the next reading."""


class Alarms:
    """``down_seconds`` is how long a device must be away, ``period_seconds`` how often that is looked at; ``devices`` are the roster's."""

    def __init__(
        self, database: Database, devices: Mapping[int, Watched], *, down_seconds: float, period_seconds: float, now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self.changes = Counts()
        self._database = database
        self._devices = devices
        self._now = now
        self._clock = clock
        self._period_seconds = period_seconds
        self._unreachable = Rule(
            id=UNREACHABLE, name="unreachable", metric="reach", raise_level=0.5, clear_level=0.5, hold_seconds=down_seconds, severity="critical"
        )  # fmt: skip
        self._alarming = Alarming(self._behind_one_that_is_down)
        self._rules: dict[int, list[Rule]] = {}  # by device
        self._down_elsewhere: frozenset[int] = frozenset()
        self._parents: Mapping[int, int] = {}  # of all devices
        self._opened: set[int] = set()  # devices whose alarms of before are known
        self._waiting: deque[tuple[int, Change]] = deque()
        self._storing = asyncio.Lock()  # nothing is written between what is read of the store and what is made of it

    # -- what is measured ------------------------------------------------------------------------------------------------

    def looked(self, watched: Watched, read: Set[Aspect]) -> None:
        """A device was looked at, or pinged: what was ``read`` in that is judged, and nothing that is known from before."""
        device, now, at = watched.device, self._clock(), self._now()
        if device.id not in self._opened:
            return  # what is open is not known yet: nothing may be raised twice, or be left open
        for rule in (*self._rules.get(device.id, ()), self._reach(watched)):
            if _aspect(rule.metric) not in read:
                continue
            for change in self._alarming.observe(device.id, rule, list(_values(rule, watched)), now, at):
                self._changed(watched, change)

    def _changed(self, watched: Watched, change: Change) -> None:
        self.changes[change.what] += 1
        self._waiting.append((watched.device.tenant_id, change))
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self.changes["lost"] += 1

    def went(self, watched: Watched) -> None:
        """This node does not poll it any more."""
        self._alarming.forget(watched.device.id)
        self._opened.discard(watched.device.id)

    def _reach(self, watched: Watched) -> Rule:
        """A device behind another one waits a look longer: until then it is known whether that one is away; if another node looks at that, until it is read."""
        if watched.device.parent_id is None:
            return self._unreachable
        elsewhere = any(each not in self._devices for each in self._above(watched.device.id))
        held = self._unreachable.hold_seconds + self._period_seconds + (ELSEWHERE_SECONDS if elsewhere else 0.0)
        return Rule(id=UNREACHABLE, name="unreachable", metric="reach", raise_level=0.5, clear_level=0.5, hold_seconds=held, severity="critical")

    def _behind_one_that_is_down(self, device_id: int) -> bool:
        for parent in self._above(device_id):
            above = self._devices.get(parent)
            if parent in self._down_elsewhere or (above is not None and above.up is False):
                return True
        return False

    def _above(self, device_id: int) -> Iterator[int]:
        """What it is reached through, the next one first."""
        parent = self._parent(device_id)
        for _ in range(CHAIN_MOST):
            if parent is None:
                return
            yield parent
            parent = self._parent(parent)

    def _parent(self, device_id: int) -> int | None:
        """What it is reached through, also where another node polls it: a silenced one in between has no alarm of its own to be known by."""
        watched = self._devices.get(device_id)
        return self._parents.get(device_id) if watched is None else watched.device.parent_id

    # -- the store -------------------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Learn which thresholds hold for which devices, and what is open; if the store is away, what was known goes on."""
        try:
            await self._read()
        except StoreError as error:
            log.warning("thresholds not read", extra={"error": str(error)})

    async def _read(self) -> None:
        for ended in await domain.end_groundless(self._database, self._now()):
            self._alarming.close((ended.device_id, ended.threshold_id or UNREACHABLE, ended.subject))
        here = frozenset(self._devices)  # one that joins meanwhile is for the next time: neither its thresholds nor its alarms are known whole
        rules: dict[int, list[Rule]] = defaultdict(list)
        in_force: dict[int, set[int]] = {}
        slices = Slices()
        async with self._storing:
            async with self._database.transaction() as conn:
                for each in await store.in_force(conn):
                    rule = _rule(each)
                    for device_id, _ in await device_store.selected(conn, each.tenant_id, each.selector):
                        await slices.breathe()
                        if device_id in here and self._is_read(device_id, rule):
                            rules[device_id].append(rule)
                for device_id in here:
                    await slices.breathe()
                    in_force[device_id] = {rule.id for rule in rules.get(device_id, ())}
                open_ = await store.standing(conn)
                self._parents = await device_store.parents(conn)
                elsewhere = frozenset(self._parents.values()) - self._devices.keys()
                silent = await telemetry.silent(conn, elsewhere, self._now() - timedelta(seconds=STALE_PERIODS * self._period_seconds)) if elsewhere else ()
            self._agree(here, open_)
        self._opened |= here
        self._rules = rules
        for change in self._alarming.retain(in_force, self._now()):
            if change.key[0] in self._devices:
                self._changed(self._devices[change.key[0]], change)
        self._down_elsewhere = frozenset((*silent, *(device for device, threshold, *_ in open_ if threshold is None and device not in self._devices)))

    def _is_read(self, device_id: int, rule: Rule) -> bool:
        """Whether what a rule is about is asked of a device at all: else its alarms would stay for ever."""
        watched = self._devices.get(device_id)
        return watched is None or not watched.groups or _aspect(rule.metric) in watched.groups

    def _agree(self, here: Collection[int], open_: Sequence[store.Standing]) -> None:
        """Take for raised what the store has, apart from changes that are on their way there: it was raised before this process began, or by another node,
        or what became of it was lost; the next look says whether it is over. What it does not have is raised anew, if it is still so."""
        on_their_way = {change.key for _, change in self._waiting}
        stored: set[Key] = set()
        for device_id, threshold_id, subject, name, severity in open_:
            if device_id in here:
                key = (device_id, threshold_id or UNREACHABLE, subject)
                stored.add(key)
                if key not in on_their_way and not self._alarming.is_raised(key):
                    self._alarming.open(key, Rule(id=key[1], name=name, metric="", raise_level=0.0, clear_level=0.0, severity=severity))
        for key in self._alarming.raised():
            if key not in stored and key not in on_their_way:
                self._alarming.close(key)

    async def write(self) -> None:
        """Write what was raised and is over, in order; if the store is away, it waits."""
        async with self._storing:
            await self._write()

    async def _write(self) -> None:
        while self._waiting:
            tenant_id, first = self._waiting[0]
            batch: list[Change] = []
            for tenant, change in self._waiting:
                if (tenant, change.what) != (tenant_id, first.what) or len(batch) == 500:
                    break
                batch.append(change)
            try:
                await domain.write(self._database, tenant_id, first.what, [_raised(change) for change in batch])
            except StoreUnavailable:
                return
            except StoreError as error:
                self.changes["lost"] += len(batch)
                log.error("alarms refused by the database", extra={"alarms": len(batch), "error": str(error)})
            for _ in batch:
                self._waiting.popleft()

    def register(self, metrics: Metrics) -> None:
        """Add the series of alarms."""
        metrics.gauge("netd_alarms_raised", "Alarms of devices that this node polls", lambda: len(self._alarming))
        metrics.counter_of("netd_alarm_changes", "Alarms raised and cleared, and changes that were lost", lambda: self.changes, ("what",))


def _rule(threshold: Threshold) -> Rule:
    return Rule(**{name: getattr(threshold, name) for name in Rule.__struct_fields__})


def _raised(change: Change) -> Raised:
    device_id, threshold_id, subject = change.key
    return Raised(
        device_id=device_id, threshold_id=threshold_id or None, subject=subject, name=change.rule.name, severity=change.rule.severity, value=change.value,
        at=change.at,
    )  # fmt: skip


def _aspect(metric: str) -> Aspect:
    """In what a metric is read."""
    return "reach" if metric == "reach" else "system" if metric in OF_DEVICE else "interfaces" if metric in OF_INTERFACE else "optics"


def _values(rule: Rule, watched: Watched) -> Iterator[tuple[str, float | None]]:
    """What a rule looks at: (subject, value)."""
    if rule.metric == "reach":
        yield "", None if watched.up is None else float(not watched.up)
    elif rule.metric in OF_DEVICE:
        yield "", _of_device(rule.metric, watched)
    elif rule.metric in OF_INTERFACE:
        for name, port in watched.ports.items():
            if port.monitored and (rule.interfaces is None or fnmatchcase(name, rule.interfaces)):
                yield name, _of_port(rule.metric, port)
    else:
        for each in watched.optics:
            name = each.interface if each.onu is None else f"{each.interface} {each.onu}"
            if rule.interfaces is None or fnmatchcase(name, rule.interfaces):
                yield name, getattr(each, rule.metric)


def _of_device(metric: str, watched: Watched) -> float | None:
    sample = watched.system
    if sample is None:
        return None
    if metric == "memory_percent":
        used, total = sample.memory_used_octets, sample.memory_total_octets
        return 100 * used / total if used is not None and total else None
    value: float | None = getattr(sample, metric)
    return value


def _of_port(metric: str, port: Port) -> float | None:
    sample, rates = port.look.sample, port.rates
    if metric == "oper_down":
        return None if sample.oper_up is None else float(sample.admin_up is not False and not sample.oper_up)
    if rates is None:
        return None
    if metric == "utilisation_percent":
        return utilisation_percent(rates.in_bps, rates.out_bps, sample.speed_bps)
    parts = {"errors": ("in_errors", "out_errors"), "discards": ("in_discards", "out_discards")}.get(metric, (metric,))
    known = [value for value in (getattr(rates, part) for part in parts) if value is not None]
    return float(sum(known)) if known else None
