"""What the engine's directory reads: every tenant's subscribers, plans and NAS, as plain tuples for speed.

The API reads through ``store.subscribers`` and its siblings instead; this module crosses tenants on purpose.
"""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import msgspec

from netd.model.plan import Plan
from netd.model.subscriber import Attribute
from netd.store.database import Connection

CHUNK = 2_000
"""Rows per step, so that decoding a large directory never holds the event loop for long."""


class LineRow(NamedTuple):
    """A line that a subscriber may come from; what is not None must all be so."""

    nas_id: int | None
    circuit_id: str | None
    remote_id: str | None
    nas_port_id: str | None
    mac: str | None


class TermsRow(NamedTuple):
    """What few subscribers have: hours, VLAN, lines, devices. ``identities`` are keys such as ``mac 00:11:22:33:44:55``."""

    access_hours: str | None
    time_zone: str | None
    vlan: str | None
    line_mode: str
    line_learn: bool
    lines: tuple[LineRow, ...] = ()
    identities: tuple[str, ...] = ()


class SubscriberRow(NamedTuple):
    """A subscriber as the engine needs it. ``password`` is sealed, addresses are text, times Unix time."""

    id: int
    tenant_id: int
    username: str
    username_key: str
    password: bytes | None
    plan_id: int
    state: str
    state_changed_at: float
    max_sessions: int | None
    ipv4: str | None
    ipv6_prefix: str | None
    delegated_ipv6_prefix: str | None
    expires_at: float | None
    locks: list[tuple[str, str, float | None]] | None  # reason, mode, until (Unix time)
    checks: list[tuple[str, str, str]] | None  # attribute, op, value
    replies: list[tuple[str, str, str]] | None
    terms: TermsRow | None = None
    activated_at: float = 0.0
    password_hashed: bool = False  # password is what netd.wire.hashes reads
    routes: list[tuple[str, str | None, int]] | None = None  # prefix, gateway, metric


class NasRow(NamedTuple):
    """A NAS as the engine needs it; ``secret`` is sealed."""

    id: int
    tenant_id: int
    nasname: str
    shortname: str
    vendor: str
    secret: bytes
    coa_address: str | None
    coa_port: int | None
    require_message_authenticator: str
    limit_proxy_state: str
    learned_require_message_authenticator: str | None
    learned_limit_proxy_state: str | None
    enabled: bool
    line_login: Sequence[str] = ()
    line_login_passwords: Sequence[str] = ()
    line_login_password: bytes | None = None  # sealed
    site_id: int | None = None
    vrf: str | None = None


class CoaClientRow(NamedTuple):
    """A system that may send Disconnect- and CoA-Requests, as the engine needs it; ``secret`` is sealed."""

    id: int
    tenant_id: int
    name: str
    address: str
    secret: bytes
    may_disconnect: bool
    may_change: bool
    may_override: bool
    may_select_many: bool
    require_message_authenticator: bool
    require_event_timestamp: bool
    enabled: bool


# 'infinity', which SQL can put in, means the same as no end.
_FINITE = "case when isfinite({0}) then extract(epoch from {0})::float8 end"
_SUBSCRIBERS = """
    select s.id, s.tenant_id, s.username, s.username_key, s.password, s.plan_id, s.state, extract(epoch from s.state_changed_at)::float8,
           s.max_sessions, host(s.ipv4), text(s.ipv6_prefix), text(s.delegated_ipv6_prefix), {finite_expiry},
           l.locks, c.checks, r.replies,
           case when s.access_hours is not null or s.vlan is not null or s.line_mode <> 'ignore' or i.identities is not null then
               jsonb_build_array(s.access_hours, s.time_zone, s.vlan, s.line_mode, s.line_learn, n.lines, i.identities)::text end,
           extract(epoch from s.activated_at)::float8,
           s.password_hashed,
           f.routes
    from subscribers s
    left join (select subscriber_id, jsonb_agg(jsonb_build_array(reason, mode, {finite_until}))::text as locks
               from access_locks where lifted_at is null {lock} group by 1) l on l.subscriber_id = s.id
    left join (select subscriber_id, jsonb_agg(jsonb_build_array(attribute, op, value) order by id)::text as checks
               from radcheck {row} group by 1) c on c.subscriber_id = s.id
    left join (select subscriber_id, jsonb_agg(jsonb_build_array(attribute, op, value) order by id)::text as replies
               from radreply {row} group by 1) r on r.subscriber_id = s.id
    left join (select subscriber_id, jsonb_agg(jsonb_build_array(nas_id, circuit_id, remote_id, nas_port_id, mac) order by id) as lines
               from subscriber_lines {row} group by 1) n on n.subscriber_id = s.id
    left join (select subscriber_id, jsonb_agg(kind || ' ' || value order by kind, value) as identities
               from subscriber_identities {row} group by 1) i on i.subscriber_id = s.id
    left join (select subscriber_id, jsonb_agg(jsonb_build_array(prefix::text, host(gateway), metric) order by id)::text as routes
               from framed_routes {row} group by 1) f on f.subscriber_id = s.id
    {where}"""
_ENDS = {"finite_expiry": _FINITE.format("s.expires_at"), "finite_until": _FINITE.format("until_at")}
_ALL_SUBSCRIBERS = _SUBSCRIBERS.format(lock="", row="", where="", **_ENDS)
_SOME_SUBSCRIBERS = _SUBSCRIBERS.format(
    lock="and subscriber_id = any($1::bigint[])", row="where subscriber_id = any($1::bigint[])", where="where s.id = any($1::bigint[])", **_ENDS
)
_NAS = """
    select id, tenant_id, text(nasname), shortname, type, secret, host(coa_address), coa_port, require_message_authenticator, limit_proxy_state,
           learned_require_message_authenticator, learned_limit_proxy_state, enabled, line_login, line_login_passwords, line_login_password, site_id, vrf
    from nas {where}"""
_PLANS = "select {columns} from plans {where}"
_PLAN_COLUMNS = ", ".join(Plan.__struct_fields__)


def _subscriber(record: Sequence[object]) -> SubscriberRow:
    row = SubscriberRow._make(record)
    if row.terms is not None:
        row = row._replace(terms=_terms(row.terms))
    if row.locks is None and row.checks is None and row.replies is None and row.routes is None:
        return row
    return row._replace(locks=_json(row.locks), checks=_json(row.checks), replies=_json(row.replies), routes=_json(row.routes))  # type: ignore[arg-type]


def _terms(text: object) -> TermsRow:
    hours, zone, vlan, mode, learn, lines, identities = msgspec.json.decode(str(text))
    return TermsRow(hours, zone, vlan, mode, learn, tuple(LineRow(*line) for line in lines or ()), tuple(identities or ()))


def _json(text: object) -> list[tuple[object, ...]] | None:
    return None if text is None else [tuple(item) for item in msgspec.json.decode(str(text))]


async def all_subscribers(conn: Connection) -> AsyncIterator[list[SubscriberRow]]:
    """Every subscriber, in chunks; must run inside a transaction."""
    cursor = await conn.cursor(_ALL_SUBSCRIBERS)
    while records := await cursor.fetch(CHUNK):
        yield [_subscriber(record) for record in records]


async def some_subscribers(conn: Connection, ids: Sequence[int]) -> list[SubscriberRow]:
    """The subscribers among ``ids`` that exist."""
    return [_subscriber(record) for record in await conn.fetch(_SOME_SUBSCRIBERS, ids)]


async def nas(conn: Connection, ids: Sequence[int] | None = None) -> list[NasRow]:
    """All NAS, or those among ``ids``."""
    records = await conn.fetch(_NAS.format(where="")) if ids is None else await conn.fetch(_NAS.format(where="where id = any($1::bigint[])"), ids)
    return [NasRow(*record) for record in records]


async def coa_clients(conn: Connection, ids: Sequence[int] | None = None) -> list[CoaClientRow]:
    """All systems that may send Disconnect- and CoA-Requests, or those among ``ids``."""
    columns = ", ".join("text(address)" if name == "address" else name for name in CoaClientRow._fields)
    records = await conn.fetch(f"select {columns} from coa_clients where $1::bigint[] is null or id = any($1::bigint[])", ids)
    return [CoaClientRow(*record) for record in records]


async def plans(conn: Connection, ids: Sequence[int] | None = None) -> list[Plan]:
    """All plans, or those among ``ids``."""
    if ids is None:
        records = await conn.fetch(_PLANS.format(columns=_PLAN_COLUMNS, where=""))
    else:
        records = await conn.fetch(_PLANS.format(columns=_PLAN_COLUMNS, where="where id = any($1::bigint[])"), ids)
    return [
        Plan(**{
            **record, "dns": tuple(getattr(d, "ip", d) for d in record["dns"]), "replies": tuple(Attribute(**each) for each in record["replies"]),
        })
        for record in records
    ]  # fmt: skip


async def learned(conn: Connection, nas_id: int, require: str | None, limit: str | None) -> None:
    """Keep what ``auto`` found out about a NAS (CVE-2024-3596 rules; None: nothing new), where the switch still is ``auto``."""
    await conn.execute(
        """update nas set
             learned_require_message_authenticator =
               case when require_message_authenticator = 'auto' then coalesce($2, learned_require_message_authenticator) end,
             learned_limit_proxy_state = case when limit_proxy_state = 'auto' then coalesce($3, learned_limit_proxy_state) end
           where id = $1 and 'auto' in (require_message_authenticator, limit_proxy_state)""",
        nas_id, require, limit,
    )  # fmt: skip
