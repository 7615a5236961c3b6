"""Huawei NE40E, ME60, NetEngine 8000 and others that speak the Huawei RADIUS+1.1 attributes.

Rates are bit/s in unsigned 32-bit numbers. Input is what the NAS receives from the subscriber (up), output what it sends (down).
Average is the committed rate (CIR), peak the PIR. The peak is the plan's rate, never more: a PIR above it would be held for good, not for a burst.
The average is the plan's committed rate, else its rate, too.

- Above 4.29 Gbit/s the plan must name a QoS profile; then the profile alone says how fast. ``gold`` is one profile for both directions,
  ``gold-up/gold-down`` names two. The router cuts a subscriber off whose profile it does not have, and by default it compares names
  in lower case.
- The walled garden is a user group (Filter-Id), with Huawei-HTTP-Redirect-URL if a portal is configured.
- A CoA changes rates and profiles. One with an unknown or empty profile or Filter-Id is refused (404), so the wall needs a new login.
- Which attributes NE40E and ME60 identify a session by is not confirmed: User-Name and Acct-Session-Id, as RFC 5176 3 has them, are sent.
"""

from collections.abc import Sequence
from ipaddress import IPv6Address, IPv6Network

from netd import sdk
from netd.sdk import Avp, LiveSession, Service

_BY_COA = sdk.RATES | {"profile"}


class Driver:
    """Access on Huawei routers."""

    def grant(self, service: Service) -> Sequence[Avp]:
        avps = _speed(service)
        if service.walled:
            avps.append(("Filter-Id", service.wall))
            if service.wall_url:
                avps.append(("Huawei-HTTP-Redirect-URL", service.wall_url))
        avps += sdk.pools(service, delegated="Huawei-Delegated-IPv6-Prefix-Pool")
        avps += sdk.resolvers(service, ipv4=("Huawei-Primary-DNS", "Huawei-Secondary-DNS"), ipv6=())
        # The value is 18 octets, thus a prefix, although it names hosts.
        avps += [("Huawei-DNS-Server-IPv6-Address", IPv6Network(address)) for address in service.dns if isinstance(address, IPv6Address)]
        avps += sdk.vlan(service)
        avps += sdk.timers(service)
        return avps

    def change(self, before: Service | None, after: Service) -> Sequence[Avp] | None:
        avps = _speed(after)
        if before is None or not sdk.reachable(before, after, _BY_COA):
            return None
        if not after.walled and (before.profile is None) != (after.profile is None):
            return None  # whether rates or profile win when a session has had both is not documented
        return avps

    def identify(self, session: LiveSession) -> Sequence[Avp]:
        return [("User-Name", session.username), ("Acct-Session-Id", session.acct_session_id)]


def _speed(service: Service) -> list[Avp]:
    if service.profile is not None and not service.walled:
        up, down = sdk.both_ways(service.profile)
        avps: list[Avp] = [("Huawei-Qos-Profile-Name", up)]
        if down != up:
            avps.append(("Huawei-Down-QOS-Profile-Name", down))
        return avps
    sdk.fits_uint32(service, "name a QoS profile of the router in the plan")
    return [
        ("Huawei-Input-Average-Rate", service.committed_up_bps or service.up_bps),
        ("Huawei-Input-Peak-Rate", service.up_bps),
        ("Huawei-Output-Average-Rate", service.committed_down_bps or service.down_bps),
        ("Huawei-Output-Peak-Rate", service.down_bps),
    ]
