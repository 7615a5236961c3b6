"""An SNMP agent that is not there (RFC 3416, community-based versions 1 and 2c): datagrams in, datagrams out, from a table of objects."""

from bisect import bisect_right
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Final, NamedTuple

Oid = tuple[int, ...]

INTEGER, OCTETS, NULL, OBJECT, SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30
ADDRESS, COUNTER32, GAUGE32, TICKS, COUNTER64 = 0x40, 0x41, 0x42, 0x43, 0x46
NO_SUCH_OBJECT, END_OF_VIEW = 0x80, 0x82
GET, GET_NEXT, RESPONSE, GET_BULK = 0xA0, 0xA1, 0xA2, 0xA5
NO_SUCH_NAME: Final = 2
MOST_OCTETS: Final = 1400
MOST_VARBINDS: Final = 400
SYS_UPTIME: Final[Oid] = (1, 3, 6, 1, 2, 1, 1, 3, 0)
_TYPES: Final = {"2": INTEGER, "4": OCTETS, "4x": OCTETS, "6": OBJECT, "64": ADDRESS, "65": COUNTER32, "66": GAUGE32, "67": TICKS, "70": COUNTER64}


class Object(NamedTuple):
    """An object's type and value: int, octets, or the numbers of an OID."""

    tag: int
    value: int | bytes | Oid


def objects(snmprec: str) -> dict[Oid, Object]:
    """What an ``agent.snmprec`` holds. Raises ValueError, KeyError for a type that is not known."""
    found = {}
    for line in snmprec.splitlines():
        if not line or line.startswith("#"):
            continue
        name, kind, text = line.split("|", 2)
        tag = _TYPES[kind]
        value: int | bytes | Oid
        if kind == "4x":
            value = bytes.fromhex(text)
        elif kind == "4":
            value = text.encode("latin-1")
        elif kind == "64":
            value = IPv4Address(text).packed
        else:
            value = tuple(map(int, text.strip(".").split("."))) if kind == "6" else int(text)
        found[tuple(map(int, name.split(".")))] = Object(tag, value)
    return found


class Agent:
    """Answers for one device. ``rates`` is what counters grow by in a second when time is let pass."""

    def __init__(self, table: Mapping[Oid, Object], community: str, rates: Mapping[Oid, float] | None = None) -> None:
        self._table = dict(table)
        self._names = sorted(self._table)
        self._community = community.encode()
        self._rates = dict(rates or {})
        self.asked = 0

    def put(self, name: Oid, found: Object) -> None:
        """Set an object, or add it."""
        if name not in self._table:
            self._names.insert(bisect_right(self._names, name), name)
        self._table[name] = found

    def elapse(self, seconds: float) -> None:
        """Let time pass: sysUpTime and the counters that have a rate go on, and wrap where their type ends."""
        for name, rate in {**self._rates, SYS_UPTIME: 100.0}.items():
            found = self._table.get(name)
            if found is not None and isinstance(found.value, int):
                self._table[name] = found._replace(value=(found.value + int(rate * seconds)) % (1 << (64 if found.tag == COUNTER64 else 32)))

    def answer(self, datagram: bytes) -> bytes | None:
        """The answer; None to what is malformed, of another version or another community, as agents do."""
        try:
            message = _parts(_tlv(datagram, 0)[1])
            (_, version), (_, community), (kind, pdu) = message
            (_, request), (_, first), (_, second), (_, varbinds) = _parts(pdu)
            names = [_oid(_parts(varbind)[0][1]) for _, varbind in _parts(varbinds)]
        except (IndexError, ValueError):
            return None
        number = int.from_bytes(version, "big")
        if community != self._community or number not in {0, 1} or kind not in {GET, GET_NEXT, GET_BULK}:
            return None
        self.asked += 1
        if kind == GET_BULK:
            found = self._bulk(names, int.from_bytes(first, "big"), int.from_bytes(second, "big"))
        else:
            found = [self._get(name) if kind == GET else self._next(name) for name in names]
        status, index = 0, 0
        if number == 0 and any(item.tag in {NO_SUCH_OBJECT, END_OF_VIEW} for _, item in found):
            status, index = NO_SUCH_NAME, 1 + next(place for place, (_, item) in enumerate(found) if item.tag in {NO_SUCH_OBJECT, END_OF_VIEW})
            found = [(name, Object(NULL, b"")) for name in names]
        body = b"".join(_wrap(SEQUENCE, _encode(Object(OBJECT, name)) + _encode(item)) for name, item in found)
        answer = _wrap(INTEGER, request) + _integer(INTEGER, status) + _integer(INTEGER, index) + _wrap(SEQUENCE, body)
        return _wrap(SEQUENCE, _wrap(INTEGER, version) + _wrap(OCTETS, community) + _wrap(RESPONSE, answer))

    def _get(self, name: Oid) -> tuple[Oid, Object]:
        return name, self._table.get(name, Object(NO_SUCH_OBJECT, b""))

    def _next(self, name: Oid) -> tuple[Oid, Object]:
        place = bisect_right(self._names, name)
        return (name, Object(END_OF_VIEW, b"")) if place == len(self._names) else (self._names[place], self._table[self._names[place]])

    def _bulk(self, names: list[Oid], alone: int, repetitions: int) -> list[tuple[Oid, Object]]:
        """As much as a datagram holds."""
        found = [self._next(name) for name in names[:alone]]
        columns = names[alone:]
        octets = 0
        for _ in range(repetitions):
            row = [self._next(name) for name in columns]
            octets += sum(len(_encode(Object(OBJECT, name))) + len(_encode(item)) + 4 for name, item in row)
            if found and (octets > MOST_OCTETS or len(found) + len(row) > MOST_VARBINDS):
                break
            found += row
            columns = [name for name, _ in row]
            if all(item.tag == END_OF_VIEW for _, item in row):
                break
        return found


def _tlv(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Tag, content, and where the next one begins. Raises IndexError, ValueError."""
    tag, length, at = data[at], data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, at = int.from_bytes(data[at : at + size], "big"), at + size
    if at + length > len(data):
        raise ValueError("shorter than it says")
    return tag, data[at : at + length], at + length


def _parts(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at < len(data):
        tag, content, at = _tlv(data, at)
        found.append((tag, content))
    return found


def _oid(data: bytes) -> Oid:
    arcs = [*divmod(min(data[0], 119), 40)] if data[0] < 120 else [2, data[0] - 80]
    value = 0
    for octet in data[1:]:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    return tuple(arcs)


def _wrap(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _integer(tag: int, value: int) -> bytes:
    return _wrap(tag, value.to_bytes((value if value >= 0 else ~value).bit_length() // 8 + 1, "big", signed=True))


def _encode(item: Object) -> bytes:
    if isinstance(item.value, int):
        return _integer(item.tag, item.value)
    if isinstance(item.value, bytes):
        return _wrap(item.tag, item.value)
    out = bytearray((item.value[0] * 40 + item.value[1],))
    for arc in item.value[2:]:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        out += bytes(reversed(groups))
    return _wrap(item.tag, bytes(out))
