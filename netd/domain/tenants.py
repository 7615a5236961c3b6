"""Tenants: the providers that this netd serves. Only its own operator, that is the tenant ``default``, sees more than itself.

These operations take the owner's database, which no policy confines.
"""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from netd.domain import audit, inputs, paging, tokens
from netd.domain.actor import Actor, system
from netd.domain.paging import Page, PageQuery
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


async def page(owner: Database, query: PageQuery, *, name: str | None = None) -> Page[Tenant]:
    """Tenants by id."""
    after = paging.position(query, "tenant") or 0
    async with owner.acquire() as conn:
        found = await store.page(conn, after=after, limit=query.limit + 1, name=name)
        total = await store.count(conn, name=name) if query.count else None
    return paging.page(found, query, "tenant", total)


async def rename(owner: Database, actor: Actor, tenant_id: int, patch: TenantPatch) -> Tenant:
    """Give a tenant another name. Raises NotFound; Conflict if the name is taken."""
    async with owner.transaction(actor.scope) as conn:
        before = await _held(conn, tenant_id)
        after = await store.rename(conn, tenant_id, patch.name)
        if after is None:
            raise NotFound("tenant", tenant_id)
        old, new = audit.changes(before, after)
        await audit.record(conn, actor, "tenant.update", "tenant", tenant_id, before=old, after=new)
    return after


async def _held(conn: Connection, tenant_id: int) -> Tenant:
    tenant = await store.get(conn, tenant_id) if 0 < tenant_id <= inputs.ROW_ID_MAX else None
    if tenant is None:
        raise NotFound("tenant", tenant_id)
    return tenant
