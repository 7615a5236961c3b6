"""People who use the API and the portal, what they may and where, and their sessions."""

from datetime import datetime
from typing import Literal

import msgspec

GrantSource = Literal["local", "oidc"]
SessionMethod = Literal["password", "totp", "recovery_code", "oidc"]
FailureKind = Literal["user", "user_at_address", "address"]


class UserGrant(msgspec.Struct, frozen=True, kw_only=True):
    """A role that a user has: in the whole tenant, or in one organization or at one site. ``oidc``: because of a group, taken anew at each log-in."""

    id: int
    role: str
    organization_id: int | None
    organization: str | None
    site_id: int | None
    site: str | None
    source: GrantSource
    created_by: str


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A person, without what opens anything. ``locked_until``: too many log-ins failed; it ends by itself."""

    id: int
    tenant_id: int
    name: str
    full_name: str | None
    email: str | None
    has_password: bool
    password_changed_at: datetime | None
    setup_expires_at: datetime | None
    totp: bool
    oidc_issuer: str | None
    oidc_subject: str | None
    disabled_at: datetime | None
    last_login_at: datetime | None
    locked_until: datetime | None
    created_by: str
    version: int
    created_at: datetime
    updated_at: datetime
    grants: tuple[UserGrant, ...]


class UserSession(msgspec.Struct, frozen=True, kw_only=True):
    """A log-in of a user that is still good. ``method`` is what opened it; ``current``: the request that asks is of this one."""

    id: int
    method: SessionMethod
    address: str | None
    user_agent: str | None
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    current: bool = False


class Lockout(msgspec.Struct, frozen=True, kw_only=True):
    """Failed log-ins of a user name, of a user name from one address that it is known to log in from, or from an address.

    ``subject`` is None for a name that nobody has. Until ``locked_until`` no further one is looked at.
    """

    id: int
    kind: FailureKind
    subject: str | None
    failures: int
    failed_at: datetime
    locked_until: datetime | None
