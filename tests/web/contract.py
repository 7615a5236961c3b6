"""What schemathesis must be told besides the description (SCHEMATHESIS_HOOKS): how lines of JSON are written, and what no API hears of."""

import json
from typing import Any

import schemathesis

LINE_OCTETS = 60_000
"""Above this the HTTP parser refuses a request line before there is a route that could answer: not a matter of the contract."""


@schemathesis.serializer("application/x-ndjson")
def lines(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """A text as it stands, whatever else as one line of JSON."""
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else json.dumps(value, default=str).encode()


@schemathesis.hook
def filter_query(context: schemathesis.HookContext, query: dict[str, Any]) -> bool:
    """Leave out queries that make too long a line; a character may become twelve octets of it."""
    return sum(len(str(name)) + 3 * len(str(value).encode("utf-8", "surrogatepass")) for name, value in (query or {}).items()) < LINE_OCTETS
