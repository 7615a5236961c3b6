"""The engine's memory of who may connect: every tenant's subscribers, plans and NAS as compact records.

Loaded at start and kept current by the change feed. Access decisions read only this; so they go on while the database is away.
"""

import logging
from collections.abc import Iterable
from typing import Final

import msgspec

from netd.domain.metering import Meter
from netd.errors import StoreError
from netd.extensions import Extensions, Vendor
from netd.keyring import Opener
from netd.model.hours import AccessHours, compile_hours
from netd.model.plan import Plan
from netd.model.quota import Quota
from netd.radius import account
from netd.radius.account import NO_EFFECT, Account, Effect
from netd.radius.attribute_rows import AttributeRows
from netd.radius.grants import Grants, Wall
from netd.radius.lines import LineLogin
from netd.radius.nas import NasRecord
from netd.radius.networks import Networks
from netd.radius.plan import PlanRecord
from netd.radius.pools import NOTHING, Chosen, Pools
from netd.radius.subscriber import SubscriberRecord
from netd.radius.subscriber_rows import SubscriberRows
from netd.store.directory import NasRow, SubscriberRow
from netd.store.leases import PoolRow, RuleRow
from netd.wire.dictionary import Dictionary

log = logging.getLogger(__name__)

GENERIC: Final = "generic"


class Directory:
    """Subscribers, plans and NAS of all tenants, and the grants compiled from them."""

    def __init__(self, extensions: Extensions, open_secret: Opener, wall: Wall, time_zone: str = "UTC") -> None:
        self.dictionary: Dictionary = extensions.dictionary
        self.extensions = extensions
        self.rows = AttributeRows(extensions.dictionary)
        self.grants = Grants(extensions, self.rows, wall)
        self.devices: dict[int, dict[str, SubscriberRecord]] = {}  # by tenant, then by what devices log in by
        self.users: dict[int, dict[str, SubscriberRecord]] = {}  # by tenant, then by username_key
        self.subscribers: dict[int, SubscriberRecord] = {}
        self.plans: dict[int, PlanRecord] = {}
        self.metered = False  # any plan has a quota
        self.accounts: dict[int, Account] = {}  # usage of those who used anything of a quota, by subscriber
        self.nas: dict[int, NasRecord] = {}
        self.networks = Networks()
        self.pools = Pools()
        self.faults: dict[str, str] = {}  # what could not be loaded, by object; shown in health
        self._open = open_secret
        self._subscriber_rows = SubscriberRows(self.rows, open_secret, time_zone)
        self._time_zone = time_zone

    # -- plans -------------------------------------------------------------------------------------------------------

    def put_plans(self, plans: Iterable[Plan]) -> None:
        """Take plans in, new or changed."""
        for plan in plans:
            hours, fault = self._hours(plan)
            record = self.plans.get(plan.id)
            if record is None:
                self.plans[plan.id] = PlanRecord(plan, hours, fault)
            else:
                record.renew(plan, hours, fault)

    def _hours(self, plan: Plan) -> tuple[AccessHours | None, str]:
        """A plan's hours, or why they cannot be told: then nobody is let in at what may be the wrong time."""
        name = f"plan {plan.id}"
        self.faults.pop(name, None)
        if plan.access_hours is None:
            return None, ""
        try:
            return compile_hours(plan.access_hours, plan.time_zone or self._time_zone), ""
        except ValueError as error:
            log.error("plan cannot be granted", extra={"plan": plan.name, "error": str(error)})
            self.faults[name] = str(error)
            return None, str(error)

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
            record.put_meters(tuple(self._meter(record, quota) for quota in found.get(key, ())))
        self.metered = any(record.meters for record in self.plans.values())

    def _meter(self, record: PlanRecord, quota: Quota) -> Meter:
        try:
            return Meter(quota)
        except ValueError as error:
            log.error("quota is counted in UTC and without free windows", extra={"plan": record.plan.name, "quota": quota.name, "error": str(error)})
            self.faults[f"quotas of plan {record.plan.id}"] = f"quota {quota.name}: {error}"
            return Meter(msgspec.structs.replace(quota, timezone="UTC", free_windows=()))

    # -- subscribers -------------------------------------------------------------------------------------------------

    def put_subscribers(self, rows: Iterable[SubscriberRow]) -> None:
        """Take subscribers in, new or changed. One whose rows cannot be read is granted nothing, and named in ``faults``."""
        for row in rows:
            record = self._subscriber_rows.record(row, self.plans.get(row.plan_id))
            record.own_body = self._has_own_body(record)
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

    def _forget_devices(self, record: SubscriberRecord) -> None:
        if record.terms is None:
            return
        devices = self.devices.get(record.tenant_id, {})
        for key in record.terms.identities:
            if devices.get(key) is record:
                del devices[key]

    def _has_own_body(self, record: SubscriberRecord) -> bool:
        return (
            bool(record.extra)
            or bool(record.replaced)
            or record.expires_at is not None
            or record.tenant_id in self.pools.tenants
            or (record.terms is not None and record.terms.hours is not None)
        )

    # -- NAS ---------------------------------------------------------------------------------------------------------

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
        self._nas_changed()

    def remove_nas(self, ids: Iterable[int]) -> None:
        """Forget NAS that were deleted."""
        for key in ids:
            self.nas.pop(key, None)
            self.faults.pop(f"nas {key}", None)
        self._nas_changed()

    def _nas_changed(self) -> None:
        self.networks.put(self.nas.values())
        self.pools.forget_choices()

    def vendor(self, name: str) -> Vendor | None:
        """The driver of a NAS, None if it is missing or broken."""
        return self.extensions.vendors.get(name)

    # -- pools -------------------------------------------------------------------------------------------------------

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

    # -- what quotas do ----------------------------------------------------------------------------------------------

    def effect(self, subscriber: SubscriberRecord, plan: PlanRecord, now: float) -> Effect:
        """What the subscriber's quotas do to the service at Unix time ``now``."""
        found = self.accounts.get(subscriber.id)
        return NO_EFFECT if found is None else found.effect(plan.meters, now)

    def quota_ends_at(self, subscriber: SubscriberRecord, plan: PlanRecord, now: float) -> float | None:
        """When a time quota will wall or block the subscriber, should it stay online: Unix time, None if not in this period."""
        found = self.accounts.get(subscriber.id) or Account(subscriber.tenant_id, subscriber.id)
        return account.ends_at(found, plan.meters, subscriber.activated_at, now)
