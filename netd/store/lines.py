"""Lines that subscribers may come from (``subscriber_lines``), and what their devices log in by (``subscriber_identities``)."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from netd.model.line import IdentityKind, Line
from netd.store.database import Connection

_LINE = "n.shortname as nas, l.circuit_id, l.remote_id, l.nas_port_id, l.mac, l.learned_at"
_FROM = "subscriber_lines l left join nas n on n.tenant_id = l.tenant_id and n.id = l.nas_id"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A line as its row has it."""

    nas_id: int | None
    circuit_id: str | None
    remote_id: str | None
    nas_port_id: str | None
    mac: str | None
    learned_at: datetime | None


async def lines(conn: Connection, tenant_id: int, subscriber_ids: Sequence[int]) -> dict[int, tuple[Line, ...]]:
    """The lines of subscribers, by subscriber, in the order in which they were given."""
    found: dict[int, tuple[Line, ...]] = {}
    for record in await conn.fetch(
        f"select l.subscriber_id, {_LINE} from {_FROM} where l.tenant_id = $1 and l.subscriber_id = any($2::bigint[]) order by l.id", tenant_id, subscriber_ids
    ):
        owner, *values = record
        found[owner] = (*found.get(owner, ()), Line(**dict(zip(Line.__struct_fields__, values, strict=True))))
    return found


async def identities(conn: Connection, tenant_id: int, subscriber_ids: Sequence[int]) -> dict[tuple[int, str], tuple[str, ...]]:
    """What the devices of subscribers log in by, by subscriber and kind, in order."""
    found: dict[tuple[int, str], tuple[str, ...]] = {}
    for owner, kind, value in await conn.fetch(
        """select subscriber_id, kind, value from subscriber_identities where tenant_id = $1 and subscriber_id = any($2::bigint[]) order by kind, value""",
        tenant_id, subscriber_ids,
    ):  # fmt: skip
        found[owner, kind] = (*found.get((owner, kind), ()), value)
    return found


async def owner(conn: Connection, tenant_id: int, kind: IdentityKind, value: str) -> str | None:
    """The username of the subscriber whose device this is."""
    username: str | None = await conn.fetchval(
        """select s.username from subscriber_identities i join subscribers s on s.tenant_id = i.tenant_id and s.id = i.subscriber_id
           where i.tenant_id = $1 and i.kind = $2 and i.value = $3""", tenant_id, kind, value,
    )  # fmt: skip
    return username


async def replace_lines(conn: Connection, tenant_id: int, subscriber_id: int, wanted: Sequence[Kept]) -> None:
    """Make these the subscriber's only lines, in this order."""
    await conn.execute("delete from subscriber_lines where tenant_id = $1 and subscriber_id = $2", tenant_id, subscriber_id)
    for line in wanted:
        await _insert(conn, tenant_id, subscriber_id, line)


async def _insert(conn: Connection, tenant_id: int, subscriber_id: int, line: Kept) -> int:
    made: int = await conn.fetchval(
        """insert into subscriber_lines (tenant_id, subscriber_id, nas_id, circuit_id, remote_id, nas_port_id, mac, learned_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8) returning id""",
        tenant_id, subscriber_id, line.nas_id, line.circuit_id, line.remote_id, line.nas_port_id, line.mac, line.learned_at,
    )  # fmt: skip
    return made


async def replace_identities(conn: Connection, tenant_id: int, subscriber_id: int, kind: IdentityKind, values: Sequence[str]) -> None:
    """Make these the subscriber's only ones of this kind. Raises Conflict through the transaction if one is another subscriber's."""
    await conn.execute("delete from subscriber_identities where tenant_id = $1 and subscriber_id = $2 and kind = $3", tenant_id, subscriber_id, kind)
    await conn.execute(
        "insert into subscriber_identities (tenant_id, subscriber_id, kind, value) select $1, $2, $3, unnest($4::text[])",
        tenant_id, subscriber_id, kind, values,
    )  # fmt: skip


async def learn(conn: Connection, tenant_id: int, subscriber_id: int, line: Kept) -> Line | None:
    """Bind a subscriber that is to learn its line and has none; None if that is not so (any more), or the NAS is gone."""
    waits = await conn.fetchval(
        """select true from subscribers s where s.tenant_id = $1 and s.id = $2 and s.line_learn and s.line_mode <> 'ignore'
             and not exists (select from subscriber_lines l where l.tenant_id = $1 and l.subscriber_id = $2)
             and ($3::bigint is null or exists (select from nas where tenant_id = $1 and id = $3))
           for update of s""", tenant_id, subscriber_id, line.nas_id,
    )  # fmt: skip
    if not waits:
        return None
    made = await _insert(conn, tenant_id, subscriber_id, line)
    await conn.execute("update subscribers set version = version + 1, updated_at = now() where tenant_id = $1 and id = $2", tenant_id, subscriber_id)
    return Line(**dict(await conn.fetchrow(f"select {_LINE} from {_FROM} where l.tenant_id = $1 and l.id = $2", tenant_id, made)))


async def named(conn: Connection, tenant_id: int, nas_id: int) -> int:
    """How many lines that an operator set name this NAS."""
    return int(await conn.fetchval("select count(*) from subscriber_lines where tenant_id = $1 and nas_id = $2 and learned_at is null", tenant_id, nas_id))


async def forget_learned(conn: Connection, tenant_id: int, nas_id: int) -> int:
    """Remove the lines learned on this NAS; returns how many. Their subscribers learn anew."""
    records = await conn.fetch("delete from subscriber_lines where tenant_id = $1 and nas_id = $2 and learned_at is not null returning id", tenant_id, nas_id)
    return len(records)
