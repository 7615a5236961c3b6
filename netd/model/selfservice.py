"""What a subscriber sees of the own account: nothing of the provider's notes, NAS, rules and people."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import msgspec

from netd.model.quota import Direction, QuotaPeriod, Stage, Unit
from netd.model.session import ClosedBy
from netd.model.subscriber import LockMode, LockReason, State


class OwnPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What the subscriber buys. ``down`` is towards the subscriber; ``max_sessions`` 0: no limit."""

    name: str
    down_bps: int
    up_bps: int
    max_sessions: int


class OwnLock(msgspec.Struct, frozen=True, kw_only=True):
    """Why the subscriber is kept out (``reject``) or walled in (``walled``), until lifted or ``until_at``."""

    reason: LockReason
    mode: LockMode
    until_at: datetime | None


class OwnAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The subscriber. ``permissions`` are what this token may, ``token_expires_at`` until when."""

    username: str
    full_name: str | None
    state: State
    plan: OwnPlan
    locks: tuple[OwnLock, ...]
    ipv4: IPv4Address | None
    ipv6_prefix: IPv6Network | None
    delegated_ipv6_prefix: IPv6Network | None
    expires_at: datetime | None
    created_at: datetime
    permissions: tuple[str, ...]
    token_expires_at: datetime | None


class OwnSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session; open while ``stopped_at`` is None. ``up_octets`` came from the subscriber, ``down_octets`` went to it."""

    id: int
    started_at: datetime
    updated_at: datetime
    stopped_at: datetime | None
    session_seconds: int
    up_octets: int
    down_octets: int
    calling_station_id: str | None
    framed_ip_address: IPv4Address | None
    framed_ipv6_address: IPv6Address | None
    framed_ipv6_prefix: IPv6Network | None
    delegated_ipv6_prefix: IPv6Network | None
    terminate_cause: str | None
    closed_by: ClosedBy | None


class OwnTopUp(msgspec.Struct, frozen=True, kw_only=True):
    """An amount bought on top of a quota that is still good."""

    amount: int
    used: int
    expires_at: datetime | None


class OwnQuota(msgspec.Struct, frozen=True, kw_only=True):
    """Where the subscriber stands with one quota: octets of a volume quota, seconds of a time quota.

    The allowance is ``amount`` + ``carried`` + ``topped_up``; ``stage`` is the highest one in force.
    """

    quota: str
    unit: Unit
    period: QuotaPeriod
    direction: Direction
    starts_at: datetime
    ends_at: datetime
    amount: int
    carried: int
    topped_up: int
    used: int
    left: int
    percent: float
    stage: Stage | None
    top_ups: tuple[OwnTopUp, ...]
