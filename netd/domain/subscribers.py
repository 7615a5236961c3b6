"""Subscribers: who may connect, with what, and by which password. Suspending and locking are in ``domain.standing``."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.domain import audit, inputs, lines, lists, sites
from netd.domain.actor import Actor
from netd.domain.inputs import NO_CONTROL, NO_OUTER_BLANKS, Faults, Hours, Label, Note, Vlan, Zone, given, hidden
from netd.domain.lines import Identities, NewLines
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.ports import AttributeRules
from netd.errors import NotFound
from netd.keyring import Keyring
from netd.model.line import LineMode
from netd.model.subscriber import Attribute, State, Subscriber
from netd.store import expected as expected_store
from netd.store import plans as plan_store
from netd.store import subscribers as store
from netd.store.database import Connection, Database
from netd.wire.hashes import SCHEMES, parse_hash

PASSWORD_CONTEXT = b"subscribers.password"
USERNAME_OCTETS = 253  # what one attribute holds, RFC 2865 5
PASSWORD_OCTETS = 128  # what User-Password holds, RFC 2865 5.2

Username = Annotated[str, Meta(min_length=1, max_length=USERNAME_OCTETS, pattern=NO_OUTER_BLANKS)]
Password = Annotated[str, Meta(min_length=1, max_length=PASSWORD_OCTETS, pattern=NO_CONTROL)]
PasswordHash = Annotated[str, Meta(min_length=4, max_length=512, pattern=NO_OUTER_BLANKS, description="{scheme}digest: " + " ".join(SCHEMES))]
PlanReference = Label | Annotated[int, Meta(ge=1, le=inputs.ROW_ID_MAX)]
MaxSessions = Annotated[int, Meta(ge=0, le=1_000_000, description="0: no limit; null: the plan's")]
AddressText = Annotated[str, Meta(min_length=2, max_length=64)]
When = Annotated[datetime, Meta(tz=True)]
AttributeName = Annotated[str, Meta(min_length=1, max_length=128, pattern=NO_OUTER_BLANKS)]
AttributeValue = Annotated[str, Meta(max_length=4096, pattern=NO_CONTROL)]


class NewCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A condition on the Access-Request: ``=~`` and ``!~`` compare with a regular expression, ``=*`` and ``!*`` ask for presence only."""

    attribute: AttributeName
    op: Literal["==", "!=", ">", ">=", "<", "<=", "=~", "!~", "=*", "!*"] = "=="
    value: AttributeValue = ""


class NewReply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An attribute for the Access-Accept: ``=`` and ``:=`` in place of what is granted under that name, ``+=`` besides it; ``!*`` takes it away."""

    attribute: AttributeName
    op: Literal["=", ":=", "+=", "!*"] = "="
    value: AttributeValue = ""


Checks = Annotated[tuple[NewCheck, ...], Meta(max_length=64)]
Replies = Annotated[tuple[NewReply, ...], Meta(max_length=64)]


class NewSubscriber(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A subscriber to be made. ``plan`` is a name or an id, ``site`` a name; without a password none is accepted.

    ``password_hash`` instead of a password, where only that is known: PAP can be checked against it, MS-CHAP against ``{nt}`` only, CHAP never.
    """

    username: Username
    password: Password | None = None
    password_hash: PasswordHash | None = None
    plan: PlanReference
    state: State = "active"
    max_sessions: MaxSessions | None = None
    ipv4: AddressText | None = None
    ipv6_prefix: AddressText | None = None
    delegated_ipv6_prefix: AddressText | None = None
    expires_at: When | None = None
    full_name: Note | None = None
    note: Note | None = None
    site: Label | None = None
    checks: Checks = ()
    replies: Replies = ()
    access_hours: Hours | None = None
    time_zone: Zone | None = None
    vlan: Vlan | None = None
    line_mode: LineMode = "ignore"
    line_learn: bool = False
    lines: NewLines = ()
    mac_addresses: Identities = ()
    circuit_ids: Identities = ()

    def __repr__(self) -> str:
        return hidden(self, "password", "password_hash")


class SubscriberPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a subscriber; null takes a value away. A list replaces the whole list.

    The state is changed by verbs (suspend, restore …), not here.
    """

    username: Username | UnsetType = UNSET
    password: Password | UnsetType | None = UNSET
    password_hash: PasswordHash | UnsetType = UNSET
    plan: PlanReference | UnsetType = UNSET
    max_sessions: MaxSessions | UnsetType | None = UNSET
    ipv4: AddressText | UnsetType | None = UNSET
    ipv6_prefix: AddressText | UnsetType | None = UNSET
    delegated_ipv6_prefix: AddressText | UnsetType | None = UNSET
    expires_at: When | UnsetType | None = UNSET
    full_name: Note | UnsetType | None = UNSET
    note: Note | UnsetType | None = UNSET
    site: Label | UnsetType | None = UNSET
    checks: Checks | UnsetType = UNSET
    replies: Replies | UnsetType = UNSET
    access_hours: Hours | UnsetType | None = UNSET
    time_zone: Zone | UnsetType | None = UNSET
    vlan: Vlan | UnsetType | None = UNSET
    line_mode: LineMode | UnsetType = UNSET
    line_learn: bool | UnsetType = UNSET
    lines: NewLines | UnsetType = UNSET
    mac_addresses: Identities | UnsetType = UNSET
    circuit_ids: Identities | UnsetType = UNSET

    def __repr__(self) -> str:
        return hidden(self, "password", "password_hash")


class NewPassword(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A password to be set; null takes it away, and then none is accepted."""

    password: Password | None

    def __repr__(self) -> str:
        return hidden(self, "password")


SubscriberQuery = lists.query_type(store.LISTING)


_APART = ("plan", "checks", "replies", "password_hash", *lines.MEMBERS)
"""Members that are no columns of the subscriber's row."""


def sealed(keyring: Keyring, password: str) -> bytes:
    """The password as it is stored."""
    return keyring.seal(password.encode(), PASSWORD_CONTEXT)


def parsed(faults: Faults, members: dict[str, Any]) -> dict[str, Any]:
    """Columns from the members of an input, ``password`` still in plain. Faults are told by JSON pointer."""
    columns = {name: value for name, value in members.items() if name not in _APART}
    if len(columns.get("username", "").encode()) > USERNAME_OCTETS:
        faults.add("/username", f"is longer than the {USERNAME_OCTETS} octets that a User-Name holds")
    if len((columns.get("password") or "").encode()) > PASSWORD_OCTETS:
        faults.add("/password", f"is longer than the {PASSWORD_OCTETS} octets that a User-Password holds")
    if "password" in columns:
        columns["password_hashed"] = False
    if members.get("password_hash") is not None:
        if members.get("password") is not None:
            faults.add("/password_hash", "stands there beside a password; one of the two is enough")
        found = faults.attempt("/password_hash", parse_hash, members["password_hash"])
        columns |= {"password": str(found), "password_hashed": True}
    if "ipv4" in columns:
        columns["ipv4"] = faults.attempt("/ipv4", inputs.ipv4, columns["ipv4"])
    for name in ("ipv6_prefix", "delegated_ipv6_prefix"):
        if name in columns:
            columns[name] = faults.attempt(f"/{name}", inputs.ipv6_prefix, columns[name])
    for name, parse in inputs.ACCESS.items():
        if name in columns:
            columns[name] = faults.attempt(f"/{name}", parse, columns[name])
    return columns


def attributes(faults: Faults, where: str, given_: Sequence[NewCheck | NewReply], validate: Callable[[str, str, str], None] | None) -> list[Attribute]:
    """Rows of an input as they are kept, each tried with ``validate``."""
    for place, each in enumerate(given_):
        try:
            if validate is not None:
                validate(each.attribute, each.op, each.value)
        except ValueError as error:
            faults.add(f"/{where}/{place}", str(error))
    return [Attribute(attribute=each.attribute, op=each.op, value=each.value) for each in given_]


def lists_of(faults: Faults, members: dict[str, Any], rules: AttributeRules) -> dict[store.AttributeTable, list[Attribute]]:
    """The rows for radcheck and radreply among the members of an input."""
    found: dict[store.AttributeTable, list[Attribute]] = {}
    if "checks" in members:
        found["radcheck"] = attributes(faults, "checks", members["checks"], rules.validate_check)
    if "replies" in members:
        found["radreply"] = attributes(faults, "replies", members["replies"], rules.validate_reply)
    return found


async def _plan_id(conn: Connection, actor: Actor, faults: Faults, reference: str | int) -> int:
    if isinstance(reference, int):
        plan = await plan_store.get(conn, actor.tenant_id, reference)
    else:
        plan = await plan_store.by_name(conn, actor.tenant_id, reference)
    if plan is None:
        faults.add("/plan", f"there is no plan {reference}")
        return 0
    return plan.id


async def create(db: Database, actor: Actor, keyring: Keyring, new: NewSubscriber, rules: AttributeRules) -> Subscriber:
    """Make a subscriber, who can connect at once if active. Raises InvalidInput; Conflict if the username or an address is taken."""
    faults = Faults()
    members = {name: getattr(new, name) for name in new.__struct_fields__}
    columns = parsed(faults, members)
    lists = lists_of(faults, members, rules)
    async with db.transaction(actor.scope) as conn:
        columns["plan_id"] = await _plan_id(conn, actor, faults, new.plan)
        where_from = await lines.parsed(conn, actor, faults, members)
        lines.check(faults, members)
        await sites.place(conn, actor, faults, columns, new=True)
        faults.check()
        if columns["password"] is not None:
            columns["password"] = sealed(keyring, columns["password"])
        subscriber_id = await store.insert(conn, actor.tenant_id, columns)
        for table, attributes in lists.items():
            await store.replace_attributes(conn, table, actor.tenant_id, subscriber_id, attributes)
        await lines.keep(conn, actor, subscriber_id, where_from)
        subscriber = await held(conn, actor, subscriber_id)
        told = {**audit.values(subscriber), "password": columns["password"] and audit.MASK}
        await audit.record(conn, actor, "subscriber.create", "subscriber", subscriber_id, after=told)
    return subscriber


async def get(db: Database, actor: Actor, subscriber_id: int) -> Subscriber:
    """The subscriber. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await held(conn, actor, subscriber_id)


async def by_username(db: Database, actor: Actor, username: str) -> Subscriber:
    """The subscriber of this name, in any case of letters. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        subscriber = await store.by_username(conn, actor.tenant_id, username)
    if subscriber is None:
        raise NotFound("subscriber", username)
    return subscriber


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[Subscriber]:
    """Subscribers, by id unless the query says otherwise. Raises InvalidInput, also if it names a plan that does not exist."""
    wanted = lists.selection(store.LISTING, query, parse={"ipv4": inputs.ipv4})
    async with db.transaction(actor.scope) as conn:
        faults = Faults()
        for condition in wanted.conditions:
            if (condition.column, condition.op) == ("plan", "eq"):
                await _plan_id(conn, actor, faults, condition.value)
        faults.check()
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, lambda found: store.whole(conn, actor.tenant_id, found), wanted)


async def update(
    db: Database, actor: Actor, keyring: Keyring, subscriber_id: int, patch: SubscriberPatch, rules: AttributeRules, *, version: int | None = None,
) -> Subscriber:  # fmt: skip
    """Change a subscriber; a live session follows by itself. Raises NotFound, InvalidInput; Conflict if a name or address is taken, or on
    another ``version``."""
    faults = Faults()
    members = given(patch)
    columns = parsed(faults, members)
    lists = lists_of(faults, members, rules)
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, subscriber_id, lock=True, version=version)
        if "plan" in members:
            columns["plan_id"] = await _plan_id(conn, actor, faults, members["plan"])
        where_from = await lines.parsed(conn, actor, faults, members)
        lines.check(faults, {name: members.get(name, getattr(before, name)) for name in ("line_mode", "line_learn", "lines")})
        await sites.place(conn, actor, faults, columns, new=False)
        faults.check()
        if not members:
            return before
        old: dict[str, Any] = {}
        new: dict[str, Any] = {}
        if "password" in columns:
            old["password"] = audit.MASK if await store.has_password(conn, actor.tenant_id, subscriber_id) else None
            new["password"] = audit.MASK if columns["password"] is not None else None
            columns["password"] = sealed(keyring, columns["password"]) if columns["password"] is not None else None
        await store.update(conn, actor.tenant_id, subscriber_id, columns)
        for table, attributes in lists.items():
            await store.replace_attributes(conn, table, actor.tenant_id, subscriber_id, attributes)
        await lines.keep(conn, actor, subscriber_id, where_from)
        after = await held(conn, actor, subscriber_id)
        changed = audit.changes(before, after)
        await audit.record(conn, actor, "subscriber.update", "subscriber", subscriber_id, before={**changed[0], **old}, after={**changed[1], **new})
    return after


async def set_password(db: Database, actor: Actor, keyring: Keyring, subscriber_id: int, new: NewPassword) -> None:
    """Set the password or take it away; it holds from the next login on. Raises NotFound, InvalidInput."""
    faults = Faults()
    columns = parsed(faults, {"password": new.password})
    faults.check()
    if new.password is not None:
        columns["password"] = sealed(keyring, new.password)
    async with db.transaction(actor.scope) as conn:
        await held(conn, actor, subscriber_id, lock=True)
        before = audit.MASK if await store.has_password(conn, actor.tenant_id, subscriber_id) else None
        await store.update(conn, actor.tenant_id, subscriber_id, columns)
        after = audit.MASK if new.password is not None else None
        await audit.record(conn, actor, "subscriber.set_password", "subscriber", subscriber_id, before={"password": before}, after={"password": after})


class RevealedPassword(msgspec.Struct, frozen=True, kw_only=True):
    """A subscriber's password in plain; null: none is set."""

    password: str | None

    def __repr__(self) -> str:
        return hidden(self, "password")


async def reveal(db: Database, actor: Actor, keyring: Keyring, subscriber_id: int) -> RevealedPassword:
    """The password, for whoever may see it; that it was seen stands in the audit log. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        await held(conn, actor, subscriber_id)
        sealed_ = await store.password(conn, actor.tenant_id, subscriber_id)
        await audit.record(conn, actor, "subscriber.reveal", "subscriber", subscriber_id)
    return RevealedPassword(password=None if sealed_ is None else keyring.open(sealed_, PASSWORD_CONTEXT).decode())


async def delete(db: Database, actor: Actor, subscriber_id: int, *, version: int | None = None) -> None:
    """Remove a subscriber with locks, attributes, daily usage and devices that are expected for it; the sessions stay in the history under the username.

    Raises NotFound; Conflict on another ``version``.
    """
    async with db.transaction(actor.scope) as conn:
        before = await held(conn, actor, subscriber_id, lock=True, version=version)
        expected = await expected_store.hostnames_of(conn, actor.tenant_id, subscriber_id)
        await store.delete(conn, actor.tenant_id, subscriber_id)
        told = audit.values(before) | ({"ztp_devices": expected} if expected else {})
        await audit.record(conn, actor, "subscriber.delete", "subscriber", subscriber_id, before=told)


async def held(conn: Connection, actor: Actor, subscriber_id: int, *, lock: bool = False, version: int | None = None) -> Subscriber:
    """The actor's subscriber. Raises NotFound; Conflict on another ``version`` than demanded (None: any)."""
    subscriber = await store.get(conn, actor.tenant_id, subscriber_id, lock=lock) if 0 < subscriber_id <= inputs.ROW_ID_MAX else None
    if subscriber is None:
        raise NotFound("subscriber", subscriber_id)
    inputs.same_version("subscriber", subscriber.version, version)
    return subscriber
