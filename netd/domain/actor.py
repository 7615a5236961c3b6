"""Who does something, and where that is allowed: confines every query, and stands in every audit row."""

from collections.abc import Sequence

import msgspec

from netd.model.permission import BUILT_IN, PLATFORM, Once, Scope


class Grant(msgspec.Struct, frozen=True):
    """Permissions, and where they hold: ``sites`` None is the whole tenant, ``subscriber_id`` only this subscriber's own account."""

    permissions: frozenset[str]
    sites: frozenset[int] | None = None
    subscriber_id: int | None = None


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """The caller of an operation and its tenant. ``sites`` and ``subscriber_id`` are where the permission of this operation holds.

    ``role`` is for people; what counts is ``grants``. A user's session has ``user_id``, ``session_id`` and the ``session_hash`` that it is found by.
    """

    tenant_id: int
    name: str
    role: str
    grants: tuple[Grant, ...] = ()
    sites: frozenset[int] | None = frozenset()  # nowhere, until ``allowed`` says where
    subscriber_id: int | None = None
    token_id: int | None = None
    token_public_id: str | None = None
    user_id: int | None = None
    session_id: int | None = None
    session_hash: bytes | None = None
    address: str | None = None
    request_id: str | None = None
    once: Once | None = None

    @property
    def scope(self) -> Scope:
        """For whom the database acts."""
        return Scope(self.tenant_id, self.sites, self.subscriber_id, self.once)

    @property
    def permissions(self) -> frozenset[str]:
        """All that the actor may, somewhere."""
        return frozenset().union(*(grant.permissions for grant in self.grants))

    @property
    def permissions_everywhere(self) -> frozenset[str]:
        """What the actor may in the whole tenant, and so may give away."""
        return frozenset().union(*(grant.permissions for grant in self.grants if grant.sites is None and grant.subscriber_id is None))

    @property
    def own_subscriber_id(self) -> int | None:
        """The subscriber whose own account is all that the actor may see; None for everybody else."""
        bound = {grant.subscriber_id for grant in self.grants}
        return bound.pop() if len(bound) == 1 else None

    @property
    def caller(self) -> int:
        """Who calls, as a number: a token's id, or minus that of a user."""
        return self.token_id if self.token_id is not None else -(self.user_id or 0)

    def allowed(self, permission: str) -> "Actor | None":
        """The same actor confined to where ``permission`` holds; None if it holds nowhere."""
        found = [grant for grant in self.grants if permission in grant.permissions]
        if not found:
            return None
        own = next((grant.subscriber_id for grant in found if grant.subscriber_id is not None), None)
        return msgspec.structs.replace(self, sites=_together(found), subscriber_id=own)

    def also(self, permission: str) -> "Actor | None":
        """The same actor confined to where ``permission`` holds as well as what it is confined to already; None if it holds nowhere."""
        other = self.allowed(permission)
        if other is None:
            return None
        sites = other.sites if self.sites is None else self.sites if other.sites is None else self.sites & other.sites
        return msgspec.structs.replace(self, sites=sites)

    def reaches(self, site_id: int | None) -> bool:
        """Whether the actor is confined to nothing, or to sites of which this is one."""
        return self.sites is None or (site_id is not None and site_id in self.sites)


def _together(grants: Sequence[Grant]) -> frozenset[int] | None:
    sites: frozenset[int] = frozenset()
    for grant in grants:
        if grant.sites is None:
            return None
        sites |= grant.sites
    return sites


def system(tenant_id: int, name: str = "netd") -> Actor:
    """The daemon itself, for what it does on its own account."""
    return Actor(tenant_id=tenant_id, name=name, role="admin", grants=(Grant(BUILT_IN["admin"] | PLATFORM),), sites=None)


def anonymous(address: str | None, request_id: str | None) -> Actor:
    """Who has not said yet who it is: may nothing, of no tenant."""
    return Actor(tenant_id=0, name="anonymous", role="", address=address, request_id=request_id)
