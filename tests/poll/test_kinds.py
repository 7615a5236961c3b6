"""Searches as jobs."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from netd.domain import credentials, discovery, jobs
from netd.domain.actor import Actor, system
from netd.domain.credentials import NewCredential
from netd.domain.jobs import NewJob
from netd.domain.kinds import Kinds
from netd.domain.ports import SshAnswer
from netd.domain.recognition import Recogniser
from netd.errors import InvalidInput
from netd.keyring import Keyring
from netd.model.job import Job
from netd.poll.discovery import Discovery
from netd.poll.kinds import kinds
from netd.store.database import TENANT_ROLE, Database
from netd.work.jobs import JobService
from tests.poll.test_discovery import NOW, World

ACTOR = system(1, "ann")


async def test_a_search(database: Database, tmp_path: Path):
    keyring = Keyring.load_or_create(tmp_path / "secret.key")
    async with database.acquire() as conn:
        oslo = await conn.fetchval("insert into sites (tenant_id, name) values (1, 'oslo') returning id")
    confined = await Database.open(database.target, size=2, role=TENANT_ROLE, acquire_timeout_seconds=60)
    world = World(_10_0_0_1=(True, None, SshAnswer(banner="SSH-2.0-x")))
    searches = Discovery(database, world, Recogniser({}), now=lambda: NOW)
    known = Kinds(kinds(confined, database, keyring, searches))
    local = msgspec.structs.replace(ACTOR, sites=frozenset({oslo}), grants=tuple(msgspec.structs.replace(g, sites=frozenset({oslo})) for g in ACTOR.grants))

    await credentials.create(confined, ACTOR, keyring, NewCredential(name="ro", type="snmp_community", community="c0mmunity"))

    async def submit(actor: Actor = local, **args: object) -> Job:
        new = NewJob(kind="discovery.search", args={"ranges": ["10.0.0.0/30"], **args})
        return await jobs.submit(confined, actor, known, keyring, new, datetime.now(UTC))

    async def ended(job: Job) -> Job:
        async with asyncio.timeout(90):
            while (done := await jobs.get(confined, ACTOR, job.id)).finished_at is None:  # noqa: ASYNC110 - what is waited for is in the database
                await asyncio.sleep(0.02)
        return done

    async def said(job: Job) -> list[str]:
        return [entry.text for entry in (await jobs.log(confined, ACTOR, job.id, 0, 100)).items if entry.type == "line"]

    for wrong in ({"ranges": ["10.0.0.0/8"]}, {"site": "nowhere"}):
        with pytest.raises(InvalidInput):
            await submit(**wrong)
    job, whole = await submit(), await submit(ACTOR, site="oslo", ranges=["10.0.0.8/31"])
    assert (job.sites, whole.sites) == ((oslo,), None)
    serving = asyncio.create_task(JobService(database, known, keyring).run())
    try:
        done = await ended(job)
        await ended(whole)
        local_said, whole_said = await said(job), await said(whole)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await confined.close()
    assert (done.state, done.progress, done.result) == ("succeeded", 1.0, {"asked": 2, "answered": 1, "new": 1, "accepted": 0, "ignored": 0})
    assert local_said == ["2 addresses, at least 0 s; SNMP credentials: none", "1 of 2 answered: 1 are new, 0 known, 0 ignored"]
    assert whole_said[0] == "2 addresses, at least 0 s; SNMP credentials: ro", "who may see the whole tenant sends its credentials to a site, too"
    (found,) = (await discovery.page(database, ACTOR, discovery.CandidateQuery())).items
    assert (found.site, found.banner) == ("oslo", "SSH-2.0-x")
