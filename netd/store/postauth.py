"""Answered Access-Requests."""

from collections.abc import Sequence
from datetime import UTC, datetime

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


async def add_rows(conn: Connection, records: Sequence[tuple[object, ...]]) -> None:
    """Record answers by COPY, as the engine keeps them: the columns of radpostauth in order, text already fit for the database, Unix time last."""
    await conn.copy_records_to_table("radpostauth", records=[(*record[:-1], _moment(record[-1])) for record in records], columns=_COLUMNS)


def _moment(seconds: object) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)  # type: ignore[arg-type]  # the engine's rows end with a float


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
