"""Tables that can be exported and imported: which columns there are, how their cells are read, and who keeps the rows.

A new one is one :class:`Table` more, in ``domain/tables``; its routes, commands and tests follow.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Protocol

import msgspec
from msgspec import UNSET

from netd.domain import cells, inputs
from netd.domain.actor import Actor
from netd.domain.cells import Form
from netd.domain.devices import Catalogue
from netd.domain.kinds import Kinds
from netd.domain.paging import Identified
from netd.domain.ports import AttributeRules
from netd.domain.records import Record
from netd.keyring import Keyring
from netd.sheets.converter import Converter
from netd.store.database import Connection
from netd.store.listing import Listing

Mode = Literal["create", "update", "upsert"]
Outcome = Literal["created", "updated", "unchanged"]


class Column(NamedTuple):
    """A column. ``kind`` is the type that its values are validated against, ``value`` takes one from an item (None: the member of its name).

    ``required``: nothing new is made without. ``secret``: exported only for who may see secrets. ``empty`` is what an empty cell says: None or ()
    take away what was there, UNSET says nothing.
    """

    name: str
    form: Form
    kind: Any
    required: bool = False
    secret: bool = False
    empty: Any = UNSET
    value: Callable[[Any], Any] | None = None

    def cell(self, item: Any) -> cells.Cell:
        """The cell of an item."""
        found = getattr(item, self.name) if self.value is None else self.value(item)
        return None if found is None else self.form.write(found)

    def parsed(self, text: str) -> Any:
        """The value that a cell says, UNSET for none. Raises ValueError with what is wrong, which tells no secret."""
        text = cells.restored(text)
        if not self.form.exact:
            text = text.strip()
        if not text:
            return self.empty
        try:
            return msgspec.convert(self.form.read(text), self.kind)
        except msgspec.ValidationError as error:
            raise ValueError(inputs.in_words(str(error).partition(" - at `")[0])) from None


def columns_of(
    new: type[msgspec.Struct], *, forms: Mapping[str, Form] = {}, secret: Collection[str] = (), without: Collection[str] = (),
    values: Mapping[str, Callable[[Any], Any]] = {},
) -> tuple[Column, ...]:  # fmt: skip
    """Columns for the members of a struct that says what a new thing may have; ``forms`` where its type does not tell how it is written."""
    found = []
    for member in msgspec.structs.fields(new):
        if member.name in without:
            continue
        form, is_secret = forms.get(member.name) or cells.form_of(member.type), member.name in secret
        empty = () if form.listed else None if member.default is None and not is_secret else UNSET
        found.append(Column(
            name=member.name, form=form, kind=member.type, required=member.required, secret=is_secret, empty=empty, value=values.get(member.name),
        ))  # fmt: skip
    return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What reading and keeping rows needs."""

    keyring: Keyring
    rules: AttributeRules
    vendors: Collection[str]
    converter: Converter
    catalogue: Catalogue = field(default_factory=lambda: Catalogue(frozenset(), {}))
    kinds: Kinds = field(default_factory=Kinds)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a file is to be brought in. ``create`` takes only what is not there, ``update`` only what is, ``upsert`` both. ``dry_run``: find the same
    faults, store nothing. ``skip_bad``: one bad row does not keep the good ones out. ``allow_no_password``: an empty password of a new subscriber is
    meant."""

    mode: Mode = "create"
    dry_run: bool = False
    skip_bad: bool = False
    allow_no_password: bool = False


class Row(NamedTuple):
    """A row: where it stands, and its members as far as the file says anything of them. One that is not ``good`` is handed on so that all that is wrong
    with it is told at once; it may lack even the key."""

    line: int
    members: dict[str, Any]
    good: bool = True


class Run(Protocol):
    """One reading of a file, as who keeps its rows sees it."""

    conn: Connection
    actor: Actor
    means: Means
    order: Order
    table: "Table"

    @property
    def wanted(self) -> bool:
        """Whether what is good is to be kept, as far as is known."""
        ...

    def fault(self, line: int, column: str, detail: str) -> None:
        """Report what is wrong with a row."""
        ...

    def count(self, outcome: Outcome, by: int = 1) -> None:
        """Count good rows."""
        ...


class Keeper(Protocol):
    """Keeps the rows of one run."""

    async def begin(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Make ready for a file of these columns; what is wrong with them, as (column, detail)."""
        ...

    async def put(self, rows: Sequence[Row]) -> None:
        """Take some rows, in order; keep each good one, and report what is wrong."""
        ...

    async def end(self) -> None:
        """There are no more. Where ``run.wanted`` is False then, nothing will be kept."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table. ``name`` is its name in commands and files, ``noun`` one row's, ``action`` what begins the names of its actions in the audit log,
    ``path`` where its list is in the API, and ``key`` the column that an existing row is known by.

    ``items`` makes what columns take their values from, of the listing's records; ``secrets`` the secret cells of each item, in plain.
    """

    name: str
    noun: str
    action: str
    path: str
    key: str
    columns: tuple[Column, ...]
    listing: Listing
    items: Callable[[Connection, Actor, Sequence[Mapping[str, Any]]], Awaitable[Sequence[Identified]]]
    keeper: Callable[[Run], Keeper]
    secrets: Callable[[Connection, Actor, Keyring, Sequence[Any]], Awaitable[Sequence[Mapping[str, str | None]]]] | None = None
    parse: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)
    reads: str = ""
    writes: str = ""

    def column(self, name: str) -> Column | None:
        """The column of this name."""
        return next((each for each in self.columns if each.name == name), None)


def header_faults(table: Table, names: Sequence[str], mode: Mode) -> list[tuple[str, str]]:
    """What is wrong with the header, as (column, detail); ``names`` are lower case without blanks around."""
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        return [("", "the columns are not separated by commas")]
    known = [column.name for column in table.columns]
    faults = [(name, "is not a column of this table; there are " + ", ".join(known)) for name in names if name not in known]
    faults += [(name, "stands there twice") for name in dict.fromkeys(names) if names.count(name) > 1]
    needed = [column.name for column in table.columns if column.name == table.key or (column.required and mode != "update")]
    if mode == "upsert":
        needed = [table.key]  # whether a row is new shows later
    faults += [(name, "is missing") for name in needed if name not in names]
    return faults


class Reader:
    """Turns records of one file into members, remembering where each key stood first."""

    def __init__(self, table: Table, names: Sequence[str]) -> None:
        self._columns = [each for each in (table.column(name) for name in names) if each is not None]
        self._key = table.key
        # Plain texts as keys: the garbage collector passes such a dictionary over, however large.
        self._seen: dict[str, int] = {}

    def row(self, record: Record) -> tuple[Row | None, list[tuple[str, str]]]:
        """The row, and its faults as (column, detail); None if it cannot be read at all."""
        if record.fault:
            return None, [("", record.fault)]
        if len(record.cells) != len(self._columns):
            return None, [("", f"has {len(record.cells)} cells where the header has {len(self._columns)}")]
        members: dict[str, Any] = {}
        faults: list[tuple[str, str]] = []
        for place, (column, text) in enumerate(zip(self._columns, record.cells, strict=True)):
            try:
                if place in record.faults:
                    raise ValueError(record.faults[place])
                value = column.parsed(text) if text else column.empty
            except ValueError as error:
                faults.append((column.name, str(error)))
                continue
            if value is not UNSET:
                members[column.name] = value
            elif column.name == self._key:
                faults.append((column.name, "is empty"))
        if self._key in members:
            first = self._seen.setdefault(inputs.key_of(members[self._key]), record.line)
            if first != record.line:
                faults.append((self._key, f"stands on line {first} already"))
        return Row(record.line, members, not faults), faults


def missing(table: Table, members: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a new row lacks, as (column, detail)."""
    return [(column.name, "is empty") for column in table.columns if column.required and column.name not in members]
