"""Workers that die, stop, lose their leases or come back: every job is done by one at a time, and none is stuck."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from netd.domain import jobs, running
from netd.domain.kinds import Subject
from netd.errors import StoreError, StoreUnavailable
from netd.keyring import Keyring
from netd.store import work as store
from netd.store.database import Database
from netd.work import jobs as work
from netd.work import run, writer
from netd.work.run import Lost
from tests.work.jobs import ACTOR, Clock, Stage, World, kinds, serving


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    stage = Stage()
    return World(database, Keyring.load_or_create(tmp_path / "secret.key"), stage, kinds(stage))


async def test_what_was_done_is_not_done_again(world: World):
    """The second attempt of a job on targets leaves out those that succeeded."""
    job = await world.submit(what="hold targets", targets=3)
    service = world.service()
    async with serving(service):
        await world.have(job, {"succeeded": 2, "running": 1})
    waiting = await world.job(job)  # netd was stopped: handed back, and the attempt does not count
    assert (waiting.state, waiting.attempt, waiting.targets) == ("queued", 0, {"succeeded": 2, "queued": 1})
    assert (await world.said(job))[-1] == "queued: netd was stopped while it ran"
    world.stage.go.set()
    async with serving(world.service()):
        (done,) = await world.until([job])
    assert (done.state, done.attempt, done.result) == ("succeeded", 1, {"succeeded": 3})
    assert [each.name for each in await world.targets(job)] == ["core0", "core1", "core2"]
    assert len([text for text in await world.said(job) if text == "running"]) == 2


async def test_stopping_hands_back_what_may_be_begun_again(world: World):
    again, once = await world.submit(what="hold", device="1"), await world.submit("once", what="hold", device="2")
    async with serving(world.service()):
        await world.stage.until(lambda: world.stage.at_work == 2)
    assert sorted(world.stage.cleaned) == [again.id, once.id]
    first, second = await world.job(again), await world.job(once)
    assert (first.state, first.attempt) == ("queued", 0)
    assert (second.state, second.error) == ("failed", "netd was stopped while it ran")
    assert await world.rows("select from job_locks") == []
    world.stage.go.set()
    async with serving(world.service()):
        (done,) = await world.until([again])
    assert (done.state, done.attempt) == ("succeeded", 1)


async def test_stopping_in_the_middle_of_a_claim(world: World, monkeypatch):
    """What was claimed and not begun is no lost job."""
    job = await world.submit("once")
    claimed, take = asyncio.Event(), running.take

    async def slowly(*arguments: Any) -> Any:
        found = await take(*arguments)
        if found is not None:
            claimed.set()
            await asyncio.sleep(0.5)
        return found

    monkeypatch.setattr(running, "take", slowly)
    async with serving(world.service()):
        await claimed.wait()
    waiting = await world.job(job)
    assert (waiting.state, waiting.attempt, world.stage.begun) == ("queued", 0, [])


async def die(services: list[work.JobService], tasks: list["asyncio.Task[None]"]) -> None:
    """End services as kill -9 does: nothing is written any more."""
    for service in services:
        service._database = service._writer._database = Gone(service._database)  # type: ignore[assignment]
        for each, _ in service._runs.values():
            each._database = service._database
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


class Gone:
    """A database that cannot be reached."""

    def __init__(self, database: Database) -> None:
        self.target = database.target

    def acquire(self) -> Any:
        raise StoreUnavailable("gone")

    transaction = acquire


async def test_a_lost_workers_jobs_end_truly(world: World, monkeypatch):
    """By kind: begun again, or failed; and never without saying so."""
    monkeypatch.setattr(work, "REAP_SECONDS", 0.05)
    monkeypatch.setattr(work, "STOP_SECONDS", 0.1)
    again, once = await world.submit(what="hold", device="11"), await world.submit("once", what="hold", device="12")
    stopping = await world.submit(what="hold", device="13")
    targets = await world.submit("once", what="hold targets", targets=2)
    dead = world.service()
    task = asyncio.create_task(dead.run())
    await world.stage.until(lambda: world.stage.at_work == 5)
    await world.have(targets, {"succeeded": 1, "running": 1})
    monkeypatch.setattr(store, "to_cancel", lambda *_: asyncio.sleep(0, []))  # it does not hear of it any more
    await die([dead], [task])
    async with world.database.acquire() as conn:
        await conn.execute("update jobs set lease_until = now() where state = 'running'")  # time goes by
    await jobs.cancel(world.database, ACTOR, world.kinds, stopping.id, datetime.now(UTC))
    world.stage.go.set()
    async with serving(world.service()):
        done = {job.id: job for job in await world.until([again, once, stopping, targets])}
    assert (done[again.id].state, done[again.id].attempt) == ("succeeded", 2)
    assert f"queued: worker {dead.worker} lost, attempt 1 of 3" in await world.said(again)
    assert done[once.id].state == "failed"
    assert (done[once.id].error or "").startswith(f"worker {dead.worker} lost: how far it came is not known")
    assert done[stopping.id].state == "cancelled" and "lost before it said that it stopped" in (done[stopping.id].error or "")
    assert done[targets.id].targets == {"succeeded": 1, "failed": 1}
    (left,) = [each for each in await world.targets(targets) if each.state == "failed"]
    assert f"worker {dead.worker} lost" in (left.said or "")
    for job in (again, once, stopping, targets):
        assert [entry.seq for entry in await world.log(job)] == list(range(1, done[job.id].log_seq + 1))


async def test_a_job_that_kills_its_workers_is_not_begun_for_ever(world: World):
    job = await world.submit()
    for attempt in range(1, 4):
        claim = await running.take(world.database, "w", ["work"], 0.0)
        assert claim is not None and claim.job.attempt == attempt
        assert await running.reap(world.database) == ("queued" if attempt < 3 else "failed")
        async with world.database.acquire() as conn:
            await conn.execute("update jobs set run_at = now()")
    assert (await world.job(job)).error == "worker w lost in attempt 3 of 3"


async def test_who_was_thought_dead_can_undo_nothing(world: World):
    """Every write of a worker whose job was given to another is refused, and its handler learns of it."""
    job = await world.submit(device="1")
    old = await running.take(world.database, "old", ["work"], 0.0)
    assert old is not None and await running.reap(world.database) == "queued"
    async with world.database.acquire() as conn:
        await conn.execute("update jobs set run_at = now()")
    new = await running.take(world.database, "new", ["work"], 30.0)
    assert new is not None and new.fence > old.fence
    writing = writer.Writer(world.database, 30.0)
    task = asyncio.create_task(writing.run())
    stale = run.Run(writer.Lease(old, 1e9), world.kinds.get("work"), world.database, writing, world.keyring)
    with pytest.raises(Lost):
        await stale.log("I am still here")
    assert stale.cancelled
    with pytest.raises(Lost):
        await stale.each([Subject("device:9", "core9")], lambda subject: asyncio.sleep(0))  # type: ignore[arg-type, return-value]
    async with world.database.acquire() as conn:
        assert await store.lock_target(conn, old, "device:9") is None
        assert await store.lock_target(conn, new, "device:9") is True
        await store.free_target(conn, old, "device:9")
        assert await store.begin_target(conn, old, "device:9") is False
        assert not await store.end_target(conn, old, "device:9", "succeeded", None, None, None)
    assert not await running.end(world.database, old, "succeeded", None, None)
    assert not await running.again(world.database, old, "me")
    fresh = run.Run(writer.Lease(new, 1e9), world.kinds.get("work"), world.database, writing, world.keyring)
    await fresh.log("it is me")
    assert await running.end(world.database, new, "succeeded", None, None)
    assert not await running.end(world.database, new, "failed", None, None)
    task.cancel()
    done = await world.job(job)
    assert (done.state, done.worker, done.attempt) == ("succeeded", "new", 2)
    assert "I am still here" not in await world.said(job) and "it is me" in await world.said(job)
    assert await world.rows("select from job_targets") == []


async def test_without_its_database_a_worker_stops_before_another_may_begin(world: World, monkeypatch):
    monkeypatch.setattr(work, "PROGRESS_SECONDS", 0.05)
    again, once = await world.submit(what="hold"), await world.submit("once", what="hold")
    clock = Clock()
    service = world.service(lease_seconds=60.0, monotonic=clock)
    monkeypatch.setattr(work, "REAP_SECONDS", 3600)
    async with serving(service):
        await world.stage.until(lambda: world.stage.at_work == 2)
        service._writer._database = Gone(world.database)  # type: ignore[assignment]
        clock.seconds += 57  # another may begin after three more
        for _ in range(3):
            await asyncio.sleep(2 * work.PROGRESS_SECONDS)
            assert not world.stage.cleaned, "the lease holds"
        clock.seconds += 2
        await world.stage.until(lambda: len(world.stage.cleaned) == 2)
        world.stage.go.set()
        service._writer._database = world.database
        done = await world.until([again, once])
    assert [(job.state, job.attempt) for job in done] == [("succeeded", 2), ("failed", 1)]
    assert done[1].error == "the database was away for longer than its lease"


async def test_a_database_that_refuses_to_renew_is_not_asked_without_end(world: World, monkeypatch):
    monkeypatch.setattr(writer, "RETRY_SECONDS", 60.0)
    await world.submit()
    claim = await running.take(world.database, "w", ["work"], 30.0)
    assert claim is not None
    asked: list[int] = []

    class Refusing(Gone):
        def transaction(self) -> Any:
            asked.append(1)
            raise StoreError("no")

    writing = writer.Writer(Refusing(world.database), 30.0)  # type: ignore[arg-type]
    task = asyncio.create_task(writing.run())
    writing.renew(writer.Lease(claim, 1e9))
    async with asyncio.timeout(30):
        while not asked:  # noqa: ASYNC110 - it says nothing
            await asyncio.sleep(0.01)
    for _ in range(1000):
        await asyncio.sleep(0)
    task.cancel()
    assert len(asked) == 1


async def test_a_node_that_lost_a_job_may_get_it_again(world: World, monkeypatch):
    """While the handler of the attempt before still cleans up: the two are not taken for one another."""
    monkeypatch.setattr(work, "PROGRESS_SECONDS", 0.05)
    monkeypatch.setattr(running, "LOST_RETRY_SECONDS", 0.0)
    world.kinds = kinds(world.stage, clean_up_seconds=120.0)
    job = await world.submit(what="clean slowly")
    clock = Clock()
    service = world.service(lease_seconds=60.0, monotonic=clock)
    async with serving(service):
        await world.stage.until(lambda: world.stage.at_work == 1)
        (old,) = [run for run, _ in service._runs.values()]
        async with world.database.acquire() as conn:
            await conn.execute("update jobs set lease_until = now() - interval '1 second'")
        assert await running.reap(world.database) == "queued"  # as another node does
        await world.stage.until(lambda: len(world.stage.begun) == 2)
        clock.seconds += 25  # it is time to renew: the old one hears that it is lost
        await world.stage.until(lambda: world.stage.cleaned)
        assert len(service._runs) == 2
        (new,) = [run for run, _ in service._runs.values() if run is not old]

        async def gone() -> bool:
            return len(service._runs) == 1

        world.stage.tidy.set()
        await world.eventually(gone)
        until = clock.seconds + 60
        clock.seconds += 25

        async def renewed() -> bool:
            return new.lease.good_until > until

        await world.eventually(renewed)
        assert not new.cancelled and (await world.job(job)).attempt == 2
        world.stage.go.set()
        (done,) = await world.until([job])
    assert (done.state, done.attempt) == ("succeeded", 2)


async def test_a_node_does_not_take_itself_for_lost(world: World, monkeypatch):
    """The database's clock was set forward, or it hung for longer than a lease: the node goes on, or says itself how far it came."""
    monkeypatch.setattr(work, "REAP_SECONDS", 3600.0)
    looked, reap = asyncio.Event(), running.reap

    async def noted(*arguments: Any) -> str | None:
        found = await reap(*arguments)
        looked.set()
        return found

    monkeypatch.setattr(running, "reap", noted)
    clock = Clock()
    service = world.service(lease_seconds=60.0, monotonic=clock)
    async with serving(service):
        await looked.wait()  # no look that began before the job did is under way
        job = await world.submit("once", what="hold")
        await world.stage.until(lambda: world.stage.at_work == 1)
        async with world.database.acquire() as conn:
            over = await conn.fetchval("update jobs set lease_until = now() - interval '1 hour' returning lease_until")
        await service.upkeep()
        clock.seconds += 25

        async def renewed() -> bool:
            return bool((await world.rows("select lease_until > $1 as later from jobs", over))[0]["later"])

        await world.eventually(renewed)
        world.stage.go.set()
        (done,) = await world.until([job])
    assert (done.state, done.error, service.reaped) == ("succeeded", None, {})


async def test_leases_are_renewed(world: World, monkeypatch):
    monkeypatch.setattr(work, "PROGRESS_SECONDS", 0.05)
    monkeypatch.setattr(work, "REAP_SECONDS", 0.05)
    job = await world.submit("once", what="hold")
    clock = Clock()
    async with serving(*(world.service(lease_seconds=60.0, monotonic=clock) for _ in range(2))):
        await world.stage.until(lambda: world.stage.at_work == 1)
        begun = (await world.rows("update jobs set lease_until = lease_until - interval '25 s' returning lease_until"))[0]["lease_until"]
        clock.seconds += 25

        async def renewed() -> bool:
            return bool((await world.rows("select lease_until > $1 as later from jobs", begun + timedelta(seconds=20)))[0]["later"])

        await world.eventually(renewed)
        world.stage.go.set()
        (done,) = await world.until([job])
    assert (done.state, done.attempt) == ("succeeded", 1)
