"""/roles, /permissions, /whoami"""

import msgspec

from netd.domain import roles
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.roles import NewRole, RolePatch, ShownRole
from netd.model.permission import PERMISSIONS
from netd.web.api.route import Call, route


class Permission(msgspec.Struct, frozen=True):
    """A permission and what it is for."""

    name: str
    allows: str


class PermissionList(msgspec.Struct, frozen=True, kw_only=True):
    """All of them."""

    items: tuple[Permission, ...]
    next: None = None


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Permissions, and where they hold: in the whole tenant (both None), at some sites, or for one subscriber's own account."""

    permissions: tuple[str, ...]
    sites: tuple[int, ...] | None
    subscriber_id: int | None


class Whoami(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the token of this request speaks for."""

    tenant_id: int
    name: str
    role: str
    grants: tuple[Held, ...]


@route("GET", "/whoami", permission=None, summary="Whom this token speaks for, and what it may")
async def whoami(call: Call) -> Whoami:
    actor = call.actor
    grants = tuple(
        Held(
            permissions=tuple(name for name in PERMISSIONS if name in grant.permissions),
            sites=None if grant.sites is None else tuple(sorted(grant.sites)), subscriber_id=grant.subscriber_id,
        )
        for grant in actor.grants
    )  # fmt: skip
    return Whoami(tenant_id=actor.tenant_id, name=actor.name, role=actor.role, grants=grants)


@route("GET", "/permissions", permission=None, summary="Every permission and what it is for")
async def permission_list(call: Call) -> PermissionList:
    return PermissionList(items=tuple(Permission(name, allows) for name, allows in PERMISSIONS.items()))


@route("GET", "/roles", permission="roles:read", summary="List roles, built-in ones too", query=roles.RoleQuery)
async def role_list(call: Call, query: ListQuery) -> Page[ShownRole]:
    return await roles.page(call.deps.database, call.actor, query)


@route("POST", "/roles", permission="roles:write", summary="Make a role", status=201, action="role.create")
async def role_create(call: Call, body: NewRole) -> ShownRole:
    return await roles.create(call.deps.database, call.actor, body)


@route("GET", "/roles/{id}", permission="roles:read", summary="Show a role")
async def role_show(call: Call, id: int) -> ShownRole:
    return await roles.get(call.deps.database, call.actor, id)


@route("PATCH", "/roles/{id}", permission="roles:write", summary="Change a custom role; holds from the next request on", action="role.update")
async def role_update(call: Call, id: int, body: RolePatch) -> ShownRole:
    return await roles.update(call.deps.database, call.actor, id, body, version=call.if_match)


@route("DELETE", "/roles/{id}", permission="roles:write", summary="Remove a custom role that nobody has", action="role.delete")
async def role_delete(call: Call, id: int) -> None:
    await roles.delete(call.deps.database, call.actor, id, version=call.if_match)


ROUTES = (whoami, permission_list, role_list, role_create, role_show, role_update, role_delete)
