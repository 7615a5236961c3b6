"""Answered Access-Requests."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from netd.model.access import Reason
from netd.model.attempt import Attempt, Reply
from netd.model.subscriber import username_key
from netd.store import listing, rows
from netd.store.database import Connection
from netd.store.listing import Column, Condition, Listing, Selection, Sort

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


_SELECT = """
    select a.id, a.nas_id, n.shortname as nas, a.subscriber_id, a.username, a.reply, a.reason, a.nasipaddress as nas_ip_address,
           a.callingstationid as calling_station_id, a.calledstationid as called_station_id, a.authdate as at, a.detail
    from radpostauth a left join nas n on n.id = a.nas_id and n.tenant_id = a.tenant_id"""

LISTING = Listing(
    kind="attempt", select=_SELECT, counted=_SELECT[_SELECT.index("from") + 5 :], tenant="a.tenant_id", id="a.id", order=(Sort("at", True),),
    columns={
        "id": Column(sql="a.id", kind=int, cast="bigint"), "username": Column(sql="a.username_key", fold=username_key),
        "subscriber_id": Column(sql="a.subscriber_id", kind=int, cast="bigint", nullable=True), "nas": Column(sql="lower(n.shortname)", param="lower({})"),
        "nas_id": Column(sql="a.nas_id", kind=int, cast="bigint", nullable=True), "reply": Column(sql="a.reply", kind=Reply),
        "reason": Column(sql="a.reason", kind=Reason), "nas_ip_address": Column(sql="a.nasipaddress", cast="inet"),
        "calling_station_id": Column(sql="a.callingstationid", nullable=True), "at": Column(sql="a.authdate", kind=datetime, sortable=True),
    },
)  # fmt: skip


def of(records: Sequence[Mapping[str, Any]]) -> list[Attempt]:
    """Attempts of the listing's records."""
    return [Attempt(**{**record, "reason": Reason(record["reason"]), "nas_ip_address": rows.address(record["nas_ip_address"])}) for record in records]


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


async def newest(conn: Connection, tenant_id: int, username: str, limit: int) -> list[Attempt]:
    """The last answers to this user name, newest first, whether or not there is such a subscriber."""
    wanted = Selection(conditions=(Condition("username", "eq", username),), sort=LISTING.order, limit=limit)
    return of(await listing.page(conn, LISTING, tenant_id, wanted))
