"""Answered Access-Requests."""

from collections.abc import Sequence

import msgspec

from netd.model.access import Reason
from netd.model.attempt import Attempt
from netd.model.subscriber import username_key
from netd.store import rows
from netd.store.database import Connection

_COLUMNS = (
    "tenant_id", "nas_id", "subscriber_id", "username", "username_key", "reply", "reason", "nasipaddress", "calledstationid", "callingstationid",
    "class", "authdate", "detail",
)  # fmt: skip


class PostAuth(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """An answer as the engine keeps it: text fit for the database, the address as text, Unix time."""

    tenant_id: int
    nas_id: int
    subscriber_id: int | None
    username: str
    username_key: str
    reply: str
    reason: str
    nasipaddress: str
    calledstationid: str | None
    callingstationid: str | None
    class_: str | None
    at: float
    detail: str | None = None


_ADD_ROWS = f"""
    insert into radpostauth ({", ".join(_COLUMNS)})
    select tenant_id, nas_id, subscriber_id, username, username_key, reply, reason, nasipaddress::inet, calledstationid, callingstationid,
           class_, to_timestamp(at), detail
    from jsonb_to_recordset($1::text::jsonb) as u (tenant_id bigint, nas_id bigint, subscriber_id bigint, username text, username_key text, reply text,
        reason text, nasipaddress text, calledstationid text, callingstationid text, class_ text, at float8, detail text)"""


async def add_rows(conn: Connection, records: Sequence[PostAuth]) -> None:
    """Record answers in one statement. As one JSON text: encoding arrays or COPY costs the daemon, which has RADIUS to answer, four times as much."""
    await conn.execute(_ADD_ROWS, msgspec.json.encode(records).decode())


async def page(conn: Connection, tenant_id: int, username: str, *, before: int | None, limit: int) -> list[Attempt]:
    """Answers to this user name, newest first, whether or not there is such a subscriber; those older than the answer ``before``."""
    where = rows.Where(tenant_id, "a.tenant_id").add("a.username_key = {}", rows.storable(username_key(username)))
    if before is not None:
        where.add("(a.authdate, a.id) < (select authdate, id from radpostauth where tenant_id = $1 and id = {})", before)
    records = await conn.fetch(
        f"""select a.id, a.nas_id, n.shortname as nas, a.subscriber_id, a.username, a.reply, a.reason, a.nasipaddress as nas_ip_address,
                   a.callingstationid as calling_station_id, a.calledstationid as called_station_id, a.authdate as at, a.detail
            from radpostauth a left join nas n on n.id = a.nas_id and n.tenant_id = a.tenant_id
            where {where} order by a.authdate desc, a.id desc limit {where.place(limit)}""",
        *where.args,
    )
    return [Attempt(**{**record, "reason": Reason(record["reason"]), "nas_ip_address": rows.address(record["nas_ip_address"])}) for record in records]


async def count(conn: Connection, tenant_id: int, username: str) -> int:
    """How many answers to this user name are kept."""
    key = rows.storable(username_key(username))
    return int(await conn.fetchval("select count(*) from radpostauth where tenant_id = $1 and username_key = $2", tenant_id, key))
