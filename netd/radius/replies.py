"""Duplicate detection (RFC 5080 2.2.2): a repeated request is answered with the same octets, never decided or accounted twice."""

from typing import Final

Key = bytes
"""A request's source (``sockaddr``), the listener's number, code and identifier."""

IN_WORK: Final = b""
"""The request is known, its answer is not ready."""

MAX_ENTRIES: Final = 200_000
"""A flood from many ports shortens the memory instead of filling it."""


FREED: Final = 200
"""Old answers let go of in one turn: to free all of a term's at once would hold the loop for tens of milliseconds."""


class Replies:
    """Authenticators and answers, one piece each, of the last ``seconds`` to ``2 * seconds``, in two tables that take turns, so that nothing is ever
    searched to expire it."""

    def __init__(self, seconds: float, most: int = MAX_ENTRIES) -> None:
        self._seconds = seconds
        self._most = most
        self._turned_at = 0.0
        self._now: dict[Key, bytes] = {}
        self._last: dict[Key, bytes] = {}
        self._gone: dict[Key, bytes] = {}  # forgotten, and freed little by little

    def __len__(self) -> int:
        return len(self._now) + len(self._last)

    def turn(self, now: float) -> None:
        """Let old answers go; call it once per wake-up with monotonic time."""
        if now - self._turned_at >= self._seconds or len(self._now) > self._most:
            self._gone = self._last
            self._last = self._now if now - self._turned_at < 2 * self._seconds else {}
            self._now = {}
            self._turned_at = now
        gone = self._gone
        if gone:
            for _ in range(min(len(gone), FREED)):
                gone.popitem()

    def find(self, key: Key, authenticator: bytes) -> bytes | None:
        """The answer to the same request, IN_WORK, or None if it is new. A new request under an old identifier is new."""
        entry = self._now.get(key) or self._last.get(key)
        if entry is None or not entry.startswith(authenticator):
            return None
        return entry[16:]

    def put(self, key: Key, authenticator: bytes, answer: bytes) -> None:
        """Remember an answer, or IN_WORK."""
        self._now[key] = authenticator + answer

    def finish(self, key: Key, authenticator: bytes, answer: bytes) -> None:
        """Remember the answer to a request that was IN_WORK, unless another request took its identifier meanwhile."""
        entry = self._now.get(key) or self._last.get(key)
        if entry is None or entry.startswith(authenticator):
            self._now[key] = authenticator + answer

    def forget(self, key: Key, authenticator: bytes) -> None:
        """The request will not be answered; its retransmission is to be taken up as new."""
        for table in (self._now, self._last):
            entry = table.get(key)
            if entry is not None and entry.startswith(authenticator):
                del table[key]
