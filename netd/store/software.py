"""Software images, who should run which, and who does."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from netd.model.configuration import Compliance, SoftwareImage, SoftwareTarget
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing
from netd.store.timeseries import RUNNING_SINCE

_IMAGE = ", ".join(SoftwareImage.__struct_fields__)
_TARGET = ", ".join(SoftwareTarget.__struct_fields__)
IMAGE_COLUMNS = frozenset(("platform", "software_version", "file_name", "octets", "sha256", "md5", "note", "created_by"))
TARGET_COLUMNS = frozenset(("platform", "model", "software_version", "reason"))

IMAGES = Listing(
    kind="software_image", select=f"select {_IMAGE} from software_images", counted="software_images", tenant="tenant_id", id="id",
    search="lower(file_name || ' ' || software_version) like {}",
    columns={
        "id": Column(sql="id", kind=int, cast="bigint"), "platform": Column(sql="platform", sortable=True),
        "software_version": Column(sql="software_version", sortable=True), "created_at": Column(sql="created_at", kind=datetime, sortable=True),
    },
)  # fmt: skip
TARGETS = Listing(
    kind="software_target", select=f"select {_TARGET} from software_targets", counted="software_targets", tenant="tenant_id", id="id",
    columns={
        "id": Column(sql="id", kind=int, cast="bigint"), "platform": Column(sql="platform", sortable=True), "model": Column(sql="model", nullable=True),
        "software_version": Column(sql="software_version", sortable=True),
    },
)  # fmt: skip

PLATFORM = "coalesce(d.platform, d.observed -> 'platform' ->> 'value')"
MODEL = "coalesce(d.observed -> 'model' ->> 'value', d.model)"
RUNS = "coalesce(d.observed -> 'software_version' ->> 'value', d.software_version)"
WANTED = "coalesce(d.target_version, t.software_version)"
# A device's own target goes before its model's, and that before its platform's.
FROM = f"""devices d left join lateral (
        select t.software_version, t.reason from software_targets t
        where t.tenant_id = d.tenant_id and t.platform = {PLATFORM} and (t.model is null or lower(t.model) = lower({MODEL}))
        order by t.model is null limit 1
    ) t on true"""
REASON = "case when d.target_version is not null then 'the device''s own target version' else t.reason end"
COMPLIANT = f"({RUNS} is not distinct from {WANTED})"
_IMAGE_ID = f"""(select i.id from software_images i
    where i.tenant_id = d.tenant_id and i.platform = {PLATFORM} and i.software_version = {WANTED} limit 1)"""
_COMPLIANCE = {
    "id": "d.id", "tenant_id": "d.tenant_id", "device": "d.hostname", "site": "(select w.name from sites w where w.id = d.site_id)", "platform": PLATFORM,
    "model": MODEL, "software_version": RUNS, "wanted_version": WANTED, "reason": REASON, "compliant": COMPLIANT, "image_id": _IMAGE_ID,
}  # fmt: skip
_JUDGED = f"""select {", ".join(f"{sql} as {name}" for name, sql in _COMPLIANCE.items())}
    from {FROM} where d.state in ('active', 'maintenance') and {WANTED} is not null"""
COMPLIANCE = Listing(
    kind="compliance", select=f"select * from ({_JUDGED}) c", counted=f"({_JUDGED}) c", tenant="c.tenant_id", id="c.id", search="lower(c.device) like {}",
    columns={
        "id": Column(sql="c.id", kind=int, cast="bigint"), "device": Column(sql="lower(c.device)", param="lower({})", sortable=True),
        "site": Column(sql="lower(c.site)", param="lower({})", nullable=True), "platform": Column(sql="c.platform", nullable=True),
        "model": Column(sql="c.model", nullable=True), "software_version": Column(sql="c.software_version", nullable=True),
        "wanted_version": Column(sql="c.wanted_version", sortable=True), "compliant": Column(sql="c.compliant", kind=bool),
    },
)  # fmt: skip


class Fleet(NamedTuple):
    """How many devices of a model run a version; ``steady`` of them for long, and without trouble, the last of those since ``latest_at``."""

    platform: str
    model: str
    software_version: str | None
    devices: int
    steady: int
    latest_at: datetime | None


def images_of(records: Sequence[Mapping[str, Any]]) -> list[SoftwareImage]:
    """Images of the listing's records."""
    return [SoftwareImage(**record) for record in records]


def targets_of(records: Sequence[Mapping[str, Any]]) -> list[SoftwareTarget]:
    """Targets of the listing's records."""
    return [SoftwareTarget(**record) for record in records]


def compliance_of(records: Sequence[Mapping[str, Any]]) -> list[Compliance]:
    """Judgements of the listing's records."""
    return [Compliance(**record) for record in records]


async def fleet(conn: Connection, tenant_id: int, since: datetime, platform: str | None, model: str | None) -> list[Fleet]:
    """Of each model without a target, of all or these: what its devices in use run. Steady is one that runs it since before ``since``, is polled, and after
    that (and an hour for the upgrade itself) neither restarted nor had a major alarm."""
    quiet = "greatest($2, (d.observed -> 'software_version' ->> 'at')::timestamptz + interval '1 hour')"
    records = await conn.fetch(
        f"""select f.platform, f.model, f.runs as software_version, count(*) as devices, count(*) filter (where steady) as steady,
                max(since_at) filter (where steady) as latest_at
            from (
                select {PLATFORM} as platform, {MODEL} as model, {RUNS} as runs, s.at as since_at,
                    d.polling and coalesce(s.at <= $2, false)
                    and not exists (select from device_facts e where e.device_id = d.id and e.subject = '' and e.fact = '{RUNNING_SINCE}' and e.at >= {quiet})
                    and not exists (
                        select from alarms a where a.device_id = d.id and a.severity in ('major', 'critical') and coalesce(a.cleared_at, 'infinity') >= {quiet}
                    ) as steady
                from {FROM} cross join lateral (select (d.observed -> 'software_version' ->> 'at')::timestamptz as at) s
                where d.tenant_id = $1 and d.state in ('active', 'maintenance') and t.software_version is null
            ) f where f.platform is not null and f.model is not null and f.platform = coalesce($3, f.platform) and lower(f.model) = lower(coalesce($4, f.model))
            group by f.platform, f.model, f.runs order by f.platform, f.model""",
        tenant_id, since, platform if platform is None else rows.storable(platform), model if model is None else rows.storable(model),
    )  # fmt: skip
    return [Fleet(**record) for record in records]


async def insert_image(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> int:
    """Add an image; returns its id. Raises Conflict through the transaction if the platform has one of the version."""
    statement, args = rows.insertion("software_images", IMAGE_COLUMNS, tenant_id, values)
    return int(await conn.fetchval(f"{statement} returning id", *args))


async def image(conn: Connection, tenant_id: int, image_id: int) -> SoftwareImage | None:
    """The image."""
    record = await conn.fetchrow(f"{IMAGES.select} where tenant_id = $1 and id = $2", tenant_id, image_id)
    return None if record is None else SoftwareImage(**record)


async def image_of_version(conn: Connection, tenant_id: int, platform: str, version: str) -> SoftwareImage | None:
    """The platform's image of a version."""
    record = await conn.fetchrow(f"{IMAGES.select} where tenant_id = $1 and platform = $2 and software_version = $3", tenant_id, platform, version)
    return None if record is None else SoftwareImage(**record)


async def delete_image(conn: Connection, tenant_id: int, image_id: int) -> bool:
    """Remove an image; whether it was there."""
    return rows.updated(await conn.execute("delete from software_images where tenant_id = $1 and id = $2", tenant_id, image_id)) > 0


async def lock_file(conn: Connection, sha256: str) -> None:
    """Nobody else adds or removes an image with this file until the transaction ends."""
    await conn.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", f"software image {sha256}")


async def images_with(conn: Connection, sha256: str) -> int:
    """How many images of all tenants have this file."""
    return int(await conn.fetchval("select count(*) from software_images where sha256 = $1", sha256))


async def insert_target(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> int:
    """Add a target; returns its id. Raises Conflict through the transaction if there is one of the platform and model."""
    statement, args = rows.insertion("software_targets", TARGET_COLUMNS, tenant_id, values)
    return int(await conn.fetchval(f"{statement} returning id", *args))


async def target(conn: Connection, tenant_id: int, target_id: int, *, lock: bool = False) -> SoftwareTarget | None:
    """The target; with ``lock`` nobody else changes it until the transaction ends."""
    record = await conn.fetchrow(f"{TARGETS.select} where tenant_id = $1 and id = $2{' for update' if lock else ''}", tenant_id, target_id)
    return None if record is None else SoftwareTarget(**record)


async def update_target(conn: Connection, tenant_id: int, target_id: int, values: Mapping[str, Any]) -> None:
    """Set columns."""
    statement, args = rows.update("software_targets", TARGET_COLUMNS, tenant_id, target_id, values)
    await conn.execute(statement, *args)


async def delete_target(conn: Connection, tenant_id: int, target_id: int) -> bool:
    """Remove a target; whether it was there."""
    return rows.updated(await conn.execute("delete from software_targets where tenant_id = $1 and id = $2", tenant_id, target_id)) > 0
