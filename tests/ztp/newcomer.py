"""A simulated device that has just booted: it lets in whom its first file names, and after its configuration is saved whom that names."""

import re

from netd.simulate import Simulated


class Newcomer(Simulated):
    """``username NAME … password WORD`` in what is typed makes the account; it counts once the configuration is saved."""

    @property
    def account(self) -> tuple[str, str]:
        """Who is let in."""
        found = None
        for line in getattr(self, "log", ()):
            if match := re.search(r"username (\S+) .*?(?:password|secret) (?:0 )?(\S+)", line):
                found = (match[1], match[2])
        saved = any(line in ("write memory", "wr") for line in getattr(self, "log", ()))
        return found if found is not None and saved else self._first

    @property
    def username(self) -> str:
        return self.account[0]

    @username.setter
    def username(self, value: str) -> None:
        self._first = (value, "")

    @property
    def password(self) -> str:
        return self.account[1]

    @password.setter
    def password(self, value: str) -> None:
        self._first = (self._first[0], value)
