"""Configurations of devices: read, kept as versions, compared; against simulators over SSH and against FRRouting's vtysh behind OpenSSH."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import msgspec
import pytest

from netd.config import ConfigurationsConfig
from netd.domain import configurations, jobs, schedules, sites, templates
from netd.domain.actor import Actor, Grant
from netd.domain.choice import DeviceChoice
from netd.domain.configurations import Approval
from netd.domain.jobs import NewJob
from netd.domain.rendering import Renderer
from netd.domain.templates import NewTemplate, Preview
from netd.errors import InvalidInput
from netd.model.configuration import Template
from netd.model.inventory import Selector
from netd.simulate import Quirks, Simulated
from netd.store.database import Database
from netd.work.gitexport import ExportFailed, exporter
from netd.work.sessions import Opened
from tests.device.conftest import USER, Peer, frr, sshd  # noqa: F401 - fixtures
from tests.work.jobs import known
from tests.work.labs import ACTOR, Lab, laboratory

ROUTER = """\
/interface bridge
 add name=lan
/ppp secret
 add name=u1 password=canaryppp
/snmp community
 set [ find default=yes ] name=canarysnmp
"""
CANARIES = ("canaryppp", "canarysnmp", "canaryios", "canaryvty", "enable-secret", "BEGIN OPENSSH")


@pytest.fixture
async def lab(database: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(database, tmp_path) as made:
        yield made


def router(name: str = "edge1", version: str = "7.16.2", **quirks: object) -> Simulated:
    return Simulated(name, version=version, configuration=ROUTER, facts={"model": "RB4011iGS+"}, quirks=Quirks(**quirks))  # type: ignore[arg-type]


async def leaks(lab: Lab) -> list[str]:
    """Tables in which a secret of a device stands in the clear."""
    found = []
    for row in await lab.rows("select relname from pg_class where relkind = 'r' and relnamespace = current_schema()::regnamespace"):
        for each in await lab.rows(f"select to_jsonb(t)::text as text from {row['relname']} t"):
            found += [f"{row['relname']}: {canary}" for canary in CANARIES if canary in each["text"]]
    return found


async def test_a_backup_is_kept_once_and_shown_without_secrets(lab: Lab) -> None:
    device = router()
    async with lab.simulated("mikrotik_routeros", device):
        job = await lab.done("config.backup", devices=["edge1"])
        assert job.result == {"devices": 1, "succeeded": 1}
        state = await lab.state("edge1")
        assert (state.drift, state.error, state.startup_id, state.approved_id) == ((), None, None, None) and state.running_id is not None
        shown = await lab.shown(state.running_id)
        assert "add name=lan" in shown.text and "password=<secret>" in shown.text and not any(canary in shown.text for canary in CANARIES)
        await lab.done("config.backup", selector={})
        assert (await lab.state("edge1")).running_id == state.running_id, "the date in the export is no change"
        assert await lab.rows("select count(*) as n from configuration_texts") == [{"n": 1}]
        revealed = await configurations.reveal(lab.database, ACTOR, lab.keyring, state.running_id)
        assert "password=canaryppp" in revealed.text and not revealed.masked
        (row,) = await lab.rows("select actor, after from audit_log where action = 'configuration.reveal'")
        assert row["actor"] == "ann" and row["after"]["device"] == "edge1"
        (device_row,) = await lab.rows("select host_keys, observed from devices where hostname = 'edge1'")
        assert device_row["host_keys"] and device_row["observed"]["software_version"]["value"] == "7.16.2"
        assert await lab.rows("select protocol from device_credentials") == [{"protocol": "ssh"}]
    assert await leaks(lab) == []


async def test_what_is_cut_is_not_kept(lab: Lab) -> None:
    async with lab.simulated("mikrotik_routeros", router(cut_octets=100)):
        job = await lab.done("config.backup", state="failed", devices=["edge1"])
        (target,) = await lab.targets(job)
        assert target.state == "failed" and target.said is not None and "it was cut" in target.said
        state = await lab.state("edge1")
        assert state.running_id is None and "it was cut" in (state.error or "")


async def test_drift_from_what_was_approved_and_saved(lab: Lab) -> None:
    device = Simulated("core1", version="15.2(4)", configuration="interface GigabitEthernet0/1\n description up\nsnmp-server community canaryios RO\n")
    async with lab.simulated("cisco_ios", device):
        await lab.done("config.backup", devices=["core1"])
        state = await lab.state("core1")
        assert state.startup_id is not None and state.running_id is not None and state.drift == ()
        approved = await configurations.approve(lab.database, ACTOR, state.running_id, Approval(note="as built"), state.backed_up_at)  # type: ignore[arg-type]
        assert approved.approved_by == "ann"
        device.running.put(("interface GigabitEthernet0/1",), "description behind netd's back")
        device.running.put((), "snmp-server community canarysnmp RW")
        await lab.done("config.backup", devices=["core1"])
        view = await lab.drift("core1")
        assert view.state.drift == ("approved", "saved") and view.approved is not None and view.saved is not None
        assert "+ description behind netd's back" in view.approved.text and "+snmp-server community <secret> RW" in view.approved.text
        assert "canary" not in view.approved.text + view.saved.text
        (told,) = await lab.events("configuration.drifted")
        assert told == {"device": "core1", "drift": ["approved", "saved"], "before": []}
        (changed,) = await lab.events("configuration.changed")
        diff = await configurations.compare(
            lab.database, ACTOR, lab.keyring, lab.extensions.platforms, changed["before_id"], changed["configuration_id"]
        )  # fmt: skip
        assert (diff.before.number, diff.after.number) == (1, 2) and diff.added >= 2 and "canary" not in diff.text
        device.startup = device.running.copy()
        await configurations.approve(lab.database, ACTOR, changed["configuration_id"], Approval(), state.backed_up_at)  # type: ignore[arg-type]
        await lab.done("config.backup", devices=["core1"])
        assert (await lab.state("core1")).drift == () and (await lab.events("configuration.settled"))
    assert await leaks(lab) == []


async def test_a_changed_host_key_is_refused_and_told(lab: Lab) -> None:
    device = router()
    async with lab.simulated("mikrotik_routeros", device):
        await lab.done("config.backup", devices=["edge1"])
        other = " ".join(asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode().split()[:2])
        await lab.rows("update devices set host_keys = array[$1]", other)
        job = await lab.done("config.backup", state="failed", devices=["edge1"])
        (target,) = await lab.targets(job)
        assert "host key" in (target.said or "")
        (told,) = await lab.events("device.host_key_changed")
        assert told["pinned"] == [other] and told["shown"].startswith("SHA256:")
        assert device.sessions == 0


async def test_devices_that_are_not_there(lab: Lab) -> None:
    with pytest.raises(InvalidInput, match="there is no device nowhere"):
        await lab.submit("config.backup", devices=["nowhere"])
    with pytest.raises(InvalidInput, match="say with which devices"):
        await lab.submit("config.backup")


def ios(name: str, **quirks: object) -> Simulated:
    text = "interface GigabitEthernet0/1\n description up\nsnmp-server community canaryios RO\n"
    return Simulated(name, version="15.2(4)", configuration=text, quirks=Quirks(**quirks))  # type: ignore[arg-type]


async def template(lab: Lab, name: str, body: str, **members: Any) -> Template:
    return await templates.create(lab.database, ACTOR, NewTemplate(name=name, body=body, **members))


async def test_drift_from_what_is_intended(lab: Lab) -> None:
    body = "{% include 'base' %}\ninterface {{ uplink }}\n description to {{ device.hostname }}\n"
    await template(lab, "base", "{% for each in ntp %}\nntp server {{ each }}\n{% endfor %}\n")
    made = await template(lab, "access", body, role="access")
    for scope in ({"variables": {"ntp": ["192.0.2.1"], "uplink": "none"}}, {"variables": {"uplink": "GigabitEthernet0/1"}, "role": "access"}):
        await templates.create_variables(lab.database, ACTOR, templates.NewTemplateVariables(**scope))
    device = ios("core1")
    device.running.put((), "ntp server 192.0.2.1")
    device.startup = device.running.copy()
    async with lab.simulated("cisco_ios", device, role="access"):
        await lab.done("config.backup", devices=["core1"])
        intended = await templates.intended_of(lab.database, lab.database, Renderer(), ACTOR, (await lab.state("core1")).id)
        view = await configurations.drift(lab.database, ACTOR, lab.keyring, lab.extensions.platforms, (await lab.state("core1")).id, intended)
        assert view.state.drift == ("intended",) and view.intended is not None and view.template == "access"
        assert view.intended.text.splitlines()[2:] == [" interface GigabitEthernet0/1", "+ description to core1"]
        await lab.done("config.change", devices=["core1"], lines=["interface GigabitEthernet0/1", "description to core1"])
        assert (await lab.state("core1")).drift == ()
        await templates.update(lab.database, ACTOR, made.id, templates.TemplatePatch(body="ip domain lookup\n"))
        job = await lab.done("config.compare", selector={})
        assert [target.said for target in await lab.targets(job)] == ["differs from what is intended"]
        await templates.update(lab.database, ACTOR, made.id, templates.TemplatePatch(body="{{ nothing.such }}"))
        await lab.done("config.compare", devices=["core1"])
        assert "'nothing' is undefined" in ((await lab.state("core1")).intended or "")
        check = await templates.check(lab.database, Renderer(), ACTOR, DeviceChoice(selector=Selector()))
        assert check.rendered == 0 and [(fault.device, fault.template) for fault in check.faults] == [("core1", "access")]
        wanted = Preview(device="core1", body="{{ ntp[0] }} {{ more }}", variables={"more": 7})
        preview = await templates.preview(lab.database, Renderer(), ACTOR, made.id, wanted)
        assert preview.text == "192.0.2.1 7" and preview.error is None
    told = await lab.events("configuration.drifted", "configuration.settled")
    assert [each["drift"] for each in told] == [["intended"], [], ["intended"], []]


def history(folder: Path) -> str:
    command = ("git", "-C", folder, "log", "-p", "--format=%an %s")
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


async def test_the_export_is_made_by_git(lab: Lab, tmp_path: Path) -> None:
    git = exporter(ConfigurationsConfig(export="masked"), tmp_path / "export")
    assert git is not None and exporter(ConfigurationsConfig(), tmp_path) is None
    device = router()
    async with lab.simulated("mikrotik_routeros", device, router("edge 2")):
        await lab.done("config.backup", selector={})
        at = datetime(2026, 11, 26, 5, tzinfo=UTC)

        async def export() -> str | None:
            return await git.run(lab.database, lab.keyring, lab.extensions.platforms, 1, "job 1", at)

        first = await export()
        assert first is not None and await export() is None
        device.running.put(("/ip address",), "add address=192.0.2.1/24 interface=ether1")
        await lab.done("config.backup", selector={})
        second = await export()
        assert second is not None and second != first
        folder = tmp_path / "export" / "tenant-1"
        log = await asyncio.to_thread(history, folder)
        assert log.startswith("netd 2 devices, job 1") and "+add address=192.0.2.1/24 interface=ether1" in log and "password=<secret>" in log
        assert sorted(path.name.rpartition("-")[0] for path in folder.glob("*.cfg")) == ["edge1", "edge_2"]
        assert not any(canary in log for canary in CANARIES)
        (tmp_path / "broken").write_text("in the way")
        broken = exporter(ConfigurationsConfig(export="masked"), tmp_path / "broken")
        assert broken is not None
        with pytest.raises(ExportFailed):
            await broken.run(lab.database, lab.keyring, lab.extensions.platforms, 1, "job 1", at)


async def test_frr_is_backed_up_changed_behind_our_back_and_restored(lab: Lab, frr: Peer) -> None:  # noqa: F811 - the fixture
    """FRRouting's own vtysh behind OpenSSH."""
    await lab.credential(type="ssh", username=USER, private_key=frr.private_key)
    await lab.device("frr1", "generic_frr", frr.port)
    await lab.done("config.backup", devices=["frr1"])
    state = await lab.state("frr1")
    assert state.running_id is not None and state.backed_up_at is not None
    await configurations.approve(lab.database, ACTOR, state.running_id, Approval(), state.backed_up_at)

    async def behind(opened: Opened) -> None:
        await opened.run(opened.driver.configure(["interface dummy0", "description behind netd's back", "exit", "password canaryvty"]))

    assert lab.tools.sessions is not None
    await lab.tools.sessions.run(1, state.id, behind)
    await lab.done("config.backup", devices=["frr1"])
    view = await lab.drift("frr1")
    assert view.state.drift == ("approved",) and view.approved is not None
    assert "+ description behind netd's back" in view.approved.text and "canary" not in view.approved.text
    job = await lab.done("config.restore", device="frr1", configuration_id=state.running_id)
    (target,) = await lab.targets(job)
    assert target.outcome == "ok" and "- description behind netd's back" in target.result["diff"]
    assert (await lab.state("frr1")).drift == ()
    job = await lab.done("device.show", devices=["frr1"], commands=["show version"])
    (target,) = await lab.targets(job)
    assert "FRRouting" in target.result["outputs"][0]["output"]
    assert await leaks(lab) == []


async def test_a_job_reaches_the_sites_of_who_wants_it(lab: Lab) -> None:
    for name in ("oslo", "rome"):
        await sites.create_site(lab.database, ACTOR, sites.NewSite(name=name))
    (oslo,) = [row["id"] for row in await lab.rows("select id from sites where name = 'oslo'")]
    eve = Actor(
        tenant_id=1, name="eve", role="x", grants=(Grant(frozenset(("configurations:write",)), frozenset((oslo,))),), sites=frozenset((oslo,)), token_id=9
    )
    await known(lab.database, eve)
    async with lab.simulated("mikrotik_routeros", router("edge1"), site="oslo"), lab.simulated("mikrotik_routeros", router("edge2"), site="rome"):
        confined = lab.tools.database
        with pytest.raises(InvalidInput, match="there is no device edge2"):
            await jobs.submit(confined, eve, lab.kinds, lab.keyring, NewJob(kind="config.backup", args={"devices": ["edge2"]}), datetime.now(UTC))
        job = await jobs.submit(confined, eve, lab.kinds, lab.keyring, NewJob(kind="config.backup", args={"selector": {}}), datetime.now(UTC))
        (ended,) = await lab.until([job])
        assert ended.state == "succeeded" and [target.name for target in await lab.targets(ended)] == ["edge1"] and ended.sites == (oslo,)
        page = await configurations.states(confined, msgspec.structs.replace(eve, grants=()), configurations.StateQuery())
        assert [state.device for state in page.items] == ["edge1"]


async def test_the_first_device_brings_a_daily_schedule(lab: Lab) -> None:
    assert await lab.rows("select name from job_schedules") == []
    began = datetime.now(UTC)
    async with lab.simulated("mikrotik_routeros", router("edge1"), router("edge2")):
        (schedule,) = await lab.rows("select id, kind, args, fires_at, enabled from job_schedules")
        assert (schedule["kind"], schedule["args"], schedule["enabled"]) == ("config.backup", {"selector": {}}, True)
        assert began < schedule["fires_at"] <= datetime.now(UTC) + timedelta(hours=27)
        await lab.rows("update job_schedules set due_at = now() - interval '1 s', fires_at = now() - interval '1 s', jitter_seconds = 0")
        await schedules.fire(lab.database, lab.kinds, lab.keyring, datetime.now(UTC))
        (job,) = await lab.rows("select id from jobs")
        (ended,) = await lab.until([await jobs.get(lab.database, ACTOR, job["id"])])
        assert ended.state == "succeeded" and ended.targets == {"succeeded": 2} and ended.created_by == "netd"
        await schedules.delete(lab.database, ACTOR, schedule["id"])
        await lab.device("edge3", "mikrotik_routeros", 22)
        assert await lab.rows("select name from job_schedules") == [], "who removed it does not want it"


async def test_a_template_reads_none_of_other_sites(lab: Lab) -> None:
    """What it renders is shown to the people of the device's site, who may have written it."""
    for name in ("north", "south"):
        await sites.create_site(lab.database, ACTOR, sites.NewSite(name=name))
    await template(lab, "everywhere", "common\n")
    await template(lab, "secretsouth", "canary\n", role="core", site="south")
    await template(lab, "north", "{% include 'everywhere' %}{% include 'secretsouth' %}", role="access", site="north")
    async with lab.simulated("cisco_ios", ios("core1"), role="access", site="north"):
        (row,) = await lab.rows("select id from devices where hostname = 'core1'")
        found = await templates.intended_of(lab.database, lab.database, Renderer(), ACTOR, row["id"])
    assert found is not None and found.text is None and found.error == "north, line 1: there is no template secretsouth, or not for this device"
