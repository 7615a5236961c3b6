"""A subscriber as the engine remembers it: compact, for there may be a million."""

from typing import Final

from netd.model.hours import compile_hours
from netd.radius.attribute_rows import Replaced
from netd.radius.checks import CompiledChecks
from netd.radius.lines import Binding
from netd.radius.plan import PlanRecord
from netd.store.directory import SubscriberRow, TermsRow
from netd.wire.hashes import PasswordHash


class Lock:
    """A lock in force until ``until`` (Unix time; None: until lifted)."""

    __slots__ = ("reason", "until", "walled")

    def __init__(self, reason: str, mode: str, until: float | None) -> None:
        self.reason = reason
        self.walled = mode == "walled"
        self.until = until


class Terms:
    """What few subscribers have, apart from the record so that all others do not pay for it in memory."""

    __slots__ = ("binding", "hours", "identities")

    def __init__(self, row: TermsRow, default_zone: str) -> None:
        self.hours = compile_hours(row.access_hours, row.time_zone or default_zone) if row.access_hours is not None else None
        self.binding = Binding(row.line_mode == "enforce", row.line_learn, row.lines) if row.line_mode != "ignore" else None
        self.identities = row.identities


class Rare:
    """What few subscribers have. All others share one of it, so it costs them a reference: a new member that most do not need belongs here."""

    __slots__ = ("expires_at", "extra", "fault", "fixed_kinds", "ipv4", "locks", "password_hash", "replaced", "state", "terms")

    def __init__(self) -> None:
        self.state = "active"
        self.expires_at: float | None = None
        self.ipv4: str | None = None
        self.locks: tuple[Lock, ...] = ()
        self.terms: Terms | None = None
        self.extra = b""  # attributes of this subscriber alone: static addresses and radreply
        self.replaced: Replaced = frozenset()  # what radreply and the VLAN replace of the grant
        self.password_hash: PasswordHash | None = None  # in place of the password, where only that is known
        self.fault = ""  # why nothing can be granted: a row that cannot be read never widens what the subscriber gets
        self.fixed_kinds = 0  # kinds of addresses (1 ipv4, 2 ipv6, 4 delegated) that it has of its own, so that no pool need give one


_PLAIN: Final = Rare()
"""Everybody's who has nothing of it. Never written to: ``SubscriberRecord.own`` gives one that may be."""


class SubscriberRecord:
    """A subscriber. ``simple`` is true while nothing but the password stands between a request and its Accept.

    There may be a million, and each member costs 8 octets of every one: what is read for every packet stands here, the rest in ``rare``.
    """

    __slots__ = (
        "activated_at", "checks", "extra_print", "id", "key", "last_source", "max_sessions", "nt_hash", "own_body", "password", "plan", "rare", "simple",
        "tenant_id",
        "username",
    )  # fmt: skip

    def __init__(self, row: SubscriberRow, plan: PlanRecord | None) -> None:
        self.password: bytes | None = None  # first what a log-in reads, so that it lies together in the compiled record
        self.plan = plan
        self.extra_print = ""  # stands for ``extra`` in the fingerprint of what is granted
        self.id = row.id
        self.last_source: bytes | None = None  # Calling-Station-Id of the last Accept
        self.checks: CompiledChecks | None = None
        self.max_sessions = row.max_sessions
        self.own_body = False  # the Accept needs more than the plan's grant
        self.simple = row.state == "active" and not row.locks and row.expires_at is None and not row.checks
        self.rare: Rare = _PLAIN
        self.tenant_id = row.tenant_id
        self.key = row.username_key
        self.username = row.username if row.username != row.username_key else row.username_key  # one object for both
        self.nt_hash: bytes | None = None
        self.activated_at = row.activated_at
        if row.state != "active":
            self.own().state = row.state
        if row.locks:
            self.own().locks = tuple(Lock(*lock) for lock in row.locks)
        if row.expires_at is not None:
            self.own().expires_at = row.expires_at
        if row.ipv4 is not None:
            self.own().ipv4 = row.ipv4

    def own(self) -> Rare:
        """The rare part, to be written to."""
        if self.rare is _PLAIN:
            self.rare = Rare()
        return self.rare

    def keep_names(self, before: "SubscriberRecord") -> None:
        """Go on with the objects of the record that this one replaces: the tables keep them as keys."""
        self.id, self.key = before.id, before.key
        if self.username == self.key:
            self.username = self.key

    @property
    def state(self) -> str:
        return self.rare.state

    @property
    def expires_at(self) -> float | None:
        return self.rare.expires_at

    @property
    def ipv4(self) -> str | None:
        return self.rare.ipv4

    @property
    def locks(self) -> tuple[Lock, ...]:
        return self.rare.locks

    @property
    def terms(self) -> Terms | None:
        return self.rare.terms

    @property
    def extra(self) -> bytes:
        return self.rare.extra

    @property
    def replaced(self) -> Replaced:
        return self.rare.replaced

    @property
    def password_hash(self) -> PasswordHash | None:
        return self.rare.password_hash

    @property
    def fault(self) -> str:
        return self.rare.fault

    @property
    def fixed_kinds(self) -> int:
        return self.rare.fixed_kinds
