"""Which pool a log-in is served from: the pools of all tenants in memory, and the choice among their rules.

Of the rules whose conditions all hold the most specific one wins, compared in this order: it names the NAS, the site, the VRF, the plan.
Where the subscriber is goes before what it buys, for an address that is not routed there is of no use; a rule for a NAS and a plan goes
before one for the NAS alone.
"""

from collections.abc import Iterable, Sequence

from netd.domain.stock import PoolRecord
from netd.model.ranges import KINDS
from netd.store.leases import PoolRow, RuleRow

Chosen = tuple[int, int, int]
"""A pool's id per kind (ipv4, ipv6, delegated); 0: none."""

NOTHING: Chosen = (0, 0, 0)


class Pools:
    """Every tenant's pools and rules."""

    def __init__(self) -> None:
        self.by_id: dict[int, PoolRecord] = {}
        self.tenants: frozenset[int] = frozenset()
        """Tenants that have a rule, so that a log-in may need a lease."""
        self._rules: dict[int, tuple[tuple[RuleRow, ...], ...]] = {}  # by tenant, then kind; the most specific first
        self._chosen: dict[tuple[int, int], Chosen] = {}

    def put(self, pools: Iterable[PoolRow], rules: Iterable[RuleRow]) -> None:
        """Take the place of all pools and rules known."""
        before = self.by_id
        self.by_id = {row.id: PoolRecord(row) for row in pools}
        for key, record in self.by_id.items():
            known = before.get(key)
            if known is not None:
                record.used, record.remembered, record.fixed = known.used, known.remembered, known.fixed
        tenants: dict[int, list[RuleRow]] = {}
        for rule in rules:
            tenants.setdefault(rule.tenant_id, []).append(rule)
        self._rules = {
            tenant: tuple(tuple(sorted((rule for rule in found if rule.kind == kind), key=specificity, reverse=True)) for kind in KINDS)
            for tenant, found in tenants.items()
        }  # fmt: skip
        self.tenants = frozenset(self._rules)
        self.forget_choices()

    def forget_choices(self) -> None:
        """A NAS changed: choose anew."""
        self._chosen = {}

    def chosen(self, tenant_id: int, plan_id: int, nas_id: int, site_id: int | None, vrf: str | None) -> Chosen:
        """The pools that serve a log-in with this plan on this NAS."""
        key = (nas_id, plan_id)
        found = self._chosen.get(key)
        if found is None:
            kinds = self._rules.get(tenant_id)
            if kinds is None:
                return NOTHING
            first, second, third = (_first(rules, plan_id, nas_id, site_id, vrf) for rules in kinds)
            found = self._chosen[key] = (first, second, third)
        return found

    def count(self, usage: dict[int, tuple[int, int, int]]) -> None:
        """Take in what was counted: used, remembered and fixed by pool."""
        for key, record in self.by_id.items():
            record.used, record.remembered, record.fixed = usage.get(key, (0, 0, 0))

    def short(self, percent: int) -> list[PoolRecord]:
        """Pools that are used to ``percent`` or more, the fullest first."""
        full = [record for record in self.by_id.values() if record.used * 100 >= record.available * percent and record.used]
        return sorted(full, key=lambda record: record.used / max(1, record.available), reverse=True)


def specificity(rule: RuleRow) -> tuple[bool, bool, bool, bool]:
    """What rules are compared by; the greater one wins."""
    return rule.nas_id is not None, rule.site_id is not None, rule.vrf is not None, rule.plan_id is not None


def _first(rules: Sequence[RuleRow], plan_id: int, nas_id: int, site_id: int | None, vrf: str | None) -> int:
    for rule in rules:
        if (
            rule.nas_id in (None, nas_id) and (rule.site_id is None or rule.site_id == site_id)
            and (rule.vrf is None or rule.vrf == vrf) and rule.plan_id in (None, plan_id)
        ):  # fmt: skip
            return rule.pool_id
    return 0
