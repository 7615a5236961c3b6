import pytest

from netd.extensions import Extensions
from netd.model.device import Facts, MacEntry, Outcome
from netd.sdk import device
from netd.sdk.dialogue import ENABLE, Command, Step, play
from netd.sdk.terminal import Refused
from tests.vendors.recorded import Recorded


@pytest.fixture
def c320(extensions: Extensions) -> Recorded:
    return Recorded(extensions, "zte/C320_V2.1.0")


@pytest.fixture
def c600(extensions: Extensions) -> Recorded:
    return Recorded(extensions, "zte/C600_V1.2.2")


@pytest.fixture
def zxros(extensions: Extensions) -> Recorded:
    return Recorded(extensions, "zte/ZXCTN6120H-S_V5.10.00.50")


def test_facts(c320: Recorded, c600: Recorded, zxros: Recorded) -> None:
    uptime = 141 * 86400 + 15 * 3600 + 25 * 60
    assert c320.run(c320.driver.facts()) == Facts(hostname="ZXAN", model="C320", software_version="V2.1.0", uptime_seconds=uptime)
    assert c320.snmp_facts() == Facts(hostname="ZXAN", model="C320", software_version="V2.1.0")
    assert c600.run(c600.driver.facts()) == Facts(software_version="V1.2.2")  # it does not know show system-group
    assert c600.snmp_facts().model == "C600"
    known = zxros.run(zxros.driver.facts())
    assert (known.model, known.software_version, known.uptime_seconds) == ("ZXCTN 6120H-S", "V5.10.00.50", 23 * 86400 + 10 * 3600 + 59 * 60)


def test_the_privileged_mode_is_asked_for_with_the_credentials_password(c320: Recorded) -> None:
    steps: list[Command] = []

    def act(step: Step) -> str:
        assert isinstance(step, Command)
        steps.append(step)
        return ""

    play(c320.driver.prepare(), act)
    assert steps[0].text == "enable"
    (answer,) = steps[0].answers
    assert answer.text == ENABLE and answer.secret


def test_a_dump_with_errors_in_it(c320: Recorded) -> None:
    text = c320.run(c320.driver.configuration("running"))
    assert "%Error 223845" in text and "timestamp_write" in text
    normal = c320.driver.normal(text)
    assert "%Error" not in normal and "timestamp_write" not in normal and "name customer" in normal


def test_onu_optics_by_line(c320: Recorded) -> None:
    first, second = c320.run(c320.driver.onu_optics("gpon-olt_1/1/1"))
    assert (first.onu, first.rx_dbm, first.tx_dbm, first.olt_rx_dbm) == ("1", -16.676, 2.423, -20.241)
    assert (second.onu, second.rx_dbm, second.olt_rx_dbm) == ("2", None, None)


def test_both_trees_of_onus(c320: Recorded, c600: Recorded) -> None:
    (old,) = c320.read("optics").optics  # the second ONU has no figures
    assert (old.interface, old.onu, old.rx_dbm, old.tx_dbm, old.distance_metres) == ("gpon-olt_1/1/1", "1", -16.676, 2.422, 1235)
    (new,) = c600.read("optics").optics
    assert (new.interface, new.onu, new.rx_dbm, new.olt_rx_dbm, new.distance_metres) == ("gpon_olt-1/3/1", "8", -20.24, -21.5, 3703)


def test_telemetry(c320: Recorded) -> None:
    sample = c320.read("system").device
    assert sample is not None
    assert (sample.uptime_seconds, sample.cpu_percent, sample.temperature_celsius) == (12237900, 28.5, 41.0)  # not snmpEngineTime
    assert c320.read("interfaces").interfaces[0].name == "gpon_1/1/1"


def test_what_is_not_documented_is_not_offered(c320: Recorded, zxros: Recorded) -> None:
    for recorded in (c320, zxros):
        assert not recorded.can(device.Firmware) and not recorded.can(device.Restore)
    assert not zxros.can(device.Macs)


def test_tables_and_neighbours_of_an_olt(c320: Recorded) -> None:
    assert c320.run(c320.driver.macs()) == [
        MacEntry(mac="8c:dc:02:94:a5:cd", interface="gpon-onu_1/1/1:1", vlan=88),
        MacEntry(mac="a4:2b:b0:c1:00:02", interface="gei_1/4/1", vlan=100),
        MacEntry(mac="00:19:c6:00:00:03", interface="vlan100", vlan=100),
    ]
    assert [(str(entry.address), entry.mac, entry.interface) for entry in c320.run(c320.driver.arps())] == [
        ("192.0.2.1", "00:d0:d0:aa:bb:cc", "vlan100"),
        ("192.0.2.2", "00:19:c6:00:00:03", "vlan100"),
    ]
    first, second = c320.run(c320.driver.neighbours())
    assert (first.local_interface, first.remote_name, first.remote_interface) == ("gei_1/4/1", "core1", "GigabitEthernet0/1")
    assert (first.remote_mac, first.remote_description) == ("00:d0:d0:aa:bb:cc", "a router")
    assert (second.local_interface, second.remote_interface, second.remote_mac) == ("xgei_1/4/2", "00d0.d0aa.bb10", None)
    assert play(c320.driver.macs(), lambda step: "") == play(c320.driver.arps(), lambda step: "%Code 32310: No related information to show.") == []


def test_neighbours_of_zxros_that_several_scopes_hear(zxros: Recorded) -> None:
    first, second = zxros.run(zxros.driver.neighbours())
    assert (first.local_interface, first.remote_name, first.remote_interface, first.remote_mac) == ("xgei-1/1/0/1", "P2", "xgei-1/1/0/2", "74:4a:a4:2b:1f:e8")
    assert (second.local_interface, second.remote_name, second.remote_interface) == ("xxvgei-1/1/0/20", None, "744a.a42b.1fea")


MODULES = "!<mim>\nhostname P1\n!</mim>\n!<aaa>\n!</aaa>\n!<if-intf>\ninterface lo1\n!</if-intf>\n"


@pytest.mark.parametrize("missing", [1, 10, 14, 20, 30, 40, 47, 56])
def test_a_configuration_in_modules_that_was_cut(missing: int, zxros: Recorded) -> None:
    assert play(zxros.driver.configuration("running"), lambda step: MODULES) == MODULES
    with pytest.raises(Refused) as refusal:
        play(zxros.driver.configuration("running"), lambda step: MODULES.rstrip()[:-missing])
    assert refusal.value.outcome is Outcome.UNVERIFIED


def test_a_configuration_whose_beginning_is_missing(zxros: Recorded) -> None:
    with pytest.raises(Refused, match="did not begin"):
        play(zxros.driver.configuration("running"), lambda step: MODULES[19:])
    older = "!\nhostname P1\n!\n"  # without modules nothing can be said
    assert play(zxros.driver.configuration("running"), lambda step: older) == older


def test_a_secret_that_wraps(c600: Recorded) -> None:
    """It goes on in the next line only where its own is full; what is typed again is one line."""
    full = "username zte password encrypted *21*".ljust(80, "x")
    assert c600.driver.masked(f"{full}\ncanary123456 level 15\n!\n") == "username zte password encrypted <secret> level 15\n!\n"
    assert c600.driver.masked(f"{full}\ncanary1=\ninterface vlan1\n") == "username zte password encrypted <secret>\ninterface vlan1\n"
    assert f"{full}canary123456 level 15\n" in c600.driver.normal(f"{full}\ncanary123456 level 15\n!\n")
    late = f"username {'z' * 40} password encrypted *21*xxxxxxxxxxxx\ncanary123456 level 15\n"  # too little of it to be sure, but not to mask it
    assert c600.driver.masked(late).endswith("encrypted <secret> level 15\n")
    short = "snmp-server community encrypted *31*abc view AllView\ninterface1234\n"
    assert c600.driver.masked(short) == "snmp-server community encrypted <secret> view AllView\ninterface1234\n"
    assert c600.driver.masked(f"{full}\ninterface gpon_olt-1/3/1\n").endswith("<secret>\ninterface gpon_olt-1/3/1\n")


def test_what_a_configuration_says_of_itself_is_no_change(c600: Recorded, zxros: Recorded) -> None:
    for recorded in (c600, zxros):
        text = recorded.run(recorded.driver.configuration("running"))
        assert "saved at" in text and "saved at" not in recorded.driver.normal(text) and "last configuration" not in recorded.driver.normal(text)


def test_arps_of_zxros_whose_names_are_broken(zxros: Recorded) -> None:
    found = zxros.run(zxros.driver.arps())
    assert [(str(entry.address), entry.interface) for entry in found] == [
        ("10.10.255.1", "xgei-1/1/0/1.201"),
        ("10.10.184.254", "xxvgei-1/1/0/20"),
        ("192.168.1.11", "mgmt_eth"),
    ]
    assert found[0].mac == "74:4a:a4:2b:20:10"


def test_a_locked_onu(c320: Recorded) -> None:
    done = c320.run(c320.driver.configure(["interface gpon-onu_1/1/1:1", "tcont 1 profile UP-50M", "vlan 300"]))
    assert [outcome for _, outcome, _ in done] == [Outcome.OK, Outcome.CONFLICT]
    assert c320.player.typed[-1] == "end"


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("%Error 20200: Invalid command", Outcome.SYNTAX),
        ("%Error 20201: Invalid input detected at '^' marker.Invalid command key word", Outcome.SYNTAX),
        ("%Error 20203: Incomplete command", Outcome.SYNTAX),
        ("%Error 20206: Unrecognized command", Outcome.SYNTAX),
        ("%Error 140303: Invalid input detected at '^' marker.", Outcome.SYNTAX),
        ("% Invalid input detected at '^' marker.", Outcome.SYNTAX),
        ("%Error 223845: UNI does not exist", Outcome.NOT_FOUND),
        ("%Error 230296: Profile is being used.", Outcome.IN_USE),
        ("%Code 62310-GPONSRV : No related information to show.", Outcome.EMPTY),
        ("%Code 32310-GPONSRV : No related information to show.", Outcome.EMPTY),
        ("No related information to show", Outcome.EMPTY),
        ("%Code 62397-GPONSRV: The entry is not existed.", Outcome.BAD_REFERENCE),
        ("%Code 64007-GPONRM : Operation is forbidden for conflicting with some applied onu-profile.", Outcome.CONFLICT),
        ("%Code 63981: vlan profile", Outcome.BAD_REFERENCE),
        ("%Code 63990: ont return error", Outcome.FAILED),
    ],
)
def test_error_texts(text: str, outcome: Outcome, c320: Recorded) -> None:
    assert c320.driver.terminal.classify(f"\n{text}\n") == (outcome, text)


def test_words_that_are_no_error(c320: Recorded) -> None:
    assert c320.driver.terminal.classify("V2.1.0P3  active   this patch is being used\n")[0] is Outcome.OK
