"""Who is due, by a clock that the test turns."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from netd.poll.schedule import LONGEST_BACK_OFF_SECONDS, Schedule, place


def drive(schedule: Schedule, begin: float, end: float, *, takes: float = 0.1, room: int = 1000, bad: frozenset[int] = frozenset(), step: float = 0.05):
    """Run the clock: each look takes ``takes`` seconds, those of ``bad`` fail. Returns when whom was begun."""
    begun: list[tuple[float, int, tuple[str, ...]]] = []
    under_way: list[tuple[float, int]] = []
    now = begin
    while now < end:
        for ended, key in [each for each in under_way if each[0] <= now]:
            schedule.done(key, now, ok=key not in bad)
            under_way.remove((ended, key))
        while len(under_way) < room and (taken := schedule.take(now)) is not None:
            assert taken[0] not in {key for _, key in under_way}, "a member overlaps itself"
            begun.append((now, *taken))
            under_way.append((now + takes, taken[0]))
        now = round(now + step, 6)
    return begun


def test_each_member_once_a_period_and_spread() -> None:
    schedule = Schedule()
    for key in range(600):
        schedule.put(key, {"a": 60.0}, 1000.0)
    begun = drive(schedule, 1000.0, 1180.0)
    times: dict[int, list[float]] = {}
    for at, key, _ in begun:
        times.setdefault(key, []).append(at)
    assert len(times) == 600 and schedule.missed == 0
    assert all(abs(b - a - 60) < 0.06 for each in times.values() for a, b in pairwise(each)) and abs(len(begun) - 1800) < 5
    seconds = Counter(int(at) for at, _, _ in begun)
    assert max(seconds.values()) < 30 and len(seconds) > 170  # ten a second on average


def test_groups_with_periods_that_divide_each_other_are_due_together() -> None:
    schedule = Schedule()
    schedule.put(1, {"often": 60.0, "seldom": 300.0}, 0.0)
    begun = drive(schedule, 0.0, 599.9)
    assert Counter(groups for _, _, groups in begun) == {("often",): 8, ("often", "seldom"): 2}


def test_places_outlive_others_and_restarts() -> None:
    alone, among = Schedule(), Schedule()
    alone.put(7, {"a": 60.0}, 100.0)
    for key in range(20):
        among.put(key, {"a": 60.0}, 100.0)
    for key in range(20):
        if key != 7:
            among.remove(key)
    at = [[at for at, key, _ in drive(each, 100.0, 300.0)] for each in (alone, among)]
    assert at[0] == at[1] and (at[0][0] - place(7)) % 60 < 0.06


def test_a_slow_member_misses_its_own_slots_only() -> None:
    schedule = Schedule()
    schedule.put(1, {"a": 60.0}, 0.0)
    slow = drive(schedule, 0.0, 600.0, takes=90.0)
    assert len(slow) == 5 and schedule.missed in (4, 5) and schedule.missed_by[1] == schedule.missed


def test_dead_members_are_left_alone_for_longer_and_longer() -> None:
    schedule = Schedule()
    schedule.put(1, {"a": 60.0}, 0.0)
    schedule.put(2, {"a": 60.0}, 0.0)
    begun = drive(schedule, 0.0, 7200.0, takes=14.0, bad=frozenset({1}), step=1.0)
    counts = Counter(key for _, key, _ in begun)
    times = [at for at, key, _ in begun if key == 1]
    gaps = [round(b - a) for a, b in pairwise(times)]
    assert counts[2] == 120 and counts[1] < 15 and gaps == sorted(gaps) and gaps[-1] <= LONGEST_BACK_OFF_SECONDS + 60
    assert schedule.missed == 0 and schedule.held == 120 - counts[1] and schedule.failures(1) == counts[1]
    schedule.forgive(1)
    assert drive(schedule, 7200.0, 7261.0)[0][1:] and {key for _, key, _ in drive(schedule, 7261.0, 7330.0)} == {1, 2}


def test_when_there_is_no_room_slots_are_missed_and_counted() -> None:
    schedule = Schedule()
    for key in range(100):
        schedule.put(key, {"a": 10.0}, 0.0)
    begun = drive(schedule, 0.0, 100.0, takes=1.0, room=5)
    assert 480 <= len(begun) <= 505 and schedule.missed >= 1000 - len(begun) - 110


def test_changes() -> None:
    schedule = Schedule()
    assert schedule.next_at() is None and schedule.take(1e9) is None
    schedule.put(1, {"a": 60.0}, 0.0)
    before = schedule.next_at()
    schedule.put(1, {"a": 60.0, "b": 3600.0}, 1.0)
    assert schedule.next_at() == before and schedule.period(1, "b") == 3600.0 and schedule.period(2, "b") is None
    schedule.at_once(1, 2.0)
    assert schedule.take(2.0) == (1, ("a", "b")) and schedule.running == 1
    schedule.remove(1)
    schedule.done(1, 3.0, ok=True)
    assert schedule.take(1e9) is None and len(schedule) == 0 and 1 not in schedule and schedule.keys() == set()


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["put", "remove", "take", "done", "fail", "forgive", "now"]), st.floats(0, 100)), max_size=80))
def test_no_member_is_ever_taken_twice(steps: list[tuple[int, str, float]]) -> None:
    schedule, now, under_way = Schedule(), 0.0, set()
    for key, what, later in steps:
        now += later
        if what == "put":
            schedule.put(key, {"a": 10.0 + key, "b": 60.0}, now)
        elif what == "remove":
            schedule.remove(key)
        elif what == "take" and (taken := schedule.take(now)) is not None:
            assert taken[0] not in under_way and taken[1]
            under_way.add(taken[0])
        elif what in ("done", "fail") and key in under_way:
            under_way.discard(key)
            schedule.done(key, now, ok=what == "done")
        elif what == "forgive":
            schedule.forgive(key)
        elif what == "now":
            schedule.at_once(key, now)
    assert schedule.missed >= 0 and schedule.held >= 0
