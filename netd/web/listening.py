"""What all listeners of the event stream share, so that a thousand of them cost little more than their sockets."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Final

from netd.model.event import Event

ENCODED: Final = 1000
FRESH_SECONDS: Final = 20.0
"""How long what was found out about a caller counts for its other listeners, too."""


class Listeners:
    """Events as they go out, made once; and who was found to be still allowed to listen, asked once for each caller."""

    def __init__(self) -> None:
        self._made: dict[str, bytes] = {}
        self._allowed: dict[Hashable, tuple[float, bool]] = {}

    def encoded(self, event: Event, encode: Callable[[Event], bytes]) -> bytes:
        """The octets of an event. An id is one event's for ever, so what was made stays right."""
        made = self._made.get(event.id)
        if made is None:
            if len(self._made) >= ENCODED:
                self._made.clear()
            made = self._made[event.id] = encode(event)
        return made

    async def allowed(self, caller: Hashable, now: float, ask: Callable[[], Awaitable[bool]]) -> bool:
        """What ``ask`` says of the caller, or said lately; ``now`` is monotonic. Raises what ``ask`` does."""
        known = self._allowed.get(caller)
        if known is not None and now - known[0] < FRESH_SECONDS:
            return known[1]
        if len(self._allowed) >= ENCODED:
            self._allowed.clear()
        self._allowed[caller] = (now, True)  # the others need not ask the same while this one does
        try:
            said = await ask()
        except BaseException:
            del self._allowed[caller]
            raise
        self._allowed[caller] = (now, said)
        return said
