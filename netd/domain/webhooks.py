"""Webhooks: where other systems are told of events, and one delivery to one of them. The service that delivers is ``work.webhooks``."""

import math
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.device.http import Client
from netd.domain import audit, endpoints, inputs, lists
from netd.domain.actor import Actor
from netd.domain.inputs import Faults, Label, Note, given
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.errors import Fault, InvalidInput, NotFound, OutsideScope, PeerUnreachable
from netd.keyring import Keyring
from netd.model import signature
from netd.model.event import TYPES, Event, Place, place
from netd.model.webhook import TEST, Delivery, Webhook
from netd.store import deliveries, events, sites
from netd.store import webhooks as store
from netd.store.database import Connection, Database

CONTEXT: Final = b"webhooks.secrets"
READS: Final = "events:read"

Url = Annotated[str, Meta(min_length=1, max_length=2000, description="https; http only to networks that the configuration allows")]
Types = Annotated[tuple[str, ...], Meta(max_length=100, description="subscriber.created, quota.* …; none: all")]


class NewWebhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A webhook to be made: it is told of what happens from now on, of events of ``types``, at ``site`` only if one is named."""

    name: Label
    url: Url
    types: Types = ()
    site: Label | None = None
    note: Note | None = None


class WebhookPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change. ``enabled`` true after netd gave up: it goes on with the event that it stopped at."""

    name: Label | UnsetType = UNSET
    url: Url | UnsetType = UNSET
    types: Types | UnsetType = UNSET
    note: Note | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class Replay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``event_id``: the first event to be sent again, and all behind it."""

    event_id: Annotated[str, Meta(min_length=3, max_length=64)]


class IssuedWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook with its new secret, which is shown this once."""

    webhook: Webhook
    secret: str

    def __repr__(self) -> str:
        return inputs.hidden(self, "secret")


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended. ``status`` None: there was no answer; ``retry_after_seconds`` is what the receiver asks for, if it does."""

    delivered: bool
    status: int | None
    error: str | None
    seconds: float
    retry_after_seconds: float = 0.0


def types(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Types of events as they are kept. Raises InvalidInput for one that there is not."""
    kinds = {f"{each.partition('.')[0]}.*" for each in TYPES}
    faults = [Fault(f"/types/{at}", f"there are no events {each}") for at, each in enumerate(wanted) if each not in TYPES and each not in kinds]
    if faults:
        raise InvalidInput(faults)
    return tuple(dict.fromkeys(wanted))


def url(text: str) -> str:
    """A webhook's URL. Raises ValueError. To which address it leads is judged when it is connected to, for a name may lead elsewhere by then."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an impossible port or IPv6 literal
        good, parts = False, urlsplit("")
    if not good or not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise ValueError("is not an http or https URL")
    if "@" in parts.netloc:
        raise ValueError("has a user or password in it; the signature is what tells netd")
    if parts.fragment:
        raise ValueError("has a fragment (#), which is never sent")
    return text


async def create(db: Database, actor: Actor, keyring: Keyring, new: NewWebhook) -> IssuedWebhook:
    """Make a webhook. Raises InvalidInput; OutsideScope for who may not read events; Conflict if the name is taken."""
    reach = endpoints.reach(actor, READS)
    faults = Faults()
    faults.attempt("/url", url, new.url)
    faults.check()
    wanted = types(new.types)
    secret = endpoints.new_secret()
    async with db.transaction(actor.scope) as conn:
        if new.site is not None:
            found = await sites.site_id(conn, actor.tenant_id, new.site)
            if found is None:
                raise InvalidInput([Fault("/site", f"there is no site {new.site}")])
            if reach is not None and found not in reach:
                raise OutsideScope(f"you may not read the events of the site {new.site}")
            reach = frozenset((found,))
        values = {
            "name": new.name, "url": new.url, "types": list(wanted), "sites": endpoints.columns_of(reach), "note": new.note,
            "secrets": endpoints.seal(keyring, CONTEXT, secret), "created_by": actor.name,
        }  # fmt: skip
        made = await store.insert(conn, actor.tenant_id, values, await events.end(conn))
        await audit.record(conn, actor, "webhook.create", "webhook", made.id, after=audit.values(made))
    return IssuedWebhook(webhook=made, secret=secret)


async def get(db: Database, actor: Actor, webhook_id: int) -> Webhook:
    """The webhook. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await _held(conn, actor, webhook_id)


WebhookQuery = lists.query_type(store.LISTING)
DeliveryQuery = lists.query_type(store.DELIVERIES)


async def page(db: Database, actor: Actor, query: ListQuery) -> Page[Webhook]:
    """Webhooks, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.LISTING, actor.tenant_id, query, store.of)


async def log(db: Database, actor: Actor, webhook_id: int, query: ListQuery) -> Page[Delivery]:
    """Its attempts, newest first unless the query says otherwise. Raises NotFound, InvalidInput."""
    wanted = lists.selection(store.DELIVERIES, query, within={"webhook_id": webhook_id})
    async with db.transaction(actor.scope) as conn:
        await _held(conn, actor, webhook_id)
        return await lists.page(conn, store.DELIVERIES, actor.tenant_id, query, store.deliveries, wanted)


async def update(db: Database, actor: Actor, webhook_id: int, patch: WebhookPatch, now: datetime, *, version: int | None = None) -> Webhook:
    """Change a webhook. Raises NotFound, InvalidInput, OutsideScope; Conflict for a taken name or another ``version``."""
    members = given(patch)
    faults = Faults()
    faults.attempt("/url", url, members.get("url"))
    faults.check()
    if "types" in members:
        members["types"] = list(types(members["types"]))
    async with db.transaction(actor.scope) as conn:
        before = await _changeable(conn, actor, webhook_id, version)
        if members.get("enabled"):
            members |= {"disabled_at": None, "disabled_reason": None, "attempts": 0, "failing_since": None, "due_at": now}
        elif members.get("enabled") is False and before.enabled:
            members |= {"disabled_at": now, "disabled_reason": None}
        elif members.keys() & {"url", "types"}:  # a new address is not to wait for what the old one did
            members |= {"attempts": 0, "failing_since": None, "due_at": now}
        if not members:
            return before
        return await _changed(conn, actor, "webhook.update", before, members)


async def delete(db: Database, actor: Actor, webhook_id: int, *, version: int | None = None) -> None:
    """Remove a webhook and its log. Raises NotFound; Conflict for another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await _held(conn, actor, webhook_id, lock=True)
        inputs.same_version("webhook", before.version, version)
        await store.delete(conn, actor.tenant_id, webhook_id)
        await audit.record(conn, actor, "webhook.delete", "webhook", webhook_id, before=audit.values(before))


async def rotate(db: Database, actor: Actor, keyring: Keyring, webhook_id: int, now: datetime) -> IssuedWebhook:
    """Give it a new secret; the one before signs beside it for a day. Raises NotFound, OutsideScope."""
    secret = endpoints.new_secret()
    async with db.transaction(actor.scope) as conn:
        before = await _changeable(conn, actor, webhook_id, None)
        sealed = endpoints.replaced(keyring, CONTEXT, await store.secrets(conn, actor.tenant_id, webhook_id), secret, now)
        after = await _changed(conn, actor, "webhook.rotate", before, {"secrets": sealed})
    return IssuedWebhook(webhook=after, secret=secret)


async def replay(db: Database, actor: Actor, webhook_id: int, wanted: Replay, now: datetime) -> Webhook:
    """Let it go on from an event, which it had already or not. Raises NotFound, OutsideScope; InvalidInput for what is no event's id."""
    faults = Faults()
    first = faults.attempt("/event_id", place, wanted.event_id) or Place(0, 0)
    faults.check()
    async with db.transaction(actor.scope) as conn:
        before = await _changeable(conn, actor, webhook_id, None)
        await store.move(conn, actor.tenant_id, webhook_id, Place(first.xid, first.number - 1))
        return await _changed(conn, actor, "webhook.replay", before, {"attempts": 0, "failing_since": None, "due_at": now})


async def test(db: Database, actor: Actor, client: Client, keyring: Keyring, webhook_id: int, now: datetime) -> Attempt:
    """Send it a message of the type ``webhook.test`` now, whether it is enabled or not, and log how that went. Raises NotFound, OutsideScope."""
    async with db.transaction(actor.scope) as conn:
        hook = await _changeable(conn, actor, webhook_id, None)
        secrets = endpoints.opened(keyring, CONTEXT, await store.secrets(conn, actor.tenant_id, webhook_id), now)
    event = Event(
        id="0.0", at=now, type=TEST, object_type="webhook", object_id=str(hook.id), subscriber_id=None, site_id=None, actor=actor.name, data={"name": hook.name}
    )
    delivery_id = f"{hook.id}.test.{int(now.timestamp() * 1000)}"
    attempt = await send(client, hook.url, secrets, event, delivery_id, now)
    line = deliveries.Row(delivery_id, None, TEST, now, 1, attempt.delivered, attempt.status, attempt.error, attempt.seconds)
    async with db.transaction(actor.scope) as conn:
        hook = await _held(conn, actor, webhook_id)
        await deliveries.log(conn, hook, [line])
        await audit.record(conn, actor, "webhook.test", "webhook", webhook_id, after=audit.values(attempt))
    return attempt


async def send(client: Client, where: str, secrets: list[str], event: Event, delivery_id: str, now: datetime) -> Attempt:
    """Deliver one event, signed: the one attempt, with whatever came of it. Done is what was answered with 2xx."""
    body = msgspec.json.encode(event)
    headers = {
        "Content-Type": "application/json", "X-Netd-Delivery": delivery_id, "X-Netd-Event": event.type,
        signature.HEADER: signature.sign(secrets, body, int(now.timestamp())),
    }  # fmt: skip
    begun = datetime.now(UTC)
    try:
        reply = await client.post(where, body, headers)
    except PeerUnreachable as error:
        return Attempt(delivered=False, status=None, error=str(error), seconds=(datetime.now(UTC) - begun).total_seconds())
    if 200 <= reply.status < 300:
        return Attempt(delivered=True, status=reply.status, error=None, seconds=reply.seconds)
    said = f"answered {reply.status}" + (": redirects are not followed" if 300 <= reply.status < 400 else "")
    return Attempt(delivered=False, status=reply.status, error=said, seconds=reply.seconds, retry_after_seconds=_retry_after(reply.headers))


def _retry_after(headers: dict[str, str]) -> float:
    try:
        seconds = float(headers.get("retry-after", "0"))
    except ValueError:  # a date, or nonsense
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


async def _held(conn: Connection, actor: Actor, webhook_id: int, *, lock: bool = False) -> Webhook:
    found = await store.get(conn, actor.tenant_id, webhook_id, lock=lock) if 0 < webhook_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("webhook", webhook_id)
    return found


async def _changeable(conn: Connection, actor: Actor, webhook_id: int, version: int | None) -> Webhook:
    """The webhook, locked; raises OutsideScope for who may not read the events that it tells: they could have them sent to themselves."""
    hook = await _held(conn, actor, webhook_id, lock=True)
    inputs.same_version("webhook", hook.version, version)
    reach = endpoints.reach(actor, READS)
    if reach is not None and (hook.sites is None or not reach.issuperset(hook.sites)):
        raise OutsideScope("this webhook tells of events that you may not read")
    return hook


async def _changed(conn: Connection, actor: Actor, action: str, before: Webhook, members: dict[str, Any]) -> Webhook:
    after = await store.update(conn, actor.tenant_id, before.id, members)
    if after is None:
        raise NotFound("webhook", before.id)
    old, new = audit.changes(before, after)
    await audit.record(conn, actor, action, "webhook", before.id, before=old, after=new)
    return after
