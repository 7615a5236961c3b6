"""/health: every part and integration, with what /health/ready does not tell everybody."""

from datetime import UTC, datetime
from typing import Literal

import msgspec

from netd.web import probes
from netd.web.api.route import Call, route


class PartHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the daemon, or an integration. ``since`` is when its state last changed, None if it never did; ``latency_seconds`` how long it took to
    answer when it was last looked at; ``last_error`` stays when it is over. A ``critical`` one that is down makes the daemon not ready."""

    name: str
    state: Literal["ok", "degraded", "down"]
    critical: bool
    since: datetime | None
    latency_seconds: float | None
    last_error: str | None
    detail: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """``down``: a critical part is down. ``degraded``: anything else is not as it should be."""

    state: Literal["ok", "degraded", "down"]
    parts: tuple[PartHealth, ...]


@route("GET", "/health", permission="health:read", summary="Every part of netd and every integration: state, latency, since when, last error")
async def health_show(call: Call) -> Health:
    parts = call.deps.health.parts()
    return Health(
        state=probes.report(parts).state,
        parts=tuple(
            PartHealth(
                name=part.name, state=part.state, critical=part.critical, since=datetime.fromtimestamp(part.since, UTC) if part.since else None,
                latency_seconds=part.latency_seconds, last_error=part.last_error or None, detail=part.detail,
            )
            for part in parts
        ),
    )  # fmt: skip


ROUTES = (health_show,)
