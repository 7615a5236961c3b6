"""Every route of the API, in the order in which the description lists them."""

from netd.web.api.resources import (
    access,
    administration,
    alarms,
    bulk,
    coa_clients,
    credentials,
    devices,
    discovery,
    enforcement,
    events,
    health,
    imports,
    login,
    nas,
    plans,
    pools,
    provision,
    quotas,
    roles,
    sessions,
    sites,
    standing,
    subscribers,
    telemetry,
    tenants,
    users,
    webhooks,
)
from netd.web.api.route import Route

ROUTES: tuple[Route, ...] = (
    *plans.ROUTES, *quotas.ROUTES, *subscribers.ROUTES, *standing.ROUTES, *imports.ROUTES, *provision.ROUTES, *bulk.ROUTES,
    *nas.ROUTES, *coa_clients.ROUTES, *pools.ROUTES,
    *devices.ROUTES, *telemetry.ROUTES, *alarms.ROUTES, *credentials.ROUTES, *discovery.ROUTES,
    *sessions.ROUTES, *enforcement.ROUTES, *access.ROUTES,
    *sites.ROUTES, *events.ROUTES, *webhooks.ROUTES, *health.ROUTES,
    *roles.ROUTES, *users.ROUTES, *login.ROUTES, *administration.ROUTES, *tenants.ROUTES,
)  # fmt: skip
