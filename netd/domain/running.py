"""How jobs go on: taken, ended, begun again; each with its audit row and event in one transaction. The caller is ``work.jobs``."""

import contextlib
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from netd.domain import audit, jobs, makers
from netd.domain.actor import Actor, Grant
from netd.domain.kinds import Kind
from netd.model.job import EndState
from netd.store import events
from netd.store import jobs as job_store
from netd.store import work as store
from netd.store.database import Connection, Database
from netd.store.work import Busy, Claim

ACTIONS: Final[dict[EndState, str]] = {"succeeded": "job.succeed", "failed": "job.fail", "cancelled": "job.cancel", "timed_out": "job.time_out"}
LOST_RETRY_SECONDS: Final = 1.0
TRIES: Final = 5


def actor_of(claim: Claim, permission: str) -> Actor:
    """Who wanted the job, confined to where it may reach, and to what it is for."""
    job = claim.job
    sites = None if job.sites is None else frozenset(job.sites)
    return Actor(
        tenant_id=job.tenant_id, name=job.created_by, role="", grants=(Grant(frozenset((permission,)), sites),), sites=sites, token_id=claim.token_id,
        address=claim.address, request_id=claim.request_id,
    )  # fmt: skip


async def refusal(db: Database, claim: Claim, kind: Kind, now: datetime) -> str | None:
    """Why the job is not done, though it was wanted: whoever wanted it may not any more, or not without an approval. Raises StoreError."""
    async with db.transaction() as conn:
        person = (await job_store.sealed_of(conn, claim.job.tenant_id, claim.job.id)).person
        maker = await makers.present(conn, claim.job.tenant_id, person, claim.token_id, now)
    sites = None if claim.job.sites is None else frozenset(claim.job.sites)
    refused = makers.refusal(maker, kind.permission, sites)
    if refused is not None or isinstance(maker, str):
        return refused
    if kind.approval and claim.job.approved_by is None and not jobs.trusted(maker, sites):
        return "whoever made it needs an approval for it by now"
    return None


async def take(db: Database, worker: str, kinds: Sequence[str], lease_seconds: float) -> Claim | None:
    """Begin the job of these kinds that is due first; None if none can be begun now. Raises StoreError."""
    for _ in range(TRIES):  # another worker may be quicker to have a key
        with contextlib.suppress(Busy):
            async with db.transaction() as conn:
                claim = await store.claim(conn, worker, kinds, lease_seconds)
                if claim is not None:
                    told = {"after": {"kind": claim.job.kind, "attempt": claim.job.attempt, "worker": worker}}
                    await events.insert(conn, claim.job.tenant_id, "job.started", "job", str(claim.job.id), claim.job.created_by, told)
                return claim
    return None


async def end(
    db: Database, claim: Claim, state: EndState, result: Any, error: str | None, progress: float | None = None, progress_text: str | None = None
) -> bool:
    """The job has ended; False if it was no longer this worker's. Raises StoreError."""
    async with db.transaction() as conn:
        ended = await store.end(conn, claim, state, result, error, progress, progress_text)
        if ended:
            await _recorded(conn, claim, ACTIONS[state], state, error)
    return ended


async def again(db: Database, claim: Claim, why: str, *, after_seconds: float = 0.0, counted: bool = True) -> bool:
    """The job is to be begun again; False if it was no longer this worker's. Raises StoreError."""
    async with db.transaction() as conn:
        return await _again(conn, claim, why, after_seconds, counted)


async def reap(db: Database, alive: Collection[tuple[int, int]] = ()) -> str | None:
    """Let a job whose worker is lost be begun again, if its kind may be, or have failed. Returns what became of it; None if there is none.

    ``alive`` are those that the caller itself works on, by id and fence: whatever their leases say it is not lost, and tells itself what becomes of them.
    """
    async with db.transaction() as conn:
        claim = await store.lost(conn, alive)
        if claim is None:
            return None
        job, gone = claim.job, f"worker {claim.job.worker} lost"
        if job.cancel_requested_at is not None:
            await _end(conn, claim, "cancelled", f"{gone} before it said that it stopped: how far it came is not known")
            return "cancelled"
        if not await store.is_idempotent(conn, job.id):
            await _end(conn, claim, "failed", f"{gone}: how far it came is not known, and such jobs are not begun again by themselves")
            return "failed"
        if job.attempt >= job.max_attempts:
            await _end(conn, claim, "failed", f"{gone} in attempt {job.attempt} of {job.max_attempts}")
            return "failed"
        await _again(conn, claim, f"{gone}, attempt {job.attempt} of {job.max_attempts}", LOST_RETRY_SECONDS, counted=True)
        return "queued"


async def expire(db: Database, now: datetime) -> bool:
    """End a job that nobody approved in time; False if there is none."""
    async with db.transaction() as conn:
        claim = await store.unapproved(conn)
        if claim is None:
            return False
        job, why = claim.job, "nobody approved it in time"
        await job_store.cancelled(conn, job.tenant_id, job.id, "netd", now, why)
        await job_store.note(conn, job.tenant_id, job.id, f"cancelled: {why}", level="warning")
        await _recorded(conn, claim, ACTIONS["cancelled"], "cancelled", why)
    return True


async def _end(conn: Connection, claim: Claim, state: EndState, error: str) -> None:
    await store.end(conn, claim, state, None, error)
    await _recorded(conn, claim, ACTIONS[state], state, error)


async def _again(conn: Connection, claim: Claim, why: str, after_seconds: float, counted: bool) -> bool:
    done = await store.requeue(conn, claim.job, claim.fence, why, after_seconds=after_seconds, counted=counted)
    if done:
        await _recorded(conn, claim, "job.requeue", "queued", why)
    return done


async def _recorded(conn: Connection, claim: Claim, action: str, state: str, error: str | None) -> None:
    job = claim.job
    told = {**jobs.told(job), "state": state, "error": error, "worker": job.worker}
    await audit.record(conn, actor_of(claim, "jobs:write"), action, "job", job.id, before={"state": job.state}, after=told)
