"""``netd discovery``"""

import argparse
import sys
from typing import Any

from netd.cli import client, output
from netd.cli.arguments import Commands, body, command, group, listed, option, paging
from netd.cli.jobs import Log, follow
from netd.cli.lists import show_list

PATH = "/discovery/candidates"
ACCEPTED = ("hostname", "vendor", "platform", "kind", "site", "credential", "tags", "again")
ORDER = ("exclude", "site", "credentials", "rate_per_second", "silent")


def register(commands: Commands) -> None:
    """Add the command."""
    discovery = group(commands, "discovery", "what answers in ranges of addresses, and what is made of it")
    start = command(discovery, "start", "search ranges: a job, which `netd job log` follows", _start)
    plan = command(discovery, "plan", "what a search would come to: how many addresses, how long, with which credentials; nothing is asked", _plan)
    for each in (start, plan):
        _order(each)
    start.add_argument("--follow", "-f", action="store_true", help="show its log until it has ended")
    listing = command(discovery, "list", "list candidates (those that are new)", _list)
    listing.add_argument("--state", default="new", choices=("new", "accepted", "ignored", "all"), help="which (new)")
    paging(listing)
    _named(discovery, "show", "show a candidate", _show)
    accept = _named(discovery, "accept", "make a device of a candidate", _accept)
    option(accept, "--hostname", "hostname", "its name (what it calls itself)", metavar="NAME")
    option(accept, "--vendor", "vendor", "needed where nothing was recognised", metavar="V")
    option(accept, "--platform", "platform", "which driver speaks to it (the recognised one)", metavar="P")
    option(accept, "--kind", "kind", "router, switch, olt, onu, server, other (the platform's)", metavar="K")
    option(accept, "--site", "site", "where it is (the search's)", metavar="SITE")
    option(accept, "--credential", "credential", "the only one of its protocol that is tried", metavar="NAME")
    option(accept, "--tags", "tags", "comma separated", listed, metavar="TAGS")
    accept.add_argument("--again", action="store_true", default=argparse.SUPPRESS, help="although it seems to be a device that is known")
    _named(discovery, "ignore", "never mind it, also when it is found again", _ignore)
    _named(discovery, "reconsider", "it is a candidate again", _reconsider)
    _named(discovery, "forget", "forget it; found again, it is new", _forget)


def _named(commands: Commands, name: str, help_text: str, run: Any) -> argparse.ArgumentParser:
    parser = command(commands, name, help_text, run)
    parser.add_argument("address", metavar="ADDRESS")
    return parser


def _order(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ranges", nargs="+", metavar="RANGE", help="10.0.0.0/22, 10.0.0.1-10.0.0.99, one address")
    option(parser, "--exclude", "exclude", "ranges to be left out, comma separated", listed, metavar="RANGES")
    option(parser, "--site", "site", "where they are", metavar="SITE")
    option(parser, "--credentials", "credentials", "SNMP ones to be tried, comma separated (all that may be sent there)", listed, metavar="NAMES")
    option(parser, "--rate", "rate_per_second", "addresses a second (50)", float, metavar="N")
    parser.add_argument("--silent", action="store_true", default=argparse.SUPPRESS, help="also ask what answers no ping")


def _start(arguments: argparse.Namespace) -> int:
    wanted = {"kind": "discovery.search", "args": {"ranges": arguments.ranges, **body(arguments, ORDER)}}
    api = client.find()
    reply = api.post("/jobs", wanted)
    if arguments.follow:
        return follow(api, reply.value["id"], Log(api, reply.value["id"], as_json=arguments.json, stream=sys.stdout))
    return output.done(reply, arguments.json, f"job {reply.value['id']} is {reply.value['state']}: `netd job log {reply.value['id']} --follow`")


def _plan(arguments: argparse.Namespace) -> int:
    output.show(client.find().post("/discovery/plan", {"ranges": arguments.ranges, **body(arguments, ORDER)}), arguments.json)
    return 0


def _row(found: dict[str, Any]) -> tuple[object, ...]:
    known = found["device"] if found["device_id"] else None
    answers = ", ".join(found["answers"])
    return found["address"], found["sys_name"], found["platform"], output.brief(found["sys_descr"] or found["banner"]), answers, found["site"], known


def _list(arguments: argparse.Namespace) -> int:
    header = ("ADDRESS", "NAME", "PLATFORM", "SAYS", "ANSWERS", "SITE", "DEVICE")
    usual = {"sort": "address"} if arguments.state == "all" else {"sort": "address", "state": arguments.state}
    none = "there are no candidates" + (": netd discovery start RANGE" if arguments.state in ("new", "all") else f" that are {arguments.state}")
    return show_list(client.find(), PATH, arguments, header, _row, none, usual)


def _path(api: client.Client, address: str) -> str:
    return f"{PATH}/{api.one(PATH, 'candidate', address=address)['id']}"


def _show(arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.get(_path(api, arguments.address)), arguments.json)
    return 0


def _accept(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.post(f"{_path(api, arguments.address)}/accept", body(arguments, ACCEPTED))
    return output.done(reply, arguments.json, f"{arguments.address} is device {reply.value['device']}")


def _decided(arguments: argparse.Namespace, state: str, text: str) -> int:
    api = client.find()
    return output.done(api.patch(_path(api, arguments.address), {"state": state}), arguments.json, f"{arguments.address} {text}")


def _ignore(arguments: argparse.Namespace) -> int:
    return _decided(arguments, "ignored", "is ignored")


def _reconsider(arguments: argparse.Namespace) -> int:
    return _decided(arguments, "new", "is a candidate again")


def _forget(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_path(api, arguments.address)), arguments.json, f"{arguments.address} is forgotten")
