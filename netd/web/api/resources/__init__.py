"""Every route of the API, in the order in which the description lists them."""

from netd.web.api.resources import (
    access,
    administration,
    bulk,
    coa_clients,
    configurations,
    credentials,
    devices,
    dhcp,
    discovery,
    enforcement,
    events,
    health,
    imports,
    jobs,
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
    tenants,
    users,
    webhooks,
    ztp,
)
from netd.web.api.route import Route

ROUTES: tuple[Route, ...] = (
    *plans.ROUTES, *quotas.ROUTES, *subscribers.ROUTES, *standing.ROUTES, *imports.ROUTES, *provision.ROUTES, *bulk.ROUTES,
    *nas.ROUTES, *coa_clients.ROUTES, *pools.ROUTES, *dhcp.ROUTES,
    *devices.ROUTES, *credentials.ROUTES, *discovery.ROUTES, *configurations.ROUTES, *ztp.ROUTES,
    *sessions.ROUTES, *enforcement.ROUTES, *access.ROUTES,
    *sites.ROUTES, *events.ROUTES, *webhooks.ROUTES, *jobs.ROUTES, *health.ROUTES,
    *roles.ROUTES, *users.ROUTES, *login.ROUTES, *administration.ROUTES, *tenants.ROUTES,
)  # fmt: skip
