"""Keeps leases in the database in line with what happens: grants answered from memory, sessions that begin and end, conflicts, and counts."""

import asyncio
import logging
from typing import Final

from netd.errors import StoreError, StoreUnavailable
from netd.radius.leases import Held, Leases, claims_and_ends
from netd.radius.sessions import Sessions
from netd.store import leases as store
from netd.store.database import Database

log = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 0.25
FLUSH_ROWS: Final = 1_000
RECONCILE_SECONDS: Final = 300.0
COUNT_SECONDS: Final = 15.0
CONFLICTS_KEPT: Final = 10_000


class LeaseUpkeep:
    """Periodic work on leases. Each loop runs for ever and outlives an outage of the database."""

    def __init__(self, database: Database, leases: Leases, sessions: Sessions, hold_seconds: float) -> None:
        self.database = database
        self.leases = leases
        self.sessions = sessions
        self._hold_seconds = hold_seconds
        self._flushing = asyncio.Lock()

    async def keep(self) -> None:
        """Write what changed a few times a second, for ever."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write what is not written yet; it stays in memory while the database is away."""
        async with self._flushing:
            while self.leases.dirty:
                try:
                    written = await self._flush_some(self.leases.take_dirty(FLUSH_ROWS))
                finally:
                    self.leases.writing = {}
                if not written:
                    return
                await asyncio.sleep(0)
            self.leases.behind = False
            await self._flush_conflicts()

    async def _flush_some(self, helds: list[Held]) -> bool:
        claims, ends = claims_and_ends(helds)
        kept: dict[int, float] = {}
        try:
            async with self.database.transaction() as conn:
                await store.by_index(conn)
                if claims:
                    kept = await store.claim(conn, claims, self._hold_seconds)
                if ends:
                    await store.end(conn, ends)
        except StoreUnavailable:
            for held in helds:
                self.leases.dirty.setdefault(held)
            return False
        except StoreError as error:
            log.error("the state of leases was refused by the database", extra={"leases": len(claims) + len(ends), "error": str(error)})
            return True
        lost = {claim.id for claim in claims} - set(kept)
        if lost:
            await self._lost([held for held in helds if lost.intersection(held.ids)], lost)
        return True

    async def _lost(self, helds: list[Held], lost: set[int]) -> None:
        """What these were answered with had become another's, while the database was away. Their sessions must end, and get something else.

        A lease whose row is gone altogether is nobody's: then there is nothing to end.
        """
        ids = sorted({held.subscriber_id for held in helds})
        try:
            async with self.database.transaction() as conn:
                taken = await store.present(conn, sorted(lost))
                rows = await store.of_subscribers(conn, ids)
        except StoreError as error:
            log.warning("leases not read again", extra={"subscribers": len(ids), "error": str(error)})
            for held in helds:
                self.leases.dirty.setdefault(held)  # the claim will be refused again
            return
        for held in helds:
            if not taken.intersection(held.ids):
                continue
            live = self.sessions.by_id.get(held.session) if held.session else None
            if held.pending:
                log.error("an address was granted that is another's by now", extra={"subscriber": held.subscriber_id})
                self.leases.note_lost(held.token)
            if live is not None:
                self.leases.lose(live)
        self.leases.replace(ids, rows)

    async def _flush_conflicts(self) -> None:
        conflicts, self.leases.conflicts = self.leases.conflicts, []
        if not conflicts:
            return
        try:
            async with self.database.transaction() as conn:
                await store.note_conflicts(conn, conflicts)
        except StoreUnavailable:
            self.leases.conflicts = (conflicts + self.leases.conflicts)[-CONFLICTS_KEPT:]
        except StoreError as error:
            log.error("a conflict was refused by the database", extra={"conflicts": len(conflicts), "error": str(error)})

    async def reconcile(self) -> None:
        """Compare leases with the open sessions every few minutes, for ever."""
        while True:
            await asyncio.sleep(RECONCILE_SECONDS)
            try:
                await self.reconcile_once()
            except StoreError as error:
                log.warning("leases not compared with sessions", extra={"error": str(error)})

    async def reconcile_once(self) -> tuple[int, int]:
        """How many leases ended unnoticed, and how many were in use that looked free."""
        async with self.database.transaction() as conn:
            ended, begun = await store.reconcile(conn)
        if ended or begun:
            log.info("leases corrected", extra={"ended": ended, "in_use": begun})
        return ended, begun

    async def count(self) -> None:
        """Count what is used in each pool several times a minute, for ever."""
        while True:
            try:
                await self.count_once()
            except StoreError as error:
                log.warning("pools not counted", extra={"error": str(error)})
            await asyncio.sleep(COUNT_SECONDS)

    async def count_once(self) -> None:
        """One count."""
        if not self.leases.pools.by_id:
            return
        async with self.database.acquire() as conn:
            usage = await store.usage(conn)
        self.leases.pools.count(usage)
