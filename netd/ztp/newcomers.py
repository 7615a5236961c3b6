"""How many devices that nobody expects are written down, and told of: one line must fill neither the list of candidates nor everybody's mailbox."""

from collections import OrderedDict
from typing import Final

from netd.model.ztp import ClientIdentity
from netd.ztp.client4 import line_of
from netd.ztp.limits import Bucket

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
