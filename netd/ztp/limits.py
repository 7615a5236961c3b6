"""How much a line, a relay and the whole may ask for: a client that invents MAC addresses must not empty a pool, nor keep the responder from others.

A *line* is what a relay says of where a client is attached (option 82's circuit and remote id), which one subscriber has. It may hold so many clients.
Behind a relay that does not tell lines apart, and on a directly attached link, new clients come at a bounded rate, and those offered and not yet taken
are bounded.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from netd.config import DhcpConfig

LINES: Final = 200_000
"""Lines remembered: beyond that the one that asked least lately is forgotten."""

RELAYS: Final = 10_000
LINE_DECLINES: Final = 8
"""Of a line's clients one part in so many may be addresses that it declined (one at the least)."""

POOL_DECLINES: Final = 8
LEAST_DECLINES: Final = 4
"""Of a pool one part in so many (but LEAST_DECLINES) may be set aside because clients declined it."""

Source = int | str
"""Whom packets are limited by: an IPv4 relay's address, minus a subnet's id, or a network of IPv6 relays."""


class Bucket:
    """Tokens that come back with time."""

    __slots__ = ("at", "tokens")

    def __init__(self, tokens: float, at: float) -> None:
        self.tokens = tokens
        self.at = at

    def take(self, rate: float, burst: float, now: float) -> bool:
        """One, if there is one."""
        self.tokens = min(burst, self.tokens + (now - self.at) * rate)
        self.at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


class Limits:
    """The bounds, in memory. ``now`` is monotonic seconds, a line stands in its subnet."""

    def __init__(self, config: DhcpConfig) -> None:
        self._clients = config.line_clients
        self._new_rate = config.relay_new_per_second
        self._packet_rate = config.relay_packets_per_second
        self._lines: OrderedDict[tuple[int, str], dict[str, float]] = OrderedDict()  # client -> until when it counts
        self._new: OrderedDict[Source, Bucket] = OrderedDict()
        self._offers: dict[int, OrderedDict[str, float]] = {}  # by subnet: clients of no known line, until when their offers wait
        self._packets: OrderedDict[Source, Bucket] = OrderedDict()
        self._declined: dict[int, OrderedDict[int, float]] = {}  # by pool: addresses set aside, until when

    def packet(self, relay: Source, now: float) -> bool:
        """Whether this relay (or interface) may send another packet."""
        return not self._packet_rate or _bucket(self._packets, relay, self._packet_rate, now).take(self._packet_rate, self._packet_rate, now)

    def client(self, subnet_id: int, line: str, client: str, seconds: float, now: float) -> bool:
        """Whether this client may be offered something on its line; it counts there for ``seconds``."""
        if line and self._clients:
            there = self._lines.setdefault((subnet_id, line), {})
            self._lines.move_to_end((subnet_id, line))
            while len(self._lines) > LINES:
                self._lines.popitem(last=False)
            if client not in there and len(there) >= self._clients:
                for gone in [known for known, until in there.items() if until <= now]:
                    del there[gone]
                if len(there) >= max(self._clients, 1 + _declines(there)):  # one client there may always be
                    return False
            there[client] = max(there.get(client, 0.0), now + seconds)
        return True

    def new(self, relay: Source, line: str, now: float) -> bool:
        """Whether a client that was never seen may come from this relay, if that does not tell lines apart."""
        if (line and self._clients) or not self._new_rate:
            return True
        return _bucket(self._new, relay, self._new_rate, now).take(self._new_rate, 2 * self._new_rate, now)

    def offered(self, subnet_id: int, client: str, most: int, seconds: float, now: float) -> bool:
        """Whether another client of no known line may be offered something, where so many such offers at the ``most`` may wait to be taken."""
        waiting = self._offers.setdefault(subnet_id, OrderedDict())
        while waiting and next(iter(waiting.values())) <= now:
            waiting.popitem(last=False)
        if client not in waiting and len(waiting) >= most:
            return False
        waiting[client] = now + seconds
        waiting.move_to_end(client)
        return True

    def taken(self, subnet_id: int, client: str) -> None:
        """The client took what it was offered."""
        waiting = self._offers.get(subnet_id)
        if waiting:
            waiting.pop(client, None)

    def gone(self, subnet_id: int, line: str, client: str) -> None:
        """The client gave back what it had."""
        there = self._lines.get((subnet_id, line))
        if there is not None:
            there.pop(client, None)

    # -- addresses that clients found in use -------------------------------------------------------------------------

    def decline(self, subnet_id: int, line: str, pool_id: int, total: int, address: int, seconds: float, now: float) -> str:
        """Whether this address of a pool of so many may be set aside on the word of a client; "", or why not. It keeps its place on the line."""
        aside = self._aside(pool_id, now)
        if address in aside:
            return ""
        if len(aside) >= max(LEAST_DECLINES, total // POOL_DECLINES):
            return "pool_declined"
        if line and self._clients:
            there = self._lines.setdefault((subnet_id, line), {})
            if _declines(there, now) >= max(1, self._clients // LINE_DECLINES):
                return "line_declined"
            there[f"{DECLINED}{address}"] = now + seconds
        aside[address] = now + seconds
        return ""

    def used_again(self, pool_id: int, address: int) -> None:
        """An address that was set aside is given again: there is no other."""
        self._declined.get(pool_id, OrderedDict()).pop(address, None)

    def declined(self, pool_id: int, total: int, now: float) -> tuple[int, bool]:
        """How many of the pool's addresses are set aside, and whether no more may be."""
        aside = len(self._aside(pool_id, now)) if pool_id in self._declined else 0
        return aside, aside >= max(LEAST_DECLINES, total // POOL_DECLINES)

    def all_declined(self) -> int:
        """How many addresses are set aside."""
        return sum(map(len, self._declined.values()))

    def _aside(self, pool_id: int, now: float) -> "OrderedDict[int, float]":
        aside = self._declined.setdefault(pool_id, OrderedDict())
        while aside and next(iter(aside.values())) <= now:
            aside.popitem(last=False)
        return aside


DECLINED: Final = "declined "


def _declines(line: dict[str, float], now: float = 0.0) -> int:
    return sum(client.startswith(DECLINED) and until > now for client, until in line.items())


class Relays:
    """Who may relay, by the source of its packets; everybody, if nobody is named."""

    def __init__(self, prefixes: Sequence[str]) -> None:
        self._networks = [ip_network(each) for each in prefixes]
        self._known: dict[int | str, bool] = {}

    def __bool__(self) -> bool:
        """Whether any are named."""
        return bool(self._networks)

    def may(self, source: int | str) -> bool:
        """Whether packets from this address are looked at: IPv4 as a number, IPv6 as text."""
        if not self._networks:
            return True
        found = self._known.get(source)
        if found is None:
            address = ip_address(source)
            found = any(address.version == network.version and address in network for network in self._networks)
            if len(self._known) < RELAYS:
                self._known[source] = found
        return found


@lru_cache(maxsize=4096)
def network6(address: str) -> str:
    """The /64 of an IPv6 address: whoever has one has all of its addresses."""
    return f"{IPv6Address(int(IPv6Address(address)) >> 64 << 64)}/64"


def _bucket(buckets: "OrderedDict[Source, Bucket]", key: Source, burst: float, now: float) -> Bucket:
    bucket = buckets.get(key)
    if bucket is None:
        bucket = buckets[key] = Bucket(burst, now)
        while len(buckets) > RELAYS:
            buckets.popitem(last=False)
    return bucket
