"""ZTE broadband gateways (M6000 and relatives).

Rates go into ZTE-Rate-Ctrl-SCR-Up and -Down. **Their unit is not confirmed**: no text of the vendor's was found; other servers send bit/s,
and so does this one, exactly. Try it on one subscriber before a thousand; a plan with a QoS profile does not depend on it.

- Where a plan has a committed rate, SCR (sustained) is that one, and the plan's rate goes as the peak: ZTE-Rate-Bust-UPIR and -DPIR, the only peak
  rates that name a direction. Their unit is taken for that of the SCR. A burst is left out: its sizes are volumes of no documented unit.
- A plan's ``profile`` is a QoS profile on the router: ``gold`` for both directions, ``gold-up/gold-down`` for one each. It then stands for the
  rates. It is needed above 4.29 Gbit/s, for the rates are unsigned 32-bit numbers.
- The walled garden is the filter list of RFC 2865 5.11 (Filter-Id): ZTE documents no attribute of its own for it.
- Nothing is documented of what a CoA can change, so every change is a new login.
"""

from collections.abc import Sequence

from netd import sdk
from netd.sdk import Avp, LiveSession, Service


class Driver:
    """Access on ZTE gateways."""

    def grant(self, service: Service) -> Sequence[Avp]:
        avps = _speed(service)
        if service.walled:
            avps.append(("Filter-Id", service.wall))
        avps += sdk.pools(service)
        avps += sdk.resolvers(service, ipv4=("ZTE-Client-DNS-Pri", "ZTE-Client-DNS-Sec"))
        avps += sdk.vlan(service)
        avps += sdk.timers(service)
        return avps

    def change(self, before: Service | None, after: Service) -> Sequence[Avp] | None:
        _speed(after)
        return None

    def identify(self, session: LiveSession) -> Sequence[Avp]:
        return [("User-Name", session.username), ("Acct-Session-Id", session.acct_session_id)]


def _speed(service: Service) -> list[Avp]:
    if service.profile is not None and not service.walled:
        up, down = sdk.both_ways(service.profile)
        return [("ZTE-QOS-Profile-Up", up), ("ZTE-QoS-Profile-Down", down)]
    sdk.fits_uint32(service, "name a QoS profile of the router in the plan")
    avps: list[Avp] = [
        ("ZTE-Rate-Ctrl-SCR-Up", service.committed_up_bps or service.up_bps),
        ("ZTE-Rate-Ctrl-SCR-Down", service.committed_down_bps or service.down_bps),
    ]
    if service.committed_up_bps is not None:
        avps.append(("ZTE-Rate-Bust-UPIR", service.up_bps))
    if service.committed_down_bps is not None:
        avps.append(("ZTE-Rate-Bust-DPIR", service.down_bps))
    return avps
