"""API tokens; only their SHA-256 is kept."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from netd.model.permission import within
from netd.model.token import Token
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

OWN_KEPT = timedelta(days=7)
"""How long tokens of subscribers' own accounts are kept once they are over; a portal makes many."""

_COLUMNS = ", ".join(Token.__struct_fields__)


class Stored(NamedTuple):
    """A token, what its text must hash to, what it allows, and the sites where (None: wherever in the tenant)."""

    token: Token
    token_hash: bytes
    allows: frozenset[str]
    sites: list[int] | None


LISTING = Listing(
    kind="token", select=f"select {_COLUMNS} from api_tokens", counted="api_tokens", tenant="tenant_id", id="id", search="lower(name) like {}",
    columns={
        "id": Column(sql="id", kind=int, cast="bigint"), "name": Column(sql="lower(name)", param="lower({})", sortable=True),
        "role": Column(sql="role", sortable=True), "created_by": Column(sql="created_by"),
        "subscriber_id": Column(sql="subscriber_id", kind=int, cast="bigint", nullable=True),
        "created_at": Column(sql="created_at", kind=datetime, sortable=True), "expires_at": Column(sql="expires_at", kind=datetime, nullable=True),
        "revoked_at": Column(sql="revoked_at", kind=datetime, nullable=True), "last_used_at": Column(sql="last_used_at", kind=datetime, nullable=True),
    },
)  # fmt: skip


def of(records: Sequence[Mapping[str, Any]]) -> list[Token]:
    """Tokens of the listing's records."""
    return [_token(record) for record in records]


async def insert(
    conn: Connection, tenant_id: int, *, public_id: str, token_hash: bytes, name: str, role: str, created_by: str, expires_at: datetime | None,
    organization_id: int | None = None, site_id: int | None = None, subscriber_id: int | None = None, permissions: Sequence[str] | None = None,
    person: str | None = None,
) -> Token:  # fmt: skip
    """Add a token."""
    return _token(await conn.fetchrow(
        f"""insert into api_tokens (tenant_id, public_id, token_hash, name, role, created_by, expires_at, organization_id, site_id, subscriber_id, permissions,
                person) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) returning {_COLUMNS}""",
        tenant_id, public_id, token_hash, name, role, created_by, expires_at, organization_id, site_id, subscriber_id, permissions, person,
    ))  # fmt: skip


def _token(record: Mapping[str, Any]) -> Token:
    values = {name: record[name] for name in Token.__struct_fields__}
    return Token(**{**values, "permissions": None if values["permissions"] is None else tuple(values["permissions"])})


async def by_public_id(conn: Connection, public_id: str) -> Stored | None:
    """The token with this public part. Not confined to a tenant: the token is what tells the tenant."""
    record = await conn.fetchrow("select * from netd_token($1)", public_id)
    if record is None:
        return None
    allows = within(record["role"], record["built_in"], record["role_permissions"], record["permissions"])
    return Stored(_token(record), record["token_hash"], allows, record["sites"])


async def public_id(conn: Connection, tenant_id: int, token_id: int) -> str | None:
    """The public part of a token."""
    found: str | None = await conn.fetchval("select public_id from api_tokens where tenant_id = $1 and id = $2", tenant_id, token_id)
    return found


async def used(conn: Connection, token_id: int, at: datetime) -> None:
    """Note that the token was used at ``at``."""
    await conn.execute("select netd_token_used($1, $2)", token_id, at)


async def get(conn: Connection, tenant_id: int, token_id: int) -> Token | None:
    """The token."""
    record = await conn.fetchrow(f"select {_COLUMNS} from api_tokens where tenant_id = $1 and id = $2", tenant_id, token_id)
    return None if record is None else _token(record)


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
