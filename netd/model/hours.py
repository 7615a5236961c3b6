"""Access hours: the times of the week at which a subscriber may be online, by the wall clock of a time zone.

Two notations are read. netd's own, ``Mo-Fr 08:00-17:00, Sa 22:00-06:00, Su``: the end is not included, and one that is not after its begin lies on
the next day. And FreeRADIUS's Login-Time, ``Wk0855-1705,Sa|Su0900-1200``, as FreeRADIUS reads it: the last minute is included, and an end
before its begin wraps round within the *same* day (``Fr2300-0600`` is Friday before six and Friday from eleven). What is kept and shown is netd's own.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS: Final = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
ALWAYS: Final = "Al"
DAY: Final = 24 * 60
WEEK: Final = 7 * DAY
UNCHANGED_SECONDS: Final = 6 * 3600
"""No zone changes its offset from UTC twice within this time."""

_SETS: Final = {"wk": (0, 1, 2, 3, 4), "al": tuple(range(7)), "any": tuple(range(7)), **{day.lower(): (number,) for number, day in enumerate(DAYS)}}
_DAY: Final = re.compile(r"(any|wk|al|mo|tu|we|th|fr|sa|su)(?:-(mo|tu|we|th|fr|sa|su))?[ ]*", re.ASCII)
_OWN: Final = re.compile(r"(\d\d):(\d\d) ?- ?(\d\d):(\d\d)", re.ASCII)
_LOGIN_TIME: Final = re.compile(r"(\d\d)(\d\d)(?:-(\d\d)(\d\d))?", re.ASCII)

Span = tuple[int, int]
"""Minutes of the local week from Monday 00:00, the end not included; the end may lie in the next week."""


class AccessHours:
    """Times of the week, in the local time of ``zone``. Thrifty with the clock: what was found holds until the next change."""

    __slots__ = ("_open", "_since", "_spans", "_until", "zone")

    def __init__(self, spans: Iterable[Span], zone: ZoneInfo) -> None:
        self.zone = zone
        self._spans = tuple(spans)
        self._since = 1.0  # nothing is known yet: an empty time
        self._until: float | None = 0.0
        self._open = False

    def at(self, now: float) -> tuple[bool, float | None]:
        """Whether Unix time ``now`` is within the hours, and when that changes next (Unix time; None: never)."""
        if now < self._since or (self._until is not None and now >= self._until):
            self._open, self._until = self._look(int(now // 1))
            self._since = float(int(now // 1))
        return self._open, self._until

    def _look(self, now: int) -> tuple[bool, float | None]:
        offset = self._offset(now)
        is_open, left = _position(self._spans, now + offset)
        begun = is_open
        at = now
        for _ in range(64):  # a week in steps, and the few changes of offset within it
            if left is None:
                return begun, None
            step = at + min(left, UNCHANGED_SECONDS)
            if self._offset(step) != offset:
                step = self._changes_at(at, step, offset)
            at, offset = step, self._offset(step)
            is_open, left = _position(self._spans, at + offset)
            if is_open != begun:
                return begun, float(at)
        return begun, float(at)  # cannot be reached; looked at again then

    def _changes_at(self, before: int, after: int, offset: int) -> int:
        """The first second with another offset than at ``before``; at ``after`` there is another."""
        while after - before > 1:
            middle = (before + after) // 2
            if self._offset(middle) == offset:
                before = middle
            else:
                after = middle
        return after

    def _offset(self, now: int) -> int:
        offset = datetime.fromtimestamp(now, self.zone).utcoffset()
        return 0 if offset is None else int(offset.total_seconds())

    def shown(self, at: float) -> str:
        """A time as a clock on the wall shows it: ``2026-11-26T08:00+01:00 Europe/Berlin``."""
        return f"{datetime.fromtimestamp(at, UTC).astimezone(self.zone).isoformat(timespec='minutes')} {self.zone.key}"


def _position(spans: tuple[Span, ...], local: int) -> tuple[bool, int | None]:
    """Whether this second of local time (since 1970) is within a span, and seconds until the wall clock crosses an edge (None: never)."""
    if spans == ((0, WEEK),):
        return True, None
    second = (local + 3 * DAY * 60) % (WEEK * 60)  # 1970-01-01 was a Thursday
    for begin, end in spans:
        for shift in (0, WEEK):  # a span over the end of the week is met from its other side, too
            if begin * 60 <= second + shift * 60 < end * 60:
                return True, end * 60 - second - shift * 60
    return False, min((begin * 60 - second) % (WEEK * 60) for begin, _ in spans)


@lru_cache(maxsize=1024)
def compile_hours(text: str, zone: str) -> AccessHours:
    """Ready to be asked; one and the same for all who have these hours, so that what one found serves all.

    Raises ValueError for a text that ``parse`` does not read or a zone that is not known.
    """
    return AccessHours(parse(text), time_zone(zone))


@lru_cache(maxsize=64)
def time_zone(name: str) -> ZoneInfo:
    """The zone of an IANA name. Raises ValueError if this machine's time zone data has none of that name."""
    try:
        if not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", name):  # a name becomes a path
            raise ValueError
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone that this machine knows; write it as Europe/Berlin or UTC") from None


def canonical(text: str) -> str:
    """The same hours as netd shows them. Raises ValueError, with the part that cannot be read."""
    return written(parse(text))


def parse(text: str) -> tuple[Span, ...]:
    """Spans in order, apart from each other, of either notation. Raises ValueError, with the part that cannot be read."""
    spans: list[Span] = []
    parts = [part.strip() for part in re.split(r"[,|]", text.lower())]
    for part in parts:
        if not part:
            raise ValueError(f"{text!r} names no hours between two commas" if len(parts) > 1 else "names no hours")
        spans += _part(part)
    return _merged(spans)


def _part(part: str) -> list[Span]:
    days: list[int] = []
    at = 0
    while match := _DAY.match(part, at):
        first = _SETS[match[1]]
        if match[2] is None:
            days += first
        elif len(first) > 1:
            raise ValueError(f"{part!r}: a range of days runs between single days, as in Mo-Fr")
        else:
            last = _SETS[match[2]][0]
            days += [(first[0] + step) % 7 for step in range((last - first[0]) % 7 + 1)]
        at = match.end()
    rest = part[at:]
    if not days and not rest:
        raise ValueError(f"{part!r} is neither a day nor a time")
    days = days or list(range(7))
    if not rest:
        return [(day * DAY, (day + 1) * DAY) for day in days]
    if own := _OWN.fullmatch(rest):
        begin, end = _minute(part, own[1], own[2]), _minute(part, own[3], own[4])
        if begin == DAY:
            raise ValueError(f"{part!r}: 24:00 is an end, not a begin")
        return [(day * DAY + begin, day * DAY + (end if end > begin else end + DAY)) for day in days]
    if old := _LOGIN_TIME.fullmatch(rest):
        begin = min(_minute(part, old[1], old[2]), DAY - 1)
        last = begin if old[3] is None else min(_minute(part, old[3], old[4]), DAY - 1)
        pieces = [(begin, last + 1)] if last >= begin else [(0, last + 1), (begin, DAY)]
        return [(day * DAY + one, day * DAY + other) for day in days for one, other in pieces]
    raise ValueError(f"{part!r} cannot be read: write Mo-Fr 08:00-17:00, or as FreeRADIUS's Login-Time, Wk0800-1659")


def _minute(part: str, hours: str, minutes: str) -> int:
    minute = int(hours) * 60 + int(minutes)
    if minute > DAY or int(minutes) > 59:
        raise ValueError(f"{part!r}: {hours}:{minutes} is not a time of day")
    return minute


def _merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans as a set of minutes: in order, none touching the next; one over the end of the week is kept whole."""
    within: list[Span] = []
    for begin, end in spans:
        within += [(begin, end)] if end <= WEEK else [(begin, WEEK), (0, end - WEEK)]
    joined: list[Span] = []
    for begin, end in sorted(within):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    if len(joined) > 1 and joined[0][0] == 0 and joined[-1][1] == WEEK:
        joined[-1] = (joined[-1][0], WEEK + joined.pop(0)[1])
    return tuple(joined)


def written(spans: Iterable[Span]) -> str:
    """The notation of ``parse`` for its result: ``Mo-Fr 08:00-17:00, Sa 22:00-06:00``."""
    days_of: dict[str, list[int]] = {}
    for begin, end in spans:
        if (begin, end) == (0, WEEK):
            return ALWAYS
        while begin < end:
            day, minute = divmod(begin, DAY)
            midnight = (day + 1) * DAY
            stop = end if end - begin <= DAY and (minute or end <= midnight) else midnight
            days_of.setdefault(_time(minute, stop - day * DAY), []).append(day % 7)
            begin = stop
    order = sorted(days_of.items(), key=lambda item: (min(item[1]), item[0]))
    return ", ".join(f"{_ranges(sorted(days))}{time}" if time else _ranges(sorted(days)) for time, days in order)


def _time(begin: int, end: int) -> str:
    if (begin, end) == (0, DAY):
        return ""
    end = end if end <= DAY else end - DAY
    return f" {begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"


def _ranges(days: list[int]) -> str:
    """``Mo-FrSu``; days in order."""
    found: list[list[int]] = []
    for day in days:
        if found and found[-1][-1] == day - 1:
            found[-1].append(day)
        else:
            found.append([day])
    return "".join(DAYS[run[0]] if len(run) == 1 else f"{DAYS[run[0]]}-{DAYS[run[-1]]}" for run in found)
