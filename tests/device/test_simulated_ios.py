"""A whole configuration and new software on a simulated IOS router, over real sockets: files go by SCP, each over a connection of its own."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from netd.extensions import Extensions
from netd.model.device import Image, Outcome
from netd.sdk.terminal import Refused
from netd.simulate import Quirks, Simulated
from tests.device.simulators import Lab, lab

OLD, NEW = "15.7(3)M5", "15.9(3)M8"
PLAIN = "hostname edge1\nsnmp-server community canary RO\ninterface Gi0/1\n description core\n"
ARCHIVE = PLAIN + "archive\n path flash:kept\n"
EXTRA = ("interface Gi0/1", "description other", "interface Gi0/2", "description new")


@pytest.fixture(scope="module")
def extensions() -> Extensions:
    return Extensions.discover(packages=())


def router(configuration: str, *, facts: dict[str, str] | None = None, **quirks: Any) -> Simulated:
    known = {"enable": "enable-secret"} | (facts or {})
    device = Simulated("edge1", version=OLD, configuration=configuration, facts=known, quirks=Quirks(**quirks))
    device.files["flash:old.bin"] = b"15.7(3)M5\nold"
    return device


async def changed(it: Lab) -> tuple[str, str]:
    """The configuration before a change, and after it."""
    before = await it.run(it.driver.configuration("running"))
    await it.run(it.driver.configure(EXTRA))
    return before, await it.run(it.driver.configuration("running"))


def same(it: Lab, one: str, other: str) -> bool:
    return bool(it.driver.normal(one) == it.driver.normal(other))


@pytest.mark.parametrize("configuration", [PLAIN, ARCHIVE], ids=["no archive", "archive"])
async def test_it_is_restored(extensions: Extensions, configuration: str) -> None:
    device = router(configuration, alarms=4, page_lines=10)
    async with lab(extensions, "cisco_ios", device) as it:
        before, after = await changed(it)
        assert not same(it, before, after)
        assert await it.run(it.driver.restore(before)) is Outcome.OK
        assert same(it, before, await it.run(it.driver.configuration("running")))
    assert device.startup.render() == device.running.render()
    assert "flash:netd-restore.cfg" not in device.files  # it had secrets
    assert ("configure confirm" in device.log) == (configuration == ARCHIVE)
    assert it.notes == ([] if configuration == ARCHIVE else ["the router has no archive: it cannot go back by itself"])


async def test_lines_that_it_does_not_take(extensions: Extensions) -> None:
    """Without an archive the rest of them stays, and is not saved; what was refused is told without its secrets."""
    refused = "snmp-server community canary RO"
    async with lab(extensions, "cisco_ios", router(PLAIN, refuses=(refused, "description core"))) as it:
        before, _ = await changed(it)
        assert await it.run(it.driver.restore(before)) is Outcome.UNVERIFIED
        assert "not all of it was taken: snmp-server community <secret> RO; description core" in it.notes
        assert refused not in it.server.device.running.render() and refused in it.server.device.startup.render()


async def test_an_archive_takes_all_or_nothing(extensions: Extensions) -> None:
    device = router(ARCHIVE, refuses=("snmp-server community canary RO",))
    async with lab(extensions, "cisco_ios", device) as it:
        before, after = await changed(it)
        with pytest.raises(Refused, match="not taken: snmp-server community <secret> RO; the router went back") as refusal:
            await it.run(it.driver.restore(before))
        assert refusal.value.outcome is Outcome.FAILED
        assert same(it, after, await it.run(it.driver.configuration("running")))
    assert device.log.count("configure confirm") == 1  # of the change


async def test_a_configuration_that_lets_nobody_in(extensions: Extensions) -> None:
    """The open session survives it, a new one would not: it is taken back at once."""
    device = router(ARCHIVE)
    async with lab(extensions, "cisco_ios", device) as it:
        before = await it.run(it.driver.configuration("running"))
        shut = before.replace("\nend", "\nline vty 0 4\n access-class NOBODY in\nend")
        with pytest.raises(Refused, match="nobody can log in") as refusal:
            await it.run(it.driver.restore(shut))
        assert refusal.value.outcome is Outcome.FAILED
        assert same(it, before, await it.run(it.driver.configuration("running")))
    assert not device.shut


async def test_a_change_that_lets_nobody_in(extensions: Extensions) -> None:
    device = router(ARCHIVE)
    async with lab(extensions, "cisco_ios", device) as it:
        before = await it.run(it.driver.configuration("running"))
        with pytest.raises(Refused, match="nobody can log in"):
            await it.run(it.driver.configure(["line vty 0 4", "access-class NOBODY in"]))
        assert same(it, before, await it.run(it.driver.configuration("running")))
    assert not device.shut


async def test_a_session_that_breaks_while_a_timer_runs(extensions: Extensions) -> None:
    """What the router kept is better than what netd would type."""
    device = router(ARCHIVE)
    async with lab(extensions, "cisco_ios", device) as it:
        before = await it.run(it.driver.configuration("running"))
        await it.run(it.driver._timed())
        device.running.put(("interface Gi0/1",), "description other")
    device.log.clear()
    async with lab(extensions, "cisco_ios", device) as it:
        assert await it.run(it.driver.take_back(before)) is Outcome.OK
        assert same(it, before, await it.run(it.driver.configuration("running")))
    assert "configure revert now" in device.log and not any("configure replace" in line for line in device.log)


@pytest.mark.parametrize("whose", [{"revert_user": "noc"}, {"revert_minutes": "30"}], ids=["another user", "another time"])
async def test_a_timer_of_somebody_else_is_left_to_him(extensions: Extensions, whose: dict[str, str]) -> None:
    device = router(ARCHIVE, facts=whose)
    async with lab(extensions, "cisco_ios", device) as it:
        before = await it.run(it.driver.configuration("running"))
        await it.run(it.driver._timed())
        device.running.put(("interface Gi0/1",), "description of somebody else")
        with pytest.raises(Refused, match="waits to be confirmed") as refusal:
            await it.run(it.driver.take_back(before))
        assert refusal.value.outcome is Outcome.BUSY
        assert "configure revert now" not in device.log and "revert" in device.facts


@pytest.mark.parametrize("configuration", [PLAIN, ARCHIVE], ids=["no archive", "archive"])
async def test_nothing_is_typed_where_somebody_else_configures(extensions: Extensions, configuration: str) -> None:
    device = router(configuration, locked_by="noc")
    async with lab(extensions, "cisco_ios", device) as it:
        with pytest.raises(Refused):
            await it.run(it.driver.configure(EXTRA))
    assert not any("description" in line for line in device.log) and "revert" not in device.facts


async def test_a_change_that_somebody_else_has_not_confirmed(extensions: Extensions) -> None:
    """The router would take back what netd does as well."""
    device = router(ARCHIVE, facts={"revert": "flash:kept"})
    async with lab(extensions, "cisco_ios", device) as it:
        before = await it.run(it.driver.configuration("running"))
        for dialogue in (it.driver.configure(EXTRA), it.driver.restore(before.replace("core", "edge"))):
            with pytest.raises(Refused) as refusal:
                await it.run(dialogue)
            assert refusal.value.outcome is Outcome.BUSY
        assert same(it, before, await it.run(it.driver.configuration("running")))


@pytest.mark.parametrize(
    ("quirk", "outcome"),
    [({"damages_files": True}, Outcome.UNVERIFIED), ({"locked_by": "noc"}, Outcome.BUSY)],
    ids=["damaged on its way", "locked"],
)
async def test_nothing_is_replaced(extensions: Extensions, quirk: dict[str, Any], outcome: Outcome) -> None:
    device = router(PLAIN, **quirk)
    async with lab(extensions, "cisco_ios", device) as it:
        before = await it.run(it.driver.configuration("running"))
        with pytest.raises(Refused) as refusal:
            await it.run(it.driver.restore(before.replace("core", "edge")))
        assert refusal.value.outcome is outcome
        assert same(it, before, await it.run(it.driver.configuration("running")))
    assert "flash:netd-restore.cfg" not in device.files


def image(path: Path, version: str = NEW) -> Image:
    content = f"{version}\nsoftware".encode()
    path.write_bytes(content)
    return Image(name="new.bin", version=version, octets=len(content), sha256="", md5=hashlib.md5(content, usedforsecurity=False).hexdigest())


async def upgraded(it: Lab, wanted: Image) -> str:
    assert await it.run(it.driver.free_octets()) > wanted.octets
    await it.run(it.driver.transfer(wanted))
    assert await it.run(it.driver.verify(wanted)) is Outcome.OK
    await it.run(it.driver.activate(wanted))
    await it.run(it.driver.reboot())
    return str((await it.run(it.driver.facts())).software_version)


@pytest.mark.parametrize("fails", [False, True], ids=["takes", "does not take"])
@pytest.mark.parametrize("packages", [False, True], ids=["image", "packages"])
async def test_upgrade(extensions: Extensions, tmp_path: Path, packages: bool, fails: bool) -> None:
    device = router(PLAIN + "boot system flash:old.bin\n", facts={"packages": "yes"} if packages else {"image": "old.bin"}, upgrade_fails=fails)
    async with lab(extensions, "cisco_ios", device, image=tmp_path / "image") as it:
        assert await upgraded(it, image(tmp_path / "image")) == (OLD if fails else NEW)
    if not packages:
        assert device.startup.find((), "boot system ") == ["boot system flash:new.bin", "boot system flash:old.bin"]
    elif not fails:
        assert "uncommitted" not in device.facts and "install commit" in device.log


async def test_a_catalyst_that_keeps_its_boot_line_beside_its_configuration(extensions: Extensions, tmp_path: Path) -> None:
    device = router(PLAIN, facts={"path_list": "flash:old.bin", "image": "old.bin"})
    async with lab(extensions, "cisco_ios", device, image=tmp_path / "image") as it:
        assert await upgraded(it, image(tmp_path / "image")) == NEW
    assert device.facts["path_list"] == "flash:new.bin"


async def test_a_stack_that_starts_images(extensions: Extensions, tmp_path: Path) -> None:
    """Each of its switches would need the image."""
    device = router(PLAIN, facts={"members": "2"})
    async with lab(extensions, "cisco_ios", device, image=tmp_path / "image") as it:
        with pytest.raises(Refused, match="a stack of 2 switches"):
            await it.run(it.driver.transfer(image(tmp_path / "image")))
    assert "flash:new.bin" not in device.files


async def test_a_boot_line_that_is_not_taken(extensions: Extensions, tmp_path: Path) -> None:
    """What stood there before stands there again."""
    device = router(PLAIN + "boot system flash:old.bin\n", facts={"image": "old.bin"}, lacks=("boot system flash:new.bin",))
    async with lab(extensions, "cisco_ios", device, image=tmp_path / "image") as it:
        wanted = image(tmp_path / "image")
        await it.run(it.driver.transfer(wanted))
        with pytest.raises(Refused, match="the next start does not take"):
            await it.run(it.driver.activate(wanted))
    assert device.running.find((), "boot system ") == ["boot system flash:old.bin"] == device.startup.find((), "boot system ")


async def test_what_others_left_unsaved_is_not_saved_by_a_restart(extensions: Extensions) -> None:
    device = router(PLAIN)
    async with lab(extensions, "cisco_ios", device) as it:
        before, _ = await changed(it)
        await it.run(it.driver.reboot())
        assert same(it, before, await it.run(it.driver.configuration("running")))


async def test_a_damaged_image(extensions: Extensions, tmp_path: Path) -> None:
    async with lab(extensions, "cisco_ios", router(PLAIN, damages_files=True), image=tmp_path / "image") as it:
        wanted = image(tmp_path / "image")
        assert await it.run(it.driver.verify(wanted)) is Outcome.NOT_FOUND
        await it.run(it.driver.transfer(wanted))
        assert await it.run(it.driver.verify(wanted)) is Outcome.FAILED


async def test_no_room(extensions: Extensions) -> None:
    async with lab(extensions, "cisco_ios", router(PLAIN, facts={"flash_octets": "20"})) as it:
        assert await it.run(it.driver.free_octets()) == 20 - len(b"15.7(3)M5\nold")


async def test_packages_that_somebody_else_added(extensions: Extensions, tmp_path: Path) -> None:
    device = router(PLAIN, facts={"packages": "yes", "added": "17.12.1"})
    async with lab(extensions, "cisco_ios", device, image=tmp_path / "image") as it:
        wanted = image(tmp_path / "image")
        await it.run(it.driver.transfer(wanted))
        with pytest.raises(Refused) as refusal:
            await it.run(it.driver.activate(wanted))
        assert refusal.value.outcome is Outcome.CONFLICT
