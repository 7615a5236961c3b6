import msgspec
import pytest

from netd.extensions import Extensions
from netd.model.device import Facts, Image, MacEntry, Outcome
from netd.sdk import device, ifmib
from netd.sdk.dialogue import Command, Note, Put, Step, play
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
    assert isam.run(isam.driver.facts()) == Facts(model="7360fx-8", software_version="L6GPAA65.502", uptime_seconds=958 * 86400 + 12 * 3600 + 26 * 60 + 47)
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
    for recorded in (isam, srlinux):
        assert not recorded.can(device.Firmware)
    for recorded in (isam, sros, srlinux):
        with pytest.raises(LookupError):
            recorded.run(recorded.driver.configuration("startup"))
    for capability in (device.Restore, device.Neighbours, device.Arps):
        assert not isam.can(capability)


def test_sros_telemetry(sros: Recorded) -> None:
    """Watts become dBm; no light at all has no figure, and a part without a sensor no temperature."""
    sample = sros.read("system").device
    assert sample is not None and (sample.cpu_percent, sample.temperature_celsius) == (7, 37)
    (optics,) = sros.read("optics").optics
    assert (optics.interface, optics.onu, optics.rx_dbm, optics.tx_dbm) == ("1/1/1", None, -10.0, -3.0)
    assert (optics.voltage_volts, optics.bias_milliamperes) == (3.29, 33.0)


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


def test_isam_addresses_behind_bridge_ports(isam: Recorded) -> None:
    """What was configured there was not seen there."""
    assert isam.run(isam.driver.macs()) == [
        MacEntry(mac="96:db:56:32:48:64", interface="1/1/1/1/5/14/1", vlan=301),
        MacEntry(mac="96:db:56:32:48:65", interface="1/1/1/1/5/14/1", vlan=302),
    ]


def test_sros_neighbours(sros: Recorded) -> None:
    """A name with a blank, a port with what it is behind it, one that the table cut, and a name that it cut, which is asked for."""
    first, second, third = sros.run(sros.driver.neighbours())
    assert (first.local_interface, first.remote_name, first.remote_interface, first.remote_mac) == ("1/1/1", "MSS West", None, "00:11:3f:a4:07:dd")
    assert (second.local_interface, second.remote_name, second.remote_interface) == ("1/1/c11/1", "p2", "1/1/c11/1")
    assert (third.remote_name, third.remote_interface) == ("aggregation-router-west-1", "3/2/c5/1")
    assert play(sros.driver.neighbours(), lambda step: "Number of neighbors : 0") == []


def test_sros_addresses(sros: Recorded) -> None:
    assert sros.run(sros.driver.macs()) == [
        MacEntry(mac="00:99:00:00:00:00", interface="1/2/7"),
        MacEntry(mac="96:db:56:32:48:64", interface="1/1/c4/1", vlan=236),
        MacEntry(mac="96:db:56:32:48:65", interface="lag-3", vlan=100),
        MacEntry(mac="01:02:03:34:42:9a", interface="sdp:11590"),
    ]


def test_sros_checkpoint(sros: Recorded, extensions: Extensions) -> None:
    assert sros.run(sros.driver.checkpoint()) is True
    sros.run(sros.driver.revert())
    with pytest.raises(Refused) as refusal:
        play(sros.driver.revert(), lambda step: "Restoring rollback configuration cf3:/rollbacks/config.rb")
    assert refusal.value.outcome is Outcome.UNVERIFIED
    notes: list[str] = []

    def nowhere(step: Step) -> str:
        notes.extend([step.text] if isinstance(step, Note) else [])
        return "Error: Bad command."

    assert play(sros.driver.checkpoint(), nowhere) is False and notes == ["the router keeps no rollback checkpoint: Error: Bad command."]
    driven = Recorded(extensions, "nokia/7750_C-23.10.R1")
    assert driven.run(driven.driver.checkpoint()) is False and driven.player.typed == ["environment more false"]


def test_sros_candidates(extensions: Extensions) -> None:
    """Committed and confirmed as a whole, or discarded."""
    driven = Recorded(extensions, "nokia/7750_C-23.10.R1")
    done = driven.run(driven.driver.configure(['/configure system name "pe3"']))
    assert [line for line, _, _ in done] == ['/configure system name "pe3"', "commit confirmed 1", "commit confirmed accept"]
    assert driven.player.typed == ["environment more false", "edit-config exclusive", *(line for line, _, _ in done), "exit all", "discard", "quit-config"]
    driven.player.typed.clear()
    done = driven.run(driven.driver.configure(['/configure system name "pe3"', "/configure nonsense"]))
    assert done[-1][1] is Outcome.SYNTAX and not [line for line in driven.player.typed if line.startswith("commit")]
    assert driven.player.typed[-2:] == ["discard", "quit-config"]
    driven.run(driven.driver.save())


def test_sros_restores(extensions: Extensions, sros: Recorded) -> None:
    driven = Recorded(extensions, "nokia/7750_C-23.10.R1")
    text = driven.run(driven.driver.configuration("running"))
    assert driven.run(driven.driver.restore(text)) is Outcome.OK
    assert driven.player.typed[-1] == "admin save" and driven.player.stored == {"cf3:/netd-restore.cfg": b""}, "its secrets are not left there"
    assert driven.run(driven.driver.restore(text.replace("pe2", "pe9"))) is Outcome.UNVERIFIED, "it runs something else then"
    with pytest.raises(Refused, match="classic"):
        sros.run(sros.driver.restore(text))
    assert not sros.player.stored
    driven = Recorded(extensions, "nokia/7750_C-23.10.R1")

    def refused(step: Step) -> str:
        if step == Command(text="commit confirmed 1", check=False):
            return "MINOR: MGMT_CORE #5001: configure service vprn - vprn service x also has id 400"
        return driven.player(step)

    with pytest.raises(Refused, match=r"#5001.*nothing was changed") as refusal:
        play(driven.driver.restore(text), refused)
    assert refusal.value.outcome is Outcome.FAILED and driven.player.typed[-1] == "quit-config" and driven.player.stored == {"cf3:/netd-restore.cfg": b""}


def test_sros_firmware(sros: Recorded, extensions: Extensions) -> None:
    image = Image(name="both.tim", version="B-12.0.R6", octets=5, sha256="", md5="")
    driver = sros.driver
    assert sros.run(driver.free_octets()) == 961531904
    sros.run(driver.transfer(image))
    assert sros.player.stored == {"cf3:/netd-B-12.0.R6/both.tim": None}
    assert sros.run(driver.verify(image)) is Outcome.UNVERIFIED, "sound and of that version, as far as the router says"
    assert play(driver.verify(image), lambda step: "TiMOS-B-12.0.R60 both/i386") is Outcome.FAILED
    assert play(driver.verify(image), lambda step: "MINOR: CLI Could not access cf3:") is Outcome.FAILED
    sros.run(driver.activate(image))
    sros.run(driver.reboot())
    assert sros.player.restarts == 1 and sros.player.notes == ["the standby has the same boot options and images"]
    typed = sros.player.typed
    assert (
        typed.index("bof secondary-image cf3:\\TiMOS-B-12.0.R5\\both.tim")
        < typed.index("bof primary-image cf3:\\netd-B-12.0.R6\\both.tim")
        < typed.index("bof save")
    )
    with pytest.raises(Refused, match="boot options"):
        play(driver.activate(image), lambda step: "Completed." if step == Command(text="admin save") else "")
    with pytest.raises(Refused, match="no image of one file"):
        sros.run(driver.transfer(msgspec.structs.replace(image, name="release.zip")))
    driven = Recorded(extensions, "nokia/7750_C-23.10.R1")
    with pytest.raises(Refused, match="classic command line only"):
        driven.run(driven.driver.free_octets())


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("MINOR: MGMT_CORE #2052: Exclusive datastore access unavailable - model-driven interface editing global candidate", Outcome.BUSY),
        ("MINOR: MGMT_CORE #2020: Permission denied - unauthorized use of 'interface'", Outcome.DENIED),
        ("MINOR: MGMT_CORE #2201: Unknown element - 'foo'", Outcome.SYNTAX),
        ("MINOR: MGMT_CORE #2301: Invalid element value", Outcome.SYNTAX),
        ("MINOR: MGMT_CORE #5001: configure service vprn - vprn service x also has id 400", Outcome.FAILED),
        ("There is not enough space", Outcome.CAPACITY),
        ("INFO: CLI #2061: Uncommitted changes are discarded on configuration mode exit", Outcome.OK),
    ],
)
def test_sros_error_texts(text: str, outcome: Outcome, sros: Recorded) -> None:
    assert sros.driver.terminal.classify(text)[0] is outcome


def test_srlinux_commits_only_what_was_taken_as_a_whole(srlinux: Recorded) -> None:
    good = "set / interface ethernet-1/1 admin-state disable"
    done = srlinux.run(srlinux.driver.configure([good]))
    assert [line for line, _, _ in done] == [good, "commit confirmed timeout 60", "tools system configuration confirmed-accept"]
    srlinux.player.typed.clear()
    done = srlinux.run(srlinux.driver.configure([good, "set / nonsense"]))
    assert done[-1][1] is Outcome.SYNTAX
    assert not [line for line in srlinux.player.typed if line.startswith("commit")] and "discard now" in srlinux.player.typed


def test_srlinux_of_a_release_without_confirmation(srlinux: Recorded) -> None:
    def old(step: Step) -> str:
        return "Parsing error: Unknown token 'confirmed'" if isinstance(step, Command) and "confirmed" in step.text else ""

    assert [line for line, _, _ in play(srlinux.driver.configure(["set / x"]), old)] == ["set / x", "commit now"]


def test_srlinux_save_must_be_confirmed(srlinux: Recorded) -> None:
    srlinux.run(srlinux.driver.save())
    with pytest.raises(Refused) as refusal:
        play(srlinux.driver.save(), lambda step: "")
    assert refusal.value.outcome is Outcome.UNVERIFIED


def test_srlinux_restores_only_what_it_loaded_whole(srlinux: Recorded) -> None:
    text = srlinux.run(srlinux.driver.configuration("running"))
    srlinux.player.typed.clear()
    assert srlinux.run(srlinux.driver.restore(text)) is Outcome.OK
    typed = srlinux.player.typed
    assert typed.index("delete /") < typed.index("load file /tmp/netd-restore.json") < typed.index("commit confirmed timeout 60") < typed.index("save startup")
    assert srlinux.player.stored == {"/tmp/netd-restore.json": b""}, "its secrets are not left there"
    typed.clear()
    with pytest.raises(Refused, match="not the text; nothing was changed"):
        srlinux.run(srlinux.driver.restore(text.replace("ethernet-1/1", "ethernet-1/2")))
    assert not [line for line in typed if line.startswith("commit")] and "discard now" in typed
    assert srlinux.player.stored == {"/tmp/netd-restore.json": b""}


def test_srlinux_tables(srlinux: Recorded) -> None:
    (peer,) = srlinux.run(srlinux.driver.neighbours())
    assert (peer.local_interface, peer.remote_name, peer.remote_interface, peer.remote_mac) == ("ethernet-1/1", "srl2", "ethernet-1/4", "1a:35:01:ff:00:00")
    assert srlinux.run(srlinux.driver.macs()) == [MacEntry(mac="1a:35:01:ff:00:03", interface="ethernet-1/3.0")], "what EVPN told is behind another router"
    assert [(str(entry.address), entry.mac, entry.interface) for entry in srlinux.run(srlinux.driver.arps())] == [
        ("10.0.0.2", "1a:35:01:ff:00:01", "ethernet-1/1.0"),
        ("2001:db8:0:1::2", "1a:35:01:ff:00:01", "ethernet-1/1.0"),
    ]
    assert play(srlinux.driver.macs(), lambda step: "") == []
    with pytest.raises(Refused, match="was cut"):
        play(srlinux.driver.macs(), lambda step: '{"network-instance": [')


def test_srlinux_that_is_cut_between_two_braces(srlinux: Recorded) -> None:
    with pytest.raises(Refused) as refusal:
        play(srlinux.driver.configuration("running"), lambda step: '{\n  "interface": [\n}')
    assert refusal.value.outcome is Outcome.UNVERIFIED


def test_srlinux_keeps_a_text_for_its_own_eyes(srlinux: Recorded) -> None:
    text = srlinux.run(srlinux.driver.configuration("running"))
    puts: list[Put] = []

    def act(step: Step) -> str:
        if isinstance(step, Put):
            puts.append(step)
        return srlinux.player(step)

    play(srlinux.driver.restore(text), act)
    assert [(put.private, bool(put.content)) for put in puts] == [(True, True), (True, False)]
