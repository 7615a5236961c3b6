"""The bulk routes"""

from netd.web.api.bulk import bulk
from netd.web.api.resources import alarms, coa_clients, credentials, devices, dhcp, discovery, jobs, nas, plans, pools, sites, standing, subscribers, users

ROUTES = (
    bulk("/plans", "plans:write", plans.ROUTES),
    bulk("/subscribers", "subscribers:lock", (*subscribers.ROUTES, *standing.ROUTES)),
    bulk("/radius/nas", "nas:write", nas.ROUTES),
    bulk("/radius/coa-clients", "nas:write", coa_clients.ROUTES),
    bulk("/pools", "pools:write", [each for each in pools.ROUTES if each.action.startswith("pool.")]),
    bulk("/pools/rules", "pools:write", [each for each in pools.ROUTES if each.action.startswith("pool_rule.")]),
    bulk("/pools/leases", "pools:write", [each for each in pools.ROUTES if each.action.startswith("lease.")]),
    bulk("/users", "users:write", [each for each in users.ROUTES if each.action.startswith("user.")]),
    bulk("/dhcp/subnets", "dhcp:write", [each for each in dhcp.ROUTES if each.action.startswith("dhcp_subnet.")]),
    bulk("/devices", "devices:write", [each for each in devices.ROUTES if each.path.startswith("/devices")]),
    bulk("/interfaces", "devices:write", [each for each in devices.ROUTES if each.path.startswith("/interfaces")]),
    bulk("/device-groups", "devices:write", [each for each in devices.ROUTES if each.path.startswith("/device-groups")]),
    bulk("/alarms", "alarms:write", [each for each in alarms.ROUTES if each.path.startswith("/alarms")]),
    bulk("/thresholds", "alarms:write", [each for each in alarms.ROUTES if each.path.startswith("/thresholds")]),
    bulk("/schedules", "jobs:schedule", [each for each in jobs.ROUTES if each.path.startswith("/schedules")]),
    bulk("/discovery/candidates", "devices:discover", discovery.ROUTES[1:]),
    bulk("/credentials", "credentials:write", credentials.ROUTES),
    bulk("/organizations", "sites:write", [each for each in sites.ROUTES if each.path.startswith("/organizations")]),
    bulk("/sites", "sites:write", [each for each in sites.ROUTES if each.path.startswith("/sites")]),
)
