"""Every platform's every capability against its simulator, over real sockets; what is special of one has a file of its own or stands below."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from netd.errors import PeerError, PeerUnreachable
from netd.extensions import Extensions
from netd.model.device import Image, Outcome
from netd.sdk import device as capabilities
from netd.sdk.dialogue import Reconnect
from netd.sdk.terminal import Refused
from netd.simulate import Quirks, Simulated
from tests.device.simulators import Lab, lab

ONUS = 'interface gpon 0/1\n ont add 0 1 sn-auth 4857544300000001 omci ont-lineprofile-id 1 ont-srvprofile-id 1 desc "x"\n'
LONG = "".join(f"interface Ethernet{number}\n description number {number}\n" for number in range(60))


class Case(NamedTuple):
    """A device; a line that it takes, one that it refuses; the PON with ONUs."""

    version: str
    configuration: str
    good: tuple[str, ...] = ()
    bad: str = "nonsense"
    port: str | None = None
    facts: dict[str, str] | None = None
    executes: bool = False


ROUTEROS = "/snmp community\n set [ find default=yes ] name=canary\n"
CASES = {
    "cisco_ios": Case("15.7(3)M5", LONG + "snmp-server community canary RO\n", ("interface Gi0/1", "description new"), facts={"enable": "enable-secret"}),
    "generic_frr": Case("8.4.4", LONG + "password canary\n", ("interface eth7", "description new")),
    "generic_linux": Case("Debian GNU/Linux 12 (bookworm)", "", executes=True),
    "huawei_smartax": Case("MA5600V800R018C10", "snmp-agent community read canary\n" + ONUS, ("vlan 900 smart",), port="0/1/0"),
    "huawei_mdu": Case("MA5616V800R015", "snmp-agent community read canary\n" + ONUS, ("vlan 900 smart",), port="0/1/0"),
    "huawei_vrp": Case("V800R011C00SPC200", LONG + "snmp-agent community read cipher canary\n", ("vlan 10", "description new"), facts={"two_stage": "yes"}),
    "mikrotik_routeros": Case("7.16.2", ROUTEROS, ("/ip address add address=192.0.2.1/24 interface=ether1",)),
    "nokia_isam": Case(
        "L6GPAA65.502",
        "configure equipment ont interface 1/1/1/1/5 sernum ALCL:FE12FC43 subslocid canary\n"
        + "".join(f"configure vlan id {number}\n" for number in range(99)),
        ("configure bridge port 1/1/1/1/5/14/1 vlan-id 301",),
        port="1/1/1/1",
    ),
    "nokia_isam_nfxs": Case("L6GPAA65.502", "configure system security snmp community canary context nt\n", ("configure vlan id 7 mode residential-bridge",)),
    "nokia_sros": Case("B-12.0.R5", 'system\n name "pe1"\n snmp\n  community "canary" hash2 r version v2c\n', ('/configure system name "pe2"',)),
    "nokia_srlinux": Case(
        "v23.10.1",
        "set / system aaa password canary\nset / interface ethernet-1/2 description customers-of-the-west\n",
        ("set / interface ethernet-1/1 admin-state disable",),
    ),
    "zte_zxan": Case(
        "V2.1.0",
        LONG + "snmp-server community canary view AllView ro\ninterface gpon-olt_1/1/1\n onu 1 type ZTE-F660 sn ZTEGDC79F447\n",
        ("interface gpon-onu_1/1/1:1", "name customer"),
        port="gpon-olt_1/1/1",
        facts={"enable": "enable-secret"},
    ),
    "zte_zxros": Case("V5.10.00.50", LONG + "snmp-server community canary view AllView ro\n", ("interface xgei-1/1/0/1", "description new")),
}


@pytest.fixture(scope="module")
def extensions() -> Extensions:
    return Extensions.discover(packages=())


def simulated(platform: str, **quirks: Any) -> Simulated:
    case = CASES[platform]
    return Simulated("edge1", version=case.version, configuration=case.configuration, facts=case.facts, quirks=Quirks(**quirks))


def test_none_is_forgotten(extensions: Extensions) -> None:
    assert set(CASES) == set(extensions.platforms)


@pytest.mark.parametrize("platform", CASES)
async def test_what_can_be_read(extensions: Extensions, platform: str) -> None:
    device, case = simulated(platform, alarms=4, interrupts=4, page_lines=10), CASES[platform]
    async with lab(extensions, platform, device, executes=case.executes) as it:
        facts = await it.run(it.driver.facts())
        assert facts.software_version == case.version
        for protocol, methods in ((capabilities.Neighbours, ("neighbours",)), (capabilities.Macs, ("macs",)), (capabilities.Arps, ("arps",))):
            for method in methods if isinstance(it.driver, protocol) else ():
                assert len(await it.run(getattr(it.driver, method)())) >= 1, method
        if case.port is not None:
            assert len(await it.run(it.driver.onu_optics(case.port))) == 1
        if isinstance(it.driver, capabilities.Backup):
            await _backed_up(it)
    assert device.sessions == 0


async def _backed_up(it: Lab) -> None:
    text = await it.run(it.driver.configuration("running"))
    assert "canary" in text and "canary" not in it.driver.masked(text)
    assert "--More--" not in text and "changed state" not in text
    assert all(f"description number {number}" in text for number in range(60)) or "number 0" not in text
    assert it.driver.normal(await it.run(it.driver.configuration("running"))) == it.driver.normal(text)


@pytest.mark.parametrize("platform", [name for name, case in CASES.items() if case.good])
async def test_what_can_be_changed(extensions: Extensions, platform: str) -> None:
    device, case = simulated(platform), CASES[platform]
    async with lab(extensions, platform, device) as it:
        before = it.driver.normal(await it.run(it.driver.configuration("running")))
        done = await it.run(it.driver.configure(case.good))
        assert [outcome for _, outcome, _ in done[: len(case.good)]] == [Outcome.OK] * len(case.good)
        after = await it.run(it.driver.configuration("running"))
        assert it.driver.normal(after) != before
        assert (await it.run(it.driver.configure([case.bad])))[0][1] is Outcome.SYNTAX
        assert it.driver.normal(await it.run(it.driver.configuration("running"))) == it.driver.normal(after)
        await it.run(it.driver.save())
        assert device.startup.render() == device.running.render()


@pytest.mark.parametrize("platform", [name for name, case in CASES.items() if case.good])
async def test_what_is_cut(extensions: Extensions, platform: str) -> None:
    async with lab(extensions, platform, simulated(platform, cut_octets=40)) as it:
        if not it.driver.family.configuration.end:
            return  # where it ends is not documented: README says so
        with pytest.raises(PeerError) as refusal:
            await it.run(it.driver.configuration("running"))
        assert isinstance(refusal.value, Refused) and refusal.value.outcome is Outcome.UNVERIFIED


@pytest.mark.parametrize("platform", ["cisco_ios", "huawei_vrp", "nokia_srlinux"])
async def test_a_lock(extensions: Extensions, platform: str) -> None:
    async with lab(extensions, platform, simulated(platform, locked_by="noc")) as it:
        with pytest.raises(PeerError):
            await it.run(it.driver.configure(CASES[platform].good))


async def test_a_wrong_password_for_the_privileged_mode(extensions: Extensions) -> None:
    device = simulated("zte_zxan")
    device.facts["enable"] = "another"
    with pytest.raises(PeerError):
        async with lab(extensions, "zte_zxan", device):
            raise AssertionError("it was let in")


@pytest.mark.parametrize("platform", ["zte_zxan", "cisco_ios", "nokia_isam", "huawei_vrp"])
async def test_over_telnet(extensions: Extensions, platform: str) -> None:
    async with lab(extensions, platform, simulated(platform), telnet=True) as it:
        assert it.session.protocol == "telnet"
        assert (await it.run(it.driver.facts())).software_version == CASES[platform].version
        await _backed_up(it)


async def test_zxan_leaves_though_something_is_not_saved(extensions: Extensions) -> None:
    device = simulated("zte_zxan")
    device.facts["onu_profile"] = "yes"
    async with lab(extensions, "zte_zxan", device) as it:
        done = await it.run(it.driver.configure(["interface gpon-onu_1/1/1:1", "name x", "tcont 1 profile UP"]))
        assert [outcome for _, outcome, _ in done] == [Outcome.OK, Outcome.OK, Outcome.CONFLICT]
    assert device.sessions == 0 and device.log[-1] == "exit"


async def test_zxan_whose_descriptions_are_in_chinese(extensions: Extensions) -> None:
    """What is written there in GBK is no replacement characters in a backup."""
    device = simulated("zte_zxan", encoding="gb18030")
    device.running.put(("interface gpon-onu_1/1/1:1",), "description 一号机房模块")
    async with lab(extensions, "zte_zxan", device) as it:
        assert "description 一号机房模块\n" in await it.run(it.driver.configuration("running"))


@pytest.mark.parametrize(("platform", "fact"), [("zte_zxan", {"model": "C600"}), ("zte_zxros", {"modules": "yes"})])
async def test_a_configuration_in_modules(extensions: Extensions, platform: str, fact: dict[str, str]) -> None:
    device = simulated(platform, alarms=4, page_lines=10)
    device.facts |= fact
    async with lab(extensions, platform, device) as it:
        await _backed_up(it)
    device = simulated(platform, cut_octets=400)
    device.facts |= fact
    async with lab(extensions, platform, device) as it:
        with pytest.raises(Refused) as refusal:
            await it.run(it.driver.configuration("running"))
        assert refusal.value.outcome is Outcome.UNVERIFIED


def restorable(platform: str, **quirks: Any) -> Simulated:
    """A device with the command line over which its platform restores a text."""
    device = simulated(platform, **quirks)
    if platform == "nokia_sros":
        device.facts["model_driven"] = "yes"
    return device


async def test_sros_model_driven(extensions: Extensions) -> None:
    async with lab(extensions, "nokia_sros", restorable("nokia_sros")) as it:
        assert (await it.run(it.driver.facts())).hostname == "edge1"
        await _backed_up(it)
        done = await it.run(it.driver.configure(['/configure system name "pe2"', "/configure nonsense"]))
        assert [outcome for _, outcome, _ in done] == [Outcome.OK, Outcome.SYNTAX]
        assert "pe2" not in await it.run(it.driver.configuration("running")), "a candidate with a fault in it is discarded"
        done = await it.run(it.driver.configure(['/configure system name "pe2"']))
        assert {outcome for _, outcome, _ in done} == {Outcome.OK}
        assert "pe2" in await it.run(it.driver.configuration("running"))
        await it.run(it.driver.save())


@pytest.mark.parametrize("platform", ["nokia_sros", "nokia_srlinux"])
async def test_a_candidate_that_is_locked_or_not_committed(extensions: Extensions, platform: str) -> None:
    device = restorable(platform, locked_by="noc")
    before = device.running.render()
    async with lab(extensions, platform, device) as it:
        with pytest.raises(Refused) as refusal:
            await it.run(it.driver.configure(CASES[platform].good))
        assert refusal.value.outcome is Outcome.BUSY
        device.quirks.locked_by = None
        device.facts["refuses"] = "MINOR: MGMT_CORE #5001: x also has id 400" if platform == "nokia_sros" else "Error: Commit validation failed"
        done = await it.run(it.driver.configure(CASES[platform].good))
        assert done[-1][0].startswith("commit") and done[-1][1] is Outcome.FAILED
        text = await it.run(it.driver.configuration("running"))
        with pytest.raises(Refused):
            await it.run(it.driver.restore(text))
        assert device.running.render() == before and not any(device.files.values())


@pytest.mark.parametrize("platform", ["nokia_sros", "nokia_srlinux"])
async def test_a_change_that_cuts_the_session_off_does_not_stay(extensions: Extensions, platform: str) -> None:
    device = restorable(platform)
    device.facts["cuts"] = CASES[platform].good[0].split()[-1]
    before = device.running.render()
    async with lab(extensions, platform, device) as it:
        with pytest.raises(PeerUnreachable):
            await it.run(it.driver.configure(CASES[platform].good))
    assert device.running.render() == before


@pytest.mark.parametrize("platform", ["nokia_sros", "nokia_srlinux"])
async def test_a_configuration_is_restored(extensions: Extensions, platform: str) -> None:
    device = restorable(platform, page_lines=5)
    async with lab(extensions, platform, device) as it:
        before = await it.run(it.driver.configuration("running"))
        await it.run(it.driver.configure(CASES[platform].good))
        assert it.driver.normal(await it.run(it.driver.configuration("running"))) != it.driver.normal(before)
        assert await it.run(it.driver.restore(before)) is Outcome.OK
        assert it.driver.normal(await it.run(it.driver.configuration("running"))) == it.driver.normal(before)
    assert list(device.files.values()) == [b""] and device.startup.render() == device.running.render() and device.generation == 0


async def test_sros_goes_back_to_a_checkpoint(extensions: Extensions) -> None:
    device = simulated("nokia_sros")
    async with lab(extensions, "nokia_sros", device) as it:
        assert await it.run(it.driver.checkpoint()) is False and "keeps no rollback checkpoint" in it.notes[-1]
        device.facts["rollbacks"] = "cf3:/rollbacks/config"
        before = await it.run(it.driver.configuration("running"))
        assert await it.run(it.driver.checkpoint()) is True
        await it.run(it.driver.configure(CASES["nokia_sros"].good))
        await it.run(it.driver.revert())
        assert it.driver.normal(await it.run(it.driver.configuration("running"))) == it.driver.normal(before)


@pytest.mark.parametrize("fails", [False, True], ids=["takes", "does not take"])
async def test_vrp_upgrade(extensions: Extensions, tmp_path: Path, fails: bool) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"x" * 5000)
    wanted = Image(name="V800R012.cc", version="V800R012", octets=5000, sha256="", md5="")
    async with lab(extensions, "huawei_vrp", simulated("huawei_vrp", upgrade_fails=fails), image=path) as it:
        assert await it.run(it.driver.free_octets()) > wanted.octets
        await it.run(it.driver.transfer(wanted))
        assert await it.run(it.driver.verify(wanted)) is Outcome.UNVERIFIED
        await it.run(it.driver.activate(wanted))
        await it.run(it.driver.reboot())
        assert (await it.run(it.driver.facts())).software_version == (CASES["huawei_vrp"].version if fails else "V800R012")


@pytest.mark.parametrize("how", ["takes", "does not take", "is damaged", "has no room"])
async def test_sros_upgrade(extensions: Extensions, tmp_path: Path, how: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"garbage" if how == "is damaged" else b"TiMOS-B-12.0.R6 " + b"x" * 5000)
    wanted = Image(name="both.tim", version="B-12.0.R6", octets=path.stat().st_size, sha256="", md5="")
    device = simulated("nokia_sros", upgrade_fails=how == "does not take")
    device.facts |= {"flash_octets": "4000"} if how == "has no room" else {"standby": "yes"}
    async with lab(extensions, "nokia_sros", device, image=path) as it:
        assert (await it.run(it.driver.free_octets()) > wanted.octets) == (how != "has no room")
        if how == "has no room":
            return
        await it.run(it.driver.transfer(wanted))
        assert await it.run(it.driver.verify(wanted)) is (Outcome.FAILED if how == "is damaged" else Outcome.UNVERIFIED)
        await it.run(it.driver.activate(wanted))
        await it.run(it.driver.reboot())
        assert (await it.run(it.driver.facts())).software_version == ("B-12.0.R6" if how == "takes" else "B-12.0.R5")


async def test_frr_simulated_is_restored(extensions: Extensions) -> None:
    async with lab(extensions, "generic_frr", simulated("generic_frr")) as it:
        before = await it.run(it.driver.configuration("running"))
        await it.run(it.driver.configure(["interface Ethernet7", "description other", "ip route 198.51.100.0/24 192.0.2.9"]))
        assert it.driver.normal(await it.run(it.driver.configuration("running"))) != it.driver.normal(before)
        assert await it.run(it.driver.restore(before)) is Outcome.OK
        assert it.driver.normal(await it.run(it.driver.configuration("running"))) == it.driver.normal(before)


async def test_a_device_that_never_comes_back(extensions: Extensions, tmp_path: Path) -> None:
    async with lab(extensions, "huawei_vrp", simulated("huawei_vrp")) as it:
        it.server.down_seconds = 60
        with pytest.raises(PeerUnreachable):
            await it.session.run(_impatient(it.driver.reboot()))


def _impatient(dialogue: Any) -> Any:
    step = next(dialogue)
    while True:
        if isinstance(step, Reconnect):
            step = Reconnect(within_seconds=0.5)
        reply = yield step
        try:
            step = dialogue.send(reply)
        except StopIteration as done:
            return done.value
