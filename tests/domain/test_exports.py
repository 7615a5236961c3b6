"""What is exported can be imported elsewhere, and is the same there."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from openpyxl import load_workbook

from netd.domain import exports, imports, lists, nas, plans, pools, sites, subscribers
from netd.domain.actor import Actor, Grant, system
from netd.domain.paging import PageQuery
from netd.domain.table import Means, Order
from netd.domain.tables import TABLES
from netd.errors import InvalidInput, OutsideScope
from netd.model.permission import BUILT_IN
from netd.sheets.converter import Converter
from netd.store.database import TENANT_ROLE, Database

NOW = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
ORDER = ("plans", "nas", "pools", "subscribers")
GOLD = '+Gold, 100; "fast"'
REPLIES = [{"attribute": "Filter-Id", "op": ":=", "value": "=cmd|' /C calc'!A0"}, {"attribute": "Reply-Message", "op": "+=", "value": ' with, "quotes"; '}]
FULL_PLAN = {
    "name": GOLD, "burst_down_bps": 200_000_000, "burst_up_bps": 40_000_000, "burst_threshold_down_bps": 90_000_000, "burst_seconds": 10,
    "priority": 3, "session_timeout_seconds": 86_400, "idle_timeout_seconds": 600, "interim_seconds": 60, "max_sessions": 2, "ipv4_pool": "cgn",
    "ipv6_pool": "v6", "delegated_ipv6_pool": "pd", "dns": ["192.0.2.53", "2001:db8::53"], "profile": "@prof", "access_hours": "Mo-Fr 08:00-17:00",
    "time_zone": "Europe/Oslo", "vlan": "100", "contention_ratio": 20, "raw": True, "replies": REPLIES,
}  # fmt: skip
FULL_NAS = {
    "name": "-bras 2", "address": "2001:db8:1::/64", "secret": "'=secret", "coa_address": "2001:db8::9", "coa_port": 1700,
    "require_message_authenticator": "auto", "limit_proxy_state": "no", "enabled": False, "vrf": "internet", "description": "one\ttwo\r\nthree\n= four",
    "line_login": ["mac", "circuit_id"], "line_login_passwords": ["fixed", "same"], "line_login_password": " fixed", "site": "Oslo",
}  # fmt: skip
FULL_POOL = {
    "name": "=pd", "kind": "delegated", "prefix_length": 60, "ranges": ["2001:db8:a000::/40"], "exclusions": ["2001:db8:a000::/56"], "vrf": "internet",
    "gateway": "2001:db8:a000::1", "grace_seconds": 60, "description": "'quoted",
}  # fmt: skip
FULL = {
    "username": "=Alice", "password": "-wonder'land ", "state": "pending", "max_sessions": 3, "ipv4": "192.0.2.7", "ipv6_prefix": "2001:db8:b::/64",
    "delegated_ipv6_prefix": "2001:db8:c::/56", "expires_at": "2027-06-01T10:00:00.123456+02:00", "full_name": "Åse \"Alice\" Ødegård, jr.",
    "note": "\n=1+1\r\n_x000D_ \uffff \U0001f600 '", "site": "Oslo",
    "checks": [{"attribute": "NAS-Port-Id", "op": "=~", "value": "^a b$"}, {"attribute": "Class", "op": "=*"}],
    "replies": REPLIES, "access_hours": "Sa 22:00-06:00", "time_zone": "UTC", "vlan": "data", "line_mode": "enforce", "line_learn": True,
    "lines": [{"nas": "-bras 2", "circuit_id": "eth 1/1/1; \"x\"=y\\", "mac": "00:11:22:33:44:55"}, {"nas_port_id": "=1"}],
    "mac_addresses": ["00:11:22:33:44:66", "00:11:22:33:44:55"], "circuit_ids": ["a,b;c", "=d"],
}  # fmt: skip


@pytest.fixture
def means(keyring, vendors, any_attribute) -> Means:
    return Means(keyring=keyring, rules=any_attribute, vendors=vendors, converter=Converter())


@pytest.fixture
def download(database, means):
    async def export(actor: Actor, table: str, form: str = "csv", **query: Any) -> bytes:
        kind = TABLES[table]
        wanted = msgspec.convert({**query, "format": form}, lists.query_type(kind.listing, lists.ExportQuery))
        names, rows = await exports.rows(database, actor, means, kind, wanted)
        if form == "csv":
            chunks = exports.as_csv(names, rows)
        else:
            chunks = await exports.as_file(means.converter, "xlsx", names, rows, title=table, made_at=NOW)
        return b"".join([chunk async for chunk in chunks])

    return export


@pytest.fixture
def upload(database, means):
    async def bring(actor: Actor, table: str, data: bytes, **order: Any) -> imports.ImportReport:
        return await imports.bring_in(database, actor, means, TABLES[table], data, Order(**order))

    return bring


@pytest.fixture
async def full(world, database, actor, stranger, keyring):
    """One of each with every member that there is, and one with as few as may be; a site of the same name at the other tenant."""
    for who in (actor, stranger):
        await sites.create_site(database, who, sites.NewSite(name="Oslo"))
    await world.plan(actor, **FULL_PLAN)
    await world.plan(actor)
    await world.nas(actor, **FULL_NAS)
    await world.nas(actor)
    await pools.create(database, actor, msgspec.convert(FULL_POOL, pools.NewPool))
    await pools.create(database, actor, msgspec.convert({"name": "cgn", "kind": "ipv4", "ranges": ["100.64.0.0/24", "100.65.0.9"]}, pools.NewPool))
    for rule in ({"pool": "=pd", "plan": GOLD, "nas": "-bras 2", "site": "oslo", "vrf": "a b"}, {"pool": "cgn"}, {"pool": "cgn", "nas": "bras1"}):
        await pools.create_rule(database, actor, msgspec.convert(rule, pools.NewPoolRule))
    await world.subscriber(actor, plan=GOLD, **FULL)
    await world.subscriber(actor, "bob", password=None)
    await world.subscriber(actor, "'+carol", password=None, password_hash="{md5}" + "0" * 32, note="#N/A")
    await world.fetch("update subscriber_lines set learned_at = '2027-01-01T00:00:00.5Z' where nas_port_id is not null")


async def members_of(database, actor, kind: str, key: str) -> Any:
    """All that can be set of one, as the API shows it."""
    found: Any
    match kind:
        case "subscribers":
            found = await subscribers.by_username(database, actor, key)
        case "plans":
            found = await plans.by_name(database, actor, key)
        case "nas":
            found = await nas.by_name(database, actor, key)
        case _:
            found = (await pools.page(database, actor, PageQuery(), name=key)).items[0]
    shown = msgspec.to_builtins(found, enc_hook=str)
    return {column.name: shown[column.name] for column in TABLES[kind].columns if column.name in shown}


@pytest.mark.parametrize("form", ["csv", "xlsx"])
async def test_round_trip(full, database, actor, stranger, download, upload, world, form):
    """Everything, with secrets, to another tenant (whose NAS need other addresses, for these are one space): the same files come out there."""
    forms = {table: "xlsx" if (table, form) == ("subscribers", "xlsx") else "csv" for table in ORDER}  # each spreadsheet costs a process
    files = {table: await download(actor, table, forms[table], secrets=True) for table in ORDER}
    keys = {"subscribers": "=alice", "plans": GOLD, "pools": "=pd"}
    before = {kind: await members_of(database, actor, kind, key) for kind, key in keys.items()}
    await world.fetch("update nas set nasname = case family(nasname) when 4 then '10.0.9.9/32'::cidr else '2001:db8:99::/64'::cidr end")
    for table in ORDER:
        report = await upload(stranger, table, files[table], allow_no_password=True)
        assert (report.errors, report.created, report.rows) == ((), report.rows, 3 if table == "subscribers" else 2), table
    again = {table: await download(stranger, table, forms[table], secrets=True) for table in ORDER}
    assert {table: content(data) for table, data in again.items()} == {table: content(data) for table, data in files.items()}
    for kind, kept in before.items():
        assert await members_of(database, stranger, kind, keys[kind]) == kept, kind
    unchanged = [await upload(stranger, table, again[table], mode="upsert") for table in ORDER]
    assert [(report.imported, report.unchanged, report.error_count) for report in unchanged] == [(0, 2, 0), (0, 2, 0), (0, 2, 0), (0, 3, 0)]


def content(data: bytes) -> Sequence[Any]:
    """The cells of a file."""
    if not data.startswith(b"PK"):
        return data.splitlines()
    return [row for row in load_workbook(io.BytesIO(data), read_only=True).worksheets[0].iter_rows(values_only=True)]


@pytest.mark.parametrize("form", ["csv", "xlsx"])
async def test_no_cell_is_a_formula(full, actor, download, form):
    for table in ORDER if form == "csv" else ("subscribers",):
        data = await download(actor, table, form, secrets=True)
        if form == "xlsx":
            sheet = load_workbook(io.BytesIO(data)).worksheets[0]
            texts = [cell.value for row in sheet.iter_rows() for cell in row if isinstance(cell.value, str)]
            assert {cell.data_type for row in sheet.iter_rows() for cell in row} <= {"s", "inlineStr", "n"}
        else:
            texts = [cell for row in csv.reader(io.StringIO(data.decode(), newline="")) for cell in row]
        assert len(texts) > 20
        assert [text for text in texts if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n")] == []


async def test_secrets_are_left_out_and_left_alone(full, actor, download, upload, world, keyring):
    before = await world.fetch("select id, password from subscribers order by id") + await world.fetch(
        "select id, secret, line_login_password from nas order by id"
    )
    for table in ("subscribers", "nas"):
        data = await download(actor, table)
        assert not {b"password", b"secret", b"password_hash", b"line_login_password"} & set(data.splitlines()[0].split(b","))
        assert b"wonder" not in data and b"testing123" not in data
        report = await upload(actor, table, data.replace(b"bras1,10.0.0.1", b"bras1,10.0.0.2").replace(b"pending", b"active"), mode="update")
        assert (report.updated, report.error_count) == (1, 0)
    after = await world.fetch("select id, password from subscribers order by id") + await world.fetch(
        "select id, secret, line_login_password from nas order by id"
    )
    assert after == before
    assert not [row for row in await world.audited(actor) if "export" in row.action]


async def test_secrets_need_their_permission_and_are_on_record(full, actor, download, world):
    without = msgspec.structs.replace(actor, grants=(Grant(BUILT_IN["admin"] - {"secrets:reveal"}),))
    with pytest.raises(OutsideScope, match="secrets:reveal"):
        await download(without, "subscribers", secrets=True)
    assert b"wonder" in await download(actor, "subscribers", secrets=True, username__begins="=")
    rows = [row for row in await world.audited(actor) if row.action == "subscriber.export_secrets"]
    assert [(row.result, row.object_id, row.after) for row in rows] == [
        ("refused", "subscribers", None), ("ok", "subscribers", {"format": "csv", "username__begins": "="}),
    ]  # fmt: skip
    assert "wonder" not in await world.dump()


async def test_filters_and_order_are_the_lists(full, actor, download):
    def usernames(data: bytes) -> list[bytes]:
        return [line.split(b",")[0] for line in data.split(b"\r\n") if line.split(b",")[0] in (b"bob", b"'=Alice", b"''+carol")]

    assert usernames(await download(actor, "subscribers", sort="-username")) == [b"bob", b"'=Alice", b"''+carol"]
    assert usernames(await download(actor, "subscribers", state="pending")) == [b"'=Alice"]
    assert (await download(actor, "plans", q="home")).count(b"Home 100") == 1
    assert (await download(actor, "pools", kind="ipv4")).count(b"ipv4") == 1
    with pytest.raises(InvalidInput, match="cannot sort"):
        await download(actor, "plans", sort="replies")


async def test_exports_of_many_parts(world, actor, download, upload, monkeypatch):
    monkeypatch.setattr(lists, "PART_ROWS", 7)
    await world.plan(actor)
    rows = "".join(f"u{number:03},p,Home 100\n" for number in range(50))
    assert (await upload(actor, "subscribers", f"username,password,plan\n{rows}".encode())).created == 50
    for sort in (None, "-username", "state,-username"):
        names = [line.split(b",")[0] for line in (await download(actor, "subscribers", sort=sort)).split(b"\r\n")[1:-1]]
        assert names == sorted(names, reverse=sort is not None)
        assert len(set(names)) == 50


async def test_another_tenants_rows_and_other_sites_are_not_in_it(full, database, actor, stranger, download):
    for table in ORDER:
        assert (await download(stranger, table)).count(b"\r\n") == 1, table
    rome = await sites.create_site(database, actor, sites.NewSite(name="Rome"))
    confined = msgspec.structs.replace(system(actor.tenant_id), sites=frozenset({rome.id}))
    scoped = await Database.open(database.target, size=2, role=TENANT_ROLE)
    try:
        means = Means(keyring=None, rules=None, vendors=(), converter=Converter())  # type: ignore[arg-type]
        for table in ("subscribers", "nas"):
            kind = TABLES[table]
            _, rows = await exports.rows(scoped, confined, means, kind, lists.query_type(kind.listing, lists.ExportQuery)())
            assert [part async for part in rows] == [], table
    finally:
        await scoped.close()
