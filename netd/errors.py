"""Every exception that netd raises on purpose.

::

    NetdError
    ├── WireError            a peer's bytes are not what the RFC allows: dropped, counted by ``reason``
    ├── PeerError            a device or NAS did not do as asked; holds what it said
    │   └── PeerUnreachable    it could not be asked, or gave no answer; ``reason`` says why
    ├── StoreError           the database
    │   ├── StoreUnavailable   it cannot be reached now; the same call may succeed later
    │   ├── NotFound           no such row (for this tenant)
    │   ├── Conflict           the row would break a uniqueness or reference rule
    │   └── OutsideScope       the change would reach beyond what the caller may touch
    ├── Unauthenticated      who calls did not prove who it is; the text does not tell which part was wrong
    ├── BootRefused          a device gets a file not, for the ``reason``; it is told only that there is none
    ├── TooOften             again later: too many failures, or too much at a time
    ├── InvalidInput         somebody's request or file; lists every fault with its place
    ├── JobFailed            what a job was about did not succeed; the text is its error
    │   └── NotYet             of a device that has booted: it is the one, but does not run yet what it should
    ├── TryAgain             a job met what may be gone soon: it is begun again later, as often as its kind allows
    ├── Undecided            what a device is that has booted cannot be found out, yet or at all: it is neither verified nor in quarantine
    ├── ConversionFailed     the child that reads and writes spreadsheets did not come to a proper end; the log tells more
    ├── ConfigError          netd.toml or NETD_*: names source and key; the process exits with 2
    └── ExtensionError       a vendor or plugin is broken; only it is disabled
"""

from collections.abc import Sequence
from typing import Any, NamedTuple


class NetdError(Exception):
    """Root of the tree; its text is fit to be shown to an operator and holds no secret."""


class WireError(NetdError):
    """A peer's bytes are malformed or forged.

    ``reason`` is a short snake_case slug from a closed set (it becomes a metric label); ``detail`` is for people.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class PeerError(NetdError):
    """A device or NAS refused, or answered nonsense; ``said`` is its own text."""

    def __init__(self, detail: str, said: str = "") -> None:
        super().__init__(detail)
        self.said = said

    @property
    def whole(self) -> str:
        """The detail, and what the peer said where that is not in it."""
        return f"{self}: {self.said}" if self.said and self.said not in str(self) else str(self)


class PeerUnreachable(PeerError):
    """There was no answer. ``reason`` is a slug from a closed set: timeout, connect, dns, tls, lost, protocol, too_large, invalid, not_allowed,
    breaker_open, credentials (it refuses those we have), host_key (it is not who it was), busy (no session is free)."""

    def __init__(self, detail: str, reason: str) -> None:
        super().__init__(detail)
        self.reason = reason


class StoreError(NetdError):
    """The database refused a statement for a reason that is not the caller's input."""


class StoreUnavailable(StoreError):
    """The database cannot be reached, or went away in the middle; nothing was committed unless the text says that this is unknown."""


class NotFound(StoreError):
    """No such object for this tenant."""

    def __init__(self, kind: str, key: object) -> None:
        super().__init__(f"{kind} {key!s} does not exist")
        self.kind = kind
        self.key = key


class Conflict(StoreError):
    """A uniqueness or reference rule forbids the change; ``field`` names the offending member where known."""

    def __init__(self, detail: str, field: str = "") -> None:
        super().__init__(detail)
        self.field = field


class OutsideScope(StoreError):
    """The caller's permission does not reach there: another site, or the whole tenant where it holds in a part of it."""


class Fault(NamedTuple):
    """One thing wrong with an input: where (JSON pointer, or ``line 7, column plan``) and what."""

    where: str
    what: str


class InvalidInput(NetdError):
    """Input that cannot be accepted; ``faults`` lists all that is wrong, not only the first thing."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{f.where}: {f.what}" for f in faults))
        self.faults = tuple(faults)


class Unauthenticated(NetdError):
    """A log-in, or what proves it, is not good. The text is for the caller, so it tells nothing that helps guessing."""


class BootRefused(NetdError):
    """Who asks for a boot file does not get it. ``reason`` is counted; the device is not told."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no boot file: {reason}")
        self.reason = reason


class TooOften(NetdError):
    """Refused without looking; the same may be asked again after ``retry_seconds``."""

    def __init__(self, detail: str, retry_seconds: int) -> None:
        super().__init__(detail)
        self.retry_seconds = retry_seconds


class JobFailed(NetdError):
    """A job did not succeed; ``result`` is what it found out all the same, in JSON's own types."""

    def __init__(self, detail: str, result: Any = None) -> None:
        super().__init__(detail)
        self.result = result


class NotYet(JobFailed):
    """A device that has booted is the one that was expected, but does not run yet what it should: it may still load its image."""


class TryAgain(NetdError):
    """A job is to be begun again after ``seconds``, from its beginning."""

    def __init__(self, detail: str, seconds: float) -> None:
        super().__init__(detail)
        self.seconds = seconds


class Undecided(NetdError):
    """Nobody can say yet, or at all, what a device is that has booted; after ``seconds`` it may be otherwise (None: somebody has to do something)."""

    def __init__(self, detail: str, seconds: float | None = None) -> None:
        super().__init__(detail)
        self.seconds = seconds


class ConversionFailed(NetdError):
    """A spreadsheet was not read or written, and that is not the fault of what is in it."""


class ConfigError(NetdError):
    """A configuration key or value is wrong; ``source`` is a file name or an environment variable."""

    def __init__(self, source: str, key: str, reason: str) -> None:
        super().__init__(f"{source}: {key}: {reason}" if key else f"{source}: {reason}")
        self.source = source
        self.key = key
        self.reason = reason


class ExtensionError(NetdError):
    """A vendor or plugin cannot be used; ``extension`` is its name."""

    def __init__(self, extension: str, reason: str) -> None:
        super().__init__(f"{extension}: {reason}")
        self.extension = extension
        self.reason = reason
