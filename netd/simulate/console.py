"""A session with a simulated device, as its terminal sees it: echo, pager, alarms in the middle of an output, questions, prompts."""

from typing import Final, NamedTuple

from netd.simulate.behaviour import Behaviour, Reply, reply_of
from netd.simulate.device import Simulated

ERASE: Final = "\x1b[1D"


class Painted(NamedTuple):
    """What the device writes; ``closes`` the session after it, ``restarts`` the device, ``resets`` the connection without a goodbye."""

    text: str
    closes: bool = False
    restarts: bool = False
    resets: bool = False


class Console:
    """One session. ``open`` first, then ``feed`` what is typed; ``close`` when the connection is gone, however that came.

    With ``asks_login`` (Telnet) it begins with the questions for name and password.
    """

    def __init__(self, device: Simulated, behaviour: type[Behaviour], *, asks_login: bool = False) -> None:
        self.device = device
        self._behaviour = behaviour(device)
        self._asks_login = asks_login
        self._generation = device.generation
        self._counted = False
        self._line = ""
        self._column = 0
        self._after_cr = False
        self._hidden = False
        self._name: str | None = None
        self._pages: list[str] | None = None
        self._asked: Reply | None = None
        self._stage = "name" if asks_login else "shell"
        self._pending: Reply | None = None

    def open(self) -> Painted:
        if self._asks_login:
            return Painted(self._behaviour.username_question)
        return self._begin()

    def close(self) -> None:
        if self._counted and self._generation == self.device.generation:
            self.device.sessions -= 1
            self._behaviour.closed()
        self._counted = False

    def feed(self, typed: str) -> Painted:
        """Take characters as they come from the keyboard."""
        out = ""
        for character in typed:
            if self._generation != self.device.generation:
                return Painted(out, closes=True)
            painted = self._key(character)
            out += painted.text
            if painted.closes or painted.restarts or painted.resets:
                return painted._replace(text=out)
        return Painted(out)

    def _key(self, character: str) -> Painted:
        after_cr, self._after_cr = self._after_cr, character == "\r"
        if character == "\0" or (character == "\n" and after_cr):
            return Painted("")
        if self._pages is not None:
            return self._turn(character)
        if character in "\r\n":
            line, self._line, self._column = self._line, "", 0
            painted = self._entered(line)
            return painted._replace(text=self._behaviour.newline + painted.text)
        if character in "\b\x7f":
            self._line = self._line[:-1]
            return Painted("" if self._hidden else "\b \b")
        if character == "\x03":
            self._line, self._asked = "", None
            return Painted("^C" + self._behaviour.newline + self._behaviour.painted_prompt())
        if self._asked is not None and not self._line and character in self._asked.keys:
            painted = self._entered(character)
            return painted._replace(text=character + self._behaviour.newline + painted.text)
        self._line += character
        if self._hidden:
            return Painted("")
        self._column += 1
        if self._interrupted():
            return Painted(f"{character}{self._behaviour.newline}{self._alarm()}{self._behaviour.painted_prompt()}{self._line}")
        wraps = self.device.quirks.echo_columns
        return Painted(f"{character} {ERASE}" if wraps and self._column % wraps == 0 else character)

    def _interrupted(self) -> bool:
        """Whether an alarm comes while a line is typed: what was there of it is painted anew behind the prompt."""
        return bool(self._stage == "shell" and self._asked is None and self._behaviour.alarms and self._column == self.device.quirks.interrupts)

    def _alarm(self) -> str:
        return self._behaviour.alarm.replace("\n", self._behaviour.newline)

    def _entered(self, line: str) -> Painted:
        behaviour = self._behaviour
        if self._stage == "name":
            self._name, self._stage, self._hidden = line, "password", True
            return Painted(behaviour.password_question)
        if self._stage == "password":
            self._hidden = False
            if (behaviour.account(self._name or ""), line) != (self.device.username, self.device.password):
                self._stage = "name"
                return Painted(f"{behaviour.refusal}{behaviour.newline}{behaviour.username_question}")
            self._stage = "shell"
            return self._begin()
        if self._asked is not None and self._asked.then is not None:
            then, self._asked, self._hidden = self._asked.then, None, False
            return self._show(reply_of(then(line)))
        return self._show(behaviour.run(line))

    def _begin(self) -> Painted:
        if self.device.sessions >= self.device.quirks.sessions:
            return Painted(self._behaviour.newline + self._behaviour.quota_text + self._behaviour.newline, closes=True)
        self.device.sessions += 1
        self._counted = True
        return self._show(self._behaviour.greet())

    def _show(self, reply: Reply) -> Painted:
        """Paint a reply: all of it, or the first page."""
        behaviour, quirks = self._behaviour, self.device.quirks
        text = reply.text
        if quirks.cut_octets and len(text) > quirks.cut_octets:
            text = text[: quirks.cut_octets]
        lines = text.split("\n") if text else []
        if behaviour.alarms and behaviour.alarm and len(lines) > behaviour.alarms:
            lines[behaviour.alarms : behaviour.alarms] = behaviour.alarm.split("\n")
        if quirks.resets_after and len(text) > quirks.resets_after:
            return Painted(behaviour.newline.join(lines)[: quirks.resets_after], resets=True)
        self._pending = reply
        if reply.paged and behaviour.page_lines and len(lines) > behaviour.page_lines:
            self._pages = lines[behaviour.page_lines :]
            return Painted(behaviour.newline.join([*lines[: behaviour.page_lines], behaviour.pager]))
        return self._finish(lines)

    def _turn(self, key: str) -> Painted:
        """A key at the pager: a page, a line, or enough."""
        behaviour = self._behaviour
        rest = self._pages or []
        count = {" ": behaviour.page_lines, "\r": 1, "\n": 1}.get(key, 0)
        if count == 0 and key not in "qQ\x03":
            return Painted("")
        width = len(behaviour.pager)
        erased = f"\x1b[{width}D{' ' * width}\x1b[{width}D" if self.device.quirks.erases_pager else behaviour.newline
        if count == 0 or len(rest) <= count:
            self._pages = None
            return (painted := self._finish([] if count == 0 else rest))._replace(text=erased + painted.text)
        self._pages = rest[count:]
        return Painted(erased + behaviour.newline.join([*rest[:count], behaviour.pager]))

    def _finish(self, lines: list[str]) -> Painted:
        behaviour, reply = self._behaviour, self._pending or Reply()
        self._pending = None
        text = "".join(line + behaviour.newline for line in lines)
        if reply.question is not None:
            self._asked = reply
            self._hidden = "assword" in reply.question
            return Painted(text + reply.question)
        if reply.restarts:
            self.device.restart()
            return Painted(text, closes=True, restarts=True)
        if reply.closes:
            return Painted(text, closes=True)
        return Painted(text + behaviour.painted_prompt())
