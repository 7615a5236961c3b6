"""``netd import``, ``netd export`` and ``netd report``: tables as files"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import IO, Any, NamedTuple

from netd.cli import client, freeradius, output
from netd.cli.arguments import Commands, command, group
from netd.cli.values import day

MEDIA_TYPES = {".csv": "text/csv", ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}


class Table(NamedTuple):
    """A table: where it is in the API, what many of its rows are called, and the first columns of its files."""

    path: str
    rows: str
    header: str


TABLES = {
    "subscribers": Table("/subscribers", "subscribers", "username,password,plan,ipv4"),
    "plans": Table("/plans", "plans", "name,down_bps,up_bps"),
    "nas": Table("/radius/nas", "NASes", "name,address,secret,vendor"),
    "pools": Table("/pools", "pools", "name,kind,ranges,rules"),
    "devices": Table("/devices", "devices", "hostname,mgmt_address,vendor,site"),
}
REPORTS = {"subscribers-by-plan": "subscribers by state and plan", "usage-by-plan": "usage by plan and day"}


def register(commands: Commands) -> None:
    """Add the commands."""
    imports = group(commands, "import", "bring in many at once")
    freeradius.register(imports)
    exports = group(commands, "export", "write a table to a file that can be imported")
    for name, table in TABLES.items():
        _register_import(imports, name, table)
        _register_export(exports, name, table)
    reports = group(commands, "report", "write a report to a file")
    for name, text in REPORTS.items():
        parser = command(reports, name, text, _report)
        parser.set_defaults(report=name)
        _file(parser, ".csv, .xlsx or .pdf")
        if name.startswith("usage"):
            parser.add_argument("--first", type=day, metavar="DAY", help="from this day on (UTC; default: 31 days)")
            parser.add_argument("--last", type=day, metavar="DAY", help="up to this day (default: today)")


def _register_import(imports: Commands, name: str, table: Table) -> None:
    parser = command(
        imports, name, f"make or change {table.rows} from a CSV or XLSX file (header {table.header} …, as `netd export {name}` writes it)", _import
    )
    parser.set_defaults(table=name)
    parser.add_argument("file", metavar="FILE", help="the file; - for standard input")
    parser.add_argument("--mode", choices=("create", "update", "upsert"), default="create", help="only new ones (default), only those that exist, or both")
    parser.add_argument("--dry-run", action="store_true", help="only say what is wrong with the file: every bad row, by line and column")
    parser.add_argument("--skip-bad", action="store_true", help="bring in the good rows even if there are bad ones")
    if name == "subscribers":
        parser.add_argument("--allow-no-password", action="store_true", help="an empty password is meant: nobody can log in with it")


def _register_export(exports: Commands, name: str, table: Table) -> None:
    parser = command(exports, name, f"write {table.rows} to a CSV or XLSX file", _export)
    parser.set_defaults(table=name)
    _file(parser, ".csv or .xlsx")
    parser.add_argument("--filter", action="append", default=[], metavar="NAME=VALUE", help="only these, as the API's list filters: state=active; repeatable")
    parser.add_argument("--sort", metavar="NAMES", help="names separated by commas, with - before one for descending")
    if name in ("subscribers", "nas"):
        parser.add_argument("--secrets", action="store_true", help="with passwords and shared secrets, for who may see them; it is recorded")


def _file(parser: argparse.ArgumentParser, endings: str) -> None:
    parser.add_argument("file", metavar="FILE", help=f"the file, whose name says of what kind it is ({endings}); - for CSV on standard output")


def _import(arguments: argparse.Namespace) -> int:
    query = {"mode": arguments.mode, "dry_run": arguments.dry_run, "skip_bad": arguments.skip_bad}
    if getattr(arguments, "allow_no_password", False):
        query["allow_no_password"] = True
    table = TABLES[arguments.table]
    try:
        if arguments.file == "-":
            raw, report = _send(table, sys.stdin.buffer, MEDIA_TYPES[".csv"], query)
        else:
            with Path(arguments.file).open("rb") as file:
                raw, report = _send(table, file, MEDIA_TYPES.get(Path(arguments.file).suffix.lower(), MEDIA_TYPES[".csv"]), query)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise client.CliError(f"{arguments.file}: {error.strerror}", client.USAGE) from None
    if arguments.json:
        output.print_json(raw)
    else:
        _print_report(arguments.file, table, report)
    return client.USAGE if report["error_count"] and not (arguments.skip_bad and report["good"]) else 0


def _send(table: Table, file: IO[bytes], media_type: str, query: dict[str, object]) -> tuple[bytes, dict[str, Any]]:
    """What the API said, and its report. That bad rows kept all out is an answer with a report, too."""
    try:
        reply = client.find().call("POST", f"{table.path}/import", query=query, upload=(media_type, file))
    except client.ApiError as error:
        if "report" not in error.problem:
            raise
        return error.raw, error.problem["report"]
    return reply.raw, reply.value


def _print_report(file: str, table: Table, report: dict[str, Any]) -> None:
    name = "standard input" if file == "-" else file
    for error in report["errors"]:
        column = f"{error['column']}: " if error["column"] else ""
        print(output.printable(f"{name}:{error['line']}: {column}{error['detail']}"), file=sys.stderr)
    if report["error_count"] > len(report["errors"]):
        print(f"netd: {report['error_count'] - len(report['errors'])} more faults are not shown", file=sys.stderr)
    if report["dry_run"]:
        print(f"{report['good']} of {report['rows']} rows are good; nothing was stored (dry run)")
    elif report["error_count"] and not report["rows"]:
        print("nothing was imported")
    elif report["error_count"] and not report["imported"] and not report["unchanged"]:
        print(f"{report['rows'] - report['good']} of {report['rows']} rows are bad; nothing was imported")
    else:
        changed = f" ({report['created']} made, {report['updated']} changed)" if report["updated"] else ""
        counts = [f"{report['imported']} {table.rows} imported{changed}"]
        counts += [f"{report[count]} {text}" for count, text in (("unchanged", "unchanged"), ("skipped", "rows skipped")) if report[count]]
        print(", ".join(counts))


def _export(arguments: argparse.Namespace) -> int:
    query: dict[str, object] = {"sort": arguments.sort}
    for text in arguments.filter:
        name, equals, value = text.partition("=")
        if not equals:
            raise client.CliError(f"{text} is not of the form NAME=VALUE", client.USAGE)
        query[name] = value
    if getattr(arguments, "secrets", False):
        query["secrets"] = True
    return _download(arguments, f"{TABLES[arguments.table].path}/export", query, ("csv", "xlsx"))


def _report(arguments: argparse.Namespace) -> int:
    query = {name: getattr(arguments, name, None) for name in ("first", "last")}
    return _download(arguments, f"/reports/{arguments.report}", query, ("csv", "xlsx", "pdf"))


def _download(arguments: argparse.Namespace, path: str, query: dict[str, object], forms: tuple[str, ...]) -> int:
    """Write the file: all of it, or none. Only its owner may read it, for customers stand in it."""
    if arguments.file == "-":
        client.find().download(path, {**query, "format": "csv"}, sys.stdout.buffer)
        return 0
    target = Path(arguments.file)
    form = target.suffix.lower().lstrip(".")
    if form not in forms:
        raise client.CliError(f"{target}: its name must end in {' or '.join('.' + each for each in forms)}", client.USAGE)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            client.find().download(path, {**query, "format": form}, file)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink()
        raise
    return 0
