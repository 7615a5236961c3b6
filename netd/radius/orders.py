"""Disconnect- and CoA-Requests for live sessions: named as the driver of the session's NAS wants it, and sent to where that NAS listens."""

import ipaddress
from collections.abc import Callable, Sequence

from netd.model.accounting import Row
from netd.model.control import ControlResult
from netd.radius.coa import Action, Done, DynamicAuthorization, Target, target_of
from netd.radius.directory import GENERIC, Directory
from netd.radius.nas import NasRecord
from netd.sdk import Avp, LiveSession
from netd.wire.attributes import encode


class Orders:
    """Between who wants something of a session (enforcement, an operator, a relayed request) and the queue of its NAS."""

    def __init__(self, directory: Directory, client: DynamicAuthorization) -> None:
        self.directory = directory
        self.client = client

    def nas_of(self, row: Row) -> NasRecord | None:
        """The entry of the session's NAS, None if it is no longer configured."""
        return None if row.nas_id is None else self.directory.nas.get(row.nas_id)

    def target(self, row: Row, nas: NasRecord) -> Target:
        """Where requests for the session go."""
        vendor = self.directory.vendor(nas.vendor) or self.directory.vendor(GENERIC)
        return target_of(nas.coa_address, row.nassourceaddress, nas.coa_port, 3799 if vendor is None else vendor.manifest.coa_port)

    def nas_at(self, target: Target) -> list[NasRecord]:
        """The entries whose requests go there."""
        found = []
        for nas in self.directory.nas.values():
            if nas.coa_address == target.address or (nas.coa_address is None and self.directory.networks.source(target.address) is nas):
                vendor = self.directory.vendor(nas.vendor) or self.directory.vendor(GENERIC)
                if (nas.coa_port or (3799 if vendor is None else vendor.manifest.coa_port)) == target.port:
                    found.append(nas)
        return found

    def post(
        self, action: Action, row: Row, nas: NasRecord, change: Sequence[Avp], done: Done,
        still_wanted: Callable[[], bool] = lambda: True, urgent: bool = False, more: bytes = b"",
    ) -> None:  # fmt: skip
        """Queue a request for the session; ``done`` is called with what came of it, see ``DynamicAuthorization.post``.

        ``change`` are attributes by name, ``more`` whole attributes as they go on the wire.
        """
        vendor = self.directory.vendor(nas.vendor) or self.directory.vendor(GENERIC)
        if vendor is None or vendor.access is None:
            done(ControlResult(outcome="error", action=action, detail=f"no driver for vendor {nas.vendor}"))
            return
        driver, name = vendor.access, vendor.manifest.name

        def attributes() -> bytes:
            with self.directory.extensions.guard(name):
                return encode(self.directory.dictionary, [*driver.identify(_live_session(row)), *change]) + more

        self.client.post(action, self.target(row, nas), nas.secret, attributes, done, still_wanted, urgent)


def _live_session(row: Row) -> LiveSession:
    def v4(text: str | None) -> ipaddress.IPv4Address | None:
        return None if text is None else ipaddress.IPv4Address(text)

    def net6(text: str | None) -> ipaddress.IPv6Network | None:
        return None if text is None else ipaddress.IPv6Network(text, strict=False)

    return LiveSession(
        username=row.username, acct_session_id=row.acctsessionid, nas_ip_address=ipaddress.ip_address(row.nasipaddress),
        nas_identifier=row.nasidentifier, nas_port_id=row.nasportid, calling_station_id=row.callingstationid, called_station_id=row.calledstationid,
        framed_ip_address=v4(row.framedipaddress), framed_ipv6_prefix=net6(row.framedipv6prefix),
        framed_ipv6_address=None if row.framedipv6address is None else ipaddress.IPv6Address(row.framedipv6address),
        delegated_ipv6_prefix=net6(row.delegatedipv6prefix),
    )  # fmt: skip
