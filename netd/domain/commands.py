"""Which commands only show something, and how secrets get into lines that are typed. Pure.

What is allowed is a short list by the first words; what could do more than show, whatever the words before it, is refused: a shell's and RouterOS's
brackets and substitutions, redirections, several commands in one line, output that goes to a file or never ends.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from netd.config import CommandsConfig
from netd.errors import ConfigError

SHOWING: Final = (
    r"(?:do )?show\b", r"display\b", r"info\b(?! configure)", r"admin display-config\b", r"ping\b", r"traceroute\b", r"tracert\b",
    r"/[a-z0-9-]+(?:[ /][a-z0-9-]+)* print\b", r"(?:uname|uptime|free|df|lsmod|lsblk)(?: |$)", r"hostname$",
    r"ip (?:-[46] )?(?:-[sdo] )*(?:addr|link|route|neigh)(?: show\b|$)",
)  # fmt: skip
"""How a command begins that only shows something."""

NEVER: Final = (
    r"[;`$<>&\\{}\[\]()\x00-\x1f]", r"\b(?:redirect|append|tee|save|file=|follow|interval|tech-support|without-paging=no)", r"\bdiag",
)  # fmt: skip
"""What a command that only shows something has not in it."""

_PIPE = re.compile(r"\s*(?:include|exclude|begin|section|count|match|no-more|as|in|i|e|b)\b[^|]*", re.IGNORECASE)
_PLACE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]{0,63})\}")


class ShowRules:
    """The rules, with an operator's own: regular expressions; ``allow`` is matched at the beginning, ``deny`` anywhere. Raises re.error."""

    def __init__(self, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> None:
        self._allow = [re.compile(each, re.IGNORECASE) for each in (*SHOWING, *allow)]
        self._deny = [re.compile(each, re.IGNORECASE) for each in (*NEVER, *deny)]

    def refuses(self, command: str) -> str:
        """Why a command is not known to only show something; "" if it is."""
        first, *piped = command.split("|")
        if not any(each.match(first.strip()) for each in self._allow):
            return "is not known to only show something"
        if not all(_PIPE.fullmatch(each) for each in piped):
            return "pipes its output into something else than a filter"
        found = next((match for each in self._deny if (match := each.search(command))), None)
        return f"has {found.group()!r} in it, with which more can be done than show something" if found is not None else ""


def show_rules(config: CommandsConfig) -> ShowRules:
    """The rules as the configuration wants them. Raises ConfigError for an expression that is none."""
    try:
        return ShowRules(config.show_allow, config.show_deny)
    except re.error as error:
        raise ConfigError("configuration", "commands", f"{error.pattern!r} is no regular expression: {error}") from error


def secrets_of(text: str) -> dict[str, str]:
    """``name=value`` lines. Raises ValueError."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, equals, value = line.partition("=")
        if not line.strip():
            continue
        if not equals or not _PLACE.fullmatch(f"${{{name.strip()}}}") or not value:
            raise ValueError(f"line {number} is not of the form name=value")
        found[name.strip()] = value
    return found


def places(lines: Iterable[str]) -> set[str]:
    """The names of the secrets that lines ask for with ``${name}``."""
    return {name for line in lines for name in _PLACE.findall(line)}


def filled(lines: Sequence[str], secrets: Mapping[str, str]) -> list[str]:
    """The lines with their secrets. Raises KeyError for a name that is not there."""
    return [_PLACE.sub(lambda match: secrets[match.group(1)], line) for line in lines]
