"""Idempotency-Key on POST: a request that is sent again, for its answer was lost, does its work once and is answered as before.

The key is written in the transaction that does the work (``Scope.once``), so neither a crash nor two at the same time can do it twice.
Of a POST that was refused nothing is kept: it may be corrected and sent again. Another body under the same key is a mistake and is told so.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import hdrs, web

from netd.domain.actor import Actor
from netd.model.permission import Once
from netd.store import idempotency as store
from netd.web.api.problem import CONFLICT, INVALID, Problem, problem_of
from netd.web.deps import WebDeps

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"
CONTEXT: Final = b"idempotency_keys.body"
KEPT_HEADERS: Final = (hdrs.LOCATION, hdrs.ETAG, hdrs.CONTENT_TYPE)
IN_WORK_SECONDS: Final = 120.0

_FORM = re.compile(r"[\x21-\x7e]{1,255}")


def key_of(request: web.Request) -> str | None:
    """The request's key, None if it has none. Raises Problem for one that cannot be."""
    text = request.headers.get(HEADER)
    if text is None:
        return None
    if not _FORM.fullmatch(text):
        raise Problem(INVALID, f"{HEADER} must be 1 to 255 printable characters without blanks")
    return text


async def once(
    deps: WebDeps, actor: Actor, request: web.Request, request_id: str, body: bytes, key: str, work: Callable[[Actor], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:  # fmt: skip
    """Answer a POST with a key: do ``work``, or repeat the answer of before. Raises Problem."""
    token_id = actor.caller
    print_ = hashlib.sha256(b"\0".join((request.method.encode(), request.path_qs.encode(), body))).digest()
    async with deps.database.transaction(actor.scope) as conn:
        known = await store.find(conn, actor.tenant_id, token_id, key)
    if known is not None:
        return _again(deps, known, print_)
    marked = msgspec.structs.replace(actor, once=Once(token_id, key, request_id, print_))
    try:
        response = await work(marked)
    except Exception as error:
        refusal = problem_of(error)
        if refusal is not None and refusal.kind.status < 500:  # else it may have done its work: the key stays
            await asyncio.shield(_forget(deps, actor, token_id, key, request_id))
        raise
    if isinstance(response, web.Response):
        await asyncio.shield(_keep(deps, actor, token_id, key, request_id, response))
    return response


def _again(deps: WebDeps, known: store.Known, print_: bytes) -> web.Response:
    if known.fingerprint != print_:
        raise Problem(INVALID, f"this {HEADER} was used for another request")
    if known.status is None:
        if known.age_seconds < IN_WORK_SECONDS:
            raise Problem(CONFLICT, "the request with this key is being worked on", headers={"Retry-After": "1"})
        raise Problem(CONFLICT, "the request with this key was done, but its answer was lost: look whether what it made is there")
    body = deps.keyring.open(known.body, CONTEXT)
    return web.Response(status=known.status, headers={**known.headers, REPLAYED: "true"}, body=body)


async def _keep(deps: WebDeps, actor: Actor, token_id: int, key: str, request_id: str, response: web.Response) -> None:
    headers = {str(name): response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    body = response.body if isinstance(response.body, bytes) else b""
    async with deps.database.transaction(actor.scope) as conn:
        await store.answered(conn, actor.tenant_id, token_id, key, request_id, status=response.status, headers=headers, body=deps.keyring.seal(body, CONTEXT))


async def _forget(deps: WebDeps, actor: Actor, token_id: int, key: str, request_id: str) -> None:
    async with deps.database.transaction(actor.scope) as conn:
        await store.forget(conn, actor.tenant_id, token_id, key, request_id)
