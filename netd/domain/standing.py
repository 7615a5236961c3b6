"""Where a subscriber stands: the state, which verbs change, and the locks that come on top of it.

::

    pending ──activate──> active ──suspend──> suspended ──restore──> active
       └──────────────────── any ──terminate──> terminated ──reactivate──> active

``terminated`` is final but for ``reactivate``, so that no routine restore brings a former customer back. A verb whose aim is reached
already changes nothing and says so. Locks are independent of the state and of each other: one for each reason, lifted by its reason.
"""

from typing import Any, NamedTuple

import msgspec

from netd.domain import audit
from netd.domain.actor import Actor
from netd.domain.inputs import Note
from netd.domain.subscribers import When, held
from netd.errors import Conflict, Fault, InvalidInput, NotFound
from netd.model.subscriber import Lock, LockMode, LockReason, State, Subscriber
from netd.store import subscribers as store
from netd.store.database import Connection, Database


class _Verb(NamedTuple):
    aim: State
    sources: frozenset[State]
    instead: dict[State, str]


_VERBS = {
    "activate": _Verb("active", frozenset(("pending",)), {"suspended": "restore it", "terminated": "reactivate it"}),
    "suspend": _Verb("suspended", frozenset(("active",)), {"pending": "it has no service yet", "terminated": "it has no service any more"}),
    "restore": _Verb("active", frozenset(("suspended",)), {"pending": "activate it", "terminated": "reactivate it"}),
    "terminate": _Verb("terminated", frozenset(("pending", "active", "suspended")), {}),
    "reactivate": _Verb("active", frozenset(("terminated",)), {"pending": "activate it", "suspended": "restore it"}),
}


class StateNote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why the state changes, for people."""

    note: Note | None = None


NO_NOTE = StateNote()


class NewLock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A lock to be put on: ``reject`` refuses logins, ``walled`` grants the walled garden only. Without ``until_at`` it holds until lifted."""

    reason: LockReason
    mode: LockMode = "reject"
    note: Note | None = None
    until_at: When | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What a verb did: ``changed`` is false if its aim was reached already, ``was`` the state before."""

    subscriber: Subscriber
    changed: bool
    was: State


class LockChange(msgspec.Struct, frozen=True, kw_only=True):
    """The subscriber with its new lock, and the lock of the same reason that it took the place of."""

    subscriber: Subscriber
    lock: Lock
    replaced: Lock | None


async def activate(db: Database, actor: Actor, subscriber_id: int, note: StateNote = NO_NOTE) -> Change:
    """A pending subscriber gets service. Raises NotFound; Conflict from any other state than pending or active."""
    return await _change(db, actor, "activate", subscriber_id, note)


async def suspend(db: Database, actor: Actor, subscriber_id: int, note: StateNote = NO_NOTE) -> Change:
    """An active subscriber loses service until restored. Raises NotFound; Conflict from pending and terminated."""
    return await _change(db, actor, "suspend", subscriber_id, note)


async def restore(db: Database, actor: Actor, subscriber_id: int, note: StateNote = NO_NOTE) -> Change:
    """A suspended subscriber gets service again, unless locks stand against it. Raises NotFound; Conflict from pending and terminated."""
    return await _change(db, actor, "restore", subscriber_id, note)


async def terminate(db: Database, actor: Actor, subscriber_id: int, note: StateNote = NO_NOTE) -> Change:
    """End the service for good; its addresses may go to others. Raises NotFound."""
    return await _change(db, actor, "terminate", subscriber_id, note)


async def reactivate(db: Database, actor: Actor, subscriber_id: int, note: StateNote = NO_NOTE) -> Change:
    """A terminated subscriber gets service again. Raises NotFound; Conflict from pending and suspended, or if an address of its went to another."""
    return await _change(db, actor, "reactivate", subscriber_id, note)


async def _change(db: Database, actor: Actor, name: str, subscriber_id: int, note: StateNote) -> Change:
    verb, action = _VERBS[name], f"subscriber.{name}"
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, subscriber_id, lock=True)
        if before.state == verb.aim:
            await audit.record(conn, actor, action, "subscriber", subscriber_id, after={"state": before.state, "note": note.note}, result="unchanged")
            return Change(subscriber=before, changed=False, was=before.state)
        if before.state not in verb.sources:
            raise Conflict(f"subscriber {before.username} is {before.state}: {verb.instead[before.state]}", "state")
        await store.set_state(conn, actor.tenant_id, subscriber_id, verb.aim, note.note)
        after = await held(conn, actor, subscriber_id)
        await audit.record(conn, actor, action, "subscriber", subscriber_id, before=_told(before), after=_told(after))
    return Change(subscriber=after, changed=True, was=before.state)


def _told(subscriber: Subscriber) -> dict[str, Any]:
    return {"state": subscriber.state, "state_reason": subscriber.state_reason}


async def add_lock(db: Database, actor: Actor, subscriber_id: int, new: NewLock) -> LockChange:
    """Lock a subscriber. A lock of the same reason gives way to it, without a moment between them. Raises NotFound; InvalidInput for an end in
    the past."""
    async with db.transaction(actor.scope) as conn:
        return await put_on(conn, actor, subscriber_id, new)


async def put_on(conn: Connection, actor: Actor, subscriber_id: int, new: NewLock) -> LockChange:
    """``add_lock`` within the transaction of ``conn``."""
    await held(conn, actor, subscriber_id, lock=True)
    if new.until_at is not None and not await store.is_future(conn, new.until_at):
        raise InvalidInput([Fault("/until_at", "is in the past")])
    replaced = await store.lift_lock(conn, actor.tenant_id, subscriber_id, new.reason, actor.name)
    lock = await store.add_lock(
        conn, actor.tenant_id, subscriber_id, reason=new.reason, mode=new.mode, note=new.note, until_at=new.until_at, created_by=actor.name
    )
    await store.update(conn, actor.tenant_id, subscriber_id, {})
    await audit.record(
        conn, actor, "subscriber.lock", "subscriber", subscriber_id,
        before=None if replaced is None else audit.values(replaced), after=audit.values(lock),
    )  # fmt: skip
    return LockChange(subscriber=await held(conn, actor, subscriber_id), lock=lock, replaced=replaced)


async def lift_lock(db: Database, actor: Actor, subscriber_id: int, reason: LockReason) -> Subscriber:
    """Lift the lock of this reason and no other. Raises NotFound, also if there is no such lock in force."""
    async with db.transaction(actor.scope) as conn:
        return await lift(conn, actor, subscriber_id, reason)


async def lift(conn: Connection, actor: Actor, subscriber_id: int, reason: LockReason) -> Subscriber:
    """``lift_lock`` within the transaction of ``conn``."""
    await held(conn, actor, subscriber_id, lock=True)
    lifted = await store.lift_lock(conn, actor.tenant_id, subscriber_id, reason, actor.name)
    if lifted is None:
        raise NotFound("lock", reason)
    await store.update(conn, actor.tenant_id, subscriber_id, {})
    await audit.record(conn, actor, "subscriber.unlock", "subscriber", subscriber_id, before=audit.values(lifted))
    return await held(conn, actor, subscriber_id)
