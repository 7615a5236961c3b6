"""The own account of one subscriber, for who holds a token bound to it; and how a customer portal gets such a token.

Every operation acts for the actor's subscriber alone: the transaction is confined to it, so what belongs to another is not there.
"""

import hmac
from datetime import date, datetime, timedelta
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from netd.domain import audit, consumption, lists, passwords, plans, sessions, subscribers, tokens
from netd.domain.actor import Actor
from netd.domain.inputs import Faults, hidden
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.ports import SessionControl
from netd.domain.subscribers import Password
from netd.domain.tokens import IssuedToken, NewToken
from netd.errors import Fault, InvalidInput, NotFound, OutsideScope, TooOften
from netd.keyring import Keyring
from netd.model.control import ControlResult
from netd.model.permission import SELF_USUAL
from netd.model.selfservice import OwnAccount, OwnLock, OwnPlan, OwnQuota, OwnSession, OwnTopUp
from netd.model.session import Session
from netd.model.usage import DayUsage, MonthUsage
from netd.store import sessions as session_store
from netd.store import subscribers as store
from netd.store import tokens as token_store
from netd.store.database import Connection, Database
from netd.store.sessions import SessionFilter, StateFilter
from netd.wire.hashes import parse_hash

T = TypeVar("T", bound=msgspec.Struct)
ROLE: Final = "self_service"
USUAL_SECONDS: Final = 900
LONGEST_SECONDS: Final = 86_400

OwnPermission = Literal["me:read", "me:password", "me:set_password", "me:disconnect"]


class NewPortalToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token for one subscriber's own account, good for ``lifetime_seconds``. ``me:set_password`` needs no old password, so it must be asked for."""

    subscriber: Annotated[str, Meta(min_length=1, max_length=253)]
    lifetime_seconds: Annotated[int, Meta(ge=60, le=LONGEST_SECONDS)] = USUAL_SECONDS
    permissions: Annotated[tuple[OwnPermission, ...], Meta(min_length=1, max_length=4)] | None = None


class OwnPassword(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new password. The old one is needed, unless the token may set it without."""

    password: Password
    current_password: Password | None = None

    def __repr__(self) -> str:
        return hidden(self, "password", "current_password")


class OwnSessionTerms(ListQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of the own sessions; all without ``state``."""

    state: StateFilter = "all"


_OWN = msgspec.structs.replace(
    session_store.LISTING, kind="own_session", search="",
    columns={name: column for name, column in session_store.LISTING.columns.items() if name in ("id", "started_at", "stopped_at")},
)  # fmt: skip
OwnSessionQuery = lists.query_type(_OWN, OwnSessionTerms)


async def issue(db: Database, actor: Actor, new: NewPortalToken, now: datetime) -> IssuedToken:
    """Make a token for a subscriber that the actor sees. Raises InvalidInput if there is none of this name, or for what may not be given away."""
    permissions = frozenset[str](new.permissions or SELF_USUAL)
    if "me:set_password" in permissions:
        permissions |= {"me:password"}
    wanted = NewToken(
        name=f"self-service {new.subscriber.strip()}"[:64].strip(), role=ROLE, expires_at=now + timedelta(seconds=new.lifetime_seconds),
        subscriber=new.subscriber, permissions=tuple(sorted(permissions)),
    )  # fmt: skip
    return await tokens.create(db, actor, wanted, now)


def own(actor: Actor) -> int:
    """The subscriber whose account it is. Raises OutsideScope for who is no subscriber."""
    if actor.subscriber_id is None:
        raise OutsideScope("this is a subscriber's own account: it needs a token that is bound to one")
    return actor.subscriber_id


def _narrowed(kind: type[T], whole: msgspec.Struct) -> T:
    """The members of ``whole`` that ``kind`` has."""
    return kind(**{name: getattr(whole, name) for name in kind.__struct_fields__})


async def account(db: Database, actor: Actor) -> OwnAccount:
    """The subscriber, its plan and the locks in force."""
    subscriber_id = own(actor)
    async with db.transaction(actor.scope) as conn:
        subscriber = await subscribers.held(conn, actor, subscriber_id)
        plan = await plans.held(conn, actor, subscriber.plan_id)
    async with db.acquire() as conn:
        token = await token_store.by_public_id(conn, actor.token_public_id or "")
    limit = plan.max_sessions if subscriber.max_sessions is None else subscriber.max_sessions
    return OwnAccount(
        username=subscriber.username, full_name=subscriber.full_name, state=subscriber.state,
        plan=OwnPlan(name=plan.name, down_bps=plan.down_bps, up_bps=plan.up_bps, max_sessions=limit),
        locks=tuple(_narrowed(OwnLock, lock) for lock in subscriber.locks), ipv4=subscriber.ipv4, ipv6_prefix=subscriber.ipv6_prefix,
        delegated_ipv6_prefix=subscriber.delegated_ipv6_prefix, expires_at=subscriber.expires_at, created_at=subscriber.created_at,
        permissions=tuple(sorted(actor.permissions)), token_expires_at=None if token is None else token.token.expires_at,
    )  # fmt: skip


async def session_page(db: Database, actor: Actor, query: OwnSessionTerms) -> Page[OwnSession]:
    """The own sessions, newest first unless the query says otherwise. Raises InvalidInput for what is no cursor."""
    selection = lists.selection(_OWN, query)
    wanted = SessionFilter(state=query.state, subscriber_id=own(actor))
    async with db.transaction(actor.scope) as conn:
        rows = await session_store.page(conn, actor.tenant_id, wanted, selection)
        total = await session_store.count(conn, actor.tenant_id, wanted, selection) if query.count else None
    return lists.paged(_OWN, query, selection, [_narrowed(OwnSession, row) for row in rows], total)


async def _session(db: Database, actor: Actor, session_id: int) -> Session:
    found = await sessions.get(db, actor, session_id)
    if found.subscriber_id != own(actor):  # the database sees to it already
        raise NotFound("session", session_id)
    return found


async def session(db: Database, actor: Actor, session_id: int) -> OwnSession:
    """One of the own sessions, open or closed. Raises NotFound."""
    return _narrowed(OwnSession, await _session(db, actor, session_id))


async def disconnect(db: Database, actor: Actor, control: SessionControl, session_id: int) -> ControlResult:
    """Ask the NAS to end one of the own sessions, as ``sessions.disconnect``. Raises NotFound, Conflict."""
    await _session(db, actor, session_id)
    return await sessions.disconnect(db, actor, control, session_id)


async def days(db: Database, actor: Actor, first: date, last: date) -> list[DayUsage]:
    """The own usage by day (UTC), both included. Raises InvalidInput."""
    return await sessions.usage(db, actor, own(actor), first, last)


async def months(db: Database, actor: Actor, first: date, last: date) -> list[MonthUsage]:
    """The own usage by month (UTC), those of both days included. Raises InvalidInput."""
    first = first.replace(day=1)
    last = (last.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1) if last < date(9999, 12, 1) else last
    sessions.check_days(first, last)
    async with db.transaction(actor.scope) as conn:
        return await session_store.usage_by_month(conn, actor.tenant_id, own(actor), first, last)


async def quotas(db: Database, actor: Actor, now: datetime) -> tuple[OwnQuota, ...]:
    """Where the subscriber stands with each quota of the plan."""
    found = await consumption.standings(db, actor, own(actor), now)
    told = []
    for each in found:
        members = {name: getattr(each, name) for name in OwnQuota.__struct_fields__ if name != "top_ups"}
        told.append(OwnQuota(**members, top_ups=tuple(_narrowed(OwnTopUp, top_up) for top_up in each.top_ups)))
    return tuple(told)


async def set_password(db: Database, actor: Actor, keyring: Keyring, new: OwnPassword, wait_seconds: int) -> None:
    """Set the own password; it holds from the next log-in on.

    ``wait_seconds`` is how long the subscriber has to wait because of what was tried before. Raises TooOften, InvalidInput for a wrong old password
    (a refused attempt that is on record) or a new one that is no good.
    """
    subscriber_id = own(actor)
    if wait_seconds:
        raise TooOften(f"the password was tried too often; again in {wait_seconds} s", wait_seconds)
    if new.current_password is None and "me:set_password" not in actor.permissions:
        raise InvalidInput([Fault("/current_password", "is needed")])
    async with db.transaction(actor.scope) as conn:
        subscriber = await subscribers.held(conn, actor, subscriber_id, lock=True)
        good = new.current_password is None or await _is_current(conn, actor, keyring, subscriber_id, new.current_password)
        if not good:
            await audit.record(conn, actor, "subscriber.set_password", "subscriber", subscriber_id, result="refused")
    faults = Faults()
    if not good:
        faults.add("/current_password", "is wrong")
    if why := passwords.fault(new.password, subscriber.username, subscriber.full_name):
        faults.add("/password", why)
    elif new.password == new.current_password:
        faults.add("/password", "is the old one")
    faults.check()
    await subscribers.set_password(db, actor, keyring, subscriber_id, subscribers.NewPassword(password=new.password))


async def _is_current(conn: Connection, actor: Actor, keyring: Keyring, subscriber_id: int, given: str) -> bool:
    sealed, hashed = await store.password_and_form(conn, actor.tenant_id, subscriber_id)
    if sealed is None:
        return False
    kept = keyring.open(sealed, subscribers.PASSWORD_CONTEXT)
    if hashed:
        return parse_hash(kept.decode()).verify(given.encode())
    return hmac.compare_digest(kept, given.encode())
