"""Roles: the built-in ones of every tenant, and those that a tenant makes itself."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.domain import audit, inputs, lists
from netd.domain.actor import Actor
from netd.domain.inputs import Faults, Label, given
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.errors import Conflict, NotFound
from netd.model.permission import PERMISSIONS, PLATFORM, SELF
from netd.model.role import Role
from netd.store import roles as store
from netd.store.database import Connection, Database

RoleName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="lower-case letters, digits and _")]
Permissions = Annotated[tuple[str, ...], Meta(min_length=1, max_length=len(PERMISSIONS))]


class ShownRole(msgspec.Struct, frozen=True, kw_only=True):
    """A role and what it may do."""

    id: int
    name: str
    title: str
    built_in: bool
    permissions: tuple[str, ...]
    version: int


class NewRole(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role to be made; nobody can put into it what they may not do themselves."""

    name: RoleName
    title: Label
    permissions: Permissions


class RolePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a custom role; whoever has it has the new permissions from the next request on."""

    name: RoleName | UnsetType = UNSET
    title: Label | UnsetType = UNSET
    permissions: Permissions | UnsetType = UNSET


def shown(role: Role) -> ShownRole:
    """The role with the permissions that count."""
    order = {name: place for place, name in enumerate(PERMISSIONS)}
    permissions = tuple(sorted(role.allows, key=lambda name: order[name]))
    return ShownRole(id=role.id, name=role.name, title=role.title, built_in=role.built_in, permissions=permissions, version=role.version)


def _check(faults: Faults, actor: Actor, permissions: Sequence[str]) -> None:
    for place, name in enumerate(permissions):
        where = f"/permissions/{place}"
        if name not in PERMISSIONS:
            faults.add(where, f"there is no permission {name}")
        elif name in SELF:
            faults.add(where, f"{name} is for the role self_service only")
        elif name in PLATFORM or name not in actor.permissions_everywhere:
            faults.add(where, f"you may not give away {name}")
    faults.check()


async def create(db: Database, actor: Actor, new: NewRole) -> ShownRole:
    """Make a role. Raises InvalidInput; Conflict if the name is taken."""
    _check(Faults(), actor, new.permissions)
    async with db.transaction(actor.scope) as conn:
        role = shown(await store.insert(conn, actor.tenant_id, {**msgspec.structs.asdict(new), "permissions": sorted(set(new.permissions))}))
        await audit.record(conn, actor, "role.create", "role", role.id, after=audit.values(role))
    return role


async def get(db: Database, actor: Actor, role_id: int) -> ShownRole:
    """The role. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return shown(await _held(conn, actor, role_id))


RoleQuery = lists.query_type(store.LISTING)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[ShownRole]:
    """Roles, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, lambda found: [shown(role) for role in store.of(found)])


async def update(db: Database, actor: Actor, role_id: int, patch: RolePatch, *, version: int | None = None) -> ShownRole:
    """Change a custom role. Raises NotFound, InvalidInput; Conflict for a built-in one, a taken name or another ``version``."""
    members = given(patch)
    if "permissions" in members:
        _check(Faults(), actor, members["permissions"])
        members["permissions"] = sorted(set(members["permissions"]))
    async with db.transaction(actor.scope) as conn:
        before = await _custom(conn, actor, role_id, version)
        if not members:
            return shown(before)
        changed = await store.update(conn, actor.tenant_id, role_id, members)
        if changed is None:
            raise NotFound("role", role_id)
        after = shown(changed)
        old, new = audit.changes(shown(before), after)
        await audit.record(conn, actor, "role.update", "role", role_id, before=old, after=new)
    return after


async def delete(db: Database, actor: Actor, role_id: int, *, version: int | None = None) -> None:
    """Remove a custom role. Raises NotFound; Conflict for a built-in one, one that somebody has, or another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await _custom(conn, actor, role_id, version)
        await store.delete(conn, actor.tenant_id, role_id)
        await audit.record(conn, actor, "role.delete", "role", role_id, before=audit.values(shown(before)))


async def _custom(conn: Connection, actor: Actor, role_id: int, version: int | None) -> Role:
    role = await _held(conn, actor, role_id, lock=True)
    if role.built_in:
        raise Conflict(f"the role {role.name} is built in; make one of your own instead")
    inputs.same_version("role", role.version, version)
    return role


async def _held(conn: Connection, actor: Actor, role_id: int, *, lock: bool = False) -> Role:
    role = await store.get(conn, actor.tenant_id, role_id, lock=lock) if 0 < role_id <= inputs.ROW_ID_MAX else None
    if role is None:
        raise NotFound("role", role_id)
    return role
