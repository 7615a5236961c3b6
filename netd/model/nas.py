"""Network access servers: who may speak RADIUS to netd."""

from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

import msgspec

Switch = Literal["yes", "no", "auto"]
LineLoginBy = Literal["mac", "circuit_id"]
LineLoginPassword = Literal["same", "secret", "fixed", "none"]
"""The same as the user name; the NAS's shared secret; a fixed text; none at all."""


class Nas(msgspec.Struct, frozen=True, kw_only=True):
    """A NAS, or a network of them (``address`` is a prefix; the longest one that holds the packet's source wins).

    ``site`` and ``vrf`` say where its subscribers' addresses belong: address pools are assigned by them.
    ``line_login`` says by what devices without a user name of their own may log in through it, ``line_login_passwords`` what then counts as the password.
    The shared secret is not part of it, nor is the fixed text. ``learned_*`` is what ``auto`` found out (see RADIUS, "BlastRADIUS" in ARCHITECTURE.md).
    """

    id: int
    tenant_id: int
    name: str
    address: IPv4Network | IPv6Network
    vendor: str
    coa_address: IPv4Address | IPv6Address | None
    coa_port: int | None
    require_message_authenticator: Switch
    limit_proxy_state: Switch
    learned_require_message_authenticator: Literal["yes", "no"] | None
    learned_limit_proxy_state: Literal["yes", "no"] | None
    enabled: bool
    vrf: str | None
    description: str | None
    site_id: int | None
    site: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    line_login: tuple[LineLoginBy, ...] = ()
    line_login_passwords: tuple[LineLoginPassword, ...] = ()
