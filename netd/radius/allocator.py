"""Gives first leases: one task that serves all waiting log-ins in batches, a transaction each.

A first lease needs the database, so that two nodes never give one address twice. While it is away such a log-in is rejected (``no_address``):
who had an address before gets it from memory, and addresses set aside per node would be missing where they are needed when a pool runs short.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from netd.domain.stock import Stock, Unit
from netd.errors import StoreError, StoreUnavailable
from netd.model.ranges import KINDS
from netd.radius.access import Settled
from netd.radius.allocation import FULL, SLOTS, Decision, Want, decide, demand, give
from netd.radius.leases import Leases, claims_and_ends
from netd.store import leases as store
from netd.store.database import Connection, Database
from netd.store.leases import LeaseRow

log = logging.getLogger(__name__)

BATCH: Final = 500
WAITING_LIMIT: Final = 20_000
"""Log-ins that may wait; further ones go unanswered, and their NAS sends them again."""

GATHER_SECONDS: Final = 0.002
YIELD_AFTER: Final = 32
AWAY: Final = "a first lease needs the database, which is away"


class Waiting(NamedTuple):
    """A log-in that waits. ``done`` is called once, with what it got."""

    want: Want
    done: Callable[[Settled], None]


class Allocator:
    """The queue and its one task."""

    def __init__(self, database: Database, leases: Leases, hold_seconds: float, wall_clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self.leases = leases
        self.pools = leases.pools
        self.given = 0
        self.batches = 0
        self.seconds = 0.0
        self.shed = 0
        self.refused: dict[str, int] = {"exhausted": 0, "slots": 0, "database_away": 0, "failed": 0}
        self.flush: Callable[[], Awaitable[None]] = _nothing  # writes what memory knows and the database does not
        self._hold_seconds = hold_seconds
        self._wall_clock = wall_clock
        self._queue: list[Waiting] = []
        self._arrived = asyncio.Event()
        self.stock = Stock()

    def __len__(self) -> int:
        return len(self._queue)

    def offer(self, waiting: Waiting) -> bool:
        """Take a log-in in; False if too many wait. ``done`` may be called at once."""
        if not self.database.up:
            self.refused["database_away"] += 1
            waiting.done(Settled(None, waiting.want.token, AWAY))
            return True
        if len(self._queue) >= WAITING_LIMIT:
            self.shed += 1
            return False
        self._queue.append(waiting)
        self._arrived.set()
        return True

    async def run(self) -> None:
        """Serve for ever."""
        while True:
            if not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
                await asyncio.sleep(GATHER_SECONDS)
            batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
            await self._serve(batch)

    async def _serve(self, batch: Sequence[Waiting]) -> None:
        started = time.monotonic()
        if self.leases.behind:  # there was an outage: what was granted meanwhile must not be given to another
            await self.flush()
        try:
            decisions, rows = await self.database.twice(lambda conn: self._allocate(conn, [waiting.want for waiting in batch]))
        except StoreUnavailable as error:
            log.warning("first leases wait in vain for the database", extra={"log_ins": len(batch), "error": str(error)})
            self.refused["database_away"] += len(batch)
            await self._answer(batch, [Settled(None, waiting.want.token, AWAY) for waiting in batch])
            return
        except Exception as error:  # barrier: one log-in that the database or a bug trips over must not keep all others from their addresses
            if len(batch) > 1:
                await self._serve(batch[: len(batch) // 2])
                await self._serve(batch[len(batch) // 2 :])
                return
            known = isinstance(error, StoreError)
            log.error("lease failed", extra={"subscriber": batch[0].want.subscriber_id, "error": str(error)}, exc_info=None if known else error)
            self.refused["failed"] += 1
            await self._answer(batch, [Settled(None, batch[0].want.token, "the lease failed; the log says why")])
            return
        self.batches += 1
        self.seconds += time.monotonic() - started
        await self._answer(batch, self._follow(decisions, rows))

    async def _answer(self, batch: Sequence[Waiting], outcomes: Sequence[Settled]) -> None:
        for number, (waiting, outcome) in enumerate(zip(batch, outcomes, strict=True), 1):
            try:
                waiting.done(outcome)
            except Exception:  # barrier: one answer that cannot be made must not keep the others waiting
                log.exception("log-in not answered", extra={"subscriber": waiting.want.subscriber_id})
            if number % YIELD_AFTER == 0:
                await asyncio.sleep(0)

    # -- one transaction ---------------------------------------------------------------------------------------------

    async def _allocate(self, conn: Connection, wants: Sequence[Want]) -> tuple[list[Decision], list[LeaseRow]]:
        """Decide and write; returns the decisions, and every lease that the subscribers concerned have then."""
        now = self._wall_clock()
        await store.lock(conn, sorted({want.tenant_id for want in wants}))
        subscribers = sorted({want.subscriber_id for want in wants})
        claims, ends = claims_and_ends(self.leases.unwritten(subscribers))  # it would be written in a moment, but what follows must know
        if claims:
            await store.claim(conn, claims, self._hold_seconds)
        if ends:
            await store.end(conn, ends)
        rows = await store.of_subscribers(conn, subscribers)
        fits = {row.id: (pool := self.pools.by_id.get(row.pool_id)) is not None and pool.layout.holds(row.unit) for row in rows}
        decisions = decide(wants, rows, fits, now)
        mine = [row.id for decision in decisions for row in (*decision.kept.values(), *decision.dropped)]
        stock = {}
        for pool_id, count in sorted(demand(decisions).items()):
            pool = self.pools.by_id.get(pool_id)
            if pool is not None:
                stock[pool_id] = await self.stock.take(conn, pool, count, mine)
        give(decisions, stock)
        await self._write(conn, decisions, stock)
        return decisions, await store.of_subscribers(conn, subscribers)

    async def _write(self, conn: Connection, decisions: Sequence[Decision], stock: dict[int, list[Unit]]) -> None:
        fresh: list[tuple[object, ...]] = []
        again: list[tuple[object, ...]] = []
        dropped: list[int] = []
        for decision in decisions:
            if decision.short or decision.same is not None:
                continue
            want, slot = decision.want, decision.slot
            dropped += [row.id for row in decision.dropped]
            again += [(row.id, want.subscriber_id, slot, want.client_id, want.token) for row in decision.kept.values()]
            for kind, unit in decision.given.items():
                if unit.lease_id:
                    again.append((unit.lease_id, want.subscriber_id, slot, want.client_id, want.token))
                else:
                    pool = self.pools.by_id[want.pools[kind]]
                    fresh.append((pool.id, pool.layout.text(unit.address), want.subscriber_id, slot, want.client_id, want.token))
        if dropped:
            await store.let_go(conn, dropped)
        if fresh or again:
            await store.give(conn, fresh, again, self._hold_seconds)
        for pool_id, units in stock.items():  # not given after all: one kind was there, another of the same log-in was not
            await self.stock.put_back(conn, self.pools.by_id[pool_id], units)

    def _follow(self, decisions: Sequence[Decision], rows: Sequence[LeaseRow]) -> list[Settled]:
        """Bring memory up to what was committed; how each want ended."""
        slots: dict[tuple[int, int], list[LeaseRow]] = {}
        for row in rows:
            slots.setdefault((row.subscriber_id, row.slot), []).append(row)
        outcomes: list[Settled] = []
        settled: dict[int, Settled] = {}  # by identity of the decision
        for decision in decisions:
            want = decision.want
            if decision.same is not None:
                outcome = settled[id(decision.same)]
            elif decision.short == FULL:
                self.refused["slots"] += 1
                outcome = Settled(None, want.token, f"the subscriber has {SLOTS} sessions' addresses already")
            elif decision.short:
                self.refused["exhausted"] += 1
                outcome = Settled(None, want.token, f"pool {self._name(decision.short)} is exhausted")
            else:
                held = self.leases.given(want.subscriber_id, decision.slot, slots.get((want.subscriber_id, decision.slot), ()))
                self.given += len(decision.given)
                lacking = [kind for kind, pool in enumerate(want.pools) if pool and (held is None or not held.units[kind]) and not want.optional[kind]]
                if lacking:
                    outcome = Settled(None, want.token, f"no {KINDS[lacking[0]]} lease: the subscriber or the pool is gone")
                else:
                    outcome = Settled(held, want.token)
            settled[id(decision)] = outcome
            outcomes.append(outcome)
        return outcomes

    def _name(self, pool_id: int) -> str:
        pool = self.pools.by_id.get(pool_id)
        return pool.name if pool is not None else str(pool_id)


async def _nothing() -> None:
    return
