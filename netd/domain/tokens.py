"""API tokens: ``netd_<12 characters that name it>_<43 that open>``. Only a SHA-256 is kept; 256 random bits need no slow hash."""

import asyncio
import base64
import hashlib
import hmac
import os
import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from netd.domain import audit, inputs, lists
from netd.domain.actor import Actor, Grant, system
from netd.domain.inputs import Faults, Label
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.errors import Fault, InvalidInput, NotFound, OutsideScope, StoreUnavailable
from netd.model.permission import PERMISSIONS, PLATFORM, SELF, SELF_USUAL
from netd.model.token import Token
from netd.store import jobs, roles, sites, subscribers
from netd.store import tokens as store
from netd.store.database import Connection, Database

_FORM = re.compile(r"netd_([a-z2-7]{12})_([A-Za-z0-9_-]{43})")
_USE_NOTED_EVERY = timedelta(minutes=1)
_NO_HASH = bytes(32)

DEFAULT_TENANT = 1
"""The tenant that every database is made with: that of whoever runs this netd."""


class NewToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to be made; without ``expires_at`` it is good until revoked.

    It holds in the whole tenant, or in one organization or site, or for one subscriber's own account (role ``self_service``).
    ``permissions`` narrows what the role allows; a subscriber's may set the password without the old one only if that is named.
    """

    name: Label
    role: Label
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    organization: Label | None = None
    site: Label | None = None
    subscriber: Annotated[str, Meta(min_length=1, max_length=253)] | None = None
    permissions: Annotated[tuple[str, ...], Meta(max_length=len(PERMISSIONS))] | None = None


class IssuedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A new token with its text, which is shown this once."""

    token: Token
    text: str

    def __repr__(self) -> str:
        return inputs.hidden(self, "text")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


async def issue(conn: Connection, actor: Actor, new: NewToken, now: datetime) -> IssuedToken:
    """Make a token within the transaction of ``conn``. Raises InvalidInput if it would have expired already, or could do what the actor cannot."""
    if new.expires_at is not None and new.expires_at <= now:
        raise InvalidInput([Fault("/expires_at", "is in the past")])
    bound = await _bound(conn, actor, new)
    public_id = base64.b32encode(secrets.token_bytes(8)).decode().lower()[:12]
    text = f"netd_{public_id}_{secrets.token_urlsafe(32)}"
    token = await store.insert(
        conn, actor.tenant_id, public_id=public_id, token_hash=_digest(text), name=new.name, role=new.role, created_by=actor.name, expires_at=new.expires_at,
        person=await _person(conn, actor), **bound,
    )  # fmt: skip
    await audit.record(conn, actor, "token.create", "token", token.id, after=audit.values(token))
    return IssuedToken(token=token, text=text)


async def _person(conn: Connection, actor: Actor) -> str | None:
    """Who stands behind a token of this maker; None: the token is somebody of its own, for its maker could gain no approval by it."""
    if actor.user_id is None and (actor.token_id is None or "jobs:direct" in actor.permissions_everywhere):
        return None
    return await jobs.person(conn, actor.tenant_id, actor.caller)


def not_given(actor: Actor, wanted: frozenset[str]) -> frozenset[str]:
    """What of ``wanted`` the actor may not give to others: all that it may not do itself in the whole tenant."""
    return wanted - actor.permissions_everywhere - (frozenset() if actor.tenant_id == DEFAULT_TENANT else PLATFORM)


async def _bound(conn: Connection, actor: Actor, new: NewToken) -> dict[str, Any]:
    """What a new token is bound and narrowed to, as columns. Raises InvalidInput, also for what the actor itself may not do."""
    faults = Faults()
    role = await roles.by_name(conn, actor.tenant_id, new.role)
    if role is None:
        faults.add("/role", f"there is no role {new.role}")
    allowed = frozenset() if role is None else role.allows
    for place, name in enumerate(new.permissions or ()):
        if name not in allowed:
            faults.add(f"/permissions/{place}", f"the role {new.role} does not have {name}" if name in PERMISSIONS else "no such permission")
    narrowed = new.permissions if new.permissions is not None or new.subscriber is None else tuple(allowed & SELF_USUAL)
    wanted = allowed if narrowed is None else allowed & frozenset(narrowed)
    if beyond := not_given(actor, wanted - SELF):
        faults.add("/role", f"you may not give away what you may not do: {', '.join(sorted(beyond))}")
    if sum(each is not None for each in (new.organization, new.site, new.subscriber)) > 1:
        faults.add("", "a token is bound to an organization, a site or a subscriber, not to several of them")
    if (new.subscriber is None) != (not wanted & SELF):
        faults.add("/subscriber", "goes with the role self_service, and that role with a subscriber")
    columns: dict[str, Any] = {"permissions": None if narrowed is None else sorted(set(narrowed))}
    for name, find in (("organization", sites.organization_id), ("site", sites.site_id), ("subscriber", _subscriber_id)):
        given = getattr(new, name)
        columns[f"{name}_id"] = found = None if given is None else await find(conn, actor.tenant_id, given)
        if given is not None and found is None:
            faults.add(f"/{name}", f"there is no {name} {given}")
    if "me:set_password" in wanted and not await _may_set_password(conn, actor, new):
        faults.add("/permissions", "you may not give away me:set_password where you have not portal:password")
    faults.check()
    return columns


async def _may_set_password(conn: Connection, actor: Actor, new: NewToken) -> bool:
    """Whether the actor's own permission to set passwords holds for the subscriber that the token is bound to."""
    where = actor.allowed("portal:password")
    found = None if new.subscriber is None else await subscribers.by_username(conn, actor.tenant_id, new.subscriber)
    return where is not None and (found is None or where.reaches(found.site_id))


async def _subscriber_id(conn: Connection, tenant_id: int, username: str) -> int | None:
    found = await subscribers.by_username(conn, tenant_id, username)
    return None if found is None else found.id


async def create(db: Database, actor: Actor, new: NewToken, now: datetime) -> IssuedToken:
    """Make a token. Raises InvalidInput if it would have expired already, or could do what the actor cannot."""
    async with db.transaction(actor.scope) as conn:
        return await issue(conn, actor, new, now)


async def authenticate(db: Database, text: str, now: datetime, *, address: str | None = None, request_id: str | None = None) -> Actor | None:
    """Whom a token speaks for; None if it is unknown, expired or revoked. Raises StoreUnavailable if that cannot be found out.

    The use is noted at most once a minute, and a failure to note it does not refuse the caller.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        return None
    async with db.acquire() as conn:
        stored = await store.by_public_id(conn, form[1])
    if not hmac.compare_digest(_digest(text), stored.token_hash if stored is not None else _NO_HASH) or stored is None:
        return None
    token = stored.token
    if not is_good(token, now):
        return None
    if token.last_used_at is None or now - token.last_used_at >= _USE_NOTED_EVERY:
        await _note_use(db, token, now)
    return actor_of(stored, address, request_id)


async def still_allows(db: Database, actor: Actor, permission: str, now: datetime) -> bool:
    """Whether the actor's token is good and holds where it did, for what takes longer than one request. Raises StoreUnavailable."""
    if actor.token_public_id is None:
        return False
    async with db.acquire() as conn:
        stored = await store.by_public_id(conn, actor.token_public_id)
    if stored is None or not is_good(stored.token, now):
        return False
    allowed = actor_of(stored, actor.address, actor.request_id).allowed(permission)
    return allowed is not None and allowed.scope == actor.scope


def is_good(token: Token, now: datetime) -> bool:
    """Whether it is neither revoked nor expired."""
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > now)


def actor_of(stored: store.Stored, address: str | None, request_id: str | None) -> Actor:
    """Whom a token speaks for."""
    token = stored.token
    bound = stored.sites is not None or token.subscriber_id is not None
    permissions = stored.allows - PLATFORM if bound or token.tenant_id != DEFAULT_TENANT else stored.allows
    grant = Grant(permissions, None if stored.sites is None else frozenset(stored.sites), token.subscriber_id)
    return Actor(
        tenant_id=token.tenant_id, name=token.name, role=token.role, grants=(grant,), token_id=token.id, token_public_id=token.public_id,
        address=address, request_id=request_id,
    )  # fmt: skip


async def _note_use(db: Database, token: Token, now: datetime) -> None:
    try:
        async with db.acquire() as conn:
            await store.used(conn, token.id, now)
    except StoreUnavailable:
        # Read-only moments (a failover) must not lock callers out of what needs no writing; the database's state is told elsewhere.
        return


async def get(db: Database, actor: Actor, token_id: int) -> Token:
    """The token. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await _held(conn, actor, token_id)


TokenQuery = lists.query_type(store.LISTING)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[Token]:
    """Tokens, revoked ones too, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of)


async def revoke(db: Database, actor: Actor, token_id: int) -> Token:
    """Revoke a token for ever, from its next use on; one that is revoked stays as it is. Raises NotFound; OutsideScope if it may do more than the actor."""
    async with db.transaction(actor.scope) as conn:
        before = await _held(conn, actor, token_id)
        stored = await store.by_public_id(conn, before.public_id)
        if stored is not None and token_id != actor.token_id and (beyond := not_given(actor, stored.allows - SELF)):
            raise OutsideScope(f"the token may do more than you: {', '.join(sorted(beyond))}")
        changed = await store.revoke(conn, actor.tenant_id, token_id)
        after = await _held(conn, actor, token_id)
        old, new = audit.changes(before, after)
        await audit.record(conn, actor, "token.revoke", "token", token_id, before=old, after=new, result="ok" if changed else "unchanged")
    return after


async def ensure_admin(db: Database, path: Path) -> bool:
    """At the first start, make a token of the role admin and leave its text in ``path`` (0600); whether that was so.

    It is the first start while the tenant ``default`` has no token at all, so a file that is deleted later does not come back. A file
    left by a start that did not get to its end, or by another database, is kept beside as ``….old``.
    """
    async with db.transaction() as conn:
        await store.lock(conn)
        tenant_id = await store.first_tenant(conn)
        if await store.count(conn, tenant_id):
            return False
        issued = await issue(conn, system(tenant_id), NewToken(name="admin", role="admin"), datetime.now(UTC))
        # Written before the commit: a token that is nowhere to be read could not be made again.
        await asyncio.to_thread(_leave, path, issued.text)
    return True


def _leave(path: Path, text: str) -> None:
    """Put ``text`` into the file ``path``, complete or not at all, readable by the owner only."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(descriptor)
    if path.exists():
        path.replace(path.with_name(f"{path.name}.old"))
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


async def _held(conn: Connection, actor: Actor, token_id: int) -> Token:
    token = await store.get(conn, actor.tenant_id, token_id) if 0 < token_id <= inputs.ROW_ID_MAX else None
    if token is None:
        raise NotFound("token", token_id)
    return token
