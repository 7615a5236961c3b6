"""Types commands at a device's prompt and reads what comes of them: :mod:`netd.wire.terminal` over a channel, with time."""

import asyncio
import contextlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Protocol

from netd.errors import ExtensionError, PeerError, PeerUnreachable, WireError
from netd.sdk.dialogue import Answer, Command
from netd.sdk.patterns import edges
from netd.sdk.terminal import Login, Terminal
from netd.wire.terminal import TIME, Dialect, Reader, Wants, Wish, ending

MOST_CHARACTERS: Final = 4 << 20
MOST_OF_LOGIN: Final = 256 << 10
LARGE: Final = 64 << 10
"""Characters, from which on a text is put together in a thread."""

SETTLE_SECONDS: Final = 0.3
"""So long nothing may follow what looks like a prompt or question that was not seen before."""


class Channel(Protocol):
    """A stream of octets to a device's shell."""

    async def read(self) -> bytes:
        """What came; empty at the end."""
        ...

    async def catch_up(self) -> None:
        """Return when what has come by now can be read: the loop may not have met it yet, or it waits for its turn among what came for others."""
        ...

    async def write(self, data: bytes) -> None: ...

    async def close(self) -> None: ...


async def word(channel: Channel, silence_seconds: float) -> bytes | None:
    """What comes, empty at the end; None if the device says nothing for so long. Silence is judged by what has come, not by what was read in time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(silence_seconds):
            return await channel.read()
    await channel.catch_up()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0):  # what is there now is read without waiting
            return await channel.read()
    return None


class Busy(PeerUnreachable):
    """No session is free on the device; it may be asked again after ``retry_seconds``."""

    def __init__(self, detail: str, retry_seconds: float) -> None:
        super().__init__(detail, "busy")
        self.retry_seconds = retry_seconds


class LoginRefused(PeerUnreachable):
    """The device does not accept the user or password."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, "credentials")


class Screen:
    """One shell. ``login`` first, then ``command`` after ``command``; raises PeerError and PeerUnreachable.

    After a command that failed, the next one waits until the device is back at its prompt; if it stands at a question that nobody can answer, there is
    no next one.
    """

    def __init__(
        self, name: str, channel: Channel, terminal: Terminal, *, settle_seconds: float = SETTLE_SECONDS, most_characters: int = MOST_CHARACTERS
    ) -> None:
        self._name = name
        self._channel = channel
        self._terminal = terminal
        self._settle = settle_seconds
        self._reader = Reader(_dialect(terminal), most_characters=most_characters)
        self._stuck = ""
        self._behind = False
        self.ended = False

    async def login(self, login: Login, username: str, password: str) -> None:
        """Read until there is a prompt; answer what is asked before. Raises Busy, LoginRefused."""
        questions = [*login.questions, Answer(login.username, username), Answer(login.password, password, secret=True)]
        self._reader.begin(patterns=[_ending(each.question) for each in questions], most_characters=MOST_OF_LOGIN)
        passwords = 0
        while True:
            try:
                wish = await self._wish(self._terminal.idle_timeout_seconds, "the login")
            except PeerUnreachable:
                self._turned_away(login)
                raise
            if wish.wants in (Wants.COMMAND, Wants.COMMAND_PERHAPS):
                return
            if wish.wants is Wants.PAGE:
                await self._type(self._terminal.pager_answer, raw=True)
                continue
            self._turned_away(login)
            if self.ended and passwords:  # some hang up without a word, or with words that did not make it
                raise LoginRefused(f"{self._name} ended the session after the password")
            if wish.wants is not Wants.ANSWER:
                raise PeerUnreachable(self._at_end("the login") if self.ended else f"{self._name} asks at the login: {wish.text}", "protocol")
            answer = questions[wish.number]
            passwords += answer.secret
            if passwords > 1:  # asks for it anew, in whatever words it refused the first
                raise LoginRefused(f"{self._name} refuses the login")
            await self._type(answer.text, raw=answer.raw)

    def _turned_away(self, login: Login) -> None:
        """Raise what the device's words say; not asked where there is a prompt, because banners tell of other people's failures."""
        text = edges(self._reader.text())
        if any(_plain(pattern).search(text) for pattern in login.busy):
            raise Busy(f"{self._name} has no session free", login.busy_seconds)
        if any(_plain(pattern).search(text) for pattern in login.refused):
            raise LoginRefused(f"{self._name} refuses the login")

    async def command(self, command: Command, *, most_characters: int | None = None) -> str:
        """Type a line; returns what it brought, which may be ``most_characters`` long. The line is told in errors only if it is no secret."""
        told = "<secret>" if command.secret else command.text
        if self._stuck:
            raise PeerError(f"{self._name} waits for an answer to: {self._stuck}", self._stuck)
        if self._behind:
            await self._catch_up(told)
        answers = (*command.answers, *self._terminal.answers)
        self._reader.begin(command.text, [_ending(answer.question) for answer in answers], most_characters)
        self._behind = True
        await self._type(command.text)
        text = await self._until_prompt(command, answers, told)
        self._behind = False
        return text

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def drain(self) -> None:
        """Read until the device ends the session."""
        while not self.ended:
            self.ended = not await self._channel.read()

    async def _until_prompt(self, command: Command, answers: Sequence[Answer], told: str) -> str:
        silence = self._terminal.idle_timeout_seconds if command.timeout_seconds is None else command.timeout_seconds
        while True:
            try:
                wish = await self._wish(silence, told)
            except PeerUnreachable:
                if command.drops and self.ended:
                    return self._reader.text()
                raise
            match wish.wants:
                case Wants.COMMAND | Wants.COMMAND_PERHAPS:
                    return await self._text()
                case Wants.PAGE:
                    await self._type(self._terminal.pager_answer, raw=True)
                case Wants.ANSWER:
                    await self._type(answers[wish.number].text, raw=answers[wish.number].raw)
                case _ if self.ended and command.drops:
                    return self._reader.text()
                case _ if self.ended:
                    raise PeerUnreachable(self._at_end(told), "lost")
                case _:
                    self._stuck = wish.text
                    asked = wish.text if command.secret else self._last_lines() or wish.text
                    raise PeerError(f"{self._name}: {told} asks what nobody answers: {asked}", asked)

    async def _text(self) -> str:
        """What was read; a long text is put together in a thread."""
        return self._reader.text() if self._reader.characters < LARGE else await asyncio.to_thread(self._reader.text)

    async def _catch_up(self, told: str) -> None:
        """The command before failed: what it still writes is read and forgotten."""
        wish = TIME
        while wish.wants not in (Wants.COMMAND, Wants.COMMAND_PERHAPS):
            wish = await self._wish(self._terminal.idle_timeout_seconds, f"what came before {told}")
            if wish.wants is Wants.PAGE:
                await self._type(self._terminal.pager_answer, raw=True)
            elif wish.wants in (Wants.ANSWER, Wants.ANSWER_PERHAPS):
                self._stuck = wish.text
                raise PeerError(f"{self._name} waits for an answer to: {wish.text}", wish.text)
            elif self.ended:
                raise PeerUnreachable(self._at_end(told), "lost")

    async def _wish(self, silence_seconds: float, told: str) -> Wish:
        """What the device waits for. TIME: it has closed the session. Raises PeerUnreachable ``timeout``, ``lost``, ``too_large``."""
        wish = self._reader.feed(b"")
        while True:
            unsure = wish.wants in (Wants.COMMAND_PERHAPS, Wants.ANSWER_PERHAPS)
            if wish.wants is not Wants.TIME and not unsure:
                return wish
            try:
                data = await word(self._channel, self._settle if unsure else silence_seconds)
            except PeerUnreachable:
                self.ended = True
                raise
            if data is None and not unsure:
                raise PeerUnreachable(f"{self._name}: {told}: no word for {silence_seconds:g} s", "timeout")
            if data is None:
                if wish.wants is Wants.COMMAND_PERHAPS:
                    self._reader.trust(wish.text)
                return wish
            if not data:
                self.ended = True
                return wish if wish.wants is Wants.COMMAND_PERHAPS else TIME
            try:
                wish = self._reader.feed(data)
            except WireError as error:
                await self.close()
                self.ended = True
                raise PeerUnreachable(f"{self._name}: {told}: {error.detail}", "too_large") from None

    async def _type(self, text: str, *, raw: bool = False) -> None:
        self._reader.answered()
        await self._channel.write((text if raw else text + self._terminal.newline).encode(self._terminal.encoding, "replace"))

    def _last_lines(self) -> str:
        """A question, with what stands just above it: that may say why."""
        return " ".join(" ".join(self._reader.end().split("\n")[-3:]).split())

    def _at_end(self, told: str) -> str:
        last = self._reader.end()[-200:].strip()
        return f"{self._name} ended the session at {told}" + (f": {last}" if last and told != "<secret>" else "")


@lru_cache(4096)
def _ending(pattern: str) -> re.Pattern[str]:
    try:
        return ending(pattern)
    except re.error as error:
        raise ExtensionError("terminal", f"{pattern!r} is no regular expression: {error}") from None


@lru_cache(256)
def _plain(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.MULTILINE)
    except re.error as error:
        raise ExtensionError("terminal", f"{pattern!r} is no regular expression: {error}") from None


def _dialect(terminal: Terminal) -> Dialect:
    return Dialect(
        prompt=_ending(terminal.prompt),
        pager=_ending(terminal.pager) if terminal.pager else None,
        question=_ending(terminal.question) if terminal.question else None,
        noise=tuple(_plain(pattern) for pattern in terminal.noise),
        encoding=terminal.encoding,
        other_encoding=terminal.other_encoding,
    )
