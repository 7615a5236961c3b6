"""Quotas in the engine: counts what accounting adds, in its transaction, and knows from memory what is in force.

The rows of quota_usage have the truth and are locked while they are counted in, so nothing is counted twice whatever is replayed, and two
nodes may count for one subscriber. Memory follows each commit with the rows as written; ``version`` keeps it from going back.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from netd.domain import allowance
from netd.domain.allowance import Draw
from netd.domain.metering import Span
from netd.errors import StoreError
from netd.metrics import Counts
from netd.model.quota import Credit, QuotaUsage, Stage
from netd.radius.account import Account
from netd.radius.directory import Directory
from netd.radius.ledger import Usage
from netd.radius.plan import PlanRecord
from netd.radius.subscriber import SubscriberRecord
from netd.store import metering as store
from netd.store.database import Connection, Database

log = logging.getLogger(__name__)

REFRESH_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 5.0
OVERLAP_SECONDS: Final = 180.0
"""How far back a refresh looks: longer than the time between two, and than any transaction takes."""


class Counted(NamedTuple):
    """What a transaction counted, for memory to follow once it is committed."""

    rows: list[QuotaUsage]
    drawn: list[Credit]
    new_events: list[tuple[int, str]]


NOTHING_COUNTED: Final = Counted([], [], [])


class Quotas:
    """Counts, and keeps the accounts in the directory current."""

    def __init__(self, database: Database, directory: Directory) -> None:
        self.database = database
        self.directory = directory
        self.accounts = directory.accounts
        self.crossings = Counts()
        self._doubt = asyncio.Event()

    # -- in the transaction of accounting ----------------------------------------------------------------------------

    async def credit(self, conn: Connection, usage: Sequence[Usage]) -> Counted:
        """Count what a batch of accounting added, for subscribers whose plan has quotas. Must be the transaction's last writing:
        row locks are taken after those of sessions and subscribers, as everywhere."""
        if not self.directory.metered:
            return NOTHING_COUNTED
        wanted: dict[store.Key, int] = {}
        made: dict[store.Key, QuotaUsage] = {}
        for item in usage:
            subscriber = self.directory.subscribers.get(item.subscriber_id)
            if subscriber is not None and subscriber.plan is not None and subscriber.plan.meters:
                self._divide(item, subscriber, subscriber.plan, wanted, made)
        if not wanted:
            return NOTHING_COUNTED
        return await self._count(conn, wanted, made)

    def _divide(self, item: Usage, subscriber: SubscriberRecord, plan: PlanRecord, wanted: dict[store.Key, int], made: dict[store.Key, QuotaUsage]) -> None:
        """Add the hundredths that count to ``wanted``, and to ``made`` the rows that may not be there yet."""
        account = self.accounts.get(subscriber.id) or Account(subscriber.tenant_id, subscriber.id)
        for meter in plan.meters:
            amount = meter.amount(item.up_octets, item.down_octets, item.session_seconds)
            if amount <= 0:
                continue
            newest = account.newest.get(meter.quota.id)
            known = None if newest is None else Span(newest.starts_at, newest.ends_at)
            for span, hundredths in meter.parts(amount, item.since, item.at, subscriber.activated_at, known):
                key = (subscriber.id, meter.quota.id, span.starts_at)
                wanted[key] = wanted.get(key, 0) + hundredths
                if newest is None or span.starts_at != newest.starts_at:
                    if key not in made:
                        made[key] = account.current(meter, span.starts_at, subscriber.activated_at)
                    if newest is not None and span.starts_at < newest.starts_at and meter.quota.rollover_amount:
                        wanted.setdefault((subscriber.id, meter.quota.id, newest.starts_at), 0)  # it inherits less now

    async def _count(self, conn: Connection, wanted: dict[store.Key, int], made: dict[store.Key, QuotaUsage]) -> Counted:
        now = time.time()
        await store.hold(conn, {key[0] for key in wanted}, {key[1] for key in wanted})
        if made:
            await store.ensure(conn, [made[key] for key in sorted(made)])
        rows = await store.locked(conn, wanted)
        credits: dict[int, list[Credit]] = {}
        topped = sorted({row.subscriber_id for row in rows if (account := self.accounts.get(row.subscriber_id)) is not None and account.credits})
        if topped:
            for credit in await store.credits(conn, topped, lock=True):
                credits.setdefault(credit.subscriber_id, []).append(credit)
        drawn: dict[int, Credit] = {}
        reached: list[tuple[QuotaUsage, Stage, int]] = []
        earlier: dict[tuple[int, int], QuotaUsage] = {}
        for row in rows:  # in order of the period's begin
            draw = self._count_row(row, wanted[row.subscriber_id, row.quota_id, row.starts_at], credits.get(row.subscriber_id, []), earlier, now)
            if draw is not None:
                drawn.update((credit.id, credit) for credit in draw.drawn)
                whole = allowance.allowance(row, allowance.left_of(credits.get(row.subscriber_id, ()), row.quota_id, now))
                reached += [(row, stage, whole) for stage in draw.reached]
        await store.write(conn, rows)
        if drawn:
            await store.draw(conn, list(drawn.values()))
        new_events = await store.add_events(conn, reached) if reached else []
        return Counted(rows, list(drawn.values()), new_events)

    def _count_row(self, row: QuotaUsage, hundredths: int, credits: Sequence[Credit], earlier: dict[tuple[int, int], QuotaUsage], now: float) -> Draw | None:
        subscriber = self.directory.subscribers.get(row.subscriber_id)
        plan = None if subscriber is None else subscriber.plan
        meter = None if plan is None else next((each for each in plan.meters if each.quota.id == row.quota_id), None)
        if subscriber is None or meter is None:
            return None
        if meter.quota.rollover_amount:
            account = self.accounts.get(row.subscriber_id)
            before = earlier.get((row.subscriber_id, row.quota_id))
            if before is None and account is not None:
                before = account.last_before(row.quota_id, row.starts_at)
            if before is not None:
                row.carried = allowance.carried_into(meter, before, row.starts_at, subscriber.activated_at)
            earlier[row.subscriber_id, row.quota_id] = row
        return allowance.count(meter.quota, row, hundredths, credits, now)

    # -- memory ------------------------------------------------------------------------------------------------------

    def follow(self, counted: Counted) -> set[int]:
        """Bring memory up to what was committed; returns the subscribers concerned."""
        for tenant_id, action in counted.new_events:
            self.crossings[str(tenant_id), action] += 1
        concerned = self._put(counted.rows)
        for credit in counted.drawn:
            account = self.accounts.get(credit.subscriber_id)
            if account is None:
                continue
            kept = [credit if each.id == credit.id else each for each in account.credits]
            account.put_credits([each for each in kept if each.used < each.amount])
        return concerned

    def _put(self, rows: Iterable[QuotaUsage]) -> set[int]:
        concerned = set()
        for row in rows:
            if self._account(row.tenant_id, row.subscriber_id).put(row):
                concerned.add(row.subscriber_id)
        return concerned

    def _account(self, tenant_id: int, subscriber_id: int) -> Account:
        account = self.accounts.get(subscriber_id)
        if account is None:
            account = self.accounts[subscriber_id] = Account(tenant_id, subscriber_id)
        return account

    async def load(self, conn: Connection) -> None:
        """Read the usage and top-ups of all subscribers, in place of what memory has."""
        rows, credits = await store.usage(conn), await store.credits(conn)
        self.accounts.clear()
        self._put(rows)
        self._put_credits(credits)

    async def reload(self, conn: Connection, subscriber_ids: Sequence[int]) -> None:
        """Read what some subscribers used, and their top-ups, again."""
        rows, credits = await store.usage(conn, subscriber_ids), await store.credits(conn, subscriber_ids)
        self._put(rows)
        for key in subscriber_ids:
            account = self.accounts.get(key)
            if account is not None:
                account.put_credits([])
        self._put_credits(credits)

    def _put_credits(self, credits: Iterable[Credit]) -> None:
        found: dict[int, list[Credit]] = {}
        for credit in credits:
            found.setdefault(credit.subscriber_id, []).append(credit)
        for key, theirs in found.items():
            self._account(theirs[0].tenant_id, key).put_credits(theirs)

    def doubt(self) -> None:
        """It is not known whether a commit was done: read what was written lately again, soon."""
        self._doubt.set()

    async def refresh(self) -> set[int]:
        """Take in what any node wrote lately; returns the subscribers of whom memory learned something new."""
        async with self.database.acquire() as conn:
            return self._put(await store.changed_usage(conn, OVERLAP_SECONDS))

    async def run(self) -> None:
        """Refresh once a minute, and after a doubtful commit, for ever."""
        while True:
            try:
                async with asyncio.timeout(REFRESH_SECONDS):
                    await self._doubt.wait()
                await asyncio.sleep(1.0)
            except TimeoutError:
                pass
            self._doubt.clear()
            try:
                await self.refresh()  # whom it concerns enforcement's sweep finds within seconds
            except StoreError as error:
                log.warning("quota usage not compared with the database", extra={"error": str(error)})
                await asyncio.sleep(RETRY_SECONDS)
                self._doubt.set()
