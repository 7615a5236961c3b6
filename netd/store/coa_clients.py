"""Systems that may send Disconnect- and CoA-Requests."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from netd.model.coa_client import CoaClient
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

_SETTABLE = frozenset((
    "name", "address", "secret", "may_disconnect", "may_change", "may_override", "may_select_many", "require_message_authenticator",
    "require_event_timestamp", "enabled", "description",
))  # fmt: skip
_MEMBERS = ", ".join(CoaClient.__struct_fields__)
_SELECT = f"select {_MEMBERS} from coa_clients"

LISTING = Listing(
    kind="coa_client", select=_SELECT, counted="coa_clients", tenant="tenant_id", id="id", search="lower(name) like {}",
    columns={
        "id": Column(sql="id", kind=int, cast="bigint"), "name": Column(sql="lower(name)", param="lower({})", sortable=True),
        "enabled": Column(sql="enabled", kind=bool), "may_disconnect": Column(sql="may_disconnect", kind=bool),
        "may_change": Column(sql="may_change", kind=bool), "may_override": Column(sql="may_override", kind=bool),
        "created_at": Column(sql="created_at", kind=datetime, sortable=True), "updated_at": Column(sql="updated_at", kind=datetime, sortable=True),
    },
)  # fmt: skip


def of(records: Sequence[Mapping[str, Any]]) -> list[CoaClient]:
    """Clients of the listing's records."""
    return [CoaClient(**record) for record in records]


async def insert(conn: Connection, tenant_id: int, values: Mapping[str, Any]) -> CoaClient:
    """Add a client; ``values`` by member, and ``secret`` sealed. Raises Conflict through the transaction: name (tenant) or address (all) is taken."""
    statement, args = rows.insertion("coa_clients", _SETTABLE, tenant_id, values)
    return CoaClient(**await conn.fetchrow(f"{statement} returning {_MEMBERS}", *args))


async def get(conn: Connection, tenant_id: int, client_id: int, *, lock: bool = False) -> CoaClient | None:
    """The client; with ``lock`` nobody else changes it until the transaction ends."""
    record = await conn.fetchrow(f"{_SELECT} where tenant_id = $1 and id = $2{' for update' if lock else ''}", tenant_id, client_id)
    return None if record is None else CoaClient(**record)


async def update(conn: Connection, tenant_id: int, client_id: int, values: Mapping[str, Any]) -> CoaClient | None:
    """Set what ``values`` says, as for ``insert``; None if there is no such client."""
    statement, args = rows.update("coa_clients", _SETTABLE, tenant_id, client_id, values)
    record = await conn.fetchrow(f"{statement} returning {_MEMBERS}", *args)
    return None if record is None else CoaClient(**record)


async def delete(conn: Connection, tenant_id: int, client_id: int) -> bool:
    """Remove a client; whether it was there."""
    return rows.updated(await conn.execute("delete from coa_clients where tenant_id = $1 and id = $2", tenant_id, client_id)) > 0


async def sealed(conn: Connection, *, after: int, limit: int) -> list[tuple[int, bytes]]:
    """(id, sealed secret) of every tenant's clients by id, for re-sealing; not confined to a tenant, for keys are not either."""
    records = await conn.fetch("select id, secret from coa_clients where id > $1 order by id limit $2", after, limit)
    return [(record["id"], record["secret"]) for record in records]


async def reseal(conn: Connection, replacements: list[tuple[int, bytes, bytes]]) -> int:
    """Replace sealed secrets, (id, before, after), leaving out any that changed meanwhile; returns how many."""
    return rows.updated(await conn.execute(
        """update coa_clients set secret = u.after from unnest($1::bigint[], $2::bytea[], $3::bytea[]) as u (id, before, after)
           where coa_clients.id = u.id and coa_clients.secret = u.before""", *[list(column) for column in zip(*replacements, strict=True)],
    ))  # fmt: skip
