"""What devices are configured as, what they should be, and the software that they should run."""

from datetime import datetime
from typing import Any, Literal

import msgspec

Which = Literal["running", "startup"]
Source = Literal["backup", "before", "after"]
"""Why a version was read: for itself, or around a change."""

Drift = Literal["approved", "saved", "intended"]
"""What a running configuration may differ from: the version that somebody approved last, the one that the device would start with, its template."""


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a device's configuration. ``number`` counts those of the device from 1; it was so from ``first_seen_at`` to ``last_seen_at`` at least."""

    id: int
    tenant_id: int
    device_id: int
    device: str
    which: Which
    number: int
    platform: str
    lines: int
    octets: int
    source: Source
    job_id: int | None
    first_seen_at: datetime
    last_seen_at: datetime
    approved_at: datetime | None
    approved_by: str | None
    approval_note: str | None


class ConfigurationState(msgspec.Struct, frozen=True, kw_only=True):
    """How a device stands. ``id`` is the device's. ``drift`` says what it differs from, since ``drifted_at``; ``intended`` why nobody knows what is intended,
    where a template does not render. ``error`` is of the last attempt to read it."""

    id: int
    tenant_id: int
    device: str
    site: str | None
    running_id: int | None
    startup_id: int | None
    approved_id: int | None
    drift: tuple[Drift, ...]
    drifted_at: datetime | None
    intended: str | None
    tried_at: datetime | None
    backed_up_at: datetime | None
    error: str | None


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A Jinja2 template: of a role's devices (at a site only), or without a role for others to include or extend by its name.

    ``compare``: a device's configuration must have all of its lines (``contains``), be what it renders (``whole``), or is not compared (``off``).
    ``number`` counts its bodies.
    """

    id: int
    tenant_id: int
    name: str
    role: str | None
    site_id: int | None
    site: str | None
    purpose: Literal["configuration", "boot"]
    compare: Literal["contains", "whole", "off"]
    body: str
    number: int
    note: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class TemplateBody(msgspec.Struct, frozen=True, kw_only=True):
    """What a template said at a time."""

    id: int
    tenant_id: int
    template_id: int
    number: int
    body: str
    created_by: str
    created_at: datetime


class TemplateVariables(msgspec.Struct, frozen=True, kw_only=True):
    """Variables for templates: of the tenant, a role, a site, or a role at a site."""

    id: int
    tenant_id: int
    role: str | None
    site_id: int | None
    site: str | None
    variables: dict[str, Any]
    note: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class SoftwareImage(msgspec.Struct, frozen=True, kw_only=True):
    """A software image that netd holds; ``file_name`` is what it is called on devices."""

    id: int
    tenant_id: int
    platform: str
    software_version: str
    file_name: str
    octets: int
    sha256: str
    md5: str
    note: str | None
    created_by: str
    version: int
    created_at: datetime
    updated_at: datetime


class SoftwareTarget(msgspec.Struct, frozen=True, kw_only=True):
    """The software that devices of a platform (of one model) should run."""

    id: int
    tenant_id: int
    platform: str
    model: str | None
    software_version: str
    reason: str
    version: int
    created_at: datetime
    updated_at: datetime


class VersionCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many devices of a model run a version (None: they do not say which), and how many of them do so without trouble."""

    software_version: str | None
    devices: int
    steady: int


class ModelSoftware(msgspec.Struct, frozen=True, kw_only=True):
    """What devices of a model run, the newest first, and the version that netd recommends for it, with the reason; None: none can be told to be good."""

    platform: str
    model: str
    devices: int
    software_version: str | None
    reason: str
    versions: tuple[VersionCount, ...]


class Compliance(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a device runs what it should, and why it should. ``id`` is the device's; ``image_id`` is an image of the wanted version, if there is one."""

    id: int
    tenant_id: int
    device: str
    site: str | None
    platform: str | None
    model: str | None
    software_version: str | None
    wanted_version: str
    reason: str
    compliant: bool
    image_id: int | None
