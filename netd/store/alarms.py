"""Thresholds, and the alarms that they raise."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from netd.model.inventory import Selector
from netd.model.telemetry import Alarm, AlarmState, Severity, Threshold
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

_DEVICE = "(select d.hostname from devices d where d.id = a.device_id)"
_SELECT = f"select {', '.join(f'{_DEVICE} as device' if name == 'device' else f'a.{name}' for name in Alarm.__struct_fields__)} from alarms a"
ALARMS = Listing(
    kind="alarm", select=_SELECT, counted="alarms a", tenant="a.tenant_id", id="a.id", descending=True, search="lower(a.name || ' ' || a.subject) like {}",
    columns={
        "id": Column(sql="a.id", kind=int, cast="bigint"), "device_id": Column(sql="a.device_id", kind=int, cast="bigint"),
        "device": Column(sql="(select lower(d.hostname) from devices d where d.id = a.device_id)", param="lower({})"),
        "state": Column(sql="a.state", kind=AlarmState, cast="text", sortable=True), "severity": Column(sql="a.severity", kind=Severity, cast="text"),
        "name": Column(sql="a.name", sortable=True), "subject": Column(sql="a.subject", sortable=True),
        "threshold_id": Column(sql="a.threshold_id", kind=int, cast="bigint", nullable=True),
        "raised_at": Column(sql="a.raised_at", kind=datetime, sortable=True), "cleared_at": Column(sql="a.cleared_at", kind=datetime, nullable=True),
    },
)  # fmt: skip
THRESHOLDS = Listing(
    kind="threshold", select="select * from thresholds", counted="thresholds", tenant="tenant_id", id="id", search="lower(name) like {}",
    columns={"id": Column(sql="id", kind=int, cast="bigint"), "name": Column(sql="lower(name)", param="lower({})", sortable=True),
             "metric": Column(sql="metric", sortable=True), "enabled": Column(sql="enabled", kind=bool),
             "severity": Column(sql="severity", kind=Literal["warning", "major", "critical"], cast="text")},
)  # fmt: skip
_SETTABLE = frozenset((
    "name", "metric", "above", "raise_level", "clear_level", "hold_seconds", "severity", "selector", "interfaces", "enabled", "note",
))  # fmt: skip


class Raised(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm to be written; ``threshold_id`` None: the device cannot be reached."""

    device_id: int
    threshold_id: int | None
    subject: str
    name: str
    severity: str
    value: float | None
    at: datetime


def of(records: Sequence[Mapping[str, Any]]) -> list[Alarm]:
    """Alarms of the listing's records."""
    return [Alarm(**record) for record in records]


def thresholds_of(records: Sequence[Mapping[str, Any]]) -> list[Threshold]:
    """Thresholds of the listing's records."""
    return [Threshold(**{**record, "selector": msgspec.convert(record["selector"], Selector)}) for record in records]


async def get(conn: Connection, tenant_id: int, alarm_id: int, *, lock: bool = False) -> Alarm | None:
    """The alarm; with ``lock`` nobody else changes it until the transaction ends."""
    record = await conn.fetchrow(f"{_SELECT} where a.tenant_id = $1 and a.id = $2{' for update of a' if lock else ''}", tenant_id, alarm_id)
    return None if record is None else Alarm(**record)


async def acknowledge(conn: Connection, tenant_id: int, alarm_id: int, who: str, note: str | None) -> None:
    """Note that somebody knows of it."""
    await conn.execute(
        """update alarms set state = 'acknowledged', acknowledged_at = now(), acknowledged_by = $3, note = coalesce($4, note), version = version + 1,
               updated_at = now() where tenant_id = $1 and id = $2""", tenant_id, alarm_id, who, note,
    )  # fmt: skip


async def threshold(conn: Connection, tenant_id: int, threshold_id: int, *, lock: bool = False) -> Threshold | None:
    """The threshold; with ``lock`` nobody else changes it until the transaction ends."""
    records = await conn.fetch(
        f"select * from thresholds where tenant_id = $1 and id = $2{' for update' if lock else ''}", tenant_id, threshold_id
    )  # fmt: skip
    found = thresholds_of(records)
    return found[0] if found else None


async def threshold_id(conn: Connection, tenant_id: int, name: str) -> int | None:
    """The id of the threshold of this name, in any case of letters."""
    found: int | None = await conn.fetchval("select id from thresholds where tenant_id = $1 and lower(name) = lower($2)", tenant_id, rows.storable(name))
    return found


async def insert_threshold(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> int:
    """Add one; returns its id. Raises Conflict through the transaction if the name is taken."""
    statement, args = rows.insertion("thresholds", _SETTABLE, tenant_id, values)
    return int(await conn.fetchval(f"{statement} returning id", *args))


async def update_threshold(conn: Connection, tenant_id: int, threshold_id: int, values: Mapping[str, Any]) -> None:
    """Set columns."""
    statement, args = rows.update("thresholds", _SETTABLE, tenant_id, threshold_id, values)
    await conn.execute(statement, *args)


async def delete_threshold(conn: Connection, tenant_id: int, threshold_id: int) -> bool:
    """Remove one; whether it was there. Its alarms are history, and those that are open :func:`groundless`."""
    return rows.updated(await conn.execute("delete from thresholds where tenant_id = $1 and id = $2", tenant_id, threshold_id)) > 0


# -- for the poller ------------------------------------------------------------------------------------------------------


async def in_force(conn: Connection) -> list[Threshold]:
    """Every tenant's thresholds that are enabled."""
    return thresholds_of(await conn.fetch("select * from thresholds where enabled order by id"))


Standing = tuple[int, int | None, str, str, Severity]
"""(device, threshold, subject, name, severity)."""


async def standing(conn: Connection) -> list[Standing]:
    """Every tenant's alarms that are not over."""
    records = await conn.fetch("select device_id, threshold_id, subject, name, severity from alarms where state <> 'cleared'")
    return [tuple(record) for record in records]


async def put(conn: Connection, tenant_id: int, raised: Sequence[Raised]) -> list[Raised]:
    """Add alarms of devices that there are; returns those that were not there already."""
    text = msgspec.json.encode(raised).decode()
    records = await conn.fetch(
        """insert into alarms (tenant_id, device_id, threshold_id, subject, name, severity, value, raised_at)
           select $1, u.device_id, u.threshold_id, u.subject, u.name, u.severity, u.value, u.at
           from json_to_recordset($2::text::json) as u (device_id bigint, threshold_id bigint, subject text, name text, severity text, value float8,
               at timestamptz)
           join devices d on d.tenant_id = $1 and d.id = u.device_id
           left join thresholds t on t.tenant_id = $1 and t.id = u.threshold_id
           where u.threshold_id is null or t.id is not null
           on conflict (device_id, coalesce(threshold_id, 0), subject) where state <> 'cleared' do nothing
           returning device_id, threshold_id, subject""", tenant_id, text,
    )  # fmt: skip
    new = {tuple(record) for record in records}
    return [each for each in raised if (each.device_id, each.threshold_id, each.subject) in new]


async def clear(conn: Connection, tenant_id: int, cleared: Sequence[Raised]) -> list[Raised]:
    """End alarms; returns those that were open."""
    text = msgspec.json.encode(cleared).decode()
    records = await conn.fetch(
        """update alarms a set state = 'cleared', cleared_at = u.at, version = a.version + 1, updated_at = now()
           from json_to_recordset($2::text::json) as u (device_id bigint, threshold_id bigint, subject text, at timestamptz)
           where a.tenant_id = $1 and a.device_id = u.device_id and a.threshold_id is not distinct from u.threshold_id and a.subject = u.subject
               and a.state <> 'cleared' returning a.device_id, a.threshold_id, a.subject""", tenant_id, text,
    )  # fmt: skip
    old = {tuple(record) for record in records}
    return [each for each in cleared if (each.device_id, each.threshold_id, each.subject) in old]


async def groundless(conn: Connection, now: datetime) -> list[tuple[int, Raised]]:
    """End alarms that nobody looks after any more: of devices that are not polled, of thresholds that are not enabled, or gone. (tenant, alarm) of each."""
    records = await conn.fetch(
        """update alarms a set state = 'cleared', cleared_at = $1, version = a.version + 1, updated_at = now()
           where a.state <> 'cleared' and (
               not exists (select from devices d where d.id = a.device_id and d.state = 'active' and d.polling)
               or (a.threshold_id is not null and not exists (select from thresholds t where t.id = a.threshold_id and t.enabled)))
           returning a.tenant_id, a.device_id, a.threshold_id, a.subject, a.name, a.severity, a.value""", now,
    )  # fmt: skip
    return [(record["tenant_id"], Raised(**{name: value for name, value in record.items() if name != "tenant_id"}, at=now)) for record in records]


async def retire(conn: Connection, before: datetime, batch_rows: int = 5000) -> int:
    """Remove every tenant's alarms that were over before then, so many at a time; returns how many."""
    removed, done = 0, batch_rows
    while done == batch_rows:
        done = rows.updated(await conn.execute(
            "delete from alarms where id = any(array(select id from alarms where cleared_at < $1 limit $2))", before, batch_rows
        ))  # fmt: skip
        removed += done
    return removed
