"""Every route of the API, in the order in which the description lists them."""

from netd.web.api.resources import (
    access,
    administration,
    bulk,
    events,
    imports,
    login,
    nas,
    plans,
    roles,
    sessions,
    sites,
    standing,
    subscribers,
    tenants,
    users,
)
from netd.web.api.route import Route

ROUTES: tuple[Route, ...] = (
    *plans.ROUTES, *subscribers.ROUTES, *standing.ROUTES, *imports.ROUTES, *bulk.ROUTES, *nas.ROUTES, *sessions.ROUTES, *access.ROUTES, *sites.ROUTES,
    *events.ROUTES,
    *roles.ROUTES, *users.ROUTES, *login.ROUTES, *administration.ROUTES, *tenants.ROUTES,
)  # fmt: skip
