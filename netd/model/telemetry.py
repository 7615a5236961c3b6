"""What devices are measured to do: current values, series, alarms."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from netd.model.device import DeviceSample, InterfaceSample, OpticsSample
from netd.model.inventory import Selector

Severity = Literal["warning", "major", "critical"]
AlarmState = Literal["raised", "acknowledged", "cleared"]


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What an interface did per second over ``seconds``; None where its counters do not tell."""

    seconds: float
    in_bps: int | None = None
    out_bps: int | None = None
    in_pps: float | None = None
    out_pps: float | None = None
    in_errors: float | None = None
    out_errors: float | None = None
    in_discards: float | None = None
    out_discards: float | None = None


class CurrentInterface(msgspec.Struct, frozen=True, kw_only=True):
    """An interface at the last look: counters as read, and rates since the look before (None: the first look, or one after a restart).

    ``utilisation_percent`` is of the busier direction. ``id`` is None until the interface is known to the inventory.
    """

    id: int | None
    at: datetime
    counters: InterfaceSample
    rates: Rates | None
    utilisation_percent: float | None


Aspect = Literal["reach", "system", "interfaces", "optics"]
"""What is looked at by itself."""


class CurrentDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device at the last look. ``last_error`` is of the last look that failed, "" after one that did not. ``stale`` names what was read longer ago than
    two and a half times as long as it should have been: it is what was, not what is.

    ``source``: the memory of this node, which polls it, or the store, where counters and optics are not.
    """

    device_id: int
    source: Literal["memory", "store"] = "memory"
    up: bool | None = None
    up_at: datetime | None = None
    rtt_ms: float | None = None
    system_at: datetime | None = None
    system: DeviceSample | None = None
    interfaces_at: datetime | None = None
    interfaces: tuple[CurrentInterface, ...] = ()
    optics_at: datetime | None = None
    optics: tuple[OpticsSample, ...] = ()
    missed_slots: int = 0
    last_error: str = ""
    stale: tuple[Aspect, ...] = ()


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Values by time. A row of ``points`` has a value for each of ``columns``, the first is the beginning of a span of ``step_seconds``. No row: a gap.

    ``source`` is what they were taken from: raw samples, or sums of 5m, 1h, 1d.
    """

    source: str
    step_seconds: int
    columns: tuple[str, ...]
    points: tuple[tuple[Any, ...], ...]


class Utilisation(msgspec.Struct, frozen=True, kw_only=True):
    """How much of an interface was used over a span. The 95th percentile is that of averages over five minutes (of samples within an hour).

    ``p95_percent`` is of the busier direction, ``known_percent`` how much of the span was measured.
    """

    since: datetime
    until: datetime
    speed_bps: int | None
    in_bps_avg: int | None
    in_bps_max: int | None
    in_bps_p95: int | None
    out_bps_avg: int | None
    out_bps_max: int | None
    out_bps_p95: int | None
    p95_percent: float | None
    known_percent: float


class Availability(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a span a device was there. ``percent`` is of the looks that there were, None if there were none; ``known_percent`` of the time."""

    percent: float | None
    known_percent: float
    looks: int
    failed: int
    rtt_ms_avg: float | None
    rtt_ms_max: float | None


class Talker(msgspec.Struct, frozen=True, kw_only=True):
    """An interface and what it did over a span."""

    interface_id: int
    device_id: int
    device: str
    interface: str
    alias: str | None
    in_bps: int | None
    out_bps: int | None
    speed_bps: int | None
    utilisation_percent: float | None
    errors: float | None


class Threshold(msgspec.Struct, frozen=True, kw_only=True):
    """What is not to happen: ``metric`` beyond ``raise_level`` for ``hold_seconds``; it is over once it is back at ``clear_level``."""

    id: int
    tenant_id: int
    name: str
    metric: str
    above: bool
    raise_level: float
    clear_level: float
    hold_seconds: int
    severity: Severity
    selector: Selector
    interfaces: str | None
    enabled: bool
    note: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong, or was. ``subject`` is an interface's name, "" the device itself; ``threshold_id`` None: the device cannot be reached."""

    id: int
    tenant_id: int
    device_id: int
    device: str
    threshold_id: int | None
    subject: str
    name: str
    severity: Severity
    state: AlarmState
    value: float | None
    raised_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    note: str | None
    cleared_at: datetime | None
    version: int
    updated_at: datetime
