"""Devices and groups of them."""

import msgspec
import pytest

from netd.domain import devices
from netd.domain.devices import Catalogue, DeviceGroupPatch, DevicePatch, NewDevice, NewDeviceGroup
from netd.errors import Conflict, InvalidInput, NotFound, OutsideScope
from netd.extensions import DevicePlatform
from netd.model.inventory import Device, Selector
from netd.sdk.device import Platform
from netd.store import devices as device_store
from netd.store.database import TENANT_ROLE, Database

ROUTEROS = DevicePlatform(platform=Platform(name="mikrotik_routeros", title="RouterOS", kind="router", driver="", data=""), vendor="mikrotik", driver=object())
CATALOGUE = Catalogue(frozenset({"mikrotik", "huawei"}), {"mikrotik_routeros": ROUTEROS})
HOST_KEY = "ssh-ed25519 " + "A" * 68


@pytest.fixture
def add(database, actor):
    async def made(hostname: str = "core1", mgmt_address: str = "10.0.0.1", vendor: str = "mikrotik", **members: object) -> Device:
        wanted = {"hostname": hostname, "mgmt_address": mgmt_address, "vendor": vendor, **members}
        return await devices.create(database, actor, msgspec.convert(wanted, NewDevice), CATALOGUE)

    return made


async def test_create(world, actor, add):
    box = await world.nas(actor)
    made = await add(
        platform="mikrotik_routeros", tags=["core", "core", "oslo"], ports={"ssh": 2222}, variables={"asn": 64500}, nas="BRAS1", host_keys=[HOST_KEY]
    )
    assert (made.kind, made.state, made.polling, made.driver_platform, made.observed) == ("router", "active", True, "mikrotik_routeros", {})
    assert (made.tags, made.ports, made.variables, made.nas_id, made.nas) == (("core", "oslo"), {"ssh": 2222}, {"asn": 64500}, box.id, "bras1")
    below = await add("access1", "10.0.0.2", parent="CORE1", kind="switch")
    assert (below.parent_id, below.parent, below.kind) == (made.id, "core1", "switch")
    told = (await world.audited(actor))[-1]
    assert (told.action, told.after["hostname"], told.after["mgmt_address"]) == ("device.create", "access1", "10.0.0.2")
    (event,) = await world.fetch("select type, object_id from events where object_id = $1 and type like 'device.%'", str(below.id))
    assert event["type"] == "device.created"


async def test_all_faults_at_once(add):
    with pytest.raises(InvalidInput) as caught:
        await add(
            mgmt_address="10.0.0.0/8", vendor="acme", platform="acme_os", parent="gone", nas="gone", credential="gone", site="gone", host_keys=["ssh-rsa x"]
        )
    assert {fault.where for fault in caught.value.faults} == {
        "/mgmt_address", "/vendor", "/platform", "/parent", "/nas", "/credential", "/site", "/host_keys/0",
    }  # fmt: skip


async def test_update(world, database, actor, add):
    made = await add()
    patch = DevicePatch(state="maintenance", serial="S1", variables={"psk": "s3cr3t", "asn": 1})
    after = await devices.update(database, actor, made.id, patch, CATALOGUE, version=1)
    assert (after.state, after.serial, after.version) == ("maintenance", "S1", 2)
    told = (await world.audited(actor))[-1]
    assert told.before == {"state": "active", "serial": None, "variables": {}}
    assert told.after["variables"] == {"psk": "***", "asn": 1}
    with pytest.raises(Conflict) as caught:
        await devices.update(database, actor, made.id, DevicePatch(note="x"), CATALOGUE, version=1)
    assert caught.value.field == "version"
    await add("other", "10.0.0.2")
    with pytest.raises(Conflict) as caught:
        await devices.update(database, actor, made.id, DevicePatch(hostname="OTHER"), CATALOGUE)
    assert caught.value.field == "hostname"


async def test_nothing_is_reached_through_itself(database, actor, add):
    a = await add("a")
    await add("b", "10.0.0.2", parent="a")
    c = await add("c", "10.0.0.3", parent="b")
    for wrong in ("a", "b", "c"):
        with pytest.raises(InvalidInput):
            await devices.update(database, actor, a.id, DevicePatch(parent=wrong), CATALOGUE)
    await devices.update(database, actor, c.id, DevicePatch(parent="a"), CATALOGUE)
    await devices.delete(database, actor, a.id)
    assert (await devices.get(database, actor, c.id)).parent_id is None


async def test_lists(database, actor, add):
    for number in range(5):
        await add(f"r{number}", f"10.0.0.{10 - number}", tags=["odd" if number % 2 else "even"], model="CCR", state="active" if number else "planned")
    async with database.acquire() as conn:
        seen = {"model": {"value": "RB5009", "source": "snmp", "at": "2026-11-26T00:00:00Z"}}
        await conn.execute("update devices set observed = $1 where hostname = 'r3'", seen)

    async def names(**query: object) -> list[str]:
        return [each.hostname for each in (await devices.page(database, actor, devices.DeviceQuery(**query))).items]

    assert await names(tag="odd") == ["r1", "r3"]
    assert await names(tag__ne="odd") == await names(tag__in="even,x") == ["r0", "r2", "r4"]
    assert await names(model="RB5009") == ["r3"]
    assert await names(model="CCR", state="active") == ["r1", "r2", "r4"]
    assert await names(mgmt_address="10.0.0.8") == ["r2"]
    assert await names(q="R4") == ["r4"]
    pages, after = [], None
    while True:
        page = await devices.page(database, actor, devices.DeviceQuery(sort="mgmt_address", limit=2, after=after))
        pages += [each.hostname for each in page.items]
        after = page.next
        if after is None:
            break
    assert pages == ["r4", "r3", "r2", "r1", "r0"]
    with pytest.raises(InvalidInput):
        await names(mgmt_address="10.0.0.0/8")


async def test_groups(database, actor, add):
    for number in range(3):
        await add(f"r{number}", f"10.0.0.{number + 1}", tags=["core", *(["north"] if number else [])], state="retired" if number == 2 else "active")
    group = await devices.create_group(database, actor, NewDeviceGroup(name="North", selector=Selector(tags=("core", "north"))))
    assert group.devices == 1
    assert [name for _, name in await devices.select(database, actor, Selector(), "north")] == ["r1"]
    wider = await devices.update_group(database, actor, group.id, DeviceGroupPatch(selector=Selector(tags=("north",), states=("active", "retired"))))
    assert wider.devices == 2
    assert [name for _, name in await devices.select(database, actor, Selector(hostnames=("R0", "r1"), vendors=("mikrotik",)))] == ["r0", "r1"]
    assert await devices.select(database, actor, Selector(platforms=("mikrotik_routeros",))) == []
    with pytest.raises(NotFound):
        await devices.select(database, actor, Selector(), "gone")
    await devices.delete_group(database, actor, group.id, version=2)


async def test_a_part_of_a_tenant(database, actor, add):
    """Who may act at one site makes and selects devices there only, and no groups, which are the whole tenant's."""
    async with database.acquire() as conn:
        oslo, rome = [
            await conn.fetchval("insert into sites (tenant_id, name) values ($1, $2) returning id", actor.tenant_id, name) for name in ("oslo", "rome")
        ]
    await add("elsewhere", site="rome")
    local = msgspec.structs.replace(actor, sites=frozenset({oslo}))
    confined = await Database.open(database.target, size=2, role=TENANT_ROLE)
    try:
        new = msgspec.convert({"hostname": "here", "mgmt_address": "10.0.0.9", "vendor": "mikrotik"}, NewDevice)
        made = await devices.create(confined, local, new, CATALOGUE)
        assert made.site_id == oslo
        assert await devices.select(confined, local, Selector()) == [(made.id, "here")]
        for refused in (DevicePatch(parent="elsewhere"), DevicePatch(site="rome"), DevicePatch(site=None)):
            with pytest.raises(InvalidInput):
                await devices.update(confined, local, made.id, refused, CATALOGUE)
        with pytest.raises(OutsideScope):
            await devices.create_group(confined, local, NewDeviceGroup(name="g", selector=Selector()))
    finally:
        await confined.close()
    assert rome != oslo


async def test_who_is_polled(database, actor, stranger, add):
    one = await add(platform="mikrotik_routeros", poll_groups=["optics"])
    await add("quiet", "10.0.0.2", polling=False)
    await add("spare", "10.0.0.3", state="planned")
    two = await devices.create(database, stranger, NewDevice(hostname="core1", mgmt_address="10.0.0.1", vendor="huawei"), CATALOGUE)
    async with database.acquire() as conn:
        found = await device_store.polled(conn, 0, 100)
        assert [each.id for each in await device_store.polled(conn, 0, 1)] == [one.id]
        assert [each.id for each in await device_store.polled(conn, one.id, 100)] == [two.id]
    assert [(each.id, each.tenant_id, each.platform, each.poll_groups) for each in found] == [
        (one.id, actor.tenant_id, "mikrotik_routeros", ("optics",)), (two.id, stranger.tenant_id, None, ()),
    ]  # fmt: skip


async def test_the_first_host_key_is_pinned(world, database, actor, stranger, add):
    made = await add()
    assert not await devices.pin(database, stranger.tenant_id, made.id, HOST_KEY)
    assert await devices.pin(database, actor.tenant_id, made.id, HOST_KEY)
    assert not await devices.pin(database, actor.tenant_id, made.id, "ssh-ed25519 other")
    assert (await devices.get(database, actor, made.id)).host_keys == (HOST_KEY,)
    told = (await world.audited(actor))[-1]
    assert (told.actor, told.action, told.after) == ("netd", "device.pin_host_key", {"host_keys": [HOST_KEY]})
    await devices.update(database, actor, made.id, DevicePatch(host_keys=()), CATALOGUE)
    assert await devices.pin(database, actor.tenant_id, made.id, "ssh-ed25519 other")


async def test_another_tenants(database, actor, stranger, add):
    made = await add()
    for attempt in (devices.get(database, stranger, made.id), devices.delete(database, stranger, made.id),
                    devices.update(database, stranger, made.id, DevicePatch(note="x"), CATALOGUE)):  # fmt: skip
        with pytest.raises(NotFound):
            await attempt
    assert await devices.select(database, stranger, Selector()) == []
