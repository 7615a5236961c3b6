"""Sessions from packets in any order, any number of times."""

import itertools
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from netd.model.accounting import Record, Row, unique_id
from netd.radius.ledger import LONGEST_DIVIDED_SECONDS, Ledger, Usage, by_day, only_counted
from netd.store.accounting import COUNTED

START = 1_800_000_000.0


def record(kind: str, at: float, seconds: int = 0, up: int = 0, down: int = 0, **more: Any) -> Record:
    facts = {
        "acctuniqueid": unique_id("nas", "s1", "bob"), "tenant_id": 1, "nas_id": 1, "subscriber_id": 5, "acctsessionid": "s1", "username": "bob",
        "nasipaddress": "192.0.2.1", "nassourceaddress": "192.0.2.1", "exact": True,
    }  # fmt: skip
    return Record(kind=kind, event_at=at, acctsessiontime=seconds, acctinputoctets=up, acctoutputoctets=down, **(facts | more))  # type: ignore[arg-type]


class Book:
    """Rows as the database would keep them between batches."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.ids = itertools.count(1)
        self.credited = [0, 0, 0]

    def post(self, *records: Record) -> list[Row]:
        ledger = Ledger([msgspec.structs.replace(row) for row in self.rows.values()], lambda: next(self.ids))
        for each in records:
            ledger.post(each)
        for change in ledger.changes():
            self.rows[change.after.radacctid] = change.after
        for usage in ledger.usage:
            self.credited = [self.credited[0] + usage.up_octets, self.credited[1] + usage.down_octets, self.credited[2] + usage.session_seconds]
        return sorted(self.rows.values(), key=lambda row: row.started_at)


SESSION = [
    record("start", START, framedipaddress="100.64.0.7"),
    record("interim", START + 300, 300, 1_000, 50_000),
    record("interim", START + 600, 600, 5_000_000_000, 6_000_000_000),
    record("stop", START + 700, 700, 5_000_000_100, 6_000_000_100, terminate_cause="User-Request"),
]


def facts(rows: list[Row]) -> list[tuple[Any, ...]]:
    return [
        (
            row.started_at, row.updated_at, row.stopped_at, row.acctsessiontime, row.acctinputoctets, row.acctoutputoctets, row.terminate_cause,
            row.framedipaddress,
        )
        for row in rows
    ]  # fmt: skip


WANTED = [(START, START + 700, START + 700, 700, 5_000_000_100, 6_000_000_100, "User-Request", "100.64.0.7")]


@given(st.lists(st.integers(0, 3), max_size=6), st.permutations(range(4)), st.lists(st.booleans(), min_size=10, max_size=10))
@settings(deadline=None, max_examples=400)
def test_any_order_and_repetition_leave_one_right_row(extra: list[int], order: list[int], cuts: list[bool]) -> None:
    sequence = [*order, *extra]
    book = Book()
    batch: list[Record] = []
    for number, cut in zip(sequence, itertools.cycle(cuts), strict=False):
        batch.append(SESSION[number])
        if cut:
            book.post(*batch)
            batch = []
    assert facts(book.post(*batch)) == WANTED
    assert book.credited == [5_000_000_100, 6_000_000_100, 700]


def test_a_replay_a_day_later_without_timestamps_changes_nothing() -> None:
    book = Book()
    book.post(*SESSION)
    late = [msgspec.structs.replace(each, exact=False, event_at=each.event_at + 86_400) for each in SESSION]
    assert facts(book.post(*late)) == WANTED


def test_an_interim_without_start_opens_at_event_time_less_session_time() -> None:
    (row,) = Book().post(record("interim", START + 300, 300, 10, 20))
    assert (row.started_at, row.stopped_at) == (START, None)


def test_the_same_id_after_a_reboot_is_another_session() -> None:
    book = Book()
    book.post(*SESSION[:2])
    rows = book.post(record("start", START + 5_000), record("interim", START + 5_300, 300, 7, 9))
    assert [(row.started_at, row.stopped_at, row.closed_by) for row in rows] == [
        (START, START + 300, "superseded"),
        (START + 5_000, None, None),
    ]
    assert rows[1].acctinputoctets == 7
    # a late Stop of the first one belongs to the first one
    rows = book.post(record("stop", START + 400, 400, 2_000, 60_000))
    assert [(row.stopped_at, row.closed_by, row.acctinputoctets) for row in rows] == [(START + 400, "stop", 2_000), (None, None, 7)]


def test_the_same_id_with_another_class_is_another_session_even_without_timestamps() -> None:
    book = Book()
    book.post(record("start", START, exact=False, class_="netd1:a1:5:x"), record("stop", START + 60, 60, exact=False, class_="netd1:a1:5:x"))
    rows = book.post(record("start", START + 90, exact=False, class_="netd1:a2:5:x"))
    assert [row.stopped_at is None for row in rows] == [False, True]
    rows = book.post(record("start", START + 95, exact=False, class_="netd1:a2:5:x"))
    assert len(rows) == 2


def test_an_interim_whose_start_was_lost_opens_the_next_generation() -> None:
    book = Book()
    book.post(*SESSION)
    rows = book.post(record("interim", START + 9_000, 100, 1, 1))
    assert [(row.started_at, row.stopped_at is None) for row in rows] == [(START, False), (START + 8_900, True)]


def test_a_nas_that_never_counts_session_time_gets_one_row() -> None:
    book = Book()
    rows = book.post(record("start", START), *(record("interim", START + 300 * n, 0, n) for n in range(1, 5)), record("stop", START + 1_500, 0, 9))
    assert [(row.started_at, row.stopped_at, row.acctinputoctets) for row in rows] == [(START, START + 1_500, 9)]


def test_a_reaped_session_that_goes_on_is_opened_again() -> None:
    book = Book()
    (row,) = book.post(*SESSION[:2])
    book.rows[row.radacctid] = msgspec.structs.replace(row, stopped_at=row.updated_at, closed_by="reaper", terminate_cause="Lost-Carrier")
    (row,) = book.post(SESSION[2])
    assert (row.stopped_at, row.closed_by, row.terminate_cause) == (None, None, None)
    (row,) = book.post(SESSION[3])
    assert facts([row]) == WANTED
    assert book.credited == [5_000_000_100, 6_000_000_100, 700]


def test_an_interim_after_the_stop_does_not_open_it_again() -> None:
    book = Book()
    book.post(SESSION[0], SESSION[3])
    assert facts(book.post(SESSION[2])) == WANTED


def test_a_record_that_tells_nothing_new_writes_nothing() -> None:
    book = Book()
    book.post(*SESSION)
    ledger = Ledger([msgspec.structs.replace(row) for row in book.rows.values()], lambda: next(book.ids))
    for each in SESSION:
        ledger.post(each)
    assert ledger.changes() == []
    assert ledger.usage == []


def test_a_row_that_only_went_on_counting_is_known_from_one_that_changed() -> None:
    (row,) = Book().post(SESSION[0])
    for name in Row.__struct_fields__:
        other = {"doomed": "deleted", "closed_by": "reaper"}.get(name, -1 if isinstance(getattr(row, name), int | float) else "another")
        changed = msgspec.structs.replace(row, **{name: other})
        assert only_counted(row, changed) == (name in COUNTED), name


MIDNIGHT = 1_800_057_600.0


def days(since: float, at: float, up: int, down: int, seconds: int) -> list[tuple[float, int, int, int]]:
    """Days after MIDNIGHT and what is credited to them."""
    found = by_day(Usage(1, 5, at, up, down, seconds, since))
    return [((each.at - MIDNIGHT) // 86_400, each.up_octets, each.down_octets, each.session_seconds) for each in found]


def test_what_was_used_over_midnight_is_divided_among_the_days() -> None:
    assert days(MIDNIGHT - 600, MIDNIGHT + 200, 8, 801, 800) == [(-1, 6, 600, 600), (0, 2, 201, 200)]
    assert days(MIDNIGHT + 1, MIDNIGHT + 200, 8, 80, 199) == [(0, 8, 80, 199)]
    assert days(MIDNIGHT - 600, MIDNIGHT, 8, 80, 600) == [(-1, 8, 80, 600)], "the packet of midnight itself tells of the day before"
    assert days(MIDNIGHT - 0.0001, MIDNIGHT + 0.0001, 8, 80, 600) == [(0, 8, 80, 600)], "no time at all"
    assert days(MIDNIGHT, MIDNIGHT, 8, 80, 600) == [(0, 8, 80, 600)], "late: at its own time"
    day = 86_400
    assert days(MIDNIGHT - day / 2, MIDNIGHT + 2 * day, 0, 10, 2 * day + day // 2) == [(-1, 0, 2, day // 2), (0, 0, 4, day), (1, 0, 4, day)], (
        "a NAS without Interims"
    )
    assert len(days(MIDNIGHT - 300 * day, MIDNIGHT, 10**6, 10**6, 10**6)) * day == LONGEST_DIVIDED_SECONDS


@given(st.floats(0, 5 * 86_400), st.floats(0, 40 * 86_400), st.integers(0, 2**70), st.integers(0, 10**6))
@settings(deadline=None)
def test_nothing_is_lost_between_days(at: float, before: float, octets: int, seconds: int) -> None:
    found = days(MIDNIGHT + at - before, MIDNIGHT + at, octets, 0, seconds)
    assert (sum(up for _, up, _, _ in found), sum(online for _, _, _, online in found)) == (octets, seconds)
    assert [day for day, *_ in found] == sorted({day for day, *_ in found}) and all(up >= 0 and online >= 0 for _, up, _, online in found)
