"""Session rows in bulk: what the engine reads and writes for one batch of accounting packets, in one transaction."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from netd.model.accounting import Row
from netd.store.database import Connection

LOCK_SPACE = 0x6E65
"""First key of the advisory locks that keep two nodes from folding packets of one session at the same time."""

LOCK_SHARDS = 256

TURN_ROWS = 100
"""Rows read before packets get their turn: about a millisecond."""

# (member of Row, column, SQL type of its array, expression that reads it, expression that writes it)
_COLUMNS: tuple[tuple[str, str, str, str, str], ...] = (
    ("radacctid", "radacctid", "bigint", "radacctid", "{}"),
    ("tenant_id", "tenant_id", "bigint", "tenant_id", "{}"),
    # The engine may hear of a deletion a moment after the database: accounting of what is gone is kept, without the reference.
    ("nas_id", "nas_id", "bigint", "nas_id", "(select n.id from nas n where n.id = {})"),
    ("subscriber_id", "subscriber_id", "bigint", "subscriber_id", "(select s.id from subscribers s where s.id = {})"),
    ("acctuniqueid", "acctuniqueid", "text", "acctuniqueid", "{}"),
    ("acctsessionid", "acctsessionid", "text", "acctsessionid", "{}"),
    ("username", "username", "text", "username", "{}"),
    ("realm", "realm", "text", "realm", "{}"),
    ("nasipaddress", "nasipaddress", "text", "host(nasipaddress)", "{}::inet"),
    ("nassourceaddress", "nassourceaddress", "text", "host(nassourceaddress)", "{}::inet"),
    ("nasidentifier", "nasidentifier", "text", "nasidentifier", "{}"),
    ("nasportid", "nasportid", "text", "nasportid", "{}"),
    ("nasporttype", "nasporttype", "text", "nasporttype", "{}"),
    ("started_at", "acctstarttime", "float8", "extract(epoch from acctstarttime)::float8", "to_timestamp({})"),
    ("updated_at", "acctupdatetime", "float8", "extract(epoch from acctupdatetime)::float8", "to_timestamp({})"),
    ("acctinterval", "acctinterval", "integer", "acctinterval", "{}"),
    ("acctsessiontime", "acctsessiontime", "bigint", "acctsessiontime", "{}"),
    ("acctauthentic", "acctauthentic", "text", "acctauthentic", "{}"),
    ("connectinfo_start", "connectinfo_start", "text", "connectinfo_start", "{}"),
    ("acctinputoctets", "acctinputoctets", "bigint", "acctinputoctets", "{}"),
    ("acctoutputoctets", "acctoutputoctets", "bigint", "acctoutputoctets", "{}"),
    ("acctinputpackets", "acctinputpackets", "bigint", "acctinputpackets", "{}"),
    ("acctoutputpackets", "acctoutputpackets", "bigint", "acctoutputpackets", "{}"),
    ("calledstationid", "calledstationid", "text", "calledstationid", "{}"),
    ("callingstationid", "callingstationid", "text", "callingstationid", "{}"),
    ("servicetype", "servicetype", "text", "servicetype", "{}"),
    ("framedprotocol", "framedprotocol", "text", "framedprotocol", "{}"),
    ("framedipaddress", "framedipaddress", "text", "host(framedipaddress)", "{}::inet"),
    ("framedipv6address", "framedipv6address", "text", "host(framedipv6address)", "{}::inet"),
    ("framedipv6prefix", "framedipv6prefix", "text", "text(framedipv6prefix)", "{}::inet"),
    ("framedinterfaceid", "framedinterfaceid", "text", "framedinterfaceid", "{}"),
    ("delegatedipv6prefix", "delegatedipv6prefix", "text", "text(delegatedipv6prefix)", "{}::inet"),
    ("class_", "class", "text", "class", "{}"),
    ("interim_seconds", "interim_seconds", "integer", "interim_seconds", "{}"),
    ("applied_policy", "applied_policy", "text", "applied_policy", "{}"),
)
_OPEN_ONLY: tuple[tuple[str, str, str, str, str], ...] = (
    ("heard_at", "heard_at", "float8", "extract(epoch from heard_at)::float8", "to_timestamp({})"),
    ("doomed", "doomed", "text", "doomed", "{}"),
)  # fmt: skip
_CLOSED_ONLY: tuple[tuple[str, str, str, str, str], ...] = (
    ("stopped_at", "acctstoptime", "float8", "extract(epoch from acctstoptime)::float8", "to_timestamp({})"),
    ("terminate_cause", "acctterminatecause", "text", "acctterminatecause", "{}"),
    ("connectinfo_stop", "connectinfo_stop", "text", "connectinfo_stop", "{}"),
    ("closed_by", "closed_by", "text", "closed_by", "{}"),
)
_OPEN = _COLUMNS + _OPEN_ONLY
_CLOSED = _COLUMNS + _CLOSED_ONLY
# What an Interim may change; none of these is indexed except subscriber_id, which hardly ever changes.
_MUTABLE = tuple(
    c
    for c in _OPEN
    if c[0]
    not in {
        "radacctid",
        "tenant_id",
        "nas_id",
        "acctuniqueid",
        "acctsessionid",
        "username",
        "nassourceaddress",
        "interim_seconds",
        "doomed",
    }
)


def _select(columns: Iterable[tuple[str, str, str, str, str]]) -> str:
    return ", ".join(f"{read} as {member}" for member, _, _, read, _ in columns)


# Many rows go over as one JSON text: encoding it costs the daemon, which has RADIUS to answer, a quarter of what arrays or COPY do, and the server no more.
def _recordset(columns: Iterable[tuple[str, str, str, str, str]]) -> str:
    return f"json_to_recordset($1::text::json) as u ({', '.join(f'{member} {kind}' for member, _, kind, _, _ in columns)})"


# What is as it is by default is left out of that text.
_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(Row) if field.default is not msgspec.NODEFAULT and field.default is not None}


def _value(member: str) -> str:
    return f"coalesce(u.{member}, {_DEFAULTS[member]})" if member in _DEFAULTS else f"u.{member}"


def _insert(table: str, columns: Sequence[tuple[str, str, str, str, str]], tail: str = "") -> str:
    names = ", ".join(column for _, column, _, _, _ in columns)
    values = ", ".join(write.format(_value(member)) for member, _, _, _, write in columns)
    return f"insert into {table} ({names}) select {values} from {_recordset(columns)} {tail}"


def _update(table: str, columns: Sequence[tuple[str, str, str, str, str]], key: str) -> str:
    """An update of many rows, found by ``key``, which is one of the columns."""
    sets = ", ".join(f"{column} = {write.format(_value(member))}" for member, column, _, _, write in columns if column != key)
    return f"update {table} t set {sets} from {_recordset(columns)} where t.{key} = u.{key}"


_KEY = next(c for c in _COLUMNS if c[0] == "acctuniqueid")
_OPEN_UPDATE = (_KEY, *_MUTABLE)
_SELECT_OPEN = f"select {_select(_OPEN)} from sessions where acctuniqueid = any($1::text[]) for update"
_SELECT_ALL_OPEN = f"select {_select(_OPEN)} from sessions"
# A sub-select per id, which the locking keeps by itself: each id is found by the unique index. With all ids in one condition the planner, who knows
# nothing yet of a month that has just begun, would rather read all of the month by another index, for every batch.
_SELECT_CLOSED = f"""
    select r.* from unnest($1::text[]) as k (id) cross join lateral (
        select {_select(_CLOSED)} from radacct
        where acctuniqueid = k.id and acctstarttime between to_timestamp($2::float8) and to_timestamp($3::float8) for update) r"""
_INSERT_OPEN = _insert("sessions", _OPEN)
# Two generations of an id may turn out to begin in the same second (a NAS that counts Acct-Session-Time on over a new login): then they are one.
_HIGHER = ("acctupdatetime", "acctstoptime", "acctsessiontime", "acctinputoctets", "acctoutputoctets", "acctinputpackets", "acctoutputpackets")
_INSERT_CLOSED = _insert(
    "radacct", _CLOSED,
    "on conflict (acctuniqueid, acctstarttime) do update set " + ", ".join(f"{name} = greatest(radacct.{name}, excluded.{name})" for name in _HIGHER),
)  # fmt: skip
_UPDATE_OPEN = _update("sessions", _OPEN_UPDATE, "acctuniqueid")
COUNTED = ("updated_at", "heard_at", "acctinterval", "acctsessiontime", "acctinputoctets", "acctoutputoctets", "acctinputpackets", "acctoutputpackets")
"""Members of Row that nearly every Interim changes, and nothing else."""

_COUNT_OPEN = """
    update sessions t set acctupdatetime = to_timestamp(u.at), heard_at = to_timestamp(u.heard), acctinterval = u.gap, acctsessiontime = u.seconds,
        acctinputoctets = u.up, acctoutputoctets = u.down, acctinputpackets = u.up_packets, acctoutputpackets = u.down_packets
    from unnest($1::bigint[], $2::float8[], $3::float8[], $4::integer[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
        as u (id, at, heard, gap, seconds, up, down, up_packets, down_packets)
    where t.radacctid = u.id"""
# A month's partition, or a new installation's tables, may be empty when a statement is planned; a plan made then, and kept, reads all of it for every
# batch until somebody analyses it. Every statement here finds its rows by an index, so nothing else is to be considered until the transaction ends.
_LOCK = """
    with plan as materialized (select set_config('enable_seqscan', 'off', true))
    select pg_advisory_xact_lock($1::integer, k) from plan, unnest($2::integer[]) as k"""
_USAGE = """
    insert into usage_daily (tenant_id, subscriber_id, day, up_octets, down_octets, session_seconds)
    select u.t, u.s, (to_timestamp(u.a) at time zone 'UTC')::date, least(sum(u.up), {most}), least(sum(u.down), {most}), least(sum(u.sec), {most})
    from unnest($1::bigint[], $2::bigint[], $3::float8[], $4::bigint[], $5::bigint[], $6::bigint[]) as u (t, s, a, up, down, sec)
    join subscribers on subscribers.id = u.s
    group by 1, 2, 3 order by 2, 3
    on conflict (subscriber_id, day) do update set
        up_octets = usage_daily.up_octets + least(excluded.up_octets, {most} - usage_daily.up_octets),
        down_octets = usage_daily.down_octets + least(excluded.down_octets, {most} - usage_daily.down_octets),
        session_seconds = usage_daily.session_seconds + least(excluded.session_seconds, {most} - usage_daily.session_seconds)""".format(most=2**63 - 1)


_OPEN_MEMBERS = tuple(member for member, *_ in _OPEN)
_CLOSED_MEMBERS = tuple(member for member, *_ in _CLOSED)


async def _rows(members: Sequence[str], records: Sequence[Sequence[Any]]) -> list[Row]:
    rows: list[Row] = []
    for start in range(0, len(records), TURN_ROWS):
        if start:
            await asyncio.sleep(0)
        # by its place, for a record's own names are looked up one by one
        rows += [Row(**dict(zip(members, record, strict=True))) for record in records[start : start + TURN_ROWS]]
    return rows


def _text(rows: Sequence[Row]) -> str:
    return msgspec.json.encode(rows).decode()


async def lock(conn: Connection, unique_ids: Iterable[str]) -> None:
    """Keep other nodes away from these sessions until the transaction ends. Taken in one order, so that two batches cannot deadlock."""
    shards = sorted({int(uid[:8], 16) % LOCK_SHARDS for uid in unique_ids})
    await conn.execute(_LOCK, LOCK_SPACE, shards)


async def read_open(conn: Connection, unique_ids: Sequence[str]) -> list[Row]:
    """Open sessions among ``unique_ids``, locked for update."""
    return await _rows(_OPEN_MEMBERS, await conn.fetch(_SELECT_OPEN, unique_ids))


async def read_all_open(conn: Connection) -> list[Row]:
    """Every open session of every tenant, for the engine's start."""
    return await _rows(_OPEN_MEMBERS, await conn.fetch(_SELECT_ALL_OPEN))


async def read_closed(conn: Connection, unique_ids: Sequence[str], since: float, until: float) -> list[Row]:
    """Closed sessions among ``unique_ids`` that began between two Unix times (which prunes partitions), locked for update."""
    return await _rows(_CLOSED_MEMBERS, await conn.fetch(_SELECT_CLOSED, unique_ids, since, until))


async def reserve_ids(conn: Connection, count: int) -> list[int]:
    """``count`` fresh radacctid values; unused ones leave gaps."""
    rows = await conn.fetch("select nextval(pg_get_serial_sequence('sessions', 'radacctid')) as id from generate_series(1, $1::integer)", count)
    return [row["id"] for row in rows]


async def insert_open(conn: Connection, rows: Sequence[Row]) -> None:
    await conn.execute(_INSERT_OPEN, _text(rows))


async def update_open(conn: Connection, rows: Sequence[Row]) -> None:
    await conn.execute(_UPDATE_OPEN, _text(rows))


async def count_open(conn: Connection, rows: Sequence[Row]) -> None:
    """Write ``COUNTED`` of open sessions, of which nothing else changed."""
    arrays = [[getattr(row, member) for row in rows] for member in ("radacctid", *COUNTED)]
    await conn.execute(_COUNT_OPEN, *arrays)


async def move_open(conn: Connection, moves: Sequence[tuple[int, int]]) -> None:
    """Give open sessions (radacctid) to another NAS entry (id). Seldom, so it is no part of ``update_open``."""
    await conn.execute(
        """update sessions t set nas_id = (select n.id from nas n where n.id = u.n)
           from unnest($1::bigint[], $2::bigint[]) as u (k, n) where t.radacctid = u.k""",
        [key for key, _ in moves],
        [nas_id for _, nas_id in moves],
    )


async def delete_open(conn: Connection, unique_ids: Sequence[str]) -> None:
    await conn.execute("delete from sessions where acctuniqueid = any($1::text[])", unique_ids)


async def insert_closed(conn: Connection, rows: Sequence[Row]) -> None:
    await conn.execute(_INSERT_CLOSED, _text(rows))


async def delete_closed(conn: Connection, keys: Sequence[tuple[int, float]]) -> None:
    """Take rows (radacctid, start as Unix time) out of the history: their sessions live after all."""
    await conn.execute(
        "delete from radacct using unnest($1::bigint[], $2::float8[]) as u (id, at) where radacctid = u.id and acctstarttime = to_timestamp(u.at)",
        [key for key, _ in keys],
        [at for _, at in keys],
    )


async def replace_closed(conn: Connection, pairs: Sequence[tuple[Row, Row]]) -> None:
    """Write closed rows again, (before, after); the start may have moved, even to another month."""
    await delete_closed(conn, [(before.radacctid, before.started_at) for before, _ in pairs])
    await insert_closed(conn, [after for _, after in pairs])


async def add_usage(conn: Connection, usage: Sequence[tuple[int, int, float, int, int, int, float]]) -> None:
    """Add (tenant id, subscriber id, Unix time, up octets, down octets, session seconds, …) to the subscribers' days (UTC)."""
    await conn.execute(_USAGE, *[list(column) for column in zip(*usage, strict=True)][:6])


async def applied(conn: Connection, changes: Sequence[tuple[int, str | None, str, str | None, float, str | None]]) -> None:
    """Keep how enforcement went: (radacctid, applied policy or None to leave it, state, detail, Unix time, why doomed or None) per open session."""
    await conn.execute(
        """update sessions t set applied_policy = coalesce(u.p, t.applied_policy), enforce_state = u.s, enforce_detail = u.d, enforce_at = to_timestamp(u.a),
               doomed = coalesce(u.w, t.doomed)
           from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::float8[], $6::text[]) as u (k, p, s, d, a, w)
           where t.radacctid = u.k""",
        *[list(column) for column in zip(*changes, strict=True)],
    )


async def open_of_nas(conn: Connection, nas_id: int, source: str, address: str | None, identifier: str | None, until: float) -> list[str]:
    """Unique ids of the open sessions that a restart of this NAS ended: those that began before it (Unix time).

    ``address`` and ``identifier`` are what the NAS calls itself, where it does: others may stand behind the same source.
    """
    rows = await conn.fetch(
        """select acctuniqueid from sessions where nas_id = $1 and nassourceaddress = $2::text::inet
           and ($3::text is null or nasipaddress = $3::text::inet) and ($4::text is null or nasidentifier is null or nasidentifier = $4)
           and acctstarttime <= to_timestamp($5::float8)""",
        nas_id, source, address, identifier, until,
    )  # fmt: skip
    return [row["acctuniqueid"] for row in rows]


async def silent(conn: Connection, intervals: int, listening_since: float, now: float, limit: int) -> list[str]:
    """Unique ids of open sessions not heard of for ``intervals`` interim intervals, by netd's own clock (``now``), locked until the transaction ends.

    Silence counts only from ``listening_since`` (Unix time) on: what was sent while netd was away could not be heard.
    A session that somebody else holds is being written to just now, so it is left out.
    """
    rows = await conn.fetch(
        """select acctuniqueid from sessions
           where greatest(heard_at, to_timestamp($2::float8))
               + make_interval(secs => $1::float8 * greatest(interim_seconds, coalesce(acctinterval, 0))) < to_timestamp($4::float8)
           limit $3 for update skip locked""", intervals, listening_since, limit, now,
    )  # fmt: skip
    return [row["acctuniqueid"] for row in rows]


async def open_keys(conn: Connection) -> dict[str, int]:
    """Unique id -> radacctid of every open session of every tenant; must run inside a transaction."""
    keys: dict[str, int] = {}
    cursor = await conn.cursor("select acctuniqueid, radacctid from sessions")
    while records := await cursor.fetch(1_000):
        keys.update((record["acctuniqueid"], record["radacctid"]) for record in records)
    return keys
