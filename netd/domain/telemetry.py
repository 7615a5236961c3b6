"""What devices were measured to do, as it is asked for: now, by time, over a span, and who has most. Answers have a bounded number of points."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from netd.domain import devices, inventory
from netd.domain.actor import Actor
from netd.domain.ports import Polling
from netd.errors import Fault, InvalidInput
from netd.model.device import DeviceSample, InterfaceSample
from netd.model.telemetry import Aspect, Availability, CurrentDevice, CurrentInterface, Rates, Series, Talker, Utilisation
from netd.store import device_reports, telemetry
from netd.store import series as store
from netd.store.database import Database
from netd.store.device_reports import Selected
from netd.store.timeseries import LEVELS

STEPS: Final = (60, 300, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400, 604_800, 2_592_000)
SOURCES: Final = (("1d", 86_400), ("1h", 3600), ("5m", 300), ("samples", 0))
LONGEST: Final = timedelta(days=3660)
FRESH: Final = timedelta(hours=2)
"""Samples older than this are not the state of now."""

SUMS_MOST: Final = 10_000_000
"""Sums that one answer about all interfaces, or one report of them, is made of: of what would need more the sums of longer spans are taken."""

SAMPLE_SECONDS: Final = 60
"""As often as interfaces are measured, unless somebody set something else."""

STALE_PERIODS: Final = 2.5
"""What was not read for so many times as long as it should have been is what was, and not what is."""

Moment = Annotated[datetime, Meta(tz=True)]
DeviceMetric = Literal["cpu_percent", "memory_percent", "temperature_celsius", "voltage_volts", "power_watts", "reach"]
InterfaceMetric = Literal["in_bps", "out_bps", "in_pps", "out_pps", "in_errors", "out_errors", "in_discards", "out_discards"]


class SpanQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A span of time: the last day, unless something else is said."""

    since: Moment | None = None
    until: Moment | None = None


class DeviceSeriesQuery(SpanQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which metric of a device, and about how many points at the most."""

    metric: DeviceMetric
    points: Annotated[int, Meta(ge=1, le=2000)] = 300


class InterfaceSeriesQuery(SpanQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rate of an interface (errors and discards per second), and about how many points at the most."""

    metric: InterfaceMetric
    points: Annotated[int, Meta(ge=1, le=2000)] = 300


class OpticsSeriesQuery(SpanQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which figure of a transceiver, or of an ONU (``onu``: its place as /telemetry shows it), and about how many points at the most."""

    metric: Literal["rx_dbm", "tx_dbm", "olt_rx_dbm", "temperature_celsius", "voltage_volts", "bias_milliamperes"]
    interface: Annotated[str, Meta(min_length=1, max_length=255)]
    onu: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    points: Annotated[int, Meta(ge=1, le=2000)] = 300


class TopQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which interfaces have most of something: the last quarter of an hour, unless something else is said."""

    by: Literal["traffic", "in_bps", "out_bps", "utilisation", "errors"] = "traffic"
    since: Moment | None = None
    until: Moment | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 10


class Talkers(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: the first has most."""

    since: datetime
    until: datetime
    items: tuple[Talker, ...]


def span(query: SpanQuery | TopQuery, now: datetime, default: timedelta) -> tuple[datetime, datetime]:
    """The span that is meant. Raises InvalidInput for one that is none."""
    until = query.until or now
    since = query.since or until - default
    if not timedelta(0) < until - since <= LONGEST:
        raise InvalidInput((Fault("/since", "must be before until, and no more than ten years"),))
    return since, until


def resolution(since: datetime, until: datetime, now: datetime, points: int, kept_days: Mapping[str, int]) -> tuple[str, int]:
    """(source, step in seconds): the finest step that makes no more than ``points`` of them, of the coarsest source that has it and is still kept."""
    seconds = (until - since).total_seconds()
    # A span that begins in the middle of a step touches one more.
    step = next((each for each in STEPS if seconds / each + 1 <= max(points, 2)), 0) or _whole(seconds / max(points - 1, 1), STEPS[-1])
    age = now - since
    for source, level in reversed(SOURCES):
        if age <= timedelta(days=kept_days["raw" if source == "samples" else source]) or source == "1d":
            step = max(step, level)
            break
    return next(source for source, level in SOURCES if level <= step), step


def _whole(value: float, unit: int) -> int:
    return int(-(-value // unit)) * unit


def _began(since: datetime, step_seconds: int) -> datetime:
    """The beginning of the step in which a span begins: half a step would be told as a whole one."""
    origin = datetime(2000, 1, 1, tzinfo=UTC)
    step = timedelta(seconds=step_seconds)
    return origin + (since - origin) // step * step


async def device_series(db: Database, actor: Actor, polling: Polling, device_id: int, query: DeviceSeriesQuery, now: datetime) -> Series:
    """A metric of a device by time. Raises NotFound, InvalidInput."""
    since, until = span(query, now, timedelta(days=1))
    source, step = resolution(since, until, now, query.points, polling.kept_days())
    since = _began(since, step)
    columns: tuple[str, ...]
    async with db.transaction(actor.scope) as conn:
        await devices.held(conn, actor, device_id)
        if query.metric == "reach":
            columns = ("at", "up_percent", "looks", "rtt_ms_avg", "rtt_ms_max")
            points = await store.reach(conn, actor.tenant_id, device_id, source, since, until, step)
        else:
            columns = ("at", "avg", "min", "max", "p95")
            points = await store.device(conn, actor.tenant_id, device_id, query.metric, source, since, until, step)
    return Series(source=source, step_seconds=step, columns=columns, points=tuple(points))


async def interface_series(db: Database, actor: Actor, polling: Polling, interface_id: int, query: InterfaceSeriesQuery, now: datetime) -> Series:
    """A rate of an interface by time. Raises NotFound, InvalidInput."""
    since, until = span(query, now, timedelta(days=1))
    source, step = resolution(since, until, now, query.points, polling.kept_days())
    async with db.transaction(actor.scope) as conn:
        await inventory.held_interface(conn, actor, interface_id)
        points = await store.interface(conn, actor.tenant_id, interface_id, query.metric, source, _began(since, step), until, step)
    return Series(source=source, step_seconds=step, columns=("at", "avg", "min", "max", "p95"), points=tuple(points))


async def optics_series(db: Database, actor: Actor, device_id: int, query: OpticsSeriesQuery, now: datetime) -> Series:
    """A figure of a transceiver or ONU by time; it has samples only, hourly at the most. Raises NotFound, InvalidInput."""
    since, until = span(query, now, timedelta(days=7))
    seconds = (until - since).total_seconds()
    step = next((each for each in STEPS if seconds / each + 1 <= max(query.points, 2)), 0) or _whole(seconds / max(query.points - 1, 1), STEPS[-1])
    async with db.transaction(actor.scope) as conn:
        await devices.held(conn, actor, device_id)
        points = await store.optics(
            conn, actor.tenant_id, device_id, query.interface, query.onu, query.metric, _began(since, step), until, step,
        )  # fmt: skip
    return Series(source="samples", step_seconds=step, columns=("at", "avg", "min", "max"), points=tuple(points))


def _source(since: datetime, until: datetime, now: datetime, polling: Polling) -> str:
    """What a single figure over a span is made of: raw samples of an hour, else sums of five minutes while there are some."""
    kept = polling.kept_days()
    if until - since <= timedelta(hours=1) and now - since <= timedelta(days=kept["raw"]):
        return "samples"
    return sums(since, now, kept)


def sums(since: datetime, now: datetime, kept_days: Mapping[str, int]) -> str:
    """The finest level of sums that is kept for so long."""
    return next((level for level in ("5m", "1h") if now - since <= timedelta(days=kept_days[level])), "1d")


def level_for(interfaces: int, since: datetime, until: datetime, now: datetime, kept_days: Mapping[str, int]) -> str:
    """Of which level so many interfaces' figures are made: the finest that is kept for so long, and of which they are not too many sums. Pure."""
    finest = sums(since, now, kept_days)
    levels = list(LEVELS)
    for level in levels[levels.index(finest) :]:
        if interfaces * (until - since).total_seconds() / LEVELS[level] <= SUMS_MOST:
            return level
    return levels[-1]


async def utilisation(db: Database, actor: Actor, polling: Polling, interface_id: int, query: SpanQuery, now: datetime) -> Utilisation:
    """How much of an interface was used over a span. Raises NotFound, InvalidInput."""
    since, until = span(query, now, timedelta(days=1))
    async with db.transaction(actor.scope) as conn:
        await inventory.held_interface(conn, actor, interface_id)
        found = await store.utilisation(conn, actor.tenant_id, interface_id, _source(since, until, now, polling), since, until)
    seconds, speed = found.pop("seconds"), found["speed_bps"]
    peaks = [found[name] for name in ("in_bps_p95", "out_bps_p95") if found[name] is not None]
    return Utilisation(
        since=since, until=until, known_percent=percent(seconds, (until - since).total_seconds()),
        p95_percent=round(100 * max(peaks) / speed, 2) if peaks and speed else None, **found,
    )  # fmt: skip


async def availability(db: Database, actor: Actor, polling: Polling, device_id: int, query: SpanQuery, now: datetime) -> Availability:
    """How much of a span a device was there. Raises NotFound, InvalidInput."""
    since, until = span(query, now, timedelta(days=1))
    async with db.transaction(actor.scope) as conn:
        await devices.held(conn, actor, device_id)
        looks, failed, mean, most, seconds, down = await store.looks(
            conn, actor.tenant_id, device_id, _source(since, until, now, polling), since, until, polling.reach_seconds()
        )  # fmt: skip
    return Availability(
        percent=up_percent(seconds, down), looks=looks, failed=failed, rtt_ms_avg=mean, rtt_ms_max=most,
        known_percent=percent(seconds, (until - since).total_seconds()),
    )  # fmt: skip


def up_percent(seconds: float, down_seconds: float) -> float | None:
    """How much of the time in which somebody looked a device was there; None where nobody did."""
    return round(100 * (seconds - down_seconds) / seconds, 4) if seconds else None


def percent(part: float, whole: float) -> float:
    """How much of a span is known; nothing of one that has no length."""
    return round(min(100 * part / whole, 100.0), 2) if whole else 0.0


async def top(db: Database, actor: Actor, polling: Polling, query: TopQuery, now: datetime) -> Talkers:
    """The interfaces that have most of something. Raises InvalidInput."""
    since, until = span(query, now, timedelta(minutes=15))
    async with db.transaction(actor.scope) as conn:
        interfaces = await device_reports.interface_count(conn, actor.tenant_id, Selected(()))
        source = _source(since, until, now, polling)
        if source != "samples" or interfaces * (until - since).total_seconds() / SAMPLE_SECONDS > SUMS_MOST:
            source = level_for(interfaces, since, until, now, polling.kept_days())
        rows = await store.top(conn, actor.tenant_id, query.by, source, since, until, query.limit)
    return Talkers(since=since, until=until, items=tuple(_talker(row) for row in rows))


def _talker(row: Mapping[str, Any]) -> Talker:
    known = [bps for bps in (row["in_bps"], row["out_bps"]) if bps is not None]
    used = round(100 * max(known) / row["speed_bps"], 2) if known and row["speed_bps"] else None
    return Talker(**row, utilisation_percent=used)


async def current(db: Database, actor: Actor, polling: Polling, device_id: int, now: datetime) -> CurrentDevice:
    """A device now: from the memory of the node that polls it, or where another one does, from what that stored last. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        await devices.held(conn, actor, device_id)
        known = polling.current(device_id)
        if known is not None:
            return known
        found = await telemetry.last(conn, actor.tenant_id, device_id, now - FRESH)
    return _stored(device_id, found, now)


def _stored(device_id: int, found: Mapping[str, Any], now: datetime) -> CurrentDevice:
    reach, system, ports = found.get("reach"), found.get("device"), found["interfaces"]
    newest: tuple[tuple[Aspect, Mapping[str, Any] | None], ...] = (
        ("reach", reach), ("system", system), ("interfaces", max(ports, key=lambda each: each["at"], default=None)),
    )  # fmt: skip
    stale = tuple(
        name for name, each in newest
        if each is not None and each["seconds"] is not None and (now - each["at"]).total_seconds() > STALE_PERIODS * each["seconds"]
    )  # fmt: skip
    return CurrentDevice(
        device_id=device_id, source="store", up=None if reach is None else reach["up"], up_at=None if reach is None else reach["at"],
        rtt_ms=None if reach is None else reach["rtt_ms"], system_at=None if system is None else system["at"],
        system=None if system is None else DeviceSample(**{name: system[name] for name in DeviceSample.__struct_fields__}),
        interfaces_at=max((each["at"] for each in ports), default=None), interfaces=tuple(_stored_interface(each) for each in ports),
        stale=stale,
    )  # fmt: skip


def _stored_interface(row: Mapping[str, Any]) -> CurrentInterface:
    said = ("if_index", "name", "alias", "type", "mac", "mtu", "speed_bps", "admin_up", "oper_up")
    rates = None if row["seconds"] is None else Rates(**{name: row[name] for name in Rates.__struct_fields__})
    known = [bps for bps in (row["in_bps"], row["out_bps"]) if bps is not None]
    used = round(100 * max(known) / row["speed_bps"], 2) if known and row["speed_bps"] else None
    return CurrentInterface(
        id=row["id"], at=row["at"], counters=InterfaceSample(**{name: row[name] for name in said}), rates=rates, utilisation_percent=used
    )  # fmt: skip
