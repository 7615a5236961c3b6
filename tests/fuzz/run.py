"""Throw arbitrary and mutated octets and texts at every codec: ``make fuzz``, FUZZ_SECONDS long (30) and FUZZ_ROUNDS at least (1), from FUZZ_SEED
(random, printed).

A codec may refuse what it gets with its own error, and nothing else; what it accepts must come out of the encoder as it went in. The first
breach is printed with its seed and input, and the exit code is 1.
"""

import hashlib
import os
import random
import re
import sys
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from netd.errors import ConfigError, NetdError, WireError
from netd.radius import segment
from netd.radius.record import AccountingSwitch
from netd.wire import dhcp, dhcpv6, passwords, radius, tftp
from netd.wire.attributes import decode, encode, from_text, to_text
from netd.wire.dictionary import Dictionary, parse
from netd.wire.radius import SharedSecret
from netd.wire.telnet import Telnet
from netd.wire.terminal import Dialect, Reader, ending

REPOSITORY = Path(__file__).resolve().parents[2]
AUTHENTICATOR = bytes(range(16))
SECRET = SharedSecret(b"testing123")
LENGTHS = (0, 1, 2, 3, 4, 5, 6, 8, 15, 16, 17, 18, 24, 32, 50, 128, 129, 249, 252, 253)
VENDORS = (9, 311, 2011, 2352, 3561, 4874, 6527, 10415, 14988, 77777, *range(64001, 64007))


class Target(NamedTuple):
    """A codec under fire: makes an input, and feeds it; ``refusals`` are the errors it may raise."""

    name: str
    make: Callable[[random.Random], object]
    feed: Callable[[object], None]
    refusals: tuple[type[Exception], ...]


def sources() -> list[tuple[str, str]]:
    """Every dictionary there is: netd's, the vendors', and the tests' with the odd forms."""
    folder = files("netd.wire") / "dictionaries"
    own = sorted((file.name, file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".dictionary"))
    others = [*sorted((REPOSITORY / "vendors").glob("*/dictionary*")), REPOSITORY / "tests" / "wire" / "odd.dictionary"]
    return [*own, *((str(path), path.read_text("utf-8")) for path in others)]


def octets(rng: random.Random, length: int | None = None) -> bytes:
    """Octets of which many mean something somewhere."""
    length = rng.choice(LENGTHS) if length is None else length
    if rng.random() < 0.3:
        return rng.randbytes(length)
    return bytes(rng.choice((0, 0, 1, 2, 3, 4, 8, 16, 26, 31, 32, 64, 128, 255, rng.randrange(256))) for _ in range(length))


def tlv(code: int, body: bytes) -> bytes:
    return bytes((code, min(len(body) + 2, 255))) + body[:253]


def tlvs(rng: random.Random, depth: int = 3) -> bytes:
    """Nested TLVs, mostly well formed."""
    if not depth or rng.random() < 0.4:
        return octets(rng, rng.choice((0, 1, 4, 4, 6, 16, 18)))
    return b"".join(tlv(rng.randrange(13), tlvs(rng, depth - 1)) for _ in range(rng.randrange(4)))[:240]


def vendor_body(rng: random.Random) -> bytes:
    vendor: int = rng.choice(VENDORS)
    body = vendor.to_bytes(4, "big")
    for _ in range(rng.choice((1, 1, 2, 3))):
        flags = bytes((rng.choice((0, 0, 128, 1)),)) if vendor == 64005 else b""
        wide = b"\x07" if vendor in (64001, 64002) else b""
        body += wide + tlv(rng.choice((1, 2, 3, 5, 8, 16, 65, 69, rng.randrange(256))), flags + tlvs(rng))
    return body[:253]


def extended_body(rng: random.Random, long: bool) -> bytes:
    kind = rng.choice((1, 5, 6, 7, 8, 26, 26, 200, 201, rng.randrange(256)))
    vendor = rng.choice(VENDORS).to_bytes(4, "big") + bytes((rng.randrange(4),)) if kind == 26 else b""
    flags = bytes((rng.choice((0, 128, 128, 64)),)) if long else b""
    return (bytes((kind,)) + flags + vendor + tlvs(rng))[:253]


def body(rng: random.Random) -> bytes:
    """The attributes of a packet, now and then damaged."""
    out = b""
    for _ in range(rng.randrange(10)):
        code = rng.choice((26, 26, 241, 245, 245, 246, 79, 2, 69, 64, 81, 97, 123, rng.randrange(256)))
        inner = vendor_body(rng) if code == 26 else extended_body(rng, code >= 245) if code >= 241 else octets(rng)
        out += tlv(code, inner) * rng.choice((1, 1, 1, 2, 3))
    return mutated(rng, out) if rng.random() < 0.3 else out


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Flip, cut, insert and repeat."""
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0 and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes((data[at] ^ (1 << rng.randrange(8)),)) + data[at + 1 :]
        elif kind == 1:
            data = data[:at]
        elif kind == 2:
            data = data[:at] + octets(rng, rng.randrange(5)) + data[at:]
        else:
            data = data[:at] + data[max(0, at - rng.randrange(20)) :]
    return data


def packet(rng: random.Random) -> bytes:
    """A datagram; the header mostly true."""
    inner = body(rng)[:4076]
    length = 20 + len(inner) if rng.random() < 0.8 else rng.randrange(65536)
    data = bytes((rng.choice((1, 2, 4, 11, 12, 40, 43, rng.randrange(256))), rng.randrange(256))) + length.to_bytes(2, "big") + rng.randbytes(16) + inner
    return mutated(rng, data) if rng.random() < 0.2 else data


def feed_packet(data: object) -> None:
    assert isinstance(data, bytes)
    found = radius.parse(data)
    assert data.startswith(found.data)
    inner = found.data[radius.HEADER :]
    assert radius.join(radius.split(inner)) == inner
    radius.message_authenticator_ok(found, SECRET)
    radius.request_authenticator_ok(found, SECRET)
    radius.response_authenticator_ok(found, SECRET, AUTHENTICATOR)
    for vendor in (311, 14988):
        radius.vendor_attributes(found, vendor)


def password_calls(rng: random.Random) -> object:
    """A function of ``passwords`` that takes peers' octets, and such."""
    response = octets(rng, rng.choice((49, 50, 50, 50, 51)))
    challenge = octets(rng, rng.choice((7, 8, 15, 16, 16, 17)))
    return rng.choice(
        (
            (passwords.pap_decrypt, (octets(rng), hashlib.md5(SECRET.value), AUTHENTICATOR)),
            (passwords.chap_verify, (octets(rng), octets(rng), b"password")),
            (passwords.salt_decrypt, (octets(rng), SECRET.value, AUTHENTICATOR)),
            (passwords.mschap1_verify, (response, challenge, bytes(16))),
            (passwords.mschap2_verify, (response, challenge, octets(rng), bytes(16))),
        )
    )


def feed_password(call: object) -> None:
    assert isinstance(call, tuple)
    function, arguments = call
    function(*arguments)


class Words:
    """Makes texts out of dictionaries: lines swapped, words replaced, characters garbled."""

    def __init__(self, texts: list[tuple[str, str]]) -> None:
        self._files = [[line for line in text.splitlines() if line and not line.startswith("#")] for _, text in texts]
        self._lines = [line for lines in self._files for line in lines]
        self._words = sorted({word for line in self._lines for word in line.split()} | {"$INCLUDE", "0x", "1.2.3", "26.1.1", "format=4,2", "9" * 40, "\0", "é"})

    def dictionary(self, rng: random.Random) -> object:
        lines = [rng.choice(self._lines) for _ in range(rng.randrange(10))]
        if rng.random() < 0.7:  # a true beginning gets further
            lines = rng.choice(self._files)[: rng.randrange(1, 80)] + lines
        damage = rng.choice((0, 0, 0.02, 0.2))
        return "\n".join(self._line(rng, line) if rng.random() < damage else line for line in lines)

    def _line(self, rng: random.Random, line: str) -> str:
        words = line.split() or [""]
        words[rng.randrange(len(words))] = rng.choice(self._words)
        return self.garbled(rng, " ".join(words)) if rng.random() < 0.3 else " ".join(words)

    def garbled(self, rng: random.Random, text: str) -> str:
        """The text with a few characters replaced."""
        characters = list(text) or ["x"]
        for _ in range(rng.randrange(1, 4)):
            characters[rng.randrange(len(characters))] = chr(rng.choice((0, 32, 35, 46, 48, 58, 92, 0x663, 0x1F600, rng.randrange(0xD800))))
        return "".join(characters)


def feed_dictionary(text: object) -> None:
    assert isinstance(text, str)
    dictionary = parse([("fuzz", text)])
    assert all(dictionary.layers(attribute) for attribute in dictionary)


JOURNAL_KEY = bytes(range(16))
WRITTEN = tuple(AccountingSwitch(number, "192.0.2.1", None, segment.MARK.decode("latin-1"), 1.5e9, "NAS-Reboot") for number in range(8))
RECORDS = tuple(segment.encode_record(JOURNAL_KEY, number + 1, item) for number, item in enumerate(WRITTEN))
TOP = segment.encode_header(segment.Header(journal=str(uuid.UUID(bytes=JOURNAL_KEY)), node="n", made_at=0.0, names=((), AccountingSwitch._fields)))


def journal_segment(rng: random.Random) -> object:
    """A segment of the accounting journal after a power failure, or after worse."""
    data = TOP + b"".join(RECORDS[: rng.randrange(len(RECORDS) + 1)])
    if rng.random() < 0.3:
        data = data[: rng.randrange(len(data) + 1)]
    if rng.random() < 0.5:
        data += rng.choice((bytes(512), RECORDS[-1][:-1], rng.randbytes(40), segment.MARK * 9))
    return mutated(rng, data) if rng.random() < 0.7 else data


def feed_segment(data: object) -> None:
    assert isinstance(data, bytes)
    found = segment.decode_header(data)
    if found is None:
        raise WireError("journal_header")
    header, start = found
    assert data.startswith(TOP), "a header that was never written"
    for sequence, payload, end in segment.decode_records(data, start, JOURNAL_KEY):
        assert data[:end].endswith(RECORDS[sequence - 1]), "a record that was never written"
        assert segment.decode_payload(header.names, payload) == WRITTEN[sequence - 1]
    segment.decode_payload(header.names, data[start:])


def dhcp_options(rng: random.Random) -> bytes:
    out = b""
    for _ in range(rng.randrange(12)):
        code = rng.choice((0, 1, 12, 43, 50, 52, 53, 55, 57, 60, 61, 66, 67, 77, 82, 82, 124, 125, 255, rng.randrange(256)))
        value = tlvs(rng) if code in (43, 82) else vendor_body(rng) if code in (124, 125) else octets(rng)
        out += bytes((code,)) if code in (0, 255) and rng.random() < 0.9 else bytes((code, min(len(value), 255))) + value[:255]
    return out + b"\xff" * rng.randrange(2)


def dhcp_packet(rng: random.Random) -> object:
    """A DHCP message, mostly with its cookie, now and then with options in file and sname."""
    head = bytes((rng.choice((1, 1, 1, 2, rng.randrange(256))), 1, rng.choice((6, 6, 6, 16, 0, 17)), 0)) + rng.randbytes(40)
    fields = dhcp_options(rng)[:64].ljust(64, b"\0") + dhcp_options(rng)[:128].ljust(128, b"\0")
    overload = bytes((52, 1, rng.randrange(5))) if rng.random() < 0.3 else b""
    data = head + fields + b"\x63\x82\x53\x63" + bytes((53, 1, rng.randrange(15))) + overload + dhcp_options(rng)
    return mutated(rng, data) if rng.random() < 0.3 else data


def feed_dhcp(data: object) -> None:
    assert isinstance(data, bytes)
    found = dhcp.parse(data)
    assert dhcp.parse(dhcp.encode(found)) == found
    dhcp.user_classes(found.options.get(dhcp.USER_CLASS, b""))
    for code in (43, 82):
        members = dhcp.suboptions(found.options.get(code, b""))
        assert dhcp.join_suboptions(members) == found.options.get(code, b"")
    assert dhcp.join_vendor_options(dhcp.vendor_options(found.options.get(125, b""))) == found.options.get(125, b"")
    dhcp.vendor_classes(found.options.get(124, b""))


def dhcpv6_options(rng: random.Random, depth: int = 3) -> bytes:
    out = b""
    for _ in range(rng.randrange(8)):
        code = rng.choice((1, 2, 3, 5, 6, 9, 13, 15, 16, 17, 18, 25, 26, 59, 60, 136, rng.randrange(65536)))
        value = dhcpv6_options(rng, depth - 1) if depth and rng.random() < 0.4 else octets(rng)
        if code in (3, 5, 25, 26) and rng.random() < 0.8:
            value = octets(rng, {3: 12, 25: 12, 5: 24, 26: 25}[code]) + value
        out += code.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value
    return out


def dhcpv6_packet(rng: random.Random) -> object:
    """A DHCPv6 message, now and then through relays."""
    data = bytes((rng.choice((1, 3, 4, 5, 6, 8, 11, rng.randrange(256))),)) + rng.randbytes(3) + dhcpv6_options(rng)
    for hops in range(rng.choice((0, 0, 1, 2, 9))):
        kind = rng.choice((12, 12, 12, 12, 13))
        around = dhcpv6_options(rng) + b"\0\x09" + len(data).to_bytes(2, "big") + data
        data = bytes((kind, hops)) + rng.randbytes(32) + around
    return mutated(rng, data) if rng.random() < 0.3 else data


def feed_dhcpv6(data: object) -> None:
    assert isinstance(data, bytes)
    found = dhcpv6.parse(data)
    assert dhcpv6.parse(dhcpv6.encode(found, dhcpv6.RELAY_FORWARD)) == found
    dhcpv6.requested(found)
    for code, value in found.options:
        if code in (3, 25):
            assert dhcpv6.association_octets(dhcpv6.association(value)) == value
        elif code == 5:
            assert dhcpv6.leased_option(dhcpv6.leased_address(value), False) == (5, value)
        elif code == 26:
            assert dhcpv6.leased_option(dhcpv6.leased_prefix(value), True) == (26, value)
        elif code in (15, 60, 136):
            assert dhcpv6.join_texts(dhcpv6.texts(value)) == value
        elif code == 16:
            dhcpv6.vendor_class(value)
        elif code == 17:
            dhcpv6.vendor_options(value)
        elif code == 13:
            dhcpv6.status_of(value)
        elif code == 1:
            dhcpv6.hardware_address(value)
            dhcpv6.enterprise_identifier(value)


def tftp_datagrams(rng: random.Random) -> object:
    """A read request with options, and what the client says afterwards; both garbled now and then."""
    names = ("blksize", "timeout", "tsize", "windowsize", "BLKSIZE", "multicast")
    options = [
        text for _ in range(rng.randrange(5)) for text in (rng.choice(names), rng.choice(("0", "1", "8", "512", "1428", "65464", "65535", "-1", "x", "")))
    ]
    texts = [rng.choice(("boot.cfg", "a/../b", "")), rng.choice(("octet", "NETASCII", "mail")), *options]
    request = rng.choice((1, 1, 1, 1, 2, 3)).to_bytes(2, "big") + b"".join(text.encode() + b"\0" for text in texts)
    answers = []
    for _ in range(rng.randrange(12)):
        number = rng.choice((rng.randrange(12), rng.randrange(65536)))
        answers.append(rng.choice((4, 4, 4, 4, 5, 3, 0)).to_bytes(2, "big") + number.to_bytes(2, "big") + rng.choice((b"", b"", b"x")))
    return (mutated(rng, request) if rng.random() < 0.3 else request), answers, rng.randrange(20_000)


def feed_tftp(case: object) -> None:
    assert isinstance(case, tuple)
    request, answers, octets = case
    found = tftp.parse_request(request)
    assert tftp.parse_request(tftp.encode_request(found)) == found
    sending = tftp.Sending(found, octets)
    step = sending.begin()
    for answer in answers:
        if step in (tftp.Step.DONE, tftp.Step.GIVE_UP):
            break
        try:
            step = sending.received(answer)
        except WireError:
            step = sending.silent()
        assert len(sending.blocks()) <= tftp.MOST_WINDOW
        for block in sending.blocks():
            low, high = sending.span(block)
            assert 0 <= low <= high <= octets


def targets(dictionary: Dictionary, words: Words) -> list[Target]:
    """Every codec."""
    attributes = list(dictionary)

    def feed_attributes(data: object) -> None:
        assert isinstance(data, bytes)
        assert encode(dictionary, decode(dictionary, data)) == data

    def feed_secret(data: object) -> None:
        assert isinstance(data, bytes)
        for item in decode(dictionary, data, SECRET.value, AUTHENTICATOR):
            to_text(dictionary.attribute(item.name), item.value)

    def text(rng: random.Random) -> object:
        samples = (
            "Framed-User",
            "60",
            "0xff",
            "192.0.2.1",
            "2001:db8::/56",
            "1:2:3:4",
            "00:00:5e:00:53:01",
            "Jan  2 2026 15:04:05 UTC",
            "2026-01-02T00:00:00Z",
        )
        return rng.choice(attributes), words.garbled(rng, rng.choice(samples))

    def feed_text(pair: object) -> None:
        assert isinstance(pair, tuple)
        attribute, value = pair
        assert from_text(attribute, to_text(attribute, from_text(attribute, value))) == from_text(attribute, value)

    return [
        Target("attributes", body, feed_attributes, (WireError,)),
        Target("attributes, decrypted", body, feed_secret, (WireError,)),
        Target("packets", packet, feed_packet, (WireError,)),
        Target("passwords", password_calls, feed_password, (WireError,)),
        Target("dictionaries", words.dictionary, feed_dictionary, (ConfigError,)),
        Target("values", text, feed_text, (ValueError,)),
        Target("screens", screen, feed_screen, (WireError,)),
        Target("telnet", telnet_stream, feed_telnet, (WireError,)),
        Target("dhcp", dhcp_packet, feed_dhcp, (WireError,)),
        Target("dhcpv6", dhcpv6_packet, feed_dhcpv6, (WireError,)),
        Target("tftp", tftp_datagrams, feed_tftp, (WireError,)),
        Target("journal", journal_segment, feed_segment, (WireError,)),
    ]


SCREEN = (
    b"OLT#", b"OLT(config)#", b"display x", b"\r\n", b"\n", b"\r", b"\b", b" ", b"\0", b"\x1b[1D", b"\x1b[2K", b"\x1b[9999B", b"\x1b[", b"\x1b",
    b"\x1b]0;t\x07", b"---- More ----", b"{ <cr>||<K> }:", b"! 1 [x]: ALARM", b"--- END\n", "\u4f60".encode(), b"\xff",
)  # fmt: skip
DIALECT = Dialect(
    prompt=ending(r"^OLT(?:\(\w+\))?#"), pager=ending("---- More ----"), question=ending(r"\{[^}]*\}:"),
    noise=(re.compile(r"^! 1[\s\S]*?--- END[^\n]*\n?", re.MULTILINE),),
)  # fmt: skip


def screen(rng: random.Random) -> object:
    """What a terminal may be sent, and where it is cut."""
    data = b"".join(rng.choice(SCREEN) if rng.random() < 0.8 else octets(rng) for _ in range(rng.randrange(1, 40)))
    return data, rng.randrange(1, 20)


def feed_screen(given: object) -> None:
    """The text does not depend on where the stream is cut."""
    assert isinstance(given, tuple)
    data, size = given
    found = []
    for step in (len(data) or 1, size):
        reader = Reader(DIALECT)
        reader.begin("display x", [ending(r"<cr>[^}]*\}:")])
        for at in range(0, len(data), step):
            reader.feed(data[at : at + step])
        found.append(reader.text())
    assert found[0] == found[1], found


def telnet_stream(rng: random.Random) -> object:
    """Mostly commands, and where it is cut."""
    words = (b"\xff\xfb", b"\xff\xfd", b"\xff\xfa\x18\x01", b"\xff\xf0", b"\xff\xff", b"\xff\xf1", b"\r\0", b"\r\n", b"x", b"\x00", b"\x1f", b"\x18")
    return b"".join(rng.choice(words) if rng.random() < 0.9 else octets(rng) for _ in range(rng.randrange(1, 60))), rng.randrange(1, 20)


def feed_telnet(given: object) -> None:
    """Neither text nor answers depend on where the stream is cut."""
    assert isinstance(given, tuple)
    data, size = given
    found = []
    for step in (len(data) or 1, size):
        telnet, text, answer = Telnet(), b"", b""
        for at in range(0, len(data), step):
            more = telnet.receive(data[at : at + step])
            text, answer = text + more[0], answer + more[1]
        found.append((text, answer))
    assert found[0] == found[1], found


def main() -> int:
    seconds = float(os.environ.get("FUZZ_SECONDS", "30"))
    seed = int(os.environ.get("FUZZ_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"fuzz: {seconds:g} s, FUZZ_SEED={seed}", flush=True)
    texts = sources()
    every = targets(parse(texts), Words(texts))
    rng = random.Random(seed)
    fed: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    end, rounds = time.monotonic() + seconds, int(os.environ.get("FUZZ_ROUNDS", "1"))
    while time.monotonic() < end or max(fed.values(), default=0) < rounds:
        for target in every:
            given = target.make(rng)
            fed[target.name] += 1
            try:
                target.feed(given)
            except target.refusals:
                continue
            except Exception as error:  # the barrier of this program: whatever it is, it is what is looked for
                kind = "the wrong error" if isinstance(error, NetdError) else "a fault"
                traceback.print_exc()
                print(f"fuzz: {target.name}: {kind} with FUZZ_SEED={seed}, input {given.hex() if isinstance(given, bytes) else given!r}")
                return 1
            accepted[target.name] += 1
    for name, count in fed.items():
        print(f"  {name:22} {count:9} inputs, {accepted[name]:9} accepted")
    return 0


if __name__ == "__main__":
    sys.exit(main())
