"""The months of radacct, and how long history is kept."""

import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import msgspec

from netd.store import billing, idempotency, tokens
from netd.store.database import Connection
from netd.store.rows import updated

log = logging.getLogger(__name__)

LOCK_TIMEOUT = "5s"  # a month's partition can wait; accounting behind a report that holds the table cannot
CHANGES_KEPT = timedelta(days=1)  # a reader of the change feed that was away longer reads everything again
BATCH_ROWS = 10_000

_PARTITIONS = """
    select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'radacct'::regclass and c.relname ~ '^radacct_[0-9]{6}$' order by 1
"""
# The key of each: ctid where no index serves the order; the row is locked by the delete itself.
_OLD = {
    "radpostauth": "delete from radpostauth where id = any(array(select id from radpostauth where authdate < $1 order by authdate limit $2))",
    "changes": "delete from changes where id = any(array(select id from changes where at < $1 order by at limit $2))",
    "idempotency_keys": "delete from idempotency_keys where ctid = any(array(select ctid from idempotency_keys where created_at < $1 limit $2))",
    "events": "delete from events where (xid, id) = any(array(select row(xid, id) from events where at < $1 order by at limit $2))",
    "quota_usage": "delete from quota_usage where ctid = any(array(select ctid from quota_usage where ends_at < $1 limit $2))",
    "quota_events": "delete from quota_events where id = any(array(select id from quota_events where at < $1 limit $2))",
    "webhook_deliveries": "delete from webhook_deliveries where id = any(array(select id from webhook_deliveries where at < $1 order by at limit $2))",
    "billing_notices": "delete from billing_notices where ctid = any(array(select ctid from billing_notices where at < $1 limit $2))",
    "api_tokens": "delete from api_tokens where id = any(array(select id from api_tokens where subscriber_id is not null and expires_at < $1 limit $2))",
    "job_log": "delete from job_log where ctid = any(array(select l.ctid from job_log l join jobs j on j.id = l.job_id where j.finished_at < $1 limit $2))",
    "job_file_parts": "delete from job_file_parts where ctid = any(array(select p.ctid from job_file_parts p join jobs j on j.id = p.job_id"
    " where j.finished_at < $1 limit $2))",
    "jobs": "delete from jobs where id = any(array(select id from jobs where finished_at < $1 order by finished_at limit $2))",
    "usage_daily": "delete from usage_daily where ctid = any(array(select ctid from usage_daily where day < ($1 at time zone 'UTC')::date limit $2))",
}


class Month(msgspec.Struct, frozen=True, order=True):
    """A calendar month in UTC."""

    year: int
    month: int

    @classmethod
    def of(cls, day: date) -> "Month":
        """The month that ``day`` is in."""
        return cls(day.year, day.month)

    def plus(self, months: int) -> "Month":
        """The month that many later; negative is earlier."""
        year, month = divmod(self.year * 12 + self.month - 1 + months, 12)
        return Month(year, month + 1)

    @property
    def start(self) -> datetime:
        """The first moment of it."""
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def partition(self) -> str:
        """The name of its partition."""
        return f"radacct_{self.year:04}{self.month:02}"


async def ensure(connection: Connection, today: date, months_ahead: int = 2) -> list[str]:
    """Make the partitions from the previous month to ``months_ahead`` after ``today``'s; returns the names of new ones.

    Rows of such a month that radacct_default already took move into it in the same transaction.
    """
    this = Month.of(today)
    return [month.partition for month in _span(this.plus(-1), this.plus(months_ahead)) if await _make(connection, month)]


async def retire(connection: Connection, today: date, months: int, *, drop: bool = False) -> list[str]:
    """Take the months out of radacct that ended more than ``months`` whole months before ``today``'s; returns the names of their tables.

    The tables stay as ``radacct_YYYYMM_detached`` for the operator to archive, or are gone with ``drop``. Rows so old that
    radacct_default holds them go the same way. Each month is a transaction of its own, so ``connection`` must not be in one.
    """
    oldest_kept = Month.of(today).plus(-months)
    stray = await connection.fetch(
        "select distinct extract(year from acctstarttime at time zone 'UTC')::int y, extract(month from acctstarttime at time zone 'UTC')::int m"
        " from radacct_default where acctstarttime < $1",
        oldest_kept.start,
    )
    for row in stray:
        await _make(connection, Month(row["y"], row["m"]))
    names = [row["name"] for row in await connection.fetch(_PARTITIONS)]
    return [await _detach(connection, name, drop) for name in names if name < oldest_kept.partition]


async def prune(
    connection: Connection, now: datetime, *, radpostauth_days: int, usage_days: int, events_days: int, jobs_days: int, batch_rows: int = BATCH_ROWS
) -> dict[str, int]:
    """Delete old rows of what is not kept for ever, ``batch_rows`` at a time; returns how many of each table."""
    limits = {
        "radpostauth": now - timedelta(days=radpostauth_days),
        "usage_daily": now - timedelta(days=usage_days),
        "quota_usage": now - timedelta(days=usage_days),
        "quota_events": now - timedelta(days=usage_days),
        "changes": now - CHANGES_KEPT,
        "events": now - timedelta(days=events_days),
        "webhook_deliveries": now - timedelta(days=events_days),
        "job_log": now - timedelta(days=jobs_days),  # before the jobs, whose deletion would take all their entries at once
        "job_file_parts": now - timedelta(days=jobs_days),
        "jobs": now - timedelta(days=jobs_days),
        "billing_notices": now - billing.NOTICES_KEPT,
        "idempotency_keys": now - idempotency.KEPT,
        "api_tokens": now - tokens.OWN_KEPT,
    }
    deleted = dict.fromkeys(limits, 0)
    for table, before in limits.items():
        while True:
            count = updated(await connection.execute(_OLD[table], before, batch_rows))
            deleted[table] += count
            if count < batch_rows:
                break
    return deleted


def _span(first: Month, last: Month) -> Iterator[Month]:
    while first <= last:
        yield first
        first = first.plus(1)


async def _make(connection: Connection, month: Month) -> bool:
    name, start, end = month.partition, month.start, month.plus(1).start
    if await connection.fetchval("select to_regclass($1) is not null", name):
        return False
    async with connection.transaction():
        await connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
        # Writers wait until the month is there, else a row could be routed to the default partition in between and be refused by it.
        await connection.execute("lock table only radacct in share row exclusive mode")
        if await connection.fetchval("select to_regclass($1) is not null", name):  # another node was quicker
            return False
        await connection.execute("lock table radacct_default in access exclusive mode")
        await connection.execute(f"create table {name} (like radacct including defaults including constraints)")
        moved = await connection.execute(
            f"with moved as (delete from radacct_default where acctstarttime >= $1 and acctstarttime < $2 returning *) insert into {name} select * from moved",
            start,
            end,
        )
        await connection.execute(f"alter table radacct attach partition {name} for values from ('{start.isoformat()}') to ('{end.isoformat()}')")
    log.info("made %s (%d rows moved into it)", name, updated(moved))
    return True


async def _detach(connection: Connection, name: str, drop: bool) -> str:
    async with connection.transaction():
        await connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
        await connection.execute(f"alter table radacct detach partition {name}")
        kept = await _free_name(connection, f"{name}_detached")
        if drop:
            await connection.execute(f"drop table {name}")
        else:
            await connection.execute(f"alter table {name} rename to {kept}")
            # An archive outlives tenants and subscribers, and must not slow their deletion.
            for row in await connection.fetch("select conname from pg_constraint where conrelid = $1::text::regclass and contype = 'f'", kept):
                await connection.execute(f'alter table {kept} drop constraint "{row["conname"]}"')
    log.info("%s %s", "dropped" if drop else "detached", name)
    return name if drop else kept


async def _free_name(connection: Connection, wanted: str) -> str:
    name, number = wanted, 1
    while await connection.fetchval("select to_regclass($1) is not null", name):
        number += 1
        name = f"{wanted}_{number}"
    return name
