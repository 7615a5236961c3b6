"""From counters to rates: a model of an agent whose true totals are known; what is told is the truth, or nothing."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netd.model.device import InterfaceSample
from netd.poll.counters import TICKS_WRAP_SECONDS, Look, Uptime, rates, restarted, utilisation_percent

GIGABIT = 1_000_000_000


def look(
    at: float, octets: int | None, *, bits: int = 64, up: float | None = None, speed: int | None = 100_000_000, wraps: bool = True, **more: object
) -> Look:
    sample = InterfaceSample(if_index=1, name="a", in_octets=octets, counter_bits=bits, speed_bps=speed)  # type: ignore[arg-type]
    return Look(at, None if up is None else Uptime(up, wraps), msgspec.structs.replace(sample, **more))


def in_bps(before: Look, now: Look, most: float = 150) -> int | None:
    found = rates(before, now, most)
    return None if found is None else found.in_bps


@given(
    begin=st.integers(0, 2**64 - 1), grown=st.integers(0, GIGABIT // 8 * 60), elapsed=st.floats(1, 150), bits=st.sampled_from([32, 64]),
    fast=st.sampled_from([None, 10_000_000, 100_000_000, GIGABIT, 100 * GIGABIT]),
)  # fmt: skip
def test_what_is_told_is_true_or_nothing(begin: int, grown: int, elapsed: float, bits: int, fast: int | None) -> None:
    """Whatever the width, the speed and the place where it wraps; as long as the interface does not beat its own speed, as none does."""
    modulus = 1 << bits
    most = modulus - 1 if fast is None else int(fast / 8 * elapsed)  # nobody can tell a whole turn from none, unless the speed does
    grown = min(grown, most)
    found = in_bps(look(0, begin % modulus, bits=bits, speed=fast), look(elapsed, (begin + grown) % modulus, bits=bits, speed=fast))
    wrapped = begin % modulus + grown >= modulus
    if found is not None:
        assert found == round(grown / elapsed * 8)
    else:
        assert wrapped or (bits == 32 and fast is not None and fast / 8 * elapsed * 1.1 >= 1 << 32)


@given(before=st.integers(0, 2**64 - 1), after=st.integers(0, 2**64 - 1), elapsed=st.floats(1, 150), bits=st.sampled_from([32, 64]), up=st.floats(11, 1e7))
def test_after_a_restart_there_is_no_rate_and_the_next_look_has_one(before: int, after: int, elapsed: float, bits: int, up: float) -> None:
    modulus = 1 << bits
    first, second = look(0, before % modulus, bits=bits, up=up + 20), look(elapsed, after % modulus, bits=bits, up=min(up, elapsed) / 2)
    assert rates(first, second, 150) is None
    quiet = look(elapsed + 60, after % modulus, bits=bits, up=min(up, elapsed) / 2 + 60)
    found = rates(second, quiet, 150)
    assert found is not None and found.in_bps == 0


@given(before=st.integers(1, 2**64 - 1), data=st.data())
def test_a_64_bit_counter_that_falls_was_reset(before: int, data: st.DataObject) -> None:
    assert rates(look(0, before), look(60, data.draw(st.integers(0, before - 1))), 150) is None


def test_wraps_of_32_bits() -> None:
    near = 2**32 - 1000
    assert in_bps(look(0, near, bits=32), look(10, 500, bits=32)) == 1500 * 8 // 10
    assert in_bps(look(0, near, bits=32, speed=100), look(10, 500, bits=32, speed=100)) is None  # quicker than it can be: a reset
    assert in_bps(look(0, near, bits=32, speed=None), look(10, 500, bits=32, speed=None)) is None  # nobody knows
    fast = 10 * GIGABIT  # goes round in 3.4 s
    assert in_bps(look(0, 0, bits=32, speed=fast), look(10, 500, bits=32, speed=fast)) is None
    found = rates(look(0, 0, in_errors=2**32 - 1), look(10, 1000, in_errors=9), 150)
    assert found is not None and found.in_errors == 1.0  # errors have 32 bits beside the widest octets


def test_one_counter_that_was_reset_speaks_for_all() -> None:
    assert rates(look(0, 1000, out_octets=10**12), look(60, 2000, out_octets=5), 150) is None


@pytest.mark.parametrize("change", [{"discontinuity_ticks": 7}, {"counter_bits": 32}], ids=str)
def test_discontinuities(change: dict[str, object]) -> None:
    before = look(0, 1000)
    assert rates(before, before._replace(at=60.0), 150) is not None
    after = before._replace(at=60.0, sample=msgspec.structs.replace(before.sample, **change))
    assert rates(before, after, 150) is None


def test_gaps_stay_gaps() -> None:
    assert in_bps(look(0, 0), look(150, 150)) == 8
    assert in_bps(look(0, 0), look(151, 151)) is None
    assert in_bps(look(5, 0), look(5, 10)) is None
    assert in_bps(look(0, None), look(60, 10)) is None and in_bps(look(0, 10), look(60, None)) is None


@given(begin=st.floats(0, TICKS_WRAP_SECONDS), elapsed=st.floats(1, 86_400), drift=st.floats(-5, 5))
def test_sysuptime_wraps_after_497_days(begin: float, elapsed: float, drift: float) -> None:
    """It is no restart, wherever it was before."""
    assert not restarted(Uptime(begin, wraps=True), Uptime((begin + elapsed + drift) % TICKS_WRAP_SECONDS, wraps=True), elapsed)


@given(begin=st.floats(100, TICKS_WRAP_SECONDS / 2), elapsed=st.floats(1, 3600), share=st.floats(0, 0.8), wraps=st.booleans())
def test_restarts_are_seen(begin: float, elapsed: float, share: float, wraps: bool) -> None:
    """Also one after which the agent has run for longer by now than it had before, if it ran less than it would have."""
    assert restarted(Uptime(begin, wraps), Uptime(elapsed * share, wraps), elapsed)
    assert not restarted(None, Uptime(1, wraps), elapsed) and not restarted(Uptime(1, wraps), None, elapsed)


def test_engine_time_does_not_wrap() -> None:
    near = TICKS_WRAP_SECONDS - 10
    assert restarted(Uptime(near, wraps=False), Uptime(50, wraps=False), 60)
    assert not restarted(Uptime(near, wraps=True), Uptime(50, wraps=True), 60)


def test_utilisation() -> None:
    assert utilisation_percent(10, 50, 100) == 50 and utilisation_percent(None, 20, 100) == 20
    assert utilisation_percent(None, None, 100) is None and utilisation_percent(1, 1, None) is None and utilisation_percent(1, 1, 0) is None


@pytest.mark.parametrize("speed", [None, GIGABIT, 10_000])
def test_more_than_any_port_carries_is_not_believed(speed: int | None) -> None:
    """It would be the 95th percentile of a month. A speed that says too little, as virtual interfaces have it, refuses nothing."""
    assert in_bps(look(0, 0, speed=speed), look(60, 10**18, speed=speed)) is None
    assert in_bps(look(0, 0, speed=speed), look(60, 60 * GIGABIT // 8, speed=speed)) == GIGABIT
