"""How a session gets from what it has to what it should have: by CoA where its vendor can, else by a disconnect, or not at all for not knowing."""

import logging
from collections.abc import Sequence
from typing import Literal

from netd.errors import ExtensionError
from netd.radius.attribute_rows import Replaced, is_replaced
from netd.radius.desired import FINGERPRINT, OFF, Desired
from netd.radius.directory import Directory
from netd.radius.plan import Grant
from netd.radius.sessions import LiveRecord
from netd.sdk import Avp
from netd.wire import radius
from netd.wire.attributes import encode

log = logging.getLogger(__name__)

Step = Sequence[Avp] | Literal["disconnect"] | None
"""Attributes for a CoA (none: nothing needs to be sent), a disconnect, or None where the way is not known."""


class Steps:
    """Asks the drivers."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def step(self, live: LiveRecord, desired: Desired) -> Step:
        """What brings the session there."""
        if desired.policy == OFF:
            return "disconnect"
        applied = live.applied or ""
        own_attributes_differ = applied[FINGERPRINT:] != desired.policy[FINGERPRINT:]
        if not applied or (not own_attributes_differ and applied[:FINGERPRINT] not in self._directory.grants.services):
            return None
        if own_attributes_differ or desired.grant is None or live.refused == desired.policy:
            return "disconnect"
        change = self._change(live, desired.grant, desired.nas.vendor)
        return "disconnect" if change is None else change

    def disrupts(self, live: LiveRecord, step: Step, grant: Grant | None) -> bool:
        """Whether the subscriber loses the connection by this step, or all but the walled garden."""
        if not step or grant is None or isinstance(step, str):
            return step == "disconnect"
        before = self._directory.grants.services.get((live.applied or "")[:FINGERPRINT])
        return grant.service.walled and (before is None or not before.walled)

    def _change(self, live: LiveRecord, grant: Grant, vendor_name: str) -> Sequence[Avp] | None:
        """Attributes for a CoA, None if the vendor has none for it."""
        if grant.replaced is None:
            return ()  # a raw plan: the driver has no say, and its replies are the same as before
        vendor = self._directory.vendor(vendor_name)
        if vendor is None or vendor.access is None:
            return None
        before = live.unsure or (live.applied or "")[:FINGERPRINT]
        try:
            with self._directory.extensions.guard(vendor_name):
                change = vendor.access.change(self._directory.grants.services.get(before), grant.service)
            return change if not change else self._without(change, self._replaced(live, grant, grant.replaced))
        except ExtensionError as error:
            log.warning("driver cannot change a live session", extra={"vendor": vendor_name, "error": str(error)})
            return None

    def _replaced(self, live: LiveRecord, grant: Grant, by_plan: Replaced) -> Replaced:
        """What the plan or the subscriber has in place of the driver's attributes."""
        subscriber = None if live.subscriber_id is None else self._directory.subscribers.get(live.subscriber_id)
        return by_plan if subscriber is None or grant.service.walled else by_plan | subscriber.replaced

    def _without(self, change: Sequence[Avp], replaced: Replaced) -> Sequence[Avp]:
        """A change that does not overwrite these."""
        if not replaced:
            return change
        encoded = [(avp, radius.split(encode(self._directory.dictionary, [avp]))) for avp in change]
        return [avp for avp, octets in encoded if not all(is_replaced(kind, value, replaced) for kind, value in octets)]
