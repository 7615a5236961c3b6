"""/users, /users/{id}/grants and /lockouts"""

from netd.domain import users
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.users import NewGrant, NewUser, SetUpUser, UserPatch
from netd.model.user import Lockout, User
from netd.web.api.route import Call, route


@route("GET", "/users", permission="users:read", summary="List users", query=users.UserQuery)
async def user_list(call: Call, query: ListQuery) -> Page[User]:
    return await users.page(call.deps.database, call.actor, query)


@route("POST", "/users", permission="users:write", summary="Make a user; what sets the password is shown this once", status=201, action="user.create")
async def user_create(call: Call, body: NewUser) -> SetUpUser:
    return await users.create(call.deps.database, call.actor, body, call.deps.now())


@route("GET", "/users/{id}", permission="users:read", summary="Show a user")
async def user_show(call: Call, id: int) -> User:
    return await users.get(call.deps.database, call.actor, id)


@route("PATCH", "/users/{id}", permission="users:write", summary="Change a user; one that is disabled is out at once", action="user.update")
async def user_update(call: Call, id: int, body: UserPatch) -> User:
    return await users.update(call.deps.database, call.actor, id, body, call.deps.now(), version=call.if_match)


@route("DELETE", "/users/{id}", permission="users:write", summary="Remove a user with all sessions", action="user.delete")
async def user_delete(call: Call, id: int) -> None:
    await users.delete(call.deps.database, call.actor, id, version=call.if_match)


@route("POST", "/users/{id}/grants", permission="users:write", summary="Give a role; holds from the next request on", status=201, action="user.grant")
async def user_grant(call: Call, id: int, body: NewGrant) -> User:
    return await users.grant(call.deps.database, call.actor, id, body)


@route("DELETE", "/users/{id}/grants/{grant}", permission="users:write", summary="Take a role away from the next request on", action="user.revoke")
async def user_revoke(call: Call, id: int, grant: int) -> User:
    return await users.revoke(call.deps.database, call.actor, id, grant)


@route(
    "POST", "/users/{id}/reset-password", permission="users:write", action="user.reset_password",
    summary="Take the password away and end all sessions; what sets a new one is shown this once",
)  # fmt: skip
async def user_reset_password(call: Call, id: int) -> SetUpUser:
    return await users.reset_password(call.deps.database, call.actor, id, call.deps.now())


@route("DELETE", "/users/{id}/totp", permission="users:write", summary="Take the second factor away and end all sessions", action="user.remove_totp")
async def user_remove_totp(call: Call, id: int) -> User:
    return await users.remove_totp(call.deps.database, call.actor, id, call.deps.now())


@route("POST", "/users/{id}/unlock", permission="users:write", summary="Lift a lock-out before it ends by itself", action="user.unlock")
async def user_unlock(call: Call, id: int) -> User:
    return await users.unlock(call.deps.database, call.actor, id)


@route("GET", "/lockouts", permission="users:read", summary="Failed log-ins by user name and by address, newest first", query=users.LockoutQuery)
async def lockout_list(call: Call, query: ListQuery) -> Page[Lockout]:
    return await users.lockouts(call.deps.database, call.actor, query)


@route("DELETE", "/lockouts/{id}", permission="users:write", summary="Lift a lock-out of a name or an address", action="lockout.lift")
async def lockout_lift(call: Call, id: int) -> None:
    await users.lift(call.deps.database, call.actor, id)


ROUTES = (
    user_list, user_create, user_show, user_update, user_delete, user_grant, user_revoke, user_reset_password, user_remove_totp, user_unlock,
    lockout_list, lockout_lift,
)  # fmt: skip
