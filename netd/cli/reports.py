"""``netd report``: reports as files."""

import argparse
from typing import NamedTuple

from netd.cli import files
from netd.cli.arguments import Commands, command, group
from netd.cli.values import day

FORMS = ("csv", "xlsx", "pdf")
DAYS = ("first", "last", "period")
DEVICES = ("site", "organization", "group", "tag", "vendor", "platform", "model", "kind", "role", "state")
PERIODS = ("yesterday", "last_7_days", "last_30_days", "previous_week", "previous_month", "this_month")
_HELP = {
    "organization": "only at sites of this organization, and of those below it", "group": "only what this group selects", "tag": "only with this tag",
}  # fmt: skip


class Report(NamedTuple):
    """What a report is about, and what it may be asked for."""

    title: str
    options: tuple[str, ...] = ()


REPORTS = {
    "subscribers-by-plan": Report("subscribers by state and plan"),
    "usage-by-plan": Report("usage by plan and day", DAYS),
    "uptime": Report("since when devices run, and how often they began anew", (*DEVICES, *DAYS)),
    "availability": Report("how much of the time devices were there, and outages", (*DEVICES, *DAYS)),
    "drift": Report("which devices' configurations differ from what was approved, saved or intended, and when they were read", (*DEVICES, "problems")),
    "software-versions": Report("which software devices run and should run, and why", DEVICES),
    "interface-utilisation": Report("how much of interfaces was used, the busiest first", (*DEVICES, *DAYS, "top")),
    "inventory": Report("devices with what they are, where, and when they were last there", DEVICES),
}


def register(commands: Commands) -> None:
    """Add the command."""
    reports = group(commands, "report", "write a report to a file")
    for name, report in REPORTS.items():
        parser = command(reports, name, report.title, _report)
        parser.set_defaults(report=name, wanted=report.options)
        files.argument(parser, ".csv, .xlsx or .pdf")
        for each in report.options:
            _option(parser, each)


def _option(parser: argparse.ArgumentParser, name: str) -> None:
    match name:
        case "first":
            parser.add_argument("--first", type=day, metavar="DAY", help="from this day on (UTC; default: 31 days)")
        case "last":
            parser.add_argument("--last", type=day, metavar="DAY", help="up to this day (default: today)")
        case "period":
            parser.add_argument("--period", choices=PERIODS, metavar="P", help=f"days before today: {', '.join(PERIODS)}")
        case "top":
            parser.add_argument("--top", type=int, metavar="N", help="only the N that are used most")
        case "problems":
            parser.add_argument("--problems", action="store_true", help="only what differs, was never read, or could not be read the last time")
        case _:
            parser.add_argument(f"--{name}", metavar="X", help=_HELP.get(name, f"only devices of this {name}"))


def _report(arguments: argparse.Namespace) -> int:
    query: dict[str, object] = {name: getattr(arguments, name) for name in arguments.wanted}
    if query.get("problems") is False:
        del query["problems"]
    return files.download(arguments.file, f"/reports/{arguments.report}", query, FORMS)
