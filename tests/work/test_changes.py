"""Commands, changes and restored versions, against simulators over SSH; what goes wrong is taken back, and stops the rest."""

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from netd.domain import configurations, jobs
from netd.domain.actor import Actor, Grant
from netd.domain.configurations import Approval
from netd.domain.jobs import Decision
from netd.domain.kinds import Kinds
from netd.errors import Conflict, InvalidInput, OutsideScope, PeerError, PeerUnreachable, StoreError, StoreUnavailable
from netd.model.device import Outcome
from netd.sdk.device import Backup, Configure
from netd.sdk.terminal import Refused
from netd.simulate import Simulated
from netd.store.database import Database
from tests.device.test_simulated_platforms import CASES, restorable
from tests.work.jobs import known
from tests.work.labs import ACTOR, Lab, laboratory
from tests.work.test_configurations import ios, leaks, router


@pytest.fixture
async def lab(database: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(database, tmp_path) as made:
        yield made


async def test_commands_that_show_something(lab: Lab) -> None:
    async with lab.simulated("cisco_ios", ios("core1"), ios("core2")):
        job = await lab.done("device.show", selector={}, commands=["show running-config", "show ip arp"])
        targets = await lab.targets(job)
        assert [target.name for target in targets] == ["core1", "core2"]
        for target in targets:
            config, arp = target.result["outputs"]
            assert "snmp-server community <secret>" in config["output"] and config["outcome"] == "ok" and "Internet" in arp["output"]
        job = await lab.done("device.show", state="failed", devices=["core1"], commands=["show no such thing"])
        (target,) = await lab.targets(job)
        assert target.outcome == "syntax" and target.said is not None and target.said.startswith("show no such thing: ")
        for command in (
            "configure terminal",
            "show run | redirect tftp://192.0.2.1/x",
            "/system reboot",
            "/ip address print file=x",
            "show run; reload",
            "reload",
        ):
            with pytest.raises(InvalidInput, match="/args/commands/0"):
                await lab.submit("device.show", devices=["core1"], commands=[command])
        with pytest.raises(InvalidInput, match="/args/commands/1: has a secret in it"):  # what is wanted is shown with the job
            await lab.submit("device.run", devices=["core1"], commands=["configure terminal", "snmp-server community canaryios RO"])
        job = await lab.done("device.run", devices=["core1"], commands=["show users ${word}"], secrets="word=canaryvty", state="failed")
        assert job.args["secrets"] == "***"
        (target,) = await lab.targets(job)
        assert target.said is not None and "show users ${word}" in target.said
    assert await leaks(lab) == []


async def test_a_change_and_what_stood_there_before(lab: Lab) -> None:
    device = ios("core1")
    async with lab.simulated("cisco_ios", device):
        lines = ["interface GigabitEthernet0/1", "description uplink", "exit", "snmp-server community ${ro} RO"]
        with pytest.raises(InvalidInput, match="/args/lines/0: has a secret in it"):
            await lab.submit("config.change", devices=["core1"], lines=["snmp-server community canaryios RO"])
        with pytest.raises(InvalidInput, match="there is no ro among the secrets"):
            await lab.submit("config.change", devices=["core1"], lines=lines)
        job = await lab.done("config.change.preview", devices=["core1"], lines=lines, secrets="ro=canarysnmp")
        (target,) = await lab.targets(job)
        assert "+description uplink" in target.result["diff"] and " interface GigabitEthernet0/1" in target.result["diff"]
        assert "description uplink" not in device.running.render()
        job = await lab.done("config.change", devices=["core1"], lines=lines, secrets="ro=canarysnmp")
        (target,) = await lab.targets(job)
        assert target.outcome == "ok" and "+ description uplink" in target.result["diff"] and "canary" not in str(target.result)
        assert "snmp-server community canarysnmp RO" in device.startup.render()
        sources = [row["source"] for row in await lab.rows("select source from configurations where which = 'running' order by number")]
        assert sources == ["before", "after"] and (await lab.state("core1")).drift == ()  # saved is what runs, as the next backup shows
    assert await leaks(lab) == []


async def test_a_change_stops_where_too_many_fail(lab: Lab) -> None:
    devices = [router(f"edge{number}") for number in range(5)]
    async with lab.simulated("mikrotik_routeros", *devices):
        lines = ["/ip address", "add address=192.0.2.1/24 interface=ether1", "add address=192.0.2.9/24 interface=ether9"]
        job = await lab.done("config.change", state="failed", selector={}, lines=lines, first=0, at_once=2, most_failed=0.2)
        targets = await lab.targets(job)
        assert sorted(target.state for target in targets) == ["failed", "failed", "skipped", "skipped", "skipped"]
        for target in targets:
            if target.state == "failed":
                assert target.outcome == "bad_reference" and target.result["rolled_back"] is True, target.said
        assert not any("192.0.2.1" in device.running.render() for device in devices)
        job = await lab.done("config.change", state="failed", selector={}, lines=lines, first=1, at_once=4, most_failed=1.0)
        assert job.targets == {"failed": 1, "skipped": 4}
        good = ["/ip address", "add address=192.0.2.1/24 interface=ether1"]
        job = await lab.done("config.change", selector={}, lines=good, expected=["add address=192.0.2.1/24 interface=ether1"])
        assert job.targets == {"succeeded": 5}
        job = await lab.done("config.change", state="failed", devices=["edge0"], lines=["/ip address", "add address=192.0.2.2/24 interface=ether2"],
                             expected=["add address=192.0.2.3/24 interface=ether2"])  # fmt: skip
        (target,) = await lab.targets(job)
        assert "is not there; taken back" in (target.said or "") and "192.0.2.2" not in devices[0].running.render()


@pytest.mark.parametrize("fault", [StoreUnavailable("gone"), Conflict("no")])
async def test_the_databases_faults_are_one_devices(lab: Lab, monkeypatch: pytest.MonkeyPatch, fault: StoreError) -> None:
    """An outage is waited for; what it refuses is that device's fault. The others are changed to the end either way."""
    kept, calls = configurations.keep, []

    async def once(*arguments: Any, **members: Any) -> Any:
        calls.append(members["source"])
        if members["source"] == "after" and calls.count("after") == 1:
            raise fault
        return await kept(*arguments, **members)

    monkeypatch.setattr(configurations, "keep", once)
    devices = [router(f"edge{number}") for number in range(3)]
    line = "add address=192.0.2.1/24 interface=ether1"
    refused = not isinstance(fault, StoreUnavailable)
    async with lab.simulated("mikrotik_routeros", *devices):
        job = await lab.done(
            "config.change", state="failed" if refused else "succeeded", selector={}, lines=["/ip address", line], first=0, most_failed=1.0
        )  # fmt: skip
    assert job.targets == ({"succeeded": 2, "unverified": 1} if refused else {"succeeded": 3})
    assert all("192.0.2.1" in device.running.render() for device in devices)


async def test_a_version_is_restored(lab: Lab) -> None:
    device = router()
    async with lab.simulated("mikrotik_routeros", device):
        await lab.done("config.backup", devices=["edge1"])
        first = (await lab.state("edge1")).running_id
        device.running.put(("/ip address",), "add address=192.0.2.1/24 interface=ether1")
        job = await lab.done("config.restore.preview", device="edge1", configuration_id=first)
        (target,) = await lab.targets(job)
        assert "-add address=192.0.2.1/24 interface=ether1" in target.result["diff"] and device.generation == 0
        job = await lab.done("config.restore", device="edge1", configuration_id=first)
        (target,) = await lab.targets(job)
        assert target.outcome == "ok" and "192.0.2.1" not in device.running.render() and "canaryppp" in device.running.render()
        job = await lab.done("config.restore", device="edge1", configuration_id=first)
        assert [target.outcome for target in await lab.targets(job)] == ["already"]
        with pytest.raises(InvalidInput, match="configuration 999 does not exist"):
            await lab.submit("config.restore", device="edge1", configuration_id=999)
    assert await leaks(lab) == []


async def test_a_session_that_breaks_in_the_middle(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    driver: Any = type(lab.extensions.platforms["mikrotik_routeros"].driver)
    whole = driver.configure

    def half(self: Any, lines: Sequence[str]) -> Any:
        yield from whole(self, lines[:-1])
        raise PeerUnreachable("edge1: the connection was lost", "lost")

    monkeypatch.setattr(driver, "configure", half)
    device = router()
    async with lab.simulated("mikrotik_routeros", device):
        lines = ["/ip address", "add address=192.0.2.1/24 interface=ether1", "add address=192.0.2.2/24 interface=ether2"]
        job = await lab.done("config.change", state="failed", devices=["edge1"], lines=lines)
        (target,) = await lab.targets(job)
        assert target.said == "edge1: the connection was lost; taken back" and target.result["rolled_back"] is True
        assert "192.0.2.1" not in device.running.render() and "canaryppp" in device.running.render()
    assert await leaks(lab) == []


async def test_every_platform(lab: Lab) -> None:
    """Each platform that gives its configuration is backed up, changed by a job, and has then drifted from what was approved; no secret of any is shown."""
    platforms = [name for name, each in lab.extensions.platforms.items() if isinstance(each.driver, Backup)]
    able = {}
    async with AsyncExitStack() as stack:
        for number, platform in enumerate(platforms):
            case = CASES[platform]
            device = Simulated(f"edge{number}", version=case.version, configuration=case.configuration, facts=dict(case.facts or {}))
            await stack.enter_async_context(lab.simulated(platform, device))
            able[f"edge{number}"] = platform
        await lab.done("config.backup", selector={})
        for name in able:
            state = await lab.state(name)
            assert state.running_id is not None and state.backed_up_at is not None, able[name]
            assert "canary" not in (await lab.shown(state.running_id)).text, able[name]
            await configurations.approve(lab.database, ACTOR, state.running_id, Approval(), state.backed_up_at)
        for name, platform in able.items():
            if not isinstance(lab.extensions.platforms[platform].driver, Configure):
                continue
            job = await lab.submit("config.change", devices=[name], lines=list(CASES[platform].good))
            (ended,) = await lab.until([job])
            (target,) = await lab.targets(ended)
            assert target.state in ("succeeded", "unverified"), (platform, target)
            assert target.result["added"] and "canary" not in str(target.result), (platform, target)
            assert "approved" in (await lab.state(name)).drift, platform
    for row in await lab.rows("select text from job_log union all select result::text from job_targets union all select data::text from events"):
        assert "canary" not in str(row["text"])


async def test_a_change_of_a_router_that_is_taken_back(lab: Lab) -> None:
    """IOS is given back what it ran, or goes back itself; where nothing was changed nothing is given back."""
    device = ios("core1")
    before = device.running.render()
    async with lab.simulated("cisco_ios", device):
        job = await lab.done("config.change", state="failed", devices=["core1"], lines=["interface GigabitEthernet0/1", "description x", "nonsense"])
        (target,) = await lab.targets(job)
        assert (target.outcome, target.result["rolled_back"]) == ("syntax", True) and (target.said or "").endswith("taken back")
        assert device.running.render() == before and any("configure replace" in line for line in device.log)
        device.log.clear()
        lines = ["archive", "path flash:kept", "exit", "line vty 0 4", "access-class NOBODY in"]
        job = await lab.done("config.change", devices=["core1"], lines=lines[:2])
        before = device.running.render()
        job = await lab.done("config.change", state="failed", devices=["core1"], lines=lines)
        (target,) = await lab.targets(job)
        assert "nobody can log in" in (target.said or "") and (target.said or "").endswith("; nothing of it stayed")
        assert device.running.render() == before
        device.log.clear()
        job = await lab.done("config.change", state="failed", devices=["core1"], lines=["nonsense"])
        (target,) = await lab.targets(job)
        assert (target.said or "").endswith("; nothing of it stayed") and not any("configure replace" in line for line in device.log)
        await lab.done("config.backup", devices=["core1"])
        first = (await lab.state("core1")).running_id
        await lab.done("config.change", devices=["core1"], lines=["interface GigabitEthernet0/1", "description x"])
        await lab.done("config.restore", device="core1", configuration_id=first)
        assert device.running.render() == before == device.startup.render()
    assert await leaks(lab) == []


async def test_a_change_that_only_a_restart_would_take_back(lab: Lab) -> None:
    device = Simulated("s1", version="V200R019C00", configuration="sysname s1\nvlan 9\n description x\n")
    lines = ["vlan 10", "description new", "nonsense"]
    async with lab.simulated("huawei_vrp", device):
        await lab.done("config.backup", devices=["s1"])
        first = (await lab.state("s1")).running_id
        job = await lab.done("config.change", state="failed", devices=["s1"], lines=lines)
        (target,) = await lab.targets(job)
        assert "not taken back: VRP 5" in (target.said or "") and device.generation == 0
        await lab.done("config.restore", device="s1", configuration_id=first)
        assert device.generation == 1 and "vlan 10" not in device.running.render()


async def test_who_needs_a_second_person(lab: Lab) -> None:
    eve = Actor(tenant_id=1, name="eve", role="x", grants=(Grant(frozenset(("commands:run", "software:install", "jobs:write"))),), sites=None, token_id=9)
    await known(lab.database, eve)
    async with lab.simulated("cisco_ios", ios("core1")):
        order: dict[str, Any] = {"devices": ["core1"], "lines": ["interface GigabitEthernet0/1", "description x"]}
        assert (await lab.submit("config.change", actor=eve, **order)).state == "awaiting_approval"
        assert (await lab.submit("device.run", actor=eve, devices=["core1"], commands=["reload"])).state == "awaiting_approval"
        await lab.done("config.change.preview", actor=eve, **order)
        for kind in ("config.backup", "device.show"):
            with pytest.raises(OutsideScope):
                await lab.submit(kind, actor=eve, devices=["core1"])


async def test_what_must_be_gone_takes_back_no_other_change(lab: Lab) -> None:
    """Lines that the device writes in another way leave a change unverified, whatever is asked to be gone; and what is not gone takes it back."""
    case = CASES["nokia_srlinux"]
    device = Simulated("pe1", version=case.version, configuration=case.configuration)
    before = device.running.render()
    async with lab.simulated("nokia_srlinux", device):
        order: dict[str, Any] = {"devices": ["pe1"], "lines": ["# why", *case.good]}
        job = await lab.done("config.change", state="failed", **order, unexpected=["{"])
        (target,) = await lab.targets(job)
        assert (target.said or "").startswith("afterwards '{' is still there; ") and device.running.render() == before
        job = await lab.done("config.change", state="failed", **order, unexpected=["never there"])
        (target,) = await lab.targets(job)
        assert (target.state, target.said) == ("unverified", f"{case.good[0]!r} is not there")
        assert device.running.render() != before


async def test_secrets_of_what_is_looked_for(lab: Lab) -> None:
    async with lab.simulated("cisco_ios", ios("core1")):
        lines, wanted = ["snmp-server community ${ro} RO"], ["snmp-server community ${ro} RO", "snmp-server community canaryios RO"]
        with pytest.raises(InvalidInput, match="/args/expected/1: has a secret in it"):
            await lab.submit("config.change", devices=["core1"], lines=lines, expected=wanted, secrets="ro=canarysnmp")
        with pytest.raises(InvalidInput, match="/args/unexpected/0: there is no old among the secrets"):
            await lab.submit("config.change", devices=["core1"], lines=lines, unexpected=["snmp-server community ${old} RO"], secrets="ro=canarysnmp")
        job = await lab.done("config.change", devices=["core1"], lines=lines, expected=wanted[:1], secrets="ro=canarysnmp")
        assert [target.outcome for target in await lab.targets(job)] == ["ok"]
    assert await leaks(lab) == []


async def test_what_somebody_else_does_is_not_taken_back(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that is locked tells that somebody configures it: what differs then is his."""
    driver: Any = type(lab.extensions.platforms["cisco_ios"].driver)
    device = ios("core1")
    whole = driver.configure

    def while_another(self: Any, lines: Sequence[str]) -> Any:
        device.running.put(("interface GigabitEthernet0/1",), "description by somebody else")
        device.quirks.locked_by = "ann"
        return (yield from whole(self, lines))

    monkeypatch.setattr(driver, "configure", while_another)
    async with lab.simulated("cisco_ios", device):
        job = await lab.done("config.change", state="failed", devices=["core1"], lines=["hostname x"])
        (target,) = await lab.targets(job)
        assert target.outcome == "busy" and (target.said or "").endswith("; nothing was changed"), target
        assert "by somebody else" in device.running.render() and not any("replace" in line for line in device.log)


async def test_a_version_of_a_device_that_has_another_name_by_now(lab: Lab) -> None:
    devices = [ios("core1"), ios("core2")]
    async with lab.simulated("cisco_ios", *devices):
        await lab.done("config.backup", selector={})
        first, before = (await lab.state("core1")).running_id, devices[1].running.render()
        eve = Actor(tenant_id=1, name="eve", role="x", grants=(Grant(frozenset(("commands:run", "jobs:write"))),), sites=None, token_id=9)
        await known(lab.database, eve)
        job = await lab.submit("config.restore", actor=eve, device="core1", configuration_id=first)
        for old, new in (("core1", "core3"), ("core2", "core1")):
            await lab.rows("update devices set hostname = $2 where hostname = $1", old, new)
        await jobs.approve(lab.database, ACTOR, job.id, Decision(), datetime.now(UTC))
        (ended,) = await lab.until([job])
        assert (ended.state, ended.result["device"]) == ("succeeded", "core3")  # what was agreed to
        assert devices[1].running.render() == before and not any("replace" in line for line in devices[1].log)
        job = await lab.done("config.restore.preview", device="core3", configuration_id=first)
        shown = lab.kinds.get("config.restore.preview")
        lab.kinds = Kinds([dataclasses.replace(shown, reach=None)])  # names may change while a job waits
        job = await lab.done("config.restore.preview", state="failed", device="core1", configuration_id=first)
        assert job.error == f"configuration {first} is a version of core3, not of core1"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Refused("not you", Outcome.DENIED), Outcome.DENIED),
        (Refused("it did not say that it saved", Outcome.UNVERIFIED), Outcome.FAILED),
    ],
)
async def test_a_change_that_is_taken_back_has_failed(lab: Lab, monkeypatch: pytest.MonkeyPatch, error: PeerError, outcome: Outcome) -> None:
    """For the reason that the device gave; it is not unverified, nor well."""
    driver: Any = type(lab.extensions.platforms["mikrotik_routeros"].driver)

    def save(self: Any) -> Any:
        raise error
        yield

    monkeypatch.setattr(driver, "save", save)
    async with lab.simulated("mikrotik_routeros", router()):
        job = await lab.done("config.change", state="failed", devices=["edge1"], lines=["/ip address add address=192.0.2.1/24 interface=ether1"])
        (target,) = await lab.targets(job)
        assert (target.state, target.outcome, target.said) == ("failed", outcome, f"{error}; taken back")


@pytest.mark.parametrize("platform", ["cisco_ios", "huawei_vrp", "nokia_srlinux"])
async def test_taking_back_saves_nothing_that_others_left_unsaved(lab: Lab, platform: str) -> None:
    """Where the change was not to be saved."""
    case = CASES[platform]
    device = restorable(platform)
    unsaved = {"nokia_srlinux": "set / system information location somebody"}.get(platform, "ntp server 192.0.2.77")
    device.running.put((), unsaved)
    stored, before = device.startup.render(), device.running.render()
    async with lab.simulated(platform, device):
        order: dict[str, Any] = {"devices": [device.hostname], "lines": list(case.good), "expected": ["never there"]}
        job = await lab.done("config.change", state="failed", **order, save=False)
        (target,) = await lab.targets(job)
        assert (target.said or "").endswith("; taken back") and (device.running.render(), device.startup.render()) == (before, stored)
