"""Files that jobs keep: whole, the last attempt's, and never of a worker that lost the job."""

import io
from pathlib import Path
from typing import Any

import pytest

from netd.domain import jobs, running
from netd.domain.kinds import JobContext, Kind, Kinds, NoArguments
from netd.errors import NotFound, OutsideScope, TryAgain
from netd.keyring import Keyring
from netd.store import jobs as job_store
from netd.store import work as store
from netd.store.database import Database
from netd.work import run
from tests.work.jobs import ACTOR, Stage, World, serving

LARGE, SMALL = b"0123456789abcdef" * 50_000, b"small"


def kinds(stage: Stage) -> Kinds:
    async def keep(job: JobContext, arguments: NoArguments) -> Any:
        """Two attempts: a large file that is there when the first breaks off, then a small one."""
        data = LARGE if job.job.attempt == 1 else SMALL
        octets = await job.keep_file("a.csv", "text/csv", "nas:read", io.BytesIO(data))
        if job.job.attempt == 1:
            stage.begun.append(job.job.id)
            stage.changed.set()
            await stage.go.wait()
            raise TryAgain("once more", 0.0)
        return octets

    return Kinds((Kind(name="keep", title="Keep", args=NoArguments, run=keep, permission="nas:write", idempotent=True, timeout_seconds=60),))


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    stage = Stage()
    return World(database, Keyring.load_or_create(tmp_path / "secret.key"), stage, kinds(stage))


async def kept(world: World, job: int) -> bytes:
    found, pieces = await jobs.file(world.database, ACTOR, job)
    data = b"".join([piece async for piece in pieces])
    assert (found.name, found.octets) == ("a.csv", len(data))
    return data


async def test_the_last_attempts_file_is_the_jobs(world: World):
    job = await world.submit("keep")
    with pytest.raises(NotFound):
        await kept(world, job.id)
    async with serving(world.service()):
        await world.stage.until(lambda: world.stage.begun)
        assert await kept(world, job.id) == LARGE
        assert len(await world.rows("select from job_file_parts")) == -(-len(LARGE) // run.PART_OCTETS) == 4
        _, pieces = await jobs.file(world.database, ACTOR, job.id)
        assert len(await anext(pieces)) == run.PART_OCTETS
        world.stage.go.set()
        (done,) = await world.until([job])
    assert (done.state, done.result, await kept(world, job.id)) == ("succeeded", len(SMALL), SMALL)
    assert len(await world.rows("select from job_file_parts")) == 1
    with pytest.raises(NotFound, match="the rest of the file"):  # of who was reading the one before: a part must not look like the whole
        await anext(pieces)
    with pytest.raises(OutsideScope, match="nas:read"):
        await jobs.file(world.database, running.actor_of(store.Claim(done, 0, None, None, None, None, 0, None), "nas:write"), job.id)


async def test_who_lost_the_job_keeps_nothing(world: World):
    job = await world.submit("keep")
    old = await running.take(world.database, "old", ["keep"], 0.0)
    assert old is not None and await running.reap(world.database) == "queued"
    async with world.database.acquire() as conn:
        await conn.execute("update jobs set run_at = now()")
    new = await running.take(world.database, "new", ["keep"], 60.0)
    assert new is not None
    async with world.database.acquire() as conn:
        assert await store.add_file_part(conn, new, 0, b"new") and await store.end_file(conn, new, 1, "a.csv", "text/csv", "nas:read", 3)
        assert await store.add_file_part(conn, old, 0, b"old") is None
        assert await store.end_file(conn, old, 1, "a.csv", "text/csv", "nas:read", 3) is None
        assert await job_store.file(conn, 1, job.id) is not None
    assert await kept(world, job.id) == b"new"


async def test_a_file_that_is_too_large(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run, "FILE_OCTETS", 100)
    job = await world.submit("keep")
    async with serving(world.service()):
        (done,) = await world.until([job])
    assert (done.state, done.error) == ("failed", f"the file has {len(LARGE)} octets, more than 100")
    assert await world.rows("select from job_files") == []
