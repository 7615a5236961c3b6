"""What DHCP serves: subnets, addresses set aside, and boot profiles as people see them."""

from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

import msgspec

from netd.model.boot import TRANSPORTS, Transport
from netd.model.ztp import ReservationKind

Serves = Literal["expected", "classes"]
FirstFile = Literal["none", "text", "python", "ipxe", "xr", "huawei_ini", "nokia_sros", "sonic"]
"""What a class of devices fetches first: nothing, a text as it is, one that begins as they want, or a list of further files."""


class Subnet(msgspec.Struct, frozen=True, kw_only=True):
    """A link whose clients are answered. ``serves``: devices that somebody expects, or any client of one of the ``profiles``; where devices are expected
    and no profiles named, each is answered as it is bound. ``variables`` are for the profiles' templates."""

    id: int
    tenant_id: int
    name: str
    prefix: IPv4Network | IPv6Network
    site: str | None
    serves: Serves
    profiles: tuple[str, ...]
    pool: str | None
    router: IPv4Address | IPv6Address | None
    dns_servers: tuple[IPv4Address | IPv6Address, ...]
    ntp_servers: tuple[IPv4Address | IPv6Address, ...]
    domain: str | None
    lease_seconds: int
    variables: Mapping[str, str]
    interface: str | None
    enabled: bool
    description: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """An address that one client gets and nobody else. ``value``: its MAC address, client identifier (hex), serial number, or a regular expression for
    the circuit or remote id that its relay puts in."""

    id: int
    tenant_id: int
    subnet_id: int
    subnet: str
    kind: ReservationKind
    value: str
    address: IPv4Address | IPv6Address
    description: str | None
    created_at: datetime


class BootProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What a class of devices needs to boot: ``evidence`` and ``made_from`` say how sure that is, ``note`` what is not known. ``recognised``: by what
    its devices send; else a device must be bound to it. ``variables`` are what its options are made from, ``transports`` how its devices fetch files:
    the first is the one where nobody says otherwise."""

    name: str
    title: str
    vendor: str
    evidence: Literal["document", "capture", "source", "assumed", "none"]
    made_from: tuple[str, ...]
    note: str
    recognised: bool
    variables: tuple[str, ...]
    options: tuple[int, ...]
    options6: tuple[int, ...]
    first_file: FirstFile = "text"
    transports: tuple[Transport, ...] = TRANSPORTS
