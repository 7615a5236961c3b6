"""What can be allowed: permissions named ``area:action``, the built-in roles that group them, and where a grant holds."""

from collections.abc import Iterable
from typing import Final

import msgspec

PERMISSIONS: Final[dict[str, str]] = {
    "subscribers:read": "see subscribers, their locks, usage and log-ins",
    "subscribers:write": "make, change and remove subscribers",
    "subscribers:lock": "suspend and restore subscribers, put locks on and lift them",
    "subscribers:quota": "top up and reset subscribers' quotas",
    "secrets:reveal": "see a subscriber's password",
    "plans:read": "see plans",
    "plans:write": "make, change and remove plans",
    "sessions:read": "see sessions, and who had an address",
    "radius:disconnect": "end live sessions",
    "enforcement:read": "see how it stands with enforcement, and what is held for confirmation",
    "enforcement:confirm": "confirm or discard a held wave of disconnections",
    "radius:test": "try a log-in without a NAS",
    "nas:read": "see NASes",
    "nas:write": "make, change and remove NASes",
    "pools:read": "see address pools, their rules and leases",
    "pools:write": "make, change and remove address pools and rules, take leases back",
    "devices:read": "see devices, groups of them, and what was observed: interfaces, links, endpoints",
    "devices:write": "make, change and remove devices and groups of them",
    "alarms:write": "acknowledge alarms of devices; make, change and remove thresholds",
    "devices:discover": "look for devices in ranges of addresses, accept and ignore what was found",
    "credentials:read": "see which credentials of devices there are, without their secrets",
    "credentials:write": "make, change and remove credentials of devices, and say which authority signs for them",
    "dhcp:read": "see what DHCP serves: subnets, reservations, boot profiles",
    "dhcp:write": "make, change and remove DHCP's subnets and reservations",
    "configurations:read": "see what devices are configured as, without secrets, and what that differs from",
    "configurations:reveal": "see configurations with their secrets",
    "configurations:write": "read devices' configurations anew, approve versions",
    "templates:read": "see templates of configurations and their variables",
    "templates:write": "make, change and remove templates and their variables",
    "commands:show": "run commands on devices that only show something",
    "commands:run": "run any command on devices, change and restore their configurations",
    "software:read": "see software images, and which devices run what they should not",
    "software:write": "keep software images and say who should run which",
    "software:install": "change the software of devices",
    "ztp:read": "see devices that boot: who is expected, how far each is, who came unexpected",
    "ztp:write": "expect devices, adopt and ignore candidates, make rules, end a quarantine",
    "sites:read": "see organizations and sites",
    "sites:write": "make, change and remove organizations and sites",
    "tokens:read": "see API tokens",
    "tokens:write": "make and revoke API tokens",
    "users:read": "see users, what they may, and who failed to log in",
    "users:write": "make, change, disable and remove users, lift their lock-outs, reset passwords and second factors, give and take roles",
    "roles:read": "see roles",
    "roles:write": "make, change and remove roles",
    "reports:read": "see reports of subscribers, and usage by plan",
    "events:read": "follow what happens",
    "jobs:read": "see jobs, their logs and schedules",
    "jobs:write": "start, cancel and retry jobs, of kinds that the caller may do otherwise",
    "jobs:approve": "approve and decline jobs of others",
    "jobs:direct": "start without approval what else needs a second person's",
    "jobs:schedule": "make, change and remove schedules",
    "webhooks:read": "see webhooks and billing hooks, and what was delivered",
    "webhooks:write": "make, change and remove webhooks and billing hooks",
    "health:read": "see how every part of netd and every integration is",
    "audit:read": "see who did what",
    "tenants:read": "see the tenants of this netd",
    "tenants:write": "make and change tenants",
    "secrets:rotate": "make a new key and seal every secret with it",
    "portal:issue": "make short-lived tokens for single subscribers' own accounts, as a customer portal does",
    "portal:password": "make such tokens that may set the password without knowing the old one",
    "me:read": "see the own account, sessions, usage and quota",
    "me:password": "change the own password, knowing the old one",
    "me:set_password": "set the own password without knowing the old one",
    "me:disconnect": "end an own session",
}
"""Every permission and what it is for. An action implies the reading that its answer contains."""

PLATFORM: Final = frozenset(("tenants:read", "tenants:write", "secrets:rotate", "health:read"))
"""What concerns all tenants: counts for tokens of the tenant ``default`` only, that is of whoever runs this netd."""

SELF: Final = frozenset(name for name in PERMISSIONS if name.startswith("me:"))
"""What a token bound to one subscriber may have, and nothing else."""

SELF_USUAL: Final = SELF - {"me:set_password"}
"""What such a token has unless its maker says otherwise."""

_TENANT: Final = frozenset(PERMISSIONS) - SELF
_PRIVATE: Final = frozenset(("audit:read", "tokens:read", "users:read", "roles:read", "webhooks:read", "credentials:read")) | PLATFORM
_READ: Final = frozenset(name for name in _TENANT if name.endswith(":read")) - _PRIVATE

BUILT_IN: Final[dict[str, frozenset[str]]] = {
    "admin": _TENANT,
    "operator": _READ | {"webhooks:read", "health:read", "enforcement:confirm", "subscribers:write", "subscribers:lock", "subscribers:quota",
                        "plans:write", "nas:write", "pools:write", "dhcp:write", "ztp:write", "sites:write", "radius:disconnect", "radius:test", "portal:issue",
                        "devices:write", "devices:discover", "alarms:write", "credentials:read", "credentials:write",
                        "jobs:write", "jobs:approve", "jobs:direct", "jobs:schedule",
                         "configurations:write", "configurations:reveal", "templates:write", "commands:show", "commands:run", "software:write",
                         "software:install"},
    "noc_engineer": _READ | {"webhooks:read", "health:read", "enforcement:confirm",
                            "nas:write", "pools:write", "dhcp:write", "ztp:write", "sites:write", "subscribers:lock", "radius:disconnect", "radius:test",
                            "devices:write", "devices:discover", "alarms:write", "credentials:read", "credentials:write", "jobs:write", "jobs:schedule",
                            "configurations:write", "templates:write", "commands:show", "commands:run", "software:write", "software:install"},
    "support_agent": _READ | {"radius:disconnect", "radius:test"},
    "billing": frozenset(("subscribers:read", "subscribers:lock", "subscribers:quota", "plans:read", "sessions:read", "reports:read")),
    "reseller": frozenset((
        "subscribers:read", "subscribers:write", "subscribers:lock", "subscribers:quota", "plans:read", "sessions:read", "radius:disconnect",
        "radius:test", "reports:read",
    )),
    "read_only": _READ | {"health:read"},
    "customer_portal": frozenset(("portal:issue",)),
    "self_service": SELF,
}  # fmt: skip
"""The permissions of the roles that every tenant has; a custom role's are in the store."""


class Once(msgspec.Struct, frozen=True):
    """A request that must not do its work twice: its Idempotency-Key, and what tells it from another under the same key.

    ``token_id`` of a user's session is minus the user's id.
    """

    token_id: int
    key: str
    request_id: str
    fingerprint: bytes


class Scope(msgspec.Struct, frozen=True):
    """For whom a transaction acts: a tenant, or some of its sites, or one subscriber of it. PostgreSQL confines it to that.

    ``once`` is the request that it is part of, if that may be sent again.
    """

    tenant_id: int
    sites: frozenset[int] | None = None  # None: the whole tenant
    subscriber_id: int | None = None
    once: Once | None = None


def within(role: str, built_in: bool, stored: Iterable[str], narrowed: Iterable[str] | None) -> frozenset[str]:
    """What a token of ``role`` may: the role's permissions, of them those that the token is narrowed to. Names that are not known count for nothing."""
    given = BUILT_IN.get(role, frozenset()) if built_in else frozenset(stored) & frozenset(PERMISSIONS)
    return given if narrowed is None else given & frozenset(narrowed)
