"""What the engine remembers of one subscriber's quotas, and what they do to the service: pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from netd.domain import allowance
from netd.domain.metering import Meter
from netd.model.quota import Credit, Quota, QuotaUsage, Stage

NEVER: Final = float("inf")


class Variant(NamedTuple):
    """How a subscriber's service differs from the plan's: the walled garden, or lower rates (0: the plan's) and another profile ("": the plan's)."""

    walled: bool = False
    down_bps: int = 0
    up_bps: int = 0
    profile: str = ""


PLAIN: Final = Variant()
WALLED: Final = Variant(walled=True)


class Effect(NamedTuple):
    """What a subscriber's quotas do to the service: ``blocked``, or a variant of it; ``detail`` says which quota, how far, until when."""

    variant: Variant
    blocked: bool
    detail: str


NO_EFFECT: Final = Effect(PLAIN, False, "")


class Account:
    """What is known of one subscriber's usage: by quota the newest period's row and the one before it, and top-ups with something left."""

    __slots__ = ("_effect", "_meters", "_until", "before", "credits", "newest", "subscriber_id", "tenant_id")

    def __init__(self, tenant_id: int, subscriber_id: int) -> None:
        self.tenant_id = tenant_id
        self.subscriber_id = subscriber_id
        self.newest: dict[int, QuotaUsage] = {}
        self.before: dict[int, QuotaUsage] = {}
        self.credits: list[Credit] = []
        self._effect = NO_EFFECT
        self._until = 0.0  # the effect holds until then, for the same meters
        self._meters: tuple[Meter, ...] = ()

    def put(self, row: QuotaUsage) -> bool:
        """Take a row in unless it is older than what is known; whether it was taken."""
        known = self.newest.get(row.quota_id)
        if known is not None and row.starts_at < known.starts_at:
            before = self.before.get(row.quota_id)
            if before is not None and (row.starts_at, row.version) <= (before.starts_at, before.version):
                return False
            self.before[row.quota_id] = row
        else:
            if known is not None and row.starts_at == known.starts_at and row.version <= known.version:
                return False
            if known is not None and row.starts_at > known.starts_at:
                self.before[row.quota_id] = known
            self.newest[row.quota_id] = row
        self._until = 0.0
        return True

    def put_credits(self, credits: list[Credit]) -> None:
        """Top-ups as they are now."""
        self.credits = credits
        self._until = 0.0

    def current(self, meter: Meter, at: float, activated_at: float) -> QuotaUsage:
        """The usage of the period that ``at`` lies in; a fresh one if nothing is used yet."""
        known = (self.newest.get(meter.quota.id), self.before.get(meter.quota.id))
        return allowance.current(meter, known, at, activated_at, self.tenant_id, self.subscriber_id)

    def last_before(self, quota_id: int, starts_at: float) -> QuotaUsage | None:
        """The newest known row of an earlier period."""
        for rows in (self.newest, self.before):
            row = rows.get(quota_id)
            if row is not None and row.starts_at < starts_at:
                return row
        return None

    def effect(self, meters: tuple[Meter, ...], now: float) -> Effect:
        """What is in force now."""
        if now >= self._until or meters is not self._meters:
            self._effect, self._until = self._judge(meters, now)
            self._meters = meters
        return self._effect

    def _judge(self, meters: tuple[Meter, ...], now: float) -> tuple[Effect, float]:
        until = min((each.expires_at for each in self.credits if each.expires_at is not None and each.expires_at > now), default=NEVER)
        found: list[tuple[Meter, QuotaUsage, Stage]] = []
        for meter in meters:
            row = self.newest.get(meter.quota.id)
            if row is not None and now < row.starts_at:  # a NAS whose clock is ahead
                until = min(until, row.starts_at)
                row = self.before.get(meter.quota.id)
            if row is None or not row.starts_at <= now < row.ends_at:
                continue
            until = min(until, row.ends_at)
            left = allowance.left_of(self.credits, meter.quota.id, now)
            allowance.settle(meter.quota, row, left)
            found += [(meter, row, stage) for stage in allowance.in_force(meter.quota, row, left) if stage.action != "notify"]
        return _combined(found, self.credits, now), until


def _combined(found: Sequence[tuple[Meter, QuotaUsage, Stage]], credits: Sequence[Credit], now: float) -> Effect:
    """The strictest of several stages: blocked before walled before the lowest rates."""
    for action in ("block", "wall"):
        for meter, row, stage in found:
            if stage.action == action:
                said = "blocked" if action == "block" else "walled"
                return Effect(WALLED if action == "wall" else PLAIN, action == "block", describe(meter.quota, row, credits, said, now))
    if not found:
        return NO_EFFECT
    latest = {meter.quota.id: (meter, row, stage) for meter, row, stage in found}  # of one quota the highest stage counts
    down = min((stage.down_bps for _, _, stage in latest.values() if stage.down_bps is not None), default=0)
    up = min((stage.up_bps for _, _, stage in latest.values() if stage.up_bps is not None), default=0)
    profile = next((stage.profile for _, _, stage in latest.values() if stage.profile is not None), "")
    detail = "; ".join(describe(meter.quota, row, credits, "lowered", now) for meter, row, _ in latest.values())
    return Effect(Variant(False, down, up, profile), False, detail)


def describe(quota: Quota, row: QuotaUsage, credits: Sequence[Credit], said: str, now: float) -> str:
    """``quota monthly: 121.0 GB of 100.0 GB used (121 %), walled until 2026-12-01T00:00Z``."""
    spent, whole = allowance.used(row), allowance.allowance(row, allowance.left_of(credits, quota.id, now))
    until = datetime.fromtimestamp(row.ends_at, UTC).strftime("%Y-%m-%dT%H:%MZ")
    return f"quota {quota.name}: {_amount(quota, spent)} of {_amount(quota, whole)} used ({spent * 100 // whole} %), {said} until {until}"


def _amount(quota: Quota, amount: int) -> str:
    if quota.unit == "time":
        return f"{amount // 3600}h{amount % 3600 // 60:02}m"
    for size, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if amount >= size:
            return f"{amount / size:.1f} {unit}"
    return f"{amount} B"


def ends_at(account: Account, meters: Iterable[Meter], activated_at: float, now: float) -> float | None:
    """When the first time quota will keep the subscriber from going on as now (wall or block), if this period; Unix time."""
    first: float | None = None
    for meter in meters:
        stages = [stage for stage in meter.quota.stages if stage.action in ("wall", "block")] if meter.quota.unit == "time" else []
        if not stages:
            continue
        row = account.current(meter, now, activated_at)
        row.amount = meter.quota.amount
        whole = allowance.allowance(row, allowance.left_of(account.credits, meter.quota.id, now))
        left = [-(-stage.percent * whole // 100) - allowance.used(row) for stage in stages]
        ahead = [each for each in left if each > 0]
        if ahead:
            at = meter.used_up_at(min(ahead), now, row.ends_at)
            if at is not None:
                first = at if first is None else min(first, at)
    return first
