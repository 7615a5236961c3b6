"""Enforcement: what each live session should have against what it was last granted; differences go to its NAS (RFC 5176).

Desired is computed from the directory, applied is a fingerprint kept with the session, and how the last attempt ended is kept
beside it. Nothing here disconnects because a row is missing or a driver is broken: only a stated reason does.
"""

import asyncio
import ipaddress
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from netd.config import CoaConfig
from netd.domain.ports import Verdict as PublicVerdict
from netd.errors import ExtensionError, NotFound, StoreError, StoreUnavailable
from netd.model.access import Reason
from netd.model.accounting import Row
from netd.model.control import ControlResult
from netd.model.session import Session
from netd.radius.access import Access
from netd.radius.coa import NO_LONGER_WANTED, SESSION_NOT_FOUND, Action, DynamicAuthorization, target_of
from netd.radius.directory import GENERIC, Directory, Grant, NasRecord, SubscriberRecord
from netd.radius.sessions import LiveRecord, Sessions, parse_class
from netd.sdk import Avp, LiveSession, Value
from netd.store import accounting as store
from netd.store import sessions as session_store
from netd.store.database import Database
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
YIELD_AFTER: Final = 50
"""Attempts begun before packets get their turn."""

UNKNOWN_STEP: Final = "what it was granted is not known here, so no step from it is"
"""Then the session is left as it is: a missing row must not disconnect anybody."""

DELETED: Final = "the subscriber was deleted"
DELETED_KEPT: Final = 10_000
AWAIT_STOP_SECONDS: Final = 60.0
"""How long after an acknowledged disconnect the Stop may take before the NAS is asked again."""

_HIDDEN: Final = frozenset(("ms-mppe-send-key", "ms-mppe-recv-key", "ms-chap-mppe-keys", "tunnel-password", "user-password"))

_Outcome = tuple[int, str | None, str, str | None, float, str | None]
"""What ``store.accounting.applied`` takes."""


class Enforcer:
    """Brings live sessions to their desired policy, and ends sessions for operators."""

    def __init__(self, database: Database, directory: Directory, access: Access, sessions: Sessions, client: DynamicAuthorization, config: CoaConfig) -> None:
        self.database = database
        self.directory = directory
        self.access = access
        self.sessions = sessions
        self.client = client
        self._config = config
        self._tasks: set[asyncio.Task[None]] = set()
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
            detail = self.access.standing(subscriber, self._wall_clock())[1]
            return print_, grant, nas, f"walled garden ({detail})" if reason is Reason.WALLED else "the plan or the subscriber's attributes changed"
        if reason is Reason.NOT_GRANTABLE:
            return None
        return OFF, None, nas, f"{reason.value} ({print_})" if print_ else reason.value

    # -- when it is looked at ----------------------------------------------------------------------------------------

    async def subscribers_changed(self, ids: Iterable[int]) -> None:
        """Look at the sessions of these subscribers now; gives way to packets in between."""
        began = 0
        for key in ids:
            for live in self.sessions.of(key):
                began += self.consider(live)
                if began >= YIELD_AFTER:
                    began = 0
                    await asyncio.sleep(0)

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
            self._doom(old, "replaced by a new log-in from the same line")

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
            if live.enforce_state != "applied":
                live.enforce_state, live.attempts, live.wanted = "applied", 0, None
                self._note(live, wanted, "applied", None)
            return False
        if live.wanted == wanted and self._wall_clock() < live.due_at:
            return False
        self._begin(live, wanted, grant, nas, why)
        return True

    async def run(self) -> None:
        """Sweep for ever: repairs what was missed, retries what is due, ends what expired, and keeps the outcomes."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for number, live in enumerate(list(self.sessions.by_id.values())):
                if number % CHUNK == CHUNK - 1:
                    await asyncio.sleep(0)
                if live.row.acctuniqueid in self.sessions.by_id:
                    self.consider(live)
            self.client.close_idle(time.monotonic())

    async def keep_outcomes(self) -> None:
        """Write how enforcement went, a few times a second, for ever; while the database is away the newest outcome per session waits."""
        while True:
            await asyncio.sleep(0.2)
            await self.flush()

    async def flush(self) -> None:
        """Write the outcomes that are not written yet."""
        outcomes, self._outcomes = self._outcomes, {}
        if not outcomes:
            return
        try:
            async with self.database.transaction() as conn:
                await store.applied(conn, list(outcomes.values()))
        except StoreUnavailable:
            for key, outcome in outcomes.items():
                newer = self._outcomes.get(key)
                self._outcomes[key] = outcome if newer is None else (key, newer[1] or outcome[1], *newer[2:])
        except StoreError as error:
            log.error("how enforcement went was refused by the database", extra={"sessions": len(outcomes), "error": str(error)})

    # -- how it is done ----------------------------------------------------------------------------------------------

    def _begin(self, live: LiveRecord, wanted: str, grant: Grant | None, nas: NasRecord, why: str) -> None:
        if live.busy:
            return
        if live.wanted != wanted:
            live.wanted, live.attempts = wanted, 0
        live.busy = True
        live.enforce_state = "pending"
        self._note(live, None, "pending", why)
        task = asyncio.get_running_loop().create_task(self._enforce(live, wanted, grant, nas, why))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("enforcement failed", exc_info=error)

    async def _enforce(self, live: LiveRecord, wanted: str, grant: Grant | None, nas: NasRecord, why: str) -> None:
        try:
            result = await self._ask(live, wanted, grant, nas)
            if result.detail == NO_LONGER_WANTED:
                live.wanted, live.enforce_state = None, "pending"
            else:
                await self._settle(live, wanted, nas, result, why)
        finally:
            live.busy = False
        if live.row.acctuniqueid in self.sessions.by_id:
            found = self._wanted(live)
            if (found is not None and found[0] != wanted) or result.detail == NO_LONGER_WANTED:  # the wish changed meanwhile
                self.consider(live)

    async def _ask(self, live: LiveRecord, wanted: str, grant: Grant | None, nas: NasRecord) -> ControlResult:
        """CoA where the vendor can change a live session to what is wanted, else disconnect; a refused CoA becomes a disconnect."""
        applied = live.applied or ""
        own_attributes_differ = applied[FINGERPRINT:] != wanted[FINGERPRINT:]

        def still_wanted() -> bool:
            found = self._wanted(live)
            return live.row.acctuniqueid in self.sessions.by_id and found is not None and found[0] == wanted

        if wanted != OFF and (not applied or (not own_attributes_differ and applied[:FINGERPRINT] not in self.directory.services)):
            return ControlResult(outcome="error", action="coa", detail=UNKNOWN_STEP)
        if wanted != OFF and grant is not None and applied and not own_attributes_differ:
            change = self._change(nas, live.unsure or applied[:FINGERPRINT], grant)
            if change is not None and not change:
                return ControlResult(outcome="ack", action="coa", detail="nothing to send")
            if change is not None:
                result = await self._send("coa", live.row, nas, change, still_wanted)
                if result.outcome != "nak" or result.error_cause == SESSION_NOT_FOUND:
                    return result
                log.info("CoA refused, disconnecting instead", extra={"nas": nas.name, "user": live.row.username, "cause": result.error_cause_name})
        return await self._send("disconnect", live.row, nas, (), still_wanted)

    def _change(self, nas: NasRecord, before: str, grant: Grant) -> Sequence[Avp] | None:
        vendor = self.directory.vendor(nas.vendor)
        if vendor is None or vendor.access is None:
            return None
        driver = vendor.access
        try:
            with self.directory.extensions.guard(nas.vendor):
                return driver.change(self.directory.services.get(before), grant.service)
        except ExtensionError as error:
            log.warning("driver cannot change a live session", extra={"vendor": nas.vendor, "error": str(error)})
            return None

    async def _send(
        self, action: Action, row: Row, nas: NasRecord, change: Sequence[Avp], still_wanted: Callable[[], bool] = lambda: True, urgent: bool = False
    ) -> ControlResult:
        vendor = self.directory.vendor(nas.vendor) or self.directory.vendor(GENERIC)
        if vendor is None or vendor.access is None:
            return ControlResult(outcome="error", action=action, detail=f"no driver for vendor {nas.vendor}")
        driver = vendor.access
        try:
            with self.directory.extensions.guard(vendor.manifest.name):
                attributes = encode(self.directory.dictionary, [*driver.identify(_live_session(row)), *change])
        except (ExtensionError, ValueError, LookupError) as error:
            return ControlResult(outcome="error", action=action, detail=str(error))
        target = target_of(nas.coa_address, row.nassourceaddress, nas.coa_port, vendor.manifest.coa_port)
        return await self.client.send(action, target, nas.secret, attributes, still_wanted, urgent)

    async def _settle(self, live: LiveRecord, wanted: str, nas: NasRecord, result: ControlResult, why: str) -> None:
        """Keep what the NAS said, and decide when to ask again."""
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
                self._note(live, wanted, "applied", f"CoA acknowledged: {why}")
            else:
                live.due_at = self._wall_clock() + AWAIT_STOP_SECONDS
                self._note(live, None, "applied", f"disconnect acknowledged: {why}")
            return
        if result.outcome == "nak" and result.error_cause == SESSION_NOT_FOUND:
            await self._close_unknown(live.row)
            return
        if result.detail == UNKNOWN_STEP:
            live.enforce_state = "unverified"
            live.due_at = self._wall_clock() + MAX_RETRY_SECONDS  # its meaning may become known, from another node
            self._note(live, None, "unverified", f"{UNKNOWN_STEP}; the next login gets what is due")
            return
        live.enforce_state = {"nak": "refused", "timeout": "unreachable"}.get(result.outcome, "pending")
        self._note(live, None, live.enforce_state, f"{result.action}: {said or result.outcome}; wanted because {why}")
        log.warning(
            "enforcement not done, will be tried again",
            extra={
                "nas": nas.name,
                "source": live.row.nassourceaddress,
                "user": live.row.username,
                "outcome": result.outcome,
                "said": said,
                "again_in_seconds": back_off,
            },
        )

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

    async def _close_unknown(self, row: Row) -> bool:
        """The NAS does not know the session: it ended without a word, so it ends here too. False if the database is away."""
        try:
            async with self.database.transaction() as conn:
                stored = await store.read_open(conn, [row.acctuniqueid])
                if not stored or stored[0].radacctid != row.radacctid:
                    return True  # it is over already, and what is open under its id now is another session
                await session_store.close(conn, [row.acctuniqueid], "not_found", "NAS-Error", None)
        except StoreError as error:
            log.warning("session unknown to its NAS not closed yet", extra={"session": row.acctuniqueid, "error": str(error)})
            return False
        live = self.sessions.by_id.get(row.acctuniqueid)
        if live is not None and live.row.radacctid == row.radacctid:
            self.sessions.remove([row.acctuniqueid])
        return True

    async def stop(self, grace_seconds: float) -> None:
        """Give requests in work a moment, then give up; outcomes are kept."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        self.client.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        await self.flush()

    # -- for operators (netd.domain.ports) ---------------------------------------------------------------------------

    async def disconnect(self, session: Session) -> ControlResult:
        """SessionControl: ask the session's NAS to end it; what the NAS says comes back as it is."""
        row = await self._row(session)
        nas = None if row.nas_id is None else self.directory.nas.get(row.nas_id)
        if nas is None:
            return ControlResult(outcome="error", action="disconnect", detail="the session's NAS is no longer configured")
        result = await self._send("disconnect", row, nas, (), urgent=True)
        if result.outcome == "nak" and result.error_cause == SESSION_NOT_FOUND:
            closed = await self._close_unknown(row)
            return ControlResult(
                outcome="nak", action="disconnect", error_cause=result.error_cause, error_cause_name=result.error_cause_name, detail=result.detail,
                attempts=result.attempts, duration_seconds=result.duration_seconds, session_closed=closed,
            )  # fmt: skip
        return result

    async def _row(self, session: Session) -> Row:
        live = self.sessions.by_id.get(session.unique_id)
        if live is not None and live.row.radacctid == session.id:
            return live.row
        async with self.database.transaction() as conn:  # opened by another node
            rows = await store.read_open(conn, [session.unique_id])
        if not rows or rows[0].radacctid != session.id:
            raise NotFound("open session", session.id)
        return rows[0]

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


def _live_session(row: Row) -> LiveSession:
    def v4(text: str | None) -> ipaddress.IPv4Address | None:
        return None if text is None else ipaddress.IPv4Address(text)

    def net6(text: str | None) -> ipaddress.IPv6Network | None:
        return None if text is None else ipaddress.IPv6Network(text, strict=False)

    return LiveSession(
        username=row.username, acct_session_id=row.acctsessionid, nas_ip_address=ipaddress.ip_address(row.nasipaddress),
        nas_identifier=row.nasidentifier, nas_port_id=row.nasportid, calling_station_id=row.callingstationid, called_station_id=row.calledstationid,
        framed_ip_address=v4(row.framedipaddress), framed_ipv6_prefix=net6(row.framedipv6prefix),
        framed_ipv6_address=None if row.framedipv6address is None else ipaddress.IPv6Address(row.framedipv6address),
        delegated_ipv6_prefix=net6(row.delegatedipv6prefix),
    )  # fmt: skip
