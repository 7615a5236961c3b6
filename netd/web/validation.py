"""All that is wrong with an input. msgspec stops at the first fault, which is right while inputs are good; only a bad one is walked member by member."""

import types
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import UnsetType

from netd.errors import Fault
from netd.web import codec
from netd.web.api.problem import pointer, validation_fault

MOST = 100
"""Faults told of one input; a body of a megabyte of nonsense needs no longer answer."""


def faults(value: object, kind: Any, *, strict: bool = True) -> list[Fault]:
    """What keeps ``value``, made of JSON's own types, from being a ``kind``; empty if nothing does. ``strict`` as msgspec.convert takes it."""
    return _faults(value, kind, strict)[:MOST]


def _faults(value: object, kind: Any, strict: bool) -> list[Fault]:
    try:
        codec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        return _inside(value, _bare(kind, value), strict) or [validation_fault(str(error))]
    return []


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
