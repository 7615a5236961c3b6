"""Why can this subscriber not connect, and since when: what the engine would answer now, with the facts behind it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from netd.domain.actor import Actor
from netd.domain.ports import AccessProbe, Verdict
from netd.errors import NotFound
from netd.model.access import Reason
from netd.model.attempt import Attempt
from netd.model.line import mac_or_none
from netd.model.plan import Plan
from netd.model.session import Session
from netd.model.subscriber import Subscriber
from netd.store import audit as audit_store
from netd.store import lines, postauth, rows, sessions, subscribers
from netd.store import plans as plan_store
from netd.store.database import Connection, Database
from netd.store.sessions import SessionFilter

ATTEMPTS = 10
SESSIONS = 100

DEVICES_ONLY = "no password is set: only by its devices, through a NAS with line_login"

_STATE_ACTIONS = [f"subscriber.{verb}" for verb in ("create", "activate", "suspend", "restore", "terminate", "reactivate")]
_BY_STATE = (Reason.PENDING, Reason.SUSPENDED, Reason.TERMINATED)


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What a login with the right password would be answered now, and why.

    ``since`` is when the reason began, ``by`` who brought it about, ``note`` what that person said; None where nobody knows. ``attempts``
    are the last answers, newest first. An unknown name that was seen in attempts has no ``subscriber``. ``summary`` says it all in words.
    """

    username: str
    accept: bool
    reason: Reason
    detail: str
    since: datetime | None
    by: str | None
    note: str | None
    summary: str
    subscriber: Subscriber | None
    password_set: bool
    plan: Plan | None
    sessions: tuple[Session, ...]
    attempts: tuple[Attempt, ...]


class Origin(NamedTuple):
    """When a reason began, who brought it about and what they said."""

    since: datetime | None = None
    by: str | None = None
    note: str | None = None


async def explain(db: Database, actor: Actor, username: str, probe: AccessProbe) -> Explanation:
    """Explain a subscriber by name. Raises NotFound for a name that is neither a subscriber's nor seen in any attempt."""
    async with db.transaction(actor.scope) as conn:
        subscriber = await subscribers.by_username(conn, actor.tenant_id, username)
        if subscriber is None and (owner := await _owner(conn, actor, username)) is not None:
            username = owner
            subscriber = await subscribers.by_username(conn, actor.tenant_id, owner)
        attempts = await postauth.newest(conn, actor.tenant_id, username, ATTEMPTS)
        if subscriber is None:
            if not attempts:
                raise NotFound("subscriber", username)
            return _unknown(username, attempts)
        password_set = await subscribers.has_password(conn, actor.tenant_id, subscriber.id)
        plan = await plan_store.get(conn, actor.tenant_id, subscriber.plan_id)
        wanted = SessionFilter(state="open", subscriber_id=subscriber.id)
        live = await sessions.newest(conn, actor.tenant_id, wanted, SESSIONS)
        changed_by = await audit_store.last(conn, actor.tenant_id, "subscriber", str(subscriber.id), _STATE_ACTIONS)
    verdict = probe.decide(actor.tenant_id, username, None)
    if verdict.accept and not password_set:
        if subscriber.mac_addresses or subscriber.circuit_ids:
            verdict = msgspec.structs.replace(verdict, detail="; ".join(filter(None, (verdict.detail, DEVICES_ONLY))))
        else:
            verdict = Verdict(accept=False, reason=Reason.NO_PASSWORD_SET, detail="no password is set, so none can be right")
    origin = origin_of(verdict.reason, subscriber, live, None if changed_by is None else changed_by.actor)
    return Explanation(
        username=subscriber.username, accept=verdict.accept, reason=verdict.reason, detail=verdict.detail, since=origin.since, by=origin.by,
        note=origin.note, summary=summary(subscriber, verdict, origin, live, attempts), subscriber=subscriber, password_set=password_set,
        plan=plan, sessions=tuple(live), attempts=tuple(attempts),
    )  # fmt: skip


async def _owner(conn: Connection, actor: Actor, text: str) -> str | None:
    """The subscriber whose device logs in by this MAC address or circuit id."""
    hardware = mac_or_none(text)
    owner = None if hardware is None else await lines.owner(conn, actor.tenant_id, "mac", hardware)
    return owner or await lines.owner(conn, actor.tenant_id, "circuit_id", rows.storable(text) or "")


def _unknown(username: str, attempts: Sequence[Attempt]) -> Explanation:
    origin = Origin(attempts[-1].at if all(each.reason is Reason.UNKNOWN_USER for each in attempts) else None)
    text = f"There is no subscriber {username}, but something logs in under that name. {_last_attempt(attempts)}"
    return Explanation(
        username=username, accept=False, reason=Reason.UNKNOWN_USER, detail="", since=origin.since, by=None, note=None, summary=text,
        subscriber=None, password_set=False, plan=None, sessions=(), attempts=tuple(attempts),
    )  # fmt: skip


def origin_of(reason: Reason, subscriber: Subscriber, live: Sequence[Session], changed_by: str | None) -> Origin:
    """Where a reason comes from; ``changed_by`` is who last changed the state."""
    if reason in _BY_STATE:
        return Origin(subscriber.state_changed_at, changed_by, subscriber.state_reason)
    if reason in (Reason.LOCKED, Reason.WALLED):
        mode = "reject" if reason is Reason.LOCKED else "walled"
        lock = next((each for each in subscriber.locks if each.mode == mode), None)
        return Origin(lock.created_at, lock.created_by, lock.note) if lock is not None else Origin()
    if reason is Reason.EXPIRED:
        return Origin(subscriber.expires_at)
    if reason is Reason.SESSION_LIMIT and live:
        return Origin(max(each.started_at for each in live))
    return Origin()


def summary(subscriber: Subscriber, verdict: Verdict, origin: Origin, live: Sequence[Session], attempts: Sequence[Attempt]) -> str:
    """The explanation in sentences."""
    said = [_standing(subscriber, verdict, origin, live)]
    said += [_enforcement(each) for each in live if each.enforce_state not in (None, "applied")]
    said.append(_last_attempt(attempts))
    last = attempts[0].reason if verdict.accept and attempts else None
    if last is Reason.RATE_LIMITED:
        said.append("After too many failures within a minute log-ins are refused unseen until there are fewer.")
    if last in (Reason.WRONG_PASSWORD, Reason.RATE_LIMITED):
        said.append("Compare the password that the subscriber's router sends.")
    return " ".join(said)


def _standing(subscriber: Subscriber, verdict: Verdict, origin: Origin, live: Sequence[Session]) -> str:
    name = subscriber.username
    online = f"{name} is online{_on(live[0])} since {moment(min(each.started_at for each in live))}" if live else ""
    if verdict.reason is Reason.WALLED:
        said = f"{online + ', but ' if online else name + ' '}would be let into the walled garden only: {_why(subscriber, verdict, origin)}"
    elif verdict.accept:
        said = f"{online}; a further login would be accepted" if online else f"{name} would be accepted, with plan {subscriber.plan}"
        said += f" ({verdict.detail})" if verdict.detail else ""
    elif verdict.reason is Reason.SESSION_LIMIT and online:
        said = f"{online}; a further login would be refused: {_why(subscriber, verdict, origin)}"
    else:
        said = f"{name} would be refused: {_why(subscriber, verdict, origin)}"
        said += f"; yet a session is still open{_on(live[0])}" if live else ""
    return said + "."


def _why(subscriber: Subscriber, verdict: Verdict, origin: Origin) -> str:
    said = verdict.reason.value
    if verdict.reason in (Reason.LOCKED, Reason.WALLED):
        mode = "reject" if verdict.reason is Reason.LOCKED else "walled"
        reasons = [each.reason for each in subscriber.locks if each.mode == mode]
        of_quota = verdict.reason is Reason.WALLED and not reasons
        said = verdict.detail if of_quota else f"locked ({', '.join(reasons) or verdict.detail})"
    elif verdict.reason is Reason.QUOTA:
        said = verdict.detail
    elif verdict.detail:
        said = f"{said} ({verdict.detail})"
    if origin.since is not None:
        said += f" since {moment(origin.since)}"
    if origin.by is not None:
        said += f" by {origin.by}"
    return said + (f" ({origin.note})" if origin.note else "")


def _on(session: Session) -> str:
    return f" on {session.nas or session.nas_ip_address}"


def _enforcement(session: Session) -> str:
    at = f" at {moment(session.enforce_at)}" if session.enforce_at is not None else ""
    detail = f" ({session.enforce_detail})" if session.enforce_detail else ""
    return f"The last change to session {session.id}{_on(session)} is {session.enforce_state}{at}{detail}."


def _last_attempt(attempts: Sequence[Attempt]) -> str:
    if not attempts:
        return "No login attempt is on record: either none reached netd, or they come under another name."
    last = attempts[0]
    came = f" from NAS {last.nas or last.nas_ip_address}" if last.nas or last.nas_ip_address else ""
    detail = f" ({last.detail})" if last.detail else ""
    if last.reply == "Access-Accept":
        return f"The last attempt, {moment(last.at)}{came}, was accepted{' into the walled garden' if last.reason is Reason.WALLED else ''}{detail}."
    return f"The last attempt, {moment(last.at)}{came}, was rejected: {last.reason.value}{detail}."


def moment(at: datetime) -> str:
    """A time to the minute, UTC: ``2026-11-20T10:00Z``."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")
