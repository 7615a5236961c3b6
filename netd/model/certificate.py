"""Certificates of devices, and the authorities that sign them. Private keys are in neither."""

from datetime import datetime
from typing import Literal

import msgspec

KeyAlgorithm = Literal["ec", "rsa"]
"""P-256, or RSA with 2048 bits for devices that know nothing else."""


class Authority(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's certification authority; the newest one signs. ``supplied``: an operator's, not one that netd made."""

    id: int
    tenant_id: int
    subject: str
    supplied: bool
    certificate: str  # PEM
    serial: str  # hex
    fingerprint: str  # SHA-256, hex
    not_before: datetime
    not_after: datetime
    created_by: str
    created_at: datetime


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate of an expected device, for ``names``: its host name and address. Installed since ``installed_at``; another has taken its place since
    ``replaced_at``."""

    id: int
    tenant_id: int
    ztp_device_id: int
    hostname: str
    authority_id: int
    subject: str
    names: tuple[str, ...]
    algorithm: KeyAlgorithm
    certificate: str
    serial: str
    fingerprint: str
    not_before: datetime
    not_after: datetime
    installed_at: datetime | None
    replaced_at: datetime | None
    created_at: datetime
