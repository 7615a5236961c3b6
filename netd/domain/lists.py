"""Lists as callers ask for them: filters by column and comparison, a search word, an order, a page.

A column ``created_at`` of a :class:`~netd.store.listing.Listing` is asked for as ``created_at=``, ``created_at__gte=``, ``created_at__in=a,b`` …;
``sort=-created_at,username`` sorts, ``fields=id,username`` leaves the rest out of the answer.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from netd.domain import conversion
from netd.domain.inputs import Faults
from netd.domain.paging import Identified, Page
from netd.errors import InvalidInput
from netd.store import listing as store
from netd.store.database import Connection
from netd.store.listing import Column, Condition, Listing, Op, Selection, Sort

T = TypeVar("T", bound=Identified)

MOST_VALUES = 200
MOST_SORTS = 3
PART_ROWS = 250
"""Rows of an export that are read at a time."""
RowId = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
RESERVED = frozenset(("limit", "after", "count", "sort", "fields", "q", "format", "secrets"))


class Filters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every query of a list has, beside the comparisons with its columns."""

    sort: str | None = None


class ExportQuery(Filters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All rows of a list, in which order and as what file. ``secrets`` asks for passwords and shared secrets, too, which is put on record."""

    format: Literal["csv", "xlsx"] = "csv"
    secrets: bool = False


class ListQuery(Filters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which page of a list, in which order, and of each row what. ``after`` is a cursor from ``Page.next``; ``count`` asks for the total as well."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    after: Annotated[str, Meta(max_length=1000)] | None = None
    count: bool = False
    fields: Annotated[str, Meta(max_length=2000, description="only these members of each row, separated by commas")] | None = None


def parameter(name: str, op: Op) -> str:
    """The query parameter that compares a column."""
    return name if op == "eq" else f"{name}__{op}"


def query_type(listing: Listing, base: type[Filters] = ListQuery) -> Any:
    """The struct of a list's query parameters, made at run time. ``base`` has those that are no columns."""
    fields: list[tuple[str, Any, Any]] = []
    if listing.search:
        fields.append(("q", Annotated[str, Meta(min_length=1, max_length=253, description="a word to look for")] | None, None))
    for name, column in listing.columns.items():
        if name in RESERVED:
            raise ValueError(f"{listing.kind}: a column cannot be named {name}")
        fields += [(parameter(name, op), _type(column, op) | None, None) for op in column.ops]
    able = ", ".join(_sortable(listing))
    fields.append(("sort", Annotated[str, Meta(max_length=200, description=f"names separated by commas, - before one for descending: {able}")] | None, None))
    title = "".join(word.capitalize() for word in listing.kind.split("_")) + ("Query" if issubclass(base, ListQuery) else "Export")
    made = msgspec.defstruct(title, fields, bases=(base,), frozen=True, kw_only=True, forbid_unknown_fields=True)
    made.__doc__ = f"Which {listing.kind.replace('_', ' ')}s: all that is given must hold."
    return made


def _type(column: Column, op: Op) -> Any:
    if op == "null":
        return bool
    if op == "in":
        return Annotated[str, Meta(max_length=8000, description="values separated by commas")]
    return _value_type(column)


def _value_type(column: Column) -> Any:
    """One value as PostgreSQL can hold it."""
    if column.kind is datetime:
        return Annotated[datetime, Meta(tz=True)]
    if column.kind is int:
        bits = 31 if column.cast == "integer" else 63
        return Annotated[int, Meta(ge=-(2**bits), le=2**bits - 1)]
    if column.kind is str:
        return Annotated[str, Meta(max_length=253)]
    return column.kind


def selection(
    listing: Listing, query: Filters, *, parse: Mapping[str, Callable[[str], Any]] | None = None, within: Mapping[str, Any] | None = None,
) -> Selection:  # fmt: skip
    """What the store is asked for. ``parse`` turns texts of some columns into values, ``within`` has those of columns that the path says.
    Raises InvalidInput."""
    faults = Faults()
    conditions = [Condition(name, "eq", value) for name, value in (within or {}).items()]
    for name, column in listing.columns.items():
        for op in column.ops:
            given = getattr(query, parameter(name, op))
            if given is not None:
                value = _value(faults, parameter(name, op), column, op, given, (parse or {}).get(name))
                conditions.append(Condition(name, op, value))
    sort = _sort(faults, listing, query.sort) or listing.order
    after = _after(faults, listing, sort, query.after) if isinstance(query, ListQuery) and query.after is not None else None
    faults.check()
    search = getattr(query, "q", None)
    return Selection(conditions=tuple(conditions), search=search, sort=sort, after=after, limit=query.limit + 1 if isinstance(query, ListQuery) else PART_ROWS)


def _value(faults: Faults, where: str, column: Column, op: Op, given: Any, parse: Callable[[str], Any] | None) -> Any:
    if op == "null":
        return given
    if op != "in":
        return given if parse is None else faults.attempt(f"/{where}", parse, given)
    texts = [text.strip() for text in given.split(",")]
    if len(texts) > MOST_VALUES:
        faults.add(f"/{where}", f"has more than {MOST_VALUES} values")
    if parse is not None:
        return [faults.attempt(f"/{where}", parse, text) for text in texts]
    kind = _value_type(column)
    values = []
    for text in texts:
        if wrong := conversion.faults(text, kind, strict=False):
            faults.add(f"/{where}", wrong[0].what)
        else:
            values.append(conversion.convert(text, kind, strict=False))
    return values


def _sortable(listing: Listing) -> list[str]:
    return ["id", *(name for name, column in listing.columns.items() if column.sortable and name != "id")]


def _sort(faults: Faults, listing: Listing, text: str | None) -> tuple[Sort, ...]:
    parts = []
    for part in (text or "").split(","):
        name = part.strip()
        if not name:
            continue
        descending, name = name.startswith("-"), name.removeprefix("-")
        if name == "id":
            name = ""
        elif name not in listing.columns or not listing.columns[name].sortable:
            faults.add("/sort", f"cannot sort by {name}; there are {', '.join(_sortable(listing))}")
            continue
        parts.append(Sort(name, descending))
    if len(parts) > MOST_SORTS:
        faults.add("/sort", f"has more than {MOST_SORTS} names")
    if any(not part.column for part in parts[:-1]):
        faults.add("/sort", "nothing is left to sort behind id, which no two rows share")
    return tuple(parts)


def _cursor(listing: Listing, sort: Sequence[Sort], key: Sequence[Any]) -> str:
    data = msgspec.json.encode([listing.kind, [(part.column, part.descending) for part in sort], key], enc_hook=str)
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _after(faults: Faults, listing: Listing, sort: Sequence[Sort], text: str) -> tuple[Any, ...] | None:
    """The sort key in a cursor. One of another list or order is refused: it would show some rows twice and others never."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        kind, by, key = msgspec.json.decode(raw, type=tuple[str, list[tuple[str, bool]], list[Any]])
        if kind != listing.kind:
            raise ValueError
        if by != [(part.column, part.descending) for part in sort]:
            faults.add("/after", "is of the same list in another order")
            return None
        kinds = [*(_value_type(listing.columns[part.column]) for part in sort if part.column), RowId]
        return tuple(conversion.convert(value, each) for value, each in zip(key, kinds, strict=True))
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        faults.add("/after", "not a cursor of this list; take it from `next` as it stands")
        return None


async def page(
    conn: Connection, listing: Listing, tenant_id: int, query: ListQuery,
    make: Callable[[Sequence[Mapping[str, Any]]], Sequence[T] | Awaitable[Sequence[T]]], wanted: Selection | None = None,
) -> Page[T]:  # fmt: skip
    """One page, its rows made by ``make``. Raises InvalidInput for what the query asks wrongly."""
    wanted = selection(listing, query) if wanted is None else wanted
    records = await store.page(conn, listing, tenant_id, wanted)
    made = make(records)
    items = await made if isinstance(made, Awaitable) else made
    total = await store.count(conn, listing, tenant_id, wanted) if query.count else None
    return paged(listing, query, wanted, items, total)


def paged(listing: Listing, query: ListQuery, wanted: Selection, found: Sequence[T], total: int | None) -> Page[T]:
    """The page of what was found with a limit of one more than the page's."""
    items = tuple(found[: query.limit])
    after = _cursor(listing, wanted.sort, _key(listing, wanted, items[-1])) if len(found) > query.limit else None
    return Page(items=items, next=after, total=total)


def following(listing: Listing, wanted: Selection, item: Any) -> Selection:
    """The same, of what comes behind ``item``."""
    return msgspec.structs.replace(wanted, after=tuple(_key(listing, wanted, item)))


def _key(listing: Listing, wanted: Selection, item: Any) -> list[Any]:
    """The sort key of an item: its members of the names sorted by, and its id."""
    key = []
    for part in wanted.sort:
        if part.column:
            found, fold = getattr(item, part.column), listing.columns[part.column].fold
            key.append(fold(found) if fold is not None and isinstance(found, str) else found)
    return [*key, item.id]


def chosen(text: str | None, kind: type[msgspec.Struct]) -> frozenset[str] | None:
    """The members that ``fields=`` asks for; None: all. Raises InvalidInput for one that ``kind`` does not have."""
    if text is None:
        return None
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    strange = sorted(names - set(kind.__struct_fields__))
    faults = Faults()
    for name in strange:
        faults.add("/fields", f"there is no {name}; there are {', '.join(kind.__struct_fields__)}")
    if strange:
        raise InvalidInput(faults.found)
    return names
