"""Who is calling, and may they: bearer tokens (RFC 6750) and roles."""

from aiohttp import hdrs, web

from netd.domain import tokens
from netd.domain.actor import Actor, Role
from netd.web.api.problem import FORBIDDEN, Problem, unauthorized
from netd.web.deps import WebDeps

RANK: dict[Role, int] = {"read_only": 0, "operator": 1, "admin": 2}


async def authenticate(deps: WebDeps, request: web.Request, request_id: str) -> Actor:
    """The actor behind the request's token; raises Problem 401."""
    header = request.headers.getall(hdrs.AUTHORIZATION, [])
    if not header:
        raise unauthorized("send Authorization: Bearer with a token from `netd token create`")
    scheme, _, text = header[0].partition(" ")
    if len(header) > 1 or scheme.lower() != "bearer" or not text.strip():
        raise unauthorized("the Authorization header is not one bearer token", error="invalid_request")
    actor = await tokens.authenticate(deps.database, text.strip(), deps.now(), address=request.remote, request_id=request_id)
    if actor is None:
        raise unauthorized("the token is unknown, expired or revoked", error="invalid_token")
    return actor


def allows(role: Role, needed: Role) -> bool:
    """True if ``role`` may do what ``needed`` may."""
    return RANK[role] >= RANK[needed]


def refusal(actor: Actor, needed: Role) -> Problem:
    """403, naming both roles."""
    return Problem(FORBIDDEN, f"this needs the role {needed}; the token {actor.name} has {actor.role}")
