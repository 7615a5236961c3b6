"""The providers that one netd serves."""

from datetime import datetime

import msgspec


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A provider with subscribers, plans, NASes, users and tokens of its own. RADIUS requests belong to the tenant of their NAS."""

    id: int
    name: str
    version: int
    created_at: datetime
