"""Users, their grants and recovery codes."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from netd.model.permission import within
from netd.model.user import User, UserGrant
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

COLUMNS = ("name", "full_name", "email", "oidc_issuer", "oidc_subject", "disabled_at", "created_by", "setup_hash", "setup_expires_at")
"""What can be set by a caller; passwords and second factors have statements of their own."""

_GRANTS = """coalesce((
        select jsonb_agg(jsonb_build_object(
            'id', g.id, 'role', g.role, 'organization_id', g.organization_id, 'organization', o.name, 'site_id', g.site_id, 'site', s.name,
            'source', g.source, 'created_by', g.created_by) order by g.id)
        from user_grants g left join organizations o on o.id = g.organization_id left join sites s on s.id = g.site_id
        where g.user_id = u.id), '[]')"""
_LOCKED = """(select f.locked_until from login_failures f where f.tenant_id = u.tenant_id and f.kind = 'user'
        and f.key = sha256(convert_to(u.name, 'UTF8')) and f.locked_until > now())"""
_SELECT = f"""
    select u.id, u.tenant_id, u.name, u.full_name, u.email, u.password_hash is not null as has_password, u.password_changed_at, u.setup_expires_at,
        u.totp_confirmed_at is not null as totp, u.oidc_issuer, u.oidc_subject, u.disabled_at, u.last_login_at, {_LOCKED} as locked_until,
        u.created_by, u.version, u.created_at, u.updated_at, {_GRANTS} as grants
    from users u"""

LISTING = Listing(
    kind="user", select=_SELECT, counted="users u", tenant="u.tenant_id", id="u.id", search="lower(concat_ws(' ', u.name, u.full_name, u.email)) like {}",
    columns={
        "id": Column(sql="u.id", kind=int, cast="bigint"), "name": Column(sql="u.name", param="lower({})", sortable=True),
        "email": Column(sql="lower(u.email)", param="lower({})", nullable=True), "created_at": Column(sql="u.created_at", kind=datetime, sortable=True),
        "disabled_at": Column(sql="u.disabled_at", kind=datetime, nullable=True), "last_login_at": Column(sql="u.last_login_at", kind=datetime, nullable=True),
    },
)  # fmt: skip


class Credentials(NamedTuple):
    """What a user logs in with; ``totp_secret`` is sealed and counts only if ``totp`` is true."""

    id: int
    name: str
    password_hash: str | None
    password_changed_at: datetime | None
    setup_hash: bytes | None
    setup_expires_at: datetime | None
    totp_secret: bytes | None
    totp: bool
    disabled: bool


_CREDENTIALS = """select id, name, password_hash, password_changed_at, setup_hash, setup_expires_at, totp_secret, totp_confirmed_at is not null,
                  disabled_at is not null from users"""


def of(records: Sequence[Mapping[str, Any]]) -> list[User]:
    """Users of the listing's records."""
    return [_user(record) for record in records]


def _user(record: Mapping[str, Any]) -> User:
    return User(**{**record, "grants": msgspec.convert(record["grants"], tuple[UserGrant, ...])})


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> int:
    """Add a user; returns the id. Raises Conflict through the transaction if the name is taken."""
    statement, args = rows.insertion("users", COLUMNS, tenant_id, values)
    return int(await conn.fetchval(f"{statement} returning id", *args))


async def get(conn: Connection, tenant_id: int, user_id: int, *, lock: bool = False) -> User | None:
    """The user; with ``lock`` nobody else changes it until the transaction ends."""
    record = await conn.fetchrow(f"{_SELECT} where u.tenant_id = $1 and u.id = $2{' for update of u' if lock else ''}", tenant_id, user_id)
    return None if record is None else _user(record)


async def by_oidc(conn: Connection, tenant_id: int, issuer: str, subject: str) -> User | None:
    """The user that is linked to this subject of this provider."""
    record = await conn.fetchrow(f"{_SELECT} where u.tenant_id = $1 and u.oidc_issuer = $2 and u.oidc_subject = $3", tenant_id, issuer, subject)
    return None if record is None else _user(record)


async def credentials(conn: Connection, tenant_id: int, *, name: str | None = None, user_id: int | None = None) -> Credentials | None:
    """What the user of this name or id logs in with."""
    where, key = ("name", rows.storable(name)) if name is not None else ("id", user_id)
    record = await conn.fetchrow(f"{_CREDENTIALS} where tenant_id = $1 and {where} = $2", tenant_id, key)
    return None if record is None else Credentials(*record)


async def update(conn: Connection, tenant_id: int, user_id: int, values: Mapping[str, Any]) -> bool:
    """Set columns; whether there is such a user."""
    statement, args = rows.update("users", COLUMNS, tenant_id, user_id, values)
    return rows.updated(await conn.execute(statement, *args)) > 0


async def set_password(conn: Connection, tenant_id: int, user_id: int, password_hash: str | None, now: datetime) -> None:
    """Set the hash, or take the password away; a setup token that is still open goes with it."""
    await conn.execute(
        """update users set password_hash = $3, password_changed_at = $4, setup_hash = null, setup_expires_at = null, version = version + 1, updated_at = now()
           where tenant_id = $1 and id = $2""", tenant_id, user_id, password_hash, now,
    )  # fmt: skip


async def rehash(conn: Connection, tenant_id: int, user_id: int, before: str, after: str) -> None:
    """Keep the same password under newer parameters, unless it was changed meanwhile."""
    await conn.execute("update users set password_hash = $4 where tenant_id = $1 and id = $2 and password_hash = $3", tenant_id, user_id, before, after)


async def set_totp(conn: Connection, tenant_id: int, user_id: int, sealed: bytes | None) -> None:
    """A new secret that is still to be confirmed, or none any more; recovery codes go with the old one."""
    await conn.execute(
        """update users set totp_secret = $3, totp_confirmed_at = null, totp_last_step = null, version = version + 1, updated_at = now()
           where tenant_id = $1 and id = $2""", tenant_id, user_id, sealed,
    )  # fmt: skip
    await conn.execute("delete from user_recovery_codes where tenant_id = $1 and user_id = $2", tenant_id, user_id)


async def confirm_totp(conn: Connection, tenant_id: int, user_id: int, now: datetime, code_hashes: Sequence[bytes]) -> None:
    """From now on the second factor counts; ``code_hashes`` are of the recovery codes."""
    await conn.execute(
        "update users set totp_confirmed_at = $3, version = version + 1, updated_at = now() where tenant_id = $1 and id = $2", tenant_id, user_id, now
    )
    await conn.execute(
        "insert into user_recovery_codes (tenant_id, user_id, code_hash) select $1, $2, unnest($3::bytea[])", tenant_id, user_id, list(code_hashes)
    )


async def use_step(conn: Connection, tenant_id: int, user_id: int, step: int) -> bool:
    """Take a time step; False if it, or a later one, was used before."""
    return rows.updated(await conn.execute(
        "update users set totp_last_step = $3 where tenant_id = $1 and id = $2 and coalesce(totp_last_step, -1) < $3", tenant_id, user_id, step,
    )) > 0  # fmt: skip


async def use_recovery_code(conn: Connection, tenant_id: int, user_id: int, code_hash: bytes) -> bool:
    """Use a code up; False if there is no such one."""
    return rows.updated(await conn.execute(
        "delete from user_recovery_codes where tenant_id = $1 and user_id = $2 and code_hash = $3", tenant_id, user_id, code_hash,
    )) > 0  # fmt: skip


async def recovery_codes(conn: Connection, tenant_id: int, user_id: int) -> int:
    """How many are left."""
    return int(await conn.fetchval("select count(*) from user_recovery_codes where tenant_id = $1 and user_id = $2", tenant_id, user_id))


async def logged_in(conn: Connection, tenant_id: int, user_id: int, now: datetime) -> None:
    """Note the log-in."""
    await conn.execute("update users set last_login_at = $3 where tenant_id = $1 and id = $2", tenant_id, user_id, now)


async def delete(conn: Connection, tenant_id: int, user_id: int) -> bool:
    """Remove a user with all grants and sessions; whether there was one."""
    return rows.updated(await conn.execute("delete from users where tenant_id = $1 and id = $2", tenant_id, user_id)) > 0


async def add_grant(
    conn: Connection, tenant_id: int, user_id: int, *, role: str, organization_id: int | None, site_id: int | None, source: str, created_by: str,
) -> int:  # fmt: skip
    """Give a role; returns the grant's id. Raises Conflict through the transaction for one that the user has."""
    return int(await conn.fetchval(
        """insert into user_grants (tenant_id, user_id, role, organization_id, site_id, source, created_by) values ($1, $2, $3, $4, $5, $6, $7) returning id""",
        tenant_id, user_id, role, organization_id, site_id, source, created_by,
    ))  # fmt: skip


async def drop_grant(conn: Connection, tenant_id: int, user_id: int, grant_id: int) -> bool:
    """Take a grant away; whether there was one."""
    return rows.updated(await conn.execute("delete from user_grants where tenant_id = $1 and user_id = $2 and id = $3", tenant_id, user_id, grant_id)) > 0


async def permissions(conn: Connection, tenant_id: int, user_id: int) -> frozenset[str]:
    """All that the user may, somewhere."""
    records = await conn.fetch(
        """select distinct r.name, r.built_in, r.permissions from user_grants g join roles r on r.tenant_id = g.tenant_id and r.name = g.role
           where g.tenant_id = $1 and g.user_id = $2""", tenant_id, user_id,
    )  # fmt: skip
    return frozenset().union(*(within(record["name"], record["built_in"], record["permissions"], None) for record in records))


async def sealed(conn: Connection, *, after: int, limit: int) -> list[tuple[int, bytes]]:
    """(id, sealed TOTP secret) of every tenant's users by id, for re-sealing; not confined to a tenant, for keys are not either."""
    records = await conn.fetch("select id, totp_secret from users where id > $1 and totp_secret is not null order by id limit $2", after, limit)
    return [(record["id"], record["totp_secret"]) for record in records]


async def reseal(conn: Connection, replacements: list[tuple[int, bytes, bytes]]) -> int:
    """Replace sealed secrets, (id, before, after), leaving out any that changed meanwhile; returns how many."""
    return rows.updated(await conn.execute(
        """update users set totp_secret = u.after from unnest($1::bigint[], $2::bytea[], $3::bytea[]) as u (id, before, after)
           where users.id = u.id and users.totp_secret = u.before""", *[list(column) for column in zip(*replacements, strict=True)],
    ))  # fmt: skip
