"""A NAS as the engine remembers it."""

import ipaddress

from netd.radius.lines import LineLogin
from netd.radius.subscriber import SubscriberRecord
from netd.store.directory import NasRow
from netd.wire.radius import SharedSecret


class NasRecord:
    """A NAS entry with everything that a packet from it needs, and its counters (read by metrics)."""

    __slots__ = (
        "accepts", "accounting", "coa_address", "coa_port", "devices", "drops", "duplicates", "enabled", "exact", "id", "learning", "limit_proxy_state",
        "limit_proxy_state_switch", "line_login", "line_mismatches", "name", "network", "rejects", "require_ma", "require_ma_switch", "secret", "site_id",
        "status", "tenant_id", "users", "vendor", "vrf",
    )  # fmt: skip

    def __init__(
        self, row: NasRow, secret: bytes, users: dict[str, SubscriberRecord], devices: dict[str, SubscriberRecord], line_login: LineLogin | None = None
    ) -> None:
        self.id = row.id
        self.tenant_id = row.tenant_id
        self.name = row.shortname
        self.network = ipaddress.ip_network(row.nasname)
        self.exact = self.network.num_addresses == 1
        self.vendor = row.vendor
        self.secret = SharedSecret(secret)
        self.coa_address = row.coa_address
        self.coa_port = row.coa_port
        self.enabled = row.enabled
        self.site_id = row.site_id
        self.vrf = row.vrf
        self.users = users
        self.devices = devices  # by what devices are known by, such as ``mac 00:11:22:33:44:55``
        self.line_login = line_login
        self.require_ma_switch = row.require_message_authenticator
        self.limit_proxy_state_switch = row.limit_proxy_state
        require = row.require_message_authenticator
        limit = row.limit_proxy_state
        self.require_ma = (row.learned_require_message_authenticator if require == "auto" else require) == "yes"
        self.limit_proxy_state = (row.learned_limit_proxy_state if limit == "auto" else limit) == "yes"
        self.learning = frozenset(  # switches that are still to find out what the NAS does
            switch
            for switch, setting, learned in (
                ("require", require, row.learned_require_message_authenticator), ("limit", limit, row.learned_limit_proxy_state),
            )
            if setting == "auto" and learned is None
        )  # fmt: skip
        self.accepts = self.accounting = self.duplicates = self.status = self.line_mismatches = 0
        self.rejects: dict[str, int] = {}
        self.drops: dict[str, int] = {}

    def adopt_counts(self, before: "NasRecord") -> None:
        """Go on counting where the record that this one replaces stopped; counters never go back."""
        for name in ("accepts", "accounting", "duplicates", "status", "line_mismatches", "rejects", "drops"):
            setattr(self, name, getattr(before, name))
