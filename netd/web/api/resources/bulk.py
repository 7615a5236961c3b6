"""The bulk routes"""

from netd.web.api.bulk import bulk
from netd.web.api.resources import credentials, devices, discovery, nas, plans, sites, standing, subscribers

ROUTES = (
    bulk("/plans", "plans:write", plans.ROUTES),
    bulk("/subscribers", "subscribers:lock", (*subscribers.ROUTES, *standing.ROUTES)),
    bulk("/radius/nas", "nas:write", nas.ROUTES),
    bulk("/devices", "devices:write", [each for each in devices.ROUTES if each.path.startswith("/devices")]),
    bulk("/interfaces", "devices:write", [each for each in devices.ROUTES if each.path.startswith("/interfaces")]),
    bulk("/discovery/candidates", "devices:discover", discovery.ROUTES[1:]),
    bulk("/credentials", "credentials:write", credentials.ROUTES),
    bulk("/organizations", "sites:write", [each for each in sites.ROUTES if each.path.startswith("/organizations")]),
    bulk("/sites", "sites:write", [each for each in sites.ROUTES if each.path.startswith("/sites")]),
)
