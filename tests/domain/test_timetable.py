"""When schedules are due, also on the days on which clocks change."""

from datetime import UTC, datetime, timedelta

import pytest

from netd.domain import timetable
from netd.domain.timetable import Timetable

BERLIN = "Europe/Berlin"


def times(cron: str, zone: str, begin: datetime, count: int) -> list[str]:
    made = Timetable(cron=timetable.cron(cron), interval_seconds=None, zone=zone, begins_at=begin)
    found, at = [], begin
    for _ in range(count):
        following = made.after(at)
        assert following is not None and following > at
        at = following
        found.append(f"{at:%m-%d %H:%M}")
    return found


SPRING, AUTUMN = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "begin", "expected"),
    [
        ("30 2 * * *", SPRING, ["03-29 01:00", "03-30 00:30"]),  # there is no 02:30: right after the gap, once
        ("30 2 * * *", AUTUMN, ["10-25 00:30", "10-26 01:30"]),  # 02:30 comes twice: the first, once
        ("0 3 * * *", SPRING, ["03-29 01:00", "03-30 01:00"]), ("0 3 * * *", AUTUMN, ["10-25 02:00", "10-26 02:00"]),
        ("*/30 * * * *", datetime(2026, 3, 29, 0, 20, tzinfo=UTC), ["03-29 00:30", "03-29 01:00", "03-29 01:30"]),
        ("*/30 * * * *", datetime(2026, 10, 25, 0, 20, tzinfo=UTC), ["10-25 00:30", "10-25 01:00", "10-25 01:30", "10-25 02:00"]),  # real time
        ("@daily", SPRING, ["03-28 23:00", "03-29 22:00"]),
        ("0 0 31 * *", datetime(2026, 1, 31, 12, tzinfo=UTC), ["03-30 22:00", "05-30 22:00"]),
        ("0 12 * * mon-fri", datetime(2026, 11, 27, 12, tzinfo=UTC), ["11-30 11:00", "12-01 11:00"]),
    ],
)  # fmt: skip
def test_clocks_change(cron: str, begin: datetime, expected: list[str]):
    assert times(cron, BERLIN, begin, len(expected)) == expected


def test_asked_in_the_hour_that_comes_twice():
    """Whoever makes or changes a schedule then gets what is due after now, not again what was due an hour ago."""
    often = Timetable(cron="0,30 1-3 * * *", interval_seconds=None, zone=BERLIN, begins_at=AUTUMN)
    nightly = Timetable(cron="30 2 * * *", interval_seconds=None, zone=BERLIN, begins_at=AUTUMN)
    for minute in range(60):  # 02:00 to 02:59 for the second time
        now = datetime(2026, 10, 25, 1, minute, tzinfo=UTC)
        assert often.after(now) == datetime(2026, 10, 25, 2, tzinfo=UTC) and nightly.after(now) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_midnight_that_does_not_come():
    """In Santiago clocks go from 24:00 to 01:00."""
    assert times("0 0 * * *", "America/Santiago", datetime(2026, 9, 5, 12, tzinfo=UTC), 2) == ["09-06 04:00", "09-07 03:00"]


@pytest.mark.parametrize("text", ["", "* * * *", "* * * * * *", "61 * * * *", "0 0 30 2 *", "@sometimes", "x y z a b", "0 0 * * 8"])
def test_what_is_no_cron_expression(text: str):
    with pytest.raises(ValueError, match=r"cron expression|five fields|never due"):
        timetable.cron(text)


def test_it_is_kept_in_one_form():
    assert timetable.cron("  @Daily ") == "0 0 * * *"
    assert timetable.cron("*/5   8-18 * jan  mon") == "*/5 8-18 * JAN MON"


def test_intervals_are_counted_from_their_begin():
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    made = Timetable(cron=None, interval_seconds=600, zone="UTC", begins_at=begin)
    assert made.after(begin - timedelta(days=3)) == begin
    assert made.after(begin) == begin + timedelta(minutes=10)
    assert made.after(begin + timedelta(minutes=25)) == begin + timedelta(minutes=30)


def test_what_passed():
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    made = Timetable(cron=None, interval_seconds=600, zone="UTC", begins_at=begin)
    assert made.passed(begin, begin) == (begin, 0)
    assert made.passed(begin, begin + timedelta(minutes=35)) == (begin + timedelta(minutes=30), 3)
    quick = Timetable(cron=None, interval_seconds=10, zone="UTC", begins_at=begin)
    now = begin + timedelta(days=365)
    last, missed = quick.passed(begin, now)
    assert (last, missed) == (now, timetable.MOST_MISSED)
    assert made.passed(begin + timedelta(minutes=3), begin + timedelta(minutes=35)) == (begin + timedelta(minutes=30), 3)  # the interval was another then
    often = Timetable(cron="* * * * *", interval_seconds=None, zone="Europe/Oslo", begins_at=begin)
    last, missed = often.passed(begin, begin + timedelta(days=30, seconds=30))
    assert missed == timetable.MOST_MISSED and timedelta(0) <= begin + timedelta(days=30, seconds=30) - last <= timedelta(seconds=1)
    assert often.passed(begin, begin + timedelta(minutes=90, seconds=30)) == (begin + timedelta(minutes=90), 90)


@pytest.mark.parametrize("minutes", [0, 1, 9, 10, 11, 4000])
def test_intervals_are_counted_as_they_would_be_one_by_one(minutes):
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    made = Timetable(cron=None, interval_seconds=600, zone="UTC", begins_at=begin)
    moment, last, count = begin + timedelta(minutes=minutes, seconds=7), begin, 0
    while (following := made.after(last)) is not None and following <= moment:
        last, count = following, count + 1
    assert made.passed(begin, moment) == (last, count)


def test_jitter_is_the_same_everywhere_and_another_each_time():
    due = datetime(2026, 1, 1, tzinfo=UTC)
    drawn = {timetable.jitter(7, due + timedelta(hours=hour), 600) for hour in range(100)}
    assert len(drawn) > 90 and max(drawn) < timedelta(seconds=600) and min(drawn) >= timedelta(0)
    assert timetable.jitter(7, due, 600) == timetable.jitter(7, due, 600) != timetable.jitter(8, due, 600)
    assert timetable.jitter(7, due, 0) == timedelta(0)
