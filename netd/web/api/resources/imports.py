"""/subscribers/import"""

import msgspec

from netd.domain import imports
from netd.domain.imports import ImportReport
from netd.errors import Fault
from netd.web.api.problem import INVALID, Problem
from netd.web.api.route import Call, Upload, route

TOLD_FAULTS = 20


class ImportQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``dry_run``: find the same faults, store nothing. ``skip_bad``: one bad row does not keep the good ones out. ``allow_no_password``: an
    empty password is meant."""

    dry_run: bool = False
    skip_bad: bool = False
    allow_no_password: bool = False


@route(
    "POST", "/subscribers/import", permission="subscribers:write", action="subscriber.import",
    summary="Add subscribers from a CSV file; 422 with a report if a bad row kept all out",
)  # fmt: skip
async def subscriber_import(call: Call, query: ImportQuery, body: Upload) -> ImportReport:
    """200 says that what was asked for was done: the import, with ``skip_bad`` that of the good rows, or the dry run."""
    deps = call.deps
    report = await imports.import_subscribers(
        deps.database, call.actor, deps.keyring, body.chunks(),
        dry_run=query.dry_run, skip_bad=query.skip_bad, allow_no_password=query.allow_no_password,
    )  # fmt: skip
    if not query.dry_run and report.error_count and not report.imported:
        faults = [Fault(f"line {error.line}" + (f", column {error.column}" if error.column else ""), error.detail) for error in report.errors[:TOLD_FAULTS]]
        raise Problem(INVALID, f"{report.error_count} faults in {report.rows} rows; nothing was imported", faults=faults, report=report)
    return report


ROUTES = (subscriber_import,)
