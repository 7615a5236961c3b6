"""What drivers of command lines share: a session, facts, a configuration as text, lines of configuration. All of it read from the platform's data file.

Each class here adds one capability of :mod:`netd.sdk.device`; a driver takes those that its device has, and overrides what it does in its own way::

    class Driver(Shell, ConfigurationLines, Polled):
        ...
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, Self

import msgspec

from netd.errors import PeerError
from netd.model.device import Facts, Outcome
from netd.sdk import text as read
from netd.sdk.dialogue import Answer, Command, Dialogue, say
from netd.sdk.terminal import Refused, Terminal

FINE = frozenset({Outcome.OK, Outcome.ALREADY, Outcome.EMPTY})
SECRET = "<secret>"


class Saying(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line that is typed as part of a routine. ``optional``: a device that refuses it is asked for nothing else instead, and goes on without."""

    text: str
    answers: tuple[Answer, ...] = ()
    optional: bool = False
    drops: bool = False


class Session(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a session begins and ends."""

    prepare: tuple[Saying, ...] = ()
    leave: tuple[Saying, ...] = ()


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where facts stand: a command's text or an SNMP object, and a pattern for each, whose first group that matched is the fact.

    Several sources are asked in turn; the first that knows a fact is believed. ``optional``: some releases do not have the command.
    """

    command: str | None = None
    oid: str | None = None
    optional: bool = False
    hostname: str | None = None
    model: str | None = None
    serial: str | None = None
    software_version: str | None = None
    hardware_revision: str | None = None
    uptime: str | None = None

    def facts(self, text: str) -> dict[str, str | int]:
        """What the text says, by the names of :class:`netd.model.device.Facts`."""
        found: dict[str, str | int] = {}
        for name in ("hostname", "model", "serial", "software_version", "hardware_revision", "uptime"):
            pattern: str | None = getattr(self, name)
            match = re.search(pattern, text, re.MULTILINE) if pattern else None
            value = next((group for group in match.groups() if group), "").strip() if match else ""
            if not value:
                continue
            if name != "uptime":
                found[name] = value
            elif (span := read.seconds(value)) is not None:
                found["uptime_seconds"] = span
        return found


class Configuration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a configuration is read, judged and typed.

    ``end`` must be found at the end of the text, else it was cut. ``before`` is what stands before the text and is no part of it. ``volatile`` are
    patterns of what changes by itself; ``secrets`` those of secrets, whose groups are replaced. ``joined`` is what a wrapped line has between its parts.
    """

    running: str | None = None
    startup: str | None = None
    end: str = ""
    end_is_text: bool = True  # the end marker is part of the configuration
    before: str | None = None
    volatile: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    joined: str | None = None
    timeout_seconds: float | None = None
    enter: tuple[Saying, ...] = ()
    exit: tuple[Saying, ...] = ()
    save: tuple[Saying, ...] = ()
    saved: str | None = None  # what ``save`` must have said
    comment: str = "!"


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """A platform's data file; tables that are not named here are the driver's own."""

    terminal: Terminal
    session: Session = msgspec.field(default_factory=Session)
    facts: tuple[Source, ...] = ()
    snmp_facts: tuple[Source, ...] = ()
    configuration: Configuration = msgspec.field(default_factory=Configuration)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the data file that is the driver's own: what it derives from this, it reads with :meth:`of`."""

    @classmethod
    def of(cls, data: Mapping[str, Any], name: str) -> Self:
        """The table ``[name]``. Raises KeyError, msgspec.ValidationError: the platform is not loaded then."""
        return msgspec.convert(data[name], cls)


class Shell:
    """A command line that can be logged in to, left, and asked what the device is."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.family = msgspec.convert(data, Family)
        self.terminal = self.family.terminal
        self.data = data

    def prepare(self) -> Dialogue[None]:
        yield from routine(self.family.session.prepare)

    def leave(self) -> Dialogue[None]:
        yield from routine(self.family.session.leave)

    def facts(self) -> Dialogue[Facts]:
        known: dict[str, str | int] = {}
        for source in self.family.facts:
            if source.command is None:
                continue
            try:
                text = yield from say(source.command)
            except Refused as refused:
                if not source.optional or refused.outcome is Outcome.BUSY:
                    raise
                continue
            known = source.facts(text) | known
        if not known:
            raise PeerError("the device said nothing that says what it is")
        return msgspec.convert(known, Facts)


def routine(sayings: Sequence[Saying]) -> Dialogue[None]:
    """Type the lines one after the other."""
    for saying in sayings:
        try:
            yield from say(saying.text, *saying.answers, drops=saying.drops)
        except Refused:
            if not saying.optional:
                raise


def lines_of(text: str) -> Iterator[str]:
    """The lines without trailing blanks, line ends of any kind."""
    for line in text.splitlines():
        yield line.rstrip()


class ConfigurationText:
    """Gives its configuration; mixed into a :class:`Shell`."""

    family: Family

    def configuration(self, which: Literal["running", "startup"]) -> Dialogue[str]:
        data = self.family.configuration
        command = data.running if which == "running" else data.startup
        if command is None:
            raise LookupError(f"there is no {which} configuration to be read on this platform")
        text = yield from say(command, timeout_seconds=data.timeout_seconds, check=False)
        return self.whole(text, command)

    def whole(self, text: str, command: str) -> str:
        """The configuration out of a command's text; Refused if that is an error or was cut."""
        data = self.family.configuration
        body = "\n".join(lines_of(text)).strip("\n")
        end = re.search(rf"(?:{data.end})\s*\Z", body, re.MULTILINE) if data.end else None
        if data.end and end is None:
            outcome, said = self.family.terminal.classify(text[:400])
            if outcome not in FINE:
                raise Refused(f"{command}: {self.masked(said)}", outcome, self.masked(said))
            raise Refused(f"{command}: {len(body)} characters without an end marker: it was cut", Outcome.UNVERIFIED)  # whose end may be half a secret
        if end is not None and not data.end_is_text:
            body = body[: end.start()].rstrip("\n")
        if data.before:
            body = re.sub(rf"\A(?:{data.before})", "", body, count=1, flags=re.MULTILINE)
        return body.strip("\n") + "\n"

    @cached_property
    def _volatile(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(pattern, re.MULTILINE) for pattern in self.family.configuration.volatile)

    @cached_property
    def _secrets(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(pattern, re.MULTILINE) for pattern in self.family.configuration.secrets)

    def normal(self, text: str) -> str:
        text = "\n".join(lines_of(text))
        if self.family.configuration.joined:
            text = re.sub(self.family.configuration.joined, "", text)
        for pattern in self._volatile:
            text = pattern.sub("", text)
        return "\n".join(line for line in lines_of(text) if line) + "\n"

    def masked(self, text: str) -> str:
        if self.family.configuration.joined:
            text = re.sub(self.family.configuration.joined, "", text)
        for pattern in self._secrets:
            text = pattern.sub(_without_groups, text)
        return text


def _without_groups(match: re.Match[str]) -> str:
    """What matched, with each group's text masked."""
    text, base = match.group(), match.start()
    for number in range(match.re.groups, 0, -1):
        start, end = match.span(number)
        if start >= 0 and end > start:
            text = text[: start - base] + SECRET + text[end - base :]
    return text


class ConfigurationLines(ConfigurationText):
    """Takes changes, too. No secret of a line is in what it returns."""

    def configure(self, lines: Sequence[str]) -> Dialogue[Sequence[tuple[str, Outcome, str]]]:
        data = self.family.configuration
        return (yield from self.typed(lines, data.enter, data.exit))

    def typed(self, lines: Sequence[str], enter: Sequence[Saying], leave: Sequence[Saying]) -> Dialogue[Sequence[tuple[str, Outcome, str]]]:
        """Type lines up to the first that fails, between how the mode is entered and left."""
        comment, done = self.family.configuration.comment, list[tuple[str, Outcome, str]]()
        typed = [line for line in lines if line.strip() and not line.lstrip().startswith(comment)]
        yield from routine(enter)
        try:
            for line, shown in zip(typed, self._each_masked(typed), strict=True):
                text = yield Command(text=line, check=False, secret=shown != line)
                outcome, said = self.family.terminal.classify(text)
                done.append((shown, outcome, self.masked(said)))
                if outcome not in FINE:
                    break
            yield from self.settled([outcome for _, outcome, _ in done])
        finally:
            yield from routine(leave)
        return done

    def settled(self, outcomes: Sequence[Outcome]) -> Dialogue[None]:
        """What makes the lines count, while one still configures: for most devices each does at once."""
        yield from ()

    def _each_masked(self, lines: Sequence[str]) -> Sequence[str]:
        """Masked together, for what a line says may depend on those before it."""
        together = self.masked("\n".join(lines)).split("\n")
        return together if len(together) == len(lines) else [self.masked(line) for line in lines]

    def save(self) -> Dialogue[None]:
        data = self.family.configuration
        said = ""
        for saying in data.save:
            said = yield from say(saying.text, *saying.answers)
        if data.saved is not None and not re.search(data.saved, said, re.MULTILINE):
            raise Refused("the device did not say that it saved its configuration", Outcome.UNVERIFIED, said.strip()[-200:])
