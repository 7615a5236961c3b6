"""Billing hooks: a billing system tells that an invoice is overdue or paid, and the subscriber's lock ``overdue`` is put on or lifted."""

import base64
import hashlib
import secrets as entropy
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.domain import audit, endpoints, inputs, lists, standing
from netd.domain.actor import Actor, Grant
from netd.domain.inputs import Label, Note, given
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.standing import NewLock
from netd.domain.subscribers import held
from netd.errors import Conflict, NotFound, OutsideScope, Unauthenticated
from netd.keyring import Keyring
from netd.model import signature
from netd.model.subscriber import LockMode, LockReason
from netd.model.webhook import BillingHook
from netd.store import billing as store
from netd.store import subscribers
from netd.store.database import Connection, Database

CONTEXT: Final = b"billing_hooks.secrets"
LOCKS: Final = "subscribers:lock"
OVERDUE: Final[LockReason] = "overdue"


class NewBillingHook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A billing hook to be made; ``mode`` is that of the locks that it puts on."""

    name: Label
    mode: LockMode = "reject"
    note: Note | None = None


class BillingHookPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change; ``mode`` is for locks to come."""

    name: Label | UnsetType = UNSET
    mode: LockMode | UnsetType = UNSET
    note: Note | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class IssuedBillingHook(msgspec.Struct, frozen=True, kw_only=True):
    """A billing hook with its new secret, which is shown this once."""

    hook: BillingHook
    secret: str

    def __repr__(self) -> str:
        return inputs.hidden(self, "secret")


class Notice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a billing system tells. ``id`` names this notice: sent again within 30 days, it is answered as before and does nothing."""

    id: Annotated[str, Meta(min_length=1, max_length=255, pattern=inputs.NO_CONTROL)]
    type: Literal["invoice.paid", "invoice.overdue"]
    username: Annotated[str, Meta(min_length=1, max_length=253)]
    note: Note | None = None


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What a notice did: ``changed`` is false if the lock was on or off already. ``locked`` tells of the lock ``overdue`` only."""

    id: str
    type: str
    subscriber_id: int
    username: str
    locked: bool
    changed: bool


async def create(db: Database, actor: Actor, keyring: Keyring, new: NewBillingHook) -> IssuedBillingHook:
    """Make a billing hook, which reaches as far as its maker may lock subscribers. Raises OutsideScope; Conflict if the name is taken."""
    reach = endpoints.reach(actor, LOCKS)
    secret = endpoints.new_secret()
    async with db.transaction(actor.scope) as conn:
        values = {
            **msgspec.structs.asdict(new), "public_id": base64.b32encode(entropy.token_bytes(10)).decode().lower(), "created_by": actor.name,
            "sites": endpoints.columns_of(reach), "secrets": endpoints.seal(keyring, CONTEXT, secret),
        }  # fmt: skip
        made = await store.insert(conn, actor.tenant_id, values)
        await audit.record(conn, actor, "billing_hook.create", "billing_hook", made.id, after=audit.values(made))
    return IssuedBillingHook(hook=made, secret=secret)


async def get(db: Database, actor: Actor, hook_id: int) -> BillingHook:
    """The hook. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await _held(conn, actor, hook_id)


BillingHookQuery = lists.query_type(store.LISTING)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[BillingHook]:
    """Billing hooks, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of)


async def update(db: Database, actor: Actor, hook_id: int, patch: BillingHookPatch, *, version: int | None = None) -> BillingHook:
    """Change a hook. Raises NotFound, OutsideScope; Conflict for a taken name or another ``version``."""
    members = given(patch)
    async with db.transaction(actor.scope) as conn:
        before = await _changeable(conn, actor, hook_id, version)
        return await _changed(conn, actor, "billing_hook.update", before, members) if members else before


async def delete(db: Database, actor: Actor, hook_id: int, *, version: int | None = None) -> None:
    """Remove a hook. Raises NotFound; Conflict for another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await _held(conn, actor, hook_id, lock=True)
        inputs.same_version("billing hook", before.version, version)
        await store.delete(conn, actor.tenant_id, hook_id)
        await audit.record(conn, actor, "billing_hook.delete", "billing_hook", hook_id, before=audit.values(before))


async def rotate(db: Database, actor: Actor, keyring: Keyring, hook_id: int, now: datetime) -> IssuedBillingHook:
    """Give it a new secret; the one before is good for a day beside it. Raises NotFound, OutsideScope."""
    secret = endpoints.new_secret()
    async with db.transaction(actor.scope) as conn:
        before = await _changeable(conn, actor, hook_id, None)
        sealed = endpoints.replaced(keyring, CONTEXT, await store.secrets(conn, actor.tenant_id, hook_id), secret, now)
        after = await _changed(conn, actor, "billing_hook.rotate", before, {"secrets": sealed})
    return IssuedBillingHook(hook=after, secret=secret)


async def verified(db: Database, keyring: Keyring, public_id: str, header: str, body: bytes, now: datetime) -> BillingHook:
    """The hook in whose name a message is signed. Raises NotFound; Unauthenticated if it is not signed as it must be, or not now."""
    async with db.acquire() as conn:
        stored = await store.by_public_id(conn, public_id)
    if stored is None or not stored.hook.enabled:
        raise NotFound("billing hook", public_id)
    wrong = signature.fault(header, endpoints.opened(keyring, CONTEXT, stored.secrets, now), body, now.timestamp())
    if wrong:
        raise Unauthenticated(wrong)
    return stored.hook


async def receive(db: Database, hook: BillingHook, notice: Notice, now: datetime, *, address: str | None = None, request_id: str | None = None) -> Receipt:
    """Do what a notice of a verified hook says, once. Raises NotFound for an unknown subscriber, of which nothing is kept: it may come again later;
    Conflict if the same id came before for something else."""
    actor = acting(hook, address=address, request_id=request_id)
    asked = hashlib.sha256(msgspec.json.encode((notice.type, notice.username, notice.note))).digest()
    async with db.transaction(actor.scope) as conn:
        known = await store.begin(conn, hook, notice.id, asked, now)
        if known is not None:
            if known.fingerprint != asked:
                raise Conflict(f"a notice with the id {notice.id} came before and said something else", "id")
            return msgspec.convert(known.answer, Receipt)
        receipt = await _done(conn, actor, hook, notice)
        await store.answered(conn, hook, notice.id, msgspec.to_builtins(receipt), now)
    return receipt


def acting(hook: BillingHook, *, address: str | None = None, request_id: str | None = None) -> Actor:
    """The hook as the actor of what it does."""
    sites = None if hook.sites is None else frozenset(hook.sites)
    return Actor(
        tenant_id=hook.tenant_id, name=f"billing hook {hook.name}", role="billing", grants=(Grant(frozenset((LOCKS,)), sites),), sites=sites,
        address=address, request_id=request_id,
    )  # fmt: skip


async def _done(conn: Connection, actor: Actor, hook: BillingHook, notice: Notice) -> Receipt:
    found = await subscribers.by_username(conn, actor.tenant_id, notice.username)
    if found is None:
        raise NotFound("subscriber", notice.username)
    subscriber = await held(conn, actor, found.id, lock=True)
    lock = next((each for each in subscriber.locks if each.reason == OVERDUE), None)
    note = notice.note if notice.note is not None else f"{notice.type} {notice.id}"[:1000]
    overdue = notice.type == "invoice.overdue"
    if overdue:
        changed = lock is None or lock.mode != hook.mode or lock.until_at is not None
        if changed:
            await standing.put_on(conn, actor, subscriber.id, NewLock(reason=OVERDUE, mode=hook.mode, note=note))
    else:
        changed = lock is not None
        if changed:
            await standing.lift(conn, actor, subscriber.id, OVERDUE)
    if not changed:
        action = "subscriber.lock" if overdue else "subscriber.unlock"
        await audit.record(conn, actor, action, "subscriber", subscriber.id, after={"reason": OVERDUE, "note": note}, result="unchanged")
    return Receipt(id=notice.id, type=notice.type, subscriber_id=subscriber.id, username=subscriber.username, locked=overdue, changed=changed)


async def _held(conn: Connection, actor: Actor, hook_id: int, *, lock: bool = False) -> BillingHook:
    found = await store.get(conn, actor.tenant_id, hook_id, lock=lock) if 0 < hook_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("billing hook", hook_id)
    return found


async def _changeable(conn: Connection, actor: Actor, hook_id: int, version: int | None) -> BillingHook:
    """The hook, locked; raises OutsideScope for who may not do what it does."""
    hook = await _held(conn, actor, hook_id, lock=True)
    inputs.same_version("billing hook", hook.version, version)
    reach = endpoints.reach(actor, LOCKS)
    if reach is not None and (hook.sites is None or not reach.issuperset(hook.sites)):
        raise OutsideScope("this billing hook reaches subscribers that you may not lock")
    return hook


async def _changed(conn: Connection, actor: Actor, action: str, before: BillingHook, members: dict[str, Any]) -> BillingHook:
    after = await store.update(conn, actor.tenant_id, before.id, members)
    if after is None:
        raise NotFound("billing hook", before.id)
    old, new = audit.changes(before, after)
    await audit.record(conn, actor, action, "billing_hook", before.id, before=old, after=new)
    return after
