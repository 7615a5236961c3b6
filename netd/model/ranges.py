"""Address space as whole numbers: spans of addresses, and the units (an address, a /64, a /56) that a pool gives out of them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

Kind = str
"""``ipv4``, ``ipv6`` or ``delegated``."""

KINDS: tuple[Kind, ...] = ("ipv4", "ipv6", "delegated")
"""In this order wherever there is one value per kind."""


class Span(NamedTuple):
    """Addresses from ``first`` to ``last``, both included."""

    first: int
    last: int


class Layout:
    """What a pool may give out: units of one prefix length that lie wholly in its ranges and touch nothing that is excluded."""

    __slots__ = ("_range_firsts", "bits", "excluded", "kind", "prefix_length", "ranges", "size")

    def __init__(self, kind: Kind, prefix_length: int, ranges: Iterable[Span], excluded: Iterable[Span]) -> None:
        self.kind = kind
        self.bits = 32 if kind == "ipv4" else 128
        self.prefix_length = prefix_length
        self.size = 1 << (self.bits - prefix_length)
        self.ranges = merged(ranges)
        self.excluded = merged(excluded)
        self._range_firsts = [span.first for span in self.ranges]

    def holds(self, unit: int) -> bool:
        """Whether the unit that begins at this address is the pool's to give out."""
        place = bisect_right(self._range_firsts, unit) - 1
        return place >= 0 and unit + self.size - 1 <= self.ranges[place].last and self._obstacle(unit) is None

    def total(self) -> int:
        """How many units there are."""
        return sum(last - first + 1 for first, last in self._free_indices())

    def spans(self) -> list[Span]:
        """All that can be given out, as spans of whole units."""
        return [Span(first * self.size, (last + 1) * self.size - 1) for first, last in self._free_indices()]

    def draw(self, spans: Sequence[Span], count: int) -> tuple[list[int], list[Span]]:
        """Up to ``count`` units out of ``spans``, and what is left of these. What is not the pool's to give out is left out on the way."""
        units: list[int] = []
        left: list[Span] = []
        for place, span in enumerate(spans):
            at = span.first // self.size * self.size
            while at <= span.last and len(units) < count:
                obstacle = self._obstacle(at)
                if obstacle is not None:
                    at = (obstacle.last // self.size + 1) * self.size
                elif self.holds(at):
                    units.append(at)
                    at += self.size
                else:
                    at = self._next_inside(at)
                    if at < 0:
                        break
            if 0 <= at <= span.last:
                left.append(Span(at, span.last))
            if len(units) == count:
                left += spans[place + 1 :]
                break
        return units, left

    def text(self, unit: int) -> str:
        """The unit in the usual form: an address for ``ipv4``, else a prefix."""
        return str(IPv4Address(unit)) if self.kind == "ipv4" else f"{IPv6Address(unit)}/{self.prefix_length}"

    def _obstacle(self, unit: int) -> Span | None:
        place = self._first_ending_at(unit)
        return self.excluded[place] if place < len(self.excluded) and self.excluded[place].first < unit + self.size else None

    def _first_ending_at(self, address: int) -> int:
        """The place of the first excluded span that ends at or behind ``address``."""
        return bisect_left(self.excluded, address, key=lambda span: span.last)

    def _next_inside(self, at: int) -> int:
        """The first unit behind ``at`` that lies in a range; -1 if there is none."""
        for place in range(max(0, bisect_right(self._range_firsts, at) - 1), len(self.ranges)):
            unit = -(-self.ranges[place].first // self.size) * self.size
            if unit > at and unit + self.size - 1 <= self.ranges[place].last:
                return unit
        return -1

    def _free_indices(self) -> Iterator[tuple[int, int]]:
        """Runs of unit numbers (address / size) that can be given out."""
        for span in self.ranges:
            first, end = -(-span.first // self.size), (span.last + 1) // self.size - 1
            for excluded in self.excluded[self._first_ending_at(first * self.size) :]:
                low, high = excluded.first // self.size, excluded.last // self.size
                if low > end:
                    break
                if low > first:
                    yield first, low - 1
                first = max(first, high + 1)
            if first <= end:
                yield first, end


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same addresses as few spans in order."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.first <= found[-1].last + 1:
            found[-1] = Span(found[-1].first, max(found[-1].last, span.last))
        else:
            found.append(span)
    return tuple(found)


def span_of(network: IPv4Network | IPv6Network) -> Span:
    """Every address of a prefix."""
    return Span(int(network.network_address), int(network.broadcast_address))


def span_text(span: Span, version: int) -> str:
    """``10.0.0.1-10.0.0.254``, or one address."""
    kind = IPv4Address if version == 4 else IPv6Address
    return str(kind(span.first)) if span.first == span.last else f"{kind(span.first)}-{kind(span.last)}"
