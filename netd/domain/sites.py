"""Organizations and sites: how a tenant's network is divided, and where permissions can hold."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from netd.domain import audit, inputs, lists
from netd.domain.actor import Actor
from netd.domain.inputs import Faults, Label, Note, given
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.errors import NotFound
from netd.model.site import Organization, Site
from netd.store import sites as store
from netd.store.database import Connection, Database


class NewSite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A site to be made; ``organization`` is a name."""

    name: Label
    organization: Label | None = None
    note: Note | None = None


class SitePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a site; null takes a value away."""

    name: Label | UnsetType = UNSET
    organization: Label | UnsetType | None = UNSET
    note: Note | UnsetType | None = UNSET


class NewOrganization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An organization to be made; ``parent`` is the name of the one that it belongs to."""

    name: Label
    parent: Label | None = None
    note: Note | None = None


class OrganizationPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of an organization; null takes a value away."""

    name: Label | UnsetType = UNSET
    parent: Label | UnsetType | None = UNSET
    note: Note | UnsetType | None = UNSET


async def place(conn: Connection, actor: Actor, faults: Faults, columns: dict[str, Any], *, new: bool) -> None:
    """Turn ``site`` (a name, or None) among the columns of a thing that stands at a site into ``site_id``.

    Whoever may act at some sites only must name one of them; with a single one that is the one meant.
    """
    name = columns.pop("site", None if new else UNSET)
    if name is UNSET:
        return
    if name is None and actor.sites is not None:
        if not new or len(actor.sites) != 1:
            faults.add("/site", "is needed: your permission holds at some sites only")
            return
        columns["site_id"] = next(iter(actor.sites))
        return
    columns["site_id"] = None if name is None else await _id(conn, actor, faults, "site", name)


async def _id(conn: Connection, actor: Actor, faults: Faults, member: str, name: str) -> int | None:
    find = store.site_id if member == "site" else store.organization_id
    found = await find(conn, actor.tenant_id, name)
    if found is None:
        faults.add(f"/{member}", f"there is no {'site' if member == 'site' else 'organization'} {name}")
    return found


async def create_site(db: Database, actor: Actor, new: NewSite) -> Site:
    """Make a site. Raises InvalidInput; Conflict if the name is taken."""
    faults = Faults()
    async with db.transaction(actor.scope) as conn:
        columns = await _site_columns(conn, actor, faults, msgspec.structs.asdict(new))
        site = await held_site(conn, actor, await store.insert_site(conn, actor.tenant_id, columns))
        await audit.record(conn, actor, "site.create", "site", site.id, after=audit.values(site))
    return site


async def _site_columns(conn: Connection, actor: Actor, faults: Faults, members: dict[str, Any]) -> dict[str, Any]:
    columns = dict(members)
    if "organization" in columns:
        name = columns.pop("organization")
        columns["organization_id"] = None if name is None else await _id(conn, actor, faults, "organization", name)
    faults.check()
    return columns


async def get_site(db: Database, actor: Actor, site_id: int) -> Site:
    """The site. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await held_site(conn, actor, site_id)


SiteQuery = lists.query_type(store.SITES)


async def site_page(db: Database, actor: Actor, query: ListQuery) -> Page[Site]:
    """Sites, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.SITES, actor.tenant_id, query, store.sites_of)


async def update_site(db: Database, actor: Actor, site_id: int, patch: SitePatch, *, version: int | None = None) -> Site:
    """Change a site. Raises NotFound, InvalidInput; Conflict on a taken name or another ``version``."""
    members = given(patch)
    async with db.transaction(actor.scope) as conn:
        before = await held_site(conn, actor, site_id, lock=True, version=version)
        if not members:
            return before
        await store.update_site(conn, actor.tenant_id, site_id, await _site_columns(conn, actor, Faults(), members))
        after = await held_site(conn, actor, site_id)
        old, new = audit.changes(before, after)
        await audit.record(conn, actor, "site.update", "site", site_id, before=old, after=new)
    return after


async def delete_site(db: Database, actor: Actor, site_id: int, *, version: int | None = None) -> None:
    """Remove a site. Raises NotFound; Conflict while something is at it, or on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await held_site(conn, actor, site_id, lock=True, version=version)
        await store.delete_site(conn, actor.tenant_id, site_id)
        await audit.record(conn, actor, "site.delete", "site", site_id, before=audit.values(before))


async def held_site(conn: Connection, actor: Actor, site_id: int, *, lock: bool = False, version: int | None = None) -> Site:
    """The actor's site. Raises NotFound; Conflict on another ``version`` than demanded (None: any)."""
    site = await store.site(conn, actor.tenant_id, site_id, lock=lock) if 0 < site_id <= inputs.ROW_ID_MAX else None
    if site is None:
        raise NotFound("site", site_id)
    inputs.same_version("site", site.version, version)
    return site


async def create_organization(db: Database, actor: Actor, new: NewOrganization) -> Organization:
    """Make an organization. Raises InvalidInput; Conflict if the name is taken."""
    async with db.transaction(actor.scope) as conn:
        columns = await _organization_columns(conn, actor, msgspec.structs.asdict(new), None)
        made = await held_organization(conn, actor, await store.insert_organization(conn, actor.tenant_id, columns))
        await audit.record(conn, actor, "organization.create", "organization", made.id, after=audit.values(made))
    return made


async def _organization_columns(conn: Connection, actor: Actor, members: dict[str, Any], own_id: int | None) -> dict[str, Any]:
    faults = Faults()
    columns = dict(members)
    if "parent" in columns:
        name = columns.pop("parent")
        columns["parent_id"] = found = None if name is None else await store.organization_id(conn, actor.tenant_id, name)
        if name is not None and found is None:
            faults.add("/parent", f"there is no organization {name}")
        if own_id is not None and found is not None and found in await store.below(conn, actor.tenant_id, own_id):
            faults.add("/parent", f"{name} is the organization itself, or below it")
    faults.check()
    return columns


async def get_organization(db: Database, actor: Actor, organization_id: int) -> Organization:
    """The organization. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await held_organization(conn, actor, organization_id)


OrganizationQuery = lists.query_type(store.ORGANIZATIONS)


async def organization_page(db: Database, actor: Actor, query: ListQuery) -> Page[Organization]:
    """Organizations, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.ORGANIZATIONS, actor.tenant_id, query, store.organizations_of)


async def update_organization(db: Database, actor: Actor, organization_id: int, patch: OrganizationPatch, *, version: int | None = None) -> Organization:
    """Change an organization. Raises NotFound, InvalidInput; Conflict on a taken name or another ``version``."""
    members = given(patch)
    async with db.transaction(actor.scope) as conn:
        before = await held_organization(conn, actor, organization_id, lock=True, version=version)
        if not members:
            return before
        await store.update_organization(conn, actor.tenant_id, organization_id, await _organization_columns(conn, actor, members, organization_id))
        after = await held_organization(conn, actor, organization_id)
        old, new = audit.changes(before, after)
        await audit.record(conn, actor, "organization.update", "organization", organization_id, before=old, after=new)
    return after


async def delete_organization(db: Database, actor: Actor, organization_id: int, *, version: int | None = None) -> None:
    """Remove an organization. Raises NotFound; Conflict while something belongs to it, or on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await held_organization(conn, actor, organization_id, lock=True, version=version)
        await store.delete_organization(conn, actor.tenant_id, organization_id)
        await audit.record(conn, actor, "organization.delete", "organization", organization_id, before=audit.values(before))


async def held_organization(conn: Connection, actor: Actor, organization_id: int, *, lock: bool = False, version: int | None = None) -> Organization:
    """The actor's organization. Raises NotFound; Conflict on another ``version`` than demanded (None: any)."""
    found = await store.organization(conn, actor.tenant_id, organization_id, lock=lock) if 0 < organization_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("organization", organization_id)
    inputs.same_version("organization", found.version, version)
    return found
