"""Expected devices by heart, found by what a client says."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from netd.model import patterns
from netd.model.ztp import ClientIdentity
from netd.store.boot import ExpectedRow
from netd.ztp.lines import Lines
from netd.ztp.subnets import readable

Good = Mapping[tuple[int, str, str], tuple[int, datetime, datetime | None]]
"""(device, address, purpose) -> of its newest token the generation, until when it is good, and since when its file has been fetched."""


class Known:
    """An expected device by heart."""

    __slots__ = ("begins", "good", "pattern", "row", "secret")

    def __init__(self, row: ExpectedRow, secret: bytes) -> None:
        self.row = row
        self.secret = secret
        self.pattern = patterns.compile_whole(row.circuit_id) if row.circuit_id else None
        self.begins = patterns.beginning(row.circuit_id or "")  # its line
        self.good: dict[tuple[str, str], tuple[int, datetime, datetime | None]] = {}  # (address, purpose) -> generation, until, fetched at

    def fits(self, seen: ClientIdentity) -> bool:
        """Whether all that is known of it is what this client, and its relay, say."""
        row = self.row
        return (
            row.tenant_id == seen.tenant_id
            and (row.site_id is None or seen.site_id is None or row.site_id == seen.site_id)
            and (row.serial is None or row.serial.upper() == seen.serial.upper())
            and (row.mac is None or row.mac == seen.mac)
            and (self.pattern is None or bool(seen.circuit_id and patterns.fits_whole(self.pattern, readable(seen.circuit_id))))
        )

    def weight(self) -> int:
        """How much is known of it: who fits more is meant."""
        return sum(each is not None for each in (self.row.serial, self.row.mac, self.row.circuit_id))


class Index:
    """All of them. A device is looked for by its serial number, else by its MAC address, else by its line."""

    def __init__(self) -> None:
        self.by_id: dict[int, Known] = {}
        self.linked: set[int] = set()  # those that are subscribers'
        self._by_serial: dict[str, set[int]] = {}
        self._by_mac: dict[str, set[int]] = {}
        self._by_line = Lines()  # those known by nothing else

    def put(self, devices: Sequence[Known], good: Good) -> None:
        """Take these in."""
        for known in devices:
            row = known.row
            self.by_id[row.id] = known
            if row.subscriber_id is not None:
                self.linked.add(row.id)
            if row.serial:
                self._by_serial.setdefault(row.serial.upper(), set()).add(row.id)
            elif row.mac:
                self._by_mac.setdefault(row.mac, set()).add(row.id)
            else:
                self._by_line.add(known.begins, row.id)
        for (device, address, purpose), token in good.items():
            if device in self.by_id:
                self.by_id[device].good[address, purpose] = token

    def forget(self, device: int) -> None:
        """It is no longer there, or about to be taken in anew."""
        known = self.by_id.pop(device, None)
        if known is None:
            return
        for index, key in ((self._by_serial, (known.row.serial or "").upper()), (self._by_mac, known.row.mac or "")):
            ids = index.get(key, set())
            ids.discard(device)
            if not ids:
                index.pop(key, None)
        self._by_line.discard(known.begins, device)
        self.linked.discard(device)

    def find(self, seen: ClientIdentity) -> Known | None:
        """The device that this client is; of several the one that more is known of."""
        ids = self._by_serial.get(seen.serial.upper(), set()) if seen.serial else set()
        if seen.mac:
            ids = ids | self._by_mac.get(seen.mac, set())
        if seen.circuit_id:
            ids = ids | self._by_line.near(readable(seen.circuit_id))
        fitting = [known for each in ids if (known := self.by_id[each]).fits(seen)]
        return min(fitting, key=lambda known: (-known.weight(), known.row.id), default=None)
