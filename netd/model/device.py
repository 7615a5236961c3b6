"""What a device is and says of itself: values that drivers return and the store keeps."""

from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

import msgspec


class Outcome(StrEnum):
    """How a command or change on a device ended, read from its text, never from the prompt that came back."""

    OK = "ok"
    ALREADY = "already"  # it was as wanted; only after the driver looked
    EMPTY = "empty"  # nothing to show: a normal answer
    CONFLICT = "conflict"  # what is wanted exists, as something else or elsewhere
    NOT_FOUND = "not_found"
    BAD_REFERENCE = "bad_reference"  # names something that does not exist: a profile, a VLAN
    IN_USE = "in_use"
    CAPACITY = "capacity"
    BUSY = "busy"  # the same may succeed later
    SYNTAX = "syntax"  # the device does not know the command, or not in this version
    DENIED = "denied"
    FAILED = "failed"
    UNVERIFIED = "unverified"  # done as far as the device said, but what it shows does not prove it


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a device says of itself; None where it does not say."""

    hostname: str | None = None
    model: str | None = None
    serial: str | None = None
    software_version: str | None = None
    hardware_revision: str | None = None
    uptime_seconds: int | None = None


class Neighbour(msgspec.Struct, frozen=True, kw_only=True):
    """What a device hears at an interface of it."""

    local_interface: str
    protocol: Literal["lldp", "cdp", "mndp", "bridge"]
    remote_name: str | None = None
    remote_interface: str | None = None
    remote_address: IPv4Address | IPv6Address | None = None
    remote_mac: str | None = None  # aa:bb:cc:dd:ee:ff
    remote_description: str | None = None


class MacEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a bridge's forwarding table."""

    mac: str  # aa:bb:cc:dd:ee:ff
    interface: str
    vlan: int | None = None


class ArpEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a router's ARP or neighbour table."""

    address: IPv4Address | IPv6Address
    mac: str  # aa:bb:cc:dd:ee:ff
    interface: str


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """A software image that netd holds; ``name`` is the file's on the device."""

    name: str
    version: str
    octets: int
    sha256: str
    md5: str


class DeviceSample(msgspec.Struct, frozen=True, kw_only=True):
    """How a device does at a moment; None where it does not say. A gap stays a gap."""

    uptime_seconds: int | None = None
    cpu_percent: float | None = None
    memory_used_octets: int | None = None
    memory_total_octets: int | None = None
    temperature_celsius: float | None = None  # the hottest sensor
    voltage_volts: float | None = None
    power_watts: float | None = None


class InterfaceSample(msgspec.Struct, frozen=True, kw_only=True):
    """Counters and state of an interface as read, not rates. ``in`` is what the device receives."""

    if_index: int
    name: str
    alias: str | None = None
    type: int | None = None  # IANAifType
    mac: str | None = None
    mtu: int | None = None
    speed_bps: int | None = None
    admin_up: bool | None = None
    oper_up: bool | None = None
    in_octets: int | None = None
    out_octets: int | None = None
    in_packets: int | None = None
    out_packets: int | None = None
    in_errors: int | None = None
    out_errors: int | None = None
    in_discards: int | None = None
    out_discards: int | None = None
    counter_bits: Literal[32, 64] = 64  # of the octet counters: a 32-bit one wraps, a 64-bit one that falls was reset
    discontinuity_ticks: int | None = None  # ifCounterDiscontinuityTime


class OpticsSample(msgspec.Struct, frozen=True, kw_only=True):
    """A transceiver, or an ONU as its OLT sees it (``onu`` is then its place, as the vendor names it)."""

    interface: str
    onu: str | None = None
    rx_dbm: float | None = None
    tx_dbm: float | None = None
    olt_rx_dbm: float | None = None  # what the OLT receives from the ONU
    temperature_celsius: float | None = None
    voltage_volts: float | None = None
    bias_milliamperes: float | None = None
    distance_metres: int | None = None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """All that one look at a device gave."""

    device: DeviceSample | None = None
    interfaces: tuple[InterfaceSample, ...] = ()
    optics: tuple[OpticsSample, ...] = ()


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """A value with its source and time: observation never overwrites what somebody decided."""

    value: str
    source: str  # snmp, cli, dhcp, operator …
    at: datetime
