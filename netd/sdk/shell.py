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
from netd.sdk import patterns
from netd.sdk import text as read
from netd.sdk.dialogue import Answer, Command, Dialogue, Pause, say
from netd.sdk.patterns import Pattern, compiled, substituted
from netd.sdk.terminal import Refused, Terminal

FACTS_CHARACTERS = 64 << 10
"""So much of the beginning of a text is looked through for facts."""

END_CHARACTERS = 4096
"""So much of the end of a text is looked through for a configuration's end marker."""

FINE = frozenset({Outcome.OK, Outcome.ALREADY, Outcome.EMPTY})
"""What a text may say without being an error."""

SECRET = "<secret>"
SHOWN = (
    r"(?i)^[ \t]*[\w /.()-]*(?:passwords?|passwd|secret(?: key)?|passphrase|community(?:[ -]?(?:name|index|securityname))?|shared[ -](?:secret[ -])?key|"
    r"pre-?shared[ -]key|private[ -]key|loid|security ?name)(?:[ \t]*:[ \t]*|[ \t]+=[ \t]+)(\S.*)$",
    r"(?i)^[ \t]*user: (\S+)[ \t]+security model: v[12]",
    r'\btext "([^"\n]+)"',
)
"""Secrets in what devices show of themselves, beside their configuration: a name and a value; who gets traps (IOS); a key of a key chain."""

FACTS = ("hostname", "model", "serial", "software_version", "hardware_revision", "uptime")


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

    @property
    def patterns(self) -> tuple[str | None, ...]:
        """Its patterns, in the order of ``FACTS``."""
        return tuple(getattr(self, name) for name in FACTS)

    def facts(self, text: str) -> dict[str, str | int]:
        """What the text says, by the names of :class:`netd.model.device.Facts`."""
        text = patterns.edges(text[:FACTS_CHARACTERS], FACTS_CHARACTERS)
        folded = patterns.fold(text)
        found: dict[str, str | int] = {}
        for name, pattern in zip(FACTS, self.patterns, strict=True):
            match = patterns.search(pattern, text, folded) if pattern else None
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
    busy_attempts: int = 1  # for a line that the device is too busy for, ``busy_seconds`` apart
    busy_seconds: float = 10.0


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """A platform's data file; tables that are not named here are the driver's own."""

    terminal: Terminal
    session: Session = msgspec.field(default_factory=Session)
    facts: tuple[Source, ...] = ()
    snmp_facts: tuple[Source, ...] = ()
    configuration: Configuration = msgspec.field(default_factory=Configuration)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Patterns that must not be asked about what devices send, each with the reason. Raises re.error."""
        text = self.configuration
        yield from self.terminal.faults()
        yield from patterns.faults(pattern for source in (*self.facts, *self.snmp_facts) for pattern in source.patterns)
        yield from patterns.faults((text.end, text.joined, text.saved, *text.volatile, *text.secrets))


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the data file that is the driver's own: what it derives from this, it reads with :meth:`of`."""

    @classmethod
    def of(cls, data: Mapping[str, Any], name: str) -> Self:
        """The table ``[name]``. Raises KeyError, msgspec.ValidationError: the platform is not loaded then."""
        return msgspec.convert(data[name], cls)


class Shell:
    """A command line that can be logged in to, left, and asked what the device is. Raises ValueError for data with a pattern that would hold up the daemon."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.family = msgspec.convert(data, Family)
        for pattern, reason in self.family.faults():
            raise ValueError(f"the pattern {pattern!r}: {reason}")
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
        text = yield from say(command, timeout_seconds=data.timeout_seconds, check=False, large=True)
        return self.whole(text, command)

    def whole(self, text: str, command: str) -> str:
        """The configuration out of a command's text; Refused if that is an error or was cut."""
        data = self.family.configuration
        body = "\n".join(lines_of(text)).strip("\n")
        last = max(0, len(body) - END_CHARACTERS)
        end = re.compile(rf"(?:{data.end})\s*\Z", re.MULTILINE).search(body, body.find("\n", last) + 1 if last else 0) if data.end else None
        if data.end and end is None:
            outcome, said = self.family.terminal.classify(text[:400])
            if outcome not in FINE:
                raise Refused(f"{command}: {self.masked(said)}", outcome, self.masked(said))
            raise Refused(f"{command}: {len(body)} characters without an end marker: it was cut", Outcome.UNVERIFIED)  # whose end may be half a secret
        if end is not None and not data.end_is_text:
            body = body[: end.start()].rstrip("\n")
        if data.before:
            before = re.match(data.before, body, re.MULTILINE)
            body = body[before.end() :] if before else body
        return body.strip("\n") + "\n"

    @cached_property
    def _joined(self) -> tuple[Pattern, ...]:
        joined = self.family.configuration.joined
        return (compiled(joined),) if joined else ()

    @cached_property
    def _volatile(self) -> tuple[Pattern, ...]:
        return tuple(map(compiled, self.family.configuration.volatile))

    @cached_property
    def _secrets(self) -> tuple[Pattern, ...]:
        return tuple(map(compiled, (*self.family.configuration.secrets, *SHOWN)))

    def normal(self, text: str) -> str:
        text = substituted(self._joined, "", "\n".join(lines_of(text)))
        text = substituted(self._volatile, "", text)
        return "\n".join(line for line in lines_of(text) if line) + "\n"

    def masked(self, text: str) -> str:
        return substituted(self._secrets, _without_groups, substituted(self._joined, "", text))


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
        settled = False
        try:
            for line, shown in zip(typed, self._each_masked(typed), strict=True):
                outcome, said = yield from self._line(line, secret=shown != line)
                done.append((shown, outcome, self.masked(said)))
                if outcome not in FINE:
                    break
            yield from self.settled([outcome for _, outcome, _ in done])
            settled = True
        finally:
            try:
                if not settled:
                    yield from self.dropped()
            finally:
                yield from routine(leave)
        return done

    def _line(self, line: str, *, secret: bool) -> Dialogue[tuple[Outcome, str]]:
        """Type a line, and again where the device was too busy to look at it."""
        data, attempts = self.family.configuration, 1
        while True:
            outcome, said = self.family.terminal.classify((yield Command(text=line, check=False, secret=secret)))
            if outcome is not Outcome.BUSY or attempts >= data.busy_attempts:
                return outcome, said
            attempts += 1
            yield Pause(seconds=data.busy_seconds)

    def settled(self, outcomes: Sequence[Outcome]) -> Dialogue[None]:
        """What makes the lines count, while one still configures: for most devices each does at once."""
        yield from ()

    def dropped(self) -> Dialogue[None]:
        """What makes the lines not count that were typed before it was broken off; for most devices nothing can."""
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
