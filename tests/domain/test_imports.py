"""Importing tables: what goes in, what is told of the rest, and that nothing goes in by halves."""

import asyncio
import time

import pytest

from netd.domain import imports, subscribers
from netd.domain.subscribers import PASSWORD_CONTEXT
from netd.domain.table import Means, Order
from netd.domain.tables import TABLES
from netd.errors import Conflict, InvalidInput
from netd.sheets.converter import Converter
from netd.store import provision as store

GOOD = b"username,password,plan,ipv4\nalice,one,Home 100,192.0.2.1\nbob,two,home 100,\n"
BAD = GOOD + b"carol,three,nosuch,192.0.2.3\nALICE,four,Home 100,192.0.2.4\n,five,Home 100,192.0.2.300\ndave,six,Home 100,192.0.2.6\n"


@pytest.fixture
def bring(database, actor, keyring, vendors, any_attribute):
    async def bring_in(source, table="subscribers", who=None, **order):
        means = Means(keyring=keyring, rules=any_attribute, vendors=vendors, converter=Converter())
        return await imports.bring_in(database, who or actor, means, TABLES[table], source, Order(**order))

    return bring_in


def told(report):
    return [(error.line, error.column) for error in report.errors]


async def names(world):
    return [row["username"] for row in await world.fetch("select username from subscribers order by id")]


async def test_import(world, bring, database, keyring, actor):
    await world.plan(actor)
    report = await bring(GOOD)
    assert (report.rows, report.good, report.imported, report.skipped, report.errors, report.dry_run) == (2, 2, 2, 0, (), False)
    rows = await world.fetch("select username, username_key, password, host(ipv4) as ipv4, state from subscribers order by id")
    assert [(row["username"], row["ipv4"], row["state"], keyring.open(row["password"], PASSWORD_CONTEXT)) for row in rows] == [
        ("alice", "192.0.2.1", "active", b"one"),
        ("bob", None, "active", b"two"),
    ]
    assert (await subscribers.by_username(database, actor, "ALICE")).plan == "Home 100"
    row = (await world.audited(actor))[-1]
    assert (row.action, row.after["created"], len(row.after["sha256"])) == ("subscriber.import", 2, 64)
    assert await world.fetch("select count(*) as n from changes where entity = 'subscriber'") == [{"n": 2}]


async def test_one_bad_row_keeps_all_out(world, bring, database, keyring, actor):
    await world.plan(actor)
    report = await bring(BAD)
    assert (report.rows, report.good, report.imported, report.skipped, report.error_count) == (6, 3, 0, 0, 4)
    assert told(report) == [(4, "plan"), (5, "username"), (6, "username"), (6, "ipv4")]
    assert await names(world) == []
    assert [row.action for row in await world.audited(actor)] == ["plan.create"]


async def test_skip_bad(world, bring, database, keyring, actor):
    await world.plan(actor)
    report = await bring(BAD, skip_bad=True)
    assert (report.rows, report.good, report.imported, report.skipped) == (6, 3, 3, 3)
    assert await names(world) == ["alice", "bob", "dave"]


async def test_dry_run_finds_the_same(world, bring, database, keyring, actor):
    await world.plan(actor)
    await world.subscriber(actor, "bob")
    dry = await bring(BAD, dry_run=True, skip_bad=True)
    assert (dry.imported, dry.good, dry.dry_run) == (0, 2, True)
    assert await names(world) == ["bob"]
    wet = await bring(BAD, skip_bad=True)
    assert (wet.errors, wet.good, wet.imported) == (dry.errors, 2, 2)


async def test_what_is_there_already(world, bring, database, keyring, actor, stranger):
    await world.plan(stranger)
    await world.subscriber(stranger, "alice", ipv4="192.0.2.1")  # another tenant's is in nobody's way
    await world.plan(actor)
    assert (await bring(GOOD)).imported == 2
    again = await bring(GOOD + b"eve,x,Home 100,192.0.2.1\n")
    assert (again.imported, again.good) == (0, 0)
    assert [(error.line, error.column, error.detail) for error in again.errors] == [
        (2, "username", "exists already (active)"),
        (3, "username", "exists already (active)"),
        (4, "ipv4", "stands on line 2 already"),
    ]
    skipped = await bring(GOOD + b"eve,x,Home 100,192.0.2.9\n", skip_bad=True)
    assert (skipped.imported, skipped.skipped, skipped.error_count) == (1, 2, 2)
    assert await names(world) == ["alice", "alice", "bob", "eve"]


@pytest.mark.parametrize(("data", "error"), [
    (b"", (1, "")), (b"\xff\xfeu\0", (1, "")), (b"username,password\na,b\n", (1, "plan")), (b"username;password;plan\n", (1, "")),
    (b"username,password,plan,speed\n", (1, "speed")), (b"user\xe9,password,plan\n", (1, "")), (b"username,password,plan\nx,,Home 100\n", (2, "password")),
    (b'username,password,plan\n"x,y,Home 100\n', (2, "")),
])  # fmt: skip
async def test_files_that_are_not_good(world, bring, actor, data, error):
    await world.plan(actor)
    report = await bring(data, skip_bad=True)
    assert told(report) == [error]
    assert report.imported == 0


async def test_no_password_on_purpose(world, bring, database, keyring, actor):
    await world.plan(actor)
    data = b"\xef\xbb\xbfUsername , password,PLAN,state\r\nx,,Home 100,pending\r\n"
    report = await bring(data, allow_no_password=True)
    assert report.imported == 1
    assert await world.fetch("select password, state from subscribers") == [{"password": None, "state": "pending"}]


async def test_errors_are_counted_beyond_a_thousand(world, bring, database, keyring, actor):
    await world.plan(actor)
    data = b"username,password,plan\n" + b"".join(b"u%d,p,nosuch\n" % n for n in range(1500)) + b"good,p,Home 100\n"
    report = await bring(data, skip_bad=True)
    assert (len(report.errors), report.error_count, report.imported, report.skipped) == (1000, 1500, 1, 1500)


async def test_streams(world, bring, database, keyring, actor, monkeypatch):
    await world.plan(actor)

    async def pieces(data):
        for place in range(0, len(data), 7):
            yield data[place : place + 7]

    assert (await bring(pieces(GOOD))).imported == 2
    monkeypatch.setattr(imports, "MAX_OCTETS", 50)
    for source in (GOOD, pieces(GOOD)):
        with pytest.raises(InvalidInput, match="larger"):
            await bring(source)


async def test_somebody_was_quicker(world, bring, database, keyring, actor, monkeypatch):
    """The same subscriber made between the comparison and the insertion: nothing is imported."""
    await world.plan(actor)
    real = store.store

    async def raced(conn, tenant_id):
        await world.subscriber(actor, "bob")
        return await real(conn, tenant_id)

    monkeypatch.setattr(store, "store", raced)
    with pytest.raises(Conflict):
        await bring(GOOD)
    assert await names(world) == ["bob"]


async def test_the_loop_stays_free(world, bring, database, keyring, actor):
    """RADIUS is answered in the same loop: an import must hand it back all the time. Bounds are wide for busy machines."""
    await world.plan(actor)
    data = b"username,password,plan,ipv4\n" + b"".join(b"user%d,pass%d,Home 100,10.%d.%d.%d\n" % (n, n, n >> 16, n >> 8 & 255, n & 255) for n in range(5000))
    turns, longest = 0, 0.0

    async def watch():
        nonlocal turns, longest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            turns, longest = turns + 1, max(longest, time.perf_counter() - began)

    watching = asyncio.create_task(watch())
    report = await bring(data)
    watching.cancel()
    assert report.imported == 5000
    assert turns > 20
    assert longest < 0.1
