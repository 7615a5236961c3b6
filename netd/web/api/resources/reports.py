"""/reports"""

from dataclasses import replace
from typing import Any

from netd.domain import reports
from netd.domain.report_queries import Measured
from netd.domain.reports import MEDIA_TYPES, Report, ReportList
from netd.web.api.route import Call, Download, Route, route


@route("GET", "/reports", permission=None, summary="Which reports are there, and what does each need?")
async def report_list(call: Call) -> ReportList:
    return reports.listed(call.actor)


def _reporting(report: Report) -> Route:
    async def handler(call: Call, query: Any) -> Download:
        deps = call.deps
        measured = Measured(deps.polling.kept_days(), deps.polling.reach_seconds())
        made = await reports.make(deps.database, call.actor, report, query, deps.now(), measured)
        made = replace(made, rows=deps.reports.of(made.rows))
        return Download(f"{report.name}.{query.format}", MEDIA_TYPES[query.format], await made.file(deps.converter, deps.now()))

    handler.__name__ = f"report_{report.name.replace('-', '_')}"
    handler.__annotations__["query"] = report.query
    return route("GET", f"/reports/{report.name}", permission=report.permission, summary=report.title, media_types=tuple(MEDIA_TYPES.values()))(handler)


ROUTES = (report_list, *map(_reporting, reports.REPORTS))
