"""All that a vendor driver or plugin may import from netd, besides ``netd.model`` and ``netd.wire``.

A driver is a module with a class ``Driver`` whose methods are those of one or more capabilities: of RADIUS access in
:mod:`netd.sdk.access` (all of which stands here, too), of devices in :mod:`netd.sdk.device`. Drivers are sans-IO: no sockets, clocks, files or credentials.
"""

from netd.sdk.access import (
    FIRST_FIELDS,
    RATES,
    Access,
    AccessRequest,
    Avp,
    LiveSession,
    Policy,
    Service,
    Value,
    both_ways,
    differing,
    fits_uint32,
    kbps,
    less_committed,
    pools,
    reachable,
    resolvers,
    timers,
    vlan,
    vlan_of,
)
from netd.sdk.manifest import SDK_API, Capability, Manifest

__all__ = [
    "FIRST_FIELDS",
    "RATES",
    "SDK_API",
    "Access",
    "AccessRequest",
    "Avp",
    "Capability",
    "LiveSession",
    "Manifest",
    "Policy",
    "Service",
    "Value",
    "both_ways",
    "differing",
    "fits_uint32",
    "kbps",
    "less_committed",
    "pools",
    "reachable",
    "resolvers",
    "timers",
    "vlan",
    "vlan_of",
]
