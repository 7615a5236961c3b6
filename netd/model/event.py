"""What happened, as the people and systems around netd are told of it."""

from datetime import datetime
from typing import Any, Final

import msgspec

OF_ACTION: Final[dict[str, str]] = {
    "subscriber.create": "subscriber.created",
    "subscriber.update": "subscriber.updated",
    "subscriber.delete": "subscriber.deleted",
    "subscriber.import": "subscriber.imported",
    "subscriber.activate": "subscriber.activated",
    "subscriber.suspend": "subscriber.suspended",
    "subscriber.restore": "subscriber.restored",
    "subscriber.terminate": "subscriber.terminated",
    "subscriber.reactivate": "subscriber.reactivated",
    "subscriber.lock": "subscriber.locked",
    "subscriber.unlock": "subscriber.unlocked",
    "subscriber.top_up": "quota.topped_up",
    "subscriber.reset_quota": "quota.reset",
    "subscriber.set_password": "subscriber.password_set",
    "plan.create": "plan.created",
    "plan.update": "plan.updated",
    "plan.delete": "plan.deleted",
    "nas.create": "nas.created",
    "nas.update": "nas.updated",
    "nas.delete": "nas.deleted",
    "device.create": "device.created",
    "device.update": "device.updated",
    "device.delete": "device.deleted",
    "configuration.approve": "configuration.approved",
    "template.create": "template.created",
    "template.update": "template.updated",
    "template.delete": "template.deleted",
    "software_image.create": "software_image.created",
    "software_image.delete": "software_image.deleted",
    "alarm.acknowledge": "alarm.acknowledged",
    "enforcement.confirm": "enforcement.confirmed",
    "enforcement.discard": "enforcement.discarded",
    "site.create": "site.created",
    "site.update": "site.updated",
    "site.delete": "site.deleted",
    "organization.create": "organization.created",
    "organization.update": "organization.updated",
    "organization.delete": "organization.deleted",
    "webhook.disable": "webhook.disabled",
    "ztp_device.create": "ztp.expected",
    "ztp_device.delete": "ztp.removed",
    "ztp_device.retry": "ztp.retried",
    "certificate_authority.create": "certificate_authority.created",
    "certificate.install": "certificate.installed",
    "job.submit": "job.submitted",
    "job.retry": "job.submitted",
    "job.approve": "job.approved",
    "job.decline": "job.declined",
    "job.request_cancel": "job.cancel_requested",
    "job.requeue": "job.requeued",
    "job.succeed": "job.succeeded",
    "job.fail": "job.failed",
    "job.cancel": "job.cancelled",
    "job.time_out": "job.timed_out",
    "schedule.create": "schedule.created",
    "schedule.update": "schedule.updated",
    "schedule.delete": "schedule.deleted",
}
"""Which event an action of the audit log is, once it is done. What concerns who may do what (tokens, roles, keys) is told by the audit log only."""

OF_SESSIONS: Final = ("session.started", "session.stopped", "session.resumed")
"""Written where somebody wants them only. ``resumed``: a session that was taken for over goes on."""

OF_THE_NETWORK: Final = (
    *OF_SESSIONS,
    "enforcement.applied",
    "enforcement.failed",
    "nas.down",
    "nas.up",
    "quota.reached",
    "device.changed",
    "device.replaced",
    "device.host_key_changed",
    "job.started",
    "schedule.missed",
    "configuration.changed",
    "configuration.drifted",
    "configuration.settled",
    "alarm.raised",
    "alarm.cleared",
    "ztp.candidate",
    "ztp.candidates",
    "ztp.seen",
    "ztp.offered",
    "ztp.fetching",
    "ztp.configured",
    "ztp.verified",
    "ztp.failed",
    "ztp.armed",
    "ztp.disarmed",
    "ztp.waiting",
    "ztp.configured_anew",
    "ztp.not_configured_anew",
)
"""What netd finds out by itself."""

TYPES: Final = tuple(sorted({*OF_ACTION.values(), *OF_THE_NETWORK}))
"""Every type of event there is."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event. ``id`` is its place in the stream: give it back to go on behind it. ``data`` depends on the type and holds no secrets."""

    id: str
    at: datetime
    type: str
    object_type: str
    object_id: str
    subscriber_id: int | None
    site_id: int | None
    actor: str | None
    data: dict[str, Any]


class Place(msgspec.Struct, frozen=True, order=True):
    """A place in the stream: behind the event of this transaction and number."""

    xid: int
    number: int

    def __str__(self) -> str:
        return f"{self.xid}.{self.number}"


def place(text: str) -> Place:
    """The place that an event's id names. Raises ValueError."""
    xid, dot, number = text.partition(".")
    if not dot or not (xid + number).isascii() or not (xid.isdecimal() and number.isdecimal()) or max(int(xid), int(number)) >= 2**63:
        raise ValueError(f"{text[:40]!r} is not an event's id")
    return Place(int(xid), int(number))


def matches(type_: str, wanted: tuple[str, ...]) -> bool:
    """Whether an event of this type is one of those wanted: ``subscriber.created``, ``quota.*``; none named means all."""
    return not wanted or any(type_ == each or (each.endswith(".*") and type_.startswith(each[:-1])) for each in wanted)
