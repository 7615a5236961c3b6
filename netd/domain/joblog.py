"""Following the logs of jobs as they grow. One look at all jobs that anybody follows, a few times a second and for all listeners of the node together; each
listener then reads what is new of its own. What a listener has seen is the number of the last entry, so it goes on there, with this node or another."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Final

from netd.domain import jobs
from netd.domain.actor import Actor
from netd.errors import StoreError
from netd.model.job import ENDED, Job, JobEntry
from netd.store import jobs as store
from netd.store.database import Database
from netd.store.jobs import Standing

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.2
RETRY_SECONDS: Final = 1.0
PAGE: Final = 1000


class JobWatch:
    """Wakes whoever follows a job when there is something new of it. ``owner`` looks at jobs of all tenants; what a listener sees is read in its scope."""

    def __init__(self, owner: Database) -> None:
        self._owner = owner
        self._followed: dict[int, set[asyncio.Event]] = {}
        self._seen: dict[int, Standing] = {}
        self._wanted = asyncio.Event()
        self.closed = False

    def __len__(self) -> int:
        return sum(map(len, self._followed.values()))

    def close(self) -> None:
        """End every listener's stream."""
        self.closed = True
        for woken in [each for followed in self._followed.values() for each in followed]:
            woken.set()

    async def run(self) -> None:
        """Look while somebody follows, for ever."""
        while True:
            if not self._followed:
                self._seen.clear()
                self._wanted.clear()
                await self._wanted.wait()
            try:
                async with self._owner.acquire() as conn:
                    found = await store.standings(conn, list(self._followed))
            except StoreError as error:
                log.warning("jobs' logs not looked at", extra={"error": str(error)})
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for job_id, standing in found.items():
                if self._seen.get(job_id) != standing:
                    for woken in self._followed.get(job_id, ()):
                        woken.set()
            self._seen = found
            await asyncio.sleep(POLL_SECONDS)

    @contextlib.contextmanager
    def _following(self, job_id: int) -> Iterator[asyncio.Event]:
        woken = asyncio.Event()
        self._followed.setdefault(job_id, set()).add(woken)
        self._wanted.set()
        try:
            yield woken
        finally:
            self._followed[job_id].discard(woken)
            if not self._followed[job_id]:
                del self._followed[job_id]

    async def follow(self, db: Database, actor: Actor, job_id: int, after: int, idle_seconds: float) -> AsyncIterator[list[JobEntry]]:
        """Entries behind number ``after``, in batches, each once and in order; an empty batch after ``idle_seconds`` without any. Ends behind the last entry
        of a job that has ended, and when the watch is closed. Raises NotFound, StoreError."""
        with self._following(job_id) as woken:
            while not self.closed:
                woken.clear()
                found = await jobs.log(db, actor, job_id, after, PAGE)
                after = found.next
                if found.items:
                    yield list(found.items)
                if found.ended:
                    return
                if len(found.items) == PAGE:
                    continue
                try:
                    async with asyncio.timeout(idle_seconds):
                        await woken.wait()
                except TimeoutError:
                    yield []

    async def ended(self, db: Database, actor: Actor, job_id: int, seconds: float) -> Job:
        """The job, once it has ended or after ``seconds``. Raises NotFound, StoreError."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        with self._following(job_id) as woken:
            while True:
                woken.clear()
                job = await jobs.get(db, actor, job_id)
                left = until - loop.time()
                if job.state in ENDED or left <= 0 or self.closed:
                    return job
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await woken.wait()
