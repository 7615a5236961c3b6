"""Failed log-ins are counted in a sliding minute, per key, in bounded memory."""

import pytest

from netd.radius import limits
from netd.radius.limits import Failures

T0 = 86_400.0  # monotonic clocks do not start at 0


def test_failures_are_counted_per_key() -> None:
    failures = Failures()
    assert failures.count("alice", T0) == 0
    for number in range(3):
        failures.add("alice", T0 + number)
    failures.add("bob", T0)
    assert (failures.count("alice", T0 + 3), failures.count("bob", T0 + 3), failures.count("carol", T0 + 3)) == (3, 1, 0)


def test_a_name_and_a_line_that_look_alike_are_two_keys() -> None:
    failures = Failures()
    failures.add((1, "alice"), T0)
    failures.add((1, b"alice"), T0)
    failures.add((1, b"alice"), T0)
    assert (failures.count((1, "alice"), T0), failures.count((1, b"alice"), T0), failures.count((2, "alice"), T0)) == (1, 2, 0)


def test_old_failures_fade_over_the_following_minute() -> None:
    failures = Failures()
    for _ in range(10):
        failures.add("alice", T0)
    assert failures.count("alice", T0 + 59.9) == 10
    counts = [failures.count("alice", T0 + 60 + seconds) for seconds in range(61)]
    assert counts[0] == 10
    assert counts[30] == 5
    assert counts[60] == 0
    assert counts == sorted(counts, reverse=True)


def test_the_window_that_begins_late_does_not_forget_early() -> None:
    """A failure just before the window turns must not be forgotten at once."""
    failures = Failures()
    failures.add("other", T0)
    for _ in range(10):
        failures.add("alice", T0 + 59)
    assert failures.count("alice", T0 + 61) >= 9
    assert failures.count("alice", T0 + 125) == 0


def test_after_a_long_silence_nothing_is_left() -> None:
    failures = Failures()
    for _ in range(10):
        failures.add("alice", T0)
    assert failures.count("alice", T0 + 120) == 0
    failures.add("alice", T0 + 121)
    assert failures.count("alice", T0 + 121) == 1


def test_who_fails_steadily_stays_limited_and_who_stops_is_let_in_within_two_minutes() -> None:
    failures = Failures()
    refused = []
    for second in range(300):
        now = T0 + second
        refused.append(failures.count("thief", now) >= 10)
        if not refused[-1]:
            failures.add("thief", now)
    tried = refused.count(False)
    assert refused[10], "ten failures, then closed"
    assert tried <= 10 + 300 / 60 * 10, "never more than the limit per minute for long"
    assert failures.count("thief", T0 + 300 + 120) == 0


def test_clear_forgets_both_windows() -> None:
    failures = Failures()
    for _ in range(10):
        failures.add("alice", T0)
    failures.add("alice", T0 + 60)
    failures.clear("alice")
    failures.clear("nobody")
    assert failures.count("alice", T0 + 60) == 0


def test_strangers_cannot_fill_the_memory_but_who_is_counted_already_goes_on_being_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_KEYS", 100)
    failures = Failures()
    failures.add("alice", T0)
    for number in range(1000):
        failures.add(number, T0)
    assert len(failures._now) == 100
    failures.add("alice", T0)
    assert failures.count("alice", T0) == 2
    assert failures.count(999, T0) == 0
