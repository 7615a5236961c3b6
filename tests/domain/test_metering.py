"""Periods, free windows, and what of a packet's usage belongs to which."""

from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netd.domain.metering import Meter, Span, instant, span_of, window_of
from netd.model.quota import FreeWindow, Quota

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "America/St_Johns",
    "America/Havana", "Asia/Beirut", "Africa/Cairo", "Atlantic/Azores",
)  # fmt: skip


def quota(**members: Any) -> Quota:
    plain: dict[str, Any] = {
        "id": 1, "tenant_id": 1, "plan_id": 1, "name": "q", "unit": "volume", "period": "month", "direction": "both", "amount": 1000, "timezone": "UTC",
        "free_windows": (), "rollover_amount": 0, "hysteresis_percent": 1, "stages": (), "version": 1, "created_at": MOMENT, "updated_at": MOMENT,
    }  # fmt: skip
    return Quota(**{**plain, **members})


def at(text: str, zone: str = "UTC", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def local(moment: float, zone: str) -> str:
    return datetime.fromtimestamp(moment, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


def span(period: Any, text: str, zone: str = "UTC", activated: str = "2026-01-31 10:00") -> tuple[str, str]:
    found = span_of(period, at(text, zone), ZoneInfo(zone), at(activated, zone))
    return local(found.starts_at, zone), local(found.ends_at, zone)


def test_calendar_periods() -> None:
    assert span("day", "2026-11-25 12:00", "Europe/Berlin") == ("2026-11-25 00:00", "2026-11-26 00:00")
    assert span("week", "2026-11-25 12:00", "Europe/Berlin") == ("2026-11-23 00:00", "2026-11-30 00:00")
    assert span("month", "2026-12-31 23:59", "Asia/Tokyo") == ("2026-12-01 00:00", "2027-01-01 00:00")


def test_who_began_on_the_31st_begins_on_the_last_day_of_a_shorter_month() -> None:
    assert span("anniversary", "2026-02-15 00:00") == ("2026-01-31 00:00", "2026-02-28 00:00")
    assert span("anniversary", "2026-02-28 00:00") == ("2026-02-28 00:00", "2026-03-31 00:00")
    assert span("anniversary", "2026-03-30 23:59") == ("2026-02-28 00:00", "2026-03-31 00:00")
    assert span("anniversary", "2026-04-30 00:00") == ("2026-04-30 00:00", "2026-05-31 00:00")
    assert span("anniversary", "2028-02-29 05:00") == ("2028-02-29 00:00", "2028-03-31 00:00")
    assert span("anniversary", "2026-12-31 05:00") == ("2026-12-31 00:00", "2027-01-31 00:00")


def test_the_anniversary_is_that_of_the_quota_s_time_zone() -> None:
    activated = at("2026-05-14 23:30", "UTC")  # the 15th in Berlin
    found = span_of("anniversary", at("2026-06-01 00:00"), ZoneInfo("Europe/Berlin"), activated)
    assert local(found.starts_at, "Europe/Berlin") == "2026-05-15 00:00"


def test_days_on_which_clocks_change() -> None:
    for text, hours in (("2026-03-29 12:00", 23), ("2026-10-25 12:00", 25), ("2026-06-01 12:00", 24)):
        found = span_of("day", at(text, "Europe/Berlin"), ZoneInfo("Europe/Berlin"), 0.0)
        assert (found.ends_at - found.starts_at) / 3600 == hours
    # In Sao Paulo clocks went from 23:59 to 01:00: the day began at one.
    assert span("day", "2018-11-04 12:00", "America/Sao_Paulo") == ("2018-11-04 01:00", "2018-11-05 00:00")
    # Samoa had no 30 December 2011.
    assert span("day", "2011-12-31 12:00", "Pacific/Apia") == ("2011-12-31 00:00", "2012-01-01 00:00")


@given(
    st.sampled_from(ZONES), st.sampled_from(("day", "week", "month", "anniversary")), st.integers(1_000_000_000, 2_000_000_000),
    st.integers(1_000_000_000, 1_900_000_000),
)  # fmt: skip
@settings(deadline=None, max_examples=100)
def test_periods_lie_end_to_end_and_every_moment_in_one(zone: str, period: Any, moment: int, activated: int) -> None:
    found = span_of(period, moment, ZoneInfo(zone), activated)
    assert found.starts_at <= moment < found.ends_at
    assert span_of(period, found.starts_at, ZoneInfo(zone), activated) == found
    assert span_of(period, found.ends_at - 1, ZoneInfo(zone), activated) == found
    assert span_of(period, found.ends_at, ZoneInfo(zone), activated).starts_at == found.ends_at
    longest = {"day": 2, "week": 8, "month": 32, "anniversary": 32}[period]
    assert found.ends_at - found.starts_at <= longest * 86_400


def test_what_straddles_midnight_is_divided_by_time() -> None:
    meter = Meter(quota(period="day"))
    parts = meter.parts(1000, at("2026-11-25 23:45"), at("2026-11-26 00:15"), 0.0)
    assert [(local(part.span.starts_at, "UTC"), part.hundredths) for part in parts] == [("2026-11-25 00:00", 50_000), ("2026-11-26 00:00", 50_000)]
    (whole,) = meter.parts(1000, at("2026-11-25 23:45"), at("2026-11-26 00:00"), 0.0)
    assert local(whole.span.starts_at, "UTC") == "2026-11-25 00:00"


@given(st.integers(0, 1 << 56), st.integers(0, 5_000_000), st.integers(0, 1_000_000), st.sampled_from(ZONES))
@settings(deadline=None, max_examples=100)
def test_nothing_is_lost_in_dividing(amount: int, offset: int, length: int, zone: str) -> None:
    meter = Meter(quota(period="day", timezone=zone))
    begin = 1_790_000_000.5 + offset
    assert sum(part.hundredths for part in meter.parts(amount, begin, begin + length, 0.0)) == amount * 100


def window(start: str, end: str, percent: int = 0, *days: Any) -> FreeWindow:
    return FreeWindow(start=start, end=end, percent=percent, days=days)


def counted(meter: Meter, since: str, until: str, amount: int = 3600, zone: str = "UTC") -> int:
    return sum(part.hundredths for part in meter.parts(amount, at(since, zone), at(until, zone), 0.0))


def test_a_free_night() -> None:
    meter = Meter(quota(free_windows=(window("01:00", "07:00"),)))
    assert counted(meter, "2026-11-25 02:00", "2026-11-25 03:00") == 0
    assert counted(meter, "2026-11-25 12:00", "2026-11-25 13:00") == 360_000
    assert counted(meter, "2026-11-25 00:30", "2026-11-25 01:30") == 180_000
    assert counted(meter, "2026-11-25 07:00", "2026-11-25 08:00") == 360_000
    assert counted(meter, "2026-11-25 00:00", "2026-11-26 00:00", 86_400) == 18 * 360_000
    assert counted(meter, "2026-11-25 02:00", "2026-11-25 02:00") == 0, "a packet that adds without taking time"


def test_windows_over_midnight_on_some_days_and_by_a_percentage() -> None:
    meter = Meter(quota(free_windows=(window("22:00", "06:00", 50, "fri"), window("00:00", "24:00", 20, "sun"))))
    assert counted(meter, "2026-11-27 23:00", "2026-11-28 00:00") == 180_000, "Friday night"
    assert counted(meter, "2026-11-28 05:00", "2026-11-28 06:00") == 180_000, "still Friday's window"
    assert counted(meter, "2026-11-28 06:00", "2026-11-28 07:00") == 360_000
    assert counted(meter, "2026-11-28 23:00", "2026-11-29 00:00") == 360_000
    assert counted(meter, "2026-11-29 23:30", "2026-11-30 00:30") == 36_000 + 180_000, "half of it on Sunday"


def test_the_lesser_of_two_windows_counts() -> None:
    meter = Meter(quota(free_windows=(window("00:00", "24:00", 50), window("01:00", "07:00"))))
    assert counted(meter, "2026-11-25 00:00", "2026-11-25 02:00", 7200) == 180_000


def test_a_window_follows_the_clocks() -> None:
    meter = Meter(quota(timezone="Europe/Berlin", free_windows=(window("01:00", "07:00"),)))
    assert counted(meter, "2026-03-29 00:00", "2026-03-29 12:00", 11 * 3600, "Europe/Berlin") == 6 * 360_000, "five hours long that night"
    assert counted(meter, "2026-10-25 00:00", "2026-10-25 12:00", 13 * 3600, "Europe/Berlin") == 6 * 360_000, "seven hours long that night"


def test_an_edge_that_clocks_skip_is_the_moment_after() -> None:
    """In Berlin there is no 02:30 on that day; Lord Howe puts its clocks forward by half an hour, from 02:00 to 02:30."""
    assert local(instant(date(2027, 3, 28), 150, ZoneInfo("Europe/Berlin")), "Europe/Berlin") == "2027-03-28 03:00"
    assert local(instant(date(2027, 3, 28), 179, ZoneInfo("Europe/Berlin")), "Europe/Berlin") == "2027-03-28 03:00"
    assert local(instant(date(2027, 3, 28), 180, ZoneInfo("Europe/Berlin")), "Europe/Berlin") == "2027-03-28 03:00"
    assert local(instant(date(2027, 10, 3), 135, ZoneInfo("Australia/Lord_Howe")), "Australia/Lord_Howe") == "2027-10-03 02:30"
    twice = instant(date(2027, 10, 31), 150, ZoneInfo("Europe/Berlin"))
    assert datetime.fromtimestamp(twice, UTC) == datetime(2027, 10, 31, 0, 30, tzinfo=UTC), "the first of two"


CUTS = st.lists(st.integers(1, 2 * 86_400 - 1), max_size=12, unique=True)


@given(CUTS, st.sampled_from(ZONES), st.integers(0, 300))
@settings(deadline=None, max_examples=100)
def test_however_often_a_nas_reports_a_steady_use_counts_the_same(cuts: list[int], zone: str, day: int) -> None:
    """1000 octets a second over two days, told in one packet or in many."""
    meter = Meter(quota(period="day", timezone=zone, free_windows=(window("01:00", "07:00"), window("20:30", "23:00", 30))))
    begin = 1_780_000_000 + day * 86_400

    def totals(edges: list[int]) -> dict[Span, int]:
        found: dict[Span, int] = {}
        for since, until in pairwise(edges):
            for part in meter.parts((until - since) * 1000, begin + since, begin + until, 0.0):
                found[part.span] = found.get(part.span, 0) + part.hundredths
        return {key: value for key, value in found.items() if value}

    assert totals([0, 2 * 86_400]) == totals([0, *sorted(cuts), 2 * 86_400])


def test_directions_and_time() -> None:
    assert [Meter(quota(direction=way)).amount(5, 70, 9) for way in ("up", "down", "both")] == [5, 70, 75]
    assert Meter(quota(unit="time")).amount(5, 70, 9) == 9


def test_when_a_time_quota_will_be_used_up() -> None:
    meter = Meter(quota(unit="time", free_windows=(window("01:00", "07:00"), window("08:00", "09:00", 50))))
    end = at("2026-12-01 00:00")
    assert meter.used_up_at(3600, at("2026-11-25 00:30"), end) == at("2026-11-25 07:30"), "the free night does not count"
    assert meter.used_up_at(3600, at("2026-11-25 08:00"), end) == at("2026-11-25 09:30"), "an hour at half, then the other half"
    assert meter.used_up_at(7200, at("2026-11-30 23:00"), end) is None
    assert Meter(quota(unit="time")).used_up_at(60, 1000.0, end) == 1060.0


@pytest.mark.parametrize(("start", "end"), [("1:00", "07:00"), ("01:00", "25:00"), ("01:60", "07:00"), ("01:00", "01:00"), ("ab:cd", "07:00")])
def test_what_is_no_window(start: str, end: str) -> None:
    with pytest.raises(ValueError):
        window_of(window(start, end))


def test_an_unknown_time_zone() -> None:
    for name in ("Mars/Olympus", "../etc/passwd", ""):
        with pytest.raises(ValueError, match="not a time zone"):
            Meter(quota(timezone=name))
