"""A NAS without a driver of its own: RFC attributes, and WISPr for the rates.

WISPr-Bandwidth-Max-Up and -Down are bit/s in unsigned 32-bit numbers, as many access points, gateways and controllers understand them. A NAS that
does not ignores them and grants what it is configured for.

- The walled garden is a filter list (Filter-Id), with WISPr-Redirection-URL if a portal is configured.
- Committed rates are WISPr-Bandwidth-Min-Up and -Down; a burst has no attribute here.
- A CoA sends rates and timeouts; it is the NAS that says whether it took them.
"""

from collections.abc import Sequence

from netd import sdk
from netd.sdk import Avp, LiveSession, Service

_BY_COA = sdk.RATES | {"session_timeout_seconds", "idle_timeout_seconds"}


class Driver:
    """Access on any NAS that knows the RFCs and WISPr."""

    def grant(self, service: Service) -> Sequence[Avp]:
        avps = _speed(service)
        if service.walled:
            avps.append(("Filter-Id", service.wall))
            if service.wall_url:
                avps.append(("WISPr-Redirection-URL", service.wall_url))
        return [*avps, *sdk.pools(service), *sdk.resolvers(service), *sdk.vlan(service), *sdk.timers(service)]

    def change(self, before: Service | None, after: Service) -> Sequence[Avp] | None:
        avps = _speed(after)
        if before is None or not sdk.reachable(before, after, _BY_COA) or sdk.less_committed(before, after):
            return None
        return [*avps, *sdk.timers(after)]

    def identify(self, session: LiveSession) -> Sequence[Avp]:
        return [("User-Name", session.username), ("Acct-Session-Id", session.acct_session_id)]


def _speed(service: Service) -> list[Avp]:
    sdk.fits_uint32(service, "choose the vendor driver of the NAS, or a lower rate")
    avps: list[Avp] = [("WISPr-Bandwidth-Max-Up", service.up_bps), ("WISPr-Bandwidth-Max-Down", service.down_bps)]
    committed = (("WISPr-Bandwidth-Min-Up", service.committed_up_bps), ("WISPr-Bandwidth-Min-Down", service.committed_down_bps))
    return avps + [(attribute, bps) for attribute, bps in committed if bps is not None]
