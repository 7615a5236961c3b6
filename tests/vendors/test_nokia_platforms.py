import pytest

from netd.extensions import Extensions
from netd.model.device import Facts, Outcome
from netd.sdk import device, ifmib
from netd.sdk.dialogue import Command, Step, play
from netd.sdk.terminal import Refused
from tests.vendors.recorded import Recorded


@pytest.fixture
def isam(extensions: Extensions) -> Recorded:
    return Recorded(extensions, "nokia/7360_R6.5.02")


@pytest.fixture
def sros(extensions: Extensions) -> Recorded:
    return Recorded(extensions, "nokia/7750_B-12.0.R5")


@pytest.fixture
def srlinux(extensions: Extensions) -> Recorded:
    return Recorded(extensions, "nokia/7220_v23.10.1")


def test_facts(isam: Recorded, sros: Recorded, srlinux: Recorded) -> None:
    assert isam.run(isam.driver.facts()) == Facts(model="7360fx-8", software_version="L6GPAA65.502")
    assert isam.snmp_facts() == Facts(hostname="isam1", model="NFXS-E", software_version="R6.5.02r")
    uptime = 12 * 86400 + 3 * 3600 + 4 * 60 + 5
    assert sros.run(sros.driver.facts()) == Facts(hostname="pe1", model="7750 SR-12", serial="NS042450133", software_version="B-12.0.R5", uptime_seconds=uptime)
    assert srlinux.run(srlinux.driver.facts()) == Facts(hostname="srl", model="7220 IXR-D3L", serial="Sim Serial No.", software_version="v23.10.1")


def test_isam_onus(isam: Recorded) -> None:
    first, second = isam.run(isam.driver.onu_optics("1/1/1/1"))
    assert (first.interface, first.onu, first.olt_rx_dbm, first.distance_metres) == ("1/1/1/1", "1", -18.1, 200)
    assert (second.onu, second.olt_rx_dbm) == ("2", None)
    onu, pon = isam.read("optics").optics
    assert (onu.interface, onu.onu, onu.rx_dbm, onu.tx_dbm, onu.olt_rx_dbm, onu.distance_metres) == ("1/1/1/1", "1", -18.1, 2.3, -18.1, 3700)
    assert (pon.interface, pon.onu, pon.tx_dbm) == ("1/1/1/1", None, 4.2)


def test_isam_whose_64_bit_counters_are_wrong(isam: Recorded, extensions: Extensions) -> None:
    (plain,) = isam.read("interfaces").interfaces
    assert (plain.in_octets, plain.counter_bits) == (1, 64)
    isam.driver = extensions.platforms["nokia_isam_nfxs"].driver
    (believed,) = isam.read("interfaces").interfaces
    assert (believed.in_octets, believed.counter_bits) == (55, 32)
    group = next(group for group in isam.driver.groups() if group.name == "interfaces")
    assert ifmib.IF_HC_IN_OCTETS not in group.tables


def test_isam_alarms_stay_in_a_configuration(isam: Recorded) -> None:
    assert "configure alarm entry ont-dying-gasp" in isam.run(isam.driver.configuration("running"))


def test_what_is_not_documented_is_not_offered(isam: Recorded, sros: Recorded, srlinux: Recorded) -> None:
    for recorded in (isam, sros, srlinux):
        for capability in (device.Firmware, device.Restore, device.Neighbours, device.Macs):
            assert not recorded.can(capability)
        with pytest.raises(LookupError):
            recorded.run(recorded.driver.configuration("startup"))


def test_sros_model_driven(sros: Recorded) -> None:
    def act(step: Step) -> str:
        assert isinstance(step, Command)
        if step.text == "admin display-config":
            return "MINOR: MGMT_CORE #2201: Unknown element - 'display-config'"
        assert step.text == "admin show configuration configure full-context"
        return "# Generated 2024\n/configure system name pe1\n# Finished 2024-07-19T10:11:12.0Z"

    text = play(sros.driver.configuration("running"), act)
    assert sros.driver.normal(text) == "/configure system name pe1\n"


def test_sros_arps_and_save(sros: Recorded) -> None:
    assert [(str(entry.address), entry.mac, entry.interface) for entry in sros.run(sros.driver.arps())] == [
        ("10.0.0.1", "00:03:fa:11:22:33", "system"),
        ("10.0.1.2", "00:03:fa:11:22:34", "to-p1"),
    ]
    sros.run(sros.driver.save())
    with pytest.raises(Refused):
        play(sros.driver.save(), lambda step: r"Writing configuration to cf3:\config.cfg")
    done = sros.run(sros.driver.configure(['/configure system name "pe2"', "/configure nonsense"]))
    assert [outcome for _, outcome, _ in done] == [Outcome.OK, Outcome.SYNTAX]


def test_srlinux_commits_only_what_was_taken_as_a_whole(srlinux: Recorded) -> None:
    good = "set / interface ethernet-1/1 admin-state disable"
    done = srlinux.run(srlinux.driver.configure([good]))
    assert [line for line, _, _ in done] == [good, "commit now"]
    srlinux.player.typed.clear()
    done = srlinux.run(srlinux.driver.configure([good, "set / nonsense"]))
    assert done[-1][1] is Outcome.SYNTAX
    assert "commit now" not in srlinux.player.typed and "discard now" in srlinux.player.typed


def test_srlinux_that_is_cut_between_two_braces(srlinux: Recorded) -> None:
    with pytest.raises(Refused) as refusal:
        play(srlinux.driver.configuration("running"), lambda step: '{\n  "interface": [\n}')
    assert refusal.value.outcome is Outcome.UNVERIFIED
