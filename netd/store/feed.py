"""The change feed's reader: what must be read again, nothing missed, whatever the order in which transactions commit.

A row of ``changes`` carries the id of the transaction that wrote it. The position is the snapshot of the last read: a row is new if its
transaction was not finished in that snapshot. So what commits late is found whenever it commits, and nothing is delivered twice but after
an outage.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from netd.errors import StoreError
from netd.store.database import Connection, Target, connect
from netd.store.partitions import CHANGES_KEPT
from netd.store.translate import translating

log = logging.getLogger(__name__)

CHANNEL = "netd_changes"
POLL_SECONDS = 2.0  # a lost notification costs no more than this
READ_TIMEOUT_SECONDS = 30.0
FIRST_BACKOFF_SECONDS = 0.2
LONGEST_BACKOFF_SECONDS = 5.0
# A server that crashed may give transaction ids of rolled-back transactions out again, so after each reconnection what was written lately is
# delivered whatever its transaction: reading a row once more does no harm.
OVERLAP = timedelta(minutes=1)
NEVER = datetime(9999, 1, 1, tzinfo=UTC)

# One statement, so one snapshot for the rows and for the position after them. $1 is the last snapshot; below its xmin all was finished.
_READ = """
    with s as materialized (select pg_current_snapshot() as snapshot)
    select s.snapshot::text, pg_snapshot_xmin(s.snapshot) as xmin, now() as at, c.entity,
        array_agg(distinct c.entity_id) as ids, array_agg(distinct c.tenant_id) as tenants
    from s left join changes c on (c.xid >= $2 and not pg_visible_in_snapshot(c.xid, $1::text::pg_snapshot)) or c.at >= $3
    group by s.snapshot::text, pg_snapshot_xmin(s.snapshot), c.entity
"""
# Which server this is, and in which of its lives: a restored backup or a promoted standby may lack what was read before.
_LIFE = "select system_identifier::text || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) from pg_control_system()"


class Batch(msgspec.Struct, frozen=True):
    """What changed: the tenants concerned, and per entity ("plan", "subscriber", "nas") the ids of rows to read again, deleted ones among them.
    Entity "quota" stands for what the subscriber of that id used and bought."""

    tenants: frozenset[int]
    changed: Mapping[str, frozenset[int]]


class Position(msgspec.Struct, frozen=True):
    """How far the feed was read: up to ``snapshot``, whose oldest unfinished transaction is ``xmin``."""

    snapshot: str
    xmin: int
    at: datetime  # the server's clock
    life: str


class ChangeFeed:
    """Reads the feed over its own connection and hands batches to ``apply``.

    Order of use: :meth:`start` takes the position, then the caller loads the tables, then :meth:`run` delivers all that changed since
    (something loaded may be delivered again). ``reload`` is called when the feed cannot tell what changed: read everything anew.
    Both callbacks may raise StoreError: the same batch comes again. ``up`` and ``since`` tell whether the feed is being read.
    """

    def __init__(
        self,
        target: Target,
        apply: Callable[[Batch], Awaitable[None]],
        reload: Callable[[], Awaitable[None]],
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._target = target
        self._apply = apply
        self._reload = reload
        self._poll_seconds = poll_seconds
        self._connection: Connection | None = None
        self._position: Position | None = None
        self._overlap = False
        self._wake = asyncio.Event()
        self._settled = asyncio.Condition()
        self._begun = 0
        self._done = 0
        self._owed = 0
        self.up = False
        self.since = time.time()
        self.last_error = ""

    async def start(self) -> None:
        """Connect and take the position. Raises StoreUnavailable."""
        self._connection = await self._connect()
        try:
            self._position = await self._read_position(self._connection)
        except BaseException:
            await self.close()
            raise
        self._set_up(True)

    async def run(self) -> None:
        """Deliver batches until cancelled; reconnects by itself, and resumes where it was. Without :meth:`start` it begins with a reload."""
        backoff = FIRST_BACKOFF_SECONDS
        try:
            while True:
                try:
                    async with self._connected() as connection:
                        while True:
                            await self._step(connection)
                            self._set_up(True)
                            backoff = FIRST_BACKOFF_SECONDS
                            await self._pause()
                except StoreError as error:
                    self._set_up(False, str(error))
                    await asyncio.sleep(backoff)
                    backoff = min(backoff * 2, LONGEST_BACKOFF_SECONDS)
        finally:
            await self.close()

    @property
    def behind(self) -> bool:
        """Whether what somebody waited for in vain (:meth:`settle`) is still not applied."""
        return self._done < self._owed

    async def settle(self, timeout_seconds: float = 5.0) -> bool:
        """Wait until everything committed before this call was applied; False if it took longer than ``timeout_seconds``."""
        wanted = self._begun + 1
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_seconds), self._settled:
                await self._settled.wait_for(lambda: self._done >= wanted)
        except TimeoutError:
            if not self.behind:  # not ever later: those who wait shortly would not see that it has caught up
                self._owed = wanted
            return False
        return True

    async def close(self) -> None:
        """Close the connection. :meth:`run` does it at its end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _connect(self) -> Connection:
        connection = await connect(self._target, command_timeout_seconds=READ_TIMEOUT_SECONDS)
        try:
            with translating():
                connection.add_termination_listener(lambda _: self._wake.set())
                await connection.add_listener(CHANNEL, lambda *_: self._wake.set())
        except BaseException:
            connection.terminate()
            raise
        return connection

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        """The connection of start(), or a new one that goes on from the position if the server is still the same."""
        try:
            if self._connection is None:
                self._connection = await self._connect()
                self._overlap = True
                if self._position is not None:
                    with translating():  # if it does not say, it is asked again, by a connection of its own
                        life = await self._connection.fetchval(_LIFE)
                    if life != self._position.life:
                        self._forget("the database is another one, or was restored or failed over")
            yield self._connection
        except StoreError:
            await self.close()
            raise

    async def _step(self, connection: Connection) -> None:
        self._wake.clear()
        self._begun += 1
        begun = self._begun
        if self._position is None:
            position = await self._read_position(connection)
            await self._reload()
        else:
            read = await self._read(connection, self._position)
            if read is None:
                return await self._step(connection)
            batch, position = read
            if batch.changed:
                await self._apply(batch)
        self._position, self._overlap = position, False
        async with self._settled:
            self._done = begun
            self._settled.notify_all()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._poll_seconds):
                await self._wake.wait()

    async def _read_position(self, connection: Connection) -> Position:
        with translating():
            life = await connection.fetchval(_LIFE)
            row = await connection.fetchrow("select pg_current_snapshot()::text as snapshot, pg_snapshot_xmin(pg_current_snapshot()) as xmin, now() as at")
        return Position(row["snapshot"], row["xmin"], row["at"], life)

    async def _read(self, connection: Connection, position: Position) -> tuple[Batch, Position] | None:
        """What is new since ``position``, and the position after it; None if the position is of no use any more."""
        again = position.at - OVERLAP if self._overlap else NEVER
        with translating():
            rows = await connection.fetch(_READ, position.snapshot, position.xmin, again)
        after = Position(rows[0]["snapshot"], rows[0]["xmin"], rows[0]["at"], position.life)
        if after.xmin < position.xmin:
            self._forget("the database's transaction ids went backwards")
            return None
        if after.at - position.at > CHANGES_KEPT / 2:
            self._forget(f"it was last read {after.at - position.at} ago")
            return None
        changed = {row["entity"]: frozenset(row["ids"]) for row in rows if row["entity"] is not None}
        return Batch(frozenset(tenant for row in rows for tenant in row["tenants"] if tenant is not None), changed), after

    def _forget(self, why: str) -> None:
        log.warning("the change feed cannot be resumed: %s; everything is read again", why)
        self._position = None

    def _set_up(self, up: bool, error: str = "") -> None:
        if error:
            self.last_error = error
        if up != self.up:
            if up:
                log.info("the change feed is being read")
            else:
                log.error("the change feed is not being read: %s", error)
            self.up, self.since = up, time.time()
