import pytest

from netd.extensions import Extensions
from netd.model.device import Facts, MacEntry, Outcome
from netd.sdk import device
from netd.sdk.dialogue import Command, Note, Step, play
from netd.sdk.sections import changes
from netd.sdk.terminal import Refused
from tests.vendors.recorded import Recorded


@pytest.fixture
def linux(extensions: Extensions) -> Recorded:
    return Recorded(extensions, "generic/linux_debian12")


@pytest.fixture
def frr(extensions: Extensions) -> Recorded:
    return Recorded(extensions, "generic/frr_8.4.4")


def test_linux_facts(linux: Recorded) -> None:
    assert linux.run(linux.driver.facts()) == Facts(
        hostname="bras1", model="PowerEdge R450", software_version="Debian GNU/Linux 12 (bookworm)", uptime_seconds=350735
    )  # the serial number is root's to read
    assert linux.snmp_facts() == Facts(model="x86_64", software_version="6.1.0-18-amd64")


def test_linux_neighbours_and_tables(linux: Recorded) -> None:
    first, second = linux.run(linux.driver.neighbours())
    assert (first.local_interface, first.protocol, first.remote_name, first.remote_interface) == ("eth0", "lldp", "sw1", "eth7")
    assert (str(first.remote_address), first.remote_mac) == ("192.0.2.2", "00:11:22:33:44:55")
    assert (second.protocol, second.remote_name, second.remote_interface) == ("cdp", "sw2", "GigabitEthernet0/1")
    assert linux.run(linux.driver.macs()) == [
        MacEntry(mac="52:54:00:aa:bb:cc", interface="eth1", vlan=30),
        MacEntry(mac="52:54:00:aa:bb:cd", interface="eth2"),
    ]
    assert [str(entry.address) for entry in linux.run(linux.driver.arps())] == ["192.0.2.2", "fe80::1"]


def test_linux_telemetry(linux: Recorded) -> None:
    sample = linux.read("system").device
    assert sample is not None
    assert (sample.uptime_seconds, sample.cpu_percent, sample.memory_total_octets) == (350735, 2.5, 2000000 * 1024)
    (lo,) = linux.read("interfaces").interfaces
    assert (lo.in_octets, lo.counter_bits, lo.in_packets) == (4000000000, 32, None)


def test_linux_is_not_configured(linux: Recorded) -> None:
    assert not linux.can(device.Backup) and not linux.can(device.Configure)


def test_frr_save_must_be_confirmed(frr: Recorded) -> None:
    frr.run(frr.driver.save())
    with pytest.raises(Refused) as refusal:
        play(frr.driver.save(), lambda step: "Building Configuration...")
    assert refusal.value.outcome is Outcome.UNVERIFIED


def test_frr_restore_types_what_differs(frr: Recorded) -> None:
    now = frr.run(frr.driver.configuration("running"))
    wanted = now.replace("description old", "description new").replace("ip route 198.51.100.0/24 192.0.2.9\n", "")
    state = {"text": now}

    def act(step: Step) -> str:
        if isinstance(step, Note):
            return ""
        assert isinstance(step, Command)
        if step.text == "write memory":
            return "[OK]"
        if step.text == "end":
            state["text"] = wanted
        return state["text"] if step.text == "show running-config" else ""

    assert play(frr.driver.restore(wanted), act) is Outcome.OK
    state["text"] = now
    assert (
        play(frr.driver.restore(now.replace("vm", "other")), lambda step: now if step == Command(text="show running-config", check=False, large=True) else "")
        is Outcome.UNVERIFIED
    )


def test_frr_refuses_within_a_restore(frr: Recorded) -> None:
    now = frr.run(frr.driver.configuration("running"))

    def act(step: Step) -> str:
        if isinstance(step, Command) and step.text.startswith("no ip route"):
            return "% Refusing to remove a non-existent route"
        return now if isinstance(step, Command) and step.text.startswith("show") else ""

    with pytest.raises(Refused) as refusal:
        play(frr.driver.restore(now.replace("ip route 198.51.100.0/24 192.0.2.9\n", "")), act)
    assert refusal.value.outcome is Outcome.NOT_FOUND


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("% Unknown command: foo", Outcome.SYNTAX),
        ("% Command incomplete: interface", Outcome.SYNTAX),
        ("% Refusing to remove a non-existent route", Outcome.NOT_FOUND),
        ("bgpd is not running", Outcome.FAILED),
    ],
)
def test_frr_error_texts(text: str, outcome: Outcome, frr: Recorded) -> None:
    assert frr.driver.terminal.classify(text) == (outcome, text)


def test_changes_between_two_configurations() -> None:
    now = "hostname a\ninterface eth0\n description x\n ip address 192.0.2.1/24\nexit\nrouter bgp 1\n neighbor 192.0.2.9 remote-as 2\nexit\n"
    wanted = "hostname b\ninterface eth0\n ip address 192.0.2.1/24\n no shutdown\nexit\ninterface eth1\n description new\n"
    assert changes(now, wanted) == [
        *("no hostname a", "interface eth0", "no description x", "exit", "no router bgp 1", "hostname b"),
        *("interface eth0", "no shutdown", "exit", "interface eth1", "exit", "interface eth1", "description new", "exit"),
    ]
    assert changes(now, now) == []
    assert changes("ip forwarding", "") == ["no ip forwarding"] and changes("no ip forwarding", "") == ["ip forwarding"]
