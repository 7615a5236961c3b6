"""/organizations and /sites"""

from netd.domain import sites
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.sites import NewOrganization, NewSite, OrganizationPatch, SitePatch
from netd.model.site import Organization, Site
from netd.web.api.route import Call, route


@route("GET", "/organizations", permission="sites:read", summary="List organizations", query=sites.OrganizationQuery)
async def organization_list(call: Call, query: ListQuery) -> Page[Organization]:
    return await sites.organization_page(call.deps.database, call.actor, query)


@route("POST", "/organizations", permission="sites:write", summary="Make an organization", status=201, action="organization.create")
async def organization_create(call: Call, body: NewOrganization) -> Organization:
    return await sites.create_organization(call.deps.database, call.actor, body)


@route("GET", "/organizations/{id}", permission="sites:read", summary="Show an organization")
async def organization_show(call: Call, id: int) -> Organization:
    return await sites.get_organization(call.deps.database, call.actor, id)


@route("PATCH", "/organizations/{id}", permission="sites:write", summary="Change an organization", action="organization.update")
async def organization_update(call: Call, id: int, body: OrganizationPatch) -> Organization:
    return await sites.update_organization(call.deps.database, call.actor, id, body, version=call.if_match)


@route("DELETE", "/organizations/{id}", permission="sites:write", summary="Remove an organization to which nothing belongs", action="organization.delete")
async def organization_delete(call: Call, id: int) -> None:
    await sites.delete_organization(call.deps.database, call.actor, id, version=call.if_match)


@route("GET", "/sites", permission="sites:read", summary="List sites", query=sites.SiteQuery)
async def site_list(call: Call, query: ListQuery) -> Page[Site]:
    return await sites.site_page(call.deps.database, call.actor, query)


@route("POST", "/sites", permission="sites:write", summary="Make a site", status=201, action="site.create")
async def site_create(call: Call, body: NewSite) -> Site:
    return await sites.create_site(call.deps.database, call.actor, body)


@route("GET", "/sites/{id}", permission="sites:read", summary="Show a site")
async def site_show(call: Call, id: int) -> Site:
    return await sites.get_site(call.deps.database, call.actor, id)


@route("PATCH", "/sites/{id}", permission="sites:write", summary="Change a site", action="site.update")
async def site_update(call: Call, id: int, body: SitePatch) -> Site:
    return await sites.update_site(call.deps.database, call.actor, id, body, version=call.if_match)


@route("DELETE", "/sites/{id}", permission="sites:write", summary="Remove a site where nothing is", action="site.delete")
async def site_delete(call: Call, id: int) -> None:
    await sites.delete_site(call.deps.database, call.actor, id, version=call.if_match)


ROUTES = (
    organization_list, organization_create, organization_show, organization_update, organization_delete,
    site_list, site_create, site_show, site_update, site_delete,
)  # fmt: skip
