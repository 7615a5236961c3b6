"""What users do with their own account: sessions, password, second factor. Needs no permission, but a session of the user's own."""

import secrets
from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from netd.config import LoginConfig
from netd.domain import audit, logins, passwords, totp
from netd.domain.actor import Actor
from netd.domain.inputs import ROW_ID_MAX, Faults, hidden
from netd.domain.logins import Visit
from netd.domain.passwords import Password
from netd.domain.users import TOTP_CONTEXT, digest, held
from netd.errors import Conflict, Fault, InvalidInput, NotFound
from netd.keyring import Keyring
from netd.model.permission import Scope
from netd.model.user import User, UserSession
from netd.store import logins as store
from netd.store import users
from netd.store.database import Connection, Database
from netd.store.users import Credentials

ISSUER: Final = "netd"
RECOVERY_CODES: Final = 10
_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"  # 32 characters that look like no other

Code = Annotated[str, Meta(min_length=1, max_length=64)]


class PasswordChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new password for oneself; all other sessions end."""

    current_password: Password
    password: Password

    def __repr__(self) -> str:
        return hidden(self, "current_password", "password")


class Proof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The own password once more: a session that somebody left open is not enough."""

    current_password: Password

    def __repr__(self) -> str:
        return hidden(self, "current_password")


class TotpCode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A code of the app."""

    code: Code


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into the authenticator app: as a QR code of ``uri``, or ``secret`` typed. It counts once a code of it has confirmed it."""

    uri: str
    secret: str

    def __repr__(self) -> str:
        return "Enrolment(***)"


class RecoveryCodes(msgspec.Struct, frozen=True, kw_only=True):
    """Each opens one log-in without the app. Shown this once."""

    recovery_codes: tuple[str, ...]

    def __repr__(self) -> str:
        return "RecoveryCodes(***)"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The user whose session this is. ``totp_needed``: a role needs a second factor, and until it is set up nothing else is allowed."""

    user: User
    session_id: int
    expires_at: datetime
    recovery_codes_left: int
    totp_needed: bool


def user_id(actor: Actor) -> int:
    """The actor's own user. Raises NotFound for a token."""
    if actor.user_id is None or actor.session_id is None:
        raise NotFound("user", "of an API token")
    return actor.user_id


def _scope(actor: Actor) -> Scope:
    return msgspec.structs.replace(actor.scope, sites=None)  # the user's own rows, which belong to no site


async def me(db: Database, settings: LoginConfig, actor: Actor, now: datetime) -> Account:
    """The own account. Raises NotFound."""
    own = user_id(actor)
    async with db.transaction(_scope(actor)) as conn:
        user = await held(conn, actor.tenant_id, own)
        found = await store.by_hash(conn, actor.session_hash or b"")
        left = await users.recovery_codes(conn, actor.tenant_id, own)
    if found is None:
        raise NotFound("session", actor.session_id)
    return Account(user=user, session_id=found.id, expires_at=found.expires_at, recovery_codes_left=left, totp_needed=logins.owes_totp(settings, found))


async def sessions(db: Database, settings: LoginConfig, actor: Actor, now: datetime) -> list[UserSession]:
    """The own sessions that are good, newest first. Raises NotFound."""
    own = user_id(actor)
    async with db.transaction(_scope(actor)) as conn:
        found = await store.open_sessions(conn, actor.tenant_id, own, now, now - timedelta(minutes=settings.idle_minutes))
    return [msgspec.structs.replace(each, current=each.id == actor.session_id) for each in found]


async def end_session(db: Database, actor: Actor, session_id: int, now: datetime) -> None:
    """End one of the own sessions. Raises NotFound."""
    own = user_id(actor)
    async with db.transaction(_scope(actor)) as conn:
        ended = await store.end(conn, actor.tenant_id, own, now, only=session_id) if 0 < session_id <= ROW_ID_MAX else 0
        if not ended:
            raise NotFound("session", session_id)
        await audit.record(conn, actor, "user.logout" if session_id == actor.session_id else "user.end_session", "user", own, after={"session": session_id})


async def logout(db: Database, actor: Actor, now: datetime) -> None:
    """End the session that asks. Raises NotFound."""
    user_id(actor)
    await end_session(db, actor, actor.session_id or 0, now)


async def change_password(db: Database, settings: LoginConfig, actor: Actor, wanted: PasswordChange, now: datetime) -> None:
    """Set a new password. Raises InvalidInput, TooOften."""
    found = await _proven(db, settings, actor, wanted.current_password, now)
    async with db.transaction(_scope(actor)) as conn:
        user = await held(conn, actor.tenant_id, found.id)
    fault = passwords.fault(wanted.password, user.name, user.email) or ("is the old one" if wanted.password == wanted.current_password else "")
    if fault:
        raise InvalidInput([Fault("/password", fault)])
    hashed = await passwords.hashed(wanted.password)
    async with db.transaction(_scope(actor)) as conn:
        await users.set_password(conn, actor.tenant_id, found.id, hashed, now)
        ended = await store.end(conn, actor.tenant_id, found.id, now, but=actor.session_id)
        await audit.record(conn, actor, "user.set_password", "user", found.id, after={"by": "user", "sessions_ended": ended})


async def enrol_totp(db: Database, settings: LoginConfig, keyring: Keyring, actor: Actor, proof: Proof, now: datetime) -> Enrolment:
    """Make a secret for the authenticator app. Raises Conflict if there is a second factor already; InvalidInput, TooOften."""
    found = await _proven(db, settings, actor, proof.current_password, now)
    secret = secrets.token_bytes(totp.SECRET_OCTETS)
    async with db.transaction(_scope(actor)) as conn:
        user = await held(conn, actor.tenant_id, found.id, lock=True)
        if user.totp:
            raise Conflict("there is a second factor already: remove it first")
        await users.set_totp(conn, actor.tenant_id, found.id, keyring.seal(secret, TOTP_CONTEXT))
        await audit.record(conn, actor, "user.enrol_totp", "user", found.id)
    return Enrolment(uri=totp.uri(secret, ISSUER, user.name), secret=totp.text(secret))


async def confirm_totp(db: Database, settings: LoginConfig, keyring: Keyring, actor: Actor, wanted: TotpCode, now: datetime) -> RecoveryCodes:
    """Make the second factor count, once a code shows that the app has it. Raises Conflict, InvalidInput, TooOften."""
    own = user_id(actor)
    visit = Visit(actor)
    async with db.transaction(_scope(actor)) as conn:
        found = await _held_credentials(conn, actor, own)
        if found.totp or found.totp_secret is None:
            raise Conflict("there is nothing to confirm: " + ("the second factor counts already" if found.totp else "enrol first"))
        begun = await logins.begin(conn, settings, actor.tenant_id, found.name, found, visit, now)
    attempt = logins.admitted(begun, now)
    step = totp.matching_step(keyring.open(found.totp_secret, TOTP_CONTEXT), "".join(wanted.code.split()), now)
    if step is None:
        await logins.failed(db, settings, attempt, found, visit, "wrong code", now)
        raise InvalidInput([Fault("/code", "is not the app's code of now: is the clock right?")])
    codes = tuple("".join(secrets.choice(_ALPHABET) for _ in range(16)) for _ in range(RECOVERY_CODES))
    async with db.transaction(_scope(actor)) as conn:
        user = await held(conn, actor.tenant_id, own, lock=True)
        again = await _held_credentials(conn, actor, own)
        if user.totp or again.totp_secret != found.totp_secret or not await users.use_step(conn, actor.tenant_id, own, step):
            raise Conflict("the second factor has changed meanwhile")
        await users.confirm_totp(conn, actor.tenant_id, own, now, [digest(code) for code in codes])
        await logins.succeeded(conn, attempt)
        ended = await store.end(conn, actor.tenant_id, own, now, but=actor.session_id)  # those were opened without it
        await audit.record(conn, actor, "user.confirm_totp", "user", own, after={"totp": True, "sessions_ended": ended})
    return RecoveryCodes(recovery_codes=tuple("-".join(code[at : at + 4] for at in range(0, 16, 4)) for code in codes))


async def remove_totp(db: Database, settings: LoginConfig, actor: Actor, proof: Proof, now: datetime) -> None:
    """Take the own second factor away. Raises InvalidInput, TooOften."""
    found = await _proven(db, settings, actor, proof.current_password, now)
    async with db.transaction(_scope(actor)) as conn:
        await users.set_totp(conn, actor.tenant_id, found.id, None)
        result = "ok" if found.totp else "unchanged"
        await audit.record(conn, actor, "user.remove_totp", "user", found.id, before={"totp": found.totp}, after={"totp": False}, result=result)


async def _held_credentials(conn: Connection, actor: Actor, own: int) -> Credentials:
    found = await users.credentials(conn, actor.tenant_id, user_id=own)
    if found is None:
        raise NotFound("user", own)
    return found


async def _proven(db: Database, settings: LoginConfig, actor: Actor, password: str, now: datetime) -> Credentials:
    """The own credentials, once the password is right; a wrong one counts as a failed log-in. Raises InvalidInput, TooOften, NotFound."""
    own = user_id(actor)
    visit = Visit(actor)
    async with db.transaction(_scope(actor)) as conn:
        found = await _held_credentials(conn, actor, own)
        begun = await logins.begin(conn, settings, actor.tenant_id, found.name, found, visit, now)
    attempt = logins.admitted(begun, now)
    if not await passwords.matches(found.password_hash, password):
        await logins.failed(db, settings, attempt, found, visit, "wrong password", now)
        faults = Faults()
        faults.add("/current_password", "is not your password")
        faults.check()
    async with db.transaction(_scope(actor)) as conn:
        await logins.succeeded(conn, attempt)
    return found
