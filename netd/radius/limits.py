"""A bound on failed log-ins per user and per source, in memory that strangers cannot fill."""

from collections.abc import Hashable

WINDOW_SECONDS = 60.0
MAX_KEYS = 100_000


class Failures:
    """Counts failures in two windows of a minute, this one and the last; a key is limited while both together exceed its limit."""

    def __init__(self) -> None:
        self.any = False
        """Whether anything was counted lately; while it is not, nobody needs to ask."""
        self._now: dict[Hashable, int] = {}
        self._last: dict[Hashable, int] = {}
        self._turned_at = 0.0

    def add(self, key: Hashable, now: float) -> None:
        """Count a failure of ``key`` at monotonic time ``now``."""
        self._turn(now)
        self.any = True
        if key in self._now or len(self._now) < MAX_KEYS:
            self._now[key] = self._now.get(key, 0) + 1

    def count(self, key: Hashable, now: float) -> int:
        """Failures of ``key`` in the last minute; those of the window before count for the share of it that is still inside."""
        self._turn(now)
        share = 1.0 - min(1.0, (now - self._turned_at) / WINDOW_SECONDS)
        return self._now.get(key, 0) + int(self._last.get(key, 0) * share)

    def clear(self, key: Hashable) -> None:
        """Forget the failures of ``key``."""
        self._now.pop(key, None)
        self._last.pop(key, None)

    def _turn(self, now: float) -> None:
        if now - self._turned_at >= WINDOW_SECONDS:
            self._last = self._now if now - self._turned_at < 2 * WINDOW_SECONDS else {}
            self._now = {}
            self._turned_at = now
            self.any = bool(self._last)
