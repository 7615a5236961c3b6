"""Work that takes longer than a request: jobs, their log, what they did to each target, and the schedules that make them."""

from datetime import datetime
from typing import Any, Final, Literal

import msgspec

JobState = Literal["awaiting_approval", "queued", "running", "succeeded", "failed", "cancelled", "timed_out"]
EndState = Literal["succeeded", "failed", "cancelled", "timed_out"]
TargetState = Literal["queued", "running", "succeeded", "unverified", "failed", "cancelled", "skipped"]
Level = Literal["debug", "info", "warning", "error"]

ENDED: Final = frozenset(("succeeded", "failed", "cancelled", "timed_out"))
"""The states in which a job stays for ever."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of work. ``sites`` None: it may touch the whole tenant; secret members of ``args`` are ``***``.

    ``attempt`` counts how often it was begun. ``progress`` is from 0 to 1, None where nobody knows. ``targets`` counts those of the job by state.
    ``result`` is the kind's own; ``error`` says why the job did not succeed. ``log_seq`` is the number of the last entry of its log; with ``log_cut``
    the log reached its limit and what was said after that is lost.
    """

    id: int
    tenant_id: int
    kind: str
    state: JobState
    args: dict[str, Any]
    sites: tuple[int, ...] | None
    priority: int
    run_at: datetime
    attempt: int
    max_attempts: int
    timeout_seconds: float
    lock_keys: tuple[str, ...]
    unique_key: str | None
    worker: str | None
    cancel_requested_at: datetime | None
    cancelled_by: str | None
    progress: float | None
    progress_text: str | None
    targets: dict[str, int]
    result: Any
    error: str | None
    log_seq: int
    log_cut: bool
    created_by: str
    approval_until: datetime | None
    approved_by: str | None
    approved_at: datetime | None
    approval_note: str | None
    schedule_id: int | None
    due_at: datetime | None
    retry_of: int | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a job's log. ``seq`` counts from 1 without gaps. Of type ``state`` it says that the job came into the state ``text`` (a word, and
    behind a colon why)."""

    seq: int
    at: datetime
    type: Literal["state", "line"]
    level: Level
    attempt: int
    target: str | None
    text: str


class JobTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What a job did to one of the things it is about. ``outcome`` is a word of :class:`netd.model.device.Outcome`, ``said`` the target's own text."""

    id: int
    job_id: int
    key: str
    name: str
    state: TargetState
    outcome: str | None
    said: str | None
    result: Any
    attempt: int
    started_at: datetime | None
    finished_at: datetime | None


class JobFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a job made. ``permission`` is what seeing it needs, where the job reached; ``fence`` tells its pieces from those of other attempts."""

    job_id: int
    fence: int
    name: str
    media_type: str
    permission: str
    octets: int
    made_at: datetime


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """When jobs are made by themselves: by ``cron`` in ``time_zone``, or every ``interval_seconds`` since ``begins_at``.

    ``due_at`` is the next run's time, ``fires_at`` the same with its share of the jitter. Runs that were not made (no netd ran then, or the run before
    was not over) are counted, with the last one's time and why.
    """

    id: int
    tenant_id: int
    name: str
    kind: str
    args: dict[str, Any]
    cron: str | None
    interval_seconds: int | None
    time_zone: str
    jitter_seconds: int
    missed: Literal["skip", "run_once"]
    enabled: bool
    priority: int
    sites: tuple[int, ...] | None
    begins_at: datetime
    due_at: datetime | None
    fires_at: datetime | None
    last_due_at: datetime | None
    last_job_id: int | None
    missed_count: int
    missed_at: datetime | None
    missed_why: str | None
    note: str | None
    created_by: str
    version: int
    created_at: datetime
    updated_at: datetime
