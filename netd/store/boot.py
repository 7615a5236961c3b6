"""What the boot server reads and writes, of all tenants: expected devices as it keeps them in memory, steps, tokens, candidates."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import msgspec

from netd.model.boot import BootCandidate, BootRule, BootState, Purpose, Transport
from netd.store import expected, rows
from netd.store.database import Connection

_EXPECTED = """
    select id, tenant_id, site_id, serial, mac, circuit_id, profile, transport, address, device_id, variables, opens_at, closes_at, secret, generation,
           state, address_now, hostname, platform, subscriber_id, armed,
           netd_ztp_serves(tenant_id, subscriber_id) as serves, target_version,
           (select i.file_name from software_images i
            where i.tenant_id = ztp_devices.tenant_id and i.platform = ztp_devices.platform and i.software_version = target_version) as image
    from ztp_devices"""


class ExpectedRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is known by heart of an expected device. ``secret`` is sealed."""

    id: int
    tenant_id: int
    site_id: int | None
    serial: str | None
    mac: str | None
    circuit_id: str | None
    profile: str
    transport: Transport
    address: IPv4Address | IPv6Address | None
    device_id: int | None
    variables: Mapping[str, Any]
    opens_at: datetime
    closes_at: datetime
    secret: bytes
    generation: int
    state: BootState
    address_now: IPv4Address | IPv6Address | None
    hostname: str
    platform: str | None
    subscriber_id: int | None
    armed: bool
    serves: bool  # its subscriber has service, or it has none
    target_version: str | None
    image: str | None  # the library's file of that version


class TokenRow(msgspec.Struct, frozen=True, kw_only=True):
    """A token and how its device stands."""

    digest: bytes
    tenant_id: int
    ztp_device_id: int
    generation: int
    purpose: Purpose
    address: IPv4Address | IPv6Address
    expires_at: datetime
    done_at: datetime | None
    fetches: int
    state: BootState
    closes_at: datetime
    current: bool  # not from before its device was to boot anew
    serves: bool


class NewToken(msgspec.Struct, frozen=True):
    """A token to be remembered; ``digest`` is hex."""

    digest: str
    tenant_id: int
    ztp_device_id: int
    generation: int
    purpose: Purpose
    address: str
    expires_at: datetime


class Advance(msgspec.Struct, frozen=True):
    """A step that a device made. ``state`` None: it is not further than it was, only the evidence is kept."""

    ztp_device_id: int
    tenant_id: int
    state: BootState | None
    step: str
    at: datetime
    evidence: Mapping[str, Any]
    address: str | None = None
    seen: Mapping[str, Any] | None = None


class Stranger(msgspec.Struct, frozen=True, kw_only=True):
    """A client that nobody expects, with how many packets it sent since it was last written; ``identity`` is hex."""

    tenant_id: int
    site_id: int | None
    subnet_id: int
    identity: str
    mac: str
    serial: str
    model: str
    profile: str
    circuit_id: str
    relay: str | None
    said: Mapping[str, Any]
    packets: int
    at: datetime


async def load(conn: Connection, ids: Sequence[int] | None = None) -> list[ExpectedRow]:
    """Expected devices: all of them, or those with these ids that are there."""
    records = await (conn.fetch(_EXPECTED) if ids is None else conn.fetch(f"{_EXPECTED} where id = any($1::bigint[])", list(ids)))
    return [
        ExpectedRow(**{**record, "address": rows.address(record["address"]), "address_now": rows.address(record["address_now"])}) for record in records
    ]  # fmt: skip


async def spent(conn: Connection, ids: Sequence[int] | None = None) -> dict[tuple[int, str, str], tuple[int, datetime, datetime | None]]:
    """Of each (device, address, purpose) the newest token: generation, until when it is good, and since when it has been fetched whole."""
    where = "" if ids is None else "where ztp_device_id = any($1::bigint[])"
    records = await conn.fetch(
        f"""select distinct on (ztp_device_id, address, purpose) ztp_device_id, host(address) as address, purpose, generation, expires_at, done_at
            from ztp_tokens {where} order by ztp_device_id, address, purpose, generation desc""", *([] if ids is None else [list(ids)]),
    )  # fmt: skip
    return {
        (each["ztp_device_id"], each["address"], each["purpose"]): (each["generation"], each["expires_at"], each["done_at"]) for each in records
    }  # fmt: skip


async def remember(conn: Connection, tokens: Sequence[NewToken]) -> None:
    """Keep tokens; what is known stays as it is, and what was made before its device was to boot anew is not taken."""
    if not tokens:
        return
    await conn.execute(
        """insert into ztp_tokens (digest, tenant_id, ztp_device_id, generation, purpose, address, expires_at)
           select decode(j.digest, 'hex'), j.tenant_id, j.ztp_device_id, j.generation, j.purpose, j.address, j.expires_at
           from json_to_recordset($1::text::json) as j (digest text, tenant_id bigint, ztp_device_id bigint, generation integer, purpose text, address inet,
                                                  expires_at timestamptz)
               join ztp_devices d on d.id = j.ztp_device_id and d.generation <= j.generation
           order by 1 on conflict (digest) do nothing""", msgspec.json.encode(tokens).decode(),
    )  # fmt: skip


async def token(conn: Connection, digest: bytes, *, lock: bool = False) -> TokenRow | None:
    """The token of this digest."""
    record = await conn.fetchrow(
        f"""select t.digest, t.tenant_id, t.ztp_device_id, t.generation, t.purpose, t.address, t.expires_at, t.done_at, t.fetches, d.state, d.closes_at,
                   t.generation >= d.generation as current, netd_ztp_serves(d.tenant_id, d.subscriber_id) as serves
            from ztp_tokens t join ztp_devices d on d.id = t.ztp_device_id where t.digest = $1{' for no key update of t' if lock else ''}""", digest,
    )  # fmt: skip
    return None if record is None else TokenRow(**{**record, "address": rows.address(record["address"])})


async def fetched(conn: Connection, digest: bytes, at: datetime, *, configures: bool) -> None:
    """It was asked for once more, and is about to be sent; ``configures``: its file makes the first account."""
    await conn.execute(
        """update ztp_tokens set fetches = fetches + 1, first_at = coalesce(first_at, $2), asked_at = $2, sending = sending + 1, configures = $3
           where digest = $1""", digest, at, configures,
    )  # fmt: skip


async def sends(conn: Connection, ztp_device_id: int, generation: int) -> None:
    """The device is about to be sent the first password of that generation."""
    await conn.execute(
        "update ztp_devices set sent_generation = $2 where id = $1 and sent_generation is distinct from $2", ztp_device_id, generation
    )  # fmt: skip


async def ended(conn: Connection, digest: bytes, at: datetime, *, sent: bool) -> None:
    """An answer ended before its client was known to have it whole; ``sent``: though all of it had been on the way."""
    await conn.execute(
        "update ztp_tokens set sending = greatest(sending - 1, 0), sent_at = case when $3 then coalesce(sent_at, $2) else sent_at end where digest = $1",
        digest, at, sent,
    )  # fmt: skip


async def delivered(conn: Connection, digest: bytes, at: datetime) -> bool:
    """Its last octet was sent; whether that is the first time."""
    await conn.execute("update ztp_tokens set sending = greatest(sending - 1, 0) where digest = $1", digest)
    return rows.updated(await conn.execute("update ztp_tokens set done_at = $2 where digest = $1 and done_at is null", digest, at)) > 0


async def goes_on(conn: Connection, ztp_device_id: int, at: datetime) -> None:
    """A device has a file that it goes on from: it restarts, perhaps with other software, and is to be given its time again."""
    await conn.execute("update ztp_devices set delivered_at = $2 where id = $1", ztp_device_id, at)


async def perhaps_delivered(conn: Connection, before: datetime, ztp_device_id: int | None = None) -> list[tuple[int, int]]:
    """(tenant id, device id) of those that may have the file with their first account though nobody said so: all of it was on the way, or the node that sent
    it is gone, and they did not ask for anything since ``before``. Of all that are at it, or of one, whatever it is at."""
    records = await conn.fetch(
        """select d.tenant_id, d.id from ztp_devices d
           where (case when $2::bigint is null then d.state = 'fetching' and d.presumed_at is null else d.id = $2 end)
               and d.configured_at is null and d.address_now is not null
               and exists (select from ztp_tokens t where t.ztp_device_id = d.id and t.configures and t.done_at is null
                               and (t.sent_at is not null or t.sending > 0))
               and not exists (select from ztp_tokens t where t.ztp_device_id = d.id and t.asked_at >= $1)
           order by d.id limit 1000""", before, ztp_device_id,
    )  # fmt: skip
    return [(each["tenant_id"], each["id"]) for each in records]


async def presume(conn: Connection, ztp_device_id: int, at: datetime) -> None:
    """Take it that the device has its file."""
    await conn.execute("update ztp_devices set presumed_at = $2, delivered_at = $2 where id = $1", ztp_device_id, at)


async def advance(conn: Connection, steps: Sequence[Advance]) -> set[tuple[int, str]]:
    """Let devices go forward, in the order of their ids; (device, state) of those that did. Who is in quarantine stays there."""
    moved: set[tuple[int, str]] = set()
    for each in sorted(steps, key=lambda step: step.ztp_device_id):
        went = each.state is not None and await conn.fetchval(
            """update ztp_devices set state = $2::text, state_at = $3::timestamptz, address_now = coalesce($4::inet, address_now),
                   seen = coalesce($5::jsonb, seen),
                   configured_at = case when $2::text = 'configured' then $3::timestamptz else configured_at end,
                   reason = case when $2::text = 'configured' then null else reason end, version = version + 1, updated_at = now()
               where id = $1 and netd_ztp_place(state) < netd_ztp_place($2::text) returning id""",
            each.ztp_device_id, each.state, each.at, each.address, each.seen,
        )  # fmt: skip
        if went and each.state is not None:
            moved.add((each.ztp_device_id, each.state))
        changed = not went and each.address is not None and await conn.fetchval(
            "update ztp_devices set address_now = $2::inet, updated_at = now() where id = $1 and address_now is distinct from $2::inet returning id",
            each.ztp_device_id, each.address,
        )  # fmt: skip
        if went or changed or each.state is None:
            await note(conn, each)
    return moved


async def note(conn: Connection, step: Advance) -> None:
    """Keep evidence, of a device that is there."""
    await conn.execute(
        """insert into ztp_steps (tenant_id, ztp_device_id, at, step, evidence)
           select tenant_id, id, $2, $3, $4 from ztp_devices where id = $1""", step.ztp_device_id, step.at, step.step, dict(step.evidence),
    )  # fmt: skip


async def fail(conn: Connection, ztp_device_id: int, at: datetime, reason: str) -> bool:
    """Put it into quarantine; whether it was not there already."""
    return bool(await conn.fetchval(
        """update ztp_devices set state = 'failed', state_at = $2, reason = $3, version = version + 1, updated_at = now()
           where id = $1 and state not in ('failed', 'verified') returning id""", ztp_device_id, at, reason,
    ))  # fmt: skip


async def waits(conn: Connection, ztp_device_id: int, reason: str) -> bool:
    """Say why one that is configured, or taken to be, is not verified, or what is not done of one that is; whether that is news."""
    return bool(await conn.fetchval(
        """update ztp_devices set reason = $2, version = version + 1, updated_at = now()
           where id = $1 and (state in ('configured', 'verified') or (state = 'fetching' and presumed_at is not null)) and reason is distinct from $2
           returning id""", ztp_device_id, reason,
    ))  # fmt: skip


async def unfinished(conn: Connection) -> list[tuple[int, int]]:
    """(tenant id, device id) of those that are configured, or taken to be, wait for nobody, and that no job looks after."""
    records = await conn.fetch(
        """select d.tenant_id, d.id from ztp_devices d where (d.state = 'configured' or (d.state = 'fetching' and d.presumed_at is not null))
               and d.reason is null and netd_ztp_serves(d.tenant_id, d.subscriber_id)
               and not exists (select from jobs j where j.tenant_id = d.tenant_id and j.unique_key = 'ztp:' || d.id
                               and j.state in ('awaiting_approval', 'queued', 'running'))
           order by d.id limit 1000"""
    )
    return [(each["tenant_id"], each["id"]) for each in records]


async def followers(conn: Connection, subscribers: Sequence[int], plans: Sequence[int]) -> list[int]:
    """The devices that are these subscribers', or of subscribers with these plans."""
    records = await conn.fetch(
        """select z.id from ztp_devices z where z.subscriber_id = any($1::bigint[])
           union select z.id from subscribers s join ztp_devices z on z.subscriber_id = s.id where s.plan_id = any($2::bigint[])""",
        list(subscribers), list(plans),
    )  # fmt: skip
    return [each["id"] for each in records]


async def behind(conn: Connection) -> list[int]:
    """Devices that may not have followed their subscriber: all that a node which begins has to look at. What was changed in a transaction that was long
    under way is among them."""
    records = await conn.fetch(
        """select z.id from ztp_devices z left join subscribers s on s.tenant_id = z.tenant_id and s.id = z.subscriber_id
               left join plans p on p.tenant_id = s.tenant_id and p.id = s.plan_id
           where z.armed <> netd_ztp_serves(z.tenant_id, z.subscriber_id) or (z.state = 'expected' and z.service_at is null)
               or (z.subscriber_id is not null and z.state = 'verified'
                   and greatest(s.updated_at, p.updated_at) > coalesce(z.service_at, '-infinity') - interval '10 minutes')
           order by z.id"""
    )
    return [each["id"] for each in records]


async def whose(conn: Connection, ztp_device_id: int) -> int | None:
    """The tenant of a device, which stays as it is until the transaction ends; None if it is gone."""
    found: int | None = await conn.fetchval("select tenant_id from ztp_devices where id = $1 for no key update", ztp_device_id)
    return found


async def overdue(conn: Connection, before: datetime, ends_before: datetime) -> list[tuple[int, int]]:
    """(tenant id, device id) of verified ones of which something is not done (``reason``), or whose certificate ends soon, and that were not tried since."""
    records = await conn.fetch(
        """select d.tenant_id, d.id from ztp_devices d
           where d.state = 'verified' and coalesce(d.service_at, '-infinity') < $1 and netd_ztp_serves(d.tenant_id, d.subscriber_id)
               and (d.reason is not null or (d.certificate is not null and exists (
                   select from certificates c where c.ztp_device_id = d.id and c.replaced_at is null and c.installed_at is not null and c.not_after < $2
                       and (select c.not_after < a.not_after or not a.supplied from certificate_authorities a where a.tenant_id = d.tenant_id
                            order by a.id desc limit 1))))
           order by d.id limit 1000""", before, ends_before,
    )  # fmt: skip
    return [(each["tenant_id"], each["id"]) for each in records]


async def strangers(conn: Connection, seen: Sequence[Stranger], most: int) -> list[tuple[int, BootCandidate, bool]]:
    """Write who came unexpected; (tenant id, candidate, whether it came for the first time) of those that nobody adopted or ignored. A tenant has ``most``
    candidates at the most: of those that nobody has decided on the oldest give way."""
    if not seen:
        return []
    records = await conn.fetch(
        """insert into ztp_candidates as c (tenant_id, site_id, subnet_id, identity, mac, serial, model, profile, circuit_id, relay, said, packets,
                                            first_seen_at, last_seen_at)
           select j.tenant_id, j.site_id, j.subnet_id, decode(j.identity, 'hex'), j.mac, j.serial, j.model, j.profile, j.circuit_id, j.relay, j.said,
                  j.packets, j.at, j.at
           from json_to_recordset($1::text::json) as j (tenant_id bigint, site_id bigint, subnet_id bigint, identity text, mac text, serial text, model text,
                                                  profile text, circuit_id text, relay inet, said jsonb, packets bigint, at timestamptz)
               join dhcp_subnets n on n.tenant_id = j.tenant_id and n.id = j.subnet_id
           order by 1, 4
           on conflict (tenant_id, identity) do update set packets = c.packets + excluded.packets, last_seen_at = excluded.last_seen_at,
               said = excluded.said, subnet_id = excluded.subnet_id, site_id = excluded.site_id, relay = excluded.relay, circuit_id = excluded.circuit_id
           returning tenant_id, id, state = 'new' as open, xmax = 0 as fresh""", msgspec.json.encode(list(seen)).decode(),
    )  # fmt: skip
    for tenant_id in sorted({each["tenant_id"] for each in records}):
        await conn.execute(
            """delete from ztp_candidates where id in (
                 select id from ztp_candidates where tenant_id = $1 and state = 'new' order by last_seen_at desc, id desc
                 offset greatest(0, $2 - (select count(*) from ztp_candidates where tenant_id = $1 and state <> 'new')))""", tenant_id, most,
        )  # fmt: skip
    found: list[tuple[int, BootCandidate, bool]] = []
    for each in records:
        if each["open"]:
            candidate = await expected.candidate(conn, each["tenant_id"], each["id"])
            if candidate is not None:
                found.append((each["tenant_id"], candidate, each["fresh"]))
    return found


async def adopted(conn: Connection, tenant_id: int, rule_id: int, candidate_id: int) -> int:
    """How many devices a rule has adopted on the line of this candidate."""
    count: int = await conn.fetchval(
        """select count(*) from ztp_candidates c join ztp_candidates o on o.subnet_id = c.subnet_id and o.circuit_id = c.circuit_id
             join ztp_devices d on d.id = o.ztp_device_id and d.tenant_id = o.tenant_id
           where c.tenant_id = $1 and c.id = $3 and d.rule_id = $2""", tenant_id, rule_id, candidate_id,
    )  # fmt: skip
    return count


async def rules(conn: Connection, tenant_id: int) -> list[BootRule]:
    """Rules that are in force, in their order."""
    records = await conn.fetch(f"{expected.RULES.select} where r.tenant_id = $1 and r.enabled order by r.position, r.id", tenant_id)
    return expected.rules_of(records)


async def tenant_at(conn: Connection, address: str) -> int | None:
    """The tenant whose served subnet the address is in."""
    found: int | None = await conn.fetchval("select tenant_id from dhcp_subnets where prefix >>= $1::inet limit 1", address)
    return found


async def sweep(conn: Connection, before: datetime) -> None:
    """Forget tokens that ended before that, but the last of each device, address and file: it says which one comes next."""
    await conn.execute(
        """delete from ztp_tokens t where t.expires_at < $1 and exists (
               select from ztp_tokens n where n.ztp_device_id = t.ztp_device_id and n.address = t.address and n.purpose = t.purpose
                   and n.generation > t.generation)""", before,
    )  # fmt: skip


async def sealed(conn: Connection, *, after: int, limit: int) -> list[tuple[int, bytes]]:
    """(id, sealed secret) of every tenant's expected devices by id, for re-sealing."""
    records = await conn.fetch("select id, secret from ztp_devices where id > $1 order by id limit $2", after, limit)
    return [(record["id"], record["secret"]) for record in records]


async def reseal(conn: Connection, replacements: list[tuple[int, bytes, bytes]]) -> int:
    """Replace sealed secrets, (id, before, after), leaving out any that changed meanwhile; returns how many."""
    return rows.updated(await conn.execute(
        """update ztp_devices set secret = u.after from unnest($1::bigint[], $2::bytea[], $3::bytea[]) as u (id, before, after)
           where ztp_devices.id = u.id and ztp_devices.secret = u.before""", *[list(part) for part in zip(*replacements, strict=True)],
    ))  # fmt: skip
