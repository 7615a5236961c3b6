"""Kinds of jobs that tests have done, and a world to do them in."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from netd.domain import jobs
from netd.domain.actor import Actor, system
from netd.domain.jobs import NewJob
from netd.domain.kinds import Done, JobContext, Kind, Kinds, NoArguments, Reach, Subject
from netd.errors import JobFailed, PeerError, TryAgain
from netd.keyring import Keyring
from netd.model.device import Outcome
from netd.model.job import Job, JobEntry, JobTarget
from netd.store import jobs as job_store
from netd.store.database import Database
from netd.work.jobs import JobService

ACTOR = system(1, "ann")


async def known(database: Database, *actors: Actor) -> None:
    """Tokens that these actors have: what they want is done as long as the tokens are good."""
    async with database.acquire() as conn:
        for actor in actors:
            (grant,) = actor.grants
            assert actor.token_id is not None
            await conn.execute(
                """insert into api_tokens (id, tenant_id, public_id, name, role, token_hash, created_by, permissions, site_id) overriding system value
                   values ($1, 1, $2, $3, 'admin', $4, 't', $5, $6) on conflict do nothing""",
                actor.token_id, f"{'a' * 10}{chr(97 + actor.token_id // 26)}{chr(97 + actor.token_id % 26)}", actor.name, bytes([actor.token_id]),
                sorted(grant.permissions), None if grant.sites is None else min(grant.sites),
            )  # fmt: skip


class Orders(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the test's handler does."""

    lines: int = 0
    device: str = ""
    password: str = ""
    what: str = ""
    targets: int = 0
    at_once: int = 10
    most_failed: float = 1.0


class Clock:
    """Monotonic seconds that only a test moves: a lease lasts as long as it says, however long the machine takes."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Stage:
    """Where handlers are seen at work, and held until they are let go."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.cleaned: list[int] = []
        self.at_work = 0
        self.most_at_work = 0
        self.devices: dict[str, int] = {}
        self.together = False  # two were at one device at the same time
        self.go = asyncio.Event()
        self.tidy = asyncio.Event()  # those that clean up slowly are done with it
        self.changed = asyncio.Event()

    async def until(self, what: Any, seconds: float = 120.0) -> None:
        """Wait until ``what()`` holds; it is asked whenever something changes here."""
        async with asyncio.timeout(seconds):
            while not what():
                self.changed.clear()
                await self.changed.wait()

    @asynccontextmanager
    async def at(self, device: str) -> AsyncIterator[None]:
        """Somebody works on a device."""
        self.devices[device] = self.devices.get(device, 0) + 1
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        self.together = self.together or (device != "" and self.devices[device] > 1)
        self.changed.set()
        try:
            yield
        finally:
            self.devices[device] -= 1
            self.at_work -= 1
            self.changed.set()


async def reach(conn: Any, actor: Actor, orders: Orders) -> Reach:
    keys = (f"device:{orders.device}",) if orders.device else ()
    return Reach(sites=actor.sites, lock_keys=keys)


async def _dirty() -> Done:
    return Done(said="\0", result="\0")


def kinds(stage: Stage, **more: Any) -> Kinds:
    """``work`` may be begun again, ``once`` may not, ``risky`` needs approval; ``quick`` does nothing."""

    async def work(job: JobContext, orders: Orders) -> Any:
        stage.begun.append(job.job.id)
        job.hide("hunter2hunter2")
        if orders.what == "say together":
            stage.changed.set()
            await stage.go.wait()
        for number in range(orders.lines):
            await job.log(f"line {number}")
        if orders.password:
            await job.log(f"login with {orders.password}")
        try:
            async with stage.at(orders.device):
                return await act(job, orders)
        except asyncio.CancelledError:
            stage.cleaned.append(job.job.id)
            stage.changed.set()
            if orders.what == "clean slowly":
                await stage.tidy.wait()
            raise

    async def act(job: JobContext, orders: Orders) -> Any:
        if orders.what in ("hold", "clean slowly"):
            await stage.go.wait()
        elif orders.what == "stubborn":
            while not stage.go.is_set():
                try:
                    await stage.go.wait()
                except asyncio.CancelledError:
                    stage.changed.set()
        elif orders.what == "refused":
            raise PeerError("the device refused", said=f"bad password {orders.password}")
        elif orders.what == "failed":
            raise JobFailed("not good", {"secret": orders.password})
        elif orders.what == "again":
            raise TryAgain("busy", 0.0)
        elif orders.what == "defect":
            raise ZeroDivisionError(f"with {orders.password}")
        elif orders.what == "huge":
            return "x" * (2 << 20)
        elif orders.what == "odd":
            return object()
        elif orders.what == "dirty":
            await job.log("a\0b\ud800", target="\0")
            job.progress(0.1, "\0")
            await job.each([Subject("device:\0", "\0")], lambda _: _dirty())
            return {"\0": ["\0"]}
        if orders.targets:
            return await job.each(
                [Subject(f"device:{n}", f"core{n}") for n in range(orders.targets)], lambda subject: one(job, subject, orders),
                at_once=orders.at_once, most_failed=orders.most_failed,
            )  # fmt: skip
        job.progress(0.5, "half")
        return {"device": orders.device, "password": orders.password}

    async def one(job: JobContext, subject: Subject, orders: Orders) -> Done:
        async with stage.at(subject.key):
            await asyncio.sleep(0)
            if orders.what.startswith("fail "):
                if subject.key in orders.what.split()[1:]:
                    raise PeerError("it said no", said=f"% denied {orders.password}")
            elif orders.what == "hold targets" and subject.key == "device:1":
                await stage.go.wait()
            elif orders.what == "doubt":
                return Done(outcome=Outcome.UNVERIFIED, said="who knows")
            elif orders.what == "talk":
                return Done(said="fine", result={"text": "x" * (2 << 20 if subject.key == "device:1" else 10)})
            elif orders.what == "bug":
                raise KeyError(subject.key)
            return Done(said=f"fine {orders.password}", result={"at": subject.name})

    async def quick(job: JobContext, arguments: NoArguments) -> None:
        stage.begun.append(job.job.id)

    common: dict[str, Any] = {"args": Orders, "run": work, "permission": "nas:write", "reach": reach, "secrets": ("password",)}
    common |= {"timeout_seconds": 120, "at_once": 100, "clean_up_seconds": 30.0} | more
    return Kinds((
        Kind(name="work", title="Work", idempotent=True, **common),
        Kind(name="once", title="Work that is done once", idempotent=False, **common),
        Kind(name="risky", title="Work that needs approval", idempotent=False, approval=True, **common),
        Kind(name="quick", title="Nothing", idempotent=True, args=NoArguments, run=quick, permission="nas:write", timeout_seconds=60, at_once=50),
    ))  # fmt: skip


@dataclass
class World:
    """A database, and kinds."""

    database: Database
    keyring: Keyring
    stage: Stage
    kinds: Kinds
    services: list[JobService] = field(default_factory=list)

    def service(self, **more: Any) -> JobService:
        made = JobService(self.database, self.kinds, self.keyring, **more)
        self.services.append(made)
        return made

    async def submit(self, kind: str = "work", *, actor: Actor = ACTOR, key: str | None = None, job: dict[str, Any] | None = None, **args: Any) -> Job:
        new = NewJob(kind=kind, args=args, **(job or {}))
        return await jobs.submit(self.database, actor, self.kinds, self.keyring, new, datetime.now(UTC), idempotency_key=key)

    async def job(self, job: Job) -> Job:
        return await jobs.get(self.database, ACTOR, job.id)

    async def log(self, job: Job) -> list[JobEntry]:
        return list((await jobs.log(self.database, ACTOR, job.id, 0, 100_000)).items)

    async def said(self, job: Job) -> list[str]:
        return [entry.text for entry in await self.log(job)]

    async def targets(self, job: Job) -> list[JobTarget]:
        return list((await jobs.targets(self.database, ACTOR, job.id, jobs.TargetQuery(limit=1000))).items)

    async def rows(self, statement: str, *args: Any) -> list[Any]:
        async with self.database.acquire() as conn:
            return [dict(row) for row in await conn.fetch(statement, *args)]

    async def eventually(self, what: Callable[[], Awaitable[bool]], seconds: float = 120.0) -> None:
        """Wait until ``what`` holds, which is about the database."""
        async with asyncio.timeout(seconds):
            while not await what():  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.02)

    async def have(self, job: Job, targets: dict[str, int]) -> None:
        """Wait until the job's targets stand so."""

        async def stand() -> bool:
            return (await self.job(job)).targets == targets

        await self.eventually(stand)

    async def until(self, wanted: Iterable[Job], states: str = "succeeded failed cancelled timed_out", seconds: float = 120.0) -> list[Job]:
        """Wait until each of the jobs is in one of these states; returns them as they are then."""
        ids, among = [each.id for each in wanted], states.split()
        async with asyncio.timeout(seconds):
            while True:
                async with self.database.acquire() as conn:
                    found = [await job_store.get(conn, 1, each) for each in ids]
                if all(each is not None and each.state in among for each in found):
                    return [each for each in found if each is not None]
                await asyncio.sleep(0.02)


@asynccontextmanager
async def serving(*services: JobService) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(service.run()) for service in services]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
