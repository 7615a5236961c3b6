"""Reads a device's command line out of what it paints: text in, and what it waits for out. Knows no socket and no time.

Work is linear in what is read: finished lines are never looked at again until the text is asked for, and what a device waits for is looked for in the
last line only (with what stands just above it, where alarms may have come between).
"""

import codecs
import re
from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

from netd.errors import WireError

MOST_CHARACTERS: Final = 64 << 20
LONGEST_LINE: Final = 64 << 10
LONGEST_PROMPT: Final = 1000
LINES_ABOVE: Final = 12
LINES_AT_ONCE: Final = 1000
"""In so many lines noise is looked for at a time; in the last ones of them again with those that follow."""

LONGEST_NOISE: Final = 50
"""Lines."""

LEAST_ECHO: Final = 8
"""So many characters of what was typed are no chance, behind something else in a line."""

MOST_UNECHOED: Final = 3
"""After so many commands in a row without an echo, none is expected any more."""

MOST_REPEATS: Final = 10
PROMPTS_KNOWN: Final = 32

_ESCAPE: Final = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,255}(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-Z\\^-~])"
_TOKEN: Final = re.compile(rf"[^\x00-\x08\x0a-\x1f\x7f]+|{_ESCAPE}|[\x00-\x1f\x7f]")
_SPECIAL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_UNFINISHED: Final = re.compile(r"(?:\r|\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,255}\x1b?|[ -/]*)?)\Z")
_FLAGS: Final = re.compile(r"\(\?([imsx]+)\)")
_CSI: Final = re.compile(r"\x1b\[(\d*)([CDKGJ])\Z")


class Dialect(NamedTuple):
    """What a command line looks like, compiled by :func:`ending` (``noise``: plain, MULTILINE)."""

    prompt: re.Pattern[str]
    pager: re.Pattern[str] | None = None
    question: re.Pattern[str] | None = None
    noise: tuple[re.Pattern[str], ...] = ()
    encoding: str = "utf-8"
    other_encoding: str | None = None  # of lines that are not in the first: each is read by itself, for people wrote them at different times


class Wants(Enum):
    """What a device waits for, as far as can be told."""

    TIME = "time"  # it may still be writing
    COMMAND = "command"
    COMMAND_PERHAPS = "command_perhaps"  # a prompt that was not seen before, maybe half a line of output: believe it after some silence
    PAGE = "page"  # the pager's key
    ANSWER = "answer"  # to one of the patterns that were given
    ANSWER_PERHAPS = "answer_perhaps"  # to a question that nobody has an answer for; believe it after some silence


class Wish(NamedTuple):
    """``number`` of the pattern for ANSWER; ``text`` the prompt or question."""

    wants: Wants
    number: int = -1
    text: str = ""


TIME: Final = Wish(Wants.TIME)


def ending(pattern: str) -> re.Pattern[str]:
    """A pattern that matches only at the end of a text, whatever blanks follow. Raises re.error."""
    flags = _FLAGS.match(pattern)  # ``(?i)`` is allowed only where a pattern begins
    inner = f"(?{flags[1]}:{pattern[flags.end() :]})" if flags else f"(?:{pattern})"
    return re.compile(rf"{inner}\s*\Z", re.MULTILINE)


class Reader:
    """One session's screen. ``begin`` before a command is typed, ``feed`` what comes, ``text`` when it is done.

    Raises WireError: ``too_large`` for an output or a line without end.
    """

    def __init__(self, dialect: Dialect, *, most_characters: int = MOST_CHARACTERS) -> None:
        self._dialect = dialect
        self._most = self._limit = most_characters
        self._decoder = codecs.getincrementaldecoder("latin-1" if dialect.other_encoding else dialect.encoding)("replace")
        self._held = ""  # the beginning of an escape sequence or line end
        self._lines: list[str] = []
        self._tail = ""  # the line that is not finished
        self._column = 0
        self._answered = 0  # so much of the tail is a question that has its answer
        self._read = 0
        self._echo = ""
        self._echo_open = False
        self._echo_seen = False
        self._unechoed = 0
        self._patterns: Sequence[re.Pattern[str]] = ()
        self._repeats: dict[int, int] = {}
        self._prompts: dict[str, None] = {}

    def begin(self, echo: str = "", patterns: Sequence[re.Pattern[str]] = (), most_characters: int | None = None) -> None:
        """Forget what was read; ``echo`` is what will be typed, ``patterns`` (see :func:`ending`) are questions that will be answered; ``most_characters`` may
        come, if not as many as else."""
        self._limit = self._most if most_characters is None else most_characters
        self._lines.clear()
        self._tail, self._column, self._answered, self._read = "", 0, 0, 0
        self._unechoed = 0 if self._echo_seen else self._unechoed + bool(self._echo)
        self._echo, self._echo_open, self._echo_seen = _dense(echo), bool(echo.strip()), not echo.strip()
        self._patterns = patterns
        self._repeats.clear()

    def feed(self, data: bytes) -> Wish:
        """Take octets, and say what the device waits for now."""
        text = self._held + self._decoder.decode(data)
        self._held = ""
        unfinished = _UNFINISHED.search(text, max(0, len(text) - 300))
        if unfinished is not None and unfinished.group():
            self._held = unfinished.group()
            text = text[: unfinished.start()]
        self._read += len(text)
        if self._read > self._limit:
            raise WireError("too_large", f"more than {self._limit} characters and no prompt")
        if _SPECIAL.search(text) is None and self._column == len(self._tail):
            first, *others = text.replace("\r\n", "\n").split("\n")
            self._tail += first
            for other in others:
                self._end_line()
                self._tail = other
            self._column = len(self._tail)
        else:
            for token in _TOKEN.findall(text):
                self._write(token)
        if len(self._tail) > LONGEST_LINE:
            raise WireError("too_large", f"a line of more than {LONGEST_LINE} characters")
        return self._wish()

    def answered(self) -> None:
        """What was waited for has been typed (page, answer): it must not be seen again. A pager's text is taken out."""
        if self._dialect.pager is not None and self._dialect.pager.search(self._tail):
            self._tail = self._dialect.pager.sub("", self._tail)
            self._column = len(self._tail)
        self._answered = len(self._tail)

    def text(self) -> str:
        """What the device wrote: without what was typed, noise, and the prompt at the end. Lines end with ``\\n``, the last one with nothing."""
        lines = [*self._lines, self._meant(self._tail)]
        if self._echo_open and _dense(lines[0]).endswith(self._echo):
            del lines[0]
        text = self._quiet(lines)
        text = text.rstrip("\n") if not self._tail.strip() else text
        prompt = self._dialect.prompt.search(text, max(text.rfind("\n") + 1, 0))
        if prompt is not None:
            text = text[: prompt.start()]
        return text.strip("\n").rstrip()

    def end(self) -> str:
        """The last lines of what was read, prompt or question and all: cheap, however much there is."""
        return self._window(self._meant(self._tail)).strip()

    @property
    def characters(self) -> int:
        """How much was read since ``begin``."""
        return self._read

    def _quiet(self, lines: Sequence[str]) -> str:
        """The lines without noise, which is looked for piece by piece: in a thread, so that no other one waits long."""
        if not self._dialect.noise:
            return "\n".join(lines)
        quiet, rest = list[str](), list[str]()
        for at in range(0, len(lines) - LINES_AT_ONCE, LINES_AT_ONCE):
            rest += lines[at : at + LINES_AT_ONCE]
            rest = self._without_noise("\n".join((*rest, ""))).split("\n")[:-1]
            quiet += rest[:-LONGEST_NOISE]
            rest = rest[-LONGEST_NOISE:]
        done = len(lines) - 1 - (len(lines) - 1) % LINES_AT_ONCE
        return "\n".join((*quiet, self._without_noise("\n".join((*rest, *lines[done:])))))

    def _without_noise(self, text: str) -> str:
        for noise in self._dialect.noise:
            text = noise.sub("", text)
        return text

    def trust(self, prompt: str) -> None:
        """A prompt was believed: the next time it needs no silence after it."""
        self._prompts[prompt] = None
        while len(self._prompts) > PROMPTS_KNOWN:
            del self._prompts[next(iter(self._prompts))]

    def _end_line(self) -> None:
        line, self._tail, self._column, self._answered = self._meant(self._tail), "", 0, 0
        if not self._echo_seen and not self._echo_open and self._begins_again(line):
            self._lines.clear()
            self._echo_open = True
        if self._echo_open:
            self._echoed(line)
        else:
            self._lines.append(line.rstrip())

    def _meant(self, line: str) -> str:
        """A line in the encoding that it is in, where there are two: until it is whole it is kept as its octets."""
        other = self._dialect.other_encoding
        if other is None or line.isascii():
            return line
        octets = line.encode("latin-1")
        for encoding in (self._dialect.encoding, other):
            try:
                return octets.decode(encoding)
            except UnicodeDecodeError:
                continue
        return octets.decode(self._dialect.encoding, "replace")

    def _begins_again(self, line: str) -> bool:
        """Whether a line is a prompt that is known and the beginning of what was typed: something came between the echo, and it is painted anew."""
        if len(self._lines) > LONGEST_NOISE:
            return False
        for prompt in self._prompts:
            typed = _dense(line[len(prompt) :]) if line.startswith(prompt) else ""
            if typed and (typed == self._echo or (len(typed) >= LEAST_ECHO and self._echo.startswith(typed))):
                return True
        return False

    def _echoed(self, line: str) -> None:
        """The first lines are what was typed, maybe after a painted prompt, maybe broken where the device thinks that its screen ends."""
        self._lines.append(line.rstrip())
        seen = _dense("".join(self._lines))
        if seen.endswith(self._echo):
            self._lines.clear()
            self._echo_open, self._echo_seen = False, True
        elif seen and not self._echo.startswith(seen) and not _begins_late(seen, self._echo):
            self._echo_open = False  # no echo, or another one: it stays in the text
        elif len(self._lines) > LINES_ABOVE:
            self._echo_open = False

    def _write(self, token: str) -> None:
        match token[0]:
            case "\n":
                self._end_line()
            case "\r" if self._wraps():
                self._tail = self._tail[:-1]
                self._column = len(self._tail)
            case "\r":
                self._column = 0
            case "\b":
                self._column = max(self._column - 1, 0)
            case "\x1b":
                self._move(token)
            case character if character >= " " or character == "\t":
                before, after = self._tail[: self._column], self._tail[self._column + len(token) :]
                self._tail = before.ljust(self._column) + token + after
                self._column += len(token)

    def _wraps(self) -> bool:
        """Whether a CR in an echo stands where readline's screen ends (a blank, then CR), so that what follows continues the line."""
        if not self._echo_open or self._column != len(self._tail) or not self._tail.endswith(" "):
            return False
        seen = _dense(self._tail)
        return bool(seen) and seen != self._echo and (self._echo.startswith(seen) or _begins_late(seen, self._echo))

    def _move(self, sequence: str) -> None:
        found = _CSI.match(sequence)
        if found is None:
            return
        count = min(int(found[1] or 1), LONGEST_PROMPT) if len(found[1]) < 6 else LONGEST_PROMPT
        match found[2]:
            case "D":
                self._column = max(self._column - count, 0)
            case "C":
                self._column = min(self._column + count, LONGEST_LINE)
            case "G":
                self._column = max(count - 1, 0)
            case "K" if found[1] == "2":
                self._tail = " " * self._column
            case "K" if found[1] in ("", "0"):
                self._tail = self._tail[: self._column]

    def _wish(self) -> Wish:
        if len(self._tail) > LONGEST_PROMPT + self._answered:
            return TIME
        last = self._meant(self._tail[self._answered :])
        if not last.strip() and not self._dialect.noise:
            return TIME
        dialect = self._dialect
        if dialect.pager is not None and dialect.pager.search(last):
            return Wish(Wants.PAGE, text=last)
        window = self._window(last)
        for number, pattern in enumerate(self._patterns):
            if last.strip() and pattern.search(window):
                self._repeats[number] = self._repeats.get(number, 0) + 1
                return Wish(Wants.ANSWER if self._repeats[number] <= MOST_REPEATS else Wants.ANSWER_PERHAPS, number, last)
        if self._echo_open and last.strip() and self._echo.startswith(_dense(last)):
            return TIME  # what is being echoed may look like a prompt
        found = dialect.prompt.search(window, window.rfind("\n") + 1)
        if found is not None:
            prompt = found.group().strip()
            echoed = self._echo_seen or self._unechoed >= MOST_UNECHOED  # a prompt before the echo is painted for what came between
            known = prompt in self._prompts and last.strip() and echoed
            return Wish(Wants.COMMAND if known else Wants.COMMAND_PERHAPS, text=prompt)
        if dialect.question is not None and last.strip() and dialect.question.search(window):
            return Wish(Wants.ANSWER_PERHAPS, text=last.strip())
        return TIME

    def _window(self, last: str) -> str:
        window = "\n".join((*(line[-LONGEST_PROMPT:] for line in self._lines[-LINES_ABOVE:]), last))
        for noise in self._dialect.noise:
            window = noise.sub("", window)
        return window.rstrip("\n") if not last.strip() else window


def _dense(text: str) -> str:
    return "".join(text.split())


def _begins_late(seen: str, echo: str) -> bool:
    """Whether an echo has begun behind something else, a prompt painted again, and is broken at the line's end."""
    return any(seen.endswith(echo[:length]) for length in range(LEAST_ECHO, len(echo)))
