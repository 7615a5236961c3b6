"""Every route of the API, in the order in which the description lists them."""

from netd.web.api.resources import access, administration, bulk, events, imports, nas, plans, pools, roles, sessions, sites, standing, subscribers, tenants
from netd.web.api.route import Route

ROUTES: tuple[Route, ...] = (
    *plans.ROUTES, *subscribers.ROUTES, *standing.ROUTES, *imports.ROUTES, *bulk.ROUTES, *nas.ROUTES, *pools.ROUTES,
    *sessions.ROUTES, *access.ROUTES, *sites.ROUTES,
    *events.ROUTES,
    *roles.ROUTES, *administration.ROUTES, *tenants.ROUTES,
)  # fmt: skip
