"""What the engine remembers of quotas, and what they make of the service; no loop, no database."""

import itertools
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netd.domain import allowance
from netd.domain.metering import Meter, Span
from netd.model.plan import Plan
from netd.model.quota import Credit, QuotaUsage, Stage
from netd.radius.account import NO_EFFECT, PLAIN, Account, Variant, ends_at
from netd.radius.directory import Directory
from netd.radius.grants import Wall
from netd.radius.ledger import Ledger
from netd.sdk import Service
from netd.store.directory import SubscriberRow
from tests.domain.test_metering import quota
from tests.radius.engine import EXTENSIONS
from tests.radius.test_ledger import SESSION, START, record

LOWER = Stage(percent=100, action="lower", down_bps=2_000_000, up_bps=1_000_000)
SLOWER = Stage(percent=150, action="lower", down_bps=500_000)
WALL = Stage(percent=120, action="wall")
BLOCK = Stage(percent=200, action="block")


def row(used: int, quota_id: int = 1, **members: Any) -> QuotaUsage:
    plain: dict[str, Any] = {
        "tenant_id": 1, "subscriber_id": 5, "quota_id": quota_id, "starts_at": 0.0, "ends_at": 1000.0, "amount": 1000, "used": used, "version": 1,
    }  # fmt: skip
    return QuotaUsage(**{**plain, **members})


def account(*rows: QuotaUsage) -> Account:
    made = Account(1, 5)
    for each in rows:
        assert made.put(each)
    return made


def meters(*stages: Stage, **members: Any) -> tuple[Meter, ...]:
    return (Meter(quota(**{"name": "monthly", "stages": stages, **members})),)


@pytest.mark.parametrize(
    ("used", "variant", "blocked"),
    [
        (999, PLAIN, False), (1000, Variant(False, 2_000_000, 1_000_000), False), (1500, Variant(False, 500_000, 0), False),
        (2000, PLAIN, True),
    ],
)  # fmt: skip
def test_the_highest_stage_counts(used: int, variant: Variant, blocked: bool) -> None:
    found = account(row(used)).effect(meters(LOWER, SLOWER, BLOCK), 500.0)
    assert (found.variant, found.blocked) == (variant, blocked)


def test_the_wall_comes_before_lower_rates_and_a_block_before_the_wall() -> None:
    both = account(row(1600))
    found = both.effect(meters(LOWER, WALL, SLOWER), 500.0)
    assert (found.variant.walled, found.detail) == (True, "quota monthly: 1.6 kB of 1.0 kB used (160 %), walled until 1970-01-01T00:16Z")
    two = (*meters(WALL), Meter(quota(id=2, name="daily", stages=(BLOCK,))))
    assert account(row(1600), row(2000, 2)).effect(two, 500.0).blocked


def test_of_two_quotas_the_lower_rates_hold() -> None:
    two = (*meters(LOWER), Meter(quota(id=2, name="daily", stages=(SLOWER,))))
    found = account(row(1000), row(1500, 2)).effect(two, 500.0)
    assert found.variant == Variant(False, 500_000, 1_000_000)
    assert "quota monthly" in found.detail
    assert "quota daily" in found.detail


def test_the_effect_ends_with_the_period_and_changes_when_a_top_up_expires() -> None:
    known, of = account(row(1000)), meters(LOWER)
    known.put_credits([Credit(id=1, tenant_id=1, subscriber_id=5, quota_id=1, amount=500, used=0, expires_at=700.0)])
    assert known.effect(of, 699.9) == NO_EFFECT
    assert known.effect(of, 700.0).variant.down_bps == 2_000_000
    assert known.effect(of, 999.9).variant.down_bps == 2_000_000
    assert known.effect(of, 1000.0) == NO_EFFECT
    assert known.effect(of, 5000.0) == NO_EFFECT


def test_a_nas_whose_clock_is_ahead_ends_no_period() -> None:
    known = account(row(1000), row(1, starts_at=1000.0, ends_at=2000.0))
    assert known.effect(meters(LOWER), 999.0).variant.down_bps == 2_000_000
    assert known.effect(meters(LOWER), 1000.0) == NO_EFFECT


def test_notify_does_nothing_to_the_service() -> None:
    assert account(row(5000)).effect(meters(Stage(percent=80, action="notify")), 500.0) == NO_EFFECT


def test_memory_never_goes_back() -> None:
    known = account(row(700, version=3))
    assert not known.put(row(600, version=2))
    assert known.put(row(0, version=4)), "a reset"
    assert known.put(row(1, starts_at=1000.0, ends_at=2000.0, version=1))
    assert known.put(row(10, version=5)), "the period before: a late packet"
    assert not known.put(row(9, version=4))
    assert (known.newest[1].used, known.before[1].used) == (1, 10)


def test_when_a_time_quota_ends_the_session() -> None:
    of = meters(LOWER, BLOCK, unit="time", period="day", amount=3600)
    begin = 20_000 * 86_400.0
    assert ends_at(Account(1, 5), of, 0.0, begin) == begin + 7200, "at the block; a lower rate needs no new login"
    known = account(row(3000, starts_at=begin, ends_at=begin + 86_400, amount=3600))
    assert ends_at(known, of, 0.0, begin + 10_000) == begin + 10_000 + 4200
    assert ends_at(known, of, 0.0, begin + 86_000) is None, "the next day brings time"
    assert ends_at(known, meters(BLOCK), 0.0, begin) is None, "a volume has no end in time"


@given(st.lists(st.integers(0, 3), max_size=8), st.permutations(range(4)), st.lists(st.booleans(), min_size=8, max_size=8))
@settings(deadline=None, max_examples=100)
def test_any_order_and_repetition_of_packets_uses_the_same(extra: list[int], order: list[int], cuts: list[bool]) -> None:
    """From packets through the ledger to the counted row: the period's total never depends on how they arrive."""
    meter = Meter(quota(period="month", amount=10**10, stages=(LOWER, BLOCK)))
    counted = row(0, starts_at=meter.span(START, 0.0).starts_at, ends_at=meter.span(START, 0.0).ends_at)
    rows: dict[int, Any] = {}
    ids = itertools.count(1)
    reached: list[int] = []

    def post(batch: list[Any]) -> None:
        ledger = Ledger([msgspec.structs.replace(each) for each in rows.values()], lambda: next(ids))
        for each in batch:
            ledger.post(each)
        for change in ledger.changes():
            rows[change.after.radacctid] = change.after
        for usage in ledger.usage:
            for span, hundredths in meter.parts(usage.up_octets + usage.down_octets, usage.since, usage.at, 0.0):
                assert span == Span(counted.starts_at, counted.ends_at)
                reached.extend(stage.percent for stage in allowance.count(meter.quota, counted, hundredths, (), START).reached)

    batch: list[Any] = []
    for number, cut in zip([*order, *extra], itertools.cycle(cuts), strict=False):
        batch.append(SESSION[number])
        if cut:
            post(batch)
            batch = []
    post(batch)
    assert counted.used == 5_000_000_100 + 6_000_000_100
    assert reached == [100], "each stage once"


def test_an_interim_over_midnight_is_divided_and_its_repetition_adds_nothing() -> None:
    midnight = datetime(2026, 11, 26, tzinfo=UTC).timestamp()
    ledger = Ledger([], itertools.count(1).__next__)
    for each in (
        record("start", midnight - 600), record("interim", midnight - 150, 450, 0, 1000), record("interim", midnight + 150, 750, 0, 3000),
        record("interim", midnight + 150, 750, 0, 3000),
    ):  # fmt: skip
        ledger.post(each)
    meter = Meter(quota(period="day"))
    parts = [part for usage in ledger.usage for part in meter.parts(usage.down_octets, usage.since, usage.at, 0.0)]
    assert [(part.span.starts_at - midnight, part.hundredths) for part in parts] == [(-86_400.0, 100_000), (-86_400.0, 100_000), (0.0, 100_000)]


# -- the service --


def directory_with(**plan: Any) -> Directory:
    """A directory with one plan."""
    made = Directory(EXTENSIONS(), lambda sealed, context: sealed, Wall("walled-garden", "", 1_000_000, 1_000_000))
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    members: dict[str, Any] = {
        **dict.fromkeys(Plan.__struct_fields__), "id": 1, "tenant_id": 1, "name": "home", "down_bps": 100_000_000, "up_bps": 20_000_000,
        "interim_seconds": 300, "max_sessions": 0, "dns": (), "replies": (), "raw": False, "version": 1, "created_at": moment, "updated_at": moment,
    }  # fmt: skip
    made.put_plans([Plan(**{**members, **plan})])
    return made


def granted(vendor: str, variant: Variant, **plan: Any) -> Service:
    directory = directory_with(**plan)
    grant = directory.grants.of(directory.plans[1], vendor, variant)
    assert not grant.fault
    assert directory.grants.services[grant.fingerprint] == grant.service
    return grant.service


LOWERED = Variant(False, 2_000_000, 0)


def test_a_lowered_service_has_no_burst_and_never_more_than_the_plan() -> None:
    found = granted("mikrotik", LOWERED, burst_down_bps=200_000_000, burst_seconds=5, priority=3, profile="gold")
    assert (found.down_bps, found.up_bps, found.burst_down_bps, found.burst_seconds, found.priority) == (2_000_000, 20_000_000, None, None, 3)
    assert found.profile == "gold", "RouterOS lets the rates win over the profile"
    assert granted("mikrotik", Variant(False, 10**12, 10**12)).down_bps == 100_000_000


@pytest.mark.parametrize("vendor", ["huawei", "cisco"])
def test_a_profile_that_alone_says_how_fast_gives_way_to_lower_rates(vendor: str) -> None:
    found = granted(vendor, LOWERED, profile="gold")
    assert (found.down_bps, found.profile) == (2_000_000, None)
    assert granted(vendor, PLAIN, profile="gold").profile == "gold"
    named = granted(vendor, Variant(False, 2_000_000, 0, "slow"), profile="gold")
    assert named.profile == "slow"


def test_a_profile_that_takes_the_rates_stays() -> None:
    found = granted("juniper", LOWERED, profile="internet")
    assert (found.down_bps, found.profile) == (2_000_000, "internet")


def test_a_quota_in_a_time_zone_that_is_not_known_here_is_counted_in_utc_and_told() -> None:
    directory = directory_with()
    directory.put_quotas([1], [quota(timezone="Mars/Olympus")])
    assert [meter.quota.timezone for meter in directory.plans[1].meters] == ["UTC"]
    assert "Mars/Olympus" in directory.faults["quotas of plan 1"]
    directory.put_quotas([1], [])
    assert (directory.plans[1].meters, directory.metered, "quotas of plan 1" in directory.faults) == ((), False, False)


def test_a_deleted_subscriber_s_usage_is_forgotten() -> None:
    directory = directory_with()
    directory.put_subscribers([SubscriberRow(5, 1, "a", "a", None, 1, "active", 0.0, None, None, None, None, None, None, None, None)])
    directory.accounts[5] = account(row(1))
    directory.remove_subscribers([5])
    assert directory.accounts == {}
