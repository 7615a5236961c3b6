"""What a subscriber buys: rates, session limits and where addresses come from."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address

import msgspec

from netd.model.subscriber import Attribute


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A plan. ``down`` is towards the subscriber; pool and profile names are those the NAS knows; ``max_sessions`` 0 means no limit.

    ``replies`` are attributes beside or instead of what the vendor's driver grants; a ``raw`` plan grants them alone, whatever the vendor.
    """

    id: int
    tenant_id: int
    name: str
    down_bps: int
    up_bps: int
    burst_down_bps: int | None
    burst_up_bps: int | None
    burst_threshold_down_bps: int | None
    burst_threshold_up_bps: int | None
    burst_seconds: int | None
    priority: int | None
    session_timeout_seconds: int | None
    idle_timeout_seconds: int | None
    interim_seconds: int
    max_sessions: int
    ipv4_pool: str | None
    ipv6_pool: str | None
    delegated_ipv6_pool: str | None
    dns: tuple[IPv4Address | IPv6Address, ...]
    profile: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    raw: bool = False
    replies: tuple[Attribute, ...] = ()
