"""DHCP's subnets and reservations for people and the API. What the responder reads is ``store.dhcp``."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from netd.model.dhcp import Reservation, Serves, Subnet
from netd.model.ztp import ReservationKind
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

COLUMNS = (
    "name", "prefix", "site_id", "serves", "profiles", "pool_id", "router", "dns_servers", "ntp_servers", "domain", "lease_seconds", "variables", "interface",
    "enabled", "description",
)  # fmt: skip
_BESIDE = "left join sites s on s.id = n.site_id and s.tenant_id = n.tenant_id left join pools p on p.id = n.pool_id and p.tenant_id = n.tenant_id"
_SELECT = f"""
    select n.id, n.tenant_id, n.name, n.prefix, s.name as site, n.serves, n.profiles, p.name as pool, n.router, n.dns_servers, n.ntp_servers, n.domain,
           n.lease_seconds, n.variables, n.interface, n.enabled, n.description, n.version, n.created_at, n.updated_at
    from dhcp_subnets n {_BESIDE}"""
_RESERVATION = """
    select r.id, r.tenant_id, r.subnet_id, n.name as subnet, r.kind, r.value, r.address, r.description, r.created_at
    from dhcp_reservations r join dhcp_subnets n on n.id = r.subnet_id and n.tenant_id = r.tenant_id"""


LISTING = Listing(
    kind="dhcp_subnet", select=_SELECT, tenant="n.tenant_id", id="n.id", search="lower(concat_ws(' ', n.name, n.description)) like {}",
    counted=f"dhcp_subnets n {_BESIDE}",
    columns={
        "id": Column(sql="n.id", kind=int, cast="bigint"), "name": Column(sql="lower(n.name)", param="lower({})", sortable=True),
        "site": Column(sql="lower(s.name)", param="lower({})", nullable=True), "pool": Column(sql="lower(p.name)", param="lower({})", nullable=True),
        "serves": Column(sql="n.serves", kind=Serves, sortable=True), "enabled": Column(sql="n.enabled", kind=bool),
        "created_at": Column(sql="n.created_at", kind=datetime, sortable=True), "updated_at": Column(sql="n.updated_at", kind=datetime, sortable=True),
    },
)  # fmt: skip

RESERVATIONS = Listing(
    kind="dhcp_reservation", select=_RESERVATION, tenant="r.tenant_id", id="r.id", search="lower(concat_ws(' ', r.value, r.description)) like {}",
    counted="dhcp_reservations r join dhcp_subnets n on n.id = r.subnet_id and n.tenant_id = r.tenant_id",
    columns={
        "id": Column(sql="r.id", kind=int, cast="bigint"), "subnet_id": Column(sql="r.subnet_id", kind=int, cast="bigint"),
        "subnet": Column(sql="lower(n.name)", param="lower({})"), "kind": Column(sql="r.kind", kind=ReservationKind, sortable=True),
        "value": Column(sql="r.value"), "created_at": Column(sql="r.created_at", kind=datetime, sortable=True),
    },
)  # fmt: skip


def of(records: Sequence[Mapping[str, Any]]) -> list[Subnet]:
    """Subnets of the listing's records."""
    return [_subnet(record) for record in records]


def reservations_of(records: Sequence[Mapping[str, Any]]) -> list[Reservation]:
    """Reservations of the listing's records."""
    return [_reservation(record) for record in records]


def _subnet(record: Mapping[str, Any]) -> Subnet:
    lists = {name: tuple(rows.address(each) for each in record[name]) for name in ("dns_servers", "ntp_servers")}
    told = {**record, **lists, "router": rows.address(record["router"]), "profiles": tuple(record["profiles"])}
    return Subnet(**told)


def _reservation(record: Mapping[str, Any]) -> Reservation:
    return Reservation(**{**record, "address": rows.address(record["address"])})


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> int:
    """Add a subnet; returns its id. Raises Conflict through the transaction if the name or the prefix is taken."""
    statement, args = rows.insertion("dhcp_subnets", COLUMNS, tenant_id, values)
    return int(await conn.fetchval(f"{statement} returning id", *args))


async def get(conn: Connection, tenant_id: int, subnet_id: int, *, lock: bool = False) -> Subnet | None:
    """The subnet; with ``lock`` it stays as it is until the transaction ends."""
    record = await conn.fetchrow(f"{_SELECT} where n.tenant_id = $1 and n.id = $2{' for no key update of n' if lock else ''}", tenant_id, subnet_id)
    return None if record is None else _subnet(record)


async def by_name(conn: Connection, tenant_id: int, name: str) -> Subnet | None:
    """The subnet of this name, in any case of letters."""
    record = await conn.fetchrow(f"{_SELECT} where n.tenant_id = $1 and lower(n.name) = lower($2)", tenant_id, rows.storable(name))
    return None if record is None else _subnet(record)


async def around(conn: Connection, tenant_id: int, address: IPv4Address | IPv6Address) -> Subnet | None:
    """The subnet that the address is in."""
    record = await conn.fetchrow(f"{_SELECT} where n.tenant_id = $1 and n.prefix >>= $2", tenant_id, address)
    return None if record is None else _subnet(record)


async def of_pool(conn: Connection, tenant_id: int, pool_id: int) -> list[Subnet]:
    """The subnets that give from this pool."""
    return of(await conn.fetch(f"{_SELECT} where n.tenant_id = $1 and n.pool_id = $2 order by n.id", tenant_id, pool_id))


async def reserved(conn: Connection, tenant_id: int, address: IPv4Address | IPv6Address) -> Reservation | None:
    """The reservation of this address."""
    record = await conn.fetchrow(f"{_RESERVATION} where r.tenant_id = $1 and r.address = $2", tenant_id, address)
    return None if record is None else _reservation(record)


async def update(conn: Connection, tenant_id: int, subnet_id: int, values: Mapping[str, Any]) -> bool:
    """Set columns and count the version up; whether the subnet was there."""
    statement, args = rows.update("dhcp_subnets", COLUMNS, tenant_id, subnet_id, values)
    return rows.updated(await conn.execute(statement, *args)) > 0


async def delete(conn: Connection, tenant_id: int, subnet_id: int) -> bool:
    """Remove a subnet with its reservations; whether it was there. Its clients keep their addresses until their leases end."""
    return rows.updated(await conn.execute("delete from dhcp_subnets where tenant_id = $1 and id = $2", tenant_id, subnet_id)) > 0


async def reserve(conn: Connection, tenant_id: int, subnet_id: int, kind: str, value: str, address: IPv4Address | IPv6Address, description: str | None) -> int:
    """Set an address aside; returns the reservation's id. Raises Conflict through the transaction if it is taken."""
    return int(await conn.fetchval(
        "insert into dhcp_reservations (tenant_id, subnet_id, kind, value, address, description) values ($1, $2, $3, $4, $5, $6) returning id",
        tenant_id, subnet_id, kind, value, address, description,
    ))  # fmt: skip


async def reservation(conn: Connection, tenant_id: int, reservation_id: int) -> Reservation | None:
    """The reservation."""
    record = await conn.fetchrow(f"{_RESERVATION} where r.tenant_id = $1 and r.id = $2", tenant_id, reservation_id)
    return None if record is None else _reservation(record)


async def free(conn: Connection, tenant_id: int, reservation_id: int) -> bool:
    """Set an address aside no longer; whether it was."""
    return rows.updated(await conn.execute("delete from dhcp_reservations where tenant_id = $1 and id = $2", tenant_id, reservation_id)) > 0
