"""Alarms as people see them, the thresholds that raise them, and writing what the poller found."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.domain import audit, inputs, lists
from netd.domain.actor import Actor
from netd.domain.devices import with_selector
from netd.domain.inputs import Faults, Label, Note, given
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.errors import Conflict, NotFound
from netd.model.inventory import Selector
from netd.model.telemetry import Alarm, Severity, Threshold
from netd.store import alarms as store
from netd.store import observed
from netd.store.alarms import Raised
from netd.store.database import Connection, Database

OF_DEVICE: Final = ("cpu_percent", "memory_percent", "temperature_celsius", "voltage_volts", "power_watts")
OF_INTERFACE: Final = ("utilisation_percent", "in_bps", "out_bps", "errors", "discards", "oper_down")
OF_OPTICS: Final = ("rx_dbm", "tx_dbm", "olt_rx_dbm")
Metric = Literal[
    "cpu_percent", "memory_percent", "temperature_celsius", "voltage_volts", "power_watts", "utilisation_percent", "in_bps", "out_bps", "errors", "discards",
    "oper_down", "rx_dbm", "tx_dbm", "olt_rx_dbm",
]  # fmt: skip
Hold = Annotated[int, Meta(ge=0, le=86_400)]
Pattern = Annotated[str, Meta(min_length=1, max_length=255, description="of interfaces: a name with * and ?")]


class NewThreshold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is not to happen to which devices: ``metric`` beyond ``raise_level`` for ``hold_seconds``, until it is back at ``clear_level`` (the same).

    ``oper_down`` is 1 for an interface that should be up and is down; errors and discards are per second, both directions together.
    """

    name: Label
    metric: Metric
    raise_level: float
    clear_level: float | None = None
    above: bool = True
    hold_seconds: Hold = 0
    severity: Severity = "warning"
    selector: Selector = Selector()
    interfaces: Pattern | None = None
    enabled: bool = True
    note: Note | None = None


class ThresholdPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a threshold; null takes a value away."""

    name: Label | UnsetType = UNSET
    metric: Metric | UnsetType = UNSET
    raise_level: float | UnsetType = UNSET
    clear_level: float | UnsetType = UNSET
    above: bool | UnsetType = UNSET
    hold_seconds: Hold | UnsetType = UNSET
    severity: Severity | UnsetType = UNSET
    selector: Selector | UnsetType = UNSET
    interfaces: Pattern | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    note: Note | UnsetType | None = UNSET


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That somebody knows of it, and what is to be said of it."""

    note: Note | None = None


AlarmQuery = lists.query_type(store.ALARMS)
ThresholdQuery = lists.query_type(store.THRESHOLDS)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[Alarm]:
    """Alarms, newest first unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.ALARMS, actor.tenant_id, query, store.of)


async def get(db: Database, actor: Actor, alarm_id: int) -> Alarm:
    """The alarm. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await _held(conn, actor, alarm_id)


async def acknowledge(db: Database, actor: Actor, alarm_id: int, said: Acknowledgement, *, version: int | None = None) -> Alarm:
    """Say that somebody knows of an alarm. Raises NotFound; Conflict if it is over, or on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await _held(conn, actor, alarm_id, lock=True)
        inputs.same_version("alarm", before.version, version)
        if before.state == "cleared":
            raise Conflict("the alarm is over")
        await store.acknowledge(conn, actor.tenant_id, alarm_id, actor.name, said.note)
        after = await _held(conn, actor, alarm_id)
        old, new = audit.changes(before, after)
        await audit.record(conn, actor, "alarm.acknowledge", "alarm", alarm_id, before=old, after=new)
    return after


async def _held(conn: Connection, actor: Actor, alarm_id: int, *, lock: bool = False) -> Alarm:
    found = await store.get(conn, actor.tenant_id, alarm_id, lock=lock) if 0 < alarm_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("alarm", alarm_id)
    return found


def _sound(threshold: Mapping[str, Any]) -> None:
    """Raise InvalidInput for one that could never be over, or of interfaces that the metric has none of."""
    faults = Faults()
    raise_level, clear_level = threshold["raise_level"], threshold["clear_level"]
    if clear_level > raise_level if threshold["above"] else clear_level < raise_level:
        faults.add("/clear_level", f"must not be {'above' if threshold['above'] else 'below'} raise_level")
    if threshold["interfaces"] is not None and threshold["metric"] in OF_DEVICE:
        faults.add("/interfaces", f"{threshold['metric']} is of the device")
    faults.check()


async def threshold_page(db: Database, actor: Actor, query: ListQuery) -> Page[Threshold]:
    """Thresholds, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.THRESHOLDS, actor.tenant_id, query, store.thresholds_of)


async def create_threshold(db: Database, actor: Actor, new: NewThreshold) -> Threshold:
    """Make a threshold. Raises InvalidInput; Conflict if the name is taken; OutsideScope for who may not in the whole tenant."""
    async with db.transaction(actor.scope) as conn:
        return await create_threshold_in(conn, actor, new)


async def create_threshold_in(conn: Connection, actor: Actor, new: NewThreshold) -> Threshold:
    """``create_threshold`` within the transaction of ``conn``."""
    members = msgspec.structs.asdict(new)
    members["clear_level"] = new.raise_level if new.clear_level is None else new.clear_level
    _sound(members)
    made = await held_threshold(conn, actor, await store.insert_threshold(conn, actor.tenant_id, with_selector(members)))
    await audit.record(conn, actor, "threshold.create", "threshold", made.id, after=audit.values(made))
    return made


async def get_threshold(db: Database, actor: Actor, threshold_id: int) -> Threshold:
    """The threshold. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await held_threshold(conn, actor, threshold_id)


async def update_threshold(db: Database, actor: Actor, threshold_id: int, patch: ThresholdPatch, *, version: int | None = None) -> Threshold:
    """Change a threshold. Raises NotFound, InvalidInput, OutsideScope; Conflict on a taken name or another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await held_threshold(conn, actor, threshold_id, lock=True, version=version)
        return await update_threshold_in(conn, actor, before, given(patch))


async def update_threshold_in(conn: Connection, actor: Actor, before: Threshold, members: Mapping[str, Any]) -> Threshold:
    """Change a threshold that is locked, within the transaction of ``conn``. Raises InvalidInput."""
    if not members:
        return before
    _sound({**msgspec.structs.asdict(before), **members})
    await store.update_threshold(conn, actor.tenant_id, before.id, with_selector(members))
    after = await held_threshold(conn, actor, before.id)
    old, new = audit.changes(before, after)
    await audit.record(conn, actor, "threshold.update", "threshold", before.id, before=old, after=new)
    return after


async def delete_threshold(db: Database, actor: Actor, threshold_id: int, *, version: int | None = None) -> None:
    """Remove a threshold; the alarms that it raised end within seconds, and stay as history. Raises NotFound; Conflict on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await held_threshold(conn, actor, threshold_id, lock=True, version=version)
        if not await store.delete_threshold(conn, actor.tenant_id, threshold_id):
            raise NotFound("threshold", threshold_id)
        await audit.record(conn, actor, "threshold.delete", "threshold", threshold_id, before=audit.values(before))


async def held_threshold(conn: Connection, actor: Actor, threshold_id: int, *, lock: bool = False, version: int | None = None) -> Threshold:
    """The actor's threshold. Raises NotFound; Conflict on another ``version`` than demanded (None: any)."""
    found = await store.threshold(conn, actor.tenant_id, threshold_id, lock=lock) if 0 < threshold_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("threshold", threshold_id)
    inputs.same_version("threshold", found.version, version)
    return found


# -- for the poller ------------------------------------------------------------------------------------------------------


async def write(db: Database, tenant_id: int, what: Literal["raised", "cleared"], alarms: Sequence[Raised]) -> int:
    """Add or end alarms of a tenant, and tell of those that are news; returns how many. ``db`` is the daemon's own."""
    async with db.transaction() as conn:
        news = await (store.put if what == "raised" else store.clear)(conn, tenant_id, alarms)
        if news:
            await observed.add_events(conn, tenant_id, [(each.device_id, f"alarm.{what}", _told(each)) for each in news])
    return len(news)


async def end_groundless(db: Database, now: datetime) -> list[Raised]:
    """End the alarms that nobody looks after any more, of every tenant, and tell of them."""
    async with db.transaction() as conn:
        ended = await store.groundless(conn, now)
        for tenant_id in {tenant for tenant, _ in ended}:
            await observed.add_events(conn, tenant_id, [(each.device_id, "alarm.cleared", _told(each)) for tenant, each in ended if tenant == tenant_id])
    return [each for _, each in ended]


def _told(alarm: Raised) -> dict[str, Any]:
    return {"name": alarm.name, "severity": alarm.severity, "subject": alarm.subject, "value": alarm.value, "threshold_id": alarm.threshold_id}
