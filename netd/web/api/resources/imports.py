"""Every table's ``/export`` and ``/import``."""

from netd.domain import exports, imports, lists
from netd.domain.imports import ImportReport
from netd.domain.lists import ExportQuery
from netd.domain.table import Means, Order, Table
from netd.domain.tables import TABLES
from netd.errors import Fault
from netd.sheets.converter import XLSX
from netd.web.api.problem import INVALID, Problem
from netd.web.api.route import CSV, Call, Download, Route, Upload, route
from netd.web.deps import WebDeps

TOLD_FAULTS = 20
MEDIA_TYPES = {"csv": CSV, "xlsx": XLSX}


def _means(deps: WebDeps) -> Means:
    return Means(
        keyring=deps.keyring, rules=deps.rules, vendors=deps.vendors, converter=deps.converter, catalogue=deps.catalogue, kinds=deps.kinds, now=deps.now
    )  # fmt: skip


def _exporting(table: Table) -> Route:
    async def handler(call: Call, query: ExportQuery) -> Download:
        deps = call.deps
        names, rows = await exports.rows(deps.database, call.actor, _means(deps), table, query)
        if query.format == "csv":
            chunks = exports.as_csv(names, rows)
        else:
            chunks = await exports.as_file(deps.converter, query.format, names, rows, title=table.name, made_at=deps.now())
        return Download(f"{table.name}.{query.format}", MEDIA_TYPES[query.format], chunks)

    handler.__name__ = f"{table.action}_export"
    return route(
        "GET", f"{table.path}/export", permission=table.reads, query=lists.query_type(table.listing, ExportQuery), media_types=tuple(MEDIA_TYPES.values()),
        summary=f"All {table.name} that the filters of their list leave, as a file that can be imported; secrets need secrets:reveal, and are on record",
    )(handler)  # fmt: skip


def _importing(table: Table) -> Route:
    async def handler(call: Call, query: Order, body: Upload) -> ImportReport:
        deps = call.deps
        spreadsheet = body.request.content_type == XLSX
        async with deps.imports:
            report = await imports.bring_in(deps.database, call.actor, _means(deps), table, body.chunks(), query, spreadsheet=spreadsheet)
        if not query.dry_run and report.error_count and not (query.skip_bad and report.good):
            faults = [
                Fault(f"line {error.line}" + (f", column {error.column}" if error.column else ""), error.detail) for error in report.errors[:TOLD_FAULTS]
            ]  # fmt: skip
            raise Problem(INVALID, f"{report.error_count} faults in {report.rows} rows; nothing was imported", faults=faults, report=report)
        return report

    handler.__name__ = f"{table.action}_import"
    return route(
        "POST", f"{table.path}/import", permission=table.writes, action=f"{table.action}.import",
        summary=f"Make or change {table.name} from a CSV or XLSX file; 422 with a report if a bad row kept all out",
    )(handler)  # fmt: skip


ROUTES = tuple(make(table) for table in TABLES.values() for make in (_exporting, _importing))
