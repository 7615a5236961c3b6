"""What a device once said, as a file: tests and simulators play it. ``session.txt`` is text that can be read and written by hand::

    # platform: huawei_smartax
    # hardware: MA5608T
    # firmware: MA5600V800R018C10
    # made from: documents
    # source: networktocode/ntc-templates, tests/huawei_smartax/display_version
    >>> display version

      VERSION : MA5600V800R018C10

A line that begins with ``>>>`` is a command that was typed, what follows is its text, without echo, pager and prompt. A command that stands
there several times is answered with each in turn, and with the last from then on. ``<<< path`` is followed by a file's content. A text's own
line that begins so has a backslash before it. ``agent.snmprec`` beside it is what snmpsim reads: ``OID|type|value`` in each line.
"""

import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from typing import TypeVar

import msgspec

from netd.errors import PeerError
from netd.sdk.device import Oid, Varbind
from netd.sdk.dialogue import Command, Dialogue, Get, LogIn, Note, Pause, Put, Reconnect, Step
from netd.sdk.shell import FINE
from netd.sdk.terminal import Refused, Terminal

T = TypeVar("T")

_ESCAPABLE, _ESCAPED = re.compile(r"\\*(?:>>>|<<<)"), re.compile(r"\\+(?:>>>|<<<)")
_HEAD = re.compile(r"# ([a-z ]+): (.*)")


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """``exchanges`` in their order: what was typed and what came back; ``files`` by their paths."""

    platform: str
    hardware: str
    firmware: str
    made_from: str  # "documents" or "a device"
    sources: tuple[str, ...] = ()
    exchanges: tuple[tuple[str, str], ...] = ()
    files: Mapping[str, str] = {}

    @classmethod
    def parse(cls, text: str) -> "Recording":
        """Read ``session.txt``; ValueError if its head is not complete."""
        head: dict[str, list[str]] = {}
        parts: list[tuple[str, str, list[str]]] = []
        for line in text.splitlines():
            if line.startswith((">>> ", "<<< ")):
                parts.append((line[:3], line[4:], []))
            elif parts:
                parts[-1][2].append(line[1:] if _ESCAPED.match(line) else line)
            elif found := _HEAD.fullmatch(line):
                head.setdefault(found.group(1), []).append(found.group(2))
        lacking = {"platform", "hardware", "firmware", "made from"} - head.keys()
        if lacking:
            raise ValueError(f"the recording's head lacks {', '.join(sorted(lacking))}")
        return cls(
            platform=head["platform"][0],
            hardware=head["hardware"][0],
            firmware=head["firmware"][0],
            made_from=head["made from"][0],
            sources=tuple(head.get("source", ())),
            exchanges=tuple((name, "\n".join(body)) for kind, name, body in parts if kind == ">>>"),
            files={name: "\n".join(body) for kind, name, body in parts if kind == "<<<"},
        )

    def dump(self) -> str:
        """The text that :meth:`parse` reads."""
        head = [("platform", self.platform), ("hardware", self.hardware), ("firmware", self.firmware), ("made from", self.made_from)]
        lines = [f"# {name}: {value}" for name, value in [*head, *(("source", source) for source in self.sources)]]
        for mark, items in ((">>>", self.exchanges), ("<<<", tuple(self.files.items()))):
            for name, body in items:
                lines.append(f"{mark} {name}")
                lines += [f"\\{line}" if _ESCAPABLE.match(line) else line for line in body.split("\n")]
        return "\n".join(lines) + "\n"


class Player:
    """Does a dialogue's steps from a recording: ``play(driver.facts(), Player(recording, driver.terminal))``.

    ``typed`` is all that was typed, ``stored`` what was put on the device (None: the image in hand), ``notes`` what the job's log would say. A
    command that was not recorded is a PeerError.
    """

    def __init__(self, recording: Recording, terminal: Terminal) -> None:
        self._terminal = terminal
        self._replies: dict[str, list[str]] = {}
        for command, text in recording.exchanges:
            self._replies.setdefault(command, []).append(text)
        self._files = dict(recording.files)
        self.typed: list[str] = []
        self.stored: dict[str, bytes | None] = {}
        self.notes: list[str] = []
        self.restarts = 0

    def __call__(self, step: Step) -> str:
        if isinstance(step, Command):
            return self._say(step)
        if isinstance(step, Put):
            self.stored[step.path] = None if step.image else step.content
            if not step.image:
                self._files[step.path] = step.content.decode("latin-1")
        elif isinstance(step, Get):
            if step.path not in self._files:
                raise PeerError(f"{step.path}: no such file")
            return self._files[step.path]
        elif isinstance(step, Reconnect):
            self.restarts += 1
        elif isinstance(step, Note):
            self.notes.append(step.text)
        else:
            assert isinstance(step, Pause | LogIn)
        return ""

    def _say(self, command: Command) -> str:
        self.typed.append(command.text)
        replies = self._replies.get(command.text)
        if not replies:
            raise PeerError(f"{command.text!r} is not in the recording")
        text = replies.pop(0) if len(replies) > 1 else replies[0]
        outcome, said = self._terminal.classify(text)
        if command.check and outcome not in FINE:
            raise Refused(f"{command.text}: {said}", outcome, said)
        return text


def recorded(dialogue: Dialogue[T], exchanges: list[tuple[str, str]]) -> Dialogue[T]:
    """The same dialogue, whose commands and texts are added to ``exchanges``; secret commands are not."""
    try:
        step = next(dialogue)
        while True:
            try:
                reply = yield step
            except Exception as error:  # barrier: whatever a step raises is the driver's to handle
                if isinstance(step, Command) and isinstance(error, Refused) and not step.secret:
                    exchanges.append((step.text, error.said))
                step = dialogue.throw(error)
            else:
                if isinstance(step, Command) and not step.secret:
                    exchanges.append((step.text, reply))
                step = dialogue.send(reply)
    except StopIteration as done:
        result: T = done.value
        return result


def varbinds(text: str) -> dict[Oid, Varbind]:
    """What an ``agent.snmprec`` holds; ValueError names the line that cannot be read."""
    found: dict[Oid, Varbind] = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        try:
            name, kind, value = line.split("|", 2)
            found[tuple(int(part) for part in name.split("."))] = _value(kind, value)
        except ValueError as error:
            raise ValueError(f"not a line of a recording: {line!r} ({error})") from error
    return found


def snmprec(found: Mapping[Oid, Varbind]) -> str:
    """The text that :func:`varbinds` reads, by OID. Which kind of number one was is not known any more: the smallest that holds it is said."""
    return "".join(f"{'.'.join(map(str, name))}|{_said(value)}\n" for name, value in sorted(found.items()) if value is not None)


def _said(value: int | bytes | Oid) -> str:
    if isinstance(value, int):
        kind = 2 if -(1 << 31) <= value < 1 << 31 else 66 if value < 1 << 32 else 70
        return f"{kind}|{value}"
    if isinstance(value, bytes):
        return f"4|{value.decode()}" if value.isascii() and value.decode().isprintable() else f"4x|{value.hex()}"
    return f"6|{'.'.join(map(str, value))}"


def _value(kind: str, value: str) -> Varbind:
    if kind in {"2", "65", "66", "67", "70"}:
        return int(value)
    if kind == "4":
        return value.encode("latin-1")
    if kind == "4x":
        return bytes.fromhex(value)
    if kind == "6":
        return tuple(int(part) for part in value.strip(".").split("."))
    if kind == "64":
        return IPv4Address(value).packed
    if kind == "5":
        return None
    raise ValueError(f"type {kind} is not known")


def select(found: Mapping[Oid, Varbind], scalars: Iterable[Oid], columns: Iterable[Oid]) -> tuple[dict[Oid, Varbind], dict[Oid, dict[Oid, Varbind]]]:
    """What an agent with these objects answers to GETs and walks: the arguments of a driver's ``read``."""
    tables: dict[Oid, dict[Oid, Varbind]] = {column: {} for column in columns}
    for name, value in found.items():
        for column, rows in tables.items():
            if name[: len(column)] == column:
                rows[name[len(column) :]] = value
    return {name: found.get(name) for name in scalars}, tables
