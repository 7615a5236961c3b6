"""How much simulated subscribers want. Pure, and the same for the same seed: a subscriber's wish changes every ten seconds, by a hash."""

from hashlib import blake2b
from math import floor
from typing import Final

import msgspec

from netd.simulate import Rates

STEP_SECONDS: Final = 10.0
QUIET, BUSY = 0.25, 1.75
"""What a subscriber wants of its mean, from one step to another."""


class Octets(msgspec.Struct, frozen=True):
    """What went through; ``down`` is towards the subscriber."""

    down: float = 0.0
    up: float = 0.0

    def __add__(self, other: "Octets") -> "Octets":
        return Octets(self.down + other.down, self.up + other.up)


def share(seed: int, name: str, step: int) -> float:
    """Which part of its mean a subscriber wants in a step, from QUIET to BUSY."""
    digest = blake2b(f"{seed}\0{name}\0{step}".encode(), digest_size=8).digest()
    return QUIET + (BUSY - QUIET) * int.from_bytes(digest, "big") / 2**64


def wanted(seed: int, name: str, mean: Rates, most: Rates, since: float, until: float) -> Octets:
    """What a subscriber moves between two moments (seconds of the demonstration), never quicker than ``most``.

    It does not matter in how many pieces a span is asked for.
    """
    down = up = 0.0
    at = since
    while at < until:
        step = floor(at / STEP_SECONDS)
        end = min(until, (step + 1) * STEP_SECONDS)
        part = share(seed, name, step)
        down += min(mean.down_bps * part, most.down_bps) / 8 * (end - at)
        up += min(mean.up_bps * part, most.up_bps) / 8 * (end - at)
        at = end
    return Octets(down, up)
