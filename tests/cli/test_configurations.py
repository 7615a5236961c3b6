"""``netd device backup`` and what comes of it, by the command line and the API, with a simulated router over SSH."""

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from netd.store.database import Database
from tests.web.running import Api, running
from tests.work.labs import Lab, laboratory
from tests.work.test_configurations import CANARIES, router


@pytest.fixture
async def lab(database: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(database, tmp_path) as made:
        yield made


@pytest.fixture
async def api(lab: Lab, database: Database, tmp_path: Path) -> AsyncIterator[Api]:
    async with running(database, tmp_path, tools=lab.tools, catalogue=lab.catalogue) as started:
        yield started


async def test_configurations(netd, lab: Lab, api: Api, tmp_path: Path):
    device = router()
    async with lab.simulated("mikrotik_routeros", device):
        for action in ("drift", "diff", "approve"):
            unread = await netd("device", action, "edge1")
            assert (unread.code, unread.out, unread.err) == (1, "", "netd: no version of edge1 is known: netd device backup edge1\n"), action
        assert (await netd("device", "drift", "edge1", "--json")).code == 1
        assert (await netd("device", "diff", "edge9")).err == (await netd("config", "show", "edge9")).err == "netd: device edge9 does not exist\n"
        backed = await netd("device", "backup", "edge1")
        assert backed.code == 0 and backed.out.splitlines()[-1] == "edge1: succeeded: version 1, new"
        assert (await netd("device", "backup")).code == 2
        assert (await netd("device", "drift", "edge1")).out == "nothing says how edge1 should be configured: netd device approve edge1\n"
        assert (await netd("device", "diff", "edge1")).err == "netd: there is only one version of what edge1 runs\n"
        assert (await netd("device", "approve", "edge1", "--note", "as built")).out == "version 1 of edge1 is approved\n"
        assert (await netd("device", "drift", "edge1")).out.startswith("edge1 is configured as it should be: as approved, read at 20")
        device.running.put(("/ip address",), "add address=192.0.2.1/24 interface=ether1")
        assert (await netd("device", "backup", "--all")).out.splitlines()[-1] == "edge1: succeeded: version 2, new; differs from what is approved"
        drift = await netd("device", "drift", "edge1")
        assert drift.code == 1 and "+add address=192.0.2.1/24 interface=ether1" in drift.out
        diff = await netd("device", "diff", "edge1")
        assert diff.out.startswith("--- edge1 running 1 (") and "+add address=192.0.2.1/24 interface=ether1" in diff.out
        listed = (await netd("config", "list", "--device", "edge1")).out.splitlines()[1:]
        assert [line.split()[2] for line in listed] == ["2", "1"]
        status = (await netd("config", "status", "--drifted")).out.splitlines()
        assert status[1].split()[:3] == ["edge1", "-", "approved"]
        shown, revealed = await netd("config", "show", "edge1", "1"), await netd("config", "show", "edge1", "1", "--reveal")
        assert "192.0.2.1/24" not in shown.out and "192.0.2.1/24" in (await netd("config", "show", "edge1")).out
        assert (await netd("config", "show", "edge1", "9")).err == "netd: there is no version 9 of what edge1 runs\n"
        assert "password=<secret>" in shown.out and "password=canaryppp" in revealed.out
        foreseen = await netd("device", "restore", "edge1", "1")
        assert foreseen.code == 0 and "-add address=192.0.2.1/24 interface=ether1" in foreseen.out and device.generation == 0
        restored = await netd("device", "restore", "edge1", "1", "--commit")
        assert restored.code == 0 and "192.0.2.1" not in device.running.render()
        assert (await netd("device", "restore", "edge1", "9")).err == "netd: there is no version 9 of what edge1 runs\n"
        seen = await netd("device", "show-commands", "edge1", "-c", "/ip arp print terse without-paging")
        assert seen.code == 0 and "edge1> /ip arp print terse without-paging" in seen.out and "address=192.0.2.2" in seen.out
        told = (await netd("device", "show-commands", "edge1", "-c", "/ip arp print terse without-paging", "--json")).value
        assert told["job"]["state"] == told["targets"][0]["state"] == "succeeded" and "192.0.2.2" in told["targets"][0]["result"]["outputs"][0]["output"]
        told = (await netd("device", "backup", "--all", "--detach", "--json")).value
        assert (told["job"]["kind"], told["targets"]) == ("config.backup", [])
        assert (await netd("job", "log", str(told["job"]["id"]), "--follow")).code == 0
        await netd("device-group", "add", "olts", "--kinds", "olt")
        assert (await netd("device", "backup", "--group", "olts")).err.endswith("netd: no device is among them\n")
        lines = tmp_path / "lines"
        lines.write_text("/ip address\nadd address=192.0.2.2/24 interface=ether2\n")
        changed = await netd("device", "change", "edge1", "--lines", str(lines))
        assert changed.code == 0 and "+add address=192.0.2.2/24 interface=ether2" in changed.out and "192.0.2.2" not in device.running.render()
        expect = ("--expect", "add address=192.0.2.2/24 interface=ether2")
        assert (await netd("device", "change", "edge1", "--lines", str(lines), *expect, "--commit")).code == 0
        assert "192.0.2.2" in device.running.render()
        everything = shown.out + drift.out + diff.out + foreseen.out + restored.out + changed.out
        assert not any(canary in everything for canary in CANARIES)


async def test_recommended_software(netd, api: Api, database: Database):
    told = {"software_version": {"value": "7.16.2", "source": "snmp", "at": (datetime.now(UTC) - timedelta(days=40)).isoformat()}}
    async with database.acquire() as conn:
        await conn.execute(
            """insert into devices (tenant_id, hostname, mgmt_address, vendor, platform, model, observed)
               select 1, 'ccr' || n, '192.0.2.1', 'mikrotik', 'mikrotik_routeros', 'CCR', $1 from generate_series(1, 3) n""", told,
        )  # fmt: skip
    shown = await netd("software", "recommend")
    assert "mikrotik_routeros  CCR          3  7.16.2       3 of 3 run 7.16.2, all of them" in shown.out
    assert (await netd("software", "compliance")).out.splitlines()[-1].startswith("nobody said what CCR should run; recommended is 7.16.2: 3 of 3 run")
    assert (await netd("software", "recommend", "--want")).err == "netd: --want needs --platform and --model\n"
    none = await netd("software", "recommend", "--want", "--platform", "mikrotik_routeros", "--model", "CCR", "--days", "60")
    assert none.code == 1 and "no version runs on 2 of 3 for 60 days" in none.err
    assert (await api.get("/software-targets")).value["items"] == []
    taken = await netd("software", "recommend", "--want", "--platform", "mikrotik_routeros", "--model", "ccr")
    assert taken.code == 0 and taken.out.startswith("CCR should run 7.16.2: 3 of 3 run 7.16.2, all of them")
    (target,) = (await api.get("/software-targets")).value["items"]
    assert (target["model"], target["software_version"], target["reason"]) == ("CCR", "7.16.2", taken.out.strip().partition(": ")[2])
    assert "CCR" not in (await netd("software", "recommend")).out and (await netd("software", "compliance")).code == 0


async def test_software(netd, lab: Lab, api: Api, tmp_path: Path):
    image = tmp_path / "routeros-7.17.npk"
    image.write_bytes(b"npk" * 100_000)
    command = ("software", "add", str(image), "--platform", "mikrotik_routeros", "--version", "7.17")
    assert (await netd(*command)).out.startswith("image 1: routeros-7.17.npk, ")
    assert "the platform has an image of this version" in (await netd(*command)).err
    query = {"platform": "mikrotik_routeros", "software_version": "7.18", "file_name": "x", "sha256": hashlib.sha256(b"other").hexdigest()}
    refused = await api.call("POST", "/software-images", params=query, data=b"this", headers={"Content-Type": "application/octet-stream"})
    assert refused.status == 422 and "the file has the SHA-256" in str(refused.value)
    device = router()
    async with lab.simulated("mikrotik_routeros", device):
        assert (await netd("software", "want", "mikrotik_routeros", "7.17", "--reason", "CVE-2026-1")).code == 0
        await netd("device", "backup", "edge1")
        judged = await netd("software", "compliance")
        assert judged.code == 1 and judged.out.splitlines()[-1] == "1 device should move to 7.17: CVE-2026-1"
        upgraded = await netd("device", "upgrade", "edge1", "--image", "1")
        assert upgraded.code == 0 and upgraded.out.splitlines()[-1] == "edge1: succeeded: 7.16.2 -> 7.17"
        assert (await netd("software", "compliance")).code == 0 and device.version == "7.17"
    assert (await netd("software", "remove", "1")).out == "image 1 is removed\n" and list((tmp_path / "images").iterdir()) == []


async def test_templates(netd, lab: Lab, api: Api, tmp_path: Path):
    async with lab.simulated("mikrotik_routeros", router(), role="access"):
        made = await netd("template", "set", "access", "--role", "access", "--body", "-", stdin="# {{ device.hostname }} {{ ntp }}\n")
        assert made.out == "template access is at version 1\n"
        checked = await netd("template", "check")
        assert checked.code == 1 and "edge1: access, line 1: 'ntp' is undefined" in checked.out
        assert (await netd("template", "variables", "--set", '{"ntp": "192.0.2.1"}')).code == 0
        assert (await netd("template", "preview", "access", "edge1")).out == "# edge1 192.0.2.1\n"
        assert (await netd("template", "variables", "--set", '{"ntp": "192.0.2.2"}', "--role", "access")).code == 0
        assert (await netd("template", "preview", "access", "edge1")).out == "# edge1 192.0.2.2\n"
        assert (await netd("template", "set", "access", "--body", "-", stdin="two\n")).out == "template access is at version 2\n"
        bodies = await api.get("/templates/1/bodies")
        assert [each["body"] for each in bodies.value["items"]] == ["two\n", "# {{ device.hostname }} {{ ntp }}\n"]
        assert (await netd("template", "remove", "access")).code == 0
        assert (await netd("template", "check")).out.splitlines() == [
            "for 0 of 1 devices there is a template that renders", "edge1: there is no template of its role",
        ]  # fmt: skip
