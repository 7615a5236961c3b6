"""Cisco IOS XE as a broadband gateway (ASR 1000, ISG).

Without a profile the session is policed by Cisco-Account-Info ``QU;rate;burst;D;rate;burst``: U is upstream, the subscriber's upload, D is
downstream; rates are bit/s, bursts octets. The burst is 1.5 s of the rate, as Cisco advises for its policers.

- Policing knows no committed rate below the policed one: burst and committed rates belong into a policy map.
- A plan's ``profile`` is a policy map on the router: ``gold`` for both directions, ``gold-in/gold-out`` for upload and download. It then says how fast.
- The walled garden is an ISG service of that name (``A`` + name), policed to the garden's rates; the service on the router redirects.
- A CoA changes from one policy map to another. Policing of a live session by CoA is documented for services only: that is a new login.
- A session is identified by Acct-Session-Id alone: all attributes given must match, and User-Name is not among those known.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address

from netd import sdk
from netd.sdk import Avp, LiveSession, Service


class Driver:
    """Access on IOS XE."""

    def grant(self, service: Service) -> Sequence[Avp]:
        avps = _speed(service)
        if service.walled:
            avps.append(("Cisco-Account-Info", f"A{service.wall}"))
        if service.ipv4_pool is not None:
            avps.append(("Cisco-AVPair", f"ip:addr-pool={service.ipv4_pool}"))
        avps += [avp for avp in sdk.pools(service) if avp[0] != "Framed-Pool"]
        if servers := [str(address) for address in service.dns if isinstance(address, IPv4Address)]:
            avps.append(("Cisco-AVPair", f"ip:dns-servers={' '.join(servers[:2])}"))
        avps += sdk.resolvers(service, ipv4=())
        avps += sdk.vlan(service)
        avps += sdk.timers(service)
        return avps

    def change(self, before: Service | None, after: Service) -> Sequence[Avp] | None:
        avps = _speed(after)
        if before is None or before.profile is None or after.profile is None or before.walled or after.walled:
            return None
        return avps if sdk.reachable(before, after, sdk.RATES | {"profile"}) else None

    def identify(self, session: LiveSession) -> Sequence[Avp]:
        return [("Acct-Session-Id", session.acct_session_id)]


def _speed(service: Service) -> list[Avp]:
    if service.profile is not None and not service.walled:
        up, down = sdk.both_ways(service.profile)
        return [("Cisco-AVPair", f"subscriber:sub-qos-policy-in={up}"), ("Cisco-AVPair", f"subscriber:sub-qos-policy-out={down}")]
    return [("Cisco-Account-Info", f"QU;{_police(service.up_bps)};D;{_police(service.down_bps)}")]


def _police(bps: int) -> str:
    return f"{bps};{bps * 3 // 16}"  # 1.5 s of octets
