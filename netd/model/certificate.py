"""Certificates of devices, and the authorities that sign them. Private keys are in neither."""

from datetime import datetime
from typing import Literal

import msgspec

KeyAlgorithm = Literal["ec", "rsa"]
"""P-256, or RSA with 2048 bits for devices that know nothing else."""


RevocationReason = Literal["unspecified", "key_compromise", "affiliation_changed", "superseded", "cessation_of_operation"]
"""Why a certificate is good no longer (RFC 5280 5.3.1)."""


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
    ``replaced_at``; good no longer since ``revoked_at``."""

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
    revoked_at: datetime | None
    revocation_reason: RevocationReason | None
    created_at: datetime


class Revocation(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate that is good no longer; ``serial`` in hex."""

    serial: str
    revoked_at: datetime
    reason: RevocationReason


class RevocationList(msgspec.Struct, frozen=True, kw_only=True):
    """An authority's list of certificates that are good no longer (RFC 5280 5): ``revoked`` of them, in PEM. ``url`` is where others find it, "" where netd
    serves no files; there is a newer one at ``next_update`` at the latest."""

    authority_id: int
    number: int
    this_update: datetime
    next_update: datetime
    revoked: int
    crl: str
    url: str
