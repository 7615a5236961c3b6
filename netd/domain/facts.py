"""Taking what devices say of themselves: of many at once in one transaction, with a history of what changed.

Nothing here touches what an operator wrote. Sources name the same thing in different ways (SNMP ``7.16.2``, the command line ``7.16.2 (stable)``), so each
is compared with its own last word: what counts is news, not another notation.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import msgspec

from netd.domain.imports import Slices
from netd.model import line
from netd.model.device import ArpEntry, Facts, InterfaceSample, MacEntry, Neighbour, Observed
from netd.store import observed as store
from netd.store import rows
from netd.store.database import Connection, Database
from netd.store.observed import Changed, Heard, Known, Port, Seen, Told

FACTS = ("hostname", "model", "serial", "software_version", "hardware_revision")
TEXT_MOST = 253
ENDPOINTS_MOST = 200_000  # of one look at one device
CHURN_MOST = 500
"""Interfaces that come and go between two looks and are told one by one; of more only the number is: one that makes up names must not fill the history."""

GONE_MOST = 2_000
"""Interfaces of a device that are gone and still known: one that makes up some names with each look fills no table, however patient it is."""

SESSION_TYPES = frozenset((23, 108))
"""IANAifType ppp and pppMultilinkBundle: on an access router one comes and goes with each subscriber, and that is RADIUS's to tell."""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at a device gave. None is what was not looked at; an empty list of interfaces is a device without any."""

    device_id: int
    source: str  # snmp, cli, http, dhcp
    at: datetime
    facts: Facts | None = None
    platform: str | None = None  # as recognised
    interfaces: Sequence[InterfaceSample] | None = None
    neighbours: Sequence[Neighbour] | None = None
    macs: Sequence[MacEntry] | None = None
    arps: Sequence[ArpEntry] | None = None


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: the changes, and the devices that were replaced by others (another serial number). Devices that are gone are passed over."""

    changes: tuple[Changed, ...] = ()
    replaced: tuple[int, ...] = ()


def text(value: str | None) -> str | None:
    """A text from a device as it is kept: on one line, nothing in it that drives a terminal. None for one with nothing in it."""
    cleaned = " ".join((rows.storable(value) or "").split())[:TEXT_MOST]
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in cleaned) or None


def compare(known: Known, seen: Observation) -> tuple[Told, list[Changed]]:
    """What becomes of the device's row, and what changed. Pure."""
    facts: Mapping[str, Any] = {} if seen.facts is None else msgspec.structs.asdict(seen.facts)
    now = {name: found for name in FACTS if (found := text(facts.get(name))) is not None}
    if seen.platform is not None:
        now["platform"] = seen.platform
    before = known.said.get(seen.source, {})
    news = {name: value for name, value in now.items() if before.get(name) != value}
    changes, observed = [], dict(known.observed)
    for name, value in news.items():
        was = observed.get(name)
        if was is not None and (was.value == value or name not in before):  # known already, or another source's notation of it
            continue
        observed[name] = Observed(value=value, source=seen.source, at=seen.at)
        was_value = None if was is None else was.value
        changes.append(Changed(device_id=seen.device_id, at=seen.at, subject="", fact=name, before=was_value, after=value, source=seen.source))
    told = Told(
        id=seen.device_id, observed=observed if changes else None, said={**known.said, seen.source: {**before, **news}} if news else None,
        facts_at=seen.at if now else None, interfaces_at=None if seen.interfaces is None else seen.at,
        neighbours_at=None if seen.neighbours is None else seen.at, anew=bool(changes),
    )  # fmt: skip
    return told, changes


def _number(value: int | None, most: int) -> int | None:
    """A number that a column can hold; None for what is beyond that: nothing that a device says makes the store refuse the others' rows."""
    return value if value is not None and 0 <= value <= most else None


INTEGER_MAX, BIGINT_MAX = 2**31 - 1, 2**63 - 1


def _port(device_id: int, sample: InterfaceSample, was: Port | None, at: datetime) -> Port:
    """The interface as it is now: what the device does not say is as before."""
    values = {
        "alias": None if sample.alias is None else text(sample.alias) or "", "type": _number(sample.type, INTEGER_MAX),
        "mtu": _number(sample.mtu, BIGINT_MAX), "speed_bps": _number(sample.speed_bps, BIGINT_MAX),
        "mac": None if sample.mac is None else line.mac_or_none(sample.mac), "admin_up": sample.admin_up, "oper_up": sample.oper_up,
    }  # fmt: skip
    if was is not None:
        values = {name: getattr(was, name) if value is None else value for name, value in values.items()}
    flipped = was is None or values["oper_up"] != was.oper_up
    since = at if flipped and values["oper_up"] is not None else None if was is None else was.changed_at
    return Port(device_id=device_id, name=_name(sample), if_index=_number(sample.if_index, INTEGER_MAX) or 0, changed_at=since, **values)  # type: ignore[arg-type]


def _name(sample: InterfaceSample) -> str:
    return text(sample.name) or f"index {sample.if_index}"


def named(samples: Sequence[InterfaceSample]) -> dict[str, InterfaceSample]:
    """Interfaces by the name under which each is known: without those of subscribers' sessions, and no two of one name. Pure."""
    present: dict[str, InterfaceSample] = {}
    for sample in samples:
        if sample.type not in SESSION_TYPES and not sample.name.startswith("<"):
            name = _name(sample)
            present[f"{name[:200]} (index {sample.if_index})" if name in present else name] = sample
    return present


def interfaces(known: Mapping[str, Port], seen: Observation, *, first: bool) -> tuple[list[Port], list[Changed]]:
    """The interfaces that are new, other than before, or gone, and the history of that. Pure.

    ``first``: the device never showed any, so that what it has is no news. Up and down is telemetry's to tell, and no part of the history.
    """
    changed: list[Port] = []
    history: list[Changed] = []

    def note(name: str, fact: str, before: object, after: object) -> None:
        texts = [None if value is None else str(value) for value in (before, after)]
        history.append(Changed(device_id=seen.device_id, at=seen.at, subject=name, fact=fact, before=texts[0], after=texts[1], source=seen.source))

    present = named(seen.interfaces or ())
    for name, sample in present.items():
        was = known.get(name)
        port = msgspec.structs.replace(_port(seen.device_id, sample, was, seen.at), name=name)
        if port == was:
            continue
        changed.append(port)
        if was is None or was.gone_at is not None:
            if not first:
                note(name, "interface", None, name)
            continue
        for fact in ("alias", "type", "mtu", "mac"):
            if getattr(port, fact) != getattr(was, fact):
                note(name, fact, getattr(was, fact), getattr(port, fact))
        if port.oper_up and was.speed_bps and port.speed_bps and port.speed_bps != was.speed_bps:
            note(name, "speed_bps", was.speed_bps, port.speed_bps)
    for name, was in known.items():
        if name not in present and was.gone_at is None:
            changed.append(msgspec.structs.replace(was, gone_at=seen.at, oper_up=None, changed_at=seen.at))
            note(name, "interface", name, None)
    return changed, history


def _address(address: IPv4Address | IPv6Address) -> str:
    return str(address).partition("%")[0]  # a link-local one names the device's interface


def links(seen: Observation) -> list[Heard]:
    """The neighbours, each once. The same is one with the same MAC address, else name, else address, at the same interfaces by the same protocol. Pure."""
    found: dict[str, Heard] = {}
    for each in seen.neighbours or ():
        mac = None if each.remote_mac is None else line.mac_or_none(each.remote_mac)
        name, there = text(each.remote_name), text(each.remote_interface)
        address = None if each.remote_address is None else _address(each.remote_address)
        here = text(each.local_interface)
        if here is None or not (mac or name or address):
            continue
        parts = msgspec.json.encode([here, each.protocol, mac or name or address, there])
        identity = hashlib.blake2b(parts, digest_size=16).hexdigest()
        found[identity] = Heard(
            device_id=seen.device_id, identity=identity, local_interface=here, protocol=each.protocol, remote_name=name, remote_interface=there,
            remote_address=address, remote_mac=mac, remote_description=text(each.remote_description), at=seen.at,
        )  # fmt: skip
    return list(found.values())


def endpoints(seen: Observation) -> list[Seen]:
    """The addresses, each once: of a MAC address in one VLAN at two interfaces the last line counts. Pure."""
    found: dict[tuple[str, str, int | None, str | None], Seen] = {}
    for source, entries in (("mac", seen.macs or ()), ("arp", seen.arps or ())):
        for each in entries[:ENDPOINTS_MOST]:
            mac, interface = line.mac_or_none(each.mac), text(each.interface)
            if mac is None or interface is None or mac == "00:00:00:00:00:00" or int(mac[:2], 16) & 1:
                continue
            vlan = _number(each.vlan, INTEGER_MAX) if isinstance(each, MacEntry) else None
            address = _address(each.address) if isinstance(each, ArpEntry) else None
            found[source, mac, vlan, address] = Seen(
                device_id=seen.device_id, source=source, mac=mac, vlan=vlan, address=address, interface=interface, at=seen.at,
            )  # fmt: skip
    return list(found.values())


async def take(db: Database, tenant_id: int, observations: Sequence[Observation]) -> Taken:
    """Keep what was observed of a tenant's devices, all or nothing; up to a hundred of them at a time hold up nobody. ``db`` is the daemon's own."""
    if not observations:
        return Taken()
    async with db.transaction() as conn:
        return await within(conn, tenant_id, observations)


async def within(conn: Connection, tenant_id: int, observations: Sequence[Observation]) -> Taken:
    """The same within a transaction: as many statements for a thousand devices as for one."""
    known = await store.known(conn, tenant_id, [each.device_id for each in observations])
    seen = sorted((each for each in observations if each.device_id in known), key=lambda each: (each.device_id, each.at))
    there: dict[int, set[str]] = {}
    for each in seen:
        if each.interfaces is not None:
            there.setdefault(each.device_id, set()).update(named(each.interfaces))
    ports = await store.ports(conn, tenant_id, there)
    gathered = _Gathered(known, ports)
    slices = Slices()
    for each in seen:
        gathered.add(each)
        await slices.breathe()
    await gathered.write(conn, tenant_id)
    return Taken(changes=tuple(gathered.changes), replaced=tuple(sorted({each.device_id for each in gathered.changes if _replaced(each)})))


class _Gathered:
    """What many observations come to, each row once."""

    def __init__(self, known: dict[int, Known], ports: dict[int, dict[str, Port]]) -> None:
        self.changes: list[Changed] = []
        self._known, self._ports = known, ports
        self._told: dict[int, Told] = {}
        self._changed: dict[tuple[int, str], Port] = {}
        self._heard: dict[tuple[int, str], Heard] = {}
        self._seen: dict[tuple[Any, ...], Seen] = {}
        self._left: set[int] = set()  # devices of which an interface went

    def add(self, seen: Observation) -> None:
        """Count one in, as if those before it had been written."""
        device_id = seen.device_id
        was = self._known[device_id]
        row, news = compare(was, seen)
        self._told[device_id] = _merged(self._told.get(device_id), row)
        self.changes += news
        if seen.interfaces is not None:
            moved, history = interfaces(self._ports[device_id], seen, first=not was.has_interfaces)
            if len(history) > CHURN_MOST:
                history = _counted(history, seen)
            if any(port.gone_at is not None for port in moved):
                self._left.add(device_id)
            self.changes += history
            self._ports[device_id].update({port.name: port for port in moved})
            self._changed.update({(device_id, port.name): port for port in moved})
        self._known[device_id] = was._replace(
            observed=row.observed or was.observed, said=row.said or was.said, has_interfaces=was.has_interfaces or seen.interfaces is not None
        )
        self._heard.update({(device_id, each.identity): each for each in links(seen)})
        self._seen.update({(device_id, each.source, each.mac, each.vlan, each.address): each for each in endpoints(seen)})

    async def write(self, conn: Connection, tenant_id: int) -> None:
        """Write all of it. Interfaces come before links, whose other ends are found by them."""
        if self._told:
            await store.tell(conn, tenant_id, list(self._told.values()))
        if self._changed:
            await store.put_ports(conn, tenant_id, list(self._changed.values()))
        if self._left:
            await store.forget_gone(conn, tenant_id, sorted(self._left), GONE_MOST)
        if self._heard:
            await store.put_links(conn, tenant_id, list(self._heard.values()))
        if self._seen:
            await store.put_endpoints(conn, tenant_id, list(self._seen.values()))
        if self.changes:
            await store.add_changes(conn, tenant_id, self.changes)
        happened = _events(self._known, self.changes)
        if happened:
            await store.add_events(conn, tenant_id, happened)


def _counted(history: Sequence[Changed], seen: Observation) -> list[Changed]:
    """The history of a device that changes too much, as one line."""
    came = sum(each.fact == "interface" and each.before is None for each in history)
    went = sum(each.fact == "interface" and each.after is None for each in history)
    said = f"{came} came, {went} went, {len(history) - came - went} other changes"
    return [Changed(device_id=seen.device_id, at=seen.at, subject="", fact="interfaces", before=None, after=said, source=seen.source)]


def _merged(before: Told | None, after: Told) -> Told:
    """What becomes of a row by two observations, the later one second."""
    if before is None:
        return after
    values = {name: getattr(before, name) if getattr(after, name) is None else getattr(after, name) for name in Told.__struct_fields__}
    return Told(**{**values, "anew": before.anew or after.anew})


def _replaced(change: Changed) -> bool:
    return not change.subject and change.fact == "serial" and change.before is not None


def _events(known: Mapping[int, Known], changes: Sequence[Changed]) -> list[tuple[int, str, Mapping[str, Any]]]:
    """What to tell: devices that say another thing than before, and those that are other devices now. A first word is no news."""
    found: dict[int, dict[str, list[str | None]]] = {}
    happened: list[tuple[int, str, Mapping[str, Any]]] = []
    for each in changes:
        if not each.subject and each.before is not None:
            found.setdefault(each.device_id, {})[each.fact] = [each.before, each.after]
        if _replaced(each):
            told = {"hostname": known[each.device_id].hostname, "before": each.before, "after": each.after, "source": each.source}
            happened.append((each.device_id, "device.replaced", told))
    told_all = [(device_id, "device.changed", {"hostname": known[device_id].hostname, "changes": news}) for device_id, news in found.items()]
    return [*told_all, *happened]
