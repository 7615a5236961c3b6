"""API tokens without what opens anything."""

from datetime import datetime

import msgspec


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """An API token; its text was shown once, when it was made. ``public_id`` is the second part of that text, to tell tokens apart.

    It holds in the whole tenant, or in what one of the ids names; ``permissions`` narrows what the role allows.
    """

    id: int
    tenant_id: int
    public_id: str
    name: str
    role: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    organization_id: int | None = None
    site_id: int | None = None
    subscriber_id: int | None = None
    permissions: tuple[str, ...] | None = None
