"""Roles."""

from collections.abc import Mapping, Sequence
from typing import Any

from netd.model.role import Role
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

COLUMNS = ("name", "title", "permissions")
"""What can be set of a custom role."""

_SELECT = f"select {', '.join(Role.__struct_fields__)} from roles"


LISTING = Listing(
    kind="role", select=_SELECT, counted="roles", tenant="tenant_id", id="id", search="lower(name || ' ' || title) like {}",
    columns={
        "id": Column(sql="id", kind=int, cast="bigint"), "name": Column(sql="name", sortable=True), "built_in": Column(sql="built_in", kind=bool),
    },
)  # fmt: skip


def of(records: Sequence[Mapping[str, Any]]) -> list[Role]:
    """Roles of the listing's records."""
    return [_role(record) for record in records]


def _role(record: Mapping[str, Any]) -> Role:
    return Role(**{**record, "permissions": tuple(record["permissions"])})


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> Role:
    """Add a custom role. Raises Conflict through the transaction if the name is taken."""
    statement, args = rows.insertion("roles", COLUMNS, tenant_id, values)
    return _role(await conn.fetchrow(f"{statement} returning *", *args))


async def get(conn: Connection, tenant_id: int, role_id: int, *, lock: bool = False) -> Role | None:
    """The role; with ``lock`` nobody else changes it until the transaction ends."""
    record = await conn.fetchrow(f"{_SELECT} where tenant_id = $1 and id = $2{' for update' if lock else ''}", tenant_id, role_id)
    return None if record is None else _role(record)


async def by_name(conn: Connection, tenant_id: int, name: str) -> Role | None:
    """The role of this name."""
    record = await conn.fetchrow(f"{_SELECT} where tenant_id = $1 and name = $2", tenant_id, rows.storable(name))
    return None if record is None else _role(record)


async def update(conn: Connection, tenant_id: int, role_id: int, values: Mapping[str, Any]) -> Role | None:
    """Set columns; None if there is no such role."""
    statement, args = rows.update("roles", COLUMNS, tenant_id, role_id, values)
    record = await conn.fetchrow(f"{statement} returning *", *args)
    return None if record is None else _role(record)


async def delete(conn: Connection, tenant_id: int, role_id: int) -> bool:
    """Remove a role; whether it was there. Raises Conflict through the transaction while tokens or users have it."""
    return rows.updated(await conn.execute("delete from roles where tenant_id = $1 and id = $2 and not built_in", tenant_id, role_id)) > 0
