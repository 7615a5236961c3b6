"""Writing what was observed of many devices at once. What an operator wrote is not touched: other columns, or other tables."""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from netd.model.device import Observed
from netd.store import rows
from netd.store.database import Connection


class Known(NamedTuple):
    """What a device said so far: in all, and by source; and whether it ever showed its interfaces."""

    hostname: str
    observed: dict[str, Observed]
    said: dict[str, dict[str, str]]
    has_interfaces: bool


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """An interface as it was seen last; None where the device does not say."""

    device_id: int
    name: str
    if_index: int
    alias: str | None = None
    type: int | None = None
    mtu: int | None = None
    speed_bps: int | None = None
    mac: str | None = None
    admin_up: bool | None = None
    oper_up: bool | None = None
    changed_at: datetime | None = None
    gone_at: datetime | None = None


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A neighbour; ``identity`` in hex."""

    device_id: int
    identity: str
    local_interface: str
    protocol: str
    remote_name: str | None
    remote_interface: str | None
    remote_address: str | None
    remote_mac: str | None
    remote_description: str | None
    at: datetime


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A MAC address, with an IP address of an ARP table."""

    device_id: int
    source: str
    mac: str
    vlan: int | None
    address: str | None
    interface: str
    at: datetime


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """A line of history."""

    device_id: int
    at: datetime
    subject: str
    fact: str
    before: str | None
    after: str | None
    source: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a device's own row; None stays as it is. ``anew``: its version counts up, for who looks again is to see it."""

    id: int
    observed: dict[str, Observed] | None = None
    said: dict[str, dict[str, str]] | None = None
    facts_at: datetime | None = None
    interfaces_at: datetime | None = None
    neighbours_at: datetime | None = None
    anew: bool = False


# Many rows go over as one JSON text, as in netd.store.accounting.
def _json(values: Sequence[msgspec.Struct]) -> str:
    return msgspec.json.encode(values).decode()


async def known(conn: Connection, tenant_id: int, device_ids: Sequence[int]) -> dict[int, Known]:
    """What is known of those devices that there are; they are locked in the order of their ids, so that two who report of the same one do not mix."""
    records = await conn.fetch(
        """select id, hostname, observed, said, interfaces_at is not null as has_interfaces from devices
           where tenant_id = $1 and id = any($2::bigint[]) order by id for no key update""",
        tenant_id,
        sorted(set(device_ids)),
    )
    return {
        record["id"]: Known(record["hostname"], msgspec.convert(record["observed"], dict[str, Observed]), record["said"], record["has_interfaces"])
        for record in records
    }


_PORT = ", ".join(Port.__struct_fields__)


async def ports(conn: Connection, tenant_id: int, named: Mapping[int, Set[str]]) -> dict[int, dict[str, Port]]:
    """The interfaces that are known, by device and name: those that are there, and of those that are gone the ``named``, by device."""
    found: dict[int, dict[str, Port]] = {device_id: {} for device_id in named}
    places = [(device_id, name) for device_id, names in named.items() for name in names]
    for record in await conn.fetch(
        f"""select {_PORT} from interfaces where tenant_id = $1 and device_id = any($2::bigint[]) and gone_at is null
            union all select {", ".join(f"i.{name}" for name in Port.__struct_fields__)} from unnest($3::bigint[], $4::text[]) as u (d, n)
            join interfaces i on i.device_id = u.d and i.name = u.n where i.tenant_id = $1 and i.gone_at is not null""",
        tenant_id, list(named), [device_id for device_id, _ in places], [name for _, name in places],
    ):  # fmt: skip
        found[record["device_id"]][record["name"]] = Port(**record)
    return found


async def forget_gone(conn: Connection, tenant_id: int, device_ids: Sequence[int], most: int) -> None:
    """Of each device keep only so many interfaces that are gone, the last ones."""
    await conn.execute(
        """delete from interfaces where id in (
               select id from (select id, row_number() over (partition by device_id order by gone_at desc, id desc) as place from interfaces
                   where tenant_id = $1 and device_id = any($2::bigint[]) and gone_at is not null) g where place > $3)""", tenant_id, list(device_ids), most,
    )  # fmt: skip


async def tell(conn: Connection, tenant_id: int, told: Sequence[Told]) -> None:
    """Write devices' own rows."""
    await conn.execute(
        """update devices d set observed = coalesce(u.observed, d.observed), said = coalesce(u.said, d.said), facts_at = coalesce(u.facts_at, d.facts_at),
               interfaces_at = coalesce(u.interfaces_at, d.interfaces_at), neighbours_at = coalesce(u.neighbours_at, d.neighbours_at),
               version = d.version + u.anew::integer, updated_at = case when u.anew then now() else d.updated_at end
           from json_to_recordset($2::text::json) as u (id bigint, observed jsonb, said jsonb, facts_at timestamptz, interfaces_at timestamptz,
               neighbours_at timestamptz, anew boolean)
           where d.tenant_id = $1 and d.id = u.id""", tenant_id, _json(told),
    )  # fmt: skip


async def put_ports(conn: Connection, tenant_id: int, changed: Sequence[Port]) -> None:
    """Add interfaces, or write what they are now."""
    await conn.execute(
        f"""insert into interfaces (tenant_id, {_PORT})
            select $1, {_PORT} from json_to_recordset($2::text::json) as u (device_id bigint, name text, if_index integer, alias text, type integer,
                mtu bigint, speed_bps bigint, mac text, admin_up boolean, oper_up boolean, changed_at timestamptz, gone_at timestamptz)
            on conflict (device_id, name) do update set if_index = excluded.if_index, alias = excluded.alias, type = excluded.type, mtu = excluded.mtu,
                speed_bps = excluded.speed_bps, mac = excluded.mac, admin_up = excluded.admin_up, oper_up = excluded.oper_up,
                changed_at = excluded.changed_at, gone_at = excluded.gone_at, updated_at = now()""", tenant_id, _json(changed),
    )  # fmt: skip


# Who a neighbour is: whose interface has the MAC address, who is managed at the address, who has the name (with or without its domain). What fits several
# devices tells nothing.
_WHO = """
    left join lateral (
        select min(i.device_id) as id from interfaces i
        where i.tenant_id = $1 and i.mac = u.remote_mac and i.gone_at is null and i.device_id <> u.device_id having count(distinct i.device_id) = 1
    ) by_mac on true
    left join lateral (
        select min(d.id) as id from devices d
        where d.tenant_id = $1 and d.mgmt_address = u.remote_address and d.id <> u.device_id having count(*) = 1
    ) by_address on true
    left join lateral (
        select min(d.id) as id from devices d
        where d.tenant_id = $1 and d.id <> u.device_id and (lower(d.hostname) in (lower(u.remote_name), lower(split_part(u.remote_name, '.', 1)))
            or lower(d.observed -> 'hostname' ->> 'value') = lower(u.remote_name)) having count(*) = 1
    ) by_name on true
"""


async def put_links(conn: Connection, tenant_id: int, heard: Sequence[Heard]) -> None:
    """Add neighbours, or note that they were heard again."""
    await conn.execute(
        f"""insert into links as k (tenant_id, device_id, identity, local_interface, protocol, remote_name, remote_interface, remote_address, remote_mac,
                remote_description, remote_device_id, first_seen_at, last_seen_at)
            select $1, u.device_id, decode(u.identity, 'hex'), u.local_interface, u.protocol, u.remote_name, u.remote_interface, u.remote_address,
                u.remote_mac, u.remote_description, coalesce(by_mac.id, by_address.id, by_name.id), u.at, u.at
            from json_to_recordset($2::text::json) as u (device_id bigint, identity text, local_interface text, protocol text, remote_name text,
                remote_interface text, remote_address inet, remote_mac text, remote_description text, at timestamptz) {_WHO}
            on conflict (device_id, identity) do update set remote_name = excluded.remote_name, remote_interface = excluded.remote_interface,
                remote_address = excluded.remote_address, remote_mac = excluded.remote_mac, remote_description = excluded.remote_description,
                remote_device_id = excluded.remote_device_id, last_seen_at = greatest(k.last_seen_at, excluded.last_seen_at)""",
        tenant_id, _json(heard),
    )  # fmt: skip


async def put_endpoints(conn: Connection, tenant_id: int, seen: Sequence[Seen]) -> None:
    """Add addresses, or note that and where they were seen again; an older look changes nothing."""
    await conn.execute(
        """insert into endpoints as e (tenant_id, device_id, source, mac, vlan, address, interface, first_seen_at, last_seen_at)
           select $1, u.device_id, u.source, u.mac, u.vlan, u.address, u.interface, u.at, u.at
           from json_to_recordset($2::text::json) as u (device_id bigint, source text, mac text, vlan integer, address inet, interface text, at timestamptz)
           on conflict (device_id, source, mac, coalesce(vlan, -1), coalesce(address, '0.0.0.0')) do update set interface = excluded.interface,
               last_seen_at = excluded.last_seen_at, moved_at = case when e.interface <> excluded.interface then excluded.last_seen_at else e.moved_at end
           where e.last_seen_at <= excluded.last_seen_at""", tenant_id, _json(seen),
    )  # fmt: skip


async def add_changes(conn: Connection, tenant_id: int, changes: Sequence[Changed]) -> None:
    """Add lines of history."""
    await conn.execute(
        """insert into device_facts (tenant_id, device_id, at, subject, fact, before, after, source)
           select $1, device_id, at, subject, fact, before, after, source
           from json_to_recordset($2::text::json) as u (device_id bigint, at timestamptz, subject text, fact text, before text, after text, source text)""",
        tenant_id, _json(changes),
    )  # fmt: skip


async def add_events(conn: Connection, tenant_id: int, happened: Sequence[tuple[int, str, Mapping[str, Any]]]) -> None:
    """Add events of devices: (device, type, data)."""
    devices, types, data = zip(*happened, strict=True)
    await conn.execute(
        """insert into events (tenant_id, type, object_type, object_id, site_id, data)
           select $1, u.t, 'device', u.id::text, d.site_id, u.data::jsonb
           from unnest($2::bigint[], $3::text[], $4::text[]) with ordinality as u (id, t, data, n) join devices d on d.tenant_id = $1 and d.id = u.id
           order by u.n""", tenant_id, list(devices), list(types), [msgspec.json.encode(each).decode() for each in data],
    )  # fmt: skip


async def retire(conn: Connection, *, seen_before: datetime, facts_before: datetime, batch_rows: int = 5000) -> int:
    """Remove what is past keeping, of every tenant, ``batch_rows`` at a time: endpoints and links that are seen no more, history, interfaces that are gone.

    Returns how many rows.
    """
    removed = 0
    for table, column, before in (
        ("endpoints", "last_seen_at", seen_before), ("links", "last_seen_at", seen_before), ("interfaces", "gone_at", facts_before),
        ("device_facts", "at", facts_before),
    ):  # fmt: skip
        statement = f"delete from {table} where id = any(array(select id from {table} where {column} < $1 limit $2))"
        done = batch_rows
        while done == batch_rows:
            done = rows.updated(await conn.execute(statement, before, batch_rows))
            removed += done
    return removed
