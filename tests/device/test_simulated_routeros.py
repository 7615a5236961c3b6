"""RouterOS's driver against its simulator, over SSH and Telnet."""

import hashlib
from pathlib import Path

import pytest

from netd.errors import PeerError
from netd.extensions import Extensions
from netd.model.device import Image, Outcome
from netd.sdk.terminal import Refused
from netd.simulate import Quirks, Simulated
from tests.device.simulators import lab

EXPORT = """\
/interface bridge
 add name=lan
/ppp secret
 add name=u1 password=canaryppp
/snmp community
 set [ find default=yes ] name=canarysnmp
"""


@pytest.fixture(scope="module")
def extensions() -> Extensions:
    return Extensions.discover(packages=())


def router(version: str = "7.16.2", **quirks: object) -> Simulated:
    return Simulated("edge1", version=version, configuration=EXPORT, facts={"model": "RB4011iGS+"}, quirks=Quirks(**quirks))  # type: ignore[arg-type]


def image(tmp_path: Path, version: str) -> tuple[Image, Path]:
    path = tmp_path / "image"
    content = b"npk" * 1000
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return Image(name=f"routeros-{version}.npk", version=version, octets=len(content), sha256=digest, md5=""), path


@pytest.mark.parametrize("telnet", [False, True], ids=["ssh", "telnet"])
async def test_all_that_is_read(extensions: Extensions, telnet: bool) -> None:
    device = router(page_lines=6)
    device.facts["software_license"] = "yes"
    async with lab(extensions, "mikrotik_routeros", device, telnet=telnet) as it:
        facts = await it.run(it.driver.facts())
        assert (facts.hostname, facts.model, facts.software_version, facts.uptime_seconds) == ("edge1", "RB4011iGS+", "7.16.2", 86400)
        assert [entry.mac for entry in await it.run(it.driver.macs())] == ["0c:22:33:44:55:01"]
        assert [str(entry.address) for entry in await it.run(it.driver.arps())] == ["192.0.2.2"]
        assert [item.remote_name for item in await it.run(it.driver.neighbours())] == ["core1"]
        text = await it.run(it.driver.configuration("running"))
        assert "password=canaryppp" in text and text.startswith("# 2024-07-19")
    assert device.sessions == 0


async def test_log_lines_in_the_middle(extensions: Extensions) -> None:
    async with lab(extensions, "mikrotik_routeros", router(alarms=3)) as it:
        text = await it.run(it.driver.configuration("running"))
        assert "echo:" not in text and "add name=lan" in text


async def test_an_export_that_is_cut(extensions: Extensions) -> None:
    async with lab(extensions, "mikrotik_routeros", router(cut_octets=100)) as it:
        with pytest.raises(Refused) as refusal:
            await it.run(it.driver.configuration("running"))
        assert refusal.value.outcome is Outcome.UNVERIFIED


async def test_change_and_restore(extensions: Extensions) -> None:
    device = router()
    device.facts["flash"] = "yes"
    async with lab(extensions, "mikrotik_routeros", device) as it:
        before = await it.run(it.driver.configuration("running"))
        done = await it.run(it.driver.configure(["/ip address", "add address=192.0.2.1/24 interface=ether1", "add address=192.0.2.9/24 interface=ether9"]))
        assert [outcome for _, outcome, _ in done] == [Outcome.OK, Outcome.OK, Outcome.BAD_REFERENCE]
        assert it.driver.normal(await it.run(it.driver.configuration("running"))) != it.driver.normal(before)
        assert await it.run(it.driver.restore(before)) is Outcome.OK
        assert it.driver.normal(await it.run(it.driver.configuration("running"))) == it.driver.normal(before)
    assert device.generation == 1 and not device.files


async def test_upgrade_and_downgrade(extensions: Extensions, tmp_path: Path) -> None:
    device = router()
    for version in ("7.17", "7.15.3"):
        wanted, path = image(tmp_path, version)
        async with lab(extensions, "mikrotik_routeros", device, image=path) as it:
            assert await it.run(it.driver.free_octets()) > wanted.octets
            await it.run(it.driver.transfer(wanted))
            assert await it.run(it.driver.verify(wanted)) is Outcome.OK
            await it.run(it.driver.activate(wanted))
            await it.run(it.driver.reboot())
            assert (await it.run(it.driver.facts())).software_version == version
            assert device.facts["routerboot"] == version


async def test_an_upgrade_that_does_not_take(extensions: Extensions, tmp_path: Path) -> None:
    wanted, path = image(tmp_path, "7.17")
    async with lab(extensions, "mikrotik_routeros", router(upgrade_fails=True), image=path) as it:
        await it.run(it.driver.transfer(wanted))
        await it.run(it.driver.activate(wanted))
        await it.run(it.driver.reboot())
        assert (await it.run(it.driver.facts())).software_version == "7.16.2"


async def test_a_damaged_transfer(extensions: Extensions, tmp_path: Path) -> None:
    wanted, path = image(tmp_path, "7.17")
    device = router()
    async with lab(extensions, "mikrotik_routeros", device, image=path) as it:
        await it.run(it.driver.transfer(wanted))
        device.files[wanted.name] = b"x" + device.files[wanted.name][1:]
        assert await it.run(it.driver.verify(wanted)) is Outcome.FAILED


async def test_a_connection_that_breaks(extensions: Extensions) -> None:
    async with lab(extensions, "mikrotik_routeros", router(resets_after=120)) as it:
        with pytest.raises(PeerError):
            await it.run(it.driver.configuration("running"))
