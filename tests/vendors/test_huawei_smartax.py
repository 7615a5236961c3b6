import pytest

from netd.device.screen import _dialect
from netd.extensions import Extensions
from netd.model.device import Facts, MacEntry, OpticsSample, Outcome
from netd.sdk import device
from netd.sdk.dialogue import Command, Pause, Step, play
from netd.sdk.terminal import Refused
from netd.wire.terminal import Reader, ending
from tests.vendors.recorded import Recorded


@pytest.fixture
def olt(extensions: Extensions) -> Recorded:
    return Recorded(extensions, "huawei/MA5608T_MA5600V800R018C10")


def test_facts(olt: Recorded) -> None:
    uptime = 20 * 86400 + 23 * 3600 + 19 * 60 + 16
    assert olt.run(olt.driver.facts()) == Facts(model="MA5608T", software_version="MA5600V800R018C10", uptime_seconds=uptime)
    assert olt.snmp_facts() == Facts(hostname="OLT")


def test_the_session_is_prepared_even_if_an_old_release_lacks_a_command(olt: Recorded) -> None:
    olt.run(olt.driver.prepare())
    assert olt.player.typed == ["enable", "undo smart", "undo interactive", "scroll 512", "infoswitch cli OFF"]

    def old(step: Step) -> str:
        if isinstance(step, Command) and step.text == "infoswitch cli OFF":
            raise Refused("% Unknown command", Outcome.SYNTAX)
        return ""

    play(olt.driver.prepare(), old)


def test_what_it_cannot_do_is_not_offered(olt: Recorded) -> None:
    for capability in (device.Firmware, device.Restore):
        assert not olt.can(capability)
    with pytest.raises(LookupError):
        olt.run(olt.driver.configuration("startup"))


def test_arps_and_neighbours(olt: Recorded) -> None:
    """An address that was learnt on no port has its VLAN's interface; one without either is left out."""
    assert [(str(entry.address), entry.mac, entry.interface) for entry in olt.run(olt.driver.arps())] == [
        ("192.0.2.1", "00:e0:fc:12:80:01", "0/9/0"),
        ("192.0.2.7", "00:e0:fc:12:80:07", "vlanif120"),
    ]
    named, unnamed = olt.run(olt.driver.neighbours())
    assert (named.local_interface, named.remote_name, named.remote_interface) == ("ethernet0/9/0", "core1", "GE0/0/1")
    assert (unnamed.local_interface, unnamed.remote_name, unnamed.remote_interface) == ("ethernet0/9/1", None, "1/0/26")


def test_macs(olt: Recorded) -> None:
    assert olt.run(olt.driver.macs()) == [
        MacEntry(mac="80:5e:0c:5c:42:77", interface="0/1/0:1", vlan=10),
        MacEntry(mac="68:e2:09:1f:51:61", interface="0/1/1", vlan=20),
    ]


def test_onu_optics_by_line(olt: Recorded) -> None:
    first, second, third = olt.run(olt.driver.onu_optics("0/1/0"))
    assert first == OpticsSample(
        interface="0/1/0",
        onu="0",
        rx_dbm=-24.68,
        tx_dbm=3.68,
        olt_rx_dbm=-22.68,
        temperature_celsius=38.0,
        voltage_volts=3.2,
        bias_milliamperes=6.0,
        distance_metres=171,
    )
    assert (second.rx_dbm, second.distance_metres, third.olt_rx_dbm) == (None, None, None)
    assert olt.player.typed[-1] == "return"


def test_telemetry(olt: Recorded) -> None:
    sample = olt.read("system").device
    assert sample is not None
    assert (sample.cpu_percent, sample.temperature_celsius, sample.memory_used_octets) == (14.0, 52.0, None)
    found = {(item.interface, item.onu): item for item in olt.read("optics").optics}
    assert set(found) == {("0/1/0", "0"), ("0/0/1", "7"), ("0/1/0", None)}  # an ONU that is off has no figures
    onu = found["0/1/0", "0"]
    assert (onu.rx_dbm, onu.tx_dbm, onu.olt_rx_dbm, onu.voltage_volts, onu.distance_metres) == (-24.68, 3.68, -22.68, 3.2, 171)
    assert found["0/1/0", None].voltage_volts == 3.3
    optics = next(group for group in olt.driver.groups() if group.name == "optics")
    assert optics.opt_in and optics.period_seconds >= 3600


def test_a_change_stops_at_a_conflict_and_leaves_the_mode(olt: Recorded) -> None:
    lines = ["vlan 100 smart", "ont add 3 5 sn-auth 485754430B086EA9 omci ont-lineprofile-id 100 ont-srvprofile-id 100", "vlan 200 smart"]
    done = olt.run(olt.driver.configure(lines))
    assert [outcome for _, outcome, _ in done] == [Outcome.ALREADY, Outcome.CONFLICT]
    assert olt.player.typed[0] == "config" and olt.player.typed[-1] == "return"


def test_save_waits_until_the_flash_is_written(olt: Recorded) -> None:
    answers = iter(
        ["Failure: System is busy, please retry after a while", "  Failure: System is reading or writing flash, please retry after a while", "  VERSION : X"]
    )
    pauses = []

    def act(step: Step) -> str:
        if isinstance(step, Pause):
            pauses.append(step)
            return ""
        assert isinstance(step, Command)
        return next(answers) if step.text == "display version" else "It will take several minutes to save configuration file, please wait..."

    play(olt.driver.save(), act)
    assert len(pauses) == 3

    def never(step: Step) -> str:
        return "Failure: System is busy, please retry after a while" if isinstance(step, Command) and step.text != "save" else ""

    with pytest.raises(Refused) as refusal:
        play(olt.driver.save(), never)
    assert refusal.value.outcome is Outcome.UNVERIFIED


CATALOGUE = {
    "Failure: SN already exists": Outcome.CONFLICT,
    "Failure: The ONT ID has already existed": Outcome.CONFLICT,
    "Failure: The service virtual port has existed already. Conflicted service virtual port index: 123": Outcome.CONFLICT,
    "Failure: Make configuration repeatedly": Outcome.ALREADY,
    "Failure: The automatically found ONTs do not exist": Outcome.EMPTY,
    "Failure: Automatically found ONTs do not exist": Outcome.EMPTY,
    "Failure: The ONT does not exist": Outcome.NOT_FOUND,
    "The required ONT does not exist": Outcome.NOT_FOUND,
    "Failure: The ont-lineprofile does not exist": Outcome.BAD_REFERENCE,
    "Failure: The line profile does not exist": Outcome.BAD_REFERENCE,
    "Failure: The DBA-profile does not exist": Outcome.BAD_REFERENCE,
    "Failure: The DBA-profile has already existed": Outcome.CONFLICT,
    "Failure: The traffic table does not exist": Outcome.BAD_REFERENCE,
    "Failure: The VLAN does not exist": Outcome.BAD_REFERENCE,
    "Failure: The port is not in the VLAN": Outcome.BAD_REFERENCE,
    "Failure: The GEM port does not exist": Outcome.BAD_REFERENCE,
    "Failure: No service virtual port can be operated": Outcome.BAD_REFERENCE,
    "Failure: The GEM port cannot be deleted, because it is used": Outcome.IN_USE,
    "Failure: This configured object has some service virtual ports": Outcome.IN_USE,
    "Failure: The maximum bandwidth of the referenced DBA profile exceeds the limitation": Outcome.CAPACITY,
    "Failure: OMCI must not use type4 DBA-profile": Outcome.CAPACITY,
    "Failure: System is busy, please retry after a while": Outcome.BUSY,
    "Failure: System is reading or writing flash, please retry after a while": Outcome.BUSY,
    "Failure: Loading (backuping,rollbacking...) command being executed": Outcome.BUSY,
    "% Unknown command, the error locates at '^'": Outcome.SYNTAX,
    "% Parameter error, the error locates at '^'": Outcome.SYNTAX,
    "% Too many parameters, the error locates at '^'": Outcome.SYNTAX,
    "% Incomplete command, the error locates at '^'": Outcome.SYNTAX,
    "% Ambiguous command, the error locates at '^'": Outcome.SYNTAX,
    "Failure: Executing Xmodem loading is prohibited": Outcome.DENIED,
    "Failed to transfer the file": Outcome.FAILED,
    "Number of ONTs that can be deleted: 67, success: 0": Outcome.FAILED,
    "Number of ONTs that can be deleted: 67, success: 6": Outcome.FAILED,
    "Set ONT port(s) VLAN configuration, success: 1, failed: 2": Outcome.FAILED,
    "Failure: anything else": Outcome.FAILED,
    "失败: 配置": Outcome.FAILED,
}


REAL_ALARM = (
    "\n  ! 1 [01/01/2000 00:00:00-00:00]:\n\n  ALARM 11111 FAULT WARNING 0x2e112007 SERVICE QUALITY 17/01/2025 \n00:00:00-00:00\n"
    "  ALARM NAME  : The distribute fiber is broken or the OLT cannot receive \n                expected optical signals from the ONT(LOSi/LOBi)\n"
    "  PARAMETERS  : FrameID: 0, SlotID: 0, PortID: 1, ONT ID: 1, Equipment ID: \n                1H\n  --- END-\n"
)
UNASKED = (
    REAL_ALARM,
    "  ! 1 [2024-07-19 10:11:12+08:00]: ALARM\n  ALARM NAME :x\n  --- END\n",
    "  ! 12[2024-07-19 10:11:12]:\n\n  ALARM 1 FAULT\n  CAUSE : x\n  ---   END\n",
    "  ! RUNNING WARNING 2024-07-19\n  EVENT NAME :Parameters for automatic service port creation are incorrect\n  --- END\n",
    "  [2017-05-05 16:08:44+08:00]:The percentage of saved data on 0 slot's control board is: 27%\n",
    "  The data of 3 slot's control board is saved completely\n",
    "  The data of 0 slot's main control board is saved completely\n",
)


@pytest.mark.parametrize("unasked", UNASKED)
def test_what_nobody_asked_for(unasked: str, olt: Recorded) -> None:
    """It lands between the lines of whatever is shown."""
    reader = Reader(_dialect(olt.driver.terminal))
    reader.begin("display x")
    for line in f"display x\none! 1 [2024]\n{unasked}two: The data of 3 slots\nOLT#".replace("\n", "\r\n").splitlines(keepends=True):
        reader.feed(line.encode())
    assert reader.text().split() == ["one!", "1", "[2024]", "two:", "The", "data", "of", "3", "slots"]


@pytest.mark.parametrize("text", ["Number of ONTs that can be added: 1, success: 1", "Set ONT port(s) VLAN configuration, success: 1, failed: 0"])
def test_what_is_no_error(text: str, olt: Recorded) -> None:
    assert olt.driver.terminal.classify(f"  {text}\n  PortID :6, ONTID :2\n") == (Outcome.OK, "")


QUESTIONS = (
    "{ <cr>||<K> }:", "{ groupindex<K>|<cr> }:", "{ spm<K>|<cr>|frameid/slotid<S><0,15> }:", "{ <cr>|configuration<K>|data<K> }:",
    "{ <cr>|abnormal<K>|anti-dos<K>|\narp<K>|bandwidth<K> }:", "{ ont-type<K> }:", "{ frameid/slotid/portid<S><1,15>|\nsummary<K> }:",
    "[<frameId/slotId>]", "Are you sure to release service virtual port(s)? (y/n)[n]:", "(y/n) [n]", "Are you sure to proceed(y/n)[y]",
)  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions(question: str, olt: Recorded) -> None:
    """Any stops the reader; Enter answers those that offer it."""
    terminal = olt.driver.terminal
    (answer,) = terminal.answers
    screen = f"display something\n  {question} "
    assert ending(terminal.question).search(screen) and not ending(terminal.prompt).search(screen)
    assert bool(ending(answer.question).search(screen)) == ("<cr>" in question)
    assert not ending(answer.question).search(f"  All tables are configured by other user noc\n  {question}")


@pytest.mark.parametrize("text", CATALOGUE)
def test_error_texts(text: str, olt: Recorded) -> None:
    assert olt.driver.terminal.classify(f"  {text}\n\n") == (CATALOGUE[text], text)
