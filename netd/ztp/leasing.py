"""Leases for DHCPv4 clients: two tasks that serve all that wait in batches, a transaction each; one gives, the other puts in force and ends. Nobody is told
of anything before it is committed.

An offer is a lease of a minute, in the same table as everything else that is leased. So whichever node gets the REQUEST finds it, also after a crash in
between, and what two nodes offer cannot be the same: who gives holds the pools' rows, and the exclusion constraint stands behind it.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from netd.config import DhcpConfig
from netd.domain.stock import PoolRecord, Stock, Unit
from netd.errors import StoreError, StoreUnavailable
from netd.metrics import Counts
from netd.model.ranges import Span
from netd.model.ztp import Granted
from netd.store import dhcp as store
from netd.store import leases as lease_store
from netd.store.database import Connection, Database
from netd.ztp import holding
from netd.ztp.asks import Ask
from netd.ztp.binding import Binding
from netd.ztp.limits import Limits
from netd.ztp.subnets import Subnet, Subnets, dotted

log = logging.getLogger(__name__)

BATCH: Final = 200
WAITING_LIMIT: Final = 20_000
"""Packets that may wait; further ones go unanswered, and their clients send them again."""

GATHER_SECONDS: Final = 0.003
STALE_SECONDS: Final = 4.0
"""After so long a client has asked again: under overload the newest of its packets is worth an answer, not the oldest."""
PROBES: Final = 3
"""Addresses that are tried for a client, if those before were found in use."""

LEAST_OFFERS: Final = 16
OFFERED_PART: Final = 4
"""Of a pool at the most one part in so many (but LEAST_OFFERS) waits to be taken by clients of no known line."""

ROUNDS: Final = 3
"""How often a pool is asked again for what turned out to be the router's own."""

LOOK_SECONDS: Final = 1.0
"""How often an exhausted pool is asked what of it was declined."""


async def _nobody_answers(addresses: Sequence[int]) -> set[int]:
    return set()


class _Lane:
    """What waits for one of the tasks."""

    __slots__ = ("arrived", "queue")

    def __init__(self) -> None:
        self.queue: list[Ask] = []
        self.arrived = asyncio.Event()


class Leasing:
    """Two queues with a task each: a burst of new clients does not hold up those that renew."""

    def __init__(self, database: Database, subnets: Subnets, binding: Binding, limits: Limits, config: DhcpConfig) -> None:
        self.database = database
        self.subnets = subnets
        self.binding = binding
        self.limits = limits
        self.stock = Stock()
        self.probe: Callable[[Sequence[int]], Awaitable[set[int]]] = _nobody_answers
        self.given: Counts = Counts()
        self.batches = 0
        self.seconds = 0.0
        self.found_in_use = 0
        self.in_work = 0  # taken in and not answered yet
        self._config = config
        self._offers = _Lane()
        self._others = _Lane()
        self._finishing = False
        self._many_new = False  # most of the last batch were new clients: then the pools are locked first, which saves a look
        self._probing: set[asyncio.Task[None]] = set()
        self._probed_now: dict[int, list[tuple[Ask, tuple[int, str]]]] = {}  # addresses that are being probed, and who waits for each
        self._silent: OrderedDict[int, float] = OrderedDict()  # addresses that were probed in vain, until when that is believed
        self.short: dict[int, float] = {}  # pools that were found exhausted, and when
        self._looked: dict[int, float] = {}  # pools asked for what was declined, and when

    def __len__(self) -> int:
        return self.in_work

    def ask(self, ask: Ask) -> None:
        """Take it in; ``done`` may be called at once."""
        if not self.database.up:
            ask.done(ask, 0, "database_away")
        elif self._finishing or len(self) >= WAITING_LIMIT:
            ask.done(ask, 0, "too_busy")
        else:
            ask.at = time.monotonic() - ask.waited
            lane = self._offers if ask.kind == "offer" else self._others
            self.in_work += 1
            lane.queue.append(ask)
            lane.arrived.set()

    def finish(self) -> None:
        """Take nothing in any more; :meth:`run` returns once all that waits is served."""
        self._finishing = True
        self._offers.arrived.set()
        self._others.arrived.set()

    async def run(self) -> None:
        """Serve until told to finish, and what is being probed is answered."""
        async with asyncio.TaskGroup() as group:
            for lane in (self._offers, self._others):
                group.create_task(self._serve_lane(lane))
        await asyncio.gather(*self._probing, return_exceptions=True)

    async def _serve_lane(self, lane: _Lane) -> None:
        while not (self._finishing and not lane.queue):
            if not lane.queue:
                lane.arrived.clear()
                await lane.arrived.wait()
                await asyncio.sleep(GATHER_SECONDS)
            batch, lane.queue = lane.queue[:BATCH], lane.queue[BATCH:]
            stale = time.monotonic() - STALE_SECONDS
            self._answer([(ask, (0, "stale")) for ask in batch if ask.at < stale])
            batch = [ask for ask in batch if ask.at >= stale]
            if batch:
                await self.serve(batch)

    async def serve(self, batch: Sequence[Ask]) -> None:
        """One transaction for all of them, and their answers."""
        started = time.monotonic()
        try:
            outcomes, fresh = await self.database.twice(lambda conn: self._transact(conn, batch))
        except StoreUnavailable as error:
            log.warning("DHCP clients wait in vain for the database", extra={"clients": len(batch), "error": str(error)})
            outcomes, fresh = [(0, "database_away")] * len(batch), set()
        except Exception as error:  # barrier: one client that the database or a bug trips over must not keep all others from their addresses
            if len(batch) > 1:
                await self.serve(batch[: len(batch) // 2])
                await self.serve(batch[len(batch) // 2 :])
                return
            known = isinstance(error, StoreError)
            log.error("lease failed", extra={"client": batch[0].client, "error": str(error)}, exc_info=None if known else error)
            outcomes, fresh = [(0, "failed")], set()
        self.batches += 1
        self.seconds += time.monotonic() - started
        pairs = list(zip(batch, outcomes, strict=True))
        if self._config.probe_milliseconds:
            pairs = self._to_probe(pairs, fresh)
        self._answer(pairs)

    def _to_probe(self, pairs: Sequence[tuple[Ask, tuple[int, str]]], fresh: set[int]) -> list[tuple[Ask, tuple[int, str]]]:
        """Begin to probe what is ``fresh``; who is offered what is being probed, now or since a packet before, waits for that. The others."""
        now = time.monotonic()
        while self._silent and next(iter(self._silent.values())) <= now:
            self._silent.popitem(last=False)
        begun = {address for address in fresh if address not in self._probed_now and address not in self._silent}
        self._probed_now |= {address: [] for address in begun}
        left = []
        for ask, outcome in pairs:
            if ask.kind == "offer" and outcome[0] in self._probed_now:
                self._probed_now[outcome[0]].append((ask, outcome))
            else:
                left.append((ask, outcome))
        if begun:
            task = asyncio.create_task(self._probed(sorted(begun)), name="address probe")
            self._probing.add(task)
            task.add_done_callback(self._probing.discard)
        return left

    def _answer(self, pairs: Sequence[tuple[Ask, tuple[int, str]]]) -> None:
        for ask, (address, why) in pairs:
            self.in_work -= 1
            try:
                ask.done(ask, address, why)
            except Exception:  # barrier: one answer that cannot be made must not keep the others waiting
                log.exception("DHCP client not answered", extra={"client": ask.client})

    async def _probed(self, addresses: Sequence[int]) -> None:
        """Offer what nobody answers from; set the rest aside, and begin again for these clients."""
        used: set[int] = set()
        try:
            used = await self.probe(addresses)
        finally:
            waiting = [pair for address in addresses for pair in self._probed_now.pop(address)]
        until = time.monotonic() + self._config.offer_seconds
        self._silent |= {address: until for address in addresses if address not in used}
        self._answer([(ask, outcome) for ask, outcome in waiting if outcome[0] not in used])
        again = [(ask, address) for ask, (address, _) in waiting if address in used]
        if not used:
            return
        self.found_in_use += len(used)
        log.warning("addresses of a pool are in use by strangers", extra={"addresses": [dotted(address) for address in sorted(used)[:5]]})
        try:
            async with self.database.transaction() as conn:
                held = await store.of_clients(conn, sorted({(ask.subnet.row.id, ask.client) for ask, _ in again}))
                named = [(lease.id, lease.client_id) for lease in held if lease.address in used]
                if named:
                    await store.decline(conn, named, self._config.decline_seconds, "something answers to a ping")
        except StoreError as error:
            log.warning("addresses in use not set aside", extra={"error": str(error)})
            self._answer([(ask, (0, "database_away")) for ask, _ in again])
            return
        for ask, _ in again:
            ask.probes += 1
            if ask.probes < PROBES:
                self.in_work -= 1
                self.ask(ask)
            else:
                self._answer([(ask, (0, "in_use"))])

    # -- one transaction ---------------------------------------------------------------------------------------------

    async def _transact(self, conn: Connection, batch: Sequence[Ask]) -> tuple[list[tuple[int, str]], set[int]]:
        """(address, reason) of each ask, and which addresses were given to who did not have them before."""
        await lease_store.by_index(conn)
        ended = [ask for ask in batch if ask.kind in ("release", "decline")]
        whys = await holding.end(conn, ended, self.limits, self._config, self.given) if ended else {}
        binds = [ask for ask in batch if ask.kind == "bind"]
        if binds:
            bound = await holding.bind(conn, binds)
            self.given["bound"] += sum(not why for why in bound.values())
            whys |= bound
        offers = [ask for ask in batch if ask.kind == "offer"]
        offered, fresh = await self._offer(conn, offers) if offers else ({}, set())
        outcomes: list[tuple[int, str]] = []
        grants: list[Granted] = []
        for ask in batch:
            if ask.kind == "offer":
                outcome = offered.get((ask.subnet.row.id, ask.client), (0, "no_address"))
            else:
                outcome = (0, whys[ask]) if whys[ask] else (ask.address, "")
            if outcome[0] and ask.granted is not None:
                grants.append(ask.granted(outcome[0]))
            outcomes.append(outcome)
        if grants:
            await self.binding.granted(conn, grants)
        return outcomes, fresh

    async def _offer(self, conn: Connection, asks: Sequence[Ask]) -> tuple[dict[tuple[int, str], tuple[int, str]], set[int]]:
        """What each client is offered, by subnet and client; and which addresses are new to who gets them."""
        outcomes: dict[tuple[int, str], tuple[int, str]] = {}
        wanted = {(ask.subnet.row.id, ask.client): ask for ask in asks}
        rows: list[store.Offer] = []
        fresh: set[int] = set()
        if not self._many_new:
            await self._settle(conn, wanted, outcomes, rows, fresh)
        left = {key: ask for key, ask in wanted.items() if key not in outcomes}
        if left:
            await lease_store.lock(conn, sorted({ask.subnet.row.tenant_id for ask in left.values()}))
            stale = await self._settle(conn, left, outcomes, rows, fresh)  # another node may have been faster
            if stale:
                await store.let_go(conn, stale)
            left = {key: ask for key, ask in left.items() if key not in outcomes}
            fresh |= await self._give(conn, left, outcomes, rows)
        self._many_new = 2 * len(left) > len(wanted)
        if rows:
            written = set(await store.offer(conn, sorted(rows, key=_place)))
            self.given["offered"] += len(written)
            for row in rows:
                address = outcomes[row.n, row.c][0]
                if (row.n, row.c, address) not in written:
                    outcomes[row.n, row.c] = (0, "taken_meanwhile")
        return outcomes, fresh

    async def _settle(
        self, conn: Connection, wanted: dict[tuple[int, str], Ask], outcomes: dict[tuple[int, str], tuple[int, str]], rows: list[store.Offer], fresh: set[int]
    ) -> list[int]:
        """Who had an address that it may still have gets it; the ids of leases that their clients may not have any longer. What was never more than
        offered is ``fresh`` still: another node may have offered it, and not probed."""
        bases = {(ask.subnet.row.id, ask.base) for ask in wanted.values() if ask.line}
        known = {(lease.subnet_id, lease.client_id): lease for lease in await store.of_clients(conn, [*wanted, *(bases - wanted.keys())])}
        stale = []
        for key, ask in wanted.items():
            lease = known.get(key)
            if lease is None and ask.line and (before := known.pop((ask.subnet.row.id, ask.base), None)) is not None:  # from before its line was told
                lease = before if await store.rename(conn, [(before.id, ask.base, ask.client)]) else None
            if lease is None:
                continue
            if not ask.subnet.may_have(lease.address, ask.reserved):
                stale.append(lease.id)
                continue
            outcomes[key] = (lease.address, "")
            if lease.state == "offered":
                fresh.add(lease.address)
            if lease.left < self._config.offer_seconds:
                rows.append(self._row(ask, lease.address, lease.id))
        return stale

    async def _give(
        self, conn: Connection, left: dict[tuple[int, str], Ask], outcomes: dict[tuple[int, str], tuple[int, str]], rows: list[store.Offer]
    ) -> set[int]:
        now = time.monotonic()
        by_subnet: dict[int, list[Ask]] = {}
        reserved: list[Ask] = []
        for key, ask in left.items():
            if ask.reserved:
                reserved.append(ask)
            elif ask.subnet.pool is None:
                outcomes[key] = (0, "no_pool")
            elif not self._allowed(ask, now):
                outcomes[key] = (0, "too_many_new")
            else:
                by_subnet.setdefault(ask.subnet.row.id, []).append(ask)
        given: set[int] = set()
        for subnet_id, asks in sorted(by_subnet.items()):
            pool = asks[0].subnet.pool
            if pool is None:
                continue
            units = await self._units(conn, asks[0].subnet, pool, asks)
            for ask, unit in zip(asks, units, strict=True):
                if unit is None:
                    outcomes[subnet_id, ask.client] = (0, "exhausted")
                    self.short[pool.id] = now
                    continue
                outcomes[subnet_id, ask.client] = (unit.address, "")
                given.add(unit.address)
                rows.append(self._row(ask, unit.address, unit.lease_id))
        if reserved:
            given |= await self._give_reserved(conn, reserved, outcomes, rows)
        return given

    async def _units(self, conn: Connection, subnet: Subnet, pool: PoolRecord, asks: Sequence[Ask]) -> list[Unit | None]:
        """For each what it names, if that is free (RFC 2131 4.3.1), else what the pool has, else what was declined the longest time ago."""
        named = {ask.address: place for place, ask in enumerate(asks) if ask.address and subnet.may_have(ask.address, 0)}
        taken = await lease_store.taken(conn, pool.tenant_id, pool.scope, [dotted(address) for address in named]) if named else set()
        units: list[Unit | None] = [None] * len(asks)
        for address, place in named.items():
            if dotted(address) not in taken:
                units[place] = Unit(address, 0)
        own = {unit.address for unit in units if unit is not None}
        link = Span(subnet.row.first, subnet.row.last)
        found: list[Unit] = []
        for _ in range(ROUNDS):
            missing = units.count(None) - len(found)
            more = await self.stock.take(conn, pool, missing, [], link) if missing else []
            found += [unit for unit in more if subnet.fits(unit.address) and unit.address not in own]
            if len(more) < missing or not missing:
                break
        missing = units.count(None) - len(found)
        if missing > 0:
            found += await self._declined(conn, subnet, pool, missing)
        return [unit if unit is not None else found.pop(0) if found else None for unit in units]

    async def _declined(self, conn: Connection, subnet: Subnet, pool: PoolRecord, most: int) -> list[Unit]:
        """Of an exhausted pool what clients said is in use: it is more likely free than that nobody needs it."""
        now = time.monotonic()
        if self._looked.get(pool.id, -LOOK_SECONDS) + LOOK_SECONDS > now:
            return []
        found = await store.declined(conn, pool.id, most)
        if len(found) < most:
            self._looked[pool.id] = now
        for _, address in found:
            self.limits.used_again(pool.id, address)
        self.given["declined_again"] += len(found)
        return [Unit(address, number) for number, address in found if subnet.may_have(address, 0)]

    async def _give_reserved(
        self, conn: Connection, asks: Sequence[Ask], outcomes: dict[tuple[int, str], tuple[int, str]], rows: list[store.Offer]
    ) -> set[int]:
        given = set()
        placed = [ask for ask in asks if ask.subnet.pool is not None]
        scopes = [(ask.subnet.pool.scope, dotted(ask.reserved)) for ask in placed if ask.subnet.pool is not None]
        there = {address: (holder.id, holder.left) for address, holder in (await store.at(conn, scopes)).items()}
        elsewhere: set[tuple[int, str]] = set()
        for tenant in {ask.subnet.row.tenant_id for ask in asks if ask.fixed}:
            texts = [dotted(ask.reserved) for ask in asks if ask.fixed and ask.subnet.row.tenant_id == tenant]
            elsewhere |= {(tenant, text) for text in await store.fixed(conn, tenant, texts)}
        for ask in asks:
            key = (ask.subnet.row.id, ask.client)
            number, until = there.get(ask.reserved, (0, -1.0))
            if ask.subnet.pool is None:
                outcomes[key] = (0, "no_pool")
            elif (ask.subnet.row.tenant_id, dotted(ask.reserved)) in elsewhere:
                outcomes[key] = (0, "address_taken")  # by a subscriber
            elif until > 0 or ask.reserved in given:
                outcomes[key] = (0, "reservation_in_use")  # by who had it before it was reserved: it is not renewed
            else:
                outcomes[key] = (ask.reserved, "")
                given.add(ask.reserved)
                rows.append(self._row(ask, ask.reserved, number))
        return given

    def _allowed(self, ask: Ask, now: float) -> bool:
        """Whether a client that has nothing yet may be given something. Those of a line were counted there already."""
        if ask.line and self._config.line_clients:
            return True
        pool = ask.subnet.pool
        most = max(LEAST_OFFERS, pool.total // OFFERED_PART) if pool else LEAST_OFFERS
        return self.limits.new(ask.relay, ask.line, now) and self.limits.offered(ask.subnet.row.id, ask.client, most, self._config.offer_seconds, now)

    def _row(self, ask: Ask, address: int, lease_id: int) -> store.Offer:
        pool = ask.subnet.pool
        return store.Offer(
            lease_id, pool.id if pool else 0, ask.subnet.row.id, dotted(address), ask.client, self._config.offer_seconds, ask.mac, ask.profile,
            ask.hostname, ask.device_id,
        )  # fmt: skip


def _place(row: store.Offer) -> tuple[int, str]:
    """In this order rows are written, so that two transactions cannot wait for each other."""
    return row.n, row.c
