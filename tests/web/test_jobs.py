"""/jobs and /schedules, as clients see them; logs that are followed while lines come, connections break and the API is started again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from netd.domain import joblog
from netd.keyring import Keyring
from netd.model.job import Job
from netd.store.database import Database
from netd.web.api import streaming
from netd.web.api.resources import jobs as resource
from tests.web.running import Api, running
from tests.work.jobs import Stage, World, kinds, serving


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    stage = Stage()
    return World(database, Keyring.load_or_create(tmp_path / "secret.key"), stage, kinds(stage))


@pytest.fixture
async def api(database: Database, tmp_path: Path, world: World) -> AsyncIterator[Api]:
    """The API with the tests' kinds, and a worker."""
    async with running(database, tmp_path, kinds=world.kinds) as started, serving(world.service()):
        yield started


class Follower:
    """A reader of a log's Server-Sent Events, as a browser's EventSource is: it comes again with the last id that it saw."""

    def __init__(self, api: Api, job: int, token: str = "") -> None:
        self.url = f"{api.url}/api/v1/jobs/{job}/log"
        self.token = token or api.tokens["admin"]
        self.last = ""
        self.seen: list[dict[str, Any]] = []
        self.ended = False
        self.opened = asyncio.Event()

    async def read(self, enough: Any = lambda follower: False) -> int:
        """Connect, and read until ``enough(self)`` or the server ends; returns the status."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "text/event-stream", **({"Last-Event-ID": self.last} if self.last else {})}
        async with aiohttp.ClientSession() as session, session.get(self.url, headers=headers) as response:
            if response.status != 200:
                return response.status
            self.opened.set()
            event: dict[str, str] = {}
            async for line in response.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    event[name] = value
                elif event.get("event") == "end":
                    self.ended = True
                elif "data" in event:
                    self.last = event["id"]
                    self.seen.append(msgspec.json.decode(event["data"]))
                    assert (str(self.seen[-1]["seq"]), self.seen[-1]["type"]) == (event["id"], event["event"])
                event = event if name else {}
                if enough(self):
                    return 200
            return 200


async def events_of(api: Api, types: str, number: int) -> list[str]:
    """The types of events, once there are so many: they wait for whatever transaction of the worker began before."""
    async with asyncio.timeout(60):
        while len(found := (await api.get(f"/events?types={types}")).value["items"]) < number:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return [event["type"] for event in found]


async def test_a_jobs_life(api: Api, world: World):
    made = await api.post("/jobs", {"kind": "work", "args": {"lines": 2, "what": "hold", "password": "wonderland"}})
    job = made.value
    assert (made.status, made.headers["location"], job["args"]["password"]) == (202, f"/api/v1/jobs/{job['id']}", "***")
    await world.stage.until(lambda: world.stage.at_work == 1)
    shown = await api.get(f"/jobs/{job['id']}")
    assert (shown.value["state"], shown.value["attempt"]) == ("running", 1) and "etag" not in shown.headers
    stopping = await api.post(f"/jobs/{job['id']}/cancel", headers={"Prefer": "respond-async, wait=60"})
    assert (stopping.status, stopping.value["state"], stopping.headers["preference-applied"]) == (200, "cancelled", "wait=60")
    assert (await api.post(f"/jobs/{job['id']}/cancel")).status == 409
    world.stage.go.set()
    again = await api.post(f"/jobs/{job['id']}/retry", headers={"Prefer": "wait=60"})
    assert (again.status, again.value["state"], again.value["retry_of"]) == (200, "succeeded", job["id"])
    log = (await api.get(f"/jobs/{again.value['id']}/log?limit=3")).value
    assert [entry["text"] for entry in log["items"]] == ["queued: by test admin", "running", "line 0"] and not log["ended"]
    rest = (await api.get(f"/jobs/{again.value['id']}/log?after={log['next']}")).value
    assert [entry["text"] for entry in rest["items"]] == ["line 1", "login with ***", "succeeded"] and rest["ended"]
    told = ["job.submitted", "job.started", "job.cancel_requested", "job.cancelled", "job.submitted", "job.started", "job.succeeded"]
    assert await events_of(api, "job.*", len(told)) == told
    assert "wonderland" not in str((await api.get("/audit?limit=1000")).value) + str((await api.get("/events?limit=1000")).value)


async def test_waiting_has_an_end(api: Api, world: World):
    made = await api.post("/jobs", {"kind": "work", "args": {"what": "hold"}}, headers={"Prefer": "wait=0"})
    assert (made.status, made.value["state"] in ("queued", "running")) == (202, True)
    world.stage.go.set()


async def test_sent_again_it_is_one_job(api: Api, world: World):
    answers = [await api.post("/jobs", {"kind": "quick"}, headers={"Idempotency-Key": "k1"}) for _ in range(2)]
    assert answers[0].value["id"] == answers[1].value["id"] and answers[1].headers["idempotent-replayed"] == "true"
    assert answers[1].headers["location"] == answers[0].headers["location"]


async def test_what_is_asked_wrongly(api: Api):
    wrong = await api.post("/jobs", {"kind": "work", "args": {"lines": "many", "colour": 1}, "priority": 200})
    assert [each["pointer"] for each in wrong.value["errors"]] == ["/priority"]
    wrong = await api.post("/jobs", {"kind": "work", "args": {"lines": "many", "colour": 1}})
    assert (wrong.status, [each["pointer"] for each in wrong.value["errors"]]) == (422, ["/args/lines", "/args/colour"])
    assert (await api.post("/jobs", {"kind": "nap"})).status == 422
    assert (await api.post("/jobs", {"kind": "work"}, role="read_only")).status == 403
    for path in ("/jobs/99", "/jobs/99/log", "/jobs/99/targets", "/schedules/99"):
        assert (await api.get(path)).status == 404
    assert await Follower(api, 99).read() == 404
    bad = await api.get("/jobs/1/log", headers={"Accept": "text/event-stream", "Last-Event-ID": "x"})
    assert bad.status == 422
    listed = {each["name"]: each for each in (await api.get("/jobs/kinds", role="read_only")).value["items"]}
    assert {"audit.verify", "secret.rotate", "work"} <= listed.keys() and not listed["work"]["allowed"]


async def test_lists(api: Api, world: World):
    bulk = (await api.post("/jobs", {"kind": "work", "args": {"targets": 3, "what": "fail device:1"}}, headers={"Prefer": "wait=60"})).value
    single = (await api.post("/jobs", {"kind": "work", "args": {"device": "2"}}, headers={"Prefer": "wait=60"})).value
    assert (bulk["state"], bulk["targets"], single["state"]) == ("failed", {"succeeded": 2, "failed": 1}, "succeeded")

    async def ids(query: str) -> list[int]:
        return [each["id"] for each in (await api.get(f"/jobs?{query}")).value["items"]]

    assert await ids("") == [single["id"], bulk["id"]]
    assert await ids("target=device:2") == [single["id"], bulk["id"]]
    assert await ids("target=device:1") == [bulk["id"]]
    assert await ids("target__in=device:7,device:1") == [bulk["id"]]
    assert await ids("state__in=failed,timed_out&kind=work&created_by=test%20admin&q=targets") == [bulk["id"]]
    assert (await api.get("/jobs?state=sleeping")).status == 422
    first = (await api.get("/jobs?limit=1")).value
    assert [each["id"] for each in (await api.get(f"/jobs?limit=1&after={first['next']}")).value["items"]] == [bulk["id"]]
    targets = (await api.get(f"/jobs/{bulk['id']}/targets?state=failed")).value["items"]
    assert [(each["key"], each["outcome"], each["said"]) for each in targets] == [("device:1", "failed", "it said no: % denied ")]
    page = (await api.get(f"/jobs/{bulk['id']}/targets?limit=2")).value
    assert len((await api.get(f"/jobs/{bulk['id']}/targets?limit=2&after={page['next']}")).value["items"]) == 1


async def test_a_second_person(api: Api, world: World):
    nora = (await api.post("/tokens", {"name": "nora", "role": "noc_engineer"})).value["text"]
    headers = {"Authorization": f"Bearer {nora}"}
    asked = await api.post("/jobs", {"kind": "risky"}, role=None, headers=headers)
    assert (asked.status, asked.value["state"]) == (202, "awaiting_approval")
    path = f"/jobs/{asked.value['id']}"
    assert (await api.post(f"{path}/approve", {}, role=None, headers=headers)).status == 403
    assert (await api.post(f"{path}/approve", {"note": "go"})).value["approved_by"] == "test admin"
    (done,) = await world.until([msgspec.convert(asked.value, Job)])
    assert done.state == "succeeded"
    own = (await api.post("/jobs", {"kind": "work", "approval": True})).value
    assert (await api.post(f"/jobs/{own['id']}/approve", {})).status == 403
    assert (await api.post(f"/jobs/{own['id']}/decline", {"note": "mistake"}, role="operator")).value["error"] == "declined by test operator: mistake"


async def test_a_follower_cut_off_again_and_again_misses_nothing(api: Api, world: World, monkeypatch):
    monkeypatch.setattr(joblog, "PAGE", 50)
    monkeypatch.setattr(joblog, "POLL_SECONDS", 0.02)
    made = (await api.post("/jobs", {"kind": "work", "args": {"lines": 400}})).value
    follower, cuts = Follower(api, made["id"]), 0
    while not follower.ended:
        target = len(follower.seen) + 17
        assert await follower.read(lambda f, target=target: len(f.seen) >= target) == 200
        cuts += 1
    texts = [entry["text"] for entry in follower.seen]
    assert texts == ["queued: by test admin", "running", *(f"line {number}" for number in range(400)), "succeeded"]
    assert [entry["seq"] for entry in follower.seen] == list(range(1, 404)) and cuts > 20
    late = Follower(api, made["id"])
    await late.read()
    assert late.seen == follower.seen and late.ended


async def test_followers_over_a_restart_of_the_api(database: Database, tmp_path: Path, world: World):
    """The job goes on; the stream ends without saying that the log had ended, and goes on where it was."""
    async with serving(world.service()):
        async with running(database, tmp_path, kinds=world.kinds) as api:
            job = (await api.post("/jobs", {"kind": "work", "args": {"lines": 5, "what": "hold"}})).value
            follower = Follower(api, job["id"])
            reading = asyncio.create_task(follower.read())
            await world.stage.until(lambda: world.stage.at_work == 1)
            async with asyncio.timeout(60):
                await follower.opened.wait()
        assert await asyncio.wait_for(reading, 60) == 200 and not follower.ended
        world.stage.go.set()
        async with running(database, tmp_path, kinds=world.kinds) as api:
            follower.url, follower.token = Follower(api, job["id"]).url, api.tokens["admin"]
            assert await asyncio.wait_for(follower.read(), 60) == 200
    assert follower.ended and [entry["seq"] for entry in follower.seen] == list(range(1, 9))


async def test_over_a_websocket(api: Api, world: World):
    job = (await api.post("/jobs", {"kind": "work", "args": {"lines": 3, "what": "hold"}})).value
    headers = {"Authorization": f"Bearer {api.tokens['admin']}"}
    url = f"{api.url}/api/v1/jobs/{job['id']}/log"
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url, headers=headers) as socket:
            seen = [msgspec.json.decode((await socket.receive(timeout=60)).data) for _ in range(4)]
        async with session.ws_connect(f"{url}?after={seen[2]['seq']}", headers=headers) as socket:
            assert msgspec.json.decode((await socket.receive(timeout=60)).data) == seen[3]
            world.stage.go.set()
            rest = []
            while (message := await socket.receive(timeout=60)).type is aiohttp.WSMsgType.TEXT:
                rest.append(msgspec.json.decode(message.data)["text"])
            assert (message.type, socket.close_code) == (aiohttp.WSMsgType.CLOSE, 1000)
    assert rest == ["line 2", "succeeded"]


async def test_a_revoked_token_is_let_go(api: Api, world: World, monkeypatch):
    monkeypatch.setattr(resource, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(streaming, "IDLE_SECONDS", 0.05)
    job = (await api.post("/jobs", {"kind": "work", "args": {"what": "hold"}})).value
    made = (await api.post("/tokens", {"name": "o", "role": "read_only"})).value
    follower = Follower(api, job["id"], made["text"])
    reading = asyncio.create_task(follower.read())
    await asyncio.wait_for(follower.opened.wait(), 60)
    await api.delete(f"/tokens/{made['token']['id']}")
    assert await asyncio.wait_for(reading, 60) == 200 and not follower.ended
    assert await follower.read() == 401
    world.stage.go.set()


async def test_schedules(api: Api):
    made = await api.post("/schedules", {"name": "nightly", "kind": "audit.verify", "cron": "30 2 * * *", "time_zone": "Europe/Berlin", "jitter_seconds": 600})
    schedule = made.value
    assert (made.status, schedule["enabled"], schedule["cron"], schedule["created_by"]) == (201, True, "30 2 * * *", "test admin") and schedule["fires_at"]
    path = f"/schedules/{schedule['id']}"
    assert (await api.get(path)).headers["etag"] == f'"{schedule["version"]}"'
    assert (await api.get("/schedules?name=NIGHTLY&enabled=true")).value["items"][0]["id"] == schedule["id"]
    assert (await api.patch(path, {"note": "x"}, headers={"If-Match": '"77"'})).status == 412
    off = await api.patch(path, {"enabled": False})
    assert (off.value["fires_at"], off.value["enabled"]) == (None, False)
    wrong = await api.patch(path, {"cron": "* *", "time_zone": "Mars"})
    assert sorted(each["pointer"] for each in wrong.value["errors"]) == ["/cron", "/time_zone"]
    assert (await api.post("/schedules", {"name": "nightly", "kind": "audit.verify", "interval_seconds": 60})).status == 409
    assert (await api.post("/schedules", {"name": "n", "kind": "audit.verify", "interval_seconds": 1})).status == 422
    assert (await api.delete(path)).status == 204 and (await api.get(path)).status == 404
    actions = [row["action"] for row in (await api.get("/audit?object_type=schedule&sort=id")).value["items"]]
    assert actions == ["schedule.create", "schedule.update", "schedule.delete"]
