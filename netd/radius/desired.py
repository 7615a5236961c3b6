"""What each live session should have now, from the directory alone."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from netd.model.access import Reason
from netd.radius.access import Access
from netd.radius.directory import Directory
from netd.radius.nas import NasRecord
from netd.radius.plan import Grant
from netd.radius.sessions import LiveRecord
from netd.radius.subscriber import SubscriberRecord

OFF: Final = "off"
"""The desired policy of a session that should not be."""

FINGERPRINT: Final = 8
"""Characters of a policy that stand for the grant; what follows stands for the subscriber's own attributes."""


class Desired(NamedTuple):
    """What a session should have: a policy's fingerprint (or OFF) with its grant, on which NAS, and why."""

    policy: str
    grant: Grant | None
    nas: NasRecord
    why: str


class Policies:
    """Tells what is desired; ``wall_clock`` gives Unix time."""

    def __init__(self, directory: Directory, access: Access, wall_clock: Callable[[], float] = time.time) -> None:
        self.wall_clock = wall_clock
        self._directory = directory
        self._access = access

    def of(self, subscriber: SubscriberRecord, nas: NasRecord) -> str | None:
        """The fingerprint that a session of the subscriber on this NAS should have now, None if it should not be or cannot be told."""
        _, grant, print_ = self._access.policy(subscriber, nas, self.wall_clock())
        return None if grant is None else print_

    def desired(self, live: LiveRecord) -> Desired | None:
        """None where nothing can be said and so nothing is done: a missing row or a broken driver ends no session."""
        nas = None if live.row.nas_id is None else self._directory.nas.get(live.row.nas_id)
        if nas is None:
            return None
        if live.doomed:
            return Desired(OFF, None, nas, live.doomed)
        subscriber = None if live.subscriber_id is None else self._directory.subscribers.get(live.subscriber_id)
        if subscriber is None:
            return None
        reason, grant, print_ = self._access.policy(subscriber, nas, self.wall_clock())
        if grant is not None:
            detail = self._access.entitlement(subscriber, self.wall_clock())[1]
            if reason is Reason.WALLED:
                return Desired(print_, grant, nas, f"walled garden ({detail})")
            return Desired(print_, grant, nas, detail or "the plan, its quotas or the subscriber's attributes changed")
        if reason is Reason.NOT_GRANTABLE:
            return None
        return Desired(OFF, None, nas, f"{reason.value} ({print_})" if print_ else reason.value)
