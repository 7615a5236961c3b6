"""Fills the directory and the sessions from the database, and keeps the directory current from the change feed."""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable
from typing import Final

from netd.radius.accounting import Accounting
from netd.radius.clients import Clients
from netd.radius.directory import Directory
from netd.radius.enforce import Enforcer
from netd.radius.leases import Leases
from netd.radius.sessions import Sessions
from netd.store import accounting as accounting_store
from netd.store import directory as store
from netd.store import leases as lease_store
from netd.store import metering, policies, tellings
from netd.store.database import Connection, Database
from netd.store.feed import Batch

log = logging.getLogger(__name__)

CHANGED_ROWS: Final = 200
"""Changed rows read in one step: a billing run may touch every subscriber, and packets have their turn after every one or two milliseconds of it."""


class Loader:
    """Reads what changed and tells enforcement."""

    def __init__(
        self, database: Database, directory: Directory, clients: Clients, sessions: Sessions, enforcer: Enforcer, accounting: Accounting, leases: Leases
    ) -> None:  # fmt: skip
        self.database = database
        self.directory = directory
        self.clients = clients
        self.sessions = sessions
        self.enforcer = enforcer
        self.accounting = accounting
        self.leases = leases
        self.loaded_at = 0.0
        self.applied = 0

    async def load(self) -> None:
        """Read everything. Entries that are gone from the database are forgotten."""
        started = time.monotonic()
        directory = self.directory
        seen: set[int] = set()
        async with self.database.transaction() as conn:
            directory.grants.services |= await policies.load(conn)
            directory.put_plans(await store.plans(conn))
            directory.put_quotas(list(directory.plans), await metering.quotas(conn))
            await self.accounting.quotas.load(conn)
            directory.put_pools(await lease_store.pools(conn), await lease_store.rules(conn))
            nas = await store.nas(conn)
            directory.put_nas(nas)
            directory.remove_nas(set(directory.nas) - {row.id for row in nas})
            await self._load_clients(conn, None)
            self.accounting.told = await tellings.wanted(conn)
            async for rows in store.all_subscribers(conn):
                directory.put_subscribers(rows)
                seen.update(row.id for row in rows)
        directory.remove_subscribers(set(directory.subscribers) - seen)
        self.loaded_at = time.time()
        log.info(
            "directory loaded",
            extra={
                "subscribers": len(directory.subscribers),
                "plans": len(directory.plans),
                "nas": len(directory.nas),
                "seconds": round(time.monotonic() - started, 2),
            },
        )

    async def _load_clients(self, conn: Connection, ids: Collection[int] | None) -> None:
        """Read the systems that may send CoA, all or those of ``ids``, and forget those that are gone."""
        rows = await store.coa_clients(conn, None if ids is None else list(ids))
        self.clients.put(rows)
        self.clients.remove(set(self.clients.by_id if ids is None else ids) - {row.id for row in rows})

    async def load_sessions(self) -> None:
        """Read all leases, then the open sessions of all NAS, which say which of these are in use."""
        await self.load_leases()
        async with self.database.transaction() as conn:
            rows = await accounting_store.read_all_open(conn)
        for row in rows:
            self.sessions.put(row)
            self.accounting.remember(row)
        log.info("open sessions loaded", extra={"sessions": len(rows)})

    async def load_leases(self) -> None:
        """Read what every subscriber has or had last; what is known already stays known."""
        async with self.database.transaction() as conn:
            async for rows in lease_store.all_leases(conn):
                self.leases.put(rows)

    async def reload(self) -> None:
        """The feed lost its place: read everything again, and look at every session."""
        await self.load()
        await self._reread_leases(list(self.leases.by_subscriber), told=False)
        await self.enforcer.subscribers_changed(list(self.sessions.by_subscriber))

    async def apply(self, batch: Batch) -> None:
        """Read again what the feed names, then let enforcement look at the sessions concerned."""
        plans = batch.changed.get("plan", frozenset())
        nas = batch.changed.get("nas", frozenset())
        await self._reread_leases(sorted(batch.changed.get("lease", ())), told=True)
        with self.enforcer.gathering():  # many rows changed together are one wave
            await self._read_again(batch, plans, nas)
        self.applied += 1

    async def _read_again(self, batch: Batch, plans: frozenset[int], nas: frozenset[int]) -> None:
        directory = self.directory
        async with self.database.transaction() as conn:
            if plans:
                directory.put_plans(await store.plans(conn, list(plans)))
                directory.put_quotas(plans, await metering.quotas(conn, list(plans)))
            if "pool" in batch.changed:
                directory.put_pools(await lease_store.pools(conn), await lease_store.rules(conn))
            if nas:
                rows = await store.nas(conn, list(nas))
                directory.put_nas(rows)
                directory.remove_nas(nas - {row.id for row in rows})
            if clients := batch.changed.get("coa_client"):
                await self._load_clients(conn, clients)
            if "session_wish" in batch.changed:
                self.accounting.told = await tellings.wanted(conn)
            for chunk in _chunks(sorted(batch.changed.get("subscriber", ())), CHANGED_ROWS):
                found = await store.some_subscribers(conn, chunk)
                directory.put_subscribers(found)
                await self.enforcer.subscribers_changed([row.id for row in found])
                deleted = set(chunk) - {row.id for row in found}
                self.enforcer.subscribers_deleted(deleted)
                directory.remove_subscribers(deleted)
                await asyncio.sleep(0)
            for chunk in _chunks(sorted(batch.changed.get("quota", ())), CHANGED_ROWS):
                await self.accounting.quotas.reload(conn, chunk)
                await self.enforcer.subscribers_changed(chunk)
        if plans:
            await self.enforcer.plans_changed(plans)

    async def _reread_leases(self, ids: list[int], told: bool) -> None:
        """These subscribers may have lost a lease, or were ``told`` to have: forget what they no longer have."""
        for chunk in _chunks(ids, CHANGED_ROWS):
            async with self.database.transaction() as conn:
                rows = await lease_store.of_subscribers(conn, chunk)
            self.leases.reread(chunk, rows, told)
            await asyncio.sleep(0)


def _chunks(ids: list[int], size: int) -> Iterable[list[int]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
