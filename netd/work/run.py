"""One job that is being done: what its handler is given, and how it ends."""

import asyncio
import logging
import os
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any, Final, NamedTuple

import msgspec

from netd.domain import conversion, jobs, running
from netd.domain.actor import Actor
from netd.domain.kinds import FILE_OCTETS, Done, Kind, Stopped, Subject
from netd.domain.redact import Redactor
from netd.errors import JobFailed, NetdError, PeerError, StoreError, StoreUnavailable, TryAgain
from netd.keyring import Keyring
from netd.model.device import Outcome
from netd.model.job import EndState, Job, Level, TargetState
from netd.store import work as store
from netd.store.database import Connection, Database
from netd.store.rows import storable, storable_json
from netd.work.writer import Lease, Writer, cut

log = logging.getLogger(__name__)

RESULT_OCTETS: Final = 1 << 20
PART_OCTETS: Final = 256 << 10
ERROR_CHARACTERS: Final = 4000
LOCK_SECONDS: Final = 0.5
"""How often a subject that another job has is asked for again."""

RETRY_SECONDS: Final = 0.5
NAG_SECONDS: Final = 1.0
"""How often a handler that did not end is told again."""


class Lost(NetdError):
    """The job is no longer this node's: nothing more may be done for it."""


class End(NamedTuple):
    """What becomes of a job: an end, or with ``again_seconds`` another beginning."""

    state: EndState
    result: Any = None
    error: str | None = None
    again_seconds: float | None = None
    counted: bool = True


class Run:
    """A claimed job; what a handler sees of it is :class:`netd.domain.kinds.JobContext`."""

    def __init__(self, lease: Lease, kind: Kind, database: Database, writer: Writer, keyring: Keyring) -> None:
        self.lease = lease
        self.kind = kind
        self.stopping = False
        self._database = database
        self._writer = writer
        self._keyring = keyring
        self._redactor = Redactor()
        self._actor = running.actor_of(lease.claim, kind.permission)
        self._tally: Counter[str] = Counter()  # of all subjects, by state
        self._expected = 0

    @property
    def job(self) -> Job:
        """The job as it was when this attempt began."""
        return self.lease.claim.job

    @property
    def actor(self) -> Actor:
        """Who wanted it, confined to where it may reach."""
        return self._actor

    @property
    def devices(self) -> Sequence[int] | None:
        """Ids of the devices that it was made for; None: whatever its arguments mean now."""
        return self.lease.claim.devices

    @property
    def cancelled(self) -> bool:
        """Whether it is to stop."""
        return self.lease.changed.is_set()

    def stop(self) -> None:
        """netd stops."""
        self.stopping = True
        self.lease.changed.set()

    def hide(self, *secrets: str) -> None:
        """Never let these out."""
        self._redactor.add(secrets)

    async def log(self, text: str, level: Level = "info", target: str | None = None) -> None:
        """Add a line to the log. Raises Lost."""
        if not await self._writer.say(self.lease, datetime.now(UTC), level, target, self._redactor.text(text)):
            raise Lost("the job is no longer this node's")

    def progress(self, share: float | None, text: str = "") -> None:
        """How far it is, from 0 to 1."""
        self.lease.progress = None if share is None else min(1.0, max(0.0, share))
        self.lease.progress_text = self._redactor.text(text)[:500]
        self.lease.moved = True

    async def keep_file(self, name: str, media_type: str, permission: str, file: IO[bytes]) -> int:
        """Keep a file as what the job made. Raises JobFailed for one that is too large, Lost, StoreError."""
        octets = await asyncio.to_thread(file.seek, 0, os.SEEK_END)
        if octets > FILE_OCTETS:
            raise JobFailed(f"the file has {octets} octets, more than {FILE_OCTETS}")
        await asyncio.to_thread(file.seek, 0)
        claim, number = self.lease.claim, 0
        while data := await asyncio.to_thread(file.read, PART_OCTETS):
            _ours(await self._write(partial(store.add_file_part, claimed=claim, number=number, data=data)))
            number += 1
        _ours(await self._write(lambda conn: store.end_file(conn, claim, number, name, media_type, permission, octets)))
        return octets

    async def expect(self, subjects: Sequence[Subject]) -> None:
        """These subjects come, some at a time. Raises Lost, StoreError."""
        unique, _ = await self._declared(subjects)
        self._expected = len(unique)

    async def each(
        self, subjects: Sequence[Subject], work: Callable[[Subject], Awaitable[Done]], *, at_once: int = 10, most_failed: float = 1.0, locked: bool = True,
    ) -> Mapping[str, int]:  # fmt: skip
        """Do ``work`` for every subject. Raises Lost; StoreError if what became of one cannot be written."""
        unique, known = await self._declared(subjects)
        waiting = [subject for key, subject in unique.items() if known[key] not in ("succeeded", "unverified")]
        tally: Counter[str] = Counter(known[key] for key, subject in unique.items() if subject not in waiting)
        slots = asyncio.Semaphore(at_once)
        total = len(waiting) + sum(tally.values())

        async def one(subject: Subject) -> None:
            async with slots:
                if tally["failed"] + tally["unverified"] > most_failed * total:
                    tally["skipped"] += 1
                    return
                tally[await self._one(subject, work, locked)] += 1
                ended, of = self._tally.total() + tally.total(), max(self._expected, self._tally.total() + total)
                self.progress(ended / of, f"{ended} of {of}")

        async with asyncio.TaskGroup() as group:
            for subject in waiting:
                group.create_task(one(subject), name=f"job {self.job.id} {subject.key}")
        self._tally += tally
        return dict(tally)

    async def _declared(self, subjects: Sequence[Subject]) -> tuple[dict[str, Subject], dict[str, TargetState]]:
        """The subjects by their keys, each once, and how they stand."""
        fit = [Subject(storable(key) or "", storable(name) or "") for key, name in subjects]
        unique = {subject.key: subject for subject in fit}
        return unique, _ours(await self._write(lambda conn: store.declare_targets(conn, self.lease.claim, list(unique.values()))))

    @asynccontextmanager
    async def alone(self, subject: Subject) -> AsyncIterator[None]:
        """Have it for this job alone meanwhile. Raises Lost, StoreError."""
        await self._locked(subject)
        try:
            yield
        finally:
            if not self.lease.lost:
                await self._write(lambda conn: store.free_target(conn, self.lease.claim, subject.key))

    async def _one(self, subject: Subject, work: Callable[[Subject], Awaitable[Done]], locked: bool) -> TargetState:
        claim = self.lease.claim
        async with self.alone(subject) if locked else nullcontext():
            _ours(await self._write(lambda conn: store.begin_target(conn, claim, subject.key)))
            try:
                done = await work(subject)
            except Lost:
                raise
            except Stopped as stopped:
                await self._kept(subject, stopped.done)
                raise
            except Exception as error:  # barrier: what one subject brings up, be it the database's, must not end the work on the others half way
                done = Done(outcome=Outcome.FAILED, said=self._told(error))
            await self._kept(subject, done)
            return done.state

    async def _kept(self, subject: Subject, done: Done) -> None:
        """Write what became of a subject. Raises Lost, StoreError."""
        said = cut(self._redactor.text(done.said)) or None
        result, octets = await asyncio.to_thread(self._shown, done.result)  # which may be long
        if octets > RESULT_OCTETS:  # what a device says is as long as it likes
            said, result = cut(f"{said or ''}; its result is not kept: it has {octets} octets, more than {RESULT_OCTETS}".lstrip("; ")), None
        claim = self.lease.claim
        _ours(await self._write(lambda conn: store.end_target(conn, claim, subject.key, done.state, done.outcome, said, result)))

    def _shown(self, value: Any) -> tuple[Any, int]:
        """A result as it is kept, and how long it is."""
        result = storable_json(self._redactor.value(conversion.plain(value)))
        return result, len(msgspec.json.encode(result))

    async def _locked(self, subject: Subject) -> None:
        told = False
        while not _ours(await self._write(lambda conn: store.lock_target(conn, self.lease.claim, subject.key))):
            if not told:
                await self.log(f"{subject.name} is waited for: another job is at it", target=subject.key)
                told = True
            await asyncio.sleep(LOCK_SECONDS)

    async def _write(self, what: Callable[[Connection], Awaitable[Any]]) -> Any:
        """Write it, also through an outage of the database that is shorter than the lease."""
        while True:
            try:
                async with self._database.transaction() as conn:
                    return await what(conn)
            except StoreUnavailable:
                if self.lease.changed.is_set():
                    raise
                await asyncio.sleep(RETRY_SECONDS)

    async def work(self) -> str:
        """Do the job and write how it ended; returns its state, or ``queued`` where it is begun again, ``lost`` where it is another's by now."""
        end = await self._done()
        await self.lease.quiet.wait()
        while not self.lease.lost:
            try:
                if end.again_seconds is not None:
                    held = await running.again(self._database, self.lease.claim, end.error or "", after_seconds=end.again_seconds, counted=end.counted)
                    return "queued" if held else "lost"
                lease = self.lease
                held = await running.end(self._database, lease.claim, end.state, end.result, end.error, lease.progress, lease.progress_text)
                return end.state if held else "lost"
            except StoreUnavailable as error:  # under the fence it may be tried until it is written, or somebody else was quicker
                log.warning("the end of a job is not written yet", extra={"job": self.job.id, "error": str(error)})
                if self.stopping:
                    return "lost"
                await asyncio.sleep(RETRY_SECONDS)
            except StoreError as error:
                log.error("the end of a job was refused by the database", extra={"job": self.job.id, "error": str(error)})
                if end.state == "failed" and end.result is None:
                    return "lost"  # the lease ends, and whoever finds it says so
                end = End("failed", error=f"it was {end.state}, but how it ended was refused by the database")
        return "lost"

    async def _done(self) -> End:
        """Let the handler work until it is done, has to stop, or time is up."""
        try:
            args, secrets = jobs.opened(self._keyring, self.kind, self.job.args, self.lease.claim.sealed)
        except NetdError as error:
            return End("failed", error=f"its arguments cannot be used: {error}")
        self.hide(*secrets)
        try:
            if refused := await running.refusal(self._database, self.lease.claim, self.kind, datetime.now(UTC)):
                return End("failed", error=refused)
        except StoreError as error:
            return End("failed", error=f"it is not known whether it may be done: {error}", again_seconds=RETRY_SECONDS, counted=False)
        task = asyncio.ensure_future(self.kind.run(self, args))
        changed = asyncio.create_task(self.lease.changed.wait())
        try:
            await asyncio.wait((task, changed), timeout=self.job.timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return self._of_task(task)
            return await self._stopped(task)
        finally:
            changed.cancel()
            task.cancel()  # where this task itself is cancelled: it would go on alone

    async def _stopped(self, task: "asyncio.Future[Any]") -> End:
        """End the handler, which has some time to leave things in order, and say why it did not get to its end."""
        lease, again = self.lease, False
        state: EndState = "failed"
        if lease.cancelled:
            state, why = "cancelled", "cancelled while it ran"
        elif self.stopping:
            why, again = "netd was stopped while it ran", self.kind.idempotent
        elif lease.lost or lease.expired:
            why, again = "the database was away for longer than its lease", self.kind.idempotent and self.job.attempt < self.job.max_attempts
        else:
            state, why = "timed_out", f"it was not done in {self.job.timeout_seconds:g} s"
        task.cancel()
        await asyncio.wait((task,), timeout=self.kind.clean_up_seconds)
        if not task.done():
            log.critical("a job's handler does not end", extra={"job": self.job.id, "kind": self.kind.name})
            _NAGGING.add(nagging := asyncio.create_task(_nag(task), name=f"job {self.job.id} nag"))
            nagging.add_done_callback(_NAGGING.discard)
            why += f"; its clean-up did not end within {self.kind.clean_up_seconds:g} s, so what it still does is not known"
            return End(state, error=why)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, Lost):
            why += f"; while it stopped: {self._told(error)}"
        return End(state, error=why, again_seconds=0.0 if again else None, counted=not self.stopping)

    def _of_task(self, task: "asyncio.Future[Any]") -> End:
        if task.cancelled():  # by itself: nobody told it to
            return End("failed", error="its handler gave up")
        error = task.exception()
        if error is None:
            return self._of_result(task.result())
        if isinstance(error, TryAgain) and self.job.attempt < self.job.max_attempts:
            return End("failed", error=self._told(error), again_seconds=error.seconds)
        result = self._redactor.value(conversion.plain(error.result)) if isinstance(error, JobFailed) else None
        return End("failed", result=result, error=self._told(error))

    def _of_result(self, value: Any) -> End:
        try:
            result = self._redactor.value(conversion.plain(value))
            octets = len(msgspec.json.encode(result))
        except (TypeError, NotImplementedError):  # a defect of the kind, which is not to keep the job from ending
            log.exception("a job's result has no JSON form", extra={"job": self.job.id, "kind": self.kind.name})
            return End("failed", error=f"what the handler returned ({type(value).__name__}) has no JSON form")
        if octets > RESULT_OCTETS:
            return End("failed", error=f"the result has {octets} octets, more than {RESULT_OCTETS}")
        bad = {state: count for state, count in sorted(self._tally.items()) if state != "succeeded" and count}
        if bad:
            return End("failed", result=result, error=f"of {self._tally.total()}: {', '.join(f'{count} {state}' for state, count in bad.items())}")
        return End("succeeded", result=result)

    def _told(self, error: BaseException) -> str:
        """An error as the job shows it; one that is not netd's is a defect, and goes into the log with where it was."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, NetdError):
            return self._redactor.text(error.whole if isinstance(error, PeerError) else str(error))[:ERROR_CHARACTERS]
        told = self._redactor.text("".join(traceback.format_exception(error)))
        log.error("a job's handler failed\n%s", told, extra={"job": self.job.id, "kind": self.kind.name})
        return f"a defect of netd, see its log: {type(error).__name__}"


_NAGGING: Final[set[asyncio.Task[None]]] = set()


async def _nag(task: "asyncio.Future[Any]") -> None:
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=NAG_SECONDS)


def _ours(value: Any) -> Any:
    """``value``; None is what the store says of a job that is another's. Raises Lost."""
    if value is None:
        raise Lost("the job is no longer this node's")
    return value
