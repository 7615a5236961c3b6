"""Jobs: submitting, approving, cancelling and retrying them, and reading what became of them. The service that does them is ``work.jobs``."""

from collections.abc import AsyncIterator, Mapping, Set
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from netd.domain import audit, conversion, inputs, lists
from netd.domain.actor import Actor
from netd.domain.audit import MASK
from netd.domain.choice import DEVICES_MOST
from netd.domain.inputs import Label, Note
from netd.domain.kinds import Kind, Kinds, Reach
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.errors import Conflict, Fault, InvalidInput, NotFound, OutsideScope
from netd.keyring import Keyring
from netd.model.job import ENDED, Job, JobEntry, JobFile, JobTarget
from netd.store import jobs as store
from netd.store import rows
from netd.store.database import Connection, Database

CONTEXT: Final = b"jobs.sealed"
APPROVAL: Final = timedelta(hours=24)
"""How long a job waits for its approval."""

READ, WRITE, APPROVE, DIRECT = "jobs:read", "jobs:write", "jobs:approve", "jobs:direct"

Priority = Annotated[int, Meta(ge=-100, le=100, description="higher ones are begun first")]


class NewJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job to be done, at ``run_at`` or at once. While one with the same ``unique_key`` is not ended no other is made. With ``approval`` it waits
    for a second person's even where none is needed."""

    kind: Annotated[str, Meta(min_length=1, max_length=64)]
    args: dict[str, Any] = {}
    priority: Priority = 0
    run_at: Annotated[datetime, Meta(tz=True)] | None = None
    unique_key: Label | None = None
    approval: bool = False


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a second person says to it."""

    note: Note | None = None


class KindInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of job as callers see it; ``args`` is a JSON Schema. ``allowed``: the caller may start such jobs."""

    name: str
    title: str
    permission: str
    idempotent: bool
    timeout_seconds: float
    max_attempts: int
    approval: bool
    secrets: tuple[str, ...]
    args: dict[str, Any]
    allowed: bool


class KindList(msgspec.Struct, frozen=True, kw_only=True):
    """Every kind of job there is."""

    items: tuple[KindInfo, ...]
    next: None = None


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """Arguments that were looked at: what is shown of them, what is sealed, and what the job is about."""

    args: dict[str, Any]
    sealed: bytes | None
    reach: Reach


def kinds_for(actor: Actor, kinds: Kinds) -> KindList:
    """Every kind, and whether the actor may start it."""
    return KindList(items=tuple(
        KindInfo(
            name=kind.name, title=kind.title, permission=kind.permission, idempotent=kind.idempotent, timeout_seconds=kind.timeout_seconds,
            max_attempts=kind.max_attempts, approval=kind.approval, secrets=kind.secrets, allowed=kind.permission in actor.permissions,
            args=msgspec.json.schema(kind.args, schema_hook=_schema),
        )
        for kind in sorted(kinds, key=lambda each: each.name)
    ))  # fmt: skip


def _schema(kind: type) -> dict[str, Any]:
    if kind not in conversion.INTERNET_TYPES:
        raise NotImplementedError(kind)
    return {"type": "string"}


def confined(actor: Actor, kind: Kind) -> Actor:
    """The actor where it may have such work done. Raises OutsideScope."""
    found = actor.allowed(kind.permission)
    if found is None or found.subscriber_id is not None:
        raise OutsideScope(f"jobs of the kind {kind.name} need the permission {kind.permission}")
    return found


def trusted(actor: Actor, sites: frozenset[int] | None) -> bool:
    """Whether its jobs that reach these sites (None: the whole tenant) need nobody else's approval."""
    found = actor.allowed(DIRECT)
    return found is not None and (found.sites is None or (sites is not None and sites <= found.sites))


async def prepare(conn: Connection, actor: Actor, keyring: Keyring, kind: Kind, args: Mapping[str, Any]) -> Prepared:
    """Look at a kind's arguments in the scope of ``conn``. Raises InvalidInput with all faults; OutsideScope for what lies beyond the actor's sites."""
    values = conversion.checked(args, kind.args, "/args")
    reach = Reach(sites=actor.sites) if kind.reach is None else await kind.reach(conn, actor, values)
    if actor.sites is not None and (not reach.sites or not reach.sites <= actor.sites):
        raise OutsideScope("the job reaches beyond the sites where you may do this")
    plain = conversion.plain(values)
    if rows.storable_json(plain) != plain:
        raise InvalidInput([Fault("/args", "there is a NUL character in it")])
    secrets = {name: plain[name] for name in kind.secrets if plain.get(name)}
    shown = {name: MASK if name in secrets else value for name, value in plain.items()}
    return Prepared(args=shown, sealed=keyring.seal(msgspec.json.encode(secrets), CONTEXT) if secrets else None, reach=reach)


def secrets_of(keyring: Keyring, sealed: bytes | None) -> dict[str, Any]:
    """The secret arguments. Raises StoreError if they do not open."""
    found: dict[str, Any] = {} if sealed is None else msgspec.json.decode(keyring.open(sealed, CONTEXT))
    return found


def opened(keyring: Keyring, kind: Kind, args: Mapping[str, Any], sealed: bytes | None) -> tuple[Any, list[str]]:
    """A job's arguments as its kind takes them, and the secret ones. Raises InvalidInput if the kind has changed since; StoreError if they do not open."""
    secrets = secrets_of(keyring, sealed)
    return conversion.checked({**args, **secrets}, kind.args, "/args"), [str(each) for each in secrets.values()]


async def submit(db: Database, actor: Actor, kinds: Kinds, keyring: Keyring, new: NewJob, now: datetime, *, idempotency_key: str | None = None) -> Job:
    """Let a job be done. With an ``idempotency_key`` (of the kind, in the tenant) it is made once, and again the same is returned.

    Raises InvalidInput with all that is wrong; OutsideScope for who may not do this otherwise; Conflict if one with the unique key is not ended.
    """
    kind = kinds.get(new.kind)
    own = confined(actor, kind)
    async with db.transaction(own.scope) as conn:
        return await submit_in(conn, own, keyring, kind, new, now, idempotency_key=idempotency_key)


async def submit_in(
    conn: Connection, actor: Actor, keyring: Keyring, kind: Kind, new: NewJob, now: datetime, *, idempotency_key: str | None = None,
) -> Job:  # fmt: skip
    """The same within the transaction of ``conn``, for who makes the job together with something else. ``actor`` is :func:`confined`."""
    if idempotency_key is not None and (known := await store.by_key(conn, actor.tenant_id, kind.name, idempotency_key)):
        return known
    if new.unique_key is not None and ":" in new.unique_key:
        raise InvalidInput([Fault("/unique_key", "keys with a colon are netd's own")])
    values = {
        "unique_key": new.unique_key, "idempotency_key": idempotency_key, "priority": new.priority,
        "person": await store.person(conn, actor.tenant_id, actor.caller),
        **({} if new.run_at is None else {"run_at": new.run_at}),  # else it is due at once by the database's clock, which says what is due
    }  # fmt: skip
    return await make(conn, actor, keyring, kind, new.args, values, now, approved=False if new.approval else None)


async def make(
    conn: Connection, actor: Actor, keyring: Keyring, kind: Kind, args: Mapping[str, Any], values: Mapping[str, Any], now: datetime, *,
    approved: bool | None = None, agreed: Set[int] | None = None, action: str = "job.submit",
) -> Job:  # fmt: skip
    """Add a job with ``args`` and further columns ``values``, in the actor's scope. ``approved`` None: as the kind and the actor's permissions say; False: it
    waits whatever these are; True: it needs no approval, but for devices that are not ``agreed``. Raises as :func:`submit`."""
    prepared = await prepare(conn, actor, keyring, kind, args)
    devices = prepared.reach.devices or {}
    unique_key = prepared.reach.unique_key or values.get("unique_key")  # nobody else's key takes the kind's own away
    if unique_key and (other := await store.unfinished(conn, actor.tenant_id, unique_key)) is not None:
        raise Conflict(f"job {other} with the key {unique_key} is not ended yet", "unique_key")
    others = agreed is not None and not devices.keys() <= agreed
    waits = kind.approval and not trusted(actor, prepared.reach.sites) if approved is None else not approved or others
    state = "awaiting_approval" if waits else "queued"
    columns = {
        **values, "kind": kind.name, "state": state, "args": _fixed(prepared) if waits else prepared.args, "sealed": prepared.sealed,
        "sites": _columns(prepared.reach.sites), "lock_keys": list(prepared.reach.lock_keys), "unique_key": unique_key, "idempotent": kind.idempotent,
        "max_attempts": kind.max_attempts, "timeout_seconds": kind.timeout_seconds, "created_by": actor.name, "token_id": actor.token_id,
        "address": audit.address(actor), "request_id": actor.request_id, "approval_until": now + APPROVAL if waits else None,
        "devices": sorted(devices) if (waits or kind.approval) and prepared.reach.devices is not None else None,
    }  # fmt: skip
    said = f"{state}: by {actor.name}" + (f"; with {len(devices)} devices" if waits and len(devices) > DEVICES_MOST else "")
    job = await store.insert(conn, actor.tenant_id, columns, said + ("; it has other devices than its maker agreed to" if others else ""))
    await audit.record(conn, actor, action, "job", job.id, after=told(job))
    return job


def _fixed(prepared: Prepared) -> dict[str, Any]:
    """The arguments with the names of the devices that a group or selector means now, for who is to agree to them; unless they are more than can be named."""
    args, devices = prepared.args, prepared.reach.devices
    if devices is None or (args.get("group") is None and args.get("selector") is None) or len(devices) > DEVICES_MOST:
        return args
    return {**args, "devices": sorted(devices.values()), "group": None, "selector": None}


def told(job: Job) -> dict[str, Any]:
    """What the audit log and events say of a job."""
    return audit.values({"kind": job.kind, "state": job.state, "args": job.args, "error": job.error, "attempt": job.attempt, "created_by": job.created_by})


def _columns(sites: frozenset[int] | None) -> list[int] | None:
    return None if sites is None else sorted(sites)


async def get(db: Database, actor: Actor, job_id: int) -> Job:
    """The job. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await held(conn, actor, job_id)


JobQuery = lists.query_type(store.LISTING)
TargetQuery = lists.query_type(store.TARGETS)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[Job]:
    """Jobs, newest first unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of)


async def targets(db: Database, actor: Actor, job_id: int, query: ListQuery) -> Page[JobTarget]:
    """What a job did to each target. Raises NotFound, InvalidInput."""
    wanted = lists.selection(store.TARGETS, query, within={"job_id": job_id})
    async with db.transaction(actor.scope) as conn:
        await held(conn, actor, job_id)
        return await lists.page(conn, store.TARGETS, actor.tenant_id, query, store.targets, wanted)


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """Some entries of a job's log. ``next`` is the number to go on behind, also where nothing came; ``ended``: nothing more will come behind it."""

    items: tuple[JobEntry, ...]
    next: int
    ended: bool


async def log(db: Database, actor: Actor, job_id: int, after: int, limit: int) -> Log:
    """The log behind entry ``after``. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        job = await held(conn, actor, job_id)  # before the entries: of a job that has ended they are all there
        found = await store.entries(conn, actor.tenant_id, job_id, after, limit)
    last = found[-1].seq if found else after
    return Log(items=tuple(found), next=last, ended=job.state in ENDED and last >= job.log_seq)


async def file(db: Database, actor: Actor, job_id: int) -> tuple[JobFile, AsyncIterator[bytes]]:
    """The file that a job made, and its octets: each piece is read by itself, so who reads slowly holds up nobody.

    Raises NotFound; OutsideScope for who may see the job, but not such a thing where the job reached.
    """
    async with db.transaction(actor.scope) as conn:
        job = await held(conn, actor, job_id)
        found = await store.file(conn, actor.tenant_id, job_id)
    if found is None:
        raise NotFound("a file of job", job_id)
    may = actor.allowed(found.permission)
    if may is None or (may.sites is not None and (job.sites is None or not set(job.sites) <= may.sites)):
        raise OutsideScope(f"this file needs the permission {found.permission} where the job reached")
    return found, _pieces(db, actor, found)


async def _pieces(db: Database, actor: Actor, found: JobFile) -> AsyncIterator[bytes]:
    left, number = found.octets, 0
    while left:
        async with db.transaction(actor.scope) as conn:
            piece = await store.file_part(conn, actor.tenant_id, found, number)
        if piece is None:  # another attempt made another, or it is past keeping
            raise NotFound("the rest of the file of job", found.job_id)
        left, number = left - len(piece), number + 1
        yield piece


async def cancel(db: Database, actor: Actor, kinds: Kinds, job_id: int, now: datetime) -> Job:
    """Let a job not be done, or stop: one that runs is told, and has ended when its state says so. Raises NotFound, OutsideScope; Conflict if it has ended."""
    async with db.transaction(actor.scope) as conn:
        before = await _startable(conn, actor, kinds, job_id)
        if before.state in ENDED:
            raise Conflict(f"the job has ended: it is {before.state}")
        if before.state == "running":
            if before.cancel_requested_at is None:
                await store.request_cancel(conn, actor.tenant_id, job_id, actor.name, now)
                await store.note(conn, actor.tenant_id, job_id, f"{actor.name} wants it to stop", type_="line", level="warning")
            action = "job.request_cancel"
        else:
            await store.cancelled(conn, actor.tenant_id, job_id, actor.name, now, f"cancelled by {actor.name} before it began")
            await store.note(conn, actor.tenant_id, job_id, f"cancelled: by {actor.name}", level="warning")
            action = "job.cancel"
        await store.notify(conn)
        after = await held(conn, actor, job_id)
        await audit.record(conn, actor, action, "job", job_id, before={"state": before.state}, after=told(after))
    return after


async def retry(db: Database, actor: Actor, kinds: Kinds, keyring: Keyring, job_id: int, now: datetime) -> Job:
    """Do a job that did not succeed once more, as a new one. Raises as :func:`submit`; NotFound; Conflict if it has not ended or has succeeded."""
    async with db.transaction(actor.scope) as conn:
        before = await _startable(conn, actor, kinds, job_id)
        if before.state not in ENDED or before.state == "succeeded":
            raise Conflict(f"the job is {before.state}: only what did not succeed can be retried")
        kind = kinds.get(before.kind)
        hidden = await store.sealed_of(conn, actor.tenant_id, job_id)
        args = {**before.args, **secrets_of(keyring, hidden.sealed)}
        values = {
            "unique_key": before.unique_key, "priority": before.priority, "retry_of": before.id,
            "person": await store.person(conn, actor.tenant_id, actor.caller),
        }  # fmt: skip
        return await make(conn, confined(actor, kind), keyring, kind, args, values, now, action="job.retry")


async def approve(db: Database, actor: Actor, job_id: int, decision: Decision, now: datetime) -> Job:
    """Agree that a job of somebody else be done. Raises NotFound; OutsideScope for who submitted it; Conflict if it awaits no approval."""
    async with db.transaction(actor.scope) as conn:
        before = await _awaiting(conn, actor, job_id)
        if (await store.sealed_of(conn, actor.tenant_id, job_id)).person == await store.person(conn, actor.tenant_id, actor.caller):
            raise OutsideScope("a job is approved by somebody else than who submitted it")
        if before.approval_until is not None and before.approval_until <= now:
            raise Conflict("the time for an approval is over")
        await store.approved(conn, actor.tenant_id, job_id, actor.name, now, decision.note)
        return await _decided(conn, actor, before, "job.approve", f"queued: approved by {actor.name}", decision)


async def decline(db: Database, actor: Actor, job_id: int, decision: Decision, now: datetime) -> Job:
    """Say that a job shall not be done. Raises NotFound; Conflict if it awaits no approval."""
    async with db.transaction(actor.scope) as conn:
        before = await _awaiting(conn, actor, job_id)
        why = f"declined by {actor.name}" + (f": {decision.note}" if decision.note else "")
        await store.cancelled(conn, actor.tenant_id, job_id, actor.name, now, why)
        return await _decided(conn, actor, before, "job.decline", f"cancelled: {why}", decision)


async def _decided(conn: Connection, actor: Actor, before: Job, action: str, said: str, decision: Decision) -> Job:
    await store.note(conn, actor.tenant_id, before.id, said)
    await store.notify(conn)
    after = await held(conn, actor, before.id)
    await audit.record(conn, actor, action, "job", before.id, before={"state": before.state}, after={**told(after), "note": decision.note})
    return after


async def _awaiting(conn: Connection, actor: Actor, job_id: int) -> Job:
    job = await held(conn, actor, job_id, lock=True)
    if job.state != "awaiting_approval":
        raise Conflict(f"the job awaits no approval: it is {job.state}")
    return job


async def _startable(conn: Connection, actor: Actor, kinds: Kinds, job_id: int) -> Job:
    """The job, locked, if the actor could start such a one: who may not do the work has no say in it either."""
    job = await held(conn, actor, job_id, lock=True)
    kind = kinds.find(job.kind)
    if kind is not None:
        own = confined(actor, kind)
        if own.sites is not None and (job.sites is None or not set(job.sites) <= own.sites):
            raise OutsideScope(f"jobs of the kind {kind.name} need the permission {kind.permission} where they reach")
    return job


async def held(conn: Connection, actor: Actor, job_id: int, *, lock: bool = False) -> Job:
    """The job within the transaction of ``conn``. Raises NotFound."""
    found = await store.get(conn, actor.tenant_id, job_id, lock=lock) if 0 < job_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("job", job_id)
    return found
