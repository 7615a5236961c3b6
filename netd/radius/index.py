"""Open sessions by what names them: made when the first request asks for it, and kept current from then on. Who relays nothing pays nothing."""

import re
from collections.abc import Iterable
from typing import Final

from netd.model.accounting import Row
from netd.model.subscriber import username_key

MEMBERS: Final = (
    "acctsessionid", "framedipaddress", "framedipv6address", "framedipv6prefix", "delegatedipv6prefix", "callingstationid", "nasportid", "framedinterfaceid",
)  # fmt: skip
"""Members of a row by which it is found. (Not the called station: it may be the same for all.)"""

Key = tuple[str, str]
"""Member of a row, or "username", and the value as it is compared."""

_MAC: Final = re.compile(r"[0-9a-f]{12}")


def normal(member: str, text: str | None) -> str | None:
    """A fact as it is compared: MAC addresses in whatever form they are written."""
    if text is None or member not in ("callingstationid", "calledstationid"):
        return text
    bare = text.lower().replace("-", "").replace(":", "").replace(".", "")
    return bare if _MAC.fullmatch(bare) else text.lower()


class SessionIndex:
    """Unique ids of sessions by each fact. One session for a fact, the usual case, costs no set."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._found: dict[Key, str | set[str]] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Take a session in."""
        for key in _keys(row):
            found = self._found.get(key)
            if found is None:
                self._found[key] = row.acctuniqueid
            elif isinstance(found, set):
                found.add(row.acctuniqueid)
            elif found != row.acctuniqueid:
                self._found[key] = {found, row.acctuniqueid}

    def remove(self, row: Row) -> None:
        """Forget a session, by the row that it was taken in with."""
        for key in _keys(row):
            found = self._found.get(key)
            if found == row.acctuniqueid:
                del self._found[key]
            elif isinstance(found, set):
                found.discard(row.acctuniqueid)
                if not found:
                    del self._found[key]

    def find(self, member: str, value: str) -> list[str]:
        """The sessions with this fact."""
        found = self._found.get((member, value))
        if found is None:
            return []
        return [found] if isinstance(found, str) else sorted(found)

    def __len__(self) -> int:
        return len(self._found)


def _keys(row: Row) -> list[Key]:
    keys = [("username", username_key(row.username))]
    for member in MEMBERS:
        value = normal(member, getattr(row, member))
        if value:
            keys.append((member, value))
    return keys
