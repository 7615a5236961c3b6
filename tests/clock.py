"""A loop's clock that tests put forward: what waits for a time has it passed at once, however long that time is, and however slow the machine."""

import asyncio
import contextlib
from collections.abc import Iterator

GRACE_SECONDS = 0.02
"""So long nothing may have come through the system's sockets before a clock jumps."""


class Clock:
    """The time of the running loop, and what its timers go by."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._real = loop.time
        self._ahead = 0.0

    def __call__(self) -> float:
        return self._real() + self._ahead

    def skip(self, seconds: float) -> None:
        """So many seconds have passed."""
        self._ahead += seconds


@contextlib.contextmanager
def skipping() -> Iterator[Clock]:
    """The running loop's clock, which goes as ever and can be put forward."""
    loop = asyncio.get_running_loop()
    clock = Clock(loop)
    loop.time = clock  # type: ignore[method-assign]
    try:
        yield clock
    finally:
        del loop.time


class Standing(Clock):
    """Passes only while everybody waits, and then at once to the next timer. For tests in whose loop all happens: who waits for a thread or another process
    waits no time at all."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._now = loop.time()

    def __call__(self) -> float:
        return self._now

    def skip(self, seconds: float) -> None:
        self._now += seconds


@contextlib.contextmanager
def standing() -> Iterator[Standing]:
    """The running loop's clock, which stands still."""
    loop = asyncio.get_running_loop()
    selector = loop._selector  # type: ignore[attr-defined]
    wait, clock = selector.select, Standing(loop)

    def waits(timeout: float | None) -> object:
        if not timeout or timeout < 0:
            return wait(timeout)
        for each in (GRACE_SECONDS, 0):  # a process that was stopped in the first finds nothing there, whatever came
            if ready := wait(each):
                return ready
        clock.skip(timeout)
        return []

    loop.time, selector.select = clock, waits  # type: ignore[method-assign]
    try:
        yield clock
    finally:
        del loop.time, selector.select
