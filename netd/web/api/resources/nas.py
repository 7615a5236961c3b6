"""/radius/nas. The shared secret goes in and never comes out."""

from netd.domain import nas
from netd.domain.lists import ListQuery
from netd.domain.nas import NasPatch, NewNas
from netd.domain.paging import Page
from netd.model.nas import Nas
from netd.web.api.route import Call, route


@route("GET", "/radius/nas", permission="nas:read", summary="List NASes", query=nas.NasQuery)
async def nas_list(call: Call, query: ListQuery) -> Page[Nas]:
    return await nas.page(call.deps.database, call.actor, query)


@route("POST", "/radius/nas", permission="nas:write", summary="Let a NAS in; it works from its next packet on", status=201, action="nas.create")
async def nas_create(call: Call, body: NewNas) -> Nas:
    return await nas.create(call.deps.database, call.actor, call.deps.keyring, body, call.deps.vendors)


@route("GET", "/radius/nas/{id}", permission="nas:read", summary="Show a NAS")
async def nas_show(call: Call, id: int) -> Nas:
    return await nas.get(call.deps.database, call.actor, id)


@route("PATCH", "/radius/nas/{id}", permission="nas:write", summary="Change a NAS", action="nas.update")
async def nas_update(call: Call, id: int, body: NasPatch) -> Nas:
    return await nas.update(call.deps.database, call.actor, call.deps.keyring, id, body, call.deps.vendors, version=call.if_match)


@route("DELETE", "/radius/nas/{id}", permission="nas:write", summary="No longer let a NAS in", action="nas.delete")
async def nas_delete(call: Call, id: int) -> None:
    await nas.delete(call.deps.database, call.actor, id, version=call.if_match)


ROUTES = (nas_list, nas_create, nas_show, nas_update, nas_delete)
