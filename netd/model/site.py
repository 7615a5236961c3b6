"""How a tenant's network is divided: organizations, and the sites that belong to them."""

from datetime import datetime

import msgspec


class Organization(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the provider's business: a region, a subsidiary, a reseller. What holds in it holds in those below it."""

    id: int
    tenant_id: int
    name: str
    parent_id: int | None
    parent: str | None
    note: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A place of the network."""

    id: int
    tenant_id: int
    name: str
    organization_id: int | None
    organization: str | None
    note: str | None
    version: int
    created_at: datetime
    updated_at: datetime
