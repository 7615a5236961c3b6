"""What simulated subscribers want."""

import pytest

from netd.demo.traffic import BUSY, QUIET, STEP_SECONDS, Octets, share, wanted
from netd.simulate import Rates

MEAN, MOST = Rates(8_000_000, 800_000), Rates(1_000_000_000, 1_000_000_000)


def test_it_is_the_same_for_the_same_seed_and_other_for_another() -> None:
    shares = [share(1, "anna", step) for step in range(200)]
    assert shares == [share(1, "anna", step) for step in range(200)]
    assert shares != [share(2, "anna", step) for step in range(200)] and shares != [share(1, "ben", step) for step in range(200)]
    assert all(QUIET <= each <= BUSY for each in shares)
    assert sum(shares) / len(shares) == pytest.approx(1.0, abs=0.1)


def test_it_does_not_matter_in_how_many_pieces_time_passes() -> None:
    whole = wanted(1, "anna", MEAN, MOST, 3.3, 97.1)
    pieces = Octets()
    at = 3.3
    while at < 97.1:
        until = min(at + 0.7, 97.1)
        pieces += wanted(1, "anna", MEAN, MOST, at, until)
        at = until
    assert pieces.down == pytest.approx(whole.down) and pieces.up == pytest.approx(whole.up)
    assert whole.down == pytest.approx(whole.up * 10)


def test_nobody_is_quicker_than_granted() -> None:
    slow = wanted(1, "anna", MEAN, Rates(1_000_000, 100_000), 0.0, 10 * STEP_SECONDS)
    assert slow == Octets(1_000_000 / 8 * 100, 100_000 / 8 * 100)
