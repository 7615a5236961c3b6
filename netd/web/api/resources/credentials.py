"""/credentials of devices. Their secrets go in, and come out by /export only, for who may reveal secrets."""

from netd.domain import credentials
from netd.domain.credentials import CredentialPatch, NewCredential
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.model.inventory import StoredCredential
from netd.web.api.route import Call, route

READ, WRITE = "credentials:read", "credentials:write"


@route("GET", "/credentials", permission=READ, summary="List credentials of devices", query=credentials.CredentialQuery)
async def credential_list(call: Call, query: ListQuery) -> Page[StoredCredential]:
    return await credentials.page(call.deps.database, call.actor, query)


@route("POST", "/credentials", permission=WRITE, summary="Keep a credential; it is tried from the next session on", status=201, action="credential.create")
async def credential_create(call: Call, body: NewCredential) -> StoredCredential:
    return await credentials.create(call.deps.database, call.actor, call.deps.keyring, body)


@route("GET", "/credentials/{id}", permission=READ, summary="Show a credential without its secrets")
async def credential_show(call: Call, id: int) -> StoredCredential:
    return await credentials.get(call.deps.database, call.actor, id)


@route("PATCH", "/credentials/{id}", permission=WRITE, summary="Change a credential", action="credential.update")
async def credential_update(call: Call, id: int, body: CredentialPatch) -> StoredCredential:
    return await credentials.update(call.deps.database, call.actor, call.deps.keyring, id, body, version=call.if_match)


@route("DELETE", "/credentials/{id}", permission=WRITE, summary="Remove a credential that no device names", action="credential.delete")
async def credential_delete(call: Call, id: int) -> None:
    await credentials.delete(call.deps.database, call.actor, id, version=call.if_match)


ROUTES = (credential_list, credential_create, credential_show, credential_update, credential_delete)
