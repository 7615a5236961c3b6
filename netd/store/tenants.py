"""Tenants. These functions see all of them, so they take a connection of the owner."""

from netd.model.tenant import Tenant
from netd.store.database import Connection


async def insert(conn: Connection, name: str) -> Tenant:
    """Add a tenant, with its built-in roles. Raises Conflict through the transaction if the name is taken or unfit."""
    return Tenant(**await conn.fetchrow("insert into tenants (name) values ($1) returning id, name, created_at", name))


async def get(conn: Connection, tenant_id: int) -> Tenant | None:
    """The tenant."""
    record = await conn.fetchrow("select id, name, created_at from tenants where id = $1", tenant_id)
    return None if record is None else Tenant(**record)


async def page(conn: Connection, *, after: int, limit: int, name: str | None = None) -> list[Tenant]:
    """Tenants by id, those after ``after``."""
    records = await conn.fetch(
        "select id, name, created_at from tenants where id > $1 and ($3::text is null or name = $3) order by id limit $2", after, limit, name
    )
    return [Tenant(**record) for record in records]


async def count(conn: Connection, *, name: str | None = None) -> int:
    """How many there are."""
    return int(await conn.fetchval("select count(*) from tenants where $1::text is null or name = $1", name))


async def rename(conn: Connection, tenant_id: int, name: str) -> Tenant | None:
    """Give a tenant another name; None if there is no such tenant. Raises Conflict through the transaction if the name is taken or unfit."""
    record = await conn.fetchrow("update tenants set name = $2 where id = $1 returning id, name, created_at", tenant_id, name)
    return None if record is None else Tenant(**record)
