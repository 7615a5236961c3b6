"""What is left, which stages are in force, top-ups and roll-over."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from netd.domain import allowance
from netd.domain.metering import Meter, Span
from netd.model.quota import Credit, QuotaUsage, Stage
from tests.domain.test_metering import quota

STAGES = (Stage(percent=80, action="notify"), Stage(percent=100, action="lower", down_bps=1), Stage(percent=120, action="wall"))
NOW = 1_000.0


def usage(**members: Any) -> QuotaUsage:
    return QuotaUsage(**{"tenant_id": 1, "subscriber_id": 5, "quota_id": 1, "starts_at": 0.0, "ends_at": 86_400.0, "amount": 1000, **members})


def credit(number: int, amount: int, expires_at: float | None = None, used: int = 0) -> Credit:
    return Credit(id=number, tenant_id=1, subscriber_id=5, quota_id=1, amount=amount, used=used, expires_at=expires_at)


def percents(stages: tuple[Stage, ...]) -> list[int]:
    return [stage.percent for stage in stages]


def test_each_stage_is_reached_at_its_percentage() -> None:
    of, row = quota(stages=STAGES), usage()
    assert percents(allowance.count(of, row, 79_999, (), NOW).reached) == []
    assert percents(allowance.count(of, row, 1, (), NOW).reached) == [80]
    assert percents(allowance.count(of, row, 39_999, (), NOW).reached) == [100]
    assert percents(allowance.count(of, row, 1, (), NOW).reached) == [120]
    assert percents(allowance.count(of, row, 10**9, (), NOW).reached) == []


def test_what_no_column_could_hold_is_not_counted() -> None:
    row = usage(used=allowance.MOST - 1)
    allowance.count(quota(stages=STAGES), row, 1 << 63, (), NOW)
    assert row.used == allowance.MOST
    assert allowance.allowance(row, 1 << 70) == allowance.MOST


def test_one_packet_may_reach_several() -> None:
    assert percents(allowance.count(quota(stages=STAGES), usage(), 500_000, (), NOW).reached) == [80, 100, 120]


def test_top_ups_are_drawn_on_last_and_the_first_to_expire_goes_first() -> None:
    of, row = quota(stages=STAGES), usage()
    credits = [credit(1, 500), credit(2, 300, 9_000.0), credit(3, 200, 5_000.0), credit(4, 900, 500.0)]
    assert allowance.count(of, row, 100_000, credits, NOW).drawn == (), "the base comes first"
    assert [(each.id, each.used) for each in allowance.count(of, row, 25_000, credits, NOW).drawn] == [(3, 200), (2, 50)]
    assert [(each.id, each.used) for each in allowance.count(of, row, 70_000, credits, NOW).drawn] == [(2, 300), (1, 450)]
    assert credits[3].used == 0, "expired"
    assert allowance.allowance(row, allowance.left_of(credits, 1, NOW)) == 2000
    assert row.held_percent == 80


def test_what_was_used_beyond_all_before_a_top_up_is_not_taken_from_it() -> None:
    of, row = quota(stages=STAGES), usage()
    allowance.count(of, row, 110_000, (), NOW)
    assert row.held_percent == 100
    allowance.forgive_overuse(row)
    credits = [credit(1, 500)]
    allowance.settle(of, row, 500)
    assert row.held_percent == 0
    assert percents(allowance.count(of, row, 49_999, credits, NOW).reached) == [80]
    assert allowance.left_of(credits, 1, NOW) == 1
    assert percents(allowance.count(of, row, 1, credits, NOW).reached) == [100]


def test_a_stage_holds_until_usage_is_clearly_below() -> None:
    of, row = quota(stages=STAGES, hysteresis_percent=5), usage()
    allowance.count(of, row, 100_000, (), NOW)
    assert percents(allowance.in_force(of, row, 40)) == [80, 100], "96 %"
    assert percents(allowance.in_force(of, row, 52)) == [80, 100], "95.06 %"
    assert percents(allowance.in_force(of, row, 53)) == [80], "94.97 %"
    allowance.settle(of, row, 53)
    assert percents(allowance.in_force(of, row, 10)) == [80], "once it is over, 99 % do not bring it back"


def test_a_reset_begins_anew() -> None:
    of, row = quota(stages=STAGES), usage()
    allowance.count(of, row, 130_000, [credit(1, 100)], NOW)
    allowance.reset(row)
    assert (allowance.used(row), allowance.allowance(row, 0), allowance.in_force(of, row, 0)) == (0, 1000, ())
    assert percents(allowance.count(of, row, 80_000, (), NOW).reached) == [80]


@given(st.lists(st.integers(0, 30_000), max_size=30), st.lists(st.integers(1, 400), max_size=4), st.booleans())
@settings(deadline=None, max_examples=150)
def test_however_usage_is_cut_into_packets_the_end_is_the_same(steps: list[int], bought: list[int], split: bool) -> None:
    of = quota(stages=STAGES)

    def run(pieces: list[int]) -> tuple[Any, ...]:
        row, credits = usage(), [credit(number, amount, 5_000.0 + number) for number, amount in enumerate(bought)]
        reached: list[int] = []
        for piece in pieces:
            reached += percents(allowance.count(of, row, piece, credits, NOW).reached)
        return row.used, row.used_rest, row.covered, row.held_percent, [each.used for each in credits], reached

    one = run([sum(steps)])
    assert run(steps) == one
    assert sum(one[4]) == one[2] <= sum(bought)
    if split:
        assert run([piece for step in steps for piece in (step // 3, step - step // 3)]) == one


def day(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def carried(cap: int, before: QuotaUsage | None, into: str) -> int:
    return allowance.carried_into(Meter(quota(period="month", rollover_amount=cap)), before, day(into), 0.0)


def may(**members: Any) -> QuotaUsage:
    return usage(**{"starts_at": day("2026-05-01"), "ends_at": day("2026-06-01"), **members})


def test_what_is_unused_is_carried_into_the_next_period_up_to_the_cap() -> None:
    assert carried(500, may(used=700), "2026-06-01") == 300
    assert carried(500, may(used=100), "2026-06-01") == 500
    assert carried(500, may(used=1300), "2026-06-01") == 0
    assert carried(500, may(used=1300, carried=400), "2026-06-01") == 100
    assert carried(500, may(used=1300, covered=300), "2026-06-01") == 0, "what a top-up paid is no part of the base"
    assert carried(500, may(used=700, forgiven=700), "2026-06-01") == 500, "a reset gives it back"
    assert carried(0, may(), "2026-06-01") == 0
    assert carried(500, None, "2026-06-01") == 0, "nothing was ever used: the quota may be new, or the plan"


def test_months_without_usage_hand_on_what_they_got() -> None:
    assert carried(2500, may(used=900), "2026-07-01") == 1100
    assert carried(2500, may(used=900), "2026-08-01") == 2100
    assert carried(2500, may(used=900), "2026-09-01") == 2500
    assert carried(2500, may(used=900), "2036-09-01") == 2500


def test_the_current_period_of_rows_that_are_old() -> None:
    meter = Meter(quota(period="month", rollover_amount=300))
    fresh = allowance.current(meter, [None, may(used=800)], day("2026-06-20"), 0.0, 1, 5)
    assert (Span(fresh.starts_at, fresh.ends_at), fresh.used, fresh.carried) == (Span(day("2026-06-01"), day("2026-07-01")), 0, 200)
    row = may(used=800)
    assert allowance.current(meter, [row], day("2026-05-31"), 0.0, 1, 5) is row
