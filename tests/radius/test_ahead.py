"""Memory that is ahead of the tables: whatever comes in whatever pieces, it ends where the tables end."""

from itertools import count, pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from netd.model.accounting import Record, Row
from netd.radius.ahead import Ahead, Opened
from netd.radius.ledger import Ledger
from netd.radius.record import AccountingSwitch
from netd.radius.segment import Item
from netd.radius.sessions import Sessions
from tests.radius.test_segment import record

T0 = 1.6e9
SWITCH = AccountingSwitch(2, "192.0.2.1", None, None, T0 + 50, "NAS-Reboot")


class Tables:
    """What the database would hold: the ledger over everything, and On/Off as store.accounting.open_of_nas finds them."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._ids = count(1)

    def write(self, items: list[Item], more: list[str]) -> Opened:
        """Account ``items``; what memory is told of it, and of ``more``."""
        opened: dict[str, Row | None] = {}
        for item in items:
            if isinstance(item, Record):
                ledger = Ledger([row for row in self.rows if row.acctuniqueid == item.acctuniqueid], lambda: next(self._ids))
                row = ledger.post(item)
                self.rows += [] if any(row is known for known in self.rows) else [row]
                opened[item.acctuniqueid] = ledger.open_row(item.acctuniqueid)
                continue
            for row in self.rows:
                if row.stopped_at is None and row.started_at <= item.event_at:
                    row.stopped_at, row.closed_by, row.terminate_cause = item.event_at, "nas_reload", item.cause
                    opened[row.acctuniqueid] = None
        for key in set(more) - set(opened):
            opened[key] = next((row for row in self.rows if row.acctuniqueid == key and row.stopped_at is None), None)
        return Opened([msgspec.structs.replace(row) for row in opened.values() if row is not None], [key for key, row in opened.items() if row is None])

    def open(self) -> dict[str, int]:
        """Unique id -> radacctid of what is open."""
        return {row.acctuniqueid: row.radacctid for row in self.rows if row.stopped_at is None}


def packet(session: int, kind: str, at: int) -> Item:
    return record(session, kind=kind, event_at=T0 + at, acctsessiontime=0 if kind == "start" else at % 97, acctinputoctets=at)


packets = st.builds(packet, st.integers(0, 3), st.sampled_from(["start", "interim", "stop"]), st.integers(0, 100)) | st.just(SWITCH)


def in_pieces(items: list[Item], cuts: list[int]) -> list[list[Item]]:
    places = sorted({0, len(items), *(cut % (len(items) + 1) for cut in cuts)})
    return [items[a:b] for a, b in pairwise(places)]


@settings(max_examples=300, deadline=None)
@given(st.lists(packets, max_size=6), st.lists(packets, max_size=14), st.lists(st.integers(0, 50), max_size=5), st.lists(st.integers(0, 50), max_size=5))
def test_memory_ends_where_the_tables_end(before: list[Item], items: list[Item], groups: list[int], replays: list[int]) -> None:
    sessions, tables = Sessions(), Tables()
    ahead = Ahead(sessions)

    def follow(opened: Opened) -> None:
        sessions.remove(opened.ended)
        for row in opened.rows:
            sessions.put(row)

    follow(tables.write(before, []))
    known = {row.acctuniqueid for row in tables.rows}
    for group in in_pieces(items, groups):
        ahead.fold(group, follow)
    early = {key: live.row.acctinputoctets for key, live in sessions.by_id.items()}
    for part in in_pieces(items, replays):
        follow(ahead.settle(tables.write(part, ahead.due(len(part))), len(part)))
        still = {key: live.row.acctinputoctets for key, live in sessions.by_id.items() if key not in known}
        assert still == {key: octets for key, octets in early.items() if key not in known}, "a replay never takes memory back"
    assert {key: live.row.radacctid for key, live in sessions.by_id.items()} == tables.open(), "with the database's own ids"
    assert not ahead._newest
    fresh = {key: row.acctinputoctets for row in tables.rows if row.stopped_at is None and (key := row.acctuniqueid) not in known}
    assert {key: octets for key, octets in early.items() if key not in known} == fresh, "and was there as soon as the journal had it"
