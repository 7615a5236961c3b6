"""Plans."""

from collections.abc import Mapping
from typing import Any

from netd.model.plan import Plan
from netd.model.subscriber import Attribute
from netd.store import rows
from netd.store.database import Connection

COLUMNS = tuple(name for name in Plan.__struct_fields__ if name not in ("id", "tenant_id", "version", "created_at", "updated_at"))
"""What can be set; each is also a member of Plan."""

_SELECT = f"select {', '.join(Plan.__struct_fields__)} from plans"


def _plan(record: Mapping[str, Any]) -> Plan:
    replies = tuple(Attribute(**each) for each in record["replies"])
    return Plan(**{**record, "dns": tuple(rows.address(each) for each in record["dns"]), "replies": replies})


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> Plan:
    """Add a plan; ``values`` by column. Raises Conflict through the transaction if the name is taken."""
    statement, args = rows.insertion("plans", COLUMNS, tenant_id, values)
    return _plan(await conn.fetchrow(f"{statement} returning *", *args))


async def get(conn: Connection, tenant_id: int, plan_id: int, *, lock: bool = False) -> Plan | None:
    """The plan; with ``lock`` nobody else changes it until the transaction ends."""
    record = await conn.fetchrow(f"{_SELECT} where tenant_id = $1 and id = $2{' for update' if lock else ''}", tenant_id, plan_id)
    return None if record is None else _plan(record)


async def by_name(conn: Connection, tenant_id: int, name: str) -> Plan | None:
    """The plan of this name, in any case of letters."""
    record = await conn.fetchrow(f"{_SELECT} where tenant_id = $1 and lower(name) = lower($2)", tenant_id, rows.storable(name))
    return None if record is None else _plan(record)


async def ids_by_name(conn: Connection, tenant_id: int) -> dict[str, int]:
    """Every plan's id by its name as the database lower-cases it."""
    return {record["key"]: record["id"] for record in await conn.fetch("select lower(name) as key, id from plans where tenant_id = $1", tenant_id)}


async def every(conn: Connection, tenant_id: int) -> list[Plan]:
    """Every plan of the tenant."""
    return [_plan(record) for record in await conn.fetch(f"{_SELECT} where tenant_id = $1 order by id", tenant_id)]


def _where(tenant_id: int, name: str | None) -> rows.Where:
    where = rows.Where(tenant_id)
    if name is not None:
        where.add("lower(name) = lower({})", rows.storable(name))
    return where


async def page(conn: Connection, tenant_id: int, *, after: int, limit: int, name: str | None = None) -> list[Plan]:
    """Plans by id, those after ``after``."""
    where = _where(tenant_id, name).add("id > {}", after)
    return [_plan(record) for record in await conn.fetch(f"{_SELECT} where {where} order by id limit {where.place(limit)}", *where.args)]


async def count(conn: Connection, tenant_id: int, *, name: str | None = None) -> int:
    """How many plans there are."""
    where = _where(tenant_id, name)
    return int(await conn.fetchval(f"select count(*) from plans where {where}", *where.args))


async def update(conn: Connection, tenant_id: int, plan_id: int, values: Mapping[str, Any]) -> Plan | None:
    """Set columns; None if there is no such plan."""
    statement, args = rows.update("plans", COLUMNS, tenant_id, plan_id, values)
    record = await conn.fetchrow(f"{statement} returning *", *args)
    return None if record is None else _plan(record)


async def delete(conn: Connection, tenant_id: int, plan_id: int) -> bool:
    """Remove a plan; whether it was there. Raises Conflict through the transaction while subscribers have it."""
    return rows.updated(await conn.execute("delete from plans where tenant_id = $1 and id = $2", tenant_id, plan_id)) > 0


async def subscribers(conn: Connection, tenant_id: int, plan_id: int) -> int:
    """How many subscribers have the plan."""
    return int(await conn.fetchval("select count(*) from subscribers where tenant_id = $1 and plan_id = $2", tenant_id, plan_id))
