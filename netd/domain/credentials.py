"""Credentials of devices: named, sealed, confined to a site or networks. Their secrets go in, and come out in exported tables only, for who may see them."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.config import Secret
from netd.domain import audit, inputs, lists, sites
from netd.domain.actor import Actor
from netd.domain.inputs import NO_CONTROL, Faults, Label, Note, given, hidden
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.errors import NotFound
from netd.keyring import Keyring
from netd.model.inventory import CredentialType, StoredCredential
from netd.model.target import HttpLogin, Login, SnmpCommunity, SnmpUser, SshLogin, TelnetLogin
from netd.store import credentials as store
from netd.store.database import Connection, Database

CONTEXT = b"credentials.secret"

Username = Annotated[str, Meta(min_length=1, max_length=253, pattern=NO_CONTROL)]
SecretText = Annotated[str, Meta(min_length=1, max_length=256, pattern=NO_CONTROL)]
PrivateKey = Annotated[str, Meta(min_length=32, max_length=20_000, description="in OpenSSH's or PEM form")]
Port = Annotated[int, Meta(ge=1, le=65535)]
Position = Annotated[int, Meta(ge=0, le=10_000, description="lower ones are tried first")]
Networks = Annotated[tuple[Annotated[str, Meta(min_length=2, max_length=64)], ...], Meta(max_length=200, description="is sent to addresses in these only")]
AuthProtocol = Literal["md5", "sha", "sha224", "sha256", "sha384", "sha512"]
PrivProtocol = Literal["des", "aes128", "aes192", "aes256"]

SECRETS = ("password", "private_key", "passphrase", "enable", "community", "auth_key", "priv_key")
SETTINGS = ("snmp_version", "auth_protocol", "priv_protocol", "context", "tls", "verify")
DEFAULTS: Mapping[str, Any] = {"snmp_version": "2c", "context": "", "tls": True, "verify": True}

# Of each type: what it must have, and what it may have beside that.
_MUST: Mapping[str, tuple[str, ...]] = {
    "ssh": ("username",), "telnet": ("username", "password"), "snmp_community": ("community",), "snmp_user": ("username",), "http": ("username", "password"),
}  # fmt: skip
_MAY: Mapping[str, tuple[str, ...]] = {
    "ssh": ("password", "private_key", "passphrase", "enable"), "telnet": ("enable",), "snmp_community": ("snmp_version",),
    "snmp_user": ("auth_protocol", "auth_key", "priv_protocol", "priv_key", "context"), "http": ("tls", "verify"),
}  # fmt: skip


class NewCredential(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A credential to be made. Which members it has depends on its type; ``site`` is where it is tried (none: anywhere)."""

    name: Label
    type: CredentialType
    username: Username | None = None
    password: SecretText | None = None
    private_key: PrivateKey | None = None
    passphrase: SecretText | None = None
    enable: SecretText | None = None
    community: SecretText | None = None
    snmp_version: Literal["1", "2c"] | None = None
    auth_protocol: AuthProtocol | None = None
    auth_key: SecretText | None = None
    priv_protocol: PrivProtocol | None = None
    priv_key: SecretText | None = None
    context: Annotated[str, Meta(max_length=255)] | None = None
    tls: bool | None = None
    verify: bool | None = None
    port: Port | None = None
    site: Label | None = None
    networks: Networks = ()
    position: Position = 100
    enabled: bool = True
    note: Note | None = None

    def __repr__(self) -> str:
        return hidden(self, *SECRETS)


class CredentialPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a credential; null takes a value away. What is not mentioned stays, also of the secrets."""

    name: Label | UnsetType = UNSET
    username: Username | UnsetType | None = UNSET
    password: SecretText | UnsetType | None = UNSET
    private_key: PrivateKey | UnsetType | None = UNSET
    passphrase: SecretText | UnsetType | None = UNSET
    enable: SecretText | UnsetType | None = UNSET
    community: SecretText | UnsetType | None = UNSET
    snmp_version: Literal["1", "2c"] | UnsetType | None = UNSET
    auth_protocol: AuthProtocol | UnsetType | None = UNSET
    auth_key: SecretText | UnsetType | None = UNSET
    priv_protocol: PrivProtocol | UnsetType | None = UNSET
    priv_key: SecretText | UnsetType | None = UNSET
    context: Annotated[str, Meta(max_length=255)] | UnsetType | None = UNSET
    tls: bool | UnsetType | None = UNSET
    verify: bool | UnsetType | None = UNSET
    port: Port | UnsetType | None = UNSET
    site: Label | UnsetType | None = UNSET
    networks: Networks | UnsetType = UNSET
    position: Position | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    note: Note | UnsetType | None = UNSET

    def __repr__(self) -> str:
        return hidden(self, *SECRETS)


def _whole(faults: Faults, type_: CredentialType, members: Mapping[str, Any]) -> None:
    """What holds between the members of a whole credential; ``members`` are those that have a value."""
    must, may = _MUST[type_], _MAY[type_]
    for name in must:
        if name not in members:
            faults.add(f"/{name}", f"is needed for a credential of type {type_}")
    for name in ("username", *SECRETS, *SETTINGS):
        if name in members and name not in (*must, *may):
            faults.add(f"/{name}", f"means nothing for a credential of type {type_}")
    if type_ == "ssh" and not {"password", "private_key"} & set(members):
        faults.add("/password", "a password or a private key is needed")
    if "passphrase" in members and "private_key" not in members:
        faults.add("/passphrase", "is that of a private key, and there is none")
    if type_ == "snmp_user":
        for protocol, key in (("auth_protocol", "auth_key"), ("priv_protocol", "priv_key")):
            if (protocol in members) != (key in members):
                faults.add(f"/{key if protocol in members else protocol}", f"{protocol} and {key} go together")
            elif key in members and len(members[key]) < 8:
                faults.add(f"/{key}", "has less than 8 characters (RFC 3414 11.2)")
        if "priv_protocol" in members and "auth_protocol" not in members:
            faults.add("/auth_protocol", "there is no privacy without authentication")


def _columns(keyring: Keyring, type_: CredentialType, members: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Members as the store takes them; ``before`` are those with a value of the credential as it is. Raises InvalidInput with all that is wrong."""
    faults = Faults()
    columns = {name: value for name, value in members.items() if name not in (*SECRETS, *SETTINGS, "networks")}
    if "networks" in members:
        columns["networks"] = [faults.attempt(f"/networks/{place}", inputs.prefix, text) for place, text in enumerate(members["networks"])]
    whole = {name: value for name, value in {**before, **members}.items() if value is not None and name in ("username", *SECRETS, *SETTINGS)}
    _whole(faults, type_, whole)
    if "context" in whole and len(whole["context"].encode()) > 255:
        faults.add("/context", "is longer than 255 octets")
    faults.check()
    columns["settings"] = {name: whole[name] for name in SETTINGS if name in whole}
    if set(members) & set(SECRETS):
        secrets = {name: whole[name] for name in SECRETS if name in whole}
        columns["encrypted_secret"] = keyring.seal(msgspec.json.encode(secrets), CONTEXT)
        columns["secrets"] = list(secrets)
    return columns


def secrets_of(keyring: Keyring, sealed: bytes) -> dict[str, str]:
    """The secret members, by name. Raises StoreError for what does not open."""
    return msgspec.json.decode(keyring.open(sealed, CONTEXT), type=dict[str, str])


def login(credential: StoredCredential, secrets: Mapping[str, str]) -> Login:
    """What a transport logs in with."""
    hidden_ = {name: Secret(text) for name, text in secrets.items()}
    settings, username = {**DEFAULTS, **credential.settings}, credential.username or ""
    match credential.type:
        case "ssh":
            return SshLogin(username=username, **hidden_)
        case "telnet":
            return TelnetLogin(username=username, **hidden_)
        case "snmp_community":
            return SnmpCommunity(version=settings["snmp_version"], **hidden_)
        case "snmp_user":
            return SnmpUser(
                username=username, context=settings["context"], auth_protocol=settings.get("auth_protocol"), auth_key=hidden_.get("auth_key"),
                priv_protocol=settings.get("priv_protocol"), priv_key=hidden_.get("priv_key"),
            )  # fmt: skip
        case "http":
            return HttpLogin(username=username, tls=settings["tls"], verify=settings["verify"], **hidden_)


async def create(db: Database, actor: Actor, keyring: Keyring, new: NewCredential) -> StoredCredential:
    """Keep a credential. Raises InvalidInput; Conflict if the name is taken."""
    async with db.transaction(actor.scope) as conn:
        return await create_in(conn, actor, keyring, new)


async def create_in(conn: Connection, actor: Actor, keyring: Keyring, new: NewCredential) -> StoredCredential:
    """``create`` within the transaction of ``conn``."""
    columns = _columns(keyring, new.type, msgspec.structs.asdict(new), {})
    await _place(conn, actor, columns, new=True)
    made = await store.insert(conn, actor.tenant_id, columns)
    await audit.record(conn, actor, "credential.create", "credential", made.id, after=told(made, made.secrets))
    return made


def told(credential: StoredCredential, secrets: Iterable[str]) -> dict[str, Any]:
    """What the audit log is told: that there are secrets, not which."""
    values = audit.values(credential)
    values.pop("secrets")
    return {**values, **{name: audit.MASK for name in secrets}}


async def _place(conn: Connection, actor: Actor, columns: dict[str, Any], *, new: bool) -> None:
    faults = Faults()
    await sites.place(conn, actor, faults, columns, new=new)
    faults.check()


async def get(db: Database, actor: Actor, credential_id: int) -> StoredCredential:
    """The credential, without its secrets. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await held(conn, actor, credential_id)


CredentialQuery = lists.query_type(store.LISTING)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[StoredCredential]:
    """Credentials, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of)


async def update(
    db: Database, actor: Actor, keyring: Keyring, credential_id: int, patch: CredentialPatch, *, version: int | None = None,
) -> StoredCredential:  # fmt: skip
    """Change a credential; where it opened a device, that has to be found out anew. Raises NotFound, InvalidInput; Conflict on a taken name or another
    ``version``."""
    members = given(patch)
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, credential_id, lock=True, version=version)
        return await update_in(conn, actor, keyring, before, members)


async def update_in(conn: Connection, actor: Actor, keyring: Keyring, before: StoredCredential, members: dict[str, Any]) -> StoredCredential:
    """Change a credential that is locked, within the transaction of ``conn``. Raises InvalidInput."""
    if not members:
        return before
    known = secrets_of(keyring, await store.secret(conn, actor.tenant_id, before.id))
    columns = _columns(keyring, before.type, members, {"username": before.username, **before.settings, **known})
    await _place(conn, actor, columns, new=False)
    after = await store.update(conn, actor.tenant_id, before.id, columns)
    if after is None:
        raise NotFound("credential", before.id)
    if set(members) & {"username", "networks", "site", "enabled", "port", *SECRETS, *SETTINGS}:
        await store.forget_working(conn, actor.tenant_id, before.id)
    old, new = audit.changes(before, after)
    for name in SECRETS:
        if name in members:
            old[name] = audit.MASK if name in before.secrets else None
            new[name] = audit.MASK if name in after.secrets else None
    for state in (old, new):
        state.pop("secrets", None)
    await audit.record(conn, actor, "credential.update", "credential", before.id, before=old, after=new)
    return after


async def delete(db: Database, actor: Actor, credential_id: int, *, version: int | None = None) -> None:
    """Remove a credential. Raises NotFound; Conflict while a device names it, or on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, credential_id, lock=True, version=version)
        await store.delete(conn, actor.tenant_id, credential_id)
        await audit.record(conn, actor, "credential.delete", "credential", credential_id, before=told(before, before.secrets))


async def held(conn: Connection, actor: Actor, credential_id: int, *, lock: bool = False, version: int | None = None) -> StoredCredential:
    """The actor's credential. Raises NotFound; Conflict on another ``version`` than demanded (None: any)."""
    found = await store.get(conn, actor.tenant_id, credential_id, lock=lock) if 0 < credential_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("credential", credential_id)
    inputs.same_version("credential", found.version, version)
    return found
