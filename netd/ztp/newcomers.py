"""Devices that nobody expects: what is written of one, and how many are written down and told of. One line must fill neither the list of candidates nor
everybody's mailbox."""

import hashlib
from collections import OrderedDict
from datetime import datetime
from typing import Any, Final

from netd.model.ztp import ClientIdentity
from netd.store.boot import Stranger
from netd.ztp.client4 import line_of
from netd.ztp.limits import Bucket
from netd.ztp.subnets import readable

LINES: Final = 10_000
KNOWN: Final = 10_000
LINE_BURST: Final = 16.0
LINE_SECONDS: Final = 60.0
"""A line shows so many new devices at once, and one more in so many seconds."""

RELAY_BURST: Final = 200.0
RELAY_SECONDS: Final = 1.0
"""Likewise a relay that tells no lines apart."""

EVENTS_BURST: Final = 20.0
EVENTS_SECONDS: Final = 30.0
"""Of a tenant's candidates so many have an event of their own, and one more in so many seconds."""

SUMMARY_SECONDS: Final = 60.0
"""The others are told of together, so often at the most."""


class Newcomers:
    """Counts by line and by tenant, in tables of bounded size. ``now`` is seconds."""

    def __init__(self) -> None:
        self._lines: OrderedDict[tuple[int, str], Bucket] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._events: dict[int, Bucket] = {}
        self._untold: dict[int, int] = {}  # by tenant
        self._summed_at: dict[int, float] = {}

    def may(self, seen: ClientIdentity, identity: str, now: float) -> bool:
        """Whether this one may be written: it has been, or its line has not shown too many."""
        if identity in self._known:
            self._known.move_to_end(identity)
            return True
        line = line_of(seen.circuit_id, seen.remote_id) if seen.family == 4 else line_of(seen.relay_subscriber_id or seen.remote_id)
        burst, seconds = (LINE_BURST, LINE_SECONDS) if line else (RELAY_BURST, RELAY_SECONDS)
        bucket = self._lines.setdefault((seen.subnet_id, line or str(seen.relay)), Bucket(burst, now))
        self._lines.move_to_end((seen.subnet_id, line or str(seen.relay)))
        if len(self._lines) > LINES:
            self._lines.popitem(last=False)
        if not bucket.take(1 / seconds, burst, now):
            return False
        self._known[identity] = None
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)
        return True

    def own_event(self, tenant_id: int, now: float) -> bool:
        """Whether another candidate of the tenant has an event of its own; else it is one of those that :meth:`due` tells of."""
        if self._events.setdefault(tenant_id, Bucket(EVENTS_BURST, now)).take(1 / EVENTS_SECONDS, EVENTS_BURST, now):
            return True
        self._untold[tenant_id] = self._untold.get(tenant_id, 0) + 1
        return False

    def due(self, now: float) -> dict[int, int]:
        """How many are to be told of together now, by tenant; they are, then."""
        found = {tenant: count for tenant, count in self._untold.items() if self._summed_at.get(tenant, now - SUMMARY_SECONDS) + SUMMARY_SECONDS <= now}
        for tenant in found:
            del self._untold[tenant]
            self._summed_at[tenant] = now
        return found


def identity_of(seen: ClientIdentity) -> str:
    """What a client is told from others by, in hex: its serial number, else its identifier, else its MAC address, on its link."""
    named = seen.serial.encode() or seen.client_id or seen.mac.encode()
    return hashlib.sha256(b"%d %d " % (seen.family, seen.subnet_id) + named).hexdigest()


def said(seen: ClientIdentity) -> dict[str, Any]:
    """All that a client and its relay said, for people."""
    told: dict[str, Any] = {
        "family": seen.family, "mac": seen.mac, "serial": seen.serial, "model": seen.model, "profile": seen.profile, "client_id": seen.client_id.hex(),
        "relay": str(seen.relay or ""), "circuit_id": readable(seen.circuit_id), "remote_id": readable(seen.remote_id),
        "relay_subscriber_id": readable(seen.relay_subscriber_id), "vendor_class": readable(seen.vendor_class), "hostname": readable(seen.hostname),
        "user_classes": [readable(each) for each in seen.user_classes],
        "vendor_classes": [{"enterprise": number, "data": readable(data)} for number, data in seen.vendor_classes],
        "vendor_options": [{"enterprise": number, "data": data.hex()} for number, data in seen.vendor_options],
        "requested": list(seen.requested),
    }  # fmt: skip
    return {name: value for name, value in told.items() if value not in ("", [], None)}


def stranger(seen: ClientIdentity, identity: str, packets: int, at: datetime) -> Stranger:
    """As it is written down."""
    return Stranger(
        tenant_id=seen.tenant_id, site_id=seen.site_id, subnet_id=seen.subnet_id, identity=identity, mac=seen.mac, serial=seen.serial[:128],
        model=seen.model[:253], profile=seen.profile, circuit_id=readable(seen.circuit_id)[:512], relay=None if seen.relay is None else str(seen.relay),
        said=said(seen), packets=packets, at=at,
    )  # fmt: skip
