"""Accounting: what one packet says (``Record``), and what is kept of a session (``Row``)."""

from hashlib import blake2b
from typing import Literal

import msgspec

from netd.model.session import ClosedBy

Kind = Literal["start", "interim", "stop"]

FACTS = (
    "realm", "nasidentifier", "nasportid", "nasporttype", "acctauthentic", "connectinfo_start", "calledstationid", "callingstationid",
    "servicetype", "framedprotocol", "framedipaddress", "framedipv6address", "framedipv6prefix", "framedinterfaceid", "delegatedipv6prefix",
    "class_",
)  # fmt: skip
"""Members that a record may tell about its session and a row keeps: the newest value wins, silence changes nothing."""


def unique_id(nas: str, acct_session_id: str, username_key: str) -> str:
    """Acct-Unique-Session-Id: 32 hex digits that name the session of one NAS, Acct-Session-Id and user.

    ``nas`` is the device itself, not its entry: one entry may be a network of devices, and an entry may be made anew.
    """
    return blake2b(f"{nas}\0{acct_session_id}\0{username_key}".encode(), digest_size=16).hexdigest()


class Facts(msgspec.Struct, kw_only=True, gc=False):
    """What both a record and a row hold. Addresses are text in canonical form; octets are 64-bit totals of the session."""

    acctuniqueid: str
    tenant_id: int
    nas_id: int | None
    subscriber_id: int | None
    acctsessionid: str
    username: str
    nasipaddress: str
    nassourceaddress: str
    acctsessiontime: int = 0
    acctinputoctets: int = 0
    acctoutputoctets: int = 0
    acctinputpackets: int = 0
    acctoutputpackets: int = 0
    interim_seconds: int = 300
    realm: str | None = None
    nasidentifier: str | None = None
    nasportid: str | None = None
    nasporttype: str | None = None
    acctauthentic: str | None = None
    connectinfo_start: str | None = None
    calledstationid: str | None = None
    callingstationid: str | None = None
    servicetype: str | None = None
    framedprotocol: str | None = None
    framedipaddress: str | None = None
    framedipv6address: str | None = None
    framedipv6prefix: str | None = None
    framedinterfaceid: str | None = None
    delegatedipv6prefix: str | None = None
    class_: str | None = None


class Record(Facts, kw_only=True, gc=False):
    """One accounting packet of a session.

    ``event_at`` is Unix time of the event: Event-Timestamp, else the time of receipt less Acct-Delay-Time (then ``exact`` is False).
    ``heard_at`` is Unix time of the receipt.
    ``applied_policy`` is what the Class says the session was granted.
    """

    kind: Kind
    event_at: float
    exact: bool
    heard_at: float = 0.0
    terminate_cause: str | None = None
    connectinfo_stop: str | None = None
    applied_policy: str | None = None

    @property
    def started_at(self) -> float:
        """When the session must have begun, Unix time."""
        return self.event_at if self.kind == "start" else self.event_at - self.acctsessiontime


class Row(Facts, kw_only=True, gc=False, omit_defaults=True):
    """A session as stored, open while ``stopped_at`` is None. Times are Unix time; ``heard_at`` and ``doomed`` are kept of open ones only."""

    radacctid: int
    started_at: float
    updated_at: float
    heard_at: float = 0.0
    stopped_at: float | None = None
    acctinterval: int | None = None
    terminate_cause: str | None = None
    connectinfo_stop: str | None = None
    closed_by: ClosedBy | None = None
    applied_policy: str | None = None
    doomed: str | None = None
