"""``netd import`` and ``netd export``: tables as files"""

import argparse
import sys
from pathlib import Path
from typing import IO, Any, NamedTuple

from netd.cli import client, files, freeradius, output
from netd.cli.arguments import Commands, command, group

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
    "credentials": Table("/credentials", "credentials", "name,type,username,password"),
    "device-groups": Table("/device-groups", "groups of devices", "name,selector,note"),
    "thresholds": Table("/thresholds", "thresholds", "name,metric,raise_level,selector"),
    "schedules": Table("/schedules", "schedules", "name,kind,args,cron"),
}


def register(commands: Commands) -> None:
    """Add the commands."""
    imports = group(commands, "import", "bring in many at once")
    freeradius.register(imports)
    exports = group(commands, "export", "write a table to a file that can be imported")
    for name, table in TABLES.items():
        _register_import(imports, name, table)
        _register_export(exports, name, table)


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
    files.argument(parser, ".csv or .xlsx")
    parser.add_argument("--filter", action="append", default=[], metavar="NAME=VALUE", help="only these, as the API's list filters: state=active; repeatable")
    parser.add_argument("--sort", metavar="NAMES", help="names separated by commas, with - before one for descending")
    if name in ("subscribers", "nas", "credentials"):
        parser.add_argument("--secrets", action="store_true", help="with passwords and shared secrets, for who may see them; it is recorded")


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
    return files.download(arguments.file, f"{TABLES[arguments.table].path}/export", query, ("csv", "xlsx"))
