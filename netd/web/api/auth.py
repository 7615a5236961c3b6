"""Who is calling, and may they: bearer tokens (RFC 6750) and permissions."""

from aiohttp import hdrs, web

from netd.domain import tokens
from netd.domain.actor import Actor, anonymous
from netd.web.api.problem import FORBIDDEN, TOO_MANY, Problem, unauthorized
from netd.web.deps import WebDeps


async def authenticate(deps: WebDeps, request: web.Request, request_id: str) -> Actor:
    """The actor behind the request's token; raises Problem 401, or 429 if it calls too often."""
    header = request.headers.getall(hdrs.AUTHORIZATION, [])
    if not header:
        raise unauthorized("send Authorization: Bearer with a token from `netd token create`")
    scheme, _, text = header[0].partition(" ")
    if len(header) > 1 or scheme.lower() != "bearer" or not text.strip():
        raise unauthorized("the Authorization header is not one bearer token", error="invalid_request")
    actor = await tokens.authenticate(deps.database, text.strip(), deps.now(), address=request.remote, request_id=request_id)
    if actor is None:
        raise unauthorized("the token is unknown, expired or revoked", error="invalid_token")
    wait = deps.limit.wait_seconds(actor.token_id or 0, deps.monotonic())
    if wait:
        raise Problem(TOO_MANY, f"the token {actor.name} calls too often; again in {wait} s", headers={"Retry-After": str(wait)})
    return actor


def stranger(deps: WebDeps, request: web.Request, request_id: str) -> Actor:
    """Who calls a public route. Raises Problem 429 if its address calls too often."""
    wait = deps.limit.wait_seconds(("address", request.remote), deps.monotonic())
    if wait:
        raise Problem(TOO_MANY, f"too many calls from this address; again in {wait} s", headers={"Retry-After": str(wait)})
    return anonymous(request.remote, request_id)


def refusal(actor: Actor, needed: str) -> Problem:
    """403, naming the permission that is missing."""
    return Problem(FORBIDDEN, f"this needs the permission {needed}, which {actor.name} (role {actor.role}) does not have")
