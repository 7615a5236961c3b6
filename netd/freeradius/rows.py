"""What FreeRADIUS's SQL schema holds, as values."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, Protocol

Table = Literal["radcheck", "radreply", "radgroupcheck", "radgroupreply", "radusergroup", "nas"]


class Row(NamedTuple):
    """A row of radcheck, radreply (``owner`` is the user), radgroupcheck or radgroupreply (the group)."""

    table: Table
    id: int
    owner: str
    attribute: str
    op: str
    value: str


class Membership(NamedTuple):
    """A row of radusergroup."""

    id: int
    username: str
    group: str
    priority: int


class NasEntry(NamedTuple):
    """A row of nas. ``secret`` is not part of its repr."""

    id: int
    nasname: str
    shortname: str
    type: str
    secret: str
    server: str
    description: str

    def __repr__(self) -> str:
        return f"NasEntry({self.id}, {self.nasname!r}, {self.shortname!r}, {self.type!r})"


class User(NamedTuple):
    """All rows of one user, each list in the order in which FreeRADIUS reads it."""

    name: str
    checks: Sequence[Row]
    replies: Sequence[Row]
    groups: Sequence[Membership]


class Groups(NamedTuple):
    """All groups' rows by group as the database compares names (``key``)."""

    checks: dict[str, list[Row]]
    replies: dict[str, list[Row]]


class Source(Protocol):
    """A database with FreeRADIUS's schema, read in one snapshot."""

    fold_case: bool
    """Whether the database takes names that differ in case or in blanks at the end for the same, as MySQL does by default."""

    def groups(self) -> Groups:
        """Every group's rows."""
        ...

    def nas(self) -> list[NasEntry]:
        """Every NAS."""
        ...

    def users(self) -> Iterator[User]:
        """Every user that stands in radcheck, radreply or radusergroup; never all in memory at a time."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


def key(name: str, fold_case: bool) -> str:
    """The form under which a source's database compares names."""
    return name.rstrip(" ").casefold() if fold_case else name
