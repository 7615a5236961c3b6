"""JSON as the API speaks it: msgspec, with addresses and prefixes as text and times in RFC 3339 with ``Z``."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import TypeVar

import msgspec

T = TypeVar("T")

INTERNET_TYPES = (IPv4Address, IPv6Address, IPv4Network, IPv6Network, IPv4Interface, IPv6Interface)


def _to_text(value: object) -> str:
    if isinstance(value, INTERNET_TYPES):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")


def _from_text(kind: type, value: object) -> object:
    if kind not in INTERNET_TYPES:
        raise NotImplementedError(f"{kind.__name__} has no JSON form")
    if not isinstance(value, str):
        raise ValueError(f"Expected `str`, got `{type(value).__name__}`")  # msgspec adds the path to ValueErrors
    return kind(value)


_encoder = msgspec.json.Encoder(enc_hook=_to_text)


def encode(value: object) -> bytes:
    """One JSON document."""
    return _encoder.encode(value)


def decode(data: bytes, kind: type[T]) -> T:
    """A validated ``kind``. Raises msgspec.ValidationError for what does not fit, msgspec.DecodeError for what is not JSON."""
    return msgspec.json.decode(data, type=kind, dec_hook=_from_text)


def plain(data: bytes) -> object:
    """The document as JSON's own types. Raises msgspec.DecodeError for what is not JSON."""
    return msgspec.json.decode(data)


def convert(value: object, kind: type[T], *, strict: bool = True) -> T:
    """A validated ``kind`` from JSON's own types; not ``strict``: from texts, as a query string has them (``"true"``, ``"12"``)."""
    return msgspec.convert(value, kind, strict=strict, dec_hook=_from_text)


def convert_text(values: Mapping[str, str], kind: type[T]) -> T:
    """A validated ``kind`` from texts, as a query string or a path has them (``"true"``, ``"12"``)."""
    return convert(values, kind, strict=False)
