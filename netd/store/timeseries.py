"""The days and months of samples and their sums: made ahead, dropped when they are past keeping, summed up when they are over."""

import logging
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal

from netd.store.database import Connection
from netd.store.partitions import LOCK_TIMEOUT, Month

log = logging.getLogger(__name__)

Span = Literal["day", "month"]
LEVELS: Final = {"5m": 300, "1h": 3600, "1d": 86_400}
SUBJECTS: Final = ("reach", "device", "interface")
SPANS: Final[dict[str, Span]] = {
    **dict.fromkeys((*(f"{subject}_samples" for subject in SUBJECTS), "optics_samples", *(f"{subject}_5m" for subject in SUBJECTS)), "day"),
    **dict.fromkeys((f"{subject}_{level}" for subject in SUBJECTS for level in ("1h", "1d")), "month"),
}  # fmt: skip
"""Every table that is cut by time, and into what."""

DAYS_AHEAD: Final = 2


def level_of(table: str) -> str:
    """Under which name the settings say how long a table is kept: raw, optics, 5m, 1h, 1d."""
    subject, _, level = table.partition("_")
    return level if level in LEVELS else "optics" if subject == "optics" else "raw"


def _bounds(span: Span, day: date) -> tuple[str, datetime, datetime]:
    if span == "month":
        month = Month.of(day)
        return f"{month.year:04}{month.month:02}", month.start, month.plus(1).start
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return f"{day:%Y%m%d}", start, start + timedelta(days=1)


async def ensure(conn: Connection, today: date) -> list[str]:
    """Make the partitions from yesterday until the day after tomorrow (months likewise); returns the names of new ones."""
    have = {record["name"] for record in await conn.fetch(_PARTITIONS, list(SPANS))}
    made = []
    for table, span in SPANS.items():
        for offset in range(-1, DAYS_AHEAD + 1):
            name, start, end = _bounds(span, today + timedelta(days=offset))
            partition = f"{table}_{name}"
            if partition in have:
                continue
            async with conn.transaction():
                await conn.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
                await conn.execute(f"lock table only {table} in share update exclusive mode")  # of two nodes one makes it
                if not await conn.fetchval("select to_regclass($1) is not null", partition):
                    # Made by itself and attached, which whoever reads the table does not hold up: a backup reads it for hours.
                    await conn.execute(f"create table {partition} (like {table} including defaults including constraints)")
                    await conn.execute(f"alter table {table} attach partition {partition} for values from ('{start.isoformat()}') to ('{end.isoformat()}')")
                    made.append(partition)
            have.add(partition)
    return made


_PARTITIONS = """
    select c.relname as name, p.relname as parent from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
    where p.relname = any($1::text[]) and p.relnamespace = current_schema()::regnamespace order by 1
"""


async def retire(conn: Connection, now: datetime, days: Mapping[str, int]) -> list[str]:
    """Drop what ended longer ago than it is kept, ``days`` by :func:`level_of`; returns the names. Each is a transaction of its own."""
    dropped = []
    for record in await conn.fetch(_PARTITIONS, list(SPANS)):
        name, parent = record["name"], record["parent"]
        digits = name.removeprefix(f"{parent}_")
        if not digits.isdecimal():
            continue
        day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:8] or 1))
        if _bounds(SPANS[parent], day)[2] > now - timedelta(days=days[level_of(parent)]):
            continue
        async with conn.transaction():
            await conn.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
            await conn.execute(f"drop table if exists {name}")
        dropped.append(name)
    if dropped:
        log.info("samples past keeping are gone", extra={"partitions": len(dropped)})
    return dropped


# -- sums ----------------------------------------------------------------------------------------------------------------

_GAUGES = ("cpu_percent", "memory_percent", "temperature_celsius", "voltage_volts", "power_watts")
_BITS = ("in_bps", "out_bps")
_SMALL = ("in_pps", "out_pps", "in_errors", "out_errors", "in_discards", "out_discards")
_MEMORY = "100.0 * memory_used_octets / nullif(memory_total_octets, 0)"


def _device(level: str, source: str) -> str:
    raw = source == "device_samples"
    parts = ["count(*)" if raw else "sum(samples)"]
    names = ["samples"]
    for gauge in _GAUGES:
        value = {True: _MEMORY if gauge == "memory_percent" else gauge, False: f"{gauge}_avg"}[raw]
        low, high = (value, value) if raw else (f"{gauge}_min", f"{gauge}_max")
        mean = f"avg({value})" if raw else f"sum({value} * samples) / nullif(sum(samples) filter (where {value} is not null), 0)"
        parts += [mean, f"min({low})", f"max({high})", f"percentile_cont(0.95) within group (order by {value})"]
        names += [f"{gauge}_{kind}" for kind in ("avg", "min", "max", "p95")]
    return _insertion(f"device_{level}", ("tenant_id", "device_id"), ("device_id",), source, names, parts)


def _interface(level: str, source: str) -> str:
    raw = source == "interface_samples"
    parts, names = ["sum(seconds)", "max(speed_bps)"], ["seconds", "speed_bps"]
    for rate in (*_BITS, *_SMALL):
        value = rate if raw else f"{rate}_avg"
        mean = f"sum({value} * seconds) / nullif(sum(seconds) filter (where {value} is not null), 0)"
        high = f"max({rate if raw else f'{rate}_max'})"
        if rate in _BITS:
            parts += [mean, f"min({rate if raw else f'{rate}_min'})", high, f"percentile_cont(0.95) within group (order by {value})"]
            names += [f"{rate}_{kind}" for kind in ("avg", "min", "max", "p95")]
        else:
            parts += [mean, high]
            names += [f"{rate}_avg", f"{rate}_max"]
    also = " and seconds is not null"
    return _insertion(f"interface_{level}", ("tenant_id", "device_id", "interface_id"), ("interface_id",), source, names, parts, also)


def _reach(level: str, source: str) -> str:
    if source == "reach_samples":
        parts = ["count(*) filter (where up)", "count(*) filter (where not up)", "avg(rtt_ms)", "max(rtt_ms)"]
        down = "sum(seconds) filter (where not up)"
    else:
        parts = ["sum(up)", "sum(down)", "sum(rtt_avg * up) / nullif(sum(up) filter (where rtt_avg is not null), 0)", "max(rtt_max)"]
        down = "sum(down_seconds)"
    # Where one does not say for how long it stands, neither does the sum.
    parts += ["case when count(seconds) = count(*) then sum(seconds) end", f"case when count(seconds) = count(*) then coalesce({down}, 0) end"]
    names = ["up", "down", "rtt_avg", "rtt_max", "seconds", "down_seconds"]
    return _insertion(f"reach_{level}", ("tenant_id", "device_id"), ("device_id",), source, names, parts)


def _insertion(table: str, keys: tuple[str, ...], unique: tuple[str, ...], source: str, names: list[str], parts: list[str], also: str = "") -> str:
    """One statement for all spans of ``$1`` seconds from ``$2`` until ``$3``, of ids from ``$4`` until ``$5``; done again it gives what is there by then."""
    sets = ", ".join(f"{name} = excluded.{name}" for name in names)
    return f"""
        insert into {table} ({", ".join(keys)}, at, {", ".join(names)})
        select {", ".join(keys)}, date_bin(make_interval(secs => $1), at, '2000-01-01 00:00+00') as span, {", ".join(parts)}
        from {source} where at >= $2 and at < $3 and {unique[0]} >= $4 and {unique[0]} < $5{also} group by {", ".join(keys)}, span
        on conflict ({", ".join(unique)}, at) do update set {sets}
    """


_MAKERS = {"reach": _reach, "device": _device, "interface": _interface}
_STATEMENTS = {
    level: [
        ("interface_id" if subject == "interface" else "device_id", f"{subject}_{source}", make(level, f"{subject}_{source}"))
        for subject, make in _MAKERS.items()
    ]
    for level, source in (("5m", "samples"), ("1h", "5m"), ("1d", "5m"))
}
"""By level: what its ids are called, where they stand, and how they are summed up."""

LOCK_KEY: Final = 0x726F6C6C
"""First key of the locks that keep two nodes from summing up a level at the same time."""

MOST_AT_A_TIME: Final = timedelta(minutes=30)
"""Of five minutes. Of a quarter of a million interfaces that is eight million samples."""

IDS_AT_A_TIME: Final = 5000
"""Of hours and days, whose five minutes an index finds by id: a day of so many interfaces is a million and a half of them."""

STATEMENT_SECONDS: Final = 300.0
"""As long as one statement may take; nobody waits for it."""
AHEAD_MOST: Final = timedelta(hours=1)
"""By how much the clocks of two nodes may differ. What is summed up further ahead was so by a clock that was wrong."""

# -- restarts ------------------------------------------------------------------------------------------------------------

RUNNING_SINCE: Final = "running_since"
"""The fact under which the history has restarts: since when a device ran before and runs now."""

UPTIME_MOST_SECONDS: Final = 4_000_000_000
"""What says that it runs for longer says nothing: dates end."""

_TICKS_WRAP_SECONDS = 2**32 / 100


def _began(at: str, seconds: str) -> str:
    """Since when it ran, as a text."""
    return f"""to_char(({at} - make_interval(secs => {seconds})) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""


_FORGET_RESTARTS = f"delete from device_facts where at >= $1 and at < $2 and subject = '' and fact = '{RUNNING_SINCE}'"
# The last word of before is looked up for each device that said something. What is a restart: as netd.poll.counters.restarted has it.
_RESTARTS = f"""
    with said as (
        select device_id, at, uptime_seconds as seconds from device_samples
        where at >= $1 and at < $2 and uptime_seconds between 0 and {UPTIME_MOST_SECONDS}
    ), all_said as (
        select * from said union all
        select b.* from (select distinct device_id from said) n cross join lateral (
            select device_id, at, uptime_seconds from device_samples
            where device_id = n.device_id and at < $1 and uptime_seconds between 0 and {UPTIME_MOST_SECONDS} order by at desc limit 1
        ) b
    ), pairs as (
        select device_id, at, seconds, lag(at) over of_one as was_at, lag(seconds) over of_one as was_seconds from all_said
        window of_one as (partition by device_id order by at)
    ), looked as (
        select *, was_seconds + extract(epoch from at - was_at) as due, greatest(10, extract(epoch from at - was_at) / 10) as slack from pairs
    )
    insert into device_facts (tenant_id, device_id, at, fact, before, after, source)
    select d.tenant_id, d.id, l.at, '{RUNNING_SINCE}', {_began("l.was_at", "l.was_seconds")}, {_began("l.at", "l.seconds")}, 'snmp'
    from looked l join devices d on d.id = l.device_id
    where l.at >= $1 and l.seconds < l.due - l.slack and not (
        l.due + l.slack >= {_TICKS_WRAP_SECONDS} and abs(l.seconds + {_TICKS_WRAP_SECONDS} - l.due) <= l.slack) order by l.at, d.id
"""


async def roll_up(conn: Connection, level: str, until: datetime) -> datetime | None:
    """Sum up the next closed spans of a level, up to ``until`` and half an hour of them (one at least); returns up to when it is done now.

    None: another node is at it, or there is nothing to do. Hours and days are made of the five minutes, so they do not overtake those. Each statement is a
    transaction of its own, for one that writes for minutes would hold events back: ``conn`` must not be in one. A lock of the session keeps others out.
    """
    lock = (LOCK_KEY, LEVELS[level])
    try:
        if not await conn.fetchval("select pg_try_advisory_lock($1, $2)", *lock):
            return None
        done = await _summed_up(conn, level, until)
        await conn.execute("select pg_advisory_unlock($1, $2)", *lock)
    except BaseException:
        conn.terminate()  # the lock, if it was had, ends with the session, once what that is at has ended
        raise
    return done


async def _summed_up(conn: Connection, level: str, until: datetime) -> datetime | None:
    step = timedelta(seconds=LEVELS[level])
    begin = await _begun(conn, level)
    if level != "5m":  # read after what came late, for these change together
        reached: datetime | None = await conn.fetchval("select done_until from rollups where level = '5m'")
        if reached is None:
            return None
        until = min(until, reached)
    until = _floor(until, step)
    if begin is None:
        table = "interface_samples" if level == "5m" else "interface_5m"
        oldest = await conn.fetchval(f"select least((select min(at) from reach_{table[10:]}), (select min(at) from {table}))")
        if oldest is None:
            return None
        begin = _floor(oldest, step)
    if begin > until + max(AHEAD_MOST, step):  # there is nothing of then: what comes from now on is summed up again
        await conn.execute("update rollups set done_until = $2 where level = $1", level, until)
        return None
    until = min(until, _floor(begin + max(MOST_AT_A_TIME, step), step))
    if until <= begin:
        return None
    for key, source, statement in _STATEMENTS[level]:
        for first, end in await _ids(conn, key, source, whole=level == "5m"):
            async with conn.transaction():
                await conn.execute("set local work_mem = '64MB'")  # a span of 250,000 interfaces is sorted in memory
                await conn.execute(statement, float(LEVELS[level]), begin, until, first, end, timeout=STATEMENT_SECONDS)
    async with conn.transaction():
        if level == "5m":
            await conn.execute(_FORGET_RESTARTS, begin, until)  # done again it gives what is there by then
            await conn.execute(_RESTARTS, begin, until)
        await conn.execute("update rollups set done_until = $2 where level = $1", level, until)
    return until


async def _begun(conn: Connection, level: str) -> datetime | None:
    """From when on spans of a level are to be summed up: again, where samples came late, and then those of longer spans, too."""
    async with conn.transaction():
        done_until: datetime | None = await conn.fetchval("select done_until from rollups where level = $1", level)
        came: datetime | None = await conn.fetchval("with gone as (delete from rollup_late where level = $1 returning at) select min(at) from gone", level)
        if done_until is None or came is None or came >= done_until:
            return done_until
        begin = _floor(came, timedelta(seconds=LEVELS[level]))
        await conn.execute("update rollups set done_until = $2 where level = $1", level, begin)
        if level == "5m":
            await conn.execute("insert into rollup_late (level, at) select level, $1 from rollups where level <> '5m'", begin)
        return begin


async def _ids(conn: Connection, key: str, source: str, *, whole: bool) -> list[tuple[int, int]]:
    """The spans of ids that are summed up one after the other; ``whole``: in one."""
    if whole:
        return [(0, 2**63 - 1)]
    least, most = await conn.fetchrow(f"select min({key}), max({key}) from {source}")
    return [] if least is None else [(first, first + IDS_AT_A_TIME) for first in range(least, most + 1, IDS_AT_A_TIME)]


async def late(conn: Connection, oldest: datetime) -> None:
    """Samples came that may be older than what is summed up already: it is to be done again from there. To be said in the transaction in which they come:
    who is at it just now may not see them, and does not see this either, so that it is there the next time."""
    await conn.execute("insert into rollup_late (level, at) values ('5m', $1)", oldest)


def _floor(at: datetime, step: timedelta) -> datetime:
    origin = datetime(2000, 1, 1, tzinfo=UTC)
    return origin + (at - origin) // step * step
