"""JSON schemas of the API's types, as components of an OpenAPI 3.1 document (JSON Schema 2020-12)."""

import types
from collections.abc import Iterable
from datetime import datetime
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

TEMPLATE = "#/components/schemas/{name}"


class AnyAddress:
    """Stands for IPv4Address | IPv6Address, which msgspec cannot describe as two types."""


class AnyNetwork:
    """Stands for IPv4Network | IPv6Network."""


_FORMS: dict[type, dict[str, Any]] = {
    IPv4Address: {"type": "string", "format": "ipv4"},
    IPv6Address: {"type": "string", "format": "ipv6"},
    IPv4Network: {"type": "string", "format": "ipv4-prefix", "examples": ["192.0.2.0/24"]},
    IPv6Network: {"type": "string", "format": "ipv6-prefix", "examples": ["2001:db8::/48"]},
    IPv4Interface: {"type": "string", "format": "ipv4-prefix"},
    IPv6Interface: {"type": "string", "format": "ipv6-prefix"},
    AnyAddress: {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
    AnyNetwork: {"type": "string", "anyOf": [{"format": "ipv4-prefix"}, {"format": "ipv6-prefix"}], "examples": ["192.0.2.0/24"]},
}
_PAIRS: tuple[tuple[set[Any], type], ...] = (
    ({IPv4Address, IPv6Address}, AnyAddress),
    ({IPv4Network, IPv6Network}, AnyNetwork),
)


def components(kinds: Iterable[Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A schema (mostly a reference) per kind, in order, and the components they refer to."""
    describe = _Describable()
    schemas, found = msgspec.json.schema_components([describe(kind) for kind in kinds], schema_hook=_form, ref_template=TEMPLATE)
    return list(schemas), found


def _form(kind: type) -> dict[str, Any]:
    if kind in _FORMS:
        return _FORMS[kind]
    raise NotImplementedError(f"{kind.__name__} has no schema")


class _Describable:
    """Rewrites types so that msgspec describes them fully: address unions become one stand-in type, times get their format.

    A struct with such a field is described by a mirror of the same name.
    """

    def __init__(self) -> None:
        self._mirrors: dict[type, type] = {}

    def __call__(self, kind: Any) -> Any:
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and get_origin(kind) is None:
            return self._mirror(kind)
        if kind is datetime:
            return Annotated[datetime, msgspec.Meta(tz=True)]
        arguments = get_args(kind)
        if not arguments:
            return kind
        origin = get_origin(kind)
        if origin in (Union, types.UnionType):
            return self._union(arguments)
        if origin is Annotated:
            if arguments[0] is datetime:  # says itself whether it has an offset
                return kind
            return Annotated[(self(arguments[0]), *arguments[1:])]
        if isinstance(origin, type):
            rewritten = tuple(argument if argument is Ellipsis else self(argument) for argument in arguments)
            return kind if rewritten == arguments else origin[rewritten]  # type: ignore[index]
        return kind  # Literal

    def _union(self, arguments: tuple[Any, ...]) -> Any:
        members = [self(argument) for argument in arguments]
        for pair, stand_in in _PAIRS:
            if pair <= set(members):
                members = [stand_in, *(member for member in members if member not in pair)]
        return Union[tuple(members)]  # noqa: UP007 (the members are only known now)

    def _mirror(self, kind: type[msgspec.Struct]) -> type:
        if kind in self._mirrors:
            return self._mirrors[kind]
        self._mirrors[kind] = kind
        hints = get_type_hints(kind, include_extras=True)
        rewritten = {name: self(hint) for name, hint in hints.items() if name in kind.__struct_fields__}
        if all(rewritten[name] is hints[name] or rewritten[name] == hints[name] for name in rewritten):
            return kind
        fields: list[tuple[str, Any, Any]] = [
            (each.name, rewritten[each.name], msgspec.field(default=each.default, default_factory=each.default_factory, name=each.encode_name))  # type: ignore[call-overload]
            for each in msgspec.structs.fields(kind)
        ]
        self._mirrors[kind] = msgspec.defstruct(
            kind.__name__,
            fields,
            module=kind.__module__,
            namespace={"__doc__": kind.__doc__},
            kw_only=True,
            forbid_unknown_fields=kind.__struct_config__.forbid_unknown_fields,
        )
        return self._mirrors[kind]
