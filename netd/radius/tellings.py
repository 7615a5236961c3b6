"""What enforcement and the queues of NAS have to tell as events: collected here, written with the outcomes of enforcement, in the same transaction."""

from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from netd.radius.coa import Target
from netd.radius.nas import NasRecord
from netd.radius.orders import Orders
from netd.radius.sessions import LiveRecord
from netd.store import tellings as store
from netd.store.database import Connection
from netd.store.tellings import Enforced, NasTurned

MOST_WAITING: Final = 100_000
"""While the database is away; the oldest are lost beyond that, and counted."""

AT_ONCE: Final = 500
"""Written with one statement: thousands of sessions may change together, and packets want their turn in between."""


class _Waiting(NamedTuple):
    live: LiveRecord
    type: str
    state: str
    detail: str


class Tellings:
    """Events that are not written yet. A failure that repeats itself is told once, until something else comes of the session."""

    def __init__(self, orders: Orders, sessions: Mapping[str, LiveRecord]) -> None:
        self.lost = 0
        self._orders = orders
        self._sessions = sessions
        self._enforced: deque[_Waiting] = deque()
        self._turned: deque[NasTurned] = deque()
        self._failing: dict[str, tuple[str, str]] = {}  # by session: what was refused, and how it failed

    def __bool__(self) -> bool:
        return bool(self._enforced or self._turned)

    def applied(self, live: LiveRecord, detail: str) -> None:
        """Its NAS did as asked."""
        self._failing.pop(live.row.acctuniqueid, None)
        self._add(_Waiting(live, "enforcement.applied", "applied", detail))

    def failed(self, live: LiveRecord, wanted: str, state: str, detail: str) -> None:
        """Its NAS did not, or cannot be asked."""
        news = (wanted if state == "refused" else "", state)  # a NAS that is away stays away, whatever else is wanted by then
        if self._failing.get(live.row.acctuniqueid) != news:
            self._failing[live.row.acctuniqueid] = news
            self._add(_Waiting(live, "enforcement.failed", state, detail))

    def _add(self, waiting: _Waiting) -> None:
        if len(self._enforced) >= MOST_WAITING:
            self._enforced.popleft()
            self.lost += 1
        self._enforced.append(waiting)

    def died(self, target: Target, since: float) -> None:
        """Nothing at ``target`` answers any more, since that Unix time."""
        for nas in self._orders.nas_at(target):
            at = datetime.fromtimestamp(since, UTC)
            self._turned.append(_turned(nas, "nas.down", target, since, f"answers no CoA- and Disconnect-Requests since {at:%Y-%m-%d %H:%M:%SZ}"))

    def recovered(self, target: Target, now: float) -> None:
        """It answers again."""
        for nas in self._orders.nas_at(target):
            self._turned.append(_turned(nas, "nas.up", target, now, "answers CoA- and Disconnect-Requests again"))

    def forget_ended(self) -> None:
        """Drop what is known of sessions that ended."""
        self._failing = {key: state for key, state in self._failing.items() if key in self._sessions}

    def take(self) -> tuple[list[NasTurned], list[_Waiting]]:
        """Take out what can be written now. A session that the database does not know yet (its Start waits in the journal) waits for its number."""
        waiting, turned = list(self._enforced), list(self._turned)
        self._enforced.clear()
        self._turned.clear()
        ready: list[_Waiting] = []
        for each in waiting:
            unnumbered = each.live.row.radacctid < 0 and each.live.row.acctuniqueid in self._sessions
            (self._enforced if unnumbered else ready).append(each)
        return turned, ready

    def put_back(self, turned: list[NasTurned], taken: list[_Waiting]) -> None:
        """The database took nothing: it comes again, in the same order."""
        self._enforced.extendleft(reversed(taken))
        self._turned.extendleft(reversed(turned))


def _enforced(each: _Waiting) -> Enforced:
    row = each.live.row
    key = str(row.radacctid) if row.radacctid > 0 else row.acctuniqueid
    return Enforced(row.tenant_id, each.type, key, each.live.subscriber_id, row.nas_id, row.username, row.acctuniqueid, each.state, each.detail)


def _turned(nas: NasRecord, type_: str, target: Target, since: float, detail: str) -> NasTurned:
    return NasTurned(nas.id, type_, target.address, target.port, since, detail)


async def write(conn: Connection, turned: list[NasTurned], ready: list[_Waiting]) -> None:
    """Write what was taken, within the transaction of ``conn``."""
    if turned:
        await store.tell_nas(conn, turned)
    for start in range(0, len(ready), AT_ONCE):
        await store.tell_enforced(conn, [_enforced(each) for each in ready[start : start + AT_ONCE]])
