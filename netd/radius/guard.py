"""Before sessions are disconnected or walled: how many at once, and what an operator says to too many (the arithmetic is ``waves``)."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Final

from netd.config import EnforcementConfig
from netd.errors import Conflict
from netd.model.control import HeldWave
from netd.radius.desired import Desired
from netd.radius.sessions import LiveRecord, Sessions
from netd.radius.waves import Waves

log = logging.getLogger(__name__)

WAVE_SECONDS: Final = 0.05
"""How long what would disconnect or wall a session waits for others, to be counted with them."""

CHUNK: Final = 50
"""Sessions acted upon before packets get their turn."""

_Wishes = dict[int, dict[str, tuple[str, str]]]
"""By tenant and session: what is wanted that disconnects or walls, and why."""


class Collection:
    """Wishes that come while it is entered are kept in it, to be decided together at the end of something long."""

    def __init__(self, guard: "Guard") -> None:
        self.wishes: _Wishes = {}
        self._guard = guard

    def __enter__(self) -> None:
        self._guard.into = self.wishes

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._guard.into = None


class Guard:
    """Collects what would disconnect or wall, decides it in waves, and lets it be done: ``consider`` is called for each session let through.

    ``note`` keeps how it stands with a session, ``desired`` tells what is wanted of it now.
    """

    def __init__(
        self, sessions: Sessions, config: EnforcementConfig, consider: Callable[[LiveRecord], object],
        note: Callable[[LiveRecord, str | None, str, str | None], None], desired: Callable[[LiveRecord], Desired | None],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.waves = Waves(config)
        self.into: _Wishes | None = None
        self._sessions = sessions
        self._consider = consider
        self._note = note
        self._desired = desired
        self._wall_clock = wall_clock
        self._wishes: _Wishes = {}
        self._cleared: deque[tuple[str, str]] = deque()  # sessions that may be disconnected or walled, and for what
        self._gathering = 0
        self._deciding: asyncio.TimerHandle | None = None

    # -- waves -------------------------------------------------------------------------------------------------------

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """While it lasts, nothing is decided."""
        self._gathering += 1
        try:
            yield
        finally:
            self._gathering -= 1
            if not self._gathering:
                self._decide()

    def collection(self) -> Collection:
        """To be entered again and again, for a sweep: what comes from elsewhere between is decided by itself."""
        return Collection(self)

    def decide_collected(self, collection: Collection) -> None:
        """Decide what a sweep found, and forget what is held of sessions that ended."""
        for tenant_id in self.waves.tenants():
            self.waves.keep(tenant_id, self._sessions.by_id.keys())
        for tenant_id, wishes in collection.wishes.items():
            self._wishes.setdefault(tenant_id, {}).update(wishes)
        self._decide()

    def wish(self, live: LiveRecord, wanted: str, why: str) -> None:
        """Ask for a session to be disconnected or walled; all that comes within a moment is decided together."""
        wishes = self._wishes if self.into is None else self.into
        wishes.setdefault(live.row.tenant_id, {})[live.row.acctuniqueid] = (wanted, why)
        if self.into is None and not self._gathering and self._deciding is None:
            self._deciding = asyncio.get_running_loop().call_later(WAVE_SECONDS, self._decide)

    def _decide(self) -> None:
        if self._deciding is not None:
            self._deciding.cancel()
            self._deciding = None
        if self._gathering:
            return
        wishes, self._wishes = self._wishes, {}
        now = self._wall_clock()
        for tenant_id, wave in wishes.items():
            fresh = {key: why for key, (_, why) in wave.items() if key not in self.waves.held(tenant_id)}
            held_before = len(wave) > len(fresh)
            live = self._live(tenant_id) if self.waves.may_matter(tenant_id, len(fresh), now) else 0
            if self.waves.admit(tenant_id, fresh, live, now):
                self._clear((key, wanted) for key, (wanted, _) in wave.items())
                continue
            if not held_before:
                told = {"tenant": tenant_id, "sessions": len(fresh), "live": live}
                log.error("too many sessions to disconnect or wall at once: held for confirmation", extra=told)
            for key in fresh:
                self._hold(key, *wave[key])

    def _hold(self, key: str, wanted: str, why: str) -> None:
        live = self._sessions.by_id.get(key)
        if live is not None:
            live.wanted, live.attempts, live.due_at, live.enforce_state, live.overridden = wanted, 0, 0.0, "pending", False
            self._note(live, None, "pending", f"held for confirmation, too many sessions at once; wanted because {why}")

    def _clear(self, sessions: Iterable[tuple[str, str]]) -> None:
        """Let sessions be disconnected or walled to reach what is wanted, also where that takes several attempts."""
        idle = not self._cleared
        self._cleared.extend(sessions)
        if idle:
            self._act_cleared()

    def _act_cleared(self) -> None:
        for _ in range(min(CHUNK, len(self._cleared))):
            key, wanted = self._cleared.popleft()
            live = self._sessions.by_id.get(key)
            if live is not None:
                live.cleared = wanted
                self._consider(live)
        if self._cleared:
            asyncio.get_running_loop().call_soon(self._act_cleared)

    def _live(self, tenant_id: int) -> int:
        return sum(live.row.tenant_id == tenant_id for live in self._sessions.by_id.values())

    # -- the operator's word -----------------------------------------------------------------------------------------

    def held(self, tenant_id: int) -> HeldWave | None:
        """The wave that waits for an operator, if there is one."""
        self.waves.keep(tenant_id, self._sessions.by_id.keys())
        sessions = len(self.waves.held(tenant_id))
        if not sessions:
            return None
        return HeldWave(
            sessions=sessions, recent=self.waves.recent(tenant_id, self._wall_clock()), live=self._live(tenant_id),
            since=datetime.fromtimestamp(self.waves.since(tenant_id), UTC), causes=self.waves.causes(tenant_id),
        )  # fmt: skip

    def confirm(self, tenant_id: int, sessions: int) -> int:
        """Do what is held; returns about how many sessions that is. Raises Conflict if it is more than ``sessions``, or nothing."""
        wanted = [(live.row.acctuniqueid, found.policy) for live, found in self._released(tenant_id, sessions)]
        self._clear(wanted)
        return len(wanted)

    def discard(self, tenant_id: int, sessions: int, who: str) -> int:
        """Leave what is held as it is until something else is wanted of it. Raises Conflict as ``confirm`` does."""
        spared = self._released(tenant_id, sessions)
        for live, found in spared:
            live.spared, live.enforce_state = found.policy, "unverified"
            self._note(live, None, "unverified", f"left as it is by {who}; wanted was {found.why}")
        return len(spared)

    def _released(self, tenant_id: int, sessions: int) -> list[tuple[LiveRecord, Desired]]:
        held = self.held(tenant_id)
        if held is None:
            raise Conflict("nothing is held for confirmation", "sessions")
        if held.sessions > sessions:
            raise Conflict(f"{held.sessions} sessions are held by now, not {sessions}: look again", "sessions")
        released = []
        for key in self.waves.release(tenant_id):
            live = self._sessions.by_id.get(key)
            found = None if live is None else self._desired(live)
            if live is not None and found is not None:
                released.append((live, found))
        return released
