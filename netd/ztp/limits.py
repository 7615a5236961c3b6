"""How much a line, a relay and the whole may ask for: a client that invents MAC addresses must not empty a pool, nor keep the responder from others.

A *line* is a circuit behind a relay (giaddr and option 82's circuit id), which one subscriber has. It may hold so many clients. Behind a relay that does
not tell lines apart, and on a directly attached link, new clients come at a bounded rate, and those offered and not yet taken are bounded.
"""

from collections import OrderedDict
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Final

from netd.config import DhcpConfig

LINES: Final = 200_000
"""Lines remembered: beyond that the one that asked least lately is forgotten."""

RELAYS: Final = 10_000


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
    """The bounds, in memory. ``now`` is monotonic seconds."""

    def __init__(self, config: DhcpConfig) -> None:
        self._clients = config.line_clients
        self._new_rate = config.relay_new_per_second
        self._packet_rate = config.relay_packets_per_second
        self._lines: OrderedDict[tuple[int, bytes], dict[str, float]] = OrderedDict()  # client -> until when it counts
        self._new: OrderedDict[int, Bucket] = OrderedDict()
        self._offers: dict[int, OrderedDict[str, float]] = {}  # by subnet: clients of no known line, until when their offers wait
        self._packets: OrderedDict[int, Bucket] = OrderedDict()

    def packet(self, relay: int, now: float) -> bool:
        """Whether this relay (or interface) may send another packet."""
        return not self._packet_rate or _bucket(self._packets, relay, self._packet_rate, now).take(self._packet_rate, self._packet_rate, now)

    def client(self, relay: int, circuit: bytes, client: str, seconds: float, now: float) -> bool:
        """Whether this client may be offered something on its line; it counts there for ``seconds``."""
        if circuit and self._clients:
            line = self._lines.setdefault((relay, circuit), {})
            self._lines.move_to_end((relay, circuit))
            while len(self._lines) > LINES:
                self._lines.popitem(last=False)
            if client not in line and len(line) >= self._clients:
                for gone in [known for known, until in line.items() if until <= now]:
                    del line[gone]
                if len(line) >= self._clients:
                    return False
            line[client] = max(line.get(client, 0.0), now + seconds)
        return True

    def new(self, relay: int, circuit: bytes, now: float) -> bool:
        """Whether a client that was never seen may come from this relay, if that does not tell lines apart."""
        if (circuit and self._clients) or not self._new_rate:
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

    def gone(self, relay: int, circuit: bytes, client: str) -> None:
        """The client gave back what it had."""
        line = self._lines.get((relay, circuit))
        if line is not None:
            line.pop(client, None)


class Relays:
    """Who may relay, by the source of its packets; everybody, if nobody is named."""

    def __init__(self, prefixes: Sequence[str]) -> None:
        self._networks = [ip_network(each) for each in prefixes]
        self._known: dict[int | str, bool] = {}

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


def _bucket(buckets: "OrderedDict[int, Bucket]", key: int, burst: float, now: float) -> Bucket:
    bucket = buckets.get(key)
    if bucket is None:
        bucket = buckets[key] = Bucket(burst, now)
        while len(buckets) > RELAYS:
            buckets.popitem(last=False)
    return bucket
