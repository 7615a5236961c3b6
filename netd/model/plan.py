"""What a subscriber buys: rates, session limits and where addresses come from."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A plan. ``down`` is towards the subscriber; pool and profile names are those the NAS knows; ``max_sessions`` 0 means no limit.

    ``access_hours`` are of ``netd.model.hours``, None: always. What is committed (guaranteed) of a rate is told outright or by ``contention_ratio``: 20
    means a twentieth.
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
    access_hours: str | None = None
    time_zone: str | None = None
    vlan: str | None = None
    contention_ratio: int | None = None
    committed_down_bps: int | None = None
    committed_up_bps: int | None = None

    def committed(self, way: Literal["down", "up"]) -> int | None:
        """bit/s that are guaranteed in this direction, None if nothing is said."""
        rate, stated = (self.down_bps, self.committed_down_bps) if way == "down" else (self.up_bps, self.committed_up_bps)
        return stated if self.contention_ratio is None else max(1, rate // self.contention_ratio)
