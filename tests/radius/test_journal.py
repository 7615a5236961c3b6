"""The journal's files: what is acknowledged is on disk and comes back once, in order, whatever the disk does."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from netd.errors import ConfigError
from netd.model.accounting import Record
from netd.radius.journal import PROBE_OCTETS, Cursor, Entry, Journal, JournalRefused, waiting
from netd.radius.record import AccountingSwitch
from netd.radius.segment import MARK, encode_record
from tests.radius.test_segment import SWITCH, record


class Disk:
    """fsync that fails when told to, and remembers on which files it was called after it had failed."""

    def __init__(self) -> None:
        self.errors: list[int] = []
        self.failed: set[tuple[int, int]] = set()
        self.repeated = 0

    def __call__(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        name = (found.st_dev, found.st_ino)
        self.repeated += name in self.failed
        if self.errors and not stat.S_ISDIR(found.st_mode):
            self.failed.add(name)
            error = self.errors.pop(0)
            raise OSError(error, os.strerror(error))
        os.fsync(descriptor)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def journal(tmp_path: Path, disk: Disk) -> Iterator[Journal]:
    made = Journal(tmp_path, 10 << 20, "node", disk, segment_octets=3000)
    assert made.open("db") == []
    yield made
    made.close()


def reopened(journal: Journal) -> Journal:
    """As another process finds it after kill -9."""
    journal.close()
    made = Journal(journal.root, journal.most_octets, "node", segment_octets=3000)
    made.open("db")
    return made


def read_all(journal: Journal, cursor: Cursor | None = None, most: int = 7) -> list[Entry]:
    cursor, found = cursor or Cursor(), []
    while entries := journal.read(cursor, most):
        assert len({entry.journal for entry in entries}) == 1
        found += entries
    return found


def numbers(entries: list[Entry]) -> list[int]:
    return [int(entry.item.acctuniqueid, 16) for entry in entries if isinstance(entry.item, Record)]


def test_groups_over_several_segments_are_read_in_order_and_removed_once_committed(journal: Journal) -> None:
    for group in range(10):
        journal.append([record(group * 4 + place) for place in range(4)])
    assert len(journal.segments) > 2
    assert journal.octets == sum(path.stat().st_size for path in journal.folder.glob("*.journal"))
    cursor = Cursor()
    found = []
    while entries := journal.read(cursor, 3):
        journal.drop(cursor)
        found += entries
    assert numbers(found) == list(range(40))
    journal.drop(cursor)
    assert (list(journal.folder.glob("*.journal")), journal.octets) == ([], 0)
    assert journal.finished == [found[0].journal]
    journal.append([record(99)])
    (entry,) = read_all(journal, cursor)
    assert entry.journal != found[0].journal, "a number is never used twice, not even by chance of a lost disk"
    assert entry.sequence == 1


def test_what_an_earlier_process_left_is_found_and_new_records_stand_behind_it(journal: Journal) -> None:
    journal.append([record(1), SWITCH])
    journal.append([record(2)])
    after = reopened(journal)
    after.append([record(3)])
    entries = read_all(after)
    assert [type(entry.item) for entry in entries] == [Record, AccountingSwitch, Record, Record]
    assert numbers(entries) == [1, 2, 3]
    assert len({entry.journal for entry in entries}) == 2
    begun = Cursor(last={entries[0].journal: 2})
    assert numbers(read_all(after, begun)) == [2, 3], "behind what the database has already"
    after.close()


def test_a_torn_tail_is_cut_at_the_next_start(journal: Journal) -> None:
    journal.append([record(1)])
    (path,) = journal.folder.glob("*.journal")
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(encode_record(journal.segments[0].key, 2, record(2))[:-1])
    after = reopened(journal)
    assert path.stat().st_size == size
    assert numbers(read_all(after)) == [1]
    after.close()


def test_damage_in_the_middle_is_told_and_the_rest_is_read(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    journal.append([record(number) for number in range(5)])
    (path,) = journal.folder.glob("*.journal")
    data = bytearray(path.read_bytes())
    data[data.find(MARK, data.find(MARK) + 1) + 40] ^= 1
    path.write_bytes(data)
    after = reopened(journal)
    assert numbers(read_all(after)) == [0, 2, 3, 4]
    assert after.damaged == 1
    assert "damaged" in caplog.text
    after.close()


def test_files_that_are_no_journal_of_ours_are_left_or_put_aside(journal: Journal) -> None:
    (journal.folder / "0000000000000001.journal").write_bytes(b"netd journal 9\n\0whatever")
    (journal.folder / "0000000000000002.journal").write_bytes(bytes(100))
    after = reopened(journal)
    after.append([record(3)])
    assert numbers(read_all(after)) == [3]
    assert sorted(path.name for path in after.folder.iterdir()) == ["0000000000000001.journal", "0000000000000002.damaged", "0000000000000003.journal"]
    after.close()


def test_one_process_at_a_time(journal: Journal) -> None:
    with pytest.raises(ConfigError, match="in use by another netd"):
        Journal(journal.root, 1 << 20, "node").open("db")


def test_a_database_sees_its_own_records_only(journal: Journal) -> None:
    journal.append([record(1)])
    journal.close()
    other = Journal(journal.root, 1 << 20, "node")
    assert other.open("another") == []
    assert read_all(other) == []
    assert [(found.database, found.octets > 0) for found in waiting(journal.root)] == [("db", True)]
    other.close()


def test_a_failed_fsync_is_never_tried_again_on_the_same_file(journal: Journal, disk: Disk) -> None:
    journal.append([record(1)])
    disk.errors = [errno.EIO]
    journal.append([record(2)])
    journal.append([record(3)])
    assert (len(disk.failed), disk.repeated) == (1, 0)
    assert len(journal.segments) == 2
    assert numbers(read_all(journal)) == [1, 2, 3]
    after = reopened(journal)
    assert numbers(read_all(after)) == [1, 2, 3]
    after.close()


def test_what_a_failed_group_left_on_disk_is_not_read_twice(journal: Journal, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.append([record(1)])
    monkeypatch.setattr(os, "ftruncate", lambda descriptor, size: None)  # the disk is too ill even for that
    disk.errors = [errno.EIO]
    journal.append([record(2)])
    assert numbers(read_all(journal)) == [1, 2]
    after = reopened(journal)
    assert sum(path.read_bytes().count(MARK) for path in after.folder.glob("*.journal")) == 3
    assert numbers(read_all(after)) == [1, 2]
    after.close()


@pytest.mark.parametrize(("code", "reason"), [(errno.ENOSPC, "no_space"), (errno.EDQUOT, "no_space"), (errno.EIO, "io_error"), (errno.EROFS, "unwritable")])
def test_a_group_that_no_file_takes_is_refused_and_the_next_is_taken(journal: Journal, disk: Disk, code: int, reason: str) -> None:
    journal.append([record(1)])
    disk.errors = [code, code]
    with pytest.raises(JournalRefused) as refused:
        journal.append([record(2)])
    assert refused.value.reason == reason
    journal.append([record(3)])
    entries = read_all(journal)
    assert numbers(entries) == [1, 3]
    assert [entry.sequence for entry in entries] == [1, 3], "the number of what was refused is not used again: it may have reached the disk"


def test_a_probe_tells_whether_a_group_would_be_taken_and_leaves_nothing(journal: Journal, disk: Disk) -> None:
    assert journal.probe()
    disk.errors = [errno.ENOSPC]
    assert not journal.probe()
    assert list(journal.folder.iterdir()) == []
    journal.most_octets = 1000
    assert not journal.probe()


def test_a_segment_that_never_took_a_record_does_not_move_the_place_reached(journal: Journal, disk: Disk) -> None:
    cursor = Cursor()
    disk.errors = [errno.ENOSPC, errno.ENOSPC]
    with pytest.raises(JournalRefused):
        journal.append([record(1)])
    assert read_all(journal, cursor) == []
    assert list(journal.folder.glob("*.journal")) == []
    journal.append([record(2)])
    assert numbers(read_all(journal, cursor)) == [2]


def test_a_journal_that_is_full_refuses_until_there_is_room(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 6_000, "node", segment_octets=2_000)
    journal.open("db")
    written = 0
    with pytest.raises(JournalRefused) as refused:
        while True:
            journal.append([record(written)])
            written += 1
    assert refused.value.reason == "full"
    assert 5 < written < 40
    cursor = Cursor()
    assert numbers(journal.read(cursor, 100))[0] == 0
    journal.read(cursor, 1)
    journal.drop(cursor)
    journal.append([record(written)])
    journal.close()


def test_a_large_group_takes_what_room_there_is(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 64 << 10, "node")
    journal.open("db")
    group = [record(number) for number in range(1_000)]
    with pytest.raises(JournalRefused) as refused:
        journal.append(group)
    assert refused.value.reason == "full"
    taken = refused.value.taken
    assert (64 << 10) - journal.octets < PROBE_OCTETS, "the rest is less than what is worth a try"
    entries = read_all(journal)
    assert numbers(entries) == list(range(taken))
    assert sorted({entry.sequence for entry in entries}) == [entry.sequence for entry in entries]
    with pytest.raises(JournalRefused) as refused:
        journal.append(group[taken:])
    assert refused.value.taken == 0
    journal.close()


def test_a_group_that_a_broken_disk_refuses_is_not_tried_in_pieces(journal: Journal, disk: Disk) -> None:
    disk.errors = [errno.EIO, errno.EIO]
    with pytest.raises(JournalRefused) as refused:
        journal.append([record(number) for number in range(1_000)])
    assert (refused.value.reason, refused.value.taken) == ("io_error", 0)
    assert not disk.errors
    assert read_all(journal) == []


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file" / "journal", 1 << 20, "node")
    with pytest.raises(OSError, match="Not a directory"):
        journal.open("db")
    with pytest.raises(JournalRefused) as refused:
        journal.append([record()])
    assert refused.value.reason == "unwritable"


def test_a_record_that_nobody_can_use_is_kept_for_people(journal: Journal) -> None:
    journal.set_aside(Entry("j", 3, record(), b""), "why not")
    journal.set_aside(Entry("j", 4, SWITCH, b""), "why not")
    journal.set_aside(Entry("j", 5, None, b"\x00\xff"), "unreadable")
    lines = [msgspec.json.decode(line) for line in (journal.folder / "refused.json").read_bytes().splitlines()]
    assert [(line["sequence"], line["why"]) for line in lines] == [(3, "why not"), (4, "why not"), (5, "unreadable")]
    assert lines[0]["record"]["username"] == "älice@example.net"
    assert (journal.folder / "refused.json").stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_removed_costs_no_record(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    for group in range(12):
        journal.append([record(group * 4 + place) for place in range(4)])
    cursor, found = Cursor(), []
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda path, missing_ok: (_ for _ in ()).throw(PermissionError(errno.EROFS, "read-only")))
        while entries := journal.read(cursor, 5):
            journal.drop(cursor)
            found += entries
        journal.drop(cursor)
    assert numbers(found) == list(range(48))
    assert (len(journal.segments) > 2, journal.finished) == (True, [])
    journal.append([record(99)])
    assert numbers(read_all(journal, cursor)) == [99]
    journal.drop(cursor)
    assert (journal.segments, journal.octets) == ([], 0)
    assert len(journal.finished) == 1
