"""TFTP as a server that sends files and takes none: RFC 1350, options (2347), blksize (2348), timeout and tsize (2349), windowsize (7440).

:class:`Sending` is one transfer without socket, clock or file: it says which blocks are to be sent, and what an answer or a silence means.
Block numbers have 16 bits and roll over to 0, or to 1 for clients that want that, so a file may have any size.
"""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final, Literal, NamedTuple

from netd.errors import WireError

RRQ: Final = 1
WRQ: Final = 2
DATA: Final = 3
ACK: Final = 4
ERROR: Final = 5
OACK: Final = 6

NOT_DEFINED: Final = 0
NOT_FOUND: Final = 1
ACCESS_VIOLATION: Final = 2
ILLEGAL_OPERATION: Final = 4
UNKNOWN_TRANSFER: Final = 5

LONGEST_REQUEST: Final = 1024
MOST_OPTIONS: Final = 16
BLOCK_OCTETS: Final = 512
LEAST_BLOCK: Final = 8
MOST_BLOCK: Final = 65_464
MOST_WINDOW: Final = 64
SENT_AT_MOST: Final = 6
"""How often the same window is sent before the client is given up: for half a minute, where it does not say how long it waits (RFC 2349)."""

DOUBLED_AT_MOST: Final = 3
"""How often the first second is doubled."""

Mode = Literal["octet", "netascii"]
_NUMBER: Final = re.compile(r"[0-9]{1,18}")


class Request(NamedTuple):
    """What a client wants to read. Names of options are in lower case."""

    file: str
    mode: Mode
    options: Mapping[str, str]


class Step(Enum):
    """What is to be done now."""

    ACKNOWLEDGE = "acknowledge"  # send :meth:`Sending.acknowledgement`, the options
    SEND = "send"  # send the blocks of :meth:`Sending.blocks`
    WAIT = "wait"
    DONE = "done"
    GIVE_UP = "give_up"


def parse_request(data: bytes) -> Request:
    """A read request. Raises WireError; ``write`` for one who wants to write."""
    if len(data) < 4 or len(data) > LONGEST_REQUEST:
        raise WireError("bad_length", f"{len(data)} octets")
    code = int.from_bytes(data[:2], "big")
    if code == WRQ:
        raise WireError("write", "files are read only")
    if code != RRQ:
        raise WireError("not_a_request", f"operation {code}")
    if data[-1]:
        raise WireError("not_terminated", "the last text has no end")
    parts = data[2:-1].split(b"\0")
    if len(parts) < 2 or len(parts) % 2 or len(parts) > 2 + 2 * MOST_OPTIONS:
        raise WireError("bad_request", f"{len(parts)} texts")
    texts = [_text(part) for part in parts]
    mode = texts[1].lower()
    if mode not in ("octet", "netascii"):
        raise WireError("bad_mode", "neither octet nor netascii")
    names = [name.lower() for name in texts[2::2]]
    if len(set(names)) < len(names):
        raise WireError("repeated_option", "an option is there twice")
    return Request(texts[0], "octet" if mode == "octet" else "netascii", dict(zip(names, texts[3::2], strict=True)))


def _text(part: bytes) -> str:
    if any(octet < 0x20 or octet > 0x7E for octet in part):
        raise WireError("bad_text", "something other than printable ASCII")
    return part.decode("ascii")


def encode_request(request: Request) -> bytes:
    """The same as octets, for clients in tests."""
    texts = [request.file, request.mode, *(text for pair in request.options.items() for text in pair)]
    return RRQ.to_bytes(2, "big") + b"".join(text.encode("ascii") + b"\0" for text in texts)


def error(code: int, message: str) -> bytes:
    """An ERROR packet."""
    return ERROR.to_bytes(2, "big") + code.to_bytes(2, "big") + message.encode("ascii", "replace") + b"\0"


def netascii(octets: bytes) -> bytes:
    """Text in netascii (RFC 764): a line ends with CR LF, a CR alone is CR NUL."""
    return re.sub(rb"\r\n|\r|\n", lambda found: b"\r\0" if found[0] == b"\r" else b"\r\n", octets)


def _number(text: str | None, least: int, most: int) -> int | None:
    """An option's value; None if it is not given, or none that counts: then the option is not acknowledged (RFC 2347)."""
    if text is None or not _NUMBER.fullmatch(text):
        return None
    return int(text) if least <= int(text) <= most else None


class Sending:
    """One transfer of ``octets`` octets. After every call that returns SEND the blocks of :meth:`blocks` go out, and a timer of ``timeout_seconds`` is set.

    ``block_octets`` and ``window`` are what was agreed; options that a client did not ask for are not used (RFC 2347).
    """

    def __init__(self, request: Request, octets: int, *, most_block: int = 1428, most_window: int = MOST_WINDOW, rolls_to: Literal[0, 1] = 0) -> None:
        self.octets = octets
        self.agreed: dict[str, str] = {}
        self.block_octets = BLOCK_OCTETS
        self.window = 1
        self._timeout_seconds = 0.0  # as agreed
        self._rolls_to = rolls_to
        self._agree(request.options, most_block, most_window)
        self.last = octets // self.block_octets + 1  # the block that ends it: shorter than the others, perhaps empty
        self.acknowledged = 0
        self._sent_to = 0
        self._sendings = 0
        self._repeated_for = -1  # the acknowledgement that made a window go out once more
        self._waits_for_options = bool(self.agreed)

    def _agree(self, wanted: Mapping[str, str], most_block: int, most_window: int) -> None:
        block = _number(wanted.get("blksize"), LEAST_BLOCK, MOST_BLOCK)
        if block is not None:
            self.block_octets = min(block, most_block)
            self.agreed["blksize"] = str(self.block_octets)
        seconds = _number(wanted.get("timeout"), 1, 255)
        if seconds is not None:
            self._timeout_seconds = float(seconds)
            self.agreed["timeout"] = str(seconds)
        if _number(wanted.get("tsize"), 0, 10**18 - 1) is not None:
            self.agreed["tsize"] = str(self.octets)
        window = _number(wanted.get("windowsize"), 1, 65_535)
        if window is not None:
            self.window = min(window, most_window, MOST_WINDOW)
            self.agreed["windowsize"] = str(self.window)

    def begin(self) -> Step:
        """The first thing to send."""
        self._sendings = 1
        if self._waits_for_options:
            return Step.ACKNOWLEDGE
        self._sent_to = min(self.window, self.last)
        return Step.SEND

    @property
    def timeout_seconds(self) -> float:
        """How long an answer is waited for now: as agreed, else longer with each sending, as a line may be busy, or a device with its flash."""
        return self._timeout_seconds or 2.0 ** min(max(self._sendings - 1, 0), DOUBLED_AT_MOST)

    @property
    def all_sent(self) -> bool:
        """Whether the last block has been on the way, whether or not its acknowledgement came back."""
        return self._sent_to == self.last

    def acknowledgement(self) -> bytes:
        """OACK."""
        pairs = (text for pair in self.agreed.items() for text in pair)
        return OACK.to_bytes(2, "big") + b"".join(text.encode("ascii") + b"\0" for text in pairs)

    def blocks(self) -> range:
        """The blocks to send now, counted from 1."""
        return range(self.acknowledged + 1, self._sent_to + 1)

    def span(self, block: int) -> tuple[int, int]:
        """Where a block's octets begin and end in the file."""
        start = (block - 1) * self.block_octets
        return start, min(start + self.block_octets, self.octets)

    def datagram(self, block: int, octets: bytes | memoryview) -> bytes:
        """DATA."""
        return DATA.to_bytes(2, "big") + self._wire(block).to_bytes(2, "big") + octets

    def _wire(self, block: int) -> int:
        if block < 65_536:
            return block
        return block & 0xFFFF if self._rolls_to == 0 else (block - 1) % 65_535 + 1

    def received(self, data: bytes) -> Step:
        """What the client's datagram means. Raises WireError for one that is none of a transfer: it is to be dropped, and the transfer goes on."""
        if len(data) < 4:
            raise WireError("bad_length", f"{len(data)} octets")
        code, number = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
        if code == ERROR:
            return Step.GIVE_UP
        if code != ACK:
            raise WireError("not_an_acknowledgement", f"operation {code}")
        if len(data) > 4:
            raise WireError("bad_length", f"an acknowledgement of {len(data)} octets")
        return self._acknowledged(number)

    def _acknowledged(self, number: int) -> Step:
        if self._waits_for_options:
            if number:
                return Step.WAIT
            self._waits_for_options = False
            return self._advance(0)
        for block in range(self.acknowledged + 1, self._sent_to + 1):
            if self._wire(block) == number:
                return Step.DONE if block == self.last else self._advance(block)
        if self.window > 1 and self._wire(self.acknowledged) == number and self._repeated_for != self.acknowledged:
            # RFC 7440: the client misses the window's first block. Once only: to answer every repetition doubles what is on the way (Sorcerer's Apprentice).
            self._repeated_for = self.acknowledged
            return Step.SEND
        return Step.WAIT

    def _advance(self, block: int) -> Step:
        self.acknowledged = block
        self._sent_to = min(block + self.window, self.last)
        self._sendings = 1
        return Step.SEND

    def silent(self) -> Step:
        """Nothing came within the time: send the same again, or give up."""
        self._sendings += 1
        if self._sendings > SENT_AT_MOST:
            return Step.GIVE_UP
        self._repeated_for = -1
        return Step.ACKNOWLEDGE if self._waits_for_options else Step.SEND
