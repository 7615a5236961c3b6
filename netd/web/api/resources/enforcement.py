"""/radius/enforcement"""

from netd.domain import enforcement
from netd.domain.enforcement import WaveDecision
from netd.model.control import Enforcement
from netd.web.api.route import Call, route


@route("GET", "/radius/enforcement", permission="enforcement:read", summary="How live sessions, NAS queues and a held wave stand")
async def enforcement_show(call: Call) -> Enforcement:
    return enforcement.show(call.actor, call.deps.enforcement)


@route(
    "POST",
    "/radius/enforcement/confirm",
    permission="enforcement:confirm",
    summary="Disconnect or wall the sessions that are held",
    action="enforcement.confirm",
)
async def enforcement_confirm(call: Call, body: WaveDecision) -> Enforcement:
    return await enforcement.confirm(call.deps.database, call.actor, call.deps.enforcement, body)


@route(
    "POST",
    "/radius/enforcement/discard",
    permission="enforcement:confirm",
    summary="Leave the sessions that are held as they are",
    action="enforcement.discard",
)
async def enforcement_discard(call: Call, body: WaveDecision) -> Enforcement:
    return await enforcement.discard(call.deps.database, call.actor, call.deps.enforcement, body)


ROUTES = (enforcement_show, enforcement_confirm, enforcement_discard)
