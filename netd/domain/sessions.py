"""Sessions: lists, one, ending one through its NAS, and usage by day."""

from datetime import date, datetime
from typing import Annotated

from msgspec import Meta

from netd.domain import audit, inputs, paging, subscribers
from netd.domain.actor import Actor
from netd.domain.inputs import Faults
from netd.domain.paging import Page, PageQuery
from netd.domain.ports import SessionControl
from netd.errors import Conflict, NotFound
from netd.model.control import ControlResult
from netd.model.session import Session
from netd.model.usage import DayUsage
from netd.store import nas as nas_store
from netd.store import sessions as store
from netd.store.database import Database
from netd.store.sessions import SessionFilter, StateFilter

USAGE_DAYS = 1100


class SessionQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which sessions: all that is given must hold. ``nas`` is a name; ``ip`` an address the session has or one in a prefix of its; ``at`` a moment
    at which it was open, asked for with ``ip`` or ``username``. Without ``state`` the open ones, with ``at`` all: most have ended since."""

    state: StateFilter | None = None
    username: Annotated[str, Meta(max_length=253)] | None = None
    nas: Annotated[str, Meta(max_length=64)] | None = None
    ip: Annotated[str, Meta(max_length=64)] | None = None
    at: Annotated[datetime, Meta(tz=True)] | None = None


async def page(db: Database, actor: Actor, query: SessionQuery) -> Page[Session]:
    """Sessions, newest first. Raises InvalidInput for what is no address, no cursor, or no NAS's name."""
    before = paging.position(query, "session")
    faults = Faults()
    ip = faults.attempt("/ip", inputs.address, query.ip)
    if query.at is not None and query.ip is None and query.username is None:
        faults.add("/at", "needs ip or username besides: nothing else keeps it from reading the whole history")
    async with db.transaction(actor.scope) as conn:
        nas_id = None
        if query.nas is not None:
            nas = await nas_store.by_name(conn, actor.tenant_id, query.nas)
            if nas is None:
                faults.add("/nas", f"there is no NAS {query.nas}")
            else:
                nas_id = nas.id
        faults.check()
        state = query.state or ("open" if query.at is None else "all")
        wanted = SessionFilter(state=state, username=query.username, nas_id=nas_id, ip=ip, at=query.at)
        rows = await store.page(conn, actor.tenant_id, wanted, before=before, limit=query.limit + 1)
        total = await store.count(conn, actor.tenant_id, wanted) if query.count else None
    return paging.page(rows, query, "session", total)


async def get(db: Database, actor: Actor, session_id: int) -> Session:
    """The session, open or closed. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        session = await store.get(conn, actor.tenant_id, session_id) if 0 < session_id <= inputs.ROW_ID_MAX else None
    if session is None:
        raise NotFound("session", session_id)
    return session


async def disconnect(db: Database, actor: Actor, control: SessionControl, session_id: int) -> ControlResult:
    """Ask the session's NAS to end it; returns what the NAS said, whatever that is. Raises NotFound; Conflict if the session is closed.

    The attempt is recorded before the NAS is asked and its outcome after, so that a request whose answer never came leaves a trace too.
    """
    session = await get(db, actor, session_id)
    if session.stopped_at is not None:
        raise Conflict(f"session {session_id} ended at {session.stopped_at.isoformat()}", "state")
    told = {"username": session.username, "nas": session.nas, "acct_session_id": session.acct_session_id}
    async with db.transaction(actor.scope) as conn:
        await audit.record(conn, actor, "session.disconnect", "session", session_id, before=told, result="asked")
    result = await control.disconnect(session)
    async with db.transaction(actor.scope) as conn:
        await audit.record(conn, actor, "session.disconnect", "session", session_id, after=audit.values(result), result=result.outcome)
    return result


async def usage(db: Database, actor: Actor, subscriber_id: int, first: date, last: date) -> list[DayUsage]:
    """A subscriber's usage by day (UTC), both days included. Raises NotFound; InvalidInput if the days are swapped or too many."""
    faults = Faults()
    if last < first:
        faults.add("/last", f"is before {first.isoformat()}")
    elif (last - first).days >= USAGE_DAYS:
        faults.add("/last", f"at most {USAGE_DAYS} days at once")
    faults.check()
    async with db.transaction(actor.scope) as conn:
        await subscribers.held(conn, actor, subscriber_id)
        return await store.usage(conn, actor.tenant_id, subscriber_id, first, last)
