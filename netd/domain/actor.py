"""Who does something: stands in every audit row."""

from typing import Literal

import msgspec

Role = Literal["admin", "operator", "read_only"]


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """The caller of an operation and its tenant; every query is confined to ``tenant_id``."""

    tenant_id: int
    name: str
    role: Role
    token_id: int | None = None
    address: str | None = None
    request_id: str | None = None


def system(tenant_id: int, name: str = "netd") -> Actor:
    """The daemon itself, for what it does on its own account."""
    return Actor(tenant_id=tenant_id, name=name, role="admin")
