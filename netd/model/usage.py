"""What a subscriber used, by day and by month."""

from datetime import date

import msgspec


class DayUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Usage of one subscriber on one day (UTC). ``up_octets`` came from the subscriber, ``down_octets`` went to it."""

    day: date
    up_octets: int
    down_octets: int
    session_seconds: int


class MonthUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The same for a month (UTC); ``month`` is its first day."""

    month: date
    up_octets: int
    down_octets: int
    session_seconds: int
