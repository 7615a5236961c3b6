"""Devices and groups of them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import product
from typing import Any

import msgspec

from netd.model.device import Observed
from netd.model.inventory import Device, DeviceGroup, DeviceKind, DeviceState, Selector
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

_SETTABLE = frozenset((
    "hostname", "mgmt_address", "vendor", "platform", "kind", "state", "model", "serial", "software_version", "target_version", "site_id",
    "parent_id", "nas_id", "credential_id", "subscriber_id", "role",
    "variables", "tags", "ports", "host_keys", "certificates", "legacy_algorithms", "sessions", "timeout_seconds", "polling",
    "poll_groups", "note", "site_addressed",
))  # fmt: skip
_READ = {
    "site": "(select w.name from sites w where w.id = d.site_id)", "parent": "(select p.hostname from devices p where p.id = d.parent_id)",
    "nas": "(select n.shortname from nas n where n.id = d.nas_id)", "credential": "(select c.name from credentials c where c.id = d.credential_id)",
    "subscriber": "(select s.username from subscribers s where s.id = d.subscriber_id)",
}  # fmt: skip
_MEMBERS = ", ".join(f"{_READ[name]} as {name}" if name in _READ else f"d.{name}" for name in Device.__struct_fields__)
_SELECT = f"select {_MEMBERS} from devices d"


def now(fact: str) -> str:
    """What is taken to be so: as ``Device.now``."""
    return f"coalesce(d.observed -> '{fact}' ->> 'value', d.{fact})"


PLATFORM = "coalesce(d.platform, d.observed -> 'platform' ->> 'value')"

LISTING = Listing(
    kind="device", select=_SELECT, counted="devices d", tenant="d.tenant_id", id="d.id", search="lower(d.hostname) like {}",
    columns={
        "id": Column(sql="d.id", kind=int, cast="bigint"), "hostname": Column(sql="lower(d.hostname)", param="lower({})", sortable=True),
        "mgmt_address": Column(sql="d.mgmt_address", cast="inet", sortable=True),
        "vendor": Column(sql="d.vendor", sortable=True), "platform": Column(sql=PLATFORM, nullable=True),
        "kind": Column(sql="d.kind", kind=DeviceKind, cast="text", sortable=True),
        "state": Column(sql="d.state", kind=DeviceState, cast="text", sortable=True),
        "model": Column(sql=now("model"), nullable=True), "serial": Column(sql=now("serial"), nullable=True),
        "software_version": Column(sql=now("software_version"), nullable=True), "target_version": Column(sql="d.target_version", nullable=True),
        "site": Column(sql="(select lower(w.name) from sites w where w.id = d.site_id)", param="lower({})"),
        "site_id": Column(sql="d.site_id", kind=int, cast="bigint", nullable=True),
        "parent_id": Column(sql="d.parent_id", kind=int, cast="bigint", nullable=True),
        "nas_id": Column(sql="d.nas_id", kind=int, cast="bigint", nullable=True),
        "credential_id": Column(sql="d.credential_id", kind=int, cast="bigint", nullable=True),
        "subscriber_id": Column(sql="d.subscriber_id", kind=int, cast="bigint", nullable=True),
        "role": Column(sql="d.role", nullable=True), "tag": Column(sql="true", cast="text", param="({} = any(d.tags))"),
        "polling": Column(sql="d.polling", kind=bool),
        "facts_at": Column(sql="d.facts_at", kind=datetime, nullable=True),
        "created_at": Column(sql="d.created_at", kind=datetime, sortable=True), "updated_at": Column(sql="d.updated_at", kind=datetime, sortable=True),
    },
)  # fmt: skip


def of(records: Sequence[Mapping[str, Any]]) -> list[Device]:
    """Devices of the listing's records."""
    return [_device(record) for record in records]


def _device(record: Mapping[str, Any]) -> Device:
    values = dict(record)
    for name in ("tags", "host_keys", "certificates", "poll_groups"):
        values[name] = tuple(values[name])
    values["mgmt_address"] = rows.address(values["mgmt_address"])
    values["observed"] = msgspec.convert(values["observed"], dict[str, Observed])
    return Device(**values)


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> int:
    """Add a device; returns its id. Raises Conflict through the transaction if the name is taken."""
    statement, args = rows.insertion("devices", _SETTABLE, tenant_id, values)
    return int(await conn.fetchval(f"{statement} returning id", *args))


async def get(conn: Connection, tenant_id: int, device_id: int, *, lock: bool = False) -> Device | None:
    """The device; with ``lock`` nobody else changes it until the transaction ends."""
    record = await conn.fetchrow(f"{_SELECT} where d.tenant_id = $1 and d.id = $2{' for update of d' if lock else ''}", tenant_id, device_id)
    return None if record is None else _device(record)


async def by_ids(conn: Connection, tenant_id: int, device_ids: Sequence[int]) -> list[Device]:
    """Those of the devices that there are, by id."""
    return of(await conn.fetch(f"{_SELECT} where d.tenant_id = $1 and d.id = any($2::bigint[]) order by d.id", tenant_id, list(device_ids)))


async def id_by_hostname(conn: Connection, tenant_id: int, hostname: str) -> int | None:
    """The id of the device of this name, in any case of letters."""
    statement = "select id from devices where tenant_id = $1 and lower(hostname) = lower($2)"
    found: int | None = await conn.fetchval(statement, tenant_id, rows.storable(hostname))
    return found


async def parents(conn: Connection) -> dict[int, int]:
    """What each device of any tenant is reached through, by id."""
    return {record["id"]: record["parent_id"] for record in await conn.fetch("select id, parent_id from devices where parent_id is not null")}


async def above(conn: Connection, tenant_id: int, device_id: int) -> set[int]:
    """The device and all that it is reached through, by id."""
    records = await conn.fetch(
        """with recursive a as (
               select id, parent_id from devices where tenant_id = $1 and id = $2 union select d.id, d.parent_id from devices d join a on a.parent_id = d.id
           ) select id from a""",
        tenant_id,
        device_id,
    )
    return {record["id"] for record in records}


async def update(conn: Connection, tenant_id: int, device_id: int, values: Mapping[str, Any]) -> None:
    """Set columns; a host key that is pinned, a credential that works and facts are no changes of this kind."""
    statement, args = rows.update("devices", _SETTABLE, tenant_id, device_id, values)
    await conn.execute(statement, *args)


async def delete(conn: Connection, tenant_id: int, device_id: int) -> bool:
    """Remove a device with all that was observed of it; whether it was there."""
    return rows.updated(await conn.execute("delete from devices where tenant_id = $1 and id = $2", tenant_id, device_id)) > 0


async def forget_working(conn: Connection, tenant_id: int, device_id: int) -> None:
    """Which credentials opened it is known no longer."""
    await conn.execute("delete from device_credentials where tenant_id = $1 and device_id = $2", tenant_id, device_id)


async def pin(conn: Connection, tenant_id: int, device_id: int, host_key: str) -> bool:
    """Pin the first host key that a device showed; False if one is pinned already (another process was quicker, or an operator)."""
    return rows.updated(await conn.execute(
        "update devices set host_keys = array[$3], version = version + 1, updated_at = now() where tenant_id = $1 and id = $2 and host_keys = '{}'",
        tenant_id, device_id, host_key,
    )) > 0  # fmt: skip


async def pin_certificate(conn: Connection, tenant_id: int, device_id: int, fingerprint: str) -> bool:
    """The same of the first TLS certificate, by its SHA-256 in hex."""
    return rows.updated(await conn.execute(
        "update devices set certificates = array[$3], version = version + 1, updated_at = now() where tenant_id = $1 and id = $2 and certificates = '{}'",
        tenant_id, device_id, fingerprint,
    )) > 0  # fmt: skip


async def bulk_sizes(conn: Connection, tenant_id: int, sizes: Mapping[int, int]) -> None:
    """Remember the max-repetitions that were found to work, by device."""
    await conn.execute(
        """update devices d set snmp_bulk = u.n from unnest($2::bigint[], $3::smallint[]) as u (id, n)
           where d.tenant_id = $1 and d.id = u.id and d.snmp_bulk is distinct from u.n""", tenant_id, list(sizes), list(sizes.values()),
    )  # fmt: skip


async def known_bulk_sizes(conn: Connection, tenant_id: int, device_ids: Sequence[int]) -> dict[int, int]:
    """The max-repetitions that were found to work, by device, where any were."""
    records = await conn.fetch(
        "select id, snmp_bulk from devices where tenant_id = $1 and id = any($2::bigint[]) and snmp_bulk is not null", tenant_id, list(device_ids)
    )
    return {record["id"]: record["snmp_bulk"] for record in records}


class Polled(msgspec.Struct, frozen=True, kw_only=True):
    """A device that is looked at by itself. ``platform`` is the one whose driver speaks to it, None: nothing is known of it."""

    id: int
    tenant_id: int
    hostname: str
    platform: str | None
    poll_groups: tuple[str, ...]
    parent_id: int | None
    site_id: int | None
    version: int


async def polled(conn: Connection, after: int, limit: int) -> list[Polled]:
    """Every tenant's active devices that are polled behind ``after``, by id."""
    records = await conn.fetch(
        f"""select d.id, d.tenant_id, d.hostname, {PLATFORM} as platform, d.poll_groups, d.parent_id, d.site_id, d.version
            from devices d where d.state = 'active' and d.polling and d.id > $1 order by d.id limit $2""", after, limit,
    )  # fmt: skip
    return [Polled(**{**record, "poll_groups": tuple(record["poll_groups"])}) for record in records]


# -- selections ----------------------------------------------------------------------------------------------------------

_SELECTED = {
    "ids": "d.id = any({}::bigint[])", "hostnames": "lower(d.hostname) in (select lower(x) from unnest({}::text[]) as x)", "tags": "d.tags @> {}::text[]",
    "sites": "(select lower(w.name) from sites w where w.id = d.site_id) in (select lower(x) from unnest({}::text[]) as x)",
    "vendors": "d.vendor = any({}::text[])", "platforms": f"{PLATFORM} = any({{}}::text[])", "kinds": "d.kind = any({}::text[])",
    "roles": "d.role = any({}::text[])", "models": f"{now('model')} = any({{}}::text[])", "states": "d.state = any({}::text[])",
}  # fmt: skip


def where_selected(tenant_id: int, *selectors: Selector) -> rows.Where:
    """The conditions for devices ``d`` that every one of the selectors means."""
    where = rows.Where(tenant_id, "d.tenant_id")
    for selector, (name, template) in product(selectors, _SELECTED.items()):
        wanted = getattr(selector, name)
        if wanted:
            where.add(template, [rows.storable(each) if isinstance(each, str) else each for each in wanted])
    return where


async def selected(conn: Connection, tenant_id: int, selector: Selector) -> list[tuple[int, str]]:
    """(id, hostname) of the devices that a selector means, by id."""
    where = where_selected(tenant_id, selector)
    return [tuple(record) for record in await conn.fetch(f"select d.id, d.hostname from devices d where {where} order by d.id", *where.args)]


async def count_selected(conn: Connection, tenant_id: int, selector: Selector) -> int:
    """How many devices a selector means."""
    where = where_selected(tenant_id, selector)
    return int(await conn.fetchval(f"select count(*) from devices d where {where}", *where.args))


_GROUP_COLUMNS = frozenset(("name", "selector", "note"))
GROUPS = Listing(
    kind="device_group", select="select * from device_groups", counted="device_groups", tenant="tenant_id", id="id", search="lower(name) like {}",
    columns={"id": Column(sql="id", kind=int, cast="bigint"), "name": Column(sql="lower(name)", param="lower({})", sortable=True),
             "created_at": Column(sql="created_at", kind=datetime, sortable=True)},
)  # fmt: skip


async def groups_of(conn: Connection, tenant_id: int, records: Sequence[Mapping[str, Any]]) -> list[DeviceGroup]:
    """Groups of the listing's records, with how many devices each has now."""
    found = []
    for record in records:
        selector = msgspec.convert(record["selector"], Selector)
        found.append(DeviceGroup(**{**record, "selector": selector, "devices": await count_selected(conn, tenant_id, selector)}))
    return found


async def insert_group(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> int:
    """Add a group; returns its id. Raises Conflict through the transaction if the name is taken."""
    statement, args = rows.insertion("device_groups", _GROUP_COLUMNS, tenant_id, values)
    return int(await conn.fetchval(f"{statement} returning id", *args))


async def group(conn: Connection, tenant_id: int, group_id: int, *, lock: bool = False) -> DeviceGroup | None:
    """The group; with ``lock`` nobody else changes it until the transaction ends."""
    records = await conn.fetch(f"select * from device_groups where tenant_id = $1 and id = $2{' for update' if lock else ''}", tenant_id, group_id)
    found = await groups_of(conn, tenant_id, records)
    return found[0] if found else None


async def group_selector(conn: Connection, tenant_id: int, name: str) -> Selector | None:
    """What the group of this name selects, in any case of letters."""
    found = await conn.fetchval("select selector from device_groups where tenant_id = $1 and lower(name) = lower($2)", tenant_id, rows.storable(name))
    return None if found is None else msgspec.convert(found, Selector)


async def group_id(conn: Connection, tenant_id: int, name: str) -> int | None:
    """The id of the group of this name, in any case of letters."""
    found: int | None = await conn.fetchval("select id from device_groups where tenant_id = $1 and lower(name) = lower($2)", tenant_id, rows.storable(name))
    return found


async def update_group(conn: Connection, tenant_id: int, group_id: int, values: Mapping[str, Any]) -> None:
    """Set columns."""
    statement, args = rows.update("device_groups", _GROUP_COLUMNS, tenant_id, group_id, values)
    await conn.execute(statement, *args)


async def delete_group(conn: Connection, tenant_id: int, group_id: int) -> bool:
    """Remove a group; whether it was there."""
    return rows.updated(await conn.execute("delete from device_groups where tenant_id = $1 and id = $2", tenant_id, group_id)) > 0
