"""Telnet (RFC 854, 855, 857, 858, 856, 1073, 1091): commands out of the stream, answers to negotiations. Knows no socket."""

import re
from typing import Final

from netd.errors import WireError

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240
BINARY, ECHO, SGA, TERMINAL_TYPE, NAWS = 0, 1, 3, 24, 31
MOST_SUBNEGOTIATION: Final = 1024
MOST_ANSWERS: Final = 256

_LONE_CR: Final = re.compile(rb"\r(?!\n)")
_THEIRS: Final = frozenset((BINARY, ECHO, SGA))
_OURS: Final = frozenset((BINARY, SGA, TERMINAL_TYPE, NAWS))


class Telnet:
    """Our side. ``opening`` is sent first, ``receive`` takes what comes, ``encode`` what goes. Raises WireError: ``telnet``."""

    def __init__(self, *, columns: int = 511, rows: int = 24, terminal_type: str = "vt100") -> None:
        self._size = min(columns, 65535).to_bytes(2, "big") + min(rows, 65535).to_bytes(2, "big")
        self._type = terminal_type.encode("ascii")
        self._held = b""
        self._after_cr = False
        self._answers = 0
        self.ours: set[int] = set()  # options that we do
        self.theirs: set[int] = set()  # and they

    def opening(self) -> bytes:
        """Ask for echo and no half-duplex, offer the window's size: ZTE's OLTs wait for it, others answer."""
        self.theirs.update((ECHO, SGA))
        self.ours.update((SGA, NAWS))
        return bytes((IAC, DO, ECHO, IAC, DO, SGA, IAC, WILL, SGA, IAC, WILL, NAWS))

    def encode(self, data: bytes) -> bytes:
        """Data as it goes over the wire: IAC doubled, and a lone CR followed by NUL unless BINARY is on."""
        data = data.replace(b"\xff", b"\xff\xff")
        if BINARY not in self.ours:
            data = _LONE_CR.sub(b"\r\0", data)
        return data

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """The text in ``data``, and what to answer at once."""
        data = self._held + data
        self._held = b""
        text, answer, at = bytearray(), bytearray(), 0
        while (found := data.find(IAC, at)) >= 0:
            text += self._plain(data[at:found])
            used = self._command(data, found, text, answer)
            if not used:
                self._held = data[found:]
                return bytes(text), bytes(answer)
            at = found + used
        text += self._plain(data[at:])
        return bytes(text), bytes(answer)

    def _plain(self, text: bytes) -> bytes:
        """CR NUL is CR, as long as BINARY is off."""
        if not text:
            return b""
        if BINARY in self.theirs:
            self._after_cr = False
            return text
        if self._after_cr and text[0] == 0:
            text = text[1:]
        self._after_cr = text.endswith(b"\r")
        return text.replace(b"\r\0", b"\r")

    def _command(self, data: bytes, at: int, text: bytearray, answer: bytearray) -> int:
        """Do what stands at ``at``; returns its length, 0 if it is not all there yet."""
        if len(data) < at + 2:
            return 0
        command = data[at + 1]
        if command == IAC:
            text.append(IAC)
            self._after_cr = False
            return 2
        if command in (DO, DONT, WILL, WONT):
            if len(data) < at + 3:
                return 0
            self._negotiate(command, data[at + 2], answer)
            return 3
        if command == SB:
            end = data.find(bytes((IAC, SE)), at + 2)
            if end < 0:
                if len(data) - at > MOST_SUBNEGOTIATION:
                    raise WireError("telnet", f"a subnegotiation of more than {MOST_SUBNEGOTIATION} octets")
                return 0
            self._subnegotiation(data[at + 2 : end], answer)
            return end + 2 - at
        return 2  # NOP, GA, DM …: nothing to do

    def _negotiate(self, command: int, option: int, answer: bytearray) -> None:
        """Answer only what changes something (RFC 854), so that two sides never go on agreeing with each other."""
        self._answers += 1
        if self._answers > MOST_ANSWERS:
            raise WireError("telnet", "negotiates without end")
        mine = command in (DO, DONT)
        on, wanted = command in (DO, WILL), option in (_OURS if mine else _THEIRS)
        state = self.ours if mine else self.theirs
        yes, no = (WILL, WONT) if mine else (DO, DONT)
        if on and wanted:
            if option not in state:
                state.add(option)
                answer += bytes((IAC, yes, option))
            if mine and option == NAWS:
                answer += bytes((IAC, SB, NAWS)) + self._size.replace(b"\xff", b"\xff\xff") + bytes((IAC, SE))
        elif on:
            answer += bytes((IAC, no, option))
        elif option in state:
            state.discard(option)
            answer += bytes((IAC, no, option))

    def _subnegotiation(self, body: bytes, answer: bytearray) -> None:
        if body[:2] == bytes((TERMINAL_TYPE, 1)):
            answer += bytes((IAC, SB, TERMINAL_TYPE, 0)) + self._type + bytes((IAC, SE))
