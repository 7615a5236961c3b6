"""Nokia (Alcatel-Lucent) SR OS: 7750 SR, 7450 ESS, VSR with enhanced subscriber management.

Rates are Alc-Subscriber-QoS-Override in kbit/s, the finest that SR OS knows. Ingress is the subscriber's upload, egress the download.
SR OS keeps an override that does not fit the QoS policy in force, but does not apply it, and says nothing. Downstream there is an aggregate rate
of its own (``e:r``); upstream there is none, so both the root arbiter (``i:a:root``, for policers) and queue 1 (``i:q:1``) are overridden:
the SLA profile in use must have one or the other.

- A committed rate is the cir of queue 1, upstream beside its pir, downstream in an override of its own (``e:q:1``) under the aggregate rate. A burst is
  left out: mbs and cbs are queue depths, no rates. A CoA that no longer names a cir is not known to take it away, so that is a new login.
- A plan's ``profile`` is an SLA profile, or ``subscriber-profile/sla-profile``. The overrides go with it: the plan's rates hold.
- The walled garden is an SLA profile whose filter redirects; Alc-Portal-Url replaces its URL where ``allow-radius-override`` is set.
- A CoA changes overrides and profiles. Back to «no profile» (the defaults on the router) leads only a new login.
- A session is identified by NAS-Port-Id and one address, which is the first key SR OS looks at; else by Acct-Session-Id (number format).
  Never by both: keys that disagree are refused with 503.
"""

from collections.abc import Sequence

from netd import sdk
from netd.sdk import Avp, LiveSession, Service

_BY_COA = sdk.RATES | {"profile", "walled", "wall", "wall_url"}


class Driver:
    """Access on SR OS."""

    def grant(self, service: Service) -> Sequence[Avp]:
        avps = _changeable(service)
        avps += sdk.pools(service, delegated="Alc-Delegated-IPv6-Pool")
        avps += sdk.resolvers(service, ipv4=("Alc-Primary-Dns", "Alc-Secondary-Dns"), ipv6=("Alc-Ipv6-Primary-Dns", "Alc-Ipv6-Secondary-Dns"))
        avps += sdk.vlan(service)
        avps += sdk.timers(service)
        return avps

    def change(self, before: Service | None, after: Service) -> Sequence[Avp] | None:
        avps = _changeable(after)
        if before is None or not sdk.reachable(before, after, _BY_COA) or sdk.less_committed(before, after):
            return None
        try:
            held = {attribute for attribute, _ in _profiles(before)}
        except ValueError:
            return None  # not granted by this driver
        return avps if held <= {attribute for attribute, _ in avps} else None

    def identify(self, session: LiveSession) -> Sequence[Avp]:
        addresses: tuple[tuple[str, sdk.Value | None], ...] = (
            ("Framed-IP-Address", session.framed_ip_address),
            ("Framed-IPv6-Prefix", session.framed_ipv6_prefix),
            ("Delegated-IPv6-Prefix", session.delegated_ipv6_prefix),
        )
        if session.nas_port_id is not None:
            for attribute, address in addresses:
                if address is not None:
                    return [("NAS-Port-Id", session.nas_port_id), (attribute, address)]
        return [("Acct-Session-Id", session.acct_session_id)]


def _changeable(service: Service) -> list[Avp]:
    up, down = sdk.kbps(service.up_bps), sdk.kbps(service.down_bps)
    avps = _profiles(service)
    upstream = "" if service.committed_up_bps is None else f",cir={sdk.kbps(service.committed_up_bps)}"
    overrides = [f"i:a:root:rate={up}", f"i:q:1:pir={up}{upstream}", f"e:r:rate={down}"]
    if service.committed_down_bps is not None:
        overrides.append(f"e:q:1:pir={down},cir={sdk.kbps(service.committed_down_bps)}")
    avps += [("Alc-Subscriber-QoS-Override", text) for text in overrides]
    if service.walled and service.wall_url:
        avps.append(("Alc-Portal-Url", service.wall_url))
    return avps


def _profiles(service: Service) -> list[Avp]:
    if service.walled:
        return [("Alc-SLA-Prof-Str", service.wall)]
    if service.profile is None:
        return []
    subscriber, slash, sla = service.profile.partition("/")
    if not subscriber or (slash and not sla) or "/" in sla:
        raise ValueError(f"profile {service.profile!r} is neither an SLA profile nor subscriber-profile/sla-profile")
    if not slash:
        return [("Alc-SLA-Prof-Str", subscriber)]
    return [("Alc-Subsc-Prof-Str", subscriber), ("Alc-SLA-Prof-Str", sla)]
