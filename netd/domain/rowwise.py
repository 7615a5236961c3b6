"""Rows of a table that are kept one after the other, each by the same operation as a request of its own; for thousands of rows, not for a million.

Each has a savepoint: the database's refusal of one, told like any other fault, leaves the others as they are.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from netd.domain import audit
from netd.domain.imports import column_of, faults_of
from netd.domain.table import Row, Run, missing
from netd.errors import Conflict, InvalidInput, OutsideScope
from netd.store.database import savepoint


class Rowwise:
    """Keeps rows by operations on ``run``: ``find`` the one of a key, ``create`` one, ``update`` one (False: it is as wanted already). ``check`` raises
    InvalidInput for what shows without the database, of rows that are bad anyway."""

    def __init__(
        self, run: Run, *, find: Callable[[Run, str], Awaitable[Any]], create: Callable[[Run, dict[str, Any]], Awaitable[object]],
        update: Callable[[Run, Any, dict[str, Any]], Awaitable[bool]], check: Callable[[Run, dict[str, Any]], object],
    ) -> None:  # fmt: skip
        self._run = run
        self._find = find
        self._create = create
        self._update = update
        self._check = check
        self._recorded: list[audit.Entry] = []

    async def begin(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Any columns will do: what a new row lacks shows with it."""
        return []

    async def put(self, rows: Sequence[Row]) -> None:
        """Keep each, or report what is wrong with it."""
        for row in rows:
            try:
                if not row.good:
                    self._check(self._run, dict(row.members))
                    continue
                with audit.held(self._run.conn) as recorded:
                    async with savepoint(self._run.conn):
                        await self._one(row)
                if self._run.wanted:
                    self._recorded += recorded
            except InvalidInput as error:
                for column, detail in faults_of(self._run.table, error.faults):
                    self._run.fault(row.line, column, detail)
            except (Conflict, OutsideScope) as error:
                self._run.fault(row.line, column_of(self._run.table, getattr(error, "field", "")), str(error))

    async def _one(self, row: Row) -> None:
        run, table = self._run, self._run.table
        members = dict(row.members)
        key = members[table.key]
        found = await self._find(run, key)
        if found is None:
            if run.order.mode == "update":
                run.fault(row.line, table.key, f"there is no {table.noun} {key}")
                return
            if lacks := missing(table, members):
                for column, detail in lacks:
                    run.fault(row.line, column, detail)
                return
            await self._create(run, members)
            run.count("created")
            return
        if run.order.mode == "create":
            run.fault(row.line, table.key, "exists already")
            return
        del members[table.key]
        run.count("updated" if await self._update(run, found, members) else "unchanged")

    async def end(self) -> None:
        """Put on record what was done, now that nothing else is left to do; what is not wanted is rolled back with the transaction."""
        if self._run.wanted:
            await audit.add(self._run.conn, self._run.actor.tenant_id, self._recorded)


def same(before: object, columns: Mapping[str, Any]) -> bool:
    """Whether a thing has these values already."""
    return all(_plain(getattr(before, name)) == _plain(value) for name, value in columns.items())


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
