"""``netd plan``"""

import argparse
from typing import Any

from netd.cli import client, output
from netd.cli.arguments import Commands, body, changes, command, group, hours, listed, nullable, option, paging
from netd.cli.lists import show_list
from netd.cli.values import contention, rate

MEMBERS = (
    "name", "down_bps", "up_bps", "burst_down_bps", "burst_up_bps", "burst_threshold_down_bps", "burst_threshold_up_bps", "burst_seconds", "priority",
    "session_timeout_seconds", "idle_timeout_seconds", "interim_seconds", "max_sessions", "ipv4_pool", "ipv6_pool", "delegated_ipv6_pool", "dns", "profile",
    "access_hours", "time_zone", "vlan", "contention_ratio", "committed_down_bps", "committed_up_bps",
)  # fmt: skip


def register(commands: Commands) -> None:
    """Add the command."""
    plan = group(commands, "plan", "what subscribers buy: rates, session limits, pools")
    add = command(plan, "add", "make a plan", _add)
    add.add_argument("name", metavar="NAME")
    _options(add, new=True)
    paging(command(plan, "list", "list plans", _list))
    command(plan, "show", "show a plan", _show).add_argument("plan", metavar="NAME")
    update = command(plan, "update", "change a plan; live sessions follow", _update)
    update.add_argument("plan", metavar="NAME")
    _options(update, new=False)
    command(plan, "remove", "remove a plan that nobody has", _remove).add_argument("plan", metavar="NAME")


def _options(parser: argparse.ArgumentParser, *, new: bool) -> None:
    option(parser, "--down", "down_bps", "rate towards the subscriber: 64k, 100M, 2.5G or plain bit/s", rate, required=new, metavar="RATE")
    option(parser, "--up", "up_bps", "rate from the subscriber", rate, required=new, metavar="RATE")
    if not new:
        option(parser, "--name", "name", "a new name", metavar="NAME")
    option(parser, "--burst-down", "burst_down_bps", "burst rate towards the subscriber; none takes it away", nullable(rate), metavar="RATE")
    option(parser, "--burst-up", "burst_up_bps", "burst rate from the subscriber", nullable(rate), metavar="RATE")
    option(parser, "--burst-threshold-down", "burst_threshold_down_bps", "average rate above which bursting ends", nullable(rate), metavar="RATE")
    option(parser, "--burst-threshold-up", "burst_threshold_up_bps", "the same for the other direction", nullable(rate), metavar="RATE")
    option(parser, "--burst-seconds", "burst_seconds", "seconds over which the average is taken", nullable(int), metavar="N")
    option(parser, "--priority", "priority", "1 (served first) to 8", nullable(int), metavar="N")
    option(parser, "--session-timeout", "session_timeout_seconds", "seconds after which a session must log in again", nullable(int), metavar="N")
    option(parser, "--idle-timeout", "idle_timeout_seconds", "seconds without traffic after which a session ends", nullable(int), metavar="N")
    option(parser, "--interim", "interim_seconds", "seconds between accounting updates (300)", int, metavar="N")
    option(parser, "--max-sessions", "max_sessions", "sessions at a time; 0 (default): no limit", int, metavar="N")
    option(parser, "--ipv4-pool", "ipv4_pool", "name of the IPv4 pool on the NAS", nullable(), metavar="POOL")
    option(parser, "--ipv6-pool", "ipv6_pool", "name of the IPv6 pool on the NAS", nullable(), metavar="POOL")
    option(parser, "--delegated-ipv6-pool", "delegated_ipv6_pool", "name of the pool for delegated prefixes", nullable(), metavar="POOL")
    option(parser, "--dns", "dns", "addresses of name servers, comma separated", listed, metavar="A,B")
    hours(parser, "when its subscribers may be online")
    option(parser, "--contention", "contention_ratio", "1:20 or 20: a twentieth of the rates is committed", nullable(contention), metavar="RATIO")
    option(parser, "--committed-down", "committed_down_bps", "committed rate towards the subscriber, instead of a ratio", nullable(rate), metavar="RATE")
    option(parser, "--committed-up", "committed_up_bps", "committed rate from the subscriber", nullable(rate), metavar="RATE")
    option(parser, "--profile", "profile", "name of the QoS profile on the NAS, for vendors that use one", nullable(), metavar="NAME")


def _row(plan: dict[str, Any]) -> tuple[object, ...]:
    return plan["id"], plan["name"], output.rate(plan["down_bps"]), output.rate(plan["up_bps"]), plan["max_sessions"], plan["ipv4_pool"], plan["profile"]


def _add(arguments: argparse.Namespace) -> int:
    output.show(client.find().post("/plans", body(arguments, MEMBERS)), arguments.json)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    return show_list(client.find(), "/plans", arguments, ("ID", "NAME", "DOWN", "UP", "SESSIONS", "POOL", "PROFILE"), _row)


def _path(api: client.Client, name: str) -> str:
    return f"/plans/{api.one('/plans', 'plan', name=name)['id']}"


def _show(arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.get(_path(api, arguments.plan)), arguments.json)
    return 0


def _update(arguments: argparse.Namespace) -> int:
    wanted = changes(arguments, MEMBERS)
    api = client.find()
    output.show(api.patch(_path(api, arguments.plan), wanted), arguments.json)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_path(api, arguments.plan)), arguments.json, f"plan {arguments.plan} is removed")
