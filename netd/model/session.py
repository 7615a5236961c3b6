"""Subscriber sessions as accounting tells of them."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Literal

import msgspec

EnforceState = Literal["applied", "pending", "refused", "unreachable", "unverified"]
ClosedBy = Literal["stop", "nas_reload", "reaper", "superseded", "not_found", "operator"]


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """An open (``stopped_at`` is None) or closed session. ``up_octets`` came from the subscriber, ``down_octets`` went to it.

    ``enforce_state`` tells how the last attempt to bring the live session to the desired policy ended; closed sessions have None.
    """

    id: int
    unique_id: str
    tenant_id: int
    nas_id: int | None
    nas: str | None
    subscriber_id: int | None
    acct_session_id: str
    username: str
    nas_ip_address: IPv4Address | IPv6Address
    nas_port_id: str | None
    calling_station_id: str | None
    called_station_id: str | None
    started_at: datetime
    updated_at: datetime
    stopped_at: datetime | None
    session_seconds: int
    up_octets: int
    down_octets: int
    framed_ip_address: IPv4Address | None
    framed_ipv6_address: IPv6Address | None
    framed_ipv6_prefix: IPv6Network | None
    delegated_ipv6_prefix: IPv6Network | None
    terminate_cause: str | None
    closed_by: ClosedBy | None
    enforce_state: EnforceState | None
    enforce_detail: str | None
    enforce_at: datetime | None


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """A session that had an address: ``had_it`` at the very moment asked for, else only close to it. ``doubts`` say what speaks against it."""

    session: Session
    had_it: bool
    doubts: tuple[str, ...]


class WhoHad(msgspec.Struct, frozen=True, kw_only=True):
    """Who had the address ``ip`` at ``at``. ``ambiguous`` unless there is nobody, or one session without doubt. ``more``: not all are shown."""

    ip: IPv4Address | IPv6Address
    at: datetime
    ambiguous: bool
    holders: tuple[Holder, ...]
    more: bool = False
