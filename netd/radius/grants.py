"""What a plan grants at a vendor's NAS: its service in the driver's attributes, encoded on first use and kept until the plan changes."""

import logging

import msgspec

from netd.errors import ExtensionError
from netd.extensions import Extensions
from netd.model.plan import Plan
from netd.radius.account import PLAIN, Variant
from netd.radius.attribute_rows import AttributeRows, fingerprint
from netd.radius.plan import Grant, PlanRecord
from netd.sdk import Avp, Service
from netd.wire.attributes import encode

log = logging.getLogger(__name__)


class Wall:
    """The walled garden as configured: what a walled subscriber gets instead of the plan's rates."""

    __slots__ = ("down_bps", "name", "up_bps", "url")

    def __init__(self, name: str, url: str, down_bps: int, up_bps: int) -> None:
        self.name = name
        self.url = url
        self.down_bps = down_bps
        self.up_bps = up_bps


class Grants:
    """Compiles grants, and keeps them with their plans."""

    def __init__(self, extensions: Extensions, rows: AttributeRows, wall: Wall) -> None:
        self.services: dict[str, Service] = {}  # what each fingerprint ever compiled stands for
        self.new_services: list[tuple[str, str, Service]] = []  # those not yet in the store: fingerprint, vendor, service
        self._extensions = extensions
        self._rows = rows
        self._wall = wall

    def of(self, plan: PlanRecord, vendor: str, variant: Variant) -> Grant:
        """The compiled grant of a plan for a vendor."""
        if variant == PLAIN and not plan.meters:
            found = plan.grants.get(vendor)
            if found is None:
                found = plan.grants[vendor] = self._grant(plan, vendor, variant)
            return found
        found = plan.variants.get((vendor, variant))
        if found is None:
            found = plan.variants[vendor, variant] = self._grant(plan, vendor, variant)
        return found

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

    # -- compiling ---------------------------------------------------------------------------------------------------

    def _grant(self, plan: PlanRecord, vendor: str, variant: Variant) -> Grant:
        service = service_of(plan.plan, variant, self._wall)
        if plan.fault:
            return Grant(vendor, service, b"", plan.fault)
        found = self._compile(plan.plan, vendor, variant, service)
        if not found.fault and found.fingerprint not in self.services:
            self.services[found.fingerprint] = found.service
            self.new_services.append((found.fingerprint, vendor, found.service))
        found.plain = not found.fault and plan.hours is None and not plan.timed
        return found

    def _compile(self, plan: Plan, vendor: str, variant: Variant, service: Service) -> Grant:
        grant = self._encode(plan, vendor, service)
        if (variant.down_bps or variant.up_bps) and not variant.profile and plan.profile is not None and not grant.fault:
            # Some vendors let a profile alone say how fast: then lower rates beside it would be granted in name only.
            faster = self._encode(plan, vendor, msgspec.structs.replace(service, down_bps=plan.down_bps, up_bps=plan.up_bps))
            if faster.attributes == grant.attributes and service != faster.service:
                return self._encode(plan, vendor, msgspec.structs.replace(service, profile=None))
        return grant

    def _encode(self, plan: Plan, vendor: str, service: Service) -> Grant:
        driver = self._extensions.vendors.get(vendor)
        raw = plan.raw and not service.walled
        if not raw and (driver is None or driver.access is None):
            return Grant(vendor, service, b"", f"no driver for vendor {vendor}")
        try:
            avps: list[Avp] = []
            if not raw and driver is not None and driver.access is not None:
                with self._extensions.guard(vendor):
                    avps = list(driver.access.grant(service))
            return self._granted(plan, vendor, service, avps)
        except (ExtensionError, ValueError, LookupError) as error:
            log.error("plan cannot be granted", extra={"plan": plan.name, "vendor": vendor, "error": str(error)})
            return Grant(vendor, service, b"", str(error))

    def _granted(self, plan: Plan, vendor: str, service: Service, avps: list[Avp]) -> Grant:
        """What the driver says with the plan's replies; behind the wall these count for nothing, for one may be a rate."""
        dictionary = self._rows.dictionary
        if service.walled or not (plan.replies or plan.raw):
            return Grant(vendor, service, encode(dictionary, avps))
        rows = [(each.attribute, each.op, each.value) for each in plan.replies]
        replaced = self._rows.extend(avps, rows)
        own: list[Avp] = []
        self._rows.extend(own, rows)
        stands_for = fingerprint([*own, ("raw", int(plan.raw))], rows)
        return Grant(vendor, service, encode(dictionary, avps), replies=stands_for, replaced=None if plan.raw else replaced)


def service_of(plan: Plan, variant: Variant, wall: Wall) -> Service:
    """A plan in the terms of drivers, as it is or as ``variant`` has it: behind the wall, or slower."""
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
    evenly = msgspec.structs.replace(
        service, burst_down_bps=None, burst_up_bps=None, burst_threshold_down_bps=None, burst_threshold_up_bps=None, burst_seconds=None,
        committed_down_bps=None, committed_up_bps=None,
    )  # fmt: skip
    if variant.walled:
        return msgspec.structs.replace(
            evenly, down_bps=min(wall.down_bps, plan.down_bps), up_bps=min(wall.up_bps, plan.up_bps), priority=None, profile=None,
            walled=True, wall=wall.name, wall_url=wall.url or None,
        )  # fmt: skip
    return msgspec.structs.replace(
        evenly, down_bps=min(variant.down_bps or plan.down_bps, plan.down_bps), up_bps=min(variant.up_bps or plan.up_bps, plan.up_bps),
        profile=variant.profile or plan.profile,
    )  # fmt: skip
