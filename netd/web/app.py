"""The HTTP application and its server."""

import re
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Middleware

from netd.web import browser, codec, exposition, probes
from netd.web.api import openapi, resources
from netd.web.api.problem import INTERNAL, Problem, problem_of
from netd.web.api.requests import ADDRESS, REQUEST_ID
from netd.web.api.route import BODY_OCTETS, add_routes, log_failure
from netd.web.deps import WebDeps
from netd.web.reference import add_reference

SHUTDOWN_SECONDS = 10.0
LINE_OCTETS = 65_536
"""How long a request line may be: a list's filters have up to 8,000 characters each, and aiohttp refuses longer lines before it knows whose they are."""
_REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_app(deps: WebDeps) -> web.Application:
    """The application with every route; nothing listens yet."""
    app = web.Application(middlewares=[_boundary(deps)], client_max_size=BODY_OCTETS)
    app.on_response_prepare.append(_common_headers)

    async def end_streams(_: web.Application) -> None:
        deps.stream.close()
        deps.watch.close()

    app.on_shutdown.append(end_streams)
    add_routes(app, resources.ROUTES, deps)
    probes.add_probes(app, deps)
    exposition.add_exposition(app, deps)
    document = openapi.document(resources.ROUTES)
    described = codec.encode(document)

    async def describe(request: web.Request) -> web.Response:
        return web.Response(body=described, content_type="application/json")

    app.router.add_get("/api/openapi.json", describe)
    add_reference(app, document)
    return app


def _boundary(deps: WebDeps) -> Middleware:
    """Name the request and its caller's address, and turn whatever goes wrong into a problem document; the barrier of the HTTP side."""

    @web.middleware
    async def boundary(request: web.Request, handler: _Handler) -> web.StreamResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = request[REQUEST_ID] = given if _REQUEST_ID_FORM.fullmatch(given) else secrets.token_hex(8)
        request[ADDRESS] = browser.address(request.remote, request.headers.getall("X-Forwarded-For", []), deps.trusted_proxies) or ""
        try:
            return await handler(request)
        except Exception as error:
            return _problem(error, request).answer(request.path, request_id)

    return boundary


def _problem(error: Exception, request: web.Request) -> Problem:
    """A function of its own: a problem is in the traceback of the frame that caught it, and that must not hold it, else only the collector frees both."""
    problem = problem_of(error)
    if problem is None:
        log_failure(request)
        problem = Problem(INTERNAL, "the log tells more under this request id")
    return problem


async def _common_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "netd"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if request.path.startswith("/api/"):
        response.headers["Cache-Control"] = "no-store"
    request_id = request.get(REQUEST_ID)
    if request_id is not None:
        response.headers["X-Request-ID"] = request_id


@dataclass(frozen=True, slots=True)
class Listening:
    """A server that accepts connections; ``port`` is the real one if 0 was asked for."""

    address: str
    port: int

    @property
    def url(self) -> str:
        """Where a client on this machine reaches it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.address, self.address)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


@asynccontextmanager
async def serve(app: web.Application, listener: socket.socket) -> AsyncIterator[Listening]:
    """Serve ``app`` on a listening socket while the context lasts; on leaving, requests in work get ten seconds."""
    address, port = listener.getsockname()[:2]
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, max_line_size=LINE_OCTETS)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield Listening(address, port)
    finally:
        await runner.cleanup()
