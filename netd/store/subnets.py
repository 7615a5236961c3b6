"""DHCP's subnets and reservations for people and the API. What the responder reads is ``store.dhcp``."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from netd.model.dhcp import Reservation, Subnet
from netd.store import rows
from netd.store.database import Connection

COLUMNS = (
    "name", "prefix", "site_id", "serves", "profiles", "pool_id", "router", "dns_servers", "ntp_servers", "domain", "lease_seconds", "variables", "interface",
    "enabled", "description",
)  # fmt: skip
_SELECT = """
    select n.id, n.tenant_id, n.name, n.prefix, s.name as site, n.serves, n.profiles, p.name as pool, n.router, n.dns_servers, n.ntp_servers, n.domain,
           n.lease_seconds, n.variables, n.interface, n.enabled, n.description, n.version, n.created_at, n.updated_at
    from dhcp_subnets n left join sites s on s.id = n.site_id and s.tenant_id = n.tenant_id
        left join pools p on p.id = n.pool_id and p.tenant_id = n.tenant_id"""
_RESERVATION = """
    select r.id, r.tenant_id, r.subnet_id, n.name as subnet, r.kind, r.value, r.address, r.description, r.created_at
    from dhcp_reservations r join dhcp_subnets n on n.id = r.subnet_id and n.tenant_id = r.tenant_id"""


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


def _where(tenant_id: int, name: str | None) -> rows.Where:
    where = rows.Where(tenant_id, "n.tenant_id")
    if name is not None:
        where.add("lower(n.name) = lower({})", rows.storable(name))
    return where


async def page(conn: Connection, tenant_id: int, *, after: int, limit: int, name: str | None = None) -> list[Subnet]:
    """Subnets by id, those after ``after``."""
    where = _where(tenant_id, name).add("n.id > {}", after)
    return [_subnet(record) for record in await conn.fetch(f"{_SELECT} where {where} order by n.id limit {where.place(limit)}", *where.args)]


async def count(conn: Connection, tenant_id: int, *, name: str | None = None) -> int:
    """How many subnets there are."""
    where = _where(tenant_id, name)
    return int(await conn.fetchval(f"select count(*) from dhcp_subnets n where {where}", *where.args))


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


def _reserved(tenant_id: int, subnet_id: int | None) -> rows.Where:
    where = rows.Where(tenant_id, "r.tenant_id")
    if subnet_id is not None:
        where.add("r.subnet_id = {}", subnet_id)
    return where


async def reservations(conn: Connection, tenant_id: int, *, after: int, limit: int, subnet_id: int | None = None) -> list[Reservation]:
    """Reservations by id, of one subnet or all."""
    where = _reserved(tenant_id, subnet_id).add("r.id > {}", after)
    return [_reservation(record) for record in await conn.fetch(f"{_RESERVATION} where {where} order by r.id limit {where.place(limit)}", *where.args)]


async def count_reservations(conn: Connection, tenant_id: int, *, subnet_id: int | None = None) -> int:
    """How many there are."""
    where = _reserved(tenant_id, subnet_id)
    return int(await conn.fetchval(f"select count(*) from dhcp_reservations r where {where}", *where.args))


async def reservation(conn: Connection, tenant_id: int, reservation_id: int) -> Reservation | None:
    """The reservation."""
    record = await conn.fetchrow(f"{_RESERVATION} where r.tenant_id = $1 and r.id = $2", tenant_id, reservation_id)
    return None if record is None else _reservation(record)


async def free(conn: Connection, tenant_id: int, reservation_id: int) -> bool:
    """Set an address aside no longer; whether it was."""
    return rows.updated(await conn.execute("delete from dhcp_reservations where tenant_id = $1 and id = $2", tenant_id, reservation_id)) > 0
