"""Sessions that their NAS does not know: they ended without a word, so they end here too."""

import logging
from itertools import islice
from typing import Final

from netd.errors import StoreError
from netd.model.accounting import Row
from netd.radius.sessions import Sessions
from netd.store import accounting as store
from netd.store import sessions as session_store
from netd.store.database import Database

log = logging.getLogger(__name__)

CHUNK: Final = 500


class Vanished:
    """Those that are not closed yet."""

    def __init__(self, database: Database, sessions: Sessions) -> None:
        self._database = database
        self._sessions = sessions
        self._rows: dict[str, Row] = {}

    def add(self, row: Row) -> None:
        """The NAS does not know this session: it is closed within a moment."""
        self._rows[row.acctuniqueid] = row

    async def close(self) -> bool:
        """Close them all. False if the database is away: then it stays to be done."""
        while self._rows:
            chunk = dict(islice(self._rows.items(), CHUNK))
            try:
                async with self._database.transaction() as conn:
                    stored = {row.acctuniqueid: row.radacctid for row in await store.read_open(conn, list(chunk))}
                    # What is open under its id now may be another session, and the one that is meant over.
                    closing = [key for key, row in chunk.items() if stored.get(key) == row.radacctid]
                    await session_store.close(conn, closing, "not_found", "NAS-Error", None)
            except StoreError as error:
                log.warning("sessions unknown to their NAS not closed yet", extra={"sessions": len(chunk), "error": str(error)})
                return False
            for key, row in chunk.items():
                self._forget(key, row)
        return True

    def _forget(self, key: str, row: Row) -> None:
        live = self._sessions.by_id.get(key)
        if live is not None and live.row.radacctid == row.radacctid:
            self._sessions.remove([key])
        if self._rows.get(key) is row:
            del self._rows[key]
