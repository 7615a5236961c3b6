"""The days (UTC) that a report is about: from one to another, or named as they lie before the day on which it is made. Pure."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal

from netd.errors import Fault, InvalidInput

DAYS: Final = 31
MOST_DAYS: Final = 1100

Period = Literal["yesterday", "last_7_days", "last_30_days", "previous_week", "previous_month", "this_month"]
"""Whole days before the day itself, but for ``this_month``, which it is part of. A week begins on Monday."""


def named(period: Period, today: date) -> tuple[date, date]:
    """First and last day."""
    yesterday = today - timedelta(days=1)
    match period:
        case "yesterday":
            return yesterday, yesterday
        case "last_7_days":
            return today - timedelta(days=7), yesterday
        case "last_30_days":
            return today - timedelta(days=30), yesterday
        case "previous_week":
            monday = today - timedelta(days=today.weekday() + 7)
            return monday, monday + timedelta(days=6)
        case "previous_month":
            last = today.replace(day=1) - timedelta(days=1)
            return last.replace(day=1), last
        case "this_month":
            return today.replace(day=1), today


def days(first: date | None, last: date | None, period: Period | None, today: date) -> tuple[date, date]:
    """The days that are meant: without ``last`` until today, without ``first`` 31 of them. Raises InvalidInput for days that are none."""
    if period is not None:
        if first is not None or last is not None:
            raise InvalidInput([Fault("/period", "either this or first and last says which days")])
        return named(period, today)
    last = last or today
    first = first or last - timedelta(days=min(DAYS - 1, last.toordinal() - 1))
    if first > last:
        raise InvalidInput([Fault("/first", f"{first} is after {last}")])
    if (last - first).days >= MOST_DAYS:
        raise InvalidInput([Fault("/first", f"a report is about {MOST_DAYS} days at the most")])
    return first, last


def moments(first: date, last: date, now: datetime) -> tuple[datetime, datetime]:
    """When the days begin, and when they end or are broken off by the present: one and the same moment where they have not begun."""
    since = datetime.combine(first, time(), UTC)
    end = datetime.combine(last, time(), UTC) + timedelta(days=1) if last < date.max else datetime.combine(last, time.max, UTC)
    return since, max(since, min(end, now))
