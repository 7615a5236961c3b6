"""Enforcement: what each live session should have against what it was last granted; differences go to its NAS (RFC 5176).

Desired is computed from the directory, applied is a fingerprint kept with the session, and how the last attempt ended is kept
beside it. Nothing here disconnects because a row is missing or a driver is broken: only a stated reason does.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import AbstractContextManager, suppress
from itertools import islice
from typing import Final, Literal

from netd.config import CoaConfig, EnforcementConfig
from netd.domain.ports import Verdict as PublicVerdict
from netd.errors import ExtensionError, NotFound, StoreError, StoreUnavailable
from netd.model.access import Reason
from netd.model.accounting import Row
from netd.model.control import ControlResult
from netd.radius import tellings
from netd.radius.access import Access
from netd.radius.coa import NO_LONGER_WANTED, SESSION_NOT_FOUND, Target
from netd.radius.directory import GENERIC, Directory, Grant, NasRecord, SubscriberRecord, is_replaced
from netd.radius.guard import Guard
from netd.radius.orders import Orders
from netd.radius.sessions import LiveRecord, Sessions, parse_class
from netd.radius.tellings import Tellings
from netd.sdk import Avp, Value
from netd.store import accounting as store
from netd.store import sessions as session_store
from netd.store.database import Database
from netd.wire import radius
from netd.wire.attributes import decode, encode, to_text
from netd.wire.dictionary import Dictionary

log = logging.getLogger(__name__)

OFF: Final = "off"
"""The desired policy of a session that should not be."""

FINGERPRINT: Final = 8
"""Characters of a policy that stand for the grant; what follows stands for the subscriber's own attributes."""

SWEEP_SECONDS: Final = 5.0
CHUNK: Final = 500
MAX_RETRY_SECONDS: Final = 3600.0
Step = Sequence[Avp] | Literal["disconnect"] | None
"""Attributes for a CoA (none: nothing needs to be sent), a disconnect, or None where the way is not known."""

YIELD_AFTER: Final = 50
"""Attempts begun before packets get their turn."""

UNKNOWN_STEP: Final = "what it was granted is not known here, so no step from it is"
"""Then the session is left as it is: a missing row must not disconnect anybody."""

DELETED: Final = "the subscriber was deleted"
DELETED_KEPT: Final = 10_000
REPLACED: Final = "replaced by a new log-in from the same line"

TELL_SECONDS: Final = 60.0
AWAIT_STOP_SECONDS: Final = 60.0
"""How long after an acknowledged disconnect the Stop may take before the NAS is asked again."""

_HIDDEN: Final = frozenset(("ms-mppe-send-key", "ms-mppe-recv-key", "ms-chap-mppe-keys", "tunnel-password", "user-password"))

_Outcome = tuple[int, str | None, str, str | None, float, str | None]
"""What ``store.accounting.applied`` takes."""


class Enforcer:
    """Brings live sessions to their desired policy."""

    def __init__(
        self, database: Database, directory: Directory, access: Access, sessions: Sessions, orders: Orders, config: CoaConfig, guard: EnforcementConfig
    ) -> None:
        self.database = database
        self.directory = directory
        self.access = access
        self.sessions = sessions
        self.orders = orders
        self.client = orders.client
        self.tellings = Tellings(orders, sessions.by_id)
        self.client.on_recovered, self.client.on_died = self._recovered, self.tellings.died
        self.guard = Guard(sessions, guard, self.consider, self._note, self._wanted)
        self.states: dict[tuple[int, str], int] = {}  # live sessions by tenant and enforce_state, of the last sweep
        self._config = config
        self._wake = asyncio.Event()
        self._back: set[Target] = set()  # NAS that answer again
        self._unknown: dict[str, Row] = {}  # sessions that their NAS does not know, to be closed
        self._told: dict[tuple[int, str, str], float] = {}
        self._outcomes: dict[int, _Outcome] = {}  # by radacctid: a later generation under the same name is another session
        self._broken: set[str] = set()  # sessions that could not be judged, named in the log once
        self._deleted: dict[int, None] = {}  # subscribers deleted lately, in order
        self._wall_clock: Callable[[], float] = time.time

    # -- what is wanted ----------------------------------------------------------------------------------------------

    def policy_of(self, subscriber: SubscriberRecord, nas: NasRecord) -> str | None:
        """The fingerprint that a session of the subscriber on this NAS should have now, None if it should not be or cannot be told."""
        _, grant, print_ = self.access.policy(subscriber, nas, self._wall_clock())
        return None if grant is None else print_

    def _wanted(self, live: LiveRecord) -> tuple[str, Grant | None, NasRecord, str] | None:
        """(desired policy, its grant, NAS, why), or None where nothing can be said and so nothing is done."""
        nas = None if live.row.nas_id is None else self.directory.nas.get(live.row.nas_id)
        if nas is None:
            return None
        if live.doomed:
            return OFF, None, nas, live.doomed
        subscriber = None if live.subscriber_id is None else self.directory.subscribers.get(live.subscriber_id)
        if subscriber is None:
            return None
        reason, grant, print_ = self.access.policy(subscriber, nas, self._wall_clock())
        if grant is not None:
            detail = self.access.entitlement(subscriber, self._wall_clock())[1]
            if reason is Reason.WALLED:
                return print_, grant, nas, f"walled garden ({detail})"
            return print_, grant, nas, detail or "the plan, its quotas or the subscriber's attributes changed"
        if reason is Reason.NOT_GRANTABLE:
            return None
        return OFF, None, nas, f"{reason.value} ({print_})" if print_ else reason.value

    # -- when it is looked at ----------------------------------------------------------------------------------------

    def gathering(self) -> AbstractContextManager[None]:
        """While it lasts, what would disconnect or wall is only collected, so that a batch of changed rows counts as one wave."""
        return self.guard.gathering()

    async def subscribers_changed(self, ids: Iterable[int]) -> None:
        """Look at the sessions of these subscribers now; gives way to packets in between."""
        began = 0
        with self.gathering():
            for key in ids:
                for live in self.sessions.of(key):
                    began += self.consider(live)
                    if began >= YIELD_AFTER:
                        began = 0
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
                    self._doom(live, DELETED)

    def doom(self, live: LiveRecord, why: str) -> None:
        """End a session whatever its policy says; the wish is kept until its NAS has done it."""
        self._doom(live, why)

    def opened(self, row: Row) -> None:
        """A session began: check its policy, and end older ones of the same line that it replaced."""
        live = self.sessions.by_id.get(row.acctuniqueid)
        if live is None:
            return
        granted = parse_class(row.class_)
        if granted is not None and granted.subscriber_id in self._deleted:
            self._doom(live, DELETED)
        self.consider(live)
        if live.subscriber_id is None:
            return
        subscriber = self.directory.subscribers.get(live.subscriber_id)
        if subscriber is None or subscriber.plan is None or row.callingstationid is None:
            return
        limit = subscriber.plan.plan.max_sessions if subscriber.max_sessions is None else subscriber.max_sessions
        others = self.sessions.of(live.subscriber_id)
        if not limit or len(others) <= limit:
            return
        same = [o for o in others if o.row.callingstationid == row.callingstationid and o.row.nassourceaddress == row.nassourceaddress]
        for old in sorted(same, key=lambda o: o.row.started_at)[: len(others) - limit]:
            self._doom(old, REPLACED)

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
        found = self._wanted(live)
        if found is None or live.busy:
            return False
        wanted, grant, nas, why = found
        if wanted == live.applied and live.unsure is None:
            if live.enforce_state != "applied" and not live.overridden:
                self.guard.waves.drop(live.row.tenant_id, live.row.acctuniqueid)
                live.enforce_state, live.attempts, live.wanted = "applied", 0, None
                self._note(live, wanted, "applied", None)
            return False
        if live.wanted == wanted and self._wall_clock() < live.due_at:
            return False
        if live.spared == wanted:
            return False
        if self.client.would_wait_in_vain(self.orders.target(live.row, nas), time.monotonic()):
            self._unreachable(live, why)
            return False
        step = self._step(live, wanted, grant, nas)
        if live.cleared != wanted and why != REPLACED and self._disrupts(live, step, grant):
            self.guard.wish(live, wanted, why)
            return False
        self._begin(live, wanted, step, nas, why)
        return True

    def _unreachable(self, live: LiveRecord, why: str) -> None:
        """Its NAS is taken for dead: say so once, and leave the session until the NAS is back."""
        if live.enforce_state != "unreachable":
            live.enforce_state, live.overridden = "unreachable", False
            detail = f"the NAS answers no CoA or Disconnect; wanted because {why}"
            self._note(live, None, "unreachable", detail)
            self.tellings.failed(live, live.wanted or "", "unreachable", detail)

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

    async def keep_outcomes(self) -> None:
        """Write how enforcement went, a few times a second, for ever; while the database is away the newest outcome per session waits."""
        while True:
            await asyncio.sleep(0.2)
            await self.close_unknown()
            await self.flush()

    async def flush(self) -> None:
        """Write the outcomes that are not written yet, and what is to be told of them."""
        outcomes = {key: outcome for key, outcome in self._outcomes.items() if key > 0}
        if not outcomes and not self.tellings:
            return
        turned, taken = self.tellings.take()
        self._outcomes = {key: outcome for key, outcome in self._outcomes.items() if key < 0}  # the database does not know these sessions yet
        try:
            async with self.database.transaction() as conn:
                if outcomes:
                    await store.applied(conn, list(outcomes.values()))
                await tellings.write(conn, turned, taken)
        except StoreUnavailable:
            self.tellings.put_back(turned, taken)
            for key, outcome in outcomes.items():
                newer = self._outcomes.get(key)
                self._outcomes[key] = outcome if newer is None else (key, newer[1] or outcome[1], *newer[2:])
        except StoreError as error:
            log.error("how enforcement went was refused by the database", extra={"sessions": len(outcomes), "error": str(error)})

    def numbered(self, before: int, after: int | None) -> None:
        """A session that only the journal knew has its radacctid now, or (None) ended without one."""
        outcome = self._outcomes.pop(before, None)
        if outcome is not None and after is not None:
            self._outcomes[after] = (after, *outcome[1:])

    # -- how it is done ----------------------------------------------------------------------------------------------

    def _step(self, live: LiveRecord, wanted: str, grant: Grant | None, nas: NasRecord) -> Step:
        """What brings the session from what it has to what is wanted: CoA where the vendor can, else a disconnect, or nothing for not knowing."""
        if wanted == OFF:
            return "disconnect"
        applied = live.applied or ""
        own_attributes_differ = applied[FINGERPRINT:] != wanted[FINGERPRINT:]
        if not applied or (not own_attributes_differ and applied[:FINGERPRINT] not in self.directory.services):
            return None
        if own_attributes_differ or grant is None or live.refused == wanted:
            return "disconnect"
        change = self._change(nas, live, live.unsure or applied[:FINGERPRINT], grant)
        return "disconnect" if change is None else change

    def _disrupts(self, live: LiveRecord, step: Step, grant: Grant | None) -> bool:
        """Whether the subscriber loses the connection by this step, or all but the walled garden."""
        if not step or grant is None or isinstance(step, str):
            return step == "disconnect"
        before = self.directory.services.get((live.applied or "")[:FINGERPRINT])
        return grant.service.walled and (before is None or not before.walled)

    def _change(self, nas: NasRecord, live: LiveRecord, before: str, grant: Grant) -> Sequence[Avp] | None:
        if grant.replaced is None:
            return ()  # a raw plan: the driver has no say, and its replies are the same as before
        vendor = self.directory.vendor(nas.vendor)
        if vendor is None or vendor.access is None:
            return None
        driver = vendor.access
        try:
            with self.directory.extensions.guard(nas.vendor):
                change = driver.change(self.directory.services.get(before), grant.service)
            subscriber = None if live.subscriber_id is None else self.directory.subscribers.get(live.subscriber_id)
            replaced = grant.replaced | (subscriber.replaced if subscriber is not None and not grant.service.walled else frozenset())
            if not change or not replaced:
                return change
            # What the plan or the subscriber has in place of the driver's attribute must not be overwritten with the latter.
            encoded = [(avp, radius.split(encode(self.directory.dictionary, [avp]))) for avp in change]
            return [avp for avp, octets in encoded if not all(is_replaced(kind, value, replaced) for kind, value in octets)]
        except ExtensionError as error:
            log.warning("driver cannot change a live session", extra={"vendor": nas.vendor, "error": str(error)})
            return None

    def _begin(self, live: LiveRecord, wanted: str, step: Step, nas: NasRecord, why: str) -> None:
        if live.wanted != wanted:
            live.wanted, live.attempts = wanted, 0
        live.busy = True
        live.overridden = False
        if live.enforce_state != "pending":
            live.enforce_state = "pending"
            self._note(live, None, "pending", why)

        def done(result: ControlResult) -> None:
            self._answered(live, wanted, nas, result, why)

        def still_wanted() -> bool:
            found = self._wanted(live)
            return live.row.acctuniqueid in self.sessions.by_id and found is not None and found[0] == wanted

        if step is None:
            done(ControlResult(outcome="error", action="coa", detail=UNKNOWN_STEP))
        elif isinstance(step, str):
            self.orders.post("disconnect", live.row, nas, (), done, still_wanted)
        elif step:
            self.orders.post("coa", live.row, nas, step, done, still_wanted)
        else:
            done(ControlResult(outcome="ack", action="coa", detail="nothing to send"))

    def _answered(self, live: LiveRecord, wanted: str, nas: NasRecord, result: ControlResult, why: str) -> None:
        """What the NAS said has come, or why it was not asked."""
        live.busy = False
        try:
            if result.detail == NO_LONGER_WANTED:
                live.wanted, live.enforce_state = None, "pending"
            elif result.outcome == "nak" and result.error_cause == SESSION_NOT_FOUND:
                live.busy = True  # until it is closed here
                self._unknown[live.row.acctuniqueid] = live.row
                return
            else:
                self._settle(live, wanted, nas, result, why)
            if live.row.acctuniqueid in self.sessions.by_id:
                found = self._wanted(live)
                refused = result.outcome == "nak" and result.action == "coa"
                if (found is not None and found[0] != wanted) or refused or result.detail == NO_LONGER_WANTED:  # or the wish changed meanwhile
                    self.consider(live)
        except Exception:  # barrier: called by the queue of the NAS, which must go on
            log.exception("enforcement failed", extra={"session": live.row.acctuniqueid, "user": live.row.username})

    def _settle(self, live: LiveRecord, wanted: str, nas: NasRecord, result: ControlResult, why: str) -> None:
        """Keep what the NAS said, and decide when to ask again."""
        if result.outcome == "timeout" and not result.attempts:
            live.due_at = 0.0
            self._unreachable(live, why)
            return
        live.attempts += 1
        back_off = min(self._config.retry_seconds * 2 ** (live.attempts - 1), MAX_RETRY_SECONDS)
        live.due_at = self._wall_clock() + back_off
        said = result.error_cause_name or result.detail
        if result.action == "coa" and result.outcome == "timeout":
            live.unsure = wanted[:FINGERPRINT]  # it may have arrived: until the NAS says yes to something, nothing is known for sure
        if result.outcome == "ack":
            live.enforce_state = "applied"
            if result.action == "coa":
                live.unsure = None
                live.applied, live.attempts, live.wanted = wanted, 0, None
                detail = f"CoA acknowledged: {why}"
                self._note(live, wanted, "applied", detail)
            else:
                live.due_at = self._wall_clock() + AWAIT_STOP_SECONDS
                detail = f"disconnect acknowledged: {why}"
                self._note(live, None, "applied", detail)
            self.tellings.applied(live, detail)
            return
        if result.detail == UNKNOWN_STEP:
            live.enforce_state = "unverified"
            live.due_at = self._wall_clock() + MAX_RETRY_SECONDS  # its meaning may become known, from another node
            detail = f"{UNKNOWN_STEP}; the next login gets what is due"
            self._note(live, None, "unverified", detail)
            self.tellings.failed(live, wanted, "unverified", detail)
            return
        live.enforce_state = {"nak": "refused", "timeout": "unreachable"}.get(result.outcome, "pending")
        detail = f"{result.action}: {said or result.outcome}; wanted because {why}"
        self._note(live, None, live.enforce_state, detail)
        if live.enforce_state != "pending":
            self.tellings.failed(live, wanted, live.enforce_state, detail)
        if result.outcome == "nak" and result.action == "coa":
            live.refused, live.attempts, live.due_at = wanted, 0, 0.0  # a disconnect instead, unless too many are
        self._tell(live, nas, result, said)

    def _tell(self, live: LiveRecord, nas: NasRecord, result: ControlResult, said: str) -> None:
        """Log what was not done: once a minute for each NAS and outcome, for there may be thousands; the sessions have it each."""
        key, now = (nas.id, result.action, result.outcome), time.monotonic()
        if now - self._told.get(key, -TELL_SECONDS) < TELL_SECONDS:
            return
        self._told[key] = now
        log.warning(
            "enforcement not done",
            extra={"nas": nas.name, "source": live.row.nassourceaddress, "user": live.row.username, "action": result.action, "said": said or result.outcome},
        )

    def enforces(self, live: LiveRecord) -> bool:
        """Whether netd says what the session gets, so that another system that changes it contradicts netd."""
        return live.applied is not None and self._wanted(live) is not None

    def note_override(self, live: LiveRecord, detail: str) -> None:
        """Another system changed the session at its NAS. Left as it is until what is wanted of it changes, for nobody may fight over it in silence."""
        live.overridden = True
        live.enforce_state = "unverified"
        self._note(live, None, "unverified", detail)

    def _note(self, live: LiveRecord, applied: str | None, state: str, detail: str | None) -> None:
        key = live.row.radacctid
        before = self._outcomes.get(key)
        applied = applied or (before[1] if before else None)
        self._outcomes[key] = (key, applied, state, detail, self._wall_clock(), live.doomed or None)

    def _doom(self, live: LiveRecord, why: str) -> None:
        """Mark a session that must end whatever its policy says, and act. The mark is kept even where it is too soon to ask its NAS again."""
        live.doomed = why
        self._note(live, None, live.enforce_state, why)
        self.consider(live)

    def not_found(self, row: Row) -> None:
        """The NAS does not know the session, so it ended without a word: it ends here too, within a moment."""
        self._unknown[row.acctuniqueid] = row

    async def close_unknown(self) -> bool:
        """Close what NAS did not know. False if the database is away: then it stays to be done."""
        while self._unknown:
            unknown = dict(islice(self._unknown.items(), CHUNK))
            try:
                async with self.database.transaction() as conn:
                    stored = {row.acctuniqueid: row.radacctid for row in await store.read_open(conn, list(unknown))}
                    # What is open under its id now may be another session, and the one that is meant over.
                    closing = [key for key, row in unknown.items() if stored.get(key) == row.radacctid]
                    await session_store.close(conn, closing, "not_found", "NAS-Error", None)
            except StoreError as error:
                log.warning("sessions unknown to their NAS not closed yet", extra={"sessions": len(unknown), "error": str(error)})
                return False
            for key, row in unknown.items():
                live = self.sessions.by_id.get(key)
                if live is not None and live.row.radacctid == row.radacctid:
                    self.sessions.remove([key])
                if self._unknown.get(key) is row:
                    del self._unknown[key]
        return True

    async def stop(self, grace_seconds: float) -> None:
        """Give requests in work a moment, then give up; outcomes are kept."""
        await self.client.drain(grace_seconds)
        self.client.close()
        await self.close_unknown()
        await self.flush()

    # -- for operators (netd.domain.ports) ---------------------------------------------------------------------------

    def decide(self, tenant_id: int, username: str, password: str | None, nas_id: int | None = None) -> PublicVerdict:
        """AccessProbe: what an Access-Request would be answered now."""
        nas = self.directory.nas.get(nas_id) if nas_id is not None else None
        if nas is None:
            nas = next((n for n in self.directory.nas.values() if n.tenant_id == tenant_id), None)
        if nas is not None and nas.tenant_id != tenant_id:
            raise NotFound("nas", nas_id)
        verdict = self.access.probe(tenant_id, username, password, nas, GENERIC, time.monotonic(), self._wall_clock())
        shown = []
        dictionary = self.directory.dictionary
        for item in decode(dictionary, verdict.attributes):
            if item.name.lower() not in _HIDDEN:
                shown.append((item.name, _text(dictionary, item.name, item.value)))
        return PublicVerdict(accept=verdict.accept, reason=verdict.reason, detail=verdict.detail, attributes=tuple(shown))


def _text(dictionary: Dictionary, name: str, value: Value) -> str:
    try:
        return to_text(dictionary.attribute(name), value)
    except LookupError:
        return "0x" + value.hex() if isinstance(value, bytes) else str(value)
