"""What a simulated device answers: a class with a method for each command, chosen by a regular expression; and what its agent and its NAS know besides."""

import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec

from netd.simulate.access import Attributes, Rates, pair
from netd.simulate.device import Simulated
from netd.simulate.mib import Objects, OnuLight, Vitals


class Reply(msgspec.Struct, kw_only=True):
    """``question`` is painted instead of a prompt, and what is typed then goes to ``then``; one of ``keys`` at once, without Enter."""

    text: str = ""
    question: str | None = None
    keys: str = ""
    then: Callable[[str], "Reply | str"] | None = None
    closes: bool = False
    restarts: bool = False
    paged: bool = True


Method = Callable[..., "Reply | str"]


def command(pattern: str, *modes: str) -> Callable[[Method], Method]:
    """Answer lines that match as a whole; in the modes, or in every one. The method gets the match."""

    def mark(method: Method) -> Method:
        method.__dict__.setdefault("commands", []).append((re.compile(pattern), modes))
        return method

    return mark


class Behaviour:
    """One session's command line. ``mode`` is the innermost of ``modes``; ``path`` the section of the configuration that it stands for."""

    first_mode: ClassVar[str] = "exec"
    newline: ClassVar[str] = "\r\n"
    pager: ClassVar[str] = " --More--"
    unknown: ClassVar[str] = "% Invalid input detected at '^' marker."
    busy_text: ClassVar[str] = "% Busy"
    username_question: ClassVar[str] = "Username:"
    password_question: ClassVar[str] = "Password:"
    refusal: ClassVar[str] = "% Login invalid"
    quota_text: ClassVar[str] = "% Too many sessions"
    alarm: ClassVar[str] = ""
    one_channel: ClassVar[bool] = False  # there is no second one in an SSH connection, and no SFTP
    sys_object_id: ClassVar[str] = "1.3.6.1.4.1.8072.3.2.10"
    _table: ClassVar[list[tuple[re.Pattern[str], tuple[str, ...], str]]] = []

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls._table = [
            (pattern, modes, name)
            for kind in cls.__mro__
            for name, method in vars(kind).items()
            for pattern, modes in getattr(method, "commands", ())
            if getattr(getattr(cls, name), "commands", None)
        ]

    def __init__(self, device: Simulated) -> None:
        self.device = device
        self.mode = self.first_mode
        self.path: list[str] = []
        self.page_lines = device.quirks.page_lines
        self.alarms = device.quirks.alarms
        self.asks = device.quirks.asks

    @classmethod
    def sys_descr(cls, device: Simulated) -> str:
        """What its agent says that it is, so that the platform is recognised."""
        return f"simulated {device.hostname} {device.version}"

    @classmethod
    def managed(cls, device: Simulated, vitals: Vitals) -> Objects:
        """What its agent says beside :mod:`netd.simulate.mib`."""
        return {}

    @classmethod
    def seen(cls, lights: Sequence[OnuLight]) -> Objects:
        """What its agent says of the ONUs that it sees."""
        return {}

    @classmethod
    def granted(cls, attributes: Attributes) -> Rates | None:
        """The rates that an Access-Accept or a CoA-Request sets; None: it sets none."""
        return pair(attributes, "WISPr-Bandwidth-Max-Down", "WISPr-Bandwidth-Max-Up")

    def account(self, name: str) -> str:
        """Whose a log-in's name is."""
        return name

    def greet(self) -> Reply:
        """After the log-in."""
        return Reply()

    def closed(self) -> None:
        """The session is over, however that came."""

    def prompt(self) -> str:
        return f"{self.device.hostname}#"

    def painted_prompt(self) -> str:
        """With what a terminal gets round it."""
        return self.prompt()

    def run(self, line: str) -> Reply:
        """A line that was typed at the prompt."""
        line = line.strip()
        self.device.log.append(line)
        if not line:
            return Reply()
        if self.device.busy > 0 and not self.quits(line):
            self.device.busy -= 1
            return Reply(text=self.busy_text)
        if line in self.device.quirks.lacks:
            return reply_of(self.unknown)
        for pattern, modes, name in self._table:
            match = pattern.fullmatch(line)
            if match is not None and (not modes or self.mode in modes):
                return reply_of(getattr(self, name)(match))
        return reply_of(self.other(line))

    def quits(self, line: str) -> bool:
        """Whether the line leaves, which a busy device still does."""
        return line in {"quit", "exit", "logout"}

    def other(self, line: str) -> Reply | str:
        """A line that no method knows: a device that is configured may take it."""
        return self.unknown

    def uptime(self) -> tuple[int, int, int, int]:
        """Days, hours, minutes, seconds."""
        days, rest = divmod(self.device.uptime_seconds, 86400)
        return days, rest // 3600, rest % 3600 // 60, rest % 60


def reply_of(said: Reply | str) -> Reply:
    return said if isinstance(said, Reply) else Reply(text=said)
