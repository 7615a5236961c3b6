"""What asking a NAS to end or change a session came to."""

from typing import Literal

import msgspec

Outcome = Literal["ack", "nak", "timeout", "error"]


class ControlResult(msgspec.Struct, frozen=True, kw_only=True):
    """The NAS's own answer to a Disconnect-Request or CoA-Request.

    ``ack``: it said yes. ``nak``: it refused, ``error_cause`` is RFC 5176 3.5's number if given. ``timeout``: it said nothing,
    what it did is unknown. ``error``: the request could not be sent; ``detail`` says why. ``session_closed`` is true if the
    session was closed here as a consequence (ack of a disconnect is not: the Stop will do that; NAK 503 is).
    """

    outcome: Outcome
    action: Literal["disconnect", "coa"]
    error_cause: int | None = None
    error_cause_name: str | None = None
    detail: str = ""
    attempts: int = 0
    duration_seconds: float = 0.0
    session_closed: bool = False
