"""When a schedule is due: cron expressions by the wall clock of a time zone, or intervals; and the jitter that keeps schedules from beginning all at once.

On days on which clocks change cron is understood as Debian's cron understands it: what is due within the hour that is skipped runs right after it, what is due
within the hour that comes twice runs once, at its first coming; only expressions with ``*`` for minute or hour go by the time that passes.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from cronsim import CronSim, CronSimError

from netd.model.hours import time_zone

SHORTEST_SECONDS: Final = 10
MOST_MISSED: Final = 1000
"""Missed runs are counted up to this."""

NICKNAMES: Final = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}  # fmt: skip


class Timetable(msgspec.Struct, frozen=True, kw_only=True):
    """``cron`` in ``zone``, or every ``interval_seconds`` counted from ``begins_at``."""

    cron: str | None
    interval_seconds: int | None
    zone: str
    begins_at: datetime

    def after(self, moment: datetime) -> datetime | None:
        """The first time behind ``moment`` at which it is due; None if there is none in the next fifty years."""
        if self.interval_seconds is not None:
            step = timedelta(seconds=self.interval_seconds)
            return self.begins_at + step * max(0, (moment - self.begins_at) // step + 1)
        assert self.cron is not None  # one of the two, as the table demands
        since = max(moment, self.begins_at).astimezone(UTC)
        try:
            # Asked in an hour that comes for the second time, it begins with what was due at its first coming.
            return next((due for found in CronSim(self.cron, since.astimezone(time_zone(self.zone))) if (due := found.astimezone(UTC)) > since), None)
        except OverflowError:  # the calendar ends before
            return None

    def passed(self, due: datetime, moment: datetime) -> tuple[datetime, int]:
        """Of the times from ``due`` up to ``moment`` the last, and how many lie before it (at most MOST_MISSED)."""
        if self.interval_seconds is not None:
            step = timedelta(seconds=self.interval_seconds)
            last = max(due, self.begins_at + step * ((moment - self.begins_at) // step))
            return last, min(-((due - last) // step), MOST_MISSED)
        last, count = due, 0
        while (following := self.after(last)) is not None and following <= moment:
            if count >= MOST_MISSED:  # on to now in one step
                return max(last, moment - timedelta(seconds=1)), count
            last, count = following, count + 1
        return last, count


def cron(text: str) -> str:
    """A cron expression as it is kept: five fields, or a nickname such as ``@daily``. Raises ValueError."""
    kept = " ".join(NICKNAMES.get(text.strip().lower(), text).split()).upper()
    if kept.count(" ") != 4:
        raise ValueError(f"{text!r} has not the five fields minute, hour, day of month, month, day of week")
    try:
        found = next(CronSim(kept, datetime(2026, 1, 1, tzinfo=UTC)), None)
    except CronSimError as error:
        raise ValueError(f"{text!r} is no cron expression: {error}") from None
    if found is None:
        raise ValueError(f"{text!r} is never due")
    return kept


def jitter(schedule_id: int, due: datetime, most_seconds: int) -> timedelta:
    """How much later than ``due`` it begins: the same on every node, another each time, spread over ``most_seconds``."""
    if not most_seconds:
        return timedelta(0)
    drawn = int.from_bytes(hashlib.sha256(f"{schedule_id} {due.isoformat()}".encode()).digest()[:8], "big")
    return timedelta(seconds=drawn % (most_seconds * 1000) / 1000)
