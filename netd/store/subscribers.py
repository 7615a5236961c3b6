"""Subscribers with their locks and additional attributes."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from netd.model.subscriber import Attribute, Lock, LockMode, LockReason, State, Subscriber, username_key
from netd.store import lines, rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

COLUMNS = frozenset((
    "username", "password", "password_hashed", "plan_id", "state", "state_changed_at", "state_reason", "max_sessions", "ipv4", "ipv6_prefix",
    "delegated_ipv6_prefix", "expires_at", "full_name", "note", "site_id", "access_hours", "time_zone", "vlan", "line_mode", "line_learn",
))  # fmt: skip
"""What can be set; ``password`` is sealed."""

AttributeTable = Literal["radcheck", "radreply"]

_APART = ("plan", "site", "locks", "checks", "replies", "lines", "mac_addresses", "circuit_ids")
_PLAIN = tuple(name for name in Subscriber.__struct_fields__ if name not in _APART)
_MEMBERS = ", ".join(f"s.{name}" for name in _PLAIN)
_WANTED = f"select {_MEMBERS}, p.name as plan, (select w.name from sites w where w.id = s.site_id) as site"
_SELECT = f"{_WANTED} from subscribers s join plans p on p.tenant_id = s.tenant_id and p.id = s.plan_id"
# Each key by the unique index, whatever the planner believes of a table that was just filled: of many keys at once it would read all the tenant's rows.
_BY_KEYS = f"""{_WANTED}, s.username_key, s.password, s.password_hashed
               from unnest($2::text[]) as k (key)
               cross join lateral (select * from subscribers where tenant_id = $1 and username_key = k.key offset 0 for update) s
               join plans p on p.tenant_id = s.tenant_id and p.id = s.plan_id"""
_LOCK = "id, reason, mode, note, until_at, created_at, created_by"
_LOCKS = f"""select subscriber_id, {_LOCK} from access_locks where tenant_id = $1 and subscriber_id = any($2::bigint[])
             and lifted_at is null and (until_at is null or until_at > now()) order by id"""


LISTING = Listing(
    kind="subscriber", select=_SELECT, counted="subscribers s join plans p on p.tenant_id = s.tenant_id and p.id = s.plan_id", tenant="s.tenant_id", id="s.id",
    search="(s.username_key || ' ' || lower(coalesce(s.full_name, '')) || ' ' || coalesce(host(s.ipv4), '')) like {}", search_fold=username_key,
    columns={
        "id": Column(sql="s.id", kind=int, cast="bigint"), "username": Column(sql="s.username_key", fold=username_key, sortable=True),
        "state": Column(sql="s.state", kind=State, cast="text", sortable=True),
        "state_changed_at": Column(sql="s.state_changed_at", kind=datetime, sortable=True),
        "plan": Column(sql="lower(p.name)", param="lower({})", sortable=True), "plan_id": Column(sql="s.plan_id", kind=int, cast="bigint"),
        "site": Column(sql="(select lower(w.name) from sites w where w.id = s.site_id)", param="lower({})"),
        "site_id": Column(sql="s.site_id", kind=int, cast="bigint", nullable=True),
        "ipv4": Column(sql="s.ipv4", cast="inet", nullable=True), "full_name": Column(sql="lower(s.full_name)", param="lower({})", nullable=True),
        "expires_at": Column(sql="s.expires_at", kind=datetime, nullable=True),
        "created_at": Column(sql="s.created_at", kind=datetime, sortable=True), "updated_at": Column(sql="s.updated_at", kind=datetime, sortable=True),
    },
)  # fmt: skip


def _with_key(values: Mapping[str, Any]) -> dict[str, Any]:
    if "username" not in values:
        return dict(values)
    return {**values, "username_key": username_key(values["username"])}


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> int:
    """Add a subscriber; returns its id. Raises Conflict through the transaction: username or address is taken, no such plan."""
    statement, args = rows.insertion("subscribers", COLUMNS | {"username_key"}, tenant_id, _with_key(values))
    return int(await conn.fetchval(f"{statement} returning id", *args))


async def get(conn: Connection, tenant_id: int, subscriber_id: int, *, lock: bool = False) -> Subscriber | None:
    """The subscriber; with ``lock`` nobody else changes it until the transaction ends."""
    suffix = " for update of s" if lock else ""
    record = await conn.fetchrow(f"{_SELECT} where s.tenant_id = $1 and s.id = $2{suffix}", tenant_id, subscriber_id)
    return None if record is None else (await whole(conn, tenant_id, [record]))[0]


async def by_username(conn: Connection, tenant_id: int, username: str) -> Subscriber | None:
    """The subscriber of this name, compared by ``username_key``."""
    record = await conn.fetchrow(f"{_SELECT} where s.tenant_id = $1 and s.username_key = $2", tenant_id, rows.storable(username_key(username)))
    return None if record is None else (await whole(conn, tenant_id, [record]))[0]


class Stored(NamedTuple):
    """A subscriber with what is secret of it: the sealed password or hash."""

    subscriber: Subscriber
    password: bytes | None
    password_hashed: bool


async def by_keys(conn: Connection, tenant_id: int, keys: Sequence[str]) -> dict[str, Stored]:
    """Those of the subscribers named by their ``username_key`` that exist; nobody else changes them until the transaction ends."""
    found: dict[str, Stored] = {}
    apart: dict[int, tuple[str, bytes | None, bool]] = {}
    records = []
    for record in await conn.fetch(_BY_KEYS, tenant_id, sorted(set(keys))):  # in one order, so that two imports wait for each other and do not deadlock
        members = dict(record)
        apart[members["id"]] = (members.pop("username_key"), members.pop("password"), members.pop("password_hashed"))
        records.append(members)
    for each in await whole(conn, tenant_id, records):
        key, password, hashed = apart[each.id]
        found[key] = Stored(each, password, hashed)
    return found


async def whole(conn: Connection, tenant_id: int, records: Sequence[Mapping[str, Any]]) -> list[Subscriber]:
    """Subscribers of the listing's records, with what hangs on them: five queries, however many they are."""
    if not records:
        return []
    ids = [record["id"] for record in records]
    locks: dict[int, list[Lock]] = {}
    for record in await conn.fetch(_LOCKS, tenant_id, ids):
        locks.setdefault(record["subscriber_id"], []).append(_lock(record))
    where_from, devices = await lines.lines(conn, tenant_id, ids), await lines.identities(conn, tenant_id, ids)
    checks, replies = await _attributes(conn, "radcheck", tenant_id, ids), await _attributes(conn, "radreply", tenant_id, ids)
    return [
        Subscriber(**{
            **record, "ipv4": rows.address(record["ipv4"]), "locks": tuple(locks.get(record["id"], ())),
            "checks": checks.get(record["id"], ()), "replies": replies.get(record["id"], ()),
            "lines": where_from.get(record["id"], ()), "mac_addresses": devices.get((record["id"], "mac"), ()),
            "circuit_ids": devices.get((record["id"], "circuit_id"), ()),
        })
        for record in records
    ]  # fmt: skip


def _lock(record: Mapping[str, Any]) -> Lock:
    return Lock(**{name: record[name] for name in Lock.__struct_fields__})


async def _attributes(conn: Connection, table: AttributeTable, tenant_id: int, ids: list[int]) -> dict[int, tuple[Attribute, ...]]:
    found: dict[int, tuple[Attribute, ...]] = {}
    for subscriber_id, attribute, op, value in await conn.fetch(
        f"select subscriber_id, attribute, op, value from {table} where tenant_id = $1 and subscriber_id = any($2::bigint[]) order by id", tenant_id, ids
    ):
        found[subscriber_id] = (*found.get(subscriber_id, ()), Attribute(attribute=attribute, op=op, value=value))
    return found


async def replace_attributes(conn: Connection, table: AttributeTable, tenant_id: int, subscriber_id: int, attributes: Sequence[Attribute]) -> None:
    """Make these the subscriber's only check or reply attributes, in this order."""
    await conn.execute(f"delete from {table} where tenant_id = $1 and subscriber_id = $2", tenant_id, subscriber_id)
    if attributes:
        # username is filled in by a trigger.
        await conn.execute(
            f"""insert into {table} (tenant_id, subscriber_id, username, attribute, op, value)
                select $1, $2, '', u.attribute, u.op, u.value from unnest($3::text[], $4::text[], $5::text[]) with ordinality as u (attribute, op, value, place)
                order by u.place""",
            tenant_id, subscriber_id, [each.attribute for each in attributes], [each.op for each in attributes], [each.value for each in attributes],
        )  # fmt: skip


async def update(conn: Connection, tenant_id: int, subscriber_id: int, values: Mapping[str, Any]) -> bool:
    """Set columns and count the version up (with no column at all too: what hangs on the row changed); whether it was there."""
    statement, args = rows.update("subscribers", COLUMNS | {"username_key"}, tenant_id, subscriber_id, _with_key(values))
    return rows.updated(await conn.execute(statement, *args)) > 0


async def set_state(conn: Connection, tenant_id: int, subscriber_id: int, state: str, reason: str | None) -> bool:
    """Enter a state now; whether the subscriber was there."""
    return rows.updated(await conn.execute(
        """update subscribers set state = $3, state_changed_at = now(), state_reason = $4, version = version + 1, updated_at = now()
           where tenant_id = $1 and id = $2""", tenant_id, subscriber_id, state, reason,
    )) > 0  # fmt: skip


async def delete(conn: Connection, tenant_id: int, subscriber_id: int) -> bool:
    """Remove a subscriber with locks, attributes and usage; sessions stay, without a subscriber. Whether it was there."""
    return rows.updated(await conn.execute("delete from subscribers where tenant_id = $1 and id = $2", tenant_id, subscriber_id)) > 0


async def password(conn: Connection, tenant_id: int, subscriber_id: int) -> bytes | None:
    """The sealed password, None if none is set."""
    found: bytes | None = await conn.fetchval("select password from subscribers where tenant_id = $1 and id = $2", tenant_id, subscriber_id)
    return found


async def sealed_of(conn: Connection, tenant_id: int, ids: Sequence[int]) -> dict[int, tuple[bytes, bool]]:
    """The sealed passwords of some, by id, and whether each is a hash; who has none is left out."""
    records = await conn.fetch(
        "select id, password, password_hashed from subscribers where tenant_id = $1 and id = any($2::bigint[]) and password is not null", tenant_id, ids
    )
    return {record["id"]: (record["password"], record["password_hashed"]) for record in records}


async def has_password(conn: Connection, tenant_id: int, subscriber_id: int) -> bool:
    """Whether a password is set."""
    return bool(await conn.fetchval("select password is not null from subscribers where tenant_id = $1 and id = $2", tenant_id, subscriber_id))


async def add_lock(
    conn: Connection, tenant_id: int, subscriber_id: int, *, reason: LockReason, mode: LockMode, note: str | None, until_at: datetime | None, created_by: str,
) -> Lock:  # fmt: skip
    """Lock. The lock of this reason, even one that has run out, must have been lifted before (``lift_lock``)."""
    return _lock(await conn.fetchrow(
        f"""insert into access_locks (tenant_id, subscriber_id, reason, mode, note, until_at, created_by) values ($1, $2, $3, $4, $5, $6, $7)
            returning {_LOCK}""", tenant_id, subscriber_id, reason, mode, note, until_at, created_by,
    ))  # fmt: skip


async def lift_lock(conn: Connection, tenant_id: int, subscriber_id: int, reason: LockReason, lifted_by: str) -> Lock | None:
    """Lift the lock of this reason; returns it if it was in force. One that has run out ends at its own time."""
    record = await conn.fetchrow(
        f"""update access_locks set lifted_at = least(now(), until_at), lifted_by = case when until_at <= now() then 'netd' else $4 end
            where tenant_id = $1 and subscriber_id = $2 and reason = $3 and lifted_at is null
            returning {_LOCK}, until_at is null or until_at > now() as in_force""", tenant_id, subscriber_id, reason, lifted_by,
    )  # fmt: skip
    return _lock(record) if record is not None and record["in_force"] else None


async def is_future(conn: Connection, at: datetime) -> bool:
    """Whether the database's clock, which locks go by, has yet to reach ``at``."""
    return bool(await conn.fetchval("select $1::timestamptz > now()", at))


async def sealed(conn: Connection, *, after: int, limit: int) -> list[tuple[int, bytes]]:
    """(id, sealed password) of every tenant's subscribers by id, for re-sealing; not confined to a tenant, for keys are not either."""
    records = await conn.fetch("select id, password from subscribers where id > $1 and password is not null order by id limit $2", after, limit)
    return [(record["id"], record["password"]) for record in records]


async def reseal(conn: Connection, replacements: list[tuple[int, bytes, bytes]]) -> int:
    """Replace sealed passwords, (id, before, after), leaving out any that changed meanwhile; returns how many."""
    return rows.updated(await conn.execute(
        """update subscribers set password = u.after from unnest($1::bigint[], $2::bytea[], $3::bytea[]) as u (id, before, after)
           where subscribers.id = u.id and subscribers.password = u.before""", *[list(column) for column in zip(*replacements, strict=True)],
    ))  # fmt: skip
