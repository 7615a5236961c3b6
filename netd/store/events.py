"""The event log: rows are added in the transaction that makes a change, and read in the order of their places."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from netd.model.event import Event, Place
from netd.store.database import Connection
from netd.store.rows import updated


class Kept(NamedTuple):
    """An event with its tenant and place."""

    tenant_id: int
    place: Place
    event: Event


_INSERT = """
    insert into events (tenant_id, type, object_type, object_id, subscriber_id, site_id, actor, data)
    select $1, $2, $3, $4, case when $3 = 'subscriber' and n.id > 0 then n.id end,
        coalesce(case $3 when 'subscriber' then s.site_id when 'nas' then b.site_id when 'device' then d.site_id when 'site' then n.id
                         when 'job' then case cardinality(j.sites) when 1 then j.sites[1] end end, ($6::jsonb -> 'before' ->> 'site_id')::bigint),
        $5, $6::jsonb || case when s.username is null then '{}' else jsonb_build_object('username', s.username) end
    from (select case when $4 ~ '^[0-9]{1,18}$' then $4::bigint else 0 end as id) n
        left join subscribers s on $3 = 'subscriber' and s.tenant_id = $1 and s.id = n.id
        left join nas b on $3 = 'nas' and b.tenant_id = $1 and b.id = n.id
        left join devices d on $3 = 'device' and d.tenant_id = $1 and d.id = n.id
        left join jobs j on $3 = 'job' and j.tenant_id = $1 and j.id = n.id
"""
_COLUMNS = "tenant_id, xid::text::bigint as xid, id, at, type, object_type, object_id, subscriber_id, site_id, actor, data"
# Events of transactions that may still be preceded by others wait: the horizon is the oldest transaction that is not over.
_BEHIND = "(xid, id) > ($1::text::xid8, $2) and xid < pg_snapshot_xmin(pg_current_snapshot())"


class New(NamedTuple):
    """An event to be added."""

    type: str
    object_type: str
    object_id: str
    actor: str | None
    data: dict[str, Any]


async def insert(conn: Connection, tenant_id: int, type_: str, object_type: str, object_id: str, actor: str | None, data: Mapping[str, Any]) -> None:
    """Add an event; whose it is and where it happened is found by the object."""
    await conn.execute(_INSERT, tenant_id, type_, object_type, object_id, actor, dict(data))


async def insert_many(conn: Connection, tenant_id: int, new: Sequence[New]) -> None:
    """Add events, in order."""
    await conn.executemany(_INSERT, [(tenant_id, *each) for each in new])


def _kept(record: Mapping[str, Any]) -> Kept:
    at = Place(record["xid"], record["id"])
    values = {name: record[name] for name in Event.__struct_fields__ if name != "id"}
    return Kept(record["tenant_id"], at, Event(id=str(at), **values))


async def behind(conn: Connection, after: Place, limit: int) -> list[Kept]:
    """Events of all tenants behind ``after``, in order."""
    records = await conn.fetch(f"select {_COLUMNS} from events where {_BEHIND} order by events.xid, events.id limit $3", str(after.xid), after.number, limit)
    return [_kept(record) for record in records]


async def page(conn: Connection, tenant_id: int, after: Place, limit: int, types: tuple[str, ...], sites: tuple[int, ...] | None = None) -> list[Kept]:
    """The tenant's events behind ``after``, in order; ``types`` as in ``model.event.matches``, ``sites`` None: wherever they happened."""
    patterns = [each.replace("_", r"\_").replace("%", r"\%").replace("*", "%") for each in types]
    records = await conn.fetch(
        f"""select {_COLUMNS} from events where tenant_id = $4 and {_BEHIND} and ($5::text[] = '{{}}' or type like any($5::text[]))
                and ($6::bigint[] is null or site_id = any($6::bigint[]))
            order by events.xid, events.id limit $3""", str(after.xid), after.number, limit, tenant_id, patterns,
        None if sites is None else list(sites),
    )  # fmt: skip
    return [_kept(record) for record in records]


async def end(conn: Connection) -> Place:
    """The place behind which only what happens from now on comes."""
    record = await conn.fetchrow(
        """select xid::text::bigint as xid, id from events where xid < pg_snapshot_xmin(pg_current_snapshot())
           order by events.xid desc, events.id desc limit 1"""
    )
    return Place(0, 0) if record is None else Place(record["xid"], record["id"])


async def rebase(conn: Connection) -> int:
    """After a restore from a dump the server counts transactions anew, and events of before would lie in its future: they come first, by id.

    Returns how many were moved. Ids that clients kept are no longer good then, and they are told. Webhooks go on behind the same number.
    """
    await conn.execute("update webhooks set after_xid = '1'::xid8 where after_xid > pg_snapshot_xmax(pg_current_snapshot())")
    return updated(await conn.execute("update events set xid = '1'::xid8 where xid > pg_snapshot_xmax(pg_current_snapshot())"))
