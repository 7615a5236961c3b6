"""How a driver speaks to a device without a socket: a generator yields what is to be done, and is sent what came of it.

::

    def facts(self) -> Dialogue[Facts]:
        text = yield from say("show version")      # the device's text, without echo, pager and prompt
        return Facts(software_version=_version(text))

The same generator runs over a live session, a simulator or a recording (:func:`play`). ``try``/``finally`` leaves a configuration mode: when the
step in hand fails, the error is thrown into the generator, and the steps that it yields then are still done.
"""

from collections.abc import Callable, Generator
from typing import TypeVar

import msgspec

T = TypeVar("T")
ENABLE = "{enable}"
"""An :class:`Answer`'s text: the credential's password for the privileged mode, or its own where there is none. Drivers see neither."""


class Answer(msgspec.Struct, frozen=True):
    """What to type at a question that stands where a prompt could: ``question`` is a regular expression for the end of the text so far.

    ``text`` is typed with a line end unless ``raw``. A ``{ <cr>|… }:`` or ``(y/n)`` that nobody has an answer for ends the command with PeerError.
    """

    question: str
    text: str
    raw: bool = False
    secret: bool = False


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Type a line and read until the prompt. The reply is the text; what it means is decided by the terminal's error texts or the driver.

    ``check`` False leaves the text unlooked at: the driver classifies it itself. ``secret`` keeps the line out of logs, job events and recordings.
    """

    text: str
    answers: tuple[Answer, ...] = ()
    timeout_seconds: float | None = None  # of silence, None: the terminal's
    check: bool = True
    secret: bool = False
    drops: bool = False  # the device may close the session (reboot, quit): that is then no fault, and the reply is what was read
    large: bool = False  # the reply may be as long as a configuration; else a device that sends so much is not listened to any more


class Put(msgspec.Struct, frozen=True, kw_only=True):
    """Store ``content`` as ``path`` on the device; ``image`` True: send the image in hand instead of ``content``. ``private``: for its owner's eyes only,
    where files have owners. The reply is empty."""

    path: str
    content: bytes = b""
    image: bool = False
    private: bool = False


class Get(msgspec.Struct, frozen=True, kw_only=True):
    """Fetch a file of the device. The reply is its content, decoded as latin-1 so that every octet survives."""

    path: str


class Pause(msgspec.Struct, frozen=True):
    """Wait. Netd holds the device's queue meanwhile."""

    seconds: float


class Reconnect(msgspec.Struct, frozen=True, kw_only=True):
    """The device restarts: wait for it to go, then for it to answer, and log in again. PeerUnreachable if it has not come back in time."""

    within_seconds: float
    settle_seconds: float = 0.0


class LogIn(msgspec.Struct, frozen=True):
    """Log in once more, beside the session in hand, and leave again: an open session survives changes that let nobody else in. Raises PeerUnreachable."""


class Note(msgspec.Struct, frozen=True):
    """Tell whoever follows the job how far it is; goes into its log."""

    text: str


Step = Command | Put | Get | Pause | Reconnect | LogIn | Note
Dialogue = Generator[Step, str, T]


def say(
    text: str, *answers: Answer, timeout_seconds: float | None = None, secret: bool = False, check: bool = True, drops: bool = False, large: bool = False
) -> Dialogue[str]:  # fmt: skip
    """One command, its text back. Raises Refused (see :mod:`netd.sdk.terminal`) if ``check`` and the text is one of the terminal's errors."""
    return (yield Command(text=text, answers=answers, timeout_seconds=timeout_seconds, secret=secret, check=check, drops=drops, large=large))


def play(dialogue: Dialogue[T], act: Callable[[Step], str]) -> T:
    """Run a dialogue to its end; ``act`` does a step and returns its reply, or raises what is thrown into the driver at that place."""
    try:
        step = next(dialogue)
        while True:
            try:
                reply = act(step)
            except Exception as error:  # barrier: whatever a step raises is the driver's to handle
                step = dialogue.throw(error)
            else:
                step = dialogue.send(reply)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        dialogue.close()
