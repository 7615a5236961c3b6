"""What memory knows and the tables do not yet: the sessions follow the journal at once, so that limits and enforcement are right meanwhile."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from netd.model.accounting import Record, Row
from netd.radius.ledger import Ledger, Usage
from netd.radius.quotas import NOTHING_COUNTED, Counted
from netd.radius.record import AccountingSwitch
from netd.radius.segment import Item
from netd.radius.sessions import Sessions

CLOSED_KEPT: Final = 20_000
"""Sessions that ended in the journal and are remembered, so that a late packet of theirs opens no new one in memory."""


class Opened(NamedTuple):
    """What a group of packets did to the sessions in memory: rows open now, unique ids that ended, what each record added, and, once it is committed,
    what that counted towards quotas."""

    rows: list[Row]
    ended: list[str]
    usage: Sequence[Usage] = ()
    counted: Counted = NOTHING_COUNTED


class Ahead:
    """Sessions that the journal speaks of. Their rows are memory's own, with an id below zero where the database has given none yet."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self._newest: dict[str, int] = {}  # unique id -> place in the journal of the newest record that speaks of it
        self._switched: dict[str, int] = {}  # what On and Off ended in memory, likewise
        self._closed: dict[str, list[Row]] = {}  # oldest first
        self._place = 0
        self._settled = 0
        self._next_id = 0

    def fold(self, items: Iterable[Item | None], follow: Callable[[Opened], None]) -> None:
        """Account ``items``, which the journal holds now, on the rows in memory; ``follow`` is called after each step. None only counts."""
        run: list[Record] = []
        for item in items:
            if isinstance(item, Record):
                run.append(item)
                continue
            self._fold(run, follow)
            run = []
            self._place += 1
            if item is not None:
                follow(self._switch(item))
        self._fold(run, follow)

    def _fold(self, run: list[Record], follow: Callable[[Opened], None]) -> None:
        if not run:
            return
        keys = dict.fromkeys(record.acctuniqueid for record in run)
        stored = [msgspec.structs.replace(live.row) for key in keys if (live := self.sessions.by_id.get(key)) is not None]
        for key in keys:
            stored += self._closed.pop(key, ())
        ledger = Ledger(stored, self._number)
        for record in run:
            self._place += 1
            self._newest[record.acctuniqueid] = self._place
            ledger.post(record)
        rows = [row for key in keys if (row := ledger.open_row(key)) is not None]
        known = {row.radacctid: row for row in stored} | {change.after.radacctid: change.after for change in ledger.changes()}
        for row in known.values():
            if row.stopped_at is not None:
                self._keep_closed(row)
        still = {row.acctuniqueid for row in rows}
        follow(Opened(rows, [key for key in keys if key not in still], ledger.usage))

    def _switch(self, item: AccountingSwitch) -> Opened:
        """The NAS holds no session that began before: the same condition as ``store.accounting.open_of_nas``."""
        ended = [row for live in self.sessions.by_id.values() if _is_of(row := live.row, item)]
        for row in ended:
            self._newest[row.acctuniqueid] = self._switched[row.acctuniqueid] = self._place
            stopped_at = max(row.started_at, item.event_at)
            self._keep_closed(msgspec.structs.replace(row, stopped_at=stopped_at, closed_by="nas_reload", terminate_cause=item.cause))
        return Opened([], [row.acctuniqueid for row in ended])

    def _keep_closed(self, row: Row) -> None:
        if len(self._closed) >= CLOSED_KEPT:
            self._closed.pop(next(iter(self._closed)))
        self._closed.setdefault(row.acctuniqueid, []).append(row)

    def _number(self) -> int:
        self._next_id -= 1
        return self._next_id

    def due(self, count: int) -> list[str]:
        """Unique ids that an On or Off among the next ``count`` records ended in memory: the tables, which know more, may see it otherwise."""
        return [key for key, place in self._switched.items() if place <= self._settled + count]

    def settle(self, opened: Opened, count: int) -> Opened:
        """What memory may take over from the database, which has ``count`` more records of the journal: not what newer ones speak of."""
        self._settled += count
        if self._switched:
            self._switched = {key: place for key, place in self._switched.items() if place > self._settled}
        if not self._newest:
            return opened
        rows = [row for row in opened.rows if self._is_settled(row.acctuniqueid)]
        return opened._replace(rows=rows, ended=[key for key in opened.ended if self._is_settled(key)])

    def _is_settled(self, unique_id: str) -> bool:
        if self._newest.get(unique_id, 0) > self._settled:
            return False
        self._newest.pop(unique_id, None)
        return True

    def clear(self) -> None:
        """The journal is empty."""
        self._newest.clear()
        self._switched.clear()
        self._closed.clear()
        self._settled = self._place


def _is_of(row: Row, item: AccountingSwitch) -> bool:
    return (
        row.nas_id == item.nas_id
        and row.nassourceaddress == item.source
        and item.nas_ip_address in (None, row.nasipaddress)
        and (item.nas_identifier is None or row.nasidentifier in (None, item.nas_identifier))
        and row.started_at <= item.event_at
    )
