"""What the network consists of: devices, their interfaces, links and endpoints, and what opens them."""

from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Literal

import msgspec

from netd.model.device import Observed

DeviceKind = Literal["router", "switch", "olt", "onu", "server", "other"]
DeviceState = Literal["planned", "active", "maintenance", "retired"]
"""Only an active one is polled and raises alarms; one in maintenance takes jobs, planned and retired ones are left alone."""

CandidateState = Literal["new", "accepted", "ignored"]
Protocol = Literal["ssh", "telnet", "snmp", "http"]
CredentialType = Literal["ssh", "telnet", "snmp_community", "snmp_user", "http"]
PROTOCOLS: dict[CredentialType, Protocol] = {"ssh": "ssh", "telnet": "telnet", "snmp_community": "snmp", "snmp_user": "snmp", "http": "http"}


class StoredCredential(msgspec.Struct, frozen=True, kw_only=True):
    """A named set of secrets without them: ``secrets`` tells which it has, ``settings`` what of it is none (versions, algorithms).

    ``networks`` are those whose addresses it is sent to (none: any). Those of a device's site come before the tenant's, each by ``position``.
    """

    id: int
    tenant_id: int
    name: str
    type: CredentialType
    username: str | None
    settings: dict[str, Any]
    secrets: tuple[str, ...]
    port: int | None
    site_id: int | None
    site: str | None
    networks: tuple[IPv4Network | IPv6Network, ...]
    position: int
    enabled: bool
    note: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device as an operator described it, and in ``observed`` what it says of itself: each fact with its source, and ``at``, since when it says so.

    ``platform`` None is the recognised one; ``parent`` is what it is reached through; ``credential`` is the only one of its protocol that is tried.
    ``subscriber`` is whose it is, where it is a customer's. ``poll_groups`` are the costly groups of telemetry that are read all the same, ``variables``
    what its configuration's template (``role``) is filled with.
    ``site_addressed``: who set its address may do so at its site only, so credentials of the whole tenant are sent there only if they name networks.
    """

    id: int
    tenant_id: int
    hostname: str
    mgmt_address: IPv4Address | IPv6Address
    vendor: str
    platform: str | None
    kind: DeviceKind
    state: DeviceState
    model: str | None
    serial: str | None
    software_version: str | None
    target_version: str | None
    site_id: int | None
    site: str | None
    parent_id: int | None
    parent: str | None
    nas_id: int | None
    nas: str | None
    credential_id: int | None
    credential: str | None
    subscriber_id: int | None
    subscriber: str | None
    role: str | None
    variables: dict[str, Any]
    tags: tuple[str, ...]
    ports: dict[str, int]
    host_keys: tuple[str, ...]
    certificates: tuple[str, ...]
    site_addressed: bool
    legacy_algorithms: bool
    sessions: int
    timeout_seconds: float
    polling: bool
    poll_groups: tuple[str, ...]
    note: str | None
    observed: dict[str, Observed]
    facts_at: datetime | None
    interfaces_at: datetime | None
    neighbours_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime

    def now(self, fact: str) -> str | None:
        """What is taken to be so: what was observed of ``model``, ``serial``, ``software_version``, ``hostname``, ``platform``, else what was written."""
        seen = self.observed.get(fact)
        written: str | None = getattr(self, fact, None)
        return seen.value if seen is not None else written

    @property
    def driver_platform(self) -> str | None:
        """The platform whose driver speaks to it: an operator's word counts, else what was recognised."""
        return self.platform or self.now("platform")


class Interface(msgspec.Struct, frozen=True, kw_only=True):
    """An interface as last seen. ``monitored`` and ``note`` are an operator's; ``gone_at``: since when the device shows it no more."""

    id: int
    tenant_id: int
    device_id: int
    device: str
    if_index: int
    name: str
    alias: str | None
    type: int | None
    mtu: int | None
    speed_bps: int | None
    mac: str | None
    admin_up: bool | None
    oper_up: bool | None
    changed_at: datetime | None
    monitored: bool
    note: str | None
    gone_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What a device hears at an interface; ``remote_device`` where that is one that is known."""

    id: int
    tenant_id: int
    device_id: int
    device: str
    local_interface: str
    protocol: Literal["lldp", "cdp", "mndp", "bridge"]
    remote_name: str | None
    remote_interface: str | None
    remote_address: IPv4Address | IPv6Address | None
    remote_mac: str | None
    remote_description: str | None
    remote_device_id: int | None
    remote_device: str | None
    first_seen_at: datetime
    last_seen_at: datetime


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A MAC address at an interface: of a forwarding table, or with ``address`` of an ARP or neighbour table."""

    id: int
    tenant_id: int
    device_id: int
    device: str
    source: Literal["mac", "arp"]
    mac: str
    vlan: int | None
    address: IPv4Address | IPv6Address | None
    interface: str
    first_seen_at: datetime
    last_seen_at: datetime
    moved_at: datetime | None


class FactChange(msgspec.Struct, frozen=True, kw_only=True):
    """A fact that was not what it had been. ``subject`` is an interface's name, "" for the device itself."""

    id: int
    tenant_id: int
    device_id: int
    device: str
    at: datetime
    subject: str
    fact: str
    before: str | None
    after: str | None
    source: str


class Selector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which devices: all that is given must hold, of a list any one; ``tags`` all of them. Nothing given selects every active device."""

    ids: tuple[int, ...] = ()
    hostnames: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    vendors: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    kinds: tuple[DeviceKind, ...] = ()
    roles: tuple[str, ...] = ()
    models: tuple[str, ...] = ()  # as observed, else as written
    states: tuple[DeviceState, ...] = ("active",)


class DeviceGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A named selection of devices; ``devices`` counts those that it selects now, as far as who asks may see them."""

    id: int
    tenant_id: int
    name: str
    selector: Selector
    note: str | None
    devices: int
    version: int
    created_at: datetime
    updated_at: datetime


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """Something that answered at an address, and what it said. ``device_id``: what it was accepted as, or seems to be already."""

    id: int
    tenant_id: int
    address: IPv4Address | IPv6Address
    also_at: tuple[IPv4Address | IPv6Address, ...]
    site_id: int | None
    site: str | None
    answers: tuple[str, ...]
    sys_object_id: str | None
    sys_descr: str | None
    sys_name: str | None
    serial: str | None
    banner: str | None
    host_key: str | None
    credential_id: int | None
    credential: str | None
    vendor: str | None
    platform: str | None
    kind: DeviceKind | None
    state: CandidateState
    device_id: int | None
    device: str | None
    first_seen_at: datetime
    last_seen_at: datetime
    version: int
    created_at: datetime
    updated_at: datetime


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one address answered, by which ways (ping, snmp, ssh). ``credential_id`` is the SNMP profile that was answered, ``host_key`` as OpenSSH has it."""

    address: IPv4Address | IPv6Address
    at: datetime
    answers: tuple[str, ...]
    sys_object_id: str | None = None
    sys_descr: str | None = None
    sys_name: str | None = None
    serial: str | None = None
    credential_id: int | None = None
    banner: str | None = None
    host_key: str | None = None
