"""Expected devices, candidates and rules for people and the API. What the boot server reads and writes is ``store.boot``."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Literal

import msgspec

from netd.model.boot import BootCandidate, BootCandidateState, BootRule, BootState, BootStep, ExpectedDevice
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

COLUMNS = (
    "hostname", "site_id", "serial", "mac", "circuit_id", "profile", "vendor", "platform", "role", "transport", "address", "credential_id", "variables",
    "boot_template", "configuration", "target_version", "make_nas", "opens_at", "closes_at", "secret", "generation", "state", "state_at", "reason",
    "configured_at", "rule_id", "device_id", "subscriber_id", "armed", "service", "service_at", "verify", "certificate", "certificate_folder", "seen",
    "address_now",
)  # fmt: skip
RULE_COLUMNS = ("name", "position", "site_id", "circuit_id", "model", "profiles", "hostname", "settings", "enabled")
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
    """Take all its tokens away."""
    await conn.execute("delete from ztp_tokens where tenant_id = $1 and ztp_device_id = $2", tenant_id, row_id)


async def secret(conn: Connection, tenant_id: int, row_id: int) -> tuple[bytes, int]:
    """What its tokens and first password are made from, sealed, and their generation."""
    record = await conn.fetchrow("select secret, generation from ztp_devices where tenant_id = $1 and id = $2", tenant_id, row_id)
    return record["secret"], record["generation"]


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


async def whereabouts(conn: Connection, tenant_id: int, serial: str | None, mac: str | None) -> Whereabouts | None:
    """Where a device is: in the inventory, if one said within a day that this is its serial number (what somebody wrote may be of one that is yet to come);
    else where its MAC address has a lease in force."""
    if serial is not None:
        record = await conn.fetchrow(
            """select id, mgmt_address from devices where tenant_id = $1 and state in ('active', 'maintenance')
                   and upper(observed -> 'serial' ->> 'value') = upper($2) and facts_at > now() - interval '1 day' order by id limit 1""", tenant_id, serial,
        )  # fmt: skip
        if record is not None:
            return Whereabouts(address=rows.address(record["mgmt_address"]), by="device", device_id=record["id"])
    if mac is not None:
        record = await conn.fetchrow(
            """select prefix from leases where tenant_id = $1 and mac = $2 and dhcp_state = 'bound' and expires_at > now() and kind = 'ipv4'
               order by id desc limit 1""", tenant_id, mac,
        )  # fmt: skip
        if record is not None:
            return Whereabouts(address=rows.address(record["prefix"]), by="lease")
    return None


async def candidate_like(conn: Connection, tenant_id: int, serial: str | None, mac: str | None) -> BootCandidate | None:
    """The candidate that nobody adopted, of this serial number, else MAC address."""
    record = await conn.fetchrow(
        f"""{CANDIDATES.select} where c.tenant_id = $1 and c.state <> 'adopted'
                and ((upper(c.serial) = upper($2) and c.serial <> '') or ($2::text is null and c.mac = $3 and c.mac <> ''))
            order by c.last_seen_at desc limit 1 for no key update of c""", tenant_id, serial, mac,
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
