"""The octets of the accounting journal. Pure; which file they are in is ``radius.journal``'s affair. A segment is::

    magic (16 octets) | length (4) | check (8) | JSON: journal, node, names of the members of what follows
    "\\xa7rec" | length (4) | check (8) | sequence (8) | MessagePack [kind, [values]]      again and again

All numbers are big endian. The check is BLAKE2b of sequence and payload under the journal's id: what was left of another file, zeros, or what a peer
wrote into an attribute is never taken for a record. A torn tail ends a segment. Behind damage in the middle, reading goes on at the next record
whose check is right: records are independent of each other, and each was acknowledged.
"""

import hashlib
import struct
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from netd.model.accounting import Record
from netd.radius.record import AccountingSwitch

Item = Record | AccountingSwitch

FAMILY: Final = b"netd journal "
MAGIC: Final = FAMILY + b"1\n\0"
MARK: Final = b"\xa7rec"
LONGEST_RECORD: Final = 64 << 10
"""No packet makes a record near this; a longer length is damage."""

LONGEST_HEADER: Final = 64 << 10

_TOP: Final = struct.Struct(">I8s")
_HEAD: Final = struct.Struct(">4sI8sQ")
_SEQUENCE: Final = struct.Struct(">Q")
_KINDS: Final[tuple[type[Item], ...]] = (Record, AccountingSwitch)
NAMES: Final[tuple[tuple[str, ...], ...]] = (Record.__struct_fields__, AccountingSwitch._fields)
"""The members of a Record and of an AccountingSwitch, in the order of their values."""

HEAD: Final = _HEAD.size
"""Octets of a record before its payload."""

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment says of itself. ``names`` are the members of a Record and of an AccountingSwitch, in the order of the values:
    another version of netd leaves out those that it does not know, and gives those that are missing their defaults."""

    journal: str
    node: str
    made_at: float
    names: tuple[tuple[str, ...], ...]


def encode_header(header: Header) -> bytes:
    """The beginning of a segment."""
    text = msgspec.json.encode(header)
    return MAGIC + _TOP.pack(len(text), hashlib.blake2b(text, digest_size=8).digest()) + text


def decode_header(data: bytes) -> tuple[Header, int] | None:
    """The header and where records begin; None if ``data`` does not begin with a whole and undamaged one."""
    start = len(MAGIC) + _TOP.size
    if not data.startswith(MAGIC) or len(data) < start:
        return None
    length, check = _TOP.unpack_from(data, len(MAGIC))
    text = data[start : start + length]
    if length > LONGEST_HEADER or len(text) < length or hashlib.blake2b(text, digest_size=8).digest() != check:
        return None
    try:
        header = msgspec.json.decode(text, type=Header)
        uuid.UUID(header.journal)
    except (msgspec.DecodeError, ValueError):
        return None
    return (header, start + length) if len(header.names) == len(_KINDS) else None


def encode_record(key: bytes, sequence: int, item: Item) -> bytes:
    """A record; ``key`` is the journal's id (16 octets)."""
    values = msgspec.structs.astuple(item) if isinstance(item, Record) else tuple(item)
    payload = _pack((_KINDS.index(type(item)), values))
    return _HEAD.pack(MARK, len(payload), _check(key, _SEQUENCE.pack(sequence), payload), sequence) + payload


def decode_records(data: bytes, at: int, key: bytes) -> Iterator[tuple[int, bytes, int]]:
    """(sequence, payload, end) of every record in ``data`` from ``at`` on whose check is right; what is damaged in between is left out."""
    while True:
        at = data.find(MARK, at)
        if at < 0 or at + _HEAD.size > len(data):
            return
        _, length, check, sequence = _HEAD.unpack_from(data, at)
        body = at + _HEAD.size
        payload = data[body : body + length] if length <= LONGEST_RECORD else b""
        if len(payload) == length and _check(key, data[body - _SEQUENCE.size : body], payload) == check:
            at = body + length
            yield sequence, payload, at
        else:
            at += 1


def decode_payload(names: Sequence[Sequence[str]], payload: bytes) -> Item | None:
    """What a record says, None if this version of netd cannot make sense of it."""
    try:
        kind, values = _unpack(payload)
        members: dict[str, Any] = dict(zip(names[kind], values, strict=True))
        if tuple(names[kind]) != NAMES[kind]:
            members = {name: value for name, value in members.items() if name in NAMES[kind]}
        item: Item = _KINDS[kind](**members)
    except (msgspec.DecodeError, TypeError, ValueError, IndexError):
        return None
    return item


def _check(key: bytes, sequence: bytes, payload: bytes) -> bytes:
    hasher = hashlib.blake2b(sequence, digest_size=8, key=key)
    hasher.update(payload)
    return hasher.digest()
