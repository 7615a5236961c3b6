"""The accounting journal: records on local disk while the database cannot take them. All of it blocks: ``radius.spool`` gives it a thread.

``DATA/journal/DATABASE/NNNN.journal``, segments as ``radius.segment`` writes them; DATABASE is the database's own name, so that records never get into
another one. A segment is only written by the process that made it. After any error of a write or an fsync it is never written again: the kernel may drop the
pages that it could not write and call the next fsync a success. The group goes into a new segment, or is refused.
"""

import errno
import fcntl
import logging
import os
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from netd.errors import ConfigError, NetdError
from netd.radius.segment import (
    FAMILY,
    HEAD,
    LONGEST_HEADER,
    MAGIC,
    MARK,
    NAMES,
    Header,
    Item,
    decode_header,
    decode_payload,
    decode_records,
    encode_header,
    encode_record,
)

log = logging.getLogger(__name__)

SUFFIX: Final = ".journal"
REFUSED: Final = "refused.json"
AGAIN: Final = "again.json"
"""What was ``REFUSED`` until an operator wanted it tried again."""

SEGMENT_OCTETS: Final = 8 << 20
PROBE_OCTETS: Final = 16 << 10

_NO_SPACE: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_SMALLER_MAY_FIT: Final = ("no_space", "full")
_NOT_ALLOWED: Final = frozenset((errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR))


class JournalRefused(NetdError):
    """The journal did not take a group: only its first ``taken`` records may be acknowledged. ``reason`` is no_space, io_error, unwritable or full."""

    def __init__(self, reason: str, detail: str, taken: int = 0) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.taken = reason, detail, taken


class Entry(NamedTuple):
    """A record that waits. ``item`` is None where this netd cannot make sense of it, though it is what was written (``payload``)."""

    journal: str
    sequence: int
    item: Item | None
    payload: bytes


@dataclass(slots=True)
class Segment:
    """A file of records; octets from ``start`` to ``end`` are known to be on disk."""

    path: Path
    header: Header
    start: int
    end: int
    key: bytes = b""
    broken: bool = False  # something failed, so the log has named it

    def __post_init__(self) -> None:
        self.key = uuid.UUID(self.header.journal).bytes


@dataclass(slots=True)
class Cursor:
    """A place in the journal. It gives every record once, in the order of writing, and never one that was written anew elsewhere."""

    number: int = 0  # in Journal.segments
    at: int = 0
    last: dict[str, int] = field(default_factory=dict)  # sequence by journal
    data: bytes = b""
    data_at: int = 0


class Journal:
    """The segments of one database in one data folder, held by a lock. ``octets`` is their size together."""

    def __init__(self, root: Path, most_octets: int, node: str, fsync: Callable[[int], None] = os.fsync, segment_octets: int = SEGMENT_OCTETS) -> None:
        self.root = root
        self.folder = root
        self.most_octets = most_octets
        self.node = node
        self.octets = 0
        self.damaged = 0  # places
        self.fsync_seconds = 0.0
        self.fsyncs = 0
        self.segments: list[Segment] = []
        self.kept_aside = 0  # records in refused.json
        self.elsewhere = 0  # octets that wait for another database, or version of netd
        self.finished: list[str] = []  # journals of which no file is left: their position need not be kept
        self._fsync = fsync
        self._segment_octets = segment_octets
        self._id = ""
        self._key = b""
        self._sequence = 0
        self._number = 0
        self._descriptor = -1
        self._lock = -1

    def open(self, database: str) -> list[str]:
        """Take the folder, and find what an earlier process left for ``database``; returns the ids of its journals.

        Raises ConfigError if another process has it, OSError if it cannot be used.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError("configuration", "data_dir", f"the accounting journal in {self.root} is in use by another netd") from None
            self.folder = self.root / database
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self._sync_folder(self.root)
            self._find_all(database)
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock
        return list(dict.fromkeys(segment.header.journal for segment in self.segments))

    def _find_all(self, database: str) -> None:
        self.segments, self.octets = [], 0
        self.elsewhere = sum(found.octets for found in waiting(self.root) if found.database != database)
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            try:
                self._find(path)
            except OSError as error:  # it may be readable next time, so it stays
                self.damaged += 1
                log.error("a journal cannot be read and is left alone", extra={"file": str(path), "error": error.strerror})
        self._count_aside()

    def _count_aside(self) -> None:
        self.kept_aside = 0
        with suppress(FileNotFoundError):
            self.kept_aside = (self.folder / REFUSED).read_bytes().count(b"\n")

    def _find(self, path: Path) -> None:
        """Take in a segment of an earlier process and cut its torn tail."""
        self._number = max(self._number, int(path.stem) if path.stem.isdecimal() else 0)
        data = path.read_bytes()
        found = decode_header(data)
        if found is None:
            if data.startswith(FAMILY) and not data.startswith(MAGIC):
                log.error("a journal of another version of netd is left alone: start that version to have it replayed", extra={"file": str(path)})
                self.elsewhere += len(data)
                return
            if MARK in data:
                self.damaged += 1
                log.error("a journal's beginning is damaged, so nothing of it can be read", extra={"file": str(path)})
            path.rename(path.with_suffix(".damaged"))
            return
        header, start = found
        end = max((end for _, _, end in decode_records(data, start, uuid.UUID(header.journal).bytes)), default=start)
        if end < len(data):
            log.info("the torn end of a journal is cut", extra={"file": str(path), "octets": len(data) - end})
            with suppress(OSError):  # what lies behind is not read anyway
                os.truncate(path, end)
        self.segments.append(Segment(path, header, start, end))
        self.octets += end

    @property
    def is_open(self) -> bool:
        """Whether the folder is held."""
        return self._lock >= 0

    def append(self, items: Sequence[Item]) -> None:
        """Write a group and bring it to the disk. Raises JournalRefused, which says how many of it are there all the same.

        Where there is no room for all, smaller groups are tried: a large one, which would be offered again and again, must not keep what room there is from
        everybody.
        """
        if not self.is_open:
            raise JournalRefused("unwritable", f"{self.root} cannot be opened")
        if not self._id:
            self._id, self._sequence = str(uuid.uuid4()), 0
            self._key = uuid.UUID(self._id).bytes
        taken, size = 0, len(items)
        while taken < len(items):
            part = items[taken : taken + size]
            group = self._encode(part)
            try:
                self._append(group)
            except JournalRefused as error:
                if error.reason not in _SMALLER_MAY_FIT or len(group) <= PROBE_OCTETS or len(part) < 2:
                    raise JournalRefused(error.reason, error.detail, taken) from error
                size = len(part) // 2
            else:
                taken += len(part)

    def _encode(self, items: Sequence[Item]) -> bytes:
        first = self._sequence + 1
        self._sequence += len(items)  # a number is never used again, not even of a group that was refused
        return b"".join(encode_record(self._key, first + place, item) for place, item in enumerate(items))

    def _append(self, group: bytes) -> None:
        if self.octets + len(group) > self.most_octets:
            raise JournalRefused("full", f"{self.octets} octets wait, and radius.journal_max_mb allows no more")
        failed: OSError | None = None
        for _ in range(2):  # the second time into a new segment
            try:
                self._write(group)
            except OSError as error:
                failed = error
                self._abandon()
            else:
                return
        if failed is not None:
            raise JournalRefused(_reason(failed), f"{self.folder}: {os.strerror(failed.errno or 0)}") from failed

    def probe(self) -> bool:
        """Whether a group would be taken now: tried on a file of its own."""
        if self.octets + PROBE_OCTETS > self.most_octets:
            return False
        path = self.folder / "probe"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.write(bytes(PROBE_OCTETS))
                file.flush()
                self._sync(file.fileno())
        except OSError:
            return False
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        return True

    def _write(self, group: bytes) -> None:
        if self._descriptor >= 0 and self.segments[-1].end >= self._segment_octets:
            self._seal()
        if self._descriptor < 0:
            self._begin()
        segment = self.segments[-1]
        rest = memoryview(group)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self._sync(self._descriptor)
        segment.end += len(group)
        self.octets += len(group)

    def _begin(self) -> None:
        """A new segment. Its header reaches the disk with the first group, its name in the folder now."""
        self._number += 1
        path = self.folder / f"{self._number:016d}{SUFFIX}"
        header = Header(journal=self._id, node=self.node, made_at=time.time(), names=NAMES)
        top = encode_header(header)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.segments.append(Segment(path, header, len(top), len(top)))
        self.octets += len(top)
        if os.write(self._descriptor, top) < len(top):
            raise OSError(errno.ENOSPC, "short write")
        self._sync_folder(self.folder)

    def _sync_folder(self, path: Path) -> None:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._sync(folder)
        finally:
            os.close(folder)

    def _sync(self, descriptor: int) -> None:
        began = time.monotonic()
        try:
            self._fsync(descriptor)
        finally:
            self.fsync_seconds += time.monotonic() - began
            self.fsyncs += 1

    def _seal(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _abandon(self) -> None:
        """Write to the present segment no more, and take back what may have reached it of the group that failed."""
        if self._descriptor < 0:
            return
        segment = self.segments[-1]
        segment.broken = True
        with suppress(OSError):
            os.ftruncate(self._descriptor, segment.end)
        with suppress(OSError):  # an error of close is one more of the same file
            self._seal()
        if segment.end == segment.start and self._unlink(segment):
            self.segments.pop()

    def read(self, cursor: Cursor, most: int) -> list[Entry]:
        """The next records behind ``cursor``, of one segment; empty at the end. Raises OSError."""
        while cursor.number < len(self.segments):
            segment = self.segments[cursor.number]
            found = self._read(segment, cursor, most)
            if found:
                return found
            if cursor.number == len(self.segments) - 1:
                return []
            cursor.number, cursor.at, cursor.data = cursor.number + 1, 0, b""
        return []

    def _read(self, segment: Segment, cursor: Cursor, most: int) -> list[Entry]:
        entries: list[Entry] = []
        journal = segment.header.journal
        last = cursor.last.get(journal, 0)
        at = max(cursor.at, segment.start)
        while at < segment.end and len(entries) < most:
            if at >= cursor.data_at + len(cursor.data) or not cursor.data:
                with segment.path.open("rb") as file:
                    cursor.data, cursor.data_at = os.pread(file.fileno(), segment.end - at, at), at
                if not cursor.data:
                    raise OSError(errno.EIO, f"{segment.path} is shorter than it was")
            base = cursor.data_at
            for sequence, payload, end in decode_records(cursor.data, at - base, segment.key):
                begin = base + end - len(payload) - HEAD
                if begin != at:
                    self._tell_damage(segment, at, begin)
                at = base + end
                if sequence > last:
                    last = sequence
                    entries.append(Entry(journal, sequence, decode_payload(segment.header.names, payload), payload))
                    if len(entries) >= most:
                        break
            else:
                limit = base + len(cursor.data)
                if at < limit:
                    self._tell_damage(segment, at, limit)
                at = limit
            cursor.at = at
        cursor.last[journal] = last
        return entries

    def _tell_damage(self, segment: Segment, begin: int, end: int) -> None:
        self.damaged += 1
        log.error("a journal is damaged: accounting that was acknowledged may be missing", extra={"file": str(segment.path), "from": begin, "to": end})

    def skip(self, cursor: Cursor, error: OSError) -> None:
        """Give up the file at ``cursor``, which cannot be read. It stays on the disk under another name."""
        if cursor.number >= len(self.segments):
            return
        if cursor.number == len(self.segments) - 1:
            self._seal()
        segment = self.segments.pop(cursor.number)
        cursor.at, cursor.data = 0, b""
        self.octets -= segment.end
        self.damaged += 1
        log.error(
            "a journal cannot be read and is left out: accounting that was acknowledged is missing", extra={"file": str(segment.path), "error": str(error)}
        )
        with suppress(OSError):
            segment.path.rename(segment.path.with_suffix(".damaged"))

    def drop(self, cursor: Cursor) -> None:
        """Remove what lies before ``cursor``, and everything if it is at the end. Only once the database has committed it.

        A file that cannot be removed is tried again the next time; what is in it is not replayed again.
        """
        while cursor.number > 0 and self._remove_first(cursor):
            continue
        if cursor.number == 0 and len(self.segments) == 1 and cursor.at >= self.segments[0].end:
            self._seal()
            self._remove_first(cursor)
        if not self.segments:
            cursor.number, cursor.at, cursor.data = 0, 0, b""
            self._id = ""  # the next record begins a journal of its own

    def _remove_first(self, cursor: Cursor) -> bool:
        segment = self.segments[0]
        if not self._unlink(segment):
            return False
        del self.segments[0]
        cursor.number = max(0, cursor.number - 1)
        journal = segment.header.journal
        if all(other.header.journal != journal for other in self.segments) and (journal != self._id or not self.segments):
            self.finished.append(journal)
            cursor.last.pop(journal, None)
        return True

    def _unlink(self, segment: Segment) -> bool:
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            if not segment.broken:
                log.error("a journal's file cannot be removed", extra={"file": str(segment.path), "error": str(error)})
            segment.broken = True
            return False
        self.octets -= segment.end
        with suppress(OSError):  # if the name comes back after a power failure, the position in the database tells that all of it was replayed
            self._sync_folder(self.folder)
        return True

    def set_aside(self, entry: Entry, why: str) -> None:
        """Keep a record that the database will never take as a line of ``REFUSED``, on disk before it returns. Raises OSError."""
        line = {"journal": entry.journal, "sequence": entry.sequence, "why": why, "record": entry.item, "at": time.time()}
        if entry.item is None:
            line["payload"] = entry.payload
        self._keep_aside(msgspec.json.encode(line) + b"\n")
        self.kept_aside += 1

    def asked_again(self) -> list[bytes]:
        """The lines of refused records that are to be tried again. Raises OSError."""
        if not self.is_open:
            return []
        try:
            return (self.folder / AGAIN).read_bytes().splitlines()
        except FileNotFoundError:
            return []

    def tried_again(self, kept: Sequence[bytes]) -> None:
        """All lines were tried; ``kept`` were refused again. Raises OSError."""
        if kept:
            self._keep_aside(b"".join(line + b"\n" for line in kept))
        (self.folder / AGAIN).unlink(missing_ok=True)
        self._sync_folder(self.folder)
        self._count_aside()

    def _keep_aside(self, text: bytes) -> None:
        descriptor = os.open(self.folder / REFUSED, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if os.write(descriptor, text) < len(text):
                raise OSError(errno.ENOSPC, "short write")
            self._sync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let go of the folder; what waits stays in it."""
        self._seal()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _reason(error: OSError) -> str:
    return "no_space" if error.errno in _NO_SPACE else "unwritable" if error.errno in _NOT_ALLOWED else "io_error"


class Waiting(NamedTuple):
    """What a journal folder holds of one database: octets, and the Unix time of the oldest segment."""

    database: str
    octets: int
    since: float


def waiting(root: Path) -> list[Waiting]:
    """What waits under ``root`` (DATA/journal), by database, without touching it. Raises OSError if it may not be read."""
    found: dict[str, Waiting] = {}
    for path in sorted(root.glob(f"*/*{SUFFIX}")):
        with suppress(FileNotFoundError), path.open("rb") as file:  # a daemon that runs removes what it has replayed
            header = decode_header(file.read(LONGEST_HEADER))
            size, since = path.stat().st_size, header[0].made_at if header else path.stat().st_mtime
            before = found.get(path.parent.name, Waiting(path.parent.name, 0, since))
            found[path.parent.name] = Waiting(path.parent.name, before.octets + size, min(before.since, since))
    return list(found.values())


def refused(root: Path) -> list[Path]:
    """The files under ``root`` with records that the database would not take."""
    return sorted(root.glob(f"*/{REFUSED}"))


def ask_again(root: Path) -> tuple[int, list[Path]]:
    """Have the daemon try what was refused again: how many records, and the folders where an earlier wish is not fulfilled yet. Raises OSError."""
    count, busy = 0, []
    for path in refused(root):
        again = path.with_name(AGAIN)
        if again.exists():
            busy.append(path.parent)
            continue
        path.rename(again)
        count += again.read_bytes().count(b"\n")
    return count, busy
