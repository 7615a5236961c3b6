"""From a subscriber's row to its record: what can be worked out once is not worked out for every packet."""

import ipaddress
import logging
from typing import Final

from netd.errors import StoreError
from netd.keyring import Opener
from netd.radius.attribute_rows import AttributeRows, fingerprint
from netd.radius.checks import compile_checks
from netd.radius.plan import PlanRecord
from netd.radius.subscriber import SubscriberRecord, Terms
from netd.sdk import Avp, vlan_of
from netd.store.directory import SubscriberRow
from netd.wire.attributes import encode
from netd.wire.hashes import parse_hash

log = logging.getLogger(__name__)

_FIXING: Final = {"Framed-IP-Address": 1, "Framed-IPv6-Prefix": 2, "Delegated-IPv6-Prefix": 4}
"""Kinds of addresses, as in ``Rare.fixed_kinds``."""


class SubscriberRows:
    """Reads rows of all tenants; ``time_zone`` is of those that name none."""

    def __init__(self, rows: AttributeRows, open_secret: Opener, time_zone: str) -> None:
        self._rows = rows
        self._open = open_secret
        self._time_zone = time_zone

    def record(self, row: SubscriberRow, plan: PlanRecord | None) -> SubscriberRecord:
        """The row's record, with a ``fault`` if the row cannot be read. Whether it has an ``own_body`` is left open."""
        record = SubscriberRecord(row, plan)
        try:
            if row.password is not None:
                _set_password(record, self._open(row.password, b"subscribers.password"), row.password_hashed)
            if row.checks:
                record.checks = compile_checks(self._rows.dictionary, row.checks)
            if row.terms is not None:
                record.own().terms = Terms(row.terms, self._time_zone)
            self._own_attributes(record, row)
        except (ValueError, LookupError, StoreError) as error:
            record.own().fault = str(error)
        except Exception as error:  # barrier: whatever one row holds, the others must be served
            log.exception("subscriber not understood", extra={"subscriber": row.username})
            record.own().fault = f"internal error: {type(error).__name__}"
        terms = record.terms
        record.simple = record.simple and not record.fault and (terms is None or (terms.hours is None and terms.binding is None))
        return record

    def _own_attributes(self, record: SubscriberRecord, row: SubscriberRow) -> None:
        """Static addresses, routes, the VLAN and radreply, encoded, and what they stand in for."""
        avps = _addresses(row)
        if row.terms is not None and row.terms.vlan is not None:
            vlan = vlan_of(row.terms.vlan)
            avps += vlan
            record.own().replaced = self._rows.places(vlan)
        if row.replies:
            record.own().replaced |= self._rows.extend(avps, row.replies)
        fixed = sum({_FIXING.get(name, 0) for name, _ in avps})
        if fixed:
            record.own().fixed_kinds = fixed
        if avps:
            record.own().extra = encode(self._rows.dictionary, avps)
        if avps or record.replaced:
            record.extra_print = fingerprint(avps, row.replies or ())


def _addresses(row: SubscriberRow) -> list[Avp]:
    avps: list[Avp] = []
    if row.ipv4 is not None:
        avps.append(("Framed-IP-Address", ipaddress.IPv4Address(row.ipv4)))
    if row.ipv6_prefix is not None:
        avps.append(("Framed-IPv6-Prefix", ipaddress.IPv6Network(row.ipv6_prefix)))
    if row.delegated_ipv6_prefix is not None:
        avps.append(("Delegated-IPv6-Prefix", ipaddress.IPv6Network(row.delegated_ipv6_prefix)))
    for prefix, gateway, metric in row.routes or ():
        avps.append(_route(prefix, gateway, metric))
    return avps


def _route(prefix: str, gateway: str | None, metric: int) -> Avp:
    """A network behind the subscriber (RFC 2865 5.22, RFC 3162 2.5); the unspecified address stands for the subscriber's own."""
    if ":" in prefix:
        return "Framed-IPv6-Route", f"{prefix} {gateway or '::'} {metric}"
    return "Framed-Route", f"{prefix} {gateway or '0.0.0.0'} {metric}"


def _set_password(record: SubscriberRecord, opened: bytes, hashed: bool) -> None:
    if not hashed:
        record.password = opened
        return
    known = record.own().password_hash = parse_hash(opened.decode())
    if known.scheme == "nt":
        record.nt_hash = known.digest
