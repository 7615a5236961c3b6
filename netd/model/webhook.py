"""Webhooks: where events are sent, and what became of each attempt; and billing hooks, the other way round."""

from datetime import datetime
from typing import Final

import msgspec

from netd.model.subscriber import LockMode

TEST: Final = "webhook.test"
"""The type of what the test button sends; it is no event of the stream."""


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that is told of events of ``types`` (empty: all) at ``sites`` (None: in the whole tenant), in order.

    ``after`` is the id of the event that it is behind. ``attempts`` failed since ``failing_since`` for the event that is due next, which is tried
    again at ``due_at``. Where netd gave up, ``enabled`` is false and ``disabled_reason`` says why.
    """

    id: int
    tenant_id: int
    name: str
    url: str
    types: tuple[str, ...]
    sites: tuple[int, ...] | None
    note: str | None
    enabled: bool
    disabled_at: datetime | None
    disabled_reason: str | None
    after: str
    attempts: int
    failing_since: datetime | None
    due_at: datetime
    last_status: int | None
    last_error: str | None
    last_attempt_at: datetime | None
    last_delivered_at: datetime | None
    created_by: str
    version: int
    created_at: datetime
    updated_at: datetime


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt. ``delivery_id`` is what the receiver was told, the same in every attempt for the event; ``status`` None: there was no answer."""

    id: int
    webhook_id: int
    delivery_id: str
    event_id: str | None
    event_type: str
    at: datetime
    attempt: int
    delivered: bool
    status: int | None
    error: str | None
    seconds: float


class BillingHook(msgspec.Struct, frozen=True, kw_only=True):
    """What a billing system calls, at ``/api/v1/hooks/<public_id>``, to put on (in ``mode``) and lift the lock ``overdue``."""

    id: int
    tenant_id: int
    public_id: str
    name: str
    mode: LockMode
    sites: tuple[int, ...] | None
    note: str | None
    enabled: bool
    last_used_at: datetime | None
    created_by: str
    version: int
    created_at: datetime
    updated_at: datetime
