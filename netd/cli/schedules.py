"""``netd schedule``: jobs that are made by themselves."""

import argparse
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from netd.cli import client, output
from netd.cli.arguments import Commands, body, changes, command, group, nullable, option, paging
from netd.cli.jobs import arguments_of, job_arguments
from netd.cli.lists import show_list
from netd.cli.values import moment, span

TIMES = ("cron", "interval_seconds", "time_zone", "jitter_seconds", "missed", "priority", "note")


def register(commands: Commands) -> None:
    """Add the command."""
    schedule = group(commands, "schedule", "jobs that are made by themselves")
    add = _named(schedule, "add", "make a schedule", _add)
    add.add_argument("kind", metavar="KIND", help="see `netd job kinds`")
    arguments_of(add)
    _times(add)
    option(add, "--begins-at", "begins_at", "not before this, as 2026-01-02T03:04Z or with +01:00; intervals are counted from here", moment, metavar="TIME")
    paging(command(schedule, "list", "list schedules with their next run", _list))
    _named(schedule, "show", "show a schedule, its next run and what was missed", _show)
    update = _named(schedule, "update", "change a schedule", _update)
    option(update, "--name", "name", "a new name", metavar="NAME")
    arguments_of(update)
    _times(update)
    for name, help_text in (("enable", "let it make jobs again"), ("disable", "let it make no jobs for now"), ("remove", "remove a schedule; its jobs stay")):
        _named(schedule, name, help_text, _remove if name == "remove" else _switch)


def _named(commands: Commands, name: str, help_text: str, run: Any) -> argparse.ArgumentParser:
    parser = command(commands, name, help_text, run)
    parser.add_argument("schedule", metavar="NAME")
    return parser


def _times(parser: argparse.ArgumentParser) -> None:
    option(parser, "--cron", "cron", "when, as '30 2 * * *' or @daily; none for an interval", nullable(), metavar="CRON")
    option(parser, "--every", "interval_seconds", "from one run to the next: 90m, 2h, 7d, or seconds; none for cron", nullable(span), metavar="TIME")
    option(parser, "--time-zone", "time_zone", "of the cron expression, such as Europe/Berlin (UTC)", metavar="ZONE")
    option(parser, "--jitter", "jitter_seconds", "begin up to so much later, each time another: 10m, or seconds", span, metavar="TIME")
    option(parser, "--missed", "missed", "of runs that were missed make none (skip, default) or the last one (run_once)", choices=("skip", "run_once"))
    option(parser, "--priority", "priority", "of its jobs, from -100 to 100", int, metavar="N")
    option(parser, "--note", "note", "free text", nullable(), metavar="TEXT")


def _path(api: client.Client, name: str) -> str:
    return f"/schedules/{api.one('/schedules', 'schedule', name=name)['id']}"


def _add(arguments: argparse.Namespace) -> int:
    wanted = {"name": arguments.schedule, "kind": arguments.kind, "args": job_arguments(arguments), **body(arguments, (*TIMES, "begins_at"))}
    reply = client.find().post("/schedules", wanted)
    return output.done(reply, arguments.json, f"schedule {arguments.schedule} {_next(reply.value)}")


def _next(schedule: dict[str, Any]) -> str:
    """When it runs next, also as clocks in its time zone show it."""
    at, zone = datetime.fromisoformat(schedule["fires_at"]), schedule["time_zone"]
    try:
        there = "" if zone == "UTC" or not schedule["cron"] else f" ({at.astimezone(ZoneInfo(zone)):%H:%M:%S} in {zone})"
    except (ZoneInfoNotFoundError, ValueError):  # this machine does not know it, the daemon's does
        there = ""
    return f"runs next at {output.moment(schedule['fires_at'])}{there}"


def _list(arguments: argparse.Namespace) -> int:
    def row(each: dict[str, Any]) -> tuple[object, ...]:
        when = each["cron"] or f"every {output.span(each['interval_seconds'])}"
        runs = output.moment(each["fires_at"]) if each["enabled"] else "disabled"
        return each["id"], each["name"], each["kind"], when, each["time_zone"], runs, output.moment(each["last_due_at"]), each["missed_count"]

    header = ("ID", "NAME", "KIND", "WHEN", "ZONE", "NEXT (UTC)", "LAST (UTC)", "MISSED")
    return show_list(client.find(), "/schedules", arguments, header, row, "no schedules yet: netd schedule add NAME KIND --cron CRON")


def _show(arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.get(_path(api, arguments.schedule)), arguments.json)
    return 0


def _update(arguments: argparse.Namespace) -> int:
    given = job_arguments(arguments)
    wanted = {**body(arguments, ("name", *TIMES)), "args": given} if given else changes(arguments, ("name", *TIMES))
    api = client.find()
    output.show(api.patch(_path(api, arguments.schedule), wanted), arguments.json)
    return 0


def _switch(arguments: argparse.Namespace) -> int:
    api = client.find()
    on = arguments.action == "enable"
    reply = api.patch(_path(api, arguments.schedule), {"enabled": on})
    said = _next(reply.value) if on else "is disabled"
    return output.done(reply, arguments.json, f"schedule {arguments.schedule} {said}")


def _remove(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_path(api, arguments.schedule)), arguments.json, f"schedule {arguments.schedule} is removed")
