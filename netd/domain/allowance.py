"""What is left of a quota, and what happens when it is used up: pure.

The allowance of a period is the plan's amount, what was carried over from the period before, and top-ups: those already drawn on in this
period (``covered``) and what is left of those still valid. Top-ups are drawn on only once the rest is used up. What was used beyond all
allowance before a top-up was bought is forgiven by it, so that all of it can be used; a reset forgives everything.

A stage is in force from its percentage on, and stays in force until usage is ``hysteresis_percent`` below it (through a top-up, a reset or a
greater allowance) or the period ends.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from netd.domain.metering import WHOLE, Meter, Span
from netd.model.quota import Credit, Quota, QuotaUsage, Stage

MOST: Final = 1 << 62
"""More is never counted: whatever a NAS claims, the sum fits its column."""


class Draw(NamedTuple):
    """What counting did: stages reached now that were not in force before, and top-ups that were drawn on."""

    reached: tuple[Stage, ...]
    drawn: tuple[Credit, ...]


def fresh(quota: Quota, tenant_id: int, subscriber_id: int, span: Span, carried: int) -> QuotaUsage:
    """The usage of a period of which nothing is used yet."""
    return QuotaUsage(
        tenant_id=tenant_id, subscriber_id=subscriber_id, quota_id=quota.id, starts_at=span.starts_at, ends_at=span.ends_at,
        amount=quota.amount, carried=carried,
    )  # fmt: skip


def current(meter: Meter, known: Iterable[QuotaUsage | None], at: float, activated_at: float, tenant_id: int, subscriber_id: int) -> QuotaUsage:
    """The usage of the period that ``at`` lies in, from the ``known`` rows of the quota; a fresh one if nothing is used yet."""
    rows = [row for row in known if row is not None]
    for row in rows:
        if row.starts_at <= at < row.ends_at:
            return row
    span = meter.span(at, activated_at)
    before = max((row for row in rows if row.starts_at < span.starts_at), key=lambda row: row.starts_at, default=None)
    return fresh(meter.quota, tenant_id, subscriber_id, span, carried_into(meter, before, span.starts_at, activated_at))


def used(usage: QuotaUsage) -> int:
    """What counts as used."""
    return usage.used - usage.forgiven


def left_of(credits: Iterable[Credit], quota_id: int, now: float) -> int:
    """What valid top-ups of a quota have left."""
    return sum(each.amount - each.used for each in credits if each.quota_id == quota_id and (each.expires_at is None or each.expires_at > now))


def allowance(usage: QuotaUsage, credit_left: int) -> int:
    """What may be used in the period altogether."""
    return min(usage.amount + usage.carried + usage.covered + credit_left, MOST)


def in_force(quota: Quota, usage: QuotaUsage, credit_left: int) -> tuple[Stage, ...]:
    """The stages in force, lowest first."""
    spent, whole = used(usage) * 100, allowance(usage, credit_left)
    return tuple(
        stage
        for stage in quota.stages
        if spent >= stage.percent * whole or (stage.percent <= usage.held_percent and spent >= (stage.percent - quota.hysteresis_percent) * whole > 0)
    )


def settle(quota: Quota, usage: QuotaUsage, credit_left: int) -> tuple[Stage, ...]:
    """Note in ``usage`` how high the stages in force reach; returns those that were not in force before."""
    usage.amount = quota.amount
    before = usage.held_percent
    stages = in_force(quota, usage, credit_left)
    usage.held_percent = max((stage.percent for stage in stages), default=0)
    return tuple(stage for stage in stages if stage.percent > before)


def count(quota: Quota, usage: QuotaUsage, hundredths: int, credits: Sequence[Credit], now: float) -> Draw:
    """Add to what is used, draw on top-ups for what exceeds the base (the first to expire goes first), and find the stages reached."""
    more, usage.used_rest = divmod(usage.used_rest + hundredths, WHOLE)
    usage.used = min(usage.used + more, MOST)
    usage.amount = quota.amount
    need = used(usage) - usage.amount - usage.carried - usage.covered
    drawn: list[Credit] = []
    valid = [each for each in credits if each.quota_id == quota.id and each.used < each.amount and (each.expires_at is None or each.expires_at > now)]
    for credit in sorted(valid, key=lambda each: (each.expires_at is None, each.expires_at or 0.0, each.id)):
        if need <= 0:
            break
        take = min(need, credit.amount - credit.used)
        credit.used += take
        usage.covered += take
        need -= take
        drawn.append(credit)
    return Draw(settle(quota, usage, left_of(credits, quota.id, now)), tuple(drawn))


def forgive_overuse(usage: QuotaUsage) -> None:
    """Forget what was used beyond all allowance, before a top-up is added."""
    usage.forgiven += max(0, used(usage) - usage.amount - usage.carried - usage.covered)


def reset(usage: QuotaUsage) -> None:
    """Begin the period anew: nothing is used, no stage is in force. What was drawn from top-ups stays drawn."""
    usage.forgiven, usage.covered, usage.held_percent = usage.used, 0, 0


def carried_into(meter: Meter, before: QuotaUsage | None, starts_at: float, activated_at: float) -> int:
    """What a period that begins at ``starts_at`` inherits from ``before``, the last one in which anything was used.

    Periods without usage in between are walked through: each hands on what it inherited and all of its own, up to the cap.
    """
    cap = meter.quota.rollover_amount
    if not cap or before is None:
        return 0
    carried = _unused(before, cap)
    at = before.ends_at
    while at < starts_at:
        span = meter.span(at, activated_at)
        if span.ends_at > starts_at:
            break
        more = min(cap, carried + meter.quota.amount)
        if more == carried:
            break  # the cap is reached
        carried, at = more, span.ends_at
    return carried


def _unused(usage: QuotaUsage, cap: int) -> int:
    spent = used(usage) - usage.covered
    return min(cap, max(0, usage.amount + usage.carried - spent))
