"""``netd alarm`` and ``netd threshold``"""

import argparse
import json
from typing import Any

from netd.cli import client, output
from netd.cli.arguments import Commands, body, changes, command, group, listed, nullable, option, paging
from netd.cli.lists import show_list
from netd.cli.values import level, span, yes_no

ALARMS, THRESHOLDS = "/alarms", "/thresholds"
SEVERITIES = ("warning", "major", "critical")
METRICS = (
    "cpu_percent", "memory_percent", "temperature_celsius", "voltage_volts", "power_watts", "utilisation_percent", "in_bps", "out_bps", "errors", "discards",
    "oper_down", "rx_dbm", "tx_dbm", "olt_rx_dbm",
)  # fmt: skip
MEMBERS = ("metric", "raise_level", "clear_level", "above", "hold_seconds", "severity", "interfaces", "enabled", "note")
SELECTS = ("hostnames", "tags", "sites", "vendors", "platforms", "kinds", "roles", "models")


def register(commands: Commands) -> None:
    """Add the commands."""
    alarm = group(commands, "alarm", "what is wrong with devices, and was")
    listing = command(alarm, "list", "list alarms, newest first; those that are over with --state cleared or --every", _list)
    listing.add_argument("--state", choices=("raised", "acknowledged", "cleared"), help="only those (raised and acknowledged)")
    listing.add_argument("--severity", choices=SEVERITIES, help="only those")
    listing.add_argument("--device", metavar="NAME", help="only its")
    listing.add_argument("--every", action="store_true", help="also those that are over")
    paging(listing)
    for name, text, run in (("show", "show an alarm", _show), ("acknowledge", "say that somebody knows of it", _acknowledge)):
        parser = command(alarm, name, text, run)
        parser.add_argument("id", type=int, metavar="ID")
        if name == "acknowledge":
            parser.add_argument("--note", metavar="TEXT", help="what is to be said of it")
    threshold = group(commands, "threshold", "what raises alarms")
    _options(_named(threshold, "add", "let a metric raise alarms", _add), new=True)
    paging(command(threshold, "list", "list thresholds", _thresholds))
    _named(threshold, "show", "show a threshold", _threshold)
    _options(_named(threshold, "update", "change a threshold; conditions that are given replace all of before", _update), new=False)
    _named(threshold, "remove", "remove a threshold: its alarms end within seconds, and stay as history", _remove)


def _named(commands: Commands, name: str, help_text: str, run: Any) -> argparse.ArgumentParser:
    parser = command(commands, name, help_text, run)
    parser.add_argument("threshold", metavar="NAME")
    return parser


def _options(parser: argparse.ArgumentParser, *, new: bool) -> None:
    option(parser, "--metric", "metric", ", ".join(METRICS), required=new, choices=METRICS, metavar="M")
    option(parser, "--raise-level", "raise_level", "beyond this it is wrong; rates also as 800M", level, required=new, metavar="X")
    option(parser, "--clear-level", "clear_level", "back at this it is over (the same)", level, metavar="X")
    option(parser, "--above", "above", "whether it is wrong to be above; no: below (yes)", yes_no, metavar="yes|no")
    option(parser, "--hold", "hold_seconds", "for how long it must be wrong: 10m, or seconds (0)", span, metavar="TIME")
    option(parser, "--severity", "severity", ", ".join(SEVERITIES) + " (warning)", choices=SEVERITIES, metavar="S")
    option(parser, "--interfaces", "interfaces", "names with * and ?: only those", nullable(), metavar="PATTERN")
    option(parser, "--enabled", "enabled", "whether it holds (yes)", yes_no, metavar="yes|no")
    option(parser, "--note", "note", "free text", nullable(), metavar="TEXT")
    for name in SELECTS:
        text = "of devices with all of these" if name == "tags" else "of devices with any of these"
        option(parser, f"--{name}", name, f"{text}, comma separated", listed, metavar="X")


def _row(row: dict[str, Any]) -> tuple[object, ...]:
    value = row["value"] if row["threshold_id"] else None  # that a device is not there has no measure
    return (
        row["id"], row["severity"], row["state"], row["device"], row["subject"], row["name"], None if value is None else round(value, 2),
        output.moment(row["raised_at"]), output.moment(row["cleared_at"]), row["acknowledged_by"],
    )  # fmt: skip


def _list(arguments: argparse.Namespace) -> int:
    usual = {} if arguments.state or arguments.every else {"state__in": "raised,acknowledged"}
    wanted = {"state": arguments.state, "severity": arguments.severity, "device": arguments.device}
    header = ("ID", "SEVERITY", "STATE", "DEVICE", "SUBJECT", "NAME", "VALUE", "RAISED", "CLEARED", "ACKNOWLEDGED BY")
    return show_list(client.find(), ALARMS, arguments, header, _row, "there are no alarms", usual, **wanted)


def _show(arguments: argparse.Namespace) -> int:
    output.show(client.find().get(f"{ALARMS}/{arguments.id}"), arguments.json)
    return 0


def _acknowledge(arguments: argparse.Namespace) -> int:
    reply = client.find().post(f"{ALARMS}/{arguments.id}/acknowledge", {"note": arguments.note})
    output.show(reply, arguments.json)
    return 0


def _path(api: client.Client, name: str) -> str:
    return f"{THRESHOLDS}/{api.one(THRESHOLDS, 'threshold', name=name)['id']}"


def _add(arguments: argparse.Namespace) -> int:
    wanted = {"name": arguments.threshold, "selector": body(arguments, SELECTS), **body(arguments, MEMBERS)}
    output.show(client.find().post(THRESHOLDS, wanted), arguments.json)
    return 0


def _thresholds(arguments: argparse.Namespace) -> int:
    def row(found: dict[str, Any]) -> tuple[object, ...]:
        sign = ">" if found["above"] else "<"
        when = f"{found['metric']} {sign} {_level(found, 'raise_level')} (over at {_level(found, 'clear_level')})"
        return (
            found["id"],
            found["name"],
            when,
            output.span(found["hold_seconds"]),
            found["severity"],
            found["interfaces"],
            json.dumps(found["selector"]),
            found["enabled"],
        )

    header = ("ID", "NAME", "WRONG IF", "FOR", "SEVERITY", "INTERFACES", "SELECTS", "ENABLED")
    return show_list(client.find(), THRESHOLDS, arguments, header, row, "no thresholds yet: netd threshold add NAME --metric METRIC --raise-level LEVEL")


def _level(threshold: dict[str, Any], name: str) -> str:
    value: float = threshold[name]
    return output.rate(int(value)) if threshold["metric"].endswith("_bps") else f"{value:.10g}"


def _threshold(arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.get(_path(api, arguments.threshold)), arguments.json)
    return 0


def _update(arguments: argparse.Namespace) -> int:
    changes(arguments, (*MEMBERS, *SELECTS))
    selection = body(arguments, SELECTS)
    wanted = {**({"selector": selection} if selection else {}), **body(arguments, MEMBERS)}
    api = client.find()
    output.show(api.patch(_path(api, arguments.threshold), wanted), arguments.json)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_path(api, arguments.threshold)), arguments.json, f"threshold {arguments.threshold} is removed")
