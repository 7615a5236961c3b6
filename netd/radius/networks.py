"""Which NAS a packet is from: the longest prefix that holds its source address."""

import ipaddress
from collections.abc import Iterable
from typing import Final

from netd.radius.nas import NasRecord

KNOWN_SOURCES: Final = 65536
"""Addresses of which the answer is kept: strangers must not fill the memory."""


class Networks:
    """The prefixes of all NAS, and what was found by them."""

    def __init__(self) -> None:
        self.clients: dict[bytes, tuple[str, NasRecord]] = {}  # by the address's octets, for the hot path; the server fills it
        self._sources: dict[str, NasRecord | None] = {}  # what source() found
        self._lengths: dict[int, list[int]] = {4: [], 6: []}  # prefix lengths in use by IP version, the longest first
        self._by_network: dict[tuple[int, int, int], NasRecord] = {}  # by version, length and address

    def put(self, records: Iterable[NasRecord]) -> None:
        """Take the place of all that is known."""
        self.clients = {}
        self._sources = {}
        self._by_network = {}
        lengths: dict[int, set[int]] = {4: set(), 6: set()}
        for record in records:
            network = record.network
            lengths[network.version].add(network.prefixlen)
            self._by_network[(network.version, network.prefixlen, int(network.network_address))] = record
        self._lengths = {version: sorted(found, reverse=True) for version, found in lengths.items()}

    def source(self, host: str) -> NasRecord | None:
        """The NAS whose longest prefix holds the source address of a packet, None if no NAS does or it is disabled."""
        try:
            return self._sources[host]
        except KeyError:
            found = self._find(host)
        if len(self._sources) > KNOWN_SOURCES:
            self._sources = {}
        self._sources[host] = found
        return found

    def _find(self, host: str) -> NasRecord | None:
        address = ipaddress.ip_address(host.partition("%")[0])
        if address.version == 6 and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        bits, value = address.max_prefixlen, int(address)
        for length in self._lengths[address.version]:
            found = self._by_network.get((address.version, length, value >> (bits - length) << (bits - length)))
            if found is not None:
                return found if found.enabled else None  # a wider prefix does not take over what was disabled
        return None
