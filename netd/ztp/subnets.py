"""What the responder knows by heart: subnets, who has an address reserved, the pools, and how classes of devices are recognised."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Final

from netd.domain.stock import PoolRecord
from netd.model import patterns
from netd.model.ztp import ClientIdentity
from netd.sdk.bootstrap import Profile
from netd.store.dhcp import ReservationRow, SubnetRow
from netd.store.leases import PoolRow
from netd.ztp.lines import Lines

PATTERN_KINDS: Final = ("circuit_id", "remote_id")


class Subnet:
    """A subnet with all that is needed to answer in it."""

    __slots__ = ("by_key", "cache", "lines", "patterns", "pool", "profiles", "reserved", "row")

    def __init__(self, row: SubnetRow, pool: PoolRecord | None, profiles: tuple[Profile, ...]) -> None:
        self.row = row
        self.pool = pool
        self.profiles = profiles
        self.reserved: dict[int, ReservationRow] = {}  # by address
        self.by_key: dict[tuple[str, str], int] = {}  # (kind, value) -> address
        self.patterns: list[tuple[str, re.Pattern[str], int]] = []
        self.lines = {kind: Lines() for kind in PATTERN_KINDS}  # of places among the patterns
        self.cache: dict[tuple[str, bytes], tuple[list[tuple[int, bytes]], bytes, int]] = {}  # options that are the same for everybody

    def answers(self, profile: Profile, *, bound: bool) -> bool:
        """Whether clients of the profile are answered here; a device that is expected (``bound``) gets an address also once it boots no longer."""
        return not self.profiles or profile in self.profiles or (bound and profile.everybody)

    def holds(self, address: int) -> bool:
        """Whether the address is on this link."""
        return self.row.first <= address <= self.row.last

    def fits(self, address: int) -> bool:
        """Whether a client may have it as far as the link goes: it is on it, and neither the router's nor, with IPv4, the network's or everybody's."""
        row = self.row
        ends = (row.first, row.last) if row.version == 4 and row.prefix_length < 31 else ()
        return self.holds(address) and address != row.router and address not in ends

    def reservation(self, seen: ClientIdentity) -> int:
        """The address set aside for this client, 0: none."""
        if not self.reserved:
            return 0
        for key in (("mac", seen.mac), ("client_id", seen.client_id.hex()), ("serial", seen.serial)):
            if key[1] and key in self.by_key:
                return self.by_key[key]
        told = {kind: readable(raw) for kind, raw in (("circuit_id", seen.circuit_id), ("remote_id", seen.remote_id)) if raw}
        for place in sorted(place for kind, text in told.items() for place in self.lines[kind].near(text)):
            kind, pattern, address = self.patterns[place]
            if patterns.fits_whole(pattern, told[kind]):
                return address
        return 0

    def set_aside(self, each: ReservationRow) -> None:
        """Take in a reservation. Raises ValueError for a pattern that is none."""
        self.reserved[each.address] = each
        if each.kind in PATTERN_KINDS:
            self.patterns.append((each.kind, patterns.compile_whole(each.value), each.address))
            self.lines[each.kind].add(patterns.beginning(each.value), len(self.patterns) - 1)
        else:
            self.by_key[each.kind, each.value] = each.address

    def fixed(self, seen: ClientIdentity, address: int) -> bool:
        """Whether a device whose record says this address may have it here: as if it were reserved for it, and for nobody else."""
        return self.fits(address) and (address not in self.reserved or self.reservation(seen) == address)

    def may_have(self, address: int, reserved: int) -> bool:
        """Whether a client whose reservation is ``reserved`` (0: none) may have this address."""
        if reserved:
            return address == reserved
        return address not in self.reserved and self.pool is not None and self.pool.layout.holds(address) and self.fits(address)


class Subnets:
    """All of them, found by an address on the link."""

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self.profiles = profiles
        self.by_id: dict[int, Subnet] = {}
        self.pools: dict[int, PoolRecord] = {}
        self.faults: dict[str, str] = {}  # subnet -> what of it cannot be used
        self._firsts: dict[int, list[int]] = {4: [], 6: []}
        self._ordered: dict[int, list[Subnet]] = {4: [], 6: []}

    def put(self, subnets: Iterable[SubnetRow], reservations: Iterable[ReservationRow], pools: Iterable[PoolRow]) -> None:
        """Take the place of all that was known."""
        self.pools = {row.id: PoolRecord(row) for row in pools}
        self.by_id, self.faults = {}, {}
        for row in subnets:
            unknown = [name for name in row.profiles if name not in self.profiles]
            if unknown:
                self.faults[row.name] = f"there is no boot profile {', '.join(unknown)}"
            chosen = tuple(self.profiles[name] for name in row.profiles if name in self.profiles)
            self.by_id[row.id] = Subnet(row, self.pools.get(row.pool_id or 0), tuple(sorted(chosen, key=lambda profile: profile.everybody)))
        for each in reservations:
            subnet = self.by_id.get(each.subnet_id)
            if subnet is None:
                continue
            try:
                subnet.set_aside(each)
            except ValueError as error:
                self.faults[subnet.row.name] = f"reservation {each.value!r}: {error}"
        for version in (4, 6):
            ordered = sorted((subnet for subnet in self.by_id.values() if subnet.row.version == version), key=lambda subnet: subnet.row.first)
            self._ordered[version] = ordered
            self._firsts[version] = [subnet.row.first for subnet in ordered]

    def find(self, address: int, version: int = 4) -> Subnet | None:
        """The subnet that the address is in."""
        place = bisect_right(self._firsts[version], address) - 1
        if place < 0:
            return None
        subnet = self._ordered[version][place]
        return subnet if subnet.holds(address) else None

    def on_interface(self, name: str, version: int = 4) -> Subnet | None:
        """The subnet whose clients are attached to this interface."""
        return next((subnet for subnet in self._ordered[version] if subnet.row.interface == name), None)

    def recognise(self, subnet: Subnet, seen: ClientIdentity) -> tuple[Profile, str, str] | None:
        """The profile of this client among the subnet's (of a subnet that names none: among all but those that fit everybody), its serial and model."""
        for profile in subnet.profiles or self.profiles.values():
            found = profile.recognise(seen)
            if found is not None:
                return profile, *found
            if profile.everybody and subnet.profiles:
                return profile, "", ""
        return None


def dotted(address: int) -> str:
    """An IPv4 address as text; a tenth of what ipaddress costs."""
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def readable(raw: bytes) -> str:
    """Octets of a relay or client as text where they are ASCII that can be printed, else in hex."""
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        return raw.hex()
    return text if text.isprintable() else raw.hex()
