"""How users log in: password, then a second factor where there is one; and the sessions that come of it.

Failures are counted by user name and by address, before the password is looked at. What is locked is answered at once, the same whether the
name exists or not, and opens by itself. An address that a user logged in from before is spared the lock of the name, and has a count of its
own: so nobody keeps the owner out by failing on purpose.
"""

import base64
import hashlib
import secrets
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from netd.config import LoginConfig
from netd.domain import audit, passwords, totp
from netd.domain.actor import Actor, Grant, system
from netd.domain.inputs import Faults, hidden
from netd.domain.passwords import Password
from netd.domain.tokens import DEFAULT_TENANT
from netd.domain.users import TOTP_CONTEXT, digest
from netd.errors import StoreError, StoreUnavailable, TooOften, Unauthenticated
from netd.keyring import Keyring
from netd.model.permission import PLATFORM, Scope
from netd.model.user import FailureKind, SessionMethod
from netd.store import logins as store
from netd.store import users
from netd.store.database import Connection, Database
from netd.store.users import Credentials

CHALLENGE_CONTEXT: Final = b"login.challenge"
CHALLENGE_KEPT: Final = timedelta(minutes=5)
USE_NOTED_EVERY: Final = timedelta(minutes=1)
WRONG: Final = "user name, password or code is wrong"
_TEXT_LENGTH: Final = 43

SetupToken = Annotated[str, Meta(max_length=200)]


class PasswordLogin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who wants in. User names are unique in their tenant."""

    username: Annotated[str, Meta(min_length=1, max_length=253)]
    password: Password
    tenant: Annotated[str, Meta(min_length=1, max_length=63)] = "default"

    def __repr__(self) -> str:
        return hidden(self, "password", "username")


class CodeLogin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The second step: the ``challenge`` that the first was answered with, and a code of the app, or a recovery code."""

    challenge: Annotated[str, Meta(min_length=1, max_length=1000)]
    code: Annotated[str, Meta(min_length=1, max_length=64)]

    def __repr__(self) -> str:
        return hidden(self, "challenge", "code")


class Setup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new password, and the token that an administrator gave."""

    token: SetupToken
    password: Password

    def __repr__(self) -> str:
        return hidden(self, "token", "password")


class Opened(NamedTuple):
    """A new session. ``text`` goes into the cookie and is kept nowhere."""

    text: str
    session_id: int
    user: str
    expires_at: datetime


class Challenged(NamedTuple):
    """The password was right; a code is wanted as well."""

    challenge: str
    expires_at: datetime


class Visit(NamedTuple):
    """Where a log-in comes from. ``replaces`` is the session that the browser had before, which ends."""

    caller: Actor
    user_agent: str | None = None
    replaces: str | None = None

    @property
    def network(self) -> str:
        """What counts as one address: of IPv6 the /64, which one subscriber has all of."""
        try:
            found = ip_address((self.caller.address or "").partition("%")[0])
        except ValueError:
            return self.caller.address or ""
        if isinstance(found, IPv6Address):
            return str(found.ipv4_mapped or ip_network((found, 64), strict=False))
        return str(found)


class Attempt(NamedTuple):
    """An attempt that was counted already: what is to be taken back if it does not fail."""

    tenant_id: int
    kind: FailureKind
    key: bytes
    address_key: bytes
    user_fills: bool
    address_fills: bool


class _Claim(msgspec.Struct, frozen=True):
    tenant_id: int
    user_id: int
    until: float
    password_changed_at: datetime | None


async def login(
    db: Database, settings: LoginConfig, keyring: Keyring, wanted: PasswordLogin, visit: Visit, now: datetime,
) -> Opened | Challenged:  # fmt: skip
    """Log in by password. Raises Unauthenticated, TooOften, StoreUnavailable."""
    async with db.acquire() as conn:
        tenant_id = await store.tenant_named(conn, wanted.tenant)
    if tenant_id is None:
        await passwords.matches(None, wanted.password)
        raise Unauthenticated(WRONG)
    name = wanted.username.strip().lower()
    async with db.transaction(Scope(tenant_id)) as conn:
        found = await users.credentials(conn, tenant_id, name=name)
        attempt = await begin(conn, settings, tenant_id, name, found, visit, now)
    attempt = admitted(attempt, now)
    usable = found if found is not None and not found.disabled else None
    good = await passwords.matches(None if usable is None else usable.password_hash, wanted.password)
    if not good or usable is None:
        reason = "no such user" if found is None else "disabled" if found.disabled else "wrong password" if found.password_hash else "no password set"
        await failed(db, settings, attempt, found, visit, reason, now)
        raise Unauthenticated(WRONG)
    await _renew_hash(db, tenant_id, usable, wanted.password)
    if not usable.totp:
        return await open_session(db, settings, tenant_id, usable.id, usable.name, "password", visit, now, attempt)
    async with db.transaction(Scope(tenant_id)) as conn:
        await store.take_back(conn, tenant_id, "address", attempt.address_key)  # always first, as it is counted: no deadlock
        await store.take_back(conn, tenant_id, attempt.kind, attempt.key)
    claim = _Claim(tenant_id, usable.id, (now + CHALLENGE_KEPT).timestamp(), usable.password_changed_at)
    sealed = keyring.seal(msgspec.json.encode(claim), CHALLENGE_CONTEXT)
    return Challenged(base64.urlsafe_b64encode(sealed).decode(), now + CHALLENGE_KEPT)


async def login_code(db: Database, settings: LoginConfig, keyring: Keyring, wanted: CodeLogin, visit: Visit, now: datetime) -> Opened:
    """The second step of a log-in. Raises Unauthenticated, TooOften, StoreUnavailable."""
    claim = _claim(keyring, wanted.challenge, now)
    async with db.transaction(Scope(claim.tenant_id)) as conn:
        found = await users.credentials(conn, claim.tenant_id, user_id=claim.user_id)
        if found is None or found.disabled or found.password_hash is None or found.password_changed_at != claim.password_changed_at:
            raise Unauthenticated("the log-in is no longer good: begin anew")
        begun = await begin(conn, settings, claim.tenant_id, found.name, found, visit, now)
    attempt = admitted(begun, now)
    async with db.transaction(Scope(claim.tenant_id)) as conn:
        method = await second_factor(conn, keyring, claim.tenant_id, found, wanted.code, now)
    if method is None:
        await failed(db, settings, attempt, found, visit, "wrong code", now)
        raise Unauthenticated(WRONG)
    return await open_session(db, settings, claim.tenant_id, found.id, found.name, method, visit, now, attempt)


def _claim(keyring: Keyring, text: str, now: datetime) -> _Claim:
    try:
        claim = msgspec.json.decode(keyring.open(base64.b64decode(text, altchars=b"-_", validate=True), CHALLENGE_CONTEXT), type=_Claim)
    except (ValueError, StoreError, msgspec.MsgspecError):
        raise Unauthenticated("the log-in is no longer good: begin anew") from None
    if claim.until <= now.timestamp():
        raise Unauthenticated("the log-in took too long: begin anew")
    return claim


async def second_factor(conn: Connection, keyring: Keyring, tenant_id: int, found: Credentials, code: str, now: datetime) -> SessionMethod | None:
    """What kind of code this is, used up by being asked for; None if it is no good one, or was used before."""
    typed = "".join(code.split())
    if not found.totp or found.totp_secret is None:
        return None
    step = totp.matching_step(keyring.open(found.totp_secret, TOTP_CONTEXT), typed, now)
    if step is not None:
        return "totp" if await users.use_step(conn, tenant_id, found.id, step) else None
    return "recovery_code" if await users.use_recovery_code(conn, tenant_id, found.id, digest(typed.lower().replace("-", ""))) else None


async def begin(
    conn: Connection, settings: LoginConfig, tenant_id: int, name: str, found: Credentials | None, visit: Visit, now: datetime,
) -> Attempt | datetime:  # fmt: skip
    """Count an attempt; the end of a lock that forbids it. To be raised outside of the transaction, for the count has to stay."""
    pause = timedelta(minutes=settings.lock_minutes)
    network = visit.network
    address_key = hashlib.sha256(network.encode()).digest()
    address = await store.count(conn, tenant_id, "address", address_key, network, most=settings.address_failures, pause=pause, now=now)
    if isinstance(address, datetime):
        return address
    kind: FailureKind = "user"
    key, subject = digest(name), None if found is None else found.name
    if found is not None and await store.knows(conn, tenant_id, found.id, network, now - store.REMEMBERED):
        kind, key, subject = "user_at_address", digest(f"{name} {network}"), f"{found.name} {network}"
    user = await store.count(conn, tenant_id, kind, key, subject, most=settings.user_failures, pause=pause, now=now)
    if isinstance(user, datetime):
        return user
    return Attempt(tenant_id, kind, key, address_key, user.fills, address.fills)


def admitted(attempt: Attempt | datetime, now: datetime) -> Attempt:
    """The attempt. Raises TooOften if it is locked out."""
    if isinstance(attempt, datetime):
        seconds = max(1, ceil((attempt - now).total_seconds()))
        raise TooOften(f"too many log-ins of this user name or from this address failed; again in {seconds} s", seconds)
    return attempt


async def failed(db: Database, settings: LoginConfig, attempt: Attempt, found: Credentials | None, visit: Visit, reason: str, now: datetime) -> None:
    """Record that the attempt failed, and the lock-out that comes of it. Who tried is not known: it was not proven."""
    tenant_id, until = attempt.tenant_id, (now + timedelta(minutes=settings.lock_minutes)).isoformat()
    nobody = msgspec.structs.replace(visit.caller, tenant_id=tenant_id, name=visit.caller.name, once=None)
    locker = msgspec.structs.replace(system(tenant_id), address=visit.caller.address, request_id=visit.caller.request_id)
    user = "unknown" if found is None else str(found.id)
    async with db.transaction(Scope(tenant_id)) as conn:
        await audit.record(conn, nobody, "user.login", "user", user, after={"reason": reason}, result="failed")
        if attempt.user_fills:
            where = visit.network if attempt.kind == "user_at_address" else "addresses that are not known"
            await audit.record(conn, locker, "user.lock_out", "user", user, after={"until": until, "of": where})
        if attempt.address_fills:
            await audit.record(conn, locker, "address.lock_out", "address", visit.network, after={"until": until})
        await store.purge(conn, tenant_id, now - timedelta(days=1))


async def succeeded(conn: Connection, attempt: Attempt) -> None:
    """The attempt was no failure, and the user's earlier ones are forgotten; the address's are not, or an own account would be a way around them."""
    await store.take_back(conn, attempt.tenant_id, "address", attempt.address_key)
    await store.forget(conn, attempt.tenant_id, attempt.kind, attempt.key)


async def open_session(
    db: Database, settings: LoginConfig, tenant_id: int, user_id: int, name: str, method: SessionMethod, visit: Visit, now: datetime,
    attempt: Attempt | None = None,
) -> Opened:  # fmt: skip
    """A new session, never one that the browser brought along (it would be whose it was given by)."""
    text = secrets.token_urlsafe(32)
    expires_at = now + timedelta(hours=settings.session_hours)
    actor = Actor(tenant_id=tenant_id, name=name, role="", sites=None, user_id=user_id, address=visit.caller.address, request_id=visit.caller.request_id)
    agent = (visit.user_agent or "")[:200] or None
    async with db.transaction(Scope(tenant_id)) as conn:
        if attempt is not None:
            await succeeded(conn, attempt)
        if visit.replaces is not None:
            await store.end_by_hash(conn, tenant_id, digest(visit.replaces), now)
        session_id = await store.insert(
            conn, tenant_id, user_id, token_hash=digest(text), method=method, network=visit.network, address=visit.caller.address, user_agent=agent,
            now=now, expires_at=expires_at,
        )  # fmt: skip
        await users.logged_in(conn, tenant_id, user_id, now)
        await audit.record(conn, actor, "user.login", "user", user_id, after={"method": method})
    return Opened(text, session_id, name, expires_at)


async def _renew_hash(db: Database, tenant_id: int, found: Credentials, password: str) -> None:
    """Keep the password under today's parameters: only now it is there to be hashed."""
    if found.password_hash is not None and passwords.outdated(found.password_hash):
        renewed = await passwords.hashed(password)
        async with db.transaction(Scope(tenant_id)) as conn:
            await users.rehash(conn, tenant_id, found.id, found.password_hash, renewed)


async def set_up(db: Database, wanted: Setup, caller: Actor, now: datetime) -> None:
    """Set the password of whoever was given the setup token. Raises Unauthenticated, InvalidInput, TooOften."""
    tenant_id, user_id = _named(wanted.token)
    async with db.transaction(Scope(tenant_id)) as conn:
        found = await _setting_up(conn, tenant_id, user_id, wanted.token, now)
    if fault := passwords.fault(wanted.password, found.name):
        faults = Faults()
        faults.add("/password", fault)
        faults.check()
    hashed = await passwords.hashed(wanted.password)
    actor = Actor(tenant_id=tenant_id, name=found.name, role="", sites=None, user_id=user_id, address=caller.address, request_id=caller.request_id)
    async with db.transaction(Scope(tenant_id)) as conn:
        await users.get(conn, tenant_id, user_id, lock=True)
        await _setting_up(conn, tenant_id, user_id, wanted.token, now)  # once, however many ask at the same time
        await users.set_password(conn, tenant_id, user_id, hashed, now)
        await store.end(conn, tenant_id, user_id, now)
        await audit.record(conn, actor, "user.set_password", "user", user_id, after={"by": "setup"})


def _named(token: str) -> tuple[int, int]:
    parts = token.split("_", 3)
    numbers = [part for part in parts[1:3] if part.isascii() and part.isdecimal() and len(part) <= 18]
    if parts[0] != "netdsetup" or len(parts) != 4 or len(numbers) != 2:
        raise Unauthenticated("the setup token is not good")
    return int(numbers[0]), int(numbers[1])


async def _setting_up(conn: Connection, tenant_id: int, user_id: int, token: str, now: datetime) -> Credentials:
    found = await users.credentials(conn, tenant_id, user_id=user_id)
    kept = bytes(32) if found is None or found.setup_hash is None else found.setup_hash
    good = secrets.compare_digest(kept, digest(token))
    if not good or found is None or found.disabled or found.setup_expires_at is None or found.setup_expires_at <= now:
        raise Unauthenticated("the setup token was used, has expired, or never was")
    return found


async def authenticate(
    db: Database, settings: LoginConfig, text: str, now: datetime, *, address: str | None = None, request_id: str | None = None,
) -> Actor | None:  # fmt: skip
    """Whose session a cookie is; None if there is none that is good. Raises StoreUnavailable if that cannot be found out."""
    if len(text) != _TEXT_LENGTH:
        return None
    token_hash = digest(text)
    found = await _good(db, settings, token_hash, now)
    if found is None:
        return None
    if now - found.last_used_at >= USE_NOTED_EVERY:
        await _note_use(db, found.id, now)
    return _actor(settings, found, token_hash, address, request_id)


async def still_allows(db: Database, settings: LoginConfig, actor: Actor, permission: str, now: datetime) -> bool:
    """Whether the actor's session is good and holds where it did, for what takes longer than one request. It counts as a use. Raises StoreUnavailable."""
    if actor.session_hash is None:
        return False
    found = await _good(db, settings, actor.session_hash, now)
    if found is None:
        return False
    allowed = _actor(settings, found, actor.session_hash, actor.address, actor.request_id).allowed(permission)
    return allowed is not None and allowed.scope == actor.scope


async def _good(db: Database, settings: LoginConfig, token_hash: bytes, now: datetime) -> store.Found | None:
    async with db.acquire() as conn:
        found = await store.by_hash(conn, token_hash)
    if found is None or found.expires_at <= now or found.last_used_at + timedelta(minutes=settings.idle_minutes) <= now:
        return None
    return found


def owes_totp(settings: LoginConfig, found: store.Found) -> bool:
    """Whether one of the roles needs a second factor that the user has not set up. Of a provider's log-in its own rules hold."""
    return not found.totp and found.method != "oidc" and any(grant.role in settings.totp_roles for grant in found.grants)


def _actor(settings: LoginConfig, found: store.Found, token_hash: bytes, address: str | None, request_id: str | None) -> Actor:
    grants: tuple[Grant, ...] = ()
    if not owes_totp(settings, found):
        platform = PLATFORM if found.tenant_id == DEFAULT_TENANT else frozenset[str]()
        grants = tuple(Grant(each.allows - (PLATFORM if each.sites is not None else PLATFORM - platform), each.sites) for each in found.grants)
    role = ", ".join(dict.fromkeys(each.role for each in found.grants)) or "none"
    return Actor(
        tenant_id=found.tenant_id, name=found.name, role=role, grants=grants, user_id=found.user_id, session_id=found.id, session_hash=token_hash,
        address=address, request_id=request_id,
    )  # fmt: skip


async def _note_use(db: Database, session_id: int, now: datetime) -> None:
    try:
        async with db.acquire() as conn:
            await store.used(conn, session_id, now)
    except StoreUnavailable:
        return  # a moment without writing must not lock anybody out of what needs none; the database's state is told elsewhere
