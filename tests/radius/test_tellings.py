"""What the network does as events: sessions, enforcement and NAS, each exactly once, in the transaction that keeps it."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from netd.domain import plans
from netd.model.event import OF_SESSIONS, matches
from netd.store import tellings
from tests.radius.test_enforce import enforcer_of
from tests.radius.test_outage import away, caught_up
from tests.radius.world import ACTOR, TestNas, World, an_hour_ago, eventually, nak, nas_at, silence, world
from tests.work.receiver import Receiver

T0 = an_hour_ago()


@pytest.fixture(autouse=True)
def brisk_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netd.store.database.PROBE_UP_SECONDS", 0.1)
    monkeypatch.setattr("netd.store.database.PROBE_DOWN_SECONDS", 0.1)


async def told(made: World, types: str = "session.%") -> list[tuple[str, Any]]:
    """(type, data) of the events in the log, in order."""
    async with made.db.acquire() as conn:
        found = await conn.fetch("select type, data from events where type like $1 order by xid, id", types)
    return [(row["type"], row["data"]) for row in found]


async def sessions_told(made: World) -> list[tuple[str, str]]:
    """(type without its area, Acct-Session-Id) in order."""
    return [(type_.partition(".")[2], data["acct_session_id"]) for type_, data in await told(made)]


async def wish(made: World) -> None:
    """Somebody wants to know of sessions, and the engine knows."""
    async with made.db.acquire() as conn:
        await conn.execute("insert into session_event_wishes values (1, now() + interval '1 hour')")
    assert await made.running.feed.settle()
    assert made.running.server.accounting.told == {1}


class Portal:
    """A client of the daemon's API with the administrator's token."""

    def __init__(self, made: World, client: aiohttp.ClientSession) -> None:
        self.client = client
        self.url = made.running.api.url + "/api/v1"
        self.headers = {"Authorization": f"Bearer {(made.running.data_dir / 'admin.token').read_text().strip()}"}
        self.events: list[dict[str, Any]] = []
        self.listening = asyncio.Event()

    async def listen(self, query: str) -> None:
        headers = {**self.headers, "Accept": "text/event-stream"}
        async with self.client.get(f"{self.url}/events?{query}", headers=headers) as response:
            assert response.status == 200
            self.listening.set()
            async for line in response.content:
                if line.startswith(b"data: "):
                    self.events.append(msgspec.json.decode(line[6:]))


@asynccontextmanager
async def listener(made: World, query: str) -> AsyncIterator[Portal]:
    async with aiohttp.ClientSession() as client:
        portal = Portal(made, client)
        listening = asyncio.create_task(portal.listen(query))
        begun = asyncio.create_task(portal.listening.wait())
        await asyncio.wait((listening, begun), return_when=asyncio.FIRST_COMPLETED)
        if not begun.done():
            begun.cancel()
            listening.result()  # why it could not
        yield portal
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_start_and_stop_reach_a_listener_and_a_webhook_once(dsn: str, tmp_path: Path) -> None:
    receiver = await Receiver().start()
    async with world(dsn, tmp_path, NETD_WEBHOOKS__ALLOWED_NETWORKS="127.0.0.0/8") as made:
        await made.add_plan()
        alice = await made.add_subscriber()
        async with nas_at(made, "127.0.0.2", name="bras") as bras, listener(made, "types=session.*") as portal:
            hook = {"name": "crm", "url": receiver.url, "types": ["session.started", "session.stopped"]}
            async with portal.client.post(portal.url + "/webhooks", json=hook, headers=portal.headers) as answer:
                secret = (await answer.json())["secret"]
            answer_ = await bras.login(Framed_IP_Address="100.64.0.9")
            assert answer_ is not None
            granted = {"Class": answer_["Class"][0], "Framed_IP_Address": "100.64.0.9", "Calling_Station_Id": "02:00:00:00:00:01"}
            start = bras.accounting("Start", Event_Timestamp=T0, **granted)
            for _ in range(3):  # the same octets, as a NAS sends them that heard no answer
                assert await bras.ask(start, made.running.acct_port)
            assert await bras.account("Start", Event_Timestamp=T0, **granted)  # and anew, after it forgot that it did
            assert await bras.account("Interim-Update", Event_Timestamp=T0 + 60, Acct_Session_Time=60, Acct_Input_Octets=10, **granted)
            stop = {"Event_Timestamp": T0 + 90, "Acct_Session_Time": 90, "Acct_Input_Octets": 15, "Acct_Output_Octets": 7, **granted}
            for _ in range(2):
                assert await bras.account("Stop", Acct_Terminate_Cause=1, **stop)
            assert await bras.account("Start", Event_Timestamp=T0, **granted)  # late
            await eventually(lambda: len(portal.events) >= 2 and len(receiver.got) >= 2)
            assert await bras.account("Start", "s2", "nobody")  # of no subscriber, and a proof that nothing else was on its way
            await eventually(lambda: len(portal.events) >= 3 and len(receiver.got) >= 3)
    await receiver.stop()
    started, stopped, other = portal.events
    assert [each["type"] for each in portal.events] == ["session.started", "session.stopped", "session.started"]
    assert [each.type for each in receiver.got] == ["session.started", "session.stopped", "session.started"]
    assert all(each.signed_by(secret) for each in receiver.got)
    assert [each.event["id"] for each in receiver.got] == [each["id"] for each in portal.events]
    assert started["object_id"] == stopped["object_id"] != other["object_id"]
    assert (started["subscriber_id"], other["subscriber_id"], started["actor"]) == (alice.id, None, None)
    assert started["data"].items() >= {
        "username": "alice", "nas": "bras", "acct_session_id": "s1", "framed_ip_address": "100.64.0.9", "calling_station_id": "02:00:00:00:00:01",
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(T0)),
    }.items()  # fmt: skip
    assert stopped["data"].items() >= {
        "session_seconds": 90, "up_octets": 15, "down_octets": 7, "terminate_cause": "User-Request", "closed_by": "stop",
        "stopped_at": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(T0 + 90)),
    }.items()  # fmt: skip


async def test_what_ends_a_session_besides_its_stop(bras: TestNas) -> None:
    made = bras.world
    assert await bras.account("Start", "unwatched", Event_Timestamp=T0)
    assert await bras.account("Stop", "unwatched", Event_Timestamp=T0 + 1)
    assert await told(made) == [], "where nobody wants to know nothing is written"
    await wish(made)

    assert await bras.account("Stop", "unstarted", Event_Timestamp=T0 + 5, Acct_Session_Time=5)
    assert await sessions_told(made) == [("started", "unstarted"), ("stopped", "unstarted")]

    # The same Acct-Session-Id of another session, its Stop lost.
    assert await bras.account("Start", "again", Event_Timestamp=T0)
    assert await bras.account("Start", "again", Event_Timestamp=T0 + 500)
    assert await bras.account("Stop", "again", Event_Timestamp=T0 + 600, Acct_Session_Time=100)
    assert (await sessions_told(made))[2:] == [("started", "again"), ("stopped", "again"), ("started", "again"), ("stopped", "again")]
    assert [data["closed_by"] for type_, data in (await told(made))[2:] if type_ == "session.stopped"] == ["superseded", "stop"]

    assert await bras.account("Start", "silent", Event_Timestamp=T0)
    async with made.db.acquire() as conn:
        await conn.execute("update sessions set heard_at = acctupdatetime")
    made.running.server.accounting.listening_since = 0.0
    assert await made.running.upkeep.reap_once() == 1
    assert await made.running.upkeep.reap_once() == 0
    assert await bras.account("Interim-Update", "silent", Event_Timestamp=T0 + 3590, Acct_Session_Time=3590)
    assert await bras.account("Accounting-Off", "", "", Event_Timestamp=T0 + 3595)
    assert (await sessions_told(made))[6:] == [("started", "silent"), ("stopped", "silent"), ("resumed", "silent"), ("stopped", "silent")]
    assert [data["closed_by"] for type_, data in (await told(made))[6:] if type_ == "session.stopped"] == ["reaper", "nas_reload"]

    async with made.db.acquire() as conn:
        await conn.execute("update session_event_wishes set wanted_until = now()")
        assert await tellings.wanted(conn) == frozenset()
    assert await made.running.feed.settle()
    assert await bras.account("Start", "later")
    assert len(await told(made)) == 10, "and not any more either"


async def test_a_session_that_the_journal_took_is_told_at_the_replay(dsn: str, data_dir: Path, cluster: Any) -> None:
    async with world(dsn, data_dir, NETD_RADIUS__JOURNAL_AFTER_MS="10000") as made:
        await made.add_plan()
        await made.add_subscriber()
        async with nas_at(made, "127.0.0.2") as bras:
            await wish(made)
            assert await bras.account("Start", "before", Event_Timestamp=T0)
            async with away(made, cluster.admin_url):
                for _ in range(2):
                    assert await bras.account("Stop", "before", Event_Timestamp=T0 + 90, Acct_Session_Time=90)
                    assert await bras.account("Start", "during", Event_Timestamp=T0 + 100)
                assert await bras.account("Stop", "during", Event_Timestamp=T0 + 110, Acct_Session_Time=10)
            await caught_up(made)
            expected = itertools.product(("before", "during"), ("started", "stopped"))
            assert await sessions_told(made) == [(type_, name) for name, type_ in expected]


def ask_once(made: World, seconds: float) -> None:
    """From now on every NAS is asked once, and may take so long to answer."""
    client = enforcer_of(made).client
    client._config = msgspec.structs.replace(client._config, attempts=1, timeout_seconds=seconds)
    for queue in client._queues.values():
        queue._config = client._config


async def test_enforcement_and_a_nas_that_goes_silent(bras: TestNas) -> None:
    made = bras.world
    ask_once(made, 20.0)
    await bras.online()
    home = await plans.by_name(made.db, ACTOR, "home")

    async def change(down_bps: int) -> None:
        await plans.update(made.db, ACTOR, home.id, plans.PlanPatch(down_bps=down_bps))

    async def enforced(count: int) -> list[tuple[str, Any]]:
        found = await told(made, "enforcement.%")
        return found if len(found) >= count else []

    await change(200_000_000)
    ((type_, data),) = await eventually(lambda: enforced(1))
    assert (type_, data["username"], data["nas"], data["state"]) == ("enforcement.applied", "alice", "127.0.0.2", "applied")
    assert "CoA acknowledged" in data["detail"]

    bras.say = nak(401)
    await change(300_000_000)
    found = await eventually(lambda: enforced(2))
    assert [type_ for type_, _ in found] == ["enforcement.applied", "enforcement.failed"]
    assert (found[1][1]["state"], "Unsupported Attribute" in found[1][1]["detail"]) == ("refused", True)

    bras.say = silence
    ask_once(made, 0.1)

    async def turned(count: int) -> list[tuple[str, Any]]:
        found = await told(made, "nas.%")
        return found[1:] if len(found) > count else []  # the first is the NAS's own making

    for number in range(3):
        await change(400_000_000 + number)
    down = await eventually(lambda: turned(1))
    assert [(type_, data["name"], data["port"]) for type_, data in down] == [("nas.down", "127.0.0.2", bras.coa_port)]
    bras.say = None
    ask_once(made, 20.0)
    up = await eventually(lambda: turned(2))
    assert [type_ for type_, _ in up] == ["nas.down", "nas.up"]
    states = [data["state"] for type_, data in await told(made, "enforcement.failed")]
    assert states == ["refused", "unreachable"], "what fails again and again is told once"


@pytest.mark.parametrize("types", [("session.*",), ("session.stopped",), (), ("quota.*", "session.started")])
def test_who_wants_events_of_sessions(types: tuple[str, ...]) -> None:
    assert any(matches(each, types) for each in OF_SESSIONS)
    assert not any(matches(each, ("quota.*", "subscriber.created")) for each in OF_SESSIONS)
