"""Schedules: jobs that are made by themselves. Any number of nodes look for what is due; a run is made once, for (schedule, due_at) is unique."""

import logging
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.domain import audit, inputs, jobs, lists, makers, timetable
from netd.domain.actor import Actor, Grant
from netd.domain.inputs import Faults, Label, Note, Zone, given
from netd.domain.jobs import Priority
from netd.domain.kinds import Kind, Kinds
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.timetable import Timetable
from netd.errors import Conflict, Fault, InvalidInput, NetdError, NotFound, OutsideScope, StoreUnavailable
from netd.keyring import Keyring
from netd.model.job import Schedule
from netd.store import events
from netd.store import jobs as job_store
from netd.store import schedules as store
from netd.store.database import Connection, Database, confine, savepoint

log = logging.getLogger(__name__)

_WHEN: Final = frozenset(("cron", "interval_seconds", "time_zone", "jitter_seconds", "missed", "priority"))

LATE: Final = timedelta(seconds=60)
"""A run that could not be made for longer than this was missed."""

UNKNOWN: Final = timedelta(seconds=20)
"""So long a schedule is left to other nodes, or to another try, of whose time zone nothing is known here."""

AHEAD: Final = timedelta(hours=1)
"""A run that is further in the future than this, and was made, was made by a clock that was wrong."""

Cron = Annotated[str, Meta(min_length=1, max_length=200, description="minute hour day-of-month month day-of-week, or @daily …", examples=["30 2 * * *"])]
Interval = Annotated[int, Meta(ge=timetable.SHORTEST_SECONDS, le=366 * 86400)]
Jitter = Annotated[int, Meta(ge=0, le=86400, description="a run begins up to so much later, each time another")]


class NewSchedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Jobs of ``kind`` with ``args``, by ``cron`` in ``time_zone`` or every ``interval_seconds`` from ``begins_at`` (now) on. Of what was missed nothing is
    made (``skip``), or one job for the last of it (``run_once``)."""

    name: Label
    kind: Annotated[str, Meta(min_length=1, max_length=64)]
    args: dict[str, Any] = {}
    cron: Cron | None = None
    interval_seconds: Interval | None = None
    time_zone: Zone = "UTC"
    begins_at: Annotated[datetime, Meta(tz=True)] | None = None
    jitter_seconds: Jitter = 0
    missed: Literal["skip", "run_once"] = "skip"
    priority: Priority = 0
    enabled: bool = True
    note: Note | None = None


class SchedulePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change. Arguments are replaced as a whole; whoever changes them or when they are done, or enables the schedule, is who its jobs are made for
    from then on."""

    name: Label | UnsetType = UNSET
    args: dict[str, Any] | UnsetType = UNSET
    cron: Cron | UnsetType | None = UNSET
    interval_seconds: Interval | UnsetType | None = UNSET
    time_zone: Zone | UnsetType = UNSET
    jitter_seconds: Jitter | UnsetType = UNSET
    missed: Literal["skip", "run_once"] | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    note: Note | UnsetType | None = UNSET


ScheduleQuery = lists.query_type(store.LISTING)


async def create(db: Database, actor: Actor, kinds: Kinds, keyring: Keyring, new: NewSchedule, now: datetime) -> Schedule:
    """Make a schedule. Raises InvalidInput with all that is wrong; OutsideScope for who may not start such jobs; Conflict if the name is taken."""
    kind = kinds.get(new.kind)
    own = jobs.confined(actor, kind)
    async with db.transaction(own.scope) as conn:
        return await create_in(conn, own, keyring, kind, new, now)


async def create_in(conn: Connection, actor: Actor, keyring: Keyring, kind: Kind, new: NewSchedule, now: datetime) -> Schedule:
    """``create`` within the transaction of ``conn``; the actor is confined to where it may start such jobs."""
    times = _times({"cron": new.cron, "interval_seconds": new.interval_seconds, "time_zone": new.time_zone})
    values: dict[str, Any] = {
        **times, **await _work(conn, actor, keyring, kind, new.args), "name": new.name, "kind": kind.name, "begins_at": new.begins_at or now,
        "jitter_seconds": new.jitter_seconds, "missed": new.missed, "priority": new.priority, "enabled": new.enabled, "note": new.note,
    }  # fmt: skip
    made = await _timed(conn, await store.insert(conn, actor.tenant_id, values), now)
    await audit.record(conn, actor, "schedule.create", "schedule", made.id, after=audit.values(made))
    return made


async def _work(conn: Connection, actor: Actor, keyring: Keyring, kind: Kind, args: dict[str, Any]) -> dict[str, Any]:
    """The columns that say what its jobs do, and for whom."""
    prepared = await jobs.prepare(conn, actor, keyring, kind, args)
    return {
        "args": prepared.args, "sealed": prepared.sealed, "sites": None if actor.sites is None else sorted(actor.sites), "created_by": actor.name,
        "person": await job_store.person(conn, actor.tenant_id, actor.caller), "token_id": actor.token_id, "trusted": jobs.trusted(actor, actor.sites),
        "devices": sorted(prepared.reach.devices) if kind.approval and prepared.reach.devices is not None else None,
    }  # fmt: skip


def _times(members: dict[str, Any]) -> dict[str, Any]:
    """The columns that say when. Raises InvalidInput."""
    faults = Faults()
    kept = {**members, "cron": faults.attempt("/cron", timetable.cron, members["cron"])}
    faults.attempt("/time_zone", inputs.zone, members["time_zone"])
    if (members["cron"] is None) == (members["interval_seconds"] is None):
        faults.add("/cron", "either this or interval_seconds says when it is due")
    faults.check()
    return kept


async def _timed(conn: Connection, schedule: Schedule, now: datetime) -> Schedule:
    """The schedule with its next run."""
    due = _timetable(schedule).after(now) if schedule.enabled else None
    fires = None if due is None else due + timetable.jitter(schedule.id, due, schedule.jitter_seconds)
    found = await store.update(conn, schedule.tenant_id, schedule.id, {"due_at": due, "fires_at": fires})
    assert found is not None  # it was read in this transaction
    return found


def _timetable(schedule: Schedule) -> Timetable:
    return Timetable(cron=schedule.cron, interval_seconds=schedule.interval_seconds, zone=schedule.time_zone, begins_at=schedule.begins_at)


async def get(db: Database, actor: Actor, schedule_id: int) -> Schedule:
    """The schedule. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await _held(conn, actor, schedule_id)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[Schedule]:
    """Schedules, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of)


async def update(
    db: Database, actor: Actor, kinds: Kinds, keyring: Keyring, schedule_id: int, patch: SchedulePatch, now: datetime, *, version: int | None = None
) -> Schedule:
    """Change a schedule. Raises NotFound, InvalidInput, OutsideScope; Conflict for a taken name or another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await _held(conn, actor, schedule_id, lock=True)
        inputs.same_version("schedule", before.version, version)
        kind = kinds.get(before.kind)
        return await update_in(conn, jobs.confined(actor, kind), keyring, kind, before, given(patch), now)


async def update_in(conn: Connection, actor: Actor, keyring: Keyring, kind: Kind, before: Schedule, members: dict[str, Any], now: datetime) -> Schedule:
    """Change a schedule that is locked, within the transaction of ``conn``; the actor is confined to where it may start such jobs."""
    if members.keys() & {"cron", "interval_seconds", "time_zone"}:
        members |= _times({name: members.get(name, getattr(before, name)) for name in ("cron", "interval_seconds", "time_zone")})
    hidden = await store.hidden(conn, actor.tenant_id, before.id)
    assert hidden is not None  # it was locked in this transaction
    other = hidden.person != await job_store.person(conn, actor.tenant_id, actor.caller)
    if "args" in members or (members.get("enabled") and not before.enabled) or (other and members.keys() & _WHEN):
        args = members.pop("args", None)
        if args is None and hidden.sealed is not None:
            raise InvalidInput([Fault("/args", "give them again: some are secret, and it is you whom its jobs are made for from now on")])
        members |= await _work(conn, actor, keyring, kind, before.args if args is None else args)
    if not members:
        return before
    after = await store.update(conn, actor.tenant_id, before.id, members)
    if after is None:
        raise NotFound("schedule", before.id)
    if members.keys() & {"cron", "interval_seconds", "time_zone", "jitter_seconds", "enabled"}:
        after = await _timed(conn, after, now)
    old, new = audit.changes(before, after)
    await audit.record(conn, actor, "schedule.update", "schedule", before.id, before=old, after=new)
    return after


async def delete(db: Database, actor: Actor, schedule_id: int, *, version: int | None = None) -> None:
    """Remove a schedule; its jobs stay. Raises NotFound; Conflict for another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await _held(conn, actor, schedule_id, lock=True)
        inputs.same_version("schedule", before.version, version)
        await store.delete(conn, actor.tenant_id, schedule_id)
        await audit.record(conn, actor, "schedule.delete", "schedule", schedule_id, before=audit.values(before))


async def fire(db: Database, kinds: Kinds, keyring: Keyring, now: datetime) -> bool:
    """Make the job of a schedule that is due, of whatever tenant; False if none is. Raises StoreError."""
    async with db.transaction() as conn:
        found = await store.due(conn, now)
        if found is None:
            return False
        schedule, times = found.schedule, _timetable(found.schedule)
        assert schedule.due_at is not None and schedule.fires_at is not None  # it is what it was found by
        try:
            last, before = times.passed(schedule.due_at, now - timetable.jitter(schedule.id, schedule.due_at, schedule.jitter_seconds))
            due = times.after(last)
        except ValueError as error:  # its time zone: this machine's data has it no more, or not yet
            await _put_off(conn, schedule, now, f"it is not known when it is due: {error}")
            return True
        maker = await makers.present(conn, schedule.tenant_id, found.person, found.token_id, now)
        sites = None if schedule.sites is None else frozenset(schedule.sites)
        actor = Actor(
            tenant_id=schedule.tenant_id, name=schedule.created_by, role="", sites=sites, token_id=found.token_id, request_id=f"schedule {schedule.name}"
        )  # fmt: skip
        await confine(conn, actor.scope)
        late = now - schedule.due_at - timetable.jitter(schedule.id, schedule.due_at, schedule.jitter_seconds) > LATE  # `fires_at` may have been put off
        missed, why, job_id = 0, None, None
        if late:
            missed, why = before + (schedule.missed == "skip"), "no netd ran then"
        if not late or schedule.missed == "run_once":
            job_id, refused = await _make(conn, actor, maker, kinds, keyring, found, last, now)
            missed, why = (missed + 1, refused) if refused else (missed, why)
        await store.fired(
            conn, schedule.id, last_due_at=last, last_job_id=job_id, due_at=due, missed=missed, missed_at=last if missed else None, missed_why=why,
            fires_at=None if due is None else due + timetable.jitter(schedule.id, due, schedule.jitter_seconds),
        )  # fmt: skip
        if missed:
            told = {"after": {"name": schedule.name, "missed": missed, "due_at": last.isoformat(), "why": why}}
            await events.insert(conn, schedule.tenant_id, "schedule.missed", "schedule", str(schedule.id), None, told)
    return True


async def _put_off(conn: Connection, schedule: Schedule, now: datetime, why: str) -> None:
    await store.put_off(conn, schedule.id, now + UNKNOWN, why)
    if schedule.missed_why != why:
        log.warning("a schedule is put off", extra={"schedule": schedule.id, "error": why})
        told = {"after": {"name": schedule.name, "missed": 0, "due_at": schedule.due_at, "why": why}}
        await events.insert(conn, schedule.tenant_id, "schedule.missed", "schedule", str(schedule.id), None, audit.values(told))


async def are_ahead(db: Database, now: datetime) -> bool:
    """Whether a schedule's last run was due far ahead of now: then some clock was wrong, or this one is. Raises StoreError."""
    async with db.transaction() as conn:
        return await store.are_ahead(conn, now + AHEAD)


async def return_to_now(db: Database, now: datetime) -> bool:
    """Let a schedule be due by the clock as it is now, that of a node whose clock was far ahead let be due far ahead; False if there is none."""
    async with db.transaction() as conn:
        schedule = await store.ahead(conn, now + AHEAD)
        if schedule is None:
            return False
        try:
            due = _timetable(schedule).after(now)
        except ValueError:  # its time zone: found out when it fires
            due = now
        fires = None if due is None else due + timetable.jitter(schedule.id, due, schedule.jitter_seconds)
        await store.timed(conn, schedule.id, last_due_at=now, due_at=due, fires_at=fires)
        log.warning("a schedule was far ahead", extra={"schedule": schedule.id, "last_due_at": str(schedule.last_due_at), "due_at": str(due)})
    return True


async def _make(
    conn: Connection, actor: Actor, maker: Actor | str, kinds: Kinds, keyring: Keyring, found: store.Due, due: datetime, now: datetime
) -> tuple[int | None, str | None]:
    """Make a run's job; its id, or why there is none. What its arguments mean is found out now: a group may have changed since.

    Whatever one schedule brings up must not keep the others from being looked at; only where the database is away nothing is known. Raises StoreUnavailable.
    """
    try:
        async with savepoint(conn):
            return await _made(conn, actor, maker, kinds, keyring, found, due, now), None
    except StoreUnavailable:
        raise
    except Conflict as error:
        return None, f"the run before is not over: {error}"
    except NetdError as error:
        return None, f"it cannot be done any more: {error}"
    except Exception:  # barrier: a kind's own look at its arguments
        log.exception("a run of a schedule could not be made", extra={"schedule": found.schedule.id, "kind": found.schedule.kind})
        return None, "a defect of netd, see its log"


async def _made(conn: Connection, actor: Actor, maker: Actor | str, kinds: Kinds, keyring: Keyring, found: store.Due, due: datetime, now: datetime) -> int:
    schedule = found.schedule
    values = {
        "priority": schedule.priority, "unique_key": f"schedule:{schedule.id}", "person": found.person, "schedule_id": schedule.id, "due_at": due,
    }  # fmt: skip
    args = {**schedule.args, **jobs.secrets_of(keyring, found.sealed)}
    kind = kinds.get(schedule.kind)
    if refused := makers.refusal(maker, kind.permission, actor.sites):
        raise OutsideScope(refused)
    assert isinstance(maker, Actor)  # else it was refused
    own = msgspec.structs.replace(actor, grants=(Grant(frozenset((kind.permission,)), actor.sites),))
    direct = found.trusted and jobs.trusted(maker, actor.sites)
    agreed = None if found.devices is None else frozenset(found.devices)
    job = await jobs.make(conn, own, keyring, kind, args, values, now, approved=direct or not kind.approval, agreed=agreed)
    return job.id


async def _held(conn: Connection, actor: Actor, schedule_id: int, *, lock: bool = False) -> Schedule:
    found = await store.get(conn, actor.tenant_id, schedule_id, lock=lock) if 0 < schedule_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("schedule", schedule_id)
    return found
