"""API tokens without what opens anything."""

from datetime import datetime
from typing import Literal

import msgspec


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """An API token; its text was shown once, when it was made. ``public_id`` is the second part of that text, to tell tokens apart."""

    id: int
    tenant_id: int
    public_id: str
    name: str
    role: Literal["admin", "operator", "read_only"]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
