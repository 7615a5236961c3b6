"""The events of a tenant: a page of them, or, as they come, through :class:`Stream`."""

import asyncio
import logging
from bisect import bisect_right
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

import msgspec

from netd.domain.actor import Actor
from netd.domain.inputs import Faults
from netd.errors import StoreError
from netd.model.event import OF_SESSIONS, Event, Place, matches, place
from netd.store import events as store
from netd.store import tellings
from netd.store.database import Database
from netd.store.events import Kept

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.2
RETRY_SECONDS: Final = 1.0
RING: Final = 10_000
"""Events kept in memory for those who are nearly up to date; the others read the database."""

PAGE: Final = 1000
SLICE: Final = 50
"""Listeners that are woken before packets get their turn."""


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """Some events in their order. ``next`` is the id to go on behind, also where nothing came."""

    items: tuple[Event, ...]
    next: str


async def page(db: Database, actor: Actor, after: str | None, limit: int, types: tuple[str, ...]) -> Events:
    """The events behind the one named by ``after`` (None: from the first that is kept). Raises InvalidInput for what is no event's id."""
    faults = Faults()
    begin = faults.attempt("/after", place, after) or Place(0, 0)
    faults.check()
    async with db.transaction(actor.scope) as conn:
        found = await store.page(conn, actor.tenant_id, begin, limit, types)
    return Events(items=tuple(kept.event for kept in found), next=str(found[-1].place if found else begin))


async def wish(db: Database, actor: Actor, types: tuple[str, ...], now: datetime) -> bool:
    """Have events of sessions written from now on, if ``types`` are asked for that are; whether that was not so already."""
    if not any(matches(each, types) for each in OF_SESSIONS):
        return False
    async with db.transaction(actor.scope) as conn:
        return await tellings.wish(conn, actor.tenant_id, now)


def visible(actor: Actor, kept: Kept) -> bool:
    """Whether the actor may see the event: what the database's policies say, for events that come from memory."""
    if kept.tenant_id != actor.tenant_id:
        return False
    if actor.subscriber_id is not None:
        return kept.event.subscriber_id == actor.subscriber_id
    return actor.sites is None or kept.event.site_id in actor.sites


class Listener:
    """Somebody who follows the stream; ``place`` is how far."""

    def __init__(self, actor: Actor, types: tuple[str, ...], at: Place) -> None:
        self.actor = actor
        self.types = types
        self.place = at
        self.woken = asyncio.Event()


class Stream:
    """Events as they come, to any number of listeners: read once per node, and only while anybody listens."""

    def __init__(self, owner: Database, confined: Database) -> None:
        self._owner = owner  # reads the events of all tenants; what a listener may see of them is judged here
        self._confined = confined
        self._ring: list[Kept] = []
        self._floor: Place | None = None  # the ring holds all that lies behind it
        self._end = Place(0, 0)  # how far the stream was read
        self._listeners: set[Listener] = set()
        self._wanted = asyncio.Event()
        self._closed = False
        self.delivered = 0

    def __len__(self) -> int:
        return len(self._listeners)

    def close(self) -> None:
        """End every listener's stream."""
        self._closed = True
        for listener in self._listeners:
            listener.woken.set()

    async def run(self) -> None:
        """Read on while somebody listens, for ever."""
        while True:
            if not self._listeners:
                self._floor = None  # what comes meanwhile is not in the ring
                self._ring.clear()
                self._wanted.clear()
                await self._wanted.wait()
            try:
                more = await self._read()
            except StoreError as error:
                log.warning("events not read", extra={"error": str(error)})
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if not more:
                await asyncio.sleep(POLL_SECONDS)

    async def _read(self) -> bool:
        """Read what is new; whether there may be more at once."""
        async with self._owner.acquire() as conn:
            if self._floor is None:
                self._floor = self._end = await store.end(conn)
                await self._wake()
            found = await store.behind(conn, self._end, PAGE)
        if not found:
            return False
        self._ring += found
        if len(self._ring) > 2 * RING:  # what falls out at the front moves the floor
            self._floor = self._ring[-RING - 1].place
            del self._ring[:-RING]
        self._end = found[-1].place
        await self._wake()
        return len(found) == PAGE

    async def _wake(self) -> None:
        for number, listener in enumerate(list(self._listeners)):
            listener.woken.set()
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)

    async def now(self) -> Place:
        """Behind which place there is only what happens from now on. Raises StoreError."""
        async with self._owner.acquire() as conn:
            return await store.end(conn)

    async def follow(self, actor: Actor, types: tuple[str, ...], after: Place, idle_seconds: float) -> AsyncIterator[list[Event]]:
        """Events behind ``after``, in batches, each once and in order; an empty batch after ``idle_seconds`` without any.

        Ends when the stream is closed. Raises StoreError if the database is away while the listener catches up.
        """
        listener = Listener(actor, types, after)
        self._listeners.add(listener)
        self._wanted.set()
        try:
            while not self._closed:
                listener.woken.clear()
                batch = await self._next(listener)
                if batch:
                    self.delivered += len(batch)
                    yield batch
                    continue
                try:
                    async with asyncio.timeout(idle_seconds):
                        await listener.woken.wait()
                except TimeoutError:
                    yield []
        finally:
            self._listeners.discard(listener)

    async def _next(self, listener: Listener) -> list[Event]:
        """What lies behind the listener's place, and move it there: from memory if that reaches back so far, else from the database."""
        if self._floor is not None and listener.place >= self._floor:
            news = self._ring[bisect_right(self._ring, listener.place, key=lambda kept: kept.place) :]
            listener.place = max(listener.place, self._end)
            return [kept.event for kept in news if matches(kept.event.type, listener.types) and visible(listener.actor, kept)]
        end = self._end if self._floor is not None else None  # whatever was read up to here is seen by the query below, too
        async with self._confined.transaction(listener.actor.scope) as conn:
            found = await store.page(conn, listener.actor.tenant_id, listener.place, PAGE, listener.types)
        if found:
            listener.place = found[-1].place
        if len(found) < PAGE and end is not None:
            listener.place = max(listener.place, end)
            listener.woken.set()  # what the ring holds behind it
        return [kept.event for kept in found]
