"""What the RADIUS service does beside answering: keeps log-ins, reaps silent sessions, keeps what was learned, turns partitions."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta

from netd.config import RadiusConfig, RetentionConfig
from netd.domain import lines
from netd.errors import StoreError, StoreUnavailable
from netd.radius.accounting import Accounting
from netd.radius.nas import NasRecord
from netd.radius.server import Server
from netd.radius.sessions import Sessions
from netd.radius.subscriber import SubscriberRecord
from netd.store import accounting as accounting_store
from netd.store import configurations, observed, partitions, policies, postauth, tellings
from netd.store import directory as directory_store
from netd.store import sessions as session_store
from netd.store.database import Database
from netd.store.directory import LineRow
from netd.store.lines import Kept

log = logging.getLogger(__name__)

POSTAUTH_SECONDS = 0.25
"""How long a log-in may wait until it is written where few come."""

POSTAUTH_ROWS = 500
"""Log-ins of one statement: a millisecond of the loop, and five or six of PostgreSQL, which may have to share a CPU with it."""

POSTAUTH_LOOK_SECONDS = 0.02
"""How often it is looked whether a statement is full: a quarter of a second's log-ins at once would keep PostgreSQL busy for most of the next."""

REAP_SECONDS = 30.0
REAP_ROWS = 1_000
JUMP_SECONDS = 30.0
"""By so much the time of day goes ahead of the time that netd lived through where it was set, or where the machine or the process stood still
(a virtual machine does, while it is moved)."""

RECONCILE_SECONDS = 60.0
COMPARE_KEYS = 2_000
"""Sessions compared before packets get their turn: about a millisecond."""

PARTITION_SECONDS = 3600.0
LEARNED_SECONDS = 1.0


class Upkeep:
    """Periodic work. Each loop runs for ever and outlives an outage of the database."""

    def __init__(
        self, database: Database, server: Server, accounting: Accounting, sessions: Sessions, config: RadiusConfig, retention: RetentionConfig
    ) -> None:
        self.database = database
        self.server = server
        self.accounting = accounting
        self.sessions = sessions
        self.directory = server.directory
        self.reaped = 0
        self.wall_clock: Callable[[], float] = time.time
        self._ahead = self.wall_clock() - time.monotonic()
        self.learned: deque[tuple[int, str | None, str | None]] = deque()
        self.learned_lines: deque[tuple[int, int, Kept]] = deque()  # tenant, subscriber, line
        self._postauth: list[bytes] = []  # taken out, not yet written
        self._flushing = asyncio.Lock()
        self._keeping = asyncio.Lock()
        self._config = config
        self._retention = retention

    def learn(self, nas: NasRecord, require: str | None, limit: str | None) -> None:
        """Keep what ``auto`` found out; written within a second, or when the database is back."""
        self.learned.append((nas.id, require, limit))

    def learn_line(self, subscriber: SubscriberRecord, line: LineRow) -> None:
        """Keep the line that a first log-in bound, in the same way."""
        at = datetime.now(UTC)
        self.learned_lines.append((subscriber.tenant_id, subscriber.id, Kept(learned_at=at, **line._asdict())))

    async def keep_postauth(self) -> None:
        """Write answered log-ins as soon as they fill a statement, and fewer a few times a second, for ever."""
        written_at = time.monotonic()
        while True:
            await asyncio.sleep(POSTAUTH_LOOK_SECONDS)
            late = time.monotonic() - written_at >= POSTAUTH_SECONDS
            if late or len(self.server.postauth) >= POSTAUTH_ROWS:
                await self.flush_postauth(1 if late else POSTAUTH_ROWS)
                written_at = time.monotonic()

    async def flush_postauth(self, least: int = 1) -> None:
        """Write the log-ins that are not written yet, while ``least`` or more are left; they stay in memory if the database is away."""
        async with self._flushing:  # the last flush, when netd stops, may meet the one of this second
            await self._flush_postauth(least)

    async def _flush_postauth(self, least: int) -> None:
        while self._postauth or len(self.server.postauth) >= least:
            self._postauth = self._postauth or self.server.take_postauth(POSTAUTH_ROWS)
            try:
                async with self.database.acquire() as conn:
                    await postauth.add_rows(conn, self._postauth)
            except StoreUnavailable:
                return
            except StoreError as error:
                self.server.postauth_dropped += len(self._postauth)
                log.error("log-ins refused by the database", extra={"rows": len(self._postauth), "error": str(error)})
            self._postauth = []
            await asyncio.sleep(0)

    async def keep_learned(self) -> None:
        """Write what was learned about NAS, for ever."""
        while True:
            await asyncio.sleep(LEARNED_SECONDS)
            await self.flush_learned()

    async def flush_learned(self) -> None:
        """Write what was learned and which policies were compiled; what cannot be written now waits."""
        async with self._keeping:  # as above
            await self._flush_learned()

    async def _flush_learned(self) -> None:
        while self.learned:
            try:
                async with self.database.transaction() as conn:
                    await directory_store.learned(conn, *self.learned[0])
            except StoreUnavailable:
                break
            except StoreError as error:
                log.error("what was learned about a NAS was refused by the database", extra={"error": str(error)})
            self.learned.popleft()
        while self.learned_lines:
            learned = self.learned_lines.popleft()
            try:
                await lines.learn(self.database, *learned)
            except StoreUnavailable:
                self.learned_lines.appendleft(learned)
                break
            except StoreError as error:
                log.error("the line that a subscriber came from was refused by the database", extra={"error": str(error)})
        await self._keep_policies()

    async def _keep_policies(self) -> None:
        new = self.directory.grants.new_services
        if not new:
            return
        self.directory.grants.new_services = []
        try:
            async with self.database.acquire() as conn:
                await policies.keep(conn, new)
        except StoreError as error:
            self.directory.grants.new_services = new + self.directory.grants.new_services
            log.warning("fingerprints of policies not kept yet", extra={"error": str(error)})

    async def reap(self) -> None:
        """Close sessions that were silent for too long, for ever."""
        while True:
            asleep_at = self.wall_clock()
            await asyncio.sleep(REAP_SECONDS)
            self._clock_jumped(self.wall_clock() - asleep_at - REAP_SECONDS)
            try:
                await self.reap_once()
            except StoreError as error:
                log.warning("silent sessions not looked for", extra={"error": str(error)})

    async def reap_once(self) -> int:
        """Close the sessions of which nothing was heard for ``stale_after_intervals`` interim intervals, at the time of their last packet.

        Not while the journal holds packets: what the tables do not know of was heard all the same. Nothing was heard in a time that netd did not live through.
        """
        now = self.wall_clock()
        self._clock_jumped(now - time.monotonic() - self._ahead)
        total = 0
        while not self.accounting.behind:
            async with self.database.transaction() as conn:
                silent = await accounting_store.silent(conn, self._config.stale_after_intervals, self.accounting.listening_since, now, REAP_ROWS)
                closed = await session_store.close(conn, silent, "reaper", "Lost-Carrier", None) if silent else []
            self.sessions.remove(closed)
            self.reaped += len(closed)
            total += len(closed)
            if len(silent) < REAP_ROWS:
                break
        if total:
            log.info("silent sessions closed", extra={"sessions": total})
        return total

    def _clock_jumped(self, seconds: float) -> None:
        """Take note of how much further the time of day went than netd lived through (negative: back). Nobody was heard in that."""
        now = self.wall_clock()
        self._ahead = now - time.monotonic()
        if seconds > JUMP_SECONDS:
            log.warning("the clock went ahead, or netd stood still: sessions are silent from now on", extra={"seconds": round(seconds)})
            self.accounting.listening_since = now
        elif self.accounting.listening_since > now:
            log.warning("the clock was put back", extra={"seconds": round(-seconds)})
            self.accounting.listening_since = now

    async def reconcile(self) -> None:
        """Bring the sessions in memory in line with the database once a minute, for ever: another node's, and those of a lost COMMIT."""
        while True:
            await asyncio.sleep(RECONCILE_SECONDS)
            self.server.forget_told()
            try:
                await self.reconcile_once()
            except StoreError as error:
                log.warning("sessions not compared with the database", extra={"error": str(error)})

    async def reconcile_once(self) -> tuple[int, int]:
        """Forget sessions that are no longer open in the database, take in those that memory lacks; returns how many of each.

        Not while memory is ahead of the tables, for the journal.
        """
        if self.accounting.behind:
            return 0, 0
        by_id = self.sessions.by_id
        known = {key: live.row.radacctid async for key in _by_turns(by_id) if (live := by_id.get(key)) is not None}
        async with self.database.transaction() as conn:
            stored = await accounting_store.open_keys(conn)
        if self.accounting.behind:
            return 0, 0
        gone = [key async for key in _by_turns(known) if stored.get(key) != known[key]]
        gone = [key for key in gone if (live := by_id.get(key)) is not None and live.row.radacctid == known[key]]
        self.sessions.remove(gone, elsewhere=True)
        lacking = [key async for key in _by_turns(stored) if key not in by_id]
        for start in range(0, len(lacking), REAP_ROWS):
            async with self.database.transaction() as conn:
                for row in await accounting_store.read_open(conn, lacking[start : start + REAP_ROWS]):
                    if row.acctuniqueid not in by_id and not self.accounting.behind:
                        self.sessions.put(row)
        if gone or lacking:
            log.info("sessions in memory corrected", extra={"forgotten": len(gone), "taken_in": len(lacking)})
        return len(gone), len(lacking)

    async def turn_partitions(self) -> None:
        """Make the months ahead and let the old ones go, hourly, for ever."""
        while True:
            try:
                await self.turn_partitions_once()
            except StoreError as error:
                log.warning("partitions not turned", extra={"error": str(error)})
            await asyncio.sleep(PARTITION_SECONDS)

    async def turn_partitions_once(self) -> None:
        """One round of partition upkeep and pruning."""
        now = datetime.fromtimestamp(time.time(), UTC)
        async with self.database.acquire() as conn:
            await partitions.ensure(conn, now.date())
            self.accounting.told = await tellings.wanted(conn)  # wishes end by themselves
            await partitions.retire(conn, now.date(), self._retention.radacct_months)
            await partitions.prune(
                conn, now, radpostauth_days=self._retention.radpostauth_days, usage_days=self._retention.usage_days,
                events_days=self._retention.events_days, jobs_days=self._retention.jobs_days,
            )  # fmt: skip
            seen, facts = timedelta(days=self._retention.seen_days), timedelta(days=self._retention.device_facts_days)
            await observed.retire(conn, seen_before=now - seen, facts_before=now - facts)
            await configurations.retire(conn)


async def _by_turns(keys: Iterable[str]) -> AsyncIterator[str]:
    """The keys that there are now, with a turn for packets after every few thousand."""
    for number, key in enumerate(list(keys)):
        if number % COMPARE_KEYS == COMPARE_KEYS - 1:
            await asyncio.sleep(0)
        yield key
