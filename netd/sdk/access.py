"""What a vendor says of subscribers' access by RADIUS, and what a policy plugin sees of it.

Drivers return attributes by dictionary name; netd encodes them. The functions at the end are what drivers share, for vendors do not know each other.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Protocol, runtime_checkable

import msgspec

from netd.model.access import Reason

Value = int | str | bytes | IPv4Address | IPv6Address | IPv4Network | IPv6Network
"""What an attribute may carry: int for integer, integer64, byte, short and date; str for string; bytes for octets, ifid and ether."""

Avp = tuple[str, Value]
"""One attribute: dictionary name and value. A tagged attribute's name carries its tag: ``Tunnel-Type:1``."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is to get: the plan, or the walled garden, without anything that differs between two subscribers of one plan.

    ``down`` is towards the subscriber. ``walled`` is true while a lock keeps the subscriber in the walled garden: rates are then
    those of the garden, ``wall`` names the filter, address list or profile that the operator set up on the NAS for it, and
    ``profile`` counts for nothing. ``committed`` is what is guaranteed of a rate where many share a link. Burst, committed rates, priority, ``profile``
    and ``wall_url`` are extras that a vendor without such a thing leaves out; all else is granted as it stands here or not at all.
    """

    down_bps: int
    up_bps: int
    burst_down_bps: int | None = None
    burst_up_bps: int | None = None
    burst_threshold_down_bps: int | None = None
    burst_threshold_up_bps: int | None = None
    burst_seconds: int | None = None
    priority: int | None = None
    profile: str | None = None
    ipv4_pool: str | None = None
    ipv6_pool: str | None = None
    delegated_ipv6_pool: str | None = None
    dns: tuple[IPv4Address | IPv6Address, ...] = ()
    session_timeout_seconds: int | None = None
    idle_timeout_seconds: int | None = None
    interim_seconds: int = 300
    walled: bool = False
    wall: str = "walled-garden"
    wall_url: str | None = None
    committed_down_bps: int | None = None
    committed_up_bps: int | None = None
    vlan: str | None = None


class LiveSession(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an open session, to identify it towards its NAS."""

    username: str
    acct_session_id: str
    nas_ip_address: IPv4Address | IPv6Address
    nas_identifier: str | None = None
    nas_port_id: str | None = None
    calling_station_id: str | None = None
    called_station_id: str | None = None
    framed_ip_address: IPv4Address | None = None
    framed_ipv6_prefix: IPv6Network | None = None
    framed_ipv6_address: IPv6Address | None = None
    delegated_ipv6_prefix: IPv6Network | None = None


@runtime_checkable
class Access(Protocol):
    """A vendor that subscribers connect through."""

    def grant(self, service: Service) -> Sequence[Avp]:
        """Attributes for an Access-Accept, the rates in the vendor's units and direction.

        Addresses of the single subscriber, Class and MPPE keys are netd's. Raise ValueError if the service cannot be expressed
        (the request is then rejected with ``not_grantable``, never granted with something else).
        """
        ...

    def change(self, before: Service | None, after: Service) -> Sequence[Avp] | None:
        """Attributes that bring a live session from ``before`` to ``after`` by CoA, or None if only a new login does (netd then disconnects).

        ``before`` is what the session was last granted, None if that is not known: then a driver must not assume that only the
        rates differ. An empty sequence means that nothing needs to be sent. Raises ValueError as ``grant(after)`` would.
        """
        ...

    def identify(self, session: LiveSession) -> Sequence[Avp]:
        """Attributes that name the session in a CoA- or Disconnect-Request to this vendor."""
        ...


class AccessRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy sees of an Access-Request; no credentials."""

    tenant_id: int
    username: str
    nas: str
    nas_port_id: str | None
    calling_station_id: str | None
    called_station_id: str | None


@runtime_checkable
class Policy(Protocol):
    """A plugin that reviews verdicts. Called in the hot path: must return at once, from memory."""

    def review(self, request: AccessRequest, reason: Reason) -> Reason | None:
        """Return None to leave the verdict, or a Reason to turn an accept into a reject (a reject is never turned into an accept)."""
        ...


RATES = frozenset(
    {
        "down_bps",
        "up_bps",
        "burst_down_bps",
        "burst_up_bps",
        "burst_threshold_down_bps",
        "burst_threshold_up_bps",
        "burst_seconds",
        "priority",
        "committed_down_bps",
        "committed_up_bps",
    }
)
"""The fields of :class:`Service` that say how fast."""

UINT32_MAX = 2**32 - 1

FIRST_FIELDS = Service.__struct_fields__[: Service.__struct_fields__.index("wall_url") + 1]
"""Those of the first release. A field added since leaves a fingerprint as it was while it says nothing: an upgrade changes no live session."""


def timers(service: Service) -> list[Avp]:
    """Session-Timeout, Idle-Timeout (where set) and Acct-Interim-Interval, in seconds."""
    avps: list[Avp] = []
    if service.session_timeout_seconds is not None:
        avps.append(("Session-Timeout", service.session_timeout_seconds))
    if service.idle_timeout_seconds is not None:
        avps.append(("Idle-Timeout", service.idle_timeout_seconds))
    avps.append(("Acct-Interim-Interval", service.interim_seconds))
    return avps


def pools(
    service: Service,
    *,
    ipv4: str = "Framed-Pool",
    ipv6: str = "Framed-IPv6-Pool",
    delegated: str = "Delegated-IPv6-Prefix-Pool",
) -> list[Avp]:
    """Pool names where set, under the attributes of RFC 2869, 3162 and 6911 or those given."""
    named = ((ipv4, service.ipv4_pool), (ipv6, service.ipv6_pool), (delegated, service.delegated_ipv6_pool))
    return [(attribute, pool) for attribute, pool in named if pool is not None]


def resolvers(
    service: Service,
    *,
    ipv4: Sequence[str] = ("MS-Primary-DNS-Server", "MS-Secondary-DNS-Server"),
    ipv6: Sequence[str] = ("DNS-Server-IPv6-Address", "DNS-Server-IPv6-Address"),
) -> list[Avp]:
    """DNS servers, in the plan's order, one for each attribute named; IPCP knows two (RFC 1877), so further ones are left out."""
    v4 = [address for address in service.dns if isinstance(address, IPv4Address)]
    v6 = [address for address in service.dns if isinstance(address, IPv6Address)]
    return [*zip(ipv4, v4, strict=False), *zip(ipv6, v6, strict=False)]


def vlan(service: Service) -> list[Avp]:
    """The VLAN where set (RFC 3580 3.31): Tunnel-Type VLAN, Tunnel-Medium-Type IEEE-802 and its number or name, all with tag 0. No CoA moves a session
    to another VLAN, so a changed one is a new login."""
    return vlan_of(service.vlan)


def vlan_of(name: str | None) -> list[Avp]:
    """``vlan`` for a number or name alone."""
    if name is None:
        return []
    return [("Tunnel-Type", 13), ("Tunnel-Medium-Type", 6), ("Tunnel-Private-Group-Id", name)]


def less_committed(before: Service, after: Service) -> bool:
    """Whether a committed rate is taken away, which a CoA cannot do where it stands in an attribute of its own."""
    ways = ("committed_down_bps", "committed_up_bps")
    return any(getattr(before, way) is not None and getattr(after, way) is None for way in ways)


def kbps(bps: int) -> int:
    """bit/s as kbit/s (1000 bit/s), to the nearest and at least 1: for vendors that know nothing finer."""
    return max(1, (bps + 500) // 1000)


def fits_uint32(service: Service, instead: str) -> None:
    """Refuse rates that an unsigned 32-bit number of bit/s cannot hold (4.29 Gbit/s); ``instead`` is what the operator can do."""
    for way, bps in (("down", service.down_bps), ("up", service.up_bps)):
        if bps > UINT32_MAX:
            raise ValueError(f"{way} {bps} bit/s is more than the {UINT32_MAX} bit/s that this vendor's attribute holds: {instead}")


def both_ways(profile: str) -> tuple[str, str]:
    """A plan's profile as names for (up, down): ``gold`` serves both directions, ``gold-up/gold-down`` names each."""
    up, slash, down = profile.partition("/")
    if not up or (slash and not down) or "/" in down:
        raise ValueError(f"profile {profile!r} is neither a name nor two of the form up/down")
    return up, down or up


def differing(before: Service, after: Service) -> frozenset[str]:
    """Names of the fields in which two services differ, leaving out what counts for nothing: the profile behind the wall, the wall outside."""
    one, other = _in_force(before), _in_force(after)
    return frozenset(name for name in Service.__struct_fields__ if getattr(one, name) != getattr(other, name))


def reachable(before: Service | None, after: Service, settable: frozenset[str]) -> bool:
    """Whether a CoA that can set the fields ``settable`` brings a session from ``before`` to ``after``.

    False if ``before`` is unknown, and if a value would have to be taken away: a CoA sets attributes, it does not remove them.
    Bursts and the wall are the exception, for where they can be set at all, they are part of something that is replaced as a whole.
    A new interim interval is worth no disconnection, so it does not count; it holds from the next login on.
    """
    if before is None:
        return False
    changed = differing(before, after) - {"interim_seconds"}
    replaced = RATES | {"wall", "wall_url"} | ({"profile"} if after.walled else set())
    return changed <= settable and all(getattr(after, name) is not None for name in changed - replaced)


def _in_force(service: Service) -> Service:
    if service.walled:
        return msgspec.structs.replace(service, profile=None)
    return msgspec.structs.replace(service, wall="", wall_url=None)
