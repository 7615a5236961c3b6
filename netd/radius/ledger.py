"""How accounting packets become session rows: pure, and indifferent to order and repetition.

A session is named by NAS, Acct-Session-Id and user. A NAS may use an Acct-Session-Id again (after a reboot its counter often
starts anew); the later use is another *generation* with a row of its own. That a packet belongs to a new generation is
believed only on evidence: an Event-Timestamp, or another Class, never because it merely arrived late.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from netd.model.accounting import FACTS, Facts, Record, Row

TOLERANCE_SECONDS = 2.0
"""Clocks with a resolution of one second, and Acct-Session-Time rounded down, place one event up to this far apart."""

LONGEST_INTERVAL_SECONDS = 21_600
"""A longer gap is an outage, not the pace of a NAS: the reaper must not wait for three of it."""

DAY_SECONDS: Final = 86_400

LONGEST_DIVIDED_SECONDS: Final = 7 * DAY_SECONDS
"""What a NAS did not tell of for longer counts as used within so long: one that sends nothing but Stops ends thousands of old sessions at once
when it restarts, and no packet may cost a row for each day of a month."""

_SYNTHETIC = frozenset(("nas_reload", "reaper", "not_found", "operator"))
_FACT_NAMES = Facts.__struct_fields__
_facts = attrgetter(*_FACT_NAMES)
_told = attrgetter(*FACTS)


class Change(NamedTuple):
    """A row before (None: it is new) and after the records of a batch."""

    before: Row | None
    after: Row


class Usage(NamedTuple):
    """Octets and seconds that a record added to its session; ``at`` is the Unix time they are credited to, ``since`` that of the record before."""

    tenant_id: int
    subscriber_id: int
    at: float
    up_octets: int
    down_octets: int
    session_seconds: int
    since: float


class Ledger:
    """The rows that a batch touches. Give it the stored rows, ``post`` the records, take ``changes`` and ``usage``."""

    def __init__(self, stored: Iterable[Row], new_id: Callable[[], int]) -> None:
        self._rows: dict[str, list[Row]] = {}
        self._before: dict[int, Row] = {}
        self._touched: dict[int, Row] = {}
        self._new_id = new_id
        self.usage: list[Usage] = []
        for row in stored:
            self._rows.setdefault(row.acctuniqueid, []).append(row)

    def post(self, record: Record) -> Row:
        """Account one record; returns the row it belongs to."""
        rows = self._rows.get(record.acctuniqueid)
        row = _generation(rows, record) if rows else None
        if row is None or _is_later_generation(row, record):
            row = self._open(record)
        else:
            self._merge(row, record)
        if row.stopped_at is None:
            row.heard_at = max(row.heard_at, record.heard_at)
            if len(self._rows[row.acctuniqueid]) > 1:
                self._supersede(row.acctuniqueid)
        return row

    def open_row(self, unique_id: str) -> Row | None:
        """The session of this id that is open now, None if none is."""
        return next((row for row in self._rows.get(unique_id, ()) if row.stopped_at is None), None)

    def changes(self) -> list[Change]:
        """What must be written; a record that told nothing new leaves no change."""
        return [Change(before, row) for key, row in self._touched.items() if (before := self._before.get(key)) != row]

    def _touch(self, row: Row) -> None:
        if row.radacctid not in self._touched:
            self._touched[row.radacctid] = row
            self._before[row.radacctid] = msgspec.structs.replace(row)

    def _supersede(self, unique_id: str) -> None:
        """Only the generation that began last can be open: a NAS does not use an Acct-Session-Id twice at a time."""
        rows = [row for row in self._rows[unique_id] if row.stopped_at is None]
        for row in sorted(rows, key=lambda row: row.started_at)[:-1]:
            self._touch(row)
            row.stopped_at, row.closed_by, row.terminate_cause = row.updated_at, "superseded", "Lost-Carrier"

    def _open(self, record: Record) -> Row:
        facts = dict(zip(_FACT_NAMES, _facts(record), strict=True))
        row = Row(radacctid=self._new_id(), started_at=record.started_at, updated_at=record.event_at, applied_policy=record.applied_policy, **facts)
        if record.kind == "stop":
            _stop(row, record)
        self._rows.setdefault(row.acctuniqueid, []).append(row)
        self._touched[row.radacctid] = row
        self._credit(row, record, row.started_at, row.acctinputoctets, row.acctoutputoctets, row.acctsessiontime)
        return row

    def _merge(self, row: Row, record: Record) -> None:
        self._touch(row)
        up, down, seconds, last = row.acctinputoctets, row.acctoutputoctets, row.acctsessiontime, row.updated_at
        row.acctinputoctets = max(up, record.acctinputoctets)
        row.acctoutputoctets = max(down, record.acctoutputoctets)
        row.acctinputpackets = max(row.acctinputpackets, record.acctinputpackets)
        row.acctoutputpackets = max(row.acctoutputpackets, record.acctoutputpackets)
        row.acctsessiontime = max(seconds, record.acctsessiontime)
        row.started_at = min(row.started_at, record.started_at)
        newer = record.event_at >= row.updated_at and not (row.closed_by == "stop" and record.event_at > (row.stopped_at or 0.0))
        told = _told(record)
        if told != _told(row):  # else nothing new, as with nearly every Interim
            for name, value in zip(FACTS, told, strict=True):
                if value is not None and (newer or getattr(row, name) is None):
                    setattr(row, name, value)
        if row.subscriber_id is None:
            row.subscriber_id = record.subscriber_id
        row.nas_id = record.nas_id  # its entry may have been made anew, or a narrower one added
        row.applied_policy = row.applied_policy or record.applied_policy
        alive = record.event_at > (row.stopped_at or 0.0)
        if newer:
            if record.kind == "interim" and record.event_at > row.updated_at:
                row.acctinterval = min(round(record.event_at - row.updated_at), LONGEST_INTERVAL_SECONDS)
            row.updated_at = record.event_at
        if record.kind == "stop":
            _stop(row, record)
        elif row.closed_by in _SYNTHETIC and record.kind == "interim" and alive:
            row.stopped_at = row.closed_by = row.terminate_cause = None  # it was thought dead, but its NAS goes on counting
        self._credit(row, record, last, row.acctinputoctets - up, row.acctoutputoctets - down, row.acctsessiontime - seconds)

    def _credit(self, row: Row, record: Record, since: float, up_octets: int, down_octets: int, session_seconds: int) -> None:
        if row.subscriber_id is not None and (up_octets or down_octets or session_seconds):
            since = min(since, record.event_at)  # a late packet adds what it adds at its own time
            self.usage.append(Usage(row.tenant_id, row.subscriber_id, record.event_at, up_octets, down_octets, session_seconds, since))


def only_counted(before: Row, row: Row) -> bool:
    """Whether an open row went on counting and nothing else, as nearly every Interim does: the members that ``store.accounting.count_open`` writes."""
    same = msgspec.structs.replace(
        before, updated_at=row.updated_at, heard_at=row.heard_at, acctinterval=row.acctinterval, acctsessiontime=row.acctsessiontime,
        acctinputoctets=row.acctinputoctets, acctoutputoctets=row.acctoutputoctets, acctinputpackets=row.acctinputpackets,
        acctoutputpackets=row.acctoutputpackets,
    )  # fmt: skip
    return same == row


def by_day(item: Usage) -> Sequence[Usage]:
    """The same, each within one day (UTC): what a record added over midnight counts as used evenly since the one before, and is divided by time."""
    return (item,) if item.since // DAY_SECONDS == item.at // DAY_SECONDS else tuple(_divided(item))


def _divided(item: Usage) -> Iterator[Usage]:
    amounts = (item.up_octets, item.down_octets, item.session_seconds)
    first = begin = max(item.since, item.at - LONGEST_DIVIDED_SECONDS)
    whole, taken = max(round((item.at - first) * 1000), 1), [0, 0, 0]  # milliseconds, so that nothing is lost to floats
    while begin < item.at:
        end = min((begin // DAY_SECONDS + 1) * DAY_SECONDS, item.at)
        upto = [amount if end == item.at else amount * round((end - first) * 1000) // whole for amount in amounts]
        up, down, seconds = (amount - before for amount, before in zip(upto, taken, strict=True))
        if up or down or seconds:
            yield Usage(item.tenant_id, item.subscriber_id, begin, up, down, seconds, begin)
        begin, taken = end, upto


def _stop(row: Row, record: Record) -> None:
    """End ``row`` as its NAS says. A repeated Stop changes nothing but a later time."""
    if row.closed_by == "stop" and row.stopped_at is not None:
        row.stopped_at = min(row.stopped_at, record.event_at)
    else:
        row.stopped_at = record.event_at
    row.closed_by = "stop"
    row.terminate_cause = record.terminate_cause or "Unknown"
    row.connectinfo_stop = record.connectinfo_stop or row.connectinfo_stop


def _generation(rows: list[Row], record: Record) -> Row | None:
    """The row among the generations of one unique id that ``record`` speaks of, None if it speaks of none of them."""
    if record.class_ is not None:
        same = [row for row in rows if row.class_ == record.class_]
        rows = same or rows
    if record.exact:
        begun = [row for row in rows if row.started_at <= record.event_at + TOLERANCE_SECONDS]
        if begun:
            return max(begun, key=lambda row: row.started_at)
        if record.kind == "stop":
            return None  # it ended before anything known began: a generation of its own
        return min(rows, key=lambda row: row.started_at)
    return max(rows, key=lambda row: (row.stopped_at is None, row.started_at))


def _is_later_generation(row: Row, record: Record) -> bool:
    if record.class_ is not None and row.class_ == record.class_:
        return False
    other_class = record.class_ is not None and row.class_ is not None
    if record.kind == "start":
        if other_class and (not record.exact or record.event_at > row.started_at + TOLERANCE_SECONDS):
            return True
        return record.exact and record.event_at > (row.stopped_at or row.updated_at) + TOLERANCE_SECONDS
    # An Interim or Stop whose Start is missing: the session must have begun after all that is known of the row, and its own
    # clock must have started again, so that a NAS that never counts Acct-Session-Time does not open a row with each packet.
    last = row.stopped_at or row.updated_at
    begun_later = record.started_at > last + TOLERANCE_SECONDS and record.acctsessiontime < row.acctsessiontime
    return begun_later and (record.exact or other_class)
