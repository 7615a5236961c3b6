"""/import"""

import msgspec

from netd.domain import audit, provision
from netd.domain.provision import ProvisionReport
from netd.errors import Fault
from netd.web.api.auth import refusal
from netd.web.api.problem import INVALID, Problem
from netd.web.api.route import Call, LinesUpload, route

TOLD_FAULTS = 20
ALSO_NEEDED = ("plans:write", "nas:write")


class ProvisionQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``dry_run``: find the same faults, store nothing. ``skip_bad``: one bad line does not keep the good ones out."""

    dry_run: bool = False
    skip_bad: bool = False


@route(
    "POST", "/import", permission="subscribers:write", action="import.store",
    summary="Make or change plans, NAS and subscribers, a JSON object a line; 422 with a report if a bad line kept all out",
)  # fmt: skip
async def everything_import(call: Call, query: ProvisionQuery, body: LinesUpload) -> ProvisionReport:
    """200 says that what was asked for was done: all of it, with ``skip_bad`` what is good of it, or the dry run."""
    deps, actor = call.deps, call.actor
    for permission in ALSO_NEEDED:  # what is made here is made where all of them hold
        narrowed = actor.also(permission)
        if narrowed is None:
            await audit.refused(deps.database, call.actor, action="import.store", object_type="route", object_id=f"POST {call.request.path}")
            raise refusal(call.actor, permission)
        actor = narrowed
    async with deps.imports:
        report = await provision.bring_in(
            deps.database, actor, deps.keyring, deps.rules, deps.vendors, body.chunks(), dry_run=query.dry_run, skip_bad=query.skip_bad
        )
    if not query.dry_run and not report.stored:
        faults = [Fault(f"line {error.line}" + error.pointer, error.detail) for error in report.errors[:TOLD_FAULTS]]
        raise Problem(INVALID, f"{report.error_count} faults in {report.lines} lines; nothing was stored", faults=faults, provision_report=report)
    return report


ROUTES = (everything_import,)
