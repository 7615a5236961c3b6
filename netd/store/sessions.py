"""Sessions for people and the API: open ones from ``sessions``, closed ones from ``radacct``, both in one order.

Both tables take radacctid from one sequence and a session keeps its id when it closes, so a page that goes back by id goes back
in time. The engine's bulk reading and writing is ``store.accounting``.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any, Literal

import msgspec

from netd.model.session import ClosedBy, EnforceState, Session
from netd.model.usage import DayUsage, MonthUsage
from netd.store import listing, rows, tellings
from netd.store.database import Connection
from netd.store.listing import Column, Listing, Selection

StateFilter = Literal["open", "closed", "all"]

_COLUMN = {
    "id": "radacctid", "unique_id": "acctuniqueid", "acct_session_id": "acctsessionid", "nas_ip_address": "nasipaddress", "nas_port_id": "nasportid",
    "calling_station_id": "callingstationid", "called_station_id": "calledstationid", "started_at": "acctstarttime", "updated_at": "acctupdatetime",
    "stopped_at": "acctstoptime", "session_seconds": "acctsessiontime", "up_octets": "acctinputoctets", "down_octets": "acctoutputoctets",
    "framed_ip_address": "framedipaddress", "framed_ipv6_address": "framedipv6address", "framed_ipv6_prefix": "framedipv6prefix",
    "delegated_ipv6_prefix": "delegatedipv6prefix", "terminate_cause": "acctterminatecause",
}  # fmt: skip
_ONLY_OPEN = {"enforce_state": "text", "enforce_detail": "text", "enforce_at": "timestamptz"}
_ONLY_CLOSED = {"stopped_at": "timestamptz", "terminate_cause": "text", "closed_by": "text"}
_NAMES = tuple(name for name in Session.__struct_fields__ if name != "nas")

# Columns that a row takes along when its session closes.
_KEPT = (
    "radacctid, tenant_id, nas_id, subscriber_id, acctuniqueid, acctsessionid, username, realm, nasipaddress, nassourceaddress, nasidentifier, nasportid, "
    "nasporttype, acctstarttime, acctupdatetime, acctinterval, acctsessiontime, acctauthentic, connectinfo_start, acctinputoctets, acctoutputoctets, "
    "acctinputpackets, acctoutputpackets, calledstationid, callingstationid, servicetype, framedprotocol, framedipaddress, framedipv6address, "
    "framedipv6prefix, framedinterfaceid, delegatedipv6prefix, class, interim_seconds, applied_policy"
)


def _members(absent: Mapping[str, str]) -> str:
    return ", ".join(f"null::{absent[name]} as {name}" if name in absent else f"{_COLUMN.get(name, name)} as {name}" for name in _NAMES)


_OPEN = f"select {_members(_ONLY_CLOSED)} from sessions"
_CLOSED = f"select {_members(_ONLY_OPEN)} from radacct"


LISTING = Listing(
    kind="session", select="", counted="", tenant="tenant_id", id="radacctid", descending=True,
    columns={
        "id": Column(sql="radacctid", kind=int, cast="bigint"), "username": Column(sql="lower(btrim(username))", param="lower(btrim({}))"),
        "subscriber_id": Column(sql="subscriber_id", kind=int, cast="bigint", nullable=True),
        "nas_id": Column(sql="nas_id", kind=int, cast="bigint", nullable=True), "acct_session_id": Column(sql="acctsessionid"),
        "calling_station_id": Column(sql="callingstationid", nullable=True), "nas_port_id": Column(sql="nasportid", nullable=True),
        "started_at": Column(sql="acctstarttime", kind=datetime), "updated_at": Column(sql="acctupdatetime", kind=datetime),
        "stopped_at": Column(sql="acctstoptime", kind=datetime), "closed_by": Column(sql="closed_by", kind=ClosedBy),
        "terminate_cause": Column(sql="acctterminatecause"), "enforce_state": Column(sql="enforce_state", kind=EnforceState),
    },
    search="lower(concat_ws(' ', username, acctsessionid, callingstationid, nasportid, host(framedipaddress))) like {}",
)  # fmt: skip
"""A page of both tables, each of which is asked for no more than the page. By id only, which is the order of their making: an index for every
other order would cost each accounting record. ``started_at`` leaves out months that cannot have any."""

_OF_CLOSED = frozenset(("stopped_at", "closed_by", "terminate_cause"))
_OF_OPEN = frozenset(("enforce_state",))


class SessionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions, besides what a list's columns say: all conditions that are not None must hold. ``ip`` is an address of the session or in one
    of its prefixes; ``at`` a moment at which it was open, give or take ``slack``."""

    state: StateFilter = "all"
    subscriber_id: int | None = None
    ip: IPv4Address | IPv6Address | None = None
    at: datetime | None = None
    slack: timedelta = timedelta()


def _session(record: Mapping[str, Any]) -> Session:
    return Session(**{
        **record, "nas_ip_address": rows.address(record["nas_ip_address"]),
        "framed_ip_address": rows.address(record["framed_ip_address"]), "framed_ipv6_address": rows.address(record["framed_ipv6_address"]),
        "framed_ipv6_prefix": rows.network(record["framed_ipv6_prefix"]), "delegated_ipv6_prefix": rows.network(record["delegated_ipv6_prefix"]),
    })  # fmt: skip


def _where(tenant_id: int, wanted: SessionFilter, selection: Selection) -> rows.Where:
    where = listing.where_of(LISTING, tenant_id, selection)
    if wanted.subscriber_id is not None:
        where.add("subscriber_id = {}", wanted.subscriber_id)
    if wanted.at is not None:
        where.add("acctstarttime <= {}", wanted.at + wanted.slack)
    return where


# Months before the first one that reaches to the moment hold no session that lasted until then, so they are not read at all; of the others the
# index by address and stop hands out what ended after it. See sql/0004_relay.sql.
_LASTED = """ and acctstoptime >= {0} and acctstarttime >= (
    select min(month)::timestamp at time zone 'UTC' from radacct_reach where reached_at >= {0} and month <= ({1} at time zone 'UTC')::date)"""


def _holding(where: rows.Where, ip: IPv4Address | IPv6Address | None) -> list[tuple[str, str]]:
    """Conditions of which one must hold for a session to have ``ip``, as (column, placeholder); a placeholder of an array means any of it."""
    if ip is None:
        return []
    one = f"{where.place(ip)}::inet"
    if isinstance(ip, IPv4Address):
        return [("framedipaddress", one)]
    holders = f"{where.place([ip_network((ip, length), strict=False) for length in range(129)])}::inet[]"
    return [("framedipv6address", one), ("framedipv6prefix", holders), ("delegatedipv6prefix", holders)]


def _parts(where: rows.Where, wanted: SessionFilter, selection: Selection) -> list[str]:
    """One select for each table that is wanted and has the columns that are asked about. ``where`` may get more arguments."""
    parts = []
    holding = _holding(where, wanted.ip)
    asked = {condition.column for condition in selection.conditions}
    if wanted.state != "closed" and not asked & _OF_CLOSED:
        having = " or ".join(f"{column} = any({value})" if value.endswith("[]") else f"{column} = {value}" for column, value in holding)
        parts.append(f"{_OPEN} where {where} and ({having or 'true'})")
    if wanted.state != "open" and not asked & _OF_OPEN:
        over = ""
        if wanted.at is not None:
            over = _LASTED.format(f"{where.place(wanted.at - wanted.slack)}::timestamptz", f"{where.place(wanted.at + wanted.slack)}::timestamptz")
        parts.append(_closed(f"{_CLOSED} where {where}{over}", holding))
    return parts


def _closed(select: str, holding: Sequence[tuple[str, str]]) -> str:
    """A select for each condition, and for each prefix, which leaves no other way to it than its index; the union shows once what two find.

    Few sessions have one address: find them by it, then sort. Left to itself the planner may walk back through all sessions in order of id in
    the hope of meeting the address soon; "offset 0" keeps order and limit from it.
    """
    if not holding:
        return select
    selects = []
    for column, value in holding:
        if value.endswith("[]"):
            selects.append(f"(select part.* from unnest({value}) as holder cross join lateral ({select} and {column} = holder offset 0) part)")
        else:
            selects.append(f"({select} and {column} = {value} offset 0)")
    return " union ".join(selects)


async def page(conn: Connection, tenant_id: int, wanted: SessionFilter, selection: Selection) -> list[Session]:
    """Sessions, newest id first unless the selection says otherwise. Each table is asked for no more than the limit."""
    where = _where(tenant_id, wanted, selection)
    down = listing.place_page(where, LISTING, selection).endswith("desc")
    parts = _parts(where, wanted, selection)
    if not parts:
        return []
    limited, order = where.place(selection.limit), "id desc" if down else "id"
    both = " union all ".join(f"(select * from ({part}) part order by {order} limit {limited})" for part in parts)
    records = await conn.fetch(
        f"""select {', '.join(f'u.{name}' for name in _NAMES)}, n.shortname as nas
            from (select * from ({both}) parts order by {order} limit {limited}) u left join nas n on n.id = u.nas_id and n.tenant_id = u.tenant_id
            order by u.{order}""", *where.args,
    )  # fmt: skip
    return [_session(record) for record in records]


async def newest(conn: Connection, tenant_id: int, wanted: SessionFilter, limit: int) -> list[Session]:
    """The newest of these sessions."""
    return await page(conn, tenant_id, wanted, Selection(limit=limit))


async def count(conn: Connection, tenant_id: int, wanted: SessionFilter, selection: Selection) -> int:
    """How many there are; exact, so of a long history it takes its time."""
    where = _where(tenant_id, wanted, selection)
    parts = _parts(where, wanted, selection)
    return int(await conn.fetchval(f"select {' + '.join(f'(select count(*) from ({part}) part)' for part in parts) or '0'}", *where.args))


async def get(conn: Connection, tenant_id: int, session_id: int) -> Session | None:
    """The session, open or closed."""
    where = "where tenant_id = $1 and radacctid = $2"
    record = await conn.fetchrow(
        f"""select {', '.join(f'u.{name}' for name in _NAMES)}, n.shortname as nas
            from ({_OPEN} {where} union all {_CLOSED} {where}) u left join nas n on n.id = u.nas_id and n.tenant_id = u.tenant_id
            order by u.stopped_at nulls first limit 1""", tenant_id, session_id,
    )  # fmt: skip
    return None if record is None else _session(record)


async def close(conn: Connection, unique_ids: Sequence[str], closed_by: ClosedBy, cause: str, at: datetime | None) -> list[str]:
    """Move open sessions into the history; returns the unique ids of those that were open.

    ``at`` is when they ended; None: each at its last sign of life. Never before its start. Counters stay as the NAS last told them.
    What is recorded already of the same session keeps whichever counters are higher. Who wants to know is told, in the same transaction. Not confined
    to a tenant: the ids are the engine's own names of sessions.
    """
    records = await conn.fetch(
        f"""with gone as (delete from sessions where acctuniqueid = any($1::text[]) returning *),
            kept as (
                insert into radacct ({_KEPT}, acctstoptime, acctterminatecause, closed_by)
                select {_KEPT}, greatest(acctstarttime, coalesce($4::timestamptz, acctupdatetime)), $3, $2 from gone
                on conflict (acctuniqueid, acctstarttime) do update set
                    acctupdatetime = greatest(radacct.acctupdatetime, excluded.acctupdatetime),
                    acctstoptime = greatest(radacct.acctstoptime, excluded.acctstoptime),
                    acctsessiontime = greatest(radacct.acctsessiontime, excluded.acctsessiontime),
                    acctinputoctets = greatest(radacct.acctinputoctets, excluded.acctinputoctets),
                    acctoutputoctets = greatest(radacct.acctoutputoctets, excluded.acctoutputoctets),
                    acctinputpackets = greatest(radacct.acctinputpackets, excluded.acctinputpackets),
                    acctoutputpackets = greatest(radacct.acctoutputpackets, excluded.acctoutputpackets)
                returning *
            ),
            told as ({tellings.ENDED_OF.format("kept")})
            select acctuniqueid from gone""", list(unique_ids), closed_by, cause, at,
    )  # fmt: skip
    return [record["acctuniqueid"] for record in records]


async def usage(conn: Connection, tenant_id: int, subscriber_id: int, first: date, last: date) -> list[DayUsage]:
    """Usage by day (UTC) from ``first`` to ``last``, both included, oldest first; days without any are left out."""
    records = await conn.fetch(
        """select day, up_octets, down_octets, session_seconds from usage_daily
           where tenant_id = $1 and subscriber_id = $2 and day between $3 and $4 order by day""", tenant_id, subscriber_id, first, last,
    )  # fmt: skip
    return [DayUsage(**record) for record in records]


async def usage_by_month(conn: Connection, tenant_id: int, subscriber_id: int, first: date, last: date) -> list[MonthUsage]:
    """The days from ``first`` to ``last`` summed up by month, oldest first; months without any are left out."""
    records = await conn.fetch(
        """select date_trunc('month', day)::date as month, least(sum(up_octets), 9223372036854775807)::bigint as up_octets,
               least(sum(down_octets), 9223372036854775807)::bigint as down_octets,
               least(sum(session_seconds), 9223372036854775807)::bigint as session_seconds
           from usage_daily where tenant_id = $1 and subscriber_id = $2 and day between $3 and $4 group by 1 order by 1""",
        tenant_id, subscriber_id, first, last,
    )  # fmt: skip
    return [MonthUsage(**record) for record in records]
