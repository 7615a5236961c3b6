"""What of a subscriber's usage counts towards a quota, and in which period: pure.

**Periods** begin at midnight of the quota's time zone: each day, on Monday, on the first of the month, or on the day of the month on which the
subscriber was activated. A subscriber of the 31st begins on the last day of a shorter month, and on the 31st again after it. A day on
which the clocks change has 23 or 25 hours; where they skip midnight the day begins at the first moment after.

**Usage** is known as octets and seconds between two accounting packets. Where an edge of a period or of a free window lies between them, it is
taken to have been used evenly, and is divided by time.
"""

from bisect import bisect_right
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from netd.model.quota import DAYS, FreeWindow, Quota, QuotaPeriod

_DAY: Final = timedelta(days=1)
WHOLE: Final = 100
"""Hundredths in what counts in full."""


class Span(NamedTuple):
    """A period: Unix times, the end not included."""

    starts_at: float
    ends_at: float


class Part(NamedTuple):
    """What was used within one period, in hundredths of an octet or second: a window may count a percentage."""

    span: Span
    hundredths: int


class Window(NamedTuple):
    """A free window in minutes of the local day; ``end`` may lie in the next. ``days`` are weekdays, Monday is 0."""

    start: int
    end: int
    percent: int
    days: frozenset[int]


@lru_cache(maxsize=64)
def zone_of(name: str) -> tzinfo:
    """The time zone of an IANA name. Raises ValueError if this machine has none of that name."""
    if name == "UTC":
        return UTC  # needs no time zone data, which a small system may lack
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone that this machine knows; write it as Europe/Berlin or UTC") from None


def instant(day: date, minute: int, zone: tzinfo) -> float:
    """Unix time at which clocks in ``zone`` show that minute of the day: the first time if they show it twice, the moment after if never."""
    day += _DAY * (minute // 1440)
    hour, minute = divmod(minute % 1440, 60)
    moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
    first, second = moment.timestamp(), moment.replace(fold=1).timestamp()
    if first <= second:
        return first
    ahead = moment.replace(fold=1).utcoffset()  # clocks show it never: they are put forward after ``second`` and by ``first``
    before, after = int(second), int(first)
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == ahead:
            after = middle
        else:
            before = middle
    return float(after)


def _begin(period: QuotaPeriod, day: date, steps: int, anchor_day: int) -> date:
    """The first day of the period that ``day`` lies in, or of the one so many ``steps`` later."""
    if period == "day":
        return day + _DAY * steps
    if period == "week":
        return day - _DAY * day.weekday() + _DAY * 7 * steps
    month = day.year * 12 + day.month - 1 + steps
    if period == "anniversary" and day.day < min(anchor_day, monthrange(day.year, day.month)[1]):
        month -= 1
    year, number = divmod(month, 12)
    first = 1 if period == "month" else min(anchor_day, monthrange(year, number + 1)[1])
    return date(year, number + 1, first)


def span_of(period: QuotaPeriod, at: float, zone: tzinfo, activated_at: float) -> Span:
    """The period that Unix time ``at`` lies in."""
    day = datetime.fromtimestamp(at, zone).date()
    anchor_day = datetime.fromtimestamp(activated_at, zone).day if period == "anniversary" else 1
    steps = 0
    while True:
        span = Span(instant(_begin(period, day, steps, anchor_day), 0, zone), instant(_begin(period, day, steps + 1, anchor_day), 0, zone))
        if at >= span.ends_at:  # clocks put back over midnight show a date again that was over
            steps += 1
        elif at < span.starts_at:
            steps -= 1
        else:
            return span


class Meter:
    """A quota ready to be counted with."""

    __slots__ = ("_even_from", "_even_percent", "_even_until", "quota", "windows", "zone")

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.zone = zone_of(quota.timezone)
        self.windows = tuple(window_of(each) for each in quota.free_windows)
        self._even_from = self._even_until = 0.0  # within these nothing changes what counts: found once, good for hours of packets
        self._even_percent = WHOLE

    def span(self, at: float, activated_at: float) -> Span:
        """The period that ``at`` lies in, for a subscriber activated at that time."""
        return span_of(self.quota.period, at, self.zone, activated_at)

    def amount(self, up_octets: int, down_octets: int, seconds: int) -> int:
        """What of this is measured at all."""
        if self.quota.unit == "time":
            return seconds
        if self.quota.direction == "both":
            return up_octets + down_octets
        return up_octets if self.quota.direction == "up" else down_octets

    def parts(self, amount: int, since: float, until: float, activated_at: float, known: Span | None = None) -> list[Part]:
        """Divide what was used from ``since`` to ``until`` among periods. ``known`` is a period that it may well lie in."""
        since = min(since, until)
        span = known if known is not None and known.starts_at <= since and until < known.ends_at else self.span(since, activated_at)
        found: list[Part] = []
        taken = 0
        while True:
            edge = min(until, span.ends_at)
            upto = amount if edge >= until else _share(amount, since, until, edge)
            begin = max(since, span.starts_at)
            if upto > taken:
                found.append(Part(span, self._counted(upto - taken, begin, edge)))
            if edge >= until:
                return found
            taken = upto
            span = self.span(span.ends_at, activated_at)

    def _counted(self, amount: int, since: float, until: float) -> int:
        """Hundredths of ``amount`` that count, by the free windows between two times."""
        if not self.windows:
            return amount * WHOLE
        if self._even_from <= since and until <= self._even_until and since < self._even_until:
            return amount * self._even_percent
        edges = self._edges(since, until)
        place = bisect_right(edges, since)
        begin, total, taken = edges[place - 1], 0, 0
        while True:
            end = edges[place]
            percent = self._percent_at((begin + end) / 2)
            if until <= end:
                if begin <= since:
                    self._even_from, self._even_until, self._even_percent = begin, end, percent
                return total + (amount - taken) * percent
            upto = _share(amount, since, until, end)
            total += (upto - taken) * percent
            taken, begin, place = upto, end, place + 1

    def _edges(self, since: float, until: float) -> list[float]:
        """Every moment at which a window begins or ends, from before ``since`` to after ``until``."""
        day = datetime.fromtimestamp(since, self.zone).date() - 2 * _DAY
        last = datetime.fromtimestamp(until, self.zone).date() + 2 * _DAY
        edges = {instant(day, 0, self.zone), instant(last, 0, self.zone)}
        while day <= last:
            for window in self.windows:
                if day.weekday() in window.days:
                    edges |= {instant(day, window.start, self.zone), instant(day, window.end, self.zone)}
            day += _DAY
        return sorted(edges)

    def _percent_at(self, at: float) -> int:
        """What counts at a moment: the least of the windows that are open."""
        today = datetime.fromtimestamp(at, self.zone).date()
        least = WHOLE
        for day in (today - _DAY, today):
            for window in self.windows:
                if day.weekday() in window.days and instant(day, window.start, self.zone) <= at < instant(day, window.end, self.zone):
                    least = min(least, window.percent)
        return least

    def used_up_at(self, seconds: int, now: float, limit: float) -> float | None:
        """When so many counted seconds will have passed from ``now`` on, if that is before ``limit``."""
        if not self.windows:
            at = now + seconds
            return at if at < limit else None
        edges = self._edges(now, min(limit, now + 40 * 86_400.0))
        at, left = now, float(seconds * WHOLE)
        for end in edges[bisect_right(edges, now) :]:
            percent = self._percent_at((at + end) / 2)
            if left <= (end - at) * percent:
                at += left / percent if percent else 0.0
                return at if at < limit else None
            left -= (end - at) * percent
            at = end
            if at >= limit:
                return None
        return None


def _share(amount: int, since: float, until: float, edge: float) -> int:
    """What of ``amount``, used evenly between two times, was used by ``edge``; in whole milliseconds, so that nothing is lost to floats."""
    whole = round((until - since) * 1000)
    return amount * round((edge - since) * 1000) // whole if whole > 0 else 0


def window_of(free: FreeWindow) -> Window:
    """A window in minutes. Raises ValueError for a text that is no time of day, and for a window without length."""
    start, end = _minute(free.start), _minute(free.end)
    if start == end:
        raise ValueError("begins and ends at the same time; a window of a whole day is 00:00 to 24:00")
    days = frozenset(DAYS.index(day) for day in free.days) or frozenset(range(7))
    return Window(start, end if end > start else end + 1440, free.percent, days)


def _minute(text: str) -> int:
    hour, colon, minute = text.partition(":")
    if colon and len(text) == 5 and (hour + minute).isascii() and (hour + minute).isdecimal():
        number = int(hour) * 60 + int(minute)
        if int(minute) < 60 and number <= 1440:
            return number
    raise ValueError(f"{text!r} is not a time of day; write it as 07:00")
