"""/radius/coa-clients. The shared secret goes in and never comes out."""

from netd.domain import coa_clients
from netd.domain.coa_clients import CoaClientPatch, NewCoaClient
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.model.coa_client import CoaClient
from netd.web.api.route import Call, route


@route(
    "GET", "/radius/coa-clients", permission="nas:read", query=coa_clients.CoaClientQuery,
    summary="List the systems that may send Disconnect- and CoA-Requests",
)  # fmt: skip
async def coa_client_list(call: Call, query: ListQuery) -> Page[CoaClient]:
    return await coa_clients.page(call.deps.database, call.actor, query)


@route(
    "POST", "/radius/coa-clients", permission="nas:write", summary="Let a system in; it works from its next packet on", status=201, action="coa_client.create"
)
async def coa_client_create(call: Call, body: NewCoaClient) -> CoaClient:
    return await coa_clients.create(call.deps.database, call.actor, call.deps.keyring, body)


@route("GET", "/radius/coa-clients/{id}", permission="nas:read", summary="Show a system")
async def coa_client_show(call: Call, id: int) -> CoaClient:
    return await coa_clients.get(call.deps.database, call.actor, id)


@route("PATCH", "/radius/coa-clients/{id}", permission="nas:write", summary="Change what a system may do", action="coa_client.update")
async def coa_client_update(call: Call, id: int, body: CoaClientPatch) -> CoaClient:
    return await coa_clients.update(call.deps.database, call.actor, call.deps.keyring, id, body, version=call.if_match)


@route("DELETE", "/radius/coa-clients/{id}", permission="nas:write", summary="No longer let a system in", action="coa_client.delete")
async def coa_client_delete(call: Call, id: int) -> None:
    await coa_clients.delete(call.deps.database, call.actor, id, version=call.if_match)


ROUTES = (coa_client_list, coa_client_create, coa_client_show, coa_client_update, coa_client_delete)
