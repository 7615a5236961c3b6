"""Versions of devices' configurations and how devices stand. Texts are sealed and compressed before they come here."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from netd.model.configuration import Configuration, ConfigurationState, Source, Which
from netd.store import rows
from netd.store.database import Connection
from netd.store.listing import Column, Listing

_READ = {"device": "(select d.hostname from devices d where d.id = c.device_id)"}
_MEMBERS = ", ".join(f"{_READ[name]} as {name}" if name in _READ else f"c.{name}" for name in Configuration.__struct_fields__)
_SELECT = f"select {_MEMBERS} from configurations c"

LISTING = Listing(
    kind="configuration", select=_SELECT, counted="configurations c", tenant="c.tenant_id", id="c.id", descending=True,
    columns={
        "id": Column(sql="c.id", kind=int, cast="bigint"), "device_id": Column(sql="c.device_id", kind=int, cast="bigint"),
        "device": Column(sql="(select lower(d.hostname) from devices d where d.id = c.device_id)", param="lower({})"),
        "which": Column(sql="c.which", kind=Which, cast="text"), "number": Column(sql="c.number", kind=int, cast="integer", sortable=True),
        "source": Column(sql="c.source", kind=Source, cast="text"), "job_id": Column(sql="c.job_id", kind=int, cast="bigint", nullable=True),
        "first_seen_at": Column(sql="c.first_seen_at", kind=datetime, sortable=True),
        "last_seen_at": Column(sql="c.last_seen_at", kind=datetime, sortable=True),
        "approved_at": Column(sql="c.approved_at", kind=datetime, nullable=True),
    },
)  # fmt: skip

APPROVED = """(select a.id from configurations a where a.device_id = {0} and a.which = 'running' and a.approved_at is not null
    order by a.approved_at desc, a.id desc limit 1)"""
_OF_STATE = {
    "id": "s.device_id", "device": "d.hostname", "site": "(select w.name from sites w where w.id = d.site_id)", "approved_id": APPROVED.format("s.device_id"),
}  # fmt: skip
_STATE = ", ".join(f"{_OF_STATE.get(name, f's.{name}')} as {name}" for name in ConfigurationState.__struct_fields__)
_FROM_STATES = "configuration_states s join devices d on d.id = s.device_id"
STATES = Listing(
    kind="configuration_state", select=f"select {_STATE} from {_FROM_STATES}", counted=_FROM_STATES, tenant="s.tenant_id", id="s.device_id",
    search="lower(d.hostname) like {}",
    columns={
        "id": Column(sql="s.device_id", kind=int, cast="bigint"), "device": Column(sql="lower(d.hostname)", param="lower({})", sortable=True),
        "site": Column(sql="(select lower(w.name) from sites w where w.id = d.site_id)", param="lower({})"),
        "platform": Column(sql="coalesce(d.platform, d.observed -> 'platform' ->> 'value')", nullable=True),
        "drifted": Column(sql="(s.drift <> '{}')", kind=bool), "drift": Column(sql="true", cast="text", param="({} = any(s.drift))"),
        "failed": Column(sql="(s.error is not null)", kind=bool), "drifted_at": Column(sql="s.drifted_at", kind=datetime, nullable=True),
        "backed_up_at": Column(sql="s.backed_up_at", kind=datetime, nullable=True),
    },
)  # fmt: skip


class NewVersion(NamedTuple):
    """What was read of a device. ``digest`` tells the text, ``normal`` what of it counts."""

    which: Which
    digest: bytes
    normal: bytes
    sealed: bytes
    octets: int
    lines: int
    platform: str


class Latest(NamedTuple):
    """The newest version of one kind of a device."""

    id: int
    number: int
    normal: bytes


def of(records: Sequence[Mapping[str, Any]]) -> list[Configuration]:
    """Versions of the listing's records."""
    return [Configuration(**record) for record in records]


def states_of(records: Sequence[Mapping[str, Any]]) -> list[ConfigurationState]:
    """States of the listing's records."""
    return [ConfigurationState(**{**record, "drift": tuple(record["drift"])}) for record in records]


async def key(conn: Connection, tenant_id: int) -> bytes | None:
    """The tenant's sealed key for digests."""
    found: bytes | None = await conn.fetchval("select secret from configuration_keys where tenant_id = $1", tenant_id)
    return found


async def add_key(conn: Connection, tenant_id: int, sealed: bytes) -> None:
    """Give the tenant this key, if it has none."""
    await conn.execute("insert into configuration_keys (tenant_id, secret) values ($1, $2) on conflict (tenant_id) do nothing", tenant_id, sealed)


async def latest(conn: Connection, tenant_id: int, device_id: int, which: Which) -> Latest | None:
    """The device's newest version; until the transaction ends nobody else adds one."""
    await conn.execute("select from devices where tenant_id = $1 and id = $2 for no key update", tenant_id, device_id)
    record = await conn.fetchrow(
        "select id, number, normal from configurations where tenant_id = $1 and device_id = $2 and which = $3 order by number desc limit 1",
        tenant_id, device_id, which,
    )  # fmt: skip
    return None if record is None else Latest(*record)


async def seen(conn: Connection, tenant_id: int, configuration_id: int, at: datetime) -> None:
    """The version was seen again."""
    await conn.execute("update configurations set last_seen_at = greatest(last_seen_at, $3) where tenant_id = $1 and id = $2", tenant_id, configuration_id, at)


async def insert(
    conn: Connection, tenant_id: int, device_id: int, number: int, new: NewVersion, source: Source, job_id: int | None, at: datetime
) -> int:  # fmt: skip
    """Add a version; its text only if the tenant has not got it. Returns the version's id."""
    text_id = await conn.fetchval(
        """insert into configuration_texts (tenant_id, digest, octets, sealed) values ($1, $2, $3, $4)
           on conflict (tenant_id, digest) do update set octets = excluded.octets returning id""", tenant_id, new.digest, new.octets, new.sealed,
    )  # fmt: skip
    return int(await conn.fetchval(
        """insert into configurations (tenant_id, device_id, which, number, text_id, normal, platform, lines, octets, source, job_id,
               first_seen_at, last_seen_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12) returning id""",
        tenant_id, device_id, new.which, number, text_id, new.normal, new.platform, new.lines, new.octets, source, job_id, at,
    ))  # fmt: skip


async def get(conn: Connection, tenant_id: int, configuration_id: int, *, lock: bool = False) -> Configuration | None:
    """The version."""
    if lock:
        await conn.execute("select from configurations where tenant_id = $1 and id = $2 for update", tenant_id, configuration_id)
    record = await conn.fetchrow(f"{_SELECT} where c.tenant_id = $1 and c.id = $2", tenant_id, configuration_id)
    return None if record is None else Configuration(**record)


async def text(conn: Connection, tenant_id: int, configuration_id: int) -> bytes | None:
    """The version's sealed text."""
    found: bytes | None = await conn.fetchval(
        "select t.sealed from configurations c join configuration_texts t on t.id = c.text_id where c.tenant_id = $1 and c.id = $2",
        tenant_id, configuration_id,
    )  # fmt: skip
    return found


async def approve(conn: Connection, tenant_id: int, configuration_id: int, at: datetime, by: str, note: str | None) -> None:
    """Somebody says that it is as it should be."""
    await conn.execute(
        "update configurations set approved_at = $3, approved_by = $4, approval_note = $5 where tenant_id = $1 and id = $2",
        tenant_id, configuration_id, at, by, note,
    )  # fmt: skip


async def approved_normal(conn: Connection, tenant_id: int, device_id: int) -> bytes | None:
    """What counts of the version that was approved last."""
    found: bytes | None = await conn.fetchval(
        f"select normal from configurations c where c.tenant_id = $1 and c.id = {APPROVED.format('$2')}", tenant_id, device_id
    )
    return found


async def same(conn: Connection, tenant_id: int, one_id: int, other_id: int) -> bool:
    """Whether two versions differ in nothing that counts."""
    return int(await conn.fetchval(
        "select count(distinct normal) from configurations where tenant_id = $1 and id = any($2::bigint[])", tenant_id, [one_id, other_id]
    )) == 1  # fmt: skip


async def state(conn: Connection, tenant_id: int, device_id: int) -> ConfigurationState | None:
    """How the device stands; None: nobody ever tried to read it."""
    found = states_of(await conn.fetch(f"{STATES.select} where s.tenant_id = $1 and s.device_id = $2", tenant_id, device_id))
    return found[0] if found else None


async def stands(conn: Connection, tenant_id: int, device_id: int, values: Mapping[str, Any]) -> None:
    """Write members of the device's state."""
    names = [name for name in values if name in _STATE_COLUMNS]
    if len(names) != len(values):
        raise ValueError(f"no such column: {', '.join(values.keys() - _STATE_COLUMNS)}")
    places = ", ".join(f"${number}" for number in range(3, len(names) + 3))
    sets = ", ".join(f"{name} = excluded.{name}" for name in names)
    await conn.execute(
        f"""insert into configuration_states (tenant_id, device_id, {', '.join(names)}) values ($1, $2, {places})
            on conflict (device_id) do update set {sets} where configuration_states.tenant_id = $1""", tenant_id, device_id, *values.values(),
    )  # fmt: skip


async def forgive(conn: Connection, tenant_id: int, device_id: int) -> None:
    """Forget why the device could not be read the last time, and that there is anything to read if it never was."""
    await conn.execute("delete from configuration_states where tenant_id = $1 and device_id = $2 and running_id is null", tenant_id, device_id)
    await conn.execute("update configuration_states set error = null where tenant_id = $1 and device_id = $2 and error is not null", tenant_id, device_id)


_STATE_COLUMNS = frozenset(("running_id", "startup_id", "drift", "drifted_at", "intended", "tried_at", "backed_up_at", "error"))


async def current_of_all(conn: Connection, tenant_id: int) -> list[tuple[int, str, int]]:
    """(device, its name, version that runs) of the devices whose configuration is known, by id."""
    records = await conn.fetch(
        """select s.device_id, d.hostname, s.running_id from configuration_states s join devices d on d.id = s.device_id
           where s.tenant_id = $1 and s.running_id is not null order by 1""", tenant_id,
    )  # fmt: skip
    return [tuple(record) for record in records]


async def retire(conn: Connection) -> int:
    """Remove texts that no version has any more: their devices are gone. Returns how many."""
    return rows.updated(await conn.execute(
        "delete from configuration_texts t where not exists (select from configurations c where c.text_id = t.id)"
    ))  # fmt: skip


async def sealed(conn: Connection, after: int, limit: int) -> list[tuple[int, bytes]]:
    """(id, sealed text) of every tenant by id, for re-sealing."""
    return [(record["id"], record["sealed"]) for record in await conn.fetch(
        "select id, sealed from configuration_texts where id > $1 order by id limit $2", after, limit
    )]  # fmt: skip


async def reseal(conn: Connection, replacements: list[tuple[int, bytes, bytes]]) -> int:
    """Replace sealed texts, (id, before, after), leaving out any that changed meanwhile; returns how many."""
    return rows.updated(await conn.execute(
        """update configuration_texts t set sealed = u.after from unnest($1::bigint[], $2::bytea[], $3::bytea[]) as u (id, before, after)
           where t.id = u.id and t.sealed = u.before""", *[list(part) for part in zip(*replacements, strict=True)],
    ))  # fmt: skip


async def sealed_keys(conn: Connection, after: int, limit: int) -> list[tuple[int, bytes]]:
    """(id, sealed key) of every tenant by id, for re-sealing."""
    return [(record["id"], record["secret"]) for record in await conn.fetch(
        "select id, secret from configuration_keys where id > $1 order by id limit $2", after, limit
    )]  # fmt: skip


async def reseal_keys(conn: Connection, replacements: list[tuple[int, bytes, bytes]]) -> int:
    """Replace sealed keys, as :func:`reseal`."""
    return rows.updated(await conn.execute(
        """update configuration_keys t set secret = u.after from unnest($1::bigint[], $2::bytea[], $3::bytea[]) as u (id, before, after)
           where t.id = u.id and t.secret = u.before""", *[list(part) for part in zip(*replacements, strict=True)],
    ))  # fmt: skip
