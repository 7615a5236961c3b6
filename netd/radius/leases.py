"""The leases in memory: what a subscriber who logs in again is answered with, at once and with the database away.

PostgreSQL has the truth. What is known here may be used as long as nobody else can have got it: while this node has the session open, and
until the end of the grace time. After that the database is asked, unless it is away: then the subscriber gets what it had. Whoever finds
when it is back that another got it meanwhile is logged, counted, and disconnected.
"""

import ipaddress
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from netd.model.accounting import Row
from netd.model.ranges import KINDS
from netd.radius.pools import Chosen, Pools
from netd.radius.sessions import LiveRecord, parse_class
from netd.store.leases import Claim, End, LeaseRow

log = logging.getLogger(__name__)

MARGIN_SECONDS: Final = 5.0
"""How long before the end of a grace time the database is asked all the same: clocks differ, and a claim takes its time to be written."""

ELSEWHERE: Final = -1.0
"""``until`` of what the database says is in use, while its session is not known here: nobody else gets it, but which session it is of must be asked."""

_HEADS: Final = (8, 97, 123)
"""Framed-IP-Address, Framed-IPv6-Prefix, Delegated-IPv6-Prefix."""

LOST_KEPT: Final = 10_000
LOST: Final = "its address is no longer leased to it"
REPLACED: Final = "a new log-in has its address"


class Held:
    """What one slot of a subscriber has: per kind a unit's first address, its pool and its lease's id (0: none). ``until`` is Unix time, infinity
    while a session is open here; ``session`` is that session's unique id. ``pending``: a grant's Start is still to come (``session`` is an older one's)."""

    __slots__ = ("client_id", "ended", "ids", "next", "pending", "pools", "session", "slot", "subscriber_id", "token", "units", "until")

    def __init__(self, subscriber_id: int, slot: int) -> None:
        self.subscriber_id = subscriber_id
        self.slot = slot
        self.ids: tuple[int, int, int] = (0, 0, 0)
        self.pools: Chosen = (0, 0, 0)
        self.units: tuple[int, int, int] = (0, 0, 0)
        self.client_id = ""
        self.token = ""
        self.ended = False
        self.until = 0.0
        self.session = ""
        self.pending = False
        self.next: Held | None = None  # the subscriber's next slot


class Leases:
    """Leases by subscriber, and what of them is still to be written."""

    def __init__(self, pools: Pools, hold_seconds: float, wall_clock: Callable[[], float]) -> None:
        self.pools = pools
        self.by_subscriber: dict[int, Held] = {}
        self.dirty: dict[Held, None] = {}
        self.writing: dict[Held, None] = {}  # taken out of ``dirty``, not committed yet
        self.conflicts: list[tuple[int, str]] = []  # (lease id, what the NAS used instead), to be written
        self.behind = False  # something was granted that the database may give to another until it is told
        self.lost_tokens: dict[str, None] = {}  # grants without their address, whose Start is to come
        self.conflict_count = 0
        self.lost_count = 0
        self.on_doom: Callable[[LiveRecord, str], None] = lambda live, why: None
        self.session_of: Callable[[str], LiveRecord | None] = lambda unique_id: None
        self._hold_seconds = hold_seconds
        self._wall_clock = wall_clock

    # -- what is known -----------------------------------------------------------------------------------------------

    def slots(self, subscriber_id: int) -> list[Held]:
        """All that the subscriber has."""
        found: list[Held] = []
        held = self.by_subscriber.get(subscriber_id)
        while held is not None:
            found.append(held)
            held = held.next
        return found

    def find(self, subscriber_id: int, client_id: str, now: float) -> Held | None:
        """What this line has, else what no session of the subscriber has any more; None if a log-in from it would need something new."""
        held = self.by_subscriber.get(subscriber_id)
        idle: Held | None = None
        while held is not None:
            if client_id and held.client_id == client_id:
                return held
            if idle is None and (held.ended or held.until <= now):
                idle = held
            held = held.next
        return idle

    def safe(self, held: Held, now: float) -> bool:
        """Whether nobody else can have it."""
        return held.until > now + MARGIN_SECONDS

    def grant(self, held: Held, client_id: str, token: str, now: float) -> None:
        """It is answered with; the other nodes learn of it from the database."""
        if held.token == token:
            return  # just leased for this very grant
        self.behind = self.behind or not self.safe(held, now)
        held.client_id, held.token, held.pending, held.ended = client_id, token, True, False
        if not held.session:
            held.until = now + self._hold_seconds + self._grace(held)
        self.dirty[held] = None

    def body(self, held: Held) -> bytes:
        """Its attributes, encoded."""
        encoded = b""
        for kind, unit in enumerate(held.units):
            pool = self.pools.by_id.get(held.pools[kind])
            if unit and pool is not None:
                encoded += encode(kind, unit, pool.layout.prefix_length)
        return encoded

    def _grace(self, held: Held) -> float:
        return min((pool.grace_seconds for key in held.pools if (pool := self.pools.by_id.get(key)) is not None), default=0)

    # -- what the database says --------------------------------------------------------------------------------------

    def put(self, rows: Iterable[LeaseRow]) -> None:
        """Take leases in, new or changed; what else their slots have stays. For the start: sessions are linked when they are taken in."""
        for row in rows:
            self._add(self._slot(row.subscriber_id, row.slot), row)

    def _slot(self, subscriber_id: int, slot: int) -> Held:
        """The slot, made in its place if there is none: a subscriber's lowest free one is given first, so that it mostly has the same address."""
        before: Held | None = None
        held = self.by_subscriber.get(subscriber_id)
        while held is not None and held.slot < slot:
            before, held = held, held.next
        if held is not None and held.slot == slot:
            return held
        made = Held(subscriber_id, slot)
        made.next = held
        if before is None:
            self.by_subscriber[subscriber_id] = made
        else:
            before.next = made
        return made

    def _add(self, held: Held, row: LeaseRow) -> None:
        kind = KINDS.index(row.kind)
        held.ids = _with(held.ids, kind, row.id)
        held.pools = _with(held.pools, kind, row.pool_id)
        held.units = _with(held.units, kind, row.unit)
        held.client_id, held.token, held.ended = row.client_id, row.token, row.ended
        held.until = (math.inf if held.session else ELSEWHERE) if math.isinf(row.until) else row.until

    def given(self, subscriber_id: int, slot: int, rows: Sequence[LeaseRow]) -> Held | None:
        """What the allocator made of a slot, all of it; None if that is nothing."""
        if not rows:
            self._remove(subscriber_id, slot)
            return None
        held = self._slot(subscriber_id, slot)
        held.ids = held.pools = held.units = (0, 0, 0)
        held.pending = True
        for row in rows:
            self._add(held, row)
        self.dirty.pop(held, None)
        return held

    def reread(self, ids: Iterable[int], rows: Iterable[LeaseRow], told: bool) -> None:
        """``rows`` is all that these subscribers still have. A session that has what was lost must end, if the loss was ``told`` by the database:
        that a row is missing (a restored backup) disconnects nobody."""
        left: dict[int, dict[int, LeaseRow]] = {}
        for row in rows:
            left.setdefault(row.subscriber_id, {})[row.id] = row
        for subscriber_id in ids:
            mine = left.get(subscriber_id, {})
            for held in self.slots(subscriber_id):
                if all(number == 0 or number in mine for number in held.ids):
                    continue
                live = self.session_of(held.session) if held.session else None
                self._remove(subscriber_id, held.slot)
                kept = [row for row in mine.values() if row.slot == held.slot]
                self.put(kept)
                if live is not None and told:
                    log.warning("a live session's address was taken from it: it is disconnected", extra={"user": live.row.username})
                    self.on_doom(live, LOST)

    def replace(self, ids: Iterable[int], rows: Iterable[LeaseRow]) -> None:
        """All that these subscribers have is ``rows``."""
        for subscriber_id in ids:
            for held in self.slots(subscriber_id):
                self._remove(subscriber_id, held.slot)
        self.put(rows)

    def note_lost(self, token: str) -> None:
        """A grant's address was another's by the time it could be written: its session must end as soon as it begins."""
        if len(self.lost_tokens) >= LOST_KEPT:
            self.lost_tokens.pop(next(iter(self.lost_tokens)))
        self.lost_tokens[token] = None

    def lose(self, live: LiveRecord) -> None:
        """The session has an address that is another's now."""
        self.lost_count += 1
        log.error("a live session's address is leased to another: it is disconnected", extra={"user": live.row.username, "address": live.row.framedipaddress})
        self.on_doom(live, LOST)

    def _remove(self, subscriber_id: int, slot: int) -> None:
        kept = [held for held in self.slots(subscriber_id) if held.slot != slot]
        for held in self.slots(subscriber_id):
            if held.slot == slot:
                self.dirty.pop(held, None)
        self.by_subscriber.pop(subscriber_id, None)
        for held in reversed(kept):
            held.next = self.by_subscriber.get(subscriber_id)
            self.by_subscriber[subscriber_id] = held

    # -- what accounting says ----------------------------------------------------------------------------------------

    def begun(self, live: LiveRecord) -> None:
        """A session is open: it has what its grant was given."""
        if self.lost_tokens:
            granted = parse_class(live.row.class_)
            if granted is not None and granted.token in self.lost_tokens:
                del self.lost_tokens[granted.token]
                self.lose(live)
                return
        if live.subscriber_id is None or live.subscriber_id not in self.by_subscriber:
            return
        held = self._of_session(live.subscriber_id, live.row)
        if held is None:
            return
        before = self.session_of(held.session) if held.session else None
        if before is not None and before is not live and before.row.started_at > live.row.started_at:
            return
        if held.until != ELSEWHERE:
            self.dirty[held] = None
        held.session, held.pending, held.ended, held.until = live.row.acctuniqueid, False, False, math.inf
        if before is not None and before is not live:
            self.on_doom(before, REPLACED)
        self._compare(held, live.row)

    def ended(self, live: LiveRecord, elsewhere: bool) -> None:
        """A session is over; ``elsewhere``: another node closed it, and when is not known here."""
        if live.subscriber_id is None:
            return
        for held in self.slots(live.subscriber_id):
            if held.session != live.row.acctuniqueid:
                continue
            held.session = ""
            if held.pending:  # the same line has dialled again, and has it
                held.until = self._wall_clock() + self._hold_seconds + self._grace(held)
                self.dirty[held] = None
                continue
            self._compare(held, live.row)
            held.ended = True
            if elsewhere:
                held.until = 0.0
                self.dirty.pop(held, None)
            else:
                held.until = self._wall_clock() + self._grace(held)
                self.dirty[held] = None

    def _of_session(self, subscriber_id: int, row: Row) -> Held | None:
        slots = self.slots(subscriber_id)
        granted = parse_class(row.class_)
        if granted is not None:
            for held in slots:
                if held.token == granted.token:
                    return held
        told = _told(row)
        for held in slots:
            if any(unit and unit == theirs for unit, theirs in zip(held.units, told, strict=True)):
                return held
        return slots[0] if len(slots) == 1 and granted is None and not slots[0].session else None

    def _compare(self, held: Held, row: Row) -> None:
        for kind, theirs in enumerate(_told(row)):
            if theirs and held.units[kind] and theirs != held.units[kind]:
                pool = self.pools.by_id.get(held.pools[kind])
                said = (row.framedipaddress, row.framedipv6prefix, row.delegatedipv6prefix)[kind]
                ours = pool.layout.text(held.units[kind]) if pool is not None else "?"
                self.conflict_count += 1
                self.conflicts.append((held.ids[kind], f"{row.nassourceaddress} uses {said} in session {row.acctsessionid}"))
                log.warning(
                    "a NAS uses another address than was leased", extra={"user": row.username, "nas": row.nassourceaddress, "leased": ours, "used": said}
                )

    # -- what is to be written ---------------------------------------------------------------------------------------

    def unwritten(self, subscribers: Iterable[int]) -> list[Held]:
        """What of these subscribers is still to be written, or just being written: nobody else sees that before it is committed."""
        return [held for key in subscribers for held in self.slots(key) if held in self.dirty or held in self.writing]

    def take_dirty(self, most: int) -> list[Held]:
        """Some of what changed since it was written."""
        taken = list(self.dirty)[:most] if len(self.dirty) > most else list(self.dirty)
        for held in taken:
            del self.dirty[held]
        self.writing = dict.fromkeys(taken)
        return taken


def claims_and_ends(helds: Iterable[Held]) -> tuple[list[Claim], list[End]]:
    """What is to be written of these, as it is now; in order of the leases' ids, so that two nodes cannot deadlock."""
    claims: list[Claim] = []
    ends: list[End] = []
    for held in helds:
        for number in held.ids:
            if number and held.ended:
                ends.append(End(number, held.subscriber_id, held.token))
            elif number:
                claims.append(Claim(number, held.subscriber_id, held.client_id, held.token, bool(held.session)))
    return sorted(claims), sorted(ends)


def encode(kind: int, unit: int, prefix_length: int) -> bytes:
    """One attribute: RFC 2865 5.8, RFC 3162 2.3, RFC 4818 3."""
    if kind == 0:
        return b"\x08\x06" + unit.to_bytes(4, "big")
    return bytes((_HEADS[kind], 20, 0, prefix_length)) + unit.to_bytes(16, "big")  # all 16 octets, as old devices expect it


def _told(row: Row) -> tuple[int, int, int]:
    """What the NAS said that the session has, as first addresses; 0 where it said nothing."""
    return _first(row.framedipaddress), _first(row.framedipv6prefix), _first(row.delegatedipv6prefix)


def _first(text: str | None) -> int:
    return 0 if text is None else int(ipaddress.ip_address(text.partition("/")[0]))


def _with(values: tuple[int, int, int], place: int, value: int) -> tuple[int, int, int]:
    first, second, third = values
    return (value, second, third) if place == 0 else (first, value, third) if place == 1 else (first, second, value)
