"""Brings the journal into the tables once the database is back: in order, each record once, also after kill -9 in the middle.

The place reached is committed in the transaction of the records themselves, so a repetition begins behind it. Packets that come meanwhile go to the
journal, too, and stand behind those that wait.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from netd.errors import NetdError, StoreError, StoreUnavailable
from netd.model.accounting import Record
from netd.radius.accounting import RETRY_SECONDS, Accounting
from netd.radius.ahead import Opened
from netd.radius.journal import Entry
from netd.store import accounting as accounting_store
from netd.store import journals
from netd.store.database import Connection, Database
from netd.store.translate import is_statements_fault

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.1
FAULT_SECONDS = 5.0
"""Pause after a fault that only an operator ends: a disk that cannot be read, a statement that the database does not understand."""

READ_ATTEMPTS: Final = 3


class Replay:
    """Reads the spool, and writes what it holds through the accounting's own transaction."""

    def __init__(self, database: Database, accounting: Accounting, records: int) -> None:
        self.database = database
        self.accounting = accounting
        self.spool = accounting.spool
        self._records = records
        self._told = False  # the log knows of the present fault
        self._finished: list[str] = []

    async def run(self) -> None:
        """Replay for ever."""
        failures = 0
        while True:
            try:
                entries, lost = await self.spool.take(self._records)
            except OSError as error:
                failures += 1
                self._tell("the journal cannot be read back", error)
                if failures >= READ_ATTEMPTS:
                    await self.spool.skip(error)
                    continue
                await asyncio.sleep(FAULT_SECONDS)
                continue
            failures = 0
            if lost:
                log.error("records of the journal were acknowledged and cannot be read any more", extra={"records": lost})
                self.accounting.replayed(Opened([], []), lost, 0)
            if not entries:
                await self._forget()
                await self._wait()
            while entries:
                done, pause = await self._apply(entries)
                entries = entries[done:]
                await asyncio.sleep(pause)

    async def _wait(self) -> None:
        """Until something waits. A journal that refused is tried again meanwhile, so that nobody hears of a trouble that is over."""
        spool = self.spool
        while not spool.filled.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(FAULT_SECONDS):
                    await spool.filled.wait()
                    return
            try:
                if not spool.journal.is_open:
                    await self.accounting.recover()
                elif spool.trouble:
                    await spool.probe()
            except NetdError as error:
                self._tell("the journal cannot be opened yet", error)

    async def drain(self, seconds: float) -> None:
        """Let it go on for a while, if the database is there."""
        if self.database.up:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.spool.emptied.wait()

    async def _apply(self, entries: Sequence[Entry]) -> tuple[int, float]:
        """Write entries, in smaller pieces where one is refused; how many were settled, and how long to wait before the next attempt."""
        done, size = 0, len(entries)
        while done < len(entries):
            if self.accounting.late is not None:
                await asyncio.wait({self.accounting.late})
            if not self.database.up:
                return done, POLL_SECONDS
            part = entries[done : done + size]
            try:
                opened, new = await self._write(part)
            except StoreUnavailable as error:
                log.info("replay interrupted", extra={"waiting": self.spool.waiting, "error": str(error)})
                return done, RETRY_SECONDS
            except OSError as error:
                self._tell("a record that cannot be used could not be set aside", error)
                return done, FAULT_SECONDS
            except Exception as error:  # barrier: a record that the database or a bug trips over is kept aside, and must not hold up all others
                if is_statements_fault(error):
                    self._tell("the database cannot take any accounting", error)
                    return done, FAULT_SECONDS
                if len(part) > 1:
                    size = (len(part) + 1) // 2
                    continue
                if not await self._set_aside(part[0], error):
                    return done, FAULT_SECONDS
                opened, new = Opened([], []), 0
            self._told = False
            done, size = done + len(part), size * 2
            self.accounting.replayed(opened, len(part), new)
        return done, 0.0

    async def _write(self, part: Sequence[Entry]) -> tuple[Opened, int]:
        """One transaction: those of ``part`` that the tables lack, and the place reached."""
        journal = part[0].journal
        for entry in part:
            if entry.item is None:
                await self.spool.keep_aside(entry, "this version of netd cannot read it")
        async with self.database.transaction() as conn:
            reached = await journals.hold(conn, journal, self.spool.journal.node)
            fresh = [entry.item for entry in part if entry.sequence > reached and entry.item is not None]
            opened = await self.accounting.write(conn, fresh)
            known = {entry.item.acctuniqueid for entry in part if entry.sequence <= reached and isinstance(entry.item, Record)}
            opened = await _with_stored(conn, opened, known.union(self.accounting.ahead.due(len(part))))
            await journals.advance(conn, journal, part[-1].sequence)
        return opened, len(fresh)

    async def _set_aside(self, entry: Entry, why: Exception) -> bool:
        log.error(
            "a journalled record is refused by the database and set aside", extra={"error": str(why)}, exc_info=None if isinstance(why, StoreError) else why
        )
        try:
            await self.spool.keep_aside(entry, str(why))
            async with self.database.transaction() as conn:
                await journals.hold(conn, entry.journal, self.spool.journal.node)
                await journals.advance(conn, entry.journal, entry.sequence)
        except (OSError, StoreError) as error:
            self._tell("a refused record could not be set aside", error)
            return False
        return True

    async def _forget(self) -> None:
        """Drop the positions of journals whose files are gone. One that stays behind does no harm."""
        self._finished += self.spool.take_finished()
        if not self._finished:
            return
        try:
            async with self.database.acquire() as conn:
                await journals.forget(conn, self._finished)
        except StoreError as error:
            log.info("positions of journals that are gone are kept for now", extra={"error": str(error)})
            return
        self._finished = []

    def _tell(self, what: str, error: BaseException) -> None:
        if not self._told:
            log.error("%s", what, extra={"waiting": self.spool.waiting, "error": str(error)})
            self._told = True


async def _with_stored(conn: Connection, opened: Opened, unique_ids: set[str]) -> Opened:
    """``opened``, and the state of further sessions as the tables have it: of records that are in them already, from a transaction whose outcome
    was not heard, and of what memory thinks that a NAS's restart ended."""
    keys = unique_ids - {row.acctuniqueid for row in opened.rows} - set(opened.ended)
    if not keys:
        return opened
    rows = await accounting_store.read_open(conn, list(keys))
    return opened._replace(rows=[*opened.rows, *rows], ended=[*opened.ended, *(keys - {row.acctuniqueid for row in rows})])
