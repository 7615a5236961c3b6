"""How often a token, a user or an address may call: a bucket of ``burst`` requests that fills at a steady rate, in memory, on each node."""

import math
from collections.abc import Hashable
from typing import Final

MOST_BUCKETS: Final = 10_000


class RateLimit:
    """Token buckets by caller; ``now`` is monotonic seconds. A rate of 0 is no limit."""

    def __init__(self, requests_per_second: float, burst: int) -> None:
        self._rate = requests_per_second
        self._burst = float(burst)
        self._buckets: dict[Hashable, tuple[float, float]] = {}  # what was left, and when that was
        self.refused = 0

    def wait_seconds(self, caller: Hashable, now: float) -> int:
        """Take one request out of the caller's bucket: 0, or after how many seconds there will be one again."""
        if self._rate <= 0:
            return 0
        left, at = self._buckets.get(caller, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        if left >= 1:
            if len(self._buckets) >= MOST_BUCKETS and caller not in self._buckets:
                self._drop_full(now)
            self._buckets[caller] = (left - 1, now)
            return 0
        self._buckets[caller] = (left, now)
        self.refused += 1
        return max(1, math.ceil((1 - left) / self._rate))

    def _drop_full(self, now: float) -> None:
        """Forget callers whose bucket has filled up meanwhile: nothing is lost by it."""
        self._buckets = {caller: (left, at) for caller, (left, at) in self._buckets.items() if left + (now - at) * self._rate < self._burst}
