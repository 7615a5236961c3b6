"""Where addresses are, as an agent says it: BRIDGE-MIB (RFC 4188) and Q-BRIDGE-MIB (RFC 4363) for bridges, IP-MIB (RFC 4293) for ARP and neighbour discovery.

Tables are column -> index -> value. Of a bridge with VLANs Q-BRIDGE-MIB tells more, of an older agent only the others tell anything: both are read, the first
that has rows counts.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from netd.model.device import ArpEntry, MacEntry
from netd.sdk import ifmib
from netd.sdk.device import Oid, Varbind
from netd.sdk.ifmib import Columns

_BRIDGE: Oid = (1, 3, 6, 1, 2, 1, 17)
BRIDGE_PRESENT: Oid = (*_BRIDGE, 1, 2, 0)
"""dot1dBaseNumPorts: who has it is a bridge, though it may have learned nothing."""

PORT_IF_INDEX: Oid = (*_BRIDGE, 1, 4, 1, 2)
FDB_PORT, FDB_STATUS = ((*_BRIDGE, 4, 3, 1, column) for column in (2, 3))
VLAN_FDB_PORT, VLAN_FDB_STATUS = ((*_BRIDGE, 7, 1, 2, 2, 1, column) for column in (2, 3))
VLAN_FDB_ID: Oid = (*_BRIDGE, 7, 1, 4, 2, 1, 3)
VLAN_COLUMNS: Final[tuple[Oid, ...]] = (VLAN_FDB_PORT, VLAN_FDB_STATUS, VLAN_FDB_ID)
BRIDGE_COLUMNS: Final[tuple[Oid, ...]] = (FDB_PORT, FDB_STATUS)

NEIGHBOUR_MAC, NEIGHBOUR_TYPE = ((1, 3, 6, 1, 2, 1, 4, 35, 1, column) for column in (4, 6))
ARP_MAC, ARP_TYPE = ((1, 3, 6, 1, 2, 1, 4, 22, 1, column) for column in (2, 4))
NEIGHBOUR_COLUMNS: Final[tuple[Oid, ...]] = (NEIGHBOUR_MAC, NEIGHBOUR_TYPE)
ARP_COLUMNS: Final[tuple[Oid, ...]] = (ARP_MAC, ARP_TYPE)

_LEARNED, _STATIC = 3, 5  # dot1dTpFdbStatus; the others are the bridge's own addresses, and what is not valid any more
_INVALID, _OWN = 2, 5  # ipNetToPhysicalType


def macs(tables: Columns) -> list[MacEntry]:
    """What is behind the bridge's ports. A VLAN is told where one alone has the filtering database."""
    ports = _ports(tables)
    rows = _rows(tables, VLAN_FDB_PORT, VLAN_FDB_STATUS, 7) or _rows(tables, FDB_PORT, FDB_STATUS, 6)
    vlans = _vlans(tables)
    found = []
    for index, port in rows:
        if any(octet > 255 for octet in index[-6:]):
            continue
        vlan = vlans.get(index[0]) if len(index) == 7 else None
        found.append(MacEntry(mac=bytes(index[-6:]).hex(":"), interface=ports.get(port) or f"port {port}", vlan=vlan))
    return found


def arps(tables: Columns) -> list[ArpEntry]:
    """Which MAC addresses IP addresses have, without the device's own."""
    names = ifmib.names(tables)
    found = []
    for if_index, address, mac in _neighbours(tables) or _arps(tables):
        if len(mac) == 6 and any(mac):
            found.append(ArpEntry(address=address, mac=mac.hex(":"), interface=names.get(if_index) or f"index {if_index}"))
    return found


def _ports(tables: Columns) -> dict[int, str]:
    """The names of the bridge's ports."""
    names = ifmib.names(tables)
    return {
        index[0]: names[if_index]
        for index, if_index in tables.get(PORT_IF_INDEX, {}).items()
        if len(index) == 1 and isinstance(if_index, int) and if_index in names
    }


def _rows(tables: Columns, port: Oid, status: Oid, length: int) -> list[tuple[Oid, int]]:
    """Indexes, and the port that the address is behind; port 0 is none."""
    kinds = tables.get(status, {})
    return [
        (index, number)
        for index, number in sorted(tables.get(port, {}).items())
        if len(index) == length and isinstance(number, int) and number > 0 and kinds.get(index) in (_LEARNED, _STATIC)
    ]


def _vlans(tables: Columns) -> dict[int, int]:
    """The VLAN of each filtering database that only one has; the index of dot1qVlanCurrentTable is since when, and which."""
    pairs = {(fdb, index[1]) for index, fdb in tables.get(VLAN_FDB_ID, {}).items() if len(index) == 2 and isinstance(fdb, int)}
    shared = Counter(fdb for fdb, _ in pairs)
    return {fdb: vlan for fdb, vlan in pairs if shared[fdb] == 1 and 0 < vlan < 4095}


def _neighbours(tables: Columns) -> list[tuple[int, IPv4Address | IPv6Address, bytes]]:
    """ipNetToPhysicalTable: the index is an ifIndex, the kind of address, how long it is, and the address."""
    found = []
    for index, mac in _valid(tables, NEIGHBOUR_MAC, NEIGHBOUR_TYPE, (_INVALID, _OWN)):
        address = _address(index[1:2], index[2:3], index[3:])
        if address is not None:
            found.append((index[0], address, mac))
    return found


def _arps(tables: Columns) -> list[tuple[int, IPv4Address | IPv6Address, bytes]]:
    """ipNetToMediaTable, which is of IPv4: the index is an ifIndex and the address."""
    found = []
    for index, mac in _valid(tables, ARP_MAC, ARP_TYPE, (_INVALID,)):
        address = _address((1,), (4,), index[1:])
        if address is not None:
            found.append((index[0], address, mac))
    return found


def _valid(tables: Columns, mac: Oid, kind: Oid, none: tuple[int, ...]) -> Iterator[tuple[Oid, bytes]]:
    kinds: Mapping[Oid, Varbind] = tables.get(kind, {})
    for index, value in sorted(tables.get(mac, {}).items()):
        if isinstance(value, bytes) and kinds.get(index) not in none:
            yield index, value


def _address(kind: Oid, length: Oid, octets: Oid) -> IPv4Address | IPv6Address | None:
    """InetAddressType ipv4, ipv6, and those with a zone, which is left out."""
    sizes: dict[Oid, int] = {(1,): 4, (2,): 16, (3,): 4, (4,): 16}
    size = sizes.get(kind)
    if size is None or length != (len(octets),) or len(octets) not in (size, size + 4) or any(octet > 255 for octet in octets):
        return None
    return IPv4Address(bytes(octets[:4])) if size == 4 else IPv6Address(bytes(octets[:16]))
