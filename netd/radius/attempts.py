"""One attempt to bring a session to what it should have: sent to its NAS, answered, and when it is tried again."""

import logging
import time
from collections.abc import Callable
from typing import Final

from netd.model.control import ControlResult
from netd.radius.coa import NO_LONGER_WANTED, SESSION_NOT_FOUND
from netd.radius.desired import FINGERPRINT, Desired, Policies
from netd.radius.orders import Orders
from netd.radius.outcomes import Outcomes
from netd.radius.sessions import LiveRecord, Sessions
from netd.radius.steps import Step
from netd.radius.tellings import Tellings
from netd.radius.vanished import Vanished

log = logging.getLogger(__name__)

MAX_RETRY_SECONDS: Final = 3600.0
TELL_SECONDS: Final = 60.0
AWAIT_STOP_SECONDS: Final = 60.0
"""How long after an acknowledged disconnect the Stop may take before the NAS is asked again."""

UNKNOWN_STEP: Final = "what it was granted is not known here, so no step from it is"
"""Then the session is left as it is: a missing row must not disconnect anybody."""


class Attempts:
    """Carries steps out. ``again`` is called for a session whose wish changed while its NAS was asked, or whose CoA was refused."""

    def __init__(
        self, orders: Orders, sessions: Sessions, policies: Policies, outcomes: Outcomes, tellings: Tellings, vanished: Vanished,
        again: Callable[[LiveRecord], object], retry_seconds: float, wall_clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._orders = orders
        self._sessions = sessions
        self._policies = policies
        self._outcomes = outcomes
        self._tellings = tellings
        self._vanished = vanished
        self._again = again
        self._retry_seconds = retry_seconds
        self._wall_clock = wall_clock
        self._told: dict[tuple[int, str, str], float] = {}

    def begin(self, live: LiveRecord, desired: Desired, step: Step) -> None:
        """Do ``step``, or queue it with the session's NAS."""
        if live.wanted != desired.policy:
            live.wanted, live.attempts = desired.policy, 0
        live.busy = True
        live.overridden = False
        if live.enforce_state != "pending":
            live.enforce_state = "pending"
            self._outcomes.note(live, None, "pending", desired.why)

        def done(result: ControlResult) -> None:
            self._answered(live, desired, result)

        def still_wanted() -> bool:
            found = self._policies.desired(live)
            return live.row.acctuniqueid in self._sessions.by_id and found is not None and found.policy == desired.policy

        if step is None:
            done(ControlResult(outcome="error", action="coa", detail=UNKNOWN_STEP))
        elif isinstance(step, str):
            self._orders.post("disconnect", live.row, desired.nas, (), done, still_wanted)
        elif step:
            self._orders.post("coa", live.row, desired.nas, step, done, still_wanted)
        else:
            done(ControlResult(outcome="ack", action="coa", detail="nothing to send"))

    def unreachable(self, live: LiveRecord, why: str) -> None:
        """Its NAS is taken for dead: say so once, and leave the session until the NAS is back."""
        if live.enforce_state != "unreachable":
            live.enforce_state, live.overridden = "unreachable", False
            detail = f"the NAS answers no CoA or Disconnect; wanted because {why}"
            self._outcomes.note(live, None, "unreachable", detail)
            self._tellings.failed(live, live.wanted or "", "unreachable", detail)

    # -- what came of it ---------------------------------------------------------------------------------------------

    def _answered(self, live: LiveRecord, desired: Desired, result: ControlResult) -> None:
        """What the NAS said has come, or why it was not asked."""
        live.busy = False
        try:
            if result.outcome == "nak" and result.error_cause == SESSION_NOT_FOUND:
                live.busy = True  # until it is closed here
                self._vanished.add(live.row)
                return
            if result.detail == NO_LONGER_WANTED:
                live.wanted, live.enforce_state = None, "pending"
            else:
                self._settle(live, desired, result)
            if live.row.acctuniqueid in self._sessions.by_id:
                found = self._policies.desired(live)
                refused = result.outcome == "nak" and result.action == "coa"
                if (found is not None and found.policy != desired.policy) or refused or result.detail == NO_LONGER_WANTED:  # or the wish changed meanwhile
                    self._again(live)
        except Exception:  # barrier: called by the queue of the NAS, which must go on
            log.exception("enforcement failed", extra={"session": live.row.acctuniqueid, "user": live.row.username})

    def _settle(self, live: LiveRecord, desired: Desired, result: ControlResult) -> None:
        """Keep what the NAS said, and decide when to ask again."""
        if result.outcome == "timeout" and not result.attempts:
            live.due_at = 0.0
            self.unreachable(live, desired.why)
            return
        live.attempts += 1
        live.due_at = self._wall_clock() + min(self._retry_seconds * 2 ** (live.attempts - 1), MAX_RETRY_SECONDS)
        if result.outcome == "ack":
            self._acknowledged(live, desired, result)
        elif result.detail == UNKNOWN_STEP:
            self._unverified(live, desired)
        else:
            self._not_done(live, desired, result)

    def _acknowledged(self, live: LiveRecord, desired: Desired, result: ControlResult) -> None:
        live.enforce_state = "applied"
        if result.action == "coa":
            live.unsure = None
            live.applied, live.attempts, live.wanted = desired.policy, 0, None
            detail = f"CoA acknowledged: {desired.why}"
            self._outcomes.note(live, desired.policy, "applied", detail)
        else:
            live.due_at = self._wall_clock() + AWAIT_STOP_SECONDS
            detail = f"disconnect acknowledged: {desired.why}"
            self._outcomes.note(live, None, "applied", detail)
        self._tellings.applied(live, detail)

    def _unverified(self, live: LiveRecord, desired: Desired) -> None:
        live.enforce_state = "unverified"
        live.due_at = self._wall_clock() + MAX_RETRY_SECONDS  # its meaning may become known, from another node
        detail = f"{UNKNOWN_STEP}; the next login gets what is due"
        self._outcomes.note(live, None, "unverified", detail)
        self._tellings.failed(live, desired.policy, "unverified", detail)

    def _not_done(self, live: LiveRecord, desired: Desired, result: ControlResult) -> None:
        """Refused, not answered, or not even asked."""
        if result.action == "coa" and result.outcome == "timeout":
            live.unsure = desired.policy[:FINGERPRINT]  # it may have arrived: until the NAS says yes to something, nothing is known for sure
        said = result.error_cause_name or result.detail or result.outcome
        live.enforce_state = {"nak": "refused", "timeout": "unreachable"}.get(result.outcome, "pending")
        detail = f"{result.action}: {said}; wanted because {desired.why}"
        self._outcomes.note(live, None, live.enforce_state, detail)
        if live.enforce_state != "pending":
            self._tellings.failed(live, desired.policy, live.enforce_state, detail)
        if result.outcome == "nak" and result.action == "coa":
            live.refused, live.attempts, live.due_at = desired.policy, 0, 0.0  # a disconnect instead, unless too many are
        self._tell(live, desired, result, said)

    def _tell(self, live: LiveRecord, desired: Desired, result: ControlResult, said: str) -> None:
        """Log what was not done: once a minute for each NAS and outcome, for there may be thousands; the sessions have it each."""
        key, now = (desired.nas.id, result.action, result.outcome), time.monotonic()
        if now - self._told.get(key, -TELL_SECONDS) < TELL_SECONDS:
            return
        self._told[key] = now
        log.warning(
            "enforcement not done",
            extra={"nas": desired.nas.name, "source": live.row.nassourceaddress, "user": live.row.username, "action": result.action, "said": said},
        )
