"""Tenants: the providers that this netd serves. Only its own operator, that is the tenant ``default``, sees more than itself.

These operations take the owner's database, which no policy confines.
"""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from netd.domain import audit, inputs, lists, tokens
from netd.domain.actor import Actor, system
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.tokens import NewToken
from netd.errors import NotFound
from netd.model.tenant import Tenant
from netd.store import tenants as store
from netd.store.database import Connection, Database

TenantName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="lower-case letters, digits and hyphens")]


class NewTenant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tenant to be made."""

    name: TenantName


class TenantPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a tenant."""

    name: TenantName


class MadeTenant(msgspec.Struct, frozen=True, kw_only=True):
    """A new tenant, and its first token, of the role admin, which is shown this once."""

    tenant: Tenant
    token: str

    def __repr__(self) -> str:
        return inputs.hidden(self, "token")


async def create(owner: Database, actor: Actor, new: NewTenant, now: datetime) -> MadeTenant:
    """Make a tenant and its first token. Raises Conflict if the name is taken."""
    async with owner.transaction(actor.scope) as conn:
        tenant = await store.insert(conn, new.name)
        await audit.record(conn, actor, "tenant.create", "tenant", tenant.id, after=audit.values(tenant))
        issued = await tokens.issue(conn, system(tenant.id, actor.name), NewToken(name="admin", role="admin"), now)
    return MadeTenant(tenant=tenant, token=issued.text)


async def get(owner: Database, tenant_id: int) -> Tenant:
    """The tenant. Raises NotFound."""
    async with owner.acquire() as conn:
        return await _held(conn, tenant_id)


TenantQuery = lists.query_type(store.LISTING)


async def page(owner: Database, query: ListQuery) -> Page[Tenant]:
    """Tenants, by id unless the query says otherwise. Raises InvalidInput."""
    async with owner.transaction() as conn:
        return await lists.page(conn, store.LISTING, 0, query, store.of)


async def rename(owner: Database, actor: Actor, tenant_id: int, patch: TenantPatch, *, version: int | None = None) -> Tenant:
    """Give a tenant another name. Raises NotFound; Conflict if the name is taken, or on another ``version``."""
    async with owner.transaction(actor.scope) as conn:
        before = await _held(conn, tenant_id, lock=True)
        inputs.same_version("tenant", before.version, version)
        after = await store.rename(conn, tenant_id, patch.name)
        if after is None:
            raise NotFound("tenant", tenant_id)
        old, new = audit.changes(before, after)
        await audit.record(conn, actor, "tenant.update", "tenant", tenant_id, before=old, after=new)
    return after


async def _held(conn: Connection, tenant_id: int, *, lock: bool = False) -> Tenant:
    tenant = await store.get(conn, tenant_id, lock=lock) if 0 < tenant_id <= inputs.ROW_ID_MAX else None
    if tenant is None:
        raise NotFound("tenant", tenant_id)
    return tenant
