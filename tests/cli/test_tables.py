"""Tables as files from the command line."""

import msgspec

from netd.cli.reports import REPORTS
from netd.cli.tables import TABLES
from netd.domain import reports, tables
from tests.cli.conftest import Netd


def test_the_command_knows_what_there_is() -> None:
    assert {name: table.path for name, table in TABLES.items()} == {name: table.path for name, table in tables.TABLES.items()}
    assert {name: {*report.options, "format"} for name, report in REPORTS.items()} == {
        report.name: {each.name for each in msgspec.structs.fields(report.query)} for report in reports.REPORTS
    }
    for name, table in TABLES.items():
        assert set(table.header.split(",")) <= {column.name for column in tables.TABLES[name].columns}


async def test_out_and_in_again(netd: Netd, tmp_path) -> None:
    await netd("plan", "add", "home", "--down", "100M", "--up", "20M")
    await netd("subscriber", "add", "alice", "--password", "wonderland", "--plan", "home", "--note", "=1+1")
    await netd("subscriber", "add", "bob", "--password", "builder", "--plan", "home", "--state", "pending")
    shown = await netd("export", "subscribers", "-", "--filter", "state=active")
    assert (shown.code, len(shown.out.splitlines()), "alice,home,active" in shown.out, "wonderland" in shown.out) == (0, 2, True, False)
    for name in ("all.csv", "all.xlsx"):
        assert (await netd("export", "subscribers", name, "--secrets")).code == 0
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        same = await netd("import", "subscribers", name, "--mode", "upsert")
        assert (same.code, same.out) == (0, "0 subscribers imported, 2 unchanged\n")
    text = (tmp_path / "all.csv").read_text()
    assert "wonderland" in text
    (tmp_path / "all.csv").write_text(text.replace("'=1+1", "changed").replace("bob", "carol"))
    assert (await netd("import", "subscribers", "all.csv", "--mode", "upsert")).out == "2 subscribers imported (1 made, 1 changed)\n"
    bad = await netd("import", "plans", "-", "--dry-run", stdin="name,down_bps,up_bps,dns\ngold,x,1\nsilver,9,1000,192.0.2.999\n")
    assert (bad.code, bad.err.splitlines()) == (2, [
        "standard input:2: has 3 cells where the header has 4", "standard input:3: down_bps: must be at least 1000",
        "standard input:3: dns: '192.0.2.999' is not an IP address",
    ])  # fmt: skip


async def test_reports(netd: Netd, tmp_path) -> None:
    assert (await netd("report", "subscribers-by-plan", "-")).out == "plan,pending,active,suspended,terminated,all\r\n"
    assert (await netd("report", "usage-by-plan", "usage.pdf", "--first", "2026-11-01")).code == 0
    assert (tmp_path / "usage.pdf").read_bytes().startswith(b"%PDF-")


async def test_what_cannot_be_done_leaves_no_file(netd: Netd, tmp_path) -> None:
    for arguments, code, told in (
        (("export", "plans", "plans.pdf"), 2, "its name must end in .csv or .xlsx"), (("export", "plans", "plans.csv", "--filter", "x"), 2, "NAME=VALUE"),
        (("export", "plans", "plans.csv", "--filter", "x=1"), 2, "x: is not known here"), (("export", "plans", "nowhere/plans.csv"), 1, "No such file"),
    ):  # fmt: skip
        ended = await netd(*arguments)
        assert (ended.code, told in ended.err) == (code, True), ended.err
    assert list(tmp_path.glob("*plans*")) + list(tmp_path.glob(".plans*")) == []
