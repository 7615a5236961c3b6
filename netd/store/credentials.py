"""Credentials of devices: their secrets are sealed, and leave this module in no other form."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, get_args

from netd.model.inventory import CredentialType, StoredCredential
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

_SETTABLE = frozenset((
    "name", "type", "encrypted_secret", "username", "settings", "secrets", "port", "site_id", "networks", "position", "enabled", "note",
))  # fmt: skip
_READ = {"site": "(select w.name from sites w where w.id = credentials.site_id)"}
_MEMBERS = ", ".join(f"{_READ[name]} as {name}" if name in _READ else name for name in StoredCredential.__struct_fields__)
_SELECT = f"select {_MEMBERS} from credentials"

LISTING = Listing(
    kind="credential", select=_SELECT, counted="credentials", tenant="tenant_id", id="id", search="lower(name) like {}",
    columns={
        "id": Column(sql="id", kind=int, cast="bigint"), "name": Column(sql="lower(name)", param="lower({})", sortable=True),
        "type": Column(sql="type", kind=CredentialType, cast="text", sortable=True), "enabled": Column(sql="enabled", kind=bool),
        "username": Column(sql="username", nullable=True), "position": Column(sql="position", kind=int, cast="integer", sortable=True),
        "site": Column(sql="(select lower(w.name) from sites w where w.id = site_id)", param="lower({})"),
        "site_id": Column(sql="site_id", kind=int, cast="bigint", nullable=True),
        "created_at": Column(sql="created_at", kind=datetime, sortable=True), "updated_at": Column(sql="updated_at", kind=datetime, sortable=True),
    },
)  # fmt: skip
TYPES: tuple[str, ...] = get_args(CredentialType)


class Sealed(NamedTuple):
    """A credential with its secret as stored."""

    credential: StoredCredential
    secret: bytes


def of(records: Sequence[Mapping[str, Any]]) -> list[StoredCredential]:
    """Credentials of the listing's records."""
    return [_credential(record) for record in records]


def _credential(record: Mapping[str, Any]) -> StoredCredential:
    values = {name: record[name] for name in StoredCredential.__struct_fields__}
    return StoredCredential(**{**values, "secrets": tuple(values["secrets"]), "networks": tuple(values["networks"])})


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> StoredCredential:
    """Add a credential; ``encrypted_secret`` sealed. Raises Conflict through the transaction if the name is taken."""
    statement, args = rows.insertion("credentials", _SETTABLE, tenant_id, values)
    return _credential(await conn.fetchrow(f"{statement} returning {_MEMBERS}", *args))


async def get(conn: Connection, tenant_id: int, credential_id: int, *, lock: bool = False) -> StoredCredential | None:
    """The credential; with ``lock`` nobody else changes it until the transaction ends."""
    record = await conn.fetchrow(f"{_SELECT} where tenant_id = $1 and id = $2{' for update' if lock else ''}", tenant_id, credential_id)
    return None if record is None else _credential(record)


async def id_by_name(conn: Connection, tenant_id: int, name: str) -> int | None:
    """The id of the credential of this name, in any case of letters."""
    found: int | None = await conn.fetchval("select id from credentials where tenant_id = $1 and lower(name) = lower($2)", tenant_id, rows.storable(name))
    return found


async def update(conn: Connection, tenant_id: int, credential_id: int, values: Mapping[str, Any]) -> StoredCredential | None:
    """Set what ``values`` says; None if there is no such credential."""
    statement, args = rows.update("credentials", _SETTABLE, tenant_id, credential_id, values)
    record = await conn.fetchrow(f"{statement} returning {_MEMBERS}", *args)
    return None if record is None else _credential(record)


async def delete(conn: Connection, tenant_id: int, credential_id: int) -> bool:
    """Remove a credential; whether it was there. Raises Conflict through the transaction while a device names it."""
    return rows.updated(await conn.execute("delete from credentials where tenant_id = $1 and id = $2", tenant_id, credential_id)) > 0


async def forget_working(conn: Connection, tenant_id: int, credential_id: int) -> None:
    """No device is known any more to be opened by it: it is not what it was."""
    await conn.execute("delete from device_credentials where tenant_id = $1 and credential_id = $2", tenant_id, credential_id)


async def secret(conn: Connection, tenant_id: int, credential_id: int) -> bytes:
    """Its secret as stored."""
    return bytes(await conn.fetchval("select encrypted_secret from credentials where tenant_id = $1 and id = $2", tenant_id, credential_id))


async def secrets(conn: Connection, tenant_id: int, credential_ids: Sequence[int]) -> dict[int, bytes]:
    """Their secrets as stored, by id."""
    records = await conn.fetch("select id, encrypted_secret from credentials where tenant_id = $1 and id = any($2::bigint[])", tenant_id, list(credential_ids))
    return {record["id"]: record["encrypted_secret"] for record in records}


async def every(conn: Connection, tenant_id: int) -> list[Sealed]:
    """All of the tenant's, in the order in which they are tried: by position, then age."""
    records = await conn.fetch(f"select encrypted_secret, {_MEMBERS} from credentials where tenant_id = $1 order by position, id", tenant_id)
    return [Sealed(_credential(record), record["encrypted_secret"]) for record in records]


async def working(conn: Connection, tenant_id: int, device_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """By device: protocol -> the credential that opened it last."""
    found: dict[int, dict[str, int]] = {}
    records = await conn.fetch(
        "select device_id, protocol, credential_id from device_credentials where tenant_id = $1 and device_id = any($2::bigint[])", tenant_id, list(device_ids)
    )
    for record in records:
        found.setdefault(record["device_id"], {})[record["protocol"]] = record["credential_id"]
    return found


async def worked(conn: Connection, tenant_id: int, opened: Sequence[tuple[int, str, int, datetime]]) -> int:
    """Remember (device, protocol, credential, when); returns how many were not known before. Devices and credentials that are gone are passed over."""
    if not opened:
        return 0
    latest = {(device, protocol): (credential, at) for device, protocol, credential, at in opened}
    devices, protocols = zip(*latest, strict=True)
    credentials, moments = zip(*latest.values(), strict=True)
    return rows.updated(await conn.execute(
        """insert into device_credentials as k (tenant_id, device_id, protocol, credential_id, worked_at)
           select $1, u.d, u.p, u.c, u.at from unnest($2::bigint[], $3::text[], $4::bigint[], $5::timestamptz[]) as u (d, p, c, at)
               join devices d on d.tenant_id = $1 and d.id = u.d join credentials c on c.tenant_id = $1 and c.id = u.c
           on conflict (device_id, protocol) do update set credential_id = excluded.credential_id, worked_at = excluded.worked_at
           where k.credential_id <> excluded.credential_id""",
        tenant_id, list(devices), list(protocols), list(credentials), list(moments),
    ))  # fmt: skip


async def sealed(conn: Connection, *, after: int, limit: int) -> list[tuple[int, bytes]]:
    """(id, sealed secret) of every tenant's credentials by id, for re-sealing; not confined to a tenant, for keys are not either."""
    records = await conn.fetch("select id, encrypted_secret from credentials where id > $1 order by id limit $2", after, limit)
    return [(record["id"], record["encrypted_secret"]) for record in records]


async def reseal(conn: Connection, replacements: list[tuple[int, bytes, bytes]]) -> int:
    """Replace sealed secrets, (id, before, after), leaving out any that changed meanwhile; returns how many."""
    return rows.updated(await conn.execute(
        """update credentials set encrypted_secret = u.after from unnest($1::bigint[], $2::bytea[], $3::bytea[]) as u (id, before, after)
           where credentials.id = u.id and credentials.encrypted_secret = u.before""", *[list(part) for part in zip(*replacements, strict=True)],
    ))  # fmt: skip
