"""Attribute definitions, read from text in FreeRADIUS's dictionary syntax (version 3).

``parse`` takes the texts; whoever composes reads the files, so ``$INCLUDE`` is refused. Texts are read in the order given: an attribute comes
after its vendor and after the attribute that it stands in; a VALUE may come before its attribute.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from netd.errors import ConfigError
from netd.wire.framing import NO_LIMIT, Element, ExtendedVendor, Layer, Oid, Vendor, dotted, layout
from netd.wire.values import ALIASES, CONTAINERS, DATA_TYPES, INTEGERS, DataType, Value


class Attribute(msgspec.Struct, frozen=True, kw_only=True):
    """One definition.

    ``vendor`` is 0 for the standard space; ``path`` are the codes below it: (8,), (241, 8), for a vendor's (1,) or, in one of its TLVs, (1, 2).
    ``oid`` is the whole way from the top of a packet: 26 and the vendor before the path of a vendor's attribute; for RFC 6929's vendor space
    path and oid are both (241, 26, vendor, code). ``names`` is ``values`` turned round, the last name of a number counting.
    """

    name: str
    vendor: int = 0
    path: tuple[int, ...]
    oid: Oid
    type: str
    size: int | None = None
    has_tag: bool = False
    encrypt: int = 0
    concat: bool = False
    array: bool = False
    secret: bool = False
    values: Mapping[str, int] = msgspec.field(default_factory=dict)
    names: Mapping[int, str] = msgspec.field(default_factory=dict)

    @property
    def data_type(self) -> DataType:
        return DATA_TYPES[self.type]

    @property
    def plain(self) -> bool:
        """Whether its content is its value and nothing else: the value's octets, always the same ones."""
        odd = self.has_tag or self.encrypt or self.concat or self.array or self.size is not None or self.type in CONTAINERS
        return not odd and self.data_type.exact


_RAW_NAME: Final = re.compile(r"(?:vendor-([0-9]{1,10})-)?attr-([0-9]{1,10}(?:\.[0-9]{1,10}){0,15})", re.IGNORECASE | re.ASCII)


def raw_name(oid: Oid) -> str:
    """Name content without a definition, or not fitting it: ``Attr-99``, ``Attr-241.9``, ``Vendor-9-Attr-3``, ``Attr-241.26.9.3``."""
    if oid[0] == 26 and len(oid) > 2:
        return f"Vendor-{oid[1]}-Attr-{dotted(oid[2:])}"
    return f"Attr-{dotted(oid)}"


class Dictionary:
    """All definitions.

    Two tables spare most attributes the long way: ``plain[code]`` is name and decoder of a standard attribute that needs no more than that, else
    None; ``plain_names[name]`` is code and encoder of one.
    """

    def __init__(self, attributes: Iterable[Attribute], vendors: Mapping[int, Vendor]) -> None:
        self.vendors = vendors
        self._names: dict[str, Attribute] = {}
        self._oids: dict[Oid, Attribute] = {}
        for attribute in attributes:
            self._names[attribute.name.casefold()] = attribute
            self._oids[attribute.oid] = attribute
        self._layouts = {a.oid: self._layout(a) for a in self._names.values()}
        plain: list[tuple[str, Callable[[bytes], Value]] | None] = [None] * 256
        for oid, attribute in self._oids.items():
            if len(oid) == 1 and attribute.plain:
                plain[oid[0]] = (attribute.name, attribute.data_type.decode)
        self.plain: Final = tuple(plain)
        self.plain_names: Final = {a.name: (a.oid[0], a.data_type.encode) for a in self if len(a.oid) == 1 and a.plain}

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Attribute]:
        return iter(self._names.values())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.casefold() in self._names

    def attribute(self, name: str) -> Attribute:
        """Find by name, in any case and without a tag. Raw names (``Attr-99``, ``Vendor-9-Attr-3``) are always known, as octets; else LookupError."""
        found = self._names.get(name.casefold())
        if found is not None:
            return found
        raw = _RAW_NAME.fullmatch(name)
        if raw is None:
            raise LookupError(f"unknown attribute {name}")
        codes = tuple(int(code) for code in raw[2].split("."))
        oid = (26, int(raw[1]), *codes) if raw[1] else codes
        try:
            layout(oid, self._type_of, self.vendors)
        except ValueError as error:
            raise LookupError(f"unknown attribute {name}: {error}") from None
        return self.raw(oid)

    def by_code(self, vendor: int, *path: int) -> Attribute | None:
        """Find by codes as in :class:`Attribute`: ``(0, 1)``, ``(0, 241, 8)``, ``(14988, 8)``. None if there is no definition."""
        if not vendor or (path[0] in range(241, 247) and path[1:3] == (26, vendor)):
            return self._oids.get(path)
        return self._oids.get((26, vendor, *path))

    def by_oid(self, oid: Oid) -> Attribute | None:
        """Find by the whole way from the top of a packet."""
        return self._oids.get(oid)

    def raw(self, oid: Oid) -> Attribute:
        """Make up an attribute that holds the octets at ``oid``, defined or not."""
        return _attribute(raw_name(oid), oid, "octets")

    def layers(self, attribute: Attribute) -> tuple[Layer, ...]:
        """Return the headers around its value, outermost first. ValueError for an attribute of another dictionary."""
        layers = self._layouts.get(attribute.oid)
        if layers is None or attribute is not self._oids.get(attribute.oid):
            layers = self._layout(attribute)
        return layers

    def _type_of(self, oid: Oid) -> str | None:
        attribute = self._oids.get(oid)
        return None if attribute is None else attribute.type

    def _layout(self, attribute: Attribute) -> tuple[Layer, ...]:
        layers = layout(attribute.oid, self._type_of, self.vendors)
        if attribute.concat:
            layers = (msgspec.structs.replace(layers[0], limit=NO_LIMIT, piece=layers[0].limit),)
        return (*layers, Element()) if attribute.array else layers


def parse(sources: Iterable[tuple[str, str]]) -> Dictionary:
    """Read (file name, text) pairs. The first fault raises ConfigError with the file, ``line N`` and what is wrong.

    A name may be defined again with the same code (the last definition counts, and keeps the VALUEs of those before); a code may have several
    names (the last one is what it decodes to).
    """
    parser = _Parser()
    for source, text in sources:
        parser.read(source, text)
    return parser.finish()


def _attribute(name: str, oid: Oid, kind: str, vendor_space: bool = False) -> Attribute:
    if oid[0] == 26 and len(oid) > 2:
        return Attribute(name=name, vendor=oid[1], path=oid[2:], oid=oid, type=kind)
    return Attribute(name=name, vendor=oid[2] if vendor_space else 0, path=oid, oid=oid, type=kind)


_NUMBER: Final = re.compile(r"0x[0-9a-f]{1,16}|-?[0-9]{1,20}", re.IGNORECASE | re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./+-]*")
_TYPE: Final = re.compile(r"([a-z0-9-]+)(?:\[([0-9]{1,3})\])?")
_FORMAT: Final = re.compile(r"format=([124]),([012])(,c)?")
_TAGGABLE: Final = frozenset(("string", "octets", "integer"))


class _Value(NamedTuple):
    source: str
    line: int
    attribute: str
    name: str
    number: int


class _Block(NamedTuple):
    """An open BEGIN-VENDOR or BEGIN-TLV: what its END must say, what codes in it stand under."""

    keyword: str
    name: str
    prefix: Oid


class _Parser:
    def __init__(self) -> None:
        self._attributes: dict[str, Attribute] = {}
        self._oids: dict[Oid, Attribute] = {}
        self._vendors: dict[int, Vendor] = {}
        self._vendor_names: dict[str, Vendor] = {}
        self._values: list[_Value] = []
        self._blocks: list[_Block] = []
        self._source = ""
        self._line = 0
        self._keywords = {
            "ATTRIBUTE": self._define, "VALUE": self._value, "VENDOR": self._vendor, "BEGIN-VENDOR": self._begin_vendor,
            "END-VENDOR": self._end, "BEGIN-TLV": self._begin_tlv, "END-TLV": self._end, "$INCLUDE": self._include, "$INCLUDE-": self._include,
        }  # fmt: skip

    def read(self, source: str, text: str) -> None:
        self._source = source
        self._line = 0
        for line in text.split("\n"):
            self._line += 1
            words = line.partition("#")[0].split()
            if not words:
                continue
            handle = self._keywords.get(words[0].upper())
            if handle is None:
                raise self._fault(f"unknown keyword {words[0]}")
            try:
                handle(words)
            except ValueError as error:
                raise self._fault(str(error)) from None
        if self._blocks:
            block = self._blocks.pop()
            raise self._fault(f"BEGIN-{block.keyword} {block.name} has no END-{block.keyword}")

    def finish(self) -> Dictionary:
        for value in self._values:
            attribute = self._attributes.get(value.attribute.casefold())
            self._source, self._line = value.source, value.line
            if attribute is None:
                raise self._fault(f"VALUE of an unknown attribute {value.attribute}")
            self._add_value(attribute, value)
        return Dictionary(self._attributes.values(), self._vendors)

    def _fault(self, reason: str) -> ConfigError:
        return ConfigError(self._source, f"line {self._line}", reason)

    def _include(self, words: list[str]) -> None:
        raise ValueError("$INCLUDE is not followed: each dictionary file is listed by itself")

    def _define(self, words: list[str]) -> None:
        """``ATTRIBUTE name code type [flags]``"""
        if len(words) < 4:
            raise ValueError("ATTRIBUTE takes a name, a code, a type and maybe flags")
        name, folded = words[1], words[1].casefold()
        if not _NAME.fullmatch(name) or _RAW_NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of an attribute")
        prefix = self._blocks[-1].prefix if self._blocks else ()
        oid = prefix + tuple(_number(code) for code in words[2].split("."))
        layers = layout(oid, self._type_of, self._vendors)
        if oid[0] == 0 or (oid[0] == 26 and len(oid) > 2 and oid[1] not in self._vendors):
            raise ValueError(f"code {words[2]} is not that of a known vendor's attribute" if oid[0] else "code 0 is reserved")
        attribute = _flagged(_typed(name, oid, words[3].lower(), layers), ",".join(words[4:]))
        old = self._attributes.get(folded)
        if old is not None and old.oid != oid:
            raise ValueError(f"{name} is already defined, with code {dotted(old.oid)}")
        if old is not None:
            attribute = msgspec.structs.replace(attribute, values=old.values, names=old.names)
        there = self._oids.get(oid)
        if there is not None and there.type in CONTAINERS and there.type != attribute.type:
            raise ValueError(f"code {words[2]} is already {there.name}, which holds other attributes")
        self._attributes.pop(folded, None)  # the order tells which of two names of one code came last
        self._attributes[folded] = self._oids[oid] = attribute

    def _type_of(self, oid: Oid) -> str | None:
        attribute = self._oids.get(oid)
        return None if attribute is None else attribute.type

    def _value(self, words: list[str]) -> None:
        """``VALUE attribute name number``"""
        if len(words) != 4:
            raise ValueError("VALUE takes an attribute, a name and a number")
        self._values.append(_Value(self._source, self._line, words[1], words[2], _number(words[3])))

    def _add_value(self, attribute: Attribute, value: _Value) -> None:
        if attribute.type not in INTEGERS:
            raise self._fault(f"{attribute.name} is of type {attribute.type}, which has no named values")
        values, names = attribute.values, attribute.names
        assert isinstance(values, dict)
        assert isinstance(names, dict)
        if values.get(value.name, value.number) != value.number:
            raise self._fault(f"{value.name} is already {values[value.name]}")
        try:
            attribute.data_type.encode(value.number)
        except ValueError as error:
            raise self._fault(str(error)) from None
        values[value.name] = value.number
        names[value.number] = value.name

    def _vendor(self, words: list[str]) -> None:
        """``VENDOR name number [format=type octets,length octets[,c]]``"""
        if not 3 <= len(words) <= 4:
            raise ValueError("VENDOR takes a name, a number and maybe a format")
        form = _FORMAT.fullmatch(words[3]) if len(words) == 4 else None
        if len(words) == 4 and (form is None or (form[3] and (form[1], form[2]) != ("1", "1"))):
            raise ValueError(f"{words[3]} is not a format like format=1,1 (type 1, 2 or 4 octets, length 0, 1 or 2; ,c with 1,1 only)")
        number = _number(words[2])
        if not 0 < number <= 0xFFFFFFFF:
            raise ValueError(f"vendor {number} is not in 1..4294967295")
        vendor = Vendor(number, words[1], int(form[1]), int(form[2]), bool(form[3])) if form else Vendor(number, words[1])
        named, numbered = self._vendor_names.get(words[1].casefold()), self._vendors.get(number)
        if named is not None and named.id != number:
            raise ValueError(f"{words[1]} is already vendor {named.id}")
        if numbered is not None and msgspec.structs.replace(numbered, name=vendor.name) != vendor:
            raise ValueError(f"vendor {number} is already defined, with another format")
        self._vendor_names[words[1].casefold()] = vendor
        self._vendors[number] = vendor

    def _begin_vendor(self, words: list[str]) -> None:
        """``BEGIN-VENDOR name [format=Extended-Vendor-Specific-N]`` (or ``parent=``, as later versions write it)"""
        if not 2 <= len(words) <= 3 or self._blocks:
            raise ValueError("BEGIN-VENDOR takes a vendor's name and maybe a format, outside any other block")
        vendor = self._vendor_names.get(words[1].casefold())
        if vendor is None:
            raise ValueError(f"unknown vendor {words[1]}")
        prefix: Oid = (26, vendor.id)
        if len(words) == 3:
            option, _, parent = words[2].partition("=")
            space = self._attributes.get(parent.casefold())
            if option not in ("format", "parent") or space is None or space.type not in ("evs", "vsa"):
                raise ValueError(f"{words[2]} does not name a vendor-specific attribute")
            prefix = (*space.oid, vendor.id)
        self._blocks.append(_Block("VENDOR", words[1], prefix))

    def _begin_tlv(self, words: list[str]) -> None:
        """``BEGIN-TLV name``"""
        tlv = self._attributes.get(words[1].casefold()) if len(words) == 2 else None
        if tlv is None or tlv.type != "tlv":
            raise ValueError("BEGIN-TLV takes the name of an attribute of type tlv")
        self._blocks.append(_Block("TLV", words[1], tlv.oid))

    def _end(self, words: list[str]) -> None:
        """``END-VENDOR name``, ``END-TLV name``"""
        keyword = words[0].upper().removeprefix("END-")
        block = self._blocks[-1] if self._blocks else None
        if len(words) != 2 or block is None or (block.keyword, block.name.casefold()) != (keyword, words[1].casefold()):
            raise ValueError(f"{' '.join(words)} closes nothing" if block is None else f"END-{block.keyword} {block.name} is needed first")
        self._blocks.pop()


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text} is not a number")
    return int(text, 16) if text[:2].lower() == "0x" else int(text)


def _typed(name: str, oid: Oid, text: str, layers: tuple[Layer, ...]) -> Attribute:
    found = _TYPE.fullmatch(text)
    kind = ALIASES.get(found[1], found[1]) if found else ""
    if found is None or kind not in DATA_TYPES:
        raise ValueError(f"unknown type {text}")
    if found[2] and kind not in ("octets", "string"):
        raise ValueError(f"{kind} takes no length")
    places = {"vsa": oid == (26,), "evs": len(oid) == 2 and oid[0] > 240, "extended": len(oid) == 1, "long-extended": len(oid) == 1}
    if not places.get(kind, True):
        raise ValueError(f"{dotted(oid)} cannot be of type {kind}")
    attribute = _attribute(name, oid, kind, vendor_space=any(isinstance(layer, ExtendedVendor) for layer in layers))
    return msgspec.structs.replace(attribute, size=int(found[2])) if found[2] else attribute


def _flagged(attribute: Attribute, flags: str) -> Attribute:
    """Apply ``has_tag,encrypt=2`` and the like, refusing those that make no sense for the attribute."""
    changes: dict[str, bool | int] = {}
    for flag in filter(None, flags.split(",")):
        if flag in ("has_tag", "concat", "array", "secret"):
            changes[flag] = True
        elif flag in ("encrypt=1", "encrypt=2", "encrypt=3"):
            changes["encrypt"] = int(flag[-1])
            changes["secret"] = True
        else:
            raise ValueError(f"unknown flag {flag}")
    attribute = msgspec.structs.replace(attribute, **changes)
    if attribute.has_tag and (attribute.type not in _TAGGABLE or attribute.encrypt in (1, 3)):
        raise ValueError("has_tag goes with string, octets and integer only, and not with encrypt=1 or 3")
    if attribute.concat and (len(attribute.oid) > 1 or attribute.type != "octets" or attribute.size is not None):
        raise ValueError("concat goes with octets of the standard space only")
    if attribute.concat and (attribute.has_tag or attribute.encrypt or attribute.array):
        raise ValueError("concat goes with no other flag")
    if attribute.array and (attribute.data_type.size is None or attribute.has_tag or attribute.encrypt):
        raise ValueError("array goes with types of one length only, without other flags")
    if attribute.encrypt and attribute.type in CONTAINERS:
        raise ValueError("what holds other attributes cannot be encrypted")
    return attribute
