"""Sites: names that several NAS share."""

from netd.store import rows
from netd.store.database import Connection


async def id_by_name(conn: Connection, tenant_id: int, name: str) -> int | None:
    """The site of this name, in any case of letters."""
    found: int | None = await conn.fetchval("select id from sites where tenant_id = $1 and lower(name) = lower($2)", tenant_id, rows.storable(name))
    return found


async def insert(conn: Connection, tenant_id: int, name: str) -> int:
    """Add a site. Raises Conflict through the transaction if somebody else did at the same time."""
    return int(await conn.fetchval("insert into sites (tenant_id, name) values ($1, $2) returning id", tenant_id, name))
