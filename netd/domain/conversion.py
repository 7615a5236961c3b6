"""From JSON's own types to values: addresses and prefixes are text, times lie within bounds, and a bad input is told with all its faults.

msgspec stops at the first fault, which is right while inputs are good; only a bad one is walked member by member.
"""

import re
import types
from collections.abc import Iterator, Mapping
from datetime import datetime
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import UnsetType

from netd.domain import inputs
from netd.errors import Fault, InvalidInput

T = TypeVar("T")

INTERNET_TYPES = (IPv4Address, IPv6Address, IPv4Network, IPv6Network, IPv4Interface, IPv6Interface)

_NUMBER = re.compile(r"\s*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\s*")
MOST = 100
"""Faults told of one input; a body of a megabyte of nonsense needs no longer answer."""


def to_text(value: object) -> str:
    """For msgspec's enc_hook. Raises NotImplementedError."""
    if isinstance(value, INTERNET_TYPES):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")


def from_text(kind: type, value: object) -> object:
    """For msgspec's dec_hook. Raises ValueError, NotImplementedError."""
    if kind not in INTERNET_TYPES:
        raise NotImplementedError(f"{kind.__name__} has no JSON form")
    if not isinstance(value, str):
        raise ValueError(f"Expected `str`, got `{type(value).__name__}`")  # msgspec adds the path to ValueErrors
    return kind(value)


def convert(value: object, kind: type[T], *, strict: bool = True) -> T:
    """A validated ``kind`` from JSON's own types; not ``strict``: from texts, as a query string has them. Raises msgspec.ValidationError."""
    if not strict:
        _written_out(value, kind)
    return bounded(msgspec.convert(value, kind, strict=strict, dec_hook=from_text))


def _written_out(value: object, kind: Any) -> None:
    """Raise msgspec.ValidationError for a time that is a number, which msgspec takes for seconds since 1970 where it reads texts."""
    if isinstance(value, Mapping) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for _, told in _dated(kind):
            if _NUMBER.fullmatch(str(value.get(told, ""))):
                raise msgspec.ValidationError(f"Invalid RFC3339 encoded datetime - at `$.{told}`")
    elif isinstance(value, str) and _NUMBER.fullmatch(value) and _may_date(kind):
        raise msgspec.ValidationError("Invalid RFC3339 encoded datetime")


def decode(data: bytes, kind: type[T]) -> T:
    """A validated ``kind`` from a JSON document. Raises msgspec.ValidationError for what does not fit, msgspec.DecodeError for what is not JSON."""
    return bounded(msgspec.json.decode(data, type=kind, dec_hook=from_text))


def bounded(value: T) -> T:
    """``value`` itself, if all times in it are ones that can be worked with; msgspec has no bounds for them. Raises msgspec.ValidationError."""
    for path, at in _moments(value):
        try:
            inputs.moment(at)
        except ValueError as error:
            raise msgspec.ValidationError(f"{error} - at `${path}`" if path else str(error)) from None
    return value


def _moments(value: object, path: str = "") -> Iterator[tuple[str, datetime]]:
    """The times in a value, each with its path as msgspec writes it."""
    if isinstance(value, datetime):
        yield path, value
    elif isinstance(value, msgspec.Struct):
        for name, told in _dated(type(value)):
            yield from _moments(getattr(value, name), f"{path}.{told}")
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _moments(item, f"{path}[{place}]")
    elif isinstance(value, dict):
        for item in value.values():
            yield from _moments(item, f"{path}[...]")


_DATED: dict[type[msgspec.Struct], tuple[tuple[str, str], ...]] = {}


def _dated(kind: type[msgspec.Struct]) -> tuple[tuple[str, str], ...]:
    """The members that may have times in them, with their names in JSON: what a caller may nest as he likes is not among them."""
    if kind not in _DATED:
        fields = msgspec.structs.fields(kind)
        _DATED[kind] = tuple((each.name, each.encode_name) for each in fields)  # for one that has itself as a member
        _DATED[kind] = tuple((each.name, each.encode_name) for each in fields if _may_date(each.type))
    return _DATED[kind]


def _may_date(kind: Any) -> bool:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return bool(_dated(kind))
    return kind is datetime or any(map(_may_date, get_args(kind)))


def plain(value: object) -> Any:
    """``value`` as JSON's own types."""
    return msgspec.to_builtins(value, enc_hook=to_text)


def checked(value: Mapping[str, Any], kind: type[T], where: str = "") -> T:
    """A validated ``kind``. Raises InvalidInput with all that is wrong, ``where`` being the pointer to ``value`` itself."""
    try:
        return convert(value, kind)
    except msgspec.ValidationError as error:
        found = faults(value, kind) or [validation_fault(str(error))]
        raise InvalidInput([Fault(where + fault.where, fault.what) for fault in found]) from None


def faults(value: object, kind: Any, *, strict: bool = True) -> list[Fault]:
    """What keeps ``value``, made of JSON's own types, from being a ``kind``; empty if nothing does. ``strict`` as msgspec.convert takes it."""
    return _faults(value, kind, strict)[:MOST]


def _faults(value: object, kind: Any, strict: bool) -> list[Fault]:
    try:
        convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        return _inside(value, _bare(kind, value), strict) or [_choice(validation_fault(str(error)), value, kind)]
    return []


def _choice(fault: Fault, value: object, kind: Any) -> Fault:
    """The fault itself; of a word that is none of a few, with those that are."""
    return fault if fault.where or not fault.what.startswith("Invalid enum value") else Fault("", none_of(value, kind))


def none_of(value: object, kind: Any) -> str:
    """What is wrong with a word where there are only a few."""
    return f"{value!r} is none of {', '.join(sorted(map(str, _words(kind))))}"


def _words(kind: Any) -> Iterator[object]:
    if get_origin(kind) is Literal:
        yield from get_args(kind)
    elif get_origin(kind) is Annotated:
        yield from _words(get_args(kind)[0])
    elif get_origin(kind) in (Union, types.UnionType):
        for member in get_args(kind):
            yield from _words(member)


def _inside(value: object, kind: Any, strict: bool) -> list[Fault]:
    """The faults of what ``value`` holds."""
    if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _of_struct(value, kind, strict)
    if isinstance(value, list) and get_origin(kind) in (list, tuple):
        arguments = get_args(kind)
        if get_origin(kind) is list or arguments[-1] is Ellipsis:
            return [fault for place, item in enumerate(value) for fault in _below(str(place), _faults(item, arguments[0], strict))]
    return []


def _of_struct(value: dict[str, Any], kind: type[msgspec.Struct], strict: bool) -> list[Fault]:
    found: list[Fault] = []
    known = set()
    for field in msgspec.structs.fields(kind):
        known.add(field.encode_name)
        if field.encode_name in value:
            found += _below(field.encode_name, _faults(value[field.encode_name], field.type, strict))
        elif field.required:
            found.append(Fault(pointer(field.encode_name), "is missing"))
    if kind.__struct_config__.forbid_unknown_fields:
        found += [Fault(pointer(name), "is not known here") for name in value if name not in known]
    return found


def _below(name: str, found: list[Fault]) -> list[Fault]:
    return [Fault(pointer(name) + fault.where, fault.what) for fault in found]


def _bare(kind: Any, value: object) -> Any:
    """The type that ``value`` was most likely meant to be: constraints off, and of alternatives the one of its form."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, types.UnionType):
        members = [_bare(member, value) for member in get_args(kind) if member not in (type(None), UnsetType)]
        fitting = [member for member in members if _holds(member) is type(value)]
        if len(fitting) == 1:
            return fitting[0]
    return kind


def _holds(kind: Any) -> type | None:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return dict
    return list if get_origin(kind) in (list, tuple) else None


def pointer(*names: str) -> str:
    """The JSON pointer (RFC 6901) through members of these names."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)


_PLACE = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`\$(?P<path>[^`]*)`)?$", re.DOTALL)
_MEMBER = re.compile(r"^Object (?:missing required|contains unknown) field `(?P<name>.*)`$", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+|\.\.\.)\]")


def validation_fault(text: str) -> Fault:
    """msgspec's only fault in words, its place (``$.locks[0].mode``) as JSON pointer; a missing or unknown member is pointed at, too."""
    match = _PLACE.match(text)
    assert match is not None  # the pattern takes any text
    what = match["what"]
    names = [step["name"] or ("*" if step["index"] == "..." else step["index"]) for step in _STEP.finditer(match["path"] or "")]
    if member := _MEMBER.match(what):
        names.append(member["name"])
    return Fault(pointer(*names), inputs.in_words(what))
