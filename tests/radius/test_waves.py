"""The guard against mass actions, without sessions: how many at once, of how many, within what time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netd.config import EnforcementConfig
from netd.radius.waves import Waves

NOW = 1_800_000_000.0


def wishes(first: int, count: int, why: str = "suspended") -> dict[str, str]:
    return {f"s{number}": why for number in range(first, first + count)}


@pytest.mark.parametrize(("sessions", "live", "admitted"), [(1, 1, True), (100, 100, True), (101, 505, True), (101, 504, False), (2000, 9999, False)])
def test_few_and_small_shares_pass(sessions: int, live: int, admitted: bool) -> None:
    waves = Waves(EnforcementConfig())
    assert waves.admit(1, wishes(0, sessions), live, NOW) is admitted
    assert len(waves.held(1)) == (0 if admitted else sessions)


def test_drops_of_a_wave_count_together_within_the_window() -> None:
    waves = Waves(EnforcementConfig(hold_window_seconds=300))
    assert waves.admit(1, wishes(0, 150), 1000, NOW)
    assert not waves.admit(1, wishes(150, 100), 1000, NOW + 200)
    assert waves.recent(1, NOW + 200) == 150
    later = Waves(EnforcementConfig(hold_window_seconds=300))
    assert later.admit(1, wishes(0, 150), 1000, NOW)
    assert later.admit(1, wishes(150, 100), 1000, NOW + 301)


def test_while_a_wave_is_held_everything_waits_and_another_tenant_does_not() -> None:
    waves = Waves(EnforcementConfig())
    assert not waves.admit(1, wishes(0, 500, "locked"), 1000, NOW)
    assert not waves.admit(1, wishes(500, 1), 1000, NOW + 1)
    assert waves.admit(2, wishes(0, 50), 1000, NOW + 1)
    assert (waves.tenants(), waves.since(1), waves.causes(1)) == ([1], NOW, {"locked": 500, "suspended": 1})
    waves.drop(1, "s500")
    waves.keep(1, {f"s{number}" for number in range(10)})
    assert waves.release(1) == wishes(0, 10, "locked")
    assert waves.admit(1, wishes(900, 50), 1000, NOW + 2), "measured anew"


def test_a_share_of_one_holds_nothing() -> None:
    assert Waves(EnforcementConfig(hold_share=1.0)).admit(1, wishes(0, 1000), 1000, NOW)


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 400)), max_size=40), st.integers(1, 2000), st.floats(0.0, 1.0), st.integers(1, 200))
def test_never_more_than_the_share_passes_within_a_window(waves: list[tuple[int, int]], live: int, share: float, least: int) -> None:
    """Whatever the sizes and times: within any window no more is acted upon than the share or the floor allows."""
    guard = Waves(EnforcementConfig(hold_share=share, hold_sessions=least, hold_window_seconds=300))
    now, first = NOW, 0
    acted: list[tuple[float, int]] = []
    for size, pause in waves:
        now += pause
        if guard.admit(1, wishes(first, size), live, now):
            acted.append((now, size))
        first += size
    for end, _ in acted:
        assert sum(size for at, size in acted if end - 300 <= at <= end) <= max(least, share * live)
