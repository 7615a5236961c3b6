"""What every simulated agent says: SNMPv2-MIB's system group, IF-MIB with ifXTable (RFC 2863), HOST-RESOURCES-MIB's memory. The rest is its vendor's."""

from typing import Final

import msgspec

from netd.simulate.agent import COUNTER32, COUNTER64, GAUGE32, INTEGER, OBJECT, OCTETS, TICKS, Object, Oid

Objects = dict[Oid, Object]

_SYSTEM: Final[Oid] = (1, 3, 6, 1, 2, 1, 1)
_IF: Final[Oid] = (1, 3, 6, 1, 2, 1, 2, 2, 1)
_IFX: Final[Oid] = (1, 3, 6, 1, 2, 1, 31, 1, 1, 1)
_STORAGE: Final[Oid] = (1, 3, 6, 1, 2, 1, 25, 2, 3, 1)
_RAM: Final[Oid] = (1, 3, 6, 1, 2, 1, 25, 2, 1, 2)
_PROCESSOR_LOAD: Final[Oid] = (1, 3, 6, 1, 2, 1, 25, 3, 3, 1, 2)
FRAME_OCTETS: Final = 800
"""The mean length of a frame: packets follow from octets."""


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """An interface, but for what goes through it."""

    index: int
    name: str
    alias: str = ""
    descr: str = ""  # as the name, unless said
    type: int = 6  # IANAifType; 250: GPON
    speed_bps: int = 1_000_000_000
    mac: str = ""  # aa:bb:cc:dd:ee:ff
    enabled: bool = True
    up: bool = True


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """How a device does."""

    cpu_percent: int = 3
    temperature_celsius: int = 38
    memory_percent: int = 30


class OnuLight(msgspec.Struct, frozen=True, kw_only=True):
    """An ONU as its OLT measures it. ``port`` is the PON port as the vendor names it, ``if_index`` that port's."""

    port: str
    if_index: int
    onu: int
    rx_dbm: float
    tx_dbm: float
    olt_rx_dbm: float
    temperature_celsius: int
    distance_metres: int


def text(value: str) -> Object:
    """An OCTET STRING."""
    return Object(OCTETS, value.encode())


def number(value: int) -> Object:
    """An INTEGER."""
    return Object(INTEGER, value)


def oid(dotted: str) -> Oid:
    """``1.3.6.1`` as numbers."""
    return tuple(map(int, dotted.split(".")))


def system(*, descr: str, object_id: Oid, name: str, contact: str, location: str, uptime_seconds: float) -> Objects:
    """The system group."""
    return {
        (*_SYSTEM, 1, 0): text(descr), (*_SYSTEM, 2, 0): Object(OBJECT, object_id), (*_SYSTEM, 3, 0): Object(TICKS, int(uptime_seconds * 100) % (1 << 32)),
        (*_SYSTEM, 4, 0): text(contact), (*_SYSTEM, 5, 0): text(name), (*_SYSTEM, 6, 0): text(location),
    }  # fmt: skip


def interface(port: Port) -> Objects:
    """What an interface is and whether it is up; see :func:`counters`."""
    at = port.index
    found = {
        (*_IF, 2, at): text(port.descr or port.name), (*_IF, 3, at): number(port.type), (*_IF, 4, at): number(1500),
        (*_IF, 5, at): Object(GAUGE32, min(port.speed_bps, (1 << 32) - 1)), (*_IF, 7, at): number(1 if port.enabled else 2),
        (*_IF, 8, at): number(1 if port.up and port.enabled else 2), (*_IFX, 1, at): text(port.name), (*_IFX, 18, at): text(port.alias),
        (*_IFX, 15, at): Object(GAUGE32, port.speed_bps // 1_000_000), (*_IFX, 19, at): Object(TICKS, 0),
    }  # fmt: skip
    if port.mac:
        found[*_IF, 6, at] = Object(OCTETS, bytes.fromhex(port.mac.replace(":", "")))
    return found


def counters(index: int, in_octets: int, out_octets: int, errors: int = 0) -> Objects:
    """What went through an interface: octets in both widths, packets, errors of those that came in."""
    found: Objects = {}
    for octets, narrow, wide in ((in_octets, 10, 6), (out_octets, 16, 10)):
        packets = octets // FRAME_OCTETS
        found[*_IF, narrow, index] = Object(COUNTER32, octets % (1 << 32))
        found[*_IF, narrow + 1, index] = Object(COUNTER32, packets % (1 << 32))
        found[*_IFX, wide, index] = Object(COUNTER64, octets)
        found[*_IFX, wide + 1, index] = Object(COUNTER64, packets)
        for column in (wide + 2, wide + 3):
            found[*_IFX, column, index] = Object(COUNTER64, 0)
    for column, value in ((13, 0), (14, errors), (19, 0), (20, 0)):
        found[*_IF, column, index] = Object(COUNTER32, value)
    return found


def host(vitals: Vitals, memory_megabytes: int = 1024) -> Objects:
    """Memory and processors of an agent that has HOST-RESOURCES-MIB."""
    used = memory_megabytes * 1024 * vitals.memory_percent // 100
    return {
        (*_STORAGE, 2, 65536): Object(OBJECT, _RAM), (*_STORAGE, 4, 65536): number(1024), (*_STORAGE, 5, 65536): number(memory_megabytes * 1024),
        (*_STORAGE, 6, 65536): number(used), (*_PROCESSOR_LOAD, 1): number(vitals.cpu_percent),
    }  # fmt: skip
