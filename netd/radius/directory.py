"""The engine's memory of who may connect: every tenant's subscribers, plans and NAS as compact records.

Loaded at start and kept current by the change feed. Access decisions read only this; so they go on while the database is away.
"""

import ipaddress
import logging
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from netd.errors import ExtensionError, StoreError
from netd.extensions import Extensions, Vendor
from netd.model.hours import AccessHours, compile_hours
from netd.model.plan import Plan
from netd.radius.checks import CompiledChecks, compile_checks
from netd.radius.lines import Binding, LineLogin
from netd.radius.pools import NOTHING, Chosen, Pools
from netd.sdk import FIRST_FIELDS, Avp, Service, vlan_of
from netd.store.directory import NasRow, SubscriberRow, TermsRow
from netd.store.leases import PoolRow, RuleRow
from netd.wire.attributes import encode, from_text
from netd.wire.dictionary import Dictionary
from netd.wire.radius import SharedSecret

log = logging.getLogger(__name__)

Opener = Callable[[bytes, bytes], bytes]
"""Opens a sealed secret: (sealed, context) -> plain."""


class Grant:
    """The encoded attributes of one service for one vendor; ``fault`` says why there are none.

    The fingerprint stands for what is granted, not for how: a release that encodes the same service otherwise changes no live session.
    """

    __slots__ = ("attributes", "fault", "fingerprint", "plain", "service")

    def __init__(self, vendor: str, service: Service, attributes: bytes, fault: str = "") -> None:
        self.service = service
        self.attributes = attributes
        self.fault = fault
        self.plain = not fault  # nothing of the plan but its attributes counts: it has no hours
        stated = {name: value for name in service.__struct_fields__ if (value := getattr(service, name)) is not None or name in FIRST_FIELDS}
        self.fingerprint = blake2b(vendor.encode() + b"\0" + msgspec.json.encode(stated, enc_hook=str, order="sorted"), digest_size=4).hexdigest()


class PlanRecord:
    """A plan and the grants compiled from it, by vendor; the second table is the walled garden's. With a ``fault`` it grants nothing.

    ``unpooled`` are attributes without the names of some of the NAS's own pools, by vendor, wall and kinds."""

    __slots__ = ("fault", "grants", "hours", "plan", "unpooled", "walled")

    def __init__(self, plan: Plan, hours: AccessHours | None = None, fault: str = "") -> None:
        self.plan = plan
        self.hours = hours
        self.fault = fault
        self.grants: dict[str, Grant] = {}
        self.walled: dict[str, Grant] = {}
        self.unpooled: dict[tuple[str, bool, int], bytes] = {}


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


class SubscriberRecord:
    """A subscriber. ``simple`` is true while nothing but the password stands between a request and its Accept."""

    __slots__ = (
        "checks", "expires_at", "extra", "extra_print", "fault", "fixed_kinds", "id", "ipv4", "last_source", "locks", "max_sessions", "nt_hash",
        "own_body", "password", "plan", "replaced", "simple", "state", "state_changed_at", "tenant_id", "terms", "username",
    )  # fmt: skip

    def __init__(self, row: SubscriberRow, plan: PlanRecord | None) -> None:
        self.id = row.id
        self.tenant_id = row.tenant_id
        self.username = row.username
        self.password: bytes | None = None
        self.plan = plan
        self.state = row.state
        self.state_changed_at = row.state_changed_at
        self.expires_at = row.expires_at
        self.max_sessions = row.max_sessions
        self.ipv4 = row.ipv4
        self.locks = tuple(Lock(*lock) for lock in row.locks) if row.locks else ()
        self.checks: CompiledChecks | None = None
        self.extra = b""  # attributes of this subscriber alone: static addresses and radreply
        self.replaced: frozenset[int] = frozenset()  # standard attribute types whose granted value radreply replaces
        self.extra_print = ""
        self.fixed_kinds = 0  # kinds of addresses (1 ipv4, 2 ipv6, 4 delegated) that it has of its own, so that no pool need give one
        self.fault = ""  # why nothing can be granted: a row that cannot be read never widens what the subscriber gets
        self.own_body = False  # the Accept needs more than the plan's grant
        self.last_source: bytes | None = None  # Calling-Station-Id of the last Accept
        self.nt_hash: bytes | None = None
        self.terms: Terms | None = None
        self.simple = row.state == "active" and not self.locks and row.expires_at is None and not row.checks


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
        self.nas: dict[int, NasRecord] = {}
        self.services: dict[str, Service] = {}  # what each fingerprint ever compiled stands for
        self.new_services: list[tuple[str, str, Service]] = []  # those not yet in the store: fingerprint, vendor, service
        self.pools = Pools()
        self.faults: dict[str, str] = {}  # what could not be loaded, by object; shown in health
        self._keys: dict[int, str] = {}
        self._open = open_secret
        self.sources: dict[str, NasRecord | None] = {}  # what source() found; the hot path looks here first
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
                record.walled = {}
                record.unpooled = {}

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
            name = f"subscriber {row.id}"
            record = self._record(row)
            if record.fault:
                log.error("subscriber cannot be granted anything", extra={"subscriber": row.username, "error": record.fault})
                self.faults[name] = record.fault
            elif self.faults:
                self.faults.pop(name, None)
            users = self.users.setdefault(row.tenant_id, {})
            known = self._keys.get(row.id)
            if known is not None:
                record.last_source = self.subscribers[row.id].last_source
                self._forget_devices(self.subscribers[row.id])
                if known != row.username_key and users.get(known) is self.subscribers[row.id]:
                    del users[known]
            self._keys[row.id] = row.username_key
            self.subscribers[row.id] = record
            users[row.username_key] = record
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
                record.password = self._open(row.password, b"subscribers.password")
            if row.checks:
                record.checks = compile_checks(self.dictionary, row.checks)
            if row.terms is not None:
                record.terms = Terms(row.terms, self.time_zone)
            self._own_attributes(record, row)
        except (ValueError, LookupError, StoreError) as error:
            record.fault = str(error)
        except Exception as error:  # barrier: whatever one row holds, the others must be served
            log.exception("subscriber not understood", extra={"subscriber": row.username})
            record.fault = f"internal error: {type(error).__name__}"
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
            record.replaced = frozenset(self.dictionary.attribute(name).path[0] for name, _ in vlan_of(row.terms.vlan))
        if row.replies:
            record.replaced |= self._extend(avps, row.replies)
        record.fixed_kinds = sum({_FIXING.get(name, 0) for name, _ in avps})
        if avps:
            record.extra = encode(self.dictionary, avps)
            stated = "\0".join(f"{name}={value!r}" for name, value in avps)  # what is granted, not how it is encoded
            record.extra_print = blake2b(stated.encode(), digest_size=4).hexdigest()

    def _extend(self, avps: list[Avp], replies: Sequence[tuple[str, str, str]]) -> frozenset[int]:
        """Add radreply rows: ``+=`` adds one more value, ``:=`` and ``=`` replace what the grant says of that attribute."""
        replaced = set()
        for name, op, text in replies:
            attribute = self.dictionary.attribute(name.partition(":")[0])
            if attribute.oid in _RESERVED:
                raise ValueError(f"{attribute.name} is netd's own to send")
            if op != "+=" and attribute.vendor == 0:
                replaced.add(attribute.path[0])
                avps[:] = [avp for avp in avps if avp[0] != attribute.name]
            avps.append((name, from_text(attribute, text)))
        return frozenset(replaced)

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
            name = self._keys.pop(key, None)
            self.faults.pop(f"subscriber {key}", None)
            if record is not None:
                self._forget_devices(record)
            if record is not None and name is not None and self.users[record.tenant_id].get(name) is record:
                del self.users[record.tenant_id][name]

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

    def key_of(self, record: SubscriberRecord) -> str:
        """The key under which ``users`` has the subscriber."""
        return self._keys[record.id]

    def vendor(self, name: str) -> Vendor | None:
        """The driver of a NAS, None if it is missing or broken."""
        return self.extensions.vendors.get(name)

    def grant(self, plan: PlanRecord, vendor: str, walled: bool) -> Grant:
        """The compiled grant of a plan for a vendor; compiled on first use, kept until the plan changes."""
        table = plan.walled if walled else plan.grants
        found = table.get(vendor)
        if found is None:
            found = self._compile(plan.plan, vendor, walled) if not plan.fault else Grant(vendor, self._service(plan.plan, walled), b"", plan.fault)
            found.plain = not found.fault and plan.hours is None
            table[vendor] = found
        return found

    def without_nas_pools(self, plan: PlanRecord, vendor: str, grant: Grant, kinds: int) -> bytes:
        """The grant's attributes without the NAS's own pools of these kinds (1, 2, 4): netd gives the address itself."""
        service = grant.service
        named = ((1, service.ipv4_pool), (2, service.ipv6_pool), (4, service.delegated_ipv6_pool))
        kinds = sum(kind for kind, name in named if name is not None and kinds & kind)
        if not kinds:
            return grant.attributes
        key = (vendor, service.walled, kinds)
        found = plan.unpooled.get(key)
        if found is None:
            bare = msgspec.structs.replace(
                service, ipv4_pool=None if kinds & 1 else service.ipv4_pool, ipv6_pool=None if kinds & 2 else service.ipv6_pool,
                delegated_ipv6_pool=None if kinds & 4 else service.delegated_ipv6_pool,
            )  # fmt: skip
            found = plan.unpooled[key] = self._encoded(vendor, bare, grant)
        return found

    def _encoded(self, vendor: str, service: Service, otherwise: Grant) -> bytes:
        driver = self.vendor(vendor)
        if driver is None or driver.access is None:
            return otherwise.attributes
        try:
            with self.extensions.guard(vendor):
                return encode(self.dictionary, driver.access.grant(service))
        except (ExtensionError, ValueError, LookupError) as error:
            log.error("plan cannot be granted without the NAS's pools, so they are named too", extra={"vendor": vendor, "error": str(error)})
            return otherwise.attributes

    def _compile(self, plan: Plan, vendor: str, walled: bool) -> Grant:
        service = self._service(plan, walled)
        driver = self.vendor(vendor)
        if driver is None or driver.access is None:
            return Grant(vendor, service, b"", f"no driver for vendor {vendor}")
        try:
            with self.extensions.guard(vendor):
                grant = Grant(vendor, service, encode(self.dictionary, driver.access.grant(service)))
        except (ExtensionError, ValueError, LookupError) as error:
            log.error("plan cannot be granted", extra={"plan": plan.name, "vendor": vendor, "error": str(error)})
            return Grant(vendor, service, b"", str(error))
        if grant.fingerprint not in self.services:
            self.services[grant.fingerprint] = service
            self.new_services.append((grant.fingerprint, vendor, service))
        return grant

    def _service(self, plan: Plan, walled: bool) -> Service:
        service = Service(
            down_bps=plan.down_bps, up_bps=plan.up_bps, burst_down_bps=plan.burst_down_bps, burst_up_bps=plan.burst_up_bps,
            burst_threshold_down_bps=plan.burst_threshold_down_bps, burst_threshold_up_bps=plan.burst_threshold_up_bps,
            burst_seconds=plan.burst_seconds, priority=plan.priority, profile=plan.profile,
            ipv4_pool=plan.ipv4_pool, ipv6_pool=plan.ipv6_pool, delegated_ipv6_pool=plan.delegated_ipv6_pool, dns=plan.dns,
            idle_timeout_seconds=plan.idle_timeout_seconds, interim_seconds=plan.interim_seconds, session_timeout_seconds=plan.session_timeout_seconds,
            committed_down_bps=plan.committed("down"), committed_up_bps=plan.committed("up"), vlan=plan.vlan,
        )  # fmt: skip
        if not walled:
            return service
        wall = self.wall
        return msgspec.structs.replace(
            service, down_bps=min(wall.down_bps, plan.down_bps), up_bps=min(wall.up_bps, plan.up_bps), burst_down_bps=None, burst_up_bps=None,
            burst_threshold_down_bps=None, burst_threshold_up_bps=None, burst_seconds=None, priority=None, profile=None,
            committed_down_bps=None, committed_up_bps=None, walled=True, wall=wall.name, wall_url=wall.url or None,
        )  # fmt: skip
