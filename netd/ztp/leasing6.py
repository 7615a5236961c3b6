"""Leases for DHCPv6 clients: single addresses made from the client's identity, prefixes from delegated pools; in batches, committed before anybody is told.

An address is the subnet's /64 and 64 bits of a hash over DUID and IAID: it is the same whichever node answers, needs no search, and no pool runs dry. The
table's unique constraint stands behind it; where another has it (or declined it) the hash is taken again with a counter.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv6Address
from typing import Final, Literal

from netd.config import DhcpConfig
from netd.domain.stock import Stock
from netd.errors import StoreError, StoreUnavailable
from netd.model.ztp import Granted
from netd.store import dhcp as store
from netd.store import leases as lease_store
from netd.store.database import Connection, Database
from netd.ztp.binding import Binding
from netd.ztp.client4 import off_line, on_line
from netd.ztp.leasing import STALE_SECONDS
from netd.ztp.limits import Limits, Source
from netd.ztp.subnets import Subnet

log = logging.getLogger(__name__)

BATCH: Final = 200
WAITING_LIMIT: Final = 10_000
ATTEMPTS: Final = 4
"""Hashes that are tried for an address."""

DECLINABLE: Final = 80_000
"""Addresses that a subnet is reckoned to have where it is asked how many may be declined."""

Kind = Literal["advertise", "assign", "renew", "release", "decline"]
Got = dict[tuple[str, int], int]
"""("na" or "pd", IAID) -> the address, or the prefix's first; 0: none."""

Outcome = tuple[Got | None, str]
"""What a client has; None: why it has nothing."""


class Ask6:
    """What a client wants: addresses and prefixes by their IAIDs, and which it names as its own (``named``). ``done`` is called once: with what it has (after
    a release: what it gave back; None: why stands in the text). ``fixed``: what is reserved for it is so by its device's record."""

    __slots__ = (
        "addresses", "at", "client", "done", "fixed", "granted", "kind", "line", "mac", "named", "prefixes", "profile", "relay", "reserved", "seconds",
        "subnet", "waited",
    )  # fmt: skip

    def __init__(self, kind: Kind, subnet: Subnet, client: str, done: Callable[[Got | None, str], None]) -> None:
        self.kind = kind
        self.subnet = subnet
        self.client = client
        self.done = done
        self.at = 0.0  # when it came, be it read later
        self.waited = 0.0  # seconds before it was read
        self.addresses: Sequence[int] = ()
        self.prefixes: Sequence[int] = ()
        self.named: Mapping[tuple[str, int], Sequence[int]] = {}
        self.reserved = 0
        self.fixed = False
        self.seconds = subnet.row.lease_seconds
        self.mac = ""
        self.profile = ""
        self.relay: Source = 0
        self.line = ""
        self.granted: Callable[[int], Granted] | None = None

    def address_keys(self) -> list[tuple[int, str]]:
        """Its addresses' names in the table."""
        return [(self.subnet.row.id, self.key("na", iaid)) for iaid in self.addresses]

    def prefix_keys(self) -> list[tuple[int, str]]:
        """Its prefixes' names in the table."""
        return [(self.subnet.row.id, self.key("pd", iaid)) for iaid in self.prefixes]

    def key(self, kind: str, iaid: int) -> str:
        """The holder's name of one of them: the line is part of it."""
        return on_line(f"{'pd ' if kind == 'pd' else ''}{self.client}/{iaid:08x}", self.line)


def interface_address(subnet: Subnet, client: str, attempt: int) -> int:
    """The address of this client: 64 bits of a hash, none of the low ones that people give to routers."""
    digest = hashlib.sha256(f"{client} {attempt}".encode()).digest()
    host = int.from_bytes(digest[:8], "big") | 1 << 62
    return subnet.row.first & ~(2**64 - 1) | host & (2**64 - 1)


class Leasing6:
    """The queue and its one task."""

    def __init__(self, database: Database, stock: Stock, binding: Binding, limits: Limits, config: DhcpConfig, monotonic: Callable[[], float]) -> None:
        self.database = database
        self.stock = stock
        self.binding = binding
        self.limits = limits
        self._config = config
        self._monotonic = monotonic
        self._queue: list[Ask6] = []
        self._arrived = asyncio.Event()
        self._finishing = False
        self.in_work = 0
        self.short: dict[int, float] = {}  # pools that were found exhausted, and when

    def ask(self, ask: Ask6) -> None:
        """Take it in; ``done`` may be called at once."""
        if not self.database.up:
            ask.done(None, "database_away")
        elif self._finishing or self.in_work >= WAITING_LIMIT:
            ask.done(None, "too_busy")
        else:
            ask.at = self._monotonic() - ask.waited
            self.in_work += 1
            self._queue.append(ask)
            self._arrived.set()

    def finish(self) -> None:
        """Take nothing in any more; :meth:`run` returns once all that waits is served."""
        self._finishing = True
        self._arrived.set()

    async def run(self) -> None:
        """Serve until told to finish."""
        while not (self._finishing and not self._queue):
            if not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
            batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
            stale = self._monotonic() - STALE_SECONDS
            self._answer([(ask, (None, "stale")) for ask in batch if ask.at < stale])
            batch = [ask for ask in batch if ask.at >= stale]
            if batch:
                await self.serve(batch)

    async def serve(self, batch: Sequence[Ask6]) -> None:
        """One transaction for all of them, and their answers."""
        outcomes: list[Outcome]
        try:
            outcomes = await self.database.twice(lambda conn: self._transact(conn, batch))
        except StoreUnavailable as error:
            log.warning("DHCPv6 clients wait in vain for the database", extra={"clients": len(batch), "error": str(error)})
            outcomes = [(None, "database_away")] * len(batch)
        except Exception as error:  # barrier: one client that the database or a bug trips over must not keep all others from their addresses
            if len(batch) > 1:
                await self.serve(batch[: len(batch) // 2])
                await self.serve(batch[len(batch) // 2 :])
                return
            known = isinstance(error, StoreError)
            log.error("DHCPv6 lease failed", extra={"client": batch[0].client, "error": str(error)}, exc_info=None if known else error)
            outcomes = [(None, "failed")]
        self._answer(list(zip(batch, outcomes, strict=True)))

    def _answer(self, pairs: Sequence[tuple[Ask6, Outcome]]) -> None:
        for ask, (got, why) in pairs:
            self.in_work -= 1
            try:
                ask.done(got, why)
            except Exception:  # barrier: one answer that cannot be made must not keep the others waiting
                log.exception("DHCPv6 client not answered", extra={"client": ask.client})

    async def _transact(self, conn: Connection, batch: Sequence[Ask6]) -> list[Outcome]:
        await lease_store.by_index(conn)
        strange = await self._on_other_lines(conn, batch)
        results: dict[int, Got] = {place: {} for place in range(len(batch))}
        left = []
        for place, ask in enumerate(batch):
            if place in strange:
                continue
            if ask.kind in ("release", "decline"):
                await self._end(conn, ask, results[place])
            else:
                left.append((place, ask))
        await self._addresses(conn, left, results)
        for place, ask in left:
            if ask.prefixes:
                await self._prefixes(conn, ask, results[place])
        grants = [
            ask.granted(first) for place, ask in left
            if ask.granted is not None and (first := next((address for address in results[place].values() if address), 0))
        ]  # fmt: skip
        if grants:
            await self.binding.granted(conn, grants)
        return [(None, "other_line") if place in strange else (results[place], "") for place in range(len(batch))]

    async def _on_other_lines(self, conn: Connection, batch: Sequence[Ask6]) -> set[int]:
        """Which of the batch name what the client has on another line: relays that are two for one link, or somebody else who says to be it."""
        single: set[tuple[int, str]] = set()
        prefixes: set[tuple[int, str]] = set()
        for ask in batch:
            for (kind, _), addresses in ask.named.items():
                if kind == "na":
                    single |= {(ask.subnet.row.id, str(IPv6Address(address))) for address in addresses}
                elif ask.subnet.pool is not None:
                    prefixes |= {(ask.subnet.pool.scope, str(IPv6Address(address))) for address in addresses}
        of_single = await store.holders(conn, sorted(single)) if single else {}
        of_prefixes = await store.at(conn, sorted(prefixes)) if prefixes else {}
        strange = set()
        for place, ask in enumerate(batch):
            for (kind, iaid), addresses in ask.named.items():
                mine = ask.key(kind, iaid)
                for address in addresses:
                    if kind == "na":
                        holder = of_single.get((ask.subnet.row.id, address), "")
                    else:
                        lease = of_prefixes.get(address)
                        holder = lease.client_id if lease is not None and lease.subnet_id == ask.subnet.row.id and lease.left > 0 else ""
                    if holder != mine and off_line(holder)[0] == off_line(mine)[0] and off_line(holder)[1]:
                        strange.add(place)
        return strange

    async def _end(self, conn: Connection, ask: Ask6, result: Got) -> None:
        """Take back what the client has; in ``result`` stands 1 for what it had."""
        ago = self._monotonic() - ask.at
        keys = dict(zip(ask.address_keys(), ask.addresses, strict=True))
        if keys and ask.kind == "release":
            result.update({("na", keys[key]): 1 for key in await store.give_up(conn, list(keys), ask.seconds, ago)})
        elif keys:
            known = await store.addresses_of(conn, list(keys))
            result.update({("na", keys[key]): 1 for key in known})
            refused = [key for key, address in known.items() if not self._decline(ask, address)]
            if refused:
                await store.refuse(conn, refused, self._config.decline_seconds)
        prefixes = dict(zip(ask.prefix_keys(), ask.prefixes, strict=True))
        held = await store.of_clients(conn, list(prefixes)) if prefixes else []
        done = await store.release(conn, [store.Gone(lease.id, lease.client_id, ask.seconds, ago) for lease in held]) if held else set()
        result.update({("pd", prefixes[lease.subnet_id, lease.client_id]): 1 for lease in held if lease.id in done})

    def _decline(self, ask: Ask6, address: int) -> str:
        subnet_id = ask.subnet.row.id
        return self.limits.decline(subnet_id, ask.line, -subnet_id, DECLINABLE, address, self._config.decline_seconds, self._monotonic())

    async def _addresses(self, conn: Connection, asks: Sequence[tuple[int, Ask6]], results: dict[int, Got]) -> None:
        """Addresses for all that want some: what a client has, else what its hash says."""
        keys = [key for _, ask in asks for key in ask.address_keys()]
        if not keys:
            return
        known = await store.addresses_of(conn, keys)
        chosen: dict[tuple[int, str], int] = {}
        wanted: dict[tuple[int, str], Ask6] = {}
        for _, ask in asks:
            favoured = self._favoured(ask, known)
            for key in ask.address_keys():
                if key not in known and (ask.kind == "renew" or (ask.kind == "assign" and key not in chosen and not self._new(ask))):
                    continue
                if key == favoured and ask.fixed and await store.fixed(conn, ask.subnet.row.tenant_id, [str(IPv6Address(ask.reserved))]):
                    continue  # by a subscriber
                had = known.get(key, 0)
                if key == favoured and had != ask.reserved and ask.kind == "advertise" and await self._held(conn, key[0], ask.reserved):
                    continue  # by who had it before it was reserved
                kept = had if had != ask.reserved and had not in ask.subnet.reserved and ask.subnet.fits(had) else 0
                chosen[key] = ask.reserved if key == favoured else kept or self._hashed(ask, key, 0)
                if ask.kind != "advertise" and chosen[key]:
                    wanted[key] = ask
        for attempt in range(1, ATTEMPTS + 1):
            if not wanted:
                break
            places = {(key[0], chosen[key]): key for key in reversed(wanted)}  # one client on two lines may ask for what is reserved for it at once
            rows = [
                store.Address6(ask.subnet.row.tenant_id, key[0], str(IPv6Address(chosen[key])), key[1], ask.seconds, ask.mac, ask.profile)
                for key in places.values() for ask in (wanted[key],)
            ]  # fmt: skip
            got = await store.assign(conn, rows)
            wanted = {key: ask for key, ask in wanted.items() if key not in got}
            for key, ask in wanted.items():
                chosen[key] = self._hashed(ask, key, attempt) if chosen[key] != ask.reserved else 0
            wanted = {key: ask for key, ask in wanted.items() if chosen[key]}
        for place, ask in asks:
            for iaid, key in zip(ask.addresses, ask.address_keys(), strict=True):
                results[place]["na", iaid] = chosen.get(key, 0)

    @staticmethod
    async def _held(conn: Connection, subnet_id: int, address: int) -> bool:
        return bool(await store.holders(conn, [(subnet_id, str(IPv6Address(address)))]))

    @staticmethod
    def _hashed(ask: Ask6, key: tuple[int, str], attempt: int) -> int:
        """The address of the hash taken for the so many-th time, or of the next that is not somebody else's own; 0 once all were tried."""
        tried = (interface_address(ask.subnet, key[1], each) for each in range(attempt, ATTEMPTS))
        return next((address for address in tried if address not in ask.subnet.reserved), 0)

    @staticmethod
    def _favoured(ask: Ask6, known: Mapping[tuple[int, str], int]) -> tuple[int, str] | None:
        """Which of the client's associations gets what is reserved for it: the one that has it, else the first."""
        keys = ask.address_keys()
        if not ask.reserved or not keys:
            return None
        return next((key for key in keys if known.get(key) == ask.reserved), keys[0])

    async def _prefixes(self, conn: Connection, ask: Ask6, result: Got) -> None:
        """Prefixes of one client, from the subnet's delegated pool."""
        pool = ask.subnet.pool
        for iaid, key in zip(ask.prefixes, ask.prefix_keys(), strict=True):
            result["pd", iaid] = 0
            held = await store.of_clients(conn, [key])
            if pool is None or (not held and ask.kind == "renew"):
                continue
            if held and pool.layout.holds(held[0].address):
                address, lease_id, fresh = held[0].address, held[0].id, held[0].left < self._config.offer_seconds
            else:
                await lease_store.lock(conn, [ask.subnet.row.tenant_id])
                held = await store.of_clients(conn, [key])
                if held:
                    await store.let_go(conn, [held[0].id])
                if not self._new(ask):
                    continue
                units = await self.stock.take(conn, pool, 1, [])
                if not units:
                    self.short[pool.id] = self._monotonic()
                    continue
                address, lease_id, fresh = units[0].address, units[0].lease_id, True
            text = self._prefix(ask, address)
            if fresh:
                row = store.Offer(lease_id, pool.id, key[0], text, key[1], self._config.offer_seconds, ask.mac, ask.profile, "", None)
                if not await store.offer(conn, [row]):
                    continue
            if ask.kind in ("assign", "renew"):
                row6 = store.Binding(key[0], key[1], text, ask.seconds, pool.grace_seconds, ask.mac, ask.profile, "", "")
                if not await store.bind(conn, [row6]):  # somebody was faster
                    continue
            result["pd", iaid] = address

    def _new(self, ask: Ask6) -> bool:
        """Whether another client that has nothing yet may come from there."""
        return self.limits.new(ask.relay, ask.line, self._monotonic())

    def _prefix(self, ask: Ask6, address: int) -> str:
        length = ask.subnet.pool.layout.prefix_length if ask.subnet.pool is not None else 64
        return f"{IPv6Address(address)}/{length}"
