from typing import Any

import pytest

from netd.extensions import Extensions
from netd.model.device import Facts, Image, MacEntry, Outcome
from netd.sdk.dialogue import Step, play
from netd.sdk.terminal import Refused
from tests.vendors.recorded import Recorded


@pytest.fixture
def router(extensions: Extensions) -> Recorded:
    return Recorded(extensions, "cisco/2911_15.7")


@pytest.fixture
def switch(extensions: Extensions) -> Recorded:
    return Recorded(extensions, "cisco/C9300-48P_17.9.4a")


MD5 = "3b1f8f1f0f0c2a8e2d1c4b5a69788796"


def image(name: str = "new.bin", version: str = "15.9(3)M8", md5: str = MD5) -> Image:
    return Image(name=name, version=version, octets=5, sha256="", md5=md5)


def saying(recorded: Recorded, beginning: str, text: str) -> Any:
    """The recording, but for what it says to commands that begin so."""
    return lambda step: text if getattr(step, "text", "").startswith(beginning) else recorded.player(step)


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
    found, mikrotik, phone = router.run(router.driver.neighbours())  # whom CDP has named LLDP does not name again
    assert (found.local_interface, found.remote_name, found.remote_interface) == ("GigabitEthernet0/1", "sw1.example.net", "GigabitEthernet1/0/1")
    assert (mikrotik.local_interface, mikrotik.protocol, mikrotik.remote_name, mikrotik.remote_interface) == ("Gi0/2", "lldp", "mt1", "ether1")
    assert (str(mikrotik.remote_address), mikrotik.remote_mac, mikrotik.remote_description) == (
        "192.0.2.21",
        "74:4d:28:aa:00:02",
        "MikroTik RouterOS 7.16.2 RB4011iGS+",
    )
    assert (phone.remote_name, phone.remote_address, phone.remote_mac, phone.remote_description) == (None, None, None, None)
    assert (str(found.remote_address), found.remote_description) == ("192.0.2.20", "cisco WS-C2960S-48LPS-L")
    assert play(router.driver.neighbours(), lambda step: "% CDP is not enabled") == []
    assert play(router.driver.neighbours(), lambda step: "% LLDP is not enabled") == []
    unknown = "% Invalid input detected at '^' marker."
    assert len(play(router.driver.neighbours(), lambda step: unknown if "lldp" in getattr(step, "text", "") else router.player(step))) == 1
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
    assert "configure confirm" not in router.player.typed  # it has no archive
    router.run(router.driver.save())


def test_a_change_is_confirmed_where_there_is_an_archive(switch: Recorded) -> None:
    assert [outcome for _, outcome, _ in switch.run(switch.driver.configure(["interface GigabitEthernet1/0/1"]))] == [Outcome.OK]
    typed = switch.player.typed
    assert typed[-1] == "configure confirm" and typed[1:3] == ["configure terminal revert timer 10", "end"]


def test_a_restored_configuration(router: Recorded) -> None:
    text = router.run(router.driver.configuration("running"))
    assert router.run(router.driver.restore(text)) is Outcome.OK
    assert router.player.stored == {"flash0:netd-restore.cfg": text.encode()}
    typed = router.player.typed
    assert typed.index("configure confirm") < typed.index("delete /force flash0:netd-restore.cfg") < typed.index("write memory")
    other = text.replace("core", "edge")
    router.player.typed.clear()
    assert router.run(router.driver.restore(other)) is Outcome.UNVERIFIED and "write memory" not in router.player.typed


REFUSED = """\
The rollback configlet from the last pass is listed below:
********
!List of Rollback Commands:
snmp-server community canarysnmp RO
end
********


Rollback aborted after 5 passes
The following commands are failed to apply to the IOS image.
********
snmp-server community canarysnmp RO
********
"""


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("%Error opening flash0:netd-restore.cfg (No such file or directory)", Outcome.NOT_FOUND),
        ("% Configuration mode is locked by process '3' user 'noc' from terminal '0'. Please try later.", Outcome.BUSY),
        ("% Authorization failed.", Outcome.DENIED),
        ("something else", Outcome.UNVERIFIED),
    ],
)
def test_nothing_was_replaced(said: str, outcome: Outcome, router: Recorded) -> None:
    text = router.run(router.driver.configuration("running"))
    with pytest.raises(Refused) as refusal:
        play(router.driver.restore(text), saying(router, "configure replace", said))
    assert refusal.value.outcome is outcome
    assert "delete /force flash0:netd-restore.cfg" in router.player.typed and "configure confirm" not in router.player.typed


@pytest.mark.parametrize("nothing", ["%Please turn config archive on", "%Turn config archive on before using Rollback Confirmed Change",
                                     "% Invalid input detected at '^' marker."])  # fmt: skip
def test_a_router_without_an_archive(nothing: str, router: Recorded) -> None:
    text = router.run(router.driver.configuration("running"))

    def act(step: Step) -> str:
        typed = getattr(step, "text", "")
        if not typed.startswith("configure replace"):
            return router.player(step)
        return nothing if "timer" in typed else REFUSED

    assert play(router.driver.restore(text), act) is Outcome.OK  # what counts is what it runs
    archive, refused = router.player.notes
    assert "no archive" in archive and refused == "not all of it was taken: snmp-server community <secret> RO"
    assert "configure confirm" not in router.player.typed


def test_a_timer_that_ran_out(router: Recorded) -> None:
    text = router.run(router.driver.configuration("running"))
    with pytest.raises(Refused, match="configure confirm: %No Rollback Confirmed Change pending"):
        play(router.driver.restore(text), saying(router, "configure confirm", "%No Rollback Confirmed Change pending"))


def test_an_upgrade(router: Recorded) -> None:
    assert router.run(router.driver.free_octets()) == 149073920
    router.run(router.driver.transfer(image()))
    assert router.player.stored == {"flash0:new.bin": None}
    assert router.run(router.driver.verify(image())) is Outcome.OK
    assert router.run(router.driver.verify(image(md5="0" * 32))) is Outcome.FAILED
    assert router.run(router.driver.verify(image("other.bin", md5="0" * 32))) is Outcome.NOT_FOUND
    router.run(router.driver.activate(image()))
    router.run(router.driver.reboot())
    typed = router.player.typed
    assert typed.index("boot system flash0:new.bin") < typed.index("boot system flash0:c2900-universalk9-mz.SPA.157-3.M5.bin") < typed.index("write memory")
    assert router.player.restarts == 1


def test_a_router_that_does_not_say_what_is_free(router: Recorded) -> None:
    for text in ("Directory of flash0:/\n\nNo files in directory", "nothing"):
        with pytest.raises(Refused) as refusal:
            play(router.driver.free_octets(), saying(router, "dir", text))
        assert refusal.value.outcome is Outcome.UNVERIFIED


def test_packages(switch: Recorded) -> None:
    wanted = image("cat9k_iosxe.17.12.03.SPA.bin", "17.12.3")
    assert switch.run(switch.driver.facts()).software_version == "17.9.4a" == switch.snmp_facts().software_version
    switch.run(switch.driver.transfer(wanted))  # to one of the stack, which gives it to the others
    switch.run(switch.driver.activate(wanted))
    switch.run(switch.driver.reboot())
    assert [line for line in switch.player.typed if line.startswith("install")] == [
        "install add file flash:cat9k_iosxe.17.12.03.SPA.bin",
        "install activate",
        "install commit",
    ]
    assert switch.player.restarts == 1


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("install_add: START\n  [1]  R0 FAILED: not enough space\nFAILED: install_add Fri Jul 19", Outcome.FAILED),
        ("install_add: Install operation already running", Outcome.BUSY),
        ("install_add: START", Outcome.UNVERIFIED),
    ],
)
def test_packages_that_cannot_be_added(said: str, outcome: Outcome, switch: Recorded) -> None:
    with pytest.raises(Refused) as refusal:
        play(switch.driver.activate(image("cat9k_iosxe.17.12.03.SPA.bin", "17.12.3")), saying(switch, "install add", said))
    assert refusal.value.outcome is outcome


def test_packages_that_do_not_come_to_be_activated(switch: Recorded) -> None:
    switch.run(switch.driver._packages("C"))  # as before something was added
    with pytest.raises(Refused) as refusal:
        play(switch.driver.reboot(), saying(switch, "install activate", "FAILED: install_activate Fri Jul 19"))
    assert refusal.value.outcome is Outcome.FAILED and switch.player.restarts == 0


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("% Invalid input detected at '^' marker.", Outcome.SYNTAX),
        ("% Incomplete command.", Outcome.SYNTAX),
        ('% Ambiguous command:  "sh"', Outcome.SYNTAX),
        ("% Authorization failed.", Outcome.DENIED),
        ("% 192.0.2.0 overlaps with GigabitEthernet0/1", Outcome.CONFLICT),
        ("%Error deleting flash:x (No such file or directory)", Outcome.NOT_FOUND),
        ("%Error opening flash:x (No space left on device)", Outcome.CAPACITY),
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


def test_a_change_with_a_refused_line_is_not_confirmed_where_there_is_an_archive(switch: Recorded) -> None:
    typed: list[str] = []

    def act(step: Step) -> str:
        typed.append(getattr(step, "text", type(step).__name__))
        if typed[-1] in ("nonsense", "configure revert now"):
            return "% Invalid input detected at '^' marker." if typed[-1] == "nonsense" else "Rollback Done"
        return switch.player(step)

    done = play(switch.driver.configure(["interface GigabitEthernet1/0/1", "nonsense"]), act)
    assert [outcome for _, outcome, _ in done] == [Outcome.OK, Outcome.SYNTAX]
    assert typed[-2:] == ["end", "configure revert now"] and "configure confirm" not in typed and "LogIn" not in typed


USERS = "    Line       User       Host(s)              Idle       Location\n"


@pytest.mark.parametrize(
    ("said", "own"),
    [
        (f"{USERS}   0 con 0     noc        idle                 2d03h\n*  2 vty 0     netd       idle                 00:00:00 192.0.2.5\n", "netd"),
        (f"{USERS}*  2 vty 0                idle                 00:00:00 192.0.2.5\n", ""),
        (f"{USERS}   0 con 0     noc        idle                 2d03h\n", ""),
        ("% Authorization failed.", ""),
    ],
)
def test_who_the_session_is_of(router: Recorded, said: str, own: str) -> None:
    """Whose the timer is can only be told where the router says both names."""
    timer = "Timer type: absolute timer\nTimer value: 10 min\nUser: noc"
    assert play(router.driver._others(timer), lambda step: said) == ("noc" if own else None)
    assert play(router.driver._others(timer.replace("10 min", "5 min")), lambda step: said) == "noc"


@pytest.mark.parametrize("shown", ["netd-autom", "netd-automation"], ids=["cut off", "over the next column"])
def test_a_name_that_is_longer_than_its_column_is_ones_own(router: Recorded, shown: str) -> None:
    said = f"{USERS}*  2 vty 0     {shown:<10} idle                 00:00:00 192.0.2.5\n"
    timer = "Timer type: absolute timer\nTimer value: 10 min\nUser: netd-automation"
    assert play(router.driver._others(timer), lambda step: said) is None
    assert play(router.driver._others(timer.replace("netd-automation", "netd-audit")), lambda step: said) == "netd-audit"
