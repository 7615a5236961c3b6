"""A device that is a subscriber's: it boots while the subscriber has service, and is configured anew when what it is told of that changes."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from netd.config import BootConfig
from netd.domain import arming, booting, certificates, expected, pki, plans, standing, subscribers
from netd.domain.bootfiles import BootFile
from netd.domain.expected import ExpectedPatch, Retry
from netd.errors import BootRefused, Conflict, InvalidInput
from netd.model.boot import ExpectedDevice
from netd.store import boot as boot_store
from netd.store.boot import Advance
from netd.store.feed import Batch
from tests.domain.conftest import AnyAttribute
from tests.ztp.booting import ACTOR, Booting, client

TEMPLATE = "pppoe {{ subscriber.username }} vlan {{ subscriber.vlan }} down {{ subscriber.down_bps }}\n{% if subscriber_password is defined %}leak{% endif %}"


class Killed(BaseException):
    """kill -9: no barrier stops it."""


class Home(Booting):
    """A boot server with plans and a subscriber."""

    subscriber: int

    async def customer(self, state: str = "pending") -> None:
        for name, rate in (("home", 50_000_000), ("gold", 100_000_000)):
            await plans.create(self.database, ACTOR, plans.NewPlan(name=name, down_bps=rate, up_bps=rate // 5, vlan="7"))
        new = msgspec.convert({"username": "Alice", "password": "wonderland", "plan": "home", "state": state}, subscribers.NewSubscriber)
        self.subscriber = (await subscribers.create(self.database, ACTOR, self.keyring, new, ANY)).id

    async def plan(self, name: str) -> None:
        patch = subscribers.SubscriberPatch(plan=name)
        await subscribers.update(self.database, ACTOR, self.keyring, self.subscriber, patch, ANY)

    async def password(self, password: str) -> None:
        await subscribers.set_password(self.database, ACTOR, self.keyring, self.subscriber, subscribers.NewPassword(password=password))

    async def followed(self) -> None:
        """What a node does that begins, and then with every change."""
        await self.expected.load()
        while not await self.expected.follow():
            raise AssertionError("a job is at one")
        await self.expected.load()

    async def is_verified(self, device: ExpectedDevice) -> None:
        async with self.database.transaction() as conn:
            for state in ("configured", "verified"):
                await boot_store.advance(conn, [Advance(device.id, 1, state, state, self.now(), {}, "10.1.0.9")])

    async def rows(self, statement: str) -> list[dict[str, Any]]:
        async with self.database.acquire() as conn:
            return [dict(row) for row in await conn.fetch(statement)]

    async def jobs(self, state: str = "queued") -> list[dict[str, Any]]:
        return [row["args"] for row in await self.rows(f"select args from jobs where kind = 'ztp.finish' and state = '{state}' order by id")]

    async def end_jobs(self) -> None:
        async with self.database.acquire() as conn:
            await conn.execute("update jobs set state = 'succeeded', finished_at = now()")


ANY = AnyAttribute()


@pytest.fixture
async def home(database, dsn, tmp_path, extensions) -> AsyncIterator[Home]:
    made = Home(database, dsn, tmp_path, extensions, BootConfig(enabled=True, host="192.0.2.5"))
    async with database.acquire() as conn:
        await conn.execute("insert into dhcp_subnets (tenant_id, name, prefix) values (1, 'access', '10.1.0.0/24')")
    yield made
    await made.expected.close()


async def fetched(home: Home, path: str) -> BootFile:
    return await home.files.ask(path, "127.0.0.1", "http")


async def test_it_boots_while_its_subscriber_has_service(home):
    await home.customer()
    device = await home.device("cpe", subscriber="alice", boot_template=TEMPLATE)
    assert (device.armed, device.subscriber) == (False, "Alice")
    resolve = home.expected.resolve
    assert resolve(client("CPE")) is None and home.expected.strange == {"no_service": 1}
    home.expected.unexpected(client("CPE"))
    await home.expected.flush()
    assert (await home.state(device)).state == "seen"  # it is there, and waits; it is nobody to be adopted
    assert await home.rows("select 1 from ztp_candidates") == []
    home.ahead = timedelta(days=100)  # its window has long since closed
    await standing.activate(home.database, ACTOR, home.subscriber)
    for _ in range(3):
        await home.followed()
    armed = await home.state(device)
    assert armed.armed and armed.closes_at == home_window(home, armed)
    assert await home.steps(device) == ["expected", "seen", "armed"]
    path = await home.told(client("CPE"))
    assert (await fetched(home, path)).body == b"pppoe Alice vlan 7 down 50000000\n"
    await standing.suspend(home.database, ACTOR, home.subscriber)
    assert (await fetched(home, path)).body  # for a while: what it is stays
    await standing.terminate(home.database, ACTOR, home.subscriber)
    with pytest.raises(BootRefused, match="no_service"):
        await fetched(home, path)  # at once, before anybody has looked
    for _ in range(3):
        await home.followed()
    with pytest.raises(BootRefused, match="unknown_token"):
        await fetched(home, path)
    answer = resolve(client("CPE"))
    assert answer is not None and answer.profile == "plain"  # it keeps its address
    assert await home.told(client("CPE")) == ""
    assert (await home.steps(device))[-1] == "disarmed"
    with pytest.raises(Conflict, match="Alice has no service"):
        await expected.retry(home.database, ACTOR, home.kinds, home.keyring, device.id, Retry(boot=True), home.now())
    home.ahead = timedelta(days=200)
    await standing.reactivate(home.database, ACTOR, home.subscriber)
    await home.followed()
    assert home_window(home, await home.state(device))  # no longer than before
    assert (await fetched(home, await home.told(client("CPE")))).body
    told = [row["type"] for row in await home.rows("select type from events where type like 'ztp.%armed' order by id")]
    assert told == ["ztp.armed", "ztp.disarmed", "ztp.armed"]
    await subscribers.delete(home.database, ACTOR, home.subscriber)
    await home.expected.load()
    assert resolve(client("CPE")) is None and await home.rows("select 1 from ztp_devices") == []


def home_window(home: Home, device: ExpectedDevice) -> Any:
    """As long as it had at first, from its arming on."""
    assert home.now() + timedelta(days=29) < device.closes_at <= home.now() + timedelta(days=30)
    return device.closes_at


async def test_another_plan_configures_it_anew_once(home):
    await home.customer("active")
    device = await home.device("cpe", subscriber="alice", configuration="rate {{ subscriber.down_bps }}")
    assert device.armed
    await home.is_verified(device)
    await home.followed()
    await home.end_jobs()  # it was verified without anybody knowing of its subscriber
    before = len(await home.jobs("succeeded"))
    await home.plan("gold")
    for _ in range(3):
        await home.followed()
    assert await home.jobs() == [{"again": True, "ztp_device_id": device.id}]
    await home.password("a much longer one")
    await home.expected.load()
    assert not await home.expected.follow()  # that job may be past it: looked at again
    await home.end_jobs()
    await home.followed()
    assert await home.jobs() == [{"again": True, "ztp_device_id": device.id}]
    await home.end_jobs()
    async with home.database.acquire() as conn:
        await conn.execute("update subscribers set note = 'moved', updated_at = now() + interval '1 hour'")
        await conn.execute("update plans set down_bps = 120000000, updated_at = now() + interval '1 hour' where name = 'home'")  # not hers
    await home.followed()
    assert await home.jobs() == [] and len(await home.jobs("succeeded")) == before + 2
    async with home.database.acquire() as conn:
        await conn.execute("update plans set down_bps = 130000000 where name = 'gold'")
    await home.followed()
    assert await home.jobs() == [{"again": True, "ztp_device_id": device.id}]


async def test_what_a_crash_leaves_is_begun_by_who_comes_after(home, monkeypatch):
    await home.customer("active")
    device = await home.device("cpe", subscriber="alice", configuration="rate {{ subscriber.down_bps }}")
    await home.is_verified(device)
    await home.followed()
    await home.end_jobs()
    await home.plan("gold")
    await home.expected.load()

    async def killed(*arguments: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("netd.domain.arming.store.configured_for", killed)  # the last statement before the commit
        with pytest.raises(Killed):
            await home.expected.follow()
    assert await home.jobs() == []
    other = Home(home.database, "", home.folder, home.extensions, home.config)
    other.subscriber = home.subscriber
    await other.followed()
    await home.followed()
    assert await home.jobs() == [{"again": True, "ztp_device_id": device.id}]


async def test_a_device_that_cannot_be_looked_at_ends_nothing(home, monkeypatch, caplog):
    """What one brings up is told, and the others follow."""
    await home.customer("active")
    bad = await home.device("bad", serial="BAD1", subscriber="alice", configuration="x {{ subscriber.down_bps }}")
    good = await home.device("good", serial="GOOD1", subscriber="alice", configuration="y {{ subscriber.down_bps }}")
    for each in (bad, good):
        await home.is_verified(each)
    await home.followed()
    await home.end_jobs()
    await home.plan("gold")
    await home.expected.load()
    follow = arming.follow

    async def broken(conn: Any, kinds: Any, keyring: Any, places: Any, device: int, now: Any) -> bool:
        if device == bad.id:
            raise ZeroDivisionError
        return await follow(conn, kinds, keyring, places, device, now)

    monkeypatch.setattr(arming, "follow", broken)
    assert await home.expected.follow()
    assert await home.jobs() == [{"again": True, "ztp_device_id": good.id}]
    assert [record.ztp_device for record in caplog.records if record.exc_info] == [bad.id]


async def test_the_feed_tells_at_once(home):
    await home.customer()
    device = await home.device("cpe", subscriber="alice", configuration="rate {{ subscriber.down_bps }}")
    await home.expected.open()

    running = asyncio.create_task(home.expected.run())
    try:
        assert await home.expected.feed.settle(90)
        await standing.activate(home.database, ACTOR, home.subscriber)
        await home.last_step(device, "armed")
        await home.is_verified(device)
        await home.last_step(device, "service_changed")
        await home.end_jobs()
        async with home.database.acquire() as conn:
            await conn.execute("delete from ztp_steps where step = 'service_changed'")
        await home.plan("gold")
        await home.last_step(device, "service_changed")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_plan_of_many_is_read_a_part_at_a_time(home, monkeypatch):
    await home.customer("active")
    devices = [await home.device(f"cpe{number}", subscriber="alice") for number in range(7)]
    await home.followed()
    monkeypatch.setattr("netd.ztp.expected.APPLIED_ROWS", 3)
    read: list[list[int]] = []
    load = boot_store.load

    async def loads(conn: Any, ids: Any = None) -> Any:
        read.append(list(ids))
        return await load(conn, ids)

    monkeypatch.setattr(boot_store, "load", loads)
    plan = (await home.rows("select plan_id from subscribers"))[0]["plan_id"]
    await home.expected._apply(Batch(frozenset({1}), {"plan": frozenset({plan})}))
    ids = [each.id for each in devices]
    assert read == [ids[:3], ids[3:6], ids[6:]] and home.expected._to_follow == set(ids)
    assert all(home.expected.resolve(client(f"CPE{number}")) is not None for number in range(7))


async def test_what_is_there_already_is_begun_with(home):
    async with home.database.acquire() as conn:
        subnet = await conn.fetchval("select id from dhcp_subnets")
        await conn.execute("insert into pools (tenant_id, name, kind, prefix_length, grace_seconds) values (1, 'p', 'ipv4', 32, 0)")
        for number, seconds in ((1, 600), (2, -600), (3, 600)):
            await conn.execute(
                """insert into leases (tenant_id, pool_id, kind, scope, prefix, client_id, until_at, dhcp_subnet_id, dhcp_state, expires_at, mac)
                   select 1, id, kind, scope, $1::inet, $2, now() + interval '1 day', $3, 'bound', now() + $4::float8 * interval '1 second', $2 from pools""",
                f"10.1.0.{number}", f"02:00:00:00:00:0{number}", subnet, float(seconds),
            )  # fmt: skip
        found = await conn.fetchval(
            """insert into devices (tenant_id, hostname, mgmt_address, vendor, serial, facts_at, observed)
               values (1, 'old', '10.9.0.1', 'mikrotik', 'written', now(), '{"serial": {"value": "mt9", "source": "cli", "at": "2026-01-01T00:00:00Z"}}')
               returning id"""
        )
        await conn.execute(
            """insert into devices (tenant_id, hostname, mgmt_address, vendor, serial, facts_at, observed)
               values (1, 'to come', '10.9.0.2', 'mikrotik', 'MT10', null, '{}'),
                      (1, 'long gone', '10.9.0.3', 'mikrotik', null, now() - interval '2 days',
                       '{"serial": {"value": "MT11", "source": "cli", "at": "2026-01-01T00:00:00Z"}}')"""
        )
        await conn.execute(
            """insert into ztp_candidates (tenant_id, subnet_id, identity, serial, profile, said, first_seen_at, last_seen_at)
               values (1, $1, $2, 'C7', 'arista_eos', '{"serial": "C7", "model": "7050"}', now(), now())""", subnet, bytes(32),
        )  # fmt: skip
    router = {"profile": "mikrotik_routeros", "platform": "mikrotik_routeros", "boot_template": None, "serial": None}
    there = await home.device("a", **router, mac="02:00:00:00:00:01")
    gone = await home.device("b", **router, mac="02:00:00:00:00:02")
    fetches = await home.device("c", serial=None, mac="02:00:00:00:00:03")
    known = await home.device("d", serial="MT9")
    to_come, long_gone = await home.device("f", serial="MT10"), await home.device("g", serial="MT11")
    candidate = await home.device("e", profile="arista_eos", serial="c7")
    for _ in range(2):
        await home.followed()
    states = {each.hostname: await home.state(each) for each in (there, gone, fetches, known, candidate, to_come, long_gone)}
    assert {name: each.state for name, each in states.items()} == {
        "a": "configured",
        "b": "expected",
        "c": "seen",
        "d": "configured",
        "e": "seen",
        "f": "expected",
        "g": "expected",
    }
    assert (str(states["a"].address_now), str(states["d"].address_now), states["d"].device_id) == ("10.1.0.1", "10.9.0.1", found)
    assert states["e"].seen["model"] == "7050"
    assert {each["ztp_device_id"] for each in await home.jobs()} == {there.id, known.id}
    assert [row["state"] for row in await home.rows("select state from ztp_candidates")] == ["adopted"]


async def test_who_says_a_serial_number_elsewhere_is_not_taken_for_it(home):
    async with home.database.acquire() as conn:
        here, there = [await conn.fetchval("insert into sites (tenant_id, name) values (1, $1) returning id", name) for name in ("here", "there")]
        for number, (serial, site, addressed) in enumerate(
            (("A", there, False), ("B", here, True), ("C", None, False), ("D", here, True), ("E", here, False), ("F", here, False)), 1
        ):
            await conn.execute(
                """insert into devices (tenant_id, hostname, mgmt_address, vendor, site_id, site_addressed, facts_at, observed)
                   values (1, $1, $2::inet, 'mikrotik', $3, $4, now(), jsonb_build_object('serial', jsonb_build_object('value', $1::text)))""",
                serial, f"10.9.0.{number}", site, addressed,
            )  # fmt: skip
        subnet = await conn.fetchval("update dhcp_subnets set site_id = $1 returning id", there)
        await conn.execute("insert into pools (tenant_id, name, kind, prefix_length, grace_seconds) values (1, 'p', 'ipv4', 32, 0)")
        await conn.execute(
            """insert into leases (tenant_id, pool_id, kind, scope, prefix, client_id, until_at, dhcp_subnet_id, dhcp_state, expires_at, mac)
               select 1, id, kind, scope, '10.1.0.1', 'x', now() + interval '1 day', $1, 'bound', now() + interval '1 day', '02:00:00:00:00:01' from pools""",
            subnet,
        )  # fmt: skip
        await conn.execute(
            """insert into ztp_candidates (tenant_id, site_id, subnet_id, identity, serial, profile, said, first_seen_at, last_seen_at)
               values (1, $1, $2, $3, 'H', 'generic_boot', '{}', now(), now())""", there, subnet, bytes(32),
        )  # fmt: skip
    members: dict[str, dict[str, Any]] = {
        "a": {"site": "here"}, "b": {"site": "here"}, "c": {"site": "here"}, "d": {}, "e": {}, "f": {"site": "here", "circuit_id": "line 1"},
        "g": {"site": "here", "serial": None, "mac": "02:00:00:00:00:01"}, "h": {"site": "here"},
    }  # fmt: skip
    for name, more in members.items():
        await home.device(name, **more)
    await home.followed()
    found = {row["hostname"]: row["state"] for row in await home.rows("select hostname, state from ztp_devices order by id")}
    assert found == {**dict.fromkeys("adfgh", "expected"), **dict.fromkeys("bce", "configured")}


async def test_a_subscriber_is_named_and_may_be_another(home):
    await home.customer()
    with pytest.raises(InvalidInput, match="there is no subscriber bob"):
        await home.device("x", subscriber="bob")
    device = await home.device("cpe")
    await home.followed()

    async def now(name: str | None) -> bool:
        patch = ExpectedPatch(subscriber=name)
        await expected.update(home.database, ACTOR, device.id, patch, list(home.profiles.values()), home.catalogue)
        await home.followed()
        return bool((await home.state(device)).armed)

    assert [await now("ALICE"), await now(None)] == [False, True]
    assert await home.steps(device) == ["expected", "disarmed", "armed"]


async def test_what_is_left_undone_or_ends_soon_is_tried_once_a_day(home):
    undone, ends, fine = [await home.device(name, certificate="ec" if name != "undone" else None) for name in ("undone", "ends", "fine")]
    made = await certificates.create_authority(home.database, ACTOR, home.keyring, certificates.NewAuthority(), home.now())
    for device in (undone, ends, fine):
        await home.is_verified(device)
    async with home.database.acquire() as conn:
        await conn.execute("update ztp_devices set reason = 'it was off' where id = $1", undone.id)
        for device, days in ((ends, 29), (fine, 32)):
            await conn.execute(
                """insert into certificates (tenant_id, ztp_device_id, authority_id, subject, names, algorithm, certificate, serial, fingerprint, not_before,
                                             not_after, installed_at)
                   values (1, $1, $2, 'CN=x', '{x}', 'ec', 'x', '1', 'f', now(), now() + $3::int * interval '1 day', now())""", device.id, made.id, days,
            )  # fmt: skip
    for days, begun in ((0, 2), (0, 2), (1, 4), (2, 5)):  # on the third day those of the second are not done yet, and the last certificate is due
        home.ahead = timedelta(days=days, minutes=days)
        await home.expected.sweep()
        assert len(await home.rows("select 1 from jobs where kind = 'ztp.finish'")) == begun, days
        if days == 0:
            await home.end_jobs()
    assert {each["ztp_device_id"] for each in await home.jobs()} == {undone.id, ends.id, fine.id}


async def test_what_one_device_brings_up_leaves_no_other_undone(home, monkeypatch, caplog):
    bad, good = [await home.device(name) for name in ("bad", "good")]
    async with home.database.transaction() as conn:
        await boot_store.advance(conn, [Advance(each.id, 1, "configured", "configured", home.now(), {}, "10.1.0.9") for each in (bad, good)])
    finish = booting.finish

    async def broken(conn: Any, kinds: Any, keyring: Any, tenant: int, device: int, *more: Any, **named: Any) -> bool:
        if device == bad.id:
            raise ZeroDivisionError
        return await finish(conn, kinds, keyring, tenant, device, *more, **named)

    monkeypatch.setattr(booting, "finish", broken)
    await home.expected.sweep()
    assert await home.jobs() == [{"ztp_device_id": good.id}]
    assert [record.ztp_device for record in caplog.records if record.exc_info] == [bad.id]


async def test_an_operators_authority_that_ends_soon_is_told_of(home):
    async def state(days: float = 0.0) -> tuple[str, str]:
        home.ahead = timedelta(days=days)
        await home.expected.sweep()
        (part,) = home.expected.parts()
        return part.state, part.detail

    home.expected.feed.up = True
    own = pki.authority("Ours", home.now())
    await certificates.create_authority(home.database, ACTOR, home.keyring, certificates.NewAuthority(), home.now())
    assert await state(pki.AUTHORITY_DAYS - 1) == ("ok", "")  # netd's own is followed by itself
    new = certificates.NewAuthority(certificate=own.certificate, key=own.key)
    await certificates.create_authority(home.database, ACTOR, home.keyring, new, home.now() - home.ahead)
    assert await state(pki.AUTHORITY_DAYS - 31) == ("ok", "")
    found, detail = await state(pki.AUTHORITY_DAYS - 29)
    assert found == "degraded" and detail.startswith("the certification authority CN=Ours ends at 20")
    await certificates.create_authority(home.database, ACTOR, home.keyring, certificates.NewAuthority(), home.now())
    assert await state(pki.AUTHORITY_DAYS - 29) == ("ok", "")
