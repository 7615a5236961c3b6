"""API tokens: ``netd_<12 characters that name it>_<43 that open>``. Only a SHA-256 is kept; 256 random bits need no slow hash."""

import asyncio
import base64
import hashlib
import hmac
import os
import re
import secrets
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from netd.domain import audit, inputs, paging
from netd.domain.actor import Actor, Role, system
from netd.domain.inputs import Label
from netd.domain.paging import Page, PageQuery
from netd.errors import Fault, InvalidInput, NotFound, StoreUnavailable
from netd.model.token import Token
from netd.store import tokens as store
from netd.store.database import Connection, Database

_FORM = re.compile(r"netd_([a-z2-7]{12})_([A-Za-z0-9_-]{43})")
_USE_NOTED_EVERY = timedelta(minutes=1)
_NO_HASH = bytes(32)


class NewToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to be made; without ``expires_at`` it is good until revoked."""

    name: Label
    role: Role
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class IssuedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A new token with its text, which is shown this once."""

    token: Token
    text: str

    def __repr__(self) -> str:
        return inputs.hidden(self, "text")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


async def _issue(conn: Connection, actor: Actor, new: NewToken) -> IssuedToken:
    public_id = base64.b32encode(secrets.token_bytes(8)).decode().lower()[:12]
    text = f"netd_{public_id}_{secrets.token_urlsafe(32)}"
    token = await store.insert(
        conn, actor.tenant_id, public_id=public_id, token_hash=_digest(text), name=new.name, role=new.role, created_by=actor.name, expires_at=new.expires_at
    )
    await audit.record(conn, actor, "token.create", "token", token.id, after=audit.values(token))
    return IssuedToken(token=token, text=text)


async def create(db: Database, actor: Actor, new: NewToken, now: datetime) -> IssuedToken:
    """Make a token. Raises InvalidInput if it would have expired already."""
    if new.expires_at is not None and new.expires_at <= now:
        raise InvalidInput([Fault("/expires_at", "is in the past")])
    async with db.transaction() as conn:
        return await _issue(conn, actor, new)


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
    if token.revoked_at is not None or (token.expires_at is not None and token.expires_at <= now):
        return None
    if token.last_used_at is None or now - token.last_used_at >= _USE_NOTED_EVERY:
        await _note_use(db, token, now)
    return Actor(tenant_id=token.tenant_id, name=token.name, role=token.role, token_id=token.id, address=address, request_id=request_id)


async def _note_use(db: Database, token: Token, now: datetime) -> None:
    try:
        async with db.acquire() as conn:
            await store.used(conn, token.tenant_id, token.id, now)
    except StoreUnavailable:
        # Read-only moments (a failover) must not lock callers out of what needs no writing; the database's state is told elsewhere.
        return


async def get(db: Database, actor: Actor, token_id: int) -> Token:
    """The token. Raises NotFound."""
    async with db.acquire() as conn:
        return await _held(conn, actor, token_id)


async def page(db: Database, actor: Actor, query: PageQuery) -> Page[Token]:
    """Tokens by id, revoked ones too."""
    after = paging.position(query, "token") or 0
    async with db.acquire() as conn:
        rows = await store.page(conn, actor.tenant_id, after=after, limit=query.limit + 1)
        total = await store.count(conn, actor.tenant_id) if query.count else None
    return paging.page(rows, query, "token", total)


async def revoke(db: Database, actor: Actor, token_id: int) -> Token:
    """Revoke a token for ever, from its next use on; one that is revoked stays as it is. Raises NotFound."""
    async with db.transaction() as conn:
        before = await _held(conn, actor, token_id)
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
        issued = await _issue(conn, system(tenant_id), NewToken(name="admin", role="admin"))
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
