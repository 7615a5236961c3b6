"""The event stream: each event once, in order, over reconnections and restarts, and nobody else's."""

import asyncio
import random
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec
import pytest

from netd.domain import events as domain_events
from netd.model.event import Place
from netd.store import events
from netd.store.database import Database
from netd.web import listening
from netd.web.api import streaming
from netd.web.api.resources import events as resource
from tests.web.running import Api, running

PLAN = {"down_bps": 1_000_000, "up_bps": 1_000_000}


class Client:
    """A reader of Server-Sent Events, as a browser's EventSource is: it comes again with the last id that it saw."""

    def __init__(self, api: Api, query: str = "", token: str | None = None) -> None:
        self.url = f"{api.url}/api/v1/events{query}"
        self.token = token or api.tokens["admin"]
        self.last = ""
        self.seen: list[dict] = []
        self.comments = 0
        self.opened = asyncio.Event()

    async def read(self, session: aiohttp.ClientSession, enough) -> int:
        """Connect, read until ``enough(self)`` or the server ends; returns the status."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "text/event-stream"}
        if self.last:
            headers["Last-Event-ID"] = self.last
        async with session.get(self.url, headers=headers) as response:
            if response.status != 200:
                return response.status
            event: dict[str, str] = {}
            self.opened.set()
            async for line in response.content:
                text = line.decode().rstrip("\n")
                if text.startswith(":"):
                    self.comments += 1
                elif text:
                    name, _, value = text.partition(": ")
                    event[name] = value
                elif "data" in event:
                    self.last = event["id"]
                    self.seen.append(msgspec.json.decode(event["data"]))
                    assert self.seen[-1]["id"] == event["id"]
                    assert self.seen[-1]["type"] == event["event"]
                    event = {}
                if enough(self):
                    return 200
            return 200


async def happen(database: Database, first: int, count: int, tenant: int = 1) -> None:
    """Events of several transactions that overlap and end in another order than they began."""

    async def some(numbers: list[int]) -> None:
        async with database.transaction() as conn:
            for number in numbers:
                await conn.execute(
                    "insert into events (tenant_id, type, object_type, object_id, data) values ($1, 'quota.reached', 'subscriber', $2, '{}')",
                    tenant,
                    str(number),
                )
                await asyncio.sleep(random.random() * 0.002)

    numbers = list(range(first, first + count))
    async with asyncio.TaskGroup() as group:
        for lane in range(4):
            group.create_task(some(numbers[lane::4]))


async def test_what_is_done_is_told(api: Api):
    begun = (await api.get("/events")).value["next"]
    await api.post("/plans", {"name": "home", **PLAN})
    await api.post("/sites", {"name": "oslo"})
    made = await api.post("/subscribers", {"username": "alice", "password": "wonderland", "plan": "home", "site": "oslo"})
    await api.post(f"/subscribers/{made.value['id']}/suspend", {"note": "invoice 7"})
    await api.post(f"/subscribers/{made.value['id']}/suspend")
    await api.post("/tokens", {"name": "x", "role": "read_only"})
    await api.delete(f"/subscribers/{made.value['id']}")
    page = (await api.get(f"/events?after={begun}")).value
    assert [each["type"] for each in page["items"]] == [
        "plan.created", "site.created", "subscriber.created", "subscriber.suspended", "subscriber.deleted",
    ]  # fmt: skip
    suspended = page["items"][3]
    assert (suspended["data"]["username"], suspended["data"]["after"]["state_reason"], suspended["actor"]) == ("alice", "invoice 7", "test admin")
    assert [each["site_id"] for each in page["items"][2:]] == [1, 1, 1]
    assert "wonderland" not in str(page)
    assert (await api.get(f"/events?after={page['next']}")).value == {"items": [], "next": page["next"]}
    assert [each["type"] for each in (await api.get("/events?types=plan.*,subscriber.deleted")).value["items"]] == ["plan.created", "subscriber.deleted"]


@pytest.mark.parametrize("query", ["?after=x", "?after=1.2.3", "?after=-1.2", "?types=whim.*", "?after=99999999999999999999.1"])
async def test_what_cannot_be_asked(api: Api, query):
    assert (await api.get(f"/events{query}")).status == 422
    stream = await api.call("GET", f"/events{query}", headers={"Accept": "text/event-stream"})
    assert (stream.status, stream.headers["content-type"].partition(";")[0]) == (422, "application/problem+json")


async def test_a_listener_killed_a_hundred_times_sees_each_once_in_order(api: Api, database: Database, monkeypatch):
    """Ten thousand events while the client is cut off again and again; the ring is small, so that both memory and database serve it."""
    monkeypatch.setattr(domain_events, "RING", 300)
    monkeypatch.setattr(domain_events, "POLL_SECONDS", 0.01)
    total = 10_000
    begun = (await api.get("/events")).value["next"]
    client = Client(api, f"?after={begun}")

    async def produce() -> None:
        for first in range(0, total, 200):
            await happen(database, first, 200)

    producing = asyncio.create_task(produce())
    cuts = 0
    while len(client.seen) < total:
        target = len(client.seen) + random.randint(0, 150)
        async with aiohttp.ClientSession() as session:
            status = await client.read(session, lambda c, target=target: len(c.seen) >= min(target, total))
            assert status == 200
        cuts += 1
    await producing
    assert cuts >= 100
    ids = [tuple(map(int, each["id"].split("."))) for each in client.seen]
    assert ids == sorted(set(ids))
    assert sorted(int(each["object_id"]) for each in client.seen) == list(range(total))
    async with aiohttp.ClientSession() as session:  # nothing comes twice afterwards
        await asyncio.wait_for(_quiet(client, session), 60)
    assert len(client.seen) == total


async def _quiet(client: Client, session: aiohttp.ClientSession) -> None:
    client_task = asyncio.create_task(client.read(session, lambda c: False))
    await asyncio.sleep(0.5)
    client_task.cancel()


async def test_a_late_transaction_is_not_missed(api: Api, database: Database):
    """One begins first and commits last: its event comes after all, and those behind it wait for it rather than overtake it."""
    begun = (await api.get("/events")).value["next"]
    async with database.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await conn.execute("insert into events (tenant_id, type, object_type, object_id) values (1, 'plan.created', 'plan', 'late')")
        await happen(database, 0, 4)
        assert (await api.get(f"/events?after={begun}")).value["items"] == []
        await transaction.commit()
    found = (await api.get(f"/events?after={begun}")).value["items"]
    assert found[0]["object_id"] == "late"
    assert len(found) == 5


async def test_a_restart_of_the_daemon_loses_nothing(database: Database, tmp_path):
    client = None
    for round_ in range(3):
        first = round_ * 10
        async with running(database, tmp_path) as api:
            client = client or Client(api, "?after=0.0")
            client.url, client.token = f"{api.url}/api/v1/events?after=0.0", api.tokens["admin"]
            async with aiohttp.ClientSession() as session:
                reading = asyncio.create_task(client.read(session, lambda c, enough=round_ * 13 + 10: len(c.seen) >= enough))
                await happen(database, first, 10)
                await asyncio.wait_for(reading, 60)
        await happen(database, 1000 + first, 3)  # while no daemon runs
    assert client is not None
    assert sorted(int(each["object_id"]) for each in client.seen) == [*range(30), 1000, 1001, 1002, 1010, 1011, 1012]
    ids = [tuple(map(int, each["id"].split("."))) for each in client.seen]
    assert ids == sorted(set(ids))


async def test_nobody_elses_events(api: Api, database: Database):
    other = await api.post("/tenants", {"name": "other"})
    await api.post("/sites", {"name": "oslo"})
    await api.post("/sites", {"name": "rome"})
    oslo = (await api.post("/tokens", {"name": "o", "role": "operator", "site": "oslo"})).value["text"]
    mine = Client(api, "?after=0.0", oslo)
    theirs = Client(api, "?after=0.0", other.value["token"])
    live = Client(api, "?types=subscriber.*", oslo)
    async with aiohttp.ClientSession() as session:
        listening = [asyncio.create_task(client.read(session, lambda c: c.seen and c.seen[-1]["data"].get("username") == "last")) for client in (mine, live)]
        waiting = asyncio.create_task(theirs.read(session, lambda c: bool(c.seen)))
        async with asyncio.timeout(60):
            for client in (mine, live, theirs):
                await client.opened.wait()
        await api.post("/plans", {"name": "home", **PLAN})
        for name, site in (("rosa", "rome"), ("ole", "oslo"), ("nemo", None), ("last", "oslo")):
            await api.post("/subscribers", {"username": name, "plan": "home", "site": site})
        await asyncio.wait_for(asyncio.gather(*listening), 60)
        assert not waiting.done()
        waiting.cancel()
    assert [each["data"]["username"] for each in mine.seen if each["type"] == "subscriber.created"] == ["ole", "last"]
    assert [each["type"] for each in mine.seen if each["object_type"] == "site"] == ["site.created"]
    assert [each["data"]["username"] for each in live.seen] == ["ole", "last"]
    assert theirs.seen == []
    assert (await api.get("/events", role=None, headers={"Authorization": f"Bearer {other.value['token']}"})).value["items"] == []


@pytest.mark.parametrize("websocket", [False, True])
async def test_from_now_on_is_from_before_the_answer(api: Api, database: Database, monkeypatch, websocket: bool):
    """However long it takes to find out where the stream is: what happens once the answer has begun is told."""
    end, answered = events.end, asyncio.Event()

    async def late(conn) -> Place:
        with suppress(TimeoutError):
            await asyncio.wait_for(answered.wait(), 1)
        return await end(conn)

    monkeypatch.setattr(events, "end", late)
    headers = {"Authorization": f"Bearer {api.tokens['admin']}", "Accept": "text/event-stream"}
    asking: Any = api.client.ws_connect if websocket else api.client.get
    async with asyncio.timeout(60), asking(f"{api.url}/api/v1/events", headers=headers) as response:
        await happen(database, 0, 1)
        answered.set()
        if websocket:
            assert msgspec.json.decode((await response.receive()).data)["object_id"] == "0"
        else:
            lines = [await response.content.readline() for _ in range(5)]
            assert b'"object_id":"0"' in lines[-1], lines


async def test_a_revoked_token_is_let_go(api: Api, database: Database, monkeypatch):
    monkeypatch.setattr(resource, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(listening, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(streaming, "IDLE_SECONDS", 0.05)
    made = (await api.post("/tokens", {"name": "o", "role": "read_only"})).value
    client = Client(api, "", made["text"])
    async with aiohttp.ClientSession() as session:
        reading = asyncio.create_task(client.read(session, lambda c: False))
        await asyncio.wait_for(client.opened.wait(), 60)
        await api.delete(f"/tokens/{made['token']['id']}")
        assert await asyncio.wait_for(reading, 60) == 200  # the server ended it
        assert await client.read(session, lambda c: False) == 401


async def test_over_a_websocket(api: Api, database: Database):
    headers = {"Authorization": f"Bearer {api.tokens['admin']}"}
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{api.url}/api/v1/events?after=0.0", headers=headers) as socket:
            await happen(database, 0, 8)
            seen = [msgspec.json.decode((await socket.receive(timeout=60)).data) for _ in range(8)]
        async with session.ws_connect(f"{api.url}/api/v1/events?after={seen[3]['id']}", headers=headers) as socket:
            again = [msgspec.json.decode((await socket.receive(timeout=60)).data) for _ in range(4)]
            await socket.send_str("hello")
            assert (await socket.receive(timeout=60)).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    assert again == seen[4:]
    assert sorted(int(each["object_id"]) for each in seen) == list(range(8))


async def test_the_stream_ends_with_the_daemon(database: Database, tmp_path, monkeypatch):
    monkeypatch.setattr("netd.web.app.SHUTDOWN_SECONDS", 90.0)  # what a stream that does not end would cost
    async with aiohttp.ClientSession() as session:
        async with running(database, tmp_path) as api:
            client = Client(api)
            reading = asyncio.create_task(client.read(session, lambda c: False))
            await asyncio.wait_for(client.opened.wait(), 60)
            leaving = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - leaving < 60
        assert await asyncio.wait_for(reading, 60) == 200


async def test_events_of_a_restored_dump_come_first(database: Database):
    async with database.acquire() as conn:
        await conn.execute(
            """insert into events (xid, tenant_id, type, object_type, object_id)
               select '900000000000'::xid8, 1, 'plan.created', 'plan', 'old' from generate_series(1, 3)"""
        )
        assert await events.behind(conn, Place(0, 0), 10) == []
        assert (await events.rebase(conn), await events.rebase(conn)) == (3, 0)
        await conn.execute("insert into events (tenant_id, type, object_type, object_id) values (1, 'plan.created', 'plan', 'new')")
        assert [kept.event.object_id for kept in await events.behind(conn, Place(0, 0), 10)] == ["old", "old", "old", "new"]
