"""Routes: one handler with its path, permission and types, from which routing, validation and OpenAPI follow.

A handler's signature is its contract: after ``call`` it takes the path's placeholders by name, ``query`` (a struct whose fields are the
query parameters) and ``body`` (a struct, or ``Upload`` for a file); its return annotation is the answer's schema::

    @route("PATCH", "/plans/{id}", permission="plans:write", summary="Change a plan", action="plan.update")
    async def plan_update(call: Call, id: int, body: PlanPatch) -> Plan: ...
"""

import asyncio
import contextlib
import logging
import re
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from aiohttp import hdrs, web
from multidict import CIMultiDict

from netd.domain import audit
from netd.domain.actor import Actor
from netd.domain.conversion import faults, pointer
from netd.domain.imports import MAX_OCTETS
from netd.domain.lists import Filters, ListQuery, chosen
from netd.domain.software import IMAGE_OCTETS
from netd.errors import Fault, OutsideScope
from netd.model.permission import PERMISSIONS
from netd.sheets.converter import XLSX
from netd.web import codec
from netd.web.api import auth, idempotency
from netd.web.api.problem import INVALID, PRECONDITION_FAILED, REQUEST_TIMEOUT, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, Problem, problem_of_input
from netd.web.api.requests import REQUEST_ID
from netd.web.deps import WebDeps

log = logging.getLogger(__name__)

PREFIX = "/api/v1"
CSV = "text/csv"
BODY_OCTETS = 1 << 20
BODY_SECONDS = 30.0
LEAST_RATE = 8 << 10
"""Octets that a file must bring for each second beyond ``BODY_SECONDS`` in which its sender is waited for."""

_PLACEHOLDER = re.compile(r"{(\w+)}")
_ETAG = re.compile(r'"(\d{1,18})"')

Handler = Callable[..., Awaitable[Any]]
T = TypeVar("T")


class Empty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters at all."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A request body that is a table's file, read as it arrives."""

    request: web.Request
    media_types: ClassVar[tuple[str, ...]] = (CSV, XLSX)
    most_octets: ClassVar[int | None] = None  # None: MAX_OCTETS
    most_seconds: ClassVar[float] = 600.0

    async def chunks(self) -> AsyncIterator[bytes]:
        """The file's octets in pieces. Raises Problem 413 beyond what it may have, 408 if the sender stalls, is too slow or goes away."""
        received, waited = 0, 0.0  # for the sender only, however long is made of what came
        while True:
            began = time.monotonic()
            try:
                async with asyncio.timeout(min(BODY_SECONDS, self.most_seconds - waited)):
                    chunk = await self.request.content.readany()
            except TimeoutError:
                raise Problem(REQUEST_TIMEOUT) from None
            except ConnectionResetError:
                raise Problem(REQUEST_TIMEOUT, "the connection ended before the file did") from None
            if not chunk:
                return
            received += len(chunk)
            waited += time.monotonic() - began
            if received < LEAST_RATE * (waited - BODY_SECONDS):
                raise Problem(REQUEST_TIMEOUT, f"a file must come with {LEAST_RATE >> 10} KiB a second")
            most = MAX_OCTETS if self.most_octets is None else self.most_octets
            if received > most:
                raise Problem(TOO_LARGE, f"a file may have {most >> 20} MiB")
            yield chunk


class LinesUpload(Upload):
    """The same, of JSON objects, one a line."""

    __slots__ = ()
    media_types = ("application/x-ndjson",)


class FileUpload(Upload):
    """The same, of octets: a software image."""

    __slots__ = ()
    media_types = ("application/octet-stream",)
    most_octets = IMAGE_OCTETS
    most_seconds = 4 * 3600.0


UPLOADS = (Upload, LinesUpload, FileUpload)


@dataclass(frozen=True, slots=True)
class Download:
    """An answer that is a file, sent as it is made. What goes wrong before its first octets is answered as any other problem; later the connection is
    cut, so that nobody takes a part for the whole."""

    name: str
    media_type: str
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Redirect:
    """An answer that sends the browser elsewhere (302)."""

    location: str


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """An answer with another status than the route's: 200 where work was to be waited for and is done, say."""

    value: T
    status: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request on its way through a handler. ``if_match`` is the version that If-Match demands, None if any will do.

    ``answer_headers`` go out with the answer; of a public route the actor is ``anonymous``.
    """

    deps: WebDeps
    actor: Actor
    request: web.Request
    if_match: int | None
    answer_headers: CIMultiDict[str] = field(default_factory=CIMultiDict)


@dataclass(frozen=True, kw_only=True)
class Route:
    """One operation of the API. ``permission`` is what it needs; None: any valid token or session, or if ``public`` nothing at all. ``action`` is its
    name in the audit log, if it changes anything; such a refusal (403) is recorded."""

    method: str
    path: str  # below PREFIX
    permission: str | None
    summary: str
    status: int
    action: str
    handler: Handler
    placeholders: dict[str, Any] = field(default_factory=dict)
    query: type[msgspec.Struct] = Empty
    body: Any = None  # a struct type, Upload, or None
    returns: Any = None
    public: bool = False
    signed: bool = False
    stream: Handler | None = None  # answers instead where the client asks for a stream
    media_types: tuple[str, ...] = ()  # of a Download
    errors: tuple[int, ...] = ()  # statuses of problems that do not follow from the rest
    every_time: bool = False  # done, and recorded, each time it is asked for: an Idempotency-Key would show again what was seen once
    awaited: bool = False  # answers 200 where what it begins was waited for

    @property
    def takes_key(self) -> bool:
        """Whether an Idempotency-Key makes it happen once."""
        return self.method == "POST" and not self.public and not self.every_time and self.body not in UPLOADS

    @property
    def full_path(self) -> str:
        """The path as clients see it."""
        return PREFIX + self.path

    @property
    def pattern(self) -> str:
        """The path as aiohttp's router wants it: a numeric placeholder takes digits only, so fixed names beside it are free."""
        return PREFIX + _PLACEHOLDER.sub(lambda m: f"{{{m[1]}:[0-9]{{1,18}}}}" if self.placeholders[m[1]] is int else m[0], self.path)


def route(
    method: str, path: str, *, permission: str | None, summary: str, status: int = 200, action: str = "", query: Any = None,
    public: bool = False, signed: bool = False, stream: Handler | None = None, media_types: tuple[str, ...] = (),
    errors: tuple[int, ...] = (), every_time: bool = False,
) -> Callable[[Handler], Route]:  # fmt: skip
    """Make a Route of a handler; raises TypeError if its signature does not fit the path.

    ``query`` is the struct of a list's parameters, where it was made of a :class:`~netd.store.listing.Listing` (``lists.query_type``); the handler
    then takes a ``query: ListQuery``. A ``public`` route is for who has no token yet, and for pages of the own origin only; a
    ``signed`` one is for programs whose signature its handler checks, so that nothing can be guessed there: as many calls as with a token. ``stream``
    takes the same arguments and answers with an open response: Server-Sent Events for a client that accepts text/event-stream, a WebSocket for one
    that asks for the upgrade. ``errors`` are the statuses that it may answer besides those that every route of its kind may (``openapi.refusals``).
    """
    made = query

    def make(handler: Handler) -> Route:
        hints = get_type_hints(handler)
        returns = hints.pop("return")
        hints.pop("call")
        body = hints.pop("body", None)
        query = hints.pop("query", Empty)
        if issubclass(query, Filters) != (made is not None):
            raise TypeError(f"{handler.__name__}: a ListQuery goes with the route's query=, and that with a ListQuery")
        if (returns is Download) != bool(media_types):
            raise TypeError(f"{handler.__name__}: a Download goes with media_types=, and these with a Download")
        query = made or query
        if set(hints) != set(_PLACEHOLDER.findall(path)):
            raise TypeError(f"{handler.__name__}: parameters {sorted(hints)} are not the placeholders of {path}")
        for name, kind in (("query", query), ("body", body)):
            if kind not in (None, *UPLOADS) and not kind.__struct_config__.forbid_unknown_fields:
                raise TypeError(f"{handler.__name__}: {name} {kind.__name__} must forbid unknown fields")
        if permission is not None and permission not in PERMISSIONS:
            raise TypeError(f"{handler.__name__}: there is no permission {permission}")
        if (public or signed) and (permission is not None or not public):
            raise TypeError(f"{handler.__name__}: a public route cannot need a permission, and a signed one is public")
        if method != "GET" and not action:
            raise TypeError(f"{handler.__name__}: what changes something needs an action for the audit log")
        return Route(
            method=method,
            path=path,
            permission=permission,
            summary=summary,
            status=status,
            action=action,
            handler=handler,
            placeholders=hints,
            query=query,
            body=body,
            returns=None if returns is type(None) else get_args(returns)[0] if get_origin(returns) is Answered else returns,
            public=public,
            signed=signed,
            stream=stream,
            media_types=media_types,
            errors=errors,
            every_time=every_time,
            awaited=get_origin(returns) is Answered,
        )

    return make


def is_versioned(kind: Any) -> bool:
    """Whether values of this kind have an ETag: a struct with a ``version``."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct) and "version" in kind.__struct_fields__


class Place(NamedTuple):
    """What the table says of a path. ``versioned``: the object there has an ETag, so what changes or removes it takes If-Match. ``holds``: what is made
    there can be asked for at the path and its id."""

    versioned: bool
    holds: bool


def places(routes: Sequence[Route]) -> dict[str, Place]:
    """The place of every path."""
    shown = {each.path: each for each in routes if each.method == "GET"}
    holding = {path.rpartition("/")[0] for path in shown if path.endswith("}")}
    return {each.path: Place(each.path in shown and is_versioned(shown[each.path].returns), each.path in holding) for each in routes}


def log_failure(request: web.Request) -> None:
    """Log the defect that is being handled, with what finds its request again."""
    log.exception("%s %s failed (request %s)", request.method, request.path, request[REQUEST_ID])


def add_routes(app: web.Application, routes: Sequence[Route], deps: WebDeps) -> None:
    """Register every route with aiohttp."""
    known = places(routes)
    for each in routes:
        app.router.add_route(each.method, each.pattern, _aiohttp_handler(each, deps, known[each.path]))


def _aiohttp_handler(each: Route, deps: WebDeps, place: Place) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        if each.public:
            return await _answered(each, deps, request, auth.stranger(deps, request, signed=each.signed), place)
        actor = await auth.authenticate(deps, request)
        if each.permission is not None:
            allowed = actor.allowed(each.permission)
            if allowed is None:
                await refused(actor, request)
                raise auth.refusal(actor, each.permission)
            actor = allowed
        elif actor.own_subscriber_id is not None:
            raise auth.own_only(actor)
        key = idempotency.key_of(request) if each.takes_key else None
        try:
            if key is None:
                return await _answered(each, deps, request, actor, place)
            body = await _read(request)
            return await idempotency.once(deps, actor, request, secrets.token_hex(16), body, key, lambda marked: _answered(each, deps, request, marked, place))
        except OutsideScope:
            await refused(actor, request)
            raise

    async def refused(actor: Actor, request: web.Request) -> None:
        if each.action:
            await audit.refused(deps.database, actor, action=each.action, object_type="route", object_id=f"{each.method} {request.path}")

    return handle


async def _answered(each: Route, deps: WebDeps, request: web.Request, actor: Actor, place: Place) -> web.StreamResponse:
    """Let the handler do its work, and answer."""
    arguments = await _arguments(each, request)
    call = Call(deps=deps, actor=actor, request=request, if_match=_if_match(each, request, place.versioned))
    if each.stream is not None and ("text/event-stream" in request.headers.get(hdrs.ACCEPT, "") or is_upgrade(request)):
        opened: web.StreamResponse = await each.stream(call, **arguments)
        return opened
    fields = _fields(each, arguments)
    value = await each.handler(call, **arguments)
    if isinstance(value, Download):
        return await _download(request, value, call.answer_headers)
    if fields is not None:
        value = _narrowed(value, fields)
    if each.method != "GET":
        await deps.settled()
    return _answer(each, call, value, place)


async def _arguments(each: Route, request: web.Request) -> dict[str, Any]:
    """What the handler takes, validated. Raises Problem."""
    arguments: dict[str, Any] = {}
    for name, kind in each.placeholders.items():
        try:
            arguments[name] = msgspec.convert(request.match_info[name], kind, strict=False)
        except msgspec.ValidationError as error:
            raise Problem(INVALID, str(error), faults=[Fault(pointer(name), str(error))]) from None
    texts = _query_texts(request)
    try:
        query = codec.convert_text(texts, each.query)
    except msgspec.DecodeError as error:
        raise problem_of_input(error, faults(texts, each.query, strict=False)) from None
    if each.query is not Empty:
        arguments["query"] = query
    if each.body in UPLOADS:
        _demand_media_type(request, *each.body.media_types)
        arguments["body"] = each.body(request)
    elif each.body is not None:
        data = await _read(request) or b"{}"
        arguments["body"] = _body(data, each.body)
    return arguments


def _body(data: bytes, kind: Any) -> Any:
    """The body, validated. Raises Problem: 400 for what is not JSON at all, be it behind something that does not fit, 422 with all faults else."""
    try:
        try:
            return codec.decode(data, kind)
        except msgspec.ValidationError as error:
            raise problem_of_input(error, faults(codec.plain(data), kind)) from None
    except msgspec.DecodeError as error:
        raise problem_of_input(error) from None


def _fields(each: Route, arguments: dict[str, Any]) -> frozenset[str] | None:
    """The members of each row that a list's caller wants, None for all. Raises InvalidInput before anything is read for nothing."""
    query = arguments.get("query")
    if not isinstance(query, ListQuery) or query.fields is None:
        return None
    return chosen(query.fields, get_args(each.returns)[0])


def _narrowed(page: Any, names: frozenset[str]) -> dict[str, Any]:
    items = [{name: getattr(item, name) for name in item.__struct_fields__ if name in names} for item in page.items]
    return {"items": items, "next": page.next, **({} if page.total is None else {"total": page.total})}


def is_upgrade(request: web.Request) -> bool:
    """Whether the client wants a WebSocket."""
    return request.headers.get(hdrs.UPGRADE, "").lower() == "websocket"


def _query_texts(request: web.Request) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, text in request.query.items():
        if name in texts:
            raise Problem(INVALID, "a query parameter is given twice", faults=[Fault(pointer(name), "given twice")])
        texts[name] = text
    return texts


async def _read(request: web.Request) -> bytes:
    if request.can_read_body:
        _demand_media_type(request, "application/json")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except (TimeoutError, ConnectionResetError):  # the sender stalls, or went away before all was sent
        raise Problem(REQUEST_TIMEOUT) from None
    except web.HTTPRequestEntityTooLarge:
        raise Problem(TOO_LARGE, f"a body may have {BODY_OCTETS >> 20} MiB") from None


def _demand_media_type(request: web.Request, *wanted: str) -> None:
    if request.content_type not in wanted:
        raise Problem(UNSUPPORTED_MEDIA_TYPE, f"send Content-Type: {' or '.join(wanted)}", headers={"Accept": ", ".join(wanted)})


def _if_match(each: Route, request: web.Request, versioned: bool) -> int | None:
    """The version that the caller demands. A demand that cannot be looked at is refused, never passed over (RFC 9110 section 13.1.1)."""
    text = request.headers.get(hdrs.IF_MATCH)
    if text is None or text.strip() == "*":
        return None
    if not versioned:
        if each.method == "GET":
            return None
        raise Problem(PRECONDITION_FAILED, "nothing here has an ETag: send no If-Match")
    match = _ETAG.fullmatch(text.strip())
    if match is None:
        raise Problem(PRECONDITION_FAILED, "If-Match must be one ETag of this API")
    return int(match[1])


async def _download(request: web.Request, file: Download, headers: CIMultiDict[str]) -> web.StreamResponse:
    async with contextlib.aclosing(_opened(file.chunks)) as chunks:
        first = await anext(chunks, b"")  # before the status is told: most of what can go wrong does so here
        response = web.StreamResponse(headers=headers)
        response.content_type = file.media_type
        if file.media_type == CSV:
            response.charset = "utf-8"
        response.headers[hdrs.CONTENT_DISPOSITION] = f'attachment; filename="{file.name}"'
        await response.prepare(request)
        try:
            await response.write(first)
            async for chunk in chunks:
                await response.write(chunk)
            await response.write_eof()
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            log_failure(request)
            if request.transport is not None:
                request.transport.abort()
        return response


async def _opened(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


def _answer(each: Route, call: Call, value: object, place: Place) -> web.StreamResponse:
    """The value as JSON, with ETag for versioned objects and Location for a new one."""
    request, headers = call.request, call.answer_headers
    if isinstance(value, Redirect):
        return web.Response(status=302, headers=CIMultiDict([*headers.items(), (hdrs.LOCATION, value.location)]))
    status = each.status
    if isinstance(value, Answered):
        status, value = value.status, value.value
    version = getattr(value, "version", None)
    if isinstance(version, int):
        headers[hdrs.ETAG] = f'"{version}"'
        if each.method == "GET" and call.if_match not in (None, version):
            raise Problem(PRECONDITION_FAILED, f"it is at version {version}")
        if each.method == "GET" and request.headers.get(hdrs.IF_NONE_MATCH) == headers[hdrs.ETAG]:
            return web.Response(status=304, headers=headers)
    if status == 201 and place.holds and (number := _number(value)) is not None:
        headers[hdrs.LOCATION] = f"{request.path}/{number}"
    if each.returns is None:
        return web.Response(status=204, headers=headers)
    return web.Response(body=codec.encode(value), status=status, content_type="application/json", headers=headers)


def _number(value: object) -> int | None:
    """The id of what was made: the value's own, or that of the object in it, beside which a secret or first token stands."""
    inside = [getattr(value, name) for name in getattr(value, "__struct_fields__", ())]
    numbers = [getattr(each, "id", None) for each in (value, *inside)]
    return next((number for number in numbers if isinstance(number, int)), None)
