"""Network access servers: who may speak RADIUS to netd."""

from collections.abc import Collection
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.domain import audit, inputs, paging
from netd.domain.actor import Actor
from netd.domain.inputs import NO_OUTER_BLANKS, Faults, Label, Note, given, hidden
from netd.domain.paging import Page, PageQuery
from netd.errors import NotFound
from netd.keyring import Keyring
from netd.model.nas import Nas, Switch
from netd.store import nas as store
from netd.store import pools as pool_store
from netd.store.database import Connection, Database

SECRET_CONTEXT = b"nas.secret"

# RFC 2865 3 asks for at least 16 octets; devices in the field have shorter ones, but what is shorter than 6 is found by trying.
Secret = Annotated[str, Meta(min_length=6, max_length=128, pattern=NO_OUTER_BLANKS)]
Prefix = Annotated[str, Meta(min_length=2, max_length=64, description="an address, or a prefix such as 10.0.0.0/24")]
Address = Annotated[str, Meta(min_length=2, max_length=64)]
Port = Annotated[int, Meta(ge=1, le=65535)]


class NewNas(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A NAS to be let in, or a network of them. Without ``coa_address`` CoA goes to where packets came from, without ``coa_port`` to the vendor's.
    A ``site`` that is not known yet is made."""

    name: Label
    address: Prefix
    secret: Secret
    vendor: Label
    coa_address: Address | None = None
    coa_port: Port | None = None
    require_message_authenticator: Switch = "yes"
    limit_proxy_state: Switch = "yes"
    enabled: bool = True
    site: Label | None = None
    vrf: Label | None = None
    description: Note | None = None

    def __repr__(self) -> str:
        return hidden(self, "secret")


class NasPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a NAS; null takes a value away."""

    name: Label | UnsetType = UNSET
    address: Prefix | UnsetType = UNSET
    secret: Secret | UnsetType = UNSET
    vendor: Label | UnsetType = UNSET
    coa_address: Address | UnsetType | None = UNSET
    coa_port: Port | UnsetType | None = UNSET
    require_message_authenticator: Switch | UnsetType = UNSET
    limit_proxy_state: Switch | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    site: Label | UnsetType | None = UNSET
    vrf: Label | UnsetType | None = UNSET
    description: Note | UnsetType | None = UNSET

    def __repr__(self) -> str:
        return hidden(self, "secret")


def _parsed(members: dict[str, Any], keyring: Keyring, vendors: Collection[str]) -> dict[str, Any]:
    """Members as the store takes them. Raises InvalidInput with all that is wrong."""
    faults = Faults()
    parsed = dict(members)
    if "address" in members:
        parsed["address"] = faults.attempt("/address", inputs.prefix, members["address"])
    if "coa_address" in members:
        parsed["coa_address"] = faults.attempt("/coa_address", inputs.address, members["coa_address"])
    if "vendor" in members and members["vendor"] not in vendors:
        faults.add("/vendor", f"no such vendor; there are {', '.join(sorted(vendors))}")
    if "secret" in members:
        octets = members["secret"].encode()
        if len(octets) > 128:
            faults.add("/secret", "is longer than 128 octets")
        parsed["secret"] = keyring.seal(octets, SECRET_CONTEXT)
    faults.check()
    return parsed


async def create(db: Database, actor: Actor, keyring: Keyring, new: NewNas, vendors: Collection[str]) -> Nas:
    """Let a NAS in. Raises InvalidInput; Conflict if the name or the address (of any tenant) is taken."""
    values = _parsed(msgspec.structs.asdict(new), keyring, vendors)
    async with db.transaction() as conn:
        if values["site"] is not None:
            values["site"] = await _site_id(conn, actor, values["site"])
        nas = await store.insert(conn, actor.tenant_id, values)
        await audit.record(conn, actor, "nas.create", "nas", nas.id, after={**audit.values(nas), "secret": audit.MASK})
    return nas


async def get(db: Database, actor: Actor, nas_id: int) -> Nas:
    """The NAS. Raises NotFound."""
    async with db.acquire() as conn:
        return await held(conn, actor, nas_id)


async def by_name(db: Database, actor: Actor, name: str) -> Nas:
    """The NAS of this name, in any case of letters. Raises NotFound."""
    async with db.acquire() as conn:
        nas = await store.by_name(conn, actor.tenant_id, name)
    if nas is None:
        raise NotFound("NAS", name)
    return nas


async def page(db: Database, actor: Actor, query: PageQuery, *, name: str | None = None, vendor: str | None = None) -> Page[Nas]:
    """NAS by id; ``name`` finds the one of that name."""
    after = paging.position(query, "nas") or 0
    async with db.acquire() as conn:
        rows = await store.page(conn, actor.tenant_id, after=after, limit=query.limit + 1, name=name, vendor=vendor)
        total = await store.count(conn, actor.tenant_id, name=name, vendor=vendor) if query.count else None
    return paging.page(rows, query, "nas", total)


async def update(
    db: Database, actor: Actor, keyring: Keyring, nas_id: int, patch: NasPatch, vendors: Collection[str], *, version: int | None = None,
) -> Nas:  # fmt: skip
    """Change a NAS; its next packet is treated accordingly. What ``auto`` learned is forgotten when its switch or the address changes.

    Raises NotFound, InvalidInput; Conflict if the name or address is taken, or on another ``version``.
    """
    members = given(patch)
    values = _parsed(members, keyring, vendors)
    async with db.transaction() as conn:
        before = await held(conn, actor, nas_id, lock=True, version=version)
        if not values:
            return before
        if values.get("site") is not None:
            values["site"] = await _site_id(conn, actor, values["site"])
        moved = values.get("address", before.address) != before.address
        for switch in ("require_message_authenticator", "limit_proxy_state"):
            if moved or values.get(switch, getattr(before, switch)) != getattr(before, switch):
                values[f"learned_{switch}"] = None
        after = await store.update(conn, actor.tenant_id, nas_id, values)
        if after is None:
            raise NotFound("NAS", nas_id)
        old, new = audit.changes(before, after)
        if "secret" in members:
            old["secret"] = new["secret"] = audit.MASK
        await audit.record(conn, actor, "nas.update", "nas", nas_id, before=old, after=new)
    return after


async def _site_id(conn: Connection, actor: Actor, name: str) -> int:
    """The site of this name; made if there is none, for a site is nothing but a name that NAS and rules share."""
    found = await pool_store.site_by_name(conn, actor.tenant_id, name)
    if found is not None:
        return found
    made = await pool_store.insert_site(conn, actor.tenant_id, name)
    await audit.record(conn, actor, "site.create", "site", made, after={"name": name})
    return made


async def delete(db: Database, actor: Actor, nas_id: int, *, version: int | None = None) -> None:
    """Remove a NAS: its packets are dropped from now on, and its open sessions can no longer be ended from here.

    Raises NotFound; Conflict on another ``version``.
    """
    async with db.transaction() as conn:
        before = await held(conn, actor, nas_id, lock=True, version=version)
        await store.delete(conn, actor.tenant_id, nas_id)
        await audit.record(conn, actor, "nas.delete", "nas", nas_id, before=audit.values(before))


async def held(conn: Connection, actor: Actor, nas_id: int, *, lock: bool = False, version: int | None = None) -> Nas:
    """The actor's NAS. Raises NotFound; Conflict on another ``version`` than demanded (None: any)."""
    nas = await store.get(conn, actor.tenant_id, nas_id, lock=lock) if 0 < nas_id <= inputs.ROW_ID_MAX else None
    if nas is None:
        raise NotFound("NAS", nas_id)
    inputs.same_version("NAS", nas.version, version)
    return nas
