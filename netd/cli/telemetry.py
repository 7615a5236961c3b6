"""``netd device now``, ``series``, ``availability`` and ``top``: what devices do"""

import argparse
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from netd.cli import client, output
from netd.cli.arguments import Commands, command

DEVICES = "/devices"
OF_INTERFACE = ("in_bps", "out_bps", "in_pps", "out_pps", "in_errors", "out_errors", "in_discards", "out_discards")
OF_DEVICE = ("reach", "cpu_percent", "memory_percent", "temperature_celsius", "voltage_volts", "power_watts")
OF_OPTICS = ("rx_dbm", "tx_dbm", "olt_rx_dbm", "bias_milliamperes")
OF_BOTH = ("temperature_celsius", "voltage_volts")  # of a device, or of an interface's transceiver
_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def add(device: Commands) -> None:
    """Add the commands below ``netd device``."""
    now = command(device, "now", "what a device does now: is it there, how it does, what goes through its interfaces", _now)
    now.add_argument("device", metavar="NAME")
    series = command(device, "series", "a metric by time", _series)
    series.add_argument("device", metavar="NAME")
    series.add_argument("metric", metavar="METRIC", choices=OF_DEVICE + OF_INTERFACE + OF_OPTICS, help=", ".join(OF_DEVICE + OF_INTERFACE + OF_OPTICS))
    series.add_argument("--interface", metavar="NAME", help="whose rate or light it is")
    series.add_argument("--onu", metavar="NAME", help="of which ONU at the interface (light; as alarms name it)")
    series.add_argument("--points", type=int, default=48, metavar="N", help="at the most (48)")
    there = command(device, "availability", "how much of a span a device was there", _availability)
    there.add_argument("device", metavar="NAME")
    used = command(device, "utilisation", "how much of an interface was used over a span", _utilisation)
    used.add_argument("device", metavar="NAME")
    used.add_argument("interface", metavar="INTERFACE")
    top = command(device, "top", "the interfaces that have most", _top)
    top.add_argument("--by", choices=("traffic", "in_bps", "out_bps", "utilisation", "errors"), default="traffic", help="of what (traffic)")
    top.add_argument("--limit", type=int, default=10, metavar="N", help="how many (10)")
    for parser in (series, there, used, top):
        parser.add_argument("--since", type=moment, metavar="T", help="begin: 90m, 2d, or a time as 2026-11-26T12:00:00Z (1d; top: 15m)")
        parser.add_argument("--until", type=moment, metavar="T", help="end (now)")


def moment(text: str) -> str:
    """``2d``: so long ago; or a time, which is UTC unless it says otherwise."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return (datetime.now(UTC) - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])).isoformat()
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither of the form 90m or 2d nor a time") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()


def _device(api: client.Client, arguments: argparse.Namespace) -> int:
    found: int = api.one(DEVICES, "device", hostname=arguments.device)["id"]
    return found


def _interface(api: client.Client, arguments: argparse.Namespace) -> int:
    found: int = api.one("/interfaces", "interface", name=arguments.interface, device_id=_device(api, arguments))["id"]
    return found


def _span(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"since": arguments.since, "until": arguments.until}


def _figure(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value


def _rate(bps: float | None) -> str:
    """A measured rate, rounded: 12.2M."""
    if bps is None:
        return "-"
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if bps >= unit:
            value = bps / unit
            text = f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"
            return (text.rstrip("0").rstrip(".") if "." in text else text) + letter
    return f"{bps:.0f}"


def _now(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.get(f"{DEVICES}/{_device(api, arguments)}/telemetry")
    if arguments.json:
        output.print_json(reply.raw)
        return 0
    told = reply.value
    system = {name: _figure(value) for name, value in (told["system"] or {}).items() if value is not None}
    elsewhere = {} if told["source"] == "memory" else {"polled by": "another node: this is what that stored last"}
    shown = {"up": told["up"], "rtt_ms": _figure(told["rtt_ms"]), "looked_at": told["up_at"], **system, "missed_slots": told["missed_slots"]}
    output.print_fields({**shown, "last_error": told["last_error"], **elsewhere})
    if told["interfaces"]:
        print()
        output.print_table([_line(each) for each in told["interfaces"]], ("INTERFACE", "ALIAS", "OPER", "SPEED", "IN", "OUT", "USED %", "ERRORS/S"))
    return 0


def _line(each: dict[str, Any]) -> tuple[object, ...]:
    counters, rates = each["counters"], each["rates"] or {}
    errors = [rates[name] for name in ("in_errors", "out_errors") if rates.get(name) is not None]
    up = counters["oper_up"]
    return (
        counters["name"], counters["alias"], "-" if up is None else "up" if up else "down", output.rate(counters["speed_bps"]),
        _rate(rates.get("in_bps")), _rate(rates.get("out_bps")), each["utilisation_percent"], _figure(sum(errors)) if errors else None,
    )  # fmt: skip


def _series(arguments: argparse.Namespace) -> int:
    metric, named = arguments.metric, bool(arguments.interface)
    of_interface, of_optics = metric in OF_INTERFACE, metric in OF_OPTICS or (metric in OF_BOTH and named)
    if (of_interface or of_optics) != named:
        raise client.CliError(f"{metric} is {'of the device, not of an interface' if named else 'of an interface: say --interface'}", client.USAGE)
    if arguments.onu and not of_optics:
        raise client.CliError(f"{metric} is not of an ONU", client.USAGE)
    api = client.find()
    asked = {"metric": metric, "points": arguments.points, **_span(arguments)}
    if of_optics:
        reply = api.get(f"{DEVICES}/{_device(api, arguments)}/optics-series", interface=arguments.interface, onu=arguments.onu, **asked)
    else:
        path = f"/interfaces/{_interface(api, arguments)}" if of_interface else f"{DEVICES}/{_device(api, arguments)}"
        reply = api.get(f"{path}/series", **asked)
    if arguments.json:
        output.print_json(reply.raw)
        return 0
    told = reply.value
    rows = [(output.moment(at), *map(_figure, values)) for at, *values in told["points"]]
    return output.table_or(
        rows, [name.upper() for name in told["columns"]], "nothing of it was measured in that time; what is newer than five minutes shows with --since 30m"
    )


def _availability(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.get(f"{DEVICES}/{_device(api, arguments)}/availability", **_span(arguments))
    output.show(reply, arguments.json)
    if reply.value["percent"] is None:
        print("netd: nobody looked at it in that time; it is summed up every five minutes", file=sys.stderr)
    return 0


def _utilisation(arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.get(f"/interfaces/{_interface(api, arguments)}/utilisation", **_span(arguments)), arguments.json)
    return 0


def _top(arguments: argparse.Namespace) -> int:
    reply = client.find().get("/top-talkers", by=arguments.by, limit=arguments.limit, **_span(arguments))
    if arguments.json:
        output.print_json(reply.raw)
        return 0
    rows = [
        (each["device"], each["interface"], each["alias"], _rate(each["in_bps"]), _rate(each["out_bps"]), output.rate(each["speed_bps"]),
         each["utilisation_percent"], _figure(each["errors"])) for each in reply.value["items"]
    ]  # fmt: skip
    header = ("DEVICE", "INTERFACE", "ALIAS", "IN", "OUT", "SPEED", "USED %", "ERRORS/S")
    return output.table_or(rows, header, "no interface was measured in that time")
