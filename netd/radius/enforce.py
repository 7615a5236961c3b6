"""Enforcement: what each live session should have against what it was last granted; differences go to its NAS (RFC 5176).

Desired is computed from the directory (``desired``), applied is a fingerprint kept with the session, and how the last attempt ended is kept
beside it (``outcomes``). Nothing here disconnects because a row is missing or a driver is broken: only a stated reason does. Here stands when
a session is looked at; what would bring it there is ``steps``, whether too many would lose their connection ``guard``, doing it ``attempts``.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Set
from contextlib import AbstractContextManager, suppress
from typing import Final

from netd.config import CoaConfig, EnforcementConfig
from netd.model.accounting import Row
from netd.radius.access import Access
from netd.radius.attempts import Attempts
from netd.radius.coa import Target
from netd.radius.desired import Policies
from netd.radius.directory import Directory
from netd.radius.guard import Guard
from netd.radius.orders import Orders
from netd.radius.outcomes import Outcomes
from netd.radius.sessions import LiveRecord, Sessions, parse_class
from netd.radius.steps import Steps
from netd.radius.tellings import Tellings
from netd.radius.vanished import Vanished
from netd.store.database import Database

log = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 5.0
CHUNK: Final = 500
"""Sessions looked at before packets get their turn."""

YIELD_AFTER: Final = 50
"""Attempts begun before they do."""

DELETED: Final = "the subscriber was deleted"
DELETED_KEPT: Final = 10_000
REPLACED: Final = "replaced by a new log-in from the same line"


class Enforcer:
    """Brings live sessions to their desired policy."""

    def __init__(
        self, database: Database, directory: Directory, access: Access, sessions: Sessions, orders: Orders, config: CoaConfig, guard: EnforcementConfig,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.database = database
        self.directory = directory
        self.sessions = sessions
        self.orders = orders
        self.client = orders.client
        self.policies = Policies(directory, access, wall_clock)
        self.tellings = Tellings(orders, sessions.by_id)
        self.outcomes = Outcomes(database, self.tellings, wall_clock)
        self.vanished = Vanished(database, sessions)
        self.client.on_recovered, self.client.on_died = self._recovered, self.tellings.died
        self.guard = Guard(sessions, guard, self.consider, self.outcomes.note, self.policies.desired)
        self.states: dict[tuple[int, str], int] = {}  # live sessions by tenant and enforce_state, of the last sweep
        self._steps = Steps(directory)
        self._attempts = Attempts(
            orders, sessions, self.policies, self.outcomes, self.tellings, self.vanished, self.consider, config.retry_seconds, wall_clock
        )  # fmt: skip
        self._wall_clock = wall_clock
        self._wake = asyncio.Event()
        self._back: set[Target] = set()  # NAS that answer again
        self._broken: set[str] = set()  # sessions that could not be judged, named in the log once
        self._deleted: dict[int, None] = {}  # subscribers deleted lately, in order

    # -- when sessions are looked at ---------------------------------------------------------------------------------

    def gathering(self) -> AbstractContextManager[None]:
        """While it lasts, what would disconnect or wall is only collected, so that a batch of changed rows counts as one wave."""
        return self.guard.gathering()

    async def subscribers_changed(self, ids: Iterable[int]) -> None:
        """Look at the sessions of these subscribers now; gives way to packets in between."""
        looked_at = began = 0
        with self.gathering():
            for key in ids:
                for live in self.sessions.of(key):
                    began += self.consider(live)
                    looked_at += 1
                    if began >= YIELD_AFTER or looked_at >= CHUNK:
                        looked_at = began = 0
                        await asyncio.sleep(0)

    def usage_changed(self, ids: Iterable[int]) -> None:
        """Look at the sessions of subscribers whose quota usage was just committed; those of one batch, so they are few."""
        for key in ids:
            for live in self.sessions.of(key):
                self.consider(live)

    async def plans_changed(self, ids: Iterable[int]) -> None:
        """Look at every session whose subscriber has one of these plans."""
        plans = {id(self.directory.plans[key]) for key in ids if key in self.directory.plans}
        concerned = []
        for number, key in enumerate(list(self.sessions.by_subscriber)):
            if number % CHUNK == CHUNK - 1:
                await asyncio.sleep(0)
            subscriber = self.directory.subscribers.get(key)
            if subscriber is not None and id(subscriber.plan) in plans:
                concerned.append(key)
        await self.subscribers_changed(concerned)

    def subscribers_deleted(self, ids: Iterable[int]) -> None:
        """End the sessions of subscribers that an operator deleted, also those whose Start is still on its way."""
        with self.gathering():
            for key in ids:
                if len(self._deleted) >= DELETED_KEPT:
                    self._deleted.pop(next(iter(self._deleted)))
                self._deleted[key] = None
                for live in self.sessions.of(key):
                    self.doom(live, DELETED)

    def opened(self, row: Row) -> None:
        """A session began: check its policy, and end older ones of the same line that it replaced."""
        live = self.sessions.by_id.get(row.acctuniqueid)
        if live is None:
            return
        granted = parse_class(row.class_)
        if granted is not None and granted.subscriber_id in self._deleted:
            self.doom(live, DELETED)
        self.consider(live)
        for old in self._replaced_by(live):
            self.doom(old, REPLACED)

    def _replaced_by(self, live: LiveRecord) -> list[LiveRecord]:
        """The oldest sessions of the same line, as many as the subscriber has too many."""
        subscriber = None if live.subscriber_id is None else self.directory.subscribers.get(live.subscriber_id)
        if subscriber is None or subscriber.plan is None or live.row.callingstationid is None:
            return []
        limit = subscriber.plan.plan.max_sessions if subscriber.max_sessions is None else subscriber.max_sessions
        others = self.sessions.of(subscriber.id)
        if not limit or len(others) <= limit:
            return []
        line = (live.row.callingstationid, live.row.nassourceaddress)
        same = [other for other in others if (other.row.callingstationid, other.row.nassourceaddress) == line]
        return sorted(same, key=lambda other: other.row.started_at)[: len(others) - limit]

    async def run(self) -> None:
        """Sweep for ever: repairs what was missed, retries what is due, ends what expired; at once where a NAS came back."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            back, self._back = self._back, set()
            await self.sweep(back)
            self.client.close_idle(time.monotonic())

    async def sweep(self, back: Set[Target] = frozenset()) -> None:
        """Look at every live session. Those that waited for a NAS of ``back`` are due now. What it finds counts as one wave."""
        states: Counter[tuple[int, str]] = Counter()
        wave = self.guard.collection()
        for number, live in enumerate(list(self.sessions.by_id.values())):
            if number % CHUNK == CHUNK - 1:
                await asyncio.sleep(0)  # a change that comes meanwhile is decided by itself
            if live.row.acctuniqueid not in self.sessions.by_id:
                continue
            if back and live.enforce_state == "unreachable":
                nas = self.orders.nas_of(live.row)
                if nas is not None and self.orders.target(live.row, nas) in back:
                    live.due_at, live.attempts = 0.0, 0
            with wave:
                self.consider(live)
            states[live.row.tenant_id, live.enforce_state] += 1
        self.guard.decide_collected(wave)
        self.tellings.forget_ended()
        self.states = dict(states)

    def _recovered(self, target: Target) -> None:
        self._back.add(target)
        self.tellings.recovered(target, self._wall_clock())
        self._wake.set()

    # -- one session -------------------------------------------------------------------------------------------------

    def doom(self, live: LiveRecord, why: str) -> None:
        """End a session whatever its policy says. The wish is kept until its NAS has done it, even where it is too soon to ask it again."""
        live.doomed = why
        self.outcomes.note(live, None, live.enforce_state, why)
        self.consider(live)

    def consider(self, live: LiveRecord) -> bool:
        """Act if the session differs from what is wanted and it is not too soon to try (again); whether it acted."""
        try:
            return self._consider(live)
        except Exception:  # barrier: one session, row or driver must not end enforcement for all others
            if live.row.acctuniqueid not in self._broken:
                self._broken.add(live.row.acctuniqueid)
                log.exception("session cannot be judged", extra={"session": live.row.acctuniqueid, "user": live.row.username})
            return False

    def _consider(self, live: LiveRecord) -> bool:
        desired = self.policies.desired(live)
        if desired is None or live.busy:
            return False
        if desired.policy == live.applied and live.unsure is None:
            if live.enforce_state != "applied" and not live.overridden:
                self._as_desired(live, desired.policy)
            return False
        if (live.wanted == desired.policy and self._wall_clock() < live.due_at) or live.spared == desired.policy:
            return False
        if self.client.would_wait_in_vain(self.orders.target(live.row, desired.nas), time.monotonic()):
            self._attempts.unreachable(live, desired.why)
            return False
        step = self._steps.step(live, desired)
        if live.cleared != desired.policy and desired.why != REPLACED and self._steps.disrupts(live, step, desired.grant):
            self.guard.wish(live, desired.policy, desired.why)
            return False
        self._attempts.begin(live, desired, step)
        return True

    def _as_desired(self, live: LiveRecord, policy: str) -> None:
        """It has what it should have again, without an attempt: the wish was taken back."""
        self.guard.waves.drop(live.row.tenant_id, live.row.acctuniqueid)
        live.enforce_state, live.attempts, live.wanted = "applied", 0, None
        self.outcomes.note(live, policy, "applied", None)

    def enforces(self, live: LiveRecord) -> bool:
        """Whether netd says what the session gets, so that another system that changes it contradicts netd."""
        return live.applied is not None and self.policies.desired(live) is not None

    def note_override(self, live: LiveRecord, detail: str) -> None:
        """Another system changed the session at its NAS. Left as it is until what is wanted of it changes, for nobody may fight over it in silence."""
        live.overridden = True
        live.enforce_state = "unverified"
        self.outcomes.note(live, None, "unverified", detail)

    # -- what came of it ---------------------------------------------------------------------------------------------

    async def keep_outcomes(self) -> None:
        """Write how enforcement went, a few times a second, for ever."""
        while True:
            await asyncio.sleep(0.2)
            await self.vanished.close()
            await self.outcomes.flush()

    async def stop(self, grace_seconds: float) -> None:
        """Give requests in work a moment, then give up; outcomes are kept."""
        await self.client.drain(grace_seconds)
        self.client.close()
        await self.vanished.close()
        await self.outcomes.flush()
