"""``netd report`` and ``netd job file``"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from openpyxl import load_workbook

from netd.store.database import Database
from netd.work.jobs import JobService
from tests.cli.conftest import Netd
from tests.web.running import Api, running
from tests.work.jobs import serving


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Api]:
    async with running(database, tmp_path) as started, serving(JobService(database, started.deps.kinds, started.deps.keyring)):
        yield started


async def test_reports_of_devices(netd: Netd, api: Api, tmp_path: Path) -> None:
    await api.post("/sites", {"name": "oslo"})
    for name, site in (("core1", "oslo"), ("edge1", None)):
        await api.post("/devices", {"hostname": name, "mgmt_address": "192.0.2.1", "vendor": "generic", **({"site": site} if site else {})})
    assert [line.split(",")[0] for line in (await netd("report", "inventory", "-")).out.splitlines()] == ["device", "core1", "edge1"]
    assert len((await netd("report", "drift", "-", "--site", "oslo", "--problems")).out.splitlines()) == 2
    used = await netd("report", "interface-utilisation", "used.xlsx", "--period", "previous_month", "--top", "5", "--vendor", "generic")
    assert (used.code, load_workbook(tmp_path / "used.xlsx").worksheets[0]["A1"].value) == (0, "device")
    wrong = await netd("report", "availability", "a.pdf", "--group", "nobody")
    assert (wrong.code, wrong.err, (tmp_path / "a.pdf").exists()) == (2, "netd: group: there is no group nobody\n", False)
    assert (await netd("report", "availability", "a.pdf", "--period", "last_year")).code == 2
    assert (await netd("report", "availability", "a.pdf", "--period", "yesterday")).code == 0
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF-")


async def test_the_file_of_a_job(netd: Netd, tmp_path) -> None:
    assert (await netd("job", "start", "report.subscribers-by-plan", "--follow")).code == 0
    assert (await netd("job", "file", "1", "kept.csv")).code == 0
    kept = tmp_path / "kept.csv"
    assert (kept.read_bytes(), kept.stat().st_mode & 0o777) == (b"plan,pending,active,suspended,terminated,all\r\n", 0o600)
    assert (await netd("job", "file", "1", "-")).out == "plan,pending,active,suspended,terminated,all\r\n"
    missing = await netd("job", "file", "9", "none.csv")
    assert (missing.code, missing.err) == (1, "netd: job 9 does not exist\n")
    assert [*tmp_path.glob("*.csv*")] == [kept]
