"""Every route of the API, in the order in which the description lists them."""

from netd.web.api.resources import access, administration, imports, nas, plans, pools, sessions, standing, subscribers
from netd.web.api.route import Route

ROUTES: tuple[Route, ...] = (
    *plans.ROUTES, *subscribers.ROUTES, *standing.ROUTES, *imports.ROUTES, *nas.ROUTES, *pools.ROUTES, *sessions.ROUTES,
    *access.ROUTES, *administration.ROUTES,
)  # fmt: skip
