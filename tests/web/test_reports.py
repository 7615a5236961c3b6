"""Reports of devices over HTTP: who may see which; made as jobs, whose file is fetched by who may see what is in it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from netd.domain import schedules, tokens
from netd.domain.actor import system
from netd.store import partitions
from netd.store.database import Database
from netd.work.jobs import JobService
from tests.web.running import Answer, Api, running
from tests.work.jobs import serving

PDF, CSV = "application/pdf", "text/csv; charset=utf-8"
OURS = ("uptime", "availability", "drift", "software-versions", "interface-utilisation", "inventory")


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Api]:
    """The API with netd's own kinds, and a worker."""
    async with running(database, tmp_path) as started, serving(JobService(database, started.deps.kinds, started.deps.keyring)):
        for name in ("oslo", "rome"):
            await started.post("/sites", {"name": name})
            await started.post("/devices", {"hostname": f"=core-{name}", "mgmt_address": "192.0.2.1", "vendor": "generic", "site": name})
        yield started


async def token(api: Api, database: Database, *permissions: str, site: str | None = None) -> dict[str, str]:
    """The header of a token that may do just this."""
    role = f"r{len((await api.get('/roles?limit=1000')).value['items'])}"
    assert (await api.post("/roles", {"name": role, "title": role, "permissions": list(permissions)})).status == 201
    made = await tokens.create(database, system(1, "test"), tokens.NewToken(name=role, role=role, site=site), datetime.now(UTC))
    return {"Authorization": f"Bearer {made.text}"}


async def make(api: Api, name: str, headers: dict[str, str] | None = None, *, run_at: str | None = None, **args: Any) -> Answer:
    body = {"kind": f"report.{name}", "args": args, **({"run_at": run_at} if run_at else {})}
    return await api.post("/jobs", body, role="admin" if headers is None else None, headers={**(headers or {}), "Prefer": "wait=50"})


async def fetch(api: Api, job: int, headers: dict[str, str] | None = None) -> Answer:
    return await api.get(f"/jobs/{job}/file", role="admin" if headers is None else None, headers=headers)


async def test_each_report_needs_its_own_permission(api: Api, database: Database):
    listed = {each["name"]: each for each in (await api.get("/reports")).value["items"]}
    for permission in ("reports:read", "devices:read", "configurations:read", "software:read"):
        headers = await token(api, database, permission)
        allowed = {name for name, each in listed.items() if each["permission"] == permission}
        shown = (await api.get("/reports", role=None, headers=headers)).value["items"]
        assert allowed and {each["name"] for each in shown if each["allowed"]} == allowed
        for name in listed:
            answer = await api.get(f"/reports/{name}", role=None, headers=headers)
            assert answer.status == (200 if name in allowed else 403), (permission, name)
    assert {name for name, each in listed.items() if each["devices"]} == set(OURS)

    headers = await token(api, database, "devices:read", site="rome")  # where it holds, it shows what is there
    assert (await api.get("/reports/inventory", role=None, headers=headers)).raw.count(b"core-") == 1
    assert (await api.get("/reports/inventory?site=oslo", role=None, headers=headers)).raw.count(b"core-") == 0
    for query, where in (("group=nobody", "/group"), ("site=nowhere", "/site"), ("state=gone", "/state"), ("first=2026-01-01", "/first"), ("top=0", "/top")):
        assert (await api.get(f"/reports/{'inventory' if where != '/top' else 'interface-utilisation'}?{query}")).value["errors"][0]["pointer"] == where


async def test_as_a_job(api: Api, database: Database):
    """About the days before it was due, in each form; the file is where the job is, and goes with it."""
    done = (await make(api, "availability", run_at="2026-03-01T05:00:00Z", format="pdf", period="previous_month")).value
    name = "availability_2026-02-01_2026-02-28.pdf"
    answer = await fetch(api, done["id"])
    assert (done["state"], done["result"]["file"], done["result"]["rows"], done["result"]["octets"]) == ("succeeded", name, 2, len(answer.raw))
    assert (answer.status, answer.headers["content-type"], answer.raw[:5]) == (200, PDF, b"%PDF-")
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    for each in (*OURS, "subscribers-by-plan", "usage-by-plan"):
        before = await api.get(f"/reports/{each}")
        job = (await make(api, each)).value
        after = await api.get(f"/reports/{each}")
        kept = await fetch(api, job["id"])
        assert (job["state"], kept.headers["content-type"], kept.raw in (before.raw, after.raw)) == ("succeeded", CSV, True), job  # a day may end meanwhile
    async with database.acquire() as conn:
        await conn.execute("update jobs set finished_at = now() - interval '40 days'")
        when = {"radpostauth_days": 90, "usage_days": 90, "events_days": 90}
        assert (await partitions.prune(conn, datetime.now(UTC), jobs_days=30, **when))["job_file_parts"] == 9
        assert await conn.fetchval("select count(*) from job_files") == 0
    assert (await fetch(api, done["id"])).status == 404


async def test_what_cannot_be_made(api: Api, monkeypatch: pytest.MonkeyPatch):
    for args, where in (
        ({"group": "nobody"}, "/args/group"),
        ({"first": "2020-01-01"}, "/args/first"),
        ({"format": "doc"}, "/args/format"),
        ({"x": 1}, "/args/x"),
    ):
        refused = await make(api, "availability", **args)
        assert (refused.status, refused.value["errors"][0]["pointer"]) == (422, where)
    monkeypatch.setattr("netd.work.kinds.reports.FILE_OCTETS", 10)
    failed = (await make(api, "inventory")).value
    assert failed["state"] == "failed" and "more than 0 MiB" in failed["error"]
    missing = await fetch(api, failed["id"])
    assert (missing.status, missing.value["type"]) == (404, "/problems/not-found")
    monkeypatch.setattr("netd.domain.reports.MOST_WAITING", 0)
    refused = await api.get("/reports/inventory")
    assert (refused.status, refused.headers["retry-after"]) == (429, "10")


async def test_a_job_waits_where_too_many_make_spreadsheets(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("netd.sheets.converter.WAITING", 0)
    job = (await api.post("/jobs", {"kind": "report.inventory", "args": {"format": "xlsx"}})).value["id"]
    async with asyncio.timeout(60):
        while (found := (await api.get(f"/jobs/{job}")).value)["attempt"] == 0 or found["state"] == "running":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert found["state"] == "queued"
    said = [entry["text"] for entry in (await api.get(f"/jobs/{job}/log")).value["items"]]
    assert said[2] == "queued: too many spreadsheets are being read and written", said


async def test_who_fetches_what_was_made(api: Api, database: Database):
    """Seeing jobs is not seeing what they are about: a file needs the permission for what is in it, wherever the job reached."""
    whole = (await make(api, "inventory")).value["id"]
    jobs_only = await token(api, database, "jobs:read", "jobs:write", "reports:read")
    assert (await make(api, "inventory", jobs_only)).status == 403 and (await fetch(api, whole, jobs_only)).status == 403
    own = await make(api, "subscribers-by-plan", jobs_only)
    assert own.value["state"] == "succeeded" and (await fetch(api, own.value["id"], jobs_only)).status == 200
    rome = await token(api, database, "jobs:read", "jobs:write", "devices:read", site="rome")
    assert (await fetch(api, whole, rome)).status == 404
    part = (await make(api, "inventory", rome)).value
    assert (part["state"], part["result"]["rows"]) == ("succeeded", 1)
    assert b"'=core-rome" in (await fetch(api, part["id"], rome)).raw and b"oslo" not in (await fetch(api, part["id"])).raw
    oslo = await token(api, database, "jobs:read", "devices:read", site="oslo")
    assert (await fetch(api, part["id"], oslo)).status == 404


async def test_a_schedule_makes_one(api: Api, database: Database):
    """With the rights that its maker had for this, and for nothing else."""
    headers = await token(api, database, "jobs:schedule", "devices:read", site="rome")
    new = {"name": "monthly", "kind": "report.availability", "args": {"format": "xlsx", "period": "previous_month"}, "cron": "30 3 1 * *"}
    assert (await api.post("/schedules", new, role=None, headers=headers)).status == 201
    refused = await api.post("/schedules", {**new, "name": "other", "kind": "report.drift"}, role=None, headers=headers)
    assert refused.status == 403
    due = datetime.now(UTC)
    async with database.acquire() as conn:
        await conn.execute("update job_schedules set due_at = $1, fires_at = $1", due)
    await schedules.fire(database, api.deps.kinds, api.deps.keyring, datetime.now(UTC))
    async with asyncio.timeout(60):  # the worker may have been quicker to fire it, and not be done with that
        while not (made := (await api.get("/jobs?kind=report.availability")).value["items"]):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)
    done = await api.deps.watch.ended(database, system(1), made[0]["id"], 50)
    last = due.date().replace(day=1) - timedelta(days=1)
    assert (done.state, done.result["rows"], done.result["file"]) == ("succeeded", 1, f"availability_{last.replace(day=1)}_{last}.xlsx")
