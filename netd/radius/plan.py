"""A plan as the engine remembers it, and what it grants: attributes of an Access-Accept, encoded once for each vendor."""

from hashlib import blake2b

import msgspec

from netd.domain.metering import Meter
from netd.model.hours import AccessHours
from netd.model.plan import Plan
from netd.radius.account import Variant
from netd.radius.attribute_rows import Replaced
from netd.sdk import FIRST_FIELDS, Service


class Grant:
    """The encoded attributes of one service for one vendor; ``fault`` says why there are none.

    The fingerprint stands for what is granted, not for how: a release that encodes the same service otherwise changes no live session.
    ``policy`` is the fingerprint with what stands for the plan's own replies behind it. ``replaced`` are those of the driver's attributes that these stand
    in for; None: the plan is raw, nothing is the driver's.
    """

    __slots__ = ("attributes", "fault", "fingerprint", "plain", "policy", "replaced", "service")

    def __init__(
        self, vendor: str, service: Service, attributes: bytes, fault: str = "", *, replies: str = "", replaced: Replaced | None = frozenset()
    ) -> None:
        self.service = service
        self.attributes = attributes
        self.fault = fault
        self.plain = not fault  # nothing of the plan but its attributes counts: it has no hours
        stated = {name: value for name in service.__struct_fields__ if (value := getattr(service, name)) is not None or name in FIRST_FIELDS}
        self.fingerprint = blake2b(vendor.encode() + b"\0" + msgspec.json.encode(stated, enc_hook=str, order="sorted"), digest_size=4).hexdigest()
        self.replaced = replaced
        self.policy = self.fingerprint + replies


class PlanRecord:
    """A plan, its quotas, and the grants compiled from it: by vendor the plain ones, and by vendor and variant all others.

    A plan with quotas keeps nothing in ``grants``: that table is the short way of those of whom nothing but the plan need be known.
    With a ``fault`` it grants nothing. ``unpooled`` are attributes without the names of some of the NAS's own pools, by fingerprint and kinds.
    """

    __slots__ = ("fault", "grants", "hours", "meters", "plan", "timed", "unpooled", "variants")

    def __init__(self, plan: Plan, hours: AccessHours | None = None, fault: str = "") -> None:
        self.plan = plan
        self.hours = hours
        self.fault = fault
        self.meters: tuple[Meter, ...] = ()
        self.timed = False  # a quota measures time, so each Accept needs a Session-Timeout of its own
        self.grants: dict[str, Grant] = {}
        self.variants: dict[tuple[str, Variant], Grant] = {}
        self.unpooled: dict[tuple[str, int], bytes] = {}

    def renew(self, plan: Plan, hours: AccessHours | None, fault: str) -> None:
        """Go on with the plan as it is now: the same object, so subscribers see the new values at once."""
        self.plan, self.hours, self.fault = plan, hours, fault
        self._forget_grants()

    def put_meters(self, meters: tuple[Meter, ...]) -> None:
        """Take the place of the plan's quotas."""
        self.meters = meters
        self.timed = any(meter.quota.unit == "time" for meter in meters)
        self._forget_grants()

    def _forget_grants(self) -> None:
        self.grants = {}
        self.variants = {}
        self.unpooled = {}
