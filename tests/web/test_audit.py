"""The audit log as a file, and what the portal and the auditor rely on."""

import csv
import io
import json

import pytest

from netd.domain import lists
from netd.errors import StoreUnavailable
from netd.store import listing
from netd.store.database import Database
from tests.web.running import Api


async def log_of(api: Api, rows: int) -> list[dict]:
    for number in range(rows):
        assert (await api.post("/sites", {"name": f"s{number}"})).status == 201
    items: list[dict] = (await api.get("/audit?limit=1000")).value["items"]
    return items


async def lines(api: Api, query: str = "") -> list[dict]:
    answer = await api.call("GET", f"/audit/export?format=jsonl{query}", headers={"Accept-Encoding": "identity"}, decode=False)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    return [json.loads(line) for line in answer.raw.splitlines()]


async def test_the_whole_log_as_a_file(api: Api, monkeypatch):
    monkeypatch.setattr(lists, "PART_ROWS", 4)
    listed = await log_of(api, 10)
    assert len(listed) % 4, "the last part is not a whole one"
    assert await lines(api) == listed
    assert await lines(api, "&sort=id") == listed[::-1]
    table = await api.get("/audit/export")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert table.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    rows = list(csv.DictReader(io.StringIO(table.raw.decode())))
    assert list(rows[0]) == list(listed[0])
    assert [(int(row["id"]), row["action"], row["object_id"]) for row in rows] == [(row["id"], row["action"], row["object_id"]) for row in listed]
    assert [json.loads(row["after"]) if row["after"] else None for row in rows] == [row["after"] for row in listed]


async def test_as_a_list_is_asked(api: Api):
    listed = await log_of(api, 3)
    wanted = [row for row in listed if row["action"] == "site.create"]
    assert await lines(api, "&action=site.create&q=s1") == [row for row in wanted if row["after"]["name"] == "s1"]
    assert [row["id"] for row in await lines(api, f"&id__gt={listed[1]['id']}")] == [listed[0]["id"]]
    assert await lines(api, "&action=none.such") == []
    for bad in ("format=xlsx", "address=x", "sort=x", "limit=5", "nonsense=1"):
        answer = await api.get(f"/audit/export?{bad}")
        assert (answer.status, answer.value["errors"][0]["pointer"]) == (422, "/" + bad.partition("=")[0])


async def test_who_may(api: Api, database: Database):
    assert (await api.get("/audit/export", role="read_only")).status == 403
    other = await api.post("/tenants", {"name": "other"})
    answer = await api.get("/audit/export", role=None, headers={"Authorization": f"Bearer {other.value['token']}"})
    assert len(answer.raw.splitlines()) == 2, "the header, and the making of its own token"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@sum(a1)", "\uff1d1+1", "'=1+1"])
async def test_no_cell_is_a_formula(api: Api, database: Database, name: str):
    async with database.acquire() as conn:
        await conn.execute("insert into audit_log (tenant_id, actor, action, object_type, object_id, result) values (1, $1, 'x.y', 'x', '1', 'ok')", name)
    (row,) = csv.DictReader(io.StringIO((await api.get("/audit/export?action=x.y")).raw.decode()))
    assert row["actor"] == "'" + name
    assert (await lines(api, "&action=x.y"))[0]["actor"] == name, "a machine gets it as it is"


async def test_a_database_that_is_away_is_a_problem_and_no_file(api: Api, monkeypatch):
    async def away(*_):
        raise StoreUnavailable("away")

    monkeypatch.setattr(listing, "page", away)
    for form in ("csv", "jsonl"):
        answer = await api.get(f"/audit/export?format={form}")
        assert (answer.status, answer.value["type"]) == (503, "/problems/unavailable")


async def test_an_empty_table_has_its_header(api: Api):
    answer = await api.get("/audit/export?action=none.such")
    assert (answer.status, answer.raw.count(b"\r\n"), answer.raw[:6]) == (200, 1, b"id,at,")


async def test_a_file_that_breaks_off_shows(api: Api, monkeypatch, caplog):
    """The status is told by then; only the cut connection says that this is not all."""
    monkeypatch.setattr(lists, "PART_ROWS", 2)
    await log_of(api, 4)

    def broken(*_):
        raise RuntimeError("made for the test")

    monkeypatch.setattr(lists, "following", broken)
    with pytest.raises(Exception, match=r"(?i)payload|disconnected|closed"):
        await api.get("/audit/export")
    assert "made for the test" in caplog.text
