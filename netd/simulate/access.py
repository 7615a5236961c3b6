"""What a NAS that is not there makes of the attributes that it is granted."""

from collections.abc import Mapping
from typing import NamedTuple

from netd.wire.values import Value

Attributes = Mapping[str, Value]
"""By dictionary name, the first of each."""


class Rates(NamedTuple):
    """How fast a session may be; ``down`` is towards the subscriber."""

    down_bps: int
    up_bps: int


def pair(attributes: Attributes, down: str, up: str) -> Rates | None:
    """The rates where each direction has an attribute of its own, in bit/s; None unless both are there."""
    down_bps, up_bps = attributes.get(down), attributes.get(up)
    return Rates(down_bps, up_bps) if isinstance(down_bps, int) and isinstance(up_bps, int) else None
