"""Certification authorities, and certificates of devices. Keys are sealed; none of the values here has one."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from netd.model.certificate import Authority, Certificate, Revocation
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

KeyTable = Literal["certificate_authorities", "certificates"]

AUTHORITY_COLUMNS = ("subject", "supplied", "certificate", "key", "serial", "fingerprint", "not_before", "not_after", "created_by")
COLUMNS = (
    "ztp_device_id", "authority_id", "subject", "names", "algorithm", "certificate", "key", "serial", "fingerprint", "not_before", "not_after",
)  # fmt: skip
_HOSTNAME = "(select z.hostname from ztp_devices z where z.id = c.ztp_device_id)"
_BESIDE = {
    "hostname": f"{_HOSTNAME} as hostname", "revoked_at": "v.revoked_at", "revocation_reason": "v.reason as revocation_reason",
}  # fmt: skip
_MEMBERS = ", ".join(_BESIDE.get(name, f"c.{name}") for name in Certificate.__struct_fields__)
_FROM = "certificates c left join certificate_revocations v on v.authority_id = c.authority_id and v.serial = c.serial"

AUTHORITIES = Listing(
    kind="certificate_authority", select=f"select {', '.join(Authority.__struct_fields__)} from certificate_authorities", counted="certificate_authorities",
    tenant="tenant_id", id="id", descending=True,
    columns={"id": Column(sql="id", kind=int, cast="bigint"), "not_after": Column(sql="not_after", kind=datetime, sortable=True)},
)  # fmt: skip
LISTING = Listing(
    kind="certificate", select=f"select {_MEMBERS} from {_FROM}", counted=_FROM, tenant="c.tenant_id", id="c.id",
    columns={
        "id": Column(sql="c.id", kind=int, cast="bigint"), "ztp_device_id": Column(sql="c.ztp_device_id", kind=int, cast="bigint"),
        "hostname": Column(sql=f"lower({_HOSTNAME})", param="lower({})"), "serial": Column(sql="c.serial"),
        "fingerprint": Column(sql="c.fingerprint"), "not_after": Column(sql="c.not_after", kind=datetime, sortable=True),
        "replaced_at": Column(sql="c.replaced_at", kind=datetime, nullable=True),
        "revoked_at": Column(sql="v.revoked_at", kind=datetime, nullable=True),
    },
)  # fmt: skip


def authorities_of(records: Sequence[Mapping[str, Any]]) -> list[Authority]:
    """Authorities of the listing's records."""
    return [Authority(**record) for record in records]


def of(records: Sequence[Mapping[str, Any]]) -> list[Certificate]:
    """Certificates of the listing's records."""
    return [Certificate(**{**record, "names": tuple(record["names"])}) for record in records]


async def authority(conn: Connection, tenant_id: int, row_id: int | None = None) -> Authority | None:
    """The authority; without an id the one that signs."""
    which, args = ("true", []) if row_id is None else ("id = $2", [row_id])
    record = await conn.fetchrow(f"{AUTHORITIES.select} where tenant_id = $1 and {which} order by id desc limit 1", tenant_id, *args)
    return None if record is None else Authority(**record)


async def ending(conn: Connection, before: datetime) -> list[tuple[str, datetime]]:
    """(subject, end) of the authorities that operators supplied, that sign for their tenants, and that end before that."""
    records = await conn.fetch(
        """select subject, not_after from (select distinct on (tenant_id) * from certificate_authorities order by tenant_id, id desc) a
           where supplied and not_after < $1 order by not_after, id""", before,
    )  # fmt: skip
    return [(each["subject"], each["not_after"]) for each in records]


async def lock(conn: Connection, tenant_id: int) -> None:
    """Let nobody else make an authority of the tenant, or a certificate, until the transaction ends."""
    await conn.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", f"certificates {tenant_id}")


async def insert_authority(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> int:
    """Add an authority, which signs from now on; returns its id."""
    statement, args = rows.insertion("certificate_authorities", AUTHORITY_COLUMNS, tenant_id, values)
    return int(await conn.fetchval(f"{statement} returning id", *args))


async def get(conn: Connection, tenant_id: int, row_id: int) -> Certificate | None:
    """The certificate."""
    record = await conn.fetchrow(f"{LISTING.select} where c.tenant_id = $1 and c.id = $2", tenant_id, row_id)
    return None if record is None else of([record])[0]


async def newest(conn: Connection, tenant_id: int, ztp_device_id: int) -> Certificate | None:
    """A device's newest certificate, installed or not."""
    record = await conn.fetchrow(f"{LISTING.select} where c.tenant_id = $1 and c.ztp_device_id = $2 order by c.id desc limit 1", tenant_id, ztp_device_id)
    return None if record is None else of([record])[0]


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> int:
    """Add a certificate; returns its id."""
    statement, args = rows.insertion("certificates", COLUMNS, tenant_id, values)
    return int(await conn.fetchval(f"{statement} returning id", *args))


async def key(conn: Connection, tenant_id: int, table: KeyTable, row_id: int) -> bytes:
    """The sealed private key."""
    return bytes(await conn.fetchval(f"select key from {table} where tenant_id = $1 and id = $2", tenant_id, row_id))


async def installed(conn: Connection, tenant_id: int, certificate: Certificate, at: datetime) -> bool:
    """It is on its device: those before it have lost their place, and their keys. False if that was known."""
    await conn.execute(
        """update certificates set key = null, replaced_at = coalesce(replaced_at, $4)
           where tenant_id = $1 and ztp_device_id = $2 and id < $3 and key is not null""", tenant_id, certificate.ztp_device_id, certificate.id, at,
    )  # fmt: skip
    return rows.updated(await conn.execute(
        "update certificates set installed_at = $3 where tenant_id = $1 and id = $2 and installed_at is null", tenant_id, certificate.id, at,
    )) > 0  # fmt: skip


async def revoke(conn: Connection, tenant_id: int, certificate: Certificate, reason: str, by: str, at: datetime) -> bool:
    """It is good no longer; False if it was not before."""
    return rows.updated(await conn.execute(
        """insert into certificate_revocations (tenant_id, authority_id, serial, subject, reason, not_after, revoked_at, revoked_by)
           values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing""", tenant_id, certificate.authority_id, certificate.serial,
        certificate.subject, reason, certificate.not_after, at, by,
    )) > 0  # fmt: skip


async def authority_of(conn: Connection, fingerprint: str) -> Authority | None:
    """The authority of this certificate, of whatever tenant."""
    record = await conn.fetchrow(f"{AUTHORITIES.select} where fingerprint = $1 order by id desc limit 1", fingerprint)
    return None if record is None else Authority(**record)


# An operator's authority may have been supplied twice, by two tenants even: its list is one, and has what all of them said.
_ITS = "authority_id in (select id from certificate_authorities where fingerprint = $1)"


async def revoked(conn: Connection, fingerprint: str, at: datetime) -> list[Revocation]:
    """What an authority signed and is good no longer, though it has not ended; each once, in the order in which that was said."""
    records = await conn.fetch(f"select serial, revoked_at, reason from certificate_revocations where {_ITS} and not_after > $2 order by id", fingerprint, at)
    return list({record["serial"]: Revocation(**record) for record in records}.values())


async def standing(conn: Connection, fingerprint: str) -> int:
    """How many of an authority's certificates were ever revoked."""
    return int(await conn.fetchval(f"select count(*) from certificate_revocations where {_ITS}", fingerprint))


async def next_list(conn: Connection, fingerprint: str) -> int:
    """The number of an authority's next list."""
    await conn.execute("select from certificate_authorities where fingerprint = $1 order by id for no key update", fingerprint)
    return int(await conn.fetchval(
        """update certificate_authorities set list_number = 1 + (select max(list_number) from certificate_authorities where fingerprint = $1)
           where fingerprint = $1 returning list_number""", fingerprint,
    ))  # fmt: skip


async def sealed(conn: Connection, *, table: KeyTable, after: int, limit: int) -> list[tuple[int, bytes]]:
    """(id, sealed key) of every tenant's rows by id, for re-sealing; not confined to a tenant, for keys are not either."""
    records = await conn.fetch(f"select id, key from {table} where id > $1 and key is not null order by id limit $2", after, limit)
    return [(record["id"], record["key"]) for record in records]


async def reseal(conn: Connection, replacements: list[tuple[int, bytes, bytes]], *, table: KeyTable) -> int:
    """Replace sealed keys, (id, before, after), leaving out any that changed meanwhile; returns how many."""
    return rows.updated(await conn.execute(
        f"""update {table} t set key = u.after from unnest($1::bigint[], $2::bytea[], $3::bytea[]) as u (id, before, after)
            where t.id = u.id and t.key = u.before""", *[list(part) for part in zip(*replacements, strict=True)],
    ))  # fmt: skip
