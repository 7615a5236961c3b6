"""Expected devices, candidates and rules for people and the API. What the boot server reads and writes is ``store.boot``."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Literal

import msgspec

from netd.errors import NotFound
from netd.model.boot import BootCandidate, BootCandidateState, BootRule, BootState, BootStep, ExpectedDevice
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

COLUMNS = (
    "hostname", "site_id", "serial", "mac", "circuit_id", "profile", "vendor", "platform", "role", "transport", "address", "credential_id", "variables",
    "boot_template", "configuration", "target_version", "make_nas", "opens_at", "closes_at", "secret", "generation", "state", "state_at", "reason",
    "configured_at", "rule_id", "device_id", "subscriber_id", "armed", "service", "service_at", "verify", "certificate", "certificate_folder", "seen",
    "address_now", "sent_generation", "delivered_at", "presumed_at", "typed_at",
    "site_addressed",
)  # fmt: skip
RULE_COLUMNS = ("name", "position", "site_id", "circuit_id", "model", "profiles", "hostname", "settings", "enabled", "site_addressed")
_SITE = "(select w.name from sites w where w.id = {}.site_id)"
_READ = {
    "site": _SITE.format("z"), "credential": "(select k.name from credentials k where k.id = z.credential_id)",
    "subscriber": "(select s.username from subscribers s where s.id = z.subscriber_id)",
    "rule": "(select r.name from ztp_rules r where r.id = z.rule_id)",
    "image": "(select i.file_name from software_images i "
             "where i.tenant_id = z.tenant_id and i.platform = z.platform and i.software_version = z.target_version)",
}  # fmt: skip
_READ_CANDIDATE = {"site": _SITE.format("c"), "subnet": "(select n.name from dhcp_subnets n where n.id = c.subnet_id)"}
_READ_RULE = {"site": _SITE.format("r")}


def _members(kind: type[msgspec.Struct], alias: str, read: Mapping[str, str]) -> str:
    return ", ".join(f"{read[name]} as {name}" if name in read else f"{alias}.{name}" for name in kind.__struct_fields__)


def _by_site(alias: str) -> Column:
    return Column(sql=f"(select lower(w.name) from sites w where w.id = {alias}.site_id)", param="lower({})")


LISTING = Listing(
    kind="ztp_device", select=f"select {_members(ExpectedDevice, 'z', _READ)} from ztp_devices z", counted="ztp_devices z", tenant="z.tenant_id", id="z.id",
    search="lower(z.hostname || ' ' || coalesce(z.serial, '') || ' ' || coalesce(z.mac, '')) like {}",
    columns={
        "id": Column(sql="z.id", kind=int, cast="bigint"), "hostname": Column(sql="lower(z.hostname)", param="lower({})", sortable=True),
        "serial": Column(sql="upper(z.serial)", param="upper({})", nullable=True), "mac": Column(sql="z.mac", nullable=True),
        "state": Column(sql="z.state", kind=BootState, cast="text", sortable=True), "profile": Column(sql="z.profile"), "site": _by_site("z"),
        "state_at": Column(sql="z.state_at", kind=datetime, sortable=True), "closes_at": Column(sql="z.closes_at", kind=datetime, sortable=True),
        "device_id": Column(sql="z.device_id", kind=int, cast="bigint", nullable=True),
        "subscriber_id": Column(sql="z.subscriber_id", kind=int, cast="bigint", nullable=True), "armed": Column(sql="z.armed", kind=bool),
    },
)  # fmt: skip
CANDIDATES = Listing(
    kind="ztp_candidate", select=f"select {_members(BootCandidate, 'c', _READ_CANDIDATE)} from ztp_candidates c", counted="ztp_candidates c",
    tenant="c.tenant_id", id="c.id", search="lower(c.serial || ' ' || c.mac || ' ' || c.model || ' ' || c.circuit_id) like {}",
    columns={
        "id": Column(sql="c.id", kind=int, cast="bigint"), "state": Column(sql="c.state", kind=BootCandidateState, cast="text", sortable=True),
        "serial": Column(sql="upper(c.serial)", param="upper({})"), "mac": Column(sql="c.mac"), "profile": Column(sql="c.profile"), "site": _by_site("c"),
        "first_seen_at": Column(sql="c.first_seen_at", kind=datetime, sortable=True),
        "last_seen_at": Column(sql="c.last_seen_at", kind=datetime, sortable=True),
    },
)  # fmt: skip
STEPS = Listing(
    kind="ztp_step", select="select id, at, step, evidence from ztp_steps", counted="ztp_steps", tenant="tenant_id", id="id",
    columns={"id": Column(sql="id", kind=int, cast="bigint"), "at": Column(sql="at", kind=datetime, sortable=True), "step": Column(sql="step")},
    within={"ztp_device_id": Column(sql="ztp_device_id", kind=int, cast="bigint")},
)  # fmt: skip

RULES = Listing(
    kind="ztp_rule", select=f"select {_members(BootRule, 'r', _READ_RULE)} from ztp_rules r", counted="ztp_rules r", tenant="r.tenant_id", id="r.id",
    columns={
        "id": Column(sql="r.id", kind=int, cast="bigint"), "name": Column(sql="lower(r.name)", param="lower({})", sortable=True),
        "position": Column(sql="r.position", kind=int, cast="integer", sortable=True), "enabled": Column(sql="r.enabled", kind=bool, cast="boolean"),
        "site": _by_site("r"),
    },
)  # fmt: skip


def steps(records: Sequence[Mapping[str, Any]]) -> list[BootStep]:
    """Steps of the listing's records."""
    return [BootStep(**record) for record in records]


def of(records: Sequence[Mapping[str, Any]]) -> list[ExpectedDevice]:
    """Expected devices of the listing's records."""
    return [_expected(record) for record in records]


def _expected(record: Mapping[str, Any]) -> ExpectedDevice:
    return ExpectedDevice(**{**record, "address": rows.address(record["address"]), "address_now": rows.address(record["address_now"])})


def candidates_of(records: Sequence[Mapping[str, Any]]) -> list[BootCandidate]:
    """Candidates of the listing's records."""
    return [BootCandidate(**{**record, "relay": rows.address(record["relay"])}) for record in records]


def rules_of(records: Sequence[Mapping[str, Any]]) -> list[BootRule]:
    """Rules of the listing's records."""
    return [BootRule(**{**record, "profiles": tuple(record["profiles"])}) for record in records]


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> int:
    """Add an expected device; returns its id. Raises Conflict through the transaction if its name, serial or MAC address is taken."""
    statement, args = rows.insertion("ztp_devices", COLUMNS, tenant_id, values)
    return int(await conn.fetchval(f"{statement} returning id", *args))


async def get(conn: Connection, tenant_id: int, row_id: int, *, lock: bool = False) -> ExpectedDevice | None:
    """The device; with ``lock`` it stays as it is until the transaction ends."""
    record = await conn.fetchrow(f"{LISTING.select} where z.tenant_id = $1 and z.id = $2{' for no key update of z' if lock else ''}", tenant_id, row_id)
    return None if record is None else _expected(record)


async def site_of(conn: Connection, tenant_id: int, row_id: int) -> int | None:
    """The id of the site where it is expected."""
    found: int | None = await conn.fetchval("select site_id from ztp_devices where tenant_id = $1 and id = $2", tenant_id, row_id)
    return found


async def waiting(conn: Connection, tenant_id: int, after: int, limit: int) -> list[ExpectedDevice]:
    """Devices that may still boot, by id: for looking at all that they will be sent."""
    records = await conn.fetch(
        f"{LISTING.select} where z.tenant_id = $1 and z.id > $2 and z.state <> 'verified' order by z.id limit $3", tenant_id, after, limit
    )
    return of(records)


async def update(conn: Connection, tenant_id: int, row_id: int, values: Mapping[str, Any]) -> None:
    """Set columns and count the version up."""
    before = await conn.fetchval("select address from ztp_devices where tenant_id = $1 and id = $2", tenant_id, row_id) if "address" in values else None
    statement, args = rows.update("ztp_devices", COLUMNS, tenant_id, row_id, values)
    await conn.execute(statement, *args)
    if before is not None and before != values["address"]:
        await _free(conn, tenant_id, before)


async def _free(conn: Connection, tenant_id: int, address: Any) -> None:
    """An address that was fixed is its pool's again, if it is of one."""
    await conn.execute("select netd_unfix(array[$1::bigint], array[$2::inet])", tenant_id, address)


async def delete(conn: Connection, tenant_id: int, row_id: int) -> bool:
    """Remove an expected device with its steps and tokens; whether it was there."""
    gone = await conn.fetchrow("delete from ztp_devices where tenant_id = $1 and id = $2 returning address", tenant_id, row_id)
    if gone is not None and gone["address"] is not None:
        await _free(conn, tenant_id, gone["address"])
    return gone is not None


async def hostnames_of(conn: Connection, tenant_id: int, subscriber_id: int) -> list[str]:
    """The names of the devices that are expected for a subscriber."""
    records = await conn.fetch("select hostname from ztp_devices where tenant_id = $1 and subscriber_id = $2 order by id", tenant_id, subscriber_id)
    return [each["hostname"] for each in records]


async def spend(conn: Connection, tenant_id: int, row_id: int) -> None:
    """Take all its tokens away; those to come, and its first password, are of a generation that none of them had."""
    await conn.execute(
        """update ztp_devices d set generation = 1 + greatest(d.generation, (select max(t.generation) from ztp_tokens t where t.ztp_device_id = d.id))
           where d.tenant_id = $1 and d.id = $2""", tenant_id, row_id,
    )  # fmt: skip
    await conn.execute("delete from ztp_tokens where tenant_id = $1 and ztp_device_id = $2", tenant_id, row_id)


async def secret(conn: Connection, tenant_id: int, row_id: int) -> tuple[bytes, int]:
    """What its tokens and first password are made from, sealed, and the generation of that password: its tokens have that one or a later one."""
    record = await conn.fetchrow("select secret, generation from ztp_devices where tenant_id = $1 and id = $2", tenant_id, row_id)
    return record["secret"], record["generation"]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What a device has of its files: ``sent_generation`` is that of the password in the one that it was last sent, ``delivered_at`` when it last had one
    whole that it goes on from, ``presumed_at`` since when it is taken to have it, ``typed_at`` when it last got its configuration by its command line.
    ``generation`` is another one as soon as it is to boot anew, or its service has ended."""

    generation: int
    sent_generation: int | None
    delivered_at: datetime | None
    presumed_at: datetime | None
    typed_at: datetime | None


async def delivery(conn: Connection, tenant_id: int, row_id: int) -> Delivery:
    """What it has of its files. Raises NotFound."""
    record = await conn.fetchrow(
        "select generation, sent_generation, delivered_at, presumed_at, typed_at from ztp_devices where tenant_id = $1 and id = $2", tenant_id, row_id
    )  # fmt: skip
    if record is None:
        raise NotFound("expected device", row_id)
    return Delivery(**record)


async def typed(conn: Connection, tenant_id: int, row_id: int, at: datetime) -> None:
    """It got its configuration."""
    await conn.execute("update ztp_devices set typed_at = $3 where tenant_id = $1 and id = $2", tenant_id, row_id, at)


async def serves(conn: Connection, tenant_id: int, row_id: int) -> bool:
    """Whether it may boot, as far as that depends on a subscriber."""
    return bool(await conn.fetchval("select netd_ztp_serves(tenant_id, subscriber_id) from ztp_devices where tenant_id = $1 and id = $2", tenant_id, row_id))


async def configured_for(conn: Connection, tenant_id: int, row_id: int, service: bytes | None) -> None:
    """Remember with what of its subscriber it is configured from now on; no change that anybody sees."""
    await conn.execute(
        "update ztp_devices set service = $3, service_at = now() where tenant_id = $1 and id = $2", tenant_id, row_id, service
    )  # fmt: skip


async def configured_with(conn: Connection, tenant_id: int, row_id: int) -> tuple[bytes | None, datetime | None]:
    """With what of its subscriber it was last configured, and when that was begun, or it was first looked for where it is."""
    record = await conn.fetchrow("select service, service_at from ztp_devices where tenant_id = $1 and id = $2", tenant_id, row_id)
    return (None, None) if record is None else (record["service"], record["service_at"])


async def found_by(conn: Connection, tenant_id: int, row_id: int) -> str | None:
    """What showed that it was there already (``lease``, ``device``); None for one that booted."""
    found: str | None = await conn.fetchval(
        """select evidence ->> 'by' from ztp_steps where tenant_id = $1 and ztp_device_id = $2 and step in ('found', 'leased', 'fetching')
           order by id desc limit 1""", tenant_id, row_id,
    )  # fmt: skip
    return found


class Whereabouts(msgspec.Struct, frozen=True, kw_only=True):
    """Where a device is that is there already, and what shows it: a ``lease``, or a ``device`` of the inventory."""

    address: IPv4Address | IPv6Address
    by: Literal["lease", "device"]
    device_id: int | None = None


async def whereabouts(conn: Connection, tenant_id: int, row_id: int) -> Whereabouts | None:
    """Where an expected device is: in the inventory, if one said within a day that it has this serial number (what somebody wrote may be of one that is yet
    to come); else where its MAC address has a lease in force. Anything can say so: it counts only of the site where the device is expected, of one whose
    address a site's operator set at that site only, and not for who is known by its line, for which relays speak."""
    record = await conn.fetchrow(
        """select d.id, d.mgmt_address from ztp_devices z join devices d on d.tenant_id = z.tenant_id and d.state in ('active', 'maintenance')
               and upper(d.observed -> 'serial' ->> 'value') = upper(z.serial) and d.facts_at > now() - interval '1 day'
               and (d.site_id = z.site_id or ((d.site_id is null or z.site_id is null) and not d.site_addressed))
           where z.tenant_id = $1 and z.id = $2 and z.circuit_id is null order by d.id limit 1""", tenant_id, row_id,
    )  # fmt: skip
    if record is not None:
        return Whereabouts(address=rows.address(record["mgmt_address"]), by="device", device_id=record["id"])
    record = await conn.fetchrow(
        """select l.prefix from ztp_devices z join leases l on l.tenant_id = z.tenant_id and l.mac = z.mac and l.dhcp_state = 'bound' and l.expires_at > now()
               and l.kind = 'ipv4' join dhcp_subnets n on n.tenant_id = l.tenant_id and n.id = l.dhcp_subnet_id
               and (n.site_id is null or z.site_id is null or n.site_id = z.site_id)
           where z.tenant_id = $1 and z.id = $2 and z.circuit_id is null order by l.id desc limit 1""", tenant_id, row_id,
    )  # fmt: skip
    return None if record is None else Whereabouts(address=rows.address(record["prefix"]), by="lease")


async def candidate_like(conn: Connection, tenant_id: int, row_id: int) -> BootCandidate | None:
    """The candidate that nobody adopted, of an expected device's serial number, else MAC address, where it is expected."""
    record = await conn.fetchrow(
        f"""{CANDIDATES.select} where c.tenant_id = $1 and c.state <> 'adopted' and exists (
                select from ztp_devices z where z.tenant_id = $1 and z.id = $2 and (z.site_id is null or c.site_id is null or c.site_id = z.site_id)
                    and ((upper(c.serial) = upper(z.serial) and c.serial <> '') or (z.serial is null and c.mac = z.mac and c.mac <> '')))
            order by c.last_seen_at desc limit 1 for no key update of c""", tenant_id, row_id,
    )  # fmt: skip
    return None if record is None else candidates_of([record])[0]


async def candidate(conn: Connection, tenant_id: int, row_id: int, *, lock: bool = False) -> BootCandidate | None:
    """The candidate."""
    tail = " for no key update of c" if lock else ""
    record = await conn.fetchrow(f"{CANDIDATES.select} where c.tenant_id = $1 and c.id = $2{tail}", tenant_id, row_id)
    return None if record is None else candidates_of([record])[0]


async def set_candidate(conn: Connection, tenant_id: int, row_id: int, state: BootCandidateState, expected_id: int | None) -> None:
    """Say what became of it."""
    await conn.execute(
        "update ztp_candidates set state = $3, ztp_device_id = $4, version = version + 1, updated_at = now() where tenant_id = $1 and id = $2",
        tenant_id, row_id, state, expected_id,
    )  # fmt: skip


async def rule(conn: Connection, tenant_id: int, row_id: int, *, lock: bool = False) -> BootRule | None:
    """The rule."""
    record = await conn.fetchrow(f"{RULES.select} where r.tenant_id = $1 and r.id = $2{' for no key update of r' if lock else ''}", tenant_id, row_id)
    return None if record is None else rules_of([record])[0]


async def insert_rule(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> int:
    """Add a rule; returns its id."""
    statement, args = rows.insertion("ztp_rules", RULE_COLUMNS, tenant_id, values)
    return int(await conn.fetchval(f"{statement} returning id", *args))


async def rule_site(conn: Connection, tenant_id: int, row_id: int) -> int | None:
    """The id of the site where a rule holds."""
    found: int | None = await conn.fetchval("select site_id from ztp_rules where tenant_id = $1 and id = $2", tenant_id, row_id)
    return found


async def update_rule(conn: Connection, tenant_id: int, row_id: int, values: Mapping[str, Any]) -> None:
    """Set columns and count the version up."""
    statement, args = rows.update("ztp_rules", RULE_COLUMNS, tenant_id, row_id, values)
    await conn.execute(statement, *args)


async def delete_rule(conn: Connection, tenant_id: int, row_id: int) -> bool:
    """Remove a rule; whether it was there. What it let in stays."""
    return rows.updated(await conn.execute("delete from ztp_rules where tenant_id = $1 and id = $2", tenant_id, row_id)) > 0


async def with_address(conn: Connection, tenant_id: int, address: IPv4Address | IPv6Address, but: int | None) -> bool:
    """Whether an expected device (``but`` this one) has the address fixed."""
    found: bool = await conn.fetchval(
        "select exists (select 1 from ztp_devices where tenant_id = $1 and address = $2 and id is distinct from $3)", tenant_id, address, but
    )
    return found
