"""/events: as a page, as Server-Sent Events, or over a WebSocket; each takes the id of the last event seen and goes on behind it."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from netd.domain import events
from netd.domain.events import Events
from netd.errors import Fault
from netd.model.event import TYPES, Event, Place, place
from netd.web.api import auth, streaming
from netd.web.api.problem import INVALID, TOO_MANY, Problem
from netd.web.api.route import Call, is_upgrade, route

CHECK_SECONDS: Final = 30.0
"""How often a listener is looked at whose token may be revoked, or have lost the permission; what was found out lately counts (``Listeners``)."""

WISH_SECONDS: Final = 86_400.0
"""How often a listener says again that it wants events of sessions."""

MOST_LISTENERS: Final = 2000


class EventQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events: of these types, separated by commas (``quota.*`` is all of that kind), behind the one with the id ``after``.

    A page without ``after`` begins with the oldest that is kept; a stream without it (or Last-Event-ID) with what happens from now on.
    """

    types: Annotated[str, Meta(max_length=1000)] | None = None
    after: Annotated[str, Meta(max_length=64)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class EventTypes(msgspec.Struct, frozen=True, kw_only=True):
    """Every type of event there is."""

    items: tuple[str, ...]
    next: None = None


def _types(text: str | None) -> tuple[str, ...]:
    wanted = tuple(each.strip() for each in (text or "").split(",") if each.strip())
    kinds = {f"{each.partition('.')[0]}.*" for each in TYPES}
    strange = [each for each in wanted if each not in TYPES and each not in kinds]
    if strange:
        raise Problem(INVALID, f"there are no events {', '.join(strange)}", faults=[Fault("/types", f"there is no {each}") for each in strange])
    return wanted


async def _stream(call: Call, query: EventQuery) -> web.StreamResponse:
    """The open response of a listener."""
    types = _types(query.types)
    text = call.request.headers.get("Last-Event-ID") or query.after
    try:
        after = None if text is None else place(text)
    except ValueError as error:
        raise Problem(INVALID, str(error), faults=[Fault("/after", str(error))]) from None
    if len(call.deps.stream) >= MOST_LISTENERS:
        raise Problem(TOO_MANY, f"{MOST_LISTENERS} listen already", headers={"Retry-After": "30"})
    await _wish(call, types)
    if after is None:  # before the answer begins: whoever sees that goes on to do things, and expects to be told of them
        after = await call.deps.stream.now()
    if is_upgrade(call.request):
        return await streaming.websocket(call.request, _batches(call, types, after))
    return await streaming.sse(call.request, _batches(call, types, after), _named, call.deps.listeners.encoded)


async def _wish(call: Call, types: tuple[str, ...]) -> None:
    """Who asks for events of sessions has them from here on: the engine knows before the answer begins."""
    if await events.wish(call.deps.database, call.actor, types, call.deps.now()):
        await call.deps.settled()


async def _batches(call: Call, types: tuple[str, ...], after: Place) -> AsyncIterator[list[Event] | None]:
    """What a listener is sent, as long as its token is good and may see it."""
    loop = asyncio.get_running_loop()
    checked = wished = loop.time()
    still = partial(auth.still_allows, call.deps, call.actor, "events:read")
    async for batch in call.deps.stream.follow(call.actor, types, after, streaming.IDLE_SECONDS):
        if loop.time() - checked >= CHECK_SECONDS:
            checked = loop.time()
            if not await call.deps.listeners.allowed((call.actor.caller, call.actor.session_hash, call.actor.scope), checked, still):
                return
            if checked - wished >= WISH_SECONDS:
                wished = checked
                await events.wish(call.deps.database, call.actor, types, call.deps.now())
        yield batch


def _named(event: Event) -> tuple[str, str]:
    return event.id, event.type


@route(
    "GET", "/events", permission="events:read", stream=_stream,
    summary="What happened, in order; as Server-Sent Events for who accepts text/event-stream, over a WebSocket for who asks for one",
)  # fmt: skip
async def event_list(call: Call, query: EventQuery) -> Events:
    types = _types(query.types)
    await _wish(call, types)
    return await events.page(call.deps.database, call.actor, query.after, query.limit, types)


@route("GET", "/events/types", permission=None, summary="Every type of event there is")
async def event_types(call: Call) -> EventTypes:
    return EventTypes(items=TYPES)


ROUTES = (event_list, event_types)
