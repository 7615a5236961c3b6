"""Every route of the API, in the order in which the description lists them."""

from netd.web.api.resources import (
    access,
    administration,
    bulk,
    events,
    health,
    imports,
    nas,
    plans,
    roles,
    sessions,
    sites,
    standing,
    subscribers,
    tenants,
    webhooks,
)
from netd.web.api.route import Route

ROUTES: tuple[Route, ...] = (
    *plans.ROUTES, *subscribers.ROUTES, *standing.ROUTES, *imports.ROUTES, *bulk.ROUTES, *nas.ROUTES, *sessions.ROUTES, *access.ROUTES, *sites.ROUTES,
    *events.ROUTES, *webhooks.ROUTES, *health.ROUTES,
    *roles.ROUTES, *administration.ROUTES, *tenants.ROUTES,
)  # fmt: skip
