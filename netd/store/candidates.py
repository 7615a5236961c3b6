"""What discovery found: candidates for devices."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from netd.model.inventory import Candidate, CandidateState, DeviceKind
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

_READ = {
    "site": "(select w.name from sites w where w.id = c.site_id)", "credential": "(select k.name from credentials k where k.id = c.credential_id)",
    "device": "(select d.hostname from devices d where d.id = c.device_id)",
}  # fmt: skip
_MEMBERS = ", ".join(f"{_READ[name]} as {name}" if name in _READ else f"c.{name}" for name in Candidate.__struct_fields__)
LISTING = Listing(
    kind="candidate", select=f"select {_MEMBERS} from discovery_candidates c", counted="discovery_candidates c", tenant="c.tenant_id", id="c.id",
    search="lower(coalesce(c.sys_name, '') || ' ' || coalesce(c.sys_descr, '')) like {}",
    columns={
        "id": Column(sql="c.id", kind=int, cast="bigint"), "address": Column(sql="c.address", cast="inet", sortable=True),
        "state": Column(sql="c.state", kind=CandidateState, cast="text", sortable=True), "vendor": Column(sql="c.vendor", nullable=True),
        "platform": Column(sql="c.platform", nullable=True), "kind": Column(sql="c.kind", kind=DeviceKind, cast="text", nullable=True),
        "site": Column(sql="(select lower(w.name) from sites w where w.id = c.site_id)", param="lower({})"),
        "device_id": Column(sql="c.device_id", kind=int, cast="bigint", nullable=True),
        "first_seen_at": Column(sql="c.first_seen_at", kind=datetime, sortable=True),
        "last_seen_at": Column(sql="c.last_seen_at", kind=datetime, sortable=True),
    },
)  # fmt: skip


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A device that answered, with what was recognised."""

    address: str
    also_at: tuple[str, ...]
    answers: tuple[str, ...]
    sys_object_id: str | None
    sys_descr: str | None
    sys_name: str | None
    serial: str | None
    banner: str | None
    host_key: str | None
    credential_id: int | None
    vendor: str | None
    platform: str | None
    kind: DeviceKind | None
    at: datetime


def of(records: Sequence[Mapping[str, Any]]) -> list[Candidate]:
    """Candidates of the listing's records."""
    return [_candidate(record) for record in records]


def _candidate(record: Mapping[str, Any]) -> Candidate:
    also = tuple(rows.address(each) for each in record["also_at"])
    return Candidate(**{**record, "address": rows.address(record["address"]), "also_at": also, "answers": tuple(record["answers"])})


# The device that it is: managed at one of the addresses, with the pinned host key, or with the serial number. What fits several tells nothing.
_WHO = """
    left join lateral (
        select min(d.id) as id from devices d where d.tenant_id = $1 and d.mgmt_address = any(array_append(u.also_at, u.address)) having count(*) = 1
    ) by_address on true
    left join lateral (select min(d.id) as id from devices d where d.tenant_id = $1 and u.host_key = any(d.host_keys) having count(*) = 1) by_key on true
    left join lateral (
        select min(d.id) as id from devices d
        where d.tenant_id = $1 and u.serial in (d.serial, d.observed -> 'serial' ->> 'value') having count(*) = 1
    ) by_serial on true
"""


async def keep(conn: Connection, tenant_id: int, site_id: int | None, found: Sequence[Found]) -> dict[str, int]:
    """Add what was found at a site, or note that it was found again; what an operator decided of it stays. Returns how many are now in which state.

    What is managed at one of its addresses is accepted at once: it is known.
    """
    records = await conn.fetch(
        f"""insert into discovery_candidates as c (tenant_id, site_id, address, also_at, answers, sys_object_id, sys_descr, sys_name, serial, banner, host_key,
                credential_id, vendor, platform, kind, state, device_id, first_seen_at, last_seen_at)
            select $1, $2, u.address, u.also_at, u.answers, u.sys_object_id, u.sys_descr, u.sys_name, u.serial, u.banner, u.host_key, k.id, u.vendor,
                u.platform, u.kind, case when by_address.id is null then 'new' else 'accepted' end, coalesce(by_address.id, by_key.id, by_serial.id), u.at, u.at
            from json_to_recordset($3::text::json) as u (address inet, also_at inet[], answers text[], sys_object_id text, sys_descr text, sys_name text,
                serial text, banner text, host_key text, credential_id bigint, vendor text, platform text, kind text, at timestamptz)
                left join credentials k on k.tenant_id = $1 and k.id = u.credential_id {_WHO}
            on conflict (tenant_id, coalesce(site_id, 0), address) do update set also_at = excluded.also_at, answers = excluded.answers,
                sys_object_id = excluded.sys_object_id, sys_descr = excluded.sys_descr, sys_name = excluded.sys_name, serial = excluded.serial,
                banner = excluded.banner, host_key = excluded.host_key, credential_id = excluded.credential_id, vendor = excluded.vendor,
                platform = excluded.platform, kind = excluded.kind, device_id = coalesce(excluded.device_id, c.device_id),
                state = case when excluded.state = 'accepted' or (c.state = 'accepted' and c.device_id is null) then excluded.state else c.state end,
                last_seen_at = excluded.last_seen_at, version = c.version + 1, updated_at = now()
            returning state""", tenant_id, site_id, msgspec.json.encode(found).decode(),
    )  # fmt: skip
    counted = {"new": 0, "accepted": 0, "ignored": 0}
    for record in records:
        counted[record["state"]] += 1
    return counted


async def get(conn: Connection, tenant_id: int, candidate_id: int, *, lock: bool = False) -> Candidate | None:
    """The candidate; with ``lock`` nobody else changes it until the transaction ends."""
    record = await conn.fetchrow(f"{LISTING.select} where c.tenant_id = $1 and c.id = $2{' for update of c' if lock else ''}", tenant_id, candidate_id)
    return None if record is None else _candidate(record)


async def update(conn: Connection, tenant_id: int, candidate_id: int, values: Mapping[str, Any]) -> None:
    """Set what was decided of it."""
    statement, args = rows.update("discovery_candidates", frozenset(("state", "device_id")), tenant_id, candidate_id, values)
    await conn.execute(statement, *args)


async def delete(conn: Connection, tenant_id: int, candidate_id: int) -> bool:
    """Forget a candidate; whether it was there. Found again, it is new."""
    return rows.updated(await conn.execute("delete from discovery_candidates where tenant_id = $1 and id = $2", tenant_id, candidate_id)) > 0
