"""Devices as a file: what is exported can be imported elsewhere, and is the same there."""

from typing import Any

import msgspec
import pytest

from netd.domain import credentials, devices, exports, imports, lists, sites
from netd.domain.actor import Actor
from netd.domain.devices import Catalogue, NewDevice
from netd.domain.table import Means, Order
from netd.domain.tables.devices import TABLE
from netd.sheets.converter import Converter
from tests.domain.test_devices import CATALOGUE, HOST_KEY

FULL = {
    "hostname": "=core1", "mgmt_address": "2001:db8::1", "vendor": "mikrotik", "platform": "mikrotik_routeros", "kind": "olt", "state": "maintenance",
    "model": "CCR, \"2004\"", "serial": "0012", "software_version": "7.15", "target_version": "-7.16", "site": "Oslo", "nas": "bras1", "credential": "ro",
    "role": "pe", "variables": {"asn": 64500, "name": "Øst\n=1+1", "list": [1, None]}, "tags": ["core", "a:b"], "ports": {"ssh": 2222, "snmp": 1161},
    "host_keys": [HOST_KEY], "certificates": ["ab" * 32, "12" * 32],
    "legacy_algorithms": True, "sessions": 3, "timeout_seconds": 12.5, "polling": False, "poll_groups": ["optics"],
    "note": "one\ntwo",
}  # fmt: skip


@pytest.fixture
def means(keyring, any_attribute, vendors) -> Means:
    return Means(keyring=keyring, rules=any_attribute, vendors=vendors, converter=Converter(), catalogue=CATALOGUE)


async def download(database: Any, means: Means, actor: Actor) -> bytes:
    wanted = msgspec.convert({"format": "csv"}, lists.query_type(TABLE.listing, lists.ExportQuery))
    names, rows = await exports.rows(database, actor, means, TABLE, wanted)
    return b"".join([chunk async for chunk in exports.as_csv(names, rows)])


async def test_round_trip(world, database, keyring, means, actor, stranger):
    for who, address in ((actor, "10.0.0.1"), (stranger, "10.0.0.2")):
        await sites.create_site(database, who, sites.NewSite(name="Oslo"))
        await world.nas(who, address=address)
        new = msgspec.convert({"name": "ro", "type": "snmp_community", "community": "s3cr3t"}, credentials.NewCredential)
        await credentials.create(database, who, keyring, new)
    await devices.create(database, actor, msgspec.convert(FULL, NewDevice), CATALOGUE)
    plain = {"hostname": "access7", "mgmt_address": "10.0.7.2", "vendor": "huawei", "parent": "=core1"}
    await devices.create(database, actor, msgspec.convert(plain, NewDevice), CATALOGUE)
    data = await download(database, means, actor)
    assert b"s3cr3t" not in data
    report = await imports.bring_in(database, stranger, means, TABLE, data, Order())
    assert (report.errors, report.created) == ((), 2)
    assert await download(database, means, stranger) == data
    (theirs,) = (await devices.page(database, stranger, devices.DeviceQuery(hostname="=core1"))).items
    assert {name: getattr(theirs, name) for name in ("variables", "ports", "timeout_seconds", "kind")} == {
        "variables": FULL["variables"], "ports": FULL["ports"], "timeout_seconds": 12.5, "kind": "olt",
    }  # fmt: skip
    again = await imports.bring_in(database, stranger, means, TABLE, data, Order(mode="upsert"))
    assert (again.unchanged, again.updated) == (2, 0)
    changed = await imports.bring_in(database, stranger, means, TABLE, b'hostname,tags,kind,site\naccess7,"x,y",,Oslo\n', Order(mode="update"))
    assert (changed.updated, changed.errors) == (1, ())
    (access,) = (await devices.page(database, stranger, devices.DeviceQuery(hostname="access7"))).items
    assert (access.tags, access.kind, access.site) == (("x", "y"), "other", "Oslo")


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [
        ("x,10.0.0.0/8,huawei,,,", "mgmt_address", "not an IP address"), ("x,10.0.0.9,acme,,,", "vendor", "no such vendor"),
        ("x,10.0.0.9,huawei,ssh=99999,,", "ports", ""), ("x,10.0.0.9,huawei,ssh=x,,", "ports", "is not a port"),
        ("x,10.0.0.9,huawei,,{,", "variables", "is not JSON"),
        ("x,10.0.0.9,huawei,,,gone", "parent", "there is no device gone"),
    ],
)  # fmt: skip
async def test_bad_rows(database, means, actor, row, column, words):
    data = f"hostname,mgmt_address,vendor,ports,variables,parent\n{row}\n".encode()
    report = await imports.bring_in(database, actor, means, TABLE, data, Order())
    assert [(each.line, each.column) for each in report.errors] == [(2, column)] and words in report.errors[0].detail
    assert isinstance(means.catalogue, Catalogue) and (await devices.page(database, actor, devices.DeviceQuery())).items == ()
