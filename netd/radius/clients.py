"""Who may send Disconnect- and CoA-Requests: the engine's memory of them, kept current by the change feed."""

import ipaddress
import logging
from collections.abc import Iterable

from netd.errors import StoreError
from netd.keyring import Opener
from netd.store.directory import CoaClientRow
from netd.wire.radius import SharedSecret

log = logging.getLogger(__name__)

KNOWN_SOURCES = 4096


class ClientRecord:
    """A system with its rights, and its counters (read by metrics)."""

    __slots__ = ("drops", "duplicates", "network", "results", "row", "secret")

    def __init__(self, row: CoaClientRow, secret: bytes) -> None:
        self.row = row
        self.network = ipaddress.ip_network(row.address)
        self.secret = SharedSecret(secret)
        self.duplicates = 0
        self.drops: dict[str, int] = {}  # by reason
        self.results: dict[tuple[str, str], int] = {}  # by action and how it was answered

    def adopt_counts(self, before: "ClientRecord") -> None:
        """Go on counting where the record that this one replaces stopped."""
        self.duplicates, self.drops, self.results = before.duplicates, before.drops, before.results


class Clients:
    """All systems of all tenants; the source address of a packet tells which it is from."""

    def __init__(self, open_secret: Opener, faults: dict[str, str]) -> None:
        self.by_id: dict[int, ClientRecord] = {}
        self._open = open_secret
        self._faults = faults
        self._sources: dict[str, ClientRecord | None] = {}

    def put(self, rows: Iterable[CoaClientRow]) -> None:
        """Take systems in, new or changed; works from the next packet on."""
        for row in rows:
            name = f"coa_client {row.id}"
            try:
                record = ClientRecord(row, self._open(row.secret, b"coa_clients.secret"))
            except StoreError as error:
                log.error("CoA client not loaded", extra={"client": row.name, "error": str(error)})
                self._faults[name] = str(error)
                self.by_id.pop(row.id, None)
                continue
            self._faults.pop(name, None)
            before = self.by_id.get(row.id)
            if before is not None:
                record.adopt_counts(before)
            self.by_id[row.id] = record
        self._sources.clear()

    def remove(self, ids: Iterable[int]) -> None:
        """Forget systems that were deleted."""
        for key in ids:
            self.by_id.pop(key, None)
            self._faults.pop(f"coa_client {key}", None)
        self._sources.clear()

    def source(self, host: str) -> ClientRecord | None:
        """The system whose longest prefix holds the source address of a packet, None if there is none or it is disabled."""
        if host in self._sources:
            return self._sources[host]
        address = ipaddress.ip_address(host.partition("%")[0])
        if address.version == 6 and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        holding = [record for record in self.by_id.values() if address.version == record.network.version and address in record.network]
        found = max(holding, key=lambda record: record.network.prefixlen, default=None)
        if found is not None and not found.row.enabled:
            found = None  # a wider prefix does not take over what was disabled
        if len(self._sources) >= KNOWN_SOURCES:  # strangers must not fill the memory
            self._sources.clear()
        self._sources[host] = found
        return found
