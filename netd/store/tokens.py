"""API tokens; only their SHA-256 is kept."""

from datetime import datetime
from typing import NamedTuple

from netd.model.token import Token
from netd.store import rows
from netd.store.database import Connection

_COLUMNS = ", ".join(Token.__struct_fields__)


class Stored(NamedTuple):
    """A token and what its text must hash to."""

    token: Token
    token_hash: bytes


async def insert(
    conn: Connection, tenant_id: int, *, public_id: str, token_hash: bytes, name: str, role: str, created_by: str, expires_at: datetime | None,
) -> Token:  # fmt: skip
    """Add a token."""
    return Token(**await conn.fetchrow(
        f"""insert into api_tokens (tenant_id, public_id, token_hash, name, role, created_by, expires_at) values ($1, $2, $3, $4, $5, $6, $7)
            returning {_COLUMNS}""", tenant_id, public_id, token_hash, name, role, created_by, expires_at,
    ))  # fmt: skip


async def by_public_id(conn: Connection, public_id: str) -> Stored | None:
    """The token with this public part. Not confined to a tenant: the token is what tells the tenant."""
    record = await conn.fetchrow(f"select {_COLUMNS}, token_hash from api_tokens where public_id = $1", public_id)
    if record is None:
        return None
    return Stored(Token(**{name: record[name] for name in Token.__struct_fields__}), record["token_hash"])


async def used(conn: Connection, tenant_id: int, token_id: int, at: datetime) -> None:
    """Note that the token was used at ``at``."""
    await conn.execute("update api_tokens set last_used_at = greatest(last_used_at, $3) where tenant_id = $1 and id = $2", tenant_id, token_id, at)


async def get(conn: Connection, tenant_id: int, token_id: int) -> Token | None:
    """The token."""
    record = await conn.fetchrow(f"select {_COLUMNS} from api_tokens where tenant_id = $1 and id = $2", tenant_id, token_id)
    return None if record is None else Token(**record)


async def page(conn: Connection, tenant_id: int, *, after: int, limit: int) -> list[Token]:
    """Tokens by id, those after ``after``, revoked ones too."""
    records = await conn.fetch(f"select {_COLUMNS} from api_tokens where tenant_id = $1 and id > $2 order by id limit $3", tenant_id, after, limit)
    return [Token(**record) for record in records]


async def count(conn: Connection, tenant_id: int) -> int:
    """How many there are, revoked ones too."""
    return int(await conn.fetchval("select count(*) from api_tokens where tenant_id = $1", tenant_id))


async def revoke(conn: Connection, tenant_id: int, token_id: int) -> bool:
    """Revoke for ever; whether there was an unrevoked one."""
    status = await conn.execute("update api_tokens set revoked_at = now() where tenant_id = $1 and id = $2 and revoked_at is null", tenant_id, token_id)
    return rows.updated(status) > 0


async def lock(conn: Connection) -> None:
    """Keep other nodes from adding tokens until the transaction ends."""
    await conn.execute("lock table api_tokens in share row exclusive mode")


async def first_tenant(conn: Connection) -> int:
    """The id of the tenant ``default``, which every database has."""
    return int(await conn.fetchval("select id from tenants where name = 'default'"))
