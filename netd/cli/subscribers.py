"""``netd subscriber``"""

import argparse
from typing import Any
from urllib.parse import quote

from netd.cli import client, output
from netd.cli.arguments import Commands, body, changes, command, group, hours, listed, nullable, option, paging
from netd.cli.lists import show_list
from netd.cli.quotas import register_subscriber
from netd.cli.values import attribute, day, line, moment, secret, yes_no

LOCK_REASONS = ("overdue", "quota", "admin", "fraud", "customer_hold", "system")
STATES = ("pending", "active", "suspended", "terminated")
MEMBERS = (
    "username", "password", "plan", "state", "max_sessions", "ipv4", "ipv6_prefix", "delegated_ipv6_prefix", "expires_at", "full_name", "note",
    "site", "checks", "replies", "access_hours", "time_zone", "vlan", "line_mode", "line_learn", "lines", "mac_addresses", "circuit_ids",
)  # fmt: skip
VERBS = {
    "suspend": "keep a subscriber out and end live sessions",
    "restore": "let a suspended subscriber in again",
    "activate": "give a pending subscriber service",
    "terminate": "end a subscriber's service for good",
    "reactivate": "give a terminated subscriber service again",
}
PASSWORD = "the password; what stands on a command line is seen in process lists, so better `--password -`: read from standard input"


def register(commands: Commands) -> None:
    """Add the commands."""
    subscriber = group(commands, "subscriber", "who may connect")
    add = command(subscriber, "add", "make a subscriber, who can connect at once", _add)
    add.add_argument("username", metavar="USERNAME")
    _options(add, new=True)
    _register_list(subscriber)
    for name, run, text in (
        ("show", _show, "show a subscriber"),
        ("reveal", _reveal, "show the password; it is recorded who saw it"),
        ("explain", _explain, "why can this subscriber (not) connect, and since when"),
        ("remove", _remove, "delete a subscriber; terminating keeps the history's owner"),
    ):
        command(subscriber, name, text, run).add_argument("username", metavar="USERNAME")
    update = command(subscriber, "update", "change a subscriber; live sessions follow", _update)
    update.add_argument("subscriber", metavar="USERNAME")
    _options(update, new=False)
    for name, text in VERBS.items():
        parser = command(subscriber, name, text, _change)
        parser.set_defaults(verb=name)
        parser.add_argument("username", metavar="USERNAME")
        option(parser, "--note", "note", "why, for the record", metavar="TEXT")
    _register_locks(subscriber)
    usage = command(subscriber, "usage", "what a subscriber used, by day (UTC)", _usage)
    usage.add_argument("username", metavar="USERNAME")
    usage.add_argument("--first", type=day, metavar="DAY", help="from this day on (default: a month ago)")
    usage.add_argument("--last", type=day, metavar="DAY", help="up to this day (default: today)")
    password = command(subscriber, "set-password", "set or take away the password", _set_password)
    password.add_argument("username", metavar="USERNAME")
    password.add_argument("--password", type=nullable(secret), required=True, metavar="P", help=PASSWORD + "; none takes it away")
    register_subscriber(subscriber)


def _register_list(subscriber: Commands) -> None:
    parser = command(subscriber, "list", "list subscribers", _list)
    parser.add_argument("--state", choices=STATES)
    parser.add_argument("--plan", metavar="NAME", help="only those with this plan")
    parser.add_argument("--begins", metavar="TEXT", help="only those whose user name begins with this")
    paging(parser)


def _register_locks(subscriber: Commands) -> None:
    lock = command(subscriber, "lock", "keep a subscriber out, or in the walled garden, for a reason", _lock)
    lock.add_argument("username", metavar="USERNAME")
    lock.add_argument("--reason", choices=LOCK_REASONS, default="admin")
    lock.add_argument("--mode", choices=("reject", "walled"), default="reject")
    option(lock, "--until", "until_at", "ends by itself: 2026-12-31 or 2026-12-31T23:59:59Z", moment, metavar="TIME")
    option(lock, "--note", "note", "why, for the record", metavar="TEXT")
    unlock = command(subscriber, "unlock", "lift one lock; the others stay", _unlock)
    unlock.add_argument("username", metavar="USERNAME")
    unlock.add_argument("--reason", choices=LOCK_REASONS, default="admin")


def _options(parser: argparse.ArgumentParser, *, new: bool) -> None:
    repeated = {"action": "append", "metavar": "ATTRIBUTE"}
    if new:
        option(parser, "--password", "password", PASSWORD, secret, metavar="P")
        option(parser, "--state", "state", "active (default), pending, suspended or terminated", choices=STATES)
    else:
        option(parser, "--username", "username", "a new user name", metavar="USERNAME")
    option(parser, "--plan", "plan", "name of the plan", required=new, metavar="NAME")
    option(parser, "--max-sessions", "max_sessions", "sessions at a time; 0: no limit; none: the plan's", nullable(int), metavar="N")
    option(parser, "--ipv4", "ipv4", "a fixed address", nullable(), metavar="A")
    option(parser, "--ipv6-prefix", "ipv6_prefix", "a fixed prefix for the link", nullable(), metavar="P")
    option(parser, "--delegated-ipv6-prefix", "delegated_ipv6_prefix", "a fixed prefix for the network behind", nullable(), metavar="P")
    option(parser, "--expires", "expires_at", "kept out from then on: 2026-12-31 or 2026-12-31T23:59:59Z", nullable(moment), metavar="TIME")
    hours(parser, "when it may be online, instead of the plan's")
    option(
        parser,
        "--line",
        "lines",
        "a line it may come from, such as 'circuit=ID;nas=bras1'; may be repeated; none: no line",
        nullable(line),
        action="append",
        metavar="LINE",
    )
    option(parser, "--line-mode", "line_mode", "another line than these: ignore (default), log or enforce", choices=("ignore", "log", "enforce"))
    option(parser, "--line-learn", "line_learn", "yes: without a line, the first log-in binds its own", yes_no, metavar="yes|no")
    option(parser, "--mac", "mac_addresses", "MAC addresses that its devices log in by, comma separated", listed, metavar="A,B")
    option(parser, "--circuit-id", "circuit_ids", "circuit ids (DHCP option 82) that its devices log in by", listed, metavar="A,B")
    option(parser, "--full-name", "full_name", "name of the person or firm", nullable(), metavar="TEXT")
    option(parser, "--note", "note", "free text", nullable(), metavar="TEXT")
    option(parser, "--site", "site", "name of the site where the subscriber is", nullable(), metavar="SITE")
    option(parser, "--check", "checks", "what the request must say, may be repeated: 'NAS-Port-Id == eth1'; none: nothing", nullable(attribute), **repeated)
    option(parser, "--reply", "replies", "what the answer says besides the plan, may be repeated: 'Filter-Id := slow'; none: nothing",
           nullable(attribute), **repeated)  # fmt: skip


def _members(given: dict[str, Any]) -> dict[str, Any]:
    """The request's body; ``none`` among the members of a list stands for an empty one."""
    return {name: [each for each in value if each is not None] if name in ("checks", "replies", "lines") else value for name, value in given.items()}


def _path(api: client.Client, username: str) -> str:
    return f"/subscribers/{api.one('/subscribers', 'subscriber', username=username)['id']}"


def _row(subscriber: dict[str, Any]) -> tuple[object, ...]:
    locks = " ".join(f"{lock['reason']}:{lock['mode']}" for lock in subscriber["locks"])
    return subscriber["id"], subscriber["username"], subscriber["plan"], subscriber["state"], subscriber["ipv4"], locks, subscriber["full_name"]


def _add(arguments: argparse.Namespace) -> int:
    output.show(client.find().post("/subscribers", _members(body(arguments, MEMBERS))), arguments.json)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    header = ("ID", "USERNAME", "PLAN", "STATE", "IPV4", "LOCKS", "NAME")
    wanted = {"state": arguments.state, "plan": arguments.plan, "username__begins": arguments.begins}
    return show_list(client.find(), "/subscribers", arguments, header, _row, **wanted)


def _show(arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.get(_path(api, arguments.username)), arguments.json)
    return 0


def _update(arguments: argparse.Namespace) -> int:
    wanted = _members(changes(arguments, MEMBERS))
    api = client.find()
    output.show(api.patch(_path(api, arguments.subscriber), wanted), arguments.json)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_path(api, arguments.username)), arguments.json, f"subscriber {arguments.username} is removed")


def _change(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.post(f"{_path(api, arguments.username)}/{arguments.verb}", body(arguments, ("note",)))
    subscriber = reply.value["subscriber"]
    already = "" if reply.value["changed"] else " already"
    return output.done(reply, arguments.json, f"{subscriber['username']} is {subscriber['state']}{already}")


def _lock(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.post(_path(api, arguments.username) + "/locks", body(arguments, ("reason", "mode", "until_at", "note")))
    lock = reply.value["lock"]
    until = f" until {output.moment(lock['until_at'])}" if lock["until_at"] else ""
    return output.done(reply, arguments.json, f"{arguments.username} is locked ({lock['reason']}, {lock['mode']}){until}")


def _unlock(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.delete(f"{_path(api, arguments.username)}/locks/{quote(arguments.reason)}")
    return output.done(reply, arguments.json, f"the lock {arguments.reason} on {arguments.username} is lifted")


def _set_password(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.post(_path(api, arguments.username) + "/password", {"password": arguments.password})
    return output.done(reply, arguments.json, f"the password of {arguments.username} is {'set' if arguments.password is not None else 'taken away'}")


def _reveal(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.post(_path(api, arguments.username) + "/reveal")
    if arguments.json:
        output.print_json(reply.raw)
    else:
        print(reply.value["password"] if reply.value["password"] is not None else "no password is set")
    return 0


def _usage(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.get(_path(api, arguments.username) + "/usage", first=arguments.first, last=arguments.last)
    if arguments.json:
        output.print_json(reply.raw)
        return 0
    rows = [
        (each["day"], *map(output.octets, (each["down_octets"], each["up_octets"])), output.duration(each["session_seconds"])) for each in reply.value["items"]
    ]
    output.print_table(rows, ("DAY", "DOWN", "UP", "ONLINE"))
    return 0


def _explain(arguments: argparse.Namespace) -> int:
    reply = client.find().get("/subscribers/explain", username=arguments.username)
    if arguments.json:
        output.print_json(reply.raw)
        return 0
    told = reply.value
    print(output.printable(told["summary"]))
    if told["attempts"]:
        print()
        output.print_table([_attempt(each) for each in told["attempts"]], ("ATTEMPT", "REPLY", "REASON", "NAS", "LINE", "DETAIL"))
    return 0


def _attempt(attempt: dict[str, Any]) -> tuple[object, ...]:
    nas = attempt["nas"] or attempt["nas_ip_address"]
    return output.moment(attempt["at"]), attempt["reply"], attempt["reason"], nas, attempt["calling_station_id"], attempt["detail"]
