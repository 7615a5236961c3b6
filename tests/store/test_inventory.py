"""Devices, credentials and what was observed, on a real database: nothing of another tenant, and nothing of what may not be set."""

from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec
import pytest

from netd.model.inventory import Selector
from netd.store import candidates, credentials, devices, inventory, listing, observed
from netd.store.listing import Selection
from netd.store.observed import Changed, Heard, Port, Seen, Told

NOW = datetime(2026, 11, 26, tzinfo=UTC)
TABLES = ("credentials", "devices", "device_credentials", "device_groups", "interfaces", "links", "endpoints", "device_facts", "discovery_candidates")


@pytest.fixture
async def other(connection):
    return await connection.fetchval("insert into tenants (name) values ('other') returning id")


@pytest.fixture
async def mine(connection):
    """One row of everything in the default tenant: ids by kind."""
    tenant = await connection.fetchval("select id from tenants where name = 'default'")
    key = await credentials.insert(connection, tenant, {"name": "k", "type": "ssh", "encrypted_secret": b"sealed"})
    device = await devices.insert(connection, tenant, {"hostname": "core1", "mgmt_address": "10.0.0.1", "vendor": "generic"})
    group = await devices.insert_group(connection, tenant, {"name": "g", "selector": {}})
    await credentials.worked(connection, tenant, [(device, "ssh", key.id, NOW)])
    await devices.bulk_sizes(connection, tenant, {device: 10})
    await observed.put_ports(connection, tenant, [Port(device_id=device, name="e1", if_index=1)])
    interface = await connection.fetchval("select id from interfaces")
    heard = Heard(device_id=device, identity="aa", local_interface="e1", protocol="lldp", remote_name="x", remote_interface=None, remote_address=None,
                  remote_mac=None, remote_description=None, at=NOW)  # fmt: skip
    await observed.put_links(connection, tenant, [heard])
    await observed.put_endpoints(connection, tenant, [Seen(device_id=device, source="mac", mac="m", vlan=None, address=None, interface="e1", at=NOW)])
    await observed.add_changes(connection, tenant, [Changed(device_id=device, at=NOW, subject="", fact="f", before=None, after="x", source="snmp")])
    await candidates.keep(connection, tenant, None, [found("10.0.0.9")])
    candidate = await connection.fetchval("select id from discovery_candidates")
    return {"candidate": candidate, "tenant": tenant, "credential": key.id, "device": device, "group": group, "interface": interface}


def found(address: str, **members: object) -> candidates.Found:
    values = dict.fromkeys(candidates.Found.__struct_fields__) | {"address": address, "also_at": (), "answers": ("ping",), "at": NOW}
    return candidates.Found(**(values | members))  # type: ignore[arg-type]


async def everything(connection):
    return {table: [str(dict(row)) for row in await connection.fetch(f"select * from {table} order by 1, 2")] for table in TABLES}


LISTINGS = (
    credentials.LISTING,
    devices.LISTING,
    devices.GROUPS,
    inventory.INTERFACES,
    inventory.LINKS,
    inventory.ENDPOINTS,
    inventory.FACTS,
    candidates.LISTING,
)


async def test_nothing_is_seen(connection, mine, other):
    seen: list[object] = [
        await credentials.get(connection, other, mine["credential"]), await credentials.id_by_name(connection, other, "k"),
        await credentials.every(connection, other), await credentials.working(connection, other, [mine["device"]]),
        await devices.get(connection, other, mine["device"]), await devices.by_ids(connection, other, [mine["device"]]),
        await devices.id_by_hostname(connection, other, "core1"), await devices.above(connection, other, mine["device"]),
        await devices.known_bulk_sizes(connection, other, [mine["device"]]), await devices.selected(connection, other, Selector()),
        await devices.count_selected(connection, other, Selector()), await devices.group(connection, other, mine["group"]),
        await devices.group_selector(connection, other, "g"), await devices.group_id(connection, other, "g"),
        await credentials.secrets(connection, other, [mine["credential"]]), await inventory.interface(connection, other, mine["interface"]),
        await candidates.get(connection, other, mine["candidate"]), await observed.known(connection, other, [mine["device"]]),
        (await observed.ports(connection, other, {mine["device"]: {"e1"}}))[mine["device"]],
    ]  # fmt: skip
    for each in LISTINGS:
        seen += [await listing.page(connection, each, other, Selection()), await listing.count(connection, each, other, Selection())]
        assert await listing.count(connection, each, mine["tenant"], Selection()) == 1
    assert not any(seen), seen


async def test_nothing_is_changed(connection, mine, other):
    before = await everything(connection)
    await credentials.update(connection, other, mine["credential"], {"note": "x"})
    await credentials.forget_working(connection, other, mine["credential"])
    await credentials.worked(connection, other, [(mine["device"], "snmp", mine["credential"], NOW)])
    await credentials.delete(connection, other, mine["credential"])
    await devices.update(connection, other, mine["device"], {"note": "x"})
    await devices.forget_working(connection, other, mine["device"])
    await devices.bulk_sizes(connection, other, {mine["device"]: 99})
    assert not await devices.pin(connection, other, mine["device"], "ssh-rsa X")
    assert not await devices.pin_certificate(connection, other, mine["device"], "ab" * 32)
    await devices.delete(connection, other, mine["device"])
    await devices.update_group(connection, other, mine["group"], {"note": "x"})
    await devices.delete_group(connection, other, mine["group"])
    await inventory.update_interface(connection, other, mine["interface"], {"note": "x"})
    await candidates.update(connection, other, mine["candidate"], {"state": "ignored"})
    await candidates.delete(connection, other, mine["candidate"])
    await observed.tell(connection, other, [Told(id=mine["device"], facts_at=NOW)])
    for hang in (
        observed.put_ports(connection, other, [Port(device_id=mine["device"], name="e2", if_index=2)]),
        observed.add_changes(connection, other, [Changed(device_id=mine["device"], at=NOW, subject="", fact="f", before=None, after=None, source="s")]),
    ):
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await hang
    await observed.add_events(connection, other, [(mine["device"], "device.changed", {})])
    assert await connection.fetchval("select count(*) from events") == 0
    assert await everything(connection) == before


async def test_anothers_device_is_no_candidates(connection, mine, other):
    """A candidate at the address of another tenant's device, with its credential, is new and has none."""
    assert await candidates.keep(connection, other, None, [found("10.0.0.1", credential_id=mine["credential"])]) == {"new": 1, "accepted": 0, "ignored": 0}
    record = await connection.fetchrow("select device_id, credential_id from discovery_candidates where tenant_id = $1", other)
    assert tuple(record) == (None, None)
    assert (await candidates.keep(connection, mine["tenant"], None, [found("10.0.0.1")]))["accepted"] == 1


async def test_what_is_an_operators_is_set_by_nobody_else(connection, mine):
    with pytest.raises(ValueError, match="no such column"):
        await devices.update(connection, mine["tenant"], mine["device"], {"observed": {}})
    with pytest.raises(ValueError, match="no such column"):
        await inventory.update_interface(connection, mine["tenant"], mine["interface"], {"alias": "x"})


async def test_the_first_host_key_is_pinned_once(connection, mine):
    assert await devices.pin(connection, mine["tenant"], mine["device"], "ssh-ed25519 A")
    assert not await devices.pin(connection, mine["tenant"], mine["device"], "ssh-ed25519 B")
    device = await devices.get(connection, mine["tenant"], mine["device"])
    assert device is not None and device.host_keys == ("ssh-ed25519 A",)
    assert await devices.pin_certificate(connection, mine["tenant"], mine["device"], "ab" * 32)
    assert not await devices.pin_certificate(connection, mine["tenant"], mine["device"], "cd" * 32)
    device = await devices.get(connection, mine["tenant"], mine["device"])
    assert device is not None and device.certificates == ("ab" * 32,)


async def test_retention(connection, mine):
    await connection.execute("update interfaces set gone_at = $1", NOW)
    day = timedelta(days=1)
    assert await observed.retire(connection, seen_before=NOW - day, facts_before=NOW - day) == 0
    assert await observed.retire(connection, seen_before=NOW + day, facts_before=NOW, batch_rows=1) == 2
    assert await observed.retire(connection, seen_before=NOW, facts_before=NOW + day, batch_rows=1) == 2


async def test_a_page_of_many_devices_is_read_by_its_index(connection, mine):
    await connection.execute(
        """insert into devices (tenant_id, hostname, mgmt_address, vendor, tags)
           select $1, 'r' || n, '10.0.0.0'::inet + n, 'generic', case when n % 500 = 0 then '{few}'::text[] else '{}' end from generate_series(1, 3000) n""",
        mine["tenant"],
    )
    await connection.execute("analyze devices")
    page = await listing.page(connection, devices.LISTING, mine["tenant"], Selection(sort=(listing.Sort("hostname"),), limit=10))
    assert [each["hostname"] for each in page][:3] == ["core1", "r1", "r10"]
    plan = await connection.fetchval(f"explain (format json) {devices.LISTING.select} where d.tenant_id = 1 order by lower(d.hostname), d.id limit 10")
    assert "devices_hostname" in msgspec.json.encode(plan).decode()
