"""Sessions of users, and log-ins that failed."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from netd.model.permission import within
from netd.model.user import FailureKind, Lockout, SessionMethod, UserSession
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

REMEMBERED = timedelta(days=90)
"""How long an address that a user logged in from is known."""

_SESSION = "id, method, address, user_agent, created_at, last_used_at, expires_at"
_FAILURE = ", ".join(Lockout.__struct_fields__)

FAILURES = Listing(
    kind="lockout", select=f"select {_FAILURE} from login_failures", counted="login_failures", tenant="tenant_id", id="id", descending=True,
    columns={
        "id": Column(sql="id", kind=int, cast="bigint"), "kind": Column(sql="kind", kind=FailureKind, cast="text"),
        "subject": Column(sql="subject", nullable=True), "failed_at": Column(sql="failed_at", kind=datetime),
        "locked_until": Column(sql="locked_until", kind=datetime, nullable=True),
    },
)  # fmt: skip


class RoleGrant(NamedTuple):
    """What one grant of a session's user allows, and the sites where (None: in the whole tenant)."""

    role: str
    allows: frozenset[str]
    sites: frozenset[int] | None


class Found(NamedTuple):
    """A session that was not ended, of a user who is not disabled; whether it is still good is for the caller to say."""

    id: int
    tenant_id: int
    user_id: int
    name: str
    method: SessionMethod
    totp: bool
    last_used_at: datetime
    expires_at: datetime
    grants: tuple[RoleGrant, ...]


async def tenant_named(conn: Connection, name: str) -> int | None:
    """The id of the tenant."""
    found: int | None = await conn.fetchval("select netd_tenant_named($1)", rows.storable(name))
    return found


async def insert(
    conn: Connection, tenant_id: int, user_id: int, *, token_hash: bytes, method: SessionMethod, network: str, address: str | None,
    user_agent: str | None, now: datetime, expires_at: datetime,
) -> int:  # fmt: skip
    """Open a session; returns its id. Sessions that nobody needs to remember any more are removed."""
    await conn.execute("delete from user_sessions where tenant_id = $1 and expires_at < $2", tenant_id, now - REMEMBERED)
    return int(await conn.fetchval(
        """insert into user_sessions (tenant_id, user_id, token_hash, method, network, address, user_agent, created_at, last_used_at, expires_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9) returning id""",
        tenant_id, user_id, token_hash, method, network, rows.storable(address), rows.storable(user_agent), now, expires_at,
    ))  # fmt: skip


async def by_hash(conn: Connection, token_hash: bytes) -> Found | None:
    """The session with this hash. Not confined to a tenant: the session is what tells the tenant."""
    record = await conn.fetchrow("select * from netd_user_session($1)", token_hash)
    if record is None:
        return None
    grants = tuple(
        RoleGrant(each["role"], within(each["role"], each["built_in"], each["permissions"], None), None if each["sites"] is None else frozenset(each["sites"]))
        for each in record["grants"]
    )
    return Found(**{**record, "grants": grants})


async def grants(conn: Connection, tenant_id: int, user_id: int) -> list[RoleGrant]:
    """What a user who is not disabled may, and where; empty if there is none."""
    records = await conn.fetch(
        """select r.name, r.built_in, r.permissions,
               case when g.site_id is not null then array[g.site_id] when g.organization_id is not null then netd_sites_of(g.organization_id) end as sites
           from users u join user_grants g on g.user_id = u.id join roles r on r.tenant_id = g.tenant_id and r.name = g.role
           where u.tenant_id = $1 and u.id = $2 and u.disabled_at is null""", tenant_id, user_id,
    )  # fmt: skip
    return [
        RoleGrant(each["name"], within(each["name"], each["built_in"], each["permissions"], None), None if each["sites"] is None else frozenset(each["sites"]))
        for each in records
    ]


async def used(conn: Connection, session_id: int, at: datetime) -> None:
    """Note that the session was used at ``at``."""
    await conn.execute("select netd_user_session_used($1, $2)", session_id, at)


async def open_sessions(conn: Connection, tenant_id: int, user_id: int, now: datetime, idle_since: datetime) -> list[UserSession]:
    """The user's sessions that are good, newest first."""
    records = await conn.fetch(
        f"""select {_SESSION} from user_sessions
            where tenant_id = $1 and user_id = $2 and ended_at is null and expires_at > $3 and last_used_at > $4 order by id desc""",
        tenant_id, user_id, now, idle_since,
    )  # fmt: skip
    return [UserSession(**record) for record in records]


async def end(conn: Connection, tenant_id: int, user_id: int, now: datetime, *, only: int | None = None, but: int | None = None) -> int:
    """End the user's sessions: all, ``only`` one, or all ``but`` one; returns how many that were."""
    return rows.updated(await conn.execute(
        """update user_sessions set ended_at = $3 where tenant_id = $1 and user_id = $2 and ended_at is null and expires_at > $3
           and ($4::bigint is null or id = $4) and ($5::bigint is null or id <> $5)""", tenant_id, user_id, now, only, but,
    ))  # fmt: skip


async def knows(conn: Connection, tenant_id: int, user_id: int, network: str, since: datetime) -> bool:
    """Whether the user logged in from there before."""
    return bool(await conn.fetchval(
        "select exists (select from user_sessions where tenant_id = $1 and user_id = $2 and network = $3 and created_at > $4)",
        tenant_id, user_id, network, since,
    ))  # fmt: skip


class Counted(NamedTuple):
    """An attempt that may be made. It counts as failed until it is taken back; ``fills``: if it does fail, the lock is on."""

    failures: int
    fills: bool


async def count(
    conn: Connection, tenant_id: int, kind: FailureKind, key: bytes, subject: str | None, *, most: int, pause: timedelta, now: datetime,
) -> Counted | datetime:  # fmt: skip
    """Count an attempt before it is made, so that a thousand at once are no way around the limit; the end of the lock if there is one.

    A lock is not prolonged by who knocks on.
    """
    record = await conn.fetchrow(
        """insert into login_failures as f (tenant_id, kind, key, subject, failures, failed_at) values ($1, $2, $3, $4, 1, $5)
           on conflict (tenant_id, kind, key) do update set
               failures = case when f.locked_until is not null or f.failed_at < $5 - $7::interval then 1 else f.failures + 1 end,
               locked_until = case when f.locked_until is null and f.failed_at >= $5 - $7::interval and f.failures + 1 >= $6 then $5 + $7::interval end,
               failed_at = $5, subject = coalesce(excluded.subject, f.subject)
           where f.locked_until is null or f.locked_until <= $5
           returning failures, locked_until""", tenant_id, kind, key, rows.storable(subject), now, most, pause,
    )  # fmt: skip
    if record is not None:
        return Counted(record["failures"], record["locked_until"] is not None)
    until: datetime | None = await conn.fetchval(
        "select locked_until from login_failures where tenant_id = $1 and kind = $2 and key = $3", tenant_id, kind, key
    )
    return now + pause if until is None else until  # unlocked between the two: the caller comes again


async def take_back(conn: Connection, tenant_id: int, kind: FailureKind, key: bytes) -> None:
    """The attempt that was counted did not fail."""
    await conn.execute(
        "update login_failures set failures = greatest(failures - 1, 0), locked_until = null where tenant_id = $1 and kind = $2 and key = $3",
        tenant_id, kind, key,
    )  # fmt: skip


async def forget(conn: Connection, tenant_id: int, kind: FailureKind, key: bytes) -> bool:
    """Begin to count anew; whether there was anything."""
    return rows.updated(await conn.execute("delete from login_failures where tenant_id = $1 and kind = $2 and key = $3", tenant_id, kind, key)) > 0


async def purge(conn: Connection, tenant_id: int, before: datetime) -> None:
    """Remove what has not failed since ``before`` and is not locked."""
    await conn.execute(
        """delete from login_failures where id = any(array(
               select id from login_failures where tenant_id = $1 and failed_at < $2 and (locked_until is null or locked_until < $2)
               limit 1000 for update skip locked))""", tenant_id, before,
    )  # fmt: skip


class Standing(NamedTuple):
    """Of all tenants: sessions that are good, and locks that are on by kind."""

    sessions: int
    locks: Mapping[str, int]


async def standing(conn: Connection, now: datetime, idle_since: datetime) -> Standing:
    """How log-ins stand. Takes a connection of the owner, who sees all tenants."""
    sessions = await conn.fetchval("select count(*) from user_sessions where ended_at is null and expires_at > $1 and last_used_at > $2", now, idle_since)
    locks = await conn.fetch("select kind, count(*) as locked from login_failures where locked_until > $1 group by kind", now)
    return Standing(sessions, {each["kind"]: each["locked"] for each in locks})


def failures_of(records: Sequence[Mapping[str, Any]]) -> list[Lockout]:
    """Failures of the listing's records."""
    return [Lockout(**record) for record in records]


async def failure(conn: Connection, tenant_id: int, failure_id: int) -> Lockout | None:
    """The counter of this id."""
    record = await conn.fetchrow(f"select {_FAILURE} from login_failures where tenant_id = $1 and id = $2", tenant_id, failure_id)
    return None if record is None else Lockout(**record)


async def drop_failure(conn: Connection, tenant_id: int, *, failure_id: int | None = None, user: str | None = None) -> int:
    """Lift a lock: that of one counter, or all of a user's name; returns how many counters went."""
    return rows.updated(await conn.execute(
        "delete from login_failures where tenant_id = $1 and (id = $2 or (kind <> 'address' and split_part(subject, ' ', 1) = $3))",
        tenant_id, failure_id, user,
    ))  # fmt: skip


async def end_by_hash(conn: Connection, tenant_id: int, token_hash: bytes, now: datetime) -> bool:
    """End the session with this hash, if it is of this tenant; whether there was one."""
    return rows.updated(await conn.execute(
        "update user_sessions set ended_at = $3 where tenant_id = $1 and token_hash = $2 and ended_at is null", tenant_id, token_hash, now,
    )) > 0  # fmt: skip
