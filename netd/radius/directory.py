"""The engine's memory of who may connect: every tenant's subscribers, plans and NAS as compact records.

Loaded at start and kept current by the change feed. Access decisions read only this; so they go on while the database is away.
"""

import ipaddress
import logging
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from netd.domain.metering import Meter
from netd.errors import ExtensionError, StoreError
from netd.extensions import Extensions, Vendor
from netd.model.hours import AccessHours, compile_hours
from netd.model.plan import Plan
from netd.model.quota import Quota
from netd.radius import account
from netd.radius.account import NO_EFFECT, PLAIN, Account, Effect, Variant
from netd.radius.checks import CompiledChecks, compile_checks
from netd.radius.lines import Binding, LineLogin
from netd.radius.pools import NOTHING, Chosen, Pools
from netd.sdk import FIRST_FIELDS, Avp, Service, vlan_of
from netd.store.directory import NasRow, SubscriberRow, TermsRow
from netd.store.leases import PoolRow, RuleRow
from netd.wire.attributes import encode, from_text
from netd.wire.dictionary import Attribute, Dictionary
from netd.wire.framing import Vendor as VendorFormat
from netd.wire.hashes import PasswordHash, parse_hash
from netd.wire.radius import SharedSecret

log = logging.getLogger(__name__)

Opener = Callable[[bytes, bytes], bytes]
"""Opens a sealed secret: (sealed, context) -> plain."""


Replaced = frozenset[tuple[int, bytes]]
"""Attributes that stand in for what a driver grants: type, and the octets that the value begins with (vendor and vendor type; extended type)."""


def is_replaced(kind: int, value: bytes, replaced: Iterable[tuple[int, bytes]]) -> bool:
    """Whether an encoded attribute is one of ``replaced``."""
    return any(kind == other and value.startswith(begin) for other, begin in replaced)


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


class Wall:
    """The walled garden as configured: what a walled subscriber gets instead of the plan's rates."""

    __slots__ = ("down_bps", "name", "up_bps", "url")

    def __init__(self, name: str, url: str, down_bps: int, up_bps: int) -> None:
        self.name = name
        self.url = url
        self.down_bps = down_bps
        self.up_bps = up_bps


GENERIC: Final = "generic"

_RESERVED: Final = frozenset(((24,), (33,), (79,), (80,)))
"""State, Proxy-State, EAP-Message, Message-Authenticator: parts of the protocol, not of what is granted."""


_FIXING: Final = {"Framed-IP-Address": 1, "Framed-IPv6-Prefix": 2, "Delegated-IPv6-Prefix": 4}


def _route(prefix: str, gateway: str | None, metric: int) -> Avp:
    """A network behind the subscriber (RFC 2865 5.22, RFC 3162 2.5); the unspecified address stands for the subscriber's own."""
    if ":" in prefix:
        return "Framed-IPv6-Route", f"{prefix} {gateway or '::'} {metric}"
    return "Framed-Route", f"{prefix} {gateway or '0.0.0.0'} {metric}"


class Directory:
    """Subscribers, plans and NAS of all tenants, and the grants compiled from them."""

    def __init__(self, extensions: Extensions, open_secret: Opener, wall: Wall, time_zone: str = "UTC") -> None:
        self.dictionary: Dictionary = extensions.dictionary
        self.extensions = extensions
        self.wall = wall
        self.time_zone = time_zone
        self.devices: dict[int, dict[str, SubscriberRecord]] = {}  # by tenant, then by what devices log in by
        self.users: dict[int, dict[str, SubscriberRecord]] = {}  # by tenant, then by username_key
        self.subscribers: dict[int, SubscriberRecord] = {}
        self.plans: dict[int, PlanRecord] = {}
        self.metered = False  # any plan has a quota
        self.accounts: dict[int, Account] = {}  # usage of those who used anything of a quota, by subscriber
        self.nas: dict[int, NasRecord] = {}
        self.services: dict[str, Service] = {}  # what each fingerprint ever compiled stands for
        self.new_services: list[tuple[str, str, Service]] = []  # those not yet in the store: fingerprint, vendor, service
        self.pools = Pools()
        self.faults: dict[str, str] = {}  # what could not be loaded, by object; shown in health
        self._open = open_secret
        self.sources: dict[str, NasRecord | None] = {}  # what source() found
        self.clients: dict[bytes, tuple[str, NasRecord]] = {}  # the same by the address's octets, for the hot path; the server fills it
        self._lengths: dict[int, list[int]] = {4: [], 6: []}
        self._by_network: dict[tuple[int, int, int], NasRecord] = {}

    # -- loading -----------------------------------------------------------------------------------------------------

    def put_plans(self, plans: Iterable[Plan]) -> None:
        """Take plans in, new or changed. Records stay the same objects, so subscribers see the new values at once."""
        for plan in plans:
            hours, fault = self._hours(plan)
            record = self.plans.get(plan.id)
            if record is None:
                self.plans[plan.id] = PlanRecord(plan, hours, fault)
            else:
                record.plan = plan
                record.hours, record.fault = hours, fault
                record.grants = {}
                record.variants = {}
                record.unpooled = {}

    def put_quotas(self, plan_ids: Iterable[int], quotas: Iterable[Quota]) -> None:
        """Take in all quotas of these plans. One that cannot be counted as it says (a time zone not known here) allows no more for it."""
        found: dict[int, list[Quota]] = {}
        for quota in quotas:
            found.setdefault(quota.plan_id, []).append(quota)
        for key in plan_ids:
            record = self.plans.get(key)
            if record is None:
                continue
            self.faults.pop(f"quotas of plan {key}", None)
            record.meters = tuple(self._meter(record, quota) for quota in found.get(key, ()))
            record.timed = any(meter.quota.unit == "time" for meter in record.meters)
            record.grants = {}
            record.variants = {}
            record.unpooled = {}
        self.metered = any(record.meters for record in self.plans.values())

    def _meter(self, record: PlanRecord, quota: Quota) -> Meter:
        try:
            return Meter(quota)
        except ValueError as error:
            log.error("quota is counted in UTC and without free windows", extra={"plan": record.plan.name, "quota": quota.name, "error": str(error)})
            self.faults[f"quotas of plan {record.plan.id}"] = f"quota {quota.name}: {error}"
            return Meter(msgspec.structs.replace(quota, timezone="UTC", free_windows=()))

    def effect(self, subscriber: SubscriberRecord, plan: PlanRecord, now: float) -> Effect:
        """What the subscriber's quotas do to the service at Unix time ``now``."""
        found = self.accounts.get(subscriber.id)
        return NO_EFFECT if found is None else found.effect(plan.meters, now)

    def quota_ends_at(self, subscriber: SubscriberRecord, plan: PlanRecord, now: float) -> float | None:
        """When a time quota will wall or block the subscriber, should it stay online: Unix time, None if not in this period."""
        found = self.accounts.get(subscriber.id) or Account(subscriber.tenant_id, subscriber.id)
        return account.ends_at(found, plan.meters, subscriber.activated_at, now)

    def put_pools(self, pools: Iterable[PoolRow], rules: Iterable[RuleRow]) -> None:
        """Take the place of all pools and rules. They hold from each subscriber's next log-in on."""
        before = self.pools.tenants
        self.pools.put(pools, rules)
        for tenant_id in before ^ self.pools.tenants:
            for record in self.users.get(tenant_id, {}).values():
                record.own_body = self._has_own_body(record)

    def chosen_pools(self, subscriber: SubscriberRecord, plan: PlanRecord, nas: NasRecord) -> Chosen:
        """The pools that a log-in of the subscriber on this NAS is served from, by kind; 0 where it has an address of its own, or no rule fits."""
        if nas.tenant_id not in self.pools.tenants:
            return NOTHING
        chosen = self.pools.chosen(nas.tenant_id, plan.plan.id, nas.id, nas.site_id, nas.vrf)
        fixed = subscriber.fixed_kinds
        if not fixed:
            return chosen
        return (0 if fixed & 1 else chosen[0], 0 if fixed & 2 else chosen[1], 0 if fixed & 4 else chosen[2])

    def _has_own_body(self, record: SubscriberRecord) -> bool:
        return (
            bool(record.extra)
            or bool(record.replaced)
            or record.expires_at is not None
            or record.tenant_id in self.pools.tenants
            or (record.terms is not None and record.terms.hours is not None)
        )

    def _hours(self, plan: Plan) -> tuple[AccessHours | None, str]:
        """A plan's hours, or why they cannot be told: then nobody is let in at what may be the wrong time."""
        name = f"plan {plan.id}"
        self.faults.pop(name, None)
        if plan.access_hours is None:
            return None, ""
        try:
            return compile_hours(plan.access_hours, plan.time_zone or self.time_zone), ""
        except ValueError as error:
            log.error("plan cannot be granted", extra={"plan": plan.name, "error": str(error)})
            self.faults[name] = str(error)
            return None, str(error)

    def put_subscribers(self, rows: Iterable[SubscriberRow]) -> None:
        """Take subscribers in, new or changed. One whose rows cannot be read is granted nothing, and named in ``faults``."""
        for row in rows:
            record = self._record(row)
            if record.fault:
                log.error("subscriber cannot be granted anything", extra={"subscriber": row.username, "error": record.fault})
                self.faults[f"subscriber {row.id}"] = record.fault
            elif self.faults:
                self.faults.pop(f"subscriber {row.id}", None)
            users = self.users.setdefault(row.tenant_id, {})
            known = self.subscribers.get(row.id)
            if known is not None:
                record.last_source = known.last_source
                self._forget_devices(known)
                if known.key == record.key:
                    record.keep_names(known)
                elif users.get(known.key) is known:
                    del users[known.key]
            self.subscribers[record.id] = record
            users[record.key] = record
            if record.terms is not None and record.terms.identities:
                self.devices.setdefault(row.tenant_id, {}).update(dict.fromkeys(record.terms.identities, record))

    def _forget_devices(self, record: SubscriberRecord) -> None:
        if record.terms is None:
            return
        devices = self.devices.get(record.tenant_id, {})
        for key in record.terms.identities:
            if devices.get(key) is record:
                del devices[key]

    def _record(self, row: SubscriberRow) -> SubscriberRecord:
        record = SubscriberRecord(row, self.plans.get(row.plan_id))
        try:
            if row.password is not None:
                _set_password(record, self._open(row.password, b"subscribers.password"), row.password_hashed)
            if row.checks:
                record.checks = compile_checks(self.dictionary, row.checks)
            if row.terms is not None:
                record.own().terms = Terms(row.terms, self.time_zone)
            self._own_attributes(record, row)
        except (ValueError, LookupError, StoreError) as error:
            record.own().fault = str(error)
        except Exception as error:  # barrier: whatever one row holds, the others must be served
            log.exception("subscriber not understood", extra={"subscriber": row.username})
            record.own().fault = f"internal error: {type(error).__name__}"
        terms = record.terms
        record.own_body = self._has_own_body(record)
        record.simple = record.simple and not record.fault and (terms is None or (terms.hours is None and terms.binding is None))
        return record

    def _own_attributes(self, record: SubscriberRecord, row: SubscriberRow) -> None:
        avps: list[Avp] = []
        if row.ipv4 is not None:
            avps.append(("Framed-IP-Address", ipaddress.IPv4Address(row.ipv4)))
        if row.ipv6_prefix is not None:
            avps.append(("Framed-IPv6-Prefix", ipaddress.IPv6Network(row.ipv6_prefix)))
        if row.delegated_ipv6_prefix is not None:
            avps.append(("Delegated-IPv6-Prefix", ipaddress.IPv6Network(row.delegated_ipv6_prefix)))
        for prefix, gateway, metric in row.routes or ():
            avps.append(_route(prefix, gateway, metric))
        if row.terms is not None and row.terms.vlan is not None:
            avps += vlan_of(row.terms.vlan)
            record.own().replaced = frozenset(self._place(self.dictionary.attribute(name.partition(":")[0])) for name, _ in vlan_of(row.terms.vlan))
        if row.replies:
            record.own().replaced |= self._extend(avps, row.replies)
        fixed = sum({_FIXING.get(name, 0) for name, _ in avps})
        if fixed:
            record.own().fixed_kinds = fixed
        if avps:
            record.own().extra = encode(self.dictionary, avps)
        if avps or record.replaced:
            record.extra_print = _print(avps, row.replies or ())

    def _extend(self, avps: list[Avp], replies: Iterable[tuple[str, str, str]]) -> Replaced:
        """Add reply rows: ``+=`` adds one more value, ``:=`` and ``=`` replace what there is of that attribute, ``!*`` takes it away."""
        replaced = set()
        for name, op, text in replies:
            attribute = self.dictionary.attribute(name.partition(":")[0])
            if attribute.oid in _RESERVED:
                raise ValueError(f"{attribute.name} is netd's own to send")
            if op != "+=":
                replaced.add(self._place(attribute))
                avps[:] = [avp for avp in avps if self.dictionary.attribute(avp[0].partition(":")[0]).oid != attribute.oid]
            if op != "!*":
                avps.append((name, from_text(attribute, text)))
        return frozenset(replaced)

    def _place(self, attribute: Attribute) -> tuple[int, bytes]:
        """Where an attribute stands in a packet, as in ``Replaced``; one inside another's TLV stands for all of that."""
        oid = attribute.oid
        if oid[0] == 26 and len(oid) > 2:
            form = self.dictionary.vendors.get(oid[1]) or VendorFormat(oid[1])
            return 26, oid[1].to_bytes(4) + oid[2].to_bytes(form.type_octets)
        return oid[0], bytes(oid[1:2])

    def validate_check(self, attribute: str, op: str, value: str) -> None:
        """AttributeRules: what loading a radcheck row would refuse. Raises ValueError."""
        compile_checks(self.dictionary, [(attribute, op, value)])

    def validate_reply(self, attribute: str, op: str, value: str) -> None:
        """AttributeRules: what loading a radreply row would refuse. Raises ValueError."""
        avps: list[Avp] = []
        try:
            self._extend(avps, [(attribute, op, value)])
            encode(self.dictionary, avps)
        except LookupError as error:
            raise ValueError(str(error)) from None

    def remove_subscribers(self, ids: Iterable[int]) -> None:
        """Forget subscribers that were deleted."""
        for key in ids:
            record = self.subscribers.pop(key, None)
            self.accounts.pop(key, None)
            self.faults.pop(f"subscriber {key}", None)
            if record is not None:
                self._forget_devices(record)
                if self.users[record.tenant_id].get(record.key) is record:
                    del self.users[record.tenant_id][record.key]

    def put_nas(self, rows: Iterable[NasRow]) -> None:
        """Take NAS in, new or changed; works from the next packet on."""
        for row in rows:
            name = f"nas {row.id}"
            try:
                secret = self._open(row.secret, b"nas.secret")
                fixed = None if row.line_login_password is None else self._open(row.line_login_password, b"nas.line_login_password")
            except StoreError as error:
                log.error("NAS not loaded", extra={"nas": row.shortname, "error": str(error)})
                self.faults[name] = str(error)
                continue
            self.faults.pop(name, None)
            line_login = LineLogin(row.line_login, row.line_login_passwords, fixed) if row.line_login else None
            record = NasRecord(row, secret, self.users.setdefault(row.tenant_id, {}), self.devices.setdefault(row.tenant_id, {}), line_login)
            before = self.nas.get(row.id)
            if before is not None:
                record.adopt_counts(before)
            self.nas[row.id] = record
        self._index()

    def remove_nas(self, ids: Iterable[int]) -> None:
        """Forget NAS that were deleted."""
        for key in ids:
            self.nas.pop(key, None)
            self.faults.pop(f"nas {key}", None)
        self._index()

    def _index(self) -> None:
        self.sources = {}
        self.clients = {}
        self.pools.forget_choices()
        self._by_network = {}
        lengths: dict[int, set[int]] = {4: set(), 6: set()}
        for record in self.nas.values():
            network = record.network
            lengths[network.version].add(network.prefixlen)
            self._by_network[(network.version, network.prefixlen, int(network.network_address))] = record
        self._lengths = {version: sorted(found, reverse=True) for version, found in lengths.items()}

    # -- reading -----------------------------------------------------------------------------------------------------

    def source(self, host: str) -> NasRecord | None:
        """The NAS whose longest prefix holds the source address of a packet, None if no NAS does."""
        try:
            return self.sources[host]
        except KeyError:
            pass
        address = ipaddress.ip_address(host.partition("%")[0])
        if address.version == 6 and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        bits, value = address.max_prefixlen, int(address)
        found = None
        for length in self._lengths[address.version]:
            found = self._by_network.get((address.version, length, value >> (bits - length) << (bits - length)))
            if found is not None:
                found = found if found.enabled else None  # a wider prefix does not take over what was disabled
                break
        if len(self.sources) > 65536:  # strangers must not fill the memory
            self.sources = {}
        self.sources[host] = found
        return found

    def vendor(self, name: str) -> Vendor | None:
        """The driver of a NAS, None if it is missing or broken."""
        return self.extensions.vendors.get(name)

    def grant(self, plan: PlanRecord, vendor: str, variant: Variant) -> Grant:
        """The compiled grant of a plan for a vendor; compiled on first use, kept until the plan changes."""
        if variant == PLAIN and not plan.meters:
            found = plan.grants.get(vendor)
            if found is None:
                found = plan.grants[vendor] = self._grant(plan, vendor, variant)
            return found
        found = plan.variants.get((vendor, variant))
        if found is None:
            found = plan.variants[vendor, variant] = self._grant(plan, vendor, variant)
        return found

    def _grant(self, plan: PlanRecord, vendor: str, variant: Variant) -> Grant:
        if plan.fault:
            return Grant(vendor, self._service(plan.plan, variant), b"", plan.fault)
        found = self._compile(plan.plan, vendor, variant)
        found.plain = not found.fault and plan.hours is None and not plan.timed
        return found

    def _compile(self, plan: Plan, vendor: str, variant: Variant) -> Grant:
        grant = self._encode(plan, vendor, self._service(plan, variant))
        if (variant.down_bps or variant.up_bps) and not variant.profile and plan.profile is not None and not grant.fault:
            # Some vendors let a profile alone say how fast: then lower rates beside it would be granted in name only.
            faster = self._encode(plan, vendor, msgspec.structs.replace(grant.service, down_bps=plan.down_bps, up_bps=plan.up_bps))
            if faster.attributes == grant.attributes and grant.service != faster.service:
                grant = self._encode(plan, vendor, msgspec.structs.replace(grant.service, profile=None))
        if not grant.fault and grant.fingerprint not in self.services:
            self.services[grant.fingerprint] = grant.service
            self.new_services.append((grant.fingerprint, vendor, grant.service))
        return grant

    def without_nas_pools(self, plan: PlanRecord, vendor: str, grant: Grant, kinds: int) -> bytes:
        """The grant's attributes without the NAS's own pools of these kinds (1, 2, 4): netd gives the address itself."""
        service = grant.service
        named = ((1, service.ipv4_pool), (2, service.ipv6_pool), (4, service.delegated_ipv6_pool))
        kinds = sum(kind for kind, name in named if name is not None and kinds & kind)
        if not kinds:
            return grant.attributes
        key = (grant.fingerprint, kinds)
        found = plan.unpooled.get(key)
        if found is None:
            bare = msgspec.structs.replace(
                service, ipv4_pool=None if kinds & 1 else service.ipv4_pool, ipv6_pool=None if kinds & 2 else service.ipv6_pool,
                delegated_ipv6_pool=None if kinds & 4 else service.delegated_ipv6_pool,
            )  # fmt: skip
            compiled = self._encode(plan.plan, vendor, bare)  # a fault is in the log; then the NAS's pools are named too
            found = plan.unpooled[key] = grant.attributes if compiled.fault else compiled.attributes
        return found

    def _encode(self, plan: Plan, vendor: str, service: Service) -> Grant:
        driver = self.vendor(vendor)
        raw = plan.raw and not service.walled
        if not raw and (driver is None or driver.access is None):
            return Grant(vendor, service, b"", f"no driver for vendor {vendor}")
        try:
            avps: list[Avp] = []
            if not raw and driver is not None and driver.access is not None:
                with self.extensions.guard(vendor):
                    avps = list(driver.access.grant(service))
            return self._granted(plan, vendor, service, avps)
        except (ExtensionError, ValueError, LookupError) as error:
            log.error("plan cannot be granted", extra={"plan": plan.name, "vendor": vendor, "error": str(error)})
            return Grant(vendor, service, b"", str(error))

    def _granted(self, plan: Plan, vendor: str, service: Service, avps: list[Avp]) -> Grant:
        """What the driver says with the plan's replies; behind the wall these count for nothing, for one may be a rate."""
        if service.walled or not (plan.replies or plan.raw):
            return Grant(vendor, service, encode(self.dictionary, avps))
        rows = [(each.attribute, each.op, each.value) for each in plan.replies]
        replaced = self._extend(avps, rows)
        own: list[Avp] = []
        self._extend(own, rows)
        stands_for = _print([*own, ("raw", int(plan.raw))], rows)
        return Grant(vendor, service, encode(self.dictionary, avps), replies=stands_for, replaced=None if plan.raw else replaced)

    def _service(self, plan: Plan, variant: Variant) -> Service:
        service = Service(
            down_bps=plan.down_bps, up_bps=plan.up_bps, burst_down_bps=plan.burst_down_bps, burst_up_bps=plan.burst_up_bps,
            burst_threshold_down_bps=plan.burst_threshold_down_bps, burst_threshold_up_bps=plan.burst_threshold_up_bps,
            burst_seconds=plan.burst_seconds, priority=plan.priority, profile=plan.profile,
            ipv4_pool=plan.ipv4_pool, ipv6_pool=plan.ipv6_pool, delegated_ipv6_pool=plan.delegated_ipv6_pool, dns=plan.dns,
            idle_timeout_seconds=plan.idle_timeout_seconds, interim_seconds=plan.interim_seconds, session_timeout_seconds=plan.session_timeout_seconds,
            committed_down_bps=plan.committed("down"), committed_up_bps=plan.committed("up"), vlan=plan.vlan,
        )  # fmt: skip
        if variant == PLAIN:
            return service
        if not variant.walled:
            return msgspec.structs.replace(
                service, down_bps=min(variant.down_bps or plan.down_bps, plan.down_bps), up_bps=min(variant.up_bps or plan.up_bps, plan.up_bps),
                burst_down_bps=None, burst_up_bps=None, burst_threshold_down_bps=None, burst_threshold_up_bps=None, burst_seconds=None,
                committed_down_bps=None, committed_up_bps=None, profile=variant.profile or plan.profile,
            )  # fmt: skip
        wall = self.wall
        return msgspec.structs.replace(
            service, down_bps=min(wall.down_bps, plan.down_bps), up_bps=min(wall.up_bps, plan.up_bps), burst_down_bps=None, burst_up_bps=None,
            burst_threshold_down_bps=None, burst_threshold_up_bps=None, burst_seconds=None, priority=None, profile=None,
            committed_down_bps=None, committed_up_bps=None, walled=True, wall=wall.name, wall_url=wall.url or None,
        )  # fmt: skip


def _print(avps: Sequence[Avp], replies: Iterable[tuple[str, str, str]]) -> str:
    """What stands for attributes in a fingerprint: what is granted, not how it is encoded; and what is taken away."""
    stated = [f"{name}={value!r}" for name, value in avps] + [f"-{name}" for name, op, _ in replies if op == "!*"]
    return blake2b("\0".join(stated).encode(), digest_size=4).hexdigest()


def _set_password(record: SubscriberRecord, opened: bytes, hashed: bool) -> None:
    if not hashed:
        record.password = opened
        return
    known = record.own().password_hash = parse_hash(opened.decode())
    if known.scheme == "nt":
        record.nt_hash = known.digest
