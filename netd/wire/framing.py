"""How attributes nest, and where a long one is cut.

An attribute's *layout* is the layers around its value, outermost first: those above the last are containers that may hold several
attributes (a vendor's 26, a TLV), the last one is the attribute's own header. ``netd.wire.attributes`` writes and reads them.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

NO_LIMIT: Final = 1 << 30  # it is cut into pieces instead


class Vendor(msgspec.Struct, frozen=True):
    """A vendor and the form of its sub-attributes: octets of type and length, and whether a continuation octet follows (WiMAX)."""

    id: int
    name: str = ""
    type_octets: int = 1
    length_octets: int = 1
    continuation: bool = False

    @property
    def header(self) -> int:
        """Octets before a sub-attribute's value."""
        return self.type_octets + self.length_octets + self.continuation


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One header around a body.

    ``header`` is its length, ``limit`` the most octets the body may have, ``piece`` what a longer one is cut into (0: it never is).
    ``delimited``: it says where its body ends, so that another may follow it in the same container.
    """

    code: int
    header: int
    limit: int
    piece: int = 0
    delimited: bool = True

    def wrap(self, body: bytes, more: bool = False) -> bytes:
        """Put the header before the body, or before one piece of it: ``more`` if others follow."""
        raise NotImplementedError


class Plain(Layer, frozen=True, kw_only=True):
    """An attribute of RFC 2865. With ``piece`` as many of them as it takes, like EAP-Message (RFC 3579 3.1)."""

    header: int = 2
    limit: int = 253

    def wrap(self, body: bytes, more: bool = False) -> bytes:
        return bytes((self.code, len(body) + 2)) + body


class Extended(Layer, frozen=True, kw_only=True):
    """RFC 6929 2.1: type 241 to 244 and an extended type."""

    extended: int
    header: int = 3
    limit: int = 252

    def wrap(self, body: bytes, more: bool = False) -> bytes:
        return bytes((self.code, len(body) + 3, self.extended)) + body


class LongExtended(Layer, frozen=True, kw_only=True):
    """RFC 6929 2.2: type 245 or 246, an extended type, a flag "more follows"; the pieces' values are one value."""

    extended: int
    header: int = 4
    limit: int = NO_LIMIT
    piece: int = 251

    def wrap(self, body: bytes, more: bool = False) -> bytes:
        return bytes((self.code, len(body) + 4, self.extended, 0x80 * more)) + body


class ExtendedVendor(Layer, frozen=True, kw_only=True):
    """RFC 6929 2.4: vendor and type before the value of an extended attribute; it ends where that ends."""

    vendor: int
    header: int = 5
    limit: int = NO_LIMIT
    delimited: bool = False

    def wrap(self, body: bytes, more: bool = False) -> bytes:
        return self.vendor.to_bytes(4, "big") + bytes((self.code,)) + body


class VendorSpecific(Layer, frozen=True, kw_only=True):
    """Attribute 26 (RFC 2865 5.26) around a vendor's sub-attributes."""

    vendor: int
    code: int = 26
    header: int = 6
    limit: int = 249

    def wrap(self, body: bytes, more: bool = False) -> bytes:
        return bytes((26, len(body) + 6)) + self.vendor.to_bytes(4, "big") + body


class SubAttribute(Layer, frozen=True, kw_only=True):
    """A vendor's sub-attribute, in the vendor's form. Each piece of a cut one stands in an attribute 26 of its own."""

    vendor: Vendor

    def wrap(self, body: bytes, more: bool = False) -> bytes:
        vendor = self.vendor
        head = self.code.to_bytes(vendor.type_octets, "big")
        if vendor.length_octets:
            head += (len(body) + self.header).to_bytes(vendor.length_octets, "big")
        return head + (b"\x80" if more else b"\0") * vendor.continuation + body


class Tlv(Layer, frozen=True, kw_only=True):
    """A TLV inside another attribute: one octet of type, one of length (RFC 6929 2.3)."""

    header: int = 2
    limit: int = 253

    def wrap(self, body: bytes, more: bool = False) -> bytes:
        return bytes((self.code, len(body) + 2)) + body


class Element(Layer, frozen=True, kw_only=True):
    """One of the values of an ``array`` attribute: no header, its type tells its length."""

    code: int = 0
    header: int = 0
    limit: int = 253

    def wrap(self, body: bytes, more: bool = False) -> bytes:
        return body


Oid = tuple[int, ...]
"""Codes from the packet's top inwards: (1,), (26, vendor, code), (241, 8), (241, 26, vendor, code), and TLV codes after these."""


def cut(body: bytes, size: int, splits: tuple[int, ...] = ()) -> list[bytes]:
    """Cut into pieces of ``size``, or as ``splits`` says if that is their total; an empty body is one empty piece."""
    pieces = []
    at = 0
    if splits and sum(splits) == len(body) and max(splits) <= size:
        for length in splits:
            pieces.append(body[at : at + length])
            at += length
        return pieces
    return [body[at : at + size] for at in range(0, len(body), size)] or [body]


def usual_splits(total: int, size: int) -> tuple[int, ...]:
    """The lengths of the pieces that :func:`cut` makes unless told otherwise."""
    return (size,) * (total // size) + ((total % size,) if total % size or not total else ())


def layout(oid: Oid, type_of: Callable[[Oid], str | None], vendors: Mapping[int, Vendor]) -> tuple[Layer, ...]:
    """Work out the layers of ``oid``. ValueError says what in it cannot be: a code out of range, a parent that holds no attributes."""
    code = _octet(oid[0])
    layers: list[Layer]
    if code == 26 and len(oid) > 1:
        if len(oid) == 2 or not 0 < oid[1] <= 0xFFFFFFFF:
            raise ValueError(f"{dotted(oid)} needs a vendor of 1 to 4294967295 and a code after 26")
        layers = _vendor_layers(vendors.get(oid[1]) or Vendor(oid[1]), oid[2])
    elif len(oid) == 1:
        layers = [Plain(code=code)]
    elif (kind := type_of(oid[:1])) == "extended":
        layers = [Extended(code=code, extended=_octet(oid[1]))]
    elif kind == "long-extended":
        layers = [LongExtended(code=code, extended=_octet(oid[1]))]
    else:
        layers = [Plain(code=code)]
    at = 3 if isinstance(layers[0], VendorSpecific) else 1 if isinstance(layers[0], Plain) else 2
    if at == 2 and len(oid) > 2 and type_of(oid[:2]) == "evs":
        if len(oid) == 3:
            raise ValueError(f"{dotted(oid)} needs a vendor and a code")
        layers.append(ExtendedVendor(vendor=_within(oid[2], 1 << 32), code=_octet(oid[3])))
        at = 4
    for depth in range(at, len(oid)):
        if type_of(oid[:depth]) != "tlv":
            raise ValueError(f"{dotted(oid[:depth])} is not of a type that holds attributes")
        layers.append(Tlv(code=_octet(oid[depth])))
    return tuple(layers)


def _vendor_layers(vendor: Vendor, code: int) -> list[Layer]:
    room = 249 - vendor.header
    limit, piece = (NO_LIMIT, room) if vendor.continuation else (room, 0)
    _within(code, 256**vendor.type_octets)
    return [
        VendorSpecific(vendor=vendor.id),
        SubAttribute(code=code, vendor=vendor, header=vendor.header, limit=limit, piece=piece, delimited=vendor.length_octets > 0),
    ]


class _Open:
    """A container being filled."""

    __slots__ = ("body", "layer", "splits")

    def __init__(self, layer: Layer, splits: tuple[int, ...]) -> None:
        self.layer = layer
        self.splits = splits
        self.body = bytearray()


class Writer:
    """Puts attributes into their containers, keeping one open as long as the next may share it."""

    def __init__(self) -> None:
        self._out = bytearray()
        self._open: list[_Open] = []

    def add(self, layers: tuple[Layer, ...], octets: bytes, joined: int | None = None, splits: tuple[int, ...] = ()) -> None:
        """Add one attribute. ``joined``: at most so many containers are shared with the one before; None: those that usually are."""
        leaf = layers[-1]
        if len(octets) > leaf.limit:
            raise ValueError(f"{len(octets)} octets do not fit, {leaf.limit} are the most")
        self._close(self._shared(layers, joined))
        while self._open and not self._fits(sum(layer.header for layer in layers[len(self._open) :]) + len(octets)):
            self._close(len(self._open) - 1)
        for layer in layers[len(self._open) : -1]:
            self._open.append(_Open(layer, splits))
        self._emit(leaf, octets, splits)

    def add_plain(self, code: int, octets: bytes) -> None:
        """Add one that stands in no container and is never cut."""
        if len(octets) > 253:
            raise ValueError(f"{len(octets)} octets do not fit, 253 are the most")
        if self._open:
            self._close(0)
        self._out += bytes((code, len(octets) + 2)) + octets

    def finish(self) -> bytes:
        """Close what is open; returns all attributes."""
        self._close(0)
        return bytes(self._out)

    def _shared(self, layers: tuple[Layer, ...], joined: int | None) -> int:
        """Count the open containers that the attribute goes into."""
        shared = 0
        for box, layer in zip(self._open, layers[:-1], strict=False):
            if box.layer != layer:
                break
            shared += 1
        if joined is not None:
            shared = min(shared, joined)
        elif shared and isinstance(layers[shared - 1], VendorSpecific):
            shared = 0  # some devices read only the first sub-attribute of a Vendor-Specific attribute
        return shared if layers[shared].delimited else 0

    def _fits(self, size: int) -> bool:
        for box in reversed(self._open):
            size += len(box.body)
            if box.layer.piece and size > box.layer.piece:
                return True  # it will be cut, outside of the containers around it
            if size > box.layer.limit:
                return False
            size += box.layer.header
        return True

    def _close(self, keep: int) -> None:
        while len(self._open) > keep:
            box = self._open.pop()
            if box.body:
                self._emit(box.layer, bytes(box.body), box.splits)

    def _emit(self, layer: Layer, body: bytes, splits: tuple[int, ...]) -> None:
        into = self._open[-1].body if self._open else self._out
        pieces = cut(body, layer.piece, splits) if layer.piece else [body]
        if len(pieces) == 1:
            into += layer.wrap(body)
            return
        for at, piece in enumerate(pieces, 1):
            wrapped = layer.wrap(piece, more=at < len(pieces))
            if isinstance(layer, SubAttribute):
                self._flush_vendor()
                wrapped = self._open[0].layer.wrap(wrapped)
            self._out += wrapped

    def _flush_vendor(self) -> None:
        """Write out what stands in the open Vendor-Specific attribute, for the pieces of a cut sub-attribute each need one of their own."""
        box = self._open[0]
        if box.body:
            self._out += box.layer.wrap(bytes(box.body))
            box.body.clear()


def dotted(oid: Oid) -> str:
    return ".".join(map(str, oid))


def _octet(code: int) -> int:
    return _within(code, 256)


def _within(code: int, end: int) -> int:
    if not 0 <= code < end:
        raise ValueError(f"code {code} is not in 0..{end - 1}")
    return code
