"""How a device family's command line looks, as data: prompts, pager, questions, error texts. It stands in a TOML file beside the driver.

Regular expressions are Python's, compiled with MULTILINE; those for prompts and questions are matched at the end of what was read so far.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from netd.errors import PeerError
from netd.model.device import Outcome
from netd.sdk import patterns
from netd.sdk.dialogue import Answer


class ErrorText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text that says that a command did not do as asked, and what kind of a no it is."""

    pattern: str
    outcome: Outcome


class Login(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What Telnet asks before there is a prompt; SSH has logged in already, but may ask the ``questions``."""

    username: str = r"(?i)(?:user ?name|login):\s*$"
    password: str = r"(?i)password:\s*$"
    refused: tuple[str, ...] = (r"(?i)(?:login incorrect|authentication failed|invalid.*password|access denied)",)
    busy: tuple[str, ...] = ()  # no session is free: try later (``Reenter times``)
    busy_seconds: float = 10.0
    questions: tuple[Answer, ...] = ()
    username_suffix: str = ""  # RouterOS: +ct511w4098h


class Terminal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it. ``prompt`` must match any prompt of any mode, and nothing in an output."""

    prompt: str
    newline: Literal["\n", "\r", "\r\n"] = "\n"
    pager: str | None = None
    pager_answer: str = " "
    answers: tuple[Answer, ...] = ()  # for questions that any command may ask
    question: str | None = None  # a question that nobody has an answer for: the reader must stop there
    errors: tuple[ErrorText, ...] = ()  # looked for in this order
    noise: tuple[str, ...] = ()  # unasked-for lines (alarms, log messages): taken out before anything is matched
    login: Login = msgspec.field(default_factory=Login)
    columns: int = 511
    rows: int = 0  # 0: as many as the terminal type allows
    encoding: str = "utf-8"
    other_encoding: str | None = None  # of lines that are not in the first; what is typed is in the first. Not for exec_channel
    exec_channel: bool = False  # SSH: each command on a channel of its own, no screen to scrape
    keepalive_seconds: float = 0.0  # 0: none; SmartAX and ISAM lose output by it
    idle_timeout_seconds: float = 30.0  # of silence within a command
    sessions: int = 1  # at a time, on one device
    requires_pty: bool = True
    files: Literal["sftp", "scp"] = "sftp"  # scp: nothing else, and each file over a connection of its own, for a connection has one channel

    def faults(self) -> Iterator[tuple[str, str]]:
        """Patterns that must not be asked about what devices send, each with the reason. Raises re.error."""
        told = (*(error.pattern for error in self.errors), *self.noise, *self.login.refused, *self.login.busy)
        yield from patterns.faults(told)

    def classify(self, text: str) -> tuple[Outcome, str]:
        """What a command's text says, and the line that says so; OK if none of the error texts is in it. Of a long text its first and last lines count."""
        text = patterns.edges(text)
        folded = patterns.fold(text)
        for error in self.errors:
            found, outcome = patterns.search(error.pattern, text, folded), error.outcome
            if found is not None:
                start = text.rfind("\n", 0, found.start()) + 1
                end = text.find("\n", found.end())
                return outcome, text[start : len(text) if end < 0 else end].strip()
        return Outcome.OK, ""


class Refused(PeerError):
    """A device said no, in words; ``outcome`` is what kind of no, ``said`` its text. The detail names the command only if it is no secret."""

    def __init__(self, detail: str, outcome: Outcome, said: str = "") -> None:
        super().__init__(detail, said)
        self.outcome = outcome
