"""Whom an agent's device hears by LLDP: LLDP-MIB (IEEE 802.1AB-2005), with IF-MIB's names for its interfaces. Tables are column -> index -> value."""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from netd.model.device import Neighbour
from netd.sdk import ifmib
from netd.sdk.device import Oid, Varbind
from netd.sdk.ifmib import Columns

_LLDP: Oid = (1, 0, 8802, 1, 1, 2, 1)
PRESENT: Oid = (*_LLDP, 3, 1, 0)
"""lldpLocChassisIdSubtype: who has it has the MIB, though he may hear nobody."""

_LOCAL: Oid = (*_LLDP, 3, 7, 1)
LOCAL_KIND, LOCAL_ID, LOCAL_DESCR = ((*_LOCAL, column) for column in (2, 3, 4))
_REMOTE: Oid = (*_LLDP, 4, 1, 1)
CHASSIS_KIND, CHASSIS_ID, PORT_KIND, PORT_ID, PORT_DESCR, SYSTEM_NAME, SYSTEM_DESCR = ((*_REMOTE, column) for column in range(4, 11))
ADDRESS: Oid = (*_LLDP, 4, 2, 1, 3)
"""lldpRemManAddrIfSubtype: the first column that can be read of a table whose index is what is wanted."""

COLUMNS: Final[tuple[Oid, ...]] = (
    CHASSIS_ID, CHASSIS_KIND, PORT_ID, PORT_KIND, LOCAL_ID, LOCAL_KIND, LOCAL_DESCR, PORT_DESCR, SYSTEM_NAME, SYSTEM_DESCR, ADDRESS,
    ifmib.IF_NAME, ifmib.IF_DESCR, ifmib.IF_PHYS_ADDRESS,
)  # fmt: skip

# LldpChassisIdSubtype and LldpPortIdSubtype; LldpManAddress and networkAddress begin with IANA's number of the family.
_CHASSIS_MAC, _CHASSIS_NETWORK, _PORT_MAC, _PORT_NETWORK = 4, 5, 3, 4


def neighbours(tables: Columns) -> list[Neighbour]:
    """Each in a row of lldpRemTable, whose index is when, at which port, and which one of there."""
    ports, addresses = _Ports(tables), _addresses(tables)
    return [_neighbour(tables, index, ports, addresses.get(index)) for index in sorted(tables.get(CHASSIS_ID, {})) if len(index) == 3]


def _neighbour(tables: Columns, index: Oid, ports: "_Ports", address: IPv4Address | IPv6Address | None) -> Neighbour:
    def value(column: Oid) -> Varbind:
        return tables.get(column, {}).get(index)

    chassis, port = _octets(value(CHASSIS_ID)), _octets(value(PORT_ID))
    chassis_mac = _mac(chassis) if value(CHASSIS_KIND) == _CHASSIS_MAC else None
    port_mac = _mac(port) if value(PORT_KIND) == _PORT_MAC else None
    if address is None and value(CHASSIS_KIND) == _CHASSIS_NETWORK:
        address = _address(chassis[:1], chassis[1:])
    name = port_mac or (str(_address(port[:1], port[1:]) or "") if value(PORT_KIND) == _PORT_NETWORK else ifmib.text(port))
    described = ifmib.text(value(PORT_DESCR))
    return Neighbour(
        local_interface=ports.name(index[1]), protocol="lldp", remote_name=ifmib.text(value(SYSTEM_NAME)) or None,
        remote_interface=(described or name if port_mac else name or described) or None,  # a MAC address names no interface for people
        remote_address=address, remote_mac=chassis_mac or port_mac, remote_description=ifmib.text(value(SYSTEM_DESCR)) or None,
    )  # fmt: skip


class _Ports:
    """The names of LLDP's ports: those of IF-MIB where it can be told which they are, for that is how interfaces are known."""

    def __init__(self, tables: Columns) -> None:
        self._tables = tables
        self._names = ifmib.names(tables)
        self._by_name = {name: name for name in self._names.values()}
        for index, descr in _texts(tables, ifmib.IF_DESCR):
            self._by_name.setdefault(descr, self._names.get(index, descr))
        self._by_mac = _single(tables, self._names)

    def name(self, number: int) -> str:
        """By what the port is called, by its MAC address, by its number; else what it says of itself."""
        kind, octets = self._tables.get(LOCAL_KIND, {}).get((number,)), _octets(self._tables.get(LOCAL_ID, {}).get((number,)))
        mac = _mac(octets) if kind == _PORT_MAC else None
        said, described = "" if mac else ifmib.text(octets), ifmib.text(self._tables.get(LOCAL_DESCR, {}).get((number,)))
        known = self._by_name.get(said) or self._by_name.get(described) or (self._by_mac.get(mac) if mac else None)
        if known is None and said.isascii() and said.isdigit():
            known = self._names.get(int(said))
        return known or self._names.get(number) or said or described or mac or f"port {number}"


def _single(tables: Columns, names: Mapping[int, str]) -> dict[str, str]:
    """Interfaces by MAC address, as far as one alone has it."""
    found: dict[str, list[int]] = {}
    for index, value in tables.get(ifmib.IF_PHYS_ADDRESS, {}).items():
        if len(index) == 1 and (mac := _mac(_octets(value))):
            found.setdefault(mac, []).append(index[0])
    return {mac: names[indexes[0]] for mac, indexes in found.items() if len(indexes) == 1 and indexes[0] in names}


def _addresses(tables: Columns) -> dict[Oid, IPv4Address | IPv6Address]:
    """Where each neighbour is managed, by its index in lldpRemTable: of several IPv4's first."""
    found: dict[Oid, IPv4Address | IPv6Address] = {}
    for index in sorted(tables.get(ADDRESS, {})):
        family, length, octets = index[3:4], index[4:5], index[5:]
        if not family or length != (len(octets),) or any(octet > 255 for octet in (*family, *octets)):
            continue
        address = _address(bytes(family), bytes(octets))
        if address is not None and (index[:3] not in found or (address.version == 4 and found[index[:3]].version == 6)):
            found[index[:3]] = address
    return found


def _texts(tables: Columns, column: Oid) -> Iterator[tuple[int, str]]:
    for index, value in tables.get(column, {}).items():
        if len(index) == 1 and (said := ifmib.text(value)):
            yield index[0], said


def _octets(value: Varbind) -> bytes:
    return value if isinstance(value, bytes) else b""


def _mac(value: bytes) -> str | None:
    return value.hex(":") if len(value) == 6 else None


def _address(family: bytes, octets: bytes) -> IPv4Address | IPv6Address | None:
    if family == b"\x01" and len(octets) == 4:
        return IPv4Address(octets)
    return IPv6Address(octets) if family == b"\x02" and len(octets) == 16 else None
