"""Jobs as operators see and change them. How a worker takes and ends them is in ``store.work``."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, get_args

from netd.model.job import Job, JobEntry, JobFile, JobState, JobTarget, Level
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

CHANNEL: Final = "netd_jobs"
"""What is notified when there is something for a worker to look at. It carries nothing: who hears it looks."""

COLUMNS = (
    "kind", "state", "args", "sealed", "sites", "priority", "run_at", "idempotent", "max_attempts", "timeout_seconds", "lock_keys", "unique_key",
    "idempotency_key", "created_by", "person", "token_id", "address", "request_id", "approval_until", "schedule_id", "due_at", "retry_of", "devices",
)  # fmt: skip

_TARGETS = """(select coalesce(jsonb_object_agg(c.state, c.n), '{}')
    from (select t.state, count(*) as n from job_targets t where t.job_id = jobs.id group by 1) c)"""
MEMBERS = ", ".join(f"{_TARGETS} as targets" if name == "targets" else f"jobs.{name}" for name in Job.__struct_fields__)
_SELECT = f"select {MEMBERS} from jobs"
_ENTRY = ", ".join(JobEntry.__struct_fields__)

LISTING = Listing(
    kind="job", select=_SELECT, counted="jobs", tenant="jobs.tenant_id", id="jobs.id", descending=True,
    search="lower(concat_ws(' ', kind, created_by, args::text, error)) like {}",
    columns={
        "id": Column(sql="jobs.id", kind=int, cast="bigint"), "kind": Column(sql="kind"), "state": Column(sql="state", kind=JobState),
        "created_by": Column(sql="created_by"), "priority": Column(sql="priority", kind=int, cast="smallint", sortable=True),
        "created_at": Column(sql="created_at", kind=datetime, sortable=True), "run_at": Column(sql="run_at", kind=datetime, sortable=True),
        "started_at": Column(sql="started_at", kind=datetime, nullable=True), "finished_at": Column(sql="finished_at", kind=datetime, nullable=True),
        "schedule_id": Column(sql="schedule_id", kind=int, cast="bigint", nullable=True),
        # jobs that are about it: it is one of their targets, or they lock it
        "target": Column(
            sql="true", cast="text", param="(lock_keys @> array[{0}] or exists (select from job_targets t where t.job_id = jobs.id and t.key = {0}))"
        ),
    },
)  # fmt: skip

TARGETS = Listing(
    kind="job_target", select=f"select {', '.join(JobTarget.__struct_fields__)} from job_targets",
    counted="job_targets", tenant="tenant_id", id="id",
    columns={
        "key": Column(sql="key"), "state": Column(sql="state"), "outcome": Column(sql="outcome", nullable=True),
    },
    within={"job_id": Column(sql="job_id", kind=int, cast="bigint")},
)  # fmt: skip


class Sealed(NamedTuple):
    """What of a job is not shown: its sealed arguments, and who stands behind it."""

    sealed: bytes | None
    person: str


def job(record: Mapping[str, Any]) -> Job:
    """The job of a record that has MEMBERS, and perhaps more."""
    values = {name: record[name] for name in Job.__struct_fields__}
    sites = None if values["sites"] is None else tuple(values["sites"])
    return Job(**{**values, "sites": sites, "lock_keys": tuple(values["lock_keys"])})


def of(records: Sequence[Mapping[str, Any]]) -> list[Job]:
    """Jobs of the listing's records."""
    return [job(record) for record in records]


def targets(records: Sequence[Mapping[str, Any]]) -> list[JobTarget]:
    """Targets of the listing's records."""
    return [JobTarget(**record) for record in records]


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any], said: str) -> Job:
    """Add a job, with ``said`` as the first entry of its log; workers are told. Raises Conflict through the transaction for a taken key."""
    statement, args = rows.insertion("jobs", COLUMNS, tenant_id, values)
    made = await conn.fetchval(f"{statement} returning id", *args)
    await note(conn, tenant_id, made, said)
    await notify(conn)
    found = await get(conn, tenant_id, made)
    assert found is not None  # it was made in this transaction
    return found


async def notify(conn: Connection) -> None:
    """Let workers look, once the transaction is committed."""
    await conn.execute(f"notify {CHANNEL}")


async def get(conn: Connection, tenant_id: int, job_id: int, *, lock: bool = False) -> Job | None:
    """The job; with ``lock`` nobody else changes it until the transaction ends."""
    if lock:
        await conn.execute("select from jobs where tenant_id = $1 and id = $2 for no key update", tenant_id, job_id)
    record = await conn.fetchrow(f"{_SELECT} where tenant_id = $1 and id = $2", tenant_id, job_id)
    return None if record is None else job(record)


async def by_key(conn: Connection, tenant_id: int, kind: str, idempotency_key: str) -> Job | None:
    """The job that was made with this key."""
    record = await conn.fetchrow(f"{_SELECT} where tenant_id = $1 and kind = $2 and idempotency_key = $3", tenant_id, kind, idempotency_key)
    return None if record is None else job(record)


async def unfinished(conn: Connection, tenant_id: int, unique_key: str) -> int | None:
    """The id of the job that has this key until it ends."""
    found: int | None = await conn.fetchval(
        "select id from jobs where tenant_id = $1 and unique_key = $2 and state in ('awaiting_approval', 'queued', 'running')", tenant_id, unique_key
    )
    return found


async def sealed_of(conn: Connection, tenant_id: int, job_id: int) -> Sealed:
    """What of a job that is there is not shown."""
    record = await conn.fetchrow("select sealed, person from jobs where tenant_id = $1 and id = $2", tenant_id, job_id)
    return Sealed(record["sealed"], record["person"])


async def person(conn: Connection, tenant_id: int, caller: int) -> str:
    """Who stands behind a token (its id) or session (minus the user's id)."""
    found: str = await conn.fetchval("select netd_person($1, $2)", tenant_id, caller)
    return found


async def note(conn: Connection, tenant_id: int, job_id: int, text: str, *, type_: str = "state", level: Level = "info") -> None:
    """Add an entry to a job's log, whatever its state."""
    assert level in get_args(Level)
    await conn.execute(
        """with j as (update jobs set log_seq = log_seq + 1 where tenant_id = $1 and id = $2 returning id, log_seq, attempt)
           insert into job_log (tenant_id, job_id, seq, type, level, attempt, text) select $1, j.id, j.log_seq, $3, $4, j.attempt, $5 from j""",
        tenant_id, job_id, type_, level, text,
    )  # fmt: skip


async def approved(conn: Connection, tenant_id: int, job_id: int, who: str, at: datetime, note_: str | None) -> None:
    """A job that awaited it may be done."""
    await conn.execute(
        """update jobs set state = 'queued', approved_by = $3, approved_at = $4, approval_note = $5
           where tenant_id = $1 and id = $2 and state = 'awaiting_approval'""",
        tenant_id, job_id, who, at, note_,
    )  # fmt: skip


async def cancelled(conn: Connection, tenant_id: int, job_id: int, who: str, at: datetime, why: str) -> None:
    """A job that nobody works on has ended, and what an attempt before left of its targets is left alone."""
    await conn.execute(
        """update jobs set state = 'cancelled', cancel_requested_at = $4, cancelled_by = $3, finished_at = $4, error = $5
           where tenant_id = $1 and id = $2 and state in ('awaiting_approval', 'queued')""", tenant_id, job_id, who, at, why,
    )  # fmt: skip
    await conn.execute(
        "update job_targets set state = 'skipped', finished_at = $3 where tenant_id = $1 and job_id = $2 and state = 'queued'", tenant_id, job_id, at
    )


async def request_cancel(conn: Connection, tenant_id: int, job_id: int, who: str, at: datetime) -> None:
    """Whoever works on the job is to stop."""
    await conn.execute(
        "update jobs set cancel_requested_at = $4, cancelled_by = $3 where tenant_id = $1 and id = $2 and state = 'running' and cancel_requested_at is null",
        tenant_id, job_id, who, at,
    )  # fmt: skip


async def entries(conn: Connection, tenant_id: int, job_id: int, after: int, limit: int) -> list[JobEntry]:
    """Entries of the log behind number ``after``, in order."""
    records = await conn.fetch(
        f"select {_ENTRY} from job_log where tenant_id = $1 and job_id = $2 and seq > $3 order by seq limit $4", tenant_id, job_id, after, limit
    )
    return [JobEntry(**record) for record in records]


async def file(conn: Connection, tenant_id: int, job_id: int) -> JobFile | None:
    """The file that the job made, without what is in it."""
    names = ", ".join(JobFile.__struct_fields__)
    record = await conn.fetchrow(f"select {names} from job_files where tenant_id = $1 and job_id = $2", tenant_id, job_id)
    return None if record is None else JobFile(**record)


async def file_part(conn: Connection, tenant_id: int, found: JobFile, number: int) -> bytes | None:
    """A piece of the file; None behind the last."""
    part: bytes | None = await conn.fetchval(
        "select data from job_file_parts where tenant_id = $1 and job_id = $2 and fence = $3 and number = $4", tenant_id, found.job_id, found.fence, number
    )
    return part


class Standing(NamedTuple):
    """How far the log of a job is, and whether the job has ended."""

    log_seq: int
    ended: bool


async def standings(conn: Connection, job_ids: Sequence[int]) -> dict[int, Standing]:
    """The same for jobs of any tenant."""
    records = await conn.fetch("select id, log_seq, finished_at is not null as ended from jobs where id = any($1::bigint[])", list(job_ids))
    return {record["id"]: Standing(record["log_seq"], record["ended"]) for record in records}


async def sealed(conn: Connection, *, after: int, limit: int) -> list[tuple[int, bytes]]:
    """(id, sealed value) of every tenant's jobs by id, for re-sealing."""
    records = await conn.fetch("select id, sealed from jobs where sealed is not null and id > $1 order by id limit $2", after, limit)
    return [(record["id"], record["sealed"]) for record in records]


async def reseal(conn: Connection, replacements: list[tuple[int, bytes, bytes]]) -> int:
    """Replace sealed values, (id, before, after), leaving out any that changed meanwhile; returns how many."""
    return rows.updated(await conn.execute(
        """update jobs t set sealed = u.after from unnest($1::bigint[], $2::bytea[], $3::bytea[]) as u (id, before, after)
           where t.id = u.id and t.sealed = u.before""", *[list(part) for part in zip(*replacements, strict=True)],
    ))  # fmt: skip
