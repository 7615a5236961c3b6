"""Lists in pages, by key: a page begins after the last id of the one before, so rows that come or go shift nothing."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Generic, Protocol, TypeVar

import msgspec
from msgspec import Meta

from netd.domain.inputs import ROW_ID_MAX
from netd.errors import Fault, InvalidInput


class Identified(Protocol):
    """Whatever has an id."""

    @property
    def id(self) -> int: ...


T = TypeVar("T", bound=Identified)


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True, omit_defaults=True):
    """Some of a list. ``next`` is the cursor of the page after it, None at the end; ``total`` counts all, where asked for."""

    items: tuple[T, ...]
    next: str | None
    total: int | None = None


class PageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which page: ``after`` is a cursor from ``Page.next``; ``count`` asks for the total as well."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    after: Annotated[str, Meta(max_length=100)] | None = None
    count: bool = False


def cursor(kind: str, row_id: int) -> str:
    """The cursor behind the row ``row_id`` of a list of ``kind``; opaque to callers."""
    return base64.urlsafe_b64encode(f"{kind}:{row_id}".encode()).decode().rstrip("=")


def position(query: PageQuery, kind: str) -> int | None:
    """The id that the page begins after, None for the first. Raises InvalidInput for what is no cursor of such a list."""
    if query.after is None:
        return None
    try:
        text = base64.b64decode(query.after + "=" * (-len(query.after) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    found, _, number = text.partition(":")
    if found != kind or not (number.isascii() and number.isdecimal()) or int(number) > ROW_ID_MAX:
        raise InvalidInput([Fault("/after", "not a cursor of this list; take it from `next` as it stands")])
    return int(number)


def page(rows: Sequence[T], query: PageQuery, kind: str, total: int | None) -> Page[T]:
    """The page of ``rows``, which were asked for with a limit of one more than the page's."""
    items = tuple(rows[: query.limit])
    more = len(rows) > query.limit
    return Page(items=items, next=cursor(kind, items[-1].id) if more else None, total=total)
