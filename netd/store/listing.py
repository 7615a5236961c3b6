"""Lists that can be filtered and sorted: a table says once which columns callers may name, and every list is asked for in the same way.

A page begins behind the sort key of the last row of the page before (a keyset), so it costs the same at the end of a list as at its beginning.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from netd.store import rows
from netd.store.database import Connection

Op = Literal["eq", "ne", "in", "gt", "gte", "lt", "lte", "begins", "contains", "null"]

_ORDERED: Final[tuple[Op, ...]] = ("eq", "in", "gt", "gte", "lt", "lte")
_SQL: Final[dict[Op, str]] = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """What callers may name: ``sql`` is an expression over the list's tables, ``kind`` the type of its values.

    ``sortable`` only where it is never null: a keyset cannot step over nulls. ``fold``, or in SQL ``param``, brings a text into the form that
    ``sql`` has. ``holds`` is a condition of its own form, with ``{0}`` for the value, in place of a comparison with ``sql``.
    """

    sql: str
    kind: Any = str  # str, int, bool, datetime, or a Literal of texts
    cast: str = ""  # PostgreSQL's type of a parameter, where it must be told
    sortable: bool = False
    nullable: bool = False
    fold: Callable[[str], str] | None = None
    param: str = "{}"
    holds: str = ""

    @property
    def ops(self) -> tuple[Op, ...]:
        """How it can be compared."""
        if self.kind is bool or self.holds:
            ops: tuple[Op, ...] = ("eq",)
        elif self.kind is int or self.kind is datetime:
            ops = _ORDERED
        elif self.kind is str and not self.cast:
            ops = ("eq", "in", "begins", "contains")
        else:
            ops = ("eq", "ne", "in")
        return (*ops, "null") if self.nullable else ops


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A list: ``select`` without its conditions, the tenant's column, and what it may be asked by. ``search`` is a condition with one ``{}``.

    ``within`` are columns that the path says, not the query; ``order`` is how it is sorted when nobody says, before the id.
    """

    kind: str
    select: str
    counted: str  # what is counted: the table, with joins that conditions need
    tenant: str
    columns: Mapping[str, Column]
    id: str
    within: Mapping[str, Column] = {}
    order: tuple["Sort", ...] = ()
    descending: bool = False  # whether the id goes down when nobody says how it is sorted
    search: str = ""
    search_fold: Callable[[str], str] = str.lower


class Condition(msgspec.Struct, frozen=True):
    """One of the conditions, all of which must hold."""

    column: str
    op: Op
    value: Any


class Sort(msgspec.Struct, frozen=True):
    """A part of the sort key. The column "" is the id, by which every order ends."""

    column: str
    descending: bool = False


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows, in which order, and behind which: ``after`` has a value per part of ``sort``, then the id."""

    conditions: tuple[Condition, ...] = ()
    search: str | None = None
    sort: tuple[Sort, ...] = ()
    after: tuple[Any, ...] | None = None
    limit: int = 100


EVERY_TENANT: Final = "$1::bigint"
"""In place of a tenant's column: a list of the owner's, which no tenant confines."""


def where_of(listing: Listing, tenant_id: int, selection: Selection) -> rows.Where:
    """The conditions of a selection but for the place of its page."""
    where = rows.Where(tenant_id, listing.tenant)
    for condition in selection.conditions:
        _add(where, listing.columns.get(condition.column) or listing.within[condition.column], condition)
    if selection.search is not None and listing.search:
        where.add(listing.search, f"%{_escaped(listing.search_fold(selection.search))}%")
    return where


def _escaped(text: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", rows.storable(text) or "")


def _add(where: rows.Where, column: Column, condition: Condition) -> None:
    value, op = condition.value, condition.op
    if op == "null":
        where.terms.append(f"{column.sql} is {'' if value else 'not '}null")
        return
    if column.fold is not None:
        value = [column.fold(each) for each in value] if op == "in" else column.fold(value)
    value = [_storable(each) for each in value] if op == "in" else _storable(value)
    if column.holds:
        where.add(column.holds, value)
        return
    cast = f"::{column.cast}" if column.cast else ""
    if op == "in" and column.param != "{}":
        where.terms.append(f"{column.sql} in (select {column.param.format('x')} from unnest({where.place(value)}::text[]) as x)")
    elif op == "in":
        where.add(f"{column.sql} = any({{}}{f'::{column.cast}[]' if column.cast else ''})", value)
    elif op in ("begins", "contains"):
        pattern = where.place(f"{'%' if op == 'contains' else ''}{_escaped(str(value))}%")
        where.terms.append(f"{column.sql} like {column.param.format(pattern + '::text')}")
    else:
        where.terms.append(f"{column.sql} {_SQL[op]} {column.param.format(where.place(value) + cast)}")


def _storable(value: Any) -> Any:
    return rows.storable(value) if isinstance(value, str) else value


def _keys(listing: Listing, selection: Selection) -> list[tuple[str, bool, str]]:
    """The parts of the sort key: expression, whether it goes down, and the form of a value to compare it with."""
    named = [(listing.columns[part.column], part.descending) for part in selection.sort if part.column]
    keys = [(column.sql, descending, column.param) for column, descending in named]
    last = selection.sort[-1].descending if selection.sort else listing.descending
    return [*keys, (listing.id, last, "{}")]


def _behind(where: rows.Where, keys: Sequence[tuple[str, bool, str]], after: Sequence[Any]) -> None:
    """The condition for rows behind ``after``; in one direction as a comparison of rows, which an index serves."""
    places = [param.format(where.place(_storable(value))) for value, (_, _, param) in zip(after, keys, strict=True)]
    if len({descending for _, descending, _ in keys}) == 1:
        names = ", ".join(sql for sql, _, _ in keys)
        where.terms.append(f"({names}) {'<' if keys[0][1] else '>'} ({', '.join(places)})")
        return
    either = []
    for number, (sql, descending, _) in enumerate(keys):
        same = [f"{keys[n][0]} = {places[n]}" for n in range(number)]
        either.append(" and ".join([*same, f"{sql} {'<' if descending else '>'} {places[number]}"]))
    where.terms.append("(" + " or ".join(f"({each})" for each in either) + ")")


def place_page(where: rows.Where, listing: Listing, selection: Selection) -> str:
    """Confine ``where`` to what is behind the page before; returns what to order by."""
    keys = _keys(listing, selection)
    if selection.after is not None:
        _behind(where, keys, selection.after)
    return ", ".join(f"{sql} {'desc' if descending else 'asc'}" for sql, descending, _ in keys)


async def page(conn: Connection, listing: Listing, tenant_id: int, selection: Selection) -> list[Mapping[str, Any]]:
    """The records of the page."""
    where = where_of(listing, tenant_id, selection)
    order = place_page(where, listing, selection)
    limit = where.place(selection.limit)
    found: list[Mapping[str, Any]] = await conn.fetch(f"{listing.select} where {where} order by {order} limit {limit}", *where.args)
    return found


async def count(conn: Connection, listing: Listing, tenant_id: int, selection: Selection) -> int:
    """How many rows there are, whatever the page."""
    where = where_of(listing, tenant_id, selection)
    return int(await conn.fetchval(f"select count(*) from {listing.counted} where {where}", *where.args))
