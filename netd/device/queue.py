"""One queue per device: what is done with it waits its turn, ends with its deadline, and is not begun while the device is known to be away.

A device that hangs costs the slots that its own work holds, one as a rule, and nothing else: who waits for it holds none of the process's.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec

from netd.device.http import Breaker
from netd.errors import NetdError, PeerError, PeerUnreachable, TooOften
from netd.metrics import Counts, Metrics

T = TypeVar("T")

AWAY: Final = frozenset(("timeout", "connect", "lost", "protocol"))
"""Reasons that say that a device cannot be worked with; refused credentials or a full one is there, and answers."""


class QueueLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of all queues."""

    sessions: int = 500  # at a time, over all devices
    waiting: int = 64  # for one device, beyond that TooOften
    deadline_seconds: float = 600.0  # for work that names none, waiting included
    open_after: int = 3  # failures in a row
    open_seconds: float = 30.0  # the first time, then twice as long each
    most_open_seconds: float = 900.0


class _Line:
    """A device's queue."""

    __slots__ = ("breaker", "running", "slots", "waiting")

    def __init__(self, sessions: int, limits: QueueLimits) -> None:
        self.slots = asyncio.Semaphore(sessions)
        self.waiting = 0
        self.running = 0
        self.breaker = Breaker(limits.open_after, limits.open_seconds, limits.most_open_seconds)


class DeviceQueues:
    """The queues of a process, by ``Target.key``."""

    def __init__(self, limits: QueueLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits or QueueLimits()
        self.outcomes = Counts()
        self._clock = clock
        self._slots = asyncio.Semaphore(self.limits.sessions)
        self._lines: dict[str, _Line] = {}
        self._running = 0

    async def run(self, key: str, work: Callable[[], Awaitable[T]], *, sessions: int = 1, deadline_seconds: float | None = None) -> T:
        """Do work with a device when its turn comes; ``sessions`` is how much of it the device takes at a time (the first one to queue says).

        Raises what the work raises; PeerUnreachable ``breaker_open`` at once while the device is left alone, ``timeout`` when the deadline has passed
        (the work is cancelled and has had its time to clean up); TooOften if too much waits already.
        """
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(sessions, self.limits)
        outcome = "cancelled"
        try:
            result = await self._queued(line, work, self.limits.deadline_seconds if deadline_seconds is None else deadline_seconds)
            outcome = "ok"
            return result
        except PeerUnreachable as error:
            outcome = error.reason
            raise
        except TooOften:
            outcome = "full"
            raise
        except PeerError:
            outcome = "refused"
            raise
        except NetdError:
            outcome = "failed"
            raise
        finally:
            self.outcomes[outcome] += 1
            if not line.waiting and not line.running and not line.breaker.failures and self._lines.get(key) is line:
                del self._lines[key]

    def away(self, key: str) -> bool:
        """Whether work with the device would be turned away now."""
        line = self._lines.get(key)
        return line is not None and line.breaker.state(self._clock()) == "open"

    def register(self, metrics: Metrics) -> None:
        """Add the queues' series."""
        metrics.counter_of("netd_device_work", "Work with devices by how it ended", lambda: self.outcomes, ("outcome",))
        metrics.gauge("netd_device_work_running", "Work with devices under way", lambda: self._running)
        metrics.gauge("netd_device_work_waiting", "Work that waits for its device or for a session", lambda: sum(each.waiting for each in self._lines.values()))
        metrics.gauge("netd_devices_away", "Devices that are left alone for a while", lambda: sum(self.away(key) for key in self._lines))

    async def _queued(self, line: _Line, work: Callable[[], Awaitable[T]], deadline_seconds: float) -> T:
        self._refuse(line)
        if line.waiting >= self.limits.waiting:
            raise TooOften(f"{line.waiting} pieces of work wait for it already", max(int(deadline_seconds / 10), 1))
        line.waiting += 1
        waits = True
        try:
            async with asyncio.timeout(deadline_seconds), line.slots:
                self._refuse(line)  # what was before it may have found out
                async with self._slots:
                    line.waiting -= 1
                    waits = False
                    return await self._begun(line, work)
        except TimeoutError:
            if not waits:
                line.breaker.done(False, self._clock())
            what = "did not get its turn" if waits else "was not done"
            raise PeerUnreachable(f"work with it {what} within {deadline_seconds:g} s", "timeout") from None
        finally:
            line.waiting -= waits

    async def _begun(self, line: _Line, work: Callable[[], Awaitable[T]]) -> T:
        if not line.breaker.enter(self._clock()):
            raise self._left_alone(line)
        line.running += 1
        self._running += 1
        ok: bool | None = None  # cancelled: says nothing
        try:
            result = await work()
            ok = True
            return result
        except PeerUnreachable as error:
            ok = error.reason not in AWAY
            raise
        except NetdError:
            ok = True
            raise
        finally:
            line.breaker.done(ok, self._clock())
            line.running -= 1
            self._running -= 1

    def _refuse(self, line: _Line) -> None:
        if line.breaker.state(self._clock()) == "open":
            raise self._left_alone(line)

    def _left_alone(self, line: _Line) -> PeerUnreachable:
        return PeerUnreachable(f"it failed {line.breaker.failures} times in a row and is left alone for a while", "breaker_open")
