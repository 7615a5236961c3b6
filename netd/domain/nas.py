"""Network access servers: who may speak RADIUS to netd."""

from collections.abc import Collection, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.domain import audit, inputs, lists, sites
from netd.domain.actor import Actor
from netd.domain.inputs import NO_CONTROL, NO_OUTER_BLANKS, Faults, Label, Note, given, hidden
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.errors import Conflict, NotFound
from netd.keyring import Keyring
from netd.model.nas import LineLoginBy, LineLoginPassword, Nas, Switch
from netd.store import lines
from netd.store import nas as store
from netd.store.database import Connection, Database

SECRET_CONTEXT = b"nas.secret"
LINE_LOGIN_CONTEXT = b"nas.line_login_password"

# RFC 2865 3 asks for at least 16 octets; devices in the field have shorter ones, but what is shorter than 6 is found by trying.
Secret = Annotated[str, Meta(min_length=6, max_length=128, pattern=NO_OUTER_BLANKS)]
Prefix = Annotated[str, Meta(min_length=2, max_length=64, description="an address, or a prefix such as 10.0.0.0/24")]
Address = Annotated[str, Meta(min_length=2, max_length=64)]
LineLogin = Annotated[
    tuple[LineLoginBy, ...],
    Meta(max_length=2, description="by what devices may log in that have no user name: anybody can say a MAC address, so only where needed"),
]
LineLoginPasswords = Annotated[
    tuple[LineLoginPassword, ...],
    Meta(max_length=4, description="what then counts as the password: the same as the user name, the NAS's secret, a fixed text, none"),
]
LineLoginText = Annotated[str, Meta(min_length=1, max_length=128, pattern=NO_CONTROL, description="the fixed text")]
Port = Annotated[int, Meta(ge=1, le=65535)]


class NewNas(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A NAS to be let in, or a network of them. Without ``coa_address`` CoA goes to where packets came from, without ``coa_port`` to the vendor's."""

    name: Label
    address: Prefix
    secret: Secret
    vendor: Label
    coa_address: Address | None = None
    coa_port: Port | None = None
    require_message_authenticator: Switch = "yes"
    limit_proxy_state: Switch = "yes"
    enabled: bool = True
    vrf: Label | None = None
    description: Note | None = None
    line_login: LineLogin = ()
    line_login_passwords: LineLoginPasswords = ()
    line_login_password: LineLoginText | None = None
    site: Label | None = None

    def __repr__(self) -> str:
        return hidden(self, "secret", "line_login_password")


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
    vrf: Label | UnsetType | None = UNSET
    description: Note | UnsetType | None = UNSET
    line_login: LineLogin | UnsetType = UNSET
    line_login_passwords: LineLoginPasswords | UnsetType = UNSET
    line_login_password: LineLoginText | UnsetType | None = UNSET
    site: Label | UnsetType | None = UNSET

    def __repr__(self) -> str:
        return hidden(self, "secret", "line_login_password")


def parsed(members: dict[str, Any], keyring: Keyring, vendors: Collection[str]) -> dict[str, Any]:
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
    if members.get("line_login_password") is not None:
        parsed["line_login_password"] = keyring.seal(members["line_login_password"].encode(), LINE_LOGIN_CONTEXT)
    for name in ("line_login", "line_login_passwords"):
        if name in members:
            parsed[name] = list(dict.fromkeys(members[name]))
    faults.check()
    return parsed


def _check_line_login(line_login: Sequence[str], accepted: Sequence[str], fixed: bool) -> None:
    """What holds between the members of a whole NAS. Raises InvalidInput."""
    faults = Faults()
    if line_login and not accepted:
        faults.add("/line_login_passwords", "line_login lets nobody in unless something counts as the password")
    if "fixed" in accepted and not fixed:
        faults.add("/line_login_password", "is needed where fixed counts as the password")
    faults.check()


async def _place(conn: Connection, actor: Actor, values: dict[str, Any], *, new: bool) -> None:
    faults = Faults()
    await sites.place(conn, actor, faults, values, new=new)
    faults.check()


async def create(db: Database, actor: Actor, keyring: Keyring, new: NewNas, vendors: Collection[str]) -> Nas:
    """Let a NAS in. Raises InvalidInput; Conflict if the name or the address (of any tenant) is taken."""
    async with db.transaction(actor.scope) as conn:
        return await create_in(conn, actor, keyring, new, vendors)


async def create_in(conn: Connection, actor: Actor, keyring: Keyring, new: NewNas, vendors: Collection[str]) -> Nas:
    """``create`` within the transaction of ``conn``."""
    values = parsed(msgspec.structs.asdict(new), keyring, vendors)
    _check_line_login(new.line_login, new.line_login_passwords, new.line_login_password is not None)
    await _place(conn, actor, values, new=True)
    nas = await store.insert(conn, actor.tenant_id, values)
    told = {**audit.values(nas), "secret": audit.MASK, "line_login_password": new.line_login_password and audit.MASK}
    await audit.record(conn, actor, "nas.create", "nas", nas.id, after=told)
    return nas


async def get(db: Database, actor: Actor, nas_id: int) -> Nas:
    """The NAS. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await held(conn, actor, nas_id)


async def by_name(db: Database, actor: Actor, name: str) -> Nas:
    """The NAS of this name, in any case of letters. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        nas = await store.by_name(conn, actor.tenant_id, name)
    if nas is None:
        raise NotFound("NAS", name)
    return nas


NasQuery = lists.query_type(store.LISTING)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[Nas]:
    """NASes, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of)


async def update(
    db: Database, actor: Actor, keyring: Keyring, nas_id: int, patch: NasPatch, vendors: Collection[str], *, version: int | None = None,
) -> Nas:  # fmt: skip
    """Change a NAS; its next packet is treated accordingly. What ``auto`` learned is forgotten when its switch or the address changes.

    Raises NotFound, InvalidInput; Conflict if the name or address is taken, or on another ``version``.
    """
    members = given(patch)
    values = parsed(members, keyring, vendors)
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, nas_id, lock=True, version=version)
        return await update_in(conn, actor, before, values)


async def update_in(conn: Connection, actor: Actor, before: Nas, values: dict[str, Any]) -> Nas:
    """Change a NAS that is locked, within the transaction of ``conn``; ``values`` as ``parsed`` makes them. Raises InvalidInput."""
    if not values:
        return before
    has_fixed = await store.has_line_login_password(conn, actor.tenant_id, before.id)
    _check_line_login(
        values.get("line_login", before.line_login), values.get("line_login_passwords", before.line_login_passwords),
        values["line_login_password"] is not None if "line_login_password" in values else has_fixed,
    )  # fmt: skip
    await _place(conn, actor, values, new=False)
    moved = values.get("address", before.address) != before.address
    for switch in ("require_message_authenticator", "limit_proxy_state"):
        if moved or values.get(switch, getattr(before, switch)) != getattr(before, switch):
            values[f"learned_{switch}"] = None
    after = await store.update(conn, actor.tenant_id, before.id, values)
    if after is None:
        raise NotFound("NAS", before.id)
    old, new = audit.changes(before, after)
    if "secret" in values:
        old["secret"] = new["secret"] = audit.MASK
    if "line_login_password" in values:
        old["line_login_password"] = audit.MASK if has_fixed else None
        new["line_login_password"] = audit.MASK if values["line_login_password"] is not None else None
    await audit.record(conn, actor, "nas.update", "nas", before.id, before=old, after=new)
    return after


async def delete(db: Database, actor: Actor, nas_id: int, *, version: int | None = None) -> None:
    """Remove a NAS: its packets are dropped from now on, and its open sessions can no longer be ended from here.

    What was learned of lines on it is forgotten. Raises NotFound; Conflict on another ``version``, and while an operator's lines of subscribers name it.
    """
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, nas_id, lock=True, version=version)
        named = await lines.named(conn, actor.tenant_id, nas_id)
        if named:
            raise Conflict(f"NAS {before.name} is named by {named} line{'s' if named > 1 else ''} of subscribers")
        forgotten = await lines.forget_learned(conn, actor.tenant_id, nas_id)
        await store.delete(conn, actor.tenant_id, nas_id)
        told = {**audit.values(before), **({"learned_lines": forgotten} if forgotten else {})}
        await audit.record(conn, actor, "nas.delete", "nas", nas_id, before=told)


async def held(conn: Connection, actor: Actor, nas_id: int, *, lock: bool = False, version: int | None = None) -> Nas:
    """The actor's NAS. Raises NotFound; Conflict on another ``version`` than demanded (None: any)."""
    nas = await store.get(conn, actor.tenant_id, nas_id, lock=lock) if 0 < nas_id <= inputs.ROW_ID_MAX else None
    if nas is None:
        raise NotFound("NAS", nas_id)
    inputs.same_version("NAS", nas.version, version)
    return nas
