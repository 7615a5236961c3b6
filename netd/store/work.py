"""Doing jobs: who does which, how far they are, and how they end. Of all tenants, on connections that act as the owner.

A claim is a lease with a fence: nothing is written under a fence that is no longer the job's, or once the job has ended.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from netd.model.device import Outcome
from netd.model.job import EndState, Job, Level, TargetState
from netd.store import jobs
from netd.store.database import Connection
from netd.store.rows import storable, storable_json, updated

LEASE_SECONDS: Final = 30.0


class Claim(NamedTuple):
    """A job that is this worker's to do, with what of it is not shown."""

    job: Job
    fence: int
    sealed: bytes | None
    token_id: int | None
    address: str | None
    request_id: str | None
    log_octets: int
    devices: list[int] | None


class Line(NamedTuple):
    """A line of the log to be written."""

    job_id: int
    fence: int
    at: datetime
    level: Level
    target: str | None
    text: str


class News(NamedTuple):
    """How far a claimed job is. ``progress`` and its text None: as they were."""

    job_id: int
    fence: int
    progress: float | None
    progress_text: str | None
    log_octets: int
    log_cut: bool


_MORE = "fence, sealed, token_id, host(address) as address, request_id, log_octets, devices"
# Of those that share a key the first is begun first, also where another worker has just locked its row and passes over it here. That the keys are free
# is decided by the insertion into job_locks.
_PICK = """
    select j.id, j.tenant_id, j.lock_keys from jobs j
    where j.state = 'queued' and j.run_at <= clock_timestamp() and j.kind = any($1::text[])
        and not exists (select from job_locks l where l.tenant_id = j.tenant_id and l.key = any(j.lock_keys))
        and (j.lock_keys = '{}' or not exists (
            select from jobs e where e.state = 'queued' and e.tenant_id = j.tenant_id and e.lock_keys && j.lock_keys and e.kind = any($1::text[])
                and e.run_at <= clock_timestamp() and (e.priority > j.priority or e.priority = j.priority and (e.run_at, e.id) < (j.run_at, j.id))))
    order by j.priority desc, j.run_at, j.id limit 1 for no key update of j skip locked
"""
_TAKE = f"""
    update jobs set state = 'running', worker = $2, fence = fence + 1, attempt = attempt + 1,
        lease_until = clock_timestamp() + $3::float8 * interval '1 second', started_at = clock_timestamp(), progress = null, progress_text = null
    where id = $1 returning {jobs.MEMBERS}, {_MORE}
"""


class Busy(Exception):
    """Another job has one of the keys since a moment ago; the transaction is to be rolled back."""


async def claim(conn: Connection, worker: str, kinds: Sequence[str], lease_seconds: float) -> Claim | None:
    """Take the job that is due first of these kinds; None if there is none. Raises Busy."""
    picked = await conn.fetchrow(_PICK, list(kinds))
    if picked is None:
        return None
    keys = sorted(set(picked["lock_keys"]))  # in one order, so that two workers cannot wait for each other
    if keys:
        got = await conn.fetch(
            """insert into job_locks (tenant_id, key, job_id) select $1, key, $2 from unnest($3::text[]) as key order by key
               on conflict do nothing returning key""", picked["tenant_id"], picked["id"], keys,
        )  # fmt: skip
        if len(got) < len(keys):
            raise Busy
    record = await conn.fetchrow(_TAKE, picked["id"], worker, lease_seconds)
    await jobs.note(conn, record["tenant_id"], record["id"], "running")
    return _claim(record)


class Held(NamedTuple):
    """A job that is still this worker's."""

    job_id: int
    fence: int
    cancel: bool  # it is to stop


async def keep(conn: Connection, news: Sequence[News], lines: Sequence[Line], lease_seconds: float) -> list[Held]:
    """Write how far jobs are and what was said, and renew the leases; returns those that are still the worker's. What is said of others is dropped."""
    held = await conn.fetch(  # locked in one order, before anything is written
        """select j.id, j.fence from jobs j join unnest($1::bigint[], $2::bigint[]) as u (id, fence) on u.id = j.id and u.fence = j.fence
           where j.state = 'running' order by j.id for no key update of j""", [each.job_id for each in news], [each.fence for each in news],
    )  # fmt: skip
    fences = {record["id"]: record["fence"] for record in held}
    ours = [each for each in news if fences.get(each.job_id) == each.fence]
    said = [line for line in lines if fences.get(line.job_id) == line.fence]
    counts = dict.fromkeys(fences, 0)
    for line in said:
        counts[line.job_id] += 1
    records = await conn.fetch(
        """update jobs j set lease_until = clock_timestamp() + $1::float8 * interval '1 second', log_seq = log_seq + u.n, log_octets = u.octets,
               log_cut = u.cut, progress = coalesce(u.progress, j.progress), progress_text = coalesce(u.said, j.progress_text)
           from unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bool[], $6::float8[], $7::text[]) as u (id, n, octets, cut, progress, said)
           where j.id = u.id returning j.id, j.fence, j.tenant_id, j.attempt, j.log_seq, j.cancel_requested_at is not null as cancel""",
        lease_seconds, [each.job_id for each in ours], [counts[each.job_id] for each in ours], [each.log_octets for each in ours],
        [each.log_cut for each in ours], [each.progress for each in ours], [storable(each.progress_text) for each in ours],
    )  # fmt: skip
    await _add_lines(conn, {record["id"]: record for record in records}, counts, said)
    return [Held(record["id"], record["fence"], record["cancel"]) for record in records]


async def _add_lines(conn: Connection, rows: Mapping[int, Mapping[str, Any]], counts: Mapping[int, int], lines: Sequence[Line]) -> None:
    if not lines:
        return
    reached = {job_id: row["log_seq"] - counts[job_id] for job_id, row in rows.items()}
    columns: list[tuple[Any, ...]] = []
    for line in lines:
        reached[line.job_id] += 1
        row = rows[line.job_id]
        columns.append((row["tenant_id"], line.job_id, reached[line.job_id], line.at, line.level, row["attempt"], storable(line.target), storable(line.text)))
    await conn.execute(
        """insert into job_log (tenant_id, job_id, seq, at, type, level, attempt, target, text)
           select t, j, s, a, 'line', l, n, g, x from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::text[], $6::int[], $7::text[],
               $8::text[]) as u (t, j, s, a, l, n, g, x)""", *[list(part) for part in zip(*columns, strict=True)],
    )  # fmt: skip


async def to_cancel(conn: Connection, job_ids: Sequence[int]) -> list[int]:
    """Those of the jobs that are to stop."""
    records = await conn.fetch("select id from jobs where id = any($1::bigint[]) and cancel_requested_at is not null", list(job_ids))
    return [record["id"] for record in records]


_ENDING: Final[Mapping[str, TargetState]] = {"succeeded": "failed", "failed": "failed", "timed_out": "failed", "cancelled": "cancelled"}


async def end(
    conn: Connection, claimed: Claim, state: EndState, result: Any, error: str | None, progress: float | None = None, progress_text: str | None = None
) -> bool:
    """The job has ended, and what of its targets was not done is told; False if it was no longer this worker's."""
    job = claimed.job
    if not updated(await conn.execute(
        """update jobs set state = $3, finished_at = clock_timestamp(), lease_until = null, result = $4, error = $5,
               progress = case when $3 = 'succeeded' then 1 else coalesce($6, progress) end, progress_text = coalesce($7, progress_text)
           where id = $1 and fence = $2 and state = 'running'""", job.id, claimed.fence, state, storable_json(result), storable(error),
        progress, storable(progress_text),
    )):  # fmt: skip
        return False
    await conn.execute(
        """update job_targets set state = case state when 'running' then $2 else 'skipped' end, finished_at = clock_timestamp(),
               said = coalesce(said, case state when 'running' then $3 end) where job_id = $1 and state in ('queued', 'running')""",
        job.id, _ENDING[state], storable(error) or "the job ended before it",
    )  # fmt: skip
    await _let_go(conn, job.id)
    await jobs.note(conn, job.tenant_id, job.id, f"{state}: {storable(error)}" if error else state, level="info" if state == "succeeded" else "error")
    await jobs.notify(conn)  # what waits for its keys
    return True


async def requeue(conn: Connection, job: Job, fence: int, why: str, *, after_seconds: float = 0.0, counted: bool = True) -> bool:
    """The job waits to be begun again; ``counted`` False: this attempt does not count. False if it was no longer under this fence."""
    if not updated(await conn.execute(
        """update jobs set state = 'queued', lease_until = null, run_at = clock_timestamp() + $3::float8 * interval '1 second', attempt = attempt - $4
           where id = $1 and fence = $2 and state = 'running'""", job.id, fence, after_seconds, 0 if counted else 1,
    )):  # fmt: skip
        return False
    await conn.execute("update job_targets set state = 'queued', said = null, started_at = null where job_id = $1 and state = 'running'", job.id)
    await _let_go(conn, job.id)
    await jobs.note(conn, job.tenant_id, job.id, f"queued: {storable(why)}", level="warning")
    await jobs.notify(conn)
    return True


async def _let_go(conn: Connection, job_id: int) -> None:
    await conn.execute("delete from job_locks where job_id = $1", job_id)


async def lost(conn: Connection, alive: Collection[tuple[int, int]] = ()) -> Claim | None:
    """A running job whose lease is over, and that is none of ``alive`` (by id and fence), locked; None if there is none."""
    record = await conn.fetchrow(
        """select id from jobs where state = 'running' and lease_until < clock_timestamp()
               and (id, fence) not in (select * from unnest($1::bigint[], $2::bigint[]))
           order by lease_until limit 1 for no key update skip locked""",
        [job_id for job_id, _ in alive], [fence for _, fence in alive],
    )  # fmt: skip
    return None if record is None else await _claim_of(conn, record["id"])


async def unapproved(conn: Connection) -> Claim | None:
    """A job that nobody approved in time, locked; None if there is none."""
    record = await conn.fetchrow(
        """select id from jobs where state = 'awaiting_approval' and approval_until < clock_timestamp() order by approval_until limit 1
           for no key update skip locked"""
    )
    return None if record is None else await _claim_of(conn, record["id"])


async def _claim_of(conn: Connection, job_id: int) -> Claim:
    record = await conn.fetchrow(f"select {jobs.MEMBERS}, {_MORE} from jobs where id = $1", job_id)
    return _claim(record)


def _claim(record: Mapping[str, Any]) -> Claim:
    return Claim(jobs.job(record), *(record[name] for name in Claim._fields[1:]))


async def is_idempotent(conn: Connection, job_id: int) -> bool:
    """Whether the job may be begun again, as its kind said when it was submitted."""
    found: bool = await conn.fetchval("select idempotent from jobs where id = $1", job_id)
    return found


# Targets: what a job does to each of the things it is about. All under the fence.

_OURS = "exists (select from jobs j where j.id = $1 and j.fence = $2 and j.state = 'running')"


async def declare_targets(conn: Connection, claimed: Claim, subjects: Sequence[tuple[str, str]]) -> dict[str, TargetState] | None:
    """Let (key, name) be targets of the job; returns the state of each, or None if the job is no longer this worker's."""
    ours = await conn.fetchval("select true from jobs where id = $1 and fence = $2 and state = 'running' for no key update", claimed.job.id, claimed.fence)
    if not ours:
        return None
    await conn.execute(
        """insert into job_targets (tenant_id, job_id, key, name) select $1, $2, k, n from unnest($3::text[], $4::text[]) as u (k, n)
           on conflict (job_id, key) do nothing""",
        claimed.job.tenant_id, claimed.job.id, [key for key, _ in subjects], [name for _, name in subjects],
    )  # fmt: skip
    records = await conn.fetch("select key, state from job_targets where job_id = $1 and key = any($2::text[])", claimed.job.id, [key for key, _ in subjects])
    return {record["key"]: record["state"] for record in records}


async def lock_target(conn: Connection, claimed: Claim, key: str) -> bool | None:
    """Have ``key`` for this job alone; False if another job has it, None if the job is no longer this worker's."""
    got = await conn.fetchval(
        f"""insert into job_locks as l (tenant_id, key, job_id) select $3, $4, $1 where {_OURS}
            on conflict (tenant_id, key) do update set since = l.since where l.job_id = $1 returning true""",
        claimed.job.id, claimed.fence, claimed.job.tenant_id, key,
    )  # fmt: skip
    if got:
        return True
    return False if await conn.fetchval(f"select {_OURS}", claimed.job.id, claimed.fence) else None


async def free_target(conn: Connection, claimed: Claim, key: str) -> None:
    """Let others have ``key``, unless the job has it from its beginning to its end."""
    if key not in claimed.job.lock_keys:
        await conn.execute(
            f"delete from job_locks where job_id = $1 and tenant_id = $3 and key = $4 and {_OURS}", claimed.job.id, claimed.fence, claimed.job.tenant_id, key
        )


async def begin_target(conn: Connection, claimed: Claim, key: str) -> bool:
    """The job is at this target now; False if it is no longer this worker's."""
    return updated(await conn.execute(
        f"""update job_targets t set state = 'running', attempt = $4, started_at = clock_timestamp(), finished_at = null, said = null, outcome = null
            where t.job_id = $1 and t.key = $3 and {_OURS}""", claimed.job.id, claimed.fence, key, claimed.job.attempt,
    )) > 0  # fmt: skip


async def end_target(conn: Connection, claimed: Claim, key: str, state: TargetState, outcome: Outcome | None, said: str | None, result: Any) -> bool:
    """What became of a target; False if the job is no longer this worker's."""
    return updated(await conn.execute(
        f"""update job_targets t set state = $4, outcome = $5, said = $6, result = $7, finished_at = clock_timestamp()
            where t.job_id = $1 and t.key = $3 and {_OURS}""",
        claimed.job.id, claimed.fence, key, state, None if outcome is None else str(outcome), storable(said), storable_json(result),
    )) > 0  # fmt: skip


# A file: piece by piece, so that no transaction is long, under the fence; the row that makes it one comes last.


async def add_file_part(conn: Connection, claimed: Claim, number: int, data: bytes) -> bool | None:
    """Keep a piece; None if the job is no longer this worker's."""
    kept = updated(await conn.execute(
        f"""insert into job_file_parts (tenant_id, job_id, fence, number, data) select $3, $1, $2, $4, $5 where {_OURS}
            on conflict (job_id, fence, number) do update set data = excluded.data""",
        claimed.job.id, claimed.fence, claimed.job.tenant_id, number, data,
    ))  # fmt: skip
    return True if kept else None


async def end_file(conn: Connection, claimed: Claim, parts: int, name: str, media_type: str, permission: str, octets: int) -> bool | None:
    """The file has so many pieces, and is the job's from now on, in place of what it had; None if the job is no longer this worker's."""
    kept = updated(await conn.execute(
        f"""insert into job_files (job_id, tenant_id, fence, name, media_type, permission, octets) select $1, $3, $2, $4, $5, $6, $7 where {_OURS}
            on conflict (job_id) do update set fence = excluded.fence, name = excluded.name, media_type = excluded.media_type,
                permission = excluded.permission, octets = excluded.octets, made_at = now()""",
        claimed.job.id, claimed.fence, claimed.job.tenant_id, name, media_type, permission, octets,
    ))  # fmt: skip
    if not kept:
        return None
    await conn.execute("delete from job_file_parts where job_id = $1 and (fence <> $2 or number >= $3)", claimed.job.id, claimed.fence, parts)
    return True


class Waiting(NamedTuple):
    """How the queue stands: jobs by state that are not ended, and how long the first one that is due has waited."""

    states: dict[str, int]
    oldest_seconds: float


async def standing(conn: Connection) -> Waiting:
    """The same for all tenants together."""
    records = await conn.fetch("select state, count(*) as n from jobs where state in ('awaiting_approval', 'queued', 'running') group by 1")
    oldest = await conn.fetchval(
        "select coalesce(extract(epoch from clock_timestamp() - min(run_at)), 0)::float8 from jobs where state = 'queued' and run_at <= clock_timestamp()"
    )
    return Waiting({"awaiting_approval": 0, "queued": 0, "running": 0} | {record["state"]: record["n"] for record in records}, oldest)
