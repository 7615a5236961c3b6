"""CoovaChilli and ChilliSpot hotspot gateways.

ChilliSpot-Bandwidth-Max-Up and -Down are kbit/s (1000 bit/s). CoovaChilli reads them after the WISPr attributes, which would say the same in
bit/s, so only they are sent: two numbers for one thing can only disagree.

- The walled garden is a Filter-Id, with WISPr-Redirection-URL if a portal is configured.
- Burst and committed rates have no attribute; WISPr's minimum is not read.
- A CoA must carry User-Name; Acct-Session-Id narrows it down. It changes rates and timeouts.
"""

from collections.abc import Sequence

from netd import sdk
from netd.sdk import Avp, LiveSession, Service

_BY_COA = sdk.RATES | {"session_timeout_seconds", "idle_timeout_seconds"}


class Driver:
    """Access on CoovaChilli."""

    def grant(self, service: Service) -> Sequence[Avp]:
        avps = _speed(service)
        if service.walled:
            avps.append(("Filter-Id", service.wall))
            if service.wall_url:
                avps.append(("WISPr-Redirection-URL", service.wall_url))
        return [*avps, *sdk.pools(service), *sdk.resolvers(service), *sdk.vlan(service), *sdk.timers(service)]

    def change(self, before: Service | None, after: Service) -> Sequence[Avp] | None:
        return [*_speed(after), *sdk.timers(after)] if sdk.reachable(before, after, _BY_COA) else None

    def identify(self, session: LiveSession) -> Sequence[Avp]:
        return [("User-Name", session.username), ("Acct-Session-Id", session.acct_session_id)]


def _speed(service: Service) -> list[Avp]:
    return [("ChilliSpot-Bandwidth-Max-Up", sdk.kbps(service.up_bps)), ("ChilliSpot-Bandwidth-Max-Down", sdk.kbps(service.down_bps))]
