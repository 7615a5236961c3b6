"""``netd plan quota``, and what ``netd subscriber`` has for quotas"""

import argparse
import re
from typing import Any

from netd.cli import client, output
from netd.cli.arguments import Commands, body, changes, command, group, option, paging
from netd.cli.client import USAGE, CliError
from netd.cli.lists import show_list
from netd.cli.values import moment, rate, span, volume

ACTIONS = ("notify", "lower", "wall", "block")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
VOLUME = "octets: 100G (10^11), 1.5T, 50GiB (50 x 2^30) or a plain number"
TIME = "a time: 10h, 90m, 3600s, 2d or plain seconds"

_WINDOW = re.compile(r"(?:([a-z,]+)\s+)?(\d\d:\d\d)-(\d\d:\d\d)(?:=(\d{1,2})%?)?", re.ASCII)


def stage(text: str) -> dict[str, Any]:
    """``80:notify``, ``120:wall``, ``100:lower:2M/1M`` (down/up) or ``100:lower:2M/1M:profile``."""
    fault = argparse.ArgumentTypeError(f"{text!r} is not a stage: write 80:notify, 100:lower:2M/1M (down/up), 120:wall or 150:block")
    percent, _, rest = text.partition(":")
    action, _, rest = rest.partition(":")
    if not (percent.isascii() and percent.isdecimal()) or action not in ACTIONS:
        raise fault
    found: dict[str, Any] = {"percent": int(percent), "action": action}
    if not rest:
        return found
    rates, _, profile = rest.partition(":")
    down, slash, up = rates.partition("/")
    if rates and not slash:
        raise fault
    if down:
        found["down_bps"] = rate(down)
    if up:
        found["up_bps"] = rate(up)
    if profile:
        found["profile"] = profile
    return found


def window(text: str) -> dict[str, Any]:
    """``01:00-07:00`` (nothing counts), ``22:00-06:00=50`` (half does), ``sat,sun 00:00-24:00``."""
    match = _WINDOW.fullmatch(text.strip().lower())
    days = match[1].split(",") if match is not None and match[1] else []
    if match is None or not set(days) <= set(DAYS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a window: write 01:00-07:00, 22:00-06:00=50 or 'sat,sun 00:00-24:00'")
    return {"start": match[2], "end": match[3], "percent": int(match[4] or 0), "days": days}


def register_plan(plan: Commands) -> None:
    """Add ``netd plan quota``."""
    quota = group(plan, "quota", "how much of a plan may be used in a period, and what happens then")
    add = command(quota, "add", "give a plan a quota; counting begins at once", _add)
    _named(add)
    _amounts(add, required=True)
    add.add_argument("--period", choices=("day", "week", "month", "anniversary"), default="month", help="anniversary: from the day of activation on")
    option(add, "--direction", "direction", "what counts: down, up or both (default)", choices=("down", "up", "both"))
    option(add, "--timezone", "timezone", "whose midnight a period begins at: Europe/Berlin (default UTC)", metavar="ZONE")
    _options(add)
    show = command(quota, "list", "list the quotas of a plan", _list)
    show.add_argument("plan", metavar="PLAN")
    update = command(quota, "update", "change a quota; live sessions follow", _update)
    _named(update)
    _amounts(update, required=False)
    option(update, "--name", "name", "a new name", metavar="NAME")
    _options(update)
    _named(command(quota, "remove", "remove a quota with what was counted for it", _remove))


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", metavar="PLAN")
    parser.add_argument("quota", metavar="QUOTA")


def _amounts(parser: argparse.ArgumentParser, *, required: bool) -> None:
    either = parser.add_mutually_exclusive_group(required=required)
    either.add_argument("--volume", type=volume, metavar="SIZE", help=VOLUME)
    either.add_argument("--time", type=span, metavar="TIME", help=TIME)


def _options(parser: argparse.ArgumentParser) -> None:
    text = "PERCENT:ACTION, several times: 80:notify, 100:lower:2M/1M (down/up), 120:wall, 150:block"
    parser.add_argument("--stage", dest="stages", action="append", type=stage, default=argparse.SUPPRESS, metavar="STAGE", help=text)
    text = "local time in which nothing counts, several times: 01:00-07:00; 22:00-06:00=50 counts half; 'sat,sun 00:00-24:00'"
    parser.add_argument("--free", dest="free_windows", action="append", type=window, default=argparse.SUPPRESS, metavar="WINDOW", help=text)
    option(parser, "--rollover-volume", "rollover_amount", "at most so much unused volume goes into the next period; 0: none", volume, metavar="SIZE")
    option(parser, "--rollover-time", "rollover_amount", "the same of a time quota", span, metavar="TIME")
    option(parser, "--hysteresis", "hysteresis_percent", "a stage ends once usage is so many percent below it (1)", int, metavar="N")


def register_subscriber(subscriber: Commands) -> None:
    """Add ``netd subscriber quota``, ``top-up``, ``reset-quota`` and ``quota-events``."""
    command(subscriber, "quota", "what a subscriber used of its quotas, and what is left", _standing).add_argument("username", metavar="USERNAME")
    top_up = command(subscriber, "top-up", "add to what a subscriber may use; live sessions follow", _top_up)
    top_up.add_argument("username", metavar="USERNAME")
    _amounts(top_up, required=True)
    option(top_up, "--quota", "quota", "name of the quota, where the plan has several", metavar="NAME")
    option(top_up, "--expires", "expires_at", "what is left then is lost: 2026-12-31 or 2026-12-31T23:59:59Z", moment, metavar="TIME")
    option(top_up, "--note", "note", "why, for the record", metavar="TEXT")
    reset = command(subscriber, "reset-quota", "begin the current period anew", _reset)
    reset.add_argument("username", metavar="USERNAME")
    option(reset, "--quota", "quota", "only this quota", metavar="NAME")
    option(reset, "--note", "note", "why, for the record", metavar="TEXT")
    events = command(subscriber, "quota-events", "stages of quotas that subscribers reached, newest first", _events)
    events.add_argument("--username", metavar="U", help="only this subscriber's")
    paging(events)


def _amount(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.volume is not None:
        return {"unit": "volume", "amount": arguments.volume}
    return {} if arguments.time is None else {"unit": "time", "amount": arguments.time}


def shown(amount: int, unit: str) -> str:
    """An amount for people."""
    return output.octets(amount) if unit == "volume" else output.duration(amount)


def _shown_stage(each: dict[str, Any]) -> str:
    rates = f":{output.rate(each['down_bps'])}/{output.rate(each['up_bps'])}" if each["down_bps"] or each["up_bps"] else ""
    return f"{each['percent']}:{each['action']}{rates}" + (f":{each['profile']}" if each["profile"] else "")


def _shown_window(each: dict[str, Any]) -> str:
    days = ",".join(each["days"]) + " " if each["days"] else ""
    return f"{days}{each['start']}-{each['end']}" + (f"={each['percent']}" if each["percent"] else "")


def _plan_path(api: client.Client, name: str) -> str:
    return f"/plans/{api.one('/plans', 'plan', name=name)['id']}/quotas"


def _quota_path(api: client.Client, arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    path = _plan_path(api, arguments.plan)
    for each in api.get(path).value["items"]:
        if each["name"].lower() == arguments.quota.lower():
            return f"{path}/{each['id']}", each
    raise CliError(f"plan {arguments.plan} has no quota {arguments.quota}")


def _add(arguments: argparse.Namespace) -> int:
    members = ("direction", "timezone", "free_windows", "rollover_amount", "hysteresis_percent", "stages")
    new = {"name": arguments.quota, "period": arguments.period, **_amount(arguments), **body(arguments, members)}
    api = client.find()
    reply = api.post(_plan_path(api, arguments.plan), new)
    made = reply.value
    return output.done(reply, arguments.json, f"plan {arguments.plan} has quota {made['name']}: {shown(made['amount'], made['unit'])} per {made['period']}")


def _list(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.get(_plan_path(api, arguments.plan))
    if arguments.json:
        output.print_json(reply.raw)
        return 0
    rows = [
        (
            each["name"], shown(each["amount"], each["unit"]), each["period"], each["timezone"], each["direction"],
            " ".join(map(_shown_stage, each["stages"])), "; ".join(map(_shown_window, each["free_windows"])),
            shown(each["rollover_amount"], each["unit"]) if each["rollover_amount"] else None,
        )
        for each in reply.value["items"]
    ]  # fmt: skip
    output.print_table(rows, ("QUOTA", "AMOUNT", "PERIOD", "ZONE", "DIRECTION", "STAGES", "FREE", "ROLLOVER"))
    return 0


def _update(arguments: argparse.Namespace) -> int:
    amount = _amount(arguments)
    members = ("name", "free_windows", "rollover_amount", "hysteresis_percent", "stages")
    wanted = ({"amount": amount["amount"]} if amount else {}) | (body(arguments, members) if amount else changes(arguments, members))
    api = client.find()
    path, before = _quota_path(api, arguments)
    if amount and amount["unit"] != before["unit"]:
        raise CliError(f"quota {before['name']} measures {before['unit']}", USAGE)
    output.show(api.patch(path, wanted), arguments.json)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    api = client.find()
    path, before = _quota_path(api, arguments)
    return output.done(api.delete(path), arguments.json, f"quota {before['name']} of plan {arguments.plan} is removed")


def _subscriber_path(api: client.Client, username: str) -> str:
    return f"/subscribers/{api.one('/subscribers', 'subscriber', username=username)['id']}"


def _print_standings(items: list[dict[str, Any]]) -> None:
    rows = [
        (
            each["quota"], shown(each["used"], each["unit"]), shown(each["amount"] + each["carried"] + each["topped_up"], each["unit"]),
            f"{each['percent']:g} %", shown(each["left"], each["unit"]), shown(each["carried"], each["unit"]), shown(each["topped_up"], each["unit"]),
            _shown_stage(each["stage"]) if each["stage"] else None, output.moment(each["starts_at"]), output.moment(each["ends_at"]),
        )
        for each in items
    ]  # fmt: skip
    output.print_table(rows, ("QUOTA", "USED", "ALLOWED", "PERCENT", "LEFT", "CARRIED", "TOPPED UP", "STAGE", "FROM", "UNTIL"))


def _standing(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.get(_subscriber_path(api, arguments.username) + "/quota")
    if arguments.json:
        output.print_json(reply.raw)
    else:
        _print_standings(reply.value["items"])
    return 0


def _top_up(arguments: argparse.Namespace) -> int:
    api = client.find()
    path = _subscriber_path(api, arguments.username)
    amount = _amount(arguments)
    units = {each["unit"] for each in api.get(path + "/quota").value["items"] if each["quota"].lower() == getattr(arguments, "quota", each["quota"]).lower()}
    if units and amount["unit"] not in units:
        raise CliError(f"the quota of {arguments.username} measures {units.pop()}", USAGE)
    reply = api.post(path + "/top-ups", {"amount": amount["amount"], **body(arguments, ("quota", "expires_at", "note"))})
    standing = reply.value["standing"]
    left = f"{arguments.username} has {shown(standing['left'], standing['unit'])} of quota {standing['quota']} left"
    stage_ = standing["stage"]
    return output.done(reply, arguments.json, left + (f", still in stage {_shown_stage(stage_)}" if stage_ else ""))


def _reset(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.post(_subscriber_path(api, arguments.username) + "/quota/reset", body(arguments, ("quota", "note")))
    if arguments.json:
        output.print_json(reply.raw)
    else:
        _print_standings(reply.value["items"])
    return 0


def _event(event: dict[str, Any]) -> tuple[object, ...]:
    used, allowed = shown(event["used"], event["unit"]), shown(event["allowance"], event["unit"])
    return output.moment(event["at"]), event["username"], event["quota"], event["percent"], event["action"], used, allowed


def _events(arguments: argparse.Namespace) -> int:
    header = ("AT", "USERNAME", "QUOTA", "PERCENT", "ACTION", "USED", "ALLOWED")
    return show_list(client.find(), "/quota-events", arguments, header, _event, username=arguments.username)
