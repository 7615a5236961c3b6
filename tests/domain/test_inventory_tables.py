"""Credentials, groups of devices, thresholds and schedules as files: what is exported can be imported elsewhere, and is the same there."""

import csv
import io
import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import pytest
from openpyxl import load_workbook

from netd.domain import alarms, credentials, devices, exports, imports, lists, schedules, sites
from netd.domain.actor import Actor, Grant
from netd.domain.alarms import NewThreshold
from netd.domain.credentials import NewCredential
from netd.domain.devices import NewDeviceGroup
from netd.domain.schedules import NewSchedule, SchedulePatch
from netd.domain.table import Means, Order
from netd.domain.tables import TABLES
from netd.errors import OutsideScope
from netd.model.permission import BUILT_IN
from netd.sheets.converter import Converter
from tests.work.jobs import Stage, kinds

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
NUMBER = re.compile(r"-[0-9.]+")
NAMES = ("credentials", "device-groups", "thresholds", "schedules")
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA==\n-----END OPENSSH PRIVATE KEY-----\n"
SELECTOR = {"tags": ["core", "a,b"], "sites": ["Oslo"], "kinds": ["olt"], "states": ["active", "maintenance"]}
CREDENTIALS: list[dict[str, Any]] = [
    {"name": "=noc", "type": "ssh", "username": "netd ", "private_key": KEY, "passphrase": " =s3cr3t", "enable": "-s3cr3t", "port": 2222, "site": "Oslo",
     "networks": ["10.0.0.0/8", "2001:db8::/32"], "position": 7, "enabled": False, "note": "one\ntwo"},
    {"name": "v3", "type": "snmp_user", "username": "n", "auth_protocol": "sha256", "auth_key": "s3cr3t-auth", "priv_protocol": "aes128",
     "priv_key": "s3cr3t-priv", "context": "a b"},
    {"name": "ro", "type": "snmp_community", "community": "s3cr3t-public", "snmp_version": "1"},
    {"name": "web", "type": "http", "username": "api", "password": "s3cr3t-web", "tls": False, "verify": False},
]  # fmt: skip
GROUPS: list[dict[str, Any]] = [
    {"name": "+olts", "selector": SELECTOR, "note": "=1+1"}, {"name": "all", "selector": {}}, {"name": "any state", "selector": {"states": []}},
]  # fmt: skip
THRESHOLDS: list[dict[str, Any]] = [
    {"name": "dark", "metric": "rx_dbm", "raise_level": -27.25, "clear_level": -26.1, "above": False, "hold_seconds": 300, "severity": "critical",
     "selector": SELECTOR, "interfaces": "-pon*", "enabled": False, "note": "'x"},
    {"name": "busy", "metric": "cpu_percent", "raise_level": 90},
]  # fmt: skip
SCHEDULES: list[dict[str, Any]] = [
    {"name": "@nightly", "kind": "work", "args": {"device": "=core1", "targets": 2}, "cron": "30 2 * * *", "time_zone": "Europe/Oslo",
     "begins_at": "2026-01-02T03:04:05.678901+01:00", "jitter_seconds": 60, "missed": "run_once", "priority": -5, "enabled": False, "note": "=n"},
    {"name": "often", "kind": "quick", "interval_seconds": 600},
]  # fmt: skip


@pytest.fixture
def means(keyring, any_attribute, vendors) -> Means:
    return Means(keyring=keyring, rules=any_attribute, vendors=vendors, converter=Converter(), kinds=kinds(Stage()), now=lambda: NOW)


@pytest.fixture
def download(database, means):
    async def export(actor: Actor, name: str, form: str = "csv", **query: Any) -> bytes:
        table = TABLES[name]
        wanted = msgspec.convert({**query, "format": form}, lists.query_type(table.listing, lists.ExportQuery))
        names, rows = await exports.rows(database, actor, means, table, wanted)
        chunks = exports.as_csv(names, rows) if form == "csv" else await exports.as_file(means.converter, "xlsx", names, rows, title=name, made_at=NOW)
        return b"".join([chunk async for chunk in chunks])

    return export


@pytest.fixture
def upload(database, means):
    async def bring(actor: Actor, name: str, data: bytes | str, **order: Any) -> imports.ImportReport:
        data = data.encode() if isinstance(data, str) else data
        return await imports.bring_in(database, actor, means, TABLES[name], data, Order(**order), spreadsheet=data[:2] == b"PK")

    return bring


@pytest.fixture
async def full(database, actor, stranger, keyring, means):
    """Some of each, of every kind; a site of the same name at the other tenant."""
    for who in (actor, stranger):
        await sites.create_site(database, who, sites.NewSite(name="Oslo"))
    for each in CREDENTIALS:
        await credentials.create(database, actor, keyring, msgspec.convert(each, NewCredential))
    for each in GROUPS:
        await devices.create_group(database, actor, msgspec.convert(each, NewDeviceGroup))
    for each in THRESHOLDS:
        await alarms.create_threshold(database, actor, msgspec.convert(each, NewThreshold))
    for each in SCHEDULES:
        await schedules.create(database, actor, means.kinds, keyring, msgspec.convert(each, NewSchedule), NOW)


def content(data: bytes) -> list[Any]:
    if not data.startswith(b"PK"):
        return list(csv.reader(io.StringIO(data.decode(), newline="")))
    return list(load_workbook(io.BytesIO(data), read_only=True).worksheets[0].iter_rows(values_only=True))


async def kept(world: Any, actor: Actor, keyring: Any) -> list[Any]:
    """All that a tenant has of these, in plain."""
    found = []
    for statement in (
        """select c.name, type, username, settings, port, position, enabled, note, networks, encrypted_secret, (select name from sites w where w.id = site_id)
           from credentials c where tenant_id = $1 order by c.id""",
        "select name, selector, note from device_groups where tenant_id = $1 order by id",
        """select name, metric, raise_level, clear_level, above, hold_seconds, severity, selector, interfaces, enabled, note
           from thresholds where tenant_id = $1 order by id""",
        """select name, kind, args, sealed, cron, interval_seconds, time_zone, begins_at, jitter_seconds, missed, priority, enabled, note, due_at
           from job_schedules where tenant_id = $1 order by id""",
    ):
        for row in await world.fetch(statement, actor.tenant_id):
            if "encrypted_secret" in row:
                row["encrypted_secret"] = credentials.secrets_of(keyring, row["encrypted_secret"])
            found.append(row)
    return found


@pytest.mark.parametrize("form", ["csv", "xlsx"])
async def test_round_trip(full, world, actor, stranger, keyring, download, upload, form):
    """To another tenant, where all is the same then; and back, where nothing changes."""
    forms = {name: form if name in ("credentials", "schedules") else "csv" for name in NAMES}  # each spreadsheet costs a process
    files = {name: await download(actor, name, forms[name], secrets=True) for name in NAMES}
    for name in NAMES:
        report = await upload(stranger, name, files[name])
        assert (report.errors, report.created) == ((), len(content(files[name])) - 1), name
    assert await kept(world, stranger, keyring) == await kept(world, actor, keyring)
    for name in NAMES:
        assert content(await download(stranger, name, forms[name], secrets=True)) == content(files[name])
        report = await upload(stranger, name, files[name], mode="upsert")
        assert (report.imported, report.unchanged, report.error_count) == (0, len(content(files[name])) - 1, 0), name
        texts = [cell for row in content(files[name]) for cell in row if isinstance(cell, str) and not NUMBER.fullmatch(cell)]
        assert len(texts) > 8 and not [cell for cell in texts if cell[:1] in ("=", "+", "-", "@")], name


async def test_secrets_are_left_out_and_left_alone(full, world, actor, keyring, download, upload):
    before = await kept(world, actor, keyring)
    data = await download(actor, "credentials")
    assert b"s3cr3t" not in data and b"OPENSSH" not in data and not {b"password", b"community"} & set(data.splitlines()[0].split(b","))
    report = await upload(actor, "credentials", data.replace(b",100,yes", b",101,yes"), mode="update")
    assert (report.updated, report.unchanged, report.errors) == (3, 1, ())
    after = await kept(world, actor, keyring)
    assert [row["encrypted_secret"] for row in after[:4]] == [row["encrypted_secret"] for row in before[:4]]
    assert [row["position"] for row in after[:4]] == [7, 101, 101, 101]
    report = await upload(actor, "credentials", "name,community,networks\nro,s3cr3t-new,10.0.0.0/8\n", mode="update")
    assert (report.updated, report.errors) == (1, ())
    assert (await kept(world, actor, keyring))[2]["encrypted_secret"] == {"community": "s3cr3t-new"}
    assert "s3cr3t" not in await world.dump()


async def test_secrets_need_their_permission_and_are_on_record(full, world, actor, download):
    without = msgspec.structs.replace(actor, grants=(Grant(BUILT_IN["admin"] - {"secrets:reveal"}),))
    with pytest.raises(OutsideScope, match="secrets:reveal"):
        await download(without, "credentials", secrets=True)
    assert b"s3cr3t-public" in await download(actor, "credentials", secrets=True)
    rows = [(row.action, row.result) for row in await world.audited(actor) if "export" in row.action]
    assert rows == [("credential.export_secrets", "refused"), ("credential.export_secrets", "ok")]


async def test_a_schedule_with_secret_arguments_is_in_no_file(full, world, database, actor, keyring, means, download, upload):
    new = msgspec.convert({"name": "hidden", "kind": "work", "args": {"password": "s3cr3t"}, "cron": "@daily"}, NewSchedule)
    await schedules.create(database, actor, means.kinds, keyring, new, NOW)
    data = await download(actor, "schedules")
    assert b"hidden" not in data and data.count(b"\r\n") == 3
    report = await upload(actor, "schedules", "name,kind,args,cron\nhidden,work,{},@hourly\n", mode="upsert")
    assert [(each.column, each.detail) for each in report.errors] == [("args", "some are secret: change this one by itself")]


async def test_who_changes_what_a_schedule_does_is_who_it_is_done_for(full, world, database, actor, means, keyring, upload):
    other = msgspec.structs.replace(actor, name="bob", token_id=77)
    (often,) = (await schedules.page(database, actor, schedules.ScheduleQuery(name="often"))).items
    assert (await upload(other, "schedules", "name,note\noften,x\n", mode="update")).updated == 1
    assert (await schedules.get(database, actor, often.id)).created_by == "ann"
    assert (await upload(other, "schedules", "name,interval_seconds\noften,900\n", mode="update")).updated == 1
    after = await schedules.get(database, actor, often.id)
    assert (after.created_by, after.interval_seconds, after.due_at) == ("bob", 900, datetime(2026, 11, 26, 12, 15, tzinfo=UTC))
    assert (await schedules.update(database, actor, means.kinds, keyring, often.id, SchedulePatch(enabled=False), NOW)).due_at is None


class Bad(NamedTuple):
    """A row that is not taken, and where and why that is told."""

    table: str
    header: str
    row: str
    column: str
    words: str
    mode: str = "create"


BAD = [
    Bad("credentials", "name,type,username", "x,ssh,a", "password", "a password or a private key is needed"),
    Bad("credentials", "name,type,community,networks", "x,snmp_community,c,10.0.0.1/8", "networks", "10.0.0.1/8"),
    Bad("credentials", "name,type,username,auth_key,auth_protocol", "x,snmp_user,a,s3cr3t,sha", "auth_key", "has less than 8 characters"),
    Bad("credentials", "name,type", "x,radius", "type", "is not one of http, snmp_community"),
    Bad("credentials", "name,type", "ro,ssh", "type", "is snmp_community, and stays so", "update"),
    Bad("credentials", "name,site", "ro,Rome", "site", "Rome", "update"),
    Bad("credentials", "name,type,community", "ro,snmp_community,x", "name", "exists already"),
    Bad("device-groups", "name,selector", "x,kinds=olt", "selector", "is not JSON"),
    Bad("device-groups", "name,selector", 'x,"{""kind"": [""olt""]}"', "selector", "kind is not known here"),
    Bad("device-groups", "name,selector", "x,", "selector", "is empty"),
    Bad("device-groups", "name,selector", "x,[]", "selector", ""),
    Bad("thresholds", "name,selector", 'busy,"{""tags"": [1]}"', "selector", "tags/0", "update"),
    Bad("device-groups", "name,selector", "x,{}", "name", "there is no device group x", "update"),
    Bad("thresholds", "name,metric,raise_level", "x,cpu_percent,nan", "raise_level", "is not a number"),
    Bad("thresholds", "name,metric,raise_level,clear_level", "x,cpu_percent,50,60", "clear_level", "must not be above raise_level"),
    Bad("thresholds", "name,metric,raise_level", "x,wind,50", "metric", "is not one of"),
    Bad("thresholds", "name,raise_level", "busy,10", "clear_level", "must not be above", "update"),
    Bad("schedules", "name,kind,cron", "x,gone,@daily", "kind", "there is no kind gone"),
    Bad("schedules", "name,kind,args,cron", 'x,work,"{""nope"": 1}",@daily', "args", "is not known here"),
    Bad("schedules", "name,kind,args,cron", 'x,work,"{""password"": ""s3cr3t""}",@daily', "args", "password is secret, and no file has such"),
    Bad("schedules", "name,kind,args,cron", 'x,work,"{""password"": s3cr3t}",@daily', "args", "is not JSON"),
    Bad("device-groups", "name,selector", 'x,"{""tags"": [""\\ud800""]}"', "selector", "is not JSON"),
    Bad("device-groups", "name,selector", 'x,"{""tags"": [""\\u0000""]}"', "selector", "NUL"),
    Bad("thresholds", "name,selector", 'busy,"{""tags"": [""\\u0000""]}"', "selector", "NUL", "update"),
    Bad("schedules", "name,kind,cron", "x,quick,61 * * * *", "cron", ""),
    Bad("schedules", "name,kind,cron,interval_seconds", "x,quick,@daily,60", "cron", "either this or interval_seconds"),
    Bad("schedules", "name,kind", "often,work", "kind", "stays as it is", "update"),
    Bad("schedules", "name,begins_at", "often,2020-01-01", "begins_at", "stays as it is", "update"),
]


@pytest.mark.parametrize("table", NAMES)
async def test_bad_rows(full, world, actor, keyring, upload, table):
    before = await kept(world, actor, keyring)
    for each in BAD:
        if each.table == table:
            report = await upload(actor, table, f"{each.header}\n{each.row}\n", mode=each.mode)
            assert [(error.line, error.column) for error in report.errors] == [(2, each.column)], each
            assert each.words in report.errors[0].detail and "s3cr3t" not in report.errors[0].detail, (each, report.errors[0].detail)
    assert await kept(world, actor, keyring) == before


async def test_an_empty_cell_takes_away_what_may_be_missing(full, world, actor, keyring, upload):
    assert (await upload(actor, "thresholds", "name,clear_level,interfaces,note\ndark,,,\n", mode="update")).updated == 1
    assert (await upload(actor, "device-groups", "name,note\n'+olts,\n", mode="update")).updated == 1
    dark = next(row for row in await kept(world, actor, keyring) if row["name"] == "dark")
    assert (dark["clear_level"], dark["interfaces"], dark["note"], dark["hold_seconds"]) == (-27.25, None, None, 300)
