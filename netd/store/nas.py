"""Network access servers. In a row the name is ``shortname``, the address ``nasname`` and the vendor ``type``, as FreeRADIUS has it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from netd.model.nas import Nas
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

SealedColumn = Literal["secret", "line_login_password"]

_COLUMN = {"name": "shortname", "address": "nasname", "vendor": "type"}
_SETTABLE = frozenset((
    "shortname", "nasname", "type", "secret", "coa_address", "coa_port", "require_message_authenticator", "limit_proxy_state",
    "learned_require_message_authenticator", "learned_limit_proxy_state", "enabled", "description", "line_login", "line_login_passwords",
    "line_login_password", "site_id", "vrf",
))  # fmt: skip
_READ = {**_COLUMN, "site": "(select w.name from sites w where w.id = nas.site_id)"}
_MEMBERS = ", ".join(f"{_READ[name]} as {name}" if name in _READ else name for name in Nas.__struct_fields__)
_SELECT = f"select {_MEMBERS} from nas"


LISTING = Listing(
    kind="nas", select=_SELECT, counted="nas", tenant="tenant_id", id="id", search="lower(shortname) like {}",
    columns={
        "id": Column(sql="id", kind=int, cast="bigint"), "name": Column(sql="lower(shortname)", param="lower({})", sortable=True),
        "vendor": Column(sql="type", sortable=True), "enabled": Column(sql="enabled", kind=bool),
        "site": Column(sql="(select lower(w.name) from sites w where w.id = nas.site_id)", param="lower({})"),
        "site_id": Column(sql="site_id", kind=int, cast="bigint", nullable=True),
        "created_at": Column(sql="created_at", kind=datetime, sortable=True), "updated_at": Column(sql="updated_at", kind=datetime, sortable=True),
    },
)  # fmt: skip


def of(records: Sequence[Mapping[str, Any]]) -> list[Nas]:
    """NASes of the listing's records."""
    return [_nas(record) for record in records]


def _nas(record: Mapping[str, Any]) -> Nas:
    return Nas(**{**record, "coa_address": rows.address(record["coa_address"]),
                  "line_login": tuple(record["line_login"]), "line_login_passwords": tuple(record["line_login_passwords"])})  # fmt: skip


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    return {_COLUMN.get(name, name): value for name, value in values.items()}


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> Nas:
    """Add a NAS; ``values`` by member of Nas, and ``secret`` sealed.

    Raises Conflict through the transaction: name (tenant) or address (all) is taken.
    """
    statement, args = rows.insertion("nas", _SETTABLE, tenant_id, _columns(values))
    return _nas(await conn.fetchrow(f"{statement} returning {_MEMBERS}", *args))


async def get(conn: Connection, tenant_id: int, nas_id: int, *, lock: bool = False) -> Nas | None:
    """The NAS; with ``lock`` nobody else changes it until the transaction ends."""
    record = await conn.fetchrow(f"{_SELECT} where tenant_id = $1 and id = $2{' for update' if lock else ''}", tenant_id, nas_id)
    return None if record is None else _nas(record)


async def by_name(conn: Connection, tenant_id: int, name: str, *, lock: bool = False) -> Nas | None:
    """The NAS of this name, in any case of letters."""
    suffix = " for update" if lock else ""
    record = await conn.fetchrow(f"{_SELECT} where tenant_id = $1 and lower(shortname) = lower($2){suffix}", tenant_id, rows.storable(name))
    return None if record is None else _nas(record)


async def by_address(conn: Connection, tenant_id: int, address: Any) -> Nas | None:
    """The NAS with exactly this prefix."""
    record = await conn.fetchrow(f"{_SELECT} where tenant_id = $1 and nasname = $2", tenant_id, address)
    return None if record is None else _nas(record)


async def names_by_key(conn: Connection, tenant_id: int) -> dict[str, tuple[int, str]]:
    """Every NAS's id and name by its name as the database lower-cases it."""
    records = await conn.fetch("select lower(shortname) as key, id, shortname from nas where tenant_id = $1", tenant_id)
    return {record["key"]: (record["id"], record["shortname"]) for record in records}


async def sealed_of(conn: Connection, tenant_id: int, ids: Sequence[int]) -> dict[int, tuple[bytes, bytes | None]]:
    """(secret, line_login_password) of some, as stored, by id."""
    records = await conn.fetch("select id, secret, line_login_password from nas where tenant_id = $1 and id = any($2::bigint[])", tenant_id, ids)
    return {record["id"]: (record["secret"], record["line_login_password"]) for record in records}


async def is_taken(conn: Connection, address: Any) -> bool:
    """Whether a NAS of any tenant has exactly this prefix: two tenants cannot have the same."""
    return bool(await conn.fetchval("select netd_nas_address_taken($1)", address))


async def sealed_secret(conn: Connection, tenant_id: int, nas_id: int) -> bytes:
    """Its secret as stored."""
    return bytes(await conn.fetchval("select secret from nas where tenant_id = $1 and id = $2", tenant_id, nas_id))


async def update(conn: Connection, tenant_id: int, nas_id: int, values: Mapping[str, Any]) -> Nas | None:
    """Set what ``values`` says, as for ``insert``; None if there is no such NAS."""
    statement, args = rows.update("nas", _SETTABLE, tenant_id, nas_id, _columns(values))
    record = await conn.fetchrow(f"{statement} returning {_MEMBERS}", *args)
    return None if record is None else _nas(record)


async def delete(conn: Connection, tenant_id: int, nas_id: int) -> bool:
    """Remove a NAS; whether it was there. Its open sessions lose their NAS, closed ones keep its id."""
    return rows.updated(await conn.execute("delete from nas where tenant_id = $1 and id = $2", tenant_id, nas_id)) > 0


async def has_line_login_password(conn: Connection, tenant_id: int, nas_id: int) -> bool:
    """Whether a fixed text for line log-ins is set."""
    return bool(await conn.fetchval("select line_login_password is not null from nas where tenant_id = $1 and id = $2", tenant_id, nas_id))


async def sealed(conn: Connection, *, after: int, limit: int, column: SealedColumn = "secret") -> list[tuple[int, bytes]]:
    """(id, sealed value) of every tenant's NAS by id, for re-sealing; not confined to a tenant, for keys are not either."""
    records = await conn.fetch(f"select id, {column} as value from nas where id > $1 and {column} is not null order by id limit $2", after, limit)
    return [(record["id"], record["value"]) for record in records]


async def reseal(conn: Connection, replacements: list[tuple[int, bytes, bytes]], *, column: SealedColumn = "secret") -> int:
    """Replace sealed values, (id, before, after), leaving out any that changed meanwhile; returns how many."""
    return rows.updated(await conn.execute(
        f"""update nas set {column} = u.after from unnest($1::bigint[], $2::bytea[], $3::bytea[]) as u (id, before, after)
            where nas.id = u.id and nas.{column} = u.before""", *[list(part) for part in zip(*replacements, strict=True)],
    ))  # fmt: skip
