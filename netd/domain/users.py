"""Users of a tenant: who they are, what they may and where. How they log in is in :mod:`netd.domain.logins`.

Nobody makes or changes a user who may do more than they may themselves: else a new password for an administrator would be a way to become one.
"""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.domain import audit, inputs, lists
from netd.domain.actor import Actor
from netd.domain.inputs import Faults, Label, given
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.tokens import not_given
from netd.errors import Conflict, NotFound, OutsideScope
from netd.model.permission import SELF
from netd.model.user import Lockout, User
from netd.store import logins, roles, sites
from netd.store import users as store
from netd.store.database import Connection, Database

TOTP_CONTEXT: Final = b"users.totp_secret"
SETUP_KEPT: Final = timedelta(hours=24)
RESERVED: Final = frozenset(("netd", "anonymous"))
"""Names that the audit log gives to netd itself, and to who has not logged in."""

UserName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._@+-]{0,62}$", description="lower-case letters, digits and . _ @ + -")]
Email = Annotated[str, Meta(min_length=3, max_length=254, pattern=r"^[^\s@\x00-\x1f\x7f]+@[^\s@\x00-\x1f\x7f]+$")]
Subject = Annotated[str, Meta(min_length=1, max_length=255, pattern=inputs.NO_CONTROL)]


class NewGrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role for a user: in the whole tenant, or in one organization or at one site (names)."""

    role: Label
    organization: Label | None = None
    site: Label | None = None


class NewUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user to be made. ``oidc_issuer`` and ``oidc_subject`` link it to an account of a provider; the password is set with the setup token."""

    name: UserName
    full_name: Label | None = None
    email: Email | None = None
    oidc_issuer: Subject | None = None
    oidc_subject: Subject | None = None
    grants: Annotated[tuple[NewGrant, ...], Meta(max_length=50)] = ()


class UserPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a user; null takes a value away. A user who is ``disabled`` is out at once, with all sessions."""

    name: UserName | UnsetType = UNSET
    full_name: Label | UnsetType | None = UNSET
    email: Email | UnsetType | None = UNSET
    oidc_issuer: Subject | UnsetType | None = UNSET
    oidc_subject: Subject | UnsetType | None = UNSET
    disabled: bool | UnsetType = UNSET


class SetUpUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user, and what lets the person set a password, once, within a day; it is shown this once."""

    user: User
    setup_token: str

    def __repr__(self) -> str:
        return inputs.hidden(self, "setup_token")


def digest(text: str) -> bytes:
    """What is kept of a secret with enough random bits."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def setup_token(user_id: int, tenant_id: int) -> str:
    """A new one. It names its user, for nothing else does where it is used."""
    return f"netdsetup_{tenant_id}_{user_id}_{secrets.token_urlsafe(32)}"


async def create(db: Database, actor: Actor, new: NewUser, now: datetime) -> SetUpUser:
    """Make a user without a password. Raises InvalidInput; Conflict if the name is taken; OutsideScope."""
    _whole(actor)
    faults = Faults()
    _check_name(faults, new.name)
    _check_link(faults, new.oidc_issuer, new.oidc_subject)
    async with db.transaction(actor.scope) as conn:
        places = [await _place(conn, actor, faults, grant, f"/grants/{number}") for number, grant in enumerate(new.grants)]
        faults.check()
        members = {name: getattr(new, name) for name in ("name", "full_name", "email", "oidc_issuer", "oidc_subject")}
        user_id = await store.insert(conn, actor.tenant_id, {**members, "created_by": actor.name})
        for place in places:
            await store.add_grant(conn, actor.tenant_id, user_id, **place, source="local", created_by=actor.name)
        text = await _new_setup(conn, actor.tenant_id, user_id, now)
        user = await held(conn, actor.tenant_id, user_id)
        await audit.record(conn, actor, "user.create", "user", user_id, after=audit.values(user))
    return SetUpUser(user=user, setup_token=text)


async def _new_setup(conn: Connection, tenant_id: int, user_id: int, now: datetime) -> str:
    text = setup_token(user_id, tenant_id)
    await store.update(conn, tenant_id, user_id, {"setup_hash": digest(text), "setup_expires_at": now + SETUP_KEPT})
    return text


def _check_name(faults: Faults, name: str) -> None:
    if name in RESERVED:
        faults.add("/name", f"{name} is netd's own")


def _check_link(faults: Faults, issuer: str | None, subject: str | None) -> None:
    if (issuer is None) != (subject is None):
        faults.add("/oidc_subject" if subject is None else "/oidc_issuer", "an account is named by issuer and subject together")


def _whole(actor: Actor) -> None:
    if actor.sites is not None:
        raise OutsideScope("users are the whole tenant's")


async def _place(conn: Connection, actor: Actor, faults: Faults, grant: NewGrant, where: str) -> dict[str, Any]:
    """A grant as columns; what is wrong with it, also that the actor may not give it, becomes a fault."""
    role = await roles.by_name(conn, actor.tenant_id, grant.role)
    if role is None:
        faults.add(f"{where}/role", f"there is no role {grant.role}")
    elif role.allows & SELF:
        faults.add(f"{where}/role", "is for tokens of one subscriber")
    elif beyond := not_given(actor, role.allows):
        faults.add(f"{where}/role", f"you may not give away what you may not do: {', '.join(sorted(beyond))}")
    if grant.organization is not None and grant.site is not None:
        faults.add(where, "a role is had in an organization or at a site, not in both: make two grants")
    columns: dict[str, Any] = {"role": grant.role}
    for name, find in (("organization", sites.organization_id), ("site", sites.site_id)):
        wanted = getattr(grant, name)
        columns[f"{name}_id"] = found = None if wanted is None else await find(conn, actor.tenant_id, wanted)
        if wanted is not None and found is None:
            faults.add(f"{where}/{name}", f"there is no {name} {wanted}")
    return columns


async def get(db: Database, actor: Actor, user_id: int) -> User:
    """The user. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await held(conn, actor.tenant_id, user_id)


UserQuery = lists.query_type(store.LISTING)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[User]:
    """Users, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of)


async def update(db: Database, actor: Actor, user_id: int, patch: UserPatch, now: datetime, *, version: int | None = None) -> User:
    """Change a user. Raises NotFound, InvalidInput, OutsideScope; Conflict on a taken name, or another ``version``."""
    members = given(patch)
    async with db.transaction(actor.scope) as conn:
        before = await _changeable(conn, actor, user_id, version)
        if not members:
            return before
        faults = Faults()
        _check_name(faults, members.get("name", ""))
        _check_link(faults, members.get("oidc_issuer", before.oidc_issuer), members.get("oidc_subject", before.oidc_subject))
        disabled = members.pop("disabled", None)
        if disabled and actor.user_id == user_id:
            faults.add("/disabled", "would lock yourself out: let somebody else do it")
        faults.check()
        if disabled is not None and disabled != (before.disabled_at is not None):
            members["disabled_at"] = now if disabled else None
        await store.update(conn, actor.tenant_id, user_id, members)
        if disabled:
            await logins.end(conn, actor.tenant_id, user_id, now)
        after = await held(conn, actor.tenant_id, user_id)
        old, new = audit.changes(before, after)
        action = {True: "user.disable", False: "user.enable", None: "user.update"}[disabled]
        await audit.record(conn, actor, action, "user", user_id, before=old, after=new)
    return after


async def delete(db: Database, actor: Actor, user_id: int, *, version: int | None = None) -> None:
    """Remove a user with all sessions. Raises NotFound, OutsideScope; Conflict for oneself or on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await _changeable(conn, actor, user_id, version)
        if actor.user_id == user_id:
            raise Conflict("you would lock yourself out: let somebody else do it")
        await store.delete(conn, actor.tenant_id, user_id)
        await audit.record(conn, actor, "user.delete", "user", user_id, before=audit.values(before))


async def grant(db: Database, actor: Actor, user_id: int, new: NewGrant) -> User:
    """Give a role, from the user's next request on. Raises NotFound, InvalidInput, OutsideScope; Conflict for one that the user has there."""
    async with db.transaction(actor.scope) as conn:
        await _changeable(conn, actor, user_id, None)
        faults = Faults()
        place = await _place(conn, actor, faults, new, "")
        faults.check()
        grant_id = await store.add_grant(conn, actor.tenant_id, user_id, **place, source="local", created_by=actor.name)
        await store.update(conn, actor.tenant_id, user_id, {})
        after = await held(conn, actor.tenant_id, user_id)
        given_ = next(each for each in after.grants if each.id == grant_id)
        await audit.record(conn, actor, "user.grant", "user", user_id, after=audit.values(given_))
    return after


async def revoke(db: Database, actor: Actor, user_id: int, grant_id: int) -> User:
    """Take a role away, from the user's next request on. Raises NotFound, OutsideScope."""
    async with db.transaction(actor.scope) as conn:
        before = await _changeable(conn, actor, user_id, None)
        taken = next((each for each in before.grants if each.id == grant_id), None)
        if taken is None:
            raise NotFound("grant", grant_id)
        await store.drop_grant(conn, actor.tenant_id, user_id, grant_id)
        await store.update(conn, actor.tenant_id, user_id, {})
        await audit.record(conn, actor, "user.revoke", "user", user_id, before=audit.values(taken))
        return await held(conn, actor.tenant_id, user_id)


async def reset_password(db: Database, actor: Actor, user_id: int, now: datetime) -> SetUpUser:
    """Take the password away, end all sessions, and make a setup token for a new one. Raises NotFound, OutsideScope."""
    async with db.transaction(actor.scope) as conn:
        before = await _changeable(conn, actor, user_id, None)
        await store.set_password(conn, actor.tenant_id, user_id, None, now)
        ended = await logins.end(conn, actor.tenant_id, user_id, now)
        text = await _new_setup(conn, actor.tenant_id, user_id, now)
        await logins.drop_failure(conn, actor.tenant_id, user=before.name)
        after = await held(conn, actor.tenant_id, user_id)
        await audit.record(conn, actor, "user.reset_password", "user", user_id, after={"sessions_ended": ended})
    return SetUpUser(user=after, setup_token=text)


async def remove_totp(db: Database, actor: Actor, user_id: int, now: datetime) -> User:
    """Take the second factor away, for who lost it, and end all sessions. Raises NotFound, OutsideScope."""
    async with db.transaction(actor.scope) as conn:
        before = await _changeable(conn, actor, user_id, None)
        await store.set_totp(conn, actor.tenant_id, user_id, None)
        await logins.end(conn, actor.tenant_id, user_id, now)
        result = "ok" if before.totp else "unchanged"
        await audit.record(conn, actor, "user.remove_totp", "user", user_id, before={"totp": before.totp}, after={"totp": False}, result=result)
        return await held(conn, actor.tenant_id, user_id)


async def unlock(db: Database, actor: Actor, user_id: int) -> User:
    """Lift the user's lock-out before it ends by itself. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor.tenant_id, user_id)
        lifted = await logins.drop_failure(conn, actor.tenant_id, user=before.name)
        after = await held(conn, actor.tenant_id, user_id)
        old, new = audit.changes(before, after)
        await audit.record(conn, actor, "user.unlock", "user", user_id, before=old, after=new, result="ok" if lifted else "unchanged")
    return after


LockoutQuery = lists.query_type(logins.FAILURES)


async def lockouts(db: Database, actor: Actor, query: ListQuery) -> Page[Lockout]:
    """Failed log-ins that are counted, newest first; those with a ``locked_until`` to come are locked out. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, logins.FAILURES, actor.tenant_id, query, logins.failures_of)


async def lift(db: Database, actor: Actor, failure_id: int) -> None:
    """Lift a lock-out of a name or an address. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        found = await logins.failure(conn, actor.tenant_id, failure_id) if 0 < failure_id <= inputs.ROW_ID_MAX else None
        if found is None:
            raise NotFound("lockout", failure_id)
        await logins.drop_failure(conn, actor.tenant_id, failure_id=failure_id)
        await audit.record(conn, actor, "lockout.lift", "lockout", failure_id, before=audit.values(found))


async def held(conn: Connection, tenant_id: int, user_id: int, *, lock: bool = False) -> User:
    """The tenant's user. Raises NotFound."""
    user = await store.get(conn, tenant_id, user_id, lock=lock) if 0 < user_id <= inputs.ROW_ID_MAX else None
    if user is None:
        raise NotFound("user", user_id)
    return user


async def _changeable(conn: Connection, actor: Actor, user_id: int, version: int | None) -> User:
    """The user, locked, if the actor may change it. Raises NotFound; OutsideScope if the user may do more than the actor; Conflict."""
    user = await held(conn, actor.tenant_id, user_id, lock=True)
    if beyond := not_given(actor, await store.permissions(conn, actor.tenant_id, user_id)):
        raise OutsideScope(f"{user.name} may do more than you: {', '.join(sorted(beyond))}")
    inputs.same_version("user", user.version, version)
    return user
