"""Reports of devices: every number against data made by hand, with the edges of what was measured."""

import csv
import io
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from openpyxl import load_workbook

from netd.domain import device_reports, periods, reports, telemetry
from netd.domain.actor import Actor
from netd.domain.report_queries import Measured
from netd.domain.telemetry import SpanQuery, level_for
from netd.errors import InvalidInput, StoreError
from netd.sheets.converter import Converter
from netd.store import telemetry as samples
from netd.store import timeseries
from netd.store.database import TENANT_ROLE, Connection, Database
from tests.sheets.pdf import text_of
from tests.web.running import Polling

DAY = datetime(2026, 11, 25, tzinfo=UTC)
NOW = DAY + timedelta(hours=36)
DAYS = {"first": "2026-11-25", "last": "2026-11-25"}
MEASURED = Measured(Polling().kept_days(), Polling().reach_seconds())
BY_NAME = {report.name: report for report in reports.REPORTS}
Ask = Callable[..., Awaitable[list[dict[str, str]]]]


@pytest.fixture
async def confined(database: Database):
    """As the API's handlers have it."""
    opened = await Database.open(database.target, size=2, role=TENANT_ROLE)
    yield opened
    await opened.close()


@pytest.fixture
def made(confined: Database, actor: Actor):
    async def make(name: str, form: str = "csv", *, who: Actor | None = None, now: datetime = NOW, **query: Any) -> bytes:
        report = BY_NAME[name]
        wanted = msgspec.convert({**query, "format": form}, report.query)
        found = await reports.make(confined, who or actor, report, wanted, now, MEASURED)
        return b"".join([chunk async for chunk in await found.file(Converter(), now)])

    return make


@pytest.fixture
def ask(made) -> Ask:
    async def rows(name: str, **query: Any) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO((await made(name, **query)).decode())))

    return rows


async def device(conn: Connection, hostname: str, site: int | None = None, **columns: Any) -> int:
    values = {"hostname": hostname, "mgmt_address": "192.0.2.1", "vendor": "mikrotik", "site_id": site, "tenant_id": 1, **columns}
    places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    return int(await conn.fetchval(f"insert into devices ({', '.join(values)}) values ({places}) returning id", *values.values()))


async def sum_up(conn: Connection, until: datetime = NOW) -> None:
    for level in timeseries.LEVELS:
        while await timeseries.roll_up(conn, level, until):
            continue


def minutes(*spans: tuple[int, int]) -> list[int]:
    return [minute for begin, end in spans for minute in range(begin, end)]


def at(minute: int) -> datetime:
    return DAY + timedelta(minutes=minute)


@pytest.fixture
async def ids(database: Database) -> dict[str, int]:
    """A device that was measured for a day, with a formula for a name; others that were not, one of another site, one that is retired; none is left of one
    that was measured, too."""
    async with database.acquire() as conn:
        for ago in (2, 1, 0):
            await timeseries.ensure(conn, (NOW - timedelta(days=ago)).date())
        await conn.execute("insert into organizations (tenant_id, name) values (1, 'south'), (1, 'north')")
        below = await conn.fetchval(
            "insert into organizations (tenant_id, name, parent_id) select 1, 'below', id from organizations where name = 'north' returning id"
        )
        found = {}
        for name, organization in (("oslo", below), ("rome", None)):
            statement = "insert into sites (tenant_id, name, organization_id) values (1, $1, $2) returning id"
            found[name] = await conn.fetchval(statement, name, organization)
        seen = {"value": "CCR2004", "source": "snmp", "at": "2026-11-01T00:00:00Z"}
        core = found["core"] = await device(
            conn, "=core1", found["oslo"], observed={"model": seen, "software_version": {**seen, "value": "7.15"}}, platform="mikrotik_routeros",
            tags=["backbone", "pe"], role="pe", model="CCR",
        )  # fmt: skip
        found["edge"] = await device(conn, "Edge2", found["rome"], mgmt_address="2001:db8::2", vendor="huawei", state="maintenance")
        found["old"] = await device(conn, "old4", state="retired")
        gone = await device(conn, "gone3", found["oslo"])
        for number, (name, speed, of) in enumerate((("eth0", 10_000, core), ("eth1", None, core), ("never", 10_000, core), ("eth0", 10_000, gone))):
            found[f"{name}{'' if of == core else ' gone'}"] = await conn.fetchval(
                "insert into interfaces (tenant_id, device_id, if_index, name, speed_bps, alias) values (1, $1, $2, $3, $4, $5) returning id",
                of, number, name, speed, "+up" if name == "eth0" else None,
            )  # fmt: skip
        for each in (core, gone):
            down = {*minutes((60, 72), (760, 762)), 600}
            await samples.copy(conn, "reach_samples", [(1, each, at(n), n not in down, 2.0, 60.0) for n in minutes((0, 700), (760, 1440))])
        for name, rate in (("eth0", 9000), ("eth1", 20_000), ("eth0 gone", 9000)):
            await samples.copy(conn, "interface_samples", [
                (1, core, found[name], at(n), 60.0, rate if n < 100 or name == "eth1" else 1000, None, *(None,) * 6, True, 10_000 if name == "eth0" else 0)
                for n in range(1440)
            ])  # fmt: skip
        await conn.execute("delete from devices where id = $1", gone)
        await sum_up(conn)
    return found


async def test_availability(ids: dict[str, int], ask: Ask, database: Database, actor: Actor):
    """As ``/devices/{id}/availability`` says it; nobody looked is neither up nor down, and ends an outage."""
    core, edge = await ask("availability", **DAYS)
    assert {name: core[name] for name in ("device", "site", "model", "resolution")} == {
        "device": "'=core1", "site": "oslo", "model": "CCR2004", "resolution": "5m",
    }  # fmt: skip
    span = SpanQuery(since=DAY, until=DAY + timedelta(days=1))
    told = await telemetry.availability(database, actor, Polling(), ids["core"], span, NOW)
    assert (told.looks, told.failed, told.percent, told.known_percent) == (1380, 15, 98.913, 95.83)
    assert [core[name] for name in ("up_percent", "known_percent", "looks", "failed", "down_seconds")] == ["98.913", "95.83", "1380", "15", "900"]
    assert (core["outages"], core["longest_outage_seconds"]) == ("3", "720")
    assert [edge[name] for name in ("device", "address", "up_percent", "known_percent", "looks", "outages")] == ["Edge2", "2001:db8::2", "", "0.0", "0", ""]
    # Failed looks on both sides of a gap are two outages.
    async with database.acquire() as conn:
        await conn.execute("update reach_5m set down = 5, up = 0, down_seconds = 300 where at = $1", at(695))
    assert (await ask("availability", **DAYS))[0]["outages"] == "4"


async def test_uptime(ids: dict[str, int], ask: Ask, database: Database):
    """Restarts are noticed from one look to the next, also over the edge of what is summed up at a time, and once however often it is."""
    core, edge = ids["core"], ids["edge"]

    def uptime(n: int) -> int:
        return 1000 + 60 * n if n < 300 else 60 * (n - 300) + 5 if n < 720 else 60 * (n - 720) + 5

    wrap = 2**32 // 100
    async with database.acquire() as conn:
        await samples.copy(conn, "device_samples", [(1, core, at(n), uptime(n), *(None,) * 6) for n in minutes((0, 650), (651, 700), (720, 1440))])
        await samples.copy(conn, "device_samples", [(1, edge, at(n), (wrap - 6000 + 60 * n) % wrap, *(None,) * 6) for n in range(200)])
        await samples.copy(conn, "device_samples", [(1, edge, at(200), 2**63 - 1, *(None,) * 6)])
        await samples.copy(conn, "device_samples", [(1, edge, at(201), (wrap - 6000 + 60 * 201) % wrap, *(None,) * 6)])
        await timeseries.late(conn, DAY)
        await sum_up(conn)
        history = "select device_id, at, before, after from device_facts where fact = 'running_since' order by at"
        noticed = [tuple(each) for each in await conn.fetch(history)]
        assert noticed == [
            (core, at(300), "2026-11-24T23:43:20Z", "2026-11-25T04:59:55Z"), (core, at(720), "2026-11-25T04:59:55Z", "2026-11-25T11:59:55Z"),
        ]  # fmt: skip
        await samples.copy(conn, "device_samples", [(1, core, at(650), uptime(650), *(None,) * 6)])
        await timeseries.late(conn, at(650))
        await sum_up(conn)
        assert [tuple(each) for each in await conn.fetch(history)] == noticed
        await samples.copy(
            conn, "reach_samples", [(1, core, NOW - timedelta(minutes=1), True, 1.0, 60.0), (1, edge, NOW - timedelta(hours=3), True, 1.0, 60.0)]
        )
    first, second = await ask("uptime", **DAYS)
    told = ["yes", "2026-11-25T11:59:55Z", "43145", "2026-11-25T23:59:00Z", "2", "2026-11-25T12:00:00Z"]
    columns = ("up", "running_since", "uptime_seconds", "told_at", "restarts", "last_restart_at")
    assert [first[name] for name in columns] == told
    assert (second["up"], second["restarts"], second["last_restart_at"]) == ("", "0", "")
    (later, _) = await ask("uptime", first="2026-11-26", last="2026-11-26")
    assert (later["restarts"], later["last_restart_at"]) == ("0", "2026-11-25T12:00:00Z")
    async with database.acquire() as conn:
        await conn.execute("delete from device_samples where device_id = $1", edge)
    assert (await ask("uptime", **DAYS))[1]["restarts"] == ""


async def test_utilisation(ids: dict[str, int], ask: Ask, monkeypatch: pytest.MonkeyPatch):
    """The busiest first; percents only of what has a speed; nothing of what was not measured, or hung on a device that is gone."""
    first, second = await ask("interface-utilisation", **DAYS)
    figures = ("speed_bps", "in_avg_bps", "in_max_bps", "in_p95_bps", "out_avg_bps", "in_avg_percent", "in_max_percent", "in_p95_percent", "out_p95_percent")
    assert [first[name] for name in ("device", "interface", "alias", "site")] == ["'=core1", "eth0", "'+up", "oslo"]
    assert [first[name] for name in figures] == ["10000", "1556", "9000", "9000", "", "15.56", "90.0", "90.0", ""]
    assert (first["known_percent"], first["resolution"]) == ("100.0", "5m")
    assert [second[name] for name in ("interface", *figures)] == ["eth1", "", "20000", "20000", "20000", "", "", "", "", ""]
    assert [row["interface"] for row in await ask("interface-utilisation", **DAYS, top=1)] == ["eth0"]
    # Of many, sums of longer spans: the 95th percentile is that of theirs.
    for most, level, p95 in ((3 * 24, "1h", "7800"), (3, "1d", "9000"), (0, "1d", "9000")):
        monkeypatch.setattr(telemetry, "SUMS_MOST", most)
        row = (await ask("interface-utilisation", **DAYS))[0]
        assert (row["resolution"], row["in_p95_bps"], row["in_avg_bps"], row["in_max_bps"]) == (level, p95, "1556", "9000")


def test_of_which_sums_figures_are_made():
    month = timedelta(days=30)
    for interfaces, age, level in (
        (1, 0, "5m"),
        (1100, 0, "5m"),
        (1200, 0, "1h"),
        (13_000, 0, "1h"),
        (250_000, 0, "1d"),
        (1, 100, "1h"),
        (1, 1000, "1d"),
        (10**9, 0, "1d"),
    ):
        until = NOW - timedelta(days=age)
        assert level_for(interfaces, until - month, until, NOW, MEASURED.kept_days) == level, (interfaces, age)


async def test_days_to_come(ids: dict[str, int], ask: Ask):
    days = {"first": "2027-01-01", "last": "2027-01-31"}
    assert await ask("interface-utilisation", **days) == []
    assert [(row["up_percent"], row["known_percent"], row["looks"]) for row in await ask("availability", **days)] == [("", "0.0", "0")] * 2
    assert [row["restarts"] for row in await ask("uptime", **days)] == ["", ""]


async def test_what_nobody_measured(database: Database, ask: Ask):
    """Without any partition, device or sum."""
    for name in BY_NAME:
        assert await ask(name) == [], name
    async with database.acquire() as conn:
        await device(conn, "lone")
    assert [(row["device"], row["up_percent"]) for row in await ask("availability")] == [("lone", "")]


async def test_drift(ids: dict[str, int], ask: Ask, database: Database):
    async with database.acquire() as conn:
        text = await conn.fetchval("insert into configuration_texts (tenant_id, digest, octets, sealed) values (1, $1, 1, 'x') returning id", bytes(32))
        running = 0
        for number, approved in ((1, DAY), (2, DAY + timedelta(hours=1)), (3, None)):
            running = await conn.fetchval(
                """insert into configurations (tenant_id, device_id, which, number, text_id, normal, platform, lines, octets, source, first_seen_at,
                       last_seen_at, approved_at) values (1, $1, 'running', $2, $3, $4, 'x', 1, 1, 'backup', $5, $5, $6) returning id""",
                ids["core"], number, text, bytes(32), DAY, approved,
            )  # fmt: skip
        await conn.execute(
            """insert into configuration_states (tenant_id, device_id, running_id, drift, drifted_at, backed_up_at, tried_at, error)
               values (1, $1, $2, '{approved,saved}', $3, $3, $4, '=no answer')""", ids["core"], running, DAY, NOW,
        )  # fmt: skip
    core, edge = await ask("drift")
    told = ("differs_from", "since", "version", "approved_version", "approved_at", "backup", "backed_up_at", "tried_at", "error")
    assert [core[name] for name in told] == [
        "approved, saved", "2026-11-25T00:00:00Z", "3", "2", "2026-11-25T01:00:00Z", "failed", "2026-11-25T00:00:00Z", "2026-11-26T12:00:00Z", "'=no answer",
    ]  # fmt: skip
    assert [edge[name] for name in told] == ["", "", "", "", "", "never", "", "", ""]
    async with database.acquire() as conn:
        await conn.execute("update configuration_states set drift = '{}', error = null")
    assert [row["backup"] for row in await ask("drift")] == ["ok", "never"]
    assert [row["device"] for row in await ask("drift", problems=True)] == ["Edge2"]


async def test_software_versions(ids: dict[str, int], ask: Ask, database: Database):
    async with database.acquire() as conn:
        for number, version in enumerate(("7.16", "7.16", None)):
            await device(conn, f"r{number}", platform="mikrotik_routeros", model="CCR2004", software_version=version)
        await device(conn, "special", platform="mikrotik_routeros", model="CCR2004", software_version="7.16", target_version="8.0")
        await conn.execute("insert into software_targets (tenant_id, platform, software_version, reason) values (1, 'mikrotik_routeros', '7.16', 'a hole')")
    found = [tuple(row.values()) for row in await ask("software-versions")]
    assert found == [
        ("mikrotik_routeros", "CCR2004", "7.15", "1", "7.16", "no", "a hole"), ("mikrotik_routeros", "CCR2004", "7.16", "2", "7.16", "yes", "a hole"),
        ("mikrotik_routeros", "CCR2004", "7.16", "1", "8.0", "no", "the device's own target version"),
        ("mikrotik_routeros", "CCR2004", "", "1", "7.16", "no", "a hole"), ("", "", "", "1", "", "", ""),
    ]  # fmt: skip


async def test_inventory(ids: dict[str, int], ask: Ask, database: Database):
    core, edge, old = await ask("inventory")
    assert tuple(core.values()) == (
        "'=core1", "192.0.2.1", "oslo", "mikrotik", "CCR2004", "mikrotik_routeros", "other", "", "7.15", "below", "pe", "backbone, pe", "active",
        "2026-11-25T23:59:00Z", "3",
    )  # fmt: skip
    assert (edge["device"], edge["organization"], edge["last_seen_at"], edge["interfaces"], old["state"]) == ("Edge2", "", "", "0", "retired")
    async with database.acquire() as conn:
        await conn.execute("delete from reach_samples")
        await conn.execute("update interfaces set gone_at = $1 where name = 'eth1'", NOW)
    core = (await ask("inventory"))[0]
    assert (core["last_seen_at"], core["interfaces"]) == ("2026-11-25T23:00:00Z", "2")


async def test_which_devices(ids: dict[str, int], ask: Ask, database: Database):
    async with database.acquire() as conn:
        await conn.execute("insert into device_groups (tenant_id, name, selector) values (1, 'romans', $1)", {"sites": ["rome"], "states": ["maintenance"]})
    queries: tuple[tuple[dict[str, str], str], ...] = (
        ({}, "=core1 Edge2 old4"), ({"site": "OSLO"}, "=core1"), ({"organization": "North"}, "=core1"), ({"organization": "south"}, ""),
        ({"tag": "pe"}, "=core1"), ({"vendor": "huawei"}, "Edge2"), ({"platform": "mikrotik_routeros"}, "=core1"), ({"model": "CCR2004"}, "=core1"),
        ({"model": "CCR"}, ""), ({"kind": "olt"}, ""), ({"role": "pe"}, "=core1"), ({"state": "retired"}, "old4"), ({"group": "Romans"}, "Edge2"),
        ({"group": "romans", "site": "oslo"}, ""),
    )  # fmt: skip
    for query, found in queries:
        assert [row["device"].removeprefix("'") for row in await ask("inventory", **query)] == found.split(), query
    assert [row["device"] for row in await ask("availability", state="retired")] == ["old4"]


async def test_parts_are_merged(ids: dict[str, int], ask: Ask, database: Database, monkeypatch: pytest.MonkeyPatch):
    """One device at a time, more rows than are given at a time, and blocks that end within a row: the order is the same."""
    async with database.acquire() as conn:
        for number in range(12):
            await device(conn, f"x{(number * 5) % 12:02}ä")
    whole = await ask("inventory")
    used = await ask("interface-utilisation", **DAYS)
    assert [row["device"] for row in whole] == ["'=core1", "Edge2", "old4", *(f"x{number:02}ä" for number in range(12))]
    for name in ("netd.domain.device_reports.AT_A_TIME", "netd.domain.runs.PART_ROWS"):
        monkeypatch.setattr(name, 1)
    monkeypatch.setattr(device_reports, "SUMS_AT_A_TIME", 1)
    monkeypatch.setattr("netd.domain.runs.BLOCK_OCTETS", 7)
    monkeypatch.setattr("netd.domain.device_reports._by_name.__kwdefaults__", {"at_a_time": 1})
    assert await ask("inventory") == whole
    assert await ask("interface-utilisation", **DAYS) == used
    assert [row["looks"] for row in await ask("availability", **DAYS)] == ["1380", *["0"] * 13]


async def test_no_room_for_a_table(ask: Ask, monkeypatch: pytest.MonkeyPatch):
    def full(**_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("netd.domain.runs.tempfile.TemporaryFile", full)
    with pytest.raises(StoreError, match="cannot be kept for being sorted: No space left on device"):
        await ask("inventory")


async def test_who_sees_what(ids: dict[str, int], ask: Ask, stranger: Actor, actor: Actor):
    roman = msgspec.structs.replace(actor, sites=frozenset((ids["rome"],)))
    for name in ("uptime", "availability", "drift", "inventory"):
        assert [row["device"] for row in await ask(name, who=roman)] == ["Edge2"], name
    assert await ask("interface-utilisation", who=roman, **DAYS) == [] and [row["devices"] for row in await ask("software-versions", who=roman)] == ["1"]
    osloer = msgspec.structs.replace(actor, sites=frozenset((ids["oslo"],)))
    assert [row["interface"] for row in await ask("interface-utilisation", who=osloer, **DAYS)] == ["eth0", "eth1"]
    assert [row["looks"] for row in await ask("availability", who=osloer, **DAYS)] == ["1380"]
    for name in BY_NAME:
        assert await ask(name, who=stranger) == [], name


async def test_as_spreadsheet_and_on_paper(ids: dict[str, int], made):
    sheet = load_workbook(io.BytesIO(await made("interface-utilisation", "xlsx", **DAYS))).worksheets[0]
    rows = [dict(zip((cell.value for cell in sheet[1]), row, strict=True)) for row in sheet.iter_rows(min_row=2, values_only=True)]
    assert [(row["device"], row["interface"], row["in_p95_percent"], row["in_avg_bps"], row["out_avg_bps"]) for row in rows] == [
        ("'=core1", "eth0", 90, 1556, None), ("'=core1", "eth1", None, 20_000, None),
    ]  # fmt: skip
    sheet = load_workbook(io.BytesIO(await made("availability", "xlsx", **DAYS))).worksheets[0]
    assert [cell.value for cell in sheet[2]][5:8] == [98.913, 95.83, 1380]
    for name, words in (
        ("availability", "=core1 98.913 95.83 720"), ("interface-utilisation", "=core1 eth0 15.56 10000 resolution"), ("inventory", "2026-11-25T23:59:00Z"),
    ):  # fmt: skip
        data = await made(name, "pdf", **(DAYS if BY_NAME[name].period else {}), vendor="mikrotik" if name == "inventory" else None)
        text = text_of(data)
        for word in words.split():
            assert f"({word})" in text, (name, word)
        assert ("vendor mikrotik" in text) == (name == "inventory")


async def test_days_that_are_none(ask: Ask):
    for query, where in (
        ({"group": "nobody"}, "/group"), ({"site": "nowhere"}, "/site"), ({"organization": "nowhere"}, "/organization"),
        ({"first": "2026-11-02", "last": "2026-11-01"}, "/first"), ({"first": "2020-01-01"}, "/first"),
        ({"period": "yesterday", "last": "2026-11-01"}, "/period"),
    ):  # fmt: skip
        with pytest.raises(InvalidInput) as caught:
            await ask("availability", **query)
        assert [fault.where for fault in caught.value.faults] == [where]


@pytest.mark.parametrize(("period", "first", "last"), [
    ("yesterday", "2026-02-28", "2026-02-28"), ("last_7_days", "2026-02-22", "2026-02-28"), ("last_30_days", "2026-01-30", "2026-02-28"),
    ("previous_week", "2026-02-16", "2026-02-22"), ("previous_month", "2026-02-01", "2026-02-28"), ("this_month", "2026-03-01", "2026-03-01"),
])  # fmt: skip
def test_days_before_today(period: Any, first: str, last: str):
    """On a Sunday, the first of March."""
    assert periods.days(None, None, period, date(2026, 3, 1)) == (date.fromisoformat(first), date.fromisoformat(last))


def test_moments_of_days():
    assert periods.moments(DAY.date(), DAY.date(), NOW) == (DAY, DAY + timedelta(days=1))
    assert periods.moments(DAY.date(), NOW.date(), NOW) == (DAY, NOW)
    future = NOW.date() + timedelta(days=1)
    assert periods.moments(future, future, NOW) == (DAY + timedelta(days=2),) * 2
    assert periods.moments(date.min, date.max, datetime.max.replace(tzinfo=UTC))[1].date() == date.max
