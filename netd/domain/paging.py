"""Lists in pages, by key: a page begins behind the last row of the one before, so rows that come or go shift nothing."""

from typing import Generic, Protocol, TypeVar

import msgspec


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
