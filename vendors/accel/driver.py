"""accel-ppp (also in VyOS) with its shaper at the defaults: ``[shaper] attr=Filter-Id``, ``rate-multiplier=1``.

The rate is Filter-Id ``down/up`` in kbit/s (1000 bit/s): **down first**, the reverse of MikroTik's order.

- Burst and committed rates have no attribute.
- There is no attribute for a walled garden: a walled subscriber is refused here.
- A CoA changes the rate and Session-Timeout. All attributes that identify the session must match, so Acct-Session-Id goes alone.
"""

from collections.abc import Sequence

from netd import sdk
from netd.sdk import Avp, LiveSession, Service

_BY_COA = sdk.RATES | {"session_timeout_seconds"}


class Driver:
    """Access on accel-ppp."""

    def grant(self, service: Service) -> Sequence[Avp]:
        return [*_speed(service), *sdk.pools(service), *sdk.resolvers(service), *sdk.vlan(service), *sdk.timers(service)]

    def change(self, before: Service | None, after: Service) -> Sequence[Avp] | None:
        avps = _speed(after)
        if not sdk.reachable(before, after, _BY_COA):
            return None
        return avps + [avp for avp in sdk.timers(after) if avp[0] == "Session-Timeout"]

    def identify(self, session: LiveSession) -> Sequence[Avp]:
        return [("Acct-Session-Id", session.acct_session_id)]


def _speed(service: Service) -> list[Avp]:
    if service.walled:
        raise ValueError("accel-ppp has no attribute for a walled garden: use a lock with mode reject for its subscribers")
    return [("Filter-Id", f"{sdk.kbps(service.down_bps)}/{sdk.kbps(service.up_bps)}")]
