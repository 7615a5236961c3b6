"""How people's log-ins stand, for /metrics. A scrape reads memory only, so the tables are looked at now and then."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, get_args

from netd.config import LoginConfig
from netd.errors import StoreError
from netd.metrics import Metrics
from netd.model.user import FailureKind
from netd.store import logins as store
from netd.store.database import Database
from netd.store.logins import Standing

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 15.0


class LoginWatch:
    """Counts sessions and lock-outs until it is cancelled. ``database`` acts as the owner, for it counts those of all tenants."""

    def __init__(self, database: Database, settings: LoginConfig, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._database = database
        self._idle = timedelta(minutes=settings.idle_minutes)
        self._now = now
        self._standing = Standing(0, {})

    async def run(self) -> None:
        """Look again and again; while the database is away the last numbers stand."""
        while True:
            try:
                await self.look()
            except StoreError as error:
                log.debug("log-ins not counted", extra={"error": str(error)})
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Count once. Raises StoreError."""
        now = self._now()
        async with self._database.acquire() as conn:
            self._standing = await store.standing(conn, now, now - self._idle)

    def _locks(self) -> Mapping[str, int]:
        return {kind: self._standing.locks.get(kind, 0) for kind in get_args(FailureKind)}

    def register(self, metrics: Metrics) -> None:
        """Add the series."""
        metrics.gauge("netd_user_sessions", "Sessions of users that are good", lambda: self._standing.sessions)
        metrics.gauge("netd_login_locks", "Lock-outs in force by what is locked", self._locks, ("kind",))
