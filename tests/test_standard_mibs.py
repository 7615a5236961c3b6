"""Whom an agent hears and where addresses are, out of the MIBs that all agents share."""

import random

import pytest

from netd.model.device import ArpEntry, MacEntry
from netd.sdk import addressmib, ifmib, lldpmib
from netd.sdk.device import Oid, Varbind
from netd.sdk.recording import select, varbinds

Tables = dict[Oid, dict[Oid, Varbind]]

INTERFACES = """\
1.3.6.1.2.1.2.2.1.2.1|4|GigabitEthernet 1
1.3.6.1.2.1.2.2.1.2.2|4|GigabitEthernet 2
1.3.6.1.2.1.2.2.1.2.30|4|Vlan 30
1.3.6.1.2.1.2.2.1.6.1|4x|001122334401
1.3.6.1.2.1.2.2.1.6.2|4x|001122334402
1.3.6.1.2.1.2.2.1.6.30|4x|001122334402
1.3.6.1.2.1.31.1.1.1.1.1|4|gi1
1.3.6.1.2.1.31.1.1.1.1.2|4|gi2
"""
HEARD = """\
1.0.8802.1.1.2.1.4.1.1.4.100.7.1|2|4
1.0.8802.1.1.2.1.4.1.1.5.100.7.1|4x|ae644ec97cba
1.0.8802.1.1.2.1.4.1.1.6.100.7.1|2|5
1.0.8802.1.1.2.1.4.1.1.7.100.7.1|4|xe-0/0/1
1.0.8802.1.1.2.1.4.1.1.8.100.7.1|4|to the west
1.0.8802.1.1.2.1.4.1.1.9.100.7.1|4|core1
1.0.8802.1.1.2.1.4.1.1.10.100.7.1|4|a router
1.0.8802.1.1.2.1.4.2.1.3.100.7.1.2.16.32.1.13.184.0.0.0.0.0.0.0.0.0.0.0.9|2|2
1.0.8802.1.1.2.1.4.2.1.3.100.7.1.1.4.192.0.2.9|2|2
"""


def tables(*texts: str) -> Tables:
    columns = (*lldpmib.COLUMNS, *addressmib.VLAN_COLUMNS, *addressmib.BRIDGE_COLUMNS, addressmib.PORT_IF_INDEX, *addressmib.NEIGHBOUR_COLUMNS)
    return select(varbinds("".join((INTERFACES, *texts))), (), (*columns, *addressmib.ARP_COLUMNS))[1]


def local(kind: int, said: str, descr: str = "") -> str:
    """Port 7 as the agent calls it."""
    head = "1.0.8802.1.1.2.1.3.7.1."
    return f"{head}2.7|2|{kind}\n{head}3.7|{said}\n{head}4.7|4|{descr}\n"


@pytest.mark.parametrize(
    ("port", "name"),
    [
        (local(5, "4|gi2"), "gi2"),
        (local(5, "4|GigabitEthernet 2"), "gi2"),
        (local(5, "4|Ethernet9"), "Ethernet9"),
        (local(3, "4x|001122334401"), "gi1"),
        (local(3, "4x|001122334402", "gi2"), "gi2"),  # two have that address
        (local(3, "4x|001122334402"), "00:11:22:33:44:02"),
        (local(7, "4|2"), "gi2"),
        (local(7, "4|99", "uplink"), "99"),
        (local(7, "4|", "uplink"), "uplink"),
        ("", "port 7"),
    ],
)
def test_which_interface_a_port_is(port: str, name: str) -> None:
    (found,) = lldpmib.neighbours(tables(HEARD, port))
    assert found.local_interface == name


def test_a_neighbour() -> None:
    (found,) = lldpmib.neighbours(tables(HEARD))
    assert (found.protocol, found.remote_name, found.remote_interface, found.remote_mac) == ("lldp", "core1", "xe-0/0/1", "ae:64:4e:c9:7c:ba")
    assert (str(found.remote_address), found.remote_description) == ("192.0.2.9", "a router")


def test_a_port_that_is_its_interface() -> None:
    """Where nothing else tells, the number of LLDP's port is the interface's."""
    (found,) = lldpmib.neighbours(tables(HEARD.replace(".100.7.1", ".100.2.1")))
    assert found.local_interface == "gi2"


def test_a_neighbour_that_says_addresses_for_names() -> None:
    rem = "1.0.8802.1.1.2.1.4.1.1."
    said = f"{rem}4.0.7.1|2|5\n{rem}5.0.7.1|4x|01c0000209\n{rem}6.0.7.1|2|3\n{rem}7.0.7.1|4x|02def7ba73f8\n"
    (found,) = lldpmib.neighbours(tables(said))
    assert (str(found.remote_address), found.remote_mac, found.remote_interface) == ("192.0.2.9", "02:de:f7:ba:73:f8", "02:de:f7:ba:73:f8")
    (found,) = lldpmib.neighbours(tables(said, f"{rem}8.0.7.1|4|eth1\n"))
    assert found.remote_interface == "eth1"
    (found,) = lldpmib.neighbours(tables(said.replace(f"{rem}6.0.7.1|2|3", f"{rem}6.0.7.1|2|4").replace("02def7ba73f8", "01c000020a")))
    assert (found.remote_interface, found.remote_mac) == ("192.0.2.10", None)


BRIDGE = "1.3.6.1.2.1.17.1.4.1.2.10|2|1\n1.3.6.1.2.1.17.1.4.1.2.11|2|2\n"
PLAIN = """\
1.3.6.1.2.1.17.4.3.1.2.82.84.0.170.187.1|2|10
1.3.6.1.2.1.17.4.3.1.2.82.84.0.170.187.2|2|0
1.3.6.1.2.1.17.4.3.1.2.82.84.0.170.187.3|2|11
1.3.6.1.2.1.17.4.3.1.2.82.84.0.170.187.4|2|12
1.3.6.1.2.1.17.4.3.1.3.82.84.0.170.187.1|2|3
1.3.6.1.2.1.17.4.3.1.3.82.84.0.170.187.2|2|3
1.3.6.1.2.1.17.4.3.1.3.82.84.0.170.187.3|2|4
1.3.6.1.2.1.17.4.3.1.3.82.84.0.170.187.4|2|5
"""
VLANS = """\
1.3.6.1.2.1.17.7.1.2.2.1.2.1.82.84.0.170.187.5|2|10
1.3.6.1.2.1.17.7.1.2.2.1.2.2.82.84.0.170.187.5|2|11
1.3.6.1.2.1.17.7.1.2.2.1.3.1.82.84.0.170.187.5|2|3
1.3.6.1.2.1.17.7.1.2.2.1.3.2.82.84.0.170.187.5|2|3
1.3.6.1.2.1.17.7.1.4.2.1.3.0.30|66|1
1.3.6.1.2.1.17.7.1.4.2.1.3.0.40|66|2
1.3.6.1.2.1.17.7.1.4.2.1.3.0.50|66|2
"""


def test_macs() -> None:
    """Not the bridge's own, and none that is behind no port; a port whose interface nobody tells has its number."""
    assert addressmib.macs(tables(BRIDGE, PLAIN)) == [
        MacEntry(mac="52:54:00:aa:bb:01", interface="gi1"),
        MacEntry(mac="52:54:00:aa:bb:04", interface="port 12"),
    ]


def test_macs_by_vlan() -> None:
    """A VLAN that has its filtering database with another is not told."""
    assert addressmib.macs(tables(BRIDGE, PLAIN, VLANS)) == [
        MacEntry(mac="52:54:00:aa:bb:05", interface="gi1", vlan=30),
        MacEntry(mac="52:54:00:aa:bb:05", interface="gi2", vlan=None),
    ]


OLD = "1.3.6.1.2.1.4.22.1.2.30.192.0.2.1|4x|525400aabb01\n1.3.6.1.2.1.4.22.1.2.30.192.0.2.2|4x|525400aabb02\n1.3.6.1.2.1.4.22.1.4.30.192.0.2.2|2|2\n"
NEW = """\
1.3.6.1.2.1.4.35.1.4.1.1.4.192.0.2.1|4x|525400aabb01
1.3.6.1.2.1.4.35.1.4.1.1.4.192.0.2.2|4x|525400aabb02
1.3.6.1.2.1.4.35.1.4.1.1.4.192.0.2.3|4x|000000000000
1.3.6.1.2.1.4.35.1.4.2.4.20.254.128.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.0.0.2|4x|525400aabb09
1.3.6.1.2.1.4.35.1.6.1.1.4.192.0.2.1|2|3
1.3.6.1.2.1.4.35.1.6.1.1.4.192.0.2.2|2|5
"""


def said(found: list[ArpEntry]) -> list[tuple[str, str, str]]:
    return [(str(entry.address), entry.mac, entry.interface) for entry in found]


def test_arps() -> None:
    """Without what is not valid, not known, and the device's own; of an agent with the newer table the older one is not asked."""
    assert said(addressmib.arps(tables(OLD))) == [("192.0.2.1", "52:54:00:aa:bb:01", "Vlan 30")]
    assert said(addressmib.arps(tables(OLD, NEW))) == [("192.0.2.1", "52:54:00:aa:bb:01", "gi1"), ("fe80::9", "52:54:00:aa:bb:09", "gi2")]


def test_names() -> None:
    assert ifmib.names(tables()) == {1: "gi1", 2: "gi2", 30: "Vlan 30"}


def test_agents_that_say_anything() -> None:
    """No value and no index makes them fall over; what makes no sense is left out."""
    chance = random.Random(7)
    texts = (HEARD, BRIDGE, PLAIN, VLANS, NEW, OLD, local(3, "4x|001122334401"))
    values: tuple[Varbind, ...] = (None, -1, 1 << 40, b"", b"\xff\x00\x80", bytes(range(40)), (1, 3), 3, 5)
    for _ in range(500):
        wild = tables(*texts)
        for column in chance.sample(list(wild), 6):
            rows = wild[column]
            for index in list(rows):
                match chance.randrange(4):
                    case 0:
                        rows[index] = chance.choice(values)
                    case 1:
                        rows[index[: chance.randrange(len(index) + 1)]] = rows.pop(index)
                    case 2:
                        rows[(*index, chance.choice((0, 256, 1 << 31)))] = rows.pop(index)
                    case _:
                        rows[tuple(chance.choice((each, 300)) for each in index)] = rows.pop(index)
        for neighbour in lldpmib.neighbours(wild):
            assert neighbour.local_interface
        for mac in addressmib.macs(wild):
            assert len(mac.mac) == 17 and mac.interface
        for arp in addressmib.arps(wild):
            assert len(arp.mac) == 17 and arp.interface
