"""Deliveries to a receiver on the loopback, from the real event log: nothing lost, in order, signed, by one node at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from netd.device import http
from netd.device.addresses import LOOPBACK
from netd.device.http import Client
from netd.domain import webhooks
from netd.domain.actor import Actor, system
from netd.domain.webhooks import NewWebhook, Replay, WebhookPatch
from netd.keyring import Keyring
from netd.model.event import place
from netd.model.webhook import Webhook
from netd.store import events
from netd.store.database import Database
from netd.work import webhooks as work
from netd.work.webhooks import WebhookService, backoff_seconds
from tests.work.receiver import Receiver

ACTOR = system(1, "test")


class Clock:
    """A wall clock that stands still until it is told."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC) + timedelta(hours=1)  # a new webhook is due by the database's clock

    def __call__(self) -> datetime:
        return self.at

    def forward(self, **span: float) -> None:
        self.at += timedelta(**span)


@dataclass
class World:
    """A database with webhooks, and how to make things happen in it."""

    database: Database
    keyring: Keyring
    client: Client
    clock: Clock
    numbers: int = 0

    async def add(self, name: str, url: str, *, actor: Actor = ACTOR, **more: Any) -> tuple[Webhook, str]:
        made = await webhooks.create(self.database, actor, self.keyring, NewWebhook(name=name, url=url, **more))
        return made.webhook, made.secret

    async def happen(self, count: int = 1, type_: str = "nas.updated", tenant: int = 1) -> list[int]:
        numbers = list(range(self.numbers, self.numbers + count))
        self.numbers += count
        for number in numbers:
            async with self.database.transaction() as conn:
                await events.insert(conn, tenant, type_, "session", str(number), None, {"n": number})
        return numbers

    def service(self, clock: Clock | None = None) -> WebhookService:
        return WebhookService(self.database, self.client, self.keyring, now=clock or self.clock)

    async def hook(self, made: Webhook) -> Webhook:
        return await webhooks.get(self.database, ACTOR, made.id)

    async def log(self, made: Webhook) -> list[Any]:
        query = webhooks.DeliveryQuery(limit=1000, sort="id")
        return list((await webhooks.log(self.database, ACTOR, made.id, query)).items)

    async def rows(self, statement: str, *args: Any) -> list[Any]:
        async with self.database.acquire() as conn:
            return [dict(row) for row in await conn.fetch(statement, *args)]


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    async with Client(allowed=LOOPBACK) as client:
        yield World(database, Keyring.load_or_create(tmp_path / "secret.key"), client, Clock())


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    started = await Receiver().start()
    yield started
    await started.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(work, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(work, "STOP_SECONDS", 1.0)


@asynccontextmanager
async def running(*services: WebhookService) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(service.run()) for service in services]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def until(what: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Ask again and again until it holds."""
    async with asyncio.timeout(seconds):
        while not await what():  # noqa: ASYNC110 - what is waited for is in the database
            await asyncio.sleep(0.02)


async def _attempts(world: World, made: Webhook, count: int) -> bool:
    return (await world.hook(made)).attempts >= count


async def _free(world: World) -> bool:
    return not await world.rows("select from webhooks where lease_until is not null")


async def _says(service: WebhookService, detail: str) -> bool:
    return service.parts()[0].detail == detail


async def once(service: WebhookService) -> int:
    """One look, and all that follows from it."""
    claimed = await service.look()
    await service.idle()
    return claimed


def numbers(receiver: Receiver) -> list[int]:
    return [each.event["data"]["n"] for each in receiver.got]


async def test_a_receiver_that_is_down_gets_everything_in_order_and_signed(world: World, receiver: Receiver, monkeypatch):
    monkeypatch.setattr(work, "FIRST_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(work, "LONGEST_RETRY_SECONDS", 0.1)
    made, secret = await world.add("crm", receiver.url)
    service = WebhookService(world.database, world.client, world.keyring)
    async with running(service):
        told = await world.happen(5)
        await receiver.until(lambda: numbers(receiver) == told)
        await receiver.stop()
        told += await world.happen(120)
        await until(lambda: _attempts(world, made, 2))
        failing = await world.hook(made)
        assert failing.enabled and failing.failing_since is not None and failing.last_status is None
        assert "127.0.0.1" in (failing.last_error or "")
        service._looked_at = -100  # else the count is five seconds old
        await until(lambda: _says(service, "1 failing"))
        await receiver.start()
        await receiver.until(lambda: len(receiver.got) >= len(told))
    assert numbers(receiver) == told
    assert all(each.signed_by(secret) and not each.signed_by("whsec_other") for each in receiver.got)
    assert [each.delivery_id for each in receiver.got] == [f"{made.id}.{each.event['id']}" for each in receiver.got]
    assert {each.type for each in receiver.got} == {"nas.updated"}
    after = await world.hook(made)
    assert (after.attempts, after.failing_since, after.last_error, after.last_status) == (0, None, None, 200)
    log = await world.log(made)
    assert [line.event_id for line in log if line.delivered] == [each.event["id"] for each in receiver.got]
    assert [line.attempt for line in log if not line.delivered][:2] == [1, 2]
    assert secret not in str(log) + str(after) + repr(await world.rows("select * from audit_log"))


async def test_a_minute_down_by_the_clock_loses_nothing_and_keeps_the_order(world: World, receiver: Receiver):
    """The real pauses, the clock put forward a second at a time: events happen all the while, and the receiver answers with errors or not at all."""
    made, secret = await world.add("crm", receiver.url)
    service = world.service()
    told = await world.happen(3)
    await once(service)
    assert numbers(receiver) == told
    await receiver.stop()
    for second in range(60):
        told += await world.happen(2)
        world.clock.forward(seconds=1)
        await once(service)
        if second == 30:  # it is there again, but not well
            receiver.status = 503
            await receiver.start()
    failing = await world.hook(made)
    assert failing.enabled and failing.attempts >= 4 and numbers(receiver) == told[:3]
    receiver.status = 200
    for _ in range(120):
        world.clock.forward(seconds=1)
        if await once(service) and len(receiver.got) == len(told):
            break
    assert numbers(receiver) == told
    assert all(each.signed_by(secret) for each in receiver.got)
    assert len({each.delivery_id for each in receiver.got}) == len(told)
    assert (await world.hook(made)).attempts == 0


async def test_types_and_tenants(world: World, receiver: Receiver):
    async with world.database.transaction() as conn:
        other = await conn.fetchval("insert into tenants (name) values ('other') returning id")
    made, _ = await world.add("plans", receiver.url, types=("plan.*", "nas.deleted"))
    wanted = []
    for type_ in ("plan.created", "nas.updated", "nas.deleted", "plan.updated", "subscriber.created"):
        number = await world.happen(type_=type_)
        wanted += number if type_.startswith("plan") or type_ == "nas.deleted" else []
        await world.happen(type_="plan.created", tenant=other)
    service = world.service()
    assert await once(service) == 1
    assert numbers(receiver) == wanted
    assert await once(service) == 0  # the others are behind it, though nothing was sent
    end = await world.rows("select xid::text || '.' || id as place from events where tenant_id = 1 order by xid desc, id desc limit 1")
    assert place((await world.hook(made)).after) >= place(end[0]["place"])


async def test_a_site_hears_of_itself_only(world: World, receiver: Receiver):
    async with world.database.transaction() as conn:
        oslo, rome = [await conn.fetchval("insert into sites (tenant_id, name) values (1, $1) returning id", name) for name in ("oslo", "rome")]
    confined = Actor(tenant_id=1, name="oslo", role="admin", grants=ACTOR.grants, sites=frozenset((oslo,)))
    made, _ = await world.add("oslo", receiver.url, actor=confined)
    assert made.sites == (oslo,)
    whole, _ = await world.add("rome", receiver.url + "/rome", site="rome")
    assert whole.sites == (rome,)
    for site in (oslo, rome, None):
        async with world.database.transaction() as conn:
            await conn.execute(
                """insert into events (tenant_id, type, object_type, object_id, site_id, data)
                   values (1, 'nas.updated', 'nas', '1', $1, $2)""", site, {"n": site or 0},
            )  # fmt: skip
    await once(world.service())
    assert sorted((each.path, each.event["data"]["n"]) for each in receiver.got) == [("/hook", oslo), ("/hook/rome", rome)]


async def test_two_services_deliver_each_once_and_never_at_the_same_time(world: World, receiver: Receiver):
    await world.add("crm", receiver.url)
    receiver.hold = lambda: asyncio.sleep(0.001)
    async with running(world.service(), world.service(), world.service()):
        told = []
        for _ in range(10):
            told += await world.happen(15)
            await asyncio.sleep(0.01)
        await receiver.until(lambda: len(receiver.got) >= len(told))
        await until(lambda: _free(world))
        told += await world.happen()  # for somebody to begin anew
        await receiver.until(lambda: len(receiver.got) >= len(told))
    assert numbers(receiver) == told
    assert receiver.most_busy == 1
    assert (await world.rows("select max(fence) as f from webhooks"))[0]["f"] > 1


async def test_killed_in_the_middle_nothing_is_lost(world: World, receiver: Receiver):
    """The node dies between delivering and writing: what was on its way comes again under the same id, all else once, in order."""
    made, _ = await world.add("crm", receiver.url)
    told = await world.happen(100)
    cut = asyncio.Event()

    async def hold() -> None:
        if len(receiver.got) == 30:
            cut.set()
            await asyncio.sleep(3600)

    receiver.hold = hold
    dying = world.service()
    await dying.look()
    await cut.wait()
    for task in dying._serving:  # as kill -9: nothing more is written
        task.cancel()
    dying._keep = dying._release = _nothing  # type: ignore[method-assign, assignment]
    with suppress(TimeoutError):
        await asyncio.wait_for(dying.idle(), 60)
    receiver.hold = None
    assert await once(world.service()) == 0  # the lease of the dead node holds
    async with world.database.acquire() as conn:
        await conn.execute("update webhooks set lease_until = now() - interval '1 second'")  # time goes by
    next_one = world.service()
    while await once(next_one):
        pass
    unique = list(dict.fromkeys(each.delivery_id for each in receiver.got))
    assert len(unique) == len(told)
    assert list(dict.fromkeys(numbers(receiver))) == told
    assert len(receiver.got) > len(told)  # at least once
    assert (await world.hook(made)).attempts == 0


async def _nothing(*_: object) -> bool:
    return True


async def test_stopped_it_goes_on_where_it_was(world: World, receiver: Receiver):
    await world.add("crm", receiver.url)
    told = await world.happen(40)
    cut = asyncio.Event()

    async def hold() -> None:
        if len(receiver.got) == 10:
            cut.set()
            await asyncio.sleep(3600)

    receiver.hold = hold
    stopped = world.service()
    async with running(stopped):
        await asyncio.wait_for(cut.wait(), 60)
    await stopped.idle()  # on a slow machine it is still writing how far it came
    receiver.hold = None
    await once(world.service())  # at once: the lease was given back
    assert numbers(receiver) == told  # and what was acknowledged does not come twice


async def test_who_lost_the_lease_writes_nothing(world: World, receiver: Receiver):
    made, _ = await world.add("crm", receiver.url)
    await world.happen(3)
    gate = asyncio.Event()
    receiver.hold = gate.wait
    slow = world.service()
    await slow.look()
    await receiver.until(lambda: receiver.busy == 1)
    async with world.database.acquire() as conn:
        await conn.execute("update webhooks set lease_until = now() - interval '1 second'")
        before = await conn.fetchval("select after_xid::text || '.' || after_id from webhooks")
    receiver.hold = None
    other = world.service()
    await once(other)
    assert numbers(receiver) == [0, 1, 2]
    await world.happen(3)
    await once(other)
    at = (await world.hook(made)).after
    assert at != before
    gate.set()
    await slow.idle()
    assert (await world.hook(made)).after == at
    assert await once(other) == 0


async def test_after_a_day_it_is_disabled_and_goes_on_when_enabled(world: World, receiver: Receiver):
    made, _ = await world.add("crm", receiver.url)
    watcher, _ = await world.add("watcher", receiver.url + "/watcher", types=("webhook.*",))
    receiver.status = 503
    told = await world.happen(2)
    service = world.service()
    attempts = 0
    begun = world.clock.at
    pauses = []
    while (hook := await world.hook(made)).enabled:
        await once(service)
        hook = await world.hook(made)
        attempts += 1
        assert attempts == hook.attempts
        pauses.append((hook.due_at - world.clock.at).total_seconds())
        if hook.enabled:
            assert await once(service) == 0  # not before it is due
        world.clock.at = hook.due_at if hook.enabled else world.clock.at
        assert attempts < 300
    assert timedelta(hours=24) <= world.clock.at - begun < timedelta(hours=24, minutes=20)
    assert 90 < attempts < 150
    assert all(1.5 <= each <= 1125 for each in pauses) and pauses[0] < 3 and pauses[-1] > 600
    assert f"{attempts} attempts failed in 24 hours" in (hook.disabled_reason or "") and hook.disabled_at == world.clock.at
    told_of = await world.rows("select action, actor, after from audit_log where action = 'webhook.disable'")
    assert [(row["action"], row["actor"], row["after"]["name"]) for row in told_of] == [("webhook.disable", "netd", "crm")]
    assert await world.rows("select 1 from events where type = 'webhook.disabled'")
    service._looked_at = -100
    await once(service)
    assert service.parts()[0].state == "degraded" and "1 disabled after failures" in service.parts()[0].detail
    told += await world.happen(2)
    receiver.status = 200
    world.clock.forward(hours=1)
    while await once(service):
        pass
    assert numbers_at(receiver, "/hook") == []
    await webhooks.update(world.database, ACTOR, made.id, WebhookPatch(enabled=True), world.clock())
    while await once(service):
        pass
    assert numbers_at(receiver, "/hook")[:4] == told
    assert [each.type for each in receiver.got if each.path == "/hook/watcher"] == ["webhook.disabled"]
    again = await world.hook(made)
    assert (again.enabled, again.disabled_reason, again.attempts) == (True, None, 0)
    assert watcher.id != made.id


def numbers_at(receiver: Receiver, path: str) -> list[int]:
    return [each.event["data"]["n"] for each in receiver.got if each.path == path and "n" in each.event["data"]]


async def test_gone_disables_at_once_and_a_redirect_is_not_followed(world: World, receiver: Receiver):
    made, _ = await world.add("crm", receiver.url)
    await world.happen()
    receiver.status, receiver.headers = 307, {"Location": receiver.url}
    await once(world.service())
    hook = await world.hook(made)
    assert (hook.attempts, hook.last_status, hook.last_error) == (1, 307, "answered 307: redirects are not followed")
    receiver.status = 410
    world.clock.forward(seconds=10)
    await once(world.service())
    hook = await world.hook(made)
    assert (hook.enabled, hook.disabled_reason) == (False, "the endpoint answered 410 Gone")


async def test_the_receiver_may_ask_for_patience(world: World, receiver: Receiver):
    made, _ = await world.add("crm", receiver.url)
    await world.happen()
    receiver.status, receiver.headers = 429, {"Retry-After": "300"}
    await once(world.service())
    hook = await world.hook(made)
    assert hook.due_at - world.clock.at == timedelta(seconds=300)


async def test_a_replaced_secret_signs_for_a_day_beside_the_new_one(world: World, receiver: Receiver):
    made, old = await world.add("crm", receiver.url)
    issued = await webhooks.rotate(world.database, ACTOR, world.keyring, made.id, world.clock())
    assert issued.secret != old and issued.secret not in repr(issued)
    await world.happen()
    await once(world.service())
    assert receiver.got[-1].signed_by(old) and receiver.got[-1].signed_by(issued.secret)
    world.clock.forward(hours=25)
    await world.happen()
    await once(world.service())
    assert not receiver.got[-1].signed_by(old) and receiver.got[-1].signed_by(issued.secret)
    sealed = (await world.rows("select secrets from webhooks"))[0]["secrets"]
    assert old.encode() not in sealed and issued.secret.encode() not in sealed


async def test_replay_sends_again_from_an_event_on(world: World, receiver: Receiver):
    made, _ = await world.add("crm", receiver.url)
    told = await world.happen(6)
    service = world.service()
    await once(service)
    third = receiver.got[2]
    await webhooks.replay(world.database, ACTOR, made.id, Replay(event_id=third.event["id"]), world.clock())
    await once(service)
    assert numbers(receiver) == told + told[2:]
    assert receiver.got[6].delivery_id == third.delivery_id


async def test_a_change_while_it_delivers_counts_at_once(world: World, receiver: Receiver):
    """Replayed, given another URL, or disabled in the middle of a batch: what was begun under the old version moves nothing any more."""
    made, _ = await world.add("crm", receiver.url)
    await world.happen(5)
    service = world.service()
    gate = asyncio.Event()
    receiver.hold = gate.wait
    await service.look()
    await receiver.until(lambda: receiver.busy == 1)
    first = (await world.rows("select xid::text || '.' || id as id from events where type = 'nas.updated' order by xid, id limit 1"))[0]["id"]
    await webhooks.update(world.database, ACTOR, made.id, WebhookPatch(url=receiver.url + "/new"), world.clock())
    await webhooks.replay(world.database, ACTOR, made.id, Replay(event_id=first), world.clock())
    assert await world.service().look() == 0  # the one that is at it still has the lease
    gate.set()
    receiver.hold = None
    await service.idle()
    await once(service)
    assert numbers_at(receiver, "/hook/new") == [0, 1, 2, 3, 4]


async def test_a_removed_webhook_is_no_trouble(world: World, receiver: Receiver):
    made, _ = await world.add("crm", receiver.url)
    await world.happen(2)
    gate = asyncio.Event()
    receiver.hold = gate.wait
    service = world.service()
    await service.look()
    await receiver.until(lambda: receiver.busy == 1)
    await webhooks.delete(world.database, ACTOR, made.id)
    gate.set()
    receiver.hold = None
    await service.idle()
    assert await world.rows("select * from webhook_deliveries") == []


async def test_dead_endpoints_delay_no_other(world: World, receiver: Receiver, monkeypatch):
    """Two hundred webhooks, of which twenty take a connection and never answer."""
    monkeypatch.setattr(world.client, "post", partial(world.client.post, deadline_seconds=300))  # what a dead one would cost
    silent = await asyncio.start_server(lambda reader, writer: asyncio.sleep(3600), "127.0.0.1", 0)
    async with silent:
        dead = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/"
        for number in range(200):
            await world.add(f"w{number}", dead if number % 10 == 0 else f"{receiver.url}/{number}")
        service = world.service()
        async with running(service):
            await world.happen(5)
            await receiver.until(lambda: len(receiver.got) >= 180 * 5, seconds=150)
        silent.close()
    by_path: dict[str, list[int]] = {}
    for each in receiver.got:
        by_path.setdefault(each.path, []).append(each.event["data"]["n"])
    assert len(by_path) == 180 and set(map(tuple, by_path.values())) == {(0, 1, 2, 3, 4)}


async def test_no_delivery_inside_unless_allowed(world: World, receiver: Receiver):
    made, _ = await world.add("inside", receiver.url)
    await world.happen()
    async with http.Client() as guarded:
        service = WebhookService(world.database, guarded, world.keyring, now=world.clock)
        await once(service)
    assert receiver.got == []
    hook = await world.hook(made)
    assert "is not allowed: 127.0.0.1 is a loopback address" in (hook.last_error or "")


async def test_the_database_away_for_a_moment(world: World, receiver: Receiver):
    await world.add("crm", receiver.url)
    told = await world.happen(3)
    service = world.service()
    async with running(service):
        await receiver.until(lambda: numbers(receiver) == told)
        async with world.database.acquire() as conn:
            await conn.execute(
                "select pg_terminate_backend(pid, 60000) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            )  # and what follows meets none that is about to end
        told += await world.happen(3)
        await receiver.until(lambda: set(numbers(receiver)) == set(told))


def test_backoff():
    assert [backoff_seconds(n, 0.5) for n in (1, 2, 3, 9, 10, 11, 1000)] == [2, 4, 8, 512, 900, 900, 900]
    assert backoff_seconds(1, 0.0) == 1.5 and backoff_seconds(1, 1.0) == 2.5
