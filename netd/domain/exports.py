"""Exporting tables: as CSV row by row, as XLSX and PDF through a child process; what was exported can be imported as it is."""

import asyncio
import csv
import io
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from datetime import datetime
from typing import IO, Any, Final

from netd.domain import audit, cells, lists
from netd.domain.actor import Actor
from netd.domain.cells import Cell
from netd.domain.imports import Slices
from netd.domain.lists import ExportQuery
from netd.domain.table import Column, Means, Table
from netd.errors import OutsideScope
from netd.sheets.converter import Converter, Form
from netd.store import listing as store
from netd.store.database import Database
from netd.store.listing import Selection

CHUNK_OCTETS: Final = 1 << 16
REVEAL: Final = "secrets:reveal"

Rows = AsyncIterable[Sequence[Sequence[Cell]]]


async def rows(db: Database, actor: Actor, means: Means, table: Table, query: ExportQuery) -> tuple[list[str], Rows]:
    """The names of the columns, and the rows, some at a time, each part in a transaction of its own: who reads slowly holds up nobody.

    With ``query.secrets`` only what the actor may see secrets of, which is put on record before the first row. Raises InvalidInput; OutsideScope for
    who may see none.
    """
    wanted = lists.selection(table.listing, query, parse=table.parse)
    if query.secrets and table.secrets is not None:
        actor = await _revealed(db, actor, table, query)
    columns = [column for column in table.columns if not column.secret or (query.secrets and table.secrets is not None)]
    return [column.name for column in columns], _parts(db, actor, means, table, wanted, columns)


async def _revealed(db: Database, actor: Actor, table: Table, query: ExportQuery) -> Actor:
    """The actor where both permissions hold."""
    action = f"{table.action}.export_secrets"
    revealing = actor.also(REVEAL)
    if revealing is None:
        await audit.refused(db, actor, action=action, object_type="export", object_id=table.name)
        raise OutsideScope(f"exporting secrets needs the permission {REVEAL}")
    actor = revealing
    told = {name: value for name, value in audit.values(query).items() if value is not None and name != "secrets"}
    async with db.transaction(actor.scope) as conn:
        await audit.record(conn, actor, action, "export", table.name, after=told)
    return actor


async def _parts(
    db: Database, actor: Actor, means: Means, table: Table, wanted: Selection, columns: Sequence[Column]
) -> AsyncIterator[Sequence[Sequence[Cell]]]:
    slices = Slices()
    with_secrets = table.secrets if any(column.secret for column in columns) else None
    while True:
        async with db.transaction(actor.scope) as conn:
            records = await store.page(conn, table.listing, actor.tenant_id, wanted)
            items = await table.items(conn, actor, records)
            secrets = None if with_secrets is None else await with_secrets(conn, actor, means.keyring, items)
        found: list[list[Cell]] = []
        for place, item in enumerate(items):
            await slices.breathe()
            found.append([_cell(column, item, None if secrets is None else secrets[place].get(column.name)) for column in columns])
        if found:
            yield found
        if len(items) < wanted.limit:
            return
        wanted = lists.following(table.listing, wanted, items[-1])


def _cell(column: Column, item: Any, secret: str | None) -> Cell:
    cell = secret if column.secret else column.cell(item)
    return cells.neutral(cell) if isinstance(cell, str) else cell


async def as_csv(names: Sequence[str], parts: Rows) -> AsyncIterator[bytes]:
    """A CSV file (RFC 4180, UTF-8), some rows at a time."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    async for part in parts:
        writer.writerows(part)
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    if text.tell():
        yield text.getvalue().encode()


async def as_file(
    converter: Converter, form: Form, names: Sequence[str], parts: Rows, *, title: str, subtitle: str = "", made_at: datetime
) -> AsyncIterator[bytes]:
    """An XLSX or PDF file, which is whole before the first octet of it is given. Raises InvalidInput for what such a file does not hold, TooOften."""
    file = await converter.write(form, names, parts, title=title, subtitle=subtitle, made_at=made_at)
    return _chunks(file)


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_OCTETS):
            yield chunk
