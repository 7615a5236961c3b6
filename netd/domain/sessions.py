"""Sessions: lists, one, ending one through its NAS, and usage by day."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from netd.domain import audit, inputs, lists, subscribers
from netd.domain.actor import Actor
from netd.domain.inputs import Faults
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.ports import SessionControl
from netd.errors import Conflict, InvalidInput, NotFound
from netd.model.control import ControlResult
from netd.model.session import Holder, Session, WhoHad
from netd.model.usage import DayUsage
from netd.store import nas as nas_store
from netd.store import sessions as store
from netd.store.database import Database
from netd.store.listing import Condition
from netd.store.sessions import SessionFilter, StateFilter

USAGE_DAYS = 1100
HOLDERS = 100
SILENT = timedelta(hours=1)
"""An open session whose NAS said nothing for so long may be over: its Stop may be lost."""


class SessionTerms(ListQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which sessions: all that is given must hold. ``nas`` is a name; ``ip`` an address the session has or one in a prefix of its; ``at`` a moment
    at which it was open, asked for with ``ip`` or ``username``. Without ``state`` the open ones, with ``at`` all: most have ended since.
    ``enforce_state`` finds the open ones that are not as they should be."""

    state: StateFilter | None = None
    nas: Annotated[str, Meta(max_length=64)] | None = None
    ip: Annotated[str, Meta(max_length=64)] | None = None
    at: Annotated[datetime, Meta(tz=True)] | None = None


SessionQuery = lists.query_type(store.LISTING, SessionTerms)


class WhoHadQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An address (IPv4, IPv6, or one inside a prefix that was handed out) and a moment, now if left out. Sessions that missed the moment by no
    more than ``slack_seconds`` are shown too, marked: clocks differ."""

    ip: Annotated[str, Meta(max_length=64)]
    at: Annotated[datetime, Meta(tz=True)] | None = None
    slack_seconds: Annotated[int, Meta(ge=0, le=86_400)] = 60


async def page(db: Database, actor: Actor, query: SessionTerms) -> Page[Session]:
    """Sessions, newest first unless the query says otherwise. Raises InvalidInput for what is no address, no cursor, or no NAS's name."""
    selection = lists.selection(store.LISTING, query)
    faults = Faults()
    ip = faults.attempt("/ip", inputs.address, query.ip)
    asked = {condition.column for condition in selection.conditions}
    if query.at is not None and query.ip is None and "username" not in asked:
        faults.add("/at", "needs ip or username besides: nothing else keeps it from reading the whole history")
    if "enforce_state" in asked and (query.state not in (None, "open") or query.at is not None):
        faults.add("/enforce_state", "only open sessions have one, so neither another state nor a moment goes with it")
    async with db.transaction(actor.scope) as conn:
        if query.nas is not None:
            nas = await nas_store.by_name(conn, actor.tenant_id, query.nas)
            if nas is None:
                faults.add("/nas", f"there is no NAS {query.nas}")
            else:
                selection = msgspec.structs.replace(selection, conditions=(*selection.conditions, Condition("nas_id", "eq", nas.id)))
        faults.check()
        wanted = SessionFilter(state=query.state or ("open" if query.at is None else "all"), ip=ip, at=query.at)
        found = await store.page(conn, actor.tenant_id, wanted, selection)
        total = await store.count(conn, actor.tenant_id, wanted, selection) if query.count else None
    return lists.paged(store.LISTING, query, selection, found, total)


async def who_had(db: Database, actor: Actor, query: WhoHadQuery, now: datetime) -> WhoHad:
    """Whose an address was at a moment, by what open and closed sessions tell. Raises InvalidInput for what is no address."""
    faults = Faults()
    ip = faults.attempt("/ip", inputs.address, query.ip)
    if ip is None:
        raise InvalidInput(faults.found)
    at = min(query.at or now, now)
    wanted = SessionFilter(ip=ip, at=at, slack=timedelta(seconds=query.slack_seconds))
    async with db.transaction(actor.scope) as conn:
        rows = await store.newest(conn, actor.tenant_id, wanted, HOLDERS + 1)
    holders = _holders(rows[:HOLDERS], at)
    ambiguous = len(holders) > 1 or any(holder.doubts for holder in holders)
    return WhoHad(ip=ip, at=at, ambiguous=ambiguous, holders=tuple(holders), more=len(rows) > HOLDERS)


def _holders(sessions: Sequence[Session], at: datetime) -> list[Holder]:
    """The sessions with what speaks against each, those that had the address at the very moment first."""
    covering = [each.id for each in sessions if each.started_at <= at and (each.stopped_at is None or at <= each.stopped_at)]
    holders = []
    for each in sessions:
        doubts = []
        if each.id not in covering:
            missed = each.started_at - at if each.started_at > at else at - (each.stopped_at or at)
            doubts.append(f"{'began' if each.started_at > at else 'ended'} {missed.total_seconds():.0f} s {'after' if each.started_at > at else 'before'} that")
        elif len(covering) > 1:
            doubts.append("claimed at that moment by session " + ", ".join(str(other) for other in covering if other != each.id) + " too")
        if each.stopped_at is None and at - each.updated_at > SILENT:
            doubts.append(f"still open, but nothing was heard of it since {each.updated_at:%Y-%m-%d %H:%M:%SZ}: its Stop may be lost")
        elif each.stopped_at is not None and each.closed_by != "stop":
            doubts.append(f"no Stop came ({each.closed_by}): its end is the last that was heard of it, and it may have lasted longer")
        holders.append(Holder(session=each, had_it=each.id in covering, doubts=tuple(doubts)))
    return sorted(holders, key=lambda holder: (not holder.had_it, len(holder.doubts)))


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


def check_days(first: date, last: date) -> None:
    """Raise InvalidInput if the days are swapped or too many."""
    faults = Faults()
    if last < first:
        faults.add("/last", f"is before {first.isoformat()}")
    elif (last - first).days >= USAGE_DAYS:
        faults.add("/last", f"at most {USAGE_DAYS} days at once")
    faults.check()


async def usage(db: Database, actor: Actor, subscriber_id: int, first: date, last: date) -> list[DayUsage]:
    """A subscriber's usage by day (UTC), both days included. Raises NotFound; InvalidInput if the days are swapped or too many."""
    check_days(first, last)
    async with db.transaction(actor.scope) as conn:
        await subscribers.held(conn, actor, subscriber_id)
        return await store.usage(conn, actor.tenant_id, subscriber_id, first, last)
