"""Who gets which address: pure. Wants and the leases that there are go in; what to keep, give and let go comes out.

A subscriber's sessions at a time have a *slot* each, and a slot has one lease per kind. A log-in gets the slot that its line has, else one
whose session ended (so its former addresses), else a new one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from netd.domain.stock import Unit as Unit
from netd.model.ranges import KINDS
from netd.radius.pools import Chosen
from netd.store.leases import LeaseRow

SLOTS: Final = 16
"""Slots of one subscriber at the most: who logs in from ever new lines, or from none that can be told, must not empty a pool."""

FULL: Final = -1
"""In place of a pool that is short: every slot of the subscriber is in use."""


class Want(NamedTuple):
    """A log-in that needs leases from these pools. ``optional``: kinds that the NAS has a pool of its own for. ``client_id`` names the line,
    "" where the NAS does not say; ``token`` is the grant's."""

    subscriber_id: int
    tenant_id: int
    pools: Chosen
    optional: tuple[bool, bool, bool]
    client_id: str
    token: str


class Decision:
    """What is to become of one want: leases to keep, to let go, and kinds to give from the stock. ``given`` is by kind; ``short`` the pool that had
    nothing, or FULL, if that is why the want fails. One for a line that another want of the batch speaks for as well points to that in ``same``."""

    __slots__ = ("dropped", "given", "kept", "missing", "same", "short", "slot", "want")

    def __init__(self, want: Want, slot: int) -> None:
        self.want = want
        self.slot = slot
        self.kept: dict[int, LeaseRow] = {}
        self.dropped: list[LeaseRow] = []
        self.missing: list[int] = []
        self.given: dict[int, Unit] = {}
        self.short = 0
        self.same: Decision | None = None


def decide(wants: Sequence[Want], rows: Sequence[LeaseRow], fits: Mapping[int, bool], now: float) -> list[Decision]:
    """A decision per want, in order. ``fits`` says of a lease's id whether its pool may still give it out; ``now`` is Unix time."""
    slots: dict[int, dict[int, list[LeaseRow]]] = {}
    for each in rows:
        slots.setdefault(each.subscriber_id, {}).setdefault(each.slot, []).append(each)
    lines: dict[tuple[int, str], Decision] = {}
    occupied: dict[int, set[int]] = {}  # slots that this batch has given, by subscriber
    decisions = []
    for want in wants:
        twin = lines.get((want.subscriber_id, want.client_id)) if want.client_id else None
        if twin is not None and twin.want.pools == want.pools and twin.want.optional == want.optional:
            decision = Decision(want, twin.slot)
            decision.same = twin
            decisions.append(decision)
            continue
        mine = slots.get(want.subscriber_id, {})
        busy = occupied.setdefault(want.subscriber_id, set())
        slot = _slot(mine, busy, want.client_id, now)
        decision = Decision(want, slot)
        if slot == FULL:
            decision.short = FULL
            decisions.append(decision)
            continue
        busy.add(slot)
        held = {KINDS.index(each.kind): each for each in mine.get(slot, ())}
        for kind, pool_id in enumerate(want.pools):
            row = held.get(kind)
            if row is not None and row.pool_id == pool_id and fits.get(row.id, False):
                decision.kept[kind] = row
                continue
            if row is not None:
                decision.dropped.append(row)
            if pool_id:
                decision.missing.append(kind)
        if want.client_id:
            lines[want.subscriber_id, want.client_id] = decision
        decisions.append(decision)
    return decisions


def _slot(mine: Mapping[int, Sequence[LeaseRow]], busy: set[int], client_id: str, now: float) -> int:
    """The line's slot, else an idle one, else a new one. At the limit one whose session never began (the longest ago) must do; FULL if there is none."""
    idle = -1
    for slot in sorted(mine):
        if slot in busy:
            continue
        if client_id and any(row.client_id == client_id for row in mine[slot]):
            return slot
        if idle < 0 and all(row.ended or row.until <= now for row in mine[slot]):
            idle = slot
    if idle >= 0:
        return idle
    taken = set(mine) | busy
    if len(taken) >= SLOTS:
        waiting = [(max(row.until for row in held), slot) for slot, held in mine.items() if slot not in busy]
        return min((pair for pair in waiting if not math.isinf(pair[0])), default=(0.0, FULL))[1]
    return next(slot for slot in range(len(taken) + 1) if slot not in taken)


def demand(decisions: Sequence[Decision]) -> dict[int, int]:
    """How many units each pool must have for all of them."""
    wanted: dict[int, int] = {}
    for decision in decisions:
        for kind in decision.missing:
            pool_id = decision.want.pools[kind]
            wanted[pool_id] = wanted.get(pool_id, 0) + 1
    return wanted


def give(decisions: Sequence[Decision], stock: dict[int, list[Unit]]) -> None:
    """Fill the decisions from the stock by pool, in order: each gets all that it must have, or nothing. What is not needed stays in the stock."""
    for decision in decisions:
        if decision.short:
            continue
        pools = decision.want.pools
        missing = [kind for kind in decision.missing if stock.get(pools[kind])]
        lacking = [kind for kind in decision.missing if kind not in missing and not decision.want.optional[kind]]
        if lacking:
            decision.short = pools[lacking[0]]
            continue
        for kind in missing:
            decision.given[kind] = stock[pools[kind]].pop(0)
