"""The open sessions in memory: for session limits, for enforcement, and to find a session's NAS.

PostgreSQL has the truth; this is a copy that follows every commit of this node, and the journal where that is ahead.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from netd.model.accounting import Row
from netd.radius.index import SessionIndex

CLASS_PREFIX: Final = "netd1"


class Granted(NamedTuple):
    """What a Class made by netd says: which Accept it was in, whose it is, and the fingerprint of what was granted."""

    token: str
    subscriber_id: int
    policy: str


def make_class(token: str, subscriber_id: int, policy: str) -> str:
    """The Class of an Access-Accept; its NAS hands it back in accounting (RFC 2865 5.25)."""
    return "netd1:%s:%s:%s" % (token, "%x" % subscriber_id, policy)  # noqa: UP031  # compiled, an f-string takes four calls, this one


def parse_class(text: str | None) -> Granted | None:
    """The inverse of ``make_class``; None for a Class that netd did not make."""
    parts = text.split(":") if text else []
    if len(parts) != 4 or parts[0] != CLASS_PREFIX:
        return None
    try:
        return Granted(parts[1], int(parts[2], 16), parts[3])
    except ValueError:
        return None


class LiveRecord:
    """An open session. ``applied`` is the fingerprint of what it was last granted or changed to; times are Unix time."""

    __slots__ = (
        "applied", "attempts", "busy", "cleared", "doomed", "due_at", "enforce_state", "overridden", "refused", "row", "spared", "subscriber_id",
        "unsure", "wanted",
    )  # fmt: skip

    def __init__(self, row: Row, subscriber_id: int | None) -> None:
        self.row = row
        self.subscriber_id = subscriber_id
        self.applied = row.applied_policy
        self.enforce_state = "applied"
        self.wanted: str | None = None  # what the last attempt aimed at; a new aim starts the back-off anew
        self.attempts = 0
        self.due_at = 0.0
        self.busy = False
        self.unsure: str | None = None  # what a CoA without an answer aimed at: the session may have it, or what ``applied`` says
        self.doomed = row.doomed or ""  # why it must end whatever its policy says
        self.refused: str | None = None  # what its NAS would not change it to by CoA
        self.cleared: str | None = None  # what it may be disconnected or walled for: not one of too many, or confirmed
        self.spared: str | None = None  # what an operator said it is not to be disconnected or walled for
        self.overridden = False  # another system changed it at its NAS since


class Hold(NamedTuple):
    """An Access-Accept whose accounting Start has not come yet; counts as a session until ``until`` (monotonic)."""

    until: float
    token: str
    nas_source: str
    calling: bytes | None


class Sessions:
    """Open sessions by unique id and by subscriber, and accepted log-ins that wait for their Start."""

    def __init__(self) -> None:
        self.by_id: dict[str, LiveRecord] = {}
        self.by_subscriber: dict[int, set[str]] = defaultdict(set)
        self.index: SessionIndex | None = None  # made by ``find``
        self._holds: dict[int, list[Hold]] = {}
        self.on_begin: Callable[[LiveRecord], None] = lambda live: None
        self.on_end: Callable[[LiveRecord, bool], None] = lambda live, elsewhere: None

    def __len__(self) -> int:
        return len(self.by_id)

    def put(self, row: Row) -> LiveRecord:
        """Take an open session in, new or changed; a radacctid below zero stands for one that the database has not given yet."""
        live = self.by_id.get(row.acctuniqueid)
        begun = live is None or not (live.row.radacctid == row.radacctid or live.row.radacctid < 0 < row.radacctid)
        if live is not None and not begun:
            if self.index is not None:
                self.index.remove(live.row)
            live.row = row
            live.applied = live.applied or row.applied_policy
            live.doomed = live.doomed or row.doomed or ""
        else:
            self.remove((row.acctuniqueid,))  # a NAS that uses an Acct-Session-Id again: the earlier session is over
            live = self.by_id[row.acctuniqueid] = LiveRecord(row, None)
        if self.index is not None:
            self.index.add(row)
        if live.subscriber_id != row.subscriber_id:
            self._unlink(live)
            live.subscriber_id = row.subscriber_id
            if row.subscriber_id is not None:
                self.by_subscriber[row.subscriber_id].add(row.acctuniqueid)
        if begun:
            self.on_begin(live)
        return live

    def remove(self, unique_ids: Iterable[str], elsewhere: bool = False) -> None:
        """Forget sessions that ended; ``elsewhere``: another node closed them, nobody here knows when."""
        for unique_id in unique_ids:
            live = self.by_id.pop(unique_id, None)
            if live is not None:
                self._unlink(live)
                if self.index is not None:
                    self.index.remove(live.row)
                self.on_end(live, elsewhere)

    def find(self, member: str, value: str) -> list[LiveRecord]:
        """The open sessions of all tenants with this fact (a member of ``Row``, or "username" with its key). The first call takes its time."""
        if self.index is None:
            self.index = SessionIndex(live.row for live in self.by_id.values())
        return [self.by_id[key] for key in self.index.find(member, value)]

    def _unlink(self, live: LiveRecord) -> None:
        if live.subscriber_id is not None:
            ids = self.by_subscriber.get(live.subscriber_id)
            if ids is not None:
                ids.discard(live.row.acctuniqueid)
                if not ids:
                    del self.by_subscriber[live.subscriber_id]

    def of(self, subscriber_id: int) -> list[LiveRecord]:
        """The open sessions of a subscriber."""
        return [self.by_id[key] for key in self.by_subscriber.get(subscriber_id, ())]

    def hold(self, subscriber_id: int, hold: Hold) -> None:
        """Count an Access-Accept until its Start comes."""
        self._holds.setdefault(subscriber_id, []).append(hold)

    def release(self, subscriber_id: int, token: str | None) -> None:
        """A Start came: drop the hold it belongs to (``token`` from its Class), else the oldest."""
        holds = self._holds.get(subscriber_id)
        if not holds:
            return
        match = next((i for i, hold in enumerate(holds) if hold.token == token), None)
        if match is None and token is None:
            match = 0
        if match is not None:
            del holds[match]
        if not holds:
            del self._holds[subscriber_id]

    def occupied(self, subscriber_id: int, nas_source: str, calling: bytes | None, now: float) -> int:
        """How many sessions of the subscriber a new log-in from this line adds to.

        One from the same NAS and Calling-Station-Id is taken for the same line dialling again: it replaces, it does not add.
        """
        ids = self.by_subscriber.get(subscriber_id)
        count = 0
        if ids:
            text = None if calling is None else calling.decode("utf-8", "replace")
            for key in ids:
                row = self.by_id[key].row
                if text is None or row.callingstationid != text or row.nassourceaddress != nas_source:
                    count += 1
        holds = self._holds.get(subscriber_id)
        if holds:
            holds[:] = [hold for hold in holds if hold.until > now]
            count += sum(1 for hold in holds if calling is None or hold.calling != calling or hold.nas_source != nas_source)
            if not holds:
                del self._holds[subscriber_id]
        return count
