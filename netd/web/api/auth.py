"""Who is calling, and may they: bearer tokens (RFC 6750), users' sessions, and permissions."""

from collections.abc import Hashable
from typing import Final

from aiohttp import hdrs, web

from netd.domain import logins, tokens
from netd.domain.actor import Actor, anonymous
from netd.web import browser
from netd.web.api.problem import FORBIDDEN, TOO_MANY, Problem, unauthorized
from netd.web.api.requests import ADDRESS, REQUEST_ID
from netd.web.deps import WebDeps
from netd.web.ratelimit import RateLimit

OWN_PREFIX: Final = "/api/v1/self"


async def authenticate(deps: WebDeps, request: web.Request) -> Actor:
    """The actor behind the request's token, or its session; raises Problem 401, 403 if another site made it, or 429 if it calls too often."""
    header = request.headers.getall(hdrs.AUTHORIZATION, [])
    if not header:
        return await _by_session(deps, request)
    scheme, _, text = header[0].partition(" ")
    if len(header) > 1 or scheme.lower() != "bearer" or not text.strip():
        raise unauthorized("the Authorization header is not one bearer token", error="invalid_request")
    actor = await tokens.authenticate(deps.database, text.strip(), deps.now(), address=request[ADDRESS] or None, request_id=request[REQUEST_ID])
    if actor is None:
        raise unauthorized("the token is unknown, expired or revoked", error="invalid_token")
    if actor.own_subscriber_id is None:
        _take(deps, deps.limit, actor.caller, f"the token {actor.name}")
    else:
        _take(deps, deps.own_limit, actor.own_subscriber_id, "this subscriber")
    return actor


async def _by_session(deps: WebDeps, request: web.Request) -> Actor:
    text = browser.cookie_text(deps, request, browser.SESSION)
    if text is None:
        raise unauthorized("send Authorization: Bearer with a token from `netd token create`, or log in")
    actor = await logins.authenticate(deps.database, deps.login, text, deps.now(), address=request[ADDRESS] or None, request_id=request[REQUEST_ID])
    if actor is None:
        raise unauthorized("the session has ended: log in again")
    browser.check_session_request(deps, request, text)
    _take(deps, deps.limit, actor.caller, f"the user {actor.name}")
    return actor


def stranger(deps: WebDeps, request: web.Request, *, signed: bool) -> Actor:
    """Who calls a public route; where it signs, nothing can be guessed, so it may call as often as with a token.

    Raises Problem 403 for a page of another site, 429 for an address that calls too often.
    """
    if not signed and request.method not in browser.SAFE_METHODS:  # a signature is no cookie: no page can borrow it
        browser.check_origin(deps, request)
    visit = logins.Visit(anonymous(request[ADDRESS] or None, request[REQUEST_ID]))
    _take(deps, deps.limit if signed else deps.public_limit, visit.network, "this address")
    return visit.caller


def _take(deps: WebDeps, limit: RateLimit, caller: Hashable, who: str) -> None:
    wait = limit.wait_seconds(caller, deps.monotonic())
    if wait:
        raise Problem(TOO_MANY, f"{who} calls too often; again in {wait} s", headers={"Retry-After": str(wait)})


async def still_allows(deps: WebDeps, actor: Actor, permission: str) -> bool:
    """Whether the actor's token or session is good and holds where it did, for what takes longer than one request. Raises StoreUnavailable."""
    if actor.session_hash is not None:
        return await logins.still_allows(deps.database, deps.login, actor, permission, deps.now())
    return await tokens.still_allows(deps.database, actor, permission, deps.now())


def own_only(actor: Actor) -> Problem:
    """403 for a token of one subscriber's own account, on a route for everybody else."""
    return Problem(FORBIDDEN, f"{actor.name} is for one subscriber's account: it opens {OWN_PREFIX} only")


def refusal(actor: Actor, needed: str) -> Problem:
    """403, naming the permission that is missing."""
    return Problem(FORBIDDEN, f"this needs the permission {needed}, which {actor.name} (role {actor.role}) does not have")
