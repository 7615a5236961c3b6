"""Roles: permissions under a name."""

from datetime import datetime

import msgspec

from netd.model.permission import within


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A role of a tenant. ``permissions`` is empty in the store for a built-in one, whose permissions are netd's own; ``allows`` has them."""

    id: int
    tenant_id: int
    name: str
    title: str
    built_in: bool
    permissions: tuple[str, ...]
    version: int
    created_at: datetime
    updated_at: datetime

    @property
    def allows(self) -> frozenset[str]:
        """What the role may."""
        return within(self.name, self.built_in, self.permissions, None)
