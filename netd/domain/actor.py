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

    ``role`` is for people; what counts is ``grants``.
    """

    tenant_id: int
    name: str
    role: str
    grants: tuple[Grant, ...] = ()
    sites: frozenset[int] | None = frozenset()  # nowhere, until ``allowed`` says where
    subscriber_id: int | None = None
    token_id: int | None = None
    token_public_id: str | None = None
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

    def allowed(self, permission: str) -> "Actor | None":
        """The same actor confined to where ``permission`` holds; None if it holds nowhere."""
        found = [grant for grant in self.grants if permission in grant.permissions]
        if not found:
            return None
        own = next((grant.subscriber_id for grant in found if grant.subscriber_id is not None), None)
        return msgspec.structs.replace(self, sites=_together(found), subscriber_id=own)


def _together(grants: Sequence[Grant]) -> frozenset[int] | None:
    sites: frozenset[int] = frozenset()
    for grant in grants:
        if grant.sites is None:
            return None
        sites |= grant.sites
    return sites


def anonymous(address: str | None, request_id: str | None) -> Actor:
    """Who has not said who it is: belongs to no tenant and may do nothing."""
    return Actor(tenant_id=0, name="anonymous", role="", address=address, request_id=request_id)


def system(tenant_id: int, name: str = "netd") -> Actor:
    """The daemon itself, for what it does on its own account."""
    return Actor(tenant_id=tenant_id, name=name, role="admin", grants=(Grant(BUILT_IN["admin"] | PLATFORM),), sites=None)
