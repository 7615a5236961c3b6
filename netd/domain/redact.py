"""Taking known secrets out of what is said about work: a device echoes the password it is sent, a program prints its environment."""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

import msgspec

MASK: Final = "***"
SHORTEST: Final = 4
"""Shorter secrets stay: taking every ``a`` out would leave nothing to read, and tell what the secret is."""

FEW: Final = 40
"""Up to so many forms one pattern is the quickest; what it costs to make and to use grows with them."""


class Redactor:
    """Knows secrets and takes them out of texts and values: as they are, in base64 wherever they begin in what was encoded, quoted for a URL, and as
    JSON writes them. A secret that is spread over two texts is not found.

    A job at thousands of devices knows thousands of secrets, so one more costs little, and a text costs the same however many there are. Texts may be
    looked at in one thread while another adds secrets.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._by_head: dict[str, dict[int, set[str]]] = {}  # forms by their first characters, and by their length
        self._few: frozenset[str] = frozenset()  # replaced, never changed: another thread may be looking at it
        self._pattern: tuple[frozenset[str], re.Pattern[str]] | None = None  # of which few it is
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Know more secrets."""
        for secret in {*secrets} - self._known:
            self._known.add(secret)
            for form in {secret, *secret.splitlines()}:
                if len(form) >= SHORTEST:
                    self._add(_forms(form))

    def _add(self, forms: Iterable[str]) -> None:
        for form in forms:
            self._by_head.setdefault(form[:SHORTEST], {}).setdefault(len(form), set()).add(form)
            if len(self._few) <= FEW and form not in self._few:
                self._few |= {form}

    def text(self, text: str) -> str:
        """``text`` with ``***`` for every secret."""
        heads, few, made = self._by_head, self._few, self._pattern
        if not few:
            return text
        if len(few) <= FEW:
            if made is None or made[0] is not few:
                made = self._pattern = few, re.compile("|".join(map(re.escape, sorted(few, key=len, reverse=True))))
            return made[1].sub(MASK, text)
        parts, at = list[str](), 0
        for place in [place for place in range(len(text) - SHORTEST + 1) if text[place : place + SHORTEST] in heads]:
            if place < at:
                continue
            by_length = heads[text[place : place + SHORTEST]]
            longest = next((length for length in sorted(by_length, reverse=True) if text[place : place + length] in by_length[length]), None)
            if longest is not None:
                parts += (text[at:place], MASK)
                at = place + longest
        return "".join((*parts, text[at:]))

    def value(self, value: Any) -> Any:
        """The same for a value made of JSON's own types, names of members included."""
        if not self._by_head:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(name)): self.value(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(each) for each in value]
        return value


def _forms(secret: str) -> set[str]:
    written = {msgspec.json.encode(secret).decode()[1:-1], json.dumps(secret)[1:-1]}
    forms = {secret, *written, *(each.replace("/", "\\/") for each in written), quote(secret), quote(secret, safe=""), quote_plus(secret)}
    data = secret.encode("utf-8", "surrogatepass")
    for before in range(3):
        # Of octets that begin ``before`` octets into a group of three, the characters that no neighbour has a bit in.
        encoded = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        begin = (before * 8 + 5) // 6
        end = (before + len(data)) * 8 // 6
        core = encoded[begin:end]
        if len(core) >= SHORTEST:
            forms |= {core, core.replace("+", "-").replace("/", "_")}
    return {form for form in forms if len(form) >= SHORTEST}
