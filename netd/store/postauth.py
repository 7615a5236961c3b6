"""Answered Access-Requests."""

from collections.abc import Callable, Sequence

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


class PostAuth(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """An answer as the engine keeps it: text fit for the database, the address as text, Unix time. Members stand in the order of the columns."""

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


encode: Callable[[PostAuth], bytes] = msgspec.json.Encoder().encode
"""A row as it is kept until it is written: its octets and nothing that it was made from."""

_ADD_ROWS = f"""
    insert into radpostauth ({", ".join(_COLUMNS)})
    select (r->>0)::bigint, (r->>1)::bigint, (r->>2)::bigint, r->>3, r->>4, r->>5, r->>6, (r->>7)::inet, r->>8, r->>9, r->>10, to_timestamp((r->>11)::float8),
           r->>12
    from jsonb_array_elements($1::text::jsonb) as r"""


async def add_rows(conn: Connection, encoded: Sequence[bytes]) -> None:
    """Record answers in one statement. As one JSON text: the driver's arrays or COPY cost the daemon, which has RADIUS to answer, four times as much.
    Of rows without names: PostgreSQL takes a quarter less for them than for objects."""
    await conn.execute(_ADD_ROWS, (b"[" + b",".join(encoded) + b"]").decode())


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
