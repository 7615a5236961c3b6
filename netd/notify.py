"""The service manager's notification protocol (sd_notify(3)): ready, stopping and the watchdog. Without ``NOTIFY_SOCKET`` nothing happens."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, MutableMapping
from typing import Self

log = logging.getLogger(__name__)

IMPORTANT_SECONDS = 1.0
"""How long a message that must not be lost waits for room in the manager's queue."""


class Notifier:
    """Speaks to the service manager that started this process; ``path`` is its socket (a leading ``@`` means an abstract one), empty for none."""

    def __init__(self, path: str = "", watchdog_seconds: float | None = None) -> None:
        self.watchdog_seconds = watchdog_seconds
        """The manager kills a process that is silent for so long; None: it does not watch."""
        self._socket: socket.socket | None = None
        self._failing = False
        if path.startswith(("/", "@")):
            self._address = path.replace("@", "\0", 1) if path.startswith("@") else path
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        elif path:
            log.warning("NOTIFY_SOCKET is of a kind that netd cannot address", extra={"path": path})

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Self:
        """Take the manager's variables out of ``environ``, so that child processes (a PostgreSQL speaks this protocol too) do not answer in our name."""
        path = environ.pop("NOTIFY_SOCKET", "")
        usec = environ.pop("WATCHDOG_USEC", "")
        pid = environ.pop("WATCHDOG_PID", "")
        watched = usec.isdecimal() and int(usec) > 0 and pid in ("", str(os.getpid()))
        return cls(path, int(usec) / 1e6 if watched else None)

    @property
    def enabled(self) -> bool:
        """Whether somebody listens."""
        return self._socket is not None

    def ready(self, status: str = "") -> bool:
        """Say that the start is over. Like all below: returns whether it was sent, never raises."""
        return self._send("READY=1", *_status(status), important=True)

    def stopping(self, status: str = "") -> bool:
        """Say that the end has begun."""
        return self._send("STOPPING=1", *_status(status), important=True)

    def extend_timeout(self, seconds: float) -> bool:
        """Ask for at least ``seconds`` from now on before a start or stop counts as hung."""
        return self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}", important=True)

    def watchdog(self) -> bool:
        """Say once that the process is alive."""
        return self._send("WATCHDOG=1")

    async def watch(self, alive: Callable[[], bool] = lambda: True) -> None:
        """Say so at half the manager's interval while ``alive()`` holds, until cancelled; returns at once where nobody watches.

        A loop that hangs says nothing, which is the point. One that is not ``alive`` stays silent and will be restarted.
        """
        if self._socket is None or self.watchdog_seconds is None:
            return
        while True:
            if alive():
                self.watchdog()
            await asyncio.sleep(self.watchdog_seconds / 2)

    def close(self) -> None:
        """Let go of the socket; what is said afterwards goes nowhere."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str, important: bool = False) -> bool:
        if self._socket is None:
            return False
        try:
            self._socket.settimeout(IMPORTANT_SECONDS if important else 0)
            self._socket.sendto("\n".join(lines).encode("utf-8", "backslashreplace"), self._address)
        except OSError as error:
            if not self._failing:  # say it once, not at every beat of the watchdog
                log.warning("the service manager cannot be notified", extra={"error": error.strerror or str(error)})
            self._failing = True
            return False
        self._failing = False
        return True


def _status(text: str) -> tuple[str, ...]:
    return (f"STATUS={' '.join(text.split())}",) if text else ()
