"""Leases for DHCPv4 clients: two tasks that serve all that wait in batches, a transaction each; one gives, the other puts in force and ends. Nobody is told
of anything before it is committed.

An offer is a lease of a minute, in the same table as everything else that is leased. So whichever node gets the REQUEST finds it, also after a crash in
between, and what two nodes offer cannot be the same: who gives holds the pools' rows, and the exclusion constraint stands behind it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

from netd.config import DhcpConfig
from netd.domain.stock import Stock
from netd.errors import StoreError, StoreUnavailable
from netd.metrics import Counts
from netd.model.ztp import Granted
from netd.store import dhcp as store
from netd.store import leases as lease_store
from netd.store.database import Connection, Database
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

Kind = Literal["offer", "bind", "release", "decline"]


class Ask:
    """What a client wants: an address (``address`` is what it names, 0: none; ``reserved`` what is set aside for it). ``done`` is called once, with the
    address it has, or 0 and the reason."""

    __slots__ = (
        "address", "at", "circuit", "client", "device_id", "done", "granted", "hostname", "kind", "mac", "probes", "profile", "relay", "relay_info", "reserved",
        "seconds", "subnet",
    )  # fmt: skip

    def __init__(self, kind: Kind, subnet: Subnet, client: str, address: int, done: Callable[[int, str], None]) -> None:
        self.kind = kind
        self.subnet = subnet
        self.client = client
        self.address = address
        self.at = 0.0  # when it was taken in
        self.done = done
        self.reserved = 0
        self.seconds = subnet.row.lease_seconds
        self.mac = ""
        self.profile = ""
        self.hostname = ""
        self.relay = 0
        self.circuit = b""
        self.relay_info = b""
        self.device_id: int | None = None
        self.granted: Callable[[int], Granted] | None = None  # of an expected device: what is to be recorded with this address
        self.probes = 0


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

    def __len__(self) -> int:
        return self.in_work

    def ask(self, ask: Ask) -> None:
        """Take it in; ``done`` may be called at once."""
        if not self.database.up:
            ask.done(0, "database_away")
        elif self._finishing or len(self) >= WAITING_LIMIT:
            ask.done(0, "too_busy")
        else:
            ask.at = time.monotonic()
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
        """Serve until told to finish."""
        async with asyncio.TaskGroup() as group:
            for lane in (self._offers, self._others):
                group.create_task(self._serve_lane(lane))

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
            outcomes, fresh = await self._committed(batch)
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
        if self._config.probe_milliseconds and fresh:
            waiting = [(ask, outcome) for ask, outcome in pairs if outcome[0] in fresh]
            pairs = [(ask, outcome) for ask, outcome in pairs if outcome[0] not in fresh]
            task = asyncio.create_task(self._probed(waiting), name="address probe")
            self._probing.add(task)
            task.add_done_callback(self._probing.discard)
        self._answer(pairs)

    async def _committed(self, batch: Sequence[Ask]) -> tuple[list[tuple[int, str]], set[int]]:
        """One transaction; tried twice, for somebody else's lock may have made PostgreSQL refuse it."""
        try:
            async with self.database.transaction() as conn:
                return await self._transact(conn, batch)
        except StoreUnavailable:
            if not self.database.up:
                raise
        async with self.database.transaction() as conn:
            return await self._transact(conn, batch)

    def _answer(self, pairs: Sequence[tuple[Ask, tuple[int, str]]]) -> None:
        for ask, (address, why) in pairs:
            self.in_work -= 1
            try:
                ask.done(address, why)
            except Exception:  # barrier: one answer that cannot be made must not keep the others waiting
                log.exception("DHCP client not answered", extra={"client": ask.client})

    async def _probed(self, waiting: Sequence[tuple[Ask, tuple[int, str]]]) -> None:
        """Offer what nobody answers from; set the rest aside, and begin again for these clients."""
        used = await self.probe([address for _, (address, _) in waiting])
        self._answer([(ask, outcome) for ask, outcome in waiting if outcome[0] not in used])
        again = [(ask, address) for ask, (address, _) in waiting if address in used]
        if not again:
            return
        self.found_in_use += len(again)
        log.warning("addresses of a pool are in use by strangers", extra={"addresses": [dotted(address) for _, address in again[:5]]})
        try:
            async with self.database.transaction() as conn:
                named = [(ask.subnet.row.id, ask.client, dotted(address)) for ask, address in again]
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
        if ended:
            await self._end(conn, ended)
        binds = [ask for ask in batch if ask.kind == "bind"]
        bound = await self._bind(conn, binds) if binds else set()
        offers = [ask for ask in batch if ask.kind == "offer"]
        offered, fresh = await self._offer(conn, offers) if offers else ({}, set())
        outcomes: list[tuple[int, str]] = []
        grants: list[Granted] = []
        for ask in batch:
            key = (ask.subnet.row.id, ask.client)
            if ask.kind == "bind":
                outcome = (ask.address, "") if key in bound else (0, "not_its_address")
            elif ask.kind == "offer":
                outcome = offered.get(key, (0, "no_address"))
            else:
                outcome = (ask.address, "")
            if outcome[0] and ask.granted is not None:
                grants.append(ask.granted(outcome[0]))
            outcomes.append(outcome)
        if grants:
            await self.binding.granted(conn, grants)
        return outcomes, fresh

    async def _end(self, conn: Connection, asks: Sequence[Ask]) -> None:
        released = [(ask.subnet.row.id, ask.client, dotted(ask.address)) for ask in asks if ask.kind == "release"]
        declined = [(ask.subnet.row.id, ask.client, dotted(ask.address)) for ask in asks if ask.kind == "decline"]
        if released:
            self.given["released"] += await store.release(conn, released)
        if declined:
            self.given["declined"] += await store.decline(conn, declined, self._config.decline_seconds, "a client found it in use")

    async def _bind(self, conn: Connection, asks: Sequence[Ask]) -> set[tuple[int, str]]:
        rows = [
            store.Binding(
                ask.subnet.row.id, ask.client, dotted(ask.address), ask.seconds, ask.subnet.pool.grace_seconds if ask.subnet.pool else 0, ask.mac,
                ask.profile, ask.hostname, ask.relay_info.hex(),
            )
            for ask in asks if ask.subnet.may_have(ask.address, ask.reserved)
        ]  # fmt: skip
        bound = await store.bind(conn, sorted(rows, key=_place)) if rows else set()
        self.given["bound"] += len(bound)
        return bound

    async def _offer(self, conn: Connection, asks: Sequence[Ask]) -> tuple[dict[tuple[int, str], tuple[int, str]], set[int]]:
        """What each client is offered, by subnet and client; and which addresses are new to who gets them."""
        outcomes: dict[tuple[int, str], tuple[int, str]] = {}
        wanted = {(ask.subnet.row.id, ask.client): ask for ask in asks}
        rows: list[store.Offer] = []
        if not self._many_new:
            self._settle(await store.of_clients(conn, list(wanted)), wanted, outcomes, rows)
        left = {key: ask for key, ask in wanted.items() if key not in outcomes}
        fresh: set[int] = set()
        if left:
            await lease_store.lock(conn, sorted({ask.subnet.row.tenant_id for ask in left.values()}))
            known = await store.of_clients(conn, list(left))  # another node may have been faster
            stale = self._settle(known, left, outcomes, rows)
            if stale:
                await store.let_go(conn, stale)
            left = {key: ask for key, ask in left.items() if key not in outcomes}
            fresh = await self._give(conn, left, outcomes, rows)
        self._many_new = 2 * len(left) > len(wanted)
        if rows:
            written = set(await store.offer(conn, sorted(rows, key=_place)))
            self.given["offered"] += len(written)
            for row in rows:
                address = outcomes[row.n, row.c][0]
                if (row.n, row.c, address) not in written:
                    outcomes[row.n, row.c] = (0, "taken_meanwhile")
        return outcomes, fresh

    def _settle(
        self,
        known: Sequence[store.LeaseRow],
        wanted: dict[tuple[int, str], Ask],
        outcomes: dict[tuple[int, str], tuple[int, str]],
        rows: list[store.Offer],
    ) -> list[int]:
        """Who had an address that it may still have gets it; the ids of leases that their clients may not have any longer."""
        stale = []
        for lease in known:
            key = (lease.subnet_id, lease.client_id)
            ask = wanted[key]
            if not ask.subnet.may_have(lease.address, ask.reserved):
                stale.append(lease.id)
                continue
            outcomes[key] = (lease.address, "")
            if lease.left < self._config.offer_seconds:
                rows.append(self._row(ask, lease.address, lease.id))
        return stale

    async def _give(
        self, conn: Connection, left: dict[tuple[int, str], Ask], outcomes: dict[tuple[int, str], tuple[int, str]], rows: list[store.Offer]
    ) -> set[int]:
        now = time.monotonic()
        by_pool: dict[int, list[Ask]] = {}
        reserved: list[Ask] = []
        for key, ask in left.items():
            if ask.reserved:
                reserved.append(ask)
            elif ask.subnet.pool is None:
                outcomes[key] = (0, "no_pool")
            elif not self._allowed(ask, now):
                outcomes[key] = (0, "too_many_new")
            else:
                by_pool.setdefault(ask.subnet.pool.id, []).append(ask)
        given: set[int] = set()
        for pool_id, asks in sorted(by_pool.items()):
            units = await self.stock.take(conn, self.subnets.pools[pool_id], len(asks), [])
            fit = [unit for unit in units if asks[0].subnet.holds(unit.address)]
            if len(fit) < len(units):
                await self.stock.put_back(conn, self.subnets.pools[pool_id], [unit for unit in units if unit not in fit])
            for ask, unit in zip(asks, fit, strict=False):
                outcomes[ask.subnet.row.id, ask.client] = (unit.address, "")
                given.add(unit.address)
                rows.append(self._row(ask, unit.address, unit.lease_id))
            for ask in asks[len(fit) :]:
                outcomes[ask.subnet.row.id, ask.client] = (0, "exhausted")
        if reserved:
            given |= await self._give_reserved(conn, reserved, outcomes, rows)
        return given

    async def _give_reserved(
        self, conn: Connection, asks: Sequence[Ask], outcomes: dict[tuple[int, str], tuple[int, str]], rows: list[store.Offer]
    ) -> set[int]:
        given = set()
        placed = [ask for ask in asks if ask.subnet.pool is not None]
        scopes = [(ask.subnet.pool.scope, dotted(ask.reserved)) for ask in placed if ask.subnet.pool is not None]
        there = {address: (number, left) for number, address, left, _, _ in await store.at(conn, scopes)}
        for ask in asks:
            key = (ask.subnet.row.id, ask.client)
            number, until = there.get(ask.reserved, (0, -1.0))
            if ask.subnet.pool is None:
                outcomes[key] = (0, "no_pool")
            elif until > 0 or ask.reserved in given:
                outcomes[key] = (0, "reservation_in_use")  # by who had it before it was reserved: it is not renewed
            else:
                outcomes[key] = (ask.reserved, "")
                given.add(ask.reserved)
                rows.append(self._row(ask, ask.reserved, number))
        return given

    def _allowed(self, ask: Ask, now: float) -> bool:
        """Whether a client that has nothing yet may be given something. Those of a line were counted there already."""
        if ask.circuit and self._config.line_clients:
            return True
        pool = ask.subnet.pool
        most = max(LEAST_OFFERS, pool.total // OFFERED_PART) if pool else LEAST_OFFERS
        return self.limits.new(ask.relay, ask.circuit, now) and self.limits.offered(ask.subnet.row.id, ask.client, most, self._config.offer_seconds, now)

    def _row(self, ask: Ask, address: int, lease_id: int) -> store.Offer:
        pool = ask.subnet.pool
        return store.Offer(
            lease_id, pool.id if pool else 0, ask.subnet.row.id, dotted(address), ask.client, self._config.offer_seconds, ask.mac, ask.profile,
            ask.hostname, ask.device_id,
        )  # fmt: skip


def _place(row: store.Binding | store.Offer) -> tuple[int, str]:
    """In this order rows are written, so that two transactions cannot wait for each other."""
    return row.n, row.c
