"""Access hours: what is read, and what a clock on the wall makes of it."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netd.model.hours import DAY, WEEK, AccessHours, canonical, compile_hours, parse, time_zone, written

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu", "America/Santiago")


def spans(minutes):
    """As text, in netd's notation: begin and length of each."""
    names = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
    parts = []
    for begin, length in minutes:
        day, minute = divmod(begin, DAY)
        end = (minute + length) % DAY
        parts.append(f"{names[day]} {minute // 60:02}:{minute % 60:02}-{end // 60:02}:{end % 60:02}")
    return ", ".join(parts)


SOME = st.lists(st.tuples(st.integers(0, WEEK - 1), st.integers(1, DAY)), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Mo-Fr 08:00-17:00, Sa 22:00-06:00", "Mo-Fr 08:00-17:00, Sa 22:00-06:00"),
        ("mo-fr08:00-17:00", "Mo-Fr 08:00-17:00"),
        ("08:00-12:00|13:00-17:00", "Mo-Su 08:00-12:00, Mo-Su 13:00-17:00"),
        ("Mo 08:00-12:00, Mo 11:00-24:00, Tu", "Mo 08:00-24:00, Tu"),
        ("Fr 18:00-24:00, SaSu, Mo 00:00-07:30", "Mo 00:00-07:30, Fr 18:00-24:00, Sa-Su"),
        ("Su 22:00-06:00", "Su 22:00-06:00"),
        ("Sa-Mo", "MoSa-Su"),
        ("Wk, Sa, Su", "Al"),
        ("Al", "Al"),
        # FreeRADIUS's own notation: the last minute is included, an end before its begin is on the same day
        ("Wk0855-1705,Sa|Su0900-1200", "Mo-Fr 08:55-17:06, Sa, Su 09:00-12:01"),
        ("Any0000-2400", "Al"),
        ("Fr2300-0600", "Fr 00:00-06:01, Fr 23:00-24:00"),
        ("MoWe0800-0959", "MoWe 08:00-10:00"),
        ("0900", "Mo-Su 09:00-09:01"),
    ],
)
def test_what_is_read_and_how_it_is_shown(text: str, shown: str) -> None:
    assert canonical(text) == shown
    assert canonical(shown) == shown


@pytest.mark.parametrize(
    "text", ["", " ", "Mo,,Tu", "Xx", "Mo 8:00-9:00", "Mo 08:00", "Mo 25:00-26:00", "Wk-Fr", "Mo 24:00-06:00", "Mo 0800-1761", "Mo-", "Never"]
)
def test_what_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"hours|neither|cannot be read|time of day|range|begin"):
        parse(text)


@pytest.mark.parametrize("name", ["Europe/Nowhere", "../../etc/passwd", "/etc/localtime", "", "Europe", "a\0b"])
def test_a_zone_is_one_of_the_machines(name: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        time_zone(name)


@given(SOME)
def test_what_is_shown_means_the_same(minutes) -> None:
    found = parse(spans(minutes))
    assert parse(written(found)) == found
    assert {m % WEEK for begin, end in found for m in range(begin, end)} == {m % WEEK for begin, length in minutes for m in range(begin, begin + length)}


def on_the_wall(allowed: set[int], zone: ZoneInfo, at: int) -> bool:
    """Whether a clock on the wall shows an allowed minute: no arithmetic of the code under test."""
    local = datetime.fromtimestamp(at, zone)
    return local.weekday() * DAY + local.hour * 60 + local.minute in allowed


@settings(max_examples=150, deadline=None)
@given(SOME, st.sampled_from(ZONES), st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1)), st.randoms(use_true_random=False))
def test_open_is_what_the_wall_clock_says_until_exactly_the_next_change(minutes, name, moment, random) -> None:
    zone = ZoneInfo(name)
    hours = compile_hours(spans(minutes), name)
    allowed = {m % WEEK for begin, length in minutes for m in range(begin, begin + length)}
    at = int(moment.replace(tzinfo=UTC).timestamp())
    for _ in range(6):
        is_open, until = hours.at(at + random.random())
        assert is_open == on_the_wall(allowed, zone, at)
        if until is None:
            assert len(allowed) == WEEK
            return
        assert at < until <= at + 9 * 86_400
        assert on_the_wall(allowed, zone, int(until)) != is_open, "it changes then"
        for probe in (int(until) - 1, *(random.randint(at, int(until) - 1) for _ in range(8))):
            assert on_the_wall(allowed, zone, probe) == is_open, "and not before"
        at = int(until)


@pytest.mark.parametrize(
    ("day", "hours", "opens", "closes"),
    [  # Berlin: on 2026-03-29 the clock goes from 02:00 to 03:00, on 2026-10-25 from 03:00 back to 02:00
        ("2026-03-29", "Su 01:00-04:00", "2026-03-29T00:00:00+00:00", "2026-03-29T02:00:00+00:00"),
        ("2026-03-29", "Su 02:30-04:00", "2026-03-29T01:00:00+00:00", "2026-03-29T02:00:00+00:00"),  # 02:30 never comes: three o'clock is the first
        ("2026-10-25", "Su 01:00-04:00", "2026-10-24T23:00:00+00:00", "2026-10-25T03:00:00+00:00"),  # four hours long
        ("2026-10-25", "Su 02:30-04:00", "2026-10-25T00:30:00+00:00", "2026-10-25T01:00:00+00:00"),  # then it is two o'clock once more
    ],
)
def test_the_days_on_which_the_clocks_change(day: str, hours: str, opens: str, closes: str) -> None:
    found = compile_hours(hours, "Europe/Berlin")
    midnight = datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    is_open, until = found.at(midnight)
    assert (is_open, datetime.fromtimestamp(until or 0, UTC).isoformat()) == (False, opens)
    is_open, until = found.at(until or 0)
    assert (is_open, datetime.fromtimestamp(until or 0, UTC).isoformat()) == (True, closes)


def test_a_clock_that_is_set_back_is_believed() -> None:
    hours = AccessHours(parse("Mo 08:00-09:00"), ZoneInfo("UTC"))
    monday = datetime(2026, 11, 23, 8, 30, tzinfo=UTC).timestamp()
    assert hours.at(monday) == (True, monday + 1800)
    assert hours.at(monday - 3600) == (False, monday - 1800)
    assert hours.at(monday + 3600)[0] is False
    assert hours.shown(monday) == "2026-11-23T08:30+00:00 UTC"
