"""What address pools have to give: taken from the database inside a transaction that holds the pools' rows, for whoever asks (RADIUS, DHCP).

Who uses it locks first (``netd.store.leases.lock``): two nodes, and two services of one, then see what the other did.
"""

import logging
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from netd.model.ranges import KINDS, Layout, Span, merged, span_text
from netd.store import leases as store
from netd.store.database import Connection
from netd.store.leases import PoolRow

log = logging.getLogger(__name__)

ROUNDS: Final = 12
"""How often a transaction looks for free addresses before it makes do with what it found; each look is four times as wide."""

WIDEST: Final = 4096
SHORT_SECONDS: Final = 1.0
"""How long an exhausted pool is not asked again: with a thousand clients outside, the database would do nothing else."""

TELL_SECONDS: Final = 60.0


class Unit(NamedTuple):
    """Something to give: its first address, and the id of the lease row that it has already (0: none)."""

    address: int
    lease_id: int


class PoolRecord:
    """A pool and what the last count found in it."""

    __slots__ = ("fixed", "grace_seconds", "id", "kind", "layout", "name", "remembered", "scope", "tenant_id", "total", "used")

    def __init__(self, row: PoolRow) -> None:
        self.id = row.id
        self.tenant_id = row.tenant_id
        self.name = row.name
        self.kind = KINDS.index(row.kind)
        self.grace_seconds = row.grace_seconds
        self.scope = row.scope
        self.layout = Layout(row.kind, row.prefix_length, row.ranges, row.exclusions)
        self.total = self.layout.total()
        self.used = 0
        self.remembered = 0
        self.fixed = 0

    @property
    def available(self) -> int:
        """How many the pool may give out; what subscribers have fixed is not its to give."""
        return max(0, self.total - self.fixed)


class Stock:
    """Takes units out of pools, and remembers which were found exhausted."""

    def __init__(self) -> None:
        self._told: dict[int, float] = {}  # exhausted pools that the log has named, and when
        self._short: dict[int, float] = {}  # pools found exhausted, until when (monotonic) they are not asked again

    async def take(self, conn: Connection, pool: PoolRecord, count: int, but: Sequence[int], within: Span | None = None) -> list[Unit]:
        """Up to ``count`` units to give: such as never were leased (``within`` this), then what was not used for the longest time (``but`` these leases)."""
        if self._short.get(pool.id, 0.0) > time.monotonic():
            return []
        found = await self._fresh(conn, pool, count, within)
        if len(found) < count:
            again = await store.reusable(conn, pool.id, count - len(found), but)
            stale = [number for number, unit in again if not pool.layout.holds(unit)]
            if stale:
                await store.forget(conn, stale)
            found += [Unit(unit, number) for number, unit in again if number not in stale]
        if len(found) < count:
            self._note_short(pool)
        return found

    async def put_back(self, conn: Connection, pool: PoolRecord, units: Sequence[Unit]) -> None:
        """Units that were taken and not given after all."""
        left = [_span(pool, unit.address) for unit in units if not unit.lease_id]
        if left:
            await self._keep_spans(conn, pool, [], left)

    def _note_short(self, pool: PoolRecord) -> None:
        now = time.monotonic()
        self._short[pool.id] = now + SHORT_SECONDS
        if self._told.get(pool.id, -TELL_SECONDS) + TELL_SECONDS <= now:
            self._told[pool.id] = now
            log.error("an address pool is exhausted: who needs an address gets none", extra={"pool": pool.name, "addresses": pool.total})

    async def _fresh(self, conn: Connection, pool: PoolRecord, count: int, within: Span | None) -> list[Unit]:
        stored = await store.spans(conn, pool.id)
        spans = [span for _, span in stored]
        far: list[Span] = []
        if within is not None:
            far = [span for each in spans for span in _without(each, within)]
            spans = [Span(max(each.first, within.first), min(each.last, within.last)) for each in spans if _meet(each, within)]
        found: list[int] = []
        step = count
        for _ in range(ROUNDS):
            if len(found) >= count or not spans:
                break
            units, spans = pool.layout.draw(spans, max(count - len(found), step))
            texts = [pool.layout.text(unit) for unit in units]
            taken = await store.taken(conn, pool.tenant_id, pool.scope, texts) if units else set()
            free = [unit for unit, text in zip(units, texts, strict=True) if text not in taken]
            missing = count - len(found)
            spans = [*merged(_span(pool, unit) for unit in free[missing:]), *spans]
            found += free[:missing]
            step = min(step * 4, WIDEST)
        left = [*spans, *far]
        if [span for _, span in stored] != left:
            await self._keep_spans(conn, pool, [number for number, _ in stored], left)
        return [Unit(unit, 0) for unit in found]

    async def _keep_spans(self, conn: Connection, pool: PoolRecord, gone: Sequence[int], spans: Sequence[Span]) -> None:
        version = 4 if pool.kind == 0 else 6
        texts = [(span_text(Span(s.first, s.first), version), span_text(Span(s.last, s.last), version)) for s in spans]
        await store.replace_spans(conn, pool.tenant_id, pool.id, gone, texts)


def _meet(a: Span, b: Span) -> bool:
    return a.first <= b.last and b.first <= a.last


def _without(whole: Span, part: Span) -> list[Span]:
    if not _meet(whole, part):
        return [whole]
    ends = Span(whole.first, part.first - 1), Span(part.last + 1, whole.last)
    return [span for span in ends if span.first <= span.last]


def _span(pool: PoolRecord, unit: int) -> Span:
    return Span(unit, unit + pool.layout.size - 1)
