"""Accounting: packets are collected for a few milliseconds, folded into session rows, committed together, then acknowledged.

Nothing is acknowledged that PostgreSQL has not committed. While it is away packets wait in a bounded queue and the NAS repeats them.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from datetime import UTC, datetime
from typing import NamedTuple

from netd.config import RadiusConfig
from netd.errors import StoreError, StoreUnavailable
from netd.model.accounting import Record, Row
from netd.model.line import mac_or_none
from netd.model.subscriber import username_key
from netd.radius.directory import Directory, NasRecord, SubscriberRecord
from netd.radius.ledger import TOLERANCE_SECONDS, Ledger
from netd.radius.record import AccountingSwitch
from netd.radius.sessions import Sessions, parse_class
from netd.store import accounting as store
from netd.store import sessions as session_store
from netd.store.database import Connection, Database

log = logging.getLogger(__name__)

QUEUE_LIMIT = 20_000
"""Packets that may wait for a commit; the newest beyond that are dropped unacknowledged, and their NAS sends them again."""

HISTORY_SECONDS = 32 * 86_400.0
"""How far around an event a closed session of the same id is looked for: a month, so that at most three partitions are read."""

RETRY_SECONDS = 0.5
ID_BLOCK = 500
NAMES_KEPT = 200_000


class Pending(NamedTuple):
    """A verified request that waits for its commit. ``done`` is called once: True when committed, False when it was given up."""

    item: Record | AccountingSwitch
    nas: NasRecord
    done: Callable[[bool], None]


class Opened(NamedTuple):
    """What a batch did to the sessions in memory: rows open now, and unique ids that ended."""

    rows: list[Row]
    ended: list[str]


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

    def __init__(self, database: Database, directory: Directory, sessions: Sessions, config: RadiusConfig) -> None:
        self.database = database
        self.directory = directory
        self.sessions = sessions
        self.committed = 0
        self.batches = 0
        self.shed = 0
        self.failed = 0
        self.commit_seconds = 0.0
        self.listening_since = time.time()
        self.on_open: Callable[[Row], None] = lambda row: None
        self.policy_of: Callable[[SubscriberRecord, NasRecord], str | None] = lambda subscriber, nas: None
        self._config = config
        self._queue: list[Pending] = []
        self._arrived = asyncio.Event()
        self._stopping = False
        self._names = Names()
        self._ids: deque[int] = deque()  # reserved in blocks, so that a new session costs no round trip

    def __len__(self) -> int:
        return len(self._queue)

    def offer(self, pending: Pending) -> bool:
        """Take a packet for the next commit; False if the queue is full (it must not be acknowledged)."""
        if len(self._queue) >= QUEUE_LIMIT or self._stopping:
            self.shed += 1
            return False
        self._queue.append(pending)
        if not self._arrived.is_set():
            self._arrived.set()
        return True

    async def run(self) -> None:
        """Commit batches until ``finish`` was called and the queue is empty."""
        while True:
            if not self._queue:
                if self._stopping:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                if not self._stopping:
                    await asyncio.sleep(self._config.batch_delay_ms / 1000)
                continue
            if not await self._commit(min(len(self._queue), self._config.batch_records)):
                if self._stopping:
                    return  # unacknowledged: the NAS will send them again
                await asyncio.sleep(RETRY_SECONDS)

    def finish(self) -> None:
        """Commit what is queued and take nothing more."""
        self._stopping = True
        self._arrived.set()

    async def _commit(self, count: int) -> bool:
        """Commit and acknowledge the first ``count`` of the queue and take them out; False if the database is away."""
        started = time.monotonic()
        batch = self._queue[:count]
        try:
            async with self.database.transaction() as conn:
                opened = await self._write(conn, batch)
        except StoreUnavailable as error:
            log.warning("accounting waits for the database", extra={"queued": len(self._queue), "error": str(error)})
            self.listening_since = time.time()
            return False
        except Exception as error:  # barrier: one packet that the database or a bug trips over must not hold up all others, nor end the service
            if count > 1:
                return await self._commit(count // 2) and await self._commit(count - count // 2)
            known = isinstance(error, StoreError)
            log.error("accounting packet refused", extra={"nas": batch[0].nas.name, "error": str(error)}, exc_info=None if known else error)
            self.failed += 1
            del self._queue[:1]
            batch[0].done(False)
            return True
        self.commit_seconds += time.monotonic() - started
        self.batches += 1
        self.committed += count
        del self._queue[:count]
        self._follow(opened)
        for pending in batch:
            pending.done(True)
        return True

    def remember(self, row: Row) -> None:
        """Learn the name of a session that was open before this start."""
        granted = parse_class(row.class_)
        if granted is not None and row.nas_id is not None:
            self._names.settle((granted.token, row.nas_id, row.acctsessionid), row.acctuniqueid)

    def _follow(self, opened: Opened) -> None:
        """Bring the sessions in memory up to what was committed."""
        self.sessions.remove(opened.ended)
        for row in opened.rows:
            before = self.sessions.by_id.get(row.acctuniqueid)
            if self.sessions.put(row) is not before:
                granted = parse_class(row.class_)
                if row.subscriber_id is not None:
                    self.sessions.release(row.subscriber_id, granted.token if granted else None)
                self.on_open(row)

    async def _write(self, conn: Connection, batch: Sequence[Pending]) -> Opened:
        """Write a batch in the order of arrival; Accounting-On and -Off divide it."""
        open_rows: dict[str, Row] = {}
        ended: dict[str, None] = {}
        run: list[Record] = []
        for pending in batch:
            item = pending.item
            if isinstance(item, Record):
                run.append(self._attributed(item, pending.nas))
            else:
                await self._fold(conn, run, open_rows, ended)
                run = []
                ids = await store.open_of_nas(conn, item.nas_id, item.source, item.nas_ip_address, item.nas_identifier, item.event_at)
                if ids:
                    await session_store.close(conn, ids, "nas_reload", item.cause, datetime.fromtimestamp(item.event_at, UTC))
                    log.info("NAS restarted: its sessions are closed", extra={"nas": pending.nas.name, "source": item.source, "sessions": len(ids)})
                for key in ids:
                    open_rows.pop(key, None)
                    ended[key] = None
        await self._fold(conn, run, open_rows, ended)
        return Opened(list(open_rows.values()), [key for key in ended if key not in open_rows])

    def _attributed(self, record: Record, nas: NasRecord) -> Record:
        """A copy that says whose session it is: by the Class that its Accept carried, else by name.

        A NAS may strip a realm, and the bare name be somebody else's; it may drop User-Name in the middle. The Class is netd's own word.
        """
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

    async def _fold(self, conn: Connection, run: list[Record], open_rows: dict[str, Row], ended: dict[str, None]) -> None:
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
        for record in run:
            ledger.post(record)
        await _apply(conn, ledger)
        for key in keys:  # whatever changed: a batch repeated after a lost COMMIT changes nothing, and memory must follow all the same
            row = ledger.open_row(key)
            if row is None:
                open_rows.pop(key, None)
                ended[key] = None
            else:
                open_rows[key] = row


async def _apply(conn: Connection, ledger: Ledger) -> None:
    """Write what the records of a run changed: at most nine statements, whatever their number."""
    fresh: list[Row] = []
    updated: list[Row] = []
    moved: list[tuple[int, int]] = []
    closed: list[Row] = []
    closing: list[str] = []
    reopened: list[tuple[int, float]] = []
    amended: list[tuple[Row, Row]] = []
    for before, row in ledger.changes():
        was_open = before is not None and before.stopped_at is None
        is_open = row.stopped_at is None
        if is_open:
            (updated if was_open else fresh).append(row)
            if was_open and before is not None and row.nas_id is not None and before.nas_id != row.nas_id:
                moved.append((row.radacctid, row.nas_id))
            if before is not None and not was_open:
                reopened.append((before.radacctid, before.started_at))
        elif before is None or was_open:
            closed.append(row)
            if was_open:
                closing.append(row.acctuniqueid)
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
    if moved:
        await store.move_open(conn, moved)
    if closed:
        await store.insert_closed(conn, closed)
    if amended:
        await store.replace_closed(conn, amended)
    if ledger.usage:
        await store.add_usage(conn, ledger.usage)
