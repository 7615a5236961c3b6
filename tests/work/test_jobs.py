"""Jobs on a real database: done once, in a true state, with everything that was said."""

from pathlib import Path

import pytest

from netd.keyring import Keyring
from netd.store.database import Database
from netd.work import jobs as work
from tests.work.jobs import Stage, World, kinds, serving


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    stage = Stage()
    return World(database, Keyring.load_or_create(tmp_path / "secret.key"), stage, kinds(stage))


async def test_a_jobs_life(world: World):
    job = await world.submit(lines=3, device="7", password="wonderland")
    assert (job.state, job.args["password"], job.lock_keys, job.created_by) == ("queued", "***", ("device:7",), "ann")
    async with serving(world.service()):
        (done,) = await world.until([job])
    assert (done.state, done.result, done.error, done.attempt, done.progress, done.progress_text) == (
        "succeeded", {"device": "7", "password": "***"}, None, 1, 1.0, "half",
    )  # fmt: skip
    log = await world.log(job)
    assert [entry.text for entry in log] == ["queued: by ann", "running", "line 0", "line 1", "line 2", "login with ***", "succeeded"]
    assert [entry.seq for entry in log] == list(range(1, 8)) and done.log_seq == 7
    assert await world.rows("select from job_locks") == []
    audit = await world.rows("select actor, action, result from audit_log where object_type = 'job' order by id")
    assert [(row["actor"], row["action"]) for row in audit] == [("ann", "job.submit"), ("ann", "job.succeed")]
    told = await world.rows("select type, data from events where object_type = 'job' order by id")
    assert [row["type"] for row in told] == ["job.submitted", "job.started", "job.succeeded"]
    everything = str(await world.rows("select to_jsonb(j) - 'sealed' from jobs j")) + str(told) + str(await world.rows("select to_jsonb(a) from audit_log a"))
    assert "wonderland" not in everything
    assert work.POLL_SECONDS > 1  # it was notified, for the time of the test is less
