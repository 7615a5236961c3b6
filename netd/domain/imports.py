"""Importing a table from CSV or XLSX: all or nothing in one transaction, or on request all that is good."""

import asyncio
import hashlib
import io
import logging
import time
from collections.abc import AsyncIterable, Iterator, Mapping, Sequence

import msgspec

from netd.domain import audit
from netd.domain.actor import Actor
from netd.domain.records import Record, opened
from netd.domain.table import Keeper, Means, Order, Outcome, Reader, Row, Table, header_faults
from netd.errors import Fault, InvalidInput, StoreError, TooOften
from netd.store import provision as store
from netd.store.database import Connection, Database

log = logging.getLogger(__name__)

MAX_OCTETS = 64 << 20
MAX_ERRORS = 1000
DRY_RUN_ERRORS = 200_000
"""Faults that are told: who only asks what is wrong wants to know all of it."""
BATCH_ROWS = 250
MANY_ROWS = 5000
SLICE_SECONDS = 0.004
AT_ONCE = 2
MOST_WAITING = 4
RETRY_SECONDS = 30


class RowError(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with a row; ``line`` is where the row begins (of a spreadsheet the row's number), ``column`` is empty if it is about the
    whole row."""

    line: int
    column: str
    detail: str


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """How an import went: ``rows`` in the file, ``good`` ones among them. ``imported`` ones were ``created`` or ``updated`` (none in a dry run, or if
    any was bad and bad ones were not to be skipped), ``unchanged`` ones are as they are to be already, ``skipped`` are bad ones. ``errors`` are the first
    thousand of ``error_count``, in a dry run the first 200,000."""

    rows: int
    good: int
    imported: int
    created: int
    updated: int
    unchanged: int
    skipped: int
    errors: tuple[RowError, ...]
    error_count: int
    dry_run: bool


class Slices:
    """Gives the event loop back every few milliseconds: RADIUS is answered in the same one."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    async def breathe(self) -> None:
        """Let others have their turn if it is time."""
        if time.perf_counter() - self._began > SLICE_SECONDS:
            await asyncio.sleep(0)
            self._began = time.perf_counter()


class Turns:
    """Hands out the turns of imports, whose files are in memory as a whole: a few are at work, a few wait before they are received, more are refused."""

    def __init__(self) -> None:
        self.waiting = 0  # those at work included
        self._free = asyncio.Semaphore(AT_ONCE)

    async def __aenter__(self) -> None:
        """Wait for a turn. Raises TooOften."""
        if self.waiting >= AT_ONCE + MOST_WAITING:
            raise TooOften("too many files are being imported", RETRY_SECONDS)
        self.waiting += 1
        try:
            await self._free.acquire()
        except BaseException:
            self.waiting -= 1
            raise

    async def __aexit__(self, *_: object) -> None:
        self.waiting -= 1
        self._free.release()


class _RolledBack(Exception):
    """Nothing is to be kept."""


class FileRun:
    """One reading of a file: see :class:`~netd.domain.table.Run`."""

    def __init__(self, conn: Connection, actor: Actor, means: Means, order: Order, table: Table) -> None:
        self.conn = conn
        self.actor = actor
        self.means = means
        self.order = order
        self.table = table
        self.rows = 0
        self.error_count = 0
        self.counts: dict[Outcome, int] = {"created": 0, "updated": 0, "unchanged": 0}
        self._errors: list[RowError] = []
        self._most = DRY_RUN_ERRORS if order.dry_run else MAX_ERRORS

    def fault(self, line: int, column: str, detail: str) -> None:
        """Report what is wrong with a row."""
        self.error_count += 1
        if len(self._errors) < self._most:
            self._errors.append(RowError(line=line, column=column, detail=detail))

    def count(self, outcome: Outcome, by: int = 1) -> None:
        """Count good rows."""
        self.counts[outcome] += by

    @property
    def wanted(self) -> bool:
        """Whether what is good is to be kept, as far as is known."""
        return not self.order.dry_run and (self.order.skip_bad or not self.error_count)

    async def read(self, found: Iterator[Record]) -> None:
        """Bring in all rows."""
        header = next(found, None)
        if header is None:
            self.fault(1, "", "the file is empty")
            return
        names = [cell.strip().lower() for cell in header.cells]
        faults = [("", header.fault)] if header.fault else header_faults(self.table, names, self.order.mode)
        keeper = self.table.keeper(self)
        faults = faults or [(names[place], what) for place, what in header.faults.items()] or await keeper.begin(names)
        if faults:
            for column, detail in faults:
                self.fault(header.line, column, detail)
            return
        await self._rows(found, Reader(self.table, names), keeper)
        await keeper.end()

    async def _rows(self, found: Iterator[Record], reader: Reader, keeper: Keeper) -> None:
        slices = Slices()
        batch: list[Row] = []
        for record in found:
            await slices.breathe()
            self.rows += 1
            row, wrong = reader.row(record)
            for column, detail in wrong:
                self.fault(record.line, column, detail)
            if row is not None:
                batch.append(row)
            if len(batch) == BATCH_ROWS:
                await keeper.put(batch)
                batch = []
        if batch:
            await keeper.put(batch)

    def report(self, *, stored: bool) -> ImportReport:
        """How it went."""
        good = sum(self.counts.values())
        created, updated = (self.counts["created"], self.counts["updated"]) if stored else (0, 0)
        return ImportReport(
            rows=self.rows, good=good, imported=created + updated, created=created, updated=updated, unchanged=self.counts["unchanged"],
            skipped=self.rows - good if stored else 0, errors=tuple(sorted(self._errors, key=lambda error: error.line)),
            error_count=self.error_count, dry_run=self.order.dry_run,
        )  # fmt: skip


async def bring_in(
    db: Database, actor: Actor, means: Means, table: Table, source: bytes | AsyncIterable[bytes], order: Order | None = None, *,
    spreadsheet: bool = False,
) -> ImportReport:  # fmt: skip
    """Import a file of ``table``, CSV or XLSX (``spreadsheet``: it is said to be that), with a header of its columns. What a column that is there says
    will be so; what has no column stays.

    A bad row keeps all others out too, unless ``skip_bad``. A dry run finds the same faults and stores nothing. Raises InvalidInput for a file that is
    too large, Conflict if somebody made one of the rows, or took away what they refer to, at the same time; then nothing was imported.
    """
    data = await received(source)
    digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
    order = order or Order()
    run: FileRun | None = None
    try:
        async with opened(data, means.converter, spreadsheet=spreadsheet) as found, db.transaction(actor.scope) as conn:
            run = FileRun(conn, actor, means, order, table)
            if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
                run.fault(1, "", "the file is UTF-16; save it as UTF-8")
            else:
                await run.read(found)
            if not run.wanted or not (run.counts["created"] or run.counts["updated"]):
                raise _RolledBack
            told = {"mode": order.mode, "rows": run.rows, "bad": run.rows - sum(run.counts.values()), **_told(run.counts), "sha256": digest}
            await audit.record(conn, actor, f"{table.action}.import", "import", digest[:16], after=told)
    except _RolledBack:
        assert run is not None
    report = run.report(stored=run.wanted)
    if table.name == "subscribers":
        await look_anew(db, actor, report.imported)
    return report


async def look_anew(db: Database, actor: Actor, rows: int) -> None:
    """Where so many subscribers were stored that their lists would be slow until the database looks at them by itself, have it look now."""
    if rows < MANY_ROWS:
        return
    try:
        async with db.transaction(actor.scope) as conn:
            await store.analyze(conn)
    except StoreError as error:  # the rows are in, whatever becomes of this
        log.warning("no statistics of the subscribers that were imported: %s", error)


def _told(counts: Mapping[Outcome, int]) -> dict[str, int]:
    return {str(outcome): count for outcome, count in counts.items()}


async def received(source: bytes | AsyncIterable[bytes]) -> bytes:
    """The whole file. Raises InvalidInput beyond ``MAX_OCTETS``."""
    if isinstance(source, bytes):
        data = source
    else:
        gathered = io.BytesIO()
        async for chunk in source:
            gathered.write(chunk)
            if gathered.tell() > MAX_OCTETS:
                break
        data = gathered.getvalue()  # its own octets, not a copy
    if len(data) > MAX_OCTETS:
        raise InvalidInput([Fault("", f"the file is larger than {MAX_OCTETS >> 20} MiB; split it")])
    return data


def faults_of(table: Table, faults: Sequence[Fault]) -> list[tuple[str, str]]:
    """Faults of members, as (column, detail)."""
    return [(column_of(table, fault.where), fault.what) for fault in faults]


def column_of(table: Table, pointer: str) -> str:
    """The column that a JSON pointer, or a member's name, leads to; the key's if there is none."""
    name = pointer.strip("/").partition("/")[0]
    return name if table.column(name) is not None else table.key
