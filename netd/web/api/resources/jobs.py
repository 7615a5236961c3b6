"""/jobs: work that takes longer than a request, its log as it grows, and /schedules that make jobs."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, Final

import msgspec
from aiohttp import hdrs, web
from msgspec import Meta

from netd.domain import jobs, schedules
from netd.domain.actor import Actor
from netd.domain.jobs import Decision, KindList, Log, NewJob
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.reports import MEDIA_TYPES
from netd.domain.schedules import NewSchedule, SchedulePatch
from netd.errors import Fault
from netd.model.job import ENDED, Job, JobEntry, JobTarget, Schedule
from netd.web.api import auth, streaming
from netd.web.api.problem import INVALID, TOO_MANY, Problem
from netd.web.api.route import PREFIX, Answered, Call, Download, is_upgrade, route

READ, WRITE, APPROVE, PLAN = jobs.READ, jobs.WRITE, jobs.APPROVE, "jobs:schedule"

CHECK_SECONDS: Final = 30.0
"""How soon a listener whose token was revoked, or lost the permission, is let go."""

MOST_LISTENERS: Final = 2000
MOST_WAIT_SECONDS: Final = 60

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?", re.IGNORECASE)


class LogQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which entries: behind the one with the number ``after``. A stream goes on until the job has ended."""

    after: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000


@route("GET", "/jobs", permission=READ, summary="List jobs, newest first", query=jobs.JobQuery)
async def job_list(call: Call, query: ListQuery) -> Page[Job]:
    return await jobs.page(call.deps.database, call.actor, query)


@route("GET", "/jobs/kinds", permission=READ, summary="Every kind of job there is, and what it is given")
async def job_kinds(call: Call) -> KindList:
    return jobs.kinds_for(call.actor, call.deps.kinds)


@route(
    "POST", "/jobs", permission=WRITE, status=202, action="job.submit",
    summary="Let a job be done; with Prefer: wait=10 the answer comes when it has ended (200), or after so many seconds",
)  # fmt: skip
async def job_submit(call: Call, body: NewJob) -> Answered[Job]:
    made = await jobs.submit(call.deps.database, call.actor, call.deps.kinds, call.deps.keyring, body, call.deps.now())
    return await _begun(call, made)


@route("GET", "/jobs/{id}", permission=READ, summary="Show a job")
async def job_show(call: Call, id: int) -> Job:
    return await jobs.get(call.deps.database, call.actor, id)


@route("GET", "/jobs/{id}/targets", permission=READ, summary="What a job did to each of its targets", query=jobs.TargetQuery)
async def job_targets(call: Call, id: int, query: ListQuery) -> Page[JobTarget]:
    return await jobs.targets(call.deps.database, call.actor, id, query)


@route(
    "GET", "/jobs/{id}/file", permission=READ, media_types=tuple(MEDIA_TYPES.values()),
    summary="The file that a job made; needs the permission for what is in it, too",
)  # fmt: skip
async def job_file(call: Call, id: int) -> Download:
    found, pieces = await jobs.file(call.deps.database, call.actor, id)
    return Download(found.name, found.media_type, pieces)


@route("POST", "/jobs/{id}/cancel", permission=WRITE, status=202, summary="Let a job not be done, or stop", action="job.cancel")
async def job_cancel(call: Call, id: int) -> Answered[Job]:
    return await _begun(call, await jobs.cancel(call.deps.database, call.actor, call.deps.kinds, id, call.deps.now()))


@route("POST", "/jobs/{id}/retry", permission=WRITE, status=202, summary="Do a job that did not succeed once more, as a new one", action="job.retry")
async def job_retry(call: Call, id: int) -> Answered[Job]:
    return await _begun(call, await jobs.retry(call.deps.database, call.actor, call.deps.kinds, call.deps.keyring, id, call.deps.now()))


@route("POST", "/jobs/{id}/approve", permission=APPROVE, summary="Agree that a job of somebody else be done", action="job.approve")
async def job_approve(call: Call, id: int, body: Decision) -> Job:
    return await jobs.approve(call.deps.database, call.actor, id, body, call.deps.now())


@route("POST", "/jobs/{id}/decline", permission=APPROVE, summary="Say that a job shall not be done", action="job.decline")
async def job_decline(call: Call, id: int, body: Decision) -> Job:
    return await jobs.decline(call.deps.database, call.actor, id, body, call.deps.now())


async def _begun(call: Call, job: Job) -> Answered[Job]:
    """202 with where the job is found; with ``Prefer: wait`` (RFC 7240 4.3) not before it has ended or the time is over."""
    call.answer_headers[hdrs.LOCATION] = f"{PREFIX}/jobs/{job.id}"
    wait = _WAIT.search(",".join(call.request.headers.getall("Prefer", [])))
    if wait is None:
        return Answered(job, 200 if job.state in ENDED else 202)
    seconds = min(int(wait[1]), MOST_WAIT_SECONDS)
    call.answer_headers["Preference-Applied"] = f"wait={seconds}"
    reader: Actor | None = call.actor.allowed(READ)
    if reader is not None:
        job = await call.deps.watch.ended(call.deps.database, reader, job.id, seconds)
    return Answered(job, 200 if job.state in ENDED else 202)


async def _stream(call: Call, id: int, query: LogQuery) -> web.StreamResponse:
    """The open response of somebody who follows the log."""
    text = call.request.headers.get("Last-Event-ID")
    if text is not None and not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Problem(INVALID, f"{text[:40]!r} is not an entry's number", faults=[Fault("/after", "is not an entry's number")])
    after = query.after if text is None else int(text)
    await jobs.get(call.deps.database, call.actor, id)  # before the answer begins: what is not there is 404
    if len(call.deps.watch) >= MOST_LISTENERS:
        raise Problem(TOO_MANY, f"{MOST_LISTENERS} listen already", headers={"Retry-After": "30"})
    batches = _batches(call, id, after)
    if is_upgrade(call.request):
        return await streaming.websocket(call.request, batches)
    return await streaming.sse(call.request, batches, _named)


async def _batches(call: Call, job_id: int, after: int) -> AsyncIterator[list[JobEntry] | None]:
    """What a listener is sent, as long as its token is good and may see it."""
    loop = asyncio.get_running_loop()
    checked = loop.time()
    async for batch in call.deps.watch.follow(call.deps.database, call.actor, job_id, after, streaming.IDLE_SECONDS):
        if loop.time() - checked >= CHECK_SECONDS:
            checked = loop.time()
            if not await auth.still_allows(call.deps, call.actor, READ):
                return
        yield batch
    if not call.deps.watch.closed:
        yield None


def _named(entry: JobEntry) -> tuple[str, str]:
    return str(entry.seq), entry.type


@route(
    "GET", "/jobs/{id}/log", permission=READ, stream=_stream,
    summary="A job's log; as Server-Sent Events for who accepts text/event-stream, over a WebSocket for who asks for one, each until the job has ended",
)  # fmt: skip
async def job_log(call: Call, id: int, query: LogQuery) -> Log:
    return await jobs.log(call.deps.database, call.actor, id, query.after, query.limit)


@route("GET", "/schedules", permission=READ, summary="List schedules", query=schedules.ScheduleQuery)
async def schedule_list(call: Call, query: ListQuery) -> Page[Schedule]:
    return await schedules.page(call.deps.database, call.actor, query)


@route("POST", "/schedules", permission=PLAN, summary="Let jobs be made by themselves", status=201, action="schedule.create")
async def schedule_create(call: Call, body: NewSchedule) -> Schedule:
    return await schedules.create(call.deps.database, call.actor, call.deps.kinds, call.deps.keyring, body, call.deps.now())


@route("GET", "/schedules/{id}", permission=READ, summary="Show a schedule, its next run and what was missed")
async def schedule_show(call: Call, id: int) -> Schedule:
    return await schedules.get(call.deps.database, call.actor, id)


@route("PATCH", "/schedules/{id}", permission=PLAN, summary="Change, disable or enable a schedule", action="schedule.update")
async def schedule_update(call: Call, id: int, body: SchedulePatch) -> Schedule:
    deps = call.deps
    return await schedules.update(deps.database, call.actor, deps.kinds, deps.keyring, id, body, deps.now(), version=call.if_match)


@route("DELETE", "/schedules/{id}", permission=PLAN, summary="Remove a schedule; its jobs stay", action="schedule.delete")
async def schedule_delete(call: Call, id: int) -> None:
    await schedules.delete(call.deps.database, call.actor, id, version=call.if_match)


ROUTES = (
    job_list, job_kinds, job_submit, job_show, job_targets, job_file, job_cancel, job_retry, job_approve, job_decline, job_log,
    schedule_list, schedule_create, schedule_show, schedule_update, schedule_delete,
)  # fmt: skip
