"""The audit log: one row for every mutation, in its transaction, and for attempts that a role forbids."""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import msgspec

from netd.domain import paging
from netd.domain.actor import Actor
from netd.domain.paging import Page, PageQuery
from netd.model.audit import AuditRow
from netd.store import audit as store
from netd.store.database import Connection, Database

MASK = "***"
_SECRET = re.compile(r"password|secret|token_hash|sealed|private|(^|[-_])(key|psk|token)([-_]|$)", re.IGNORECASE)
_UNTOLD = frozenset(("id", "tenant_id", "version", "created_at", "updated_at"))


def values(thing: msgspec.Struct | Mapping[str, Any]) -> dict[str, Any]:
    """Its members as JSON values."""
    built: dict[str, Any] = msgspec.to_builtins(thing, enc_hook=str)
    return built


def changes(before: msgspec.Struct, after: msgspec.Struct) -> tuple[dict[str, Any], dict[str, Any]]:
    """The members in which two states of one object differ, before and after; bookkeeping left out."""
    old, new = values(before), values(after)
    names = [name for name in new if name not in _UNTOLD and old[name] != new[name]]
    return {name: old[name] for name in names}, {name: new[name] for name in names}


def tells_secret(text: str) -> bool:
    """Whether a text has a password or key in it, by the words in it: ``psk=…``."""
    return _SECRET.search(text) is not None


def masked(value: Any) -> Any:
    """``value`` with every secret in it, however deep, as ``***``: members by their name, RADIUS attributes by theirs."""
    if isinstance(value, Mapping):
        secret = _SECRET.search(str(value["attribute"])) if "attribute" in value else None
        return {
            name: MASK if each is not None and (_SECRET.search(name) or (secret and name == "value")) else masked(each)
            for name, each in value.items()
        }  # fmt: skip
    if isinstance(value, list | tuple):
        return [masked(each) for each in value]
    return value


def _address(actor: Actor) -> str | None:
    # A link-local caller's address carries its interface (%eth0), which PostgreSQL's inet does not know.
    try:
        return str(ip_address((actor.address or "").partition("%")[0]))
    except ValueError:
        return None


async def record(
    conn: Connection, actor: Actor, action: str, object_type: str, object_id: object, *,
    before: Mapping[str, Any] | None = None, after: Mapping[str, Any] | None = None, result: str = "ok",
) -> None:  # fmt: skip
    """Add a row within the transaction of ``conn``. ``before`` and ``after`` are JSON values; secrets in them are masked here."""
    await store.insert(
        conn, actor.tenant_id, actor=actor.name, token_id=actor.token_id, address=_address(actor), request_id=actor.request_id, action=action,
        object_type=object_type, object_id=str(object_id), before=masked(before), after=masked(after), result=result,
    )  # fmt: skip


async def refused(db: Database, actor: Actor, *, action: str, object_type: str, object_id: str) -> None:
    """Record that the actor tried what its role does not allow."""
    async with db.acquire() as conn:
        await record(conn, actor, action, object_type, object_id.replace("\0", "\ufffd")[:500], result="refused")


async def page(db: Database, actor: Actor, query: PageQuery, *, object_type: str | None = None, object_id: str | None = None) -> Page[AuditRow]:
    """The log, newest first, of all objects or of some."""
    before = paging.position(query, "audit")
    async with db.acquire() as conn:
        rows = await store.page(conn, actor.tenant_id, before=before, limit=query.limit + 1, object_type=object_type, object_id=object_id)
        total = await store.count(conn, actor.tenant_id, object_type=object_type, object_id=object_id) if query.count else None
    return paging.page(rows, query, "audit", total)
