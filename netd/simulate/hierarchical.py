"""What command lines of the family with ``configure terminal`` have in common: modes, sections, ``no``."""

import re
from typing import ClassVar

from netd.simulate.behaviour import Behaviour, Reply, command


class Hierarchical(Behaviour):
    """Modes ``user``, ``exec`` and ``config``; within config ``path`` is the section.

    ``sections`` are patterns of lines that open one, with what the prompt calls it; ``words`` those that begin any other line that is taken.
    """

    first_mode: ClassVar[str] = "exec"
    sections: ClassVar[dict[str, str]] = {r"interface (\S+)": "if"}
    words: ClassVar[tuple[str, ...]] = ("hostname", "description", "ip", "name")
    single: ClassVar[tuple[str, ...]] = ("hostname", "description")
    negation: ClassVar[str] = "no"
    not_there: ClassVar[str] = "% No such configuration"
    incomplete: ClassVar[str] = "% Incomplete command."

    def prompt(self) -> str:
        name = self.device.hostname
        if self.mode == "user":
            return f"{name}>"
        if self.mode == "exec":
            return f"{name}#"
        return f"{name}({self.section_name()})#"

    def section_name(self) -> str:
        """What stands in the prompt's brackets."""
        if not self.path:
            return "config"
        return next((f"config-{name}" for pattern, name in self.sections.items() if re.fullmatch(pattern, self.path[-1])), "config")

    @command(r"conf(?:igure)? t(?:erminal)?", "exec")
    def configure(self, match: re.Match[str]) -> Reply | str:
        if self.device.quirks.locked_by:
            return f"% Configuration is locked by {self.device.quirks.locked_by}"
        self.mode, self.path = "config", []
        return ""

    @command(r"exit|quit")
    def exit(self, match: re.Match[str]) -> Reply | str:
        if self.mode != "config":
            return Reply(closes=True)
        if self.path:
            self.path.pop()
        else:
            self.mode = "exec"
        return ""

    @command(r"end", "config")
    def end(self, match: re.Match[str]) -> Reply | str:
        self.mode, self.path = "exec", []
        return ""

    @command(r"terminal length (\d+)", "exec", "user")
    def terminal_length(self, match: re.Match[str]) -> Reply | str:
        most = self.device.quirks.page_most
        self.page_lines = min(int(match[1]) or (most or 0), most or 1 << 30)
        return ""

    def other(self, line: str) -> Reply | str:
        if self.mode != "config":
            return self.unknown
        negated = line.startswith(f"{self.negation} ")
        words = line.removeprefix(f"{self.negation} ")
        opens = any(re.fullmatch(pattern, words) for pattern in self.sections)
        if not opens and words.split()[0] not in self.words:
            return self.unknown
        if negated:
            return self.dropped(words)
        if opens:
            # From within a section another of the top can be opened at once.
            self.path = self.nested(words)
            self.device.running.at(self.path)
            return ""
        if len(words.split()) < 2 and words.split()[0] not in {"shutdown"}:
            return self.incomplete
        return self.added(words)

    def nested(self, words: str) -> list[str]:
        """The section that a heading opens: of the top, unless the vendor nests."""
        return [words]

    def added(self, words: str) -> Reply | str:
        """Take a line; the vendor's way of saying that it was there."""
        self.device.running.put(self.path, words, self.single)
        if words.startswith("hostname "):
            self.device.hostname = words.split()[1]
        return ""

    def dropped(self, words: str) -> Reply | str:
        return "" if self.device.running.drop(self.path, words) else self.not_there
