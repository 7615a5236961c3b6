"""``netd job``: work that takes longer than a request."""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from netd.cli import client, files, output
from netd.cli.arguments import Commands, body, command, group, nullable, option, paging
from netd.cli.client import USAGE, Client, CliError, Reply
from netd.cli.lists import show_list
from netd.cli.values import moment


def register(commands: Commands) -> None:
    """Add the command."""
    job = group(commands, "job", "work that takes longer than a request, and what became of it")
    start = command(job, "start", "let a job be done; exit code 1 if with --follow it does not succeed", _start)
    start.add_argument("kind", metavar="KIND", help="see `netd job kinds`")
    arguments_of(start)
    option(start, "--priority", "priority", "from -100 to 100, higher ones are begun first", int, metavar="N")
    option(start, "--at", "run_at", "when to begin it, as 2026-01-02T03:04Z or with +01:00; without an offset it is UTC", moment, metavar="TIME")
    option(start, "--unique", "unique_key", "do nothing while another one with this key is not ended", metavar="KEY")
    start.add_argument("--follow", "-f", action="store_true", help="show its log until it has ended")
    listing = command(job, "list", "list jobs, newest first", _list)
    listing.add_argument("--state", metavar="STATE", help="awaiting_approval, queued, running, succeeded, failed, cancelled or timed_out; several with commas")
    listing.add_argument("--kind", metavar="KIND", help="only of this kind")
    about = listing.add_mutually_exclusive_group()
    about.add_argument("--device", metavar="NAME", help="only about this device")
    about.add_argument("--target", metavar="KEY", help="only about this, as device:17 or another of a job's targets")
    paging(listing)
    _of_one(job, "show", "show a job", _show)
    kept = _of_one(job, "file", "write the file that a job made", _file)
    kept.add_argument("file", metavar="FILE", help="where to; - for standard output")
    targets = _of_one(job, "targets", "what a job did to each of its targets", _targets)
    targets.add_argument("--failed", action="store_true", help="only those that did not succeed")
    paging(targets)
    log = _of_one(job, "log", "show a job's log; with -f until the job has ended, exit code 1 if it did not succeed", _log)
    log.add_argument("--follow", "-f", action="store_true", help="go on until the job has ended")
    _of_one(job, "cancel", "let a job not be done, or stop", _cancel)
    _of_one(job, "retry", "do a job that did not succeed once more, as a new one", _retry)
    for name, help_text in (("approve", "agree that a job of somebody else be done"), ("decline", "say that a job shall not be done")):
        option(_of_one(job, name, help_text, _decide), "--note", "note", "why", nullable(), metavar="TEXT")
    kinds = command(job, "kinds", "list the kinds of jobs, or tell what one is given", _kinds)
    kinds.add_argument("kind", nargs="?", metavar="KIND", help="tell what this one is given")


def _of_one(commands: Commands, name: str, help_text: str, run: Any) -> argparse.ArgumentParser:
    parser = command(commands, name, help_text, run)
    parser.add_argument("job", type=int, metavar="ID")
    return parser


def arguments_of(parser: argparse.ArgumentParser) -> None:
    """What a job is given: ``--arg name=value`` and ``--args-file``."""
    parser.add_argument("--arg", dest="args", action="append", default=[], metavar="NAME=VALUE", help="an argument; a value that is JSON is taken as that")
    parser.add_argument("--args-file", metavar="FILE", help="arguments as a JSON object; - is standard input, for what is secret")


def job_arguments(given: argparse.Namespace) -> dict[str, Any]:
    """The same as the API takes them. Raises CliError."""
    found: dict[str, Any] = {}
    if given.args_file is not None:
        text = files.text(given.args_file)
        try:
            found = json.loads(text)
        except ValueError as error:
            raise CliError(f"{given.args_file} is not JSON: {error}", USAGE) from None
        if not isinstance(found, dict):
            raise CliError(f"{given.args_file} is not a JSON object", USAGE)
    for each in given.args:
        name, equals, text = each.partition("=")
        if not equals:
            raise CliError(f"--arg {each}: is not NAME=VALUE", USAGE)
        found[name] = text
        with contextlib.suppress(ValueError):
            found[name] = json.loads(text)
    return found


def _start(arguments: argparse.Namespace) -> int:
    wanted: dict[str, Any] = {"kind": arguments.kind, "args": job_arguments(arguments), **body(arguments, ("priority", "run_at", "unique_key"))}
    api = client.find()
    reply = api.post("/jobs", wanted)
    if arguments.follow:
        return follow(api, reply.value["id"], Log(api, reply.value["id"], as_json=arguments.json, stream=sys.stdout))
    if arguments.json:
        output.print_json(reply.raw)
    else:
        print(f"job {reply.value['id']} is {_state(reply.value)}")
    return 0


def _state(job: dict[str, Any]) -> str:
    return str(job["state"]).replace("_", " ")


def _list(arguments: argparse.Namespace) -> int:
    def row(job: dict[str, Any]) -> tuple[object, ...]:
        state = "running, to stop" if job["state"] == "running" and job["cancel_requested_at"] else _state(job)
        return (
            job["id"], job["kind"], state, _share(job), job["created_by"], output.moment(job["created_at"]), output.moment(job["finished_at"]),
            output.brief(job["error"] or job["progress_text"]),
        )  # fmt: skip

    header = ("ID", "KIND", "STATE", "DONE", "BY", "MADE", "ENDED", "SAID")
    api = client.find()
    target = arguments.target if arguments.device is None else f"device:{api.one('/devices', 'device', hostname=arguments.device)['id']}"
    query = {"state__in": arguments.state, "kind": arguments.kind, "target": target}
    return show_list(api, "/jobs", arguments, header, row, "no jobs yet", **query)


def _share(job: dict[str, Any]) -> str:
    return "-" if job["progress"] is None else f"{job['progress'] * 100:.0f} %"


def _show(arguments: argparse.Namespace) -> int:
    reply = client.find().get(f"/jobs/{arguments.job}")
    if arguments.json:
        output.print_json(reply.raw)
    else:
        job = {**reply.value, "progress": _share(reply.value)}
        for name in ("args", "targets", "result"):
            job[name] = json.dumps(job[name], ensure_ascii=False) if job[name] else None
        output.print_fields(job)
    return 0


def _file(arguments: argparse.Namespace) -> int:
    path = f"/jobs/{arguments.job}/file"
    if arguments.file == "-":
        client.find().download(path, {}, sys.stdout.buffer)
        return 0
    return files.save(Path(arguments.file), path, {})


def _targets(arguments: argparse.Namespace) -> int:
    def row(each: dict[str, Any]) -> tuple[object, ...]:
        return each["key"], each["name"], each["state"], each["outcome"], output.moment(each["finished_at"]), output.brief(each["said"])

    failed = "failed,unverified,cancelled,skipped" if arguments.failed else None
    header = ("TARGET", "NAME", "STATE", "OUTCOME", "ENDED", "SAID")
    return show_list(client.find(), f"/jobs/{arguments.job}/targets", arguments, header, row, state__in=failed)


def _log(arguments: argparse.Namespace) -> int:
    api = client.find()
    log = Log(api, arguments.job, as_json=arguments.json, stream=sys.stdout)
    if arguments.follow:
        return follow(api, arguments.job, log)
    for page in _pages(api, arguments.job):
        log.show(page)
        if not page.value["items"]:
            break
    return 0


def _pages(api: Client, job: int) -> Iterator[Reply]:
    """The log page by page, for ever: an empty one where there is nothing new."""
    after = 0
    while True:
        page = api.get(f"/jobs/{job}/log", after=after)
        yield page
        after = page.value["next"]


class Log:
    """A job's log on its way to the terminal: as text, with targets by their names, or a JSON object a line."""

    def __init__(self, api: Client, job: int, *, as_json: bool, stream: TextIO) -> None:
        self._api = api
        self._job = job
        self._json = as_json
        self._stream = stream
        self._names: dict[str, str] = {}

    def show(self, page: Reply) -> None:
        """Print the entries of a page."""
        for entry in page.value["items"]:
            if self._json:
                print(json.dumps(entry, ensure_ascii=False), file=self._stream)
                continue
            where = f"[{self._name(entry['target'])}] " if entry["target"] else ""
            mark = {"warning": "! ", "error": "!! "}.get(entry["level"], "") if entry["type"] == "line" else "== "
            for line in entry["text"].splitlines() or [""]:
                print(output.printable(f"{output.moment(entry['at'])}  {mark}{where}{line}"), file=self._stream)
        self._stream.flush()

    def _name(self, key: str) -> str:
        if key not in self._names:
            found = self._api.get(f"/jobs/{self._job}/targets", key=key, limit=1).value["items"]
            self._names[key] = found[0]["name"] if found else key
        return self._names[key]


def follow(api: Client, job: int, log: Log | None) -> int:
    """Show the log, if anywhere, until the job has ended; Ctrl-C leaves it to itself."""
    import time

    try:
        for page in _pages(api, job):
            if log is not None:
                log.show(page)
            if page.value["ended"]:
                break
            if not page.value["items"]:
                time.sleep(0.3)
    except KeyboardInterrupt:
        print(f"netd: job {job} goes on; `netd job cancel {job}` stops it", file=sys.stderr)
        raise
    state = api.get(f"/jobs/{job}").value["state"]
    return 0 if state == "succeeded" else client.REFUSED


def _cancel(arguments: argparse.Namespace) -> int:
    reply = client.find().post(f"/jobs/{arguments.job}/cancel")
    stopping = reply.value["state"] == "running"
    return output.done(reply, arguments.json, f"job {arguments.job} is told to stop" if stopping else f"job {arguments.job} is cancelled")


def _retry(arguments: argparse.Namespace) -> int:
    reply = client.find().post(f"/jobs/{arguments.job}/retry")
    return output.done(reply, arguments.json, f"job {reply.value['id']} does it once more: {_state(reply.value)}")


def _decide(arguments: argparse.Namespace) -> int:
    reply = client.find().post(f"/jobs/{arguments.job}/{arguments.action}", {"note": vars(arguments).get("note")})
    return output.done(reply, arguments.json, f"job {arguments.job} is {_state(reply.value)}")


def _kinds(arguments: argparse.Namespace) -> int:
    reply = client.find().get("/jobs/kinds")
    found = {kind["name"]: kind for kind in reply.value["items"]}
    if arguments.kind is not None and arguments.kind not in found:
        raise CliError(f"there is no kind {arguments.kind}; there are {', '.join(found)}", USAGE)
    if arguments.json:
        output.print_json(reply.raw if arguments.kind is None else json.dumps(found[arguments.kind]).encode())
    elif arguments.kind is None:
        rows = [(kind["name"], kind["title"], kind["permission"], kind["approval"], kind["allowed"]) for kind in found.values()]
        output.print_table(rows, ("KIND", "DOES", "PERMISSION", "APPROVAL", "YOURS"))
        print("netd: `netd job kinds KIND` tells what a kind is given", file=sys.stderr)
    else:
        output.table_or(_arguments(found[arguments.kind]["args"]), ("ARGUMENT", "TYPE", "DEFAULT", "MEANS"), "it is given nothing")
    return 0


def _arguments(schema: Any) -> list[tuple[object, ...]]:
    """The arguments of a kind, those that it needs first."""
    told = _resolved(schema, schema)
    needed = told.get("required", ())
    rows: list[tuple[object, ...]] = []
    for name, each in sorted(told.get("properties", {}).items(), key=lambda item: item[0] not in needed):
        default = "needed" if name in needed else json.dumps(each["default"]) if each.get("default") is not None else None
        rows.append((name, _type(schema, each), default, _resolved(schema, each).get("description")))
    return rows


def _resolved(schema: Any, part: Any) -> Any:
    while "$ref" in part:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]]
    return part


def _type(schema: Any, part: Any) -> str:
    """A type as an operator types it: list of string, one of csv, pdf …"""
    told = _resolved(schema, part)
    if "anyOf" in told:
        return " or ".join(dict.fromkeys(_type(schema, each) for each in told["anyOf"] if each.get("type") != "null"))
    if "enum" in told:
        return "one of " + ", ".join(str(each) for each in told["enum"] if each is not None)
    if told.get("type") == "array":
        return f"list of {_type(schema, told.get('items') or {})}"
    return str(told.get("type", "any"))
