"""What a subscriber used, by day."""

from datetime import date

import msgspec


class DayUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Usage of one subscriber on one day (UTC). ``up_octets`` came from the subscriber, ``down_octets`` went to it."""

    day: date
    up_octets: int
    down_octets: int
    session_seconds: int
