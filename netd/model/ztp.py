"""What a device says before it has a configuration, and what it is answered."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

import msgspec

Family = Literal[4, 6]
ReservationKind = Literal["mac", "client_id", "circuit_id", "remote_id", "serial"]


class ClientIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """All that a DHCP client and the relays before it said. Claims of the client, but for what the relay agent put in. Octets are raw, as they came.

    ``profile`` is the bootstrap profile whose match it fits ("": none); ``serial`` and ``model`` are what that profile reads out of the claims.
    """

    family: Family
    tenant_id: int
    subnet_id: int
    site_id: int | None
    mac: str  # aa:bb:cc:dd:ee:ff; "" where DHCPv6 does not tell
    client_id: bytes  # option 61, "" where it sent none; the DUID
    relay: IPv4Address | IPv6Address | None  # giaddr, link-address; None: directly attached
    circuit_id: bytes = b""  # 82.1; Interface-Id
    remote_id: bytes = b""  # 82.2; option 37 without its enterprise
    relay_subscriber_id: bytes = b""  # 82.6; option 38
    vendor_class: bytes = b""  # option 60; the data of 16, joined
    user_classes: tuple[bytes, ...] = ()  # option 77; 15
    vendor_classes: tuple[tuple[int, bytes], ...] = ()  # option 124; 16: by enterprise
    vendor_options: tuple[tuple[int, bytes], ...] = ()  # option 125; 17: by enterprise
    hostname: bytes = b""
    requested: tuple[int, ...] = ()  # codes it asks for
    profile: str = ""
    serial: str = ""
    model: str = ""


class BootAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What an expected device gets: ``profile`` decides which options, ``variables`` are what their templates may name besides what netd knows itself
    (``serial``, ``mac``, ``circuit_id`` …, and ``url``, which :meth:`netd.ztp.binding.Binding.boot_url` gives once the address is known)."""

    profile: str
    device_id: int | None = None
    variables: Mapping[str, str] = msgspec.field(default_factory=dict)
    address: IPv4Address | IPv6Address | None = None  # fixed; None: from the subnet's pool
    lease_seconds: int | None = None  # None: the subnet's


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """A device was offered, or has been given, an address. ``boot_url`` is what the answer says."""

    step: Literal["offered", "leased"]
    seen: ClientIdentity
    answer: BootAnswer
    address: IPv4Address | IPv6Address
    boot_url: str
