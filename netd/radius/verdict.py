"""What an access decision says. Apart from ``netd.radius.access``, which may be compiled, for mypyc does not know msgspec's class keywords."""

import msgspec

from netd.model.access import Reason
from netd.radius.allocation import Want
from netd.radius.subscriber import SubscriberRecord


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What to answer. ``name`` is the key of the User-Name; ``attributes`` is the encoded body without Proxy-State and Message-Authenticator;
    ``class_`` is what was put in Class."""

    reason: Reason
    subscriber: SubscriberRecord | None
    name: str
    attributes: bytes = b""
    detail: str = ""
    class_: str | None = None
    want: Want | None = None  # with NO_ADDRESS: leases that the database must give first; then ``decide_again``

    @property
    def accept(self) -> bool:
        return self.reason is Reason.OK or self.reason is Reason.WALLED
