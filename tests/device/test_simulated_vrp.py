"""A whole configuration on simulated VRP routers, over real sockets: VRP 8 rolls back to it, VRP 5 starts with it."""

from typing import Any

import pytest

from netd.errors import PeerError
from netd.extensions import Extensions
from netd.model.device import Outcome
from netd.sdk.terminal import Refused
from netd.simulate import Quirks, Simulated
from tests.device.simulators import Lab, lab

PLAIN = "sysname edge1\nsnmp-agent community read cipher canary\ninterface GigabitEthernet0/1/0\n description core\n"
EXTRA = ("interface GigabitEthernet0/1/0", "description other", "vlan 10", "description new")
STAGED = {"two_stage": "yes"}


@pytest.fixture(scope="module")
def extensions() -> Extensions:
    return Extensions.discover(packages=())


def router(facts: dict[str, str], **quirks: Any) -> Simulated:
    version = "V800R011C00SPC200" if facts else "V200R019C00"
    device = Simulated("edge1", version=version, configuration=PLAIN, facts=facts, quirks=Quirks(**quirks))
    device.files["vrpcfg.zip"] = PLAIN.encode()
    return device


async def changed(it: Lab) -> tuple[str, str]:
    before = await it.run(it.driver.configuration("running"))
    await it.run(it.driver.configure(EXTRA))
    after = await it.run(it.driver.configuration("running"))
    assert it.driver.normal(before) != it.driver.normal(after)
    return before, after


async def runs(it: Lab, text: str) -> bool:
    return bool(it.driver.normal(await it.run(it.driver.configuration("running"))) == it.driver.normal(text))


@pytest.mark.parametrize("facts", [STAGED, {}], ids=["VRP 8", "VRP 5"])
async def test_it_is_restored(extensions: Extensions, facts: dict[str, str]) -> None:
    device = router(facts, page_lines=10)
    async with lab(extensions, "huawei_vrp", device) as it:
        before, _ = await changed(it)
        assert await it.run(it.driver.restore(before)) is Outcome.OK
        assert await runs(it, before)
    assert device.startup.render() == device.running.render()
    assert device.facts.get("next_configuration", "vrpcfg.zip") == "vrpcfg.zip"
    assert set(device.files) == {"vrpcfg.zip"}  # what was put there had secrets
    assert device.generation == (0 if facts else 1)


async def test_a_rollback_that_leaves_something(extensions: Extensions) -> None:
    """It is told, without its secrets, and nothing is saved."""
    device = router(STAGED, refuses=("snmp-agent community read cipher canary",))
    async with lab(extensions, "huawei_vrp", device) as it:
        before, _ = await changed(it)
        assert await it.run(it.driver.restore(before)) is Outcome.UNVERIFIED
        (note,) = it.notes
        assert "does not say that the rollback succeeded" in note and "community read cipher" in note and "canary" not in note
        assert "canary" in device.startup.render() and "canary" not in device.running.render()


async def test_a_start_that_leaves_something(extensions: Extensions) -> None:
    """The file that it started with before is not touched, and its name is in the job's log."""
    device = router({}, refuses=("snmp-agent community read cipher canary",))
    async with lab(extensions, "huawei_vrp", device) as it:
        before, _ = await changed(it)
        assert await it.run(it.driver.restore(before)) is Outcome.UNVERIFIED
        assert any("flash:/vrpcfg.zip" in note for note in it.notes)
        assert device.files["vrpcfg.zip"] == PLAIN.encode()


SHUT = ("user-interface vty 0 4", "acl NOBODY inbound")


async def test_a_change_that_lets_nobody_in(extensions: Extensions) -> None:
    """A trial is aborted; the open session would not have noticed."""
    device = router(STAGED)
    async with lab(extensions, "huawei_vrp", device) as it:
        before = await it.run(it.driver.configuration("running"))
        with pytest.raises(Refused, match="nobody can log in") as refusal:
            await it.run(it.driver.configure(SHUT))
        assert refusal.value.outcome is Outcome.FAILED and await runs(it, before)
    assert not device.shut and "abort trial" in device.log and "commit" not in device.log


async def test_a_version_that_lets_nobody_in(extensions: Extensions) -> None:
    device = router(STAGED)
    async with lab(extensions, "huawei_vrp", device) as it:
        before = await it.run(it.driver.configuration("running"))
        with pytest.raises(Refused, match="nobody can log in"):
            await it.run(it.driver.restore(before.replace("\nreturn", "\nuser-interface vty 0 4\n acl NOBODY inbound\nreturn")))
        assert await runs(it, before)
    assert not device.shut and "save" not in device.log


async def test_a_candidate_with_a_refused_line_is_thrown_away(extensions: Extensions) -> None:
    device = router(STAGED)
    async with lab(extensions, "huawei_vrp", device) as it:
        before = await it.run(it.driver.configuration("running"))
        done = await it.run(it.driver.configure([*EXTRA, "nonsense"]))
        assert done[-1][1] is Outcome.SYNTAX and await runs(it, before)
    assert not any(line.startswith("commit") for line in device.log)


async def test_a_release_without_a_trial(extensions: Extensions) -> None:
    """It is committed on the way out."""
    async with lab(extensions, "huawei_vrp", router(STAGED, lacks=("commit trial 120",))) as it:
        _, after = await changed(it)
        assert "description other" in after


async def test_a_failed_change_does_not_restart_anything(extensions: Extensions) -> None:
    device = router({})
    async with lab(extensions, "huawei_vrp", device) as it:
        before, after = await changed(it)
        with pytest.raises(PeerError, match="restart"):
            await it.run(it.driver.take_back(before, save=True))
        assert await runs(it, after)
    assert device.generation == 0
    async with lab(extensions, "huawei_vrp", router(STAGED)) as it:
        before, after = await changed(it)
        assert await it.run(it.driver.take_back(before, save=True)) is Outcome.OK
        assert await runs(it, before)


@pytest.mark.parametrize("facts", [STAGED, {}], ids=["VRP 8", "VRP 5"])
async def test_a_file_that_was_damaged_on_its_way(extensions: Extensions, facts: dict[str, str]) -> None:
    device = router(facts, damages_files=True)
    async with lab(extensions, "huawei_vrp", device) as it:
        before, after = await changed(it)
        with pytest.raises(Refused) as refusal:
            await it.run(it.driver.restore(before))
        assert refusal.value.outcome is Outcome.UNVERIFIED
        assert await runs(it, after)
    assert set(device.files) == {"vrpcfg.zip"}


async def test_a_rollback_while_somebody_else_configures(extensions: Extensions) -> None:
    device = router(STAGED)
    async with lab(extensions, "huawei_vrp", device) as it:
        before, after = await changed(it)
        device.quirks.locked_by = "noc"
        with pytest.raises(Refused):
            await it.run(it.driver.restore(before))
        assert await runs(it, after)
    assert set(device.files) == {"vrpcfg.zip"}
