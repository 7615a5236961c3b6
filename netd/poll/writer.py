"""Samples on their way into the store: gathered in memory, written a few times a minute by COPY. Nobody who polls waits for it.

While the database is away, samples wait; beyond ``most_rows`` the oldest are dropped and counted. Polling and RADIUS have other worries than yesterday's curve.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any, Final

from netd.errors import StoreError, StoreUnavailable
from netd.metrics import Counts, Metrics
from netd.store import telemetry, timeseries
from netd.store.database import Database

log = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 2.0
BATCH_ROWS: Final = 10_000
LATE: Final = timedelta(seconds=60)
"""What is older when it is written may be of a span that is summed up already (``service.SUM_AFTER``)."""
OLDEST: Final = timedelta(days=7)
"""Days further back are not made for samples: what is so old waited for no database."""
BIGINT_MAX: Final = 2**63 - 1
REAL_MAX: Final = 3.4e38

Row = tuple[Any, ...]


def whole(value: float | None) -> int | None:
    """A count as a bigint column takes it; None for what is beyond: nothing that a device says makes the store refuse the others' samples."""
    return None if value is None or not -BIGINT_MAX <= value <= BIGINT_MAX else int(value)


def real(value: float | None) -> float | None:
    """The same for a column of floats."""
    return None if value is None or not math.isfinite(value) or abs(value) > REAL_MAX else float(value)


class Writer:
    """Rows by table. ``database`` is the daemon's own, ``now`` tells the time."""

    def __init__(self, database: Database, now: Callable[[], datetime], *, most_rows: int) -> None:
        self.stored = Counts()  # by table
        self.dropped = Counts({"full": 0, "refused": 0})  # by reason, both from the start: a series that begins with what was lost shows no increase
        self._database = database
        self._now = now
        self._most_rows = most_rows
        self._rows: dict[str, deque[Row]] = {table: deque() for table in telemetry.COLUMNS}
        self._busy = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """Rows that are not written yet."""
        return sum(map(len, self._rows.values()))

    def add(self, table: str, rows: Sequence[Row]) -> None:
        """Keep samples; the oldest of the table that has most go where there is no room."""
        self._rows[table].extend(rows)
        over = self.waiting - self._most_rows
        while over > 0:
            longest = max(self._rows.values(), key=len)
            longest.popleft()
            over -= 1
            self.dropped["full"] += 1

    async def flush(self) -> None:
        """Write what waits; what cannot be written now stays."""
        async with self._busy:
            for table, rows in self._rows.items():
                while rows:
                    if not await self._batch(table, rows):
                        return

    async def _batch(self, table: str, rows: deque[Row]) -> bool:
        """Write the oldest rows of a table; False while the database is away. They leave memory when they are written, for that may fail."""
        batch = list(islice(rows, BATCH_ROWS))
        try:
            await self._write(table, batch)
        except StoreUnavailable:
            return False
        except StoreError as error:
            self.dropped["refused"] += len(batch)
            log.error("samples refused by the database", extra={"table": table, "rows": len(batch), "error": str(error)})
        else:
            self.stored[table] += len(batch)
        gone = set(map(id, batch))  # some may have been dropped meanwhile for want of room
        while rows and id(rows[0]) in gone:
            rows.popleft()
        return True

    async def _write(self, table: str, batch: list[Row]) -> None:
        """Raises StoreError: what is refused is refused a second time, with the days there that nobody had made."""
        at = telemetry.COLUMNS[table].index("at")
        times = [row[at] for row in batch]
        try:
            await self._copy(table, batch, min(times))
        except StoreUnavailable:
            raise
        except StoreError:
            await self._make_days({time.date() for time in times})
            await self._copy(table, batch, min(times))

    async def _copy(self, table: str, batch: list[Row], oldest: datetime) -> None:
        async with self._database.transaction() as conn:
            await telemetry.copy(conn, table, batch)
            if oldest < self._now() - LATE:
                await timeseries.late(conn, oldest)

    async def _make_days(self, days: set[date]) -> None:
        """Make what is missing of these days: the database was away, or the clock another, when it should have been made ahead."""
        today = self._now().date()
        async with self._database.acquire() as conn:
            for day in sorted(days):
                if today - OLDEST <= day <= today + timedelta(days=1):
                    await timeseries.ensure(conn, day)

    def register(self, metrics: Metrics) -> None:
        """Add the writer's series."""
        metrics.counter_of("netd_poll_samples_stored", "Samples written", lambda: self.stored, ("table",))
        metrics.counter_of("netd_poll_samples_dropped", "Samples that were never written: no room while the database was away, or refused by it",
                           lambda: self.dropped, ("reason",))  # fmt: skip
        metrics.gauge("netd_poll_samples_waiting", "Samples that are not written yet", lambda: self.waiting)
