"""``netd import freeradius`` and ``netd shadow``: the move from another RADIUS server, and the proof that nothing changes by it."""

import argparse
import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from netd.cli import client, output
from netd.cli.arguments import Commands, command

if TYPE_CHECKING:
    from netd.extensions import Extensions
    from netd.freeradius.rows import Source
    from netd.freeradius.translate import Line, Translation

PASSWORD_VARIABLE = "NETD_IMPORT_PASSWORD"
LINES = "application/x-ndjson"
BATCH_OCTETS = 48 << 20
"""Of lines in one request: the API takes 64 MiB."""


def register(commands: Commands) -> None:
    """Add ``import freeradius`` to the import commands."""
    parser = command(commands, "freeradius", "bring in users, groups and NAS from FreeRADIUS's SQL tables", _import)
    source_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done, and what cannot be carried over")
    parser.add_argument("--skip-bad", action="store_true", help="bring in all that can be, even if something cannot")
    parser.add_argument("--default-plan", default="freeradius", metavar="NAME", help="plan of users without a group (freeradius)")
    parser.add_argument("--raw-plans", action="store_true", help="make every group a raw plan: just its attributes, no rates to be managed")


def source_options(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """DSN and what belongs to it."""
    text = f"postgresql://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE; its password from {PASSWORD_VARIABLE} or --password-file"
    if optional:
        parser.add_argument("--from", dest="dsn", metavar="DSN", help=f"log in whom FreeRADIUS's tables have a password of: {text}")
    else:
        parser.add_argument("dsn", metavar="DSN", help=text)
    parser.add_argument("--password-file", metavar="FILE", help="file with the password of the source database; - for standard input")
    parser.add_argument(
        "--vendor-map", default=[], type=_vendor_map, metavar="TYPE=VENDOR,…", help="vendor by nas.type, e.g. other=mikrotik; *=VENDOR for all others"
    )
    parser.add_argument("--ignore", action="append", default=[], metavar="ATTRIBUTE", help="leave rows of this attribute out knowingly; may be repeated")
    parser.add_argument("--time-zone", metavar="ZONE", help="time zone of the FreeRADIUS server, for Expiration and Login-Time (default: this machine's)")


def _vendor_map(text: str) -> list[tuple[str, str]]:
    pairs = [item.partition("=") for item in text.split(",") if item.strip()]
    if any(not kind.strip() or not vendor.strip() for kind, _, vendor in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form TYPE=VENDOR,TYPE=VENDOR")
    return [(kind.strip().lower(), vendor.strip()) for kind, _, vendor in pairs]


def extensions() -> "Extensions":
    """Vendors and dictionaries as the daemon of this configuration has them."""
    from netd.config import load
    from netd.extensions import Extensions

    config = load(None, client.environment(None))
    return Extensions.discover([Path(folder) for folder in config.extensions.folders], disabled=config.extensions.disabled)


def open_source(arguments: argparse.Namespace) -> "Source":
    """The source database, with its password from where the operator put it."""
    from netd.freeradius.source import connect

    password = os.environ.get(PASSWORD_VARIABLE)
    if arguments.password_file == "-":
        password = sys.stdin.readline().rstrip("\r\n")
    elif arguments.password_file is not None:
        password = secret_of(arguments.password_file)
    return connect(arguments.dsn, password)


def secret_of(path: str) -> str:
    """The first line of a file."""
    try:
        text = Path(path).read_text().split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise client.CliError(f"{path}: {getattr(error, 'strerror', None) or 'is not text'}", client.USAGE) from None
    if not text:
        raise client.CliError(f"{path}: is empty", client.USAGE)
    return text


def translation(arguments: argparse.Namespace, source: "Source", known: "Extensions") -> "Translation":
    """The reading of a source as the options want it."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from netd.freeradius.translate import Options, Translation

    try:
        zone = ZoneInfo(arguments.time_zone) if arguments.time_zone else None
    except (ZoneInfoNotFoundError, ValueError):
        raise client.CliError(f"{arguments.time_zone} is no time zone (Europe/Berlin, UTC)", client.USAGE) from None
    options = Options(
        vendor_map=dict(arguments.vendor_map), ignored=frozenset(arguments.ignore), default_plan=getattr(arguments, "default_plan", "freeradius"),
        zone=zone, raw_plans=getattr(arguments, "raw_plans", False), resolve=_resolve,
    )  # fmt: skip
    return Translation(source, known, options)


def _resolve(name: str) -> str | None:
    try:
        return str(socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)[0][4][0])
    except OSError:
        return None


class _Origin(NamedTuple):
    """Where a line came from, for faults that the daemon finds."""

    text: str
    rows: dict[str, tuple[str, ...]]  # by member: table and id of each


class _Batches:
    """Lines in temporary files small enough to be sent. Plans and NAS stand in each of them: they are few, and the same twice changes nothing."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._heads: list[tuple[bytes, _Origin]] = []
        self.files: list[IO[bytes]] = []
        self.origins: list[list[_Origin]] = []
        self._size = BATCH_OCTETS

    def add(self, line: "Line") -> None:
        """Write one line."""
        text = json.dumps({line.kind: line.members}, separators=(",", ":")).encode() + b"\n"
        origin = _Origin(line.origin, {member: tuple(f"{row.table} {row.id}: " if row else "" for row in rows) for member, rows in line.rows.items() if rows})
        if self._size + len(text) > BATCH_OCTETS:
            self.files.append(self._stack.enter_context(tempfile.TemporaryFile(prefix="netd-import-")))  # noqa: SIM115
            self.origins.append([])
            self._size = 0
            for head, whence in self._heads:
                self._write(head, whence)
        self._write(text, origin)
        if line.kind != "subscriber":
            self._heads.append((text, origin))

    def _write(self, text: bytes, origin: _Origin) -> None:
        self.files[-1].write(text)
        self.origins[-1].append(origin)
        self._size += len(text)


def _import(arguments: argparse.Namespace) -> int:
    api = client.find()
    source = open_source(arguments)
    with ExitStack() as stack:
        stack.callback(source.close)
        found = translation(arguments, source, extensions())
        batches = _Batches(stack)
        for line in found.lines():
            batches.add(line)
        return _bring_in(arguments, api, found, batches)


def _bring_in(arguments: argparse.Namespace, api: client.Client, found: "Translation", batches: _Batches) -> int:
    kept_out = any(issue.severity == "error" for issue in found.issues)
    dry_run = arguments.dry_run or (kept_out and not arguments.skip_bad)
    reports: list[dict[str, Any]] = []
    passes = [True, False] if len(batches.files) > 1 and not dry_run and not arguments.skip_bad else [dry_run]
    for dry in passes:
        reports = [_send(api, file, dry_run=dry, skip_bad=arguments.skip_bad) for file in batches.files]
        if any(report["error_count"] for report in reports):
            break
    told = list(_faults(reports, batches))
    faults = sum(report["error_count"] for report in reports)
    stored = bool(reports) and all(report["stored"] for report in reports)
    totals = _totals(reports)
    if arguments.json:
        issues = [{**issue._asdict(), "row": issue.row and {"table": issue.row.table, "id": issue.row.id}, "text": issue.text} for issue in found.issues]
        answer = {"source": found.counts, "issues": issues, "faults": told, "fault_count": faults, "done": totals, "stored": stored}
        output.print_json(json.dumps(answer).encode())
    else:
        _print(found, told, faults, totals, stored, dry_run=arguments.dry_run)
    good = stored or (arguments.dry_run and (arguments.skip_bad or not (kept_out or faults))) or not batches.files
    return 0 if good else client.USAGE


def _send(api: client.Client, file: IO[bytes], *, dry_run: bool, skip_bad: bool) -> dict[str, Any]:
    """The report. That bad lines kept all out is an answer with a report, too."""
    file.seek(0)
    try:
        report: dict[str, Any] = api.call("POST", "/import", query={"dry_run": dry_run, "skip_bad": skip_bad}, upload=(LINES, file)).value
    except client.ApiError as error:
        if "provision_report" not in error.problem:
            raise
        report = error.problem["provision_report"]
    return report


def _faults(reports: list[dict[str, Any]], batches: _Batches) -> Iterator[str]:
    """What the daemon found wrong, with the row that it stands for."""
    for report, origins in zip(reports, batches.origins, strict=True):
        for error in report["errors"]:
            origin = origins[error["line"] - 1]
            member, _, place = error["pointer"].removeprefix("/").partition("/")[2].partition("/")
            rows = origin.rows.get(member, ())
            where = rows[int(place)] if place.isdigit() and len(rows) > int(place) else ""
            yield f"{where}{origin.text}: {member or 'line'}: {error['detail']}"


def _totals(reports: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Of all batches: plans and NAS stand in each and count once, subscribers add up."""
    if not reports:
        return {}
    last = reports[-1]
    added = {name: sum(report["subscribers"][name] for report in reports) for name in ("created", "updated", "unchanged")}
    return {"plans": last["plans"] if len(reports) == 1 else reports[0]["plans"], "nas": reports[0]["nas"], "subscribers": added}


def _print(found: "Translation", told: list[str], faults: int, totals: dict[str, dict[str, int]], stored: bool, *, dry_run: bool) -> None:
    for issue in found.issues:
        print(output.printable(f"{issue.severity}: {issue.text}"), file=sys.stderr)
    for text in told:
        print(output.printable(f"error: {text}"), file=sys.stderr)
    if faults > len(told):
        print(f"netd: {faults - len(told)} more faults are not shown", file=sys.stderr)
    counts = found.counts
    print(
        f"{counts['users']} users: {counts['brought']} carried over, {counts['kept_out']} kept out by errors, "
        f"{counts['left_out']} left out because FreeRADIUS rejects them"
    )
    for kind, tally in totals.items():
        print(f"{kind}: " + ", ".join(f"{count} {name}" for name, count in tally.items()) + ("" if stored else " (not stored)"))
    if dry_run:
        print("nothing was stored (dry run)")
    elif not stored:
        print("nothing was stored; --skip-bad brings in what can be, --ignore ATTRIBUTE leaves rows out knowingly")
