"""/tenants: for tokens of the tenant ``default`` only"""

from netd.domain import tenants
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.tenants import MadeTenant, NewTenant, TenantPatch
from netd.model.tenant import Tenant
from netd.web.api.route import Call, route


@route("GET", "/tenants", permission="tenants:read", summary="List the providers that this netd serves", query=tenants.TenantQuery)
async def tenant_list(call: Call, query: ListQuery) -> Page[Tenant]:
    return await tenants.page(call.deps.owner, query)


@route("POST", "/tenants", permission="tenants:write", summary="Make a tenant; its first token is shown this once", status=201, action="tenant.create")
async def tenant_create(call: Call, body: NewTenant) -> MadeTenant:
    return await tenants.create(call.deps.owner, call.actor, body, call.deps.now())


@route("GET", "/tenants/{id}", permission="tenants:read", summary="Show a tenant")
async def tenant_show(call: Call, id: int) -> Tenant:
    return await tenants.get(call.deps.owner, id)


@route("PATCH", "/tenants/{id}", permission="tenants:write", summary="Give a tenant another name", action="tenant.update")
async def tenant_update(call: Call, id: int, body: TenantPatch) -> Tenant:
    return await tenants.rename(call.deps.owner, call.actor, id, body, version=call.if_match)


ROUTES = (tenant_list, tenant_create, tenant_show, tenant_update)
