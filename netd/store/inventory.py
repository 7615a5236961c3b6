"""What was observed of devices: interfaces, links, endpoints and the history of facts, as they are listed. Written by :mod:`netd.store.observed`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from netd.model import line
from netd.model.inventory import Endpoint, FactChange, Interface, Link
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

_DEVICE = "(select d.hostname from devices d where d.id = {}.device_id)"


def _select(table: str, short: str, members: Sequence[str], read: Mapping[str, str]) -> str:
    names = ", ".join(f"{read[name]} as {name}" if name in read else f"{short}.{name}" for name in members)
    return f"select {names} from {table} {short}"


def _columns(short: str) -> dict[str, Column]:
    """What every one of these lists is asked by."""
    return {
        "id": Column(sql=f"{short}.id", kind=int, cast="bigint"), "device_id": Column(sql=f"{short}.device_id", kind=int, cast="bigint"),
        "device": Column(sql=f"(select lower(d.hostname) from devices d where d.id = {short}.device_id)", param="lower({})"),
    }  # fmt: skip


def _mac(text: str) -> str:
    """A MAC address in any notation as they are kept; part of one as it is."""
    return line.mac_or_none(text) or text.lower()


def _seen(short: str) -> dict[str, Column]:
    return {name: Column(sql=f"{short}.{name}", kind=datetime, sortable=True) for name in ("first_seen_at", "last_seen_at")}


INTERFACES = Listing(
    kind="interface", select=_select("interfaces", "i", Interface.__struct_fields__, {"device": _DEVICE.format("i")}), counted="interfaces i",
    tenant="i.tenant_id", id="i.id", search="(lower(i.name) || ' ' || lower(coalesce(i.alias, ''))) like {}",
    columns={
        **_columns("i"), "name": Column(sql="i.name", sortable=True), "alias": Column(sql="i.alias", nullable=True),
        "if_index": Column(sql="i.if_index", kind=int, cast="integer", sortable=True), "mac": Column(sql="i.mac", nullable=True, fold=_mac),
        "type": Column(sql="i.type", kind=int, cast="integer", nullable=True), "speed_bps": Column(sql="i.speed_bps", kind=int, cast="bigint", nullable=True),
        "admin_up": Column(sql="i.admin_up", kind=bool), "oper_up": Column(sql="i.oper_up", kind=bool), "monitored": Column(sql="i.monitored", kind=bool),
        "gone_at": Column(sql="i.gone_at", kind=datetime, nullable=True), "changed_at": Column(sql="i.changed_at", kind=datetime, nullable=True),
    },
)  # fmt: skip
LINKS = Listing(
    kind="link", tenant="l.tenant_id", id="l.id", counted="links l", search="lower(coalesce(l.remote_name, '')) like {}",
    select=_select("links", "l", Link.__struct_fields__, {
        "device": _DEVICE.format("l"), "remote_device": "(select d.hostname from devices d where d.id = l.remote_device_id)",
    }),
    columns={
        **_columns("l"), **_seen("l"), "local_interface": Column(sql="l.local_interface", sortable=True),
        "protocol": Column(sql="l.protocol", kind=Literal["lldp", "cdp", "mndp", "bridge"], cast="text", sortable=True),
        "remote_name": Column(sql="l.remote_name", nullable=True), "remote_mac": Column(sql="l.remote_mac", nullable=True, fold=_mac),
        "remote_device_id": Column(sql="l.remote_device_id", kind=int, cast="bigint", nullable=True),
    },
)  # fmt: skip
ENDPOINTS = Listing(
    kind="endpoint", tenant="e.tenant_id", id="e.id", counted="endpoints e",
    select=_select("endpoints", "e", Endpoint.__struct_fields__, {"device": _DEVICE.format("e")}),
    columns={
        **_columns("e"), **_seen("e"), "mac": Column(sql="e.mac", fold=_mac, sortable=True),
        "source": Column(sql="e.source", kind=Literal["mac", "arp"], cast="text"), "interface": Column(sql="e.interface", sortable=True),
        "vlan": Column(sql="e.vlan", kind=int, cast="integer", nullable=True), "address": Column(sql="e.address", cast="inet", nullable=True),
        "moved_at": Column(sql="e.moved_at", kind=datetime, nullable=True),
    },
)  # fmt: skip
FACTS = Listing(
    kind="fact_change", tenant="f.tenant_id", id="f.id", counted="device_facts f", descending=True,
    select=_select("device_facts", "f", FactChange.__struct_fields__, {"device": _DEVICE.format("f")}),
    columns={
        **_columns("f"), "at": Column(sql="f.at", kind=datetime, sortable=True), "subject": Column(sql="f.subject"), "fact": Column(sql="f.fact"),
        "source": Column(sql="f.source"),
    },
)  # fmt: skip


def interfaces_of(records: Sequence[Mapping[str, Any]]) -> list[Interface]:
    """Interfaces of the listing's records."""
    return [Interface(**record) for record in records]


def links_of(records: Sequence[Mapping[str, Any]]) -> list[Link]:
    """Links of the listing's records."""
    return [Link(**{**record, "remote_address": rows.address(record["remote_address"])}) for record in records]


def endpoints_of(records: Sequence[Mapping[str, Any]]) -> list[Endpoint]:
    """Endpoints of the listing's records."""
    return [Endpoint(**{**record, "address": rows.address(record["address"])}) for record in records]


def facts_of(records: Sequence[Mapping[str, Any]]) -> list[FactChange]:
    """Changes of the listing's records."""
    return [FactChange(**record) for record in records]


async def interface(conn: Connection, tenant_id: int, interface_id: int, *, lock: bool = False) -> Interface | None:
    """The interface; with ``lock`` nobody else changes it until the transaction ends."""
    statement = f"{INTERFACES.select} where i.tenant_id = $1 and i.id = $2{' for update of i' if lock else ''}"
    record = await conn.fetchrow(statement, tenant_id, interface_id)
    return None if record is None else Interface(**record)


async def update_interface(conn: Connection, tenant_id: int, interface_id: int, values: Mapping[str, Any]) -> None:
    """Set what is an operator's of it."""
    statement, args = rows.update("interfaces", frozenset(("monitored", "note")), tenant_id, interface_id, values)
    await conn.execute(statement, *args)
