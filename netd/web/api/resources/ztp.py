"""/ztp: devices that boot through netd: who is expected, who came unexpected, rules that adopt, and the devices' certificates."""

from netd.domain import adoption, certificates, expected, revocation
from netd.domain.adoption import Adoption, Disregard, NewRule, RulePatch
from netd.domain.certificates import NewAuthority
from netd.domain.expected import BootCheck, BootPreview, ExpectedPatch, NewExpected, Retry
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.domain.revocation import Revoke
from netd.model.boot import BootCandidate, BootRule, BootStep, ExpectedDevice
from netd.model.certificate import Authority, Certificate, RevocationList
from netd.web.api.route import Call, route

READ, WRITE = "ztp:read", "ztp:write"
TRUST = "credentials:write"  # whoever has an authority's key signs for any device


@route("GET", "/ztp/devices", permission=READ, summary="List devices that are expected or have booted", query=expected.ExpectedQuery)
async def ztp_device_list(call: Call, query: ListQuery) -> Page[ExpectedDevice]:
    return await expected.page(call.deps.database, call.actor, query)


@route("POST", "/ztp/devices", permission=WRITE, summary="Expect a device", status=201, action="ztp_device.create")
async def ztp_device_create(call: Call, body: NewExpected) -> ExpectedDevice:
    deps = call.deps
    return await expected.create(
        deps.database, call.actor, deps.keyring, body, deps.boot_profiles, deps.catalogue, deps.now(), deps.boot_files.window_days,
    )  # fmt: skip


@route("GET", "/ztp/devices/{id}", permission=READ, summary="Show an expected device")
async def ztp_device_show(call: Call, id: int) -> ExpectedDevice:
    return await expected.get(call.deps.database, call.actor, id)


@route("PATCH", "/ztp/devices/{id}", permission=WRITE, summary="Change an expected device; its next packet and file are as it says", action="ztp_device.update")
async def ztp_device_update(call: Call, id: int, body: ExpectedPatch) -> ExpectedDevice:
    return await expected.update(call.deps.database, call.actor, id, body, call.deps.boot_profiles, call.deps.catalogue, version=call.if_match)


@route("DELETE", "/ztp/devices/{id}", permission=WRITE, summary="Expect a device no longer: its URLs end at once", action="ztp_device.delete")
async def ztp_device_delete(call: Call, id: int) -> None:
    await expected.delete(call.deps.database, call.actor, id, version=call.if_match)


@route("GET", "/ztp/devices/{id}/steps", permission=READ, summary="List a device's steps, and what shows each", query=expected.StepQuery)
async def ztp_device_steps(call: Call, id: int, query: ListQuery) -> Page[BootStep]:
    return await expected.steps(call.deps.database, call.actor, id, query)


@route("GET", "/ztp/devices/{id}/preview", permission=READ, summary="Show what a device would fetch, with tokens that are not its own")
async def ztp_device_preview(call: Call, id: int) -> BootPreview:
    return await expected.preview(call.deps.database, call.actor, call.deps.boot_files, id)


@route(
    "POST",
    "/ztp/devices/{id}/retry",
    permission=WRITE,
    summary="Let a device go on that is in quarantine, configure it anew, or let it boot anew",
    action="ztp_device.retry",
)
async def ztp_device_retry(call: Call, id: int, body: Retry) -> ExpectedDevice:
    return await expected.retry(call.deps.database, call.actor, call.deps.kinds, call.deps.keyring, id, body, call.deps.now(), version=call.if_match)


@route("POST", "/ztp/check", permission=WRITE, summary="Render the files of all devices that may still boot", action="ztp.check")
async def ztp_check(call: Call) -> BootCheck:
    return await expected.check(call.deps.database, call.actor, call.deps.boot_files)


@route("GET", "/ztp/candidates", permission=READ, summary="List devices that came unexpected", query=adoption.CandidateQuery)
async def ztp_candidate_list(call: Call, query: ListQuery) -> Page[BootCandidate]:
    return await adoption.candidates(call.deps.database, call.actor, query)


@route("GET", "/ztp/candidates/{id}", permission=READ, summary="Show a candidate with all that it said")
async def ztp_candidate_show(call: Call, id: int) -> BootCandidate:
    return await adoption.candidate(call.deps.database, call.actor, id)


@route("POST", "/ztp/candidates/{id}/adopt", permission=WRITE, summary="Expect a candidate from now on", status=201, action="ztp_candidate.adopt")
async def ztp_candidate_adopt(call: Call, id: int, body: Adoption) -> ExpectedDevice:
    deps = call.deps
    return await adoption.adopt(
        deps.database, call.actor, deps.keyring, id, body, deps.boot_profiles, deps.catalogue, deps.now(), deps.boot_files.window_days,
        version=call.if_match,
    )  # fmt: skip


@route("PATCH", "/ztp/candidates/{id}", permission=WRITE, summary="Ignore a candidate, or think again", action="ztp_candidate.update")
async def ztp_candidate_update(call: Call, id: int, body: Disregard) -> BootCandidate:
    return await adoption.disregard(call.deps.database, call.actor, id, body, version=call.if_match)


@route("GET", "/ztp/rules", permission=READ, summary="List rules that adopt candidates", query=adoption.RuleQuery)
async def ztp_rule_list(call: Call, query: ListQuery) -> Page[BootRule]:
    return await adoption.rules(call.deps.database, call.actor, query)


@route("POST", "/ztp/rules", permission=WRITE, summary="Let candidates be adopted that fit", status=201, action="ztp_rule.create")
async def ztp_rule_create(call: Call, body: NewRule) -> BootRule:
    return await adoption.create_rule(call.deps.database, call.actor, body, call.deps.boot_profiles)


@route("GET", "/ztp/rules/{id}", permission=READ, summary="Show a rule")
async def ztp_rule_show(call: Call, id: int) -> BootRule:
    return await adoption.rule(call.deps.database, call.actor, id)


@route("PATCH", "/ztp/rules/{id}", permission=WRITE, summary="Change a rule; who was adopted stays", action="ztp_rule.update")
async def ztp_rule_update(call: Call, id: int, body: RulePatch) -> BootRule:
    return await adoption.update_rule(call.deps.database, call.actor, id, body, call.deps.boot_profiles, version=call.if_match)


@route("DELETE", "/ztp/rules/{id}", permission=WRITE, summary="Remove a rule; who was adopted stays", action="ztp_rule.delete")
async def ztp_rule_delete(call: Call, id: int) -> None:
    await adoption.delete_rule(call.deps.database, call.actor, id, version=call.if_match)


@route("GET", "/ztp/certificates", permission=READ, summary="List certificates of devices", query=certificates.CertificateQuery)
async def ztp_certificate_list(call: Call, query: ListQuery) -> Page[Certificate]:
    return await certificates.page(call.deps.database, call.actor, query)


@route("GET", "/ztp/certificates/{id}", permission=READ, summary="Show a certificate")
async def ztp_certificate_show(call: Call, id: int) -> Certificate:
    return await certificates.get(call.deps.database, call.actor, id)


@route(
    "POST", "/ztp/certificates/{id}/revoke", permission=WRITE, summary="Say that a certificate is good no longer", action="certificate.revoke"
)  # fmt: skip
async def ztp_certificate_revoke(call: Call, id: int, body: Revoke) -> Certificate:
    return await revocation.revoke(call.deps.database, call.actor, id, body, call.deps.now())


@route("GET", "/ztp/authorities", permission=READ, summary="List certification authorities; the newest one signs", query=certificates.AuthorityQuery)
async def ztp_authority_list(call: Call, query: ListQuery) -> Page[Authority]:
    return await certificates.authorities(call.deps.database, call.actor, query)


@route(
    "POST", "/ztp/authorities", permission=TRUST, summary="Let another authority sign: yours, or a new one", status=201, action="certificate_authority.create"
)
async def ztp_authority_create(call: Call, body: NewAuthority) -> Authority:
    return await certificates.create_authority(call.deps.database, call.actor, call.deps.keyring, body, call.deps.now())


@route("GET", "/ztp/authorities/{id}", permission=READ, summary="Show a certification authority")
async def ztp_authority_show(call: Call, id: int) -> Authority:
    return await certificates.authority(call.deps.database, call.actor, id)


@route("GET", "/ztp/authorities/{id}/crl", permission=READ, summary="Show an authority's list of revoked certificates")
async def ztp_authority_crl(call: Call, id: int) -> RevocationList:
    return await call.deps.boot_files.lists.shown(call.deps.database, call.actor, id)


ROUTES = (
    ztp_device_list, ztp_device_create, ztp_device_show, ztp_device_update, ztp_device_delete, ztp_device_steps,
    ztp_device_preview, ztp_device_retry, ztp_check, ztp_candidate_list, ztp_candidate_show, ztp_candidate_adopt,
    ztp_candidate_update, ztp_rule_list, ztp_rule_create, ztp_rule_show, ztp_rule_update, ztp_rule_delete,
    ztp_certificate_list, ztp_certificate_show, ztp_certificate_revoke, ztp_authority_list, ztp_authority_create, ztp_authority_show, ztp_authority_crl,
)  # fmt: skip
