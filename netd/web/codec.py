"""JSON as the API speaks it: msgspec, with addresses and prefixes as text and times in RFC 3339 with ``Z``."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from netd.domain import conversion
from netd.domain.conversion import convert, to_text

T = TypeVar("T")

_encoder = msgspec.json.Encoder(enc_hook=to_text)


def encode(value: object) -> bytes:
    """One JSON document."""
    return _encoder.encode(value)


def decode(data: bytes, kind: type[T]) -> T:
    """A validated ``kind``. Raises msgspec.ValidationError for what does not fit, msgspec.DecodeError for what is not JSON."""
    return conversion.decode(data, kind)


def plain(data: bytes) -> object:
    """The document as JSON's own types. Raises msgspec.DecodeError for what is not JSON."""
    return msgspec.json.decode(data)


def convert_text(values: Mapping[str, str], kind: type[T]) -> T:
    """A validated ``kind`` from texts, as a query string or a path has them (``"true"``, ``"12"``)."""
    return convert(values, kind, strict=False)
