"""MikroTik RouterOS: PPPoE, Hotspot and DHCP servers.

Rates go into Mikrotik-Rate-Limit as seen by the router: rx, named first, is what it receives, the subscriber's upload; tx is the download.
A bare number is bit/s, k is 1000 and M is 1,000,000. It takes precedence over the Ascend and WISPr attributes.

- Committed rates are rx-rate-min/tx-rate-min, the last field: limit-at of the session's queue, served before what others have above theirs. Where only
  one direction has one, or there is none, the field says the router's default, 0.
- A plan's ``profile`` is the name of a PPP or Hotspot profile on the router (Mikrotik-Group); the rates above win over the profile's.
- The walled garden is a firewall address list (Mikrotik-Address-List) for which the operator sets up filter and redirect rules.
- A CoA can change rates, profile and timeouts; not addresses, pools and address lists: entering and leaving the wall needs a new login.
- ``/radius incoming`` is off on a new router; it wants ``accept=yes`` and the same port as the NAS has here.
"""

from collections.abc import Sequence

from netd import sdk
from netd.sdk import Avp, LiveSession, Service

LAST_PRIORITY = "8"
"""What the router takes where nothing is said."""

_BY_COA = sdk.RATES | {"profile", "session_timeout_seconds", "idle_timeout_seconds"}


class Driver:
    """Access on RouterOS 6 and 7."""

    def grant(self, service: Service) -> Sequence[Avp]:
        avps = _changeable(service)
        if service.walled:
            avps.append(("Mikrotik-Address-List", service.wall))
        avps += sdk.pools(service, delegated="Mikrotik-Delegated-IPv6-Pool")
        avps += sdk.resolvers(service)
        avps += sdk.vlan(service)
        avps += sdk.timers(service)
        return avps

    def change(self, before: Service | None, after: Service) -> Sequence[Avp] | None:
        avps = _changeable(after)
        if not sdk.reachable(before, after, _BY_COA):
            return None
        return avps + [avp for avp in sdk.timers(after) if avp[0] != "Acct-Interim-Interval"]

    def identify(self, session: LiveSession) -> Sequence[Avp]:
        # Hotspot finds nothing without the address, some versions nothing without the name; RouterOS accepts all three together.
        avps: list[Avp] = [("User-Name", session.username), ("Acct-Session-Id", session.acct_session_id)]
        if session.framed_ip_address is not None:
            avps.append(("Framed-IP-Address", session.framed_ip_address))
        return avps


def _changeable(service: Service) -> list[Avp]:
    avps: list[Avp] = [("Mikrotik-Rate-Limit", rate_limit(service))]
    if service.profile is not None and not service.walled:
        avps.append(("Mikrotik-Group", service.profile))
    return avps


def rate_limit(service: Service) -> str:
    """``rx/tx [rx-burst/tx-burst rx-threshold/tx-threshold rx-time/tx-time [priority [rx-min/tx-min]]]``; fields are positional, 0 is «none»."""
    fields = [f"{_rate(service.up_bps)}/{_rate(service.down_bps)}"]
    up = _burst("up", service.up_bps, service.burst_up_bps, service.burst_threshold_up_bps, service.burst_seconds)
    down = _burst("down", service.down_bps, service.burst_down_bps, service.burst_threshold_down_bps, service.burst_seconds)
    committed = service.committed_up_bps is not None or service.committed_down_bps is not None
    if service.burst_up_bps is not None or service.burst_down_bps is not None or service.priority is not None or committed:
        fields += [f"{rx}/{tx}" for rx, tx in zip(up, down, strict=True)]
    if service.priority is not None:
        if not 1 <= service.priority <= 8:
            raise ValueError(f"priority {service.priority} is not in 1..8")
        fields.append(str(service.priority))
    if committed:
        fields += [] if service.priority is not None else [LAST_PRIORITY]
        fields.append(f"{_rate(service.committed_up_bps or 0)}/{_rate(service.committed_down_bps or 0)}")
    return " ".join(fields)


def _burst(way: str, bps: int, burst_bps: int | None, threshold_bps: int | None, seconds: int | None) -> tuple[str, str, str]:
    """Burst rate, threshold and time of one direction. Without a threshold it is the rate, without a time 1 s, as on the router."""
    if burst_bps is None:
        return "0", "0", "0"
    if burst_bps < bps:
        raise ValueError(f"burst {way} of {burst_bps} bit/s is below the rate of {bps} bit/s")
    return _rate(burst_bps), _rate(bps if threshold_bps is None else threshold_bps), str(1 if seconds is None else seconds)


def _rate(bps: int) -> str:
    if bps == 0:
        return "0"
    if bps % 1_000_000 == 0:
        return f"{bps // 1_000_000}M"
    if bps % 1000 == 0:
        return f"{bps // 1000}k"
    return str(bps)
