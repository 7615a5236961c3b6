"""/metrics/devices: devices' values for Prometheus, a device or a group at a time, and which targets there are (HTTP service discovery).

Unlike /metrics, which is about netd itself and needs no token, these are a tenant's and need one with ``devices:read``; a token of a site sees that site's.
"""

from typing import Any, Final

from aiohttp import web

from netd.domain import devices, exposition
from netd.domain.actor import Actor
from netd.domain.imports import Slices
from netd.errors import Fault, InvalidInput
from netd.model.inventory import Selector
from netd.store import devices as store
from netd.web import codec
from netd.web.api import auth
from netd.web.deps import WebDeps

PATH: Final = "/metrics/devices"
PERMISSION: Final = "devices:read"
MOST_DEVICES: Final = 100


async def _caller(deps: WebDeps, request: web.Request) -> Actor:
    """The actor, confined to where it may read devices. Raises Problem."""
    actor = await auth.authenticate(deps, request)
    allowed = actor.allowed(PERMISSION)
    if allowed is None:
        raise auth.refusal(actor, PERMISSION)
    return allowed


async def _wanted(deps: WebDeps, request: web.Request, actor: Actor) -> list[tuple[int, str]]:
    """(id, name) of the devices that are asked for. Raises NotFound for a group, InvalidInput for a parameter that there is none of."""
    strange = sorted(set(request.query) - {"device", "group"})
    if strange:
        raise InvalidInput(tuple(Fault(f"/{name}", "there is no such parameter; there are device, group") for name in strange))
    names = tuple(request.query.getall("device", []))
    group = request.query.get("group")
    selector = Selector(hostnames=names) if names else Selector()
    found = await devices.select(deps.database, actor, selector, group)
    return [each for each in found if not names or each[1].lower() in {name.lower() for name in names}] if group is not None else found


def add_exposition(app: web.Application, deps: WebDeps) -> None:
    """Register both."""

    async def metrics(request: web.Request) -> web.Response:
        actor = await _caller(deps, request)
        wanted = await _wanted(deps, request, actor)
        if len(wanted) > MOST_DEVICES:
            raise InvalidInput((Fault("/group", f"{len(wanted)} devices are more than the {MOST_DEVICES} of one scrape: see {PATH}/targets"),))
        async with deps.database.transaction(actor.scope) as conn:
            known = await store.by_ids(conn, actor.tenant_id, [device_id for device_id, _ in wanted])
        polled = [each for each in known if each.state == "active" and each.polling]  # of others there is nothing to tell, and no node is missing
        text = await exposition.page(({"device": each.hostname, "site": each.site or ""}, deps.polling.current(each.id)) for each in polled)
        return web.Response(body=text.encode(), headers={"Content-Type": exposition.CONTENT_TYPE})

    async def targets(request: web.Request) -> web.Response:
        actor = await _caller(deps, request)
        found: list[dict[str, Any]] = []
        slices = Slices()
        for device_id, name in await _wanted(deps, request, actor):
            where = deps.polling.scrape_address(device_id) or request.host
            found.append({"targets": [where], "labels": {"__metrics_path__": PATH, "__param_device": name, "instance": name}})
            await slices.breathe()
        return web.Response(body=codec.encode(found), content_type="application/json")

    app.router.add_get(PATH, metrics, allow_head=False)
    app.router.add_get(f"{PATH}/targets", targets, allow_head=False)
