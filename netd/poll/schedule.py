"""Who is due, and for what. Pure: time is an argument, and nothing happens here but bookkeeping.

Each member has groups with a period of their own. Its slots lie at ``offset + n * period``, the offset being a hash of its key: members are spread over
the period, keep their places when others come and go, and over a restart, and groups whose periods divide each other are due together. A member is never
taken again before it is done; slots that pass meanwhile are missed and counted. One that fails is left alone for longer and longer.
"""

import heapq
from collections.abc import Mapping
from hashlib import blake2b
from math import floor
from typing import Final

LONGEST_BACK_OFF_SECONDS: Final = 900.0
SPREAD_SECONDS: Final = 86_400.0


def place(key: int) -> float:
    """Where a member's slots lie, in seconds after the beginning of any period."""
    digest = blake2b(key.to_bytes(8, "big"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 * SPREAD_SECONDS


class _Member:
    __slots__ = ("failures", "held_until", "next_at", "offset", "periods", "queued_at")

    def __init__(self, key: int) -> None:
        self.offset = place(key)
        self.periods: dict[str, float] = {}
        self.next_at: dict[str, float] = {}
        self.failures = 0
        self.held_until = 0.0
        self.queued_at = float("inf")


class Schedule:
    """Members by number. ``missed`` counts slots in which a member was still busy or nobody had time for it, ``held`` those of members left alone."""

    def __init__(self) -> None:
        self.missed = 0
        self.held = 0
        self.missed_by: dict[int, int] = {}
        self._members: dict[int, _Member] = {}
        self._heap: list[tuple[float, int]] = []
        self._running: set[int] = set()  # also who was removed meanwhile: it may come back before it is done

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, key: int) -> bool:
        return key in self._members

    @property
    def running(self) -> int:
        """How many members are being looked at."""
        return len(self._running)

    def put(self, key: int, periods: Mapping[str, float], now: float) -> None:
        """Add a member, or give it other groups; those that stay keep their slots."""
        member = self._members.get(key)
        if member is None:
            member = self._members[key] = _Member(key)
        if member.periods == periods:
            return
        member.next_at = {
            name: member.next_at[name] if member.periods.get(name) == period else _slot(member.offset, period, now) for name, period in periods.items()
        }
        member.periods = dict(periods)
        self._queue(key, member)

    def remove(self, key: int) -> None:
        """Forget a member; what is under way for it may still be told as done."""
        self._members.pop(key, None)
        self.missed_by.pop(key, None)

    def keys(self) -> set[int]:
        """All members."""
        return set(self._members)

    def at_once(self, key: int, now: float) -> None:
        """Let a member be due now with all its groups, and forgive it."""
        member = self._members.get(key)
        if member is not None:
            member.failures, member.held_until = 0, 0.0
            member.next_at = dict.fromkeys(member.periods, now)
            self._queue(key, member)

    def next_at(self) -> float | None:
        """When somebody is due next; None without members."""
        while self._heap:
            at, key = self._heap[0]
            member = self._members.get(key)
            if member is not None and member.queued_at == at:
                return at
            heapq.heappop(self._heap)
        return None

    def take(self, now: float) -> tuple[int, tuple[str, ...]] | None:
        """The next member that is due and its groups; tell when it is :meth:`done`. None: nobody is."""
        while (at := self.next_at()) is not None and at <= now:
            _, key = heapq.heappop(self._heap)
            member = self._members[key]
            due = tuple(name for name, slot in member.next_at.items() if slot <= now)
            free = key not in self._running and now >= member.held_until
            for name in due:
                self._pass(key, member, name, now, taken=free)
            self._queue(key, member)
            if free and due:
                self._running.add(key)
                return key, due
        return None

    def done(self, key: int, now: float, *, ok: bool) -> None:
        """What was taken is done; not ``ok``: it is not to be tried at every slot."""
        self._running.discard(key)
        member = self._members.get(key)
        if member is None:
            return
        if ok:
            member.failures, member.held_until = 0, 0.0
        else:
            member.failures += 1
            shortest = min(member.periods.values(), default=60.0)
            # Less than a whole number of periods, so that the slot after them counts.
            member.held_until = now + min(shortest * (2 ** min(member.failures, 10) - 1), LONGEST_BACK_OFF_SECONDS) - shortest / 2

    def forgive(self, key: int) -> None:
        """It seems to be back: its next slot counts again."""
        member = self._members.get(key)
        if member is not None:
            member.failures, member.held_until = 0, 0.0

    def period(self, key: int, group: str) -> float | None:
        """How often a member's group is due; None if it has none of that name."""
        member = self._members.get(key)
        return None if member is None else member.periods.get(group)

    def failures(self, key: int) -> int:
        """How often in a row a member failed."""
        member = self._members.get(key)
        return 0 if member is None else member.failures

    def _pass(self, key: int, member: _Member, name: str, now: float, *, taken: bool) -> None:
        """Go on to a group's next slot, and count those that nobody used."""
        period = member.periods[name]
        following = _slot(member.offset, period, now)
        passed = max(round((following - member.next_at[name]) / period), 1)
        member.next_at[name] = following
        unused = passed - taken
        if not unused:
            return
        if key not in self._running and now < member.held_until:
            self.held += unused
        else:
            self.missed += unused
            self.missed_by[key] = self.missed_by.get(key, 0) + unused

    def _queue(self, key: int, member: _Member) -> None:
        member.queued_at = min(member.next_at.values(), default=float("inf"))
        if member.queued_at != float("inf"):
            heapq.heappush(self._heap, (member.queued_at, key))


def _slot(offset: float, period: float, now: float) -> float:
    """The first slot after ``now``."""
    begin = offset % period
    return begin + (floor((now - begin) / period) + 1) * period
