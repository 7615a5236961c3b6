"""Plans."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from netd.model.plan import Plan
from netd.model.subscriber import Attribute
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

COLUMNS = tuple(name for name in Plan.__struct_fields__ if name not in ("id", "tenant_id", "version", "created_at", "updated_at"))
"""What can be set; each is also a member of Plan."""

_SELECT = f"select {', '.join(Plan.__struct_fields__)} from plans"


LISTING = Listing(
    kind="plan", select=_SELECT, counted="plans", tenant="tenant_id", id="id", search="lower(name) like {}",
    columns={
        "id": Column(sql="id", kind=int, cast="bigint"), "name": Column(sql="lower(name)", param="lower({})", sortable=True),
        "down_bps": Column(sql="down_bps", kind=int, cast="bigint", sortable=True), "up_bps": Column(sql="up_bps", kind=int, cast="bigint", sortable=True),
        "max_sessions": Column(sql="max_sessions", kind=int, cast="integer"), "profile": Column(sql="profile", nullable=True),
        "created_at": Column(sql="created_at", kind=datetime, sortable=True), "updated_at": Column(sql="updated_at", kind=datetime, sortable=True),
    },
)  # fmt: skip


def of(records: Sequence[Mapping[str, Any]]) -> list[Plan]:
    """Plans of the listing's records."""
    return [_plan(record) for record in records]


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


async def by_name(conn: Connection, tenant_id: int, name: str, *, lock: bool = False) -> Plan | None:
    """The plan of this name, in any case of letters."""
    record = await conn.fetchrow(f"{_SELECT} where tenant_id = $1 and lower(name) = lower($2){' for update' if lock else ''}", tenant_id, rows.storable(name))
    return None if record is None else _plan(record)


async def ids_by_name(conn: Connection, tenant_id: int) -> dict[str, int]:
    """Every plan's id by its name as the database lower-cases it."""
    return {record["key"]: record["id"] for record in await conn.fetch("select lower(name) as key, id from plans where tenant_id = $1", tenant_id)}


async def every(conn: Connection, tenant_id: int) -> list[Plan]:
    """Every plan of the tenant."""
    return [_plan(record) for record in await conn.fetch(f"{_SELECT} where tenant_id = $1 order by id", tenant_id)]


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
