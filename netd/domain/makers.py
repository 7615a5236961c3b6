"""Who made a job or schedule, as they are now: what is done in somebody's name later is done only while they may still do it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from netd.domain import tokens
from netd.domain.actor import Actor, Grant, system
from netd.domain.tokens import DEFAULT_TENANT
from netd.model.permission import PLATFORM
from netd.store import logins
from netd.store import tokens as token_store
from netd.store.database import Connection

SYSTEM: Final = frozenset(("token:0", "netd"))
"""The persons of what netd does on its own account: through the domain, and in the database itself."""


async def present(conn: Connection, tenant_id: int, person: str, token_id: int | None, now: datetime) -> Actor | str:
    """Whoever it is with what they may do now; in words why they may do nothing any more. ``conn`` is confined to nothing."""
    if person in SYSTEM and token_id is None:
        return system(tenant_id)
    kind, _, number = person.partition(":")
    user = None
    if kind == "user":
        user = _user(tenant_id, int(number), await logins.grants(conn, tenant_id, int(number)))
        if not user.grants:
            return "whoever made it is no longer a user, or has no role"
    token = int(number) if user is None and token_id is None else token_id
    if token is None:
        assert user is not None  # else there is a token
        return user
    public_id = await token_store.public_id(conn, tenant_id, token)
    stored = None if public_id is None else await token_store.by_public_id(conn, public_id)
    if stored is None or not tokens.is_good(stored.token, now):
        return "the token that it was made with is no longer good"
    return tokens.actor_of(stored, None, None)


def _user(tenant_id: int, user_id: int, grants: Sequence[logins.RoleGrant]) -> Actor:
    platform = PLATFORM if tenant_id == DEFAULT_TENANT else frozenset[str]()
    found = tuple(Grant(each.allows - (PLATFORM if each.sites is not None else PLATFORM - platform), each.sites) for each in grants)
    return Actor(tenant_id=tenant_id, name=f"user {user_id}", role="", grants=found, user_id=user_id)


def refusal(actor: Actor | str, permission: str, sites: frozenset[int] | None) -> str | None:
    """Why work that needs a permission at these sites (None: the whole tenant) is not done for whom :func:`present` found; None if it is."""
    if isinstance(actor, str):
        return actor
    found = actor.allowed(permission)
    if found is None or found.subscriber_id is not None:
        return f"whoever made it has not the permission {permission} any more"
    if found.sites is not None and (sites is None or not sites <= found.sites):
        return f"whoever made it has the permission {permission} no longer at all of its sites"
    return None
