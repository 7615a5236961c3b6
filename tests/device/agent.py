"""An SNMP agent that misbehaves as told: just enough BER (X.690) to read a request and write a response, of SNMPv1, v2c, and v3 without security."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from netd.sdk.device import Oid

GET, GETNEXT, RESPONSE, GETBULK, REPORT = 0xA0, 0xA1, 0xA2, 0xA5, 0xA8
NULL, NO_SUCH_OBJECT, END_OF_MIB_VIEW = b"\x05\x00", b"\x80\x00", b"\x82\x00"
TOO_BIG, NO_SUCH_NAME, GEN_ERR = 1, 2, 5
ENGINE_ID = bytes.fromhex("8000000001020304")


class Request(NamedTuple):
    """What was asked: ``kind`` the PDU's tag, ``most`` GETBULK's max-repetitions."""

    kind: int
    number: int
    most: int
    oids: tuple[Oid, ...]


class Response(NamedTuple):
    """``values`` as (OID, encoded value); ``copies`` of it are sent after ``late_seconds``, none at 0."""

    values: Sequence[tuple[Oid, bytes]]
    error: int = 0
    late_seconds: float = 0.0
    copies: int = 1
    number: int | None = None  # another request-id than the request's


def tlv(tag: int, body: bytes) -> bytes:
    """One element."""
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + body


def integer(value: int, tag: int = 0x02) -> bytes:
    """INTEGER, or a counter by its tag."""
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def octets(value: bytes) -> bytes:
    """OCTET STRING."""
    return tlv(0x04, value)


def _oid(value: Oid) -> bytes:
    body = bytearray((value[0] * 40 + value[1],))
    for arc in value[2:]:
        parts = [arc & 0x7F]
        while arc := arc >> 7:
            parts.append(0x80 | (arc & 0x7F))
        body += bytes(reversed(parts))
    return tlv(0x06, bytes(body))


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:
            width = size & 0x7F
            size, at = int.from_bytes(data[at : at + width], "big"), at + width
        found.append((tag, data[at : at + size]))
        at += size
    return found


def _arcs(body: bytes) -> Oid:
    arcs, value = [min(body[0] // 40, 2)], 0
    arcs.append(body[0] - arcs[0] * 40)
    for octet in body[1:]:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    return tuple(arcs)


class Agent(asyncio.DatagramProtocol):
    """Answers what ``answer`` says, at ``port``; ``requests`` are all that came. ``None`` is no answer."""

    def __init__(self, answer: Callable[[Request], Response | None]) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.port = 0
        self._transport: asyncio.DatagramTransport

    async def __aenter__(self) -> "Agent":
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        ((_, message),) = _elements(data)
        version, *rest = _elements(message)
        kind, pdu = self._pdu(rest)
        number, _, most, variables = _elements(pdu)
        request = Request(
            kind,
            int.from_bytes(number[1], "big", signed=True),
            int.from_bytes(most[1], "big"),
            tuple(_arcs(_elements(each)[0][1]) for _, each in _elements(variables[1])),
        )
        if not request.oids:  # SNMPv3's question for the engine's id, boots and time
            count = tlv(0x30, _oid((1, 3, 6, 1, 6, 3, 15, 1, 1, 4, 0)) + integer(1, 0x41))
            body = integer(request.number) + integer(0) + integer(0) + tlv(0x30, count)
            self._send(tlv(0x30, tlv(*version) + self._wrapped(rest, tlv(REPORT, body))), addr)
            return
        self.requests.append(request)
        response = self.answer(request)
        if response is None:
            return
        values = b"".join(tlv(0x30, _oid(oid) + value) for oid, value in response.values)
        body = integer(request.number if response.number is None else response.number) + integer(response.error) + integer(0) + tlv(0x30, values)
        answer = tlv(0x30, tlv(*version) + self._wrapped(rest, tlv(RESPONSE, body)))
        for _ in range(response.copies):
            asyncio.get_running_loop().call_later(response.late_seconds, self._send, answer, addr)

    def _pdu(self, rest: list[tuple[int, bytes]]) -> tuple[int, bytes]:
        """What stands behind a message's version: community and PDU; of SNMPv3 (RFC 3412 section 6) a header, the security parameters, the scoped PDU."""
        return rest[1] if len(rest) == 2 else _elements(rest[2][1])[2]

    def _wrapped(self, rest: list[tuple[int, bytes]], pdu: bytes) -> bytes:
        """The same for an answer."""
        if len(rest) == 2:
            return tlv(*rest[0]) + pdu
        number, size, _, model = _elements(rest[0][1])
        user = _elements(_elements(rest[1][1])[0][1])[3]
        header = tlv(0x30, tlv(*number) + tlv(*size) + octets(b"\0") + tlv(*model))
        security = octets(tlv(0x30, octets(ENGINE_ID) + integer(1) + integer(1000) + tlv(*user) + octets(b"") + octets(b"")))
        return header + security + tlv(0x30, octets(ENGINE_ID) + octets(b"") + pdu)

    def _send(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(data, addr)


def table(rows: Sequence[tuple[Oid, bytes]], *, fewer: int = 0) -> Callable[[Request], Response]:
    """An honest agent over sorted rows; with ``fewer``, GETBULK gives at most that many."""

    def answer(request: Request) -> Response:
        if request.kind == GET:
            known = dict(rows)
            return Response([(oid, known.get(oid, NO_SUCH_OBJECT)) for oid in request.oids])
        asked = request.oids[0]
        most = 1 if request.kind == GETNEXT else min(request.most, fewer or request.most)
        after = [row for row in rows if row[0] > asked][:most]
        return Response(after or [(asked, END_OF_MIB_VIEW)])

    return answer
