"""Who gets which address, without any database: whatever comes in which order, no address twice, nothing that is not the pool's, all or nothing."""

import math
from ipaddress import IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netd.extensions import Extensions
from netd.model.ranges import KINDS, Layout, Span, merged
from netd.radius.allocation import Unit, Want, decide, demand, give
from netd.radius.leases import encode
from netd.store.leases import LeaseRow
from netd.wire.attributes import encode as encode_by_dictionary

NOW = 1_000.0
POOLS = {1: "ipv4", 2: "ipv6", 3: "delegated", 4: "ipv4"}
spans = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40)).map(lambda pair: Span(pair[0], pair[0] + pair[1])), max_size=5)


def layout(ranges: list[Span], excluded: list[Span], size: int = 1) -> Layout:
    made = Layout("ipv4", 32, ranges, excluded)
    made.size = size
    return made


@given(spans, spans, st.sampled_from((1, 4, 16)))
def test_a_layout_holds_what_it_counts(ranges, excluded, size):
    made = layout(ranges, excluded, size)
    units = [at for at in range(0, 400, size) if made.holds(at)]
    assert made.total() == len(units)
    assert made.draw(made.spans(), 1000)[0] == units
    for unit in units:
        octets = set(range(unit, unit + size))
        assert all(any(span.first <= octet <= span.last for span in ranges) for octet in octets)
        assert not any(octets & set(range(span.first, span.last + 1)) for span in excluded)


@given(spans, spans, spans, st.lists(st.integers(1, 30), max_size=8), st.sampled_from((1, 4)))
def test_drawing_by_and_by_gives_each_unit_once(ranges, excluded, searched, counts, size):
    made = layout(ranges, excluded, size)
    left = list(merged(searched))
    drawn: list[int] = []
    for count in counts:
        units, left = made.draw(left, count)
        assert len(units) <= count
        if len(units) < count:
            assert made.draw(left, 1)[0] == []
        drawn += units
    assert len(drawn) == len(set(drawn))
    assert all(made.holds(unit) for unit in drawn)


def test_a_large_pool_is_not_walked_through():
    made = Layout("ipv6", 64, [Span(0x2001 << 112, (0x2001 << 112) + (1 << 96) - 1)], [Span(0x2001 << 112, (0x2001 << 112) + (1 << 95))])
    units, left = made.draw(made.spans(), 3)
    assert made.total() == 2**31 - 1
    assert [made.text(unit) for unit in units] == ["2001:0:8000:1::/64", "2001:0:8000:2::/64", "2001:0:8000:3::/64"]
    assert len(left) == 1


class Simulation:
    """The database's part: leases, and pools of some units each."""

    def __init__(self, sizes: dict[int, int]) -> None:
        self.fresh = {pool: list(range(pool * 1000, pool * 1000 + size)) for pool, size in sizes.items()}
        self.rows: dict[int, LeaseRow] = {}

    def serve(self, wants: list[Want]) -> list[dict[int, int] | None]:
        """What each want gets: units by kind, None for nothing."""
        subscribers = {want.subscriber_id for want in wants}
        mine = [row for row in self.rows.values() if row.subscriber_id in subscribers]
        decisions = decide(wants, mine, {row.id: True for row in mine}, NOW)
        bound = {row.id for decision in decisions for row in (*decision.kept.values(), *decision.dropped)}
        stock: dict[int, list[Unit]] = {}
        for pool, count in demand(decisions).items():
            taken, self.fresh[pool] = self.fresh[pool][:count], self.fresh[pool][count:]
            again = [row for row in self.rows.values() if row.pool_id == pool and row.until <= NOW and row.id not in bound]
            stock[pool] = [Unit(unit, 0) for unit in taken] + [Unit(row.unit, row.id) for row in sorted(again)[: count - len(taken)]]
        give(decisions, stock)
        results: list[dict[int, int] | None] = []
        for decision in decisions:
            leader = decision.same or decision
            if leader.short:
                results.append(None)
                continue
            if decision is leader:
                self._write(decision)
            slot = [row for row in self.rows.values() if row.subscriber_id == leader.want.subscriber_id and row.slot == leader.slot]
            results.append({KINDS.index(row.kind): row.unit for row in slot})
        for pool, units in stock.items():
            self.fresh[pool] += [unit.address for unit in units if not unit.lease_id]
        return results

    def _write(self, decision) -> None:
        want = decision.want
        for row in decision.dropped:
            self.rows[row.id] = row._replace(subscriber_id=0, ended=True, until=NOW - 1)
        for kind, unit in decision.given.items():
            number = unit.lease_id or len(self.rows) + 1
            pool = want.pools[kind]
            self.rows[number] = LeaseRow(number, want.subscriber_id, decision.slot, POOLS[pool], pool, unit.address, want.client_id, "", False, NOW + 99)
        for row in decision.kept.values():
            self.rows[row.id] = row._replace(client_id=want.client_id, ended=False, until=NOW + 99)

    def end(self, subscriber_id: int) -> None:
        """The grace time of all that the subscriber has is over."""
        for key, row in self.rows.items():
            if row.subscriber_id == subscriber_id:
                self.rows[key] = row._replace(ended=True, until=NOW - 1)


pools = st.sampled_from(((1, 0, 0), (1, 2, 3), (4, 2, 3), (0, 2, 0), (4, 0, 0)))
wants = st.builds(
    Want, st.integers(1, 6), st.just(1), pools, st.tuples(st.booleans(), st.booleans(), st.booleans()), st.sampled_from(("", "a", "b")), st.just("t")
)
steps = st.lists(st.one_of(st.lists(wants, min_size=1, max_size=5), st.integers(1, 6)), max_size=25)


@settings(max_examples=200, deadline=None)
@given(steps, st.integers(0, 8), st.integers(0, 8))
def test_no_address_twice_and_all_or_nothing(story, size, delegated):
    world = Simulation({1: size, 2: 6, 3: delegated, 4: 3})
    for step in story:
        if isinstance(step, int):
            world.end(step)
            continue
        for want, got in zip(step, world.serve(step), strict=True):
            if got is not None:
                for kind, pool in enumerate(want.pools):
                    assert kind in got or pool == 0 or want.optional[kind], "all that it must have"
        live = [row for row in world.rows.values() if row.subscriber_id and row.until > NOW]
        units = [(row.pool_id, row.unit) for row in world.rows.values()]
        assert len(units) == len(set(units)), "one row an address"
        keys = [(row.subscriber_id, row.slot, row.kind) for row in live]
        assert len(keys) == len(set(keys))
        total = {pool: sum(1 for p, _ in units if p == pool) + len(world.fresh[pool]) for pool in POOLS}
        assert total == {1: size, 2: 6, 3: delegated, 4: 3}, "no address is lost"


def want(subscriber: int, line: str = "a", chosen: tuple[int, int, int] = (1, 0, 0)) -> Want:
    return Want(subscriber, 1, chosen, (False, False, False), line, "t")


def test_who_comes_back_gets_the_same_while_nobody_needed_it():
    world = Simulation({1: 2})
    (first,), (second,) = world.serve([want(1)]), world.serve([want(2)])
    world.end(1)
    assert world.serve([want(1, "another line")]) == [first]
    world.end(1)
    assert world.serve([want(3)]) == [first], "then the longest unused goes to who needs it"
    assert world.serve([want(1)]) == [None]
    assert world.serve([want(2)]) == [second]


def test_a_line_has_one_and_two_lines_have_two():
    world = Simulation({1: 9})
    one, two, again = world.serve([want(1, "a"), want(1, "b"), want(1, "a")])
    assert one == again != two
    assert world.serve([want(1, "b"), want(1, "a")]) == [two, one]
    three, four = world.serve([want(1, ""), want(1, "")])
    assert len({str(each) for each in (one, two, three, four)}) == 4, "lines that cannot be told apart share nothing"


def test_one_subscriber_cannot_empty_a_pool():
    world = Simulation({1: 100})
    given = [world.serve([want(1, f"line {n}")])[0] for n in range(40)]
    assert len({str(each) for each in given}) == 16
    assert len(world.serve([want(1, "") for _ in range(40)])) == 40
    assert len(world.fresh[1]) == 84
    for key, row in world.rows.items():
        world.rows[key] = row._replace(until=math.inf, client_id=f"l{key}")
    assert world.serve([want(1, "another"), want(1, "l3"), want(2)]) == [None, {0: world.rows[3].unit}, {0: 1016}]


def test_another_pool_is_served_anew():
    world = Simulation({1: 3, 4: 3})
    assert world.serve([want(1)]) == [{0: 1000}]
    assert world.serve([want(1, chosen=(4, 0, 0))]) == [{0: 4000}]
    assert [row.unit for row in world.rows.values() if row.subscriber_id == 1] == [4000]


def test_nobody_takes_what_another_of_the_same_batch_comes_back_to():
    world = Simulation({1: 1})
    world.serve([want(1)])
    world.end(1)
    assert world.serve([want(2), want(1)]) == [None, {0: 1000}]


@pytest.mark.parametrize("text", ["2001:db8::/64", "2001:db8:aa00::/40", "2001:db8:1:200::/56"])
def test_attributes_are_encoded_as_the_dictionary_does(text):
    dictionary = Extensions.discover().dictionary
    network = IPv6Network(text)
    for kind, name in ((1, "Framed-IPv6-Prefix"), (2, "Delegated-IPv6-Prefix")):
        assert encode(kind, int(network.network_address), network.prefixlen) == encode_by_dictionary(dictionary, [(name, network)])
