import pytest

from netd.extensions import Extensions
from netd.model.device import Facts, MacEntry, Outcome
from netd.sdk.dialogue import play
from netd.sdk.terminal import Refused
from tests.vendors.recorded import Recorded


@pytest.fixture
def router(extensions: Extensions) -> Recorded:
    return Recorded(extensions, "cisco/2911_15.7")


def test_facts(router: Recorded) -> None:
    uptime = 365 * 86400 + 17 * 86400 + 4 * 3600 + 5 * 60
    assert router.run(router.driver.facts()) == Facts(
        hostname="edge", model="CISCO2911/K9", serial="FTX1840ALBY", software_version="15.7(3)M5", uptime_seconds=uptime
    )
    assert router.snmp_facts() == Facts(hostname="edge", software_version="15.7(3)M5")


def test_configurations(router: Recorded) -> None:
    running, startup = (router.run(router.driver.configuration(which)) for which in ("running", "startup"))
    assert running.startswith("!\n! Last configuration change") and startup.startswith("!\nversion")
    normal = router.driver.normal(running)
    assert "Last configuration change" not in normal and "clock-period" not in normal


def test_neighbours_and_tables(router: Recorded) -> None:
    (found,) = router.run(router.driver.neighbours())
    assert (found.local_interface, found.remote_name, found.remote_interface) == ("GigabitEthernet0/1", "sw1.example.net", "GigabitEthernet1/0/1")
    assert (str(found.remote_address), found.remote_description) == ("192.0.2.20", "cisco WS-C2960S-48LPS-L")
    assert play(router.driver.neighbours(), lambda step: "% CDP is not enabled") == []
    with pytest.raises(Refused):
        play(router.driver.neighbours(), lambda step: "% Invalid input detected at '^' marker.")
    assert router.run(router.driver.macs()) == [MacEntry(mac="52:54:00:aa:bb:cc", interface="Gi0/1", vlan=30)]
    assert [(str(entry.address), entry.interface) for entry in router.run(router.driver.arps())] == [
        ("192.0.2.1", "GigabitEthernet0/0"),
        ("192.0.2.9", "GigabitEthernet0/1.30"),
    ]


CARDS = """\
Displaying entries from DFC switch [1] linecard [1]:
     vlan   mac address    type   learn    age                 ports
----+----+---------------+-------+-----+----------+-----------------------------
      420 009e.1ead.eadd  dynamic  Yes      160     Po140
*     777 0000.30a3.0167  static   No         -     Router
Displaying entries from DFC switch [1] linecard [2]:
*     420 009e.1ead.eadd  dynamic  Yes        5     Po140
"""


def test_other_layouts(router: Recorded) -> None:
    assert play(router.driver.macs(), lambda step: CARDS) == [MacEntry(mac="00:9e:1e:ad:ea:dd", interface="Po140", vlan=420)]
    phone = "---------\nDevice ID: SEP1\nEntry address(es):\nPlatform: Poly VVX D230,  Capabilities: Host Phone\n"
    phone += "Interface: GigabitEthernet1/0/5,  Port ID (outgoing port): Port 1\nHoldtime : 132 sec"
    (found,) = play(router.driver.neighbours(), lambda step: phone)
    assert (found.remote_address, found.remote_interface, found.remote_description) == (None, "Port 1", "Poly VVX D230")
    asr = "Cisco IOS Software, IOS-XE Software (X86_64_LINUX_IOSD-UNIVERSALK9-M), Version 15.3(2)S1, RELEASE SOFTWARE (fc1)\nROM: IOS-XE ROMMON\n"
    asr += "r1 uptime is 1 day, 15 hours, 32 minutes\ncisco ASR1001 (1RU) processor with 1133939K/6147K bytes of memory.\nProcessor board ID SSI1289001MH"
    known = play(router.driver.facts(), lambda step: asr)
    assert (known.model, known.software_version, known.serial, known.uptime_seconds) == ("ASR1001", "15.3(2)S1", "SSI1289001MH", 142320)


def test_changes_and_save(router: Recorded) -> None:
    done = router.run(router.driver.configure(["! why", "interface GigabitEthernet0/0", "nonsense"]))
    assert [outcome for _, outcome, _ in done] == [Outcome.OK, Outcome.SYNTAX]
    router.run(router.driver.save())


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("% Invalid input detected at '^' marker.", Outcome.SYNTAX),
        ("% Incomplete command.", Outcome.SYNTAX),
        ('% Ambiguous command:  "sh"', Outcome.SYNTAX),
        ("% Authorization failed.", Outcome.DENIED),
        ("% 192.0.2.0 overlaps with GigabitEthernet0/1", Outcome.CONFLICT),
        ("% Something new", Outcome.FAILED),
        ("%SYS-5-CONFIG_I: Configured from console by netd", Outcome.OK),
    ],
)
def test_error_texts(text: str, outcome: Outcome, router: Recorded) -> None:
    assert router.driver.terminal.classify(text)[0] is outcome


def test_telemetry(router: Recorded) -> None:
    sample = router.read("system").device
    assert sample is not None
    assert (sample.cpu_percent, sample.temperature_celsius) == (6.0, 31.0)
