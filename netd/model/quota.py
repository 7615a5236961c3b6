"""Quotas of a plan, what a subscriber used of them, and what was bought on top. Amounts are octets (volume) or seconds (time)."""

from datetime import datetime
from typing import Literal

import msgspec

Unit = Literal["volume", "time"]
QuotaPeriod = Literal["day", "week", "month", "anniversary"]
Direction = Literal["down", "up", "both"]
Action = Literal["notify", "lower", "wall", "block"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class FreeWindow(msgspec.Struct, frozen=True, kw_only=True):
    """Local times (``HH:MM``, ``end`` not included, the next day if not after ``start``) at which only ``percent`` of what is used counts.

    ``days`` are those on which the window begins; none: every day.
    """

    start: str
    end: str
    percent: int = 0
    days: tuple[Day, ...] = ()


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """What happens once ``percent`` of the allowance is used. Rates and ``profile`` belong to ``lower``; None leaves the plan's."""

    percent: int
    action: Action
    down_bps: int | None = None
    up_bps: int | None = None
    profile: str | None = None


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a plan may be used in a period. ``stages`` are in order of their percentage."""

    id: int
    tenant_id: int
    plan_id: int
    name: str
    unit: Unit
    period: QuotaPeriod
    direction: Direction
    amount: int
    timezone: str
    free_windows: tuple[FreeWindow, ...]
    rollover_amount: int
    hysteresis_percent: int
    stages: tuple[Stage, ...]
    version: int
    created_at: datetime
    updated_at: datetime


class QuotaUsage(msgspec.Struct, kw_only=True, gc=False):
    """A row of quota_usage: one subscriber, quota and period (Unix times). ``netd.domain.allowance`` says what its members do."""

    tenant_id: int
    subscriber_id: int
    quota_id: int
    starts_at: float
    ends_at: float
    amount: int
    carried: int = 0
    used: int = 0
    used_rest: int = 0
    forgiven: int = 0
    covered: int = 0
    held_percent: int = 0
    version: int = 0


class Credit(msgspec.Struct, kw_only=True, gc=False):
    """What is left of a top-up until ``expires_at`` (Unix time, None: for ever)."""

    id: int
    tenant_id: int
    subscriber_id: int
    quota_id: int
    amount: int
    used: int
    expires_at: float | None


class TopUp(msgspec.Struct, frozen=True, kw_only=True):
    """An amount bought on top of a quota; used up once, after what the plan itself allows."""

    id: int
    quota: str
    unit: Unit
    amount: int
    used: int
    expires_at: datetime | None
    note: str | None
    created_at: datetime
    created_by: str


class QuotaStanding(msgspec.Struct, frozen=True, kw_only=True):
    """Where a subscriber stands with one quota now. ``used`` leaves out what a reset or a top-up took off it; ``left`` is never below 0.

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
    top_ups: tuple[TopUp, ...]


class QuotaEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A stage that was reached: by whom, of which period, and how much was used of the allowance then."""

    id: int
    at: datetime
    subscriber_id: int
    username: str
    quota: str
    unit: Unit
    starts_at: datetime
    percent: int
    action: Action
    used: int
    allowance: int
