"""Importing subscribers from CSV: all or nothing in one transaction, or on request all that is good."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterable

import msgspec

from netd.domain import audit
from netd.domain.actor import Actor
from netd.domain.subscribers import sealed
from netd.domain.table import Table, header_faults, records
from netd.errors import Fault, InvalidInput
from netd.keyring import Keyring
from netd.store import imports as store
from netd.store import plans as plan_store
from netd.store.database import Connection, Database

MAX_OCTETS = 64 << 20
MAX_ERRORS = 1000
BATCH_ROWS = 500
SLICE_SECONDS = 0.004


class RowError(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with a row; ``line`` is where the row begins, ``column`` is empty if it is about the whole row."""

    line: int
    column: str
    detail: str


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """How an import went: ``rows`` in the file, ``good`` ones among them, ``imported`` ones (none in a dry run, or if any was bad and bad ones
    were not to be skipped), ``skipped`` bad ones. ``errors`` are the first thousand of ``error_count``."""

    rows: int
    good: int
    imported: int
    skipped: int
    errors: tuple[RowError, ...]
    error_count: int
    dry_run: bool


class _Tally:
    """What was read and what was wrong."""

    def __init__(self) -> None:
        self.rows = 0
        self.good = 0
        self.error_count = 0
        self.errors: list[RowError] = []

    def fault(self, line: int, column: str, detail: str) -> None:
        self.error_count += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(RowError(line=line, column=column, detail=detail))

    def report(self, imported: int, *, dry_run: bool, skip_bad: bool) -> ImportReport:
        errors = tuple(sorted(self.errors, key=lambda error: error.line)[:MAX_ERRORS])
        skipped = self.rows - self.good if skip_bad and not dry_run else 0
        return ImportReport(rows=self.rows, good=self.good, imported=imported, skipped=skipped, errors=errors, error_count=self.error_count, dry_run=dry_run)


class _Slices:
    """Gives the event loop back every few milliseconds: RADIUS is answered in the same one."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    async def breathe(self) -> None:
        if time.perf_counter() - self._began > SLICE_SECONDS:
            await asyncio.sleep(0)
            self._began = time.perf_counter()


async def import_subscribers(
    db: Database, actor: Actor, keyring: Keyring, source: bytes | AsyncIterable[bytes], *,
    dry_run: bool = False, skip_bad: bool = False, allow_no_password: bool = False,
) -> ImportReport:  # fmt: skip
    """Import a CSV file with a header of ``netd.domain.table.COLUMNS``; username, password and plan are required.

    A bad row keeps all others out too, unless ``skip_bad``. An empty password is a fault unless ``allow_no_password``. A dry run finds
    the same faults and stores nothing. Raises InvalidInput for a file that is too large, Conflict if somebody made one of the
    subscribers or took away a plan at the same time; then nothing was imported.
    """
    data = await _received(source)
    digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
    tally = _Tally()
    async with db.transaction(actor.scope) as conn:
        await store.begin(conn)
        await _read(conn, actor, keyring, data, tally, seal=not dry_run, allow_no_password=allow_no_password)
        clashes, count, removed = await store.take_out_clashes(conn, actor.tenant_id, MAX_ERRORS)
        for clash in clashes:
            what = "exists already" if clash.column == "username" else f"belongs to {clash.owner}"
            tally.fault(clash.line, clash.column, f"{what} ({clash.owner_state})")
        tally.error_count += count - len(clashes)
        tally.good -= removed
        imported = 0
        if not dry_run and tally.good and (skip_bad or not tally.error_count):
            imported = await store.store(conn, actor.tenant_id)
            told = {"rows": tally.rows, "imported": imported, "skipped": tally.rows - imported, "sha256": digest}
            await audit.record(conn, actor, "subscriber.import", "import", digest[:16], after=told)
    return tally.report(imported, dry_run=dry_run, skip_bad=skip_bad)


async def _received(source: bytes | AsyncIterable[bytes]) -> bytes:
    if isinstance(source, bytes):
        data = source
    else:
        gathered = bytearray()
        async for chunk in source:
            gathered += chunk
            if len(gathered) > MAX_OCTETS:
                break
        data = bytes(gathered)
    if len(data) > MAX_OCTETS:
        raise InvalidInput([Fault("", f"the file is larger than {MAX_OCTETS >> 20} MiB; split it")])
    return data


async def _read(conn: Connection, actor: Actor, keyring: Keyring, data: bytes, tally: _Tally, *, seal: bool, allow_no_password: bool) -> None:
    """Copy every good row of the file into the temporary table."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        tally.fault(1, "", "the file is UTF-16; save it as UTF-8")
        return
    found = records(data)
    header = next(found, None)
    if header is None:
        tally.fault(1, "", "the file is empty")
        return
    columns = [cell.strip().lower() for cell in header.cells]
    faults = [("", header.fault)] if header.fault else header_faults(columns)
    if faults:
        for column, detail in faults:
            tally.fault(header.line, column, detail)
        return
    table = Table(columns, await plan_store.ids_by_name(conn, actor.tenant_id), allow_no_password)
    slices = _Slices()
    batch = []
    for record in found:
        await slices.breathe()
        tally.rows += 1
        values, wrong = table.values(record)
        if wrong:
            for column, detail in wrong:
                tally.fault(record.line, column, detail)
            continue
        tally.good += 1
        password = values.get("password")
        values["password"] = sealed(keyring, password) if seal and password is not None else None
        batch.append((record.line, *[values.get(name) for name in store.COLUMNS[1:]]))
        if len(batch) == BATCH_ROWS:
            await store.add(conn, batch)
            batch = []
    if batch:
        await store.add(conn, batch)
