"""Systems that may send Disconnect- and CoA-Requests to netd, to be relayed to the NAS of a session."""

from datetime import datetime
from ipaddress import IPv4Network, IPv6Network

import msgspec


class CoaClient(msgspec.Struct, frozen=True, kw_only=True):
    """A portal, billing system or RADIUS server, or a network of them (``address`` is a prefix; the longest one that holds the source wins).

    ``may_change`` is about CoA-Requests, ``may_override`` about those that concern sessions which netd itself enforces a plan on.
    ``may_select_many``: a request that several sessions match goes to each of them, else it is refused. The secret is not part of it.
    """

    id: int
    tenant_id: int
    name: str
    address: IPv4Network | IPv6Network
    may_disconnect: bool
    may_change: bool
    may_override: bool
    may_select_many: bool
    require_message_authenticator: bool
    require_event_timestamp: bool
    enabled: bool
    description: str | None
    version: int
    created_at: datetime
    updated_at: datetime
