"""/subscribers/{id}/suspend and the other verbs, and /subscribers/{id}/locks."""

import msgspec

from netd.domain import standing, subscribers
from netd.domain.standing import Change, LockChange, NewLock, StateNote
from netd.model.subscriber import Lock, LockReason, Subscriber
from netd.web.api.route import Call, route


class LockList(msgspec.Struct, frozen=True, kw_only=True):
    """The locks in force: at most one for each reason, so there is only one page."""

    items: tuple[Lock, ...]
    next: None = None


@route("POST", "/subscribers/{id}/activate", permission="subscribers:write", summary="Give a pending subscriber service", action="subscriber.activate")
async def subscriber_activate(call: Call, id: int, body: StateNote) -> Change:
    return await standing.activate(call.deps.database, call.actor, id, body)


@route("POST", "/subscribers/{id}/suspend", permission="subscribers:lock", summary="Keep a subscriber out and end live sessions", action="subscriber.suspend")
async def subscriber_suspend(call: Call, id: int, body: StateNote) -> Change:
    return await standing.suspend(call.deps.database, call.actor, id, body)


@route("POST", "/subscribers/{id}/restore", permission="subscribers:lock", summary="Let a suspended subscriber in again", action="subscriber.restore")
async def subscriber_restore(call: Call, id: int, body: StateNote) -> Change:
    return await standing.restore(call.deps.database, call.actor, id, body)


@route("POST", "/subscribers/{id}/terminate", permission="subscribers:write", summary="End a subscriber's service for good", action="subscriber.terminate")
async def subscriber_terminate(call: Call, id: int, body: StateNote) -> Change:
    return await standing.terminate(call.deps.database, call.actor, id, body)


@route(
    "POST", "/subscribers/{id}/reactivate", permission="subscribers:write", summary="Give a terminated subscriber service again", action="subscriber.reactivate"
)
async def subscriber_reactivate(call: Call, id: int, body: StateNote) -> Change:
    return await standing.reactivate(call.deps.database, call.actor, id, body)


@route("GET", "/subscribers/{id}/locks", permission="subscribers:read", summary="List the locks in force")
async def lock_list(call: Call, id: int) -> LockList:
    return LockList(items=(await subscribers.get(call.deps.database, call.actor, id)).locks)


@route(
    "POST",
    "/subscribers/{id}/locks",
    permission="subscribers:lock",
    summary="Put a lock on, in place of one of the same reason",
    status=201,
    action="subscriber.lock",
)
async def lock_add(call: Call, id: int, body: NewLock) -> LockChange:
    return await standing.add_lock(call.deps.database, call.actor, id, body)


@route("DELETE", "/subscribers/{id}/locks/{reason}", permission="subscribers:lock", summary="Lift one lock; the others stay", action="subscriber.unlock")
async def lock_lift(call: Call, id: int, reason: LockReason) -> Subscriber:
    return await standing.lift_lock(call.deps.database, call.actor, id, reason)


ROUTES = (
    subscriber_activate, subscriber_suspend, subscriber_restore, subscriber_terminate, subscriber_reactivate, lock_list, lock_add, lock_lift,
)  # fmt: skip
