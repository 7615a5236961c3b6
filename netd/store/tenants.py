"""Tenants. These functions see all of them, so they take a connection of the owner."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from netd.model.tenant import Tenant
from netd.store.database import Connection
from netd.store.listing import EVERY_TENANT, Column, Listing

_MEMBERS = ", ".join(Tenant.__struct_fields__)
_SELECT = f"select {_MEMBERS} from tenants"

LISTING = Listing(
    kind="tenant", select=_SELECT, counted="tenants", tenant=EVERY_TENANT, id="id", search="name like {}",
    columns={
        "id": Column(sql="id", kind=int, cast="bigint"), "name": Column(sql="name", sortable=True),
        "created_at": Column(sql="created_at", kind=datetime, sortable=True),
    },
)  # fmt: skip


def of(records: Sequence[Mapping[str, Any]]) -> list[Tenant]:
    """Tenants of the listing's records."""
    return [Tenant(**record) for record in records]


async def insert(conn: Connection, name: str) -> Tenant:
    """Add a tenant, with its built-in roles. Raises Conflict through the transaction if the name is taken or unfit."""
    return Tenant(**await conn.fetchrow(f"insert into tenants (name) values ($1) returning {_MEMBERS}", name))


async def get(conn: Connection, tenant_id: int, *, lock: bool = False) -> Tenant | None:
    """The tenant; with ``lock`` nobody else changes it until the transaction ends."""
    record = await conn.fetchrow(f"{_SELECT} where id = $1{' for no key update' if lock else ''}", tenant_id)
    return None if record is None else Tenant(**record)


async def rename(conn: Connection, tenant_id: int, name: str) -> Tenant | None:
    """Give a tenant another name; None if there is no such tenant. Raises Conflict through the transaction if the name is taken or unfit."""
    record = await conn.fetchrow(f"update tenants set name = $2, version = version + 1 where id = $1 returning {_MEMBERS}", tenant_id, name)
    return None if record is None else Tenant(**record)
