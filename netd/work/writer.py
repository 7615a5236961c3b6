"""Writes what running jobs say and how far they are, for all jobs of the node together: one transaction, a few times a second or as soon as somebody waits.

With each of them the leases of the jobs concerned are renewed, so a job that says much costs no heartbeats. A line counts as written once it is
committed. Where it is not known whether a commit came through, its lines are written again: said twice rather than not at all.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from netd.errors import StoreError, StoreUnavailable
from netd.model.job import Level
from netd.store import work as store
from netd.store.database import Database
from netd.store.work import Claim, Line, News

log = logging.getLogger(__name__)

MOST_LINES: Final = 1000
GATHER_SECONDS: Final = 0.005
"""For what others say at the same time."""

RETRY_SECONDS: Final = 0.5
LINE_OCTETS: Final = 16 << 10
LOG_OCTETS: Final = 8 << 20
"""Of one job, over all attempts."""


class Lease:
    """A claimed job as this node holds it. ``good_until`` is when the lease may be over, by this node's clock; ``lost``: another has the job, or ended it;
    ``expired``: another may have it, for the lease could not be renewed. ``changed`` is set with any of the reasons for which its handler has to stop."""

    def __init__(self, claim: Claim, good_until: float) -> None:
        self.claim = claim
        self.good_until = good_until
        self.lost = False
        self.expired = False
        self.cancelled = False
        self.changed = asyncio.Event()
        self.moved = False  # there is progress that is not written
        self.progress: float | None = None
        self.progress_text: str | None = None
        self.log_octets = claim.log_octets
        self.log_cut = claim.job.log_cut
        self.key = (claim.job.id, claim.fence)
        self.unwritten = 0
        self.quiet = asyncio.Event()
        self.quiet.set()

    def lose(self) -> None:
        """It is not this node's any more."""
        self.lost = True
        self.changed.set()

    def expire(self) -> None:
        """It may not be this node's any more."""
        self.expired = True
        self.changed.set()

    def cancel(self) -> None:
        """Somebody wants it to stop."""
        self.cancelled = True
        self.changed.set()

    def news(self) -> News:
        """What is to be written of it."""
        return News(self.claim.job.id, self.claim.fence, self.progress, self.progress_text, self.log_octets, self.log_cut)


def cut(text: str) -> str:
    """A line that is not longer than one may be."""
    data = text.encode("utf-8", "replace")
    if len(data) <= LINE_OCTETS:
        return text
    return f"{data[:LINE_OCTETS].decode('utf-8', 'ignore')}… ({len(data) - LINE_OCTETS} more octets)"


class Writer:
    """Writes for the leases that it is given. ``written`` counts lines, ``dropped`` those beyond a job's limit."""

    def __init__(self, database: Database, lease_seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._lease_seconds = lease_seconds
        self._monotonic = monotonic
        self._queue: deque[tuple[Lease, Line, asyncio.Future[bool]]] = deque()
        self._due: dict[tuple[int, int], Lease] = {}
        self._most = MOST_LINES
        self._wake = asyncio.Event()
        self.written = 0
        self.dropped = 0
        self.fault = ""

    async def say(self, lease: Lease, at: datetime, level: Level, target: str | None, text: str) -> bool:
        """Add a line; returns once it is committed, False if the job is no longer this node's."""
        if lease.lost or lease.log_cut:
            self.dropped += 1
            return not lease.lost
        kept = cut(text)
        lease.log_octets += len(kept.encode("utf-8", "replace"))
        if lease.log_octets > LOG_OCTETS:
            lease.log_cut = True
            kept, level = f"the log has reached {LOG_OCTETS >> 20} MiB: what is said from here on is lost", "warning"
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        lease.unwritten += 1
        lease.quiet.clear()
        line = Line(lease.claim.job.id, lease.claim.fence, at, level, target, kept)
        self._queue.append((lease, line, future))
        self._wake.set()
        return await future

    def renew(self, lease: Lease) -> None:
        """Write how far it is, and renew its lease."""
        self._due[lease.key] = lease
        self._wake.set()

    async def run(self) -> None:
        """Write, for ever."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            while self._queue or self._due:
                if not await self._write():
                    await asyncio.sleep(RETRY_SECONDS)

    async def _write(self) -> bool:
        """Write what waits; False if the database does not take it now, then it waits on."""
        batch = [self._queue[n] for n in range(min(self._most, len(self._queue)))]
        leases = {**self._due, **{lease.key: lease for lease, _, _ in batch}}
        before = self._monotonic()
        try:
            async with self._database.transaction() as conn:
                found = await store.keep(conn, [lease.news() for lease in leases.values()], [line for _, line, _ in batch], self._lease_seconds)
        except StoreUnavailable as error:
            if str(error) != self.fault:
                log.warning("what jobs say is not written", extra={"error": str(error)})
            self.fault = str(error)
            return False
        except StoreError as error:  # something in it cannot be kept, so line by line, to keep the others
            log.error("what a job said was refused by the database", extra={"lines": len(batch), "error": str(error)})
            return self._refused(batch, error)
        self.fault, self._most = "", MOST_LINES
        held = {(each.job_id, each.fence): each for each in found}
        for key, lease in leases.items():
            self._due.pop(key, None)
            if key not in held:
                lease.lose()
                continue
            lease.good_until = before + self._lease_seconds
            if held[key].cancel and not lease.cancelled:
                lease.cancel()
        for lease, _, future in batch:
            self.written += lease.key in held
            self._taken(lease)
            if not future.done():
                future.set_result(lease.key in held)
        return True

    def _taken(self, lease: Lease) -> None:
        self._queue.popleft()
        lease.unwritten -= 1
        if not lease.unwritten:
            lease.quiet.set()

    def _refused(self, batch: Sequence[tuple[Lease, Line, "asyncio.Future[bool]"]], error: StoreError) -> bool:
        """Find out which line it is; its job is told. False if it is none: then it is tried again, and not at once."""
        if len(batch) > 1:
            self._most = 1
            return True
        for lease in self._due.values():
            lease.progress, lease.progress_text = None, None
        for lease, _, future in batch:
            self.dropped += 1
            self._taken(lease)
            if not future.done():
                future.set_exception(error)
        return bool(batch)
