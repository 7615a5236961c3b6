"""/reports"""

from typing import Any

from netd.domain import exports, reports
from netd.domain.reports import Report, ReportList
from netd.sheets.converter import PDF
from netd.web.api.resources.imports import MEDIA_TYPES
from netd.web.api.route import Call, Download, Route, route

REPORT_TYPES = {**MEDIA_TYPES, "pdf": PDF}


@route("GET", "/reports", permission="reports:read", summary="Which reports are there?")
async def report_list(call: Call) -> ReportList:
    return reports.listed()


def _reporting(report: Report) -> Route:
    async def handler(call: Call, query: Any) -> Download:
        deps = call.deps
        made = await reports.make(deps.database, call.actor, report, query, deps.now())
        if query.format == "csv":
            chunks = exports.as_csv(report.columns, made.rows)
        else:
            chunks = await exports.as_file(deps.converter, query.format, report.columns, made.rows, title=report.title, subtitle=made.about, made_at=deps.now())
        return Download(f"{report.name}.{query.format}", REPORT_TYPES[query.format], chunks)

    handler.__name__ = f"report_{report.name.replace('-', '_')}"
    handler.__annotations__["query"] = report.query
    return route("GET", f"/reports/{report.name}", permission="reports:read", summary=report.title, media_types=tuple(REPORT_TYPES.values()))(handler)


ROUTES = (report_list, *map(_reporting, reports.REPORTS))
