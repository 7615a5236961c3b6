"""The journal as the event loop sees it: a thread of its own does what blocks, and counters say how it is."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from netd.model.accounting import Record
from netd.radius.journal import REFUSED, Cursor, Entry, Journal, JournalRefused
from netd.radius.segment import Item

log = logging.getLogger(__name__)

T = TypeVar("T")

CALM_SECONDS: Final = 60.0
"""How long nothing must have been refused before a refusal is news for the log again."""

SCAN_RECORDS: Final = 250


class Spool:
    """Records that wait on disk.

    ``lock`` is held from the writing of a group until memory has followed it, and while records are read back: nothing is replayed
    that memory does not know of yet.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.waiting = 0
        self.written = 0
        self.replayed = 0
        self.refused: Counter[str] = Counter()
        self.trouble = ""  # why the last group was refused, empty since one was taken
        self.since = time.time()  # of the last change between waiting and not
        self.oldest_at = 0.0  # Unix time of the oldest record that waits
        self.lock = asyncio.Lock()
        self.filled = asyncio.Event()
        self.emptied = asyncio.Event()
        self.emptied.set()
        self._cursor = Cursor()
        self._refused_at = 0.0
        self._told_at = -CALM_SECONDS
        self._thread = ThreadPoolExecutor(1, "accounting journal")

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def open(self, database: str) -> list[str]:
        """Take the folder; returns the ids of the journals that an earlier process left for ``database`` (its own name).

        A folder that cannot be used refuses every group, until this is called again. Raises ConfigError if another process has it.
        """
        try:
            left = await self._do(lambda: self.journal.open(database))
        except OSError as error:
            self._refuse("unwritable", f"{self.journal.root}: {error.strerror}", 0)
            return []
        self._recovered()
        return left

    async def scan(self, positions: Mapping[str, int]) -> AsyncIterator[list[Item | None]]:
        """What waits behind ``positions``, in order, in small pieces; afterwards ``take`` gives the same again. Call with ``lock`` held."""
        self._cursor.last.update(positions)
        ahead = Cursor(last=dict(positions))
        while True:
            try:
                entries = await self._do(lambda: self.journal.read(ahead, SCAN_RECORDS))
            except OSError as error:
                await self._do(partial(self.journal.skip, ahead, error))
                continue
            if not entries:
                return
            if not self.waiting:
                self._begin_waiting(_moment(entries[0].item))
            self.waiting += len(entries)
            yield [entry.item for entry in entries]

    async def write(self, items: Sequence[Item], unacknowledged: int, told: int) -> int:
        """Bring a group to the disk; returns how many of it are there, counted from the first. Call with ``lock`` held.

        If that is not all, the others of ``unacknowledged`` records are counted as refused, except the first ``told``, which were already.
        """
        taken = len(items)
        try:
            await self._do(lambda: self.journal.append(items))
        except JournalRefused as error:
            taken = error.taken
            self._refuse(error.reason, str(error), max(0, unacknowledged - max(told, taken)))
        else:
            self._recovered()
        if not taken:
            return 0
        if not self.waiting:
            self._begin_waiting(time.time())
            if time.monotonic() - self._told_at > CALM_SECONDS:
                log.warning("accounting goes to the journal: the database is away, slow, or behind")
            self._told_at = time.monotonic()
        self.waiting += taken
        self.written += taken
        return taken

    async def probe(self) -> None:
        """See whether a journal that refused would take records now."""
        async with self.lock:
            if await self._do(self.journal.probe):
                self._recovered()

    def _recovered(self) -> None:
        if self.trouble:
            log.info("the accounting journal takes records again")
            self.trouble = ""

    def _begin_waiting(self, oldest_at: float) -> None:
        self.since, self.oldest_at = time.time(), oldest_at
        self.filled.set()
        self.emptied.clear()

    def _refuse(self, reason: str, why: str, count: int) -> None:
        self.refused[reason] += count
        now = time.monotonic()
        if not self.trouble or now - self._refused_at > CALM_SECONDS:
            log.error("the accounting journal refuses: nothing more is acknowledged while the database is away", extra={"reason": reason, "error": why})
        self._refused_at = now
        self.trouble = why

    async def take(self, most: int) -> tuple[list[Entry], int]:
        """The next records to replay, and how many are missing if there are none though some should wait.

        Those given before are committed now, and files that hold nothing else are removed. Raises OSError.
        """
        async with self.lock:
            entries = await self._do(lambda: self._next(most))
            if entries:
                self.oldest_at = _moment(entries[0].item)
            return entries, 0 if entries else self.waiting

    def _next(self, most: int) -> list[Entry]:
        entries = self.journal.read(self._cursor, most)
        if not entries or self._cursor.number:
            self.journal.drop(self._cursor)
        return entries

    async def skip(self, error: OSError) -> None:
        """Leave out the file that cannot be read, so that it does not hold up the others."""
        async with self.lock:
            await self._do(lambda: self.journal.skip(self._cursor, error))

    def committed(self, count: int, new: int) -> None:
        """So many of the records taken are in the tables now, ``new`` of them by this replay."""
        self.waiting -= count
        self.replayed += new
        if not self.waiting:
            log.info("the journal's accounting is in the database", extra={"records": self.replayed, "seconds": round(time.time() - self.since, 1)})
            self.since, self.oldest_at = time.time(), 0.0
            self.filled.clear()
            self.emptied.set()

    async def keep_aside(self, entry: Entry, why: str) -> None:
        """Keep a record that the database refuses in a file for people. Raises OSError."""
        await self._do(lambda: self.journal.set_aside(entry, why))

    async def asked_again(self) -> list[bytes]:
        """Lines of refused records that an operator wants tried again. Raises OSError."""
        return await self._do(self.journal.asked_again)

    async def tried_again(self, kept: Sequence[bytes]) -> None:
        """They were; ``kept`` stay refused. Raises OSError."""
        await self._do(lambda: self.journal.tried_again(kept))

    def take_finished(self) -> list[str]:
        """Journals of which no file is left; each is told once."""
        finished, self.journal.finished = self.journal.finished, []
        return finished

    async def close(self) -> None:
        """Let go of the folder; what waits stays in it for the next start."""
        await self._do(self.journal.close)
        self._thread.shutdown(wait=False)

    def state(self) -> str:
        """One line for the operator, empty if there is nothing to tell."""
        said = []
        if self.waiting:
            said.append(f"{self.waiting} records wait in the journal for the database, the oldest for {max(0.0, time.time() - self.oldest_at):.0f} s")
        if self.trouble:
            said.append(f"the journal refuses: {self.trouble}")
        if self.journal.kept_aside:
            said.append(f"{self.journal.kept_aside} records that the database refused are in {self.journal.folder / REFUSED}: `netd accounting retry-refused`")
        if self.journal.damaged:
            said.append(f"the journal was damaged in {self.journal.damaged} places, see the log")
        if self.journal.elsewhere:
            said.append(f"{self.journal.elsewhere} octets of accounting wait in {self.journal.root} for another database, or for another version of netd")
        return "; ".join(said)


def _moment(item: Item | None) -> float:
    return time.time() if item is None else (item.heard_at or item.event_at) if isinstance(item, Record) else item.event_at
