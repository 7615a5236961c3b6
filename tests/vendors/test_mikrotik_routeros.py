import hashlib

import pytest

from netd.errors import PeerError
from netd.extensions import Extensions
from netd.model.device import ArpEntry, Facts, Image, MacEntry, Neighbour, Outcome
from netd.sdk import text as read
from netd.sdk.device import Firmware, Restore, Tables
from netd.sdk.dialogue import Command, Get, Put, Reconnect, Step, play
from netd.sdk.terminal import Refused
from tests.vendors.recorded import Recorded

V6, V7 = "mikrotik/RB750UPr2_6.48.6", "mikrotik/RB4011_7.16.2"


def image(version: str, content: bytes = b"npk") -> Image:
    return Image(
        name=f"routeros-{version}.npk",
        version=version,
        octets=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
    )


@pytest.fixture
def v6(extensions: Extensions) -> Recorded:
    return Recorded(extensions, V6)


@pytest.fixture
def v7(extensions: Extensions) -> Recorded:
    return Recorded(extensions, V7)


def test_facts(v6: Recorded, v7: Recorded) -> None:
    assert v6.run(v6.driver.facts()) == Facts(
        hostname="MikroTik-Dev",
        model="RB750UPr2",
        serial="6737057562DD",
        software_version="6.48.6",
        uptime_seconds=6 * 604800 + 5 * 86400 + 11 * 3600 + 55 * 60 + 45,
    )
    assert v7.run(v7.driver.facts()).software_version == "7.16.2"
    assert v7.snmp_facts() == Facts(model="RB4011iGS+", serial="D43B0C96671D", software_version="7.16.2")


def test_a_pc_has_no_board(v7: Recorded) -> None:
    def act(step: Step) -> str:
        if isinstance(step, Command) and "routerboard" in step.text:
            raise Refused("bad command name", Outcome.SYNTAX)
        return v7.player(step)

    facts = play(v7.driver.facts(), act)
    assert (facts.model, facts.serial) == ("hEX PoE lite", None)


def test_version_7_is_asked_for_secrets_and_6_is_not(v6: Recorded, v7: Recorded) -> None:
    for recorded, command in ((v6, "/export;"), (v7, "/export show-sensitive;")):
        recorded.run(recorded.driver.configuration("running"))
        assert recorded.player.typed[-1].startswith(command)
        with pytest.raises(LookupError):
            recorded.run(recorded.driver.configuration("startup"))


def test_what_changes_by_itself_is_no_version(v6: Recorded) -> None:
    text = v6.run(v6.driver.configuration("running"))
    normal = v6.driver.normal(text)
    assert "jul/19/2024" not in normal and "inactive time" not in normal and "not ready" not in normal
    assert 'wpa2-pre-shared-key="canary wifi"' in normal
    assert v6.driver.normal(text.replace("10:11:12", "10:13:14").replace("# inactive time\n", "").replace("\n", "\r\n")) == normal
    assert v6.driver.normal(text.replace("canaryppp", "other")) != normal


def test_names_are_secrets_only_where_they_are(v6: Recorded) -> None:
    shown = v6.driver.masked(v6.run(v6.driver.configuration("running")))
    assert "add name=bridge_local" in shown and "set name=MikroTik-Dev" in shown
    assert "set [ find default=yes ] addresses=192.0.2.0/24 name=<secret>" in shown


def test_neighbours_and_tables(v6: Recorded, v7: Recorded) -> None:
    assert v6.can(Tables)
    first, second = v6.run(v6.driver.neighbours())
    assert first == Neighbour(
        local_interface="ether2",
        protocol="mndp",
        remote_name="CLEAR",
        remote_interface="ether1",
        remote_mac="12:34:56:78:90:ab",
        remote_description="MikroTik RouterOS 6.49.14 (stable) RB750UPr2",
    )
    assert str(second.remote_address) == "192.0.2.5"
    assert [item.protocol for item in v7.run(v7.driver.neighbours())] == ["lldp", "lldp"]
    assert v6.run(v6.driver.macs()) == [
        MacEntry(mac="11:22:33:44:55:01", interface="ether4"),
        MacEntry(mac="11:22:33:44:55:02", interface="ether3", vlan=30),
    ]
    assert [entry.mac for entry in v6.run(v6.driver.arps())] == ["12:34:56:78:90:aa", "12:34:56:78:90:ab"]
    assert isinstance(v6.run(v6.driver.arps())[0], ArpEntry)


def test_a_refused_line_ends_the_change(v6: Recorded) -> None:
    done = v6.run(
        v6.driver.configure(["# why", "/ip address add address=192.0.2.1/24 interface=ether9", "/ip address add address=192.0.2.1/24 interface=ether1"])
    )
    assert [outcome for _, outcome, _ in done] == [Outcome.BAD_REFERENCE]
    assert v6.player.typed[-1] == "/"
    done = v6.run(v6.driver.configure(["/ip address add address=192.0.2.1/24 interface=ether1", "/ppp secret add name=u2 password=canaryppp"]))
    assert done[1] == ("/ppp secret add name=u2 password=<secret>", Outcome.OK, "")
    v6.run(v6.driver.save())


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("bad command name foo (line 1 column 1)", Outcome.SYNTAX),
        ("syntax error (line 1 column 2)", Outcome.SYNTAX),
        ("expected end of command (line 1 column 9)", Outcome.SYNTAX),
        ("no such item", Outcome.NOT_FOUND),
        ("failure: already have interface with such name", Outcome.CONFLICT),
        ("failure: already have such address", Outcome.CONFLICT),
        ("input does not match any value of interface", Outcome.BAD_REFERENCE),
        ("not enough permissions (9)", Outcome.DENIED),
        ("action timed out - try again, if error continues contact MikroTik support and send a supout file (13)", Outcome.BUSY),
        ("failure: std failure: timeout", Outcome.BUSY),
        ("error: flash is busy", Outcome.BUSY),
        ("invalid value for argument address", Outcome.SYNTAX),
        ("failure: something new", Outcome.FAILED),
    ],
)
def test_error_texts(text: str, outcome: Outcome, v6: Recorded) -> None:
    assert v6.driver.terminal.classify(f"\n{text}\n") == (outcome, text)


def test_words_of_others_are_no_error(v6: Recorded) -> None:
    """What neighbours say of themselves, and what people write beside their interfaces."""
    shown = ' 0 interface=ether1 identity="busy-road-tower" system-description="BusyBox, the busy one"\n 1 ;;; busy street, action timed out once\n'
    assert v6.driver.terminal.classify(shown) == (Outcome.OK, "")


def test_telemetry(v7: Recorded) -> None:
    device = v7.read("system").device
    assert device is not None
    assert (device.uptime_seconds, device.cpu_percent, device.temperature_celsius, device.voltage_volts) == (789012, 4.0, 51.0, 24.2)
    assert (device.memory_used_octets, device.memory_total_octets, device.power_watts) == (65536 * 1024, 1 << 30, None)
    ether, sfp = v7.read("interfaces").interfaces
    assert (ether.name, ether.alias, ether.speed_bps, ether.mac, ether.in_octets, ether.counter_bits) == (
        *("ether1", "uplink", 10**9, "0c:93:1b:22:00:00"),
        *(10**10, 64),
    )
    assert (ether.in_packets, ether.out_packets, ether.in_discards, ether.out_errors) == (1023, None, 7, 2)
    assert (sfp.speed_bps, sfp.admin_up, sfp.oper_up, sfp.in_octets, sfp.counter_bits) == (10**10, False, False, None, 32)
    (optics,) = v7.read("optics").optics
    assert (optics.interface, optics.onu, optics.rx_dbm, optics.tx_dbm, optics.voltage_volts) == ("sfp-sfpplus1", None, -7.812, -2.35, 3.29)


def test_health_before_it_was_a_table(v6: Recorded) -> None:
    health = (1, 3, 6, 1, 4, 1, 14988, 1, 1, 3)
    device = v6.driver.read("system", {(*health, 8, 0): 242, (*health, 10, 0): 385, (*health, 11, 0): 512}, {}).device
    assert (device.voltage_volts, device.temperature_celsius) == (24.2, 51.2)
    assert v6.driver.read("system", {(*health, 10, 0): 0, (*health, 11, 0): None}, {}).device.temperature_celsius is None


def test_an_upgrade(v7: Recorded) -> None:
    assert v7.can(Firmware)
    newer = image("7.17")
    assert v7.run(v7.driver.free_octets()) == read.octets("71.2MiB")
    v7.run(v7.driver.transfer(newer))
    assert v7.player.stored == {newer.name: None}

    def holds(content: str) -> Outcome:
        def act(step: Step) -> str:
            assert step == Get(path=newer.name)
            return content

        outcome: Outcome = play(v7.driver.verify(newer), act)
        return outcome

    assert (holds("npk"), holds("np")) == (Outcome.OK, Outcome.FAILED)
    v7.run(v7.driver.activate(newer))
    assert v7.player.restarts == 0
    v7.run(v7.driver.reboot())
    assert v7.player.restarts == 2  # RouterBOOT, too
    assert v7.player.typed[-2:] == ["/system routerboard upgrade", "/system reboot"]


def test_a_downgrade_is_said(v7: Recorded) -> None:
    v7.run(v7.driver.activate(image("7.16rc2")))
    assert v7.player.typed[-1] == "/system package downgrade"
    assert v7.player.restarts == 1


def test_a_router_that_says_nothing_of_its_space(v7: Recorded) -> None:
    with pytest.raises(PeerError, match="free-hdd-space"):
        play(v7.driver.free_octets(), lambda step: "uptime: 3d")


def test_restore_is_read_back(v7: Recorded) -> None:
    assert v7.can(Restore)
    text = v7.run(v7.driver.configuration("running"))
    assert v7.run(v7.driver.restore(text)) is Outcome.OK
    assert v7.player.stored["flash/netd-restore.rsc"] == text.encode()
    steps: list[Step] = []

    def act(step: Step) -> str:
        steps.append(step)
        return v7.player(step)

    assert play(v7.driver.restore(text.replace("u1", "u9")), act) is Outcome.UNVERIFIED
    assert next(type(step) for step in steps if not isinstance(step, Command)) is Put
    assert any(isinstance(step, Reconnect) for step in steps)


def test_nothing_is_reset_for_a_text_that_was_not_stored(v7: Recorded) -> None:
    text = v7.run(v7.driver.configuration("running"))
    with pytest.raises(Refused, match="nothing was reset"):
        play(v7.driver.restore(text), lambda step: "half" if isinstance(step, Get) else v7.player(step))
    assert not any("reset-configuration" in line for line in v7.player.typed)


@pytest.mark.parametrize("refused", [True, False], ids=["refused", "damaged"])
def test_a_text_that_was_not_run_is_not_left_there(v7: Recorded, refused: bool) -> None:
    text = v7.run(v7.driver.configuration("running"))

    def act(step: Step) -> str:
        if isinstance(step, Get) and not refused:
            return "half"
        if isinstance(step, Command) and "reset-configuration" in step.text:
            raise Refused("not enough permissions", Outcome.DENIED)
        return v7.player(step)

    with pytest.raises(Refused):
        play(v7.driver.restore(text), act)
    assert v7.player.typed[-1] == "/file remove flash/netd-restore.rsc"
