"""Juniper Junos (MX) and JunosE (ERX) subscriber management.

Rates reach the router as parameters of a service: ERX-Service-Activate ``name(up,down)``, both in bit/s, input before output as in Juniper's own
``tiered(inputBW, outputBW)``. A plan's ``profile`` names that service: a dynamic service profile on Junos whose variables are declared in the
order up, down, or a JunosE service macro. There is no other attribute that sets both directions, so a plan needs a profile here.

- Burst and committed rates belong into the service: which parameters it takes beyond the two is the operator's, so none are sent.
- The walled garden is such a service too, named like the wall, with the garden's rates; it filters and redirects.
- A CoA deactivates the old service by its whole string, parameters included, and activates the new one; that also is how rates change,
  and how a subscriber gets behind the wall and out again.
- A session is identified by Acct-Session-Id alone: by User-Name the router takes the first session of that name.
- Junos listens on 3799; JunosE on 1700 unless told otherwise.
"""

from collections.abc import Sequence

from netd import sdk
from netd.sdk import Avp, LiveSession, Service

_BY_COA = sdk.RATES | {"profile", "walled", "wall", "wall_url"}


class Driver:
    """Access on Junos and JunosE."""

    def grant(self, service: Service) -> Sequence[Avp]:
        avps: list[Avp] = [("ERX-Service-Activate:1", _activation(service))]
        avps += sdk.pools(service, delegated="ERX-IPv6-Delegated-Pool-Name")
        avps += sdk.resolvers(service, ipv4=("ERX-Primary-Dns", "ERX-Secondary-Dns"), ipv6=("ERX-Ipv6-Primary-Dns", "ERX-Ipv6-Secondary-Dns"))
        avps += sdk.vlan(service)
        avps += sdk.timers(service)
        return avps

    def change(self, before: Service | None, after: Service) -> Sequence[Avp] | None:
        new = _activation(after)
        if before is None or not sdk.reachable(before, after, _BY_COA):
            return None
        try:
            old = _activation(before)
        except ValueError:
            return None  # no service of ours runs in this session
        return [] if old == new else [("ERX-Service-Deactivate", old), ("ERX-Service-Activate:1", new)]

    def identify(self, session: LiveSession) -> Sequence[Avp]:
        return [("Acct-Session-Id", session.acct_session_id)]


def _activation(service: Service) -> str:
    name = service.wall if service.walled else service.profile
    if name is None:
        raise ValueError("Juniper takes rates only as parameters of a service: name one in the plan's profile")
    if not name or any(character in "(), " for character in name):
        raise ValueError(f"service name {name!r} must be without blank, comma and parenthesis: netd adds the parameters")
    return f"{name}({service.up_bps},{service.down_bps})"
