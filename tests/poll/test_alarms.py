"""Alarms in the store: raised, silenced, acknowledged, over; and what was open before a start."""

from collections.abc import AsyncIterator, Set
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from netd.domain import alarms as domain
from netd.domain.actor import system
from netd.domain.alarms import Acknowledgement, NewThreshold, ThresholdPatch
from netd.errors import Conflict
from netd.model.device import DeviceSample, InterfaceSample, OpticsSample
from netd.model.telemetry import Aspect
from netd.poll.alarms import Alarms
from netd.poll.counters import Look
from netd.poll.watched import Port, Watched
from netd.sdk.device import SnmpGroup
from netd.store import alarms as store
from netd.store import telemetry, timeseries
from netd.store.database import Database
from netd.store.devices import Polled

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
EVERYTHING: frozenset[Aspect] = frozenset(("reach", "system", "interfaces", "optics"))


class World:
    """Two devices, the second behind the first, as a poller sees them; the test turns the clock."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.seconds = 0.0
        self.devices: dict[int, Watched] = {}
        self.alarms = self.another()

    def another(self) -> Alarms:
        """The alarms of a process that begins now."""
        return Alarms(self.database, self.devices, down_seconds=100, period_seconds=60, now=lambda: NOW, clock=lambda: self.seconds)

    def look(self, device_id: int, read: Set[Aspect] = frozenset(), **seen: Any) -> None:
        watched = self.devices[device_id]
        for name, value in seen.items():
            setattr(watched, name, value)
        self.alarms.looked(watched, read or EVERYTHING)

    async def told(self) -> list[tuple[Any, ...]]:
        """(device, name, subject, state) of all alarms, once they are written."""
        await self.alarms.write()
        async with self.database.acquire() as conn:
            return [tuple(row) for row in await conn.fetch("select device_id, name, subject, state from alarms order by id")]

    async def events(self) -> list[str]:
        async with self.database.acquire() as conn:
            return [row[0] for row in await conn.fetch("select type from events where type like 'alarm.%' order by xid, id")]


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    made = World(database)
    async with database.acquire() as conn:
        for name in ("core", "edge"):
            device_id = await conn.fetchval(
                "insert into devices (tenant_id, hostname, mgmt_address, vendor) values (1, $1, '10.0.0.1', 'x') returning id", name
            )
            parent = next(iter(made.devices), None)
            await conn.execute("update devices set parent_id = $2 where id = $1", device_id, parent)
            device = Polled(id=device_id, tenant_id=1, hostname=name, platform=None, poll_groups=(), parent_id=parent, site_id=None, version=1)
            made.devices[device_id] = Watched(device)
    await made.alarms.read()
    yield made


async def threshold(world: World, **members: Any) -> int:
    made = await domain.create_threshold(world.database, system(1), msgspec.convert(members, NewThreshold))
    await world.alarms.read()
    return made.id


async def test_a_device_that_is_away(world: World) -> None:
    core, edge = world.devices
    for seconds in (0, 60, 120, 180):
        world.seconds = seconds
        world.look(edge, up=False)
        world.look(core, up=False)
    assert await world.told() == [(core, "unreachable", "", "raised")]  # the other one is behind it
    world.look(core, up=True)
    world.seconds = 240
    world.look(edge, up=False)
    assert await world.told() == [(core, "unreachable", "", "cleared"), (edge, "unreachable", "", "raised")]
    world.look(edge, up=True)
    assert [each[-1] for each in await world.told()] == ["cleared", "cleared"]
    assert await world.events() == ["alarm.raised", "alarm.cleared", "alarm.raised", "alarm.cleared"]


async def test_thresholds_of_devices_and_interfaces(world: World) -> None:
    core, edge = world.devices
    busy = await threshold(world, name="busy", metric="cpu_percent", raise_level=90, clear_level=80, severity="major", selector={"hostnames": ["core"]})
    await threshold(world, name="port", metric="oper_down", raise_level=0.5, interfaces="eth*")
    ports = {
        name: Port(Look(0, None, InterfaceSample(if_index=1, name=name, admin_up=admin, oper_up=False)), NOW)
        for name, admin in (("eth0", True), ("eth1", False), ("lo", True))
    }  # fmt: skip
    for device in (core, edge):
        world.look(device, system=DeviceSample(cpu_percent=95), ports=dict(ports))
    found = {(core, "busy", "", "raised"), (core, "port", "eth0", "raised"), (edge, "port", "eth0", "raised")}
    assert set(await world.told()) == found
    world.look(core, system=DeviceSample(cpu_percent=85), ports=dict(ports))
    assert set(await world.told()) == found
    await domain.update_threshold(world.database, system(1), busy, ThresholdPatch(enabled=False))
    await world.alarms.read()
    assert (core, "busy", "", "cleared") in await world.told()
    await domain.update_threshold(world.database, system(1), busy, ThresholdPatch(enabled=True))
    await world.alarms.read()
    world.look(core, system=DeviceSample(cpu_percent=95), ports={})
    states = [each for each in await world.told() if each[0] == core]
    assert states.count((core, "busy", "", "raised")) == 1 and (core, "port", "eth0", "cleared") in states


async def test_what_was_read_before_is_not_what_is(world: World) -> None:
    """One sample is no ten minutes, however often the device is pinged after it."""
    core, _ = world.devices
    await threshold(world, name="busy", metric="cpu_percent", raise_level=90, hold_seconds=600)
    world.look(core, system=DeviceSample(cpu_percent=95))
    for seconds in range(60, 1200, 60):
        world.seconds = seconds
        world.look(core, read=frozenset(("reach",)), up=True)
    assert await world.told() == []
    world.look(core, system=DeviceSample(cpu_percent=95))
    assert [each[-1] for each in await world.told()] == ["raised"]


async def test_behind_one_that_another_node_polls(world: World) -> None:
    """The one in between is silenced there, so it has no alarm: what counts is that the first one is down."""
    core, edge = world.devices
    async with world.database.acquire() as conn:
        leaf = await conn.fetchval(
            "insert into devices (tenant_id, hostname, mgmt_address, vendor, parent_id) values (1, 'leaf', '10.0.0.3', 'x', $1) returning id", edge
        )
    polled = Polled(id=leaf, tenant_id=1, hostname="leaf", platform=None, poll_groups=(), parent_id=edge, site_id=None, version=1)
    world.devices[leaf] = Watched(polled)
    del world.devices[edge]
    await world.alarms.read()
    for seconds in (0, 60, 120, 180, 240):
        world.seconds = seconds
        world.look(core, up=False)
        world.look(leaf, up=False)
    assert await world.told() == [(core, "unreachable", "", "raised")]


async def test_a_parent_elsewhere_is_known_before_its_alarm_is_raised(world: World) -> None:
    """The other node's alarm comes after as long a while as one's own: what it found at its last ping counts, and is waited for."""
    core, edge = world.devices
    del world.devices[core]
    async with world.database.acquire() as conn:
        await timeseries.ensure(conn, NOW.date())
        await telemetry.copy(conn, "reach_samples", [(1, core, NOW - timedelta(seconds=ago), up, None, 60.0) for ago, up in ((70, True), (10, False))])
    for seconds in (0, 60, 120):
        world.seconds = seconds
        world.look(edge, up=False)
    world.seconds = 175  # longer than down_seconds and a period, but not than it takes until the store tells
    world.look(edge, up=False)
    await world.alarms.read()
    world.seconds = 240
    world.look(edge, up=False)
    assert await world.told() == []
    async with world.database.acquire() as conn:
        await telemetry.copy(conn, "reach_samples", [(1, core, NOW, True, 1.0, 60.0)])
    await world.alarms.read()
    world.look(edge, up=False)
    assert await world.told() == [(edge, "unreachable", "", "raised")]


async def test_memory_and_store_agree_in_the_end(world: World) -> None:
    """Whatever was lost on the way, or done by another node meanwhile: what is open and well is cleared, what is wrong and not open is raised."""
    core, edge = world.devices
    await threshold(world, name="busy", metric="cpu_percent", raise_level=90)
    world.look(core, system=DeviceSample(cpu_percent=95))
    assert [each[-1] for each in await world.told()] == ["raised"]
    world.look(core, system=DeviceSample(cpu_percent=5))
    world.alarms._waiting.clear()  # the change is lost
    world.look(core, system=DeviceSample(cpu_percent=5))
    assert [each[-1] for each in await world.told()] == ["raised"]
    await world.alarms.read()
    world.look(core, system=DeviceSample(cpu_percent=5))
    assert [each[-1] for each in await world.told()] == ["cleared"]
    world.look(edge, system=DeviceSample(cpu_percent=95))
    await world.alarms.read()
    world.look(edge, system=DeviceSample(cpu_percent=95))
    assert world.alarms.changes["raised"] == 2, "what is on its way is not raised twice"
    assert [each[-1] for each in await world.told()] == ["cleared", "raised"]
    world.look(edge, system=DeviceSample(cpu_percent=5))
    await world.alarms.read()
    world.look(edge, system=DeviceSample(cpu_percent=95))
    assert [each[-1] for each in await world.told()] == ["cleared", "cleared", "raised"], "nor is what is being cleared taken for raised"
    async with world.database.acquire() as conn:
        await conn.execute("update alarms set state = 'cleared', cleared_at = now()")  # by another node that was cut off, and wrong
    await world.alarms.read()
    world.look(edge, system=DeviceSample(cpu_percent=95))
    assert [each[-1] for each in await world.told()] == ["cleared", "cleared", "cleared", "raised"]


async def test_a_threshold_that_is_removed_ends_its_alarms_and_leaves_them_as_history(world: World) -> None:
    core, _ = world.devices
    busy = await threshold(world, name="busy", metric="cpu_percent", raise_level=90)
    world.look(core, system=DeviceSample(cpu_percent=95))
    assert [each[-1] for each in await world.told()] == ["raised"]
    await domain.delete_threshold(world.database, system(1), busy)
    world.look(core, system=DeviceSample(cpu_percent=96))
    assert len(await domain.end_groundless(world.database, NOW)) == 1
    await world.alarms.read()
    assert await world.told() == [(core, "busy", "", "cleared")] and await world.events() == ["alarm.raised", "alarm.cleared"]
    assert len(world.alarms._alarming) == 0


async def test_what_is_not_asked_of_a_device_any_more_has_no_alarm(world: World) -> None:
    core, edge = world.devices
    await threshold(world, name="dark", metric="rx_dbm", raise_level=-27, above=False)
    for device in (core, edge):
        world.devices[device].groups = {name: SnmpGroup(name=name, period_seconds=60) for name in ("system", "optics")}
        world.look(device, optics=(OpticsSample(interface="0/1", rx_dbm=-30.0),))
    assert [each[-1] for each in await world.told()] == ["raised", "raised"]
    world.devices[core].groups = {"system": SnmpGroup(name="system", period_seconds=60)}
    world.devices[edge].groups = {}  # nobody knows: its driver is away
    await world.alarms.read()
    assert await world.told() == [(core, "dark", "0/1", "cleared"), (edge, "dark", "0/1", "raised")]


async def test_one_that_joins_while_thresholds_are_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is open of it must not be ended because its thresholds are not known yet."""
    core, edge = world.devices
    await threshold(world, name="busy", metric="cpu_percent", raise_level=90)
    for device in (core, edge):
        world.look(device, system=DeviceSample(cpu_percent=95))
    await world.told()
    joins = world.devices.pop(edge)
    world.alarms = world.another()
    standing = store.standing

    async def meanwhile(conn: Any) -> Any:
        world.devices[edge] = joins
        return await standing(conn)

    monkeypatch.setattr(store, "standing", meanwhile)
    await world.alarms.read()
    await world.alarms.read()
    assert {each[-1] for each in await world.told()} == {"raised"} and not world.alarms.changes


async def test_what_is_open_is_known_after_a_start_and_ends_with_its_device(world: World) -> None:
    core, _ = world.devices
    world.seconds = 0
    world.look(core, up=False)
    world.seconds = 200
    world.look(core, up=False)
    assert len(await world.told()) == 1
    world.alarms = world.another()
    for seconds in (200, 400):
        world.seconds = seconds
        world.look(core, up=False)
    assert not world.alarms.changes  # what is open is not read yet
    world.look(core, up=True)
    assert [each[-1] for each in await world.told()] == ["raised"]
    await world.alarms.read()
    world.look(core, up=False)
    world.seconds = 600
    world.look(core, up=False)
    assert [each[-1] for each in await world.told()] == ["raised"]
    async with world.database.acquire() as conn:
        await conn.execute("update devices set state = 'maintenance' where id = $1", core)
    await world.alarms.read()
    assert [each[-1] for each in await world.told()] == ["cleared"] and await world.events() == ["alarm.raised", "alarm.cleared"]


async def test_acknowledged_and_over(world: World) -> None:
    core, _ = world.devices
    await threshold(world, name="busy", metric="cpu_percent", raise_level=90)
    world.look(core, system=DeviceSample(cpu_percent=95))
    await world.told()
    async with world.database.acquire() as conn:
        alarm = await conn.fetchval("select id from alarms")
    actor = system(1, "ann")
    after = await domain.acknowledge(world.database, actor, alarm, Acknowledgement(note="on it"))
    assert (after.state, after.acknowledged_by, after.note, after.device) == ("acknowledged", "ann", "on it", "core")
    world.look(core, system=DeviceSample(cpu_percent=95))
    assert len(await world.told()) == 1  # it is the same one
    world.look(core, system=DeviceSample(cpu_percent=90))
    assert [each[-1] for each in await world.told()] == ["cleared"]
    with pytest.raises(Conflict):
        await domain.acknowledge(world.database, actor, alarm, Acknowledgement())
    assert "alarm.acknowledged" in await world.events()


async def test_what_was_over_long_ago_goes(world: World) -> None:
    core, _ = world.devices
    async with world.database.acquire() as conn:
        for days in (1, 500):
            await conn.execute(
                """insert into alarms (tenant_id, device_id, name, severity, state, raised_at, cleared_at)
                   values (1, $1, 'x', 'major', 'cleared', $2, $2)""", core, NOW - timedelta(days=days),
            )  # fmt: skip
        await conn.execute(
            "insert into alarms (tenant_id, device_id, name, severity, raised_at) values (1, $1, 'y', 'major', $2)", core, NOW - timedelta(days=900)
        )
        assert await store.retire(conn, NOW - timedelta(days=400)) == 1
    assert [each[1] for each in await world.told()] == ["x", "y"]
