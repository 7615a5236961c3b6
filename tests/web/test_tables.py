"""Exporting, importing and reporting over HTTP."""

import asyncio
import io
from types import SimpleNamespace

import pytest
from openpyxl import Workbook, load_workbook

from netd.domain import imports
from netd.domain.tables import TABLES
from netd.errors import StoreUnavailable
from netd.sheets.converter import PDF, XLSX
from netd.store import listing
from netd.web.api import route
from tests.web.running import Api
from tests.web.test_isolation import a_token

PLAN = {"name": "=Fibre", "down_bps": 100_000_000, "up_bps": 20_000_000}
CSV = {"Content-Type": "text/csv"}


@pytest.fixture
async def alice(api: Api) -> None:
    await api.post("/plans", PLAN)
    await api.post("/subscribers", {"username": "alice", "password": "wonderland", "plan": "=Fibre"})
    await api.post("/subscribers", {"username": "bob", "password": "builder", "plan": "=Fibre", "state": "pending"})


async def test_an_export_is_a_file(api: Api, alice):
    answer = await api.get("/subscribers/export?state=active", role="read_only")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert answer.headers["content-disposition"] == 'attachment; filename="subscribers.csv"'
    assert answer.raw.split(b"\r\n")[1].startswith(b"alice,'=Fibre,active,")
    assert b"wonderland" not in answer.raw
    sheet = await api.get("/subscribers/export?format=xlsx&sort=-username")
    assert sheet.headers["content-type"] == XLSX
    assert [row[0] for row in load_workbook(io.BytesIO(sheet.raw)).worksheets[0].iter_rows(values_only=True)] == ["username", "bob", "alice"]


async def test_secrets_are_for_who_may_see_them(api: Api, alice):
    for role in ("read_only", "operator"):
        answer = await api.get("/subscribers/export?secrets=true", role=role)
        assert (answer.status, answer.value["detail"]) == (403, "exporting secrets needs the permission secrets:reveal")
    assert b"wonderland" in (await api.get("/subscribers/export?secrets=true")).raw
    rows = (await api.get("/audit?action=subscriber.export_secrets")).value["items"]
    assert [(row["actor"], row["result"]) for row in rows] == [("test admin", "ok"), ("test operator", "refused"), ("test read_only", "refused")]


@pytest.mark.parametrize("query", ["format=pdf", "limit=1", "sort=note", "nosuch=1", "state=gone"])
async def test_queries_that_are_not_good(api: Api, query):
    assert (await api.get(f"/subscribers/export?{query}")).status == 422


async def test_an_export_that_fails_before_its_first_row_is_a_problem_and_later_no_whole_file(api: Api, alice, monkeypatch):
    real, calls = listing.page, 0

    async def fails(*arguments):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise StoreUnavailable("away")
        return await real(*arguments)

    monkeypatch.setattr("netd.domain.lists.PART_ROWS", 1)
    monkeypatch.setattr(listing, "page", fails)
    with pytest.raises(Exception, match=r"not completed|payload|closed|disconnected") as caught:
        await api.get("/subscribers/export")
    assert "Problem" not in str(caught.value)
    calls = 1
    answer = await api.get("/subscribers/export")
    assert (answer.status, answer.value["type"]) == (503, "/problems/unavailable")
    calls = 1
    assert (await api.get("/subscribers/export?format=xlsx")).status == 503
    calls = 10
    assert (await api.get("/subscribers/export")).raw.count(b"\r\n") == 3


async def test_imports_of_both_kinds(api: Api, alice, monkeypatch, caplog):
    monkeypatch.setattr("netd.domain.imports.MANY_ROWS", 1)  # statistics are looked at anew, which the API's role may have done, too
    book = Workbook()
    book.active.append(["username", "plan", "note", "max_sessions"])
    book.active.append(["alice", "'=Fibre", "'+47", 2])
    book.active.append(["=1+1", "=Fibre", "", "x"])
    file = io.BytesIO()
    book.save(file)
    answer = await api.call("POST", "/subscribers/import?mode=update", data=file.getvalue(), headers={"Content-Type": XLSX})
    assert (answer.status, [(error["line"], error["column"]) for error in answer.value["report"]["errors"]]) == (
        422, [(3, "username"), (3, "plan"), (3, "max_sessions")])  # fmt: skip
    answer = await api.call("POST", "/subscribers/import?mode=update&skip_bad=true", data=file.getvalue(), headers={"Content-Type": XLSX})
    assert (answer.status, answer.value["updated"], answer.value["skipped"]) == (200, 1, 1)
    shown = (await api.get("/subscribers?username=alice")).value["items"][0]
    assert (shown["note"], shown["max_sessions"], shown["version"]) == ("+47", 2, 2)
    assert "statistics" not in caplog.text
    broken = await api.call("POST", "/plans/import", data=b"no workbook", headers={"Content-Type": XLSX})
    assert (broken.status, broken.value["errors"][0]["detail"]) == (422, "the file is not an XLSX file, or a broken one (File is not a zip file)")
    again = await api.call("POST", "/subscribers/import?mode=upsert", data=(await api.get("/subscribers/export")).raw, headers=CSV)
    assert (again.status, again.value["imported"], again.value["unchanged"]) == (200, 0, 2)


async def test_every_table_has_its_routes(api: Api, alice):
    for name, table in TABLES.items():
        exported = await api.get(f"{table.path}/export")
        assert exported.status == 200, name
        back = await api.call("POST", f"{table.path}/import?mode=update&dry_run=true", data=exported.raw, headers=CSV)
        assert (back.status, back.value["error_count"], back.value["unchanged"]) == (200, 0, exported.raw.count(b"\r\n") - 1), name
    document = (await api.get("//api/openapi.json", role=None)).value["paths"]
    assert set(document["/api/v1/pools/import"]["post"]["requestBody"]["content"]) == {"text/csv", XLSX}
    assert set(document["/api/v1/pools/export"]["get"]["responses"]["200"]["content"]) == {"text/csv", XLSX}
    assert {each["name"] for each in document["/api/v1/pools/export"]["get"]["parameters"]} >= {"kind", "format", "sort", "secrets", "q"}


async def test_reports(api: Api, alice, database):
    listed = (await api.get("/reports", role="read_only")).value["items"]
    assert [(each["name"], each["period"]) for each in listed[:2]] == [("subscribers-by-plan", False), ("usage-by-plan", True)]
    async with database.acquire() as conn:
        await conn.execute(
            """insert into usage_daily (tenant_id, subscriber_id, day, up_octets, down_octets, session_seconds)
               select tenant_id, id, day, 5, 10, 60 from subscribers cross join (values (date '2027-01-01'), ('2027-01-02')) d (day)"""
        )
    assert (await api.get("/reports/subscribers-by-plan")).raw == b"plan,pending,active,suspended,terminated,all\r\n'=Fibre,1,1,0,0,2\r\n"
    days = "first=2027-01-02&last=2027-01-31"
    answer = await api.get(f"/reports/usage-by-plan?{days}")
    assert answer.raw == b"day,plan,subscribers,down_octets,up_octets,session_seconds\r\n2027-01-02,'=Fibre,2,20,10,120\r\n"
    sheet = load_workbook(io.BytesIO((await api.get(f"/reports/usage-by-plan?{days}&format=xlsx")).raw)).worksheets[0]
    assert [cell.value for cell in sheet[2]] == ["2027-01-02", "'=Fibre", 2, 20, 10, 120]
    paper = await api.get(f"/reports/usage-by-plan?{days}&format=pdf")
    assert (paper.headers["content-type"], paper.raw[:5]) == (PDF, b"%PDF-")
    assert paper.headers["content-disposition"] == 'attachment; filename="usage-by-plan.pdf"'
    assert (await api.get("/reports/usage-by-plan?first=2027-01-02&last=2027-01-01")).value["errors"][0]["pointer"] == "/first"
    assert (await api.get("/reports/usage-by-plan?first=2020-01-02")).status == 422
    other = (await api.post("/tenants", {"name": "other"})).value["token"]
    for name in ("subscribers-by-plan", f"usage-by-plan?{days}"):
        assert (await api.get(f"/reports/{name}", role=None, headers={"Authorization": f"Bearer {other}"})).raw.count(b"\r\n") == 1


async def test_who_may_at_a_site_only_brings_in_schedules_that_reach_no_further(api: Api, database):
    await api.post("/sites", {"name": "oslo"})
    headers = {"Authorization": f"Bearer {await a_token(database, 1, site='oslo')}", **CSV}
    data = b'name,kind,args,cron\nmine,config.backup,"{""selector"": {}}",@daily\n'
    answer = await api.call("POST", "/schedules/import", role=None, data=data, headers=headers)
    assert (answer.status, answer.value["created"]) == (200, 1)
    (made,) = (await api.get("/schedules?name=mine")).value["items"]
    assert made["sites"] == [(await api.get("/sites?name=oslo")).value["items"][0]["id"]]
    whole = await api.post("/schedules", {"name": "whole", "kind": "config.backup", "args": {"selector": {}}, "cron": "@daily"})
    answer = await api.call("POST", "/schedules/import?mode=upsert", role=None, data=data.replace(b"mine", b"whole"), headers=headers)
    assert (answer.status, answer.value["report"]["errors"][0]["column"]) == (422, "name")
    assert (await api.get("/schedules?name=whole")).value["items"] == [whole.value]
    for path, file in (("/thresholds", b"name,metric,raise_level\nx,cpu_percent,1\n"), ("/device-groups", b"name,selector\nx,{}\n")):
        answer = await api.call("POST", f"{path}/import", role=None, data=file, headers=headers)
        assert (answer.status, (await api.get(path)).value["items"]) in ((422, []), (403, [])), path


# -- how files arrive ------------------------------------------------------------------------------------------------------

HEADER = b"name,down_bps,up_bps\n"


async def turns(api, number):
    """Wait until so many files have their turn or wait for it."""
    async with asyncio.timeout(60):
        while api.deps.imports.waiting != number:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def test_only_a_few_files_are_taken_at_a_time(api: Api):
    """Each may be 64 MiB of memory: those that wait have sent nothing yet, and more are asked to come again."""
    go = asyncio.Event()

    async def file(number):
        yield HEADER
        await go.wait()
        yield b"p%d,5000,1000\n" % number

    async def send(number):
        path = "/import?dry_run=true" if number == 1 else "/plans/import"
        kind = {"Content-Type": "application/x-ndjson"} if number == 1 else CSV
        return await api.call("POST", path, data=file(number), headers=kind)

    most = imports.AT_ONCE + imports.MOST_WAITING
    sending = [asyncio.create_task(send(number)) for number in range(most)]
    await turns(api, most)
    for path, kind in (("/plans/import", CSV), ("/import", {"Content-Type": "application/x-ndjson"})):
        answer = await api.call("POST", path, data=HEADER, headers=kind)
        assert (answer.status, answer.headers["retry-after"]) == (429, "30")
    go.set()
    assert [answer.status for answer in await asyncio.gather(*sending)] == [200] * most
    assert (await api.call("POST", "/plans/import", data=HEADER + b"last,5000,1000\n", headers=CSV)).status == 200


@pytest.mark.parametrize("bound", ["MOST_SECONDS", "LEAST_RATE"])
async def test_a_sender_that_takes_for_ever_is_cut_short(api: Api, monkeypatch, bound):
    if bound == "MOST_SECONDS":
        monkeypatch.setattr(route.Upload, "most_seconds", 0.5)
    else:
        monkeypatch.setattr(route, "BODY_SECONDS", 0.3)

    async def trickle():
        yield HEADER
        for _ in range(1000):
            await asyncio.sleep(0.1)
            yield b"x"

    async with asyncio.timeout(50):
        answer = await api.call("POST", "/plans/import", data=trickle(), headers=CSV)
    assert (answer.status, answer.value["type"]) == (408, "/problems/request-timeout")


async def test_who_reads_slowly_is_not_who_sends_slowly(api: Api, monkeypatch):
    """Only the time in which the sender is waited for counts."""
    monkeypatch.setattr(route, "BODY_SECONDS", 120.0)
    monkeypatch.setattr(route.Upload, "most_seconds", 120.0)
    real, now, chunks = route.Upload.chunks, 1000.0, 0

    async def slowly(self):
        nonlocal now, chunks
        async for chunk in real(self):
            now += 150.0
            chunks += 1
            yield chunk

    monkeypatch.setattr(route, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(route.Upload, "chunks", slowly)
    data = HEADER + b"".join(b"%0250d,5000,1000\n" % number for number in range(4000))
    assert (await api.call("POST", "/plans/import?dry_run=true&mode=update", data=data, headers=CSV)).status == 200
    assert chunks > 1, "each took longer than a sender has"


async def test_a_sender_that_goes_away_is_no_defect(api: Api, caplog):
    host, port = api.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /api/v1/plans/import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.tokens['admin']}\r\nContent-Type: text/csv\r\n"
    writer.write(head.encode() + b"Content-Length: 1000\r\n\r\n" + HEADER)
    await writer.drain()
    await turns(api, 1)
    await asyncio.sleep(0.1)
    writer.close()
    await turns(api, 0)
    await asyncio.sleep(0.1)
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL") or record.exc_info]
