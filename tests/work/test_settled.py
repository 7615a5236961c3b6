"""What a job is about is settled when it is made, where somebody has to agree to it: names and groups mean what they meant then."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from netd.domain import choice, jobs
from netd.domain.actor import Actor, Grant
from netd.domain.choice import DeviceChoice
from netd.domain.jobs import Decision
from netd.domain.kinds import Done, JobContext, Kinds, Subject
from netd.keyring import Keyring
from netd.store.database import Database
from netd.work.kinds.devices import Batches, in_batches
from tests.work.jobs import ACTOR, Stage, World, kinds, known, serving

EVE = Actor(tenant_id=1, name="eve", role="x", grants=(Grant(frozenset(("nas:write", "jobs:write"))),), sites=None, token_id=9)


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> World:
    """``change`` needs approval, ``look`` does not; both say with which devices they were done."""
    stage = Stage()
    known_kinds = kinds(stage)

    async def run(job: JobContext, order: DeviceChoice) -> list[int]:
        return [each.id for each in await choice.chosen(database, job, order)]

    more: dict[str, Any] = {"args": DeviceChoice, "secrets": (), "reach": choice.reach, "run": run}
    some = [replace(known_kinds.get(kind), name=name, **more) for kind, name in (("risky", "change"), ("work", "look"))]
    made = World(database, Keyring.load_or_create(tmp_path / "secret.key"), stage, Kinds(some))
    await known(database, EVE)
    return made


async def devices(world: World, count: int) -> list[int]:
    found = await world.rows(
        """insert into devices (tenant_id, hostname, mgmt_address, vendor) select 1, 'core' || n, '192.0.2.1', 'cisco' from generate_series(1, $1::int) n
           returning id""", count,
    )  # fmt: skip
    return [row["id"] for row in found]


async def test_a_name_that_moved_takes_no_change_along(world: World) -> None:
    """Eve lets a change of her own device be approved, and gives its name to another one: that one is left alone."""
    core1, core2 = await devices(world, 2)
    asked = [await world.submit("change", actor=EVE, devices=["core1"]), await world.submit("change", devices=["core1"])]
    look = await world.submit("look", devices=["core1"])
    assert [job.state for job in asked] == ["awaiting_approval", "queued"]
    await world.rows("update devices set hostname = case id when $1 then 'lab' else 'core1' end where id = any($2::bigint[])", core1, [core1, core2])
    await jobs.approve(world.database, ACTOR, asked[0].id, Decision(), datetime.now(UTC))
    async with serving(world.service()):
        ended = await world.until([*asked, look])
    assert [job.result for job in ended] == [[core1], [core1], [core2]]  # nobody has to agree to the last


async def test_a_device_that_is_gone_is_told(world: World) -> None:
    core1, core2 = await devices(world, 2)
    asked = await world.submit("change", devices=["core1", "core2"])
    await world.rows("delete from devices where id = $1", core1)
    async with serving(world.service()):
        (ended,) = await world.until([asked])
    assert ended.result == [core2]
    assert "1 of the 2 devices that it was made for are not there any more" in await world.said(ended)


async def test_more_devices_than_can_be_named(world: World) -> None:
    ids = await devices(world, choice.DEVICES_MOST + 1)
    asked = await world.submit("change", actor=EVE, selector={})
    assert (asked.state, asked.args["devices"], asked.args["selector"]) == ("awaiting_approval", [], {})
    assert await world.said(asked) == [f"awaiting_approval: by eve; with {len(ids)} devices"]
    await world.rows("insert into devices (tenant_id, hostname, mgmt_address, vendor) values (1, 'new', '192.0.2.1', 'cisco')")
    await jobs.approve(world.database, ACTOR, asked.id, Decision(), datetime.now(UTC))
    async with serving(world.service()):
        (ended,) = await world.until([asked])
    assert ended.state == "succeeded" and ended.result == ids


async def test_all_that_comes_batch_by_batch_is_listed_and_counted(world: World) -> None:
    """Also what a job that was stopped never came to."""

    async def run(job: JobContext, order: Batches) -> Any:
        async def one(subject: Subject) -> Done:
            if subject.key == "device:3":
                world.stage.changed.set()
                await world.stage.go.wait()
            return Done()

        return await in_batches(job, [Subject(f"device:{number}", f"core{number}") for number in range(1, 9)], one, order)

    world.kinds = Kinds([replace(world.kinds.get("look"), name="roll", args=Batches, reach=None, run=run)])
    job = await world.submit("roll", at_once=1, first=1)
    async with serving(world.service()):
        await world.have(job, {"succeeded": 2, "running": 1, "queued": 5})

        async def told() -> bool:
            return (await world.job(job)).progress_text == "2 of 8"

        await world.eventually(told)
        await jobs.cancel(world.database, ACTOR, world.kinds, job.id, datetime.now(UTC))
        (ended,) = await world.until([job])
    assert (ended.progress, ended.targets) == (0.25, {"succeeded": 2, "cancelled": 1, "skipped": 5})
