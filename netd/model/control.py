"""What asking a NAS to end or change a session came to."""

from datetime import datetime
from typing import Literal

import msgspec

Outcome = Literal["ack", "nak", "timeout", "error"]


class ControlResult(msgspec.Struct, frozen=True, kw_only=True):
    """The NAS's own answer to a Disconnect-Request or CoA-Request.

    ``ack``: it said yes. ``nak``: it refused, ``error_cause`` is RFC 5176 3.5's number if given. ``timeout``: it said nothing,
    what it did is unknown; with no ``attempts`` it was not even asked, for it had not answered for long. ``error``: the request
    could not be sent; ``detail`` says why. ``session_closed`` is true if the session was closed here as a consequence (ack of a
    disconnect is not: the Stop will do that; NAK 503 is).
    """

    outcome: Outcome
    action: Literal["disconnect", "coa"]
    error_cause: int | None = None
    error_cause_name: str | None = None
    detail: str = ""
    attempts: int = 0
    duration_seconds: float = 0.0
    session_closed: bool = False


class QueueState(msgspec.Struct, frozen=True, kw_only=True):
    """The requests to one NAS: those that wait, those sent and unanswered, how many may be that at a time, and since when it answers nothing."""

    address: str
    port: int
    waiting: int
    in_flight: int
    window: int
    unreachable_since: datetime | None


class TenantQueueState(QueueState, frozen=True, kw_only=True):
    """The same with the name of the NAS entry that it belongs to."""

    nas: str


class HeldWave(msgspec.Struct, frozen=True, kw_only=True):
    """Live sessions that enforcement would disconnect or wall, so many at once that an operator is to confirm it.

    ``live`` is how many the tenant has open, ``recent`` how many were disconnected or walled in the window before; ``causes`` counts why.
    """

    sessions: int
    recent: int
    live: int
    since: datetime
    causes: dict[str, int]


class Enforcement(msgspec.Struct, frozen=True, kw_only=True):
    """How enforcement stands with one tenant: live sessions by state, the wave that is held if there is one, and NAS that were asked something lately."""

    sessions: dict[str, int]
    held: HeldWave | None
    queues: tuple[TenantQueueState, ...]
