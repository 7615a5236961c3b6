"""``netd job`` and ``netd schedule`` against a running API with a worker."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from netd.keyring import Keyring
from netd.store.database import Database
from tests.web.running import Api, running
from tests.work.jobs import Stage, World, kinds, serving


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Api]:
    stage = Stage()
    world = World(database, Keyring.load_or_create(tmp_path / "secret.key"), stage, kinds(stage))
    async with running(database, tmp_path, kinds=world.kinds) as started, serving(world.service()):
        yield started


async def test_jobs(netd):
    done = await netd("job", "start", "work", "--arg", "lines=2", "--args-file", "-", "-f", stdin='{"password": "wonderland"}')
    assert done.code == 0 and [line[22:] for line in done.out.splitlines()] == [
        "== queued: by test admin", "== running", "line 0", "line 1", "login with ***", "== succeeded",
    ]  # fmt: skip
    failed = await netd("job", "start", "work", "--arg", "targets=2", "--arg", "what=fail device:1", "--priority", "5", "--follow", "--json")
    assert failed.code == 1 and failed.out.splitlines()[-1].endswith('"text": "failed: of 2: 1 failed"}')
    table = (await netd("job", "list", "--state", "failed,succeeded")).out.splitlines()
    assert [line.split()[:4] for line in table[1:]] == [["2", "work", "failed", "100"], ["1", "work", "succeeded", "100"]]
    assert len((await netd("job", "list", "--target", "device:1", "--kind", "work")).out.splitlines()) == 2
    shown = (await netd("job", "show", "2")).out
    assert 'targets          {"failed": 1, "succeeded": 1}' in shown and "error            of 2: 1 failed" in shown
    assert [line.split()[0] for line in (await netd("job", "targets", "2", "--failed")).out.splitlines()[1:]] == ["device:1"]
    assert (await netd("job", "log", "1")).out == done.out
    assert (await netd("job", "retry", "2")).out.startswith("job 3 does it once more: queued")
    assert (await netd("job", "log", "3", "-f")).code == 1
    assert (await netd("job", "retry", "1")).err == "netd: the job is succeeded: only what did not succeed can be retried\n"


async def test_what_waits(netd):
    later = await netd("job", "start", "work", "--at", "2099-01-01T00:00:00Z", "--unique", "one")
    assert later.out == "job 1 is queued\n"
    assert "job 1 with the key one is not ended yet" in (await netd("job", "start", "work", "--unique", "one")).err
    assert (await netd("job", "cancel", "1")).out == "job 1 is cancelled\n"
    assert (await netd("job", "cancel", "1")).code == 1
    assert (await netd("job", "approve", "1")).err == "netd: the job awaits no approval: it is cancelled\n"
    assert (await netd("job", "decline", "1", "--note", "no")).code == 1
    assert (await netd("job", "start", "work", "--arg", "lines")).code == 2
    assert (await netd("job", "start", "work", "--args-file", "-", stdin="[]")).code == 2
    wrong = await netd("job", "start", "work", "--arg", "lines=many")
    assert (wrong.code, wrong.err) == (2, "netd: args/lines: Expected `int`, got `str`\n")
    kinds_ = {line.split()[0]: line for line in (await netd("job", "kinds")).out.splitlines()[1:]}
    assert kinds_["risky"].split()[-2:] == ["yes", "yes"]
    given = {line.split()[0]: line.split()[1:3] for line in (await netd("job", "kinds", "work")).out.splitlines()[1:]}
    assert given["password"] == ["string", '""'] and given["lines"] == ["integer", "0"], given
    assert (await netd("job", "kinds", "nix")).code == 2 and (await netd("job", "kinds", "work", "--json")).value["name"] == "work"
    assert (await netd("job", "start", "work", "--at", "tomorrow")).code == 2
    assert (await netd("job", "start", "work", "--at", "2099-01-01", "--json")).value["run_at"].startswith("2099-01-01T00:00:00")


async def test_schedules(netd):
    made = await netd("schedule", "add", "nightly", "work", "--cron", "30 2 * * *", "--time-zone", "Europe/Berlin", "--arg", "lines=1", "--missed", "run_once")
    assert made.out.startswith("schedule nightly runs next at 20") and made.out.endswith(" (02:30:00 in Europe/Berlin)\n")
    assert (await netd("schedule", "list")).out.splitlines()[1].split()[1:9] == ["nightly", "work", "30", "2", "*", "*", "*", "Europe/Berlin"]
    assert (await netd("schedule", "disable", "nightly")).out == "schedule nightly is disabled\n"
    assert (await netd("schedule", "list")).out.splitlines()[1].split()[-3:] == ["disabled", "-", "0"]
    assert (await netd("schedule", "enable", "nightly")).out.startswith("schedule nightly runs next at")
    changed = await netd("schedule", "update", "nightly", "--cron", "none", "--every", "1h", "--arg", "lines=2", "--json")
    assert (changed.value["cron"], changed.value["interval_seconds"], changed.value["args"]["lines"]) == (None, 3600, 2)
    assert (await netd("schedule", "update", "nightly")).code == 2
    assert "missed_count" in (await netd("schedule", "show", "nightly")).out
    assert (await netd("schedule", "remove", "nightly")).out == "schedule nightly is removed\n"
    assert (await netd("schedule", "show", "nightly")).err == "netd: schedule nightly does not exist\n"
