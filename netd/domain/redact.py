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


class Redactor:
    """Knows secrets and takes them out of texts and values: as they are, in base64 wherever they begin in what was encoded, quoted for a URL, and as
    JSON writes them. A secret that is spread over two texts is not found."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Know more secrets."""
        known = len(self._forms)
        for secret in secrets:
            for form in {secret, *secret.splitlines()}:
                if len(form) >= SHORTEST:
                    self._forms |= _forms(form)
        if len(self._forms) > known:
            longest_first = sorted(self._forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def text(self, text: str) -> str:
        """``text`` with ``***`` for every secret."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def value(self, value: Any) -> Any:
        """The same for a value made of JSON's own types, names of members included."""
        if self._pattern is None:
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
