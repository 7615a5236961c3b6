"""Who is expected: the seam between the DHCP responder and what knows the devices.

The responder asks for each DISCOVER, REQUEST, SOLICIT … of a subnet that serves expected devices, so an answer comes from memory and at once.
Subnets that serve whole classes (``dhcp_subnets.serves = 'classes'``) are answered without asking, and a device that is expected there
gets what it is bound to.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from netd.model.ztp import BootAnswer, ClientIdentity, Granted
from netd.store.database import Connection

log = logging.getLogger(__name__)


class Binding(Protocol):
    """Knows which devices are expected. All but ``granted`` answer from memory, wait for nothing, and raise nothing for what a client says."""

    def resolve(self, seen: ClientIdentity) -> BootAnswer | None:
        """What this client gets; None: nobody expects it."""
        ...

    def boot_url(self, seen: ClientIdentity, answer: BootAnswer, address: IPv4Address | IPv6Address) -> str:
        """Where this device, at this address, finds its first file; "" for none. Called for the offer and again for the acknowledgement, and for every
        retransmission, so the same device and address get the same URL while it is good."""
        ...

    def unexpected(self, seen: ClientIdentity) -> None:
        """Nothing was answered to this client, for nobody expects it: a candidate. Called for each of its packets, and by whoever invents clients: the
        implementation bounds what it keeps."""
        ...

    async def granted(self, conn: Connection, grants: Sequence[Granted]) -> None:
        """Record these in the transaction that commits their leases: before the packets leave, so what a device was told outlives a crash.
        A StoreError leaves all of them unanswered, and they ask again."""
        ...


class Nobody:
    """Expects no device. For an installation that serves classes only."""

    def resolve(self, seen: ClientIdentity) -> BootAnswer | None:
        return None

    def boot_url(self, seen: ClientIdentity, answer: BootAnswer, address: IPv4Address | IPv6Address) -> str:
        return ""

    def unexpected(self, seen: ClientIdentity) -> None:
        log.debug("unexpected client", extra={"mac": seen.mac, "serial": seen.serial})

    async def granted(self, conn: Connection, grants: Sequence[Granted]) -> None:
        log.debug("granted", extra={"devices": len(grants)})


class Remembered:
    """Devices by serial number or MAC address, in memory only: for tests and benchmarks. ``urls`` makes the boot file's URL."""

    def __init__(self, expected: Mapping[str, BootAnswer], urls: Callable[[ClientIdentity, IPv4Address | IPv6Address], str] = lambda seen, address: "") -> None:
        self.expected = dict(expected)
        self.urls = urls
        self.candidates: list[ClientIdentity] = []
        self.grants: list[Granted] = []

    def resolve(self, seen: ClientIdentity) -> BootAnswer | None:
        return self.expected.get(seen.serial) or self.expected.get(seen.mac)

    def boot_url(self, seen: ClientIdentity, answer: BootAnswer, address: IPv4Address | IPv6Address) -> str:
        return self.urls(seen, address)

    def unexpected(self, seen: ClientIdentity) -> None:
        self.candidates.append(seen)

    async def granted(self, conn: Connection, grants: Sequence[Granted]) -> None:
        self.grants += grants
