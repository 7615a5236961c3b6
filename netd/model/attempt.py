"""Answered Access-Requests as radpostauth keeps them."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

import msgspec

from netd.model.access import Reason

Reply = Literal["Access-Accept", "Access-Reject"]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One answered Access-Request; never a password. ``nas_ip_address`` is where the packet came from."""

    id: int
    nas_id: int | None
    nas: str | None
    subscriber_id: int | None
    username: str
    reply: Reply
    reason: Reason
    nas_ip_address: IPv4Address | IPv6Address | None
    calling_station_id: str | None
    called_station_id: str | None
    at: datetime
    detail: str | None = None
