"""The audit log: one row for every mutation, in its transaction, and for attempts that a role forbids."""

import contextlib
import csv
import io
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Literal, NamedTuple

import msgspec

from netd.domain import cells, inputs, lists
from netd.domain.actor import Actor
from netd.domain.lists import Filters, ListQuery
from netd.domain.paging import Page
from netd.errors import OutsideScope
from netd.model import event
from netd.model.audit import AuditRow
from netd.store import audit as store
from netd.store import events, listing
from netd.store.database import Connection, Database
from netd.store.listing import Selection

MASK = "***"
VERIFIED_ROWS = 20_000  # at a time, so that no statement takes long
ADDED_ROWS = 1000
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


def address(actor: Actor) -> str | None:
    """Where the actor calls from, as PostgreSQL keeps it."""
    # A link-local caller's address carries its interface (%eth0), which PostgreSQL's inet does not know.
    try:
        return str(ip_address((actor.address or "").partition("%")[0]))
    except ValueError:
        return None


async def record(
    conn: Connection, actor: Actor, action: str, object_type: str, object_id: object, *,
    before: Mapping[str, Any] | None = None, after: Mapping[str, Any] | None = None, result: str = "ok",
) -> None:  # fmt: skip
    """Add a row within the transaction of ``conn``, and the event that the action is. ``before`` and ``after`` are JSON values; secrets in them are
    masked here."""
    row = store.New(
        actor.name, actor.token_id, address(actor), actor.request_id, action, object_type, str(object_id), masked(before), masked(after), result,
    )  # fmt: skip
    told = None
    if result == "ok" and action in event.OF_ACTION:
        states = {name: masked(state) for name, state in (("before", before), ("after", after)) if state is not None}
        told = events.New(event.OF_ACTION[action], object_type, str(object_id), actor.name, states)
    holding = _holding.get()
    if holding is not None and holding[0] is conn:
        holding[1].append(Entry(row, told))
    else:
        await add(conn, actor.tenant_id, [Entry(row, told)])


class Entry(NamedTuple):
    """What is recorded of one action: its row, and the event that it is."""

    row: store.New
    event: events.New | None


_holding: ContextVar[tuple[Connection, list[Entry]] | None] = ContextVar("holding", default=None)


@contextlib.contextmanager
def held(conn: Connection) -> Iterator[list[Entry]]:
    """What is recorded on ``conn`` meanwhile is not added but gathered, for ``add``: from the first row to its end a transaction keeps everybody else of
    the tenant who changes anything waiting for the head of the chain."""
    entries: list[Entry] = []
    before = _holding.set((conn, entries))
    try:
        yield entries
    finally:
        _holding.reset(before)


async def add(conn: Connection, tenant_id: int, entries: Sequence[Entry]) -> None:
    """Add what was gathered, in order."""
    for place in range(0, len(entries), ADDED_ROWS):
        part = entries[place : place + ADDED_ROWS]
        await store.insert(conn, tenant_id, [each.row for each in part])
        if told := [each.event for each in part if each.event is not None]:
            await events.insert_many(conn, tenant_id, told)


async def refused(db: Database, actor: Actor, *, action: str, object_type: str, object_id: str) -> None:
    """Record that the actor tried what its role does not allow."""
    async with db.transaction(actor.scope) as conn:
        await record(conn, actor, action, object_type, object_id.replace("\0", "\ufffd")[:500], result="refused")


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the tenant's log is whole. ``head`` is the hash of its last row: kept elsewhere, it shows later that nothing up to here was rewritten.

    If it is not whole, ``first_wrong_id`` is the first row that was changed, or the one behind a removed one; None if rows are missing at the end.
    """

    whole: bool
    rows: int
    head: str
    last_id: int
    first_wrong_id: int | None
    detail: str


async def verify(db: Database, actor: Actor, told: Callable[[int, int], None] = lambda rows, last_id: None) -> Verification:
    """Follow the chain of hashes through the tenant's log, and call ``told`` with how many rows are good and the last one's id.

    Raises OutsideScope for who may see a part of the tenant only.
    """
    if actor.sites is not None:
        raise OutsideScope("the log is the whole tenant's")
    rows, after, hash_ = 0, 0, b""
    async with db.transaction(actor.scope) as conn:
        last_id, head = await store.head(conn, actor.tenant_id)

    def found(detail: str = "", wrong: int | None = None) -> Verification:
        return Verification(whole=not detail, rows=rows, head=head.hex(), last_id=last_id, first_wrong_id=wrong, detail=detail)

    checked = None
    while checked is None or checked.rows == VERIFIED_ROWS:
        async with db.transaction(actor.scope) as conn:
            checked = await store.verify(conn, actor.tenant_id, after, hash_, VERIFIED_ROWS)
        rows += checked.rows
        if checked.wrong is not None:
            return found(f"row {checked.wrong} was changed, or a row before it removed", checked.wrong)
        after, hash_ = checked.last_id, checked.last_hash
        told(rows, after)
    async with db.transaction(actor.scope) as conn:
        end = await store.hash_of(conn, actor.tenant_id, last_id) if last_id else b""
    if end is None:
        return found(f"rows behind {after} are missing, up to {last_id}")
    return found() if end == head else found(f"row {last_id} and all before it fit together, but are not what was written", last_id)


AuditQuery = lists.query_type(store.LISTING)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[AuditRow]:
    """The log, newest first unless the query says otherwise. Raises InvalidInput."""
    wanted = lists.selection(store.LISTING, query, parse={"address": inputs.address})
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of, wanted)


class ExportTerms(Filters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As what: a table for a spreadsheet, or a JSON object a line."""

    format: Literal["csv", "jsonl"] = "csv"


AuditExport = lists.query_type(store.LISTING, ExportTerms)


def export(db: Database, actor: Actor, query: ExportTerms) -> AsyncIterator[bytes]:
    """All rows that the query asks for, some at a time, each part in a transaction of its own: who reads slowly holds up nobody. Raises InvalidInput
    before the first."""
    wanted = lists.selection(store.LISTING, query, parse={"address": inputs.address})
    return _parts(db, actor, wanted, _csv if query.format == "csv" else _lines)


async def _parts(db: Database, actor: Actor, wanted: Selection, written: Callable[[Sequence[AuditRow]], bytes]) -> AsyncIterator[bytes]:
    head = _table([AuditRow.__struct_fields__]) if written is _csv else b""
    while True:
        async with db.transaction(actor.scope) as conn:
            rows = store.of(await listing.page(conn, store.LISTING, actor.tenant_id, wanted))
        if head or rows:
            yield head + written(rows)
        head = b""
        if len(rows) < wanted.limit:
            return
        wanted = lists.following(store.LISTING, wanted, rows[-1])


def _lines(rows: Sequence[AuditRow]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def _csv(rows: Sequence[AuditRow]) -> bytes:
    return _table([[_cell(value) for value in msgspec.structs.astuple(row)] for row in rows])


def _table(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: what somebody named a plan must not run at the auditor's."""
    if isinstance(value, Mapping):
        value = msgspec.json.encode(value).decode()
    if isinstance(value, datetime):
        value = value.isoformat()
    return cells.neutral(value) if isinstance(value, str) else value
