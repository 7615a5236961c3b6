"""Schedules of jobs."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from netd.model.job import Schedule
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

COLUMNS = (
    "name", "kind", "args", "sealed", "cron", "interval_seconds", "time_zone", "jitter_seconds", "missed", "enabled", "priority", "sites", "begins_at",
    "due_at", "fires_at", "note", "created_by", "person", "token_id", "trusted", "devices",
)  # fmt: skip
MEMBERS = ", ".join(Schedule.__struct_fields__)
_SELECT = f"select {MEMBERS} from job_schedules"

LISTING = Listing(
    kind="schedule", select=_SELECT, counted="job_schedules", tenant="tenant_id", id="id", search="lower(concat_ws(' ', name, kind, note)) like {}",
    columns={
        "id": Column(sql="id", kind=int, cast="bigint"), "name": Column(sql="lower(name)", param="lower({})", sortable=True), "kind": Column(sql="kind"),
        "enabled": Column(sql="enabled", kind=bool), "due_at": Column(sql="due_at", kind=datetime, nullable=True),
    },
)  # fmt: skip
# Those of which nothing is hidden: what an export may have.
_PLAIN = "(select * from job_schedules where sealed is null) job_schedules"
PLAIN = msgspec.structs.replace(LISTING, select=f"select {MEMBERS} from {_PLAIN}", counted=_PLAIN)


class Due(NamedTuple):
    """A schedule that fires, with what of it is not shown."""

    schedule: Schedule
    sealed: bytes | None
    person: str
    token_id: int | None
    trusted: bool
    devices: list[int] | None


class Hidden(NamedTuple):
    """What of a schedule is not shown."""

    sealed: bytes | None
    person: str


def schedule(record: Mapping[str, Any]) -> Schedule:
    """The schedule of a record that has MEMBERS, and perhaps more."""
    values = {name: record[name] for name in Schedule.__struct_fields__}
    return Schedule(**{**values, "sites": None if values["sites"] is None else tuple(values["sites"])})


def of(records: Sequence[Mapping[str, Any]]) -> list[Schedule]:
    """Schedules of the listing's records."""
    return [schedule(record) for record in records]


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> Schedule:
    """Add a schedule. Raises Conflict through the transaction if the name is taken."""
    statement, args = rows.insertion("job_schedules", COLUMNS, tenant_id, values)
    return schedule(await conn.fetchrow(f"{statement} returning {MEMBERS}", *args))


async def get(conn: Connection, tenant_id: int, schedule_id: int, *, lock: bool = False) -> Schedule | None:
    """The schedule; with ``lock`` nobody else changes it until the transaction ends."""
    record = await conn.fetchrow(f"{_SELECT} where tenant_id = $1 and id = $2{' for update' if lock else ''}", tenant_id, schedule_id)
    return None if record is None else schedule(record)


async def id_by_name(conn: Connection, tenant_id: int, name: str) -> int | None:
    """The id of the schedule of this name, in any case of letters."""
    found: int | None = await conn.fetchval("select id from job_schedules where tenant_id = $1 and lower(name) = lower($2)", tenant_id, rows.storable(name))
    return found


async def hidden(conn: Connection, tenant_id: int, schedule_id: int) -> Hidden | None:
    """What of the schedule is not shown."""
    record = await conn.fetchrow("select sealed, person from job_schedules where tenant_id = $1 and id = $2", tenant_id, schedule_id)
    return None if record is None else Hidden(record["sealed"], record["person"])


async def update(conn: Connection, tenant_id: int, schedule_id: int, values: Mapping[str, Any]) -> Schedule | None:
    """Set columns; None if there is no such schedule."""
    statement, args = rows.update("job_schedules", COLUMNS, tenant_id, schedule_id, values)
    record = await conn.fetchrow(f"{statement} returning {MEMBERS}", *args)
    return None if record is None else schedule(record)


async def delete(conn: Connection, tenant_id: int, schedule_id: int) -> bool:
    """Remove a schedule, not its jobs; whether it was there."""
    return rows.updated(await conn.execute("delete from job_schedules where tenant_id = $1 and id = $2", tenant_id, schedule_id)) > 0


async def due(conn: Connection, now: datetime) -> Due | None:
    """A schedule of any tenant that is to fire, locked; None if there is none."""
    record = await conn.fetchrow(
        f"""select {MEMBERS}, sealed, person, token_id, trusted, devices from job_schedules where enabled and fires_at <= $1 order by fires_at limit 1
            for update skip locked""", now,
    )  # fmt: skip
    return None if record is None else Due(schedule(record), *(record[name] for name in Due._fields[1:]))


async def put_off(conn: Connection, schedule_id: int, fires_at: datetime, why: str) -> None:
    """It is looked at again at ``fires_at``: it is not known when it is due."""
    await conn.execute("update job_schedules set fires_at = $2, missed_why = $3 where id = $1", schedule_id, fires_at, why)


async def are_ahead(conn: Connection, moment: datetime) -> bool:
    """Whether there is such a schedule as :func:`ahead` finds."""
    found: bool = await conn.fetchval("select exists (select from job_schedules where enabled and last_due_at > $1)", moment)
    return found


async def ahead(conn: Connection, moment: datetime) -> Schedule | None:
    """A schedule of any tenant whose last run is said to have been due behind ``moment``, locked; None if there is none."""
    record = await conn.fetchrow(f"select {MEMBERS} from job_schedules where enabled and last_due_at > $1 order by id limit 1 for update skip locked", moment)
    return None if record is None else schedule(record)


async def timed(conn: Connection, schedule_id: int, *, last_due_at: datetime, due_at: datetime | None, fires_at: datetime | None) -> None:
    """It is due then, and its last run was due at ``last_due_at``."""
    await conn.execute("update job_schedules set last_due_at = $2, due_at = $3, fires_at = $4 where id = $1", schedule_id, last_due_at, due_at, fires_at)


async def fired(
    conn: Connection, schedule_id: int, *, last_due_at: datetime, last_job_id: int | None, due_at: datetime | None, fires_at: datetime | None,
    missed: int, missed_at: datetime | None, missed_why: str | None,
) -> None:  # fmt: skip
    """How it goes on behind the run of ``last_due_at``. ``last_job_id`` None: that run was not made."""
    await conn.execute(
        """update job_schedules set last_due_at = $2, last_job_id = coalesce($3, last_job_id), due_at = $4, fires_at = $5, missed_count = missed_count + $6,
               missed_at = coalesce($7, missed_at), missed_why = coalesce($8, missed_why) where id = $1""",
        schedule_id, last_due_at, last_job_id, due_at, fires_at, missed, missed_at, missed_why,
    )  # fmt: skip


async def sealed(conn: Connection, *, after: int, limit: int) -> list[tuple[int, bytes]]:
    """(id, sealed value) of every tenant's schedules by id, for re-sealing."""
    records = await conn.fetch("select id, sealed from job_schedules where sealed is not null and id > $1 order by id limit $2", after, limit)
    return [(record["id"], record["sealed"]) for record in records]


async def reseal(conn: Connection, replacements: list[tuple[int, bytes, bytes]]) -> int:
    """Replace sealed values, (id, before, after), leaving out any that changed meanwhile; returns how many."""
    return rows.updated(await conn.execute(
        """update job_schedules t set sealed = u.after from unnest($1::bigint[], $2::bytea[], $3::bytea[]) as u (id, before, after)
           where t.id = u.id and t.sealed = u.before""", *[list(part) for part in zip(*replacements, strict=True)],
    ))  # fmt: skip
