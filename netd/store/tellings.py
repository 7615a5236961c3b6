"""Events of the network, written in the transaction in which accounting or enforcement keeps what they are about."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from netd.store.database import Connection
from netd.store.rows import updated

WISHED: Final = timedelta(days=30)
"""How long events of sessions are written after somebody asked for them: as long as events are kept, so who comes back in time missed none."""

_STAMP = "to_char({} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
_SESSION = f"""jsonb_strip_nulls(jsonb_build_object(
    'username', r.username, 'nas', n.shortname, 'nas_id', r.nas_id, 'unique_id', r.acctuniqueid, 'acct_session_id', r.acctsessionid,
    'calling_station_id', r.callingstationid, 'framed_ip_address', host(r.framedipaddress), 'framed_ipv6_address', host(r.framedipv6address),
    'framed_ipv6_prefix', text(r.framedipv6prefix), 'delegated_ipv6_prefix', text(r.delegatedipv6prefix),
    'started_at', {_STAMP.format("r.acctstarttime")}))"""
_ENDED = f"""jsonb_build_object('stopped_at', {_STAMP.format("r.acctstoptime")}, 'session_seconds', r.acctsessiontime, 'up_octets', r.acctinputoctets,
    'down_octets', r.acctoutputoctets, 'terminate_cause', r.acctterminatecause, 'closed_by', r.closed_by)"""
_WHERE = "left join subscribers s on s.id = r.subscriber_id left join nas n on n.id = r.nas_id"
_INTO = "insert into events (tenant_id, type, object_type, object_id, subscriber_id, site_id, data)"
_COLUMNS = "r.tenant_id, {}, 'session', r.radacctid::text, r.subscriber_id, coalesce(s.site_id, n.site_id), {}"

# The rows were written a statement ago: read where they are, which spares the daemon to send them twice.
_OPEN = f"""{_INTO} select {_COLUMNS.format("u.t", _SESSION)}
    from unnest($1::bigint[], $2::text[]) with ordinality as u (id, t, place) join sessions r on r.radacctid = u.id {_WHERE} order by u.place"""
_CLOSED = f"""{_INTO} select {_COLUMNS.format("u.t", f"{_SESSION} || case u.t when 'session.stopped' then {_ENDED} else '{{}}' end")}
    from unnest($1::bigint[], $2::float8[], $3::text[]) with ordinality as u (id, at, t, place)
    join radacct r on r.radacctid = u.id and r.acctstarttime = to_timestamp(u.at) {_WHERE} order by u.place"""
ENDED_OF = f"""{_INTO} select {_COLUMNS.format("'session.stopped'", f"{_SESSION} || {_ENDED}")} from {{}} r {_WHERE}
    where r.tenant_id in (select netd_session_events_wanted())"""
"""Tells that the rows of a relation with the columns of ``radacct`` ended, where anybody wants to know."""

_ENFORCED = f"""{_INTO} select u.tenant, u.t, 'session', u.o, u.s, coalesce(s.site_id, n.site_id),
        jsonb_strip_nulls(jsonb_build_object('username', u.name, 'nas', n.shortname, 'nas_id', u.n, 'unique_id', u.k, 'state', u.state, 'detail', u.d))
    from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[]) with ordinality
        as u (tenant, t, o, s, n, name, k, state, d, place)
    left join subscribers s on s.id = u.s left join nas n on n.id = u.n order by u.place"""
_NAS = f"""{_INTO} select n.tenant_id, u.t, 'nas', n.id::text, null, n.site_id,
        jsonb_build_object('name', n.shortname, 'address', u.a, 'port', u.p, 'since', {_STAMP.format("to_timestamp(u.w)")}, 'detail', u.d)
    from unnest($1::bigint[], $2::text[], $3::text[], $4::int[], $5::float8[], $6::text[]) with ordinality as u (id, t, a, p, w, d, place)
    join nas n on n.id = u.id order by u.place"""


class Enforced(NamedTuple):
    """How enforcement ended for a session; ``object_id`` is the session's."""

    tenant_id: int
    type: str
    object_id: str
    subscriber_id: int | None
    nas_id: int | None
    username: str
    unique_id: str
    state: str
    detail: str


class NasTurned(NamedTuple):
    """A NAS went silent or is back, at an address of its; ``since`` is Unix time."""

    nas_id: int
    type: str
    address: str
    port: int
    since: float
    detail: str


async def wanted(conn: Connection) -> frozenset[int]:
    """The tenants where somebody wants events of sessions."""
    return frozenset(record[0] for record in await conn.fetch("select netd_session_events_wanted()"))


async def wish(conn: Connection, tenant_id: int, now: datetime) -> bool:
    """Note that somebody of the tenant wants events of sessions; whether that is news. Written once a day at most."""
    return updated(await conn.execute(
        """insert into session_event_wishes (tenant_id, wanted_until) values ($1, $2)
           on conflict (tenant_id) do update set wanted_until = $2 where session_event_wishes.wanted_until < $2 - interval '1 day'""",
        tenant_id, now + WISHED,
    )) > 0  # fmt: skip


async def tell_open(conn: Connection, told: Sequence[tuple[int, str]]) -> None:
    """Events of open sessions, (radacctid, type), in this order."""
    await conn.execute(_OPEN, [each[0] for each in told], [each[1] for each in told])


async def tell_closed(conn: Connection, told: Sequence[tuple[int, float, str]]) -> None:
    """Events of closed sessions, (radacctid, start as Unix time, type), in this order."""
    await conn.execute(_CLOSED, [each[0] for each in told], [each[1] for each in told], [each[2] for each in told])


async def tell_enforced(conn: Connection, told: Sequence[Enforced]) -> None:
    """Events of enforcement, in this order."""
    await conn.execute(_ENFORCED, *[list(column) for column in zip(*told, strict=True)])


async def tell_nas(conn: Connection, told: Sequence[NasTurned]) -> None:
    """Events of NAS, in this order."""
    await conn.execute(_NAS, *[list(column) for column in zip(*told, strict=True)])
