"""The bulk routes"""

from netd.web.api.bulk import bulk
from netd.web.api.resources import nas, plans, sites, standing, subscribers

ROUTES = (
    bulk("/plans", "plans:write", plans.ROUTES),
    bulk("/subscribers", "subscribers:lock", (*subscribers.ROUTES, *standing.ROUTES)),
    bulk("/radius/nas", "nas:write", nas.ROUTES),
    bulk("/organizations", "sites:write", [each for each in sites.ROUTES if each.path.startswith("/organizations")]),
    bulk("/sites", "sites:write", [each for each in sites.ROUTES if each.path.startswith("/sites")]),
)
