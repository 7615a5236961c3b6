"""Answered Access-Requests."""

from collections.abc import Sequence

import msgspec

from netd.model.access import Reason
from netd.model.attempt import Attempt, NewAttempt
from netd.model.subscriber import username_key
from netd.store import rows
from netd.store.database import Connection

_COLUMNS = (
    "tenant_id", "nas_id", "subscriber_id", "username", "username_key", "reply", "reason", "nasipaddress", "calledstationid", "callingstationid",
    "class", "authdate",
)  # fmt: skip


async def add_many(conn: Connection, records: Sequence[NewAttempt]) -> None:
    """Record answers by COPY: all of them or, if it raises, none. Names may hold whatever was sent: what PostgreSQL cannot hold is replaced."""
    rows_ = []
    for each in records:
        username = rows.storable(each.username) or ""
        rows_.append((
            each.tenant_id, each.nas_id, each.subscriber_id, username, username_key(username), each.reply, each.reason.value, each.nas_ip_address,
            rows.storable(each.called_station_id), rows.storable(each.calling_station_id), rows.storable(each.class_), each.at,
        ))  # fmt: skip
    await conn.copy_records_to_table("radpostauth", records=rows_, columns=_COLUMNS)


class PostAuth(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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


_ADD_ROWS = f"""
    insert into radpostauth ({", ".join(_COLUMNS)})
    select tenant_id, nas_id, subscriber_id, username, username_key, reply, reason, nasipaddress::inet, calledstationid, callingstationid,
           class_, to_timestamp(at)
    from jsonb_to_recordset($1::text::jsonb) as u (tenant_id bigint, nas_id bigint, subscriber_id bigint, username text, username_key text, reply text,
        reason text, nasipaddress text, calledstationid text, callingstationid text, class_ text, at float8)"""


async def add_rows(conn: Connection, records: Sequence[PostAuth]) -> None:
    """Record answers in one statement. As one JSON text: encoding arrays or COPY costs the daemon, which has RADIUS to answer, four times as much."""
    await conn.execute(_ADD_ROWS, msgspec.json.encode(records).decode())


async def recent(conn: Connection, tenant_id: int, username: str, limit: int) -> list[Attempt]:
    """The last answers to this user name, newest first, whether or not there is such a subscriber."""
    records = await conn.fetch(
        """select a.id, a.nas_id, n.shortname as nas, a.subscriber_id, a.username, a.reply, a.reason, a.nasipaddress as nas_ip_address,
                  a.callingstationid as calling_station_id, a.calledstationid as called_station_id, a.authdate as at
           from radpostauth a left join nas n on n.id = a.nas_id and n.tenant_id = a.tenant_id
           where a.tenant_id = $1 and a.username_key = $2 order by a.authdate desc, a.id desc limit $3""",
        tenant_id, rows.storable(username_key(username)), limit,
    )  # fmt: skip
    return [Attempt(**{**record, "reason": Reason(record["reason"]), "nas_ip_address": rows.address(record["nas_ip_address"])}) for record in records]
