"""SmartAX's driver against its simulator: questions, pager, alarms, one session at a time, slow saves."""

import pytest

from netd.device.cli import CliTransport
from netd.device.screen import Busy
from netd.errors import PeerError
from netd.extensions import Extensions
from netd.model.device import Outcome
from netd.sdk.terminal import Refused
from netd.simulate import Quirks, Simulated
from tests.device.simulators import LIMITS, lab, served, target

CONFIGURATION = (
    "sysname OLT\nsnmp-agent community read canarysnmp\n"
    + "".join(f"vlan {number} smart\n" for number in range(100, 700))
    + (
        "interface gpon 0/1\n"
        " port 0 ont-auto-find enable\n"
        + "".join(f' ont add 0 {number} sn-auth 48575443{number:08X} omci ont-lineprofile-id 1 ont-srvprofile-id 1 desc "x"\n' for number in range(20))
    )
)


@pytest.fixture(scope="module")
def extensions() -> Extensions:
    return Extensions.discover(packages=())


def olt(**quirks: object) -> Simulated:
    return Simulated("OLT", version="MA5600V800R018C10", configuration=CONFIGURATION, quirks=Quirks(**{"sessions": 1, "page_most": 512, **quirks}))  # type: ignore[arg-type]


@pytest.mark.parametrize("telnet", [False, True], ids=["ssh", "telnet"])
async def test_all_that_is_read(extensions: Extensions, telnet: bool) -> None:
    device = olt(alarms=9, echo_columns=80)
    async with lab(extensions, "huawei_smartax", device, telnet=telnet) as it:
        facts = await it.run(it.driver.facts())
        assert (facts.model, facts.software_version, facts.uptime_seconds) == ("MA5608T", "MA5600V800R018C10", 86400)
        text = await it.run(it.driver.configuration("running"))
        assert text.count("vlan ") == 600 and text.count("ont add") == 20 and text.endswith("return\n")
        assert len(await it.run(it.driver.macs())) == 20
        optics = await it.run(it.driver.onu_optics("0/1/0"))
        assert len(optics) == 20 and optics[0].rx_dbm == -20.68
    assert device.sessions == 0


async def test_a_release_that_cannot_be_quietened(extensions: Extensions) -> None:
    """It asks, and its alarms land in the outputs: everything is read all the same."""
    lacks = ("undo smart", "undo interactive", "scroll 512", "infoswitch cli OFF")
    async with lab(extensions, "huawei_smartax", olt(lacks=lacks, alarms=5, page_lines=50)) as it:
        text = await it.run(it.driver.configuration("running"))
        assert text.count("vlan ") == 600 and "ALARM" not in text and "More" not in text
        await it.run(it.driver.save())


@pytest.mark.parametrize("interrupts", [1, 9, 20])
async def test_alarms_while_something_is_typed(extensions: Extensions, interrupts: int) -> None:
    """The device paints its prompt, and what was typed of the line, once more: that is neither the end of the output nor part of it."""
    lacks = ("infoswitch cli OFF",)
    async with lab(extensions, "huawei_smartax", olt(lacks=lacks, alarms=5, interrupts=interrupts)) as it:
        assert (await it.run(it.driver.facts())).model == "MA5608T"
        text = await it.run(it.driver.configuration("running"))
        assert text.startswith("[MA5600V800R018C10: 20014]\n#\n") and text.count("vlan ") == 600
        assert it.server.device.log.count("display current-configuration") == 1


async def test_a_password_for_the_privileged_mode(extensions: Extensions) -> None:
    device = olt()
    device.facts["enable"] = "enable-secret"
    async with lab(extensions, "huawei_smartax", device) as it:
        assert [outcome for _, outcome, _ in await it.run(it.driver.configure(["vlan 900 smart"]))] == [Outcome.OK]


@pytest.mark.parametrize(("lines", "outcome"), [(3, Outcome.OK), (9, Outcome.BUSY)])
async def test_a_line_that_it_is_too_busy_for_is_typed_again(extensions: Extensions, lines: int, outcome: Outcome) -> None:
    async with lab(extensions, "huawei_smartax", olt(busy_lines=lines)) as it:
        assert [outcome for _, outcome, _ in await it.run(it.driver.configure(["vlan 900 smart"]))] == [outcome]
        assert it.server.device.log.count("vlan 900 smart") == min(lines + 1, 6)


async def test_changes(extensions: Extensions) -> None:
    device = olt(busy_after_save=2)
    async with lab(extensions, "huawei_smartax", device) as it:
        wrapped = 'ont add 0 30 sn-auth 48575443AAAAAAAA omci ont-lineprofile-id 1 ont-srvprofile-id 1 desc "a description that goes beyond eighty columns"'
        done = await it.run(it.driver.configure(["vlan 900 smart", "vlan 100 smart", "interface gpon 0/1", wrapped, wrapped, "vlan 901 smart"]))
        assert [outcome for _, outcome, _ in done] == [Outcome.OK, Outcome.ALREADY, Outcome.OK, Outcome.OK, Outcome.CONFLICT]
        assert device.log[-1] == "return"
        await it.run(it.driver.save())
        assert device.startup.find((), "vlan 900")
        done = await it.run(it.driver.configure(["nonsense"]))
        assert done[0][1] is Outcome.SYNTAX


async def test_a_second_session_is_turned_away(extensions: Extensions) -> None:
    device = olt()
    async with lab(extensions, "huawei_smartax", device) as it:
        with pytest.raises(Busy):
            async with CliTransport(LIMITS).session(target(it.server), it.driver):
                raise AssertionError("there was a second session")
        assert (await it.run(it.driver.facts())).model == "MA5608T"
    async with lab(extensions, "huawei_smartax", device) as it:  # and the place is free again
        await it.run(it.driver.facts())


async def test_somebody_else_configures(extensions: Extensions) -> None:
    """Enter would take his lock, where a ``<cr>`` is offered, too."""
    async with lab(extensions, "huawei_smartax", olt(locked_by="noc")) as it:
        with pytest.raises(Refused, match="by other user noc") as refusal:
            await it.run(it.driver.configure(["vlan 900 smart"]))
        assert refusal.value.outcome is Outcome.BUSY
        assert it.server.device.quirks.locked_by == "noc"


async def test_a_configuration_that_is_cut(extensions: Extensions) -> None:
    async with lab(extensions, "huawei_smartax", olt(cut_octets=4000)) as it:
        with pytest.raises(Refused) as refusal:
            await it.run(it.driver.configuration("running"))
        assert refusal.value.outcome is Outcome.UNVERIFIED


async def test_a_wrong_password(extensions: Extensions) -> None:
    device = olt()
    async with served(extensions, "huawei_smartax", device) as server:
        wrong = target(server, telnet=True)
        device.password = "another"
        with pytest.raises(PeerError):
            async with CliTransport(LIMITS).session(wrong, extensions.platforms["huawei_smartax"].driver):  # type: ignore[arg-type]
                raise AssertionError("it let somebody in")
