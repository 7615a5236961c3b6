"""/webhooks, which are told of events; /billing-hooks, through which a billing system tells; and /hooks, what that calls."""

from netd.domain import billing, webhooks
from netd.domain.billing import BillingHookPatch, IssuedBillingHook, NewBillingHook, Notice, Receipt
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.webhooks import Attempt, IssuedWebhook, NewWebhook, Replay, WebhookPatch
from netd.model import signature
from netd.model.webhook import BillingHook, Delivery, Webhook
from netd.web.api.route import Call, route

READ, WRITE = "webhooks:read", "webhooks:write"


@route("GET", "/webhooks", permission=READ, summary="List webhooks", query=webhooks.WebhookQuery)
async def webhook_list(call: Call, query: ListQuery) -> Page[Webhook]:
    return await webhooks.page(call.deps.database, call.actor, query)


@route("POST", "/webhooks", permission=WRITE, summary="Make a webhook; its secret is shown this once", status=201, action="webhook.create")
async def webhook_create(call: Call, body: NewWebhook) -> IssuedWebhook:
    return await webhooks.create(call.deps.database, call.actor, call.deps.keyring, body)


@route("GET", "/webhooks/{id}", permission=READ, summary="Show a webhook and how far it is")
async def webhook_show(call: Call, id: int) -> Webhook:
    return await webhooks.get(call.deps.database, call.actor, id)


@route("PATCH", "/webhooks/{id}", permission=WRITE, summary="Change, disable or enable a webhook; enabled, it goes on where it was", action="webhook.update")
async def webhook_update(call: Call, id: int, body: WebhookPatch) -> Webhook:
    return await webhooks.update(call.deps.database, call.actor, id, body, call.deps.now(), version=call.if_match)


@route("DELETE", "/webhooks/{id}", permission=WRITE, summary="Remove a webhook and its log", action="webhook.delete")
async def webhook_delete(call: Call, id: int) -> None:
    await webhooks.delete(call.deps.database, call.actor, id, version=call.if_match)


@route("POST", "/webhooks/{id}/test", permission=WRITE, summary="Send a webhook.test now, and tell how that went", action="webhook.test")
async def webhook_test(call: Call, id: int) -> Attempt:
    return await webhooks.test(call.deps.database, call.actor, call.deps.client, call.deps.keyring, id, call.deps.now())


@route("POST", "/webhooks/{id}/rotate", permission=WRITE, summary="Make a new secret; the one before signs beside it for 24 h", action="webhook.rotate")
async def webhook_rotate(call: Call, id: int) -> IssuedWebhook:
    return await webhooks.rotate(call.deps.database, call.actor, call.deps.keyring, id, call.deps.now())


@route("POST", "/webhooks/{id}/replay", permission=WRITE, summary="Send everything again from an event on", action="webhook.replay")
async def webhook_replay(call: Call, id: int, body: Replay) -> Webhook:
    return await webhooks.replay(call.deps.database, call.actor, id, body, call.deps.now())


@route("GET", "/webhooks/{id}/deliveries", permission=READ, summary="What was sent and what was answered, newest first", query=webhooks.DeliveryQuery)
async def webhook_deliveries(call: Call, id: int, query: ListQuery) -> Page[Delivery]:
    return await webhooks.log(call.deps.database, call.actor, id, query)


@route("GET", "/billing-hooks", permission=READ, summary="List billing hooks", query=billing.BillingHookQuery)
async def billing_hook_list(call: Call, query: ListQuery) -> Page[BillingHook]:
    return await billing.page(call.deps.database, call.actor, query)


@route(
    "POST", "/billing-hooks", permission=WRITE, summary="Make a billing hook; its secret is shown this once", status=201, action="billing_hook.create"
)  # fmt: skip
async def billing_hook_create(call: Call, body: NewBillingHook) -> IssuedBillingHook:
    return await billing.create(call.deps.database, call.actor, call.deps.keyring, body)


@route("GET", "/billing-hooks/{id}", permission=READ, summary="Show a billing hook")
async def billing_hook_show(call: Call, id: int) -> BillingHook:
    return await billing.get(call.deps.database, call.actor, id)


@route("PATCH", "/billing-hooks/{id}", permission=WRITE, summary="Change, disable or enable a billing hook", action="billing_hook.update")
async def billing_hook_update(call: Call, id: int, body: BillingHookPatch) -> BillingHook:
    return await billing.update(call.deps.database, call.actor, id, body, version=call.if_match)


@route("DELETE", "/billing-hooks/{id}", permission=WRITE, summary="Remove a billing hook", action="billing_hook.delete")
async def billing_hook_delete(call: Call, id: int) -> None:
    await billing.delete(call.deps.database, call.actor, id, version=call.if_match)


@route(
    "POST", "/billing-hooks/{id}/rotate", permission=WRITE, summary="Make a new secret; the one before is good beside it for 24 h",
    action="billing_hook.rotate",
)  # fmt: skip
async def billing_hook_rotate(call: Call, id: int) -> IssuedBillingHook:
    return await billing.rotate(call.deps.database, call.actor, call.deps.keyring, id, call.deps.now())


@route(
    "POST", "/hooks/{public_id}", permission=None, public=True, signed=True, action="billing_hook.receive", errors=(401,),
    summary="A billing system's signed notice: an invoice is paid or overdue (X-Netd-Signature, as webhooks have it)",
)  # fmt: skip
async def hook_receive(call: Call, public_id: str, body: Notice) -> Receipt:
    deps = call.deps
    header = call.request.headers.get(signature.HEADER, "")
    hook = await billing.verified(deps.database, deps.keyring, public_id, header, await call.request.read(), deps.now())
    return await billing.receive(deps.database, hook, body, deps.now(), address=call.actor.address, request_id=call.actor.request_id)


ROUTES = (
    webhook_list, webhook_create, webhook_show, webhook_update, webhook_delete, webhook_test, webhook_rotate, webhook_replay, webhook_deliveries,
    billing_hook_list, billing_hook_create, billing_hook_show, billing_hook_update, billing_hook_delete, billing_hook_rotate, hook_receive,
)  # fmt: skip
