"""Attributes of a packet as names and values, and back.

What :func:`decode` accepts :func:`encode` turns into the same octets again. Three things on the wire do not show in names and values and are
kept beside them: which attributes share a container, where a long one is cut, and octets that another program would write otherwise
(:class:`Decoded`). The reverse is plain: a list of (name, value) has one encoding.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import md5
from typing import Final, NamedTuple

import msgspec

from netd.errors import WireError
from netd.wire.dictionary import Attribute, Dictionary, raw_name
from netd.wire.framing import Oid, Vendor, Writer, usual_splits
from netd.wire.passwords import pap_decrypt, pap_encrypt, salt_decrypt, salt_encrypt
from netd.wire.radius import split
from netd.wire.values import CONTAINERS, Value, from_text, to_text

__all__ = ["Avp", "Decoded", "Value", "decode", "encode", "from_text", "to_text"]

Avp = tuple[str, Value]
"""Dictionary name, ``:tag`` appended for a tagged one, and value."""


class Decoded(msgspec.Struct, frozen=True):
    """One attribute of a received packet.

    What has no definition, or does not fit its own, is named by its codes (``Attr-99``, ``Vendor-9-Attr-3``) and has its octets for a value.
    An encrypted attribute without the secret to read it keeps its name and has its octets for a value.

    ``tag`` is 1 to 31; 0 is an unused tag octet before a string. ``secret``: the value is something that was encrypted. The rest is for
    encoding it again as it was: ``joined`` is the number of containers, outermost first, that it shares with the attribute before it;
    ``content`` the value's octets, where encoding the value would give others; ``splits`` the lengths of its pieces, where they are not the
    usual ones.
    """

    name: str
    value: Value
    tag: int | None = None
    joined: int = 0
    content: bytes | None = None
    splits: tuple[int, ...] = ()
    secret: bool = False

    @property
    def avp(self) -> Avp:
        """Name with its tag, and value."""
        return (f"{self.name}:{self.tag}" if self.tag else self.name), self.value

    def __repr__(self) -> str:
        return f"Decoded({self.avp[0]!r}, {'***' if self.secret else repr(self.value)})"


def encode(
    dictionary: Dictionary,
    avps: Iterable[Avp | Decoded],
    secret: bytes = b"",
    authenticator: bytes = b"",
    salts: Iterator[bytes] | None = None,
) -> bytes:
    """Encode in order: whole attributes, each with type and length, long ones cut, sub-attributes of one TLV that follow each other together.

    ``secret``, ``authenticator`` (the request's, 16 octets) and ``salts`` (two octets each, no two alike; the first bit is set here) are for
    attributes that are sent encrypted. LookupError: unknown name; ValueError: a value that the attribute cannot hold, or nothing to encrypt with.
    """
    writer = Writer()
    plain = dictionary.plain_names
    for avp in avps:
        if type(avp) is tuple and (entry := plain.get(avp[0])):
            try:
                writer.add_plain(entry[0], entry[1](avp[1]))
            except ValueError as error:
                raise ValueError(f"{avp[0]}: {error}") from None
            continue
        item = avp if isinstance(avp, Decoded) else _item(*avp)
        attribute = dictionary.attribute(item.name)
        try:
            octets = item.content
            if octets is None:
                octets = _octets(attribute, item.value, item.tag, secret, authenticator, salts)
            writer.add(dictionary.layers(attribute), octets, item.joined if item is avp else None, item.splits)
        except ValueError as error:
            raise ValueError(f"{item.name}: {error}") from None
    return writer.finish()


def decode(dictionary: Dictionary, data: bytes, secret: bytes = b"", authenticator: bytes = b"") -> list[Decoded]:
    """Decode the attributes of a packet (what follows its header), in order.

    ``secret`` and ``authenticator`` (of the request, for a reply too) decrypt what is encrypted. WireError ``attribute_length`` if the
    attributes do not fill ``data``; nothing inside an attribute is an error.
    """
    outer = split(data)
    reader = _Reader(dictionary, secret, authenticator)
    plain, found = dictionary.plain, reader.found
    at = 0
    while at < len(outer):
        code, octets = outer[at]
        entry = plain[code]
        if entry is None:
            at += reader.odd(outer, at)
            continue
        try:
            found.append(Decoded(entry[0], entry[1](octets)))
        except ValueError:
            found.append(Decoded(f"Attr-{code}", octets))
        at += 1
    return found


def _item(name: str, value: Value) -> Decoded:
    plain, colon, tag = name.partition(":")
    if colon and not (tag.isascii() and tag.isdigit() and int(tag) <= _LAST_TAG):
        raise ValueError(f"{name}: a tag is a number from 0 to {_LAST_TAG}")
    return Decoded(plain, value, int(tag) if colon else None)


_LAST_TAG: Final = 0x1F


def _octets(attribute: Attribute, value: Value, tag: int | None, secret: bytes, authenticator: bytes, salts: Iterator[bytes] | None) -> bytes:
    """Encode what stands after the headers: tag, salt, value."""
    if tag is not None and not (attribute.has_tag and 0 <= tag <= _LAST_TAG):
        raise ValueError(f"it takes no tag {tag}")
    octets = attribute.data_type.encode(value)
    if attribute.size is not None and len(octets) != attribute.size:
        raise ValueError(f"{attribute.size} octets are needed, not {len(octets)}")
    if attribute.encrypt:
        octets = _encrypted(attribute, octets, secret, authenticator, salts)
    if not attribute.has_tag:
        return octets
    if attribute.type == "integer" and not attribute.encrypt:
        if octets[0]:
            raise ValueError("with a tag the highest number is 16777215")
        return bytes((tag or 0,)) + octets[1:]
    if tag is None and not attribute.encrypt and (not octets or octets[0] > _LAST_TAG):
        return octets
    return bytes((tag or 0,)) + octets


def _encrypted(attribute: Attribute, octets: bytes, secret: bytes, authenticator: bytes, salts: Iterator[bytes] | None) -> bytes:
    if attribute.encrypt == 3:
        raise ValueError("Ascend's own encryption is not supported")
    if not secret or len(authenticator) != 16:
        raise ValueError("it is sent encrypted: the secret and the request's authenticator are needed")
    try:
        if attribute.encrypt == 1:
            return pap_encrypt(octets, md5(secret), authenticator)
        salt = next(salts, b"") if salts is not None else b""
        if len(salt) != 2:
            raise ValueError("it is sent encrypted: a salt of two octets is needed")
        return salt_encrypt(octets, secret, authenticator, bytes((salt[0] | 0x80, salt[1])))
    except WireError as error:
        raise ValueError(str(error)) from None


class _Reader:
    """Takes apart the attributes that are more than a value of fixed form."""

    def __init__(self, dictionary: Dictionary, secret: bytes, authenticator: bytes) -> None:
        self.found: list[Decoded] = []
        self._dictionary = dictionary
        self._secret = secret if len(authenticator) == 16 else b""
        self._authenticator = authenticator

    def odd(self, outer: Sequence[tuple[int, bytes]], at: int) -> int:
        """Decode the attribute at ``at`` and those that continue it; returns how many these are."""
        code, octets = outer[at]
        attribute = self._dictionary.by_oid((code,))
        if attribute is None:
            self._raw((code,), octets)
            return 1
        if attribute.concat:
            return self._concat(attribute, outer, at)
        if attribute.type == "vsa":
            return self._vendor(outer, at)
        if attribute.type == "long-extended":
            return self._long(outer, at)
        if attribute.type == "extended" and octets:
            self._extended((code, octets[0]), octets[1:], ())
        else:
            self._content((code,), octets)
        return 1

    def _raw(self, oid: Oid, octets: bytes, joined: int = 0, splits: tuple[int, ...] = ()) -> None:
        self.found.append(Decoded(raw_name(oid), octets, None, joined, None, splits))

    def _concat(self, attribute: Attribute, outer: Sequence[tuple[int, bytes]], at: int) -> int:
        code = outer[at][0]
        pieces = []
        while at < len(outer) and outer[at][0] == code:
            pieces.append(outer[at][1])
            at += 1
        self._content((code,), b"".join(pieces), splits=_unusual(pieces, 253))
        return len(pieces)

    def _long(self, outer: Sequence[tuple[int, bytes]], at: int) -> int:
        """RFC 6929 2.2. Pieces that do not belong together, or reserved flags: the attribute as it is."""
        code, octets = outer[at]
        pieces = []
        for other, piece in outer[at:]:
            if other != code or len(piece) < 2 or piece[0] != octets[0] or piece[1] & 0x7F:
                break
            pieces.append(piece[2:])
            if not piece[1]:
                self._extended((code, octets[0]), b"".join(pieces), _unusual(pieces, 251))
                return len(pieces)
        self._raw((code,), octets)
        return 1

    def _extended(self, oid: Oid, octets: bytes, splits: tuple[int, ...]) -> None:
        attribute = self._dictionary.by_oid(oid)
        if attribute is not None and attribute.type == "evs" and len(octets) >= 5:
            self._content((*oid, int.from_bytes(octets[:4], "big"), octets[4]), octets[5:], depth=1, splits=splits)
        else:
            self._content(oid, octets, splits=splits)

    def _vendor(self, outer: Sequence[tuple[int, bytes]], at: int) -> int:
        """RFC 2865 5.26. What does not divide into sub-attributes stays whole, as Attr-26."""
        octets = outer[at][1]
        number = int.from_bytes(octets[:4], "big")
        vendor = self._dictionary.vendors.get(number) or Vendor(number)
        parts = _sub_attributes(vendor, octets[4:]) if number else []
        if len(parts) == 1 and parts[0].more:
            return self._continued(vendor, outer, at)
        if not parts or any(part.more for part in parts):
            self._raw((26,), octets)
            return 1
        joined = 0
        for part in parts:
            self._content((26, number, part.code), part.value, joined, depth=1)
            joined = 1
        return 1

    def _continued(self, vendor: Vendor, outer: Sequence[tuple[int, bytes]], at: int) -> int:
        """Join a sub-attribute whose continuation octet says that the next attribute goes on with it."""
        first = outer[at][1]
        pieces = []
        for code, octets in outer[at:]:
            parts = _sub_attributes(vendor, octets[4:]) if code == 26 and octets[:5] == first[:5] else []
            if len(parts) != 1:
                break
            pieces.append(parts[0].value)
            if not parts[0].more:
                self._content((26, vendor.id, first[4]), b"".join(pieces), depth=1, splits=_unusual(pieces, 249 - vendor.header))
                return len(pieces)
        self._raw((26,), first)
        return 1

    def _content(self, oid: Oid, octets: bytes, joined: int = 0, depth: int = 0, splits: tuple[int, ...] = ()) -> None:
        """Decode the octets at ``oid``, inside ``depth`` containers, the first ``joined`` of them shared with the attribute before."""
        attribute = self._dictionary.by_oid(oid)
        parts: list[tuple[int, bytes]] = []
        if attribute is not None and attribute.type == "tlv":
            parts = _tlvs(octets)
        for code, part in parts:
            self._content((*oid, code), part, joined, depth + 1, splits)
            joined, splits = depth + 1, ()
        if parts:
            return
        if attribute is None or attribute.type in CONTAINERS:
            self._raw(oid, octets, joined, splits)
            return
        elements = [octets]
        if attribute.array and octets:
            size = attribute.data_type.size or len(octets)
            elements = [octets[start : start + size] for start in range(0, len(octets), size)]
        try:
            values = [self._value(attribute, element) for element in elements]
        except ValueError:
            self._raw(oid, octets, joined, splits)
            return
        for value, tag, content in values:
            self.found.append(Decoded(attribute.name, value, tag, joined, content, splits, attribute.encrypt > 0))
            joined, splits = depth + 1, ()

    def _value(self, attribute: Attribute, octets: bytes) -> tuple[Value, int | None, bytes | None]:
        """Decode value, tag, and the octets if encoding would give others. ValueError: they are not what the attribute holds."""
        if attribute.encrypt:
            return self._encrypted(attribute, octets)
        tag = None
        body = octets
        if attribute.has_tag and octets and octets[0] <= _LAST_TAG:
            if attribute.type == "integer":
                tag, body = octets[0] or None, b"\0" + octets[1:]
            else:
                tag, body = octets[0], octets[1:]
        elif attribute.has_tag and attribute.type == "integer":
            raise ValueError
        value = _sized(attribute, body)
        same = attribute.data_type.exact or attribute.data_type.encode(value) == body
        return value, tag, None if same else octets

    def _encrypted(self, attribute: Attribute, octets: bytes) -> tuple[Value, int | None, bytes | None]:
        if not self._secret or attribute.encrypt == 3:
            return octets, None, octets
        tag = None
        body = octets
        if attribute.has_tag:
            tag, body = (octets[0] if octets and octets[0] <= _LAST_TAG else 0) or None, octets[1:]
        try:
            if attribute.encrypt == 2:
                return _sized(attribute, salt_decrypt(body, self._secret, self._authenticator)), tag, None
            clear = pap_decrypt(body, md5(self._secret), self._authenticator)
        except WireError as error:
            raise ValueError(str(error)) from None
        size = attribute.size or attribute.data_type.size or 0
        return _sized(attribute, clear.ljust(size, b"\0")), tag, None


def _sized(attribute: Attribute, octets: bytes) -> Value:
    if attribute.size is not None and len(octets) != attribute.size:
        raise ValueError
    return attribute.data_type.decode(octets)


class _Part(NamedTuple):
    code: int
    value: bytes
    more: bool


def _sub_attributes(vendor: Vendor, octets: bytes) -> list[_Part]:
    """Divide the content of attribute 26 after the vendor; nothing if it does not divide."""
    parts = []
    at, end = 0, len(octets)
    header, types = vendor.header, vendor.type_octets
    lengths = types + vendor.length_octets
    while at < end:
        if end - at < header:
            return []
        length = int.from_bytes(octets[at + types : at + lengths], "big") if vendor.length_octets else end - at
        flags = octets[at + lengths] if vendor.continuation else 0
        if not header <= length <= end - at or flags & 0x7F:
            return []
        parts.append(_Part(int.from_bytes(octets[at : at + types], "big"), octets[at + header : at + length], flags > 0))
        at += length
    return parts


def _tlvs(octets: bytes) -> list[tuple[int, bytes]]:
    """Divide the content of a TLV; nothing if it does not divide."""
    try:
        return split(octets)
    except WireError:
        return []


def _unusual(pieces: Sequence[bytes], size: int) -> tuple[int, ...]:
    splits = tuple(map(len, pieces))
    return () if splits == usual_splits(sum(splits), size) else splits
