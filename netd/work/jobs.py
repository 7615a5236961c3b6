"""Does jobs: claims what is due, lets the kinds' handlers work, and sees to it that every job ends in a state that is true.

Any number of nodes do this on one database. A claim is a lease, renewed at a third of its time; every write is fenced by it. Every node looks for leases
that are over, and makes the jobs of schedules that are due: neither needs a leader. What is new is notified and looked for every two seconds besides.
"""

import asyncio
import contextlib
import logging
import secrets
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from netd.domain import running, schedules
from netd.domain.kinds import Kinds
from netd.domain.ports import Part
from netd.errors import StoreError
from netd.keyring import Keyring
from netd.metrics import Counts, Metrics
from netd.store import jobs as job_store
from netd.store import work as store
from netd.store.database import Database, connect
from netd.store.translate import translating
from netd.store.work import LEASE_SECONDS, Claim, Waiting
from netd.work.run import Run
from netd.work.writer import Lease, Writer

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 2.0
REAP_SECONDS: Final = 2.0
STANDING_SECONDS: Final = 5.0
PROGRESS_SECONDS: Final = 0.5
STOP_SECONDS: Final = 12.0
"""How long handlers and what they leave to be written have when netd stops."""

AHEAD_SECONDS: Final = 3600.0
SLACK_SECONDS: Final = 2.0
LATE_SECONDS: Final = 300.0
"""A job that is due and waits for longer than this makes the health page say so."""


class JobService:
    """Does jobs of ``kinds`` until it is cancelled. ``database`` acts as the owner, on connections that the engine does not need."""

    def __init__(
        self, database: Database, kinds: Kinds, keyring: Keyring, *, at_once: int = 100, lease_seconds: float = LEASE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic, now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        self._database = database
        self._kinds = kinds
        self._keyring = keyring
        self._at_once = at_once
        self._lease_seconds = lease_seconds
        self._monotonic = monotonic
        self._now = now
        self.worker = f"{socket.gethostname()[:40]}-{secrets.token_hex(4)}"
        self._writer = Writer(database, lease_seconds, monotonic)
        self._runs: dict[tuple[int, int], tuple[Run, asyncio.Task[None]]] = {}  # by job and fence: one that was lost may be claimed again
        self._wake = asyncio.Event()
        self._stopping = False
        self._ahead_since: float | None = None
        self._fault = ""
        self._since = time.time()
        self._waiting = Waiting({"awaiting_approval": 0, "queued": 0, "running": 0}, 0.0)
        self.ended = Counts()  # by (kind, state); ``queued`` is begun again, ``lost`` another's by then
        self.seconds: dict[tuple[str, ...], float] = {}  # by (kind,)
        self.reaped = Counts()  # by what became of them

    async def run(self) -> None:
        """Do jobs, for ever."""
        tasks = [
            asyncio.create_task(self._writer.run(), name="job writer"),
            asyncio.create_task(self._listen(), name="job notifications"),
            asyncio.create_task(self._regularly(PROGRESS_SECONDS, self._progress), name="job progress"),
            asyncio.create_task(self._regularly(REAP_SECONDS, self.upkeep), name="job upkeep"),
            asyncio.create_task(self._regularly(STANDING_SECONDS, self._look_at_queue), name="job standing"),
        ]
        try:
            while True:
                self._wake.clear()
                for task in tasks:
                    if task.done():  # a defect: without it nothing here is true any more
                        task.result()
                await self._guarded(self.look)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._wake.wait()
        finally:
            for task in tasks[1:]:
                task.cancel()
            await self._end()
            tasks[0].cancel()
            await asyncio.wait(tasks)

    async def _regularly(self, seconds: float, what: Callable[[], object]) -> None:
        while True:
            await self._guarded(what)
            await asyncio.sleep(seconds)

    async def _guarded(self, what: Callable[[], object]) -> None:
        """Do it; an outage of the database is told once, and waited for."""
        try:
            done = what()
            if asyncio.iscoroutine(done):
                await done
        except StoreError as error:
            if not self._fault:
                log.warning("jobs are not looked at", extra={"error": str(error)})
                self._since = time.time()
            self._fault = str(error)
        else:
            if self._fault and what == self.look:
                self._fault, self._since = "", time.time()

    async def _listen(self) -> None:
        """Hear of what is new; without it everything is found by looking."""
        while True:
            try:
                conn = await connect(self._database.target)
                try:
                    gone = asyncio.Event()
                    with translating():
                        conn.add_termination_listener(lambda _, gone=gone: gone.set())
                        await conn.add_listener(job_store.CHANNEL, lambda *_: self._wake.set())
                    self._wake.set()
                    await gone.wait()
                finally:
                    conn.terminate()
            except StoreError as error:
                log.debug("no notifications of jobs: %s", error)
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> int:
        """Tell jobs that are to stop, and begin what is due; returns how many were begun. Raises StoreError."""
        if self._runs:
            async with self._database.acquire() as conn:
                wanted = set(await store.to_cancel(conn, [job_id for job_id, _ in self._runs]))
            for run, _ in self._runs.values():
                if run.job.id in wanted:
                    run.lease.cancel()
        begun = 0
        while not self._stopping and (kinds := self._free()):
            before = self._monotonic()  # the database's clock reads later than this one, so the lease is never thought longer than it is
            claim = await self._taken(kinds)
            if claim is None:
                break
            self._begin(claim, before + self._lease_seconds)
            begun += 1
        return begun

    async def _taken(self, kinds: list[str]) -> Claim | None:
        """A claim. Where netd stops in the middle of it the job is given back, for it was not begun: it must not look like one whose worker was lost."""
        taking = asyncio.create_task(running.take(self._database, self.worker, kinds, self._lease_seconds))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            await asyncio.wait((taking,), timeout=STOP_SECONDS)
            with contextlib.suppress(StoreError):  # else its lease ends
                if taking.done() and (claim := taking.result()) is not None:
                    await running.again(self._database, claim, "netd stops", counted=False)
            raise

    def _free(self) -> list[str]:
        """The kinds of which one more may be begun here."""
        if len(self._runs) >= self._at_once:
            return []
        running_ = [run.kind.name for run, _ in self._runs.values()]
        return [kind.name for kind in self._kinds if running_.count(kind.name) < kind.at_once]

    def _begin(self, claim: Claim, good_until: float) -> None:
        kind = self._kinds.get(claim.job.kind)
        run = Run(Lease(claim, good_until), kind, self._database, self._writer, self._keyring)
        task = asyncio.create_task(self._work(run), name=f"job {claim.job.id}")
        self._runs[run.lease.key] = (run, task)

    async def _work(self, run: Run) -> None:
        begun = self._monotonic()
        state = "lost"
        try:
            state = await run.work()
        except Exception:  # barrier: what one job brings up must not end the service of the others
            log.exception("a job was not done to its end", extra={"job": run.job.id})
        finally:
            del self._runs[run.lease.key]
            kind = run.kind.name
            self.ended[(kind, state)] += 1
            self.seconds[(kind,)] = self.seconds.get((kind,), 0.0) + self._monotonic() - begun
            log.info("job ended here", extra={"job": run.job.id, "kind": kind, "state": state})
            self._wake.set()  # its place is free

    async def _progress(self) -> None:
        """Renew leases at a third of their time, write how far jobs are, and stop what may be another's by now."""
        now = self._monotonic()
        for run, _ in list(self._runs.values()):
            lease = run.lease
            if now > lease.good_until - min(SLACK_SECONDS, self._lease_seconds / 10) and not lease.expired:
                log.warning("the lease of a job ran out", extra={"job": run.job.id})
                lease.expire()
            if lease.moved or now > lease.good_until - self._lease_seconds * 2 / 3:
                lease.moved = False
                self._writer.renew(lease)

    async def upkeep(self) -> None:
        """What every node does for all: jobs of lost workers, approvals that did not come, schedules that are due. Raises StoreError."""
        while became := await running.reap(self._database, self._runs.keys()):
            self.reaped[(became,)] += 1
            log.warning("a job's worker was lost", extra={"state": became})
        while await running.expire(self._database, self._now()):
            log.info("a job was not approved in time")
        await self._return_to_now()
        while await schedules.fire(self._database, self._kinds, self._keyring, self._now()):
            log.debug("a schedule was due")

    async def _return_to_now(self) -> None:
        """Let schedules that are far ahead be due by the clock as it is, once it is that for long: a machine may start with a wrong one, and soon be told."""
        if not await schedules.are_ahead(self._database, self._now()):
            self._ahead_since = None
            return
        if self._ahead_since is None:
            self._ahead_since = self._monotonic()
        if self._monotonic() - self._ahead_since >= AHEAD_SECONDS:
            while await schedules.return_to_now(self._database, self._now()):
                log.info("a schedule is due by the clock as it is now")

    async def _look_at_queue(self) -> None:
        async with self._database.acquire() as conn:
            self._waiting = await store.standing(conn)

    async def idle(self) -> None:
        """Wait until nothing is being done here."""
        while self._runs:
            await asyncio.wait([task for _, task in self._runs.values()])

    async def _end(self) -> None:
        """Begin nothing more, stop what is being done, and give it back: to be begun again where it may be, else as failed."""
        self._stopping = True
        for run, _ in self._runs.values():
            run.stop()
        tasks = [task for _, task in self._runs.values()]
        if tasks:
            _, slow = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for task in slow:
                task.cancel()
            if slow:
                log.warning("jobs are left to their leases", extra={"jobs": len(slow)})
                await asyncio.wait(slow, timeout=1.0)

    def parts(self) -> list[Part]:
        """For /health: never critical."""
        late = self._waiting.oldest_seconds
        detail = self._fault or self._writer.fault or (f"a job waits since {late:.0f} s" if late > LATE_SECONDS else "")
        return [Part(name="jobs", state="degraded" if detail else "ok", since=self._since, detail=detail, last_error=self._fault)]

    def _running(self) -> dict[tuple[str, ...], float]:
        counts: dict[tuple[str, ...], float] = {(kind.name,): 0 for kind in self._kinds}
        for run, _ in self._runs.values():
            counts[(run.kind.name,)] += 1
        return counts

    def register(self, metrics: Metrics) -> None:
        """Add the service's series."""
        metrics.gauge("netd_jobs", "Jobs that have not ended, of all nodes, by state", lambda: self._waiting.states, ("state",))
        metrics.gauge("netd_jobs_oldest_wait_seconds", "How long the first job that is due has waited", lambda: self._waiting.oldest_seconds)
        metrics.gauge("netd_jobs_working", "Jobs that this node works on, by kind", self._running, ("kind",))
        said = "Jobs that ended on this node; queued: to be begun again, lost: another's by then"
        metrics.counter_of("netd_jobs_ended", said, lambda: self.ended, ("kind", "state"))
        metrics.counter_of("netd_jobs_worked_seconds", "Time that jobs of this node took", lambda: self.seconds, ("kind",))
        metrics.counter_of("netd_jobs_reaped", "Jobs of lost workers, by what this node made of them", lambda: self.reaped, ("state",))
        metrics.counter_of("netd_job_log_lines", "Lines that jobs of this node said; dropped: beyond a job's limit", self._lines, ("result",))

    def _lines(self) -> dict[tuple[str, ...], float]:
        return {("written",): self._writer.written, ("dropped",): self._writer.dropped}
