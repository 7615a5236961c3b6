"""Address pools, the rules that assign them, leases, and who has an address."""

from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

import msgspec

PoolKind = Literal["ipv4", "ipv6", "delegated"]
LeaseState = Literal["in_use", "grace", "remembered"]


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """A pool. ``kind``: ``ipv4`` addresses (Framed-IP-Address), ``ipv6`` prefixes for the link (Framed-IPv6-Prefix), ``delegated`` prefixes for the
    network behind (Delegated-IPv6-Prefix), each of ``prefix_length``. ``ranges`` and ``exclusions`` are ``first-last`` or one address. After a
    session's end nobody else gets its address for ``grace_seconds``, and later only when nothing else is free."""

    id: int
    tenant_id: int
    name: str
    kind: PoolKind
    prefix_length: int
    vrf: str | None
    gateway: IPv4Address | IPv6Address | None
    grace_seconds: int
    description: str | None
    ranges: tuple[str, ...]
    exclusions: tuple[str, ...]
    version: int
    created_at: datetime
    updated_at: datetime


class PoolRule(msgspec.Struct, frozen=True, kw_only=True):
    """Log-ins that fulfil every condition given are served from ``pool``. Of several rules the most specific wins: one that names the NAS before one
    that does not, then one that names the site, the VRF, the plan."""

    id: int
    tenant_id: int
    pool_id: int
    pool: str
    kind: PoolKind
    plan: str | None
    nas: str | None
    site: str | None
    vrf: str | None
    created_at: datetime


class PoolUsage(msgspec.Struct, frozen=True, kw_only=True):
    """``total`` is what the pool may give out, fixed addresses of subscribers aside; ``used`` is in use or in its grace time; ``remembered`` is free,
    but kept for its last holder while there is something else; ``free`` includes it."""

    pool_id: int
    pool: str
    total: int
    used: int
    remembered: int
    free: int


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscriber, device or DHCP client has, or had last. ``client_id`` is from where: Calling-Station-Id or port, a DHCP client identifier (hex)
    and, behind @, its line. ``until_at`` is None while a session has it. ``mac``, ``hostname`` and boot ``profile`` are a DHCP client's. ``conflict``:
    what the NAS used instead."""

    id: int
    tenant_id: int
    pool_id: int
    pool: str
    kind: PoolKind
    prefix: IPv4Network | IPv6Network
    state: LeaseState
    subscriber_id: int | None
    username: str | None
    device_id: int | None
    client_id: str
    slot: int
    mac: str | None
    hostname: str | None
    profile: str | None
    leased_at: datetime
    ended_at: datetime | None
    until_at: datetime | None
    conflict: str | None
    conflict_at: datetime | None


class FramedRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A network behind a subscriber (Framed-Route, Framed-IPv6-Route). Without ``gateway`` it is reached by the subscriber's own address."""

    id: int
    tenant_id: int
    subscriber_id: int
    prefix: IPv4Network | IPv6Network
    gateway: IPv4Address | IPv6Address | None
    metric: int
    created_at: datetime


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """Who has an address, and by what right: fixed with the subscriber, routed to it, leased from a pool, or a single IPv6 address given by DHCP.
    ``client`` is a DHCP client's MAC address, or where it tells none its identifier."""

    source: Literal["fixed", "route", "lease", "dhcp"]
    prefix: IPv4Network | IPv6Network
    subscriber_id: int | None
    username: str | None
    pool: str | None
    state: LeaseState | None
    since: datetime | None
    client: str | None
