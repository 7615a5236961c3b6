"""/tokens, /audit and /secrets: for the role admin."""

import msgspec

from netd.domain import audit, secrets, tokens
from netd.domain.audit import ExportTerms, Verification
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.secrets import Rotation
from netd.domain.tokens import IssuedToken, NewToken
from netd.model.audit import AuditRow
from netd.model.token import Token
from netd.web.api.route import Call, Download, route


class RotationOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``new_key`` false: no further key, only finish what an earlier rotation began."""

    new_key: bool = True


@route("GET", "/tokens", permission="tokens:read", summary="List API tokens, revoked ones too", query=tokens.TokenQuery)
async def token_list(call: Call, query: ListQuery) -> Page[Token]:
    return await tokens.page(call.deps.database, call.actor, query)


@route("POST", "/tokens", permission="tokens:write", summary="Make an API token; its text is shown this once", status=201, action="token.create")
async def token_create(call: Call, body: NewToken) -> IssuedToken:
    return await tokens.create(call.deps.database, call.actor, body, call.deps.now())


@route("GET", "/tokens/{id}", permission="tokens:read", summary="Show an API token, without its text")
async def token_show(call: Call, id: int) -> Token:
    return await tokens.get(call.deps.database, call.actor, id)


@route("DELETE", "/tokens/{id}", permission="tokens:write", summary="Revoke an API token for ever", action="token.revoke")
async def token_revoke(call: Call, id: int) -> Token:
    return await tokens.revoke(call.deps.database, call.actor, id)


@route("GET", "/audit", permission="audit:read", summary="Who did what, newest first", query=audit.AuditQuery)
async def audit_list(call: Call, query: ListQuery) -> Page[AuditRow]:
    return await audit.page(call.deps.database, call.actor, query)


@route(
    "GET", "/audit/export", permission="audit:read", query=audit.AuditExport, media_types=("text/csv", "application/x-ndjson"),
    summary="The whole log, or what the query asks for of it, as a file: `csv`, or `jsonl`, a JSON object a line",
)  # fmt: skip
async def audit_export(call: Call, query: ExportTerms) -> Download:
    media_type = {"csv": "text/csv", "jsonl": "application/x-ndjson"}[query.format]
    return Download(f"audit.{query.format}", media_type, audit.export(call.deps.database, call.actor, query))


@route("GET", "/audit/verify", permission="audit:read", summary="Is the log whole? A changed or removed row shows")
async def audit_verify(call: Call) -> Verification:
    return await audit.verify(call.deps.database, call.actor)


@route("POST", "/secrets/rotate", permission="secrets:rotate", summary="Make a new key and seal every secret with it", action="secret.rotate")
async def secret_rotate(call: Call, body: RotationOrder) -> Rotation:
    return await secrets.rotate(call.deps.owner, call.actor, call.deps.keyring, new_key=body.new_key)


ROUTES = (token_list, token_create, token_show, token_revoke, audit_list, audit_export, audit_verify, secret_rotate)
