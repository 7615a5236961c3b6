"""Accounting: packets are collected for a few milliseconds, folded into session rows, committed together, then acknowledged.

Nothing is acknowledged that is not on disk: committed by PostgreSQL or, while that is away, slow or behind, in the journal. As long as the journal
holds anything everything goes there, so that packets are applied in the order in which they came; ``radius.replay`` brings it into the tables.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence, Set
from copy import copy
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from netd.config import RadiusConfig
from netd.errors import StoreError, StoreUnavailable
from netd.model.accounting import Record, Row
from netd.model.line import mac_or_none
from netd.model.subscriber import username_key
from netd.radius.ahead import Ahead, Opened
from netd.radius.directory import Directory
from netd.radius.ledger import TOLERANCE_SECONDS, Ledger, Usage, by_day, only_counted
from netd.radius.nas import NasRecord
from netd.radius.quotas import NOTHING_COUNTED, Quotas
from netd.radius.segment import Item
from netd.radius.sessions import Sessions, parse_class
from netd.radius.spool import Spool
from netd.radius.subscriber import SubscriberRecord
from netd.store import accounting as store
from netd.store import journals, tellings
from netd.store import sessions as session_store
from netd.store.database import Connection, Database
from netd.store.translate import is_statements_fault

log = logging.getLogger(__name__)
T = TypeVar("T")

QUEUE_LIMIT = 20_000
"""Packets that may wait for a commit; the newest beyond that are dropped unacknowledged, and their NAS sends them again."""

HISTORY_SECONDS = 32 * 86_400.0
"""How far around an event a closed session of the same id is looked for: a month, so that at most three partitions are read."""

DEEP_QUEUE = QUEUE_LIMIT // 2
"""From here on the journal takes what the database cannot: it needs a tenth of the time for a record."""

JOURNAL_RECORDS = 2_000
"""Records written to the journal as one group, at most."""

FOLD_RECORDS = 50
"""Records by which memory follows the journal before packets get their turn."""

TURN_RECORDS = 50
"""Records of a commit that are worked on before packets get their turn: about a millisecond."""

RETRY_SECONDS = 0.5
ID_BLOCK = 500
NAMES_KEPT = 200_000


class Pending(NamedTuple):
    """A verified request that waits for its commit. ``done`` is called once: True when committed, False when it was given up."""

    item: Item
    nas: NasRecord
    done: Callable[[bool], None]


class Attempt:
    """A batch on its way into the database. Once ``given_up`` its records are the journal's, and nobody is told any more how it ended."""

    def __init__(self, batch: list[Pending]) -> None:
        self.batch = batch  # what is not settled yet
        self.given_up = False
        self.following = asyncio.Lock()  # held while memory follows a commit, which takes some milliseconds


class Names:
    """Which unique id an Accept's session goes by, so that a later packet under another name, or none, is still of that session.

    Two tables that take turns, so that it stays small; long after its end nobody speaks of a session any more.
    """

    def __init__(self) -> None:
        self._now: dict[tuple[str, int, str], str] = {}
        self._last: dict[tuple[str, int, str], str] = {}

    def settle(self, key: tuple[str, int, str], unique_id: str) -> str:
        """The unique id first given for ``key`` (token of the Accept, NAS, Acct-Session-Id); ``unique_id`` if it is new."""
        known = self._now.get(key)
        if known is not None:
            return known
        unique_id = self._last.get(key, unique_id)
        if len(self._now) >= NAMES_KEPT:
            self._last, self._now = self._now, {}
        self._now[key] = unique_id
        return unique_id


class Accounting:
    """The queue and its one committer."""

    def __init__(self, database: Database, directory: Directory, sessions: Sessions, spool: Spool, config: RadiusConfig) -> None:
        self.database = database
        self.directory = directory
        self.sessions = sessions
        self.quotas = Quotas(database, directory)
        self.spool = spool
        self.ahead = Ahead(sessions)
        self.committed = 0
        self.batches = 0
        self.shed = 0
        self.failed = 0
        self.commit_seconds = 0.0
        self.listening_since = time.time()
        self.late: asyncio.Task[None] | None = None  # an attempt that was given up and may still commit
        self.on_open: Callable[[Row], None] = lambda row: None
        self.on_usage: Callable[[set[int]], None] = lambda subscriber_ids: None
        self.on_number: Callable[[int, int | None], None] = lambda before, after: None
        self.policy_of: Callable[[SubscriberRecord, NasRecord], str | None] = lambda subscriber, nas: None
        self.told: frozenset[int] = frozenset()  # tenants where somebody wants events of sessions
        self._config = config
        self._queue: list[Pending] = []
        self._in_work = 0
        self._unheard = 0  # of the queue, counted as refused by the journal already
        self._arrived = asyncio.Event()
        self._stopping = False
        self._names = Names()
        self._ids: deque[int] = deque()  # reserved in blocks, so that a new session costs no round trip

    def __len__(self) -> int:
        return len(self._queue) + self._in_work

    @property
    def behind(self) -> bool:
        """Whether memory knows more than the tables: then these must not be taken for the truth."""
        return self.spool.waiting > 0 or self.late is not None

    def offer(self, pending: Pending) -> bool:
        """Take a packet for the next commit; False if the queue is full (it must not be acknowledged)."""
        if len(self._queue) + self._in_work >= QUEUE_LIMIT or self._stopping:
            self.shed += 1
            return False
        self._queue.append(pending)
        if not self._arrived.is_set():
            self._arrived.set()
        return True

    async def recover(self) -> None:
        """Open the journal and take up what an earlier run left; memory follows it. The sessions of the tables must be loaded. Raises StoreError."""
        async with self.spool.lock:
            async with self.database.transaction() as conn:
                left = await self.spool.open(await journals.database_id(conn))
                positions = await journals.positions(conn, left)
            async for items in self.spool.scan(positions):
                self.ahead.fold(items, self._follow)
                await asyncio.sleep(0)
        if self.spool.waiting:
            log.warning("accounting of an earlier run waits in the journal", extra={"records": self.spool.waiting, "octets": self.spool.journal.octets})

    async def run(self) -> None:
        """Commit or journal batches until ``finish`` was called and the queue is empty."""
        while True:
            if not self._queue:
                if self._stopping:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                if not self._stopping:
                    await asyncio.sleep(self._config.batch_delay_ms / 1000)
                continue
            if not await self._settle():
                if self._stopping:
                    return  # unacknowledged: the NAS will send them again
                self.listening_since = time.time()
                await asyncio.sleep(RETRY_SECONDS)

    def finish(self) -> None:
        """Commit or journal what is queued and take nothing more."""
        self._stopping = True
        self._arrived.set()

    async def _settle(self) -> bool:
        """Take the oldest of the queue, and acknowledge what is on disk; False if database and journal did not take all of them."""
        deep = len(self._queue) > 4 * self._config.batch_records
        direct = not self.behind and self.database.up and len(self._queue) < DEEP_QUEUE
        batch = self._take(self._config.batch_records * (2 if deep else 1) if direct else JOURNAL_RECORDS)
        if direct:
            batch = await self._try(batch)
        if batch:
            batch = batch[await self._journal(batch) :]
        if batch and not direct and self.database.up and self.late is None:
            batch = await self._try(batch)  # a full or broken journal must not keep packets from a database that is there: order matters less
        self._queue[:0] = batch
        self._unheard = max(0, self._unheard - (self._in_work - len(batch)))
        self._in_work = 0
        return not batch

    def _take(self, count: int) -> list[Pending]:
        batch = self._queue[:count]
        del self._queue[:count]
        self._in_work = len(batch)
        return batch

    async def _try(self, batch: list[Pending]) -> list[Pending]:
        """Give a batch to the database, and to the journal what that has not taken within ``journal_after_ms``; what neither took comes back."""
        attempt = Attempt(batch)
        task = asyncio.create_task(self._commit(attempt), name="accounting commit")
        try:
            await asyncio.wait({task}, timeout=self._config.journal_after_ms / 1000)
            async with attempt.following:  # what comes next must not overtake it on its way into memory
                attempt.given_up = not task.done()
            if task.done():
                task.result()
                return attempt.batch
            self.quotas.doubt()
            self.late = task
            task.add_done_callback(self._forget_late)
            if taken := await self._journal(attempt.batch):
                return attempt.batch[taken:]
            attempt.given_up = False  # there is nowhere else to go, so it may take its time
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            raise
        return attempt.batch

    def _forget_late(self, task: asyncio.Task[None]) -> None:
        self.late = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a late commit of accounting failed; the journal has its records", exc_info=error)

    async def _commit(self, attempt: Attempt) -> None:
        """Commit and acknowledge a batch, in smaller pieces where one is refused, as far as the database takes it."""
        size = len(attempt.batch)
        while attempt.batch and not attempt.given_up:
            part = attempt.batch[:size]
            started = time.monotonic()
            try:
                items: list[Item] = []
                async for pending in _by_turns(part):
                    items.append(self._attributed(pending.item, pending.nas))
                async with self.database.transaction() as conn:
                    opened = await self.write(conn, items)
            except StoreUnavailable as error:
                log.warning("accounting not committed", extra={"records": len(attempt.batch), "error": str(error)})
                self.quotas.doubt()
                return
            except Exception as error:  # barrier: one packet that the database or a bug trips over must not hold up all others, nor end the service
                if attempt.given_up:
                    return
                if is_statements_fault(error):
                    log.error("the database cannot take any accounting", extra={"error": str(error)})
                    return
                if len(part) > 1:
                    size = (len(part) + 1) // 2
                    continue
                known = isinstance(error, StoreError)
                log.error("accounting packet refused", extra={"nas": part[0].nas.name, "error": str(error)}, exc_info=None if known else error)
                self.failed += 1
                del attempt.batch[:1]
                part[0].done(False)
                continue
            if attempt.given_up:
                return
            self.commit_seconds += time.monotonic() - started
            self.batches += 1
            self.committed += len(part)
            del attempt.batch[: len(part)]
            size *= 2
            async with attempt.following:
                await self._follow_by_turns(self.ahead.settle(opened, 0))
                async for pending in _by_turns(part):
                    pending.done(True)

    async def _journal(self, batch: Sequence[Pending]) -> int:
        """Write a batch to the journal, let memory follow, and acknowledge it; returns how many the journal took, from the first."""
        items = [self._attributed_or_bare(pending) for pending in batch]
        async with self.spool.lock:
            waiting = len(batch) + len(self._queue)
            taken = await self.spool.write(items, waiting, self._unheard)
            if taken < len(items):
                self._unheard = max(self._unheard, waiting)
            for start in range(0, taken, FOLD_RECORDS):
                end = min(start + FOLD_RECORDS, taken)
                self.ahead.fold(items[start:end], self._follow)
                for pending in batch[start:end]:
                    pending.done(True)
                await asyncio.sleep(0)
        return taken

    def replayed(self, opened: Opened, count: int, new: int) -> None:
        """The database has the next ``count`` records of the journal, ``new`` of them by this replay: memory follows where it knows nothing newer."""
        self._follow(self.ahead.settle(opened, count)._replace(usage=()))
        self.spool.committed(count, new)
        if not self.spool.waiting:
            self.ahead.clear()

    def remember(self, row: Row) -> None:
        """Learn the name of a session that was open before this start."""
        granted = parse_class(row.class_)
        if granted is not None and row.nas_id is not None:
            self._names.settle((granted.token, row.nas_id, row.acctsessionid), row.acctuniqueid)

    async def _follow_by_turns(self, opened: Opened) -> None:
        """``_follow`` in pieces; nothing else that memory follows may happen meanwhile."""
        for start in range(0, len(opened.ended), TURN_RECORDS):
            self._follow(Opened([], opened.ended[start : start + TURN_RECORDS]))
            await asyncio.sleep(0)
        for start in range(0, len(opened.rows), TURN_RECORDS):
            self._follow(Opened(opened.rows[start : start + TURN_RECORDS], []))
            await asyncio.sleep(0)
        self._follow(opened._replace(rows=[], ended=[]))

    def _follow(self, opened: Opened) -> None:
        """Bring the sessions in memory up to what is on disk.

        The one place where everything follows that depends on a session: it runs after each commit, at once after a record was journalled,
        at the start for what waits in the journal, and after its replay. So for one session it may run twice with the same news: whatever hangs on it
        must not mind. ``opened.usage`` does not repeat itself: at the commit, or on the way through the journal as memory reckons it, and not again
        at the replay. A row's id is below zero until the database has given one (``on_number`` tells which).
        """
        for unique_id in opened.ended:
            ended = self.sessions.by_id.get(unique_id)
            if ended is not None and ended.row.radacctid < 0:
                self.on_number(ended.row.radacctid, None)
        self.sessions.remove(opened.ended)
        for row in opened.rows:
            before = self.sessions.by_id.get(row.acctuniqueid)
            number = row.radacctid if before is None else before.row.radacctid
            if self.sessions.put(row) is before:
                if number < 0 < row.radacctid:
                    self.on_number(number, row.radacctid)
                continue
            self.remember(row)
            if row.subscriber_id is not None:
                granted = parse_class(row.class_)
                self.sessions.release(row.subscriber_id, granted.token if granted else None)
            self.on_open(row)
        if opened.counted.rows:
            self.on_usage(self.quotas.follow(opened.counted))

    async def write(self, conn: Connection, items: Sequence[Item]) -> Opened:
        """Write what attributed packets say, in their order; Accounting-On and -Off divide it. The transaction is the caller's."""
        open_rows: dict[str, Row] = {}
        ended: dict[str, None] = {}
        usage: list[Usage] = []
        run: list[Record] = []
        for item in items:
            if isinstance(item, Record):
                run.append(item)
            else:
                await self._fold(conn, run, open_rows, ended, usage)
                run = []
                ids = await store.open_of_nas(conn, item.nas_id, item.source, item.nas_ip_address, item.nas_identifier, item.event_at)
                if ids:
                    await session_store.close(conn, ids, "nas_reload", item.cause, datetime.fromtimestamp(item.event_at, UTC))
                    nas = self.directory.nas.get(item.nas_id)
                    name = "" if nas is None else nas.name
                    log.info("NAS restarted: its sessions are closed", extra={"nas": name, "source": item.source, "sessions": len(ids)})
                for key in ids:
                    open_rows.pop(key, None)
                    ended[key] = None
        await self._fold(conn, run, open_rows, ended, usage)
        counted = await self.quotas.credit(conn, usage) if usage else NOTHING_COUNTED
        return Opened(list(open_rows.values()), [key for key in ended if key not in open_rows], usage, counted)

    def _attributed(self, record: Item, nas: NasRecord) -> Item:
        """A copy that says whose session it is: by the Class that its Accept carried, else by name.

        A NAS may strip a realm, and the bare name be somebody else's; it may drop User-Name in the middle. The Class is netd's own word.
        """
        if not isinstance(record, Record):
            return record
        item = copy(record)
        subscriber = None
        granted = parse_class(item.class_)
        if granted is not None:
            item.applied_policy = granted.policy
            subscriber = self.directory.subscribers.get(granted.subscriber_id)
            if subscriber is not None and subscriber.tenant_id != nas.tenant_id:
                subscriber = None
            item.acctuniqueid = self._names.settle((granted.token, nas.id, item.acctsessionid), item.acctuniqueid)
        if subscriber is None:
            subscriber = nas.users.get(username_key(item.username)) or self._device(item.username, nas)
        if subscriber is not None:
            item.subscriber_id = subscriber.id
            if subscriber.plan is not None:
                item.interim_seconds = subscriber.plan.plan.interim_seconds
            if item.applied_policy is None and item.kind != "stop":  # a NAS that does not return Class: taken to have what is due now
                item.applied_policy = self.policy_of(subscriber, nas)
        return item

    @staticmethod
    def _device(username: str, nas: NasRecord) -> SubscriberRecord | None:
        """Whose device it is that logged in by its MAC address, from a NAS that returns no Class."""
        hardware = mac_or_none(username.partition("@")[0]) if nas.line_login is not None and nas.line_login.by_mac else None
        return None if hardware is None else nas.devices.get(f"mac {hardware}")

    def _attributed_or_bare(self, pending: Pending) -> Item:
        try:
            return self._attributed(pending.item, pending.nas)
        except Exception:  # barrier: whose it is may be unknown; that it happened is kept, and no other packet waits for it
            log.exception("a journalled accounting packet is not attributed to its subscriber", extra={"nas": pending.nas.name})
            return pending.item

    async def _fold(self, conn: Connection, run: list[Record], open_rows: dict[str, Row], ended: dict[str, None], usage: list[Usage]) -> None:
        if not run:
            return
        keys = list({record.acctuniqueid: None for record in run})
        await store.lock(conn, keys)
        stored = await store.read_open(conn, keys)
        begun = {row.acctuniqueid: row.started_at for row in stored}
        # A closed row can be meant where no open one is known, or where the open one began after the event.
        missing = [record for record in run if begun.get(record.acctuniqueid, math.inf) > record.event_at + TOLERANCE_SECONDS]
        if missing:
            starts = [record.started_at for record in missing]
            absent = list({record.acctuniqueid: None for record in missing})
            stored += await store.read_closed(conn, absent, min(starts) - HISTORY_SECONDS, max(starts) + HISTORY_SECONDS)
        if len(self._ids) < len(keys):
            self._ids.extend(await store.reserve_ids(conn, max(ID_BLOCK, len(keys) * 2)))
        ledger = Ledger(stored, self._ids.popleft)
        async for record in _by_turns(run):
            ledger.post(record)
        await _apply(conn, ledger, self.told)
        usage += ledger.usage
        for key in keys:  # whatever changed: a batch repeated after a lost COMMIT changes nothing, and memory must follow all the same
            row = ledger.open_row(key)
            if row is None:
                open_rows.pop(key, None)
                ended[key] = None
            else:
                open_rows[key] = row


async def _by_turns(items: Sequence[T]) -> AsyncIterator[T]:
    """``items``, with a turn for packets after every few of them."""
    for start in range(0, len(items), TURN_RECORDS):
        if start:
            await asyncio.sleep(0)
        for item in items[start : start + TURN_RECORDS]:
            yield item


async def _apply(conn: Connection, ledger: Ledger, told: Set[int]) -> None:
    """Write what the records of a run changed: at most ten statements, whatever their number, and two more where tenants of ``told`` are concerned."""
    fresh: list[Row] = []
    updated: list[Row] = []
    counted: list[Row] = []
    moved: list[tuple[int, int]] = []
    closed: list[Row] = []
    closing: list[str] = []
    reopened: list[tuple[int, float]] = []
    amended: list[tuple[Row, Row]] = []
    known: set[int] = set()  # of those that are closed now, whose beginning was told
    async for before, row in _by_turns(ledger.changes()):
        was_open = before is not None and before.stopped_at is None
        is_open = row.stopped_at is None
        if is_open:
            (fresh if before is None or not was_open else counted if only_counted(before, row) else updated).append(row)
            if was_open and before is not None and row.nas_id is not None and before.nas_id != row.nas_id:
                moved.append((row.radacctid, row.nas_id))
            if before is not None and not was_open:
                reopened.append((before.radacctid, before.started_at))
        elif before is None or was_open:
            closed.append(row)
            if was_open:
                closing.append(row.acctuniqueid)
                known.add(row.radacctid)
        else:
            amended.append((before, row))
    if closing:
        await store.delete_open(conn, closing)
    if reopened:
        await store.delete_closed(conn, reopened)
    if fresh:
        await store.insert_open(conn, fresh)
    if updated:
        await store.update_open(conn, updated)
    if counted:
        await store.count_open(conn, counted)
    if moved:
        await store.move_open(conn, moved)
    if closed:
        await store.insert_closed(conn, closed)
    if amended:
        await store.replace_closed(conn, amended)
    if told:
        await _tell(conn, [row for row in fresh if row.tenant_id in told], [row for row in closed if row.tenant_id in told], reopened, known)
    used: list[Usage] = []
    async for item in _by_turns(ledger.usage):
        used += by_day(item)
    if used:
        await store.add_usage(conn, used)


async def _tell(conn: Connection, fresh: Sequence[Row], closed: Sequence[Row], reopened: Sequence[tuple[int, float]], known: Set[int]) -> None:
    """The events of what the run began and ended; one that was never seen open (not ``known``) began, too."""
    again = {key for key, _ in reopened}
    begun = [(row.radacctid, "session.resumed" if row.radacctid in again else "session.started") for row in fresh]
    ended: list[tuple[int, float, str]] = []
    for row in closed:
        if row.radacctid not in known:
            ended.append((row.radacctid, row.started_at, "session.started"))
        ended.append((row.radacctid, row.started_at, "session.stopped"))
    if ended:
        await tellings.tell_closed(conn, ended)
    if begun:  # behind the end of an earlier generation under the same name
        await tellings.tell_open(conn, begun)
