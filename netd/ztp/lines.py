"""Patterns for what relays call a line, found by how they begin: of ten thousand devices that are known by their line a few are tried for a packet."""


class Lines:
    """Keys of patterns by their beginnings (``patterns.beginning``). Those that begin with something else than plain text are tried for every line."""

    def __init__(self) -> None:
        self._by_beginning: dict[str, set[int]] = {}
        self._lengths: dict[int, int] = {}  # of beginnings -> how many of them have it

    def add(self, beginning: str, key: int) -> None:
        """Keep a pattern."""
        if beginning not in self._by_beginning:
            self._by_beginning[beginning] = set()
            self._lengths[len(beginning)] = self._lengths.get(len(beginning), 0) + 1
        self._by_beginning[beginning].add(key)

    def discard(self, beginning: str, key: int) -> None:
        """Forget it, if it is there."""
        keys = self._by_beginning.get(beginning)
        if keys is None:
            return
        keys.discard(key)
        if not keys:
            del self._by_beginning[beginning]
            self._lengths[len(beginning)] -= 1
            if not self._lengths[len(beginning)]:
                del self._lengths[len(beginning)]

    def near(self, line: str) -> set[int]:
        """The keys of all patterns that may fit this line."""
        return {key for length in self._lengths if length <= len(line) for key in self._by_beginning.get(line[:length], ())}
