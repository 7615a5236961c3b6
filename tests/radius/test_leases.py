"""Leases in memory, without any database: what may be answered with, and when it ends."""

import math
from typing import Any

import pytest

from netd.model.accounting import Row
from netd.radius.leases import LOST, REPLACED, Leases, claims_and_ends
from netd.radius.pools import Pools
from netd.radius.sessions import LiveRecord, make_class
from netd.store.leases import LeaseRow, PoolRow, RuleRow


class World:
    """One pool, a clock, and sessions by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.pools = Pools()
        self.pools.put([PoolRow(1, 1, "v4", "ipv4", 32, 100, 7, [], [])], [])
        self.leases = Leases(self.pools, 60.0, lambda: self.now)
        self.sessions: dict[str, LiveRecord] = {}
        self.doomed: list[tuple[str, str]] = []
        self.leases.session_of = self.sessions.get
        self.leases.on_doom = lambda live, why: self.doomed.append((live.row.acctuniqueid, why))

    def row(self, number: int = 5, subscriber: int = 9, slot: int = 0, **more: Any) -> LeaseRow:
        return LeaseRow(number, subscriber, slot, "ipv4", 1, number, "a", "t1", False, 1_160.0)._replace(**more)

    def begin(self, name: str, token: str, started_at: float = 0.0, address: str | None = None, subscriber: int = 9) -> LiveRecord:
        made = Row(
            radacctid=len(self.sessions), acctuniqueid=name, tenant_id=1, nas_id=1, subscriber_id=subscriber, acctsessionid=name, username="u",
            nasipaddress="10.0.0.1", nassourceaddress="10.0.0.1", started_at=started_at, updated_at=started_at, framedipaddress=address,
            class_=make_class(token, subscriber, "p") if token else None,
        )  # fmt: skip
        live = self.sessions[name] = LiveRecord(made, subscriber)
        self.leases.begun(live)
        return live

    def end(self, name: str, elsewhere: bool = False) -> None:
        self.leases.ended(self.sessions.pop(name), elsewhere)

    def written(self) -> list[tuple[str, int, object]]:
        claims, ends = claims_and_ends(self.leases.take_dirty(99))
        return [("claim", each.id, each.begun) for each in claims] + [("end", each.id, each.token) for each in ends]


@pytest.fixture
def world() -> World:
    return World()


def test_a_lease_lives(world):
    held = world.leases.given(9, 0, [world.row()])
    assert world.written() == [], "the allocator wrote it"
    assert world.leases.safe(held, world.now)
    assert not world.leases.safe(held, 1_156.0), "clocks differ"
    world.begin("s", "t1")
    assert (held.until, world.written()) == (math.inf, [("claim", 5, True)])
    world.end("s")
    assert (held.until, held.ended, world.written()) == (1_100.0, True, [("end", 5, "t1")])
    assert world.leases.find(9, "another line", world.now) is held
    world.leases.grant(held, "b", "t2", world.now)
    assert (held.until, world.written()) == (1_160.0, [("claim", 5, False)])
    assert world.leases.find(9, "c", world.now) is None, "a Start is to come"
    assert world.leases.find(9, "c", 1_161.0) is held, "it did not come"


def test_the_same_line_dials_again(world):
    held = world.leases.given(9, 0, [world.row()])
    world.begin("old", "t1", 1.0)
    world.leases.grant(held, "a", "t2", world.now)
    assert held.until == math.inf, "the older session has it still"
    world.begin("new", "t2", 2.0)
    assert world.doomed == [("old", REPLACED)]
    world.written()
    world.end("old")
    assert (held.session, held.until, world.written()) == ("new", math.inf, [])


def test_the_older_session_ends_before_the_new_one_starts(world):
    held = world.leases.given(9, 0, [world.row()])
    world.begin("old", "t1")
    world.leases.grant(held, "a", "t2", world.now)
    world.end("old")
    assert (held.ended, held.until, world.written()) == (False, 1_160.0, [("claim", 5, False)])


def test_a_late_start_of_an_older_session_takes_nothing(world):
    held = world.leases.given(9, 0, [world.row()])
    world.begin("new", "t1", 50.0)
    world.begin("late", "t1", 40.0)
    assert (held.session, world.doomed) == ("new", [])


def test_a_session_without_class_is_known_by_its_address(world):
    one, two = world.leases.given(9, 0, [world.row()]), world.leases.given(9, 1, [world.row(6, slot=1, client_id="b", token="t9")])
    world.begin("s", "", address="0.0.0.6")
    assert (one.session, two.session) == ("", "s")
    world.begin("x", "", address="0.0.0.99")
    assert one.session == "", "which of two it has is not guessed"


def test_what_another_node_closed_is_asked_of_the_database(world):
    held = world.leases.given(9, 0, [world.row()])
    world.begin("s", "t1")
    world.written()
    world.end("s", elsewhere=True)
    assert (world.leases.safe(held, world.now), world.written()) == (False, [])


def test_after_a_start_what_is_in_use_waits_for_its_session(world):
    world.leases.put([world.row(until=math.inf)])
    (held,) = world.leases.slots(9)
    assert not world.leases.safe(held, world.now)
    world.begin("s", "", address="0.0.0.5")
    assert (held.until, world.written()) == (math.inf, []), "nothing new to write"


@pytest.mark.parametrize("told", [True, False])
def test_what_was_lost_is_forgotten(world, told):
    world.leases.given(9, 0, [world.row()])
    kept = world.leases.given(9, 1, [world.row(6, slot=1, client_id="b", token="t9")])
    world.begin("s", "t1", address="0.0.0.5")
    world.leases.reread([9, 10], [world.row(6, slot=1)], told)
    assert world.leases.slots(9) == [kept]
    assert world.doomed == ([("s", LOST)] if told else []), "a row that is missing disconnects nobody"
    assert all(held is kept for held in world.leases.dirty)


def test_a_grant_that_was_lost_ends_its_session_at_once(world):
    world.leases.given(9, 0, [world.row()])
    world.leases.note_lost("t1")
    world.begin("s", "t1")
    assert (world.doomed, world.leases.lost_count, world.leases.lost_tokens) == ([("s", LOST)], 1, {})


def test_another_address_is_a_conflict(world):
    world.leases.given(9, 0, [world.row()])
    live = world.begin("s", "t1", address="0.0.0.5")
    assert world.leases.conflicts == []
    live.row.framedipaddress = "0.0.0.8"
    world.end("s")
    assert world.leases.conflicts == [(5, "10.0.0.1 uses 0.0.0.8 in session s")]


def test_the_order_of_rules():
    def rule(pool: int, **more: Any) -> RuleRow:
        return RuleRow(1, pool, "ipv4", None, None, None, None)._replace(**more)

    pools = Pools()
    table = [
        rule(1),
        rule(2, plan_id=3),
        rule(3, vrf="red"),
        rule(4, site_id=5),
        rule(5, nas_id=7),
        rule(6, nas_id=7, plan_id=3),
        rule(7, site_id=5, plan_id=4),
    ]
    pools.put([], table)
    assert pools.chosen(1, 3, 7, 5, "red") == (6, 0, 0)
    assert pools.chosen(1, 9, 7, 5, "red") == (5, 0, 0)
    assert pools.chosen(1, 3, 8, 5, "red") == (4, 0, 0)
    assert pools.chosen(1, 4, 8, 5, "red") == (7, 0, 0)
    assert pools.chosen(1, 3, 9, None, "red") == (3, 0, 0)
    assert pools.chosen(1, 3, 10, None, None) == (2, 0, 0)
    assert pools.chosen(1, 8, 10, 6, "blue") == (1, 0, 0)
    assert pools.chosen(2, 8, 11, 6, "blue") == (0, 0, 0)
