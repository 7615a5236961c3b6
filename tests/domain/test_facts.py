"""Taking what devices say of themselves."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import msgspec
import pytest

from netd.domain import devices, facts, inventory
from netd.domain.devices import Catalogue, DevicePatch, NewDevice
from netd.domain.facts import Observation
from netd.model.device import ArpEntry, Facts, InterfaceSample, MacEntry, Neighbour, Observed
from netd.model.inventory import Device

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
CATALOGUE = Catalogue(frozenset({"mikrotik"}), {})


@pytest.fixture
def add(database, actor):
    async def made(hostname: str = "core1", address: str = "10.0.0.1", **members: object) -> Device:
        wanted = {"hostname": hostname, "mgmt_address": address, "vendor": "mikrotik", **members}
        return await devices.create(database, actor, msgspec.convert(wanted, NewDevice), CATALOGUE)

    return made


@pytest.fixture
def take(database, actor):
    async def taken(device: Device, at: datetime = NOW, source: str = "snmp", **seen: object) -> facts.Taken:
        return await facts.take(database, actor.tenant_id, [Observation(device_id=device.id, source=source, at=at, **seen)])  # type: ignore[arg-type]

    return taken


def port(number: int, name: str = "", **members: object) -> InterfaceSample:
    return InterfaceSample(**{"if_index": number, "name": name or f"ether{number}", "oper_up": True, "type": 6, **members})  # type: ignore[arg-type]


def told(taken: facts.Taken) -> list[tuple[str, str, str | None, str | None]]:
    return [(each.subject, each.fact, each.before, each.after) for each in taken.changes]


async def events(world) -> list[tuple[object, object]]:
    found = await world.fetch("select type, data from events where type in ('device.changed', 'device.replaced') order by id")
    return [(each["type"], each["data"]) for each in found]


async def test_facts_and_their_history(world, database, actor, add, take):
    made = await add(model="as written", serial="W1")
    first = await take(
        made, facts=Facts(hostname="core1", model=" CCR2004\0 ", serial="A1", software_version="7.15", uptime_seconds=5), platform="mikrotik_routeros"
    )
    assert told(first)[1] == ("", "model", None, "CCR2004\N{REPLACEMENT CHARACTER}")
    assert await events(world) == []  # a first word is no news
    same = await take(made, LATER, facts=Facts(serial="A1", software_version="7.15"))
    assert same.changes == ()
    after = await take(made, LATER, facts=Facts(software_version="7.16"))
    assert told(after) == [("", "software_version", "7.15", "7.16")]
    device = await devices.get(database, actor, made.id)
    assert (device.model, device.serial, device.software_version) == ("as written", "W1", None)  # an operator's own words stay
    assert device.observed["software_version"] == Observed(value="7.16", source="snmp", at=LATER)
    assert (device.observed["serial"].at, device.facts_at) == (NOW, LATER)
    assert (device.now("serial"), device.driver_platform) == ("A1", "mikrotik_routeros")
    assert device.version == made.version + 2  # for who asks with If-None-Match
    assert await events(world) == [("device.changed", {"hostname": "core1", "changes": {"software_version": ["7.15", "7.16"]}})]
    page = await inventory.facts(database, actor, inventory.FactQuery(device_id=made.id, fact="software_version"))
    assert [(each.before, each.after, each.source, each.at) for each in page.items] == [("7.15", "7.16", "snmp", LATER), (None, "7.15", "snmp", NOW)]


async def test_two_sources_of_one_fact(add, take):
    made = await add()
    await take(made, facts=Facts(software_version="7.15"))
    assert (await take(made, source="cli", facts=Facts(software_version="7.15 (stable)"))).changes == ()  # another notation is no news
    assert (await take(made, facts=Facts(software_version="7.15"))).changes == ()
    assert told(await take(made, facts=Facts(software_version="7.16"))) == [("", "software_version", "7.15", "7.16")]
    assert told(await take(made, source="cli", facts=Facts(software_version="7.16 (stable)"))) == [("", "software_version", "7.16", "7.16 (stable)")]


async def test_a_replaced_device(world, add, take):
    made = await add()
    assert (await take(made, facts=Facts(serial="A1"))).replaced == ()
    assert (await take(made, facts=Facts(serial="B2"))).replaced == (made.id,)
    types = [kind for kind, _ in await events(world)]
    assert types == ["device.changed", "device.replaced"]
    assert (await events(world))[1][1] == {"hostname": "core1", "before": "A1", "after": "B2", "source": "snmp"}


async def test_interfaces(world, database, actor, add, take):
    made = await add()
    first = await take(made, interfaces=[port(1, alias="uplink", speed_bps=10**9, mac="AABB.CCDD.EE01"), port(2), port(9, "<pppoe-alice>", type=23)])
    assert first.changes == ()
    found = (await inventory.interfaces(database, actor, inventory.InterfaceQuery(device_id=made.id))).items
    assert [(each.name, each.mac, each.changed_at) for each in found] == [("ether1", "aa:bb:cc:dd:ee:01", NOW), ("ether2", None, NOW)]
    await inventory.update_interface(database, actor, found[0].id, inventory.InterfacePatch(monitored=False, note="mine"))
    # Renumbered at a restart; one is down, one new, one gone. What is not said stays.
    after = await take(made, LATER, interfaces=[port(11, "ether1", alias="to oslo", speed_bps=10**10, oper_up=False), port(3)])
    assert told(after) == [("ether1", "alias", "uplink", "to oslo"), ("ether3", "interface", None, "ether3"), ("ether2", "interface", "ether2", None)]
    now = {each.name: each for each in (await inventory.interfaces(database, actor, inventory.InterfaceQuery())).items}
    one = now["ether1"]
    assert (one.id, one.if_index, one.mac, one.oper_up, one.changed_at) == (found[0].id, 11, "aa:bb:cc:dd:ee:01", False, LATER)
    assert (one.monitored, one.note) == (False, "mine")
    assert (now["ether2"].gone_at, now["ether2"].oper_up) == (LATER, None)
    back = await take(made, LATER, interfaces=[port(11, "ether1"), port(2), port(3)])
    assert told(back) == [("ether2", "interface", None, "ether2")]
    rows = await world.fetch("select xmin::text from interfaces order by id")
    assert (await take(made, LATER + timedelta(hours=1), interfaces=[port(11, "ether1"), port(2), port(3)])).changes == ()
    assert await world.fetch("select xmin::text from interfaces order by id") == rows  # what is as before is not written


async def test_odd_interfaces(database, actor, add, take):
    """Nothing that a device says makes the store refuse it."""
    made = await add()
    odd = [port(1, "same"), port(2, "same"), port(3, "\0 "), port(4, "x" * 4000, alias="y" * 4000), port(5, type=2**40, mtu=-1, speed_bps=2**70, mac="junk")]
    await take(made, interfaces=odd)
    names = [each.name[:20] for each in (await inventory.interfaces(database, actor, inventory.InterfaceQuery())).items]
    assert names == ["same", "same (index 2)", "\N{REPLACEMENT CHARACTER}", "x" * 20, "ether5"]


async def test_links(database, actor, add, take):
    core, edge, far = await add(), await add("edge1", "10.0.0.2"), await add("far", "10.0.0.3")
    await take(edge, interfaces=[port(1, mac="aa:bb:cc:00:00:01")])
    heard = [
        Neighbour(local_interface="e1", protocol="lldp", remote_name="who", remote_mac="AA-BB-CC-00-00-01", remote_interface="ether1"),
        Neighbour(local_interface="e2", protocol="cdp", remote_name="FAR.example.net"),
        Neighbour(local_interface="e3", protocol="mndp", remote_address=ip_address("10.0.0.2")),
        Neighbour(local_interface="e4", protocol="lldp", remote_name="stranger", remote_address=ip_address("fe80::1%eth0")),
        Neighbour(local_interface="e5", protocol="lldp"),
    ]
    await take(core, neighbours=heard)
    page = (await inventory.links(database, actor, inventory.LinkQuery(sort="local_interface"))).items
    assert [(each.local_interface, each.remote_device) for each in page] == [("e1", "edge1"), ("e2", "far"), ("e3", "edge1"), ("e4", None)]
    await take(core, LATER, neighbours=heard[:1])
    again = (await inventory.links(database, actor, inventory.LinkQuery(sort="local_interface"))).items
    assert [(each.id, each.first_seen_at, each.last_seen_at) for each in again[:2]] == [(page[0].id, NOW, LATER), (page[1].id, NOW, NOW)]
    await devices.delete(database, actor, far.id)
    assert (await inventory.links(database, actor, inventory.LinkQuery(local_interface="e2"))).items[0].remote_device_id is None


async def test_endpoints(database, actor, add, take):
    made = await add()
    macs = [MacEntry(mac="00:11:22:33:44:55", interface="e1", vlan=7), MacEntry(mac="00:11:22:33:44:55", interface="e1", vlan=8)]
    await take(made, macs=[*macs, *macs, MacEntry(mac="ff:ff:ff:ff:ff:ff", interface="e1"), MacEntry(mac="junk", interface="e1")],
               arps=[ArpEntry(address=ip_address("10.1.0.7"), mac="00:11:22:33:44:55", interface="vlan7")])  # fmt: skip
    await take(made, LATER, macs=[msgspec.structs.replace(macs[0], interface="e2")])
    older = [msgspec.structs.replace(macs[0], interface="e0"), msgspec.structs.replace(macs[1], interface="e9")]
    await take(made, NOW, macs=older)
    found = (await inventory.endpoints(database, actor, inventory.EndpointQuery(mac="0011.2233.4455"))).items
    assert sorted((each.source, each.vlan, each.interface, each.first_seen_at, each.last_seen_at, each.moved_at) for each in found if each.vlan) == [
        ("mac", 7, "e2", NOW, LATER, LATER), ("mac", 8, "e9", NOW, NOW, NOW),
    ]  # fmt: skip
    assert [str(each.address) for each in found if each.source == "arp"] == ["10.1.0.7"]


async def test_many_at_once(database, actor, stranger, add):
    """Of another tenant's device and of one that is gone nothing is taken; of two looks at one device the later one counts."""
    one, two = await add(), await add("two", "10.0.0.2")
    seen = [
        Observation(device_id=one.id, source="snmp", at=LATER, facts=Facts(serial="B"), interfaces=[port(1), port(2)]),
        Observation(device_id=one.id, source="snmp", at=NOW, facts=Facts(serial="A"), interfaces=[port(1)]),
        Observation(device_id=two.id, source="snmp", at=NOW, facts=Facts(serial="C")),
        Observation(device_id=9999, source="snmp", at=NOW, facts=Facts(serial="D")),
    ]
    assert (await facts.take(database, stranger.tenant_id, seen)).changes == ()
    taken = await facts.take(database, actor.tenant_id, seen)
    assert told(taken) == [("", "serial", None, "A"), ("", "serial", "A", "B"), ("ether2", "interface", None, "ether2"), ("", "serial", None, "C")]
    assert taken.replaced == (one.id,)
    assert [(await devices.get(database, actor, each.id)).now("serial") for each in (one, two)] == ["B", "C"]
    assert (await facts.take(database, actor.tenant_id, [])).changes == ()
    await devices.update(database, actor, one.id, DevicePatch(serial="mine"), CATALOGUE)
    assert (await devices.get(database, actor, one.id)).serial == "mine"


async def test_one_that_makes_up_interfaces_fills_nothing(world, database, actor, add, take, monkeypatch):
    """New names with each look: their number is told, not each of them, and those that are gone are not kept for ever."""
    monkeypatch.setattr(facts, "CHURN_MOST", 20)
    monkeypatch.setattr(facts, "GONE_MOST", 30)
    made = await add()
    await take(made, interfaces=[port(number) for number in range(50)])
    for look in range(1, 4):
        after = await take(made, NOW + timedelta(minutes=look), interfaces=[port(number, f"made up {look} {number}") for number in range(50)])
        assert told(after) == [("", "interfaces", None, "50 came, 50 went, 0 other changes")]
    (counted,) = await world.fetch(
        "select count(*) filter (where gone_at is null) as here, count(*) filter (where gone_at is not null) as gone from interfaces"
    )
    assert (counted["here"], counted["gone"]) == (50, 30)
    back = await take(made, LATER, interfaces=[*(port(number, f"made up 3 {number}") for number in range(50)), port(49, "made up 2 49")])
    assert told(back) == [("made up 2 49", "interface", None, "made up 2 49")]  # it is the one that was there, not another of its name
    (counted,) = await world.fetch("select count(*) as rows from interfaces where name = 'made up 2 49' and gone_at is null")
    assert counted["rows"] == 1
    few = [  # nor by some at a time
        await take(made, LATER + timedelta(minutes=look + 1), interfaces=[port(number, f"few {look} {number}") for number in range(9)]) for look in range(4)
    ]
    assert len(told(few[-1])) == 18
    (counted,) = await world.fetch("select count(*) as gone from interfaces where gone_at is not null")
    assert counted["gone"] == 30
