"""RADIUS packets for the load generator, made and checked with the standard library alone: the code under test has no part in it."""

import hmac
import os
import random
import struct
from collections.abc import Iterator
from hashlib import md5
from typing import Final

SECRET: Final = b"a-benchmark-secret"
ACCESS_REQUEST: Final = 1
ACCESS_ACCEPT: Final = 2
ACCOUNTING_REQUEST: Final = 4
ACCOUNTING_RESPONSE: Final = 5
START: Final = 1
STOP: Final = 2
INTERIM: Final = 3
IDENTIFIERS: Final = 256


def username(number: int) -> str:
    """The name of subscriber ``number``."""
    return f"user{number:06d}@example.net"


def password(number: int) -> str:
    """The password of subscriber ``number``: 12 characters, different for each."""
    return f"pw-{number * 7919 % 1_000_003:09d}"


def _attribute(kind: int, value: bytes) -> bytes:
    return bytes((kind, len(value) + 2)) + value


def _integer(kind: int, value: int) -> bytes:
    return struct.pack("!BBI", kind, 6, value & 0xFFFFFFFF)


def _line(number: int) -> bytes:
    """What a BRAS tells of the subscriber's line; the same in authentication and accounting."""
    port = f"Gi0/0/{number % 8}.{number % 4094 + 1}".encode()
    mac = f"02:00:{number >> 24 & 255:02x}:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}".encode()
    return b"".join((
        _attribute(4, b"\x7f\x00\x00\x01"), _integer(5, number), _attribute(87, port), _attribute(30, b"internet"), _attribute(31, mac),
        _integer(6, 2), _integer(7, 1),
    ))  # fmt: skip


def access_request(number: int, identifier: int) -> bytes:
    """A PAP Access-Request of subscriber ``number`` as a PPPoE concentrator sends it, Message-Authenticator included."""
    authenticator = os.urandom(16)
    plain = int.from_bytes(password(number).encode().ljust(16, b"\0"), "big")
    hidden = (plain ^ int.from_bytes(md5(SECRET + authenticator).digest(), "big")).to_bytes(16, "big")
    body = _attribute(1, username(number).encode()) + _attribute(2, hidden) + _line(number)
    head = struct.pack("!BBH", ACCESS_REQUEST, identifier, 20 + len(body) + 18) + authenticator
    signature = hmac.digest(SECRET, head + body + b"\x50\x12" + bytes(16), "md5")
    return head + body + b"\x50\x12" + signature


def access_requests(count: int, subscribers: int, seed: int) -> list[bytes]:
    """Requests of random subscribers; identifiers count up from 0, so packet ``i`` has identifier ``i % 256``."""
    chosen = random.Random(seed)
    return [access_request(chosen.randrange(subscribers), i % IDENTIFIERS) for i in range(count)]


def accounting_request(kind: int, number: int, session: int, at: int, identifier: int) -> bytes:
    """An Accounting-Request about ``session`` of subscriber ``number``; ``at`` is its Event-Timestamp (Unix time)."""
    seconds = {START: 0, INTERIM: 300, STOP: 600}[kind]
    body = b"".join((
        _integer(40, kind), _attribute(44, f"{session:016x}".encode()), _attribute(1, username(number).encode()), _line(number),
        _attribute(8, struct.pack("!I", 0x64400000 + number)), _integer(55, at + seconds), _integer(45, 1), _integer(61, 15),
    ))  # fmt: skip
    if kind != START:
        octets = octets_of(kind, session)
        body += _integer(46, seconds) + _integer(42, octets) + _integer(43, 2 * octets) + _integer(47, 100) + _integer(48, 200)
    if kind == STOP:
        body += _integer(49, 1)
    head = struct.pack("!BBH", ACCOUNTING_REQUEST, identifier, 20 + len(body))
    return head + md5(head + bytes(16) + body + SECRET).digest() + body


def octets_of(kind: int, session: int) -> int:
    """What the Interim or Stop of a session counts as input octets; output is twice that."""
    return (1_000_000 if kind == INTERIM else 3_000_000) + session


def accounting_requests(sessions: int, subscribers: int, at: int, ended_of_ten: int, first: int = 0) -> Iterator[bytes]:
    """Start, Interim and Stop of ``sessions`` sessions from number ``first`` on, mixed so that each comes a quarter of the run after the one before it.

    Only ``ended_of_ten`` of ten sessions send a Stop. Identifiers count up from 0 as in ``access_requests``.
    """
    lag = max(1, sessions // 4)
    count = 0
    for step in range(sessions + 2 * lag):
        for kind, session in ((START, step), (INTERIM, step - lag), (STOP, step - 2 * lag)):
            if 0 <= session < sessions and (kind != STOP or session % 10 < ended_of_ten):
                yield accounting_request(kind, session * 5 % subscribers, first + session, at, count % IDENTIFIERS)
                count += 1


def answer_fault(request: bytes, answer: bytes, signed_first: bool = True) -> str:
    """What is wrong with the answer to a request, "" if nothing: code, identifier, both authenticators.

    ``signed_first``: the Message-Authenticator must come first, as it has to since CVE-2024-3596 (FreeRADIUS before 3.2.5 puts it anywhere).
    """
    expected = ACCESS_ACCEPT if request[0] == ACCESS_REQUEST else ACCOUNTING_RESPONSE
    if len(answer) < 20 or struct.unpack_from("!H", answer, 2)[0] != len(answer):
        return f"{len(answer)} octets that are no packet"
    if answer[0] != expected:
        return f"code {answer[0]} instead of {expected}"
    if answer[1] != request[1]:
        return "identifier of another request"
    if md5(answer[:4] + request[4:20] + answer[20:] + SECRET).digest() != answer[4:20]:
        return "wrong Response Authenticator"
    return _signature_fault(request, answer, signed_first) if expected == ACCESS_ACCEPT else ""


def _signature_fault(request: bytes, answer: bytes, signed_first: bool) -> str:
    at = 20
    while answer[at : at + 1] != b"\x50":
        if signed_first or at + 2 > len(answer):
            return "Message-Authenticator is not first" if signed_first else "no Message-Authenticator"
        at += answer[at + 1]
    blank = answer[:4] + request[4:20] + answer[20 : at + 2] + bytes(16) + answer[at + 18 :]
    return "" if hmac.digest(SECRET, blank, "md5") == answer[at + 2 : at + 18] else "wrong Message-Authenticator"
