"""Who did what: the audit log."""

from datetime import datetime
from typing import Any

import msgspec


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """One mutation or refused attempt. ``before`` and ``after`` hold what changed (all of it for a new or deleted object), secrets as ``***``.

    ``result``: ok, unchanged (it was so already), refused (the role does not allow it); of a disconnect asked, and then what the NAS said
    (:data:`netd.model.control.Outcome`).
    """

    id: int
    at: datetime
    actor: str
    token_id: int | None
    address: str | None
    request_id: str | None
    action: str
    object_type: str
    object_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    result: str
