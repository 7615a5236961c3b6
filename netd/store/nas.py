"""Network access servers. In a row the name is ``shortname``, the address ``nasname`` and the vendor ``type``, as FreeRADIUS has it."""

from collections.abc import Mapping
from typing import Any

from netd.model.nas import Nas
from netd.store import rows
from netd.store.database import Connection

_COLUMN = {"name": "shortname", "address": "nasname", "vendor": "type", "site": "site_id"}
_READ = _COLUMN | {"site": "(select name from sites where sites.id = nas.site_id and sites.tenant_id = nas.tenant_id)"}
_SETTABLE = frozenset((
    "shortname", "nasname", "type", "secret", "coa_address", "coa_port", "require_message_authenticator", "limit_proxy_state",
    "learned_require_message_authenticator", "learned_limit_proxy_state", "enabled", "site_id", "vrf", "description",
))  # fmt: skip
_MEMBERS = ", ".join(f"{_READ[name]} as {name}" if name in _READ else name for name in Nas.__struct_fields__)
_SELECT = f"select {_MEMBERS} from nas"


def _nas(record: Mapping[str, Any]) -> Nas:
    return Nas(**{**record, "coa_address": rows.address(record["coa_address"])})


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    return {_COLUMN.get(name, name): value for name, value in values.items()}


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> Nas:
    """Add a NAS; ``values`` by member of Nas (``site`` its id), and ``secret`` sealed.

    Raises Conflict through the transaction: name (tenant) or address (all) is taken.
    """
    statement, args = rows.insertion("nas", _SETTABLE, tenant_id, _columns(values))
    return _nas(await conn.fetchrow(f"{statement} returning {_MEMBERS}", *args))


async def get(conn: Connection, tenant_id: int, nas_id: int, *, lock: bool = False) -> Nas | None:
    """The NAS; with ``lock`` nobody else changes it until the transaction ends."""
    record = await conn.fetchrow(f"{_SELECT} where tenant_id = $1 and id = $2{' for update' if lock else ''}", tenant_id, nas_id)
    return None if record is None else _nas(record)


async def by_name(conn: Connection, tenant_id: int, name: str) -> Nas | None:
    """The NAS of this name, in any case of letters."""
    record = await conn.fetchrow(f"{_SELECT} where tenant_id = $1 and lower(shortname) = lower($2)", tenant_id, rows.storable(name))
    return None if record is None else _nas(record)


def _where(tenant_id: int, name: str | None, vendor: str | None) -> rows.Where:
    where = rows.Where(tenant_id)
    if name is not None:
        where.add("lower(shortname) = lower({})", rows.storable(name))
    if vendor is not None:
        where.add("type = {}", rows.storable(vendor))
    return where


async def page(conn: Connection, tenant_id: int, *, after: int, limit: int, name: str | None = None, vendor: str | None = None) -> list[Nas]:
    """NAS by id, those after ``after``."""
    where = _where(tenant_id, name, vendor).add("id > {}", after)
    return [_nas(record) for record in await conn.fetch(f"{_SELECT} where {where} order by id limit {where.place(limit)}", *where.args)]


async def count(conn: Connection, tenant_id: int, *, name: str | None = None, vendor: str | None = None) -> int:
    """How many there are."""
    where = _where(tenant_id, name, vendor)
    return int(await conn.fetchval(f"select count(*) from nas where {where}", *where.args))


async def update(conn: Connection, tenant_id: int, nas_id: int, values: Mapping[str, Any]) -> Nas | None:
    """Set what ``values`` says, as for ``insert``; None if there is no such NAS."""
    statement, args = rows.update("nas", _SETTABLE, tenant_id, nas_id, _columns(values))
    record = await conn.fetchrow(f"{statement} returning {_MEMBERS}", *args)
    return None if record is None else _nas(record)


async def delete(conn: Connection, tenant_id: int, nas_id: int) -> bool:
    """Remove a NAS; whether it was there. Its open sessions lose their NAS, closed ones keep its id."""
    return rows.updated(await conn.execute("delete from nas where tenant_id = $1 and id = $2", tenant_id, nas_id)) > 0


async def sealed(conn: Connection, *, after: int, limit: int) -> list[tuple[int, bytes]]:
    """(id, sealed secret) of every tenant's NAS by id, for re-sealing; not confined to a tenant, for keys are not either."""
    records = await conn.fetch("select id, secret from nas where id > $1 order by id limit $2", after, limit)
    return [(record["id"], record["secret"]) for record in records]


async def reseal(conn: Connection, replacements: list[tuple[int, bytes, bytes]]) -> int:
    """Replace sealed secrets, (id, before, after), leaving out any that changed meanwhile; returns how many."""
    return rows.updated(await conn.execute(
        """update nas set secret = u.after from unnest($1::bigint[], $2::bytea[], $3::bytea[]) as u (id, before, after)
           where nas.id = u.id and nas.secret = u.before""", *[list(column) for column in zip(*replacements, strict=True)],
    ))  # fmt: skip
