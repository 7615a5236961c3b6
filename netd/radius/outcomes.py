"""How enforcement went with each session: kept in memory until it is written beside the session, with the events that tell of it."""

import asyncio
import logging
import time
from collections.abc import Callable

from netd.errors import StoreError, StoreUnavailable
from netd.radius import tellings
from netd.radius.sessions import LiveRecord
from netd.radius.tellings import Tellings
from netd.store import accounting as store
from netd.store.database import Database

log = logging.getLogger(__name__)

_Outcome = tuple[int, str | None, str, str | None, float, str | None]
"""What ``store.accounting.applied`` takes."""


class Outcomes:
    """The newest outcome of each session that is not written yet."""

    def __init__(self, database: Database, told: Tellings, wall_clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._tellings = told
        self._wall_clock = wall_clock
        self._waiting: dict[int, _Outcome] = {}  # by radacctid: a later generation under the same name is another session
        self._flushing = asyncio.Lock()

    def note(self, live: LiveRecord, applied: str | None, state: str, detail: str | None) -> None:
        """How it stands with a session now; ``applied`` is what it was changed to, None if it was not."""
        key = live.row.radacctid
        before = self._waiting.get(key)
        applied = applied or (before[1] if before else None)
        self._waiting[key] = (key, applied, state, detail, self._wall_clock(), live.doomed or None)

    def numbered(self, before: int, after: int | None) -> None:
        """A session that only the journal knew has its radacctid now, or (None) ended without one."""
        outcome = self._waiting.pop(before, None)
        if outcome is not None and after is not None:
            self._waiting[after] = (after, *outcome[1:])

    async def flush(self) -> None:
        """Write what is not written yet, and what is to be told of it. While the database is away the newest outcome per session waits."""
        async with self._flushing:  # the last flush, when netd stops, waits for the one of this moment, which would be cancelled else
            await self._flush()

    async def _flush(self) -> None:
        outcomes = {key: outcome for key, outcome in self._waiting.items() if key > 0}
        if not outcomes and not self._tellings:
            return
        turned, taken = self._tellings.take()
        self._waiting = {key: outcome for key, outcome in self._waiting.items() if key < 0}  # the database does not know these sessions yet
        try:
            async with self._database.transaction() as conn:
                if outcomes:
                    await store.applied(conn, list(outcomes.values()))
                await tellings.write(conn, turned, taken)
        except StoreUnavailable:
            self._tellings.put_back(turned, taken)
            for key, outcome in outcomes.items():
                newer = self._waiting.get(key)
                self._waiting[key] = outcome if newer is None else (key, newer[1] or outcome[1], *newer[2:])
        except StoreError as error:
            log.error("how enforcement went was refused by the database", extra={"sessions": len(outcomes), "error": str(error)})
