"""Answered Access-Requests."""

from collections.abc import Sequence

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


PostAuth = tuple[int, int, int | None, str, str, str, str, str, str | None, str | None, str | None, float]
"""As the engine keeps an answer: the columns of radpostauth in order, text fit for the database, the address as text, Unix time last."""

_ADD_ROWS = f"""
    insert into radpostauth ({", ".join(_COLUMNS)})
    select a, b, c, d, e, f, g, h::inet, i, j, k, to_timestamp(l)
    from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
                $11::text[], $12::float8[]) as u (a, b, c, d, e, f, g, h, i, j, k, l)"""


async def add_rows(conn: Connection, records: Sequence[PostAuth]) -> None:
    """Record answers in one statement. By arrays and not by COPY: encoding them costs the daemon a third."""
    await conn.execute(_ADD_ROWS, *(list(column) for column in zip(*records, strict=True)))


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
