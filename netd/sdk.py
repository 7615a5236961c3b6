"""All that a vendor driver or plugin may import from netd, besides ``netd.model`` and ``netd.wire``.

A driver is a module with a class ``Driver`` whose methods are those of one or more capabilities below. Drivers are sans-IO:
no sockets, clocks, files or credentials. They return attributes by dictionary name; netd encodes them.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Protocol, runtime_checkable

import msgspec

from netd.model.access import Reason

Value = int | str | bytes | IPv4Address | IPv6Address | IPv4Network | IPv6Network
"""What an attribute may carry: int for integer, integer64, byte, short and date; str for string; bytes for octets, ifid and ether."""

Avp = tuple[str, Value]
"""One attribute: dictionary name and value. A tagged attribute's name carries its tag: ``Tunnel-Type:1``."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is to get: the plan, or the walled garden, without anything that differs between two subscribers of one plan.

    ``down`` is towards the subscriber. ``walled`` is true while a lock keeps the subscriber in the walled garden: rates are then
    those of the garden and ``wall`` names the filter, address list or profile that the operator set up on the NAS for it.
    """

    down_bps: int
    up_bps: int
    burst_down_bps: int | None = None
    burst_up_bps: int | None = None
    burst_threshold_down_bps: int | None = None
    burst_threshold_up_bps: int | None = None
    burst_seconds: int | None = None
    priority: int | None = None
    profile: str | None = None
    ipv4_pool: str | None = None
    ipv6_pool: str | None = None
    delegated_ipv6_pool: str | None = None
    dns: tuple[IPv4Address | IPv6Address, ...] = ()
    session_timeout_seconds: int | None = None
    idle_timeout_seconds: int | None = None
    interim_seconds: int = 300
    walled: bool = False
    wall: str = "walled-garden"
    wall_url: str | None = None


class LiveSession(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an open session, to identify it towards its NAS."""

    username: str
    acct_session_id: str
    nas_ip_address: IPv4Address | IPv6Address
    nas_identifier: str | None = None
    nas_port_id: str | None = None
    calling_station_id: str | None = None
    called_station_id: str | None = None
    framed_ip_address: IPv4Address | None = None
    framed_ipv6_prefix: IPv6Network | None = None
    framed_ipv6_address: IPv6Address | None = None
    delegated_ipv6_prefix: IPv6Network | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``manifest.toml``, readable without importing any code of the extension."""

    name: str
    title: str
    version: str
    api: int  # version of this SDK it was written for; netd refuses others
    capabilities: tuple[str, ...]
    dictionaries: tuple[str, ...] = ()  # files beside the manifest, FreeRADIUS syntax
    coa_port: int = 3799
    sources: tuple[str, ...] = ()  # documents or captures that the knowledge in it comes from


SDK_API = 1


@runtime_checkable
class Access(Protocol):
    """A vendor that subscribers connect through."""

    def grant(self, service: Service) -> Sequence[Avp]:
        """Attributes for an Access-Accept, the rates in the vendor's units and direction.

        Addresses of the single subscriber, Class and MPPE keys are netd's. Raise ValueError if the service cannot be expressed
        (the request is then rejected with ``not_grantable``, never granted with something else).
        """
        ...

    def change(self, service: Service) -> Sequence[Avp] | None:
        """Attributes that bring a live session to ``service`` by CoA, or None if only a new login does (netd then disconnects)."""
        ...

    def identify(self, session: LiveSession) -> Sequence[Avp]:
        """Attributes that name the session in a CoA- or Disconnect-Request to this vendor."""
        ...


class AccessRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy sees of an Access-Request; no credentials."""

    tenant_id: int
    username: str
    nas: str
    nas_port_id: str | None
    calling_station_id: str | None
    called_station_id: str | None


@runtime_checkable
class Policy(Protocol):
    """A plugin that reviews verdicts. Called in the hot path: must return at once, from memory."""

    def review(self, request: AccessRequest, reason: Reason) -> Reason | None:
        """Return None to leave the verdict, or a Reason to turn an accept into a reject (a reject is never turned into an accept)."""
        ...
