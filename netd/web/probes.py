"""What is served without a token: liveness, readiness and metrics. None of it asks the database."""

import asyncio
from datetime import UTC, datetime
from typing import Literal

import msgspec
from aiohttp import web

from netd.domain.ports import Part
from netd.web import codec
from netd.web.deps import WebDeps

HealthState = Literal["ok", "degraded", "down"]


class PartReport(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the daemon, or an integration. ``since`` is when its state last changed, None if it never did; ``latency_seconds`` how long it took to
    answer when it was last looked at, None if it is not; ``last_error`` stays when it is over."""

    name: str
    state: HealthState
    critical: bool
    since: datetime | None
    latency_seconds: float | None
    last_error: str | None
    detail: str


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """``down``: a critical part is down. ``degraded``: anything else is not as it should be; the daemon does its main job."""

    state: HealthState
    parts: list[PartReport]


def report(parts: list[Part]) -> HealthReport:
    """The daemon's state as the sum of its parts'."""
    state: HealthState = "ok"
    if any(part.state == "down" and part.critical for part in parts):
        state = "down"
    elif any(part.state != "ok" for part in parts):
        state = "degraded"
    return HealthReport(state=state, parts=[_told(part) for part in parts])


def _told(part: Part) -> PartReport:
    since = datetime.fromtimestamp(part.since, UTC).replace(microsecond=0) if part.since else None
    return PartReport(
        name=part.name, state=part.state, critical=part.critical, since=since, latency_seconds=part.latency_seconds,
        last_error=part.last_error or None, detail=part.detail,
    )  # fmt: skip


def add_probes(app: web.Application, deps: WebDeps) -> None:
    """Register /health/live, /health/ready and /metrics."""

    async def live(request: web.Request) -> web.Response:
        return web.Response(body=codec.encode({"state": "ok"}), content_type="application/json")

    async def ready(request: web.Request) -> web.Response:
        answer = report(deps.health.parts())
        return web.Response(body=codec.encode(answer), status=503 if answer.state == "down" else 200, content_type="application/json")

    async def metrics(request: web.Request) -> web.Response:
        pieces, content_type = deps.metrics.pieces(request.headers.get("Accept", ""))
        body = bytearray()
        for piece in pieces:
            body += piece
            await asyncio.sleep(0)
        return web.Response(body=bytes(body), headers={"Content-Type": content_type})

    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)
    app.router.add_get("/metrics", metrics)
