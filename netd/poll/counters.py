"""From counters to rates. Pure.

A counter that falls was reset or wrapped, and which of them must not be guessed: a reset that is taken for a wrap is a spike of petabytes. So:

- a restart of the agent (its uptime is less than it must be by now) or another ifCounterDiscontinuityTime: all was reset;
- a 64-bit counter that falls: reset, always, for it takes centuries to wrap; the interface's others are not believed either;
- a 32-bit counter that falls: a wrap if what it then counted fits the interface's speed, else a reset;
- a 32-bit counter of an interface so quick that it may wrap between two looks tells nothing;
- a counter that grew by more than any interface carries: not believed. The interface's own speed is no bound upwards, for virtual ones say anything;
- too long since the look before: a gap stays a gap.

Whatever happened, the look of now is what the next one is compared with.
"""

from typing import Final, NamedTuple

from netd.model.device import InterfaceSample
from netd.model.telemetry import Rates

TICKS_WRAP_SECONDS: Final = (1 << 32) / 100
"""sysUpTime counts hundredths of a second in 32 bits: 497 days."""

SMALLEST_FRAME_OCTETS: Final = 64
MOST_OCTETS_PER_SECOND: Final = 2e11
"""1.6 Tbit/s: the quickest port there is."""

TOLERANCE: Final = 1.1
"""Of the interface's speed: agents refresh their counters every few seconds, so what one look lacks the next one has."""


class Uptime(NamedTuple):
    """How long an agent runs; ``wraps`` where it says so in hundredths of a second only."""

    seconds: float
    wraps: bool


class Look(NamedTuple):
    """An interface at a moment (monotonic seconds)."""

    at: float
    uptime: Uptime | None
    sample: InterfaceSample


def restarted(before: Uptime | None, now: Uptime | None, elapsed: float) -> bool:
    """Whether the agent restarted between two looks. Clocks of devices are given a tenth; an agent that does not say is believed to go on."""
    if before is None or now is None:
        return False
    due = before.seconds + elapsed
    slack = max(10.0, elapsed / 10)
    if before.wraps and now.wraps and due + slack >= TICKS_WRAP_SECONDS:
        wrapped = now.seconds + TICKS_WRAP_SECONDS
        return min(abs(wrapped - due), abs(now.seconds - due)) > slack
    return now.seconds < due - slack


class _Reset(Exception):
    """A counter shows that the interface's counters began anew."""


def rates(before: Look, now: Look, most_seconds: float) -> Rates | None:
    """What happened per second; None after a reset, a gap longer than ``most_seconds``, or without time between."""
    elapsed = now.at - before.at
    if elapsed <= 0 or elapsed > most_seconds or restarted(before.uptime, now.uptime, elapsed):
        return None
    old, new = before.sample, now.sample
    if old.discontinuity_ticks != new.discontinuity_ticks or old.counter_bits != new.counter_bits:
        return None
    octets = None if not new.speed_bps else new.speed_bps / 8 * elapsed * TOLERANCE
    packets = None if octets is None else octets / SMALLEST_FRAME_OCTETS
    bits = new.counter_bits
    try:
        values = {
            "in_octets": _grown(old.in_octets, new.in_octets, bits, octets, elapsed),
            "out_octets": _grown(old.out_octets, new.out_octets, bits, octets, elapsed),
            "in_packets": _grown(old.in_packets, new.in_packets, bits, packets, elapsed),
            "out_packets": _grown(old.out_packets, new.out_packets, bits, packets, elapsed),
            "in_errors": _grown(old.in_errors, new.in_errors, 32, packets, elapsed),
            "out_errors": _grown(old.out_errors, new.out_errors, 32, packets, elapsed),
            "in_discards": _grown(old.in_discards, new.in_discards, 32, packets, elapsed),
            "out_discards": _grown(old.out_discards, new.out_discards, 32, packets, elapsed),
        }
    except _Reset:
        return None
    per = {name: None if value is None else value / elapsed for name, value in values.items()}
    return Rates(
        seconds=elapsed, in_bps=_bits(per["in_octets"]), out_bps=_bits(per["out_octets"]), in_pps=per["in_packets"], out_pps=per["out_packets"],
        in_errors=per["in_errors"], out_errors=per["out_errors"], in_discards=per["in_discards"], out_discards=per["out_discards"],
    )  # fmt: skip


def _grown(before: int | None, now: int | None, bits: int, most: float | None, elapsed: float) -> int | None:
    """By how much a counter grew in ``elapsed`` seconds, at the most by ``most`` (None: not known). None if it does not tell. Raises _Reset."""
    if before is None or now is None:
        return None
    if bits == 32 and most is not None and most >= 1 << 32:
        return None  # it may have gone round, however it looks
    if now >= before:
        if now - before > max(most or 0, MOST_OCTETS_PER_SECOND * elapsed):
            raise _Reset
        return now - before
    # A sum of several 32-bit counters, of which one wrapped, is less by the same 2^32.
    wrapped = (now - before) % (1 << 32)
    if bits == 64 or most is None or wrapped > most:
        raise _Reset
    return wrapped


def _bits(octets: float | None) -> int | None:
    return None if octets is None else round(octets * 8)


def utilisation_percent(in_bps: int | None, out_bps: int | None, speed_bps: int | None) -> float | None:
    """Of the busier direction; None where speed or rates are not known."""
    known = [bps for bps in (in_bps, out_bps) if bps is not None]
    return round(100 * max(known) / speed_bps, 2) if known and speed_bps else None
