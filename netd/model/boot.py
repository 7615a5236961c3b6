"""Devices that boot through netd: who is expected, how far each is, and who came without being expected."""

from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, Literal

import msgspec

from netd.model.certificate import KeyAlgorithm

BootState = Literal["expected", "seen", "offered", "fetching", "configured", "verified", "failed"]
Transport = Literal["http", "https", "tftp"]
TRANSPORTS: Final[tuple[Transport, ...]] = ("http", "https", "tftp")
Purpose = Literal["boot", "configuration", "image"]
Verify = Literal["facts", "reach"]
"""What a device is verified by: that what it is was read and compared; or, where that cannot be read, that it answers."""

BootCandidateState = Literal["new", "adopted", "ignored"]

ORDER: Final[tuple[BootState, ...]] = ("expected", "seen", "offered", "fetching", "configured", "verified", "failed")
"""A device goes forward only; ``failed`` is quarantine, which somebody must end."""


class ExpectedDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device that may boot through netd. Of ``serial``, ``mac`` and ``circuit_id`` (a regular expression)
    all that is given must fit what it, and its relay, say.

    ``reason`` says why it is in quarantine, or what is not done of one that is configured or verified; ``address_now`` where it was last, ``seen`` what
    it last said. ``armed``: it may boot, as far as that depends on its ``subscriber``'s service. ``certificate`` is which key it gets one for, and
    ``certificate_folder`` where on the device that is put. ``site_addressed``: who expects it manages devices of a site only, or none, so credentials of
    the whole tenant go there only if they name networks.
    """

    id: int
    tenant_id: int
    hostname: str
    site: str | None
    serial: str | None
    mac: str | None
    circuit_id: str | None
    profile: str
    vendor: str
    platform: str | None
    role: str | None
    transport: Transport
    address: IPv4Address | IPv6Address | None
    credential: str | None
    variables: Mapping[str, Any]
    boot_template: str | None  # None: its role's
    configuration: str | None  # None: its role's
    target_version: str | None
    image: str | None  # the file of that version in the library
    make_nas: bool
    subscriber_id: int | None
    subscriber: str | None
    armed: bool
    verify: Verify
    certificate: KeyAlgorithm | None
    certificate_folder: str | None
    site_addressed: bool
    opens_at: datetime
    closes_at: datetime
    state: BootState
    state_at: datetime
    configured_at: datetime | None
    reason: str | None
    address_now: IPv4Address | IPv6Address | None
    seen: Mapping[str, Any]
    device_id: int | None
    rule: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class BootStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a device, and what shows it."""

    id: int
    at: datetime
    step: str
    evidence: Mapping[str, Any]


class BootCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """A device that asked and that nobody expects: it got nothing. ``said`` is all that it and its relay said."""

    id: int
    tenant_id: int
    site: str | None
    subnet: str
    mac: str
    serial: str
    model: str
    profile: str
    circuit_id: str
    relay: IPv4Address | IPv6Address | None
    said: Mapping[str, Any]
    packets: int
    state: BootCandidateState
    ztp_device_id: int | None
    first_seen_at: datetime
    last_seen_at: datetime
    version: int
    updated_at: datetime


class BootRule(msgspec.Struct, frozen=True, kw_only=True):
    """Which candidates are adopted by themselves: recognised as one of ``profiles``, at the site, on a line and of a model that fit. ``hostname`` is a
    template (``cpe-{serial}``), ``settings`` are members of the device that is then expected. ``site_addressed``: as of the
    devices that it lets in."""

    id: int
    tenant_id: int
    name: str
    position: int
    site: str | None
    circuit_id: str | None
    model: str | None
    profiles: tuple[str, ...]
    hostname: str
    settings: Mapping[str, Any]
    site_addressed: bool
    enabled: bool
    version: int
    created_at: datetime
    updated_at: datetime
