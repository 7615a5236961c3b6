"""Who may connect: subscribers, the locks on them, and their additional RADIUS attributes."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Network
from typing import Literal

import msgspec

from netd.model.line import Line, LineMode

State = Literal["pending", "active", "suspended", "terminated"]
LockReason = Literal["overdue", "quota", "admin", "fraud", "customer_hold", "system"]
LockMode = Literal["reject", "walled"]


def username_key(username: str) -> str:
    """The form under which user names are compared: surrounding blanks off, Unicode lower case.

    The one case rule of netd: authentication, accounting, session limits and the API all compare this form.
    """
    return username.strip().lower()


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """A reason why a subscriber is kept out (``reject``) or walled in (``walled``) until lifted or ``until_at``."""

    id: int
    reason: LockReason
    mode: LockMode
    note: str | None
    until_at: datetime | None
    created_at: datetime
    created_by: str


class Attribute(msgspec.Struct, frozen=True, kw_only=True):
    """A check or reply attribute of one subscriber, with FreeRADIUS's operators; ``attribute`` is a dictionary name."""

    attribute: str
    op: str
    value: str


class Subscriber(msgspec.Struct, frozen=True, kw_only=True):
    """A subscriber as the API shows it. The password is not part of it.

    ``lines`` are those it may come from, as ``line_mode`` says; ``mac_addresses`` and ``circuit_ids`` are what its devices log in by where they
    have no user name.
    """

    id: int
    tenant_id: int
    username: str
    plan_id: int
    plan: str
    state: State
    state_changed_at: datetime
    state_reason: str | None
    max_sessions: int | None
    ipv4: IPv4Address | None
    ipv6_prefix: IPv6Network | None
    delegated_ipv6_prefix: IPv6Network | None
    expires_at: datetime | None
    full_name: str | None
    note: str | None
    site_id: int | None
    site: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    locks: tuple[Lock, ...] = ()
    checks: tuple[Attribute, ...] = ()
    replies: tuple[Attribute, ...] = ()
    access_hours: str | None = None
    time_zone: str | None = None
    vlan: str | None = None
    line_mode: LineMode = "ignore"
    line_learn: bool = False
    lines: tuple[Line, ...] = ()
    mac_addresses: tuple[str, ...] = ()
    circuit_ids: tuple[str, ...] = ()
