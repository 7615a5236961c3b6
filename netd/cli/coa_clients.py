"""``netd coa-client``"""

import argparse
from typing import Any

from netd.cli import client, output
from netd.cli.arguments import Commands, body, changes, command, group, nullable, option, paging
from netd.cli.lists import show_list
from netd.cli.values import secret, yes_no

SWITCHES = {
    "may_disconnect": "it may have single sessions ended (yes)",
    "may_change": "it may send CoA-Requests (no)",
    "may_override": "CoA-Requests also for sessions that netd enforces a plan on; they are then left alone until the plan changes (no)",
    "may_select_many": "a request that several sessions match goes to each of them instead of being refused (no)",
    "require_message_authenticator": "drop requests without Message-Authenticator (yes)",
    "require_event_timestamp": "drop requests without Event-Timestamp, which can be replayed for ever (yes)",
}
MEMBERS = ("name", "address", "secret", *SWITCHES, "enabled", "description")


def register(commands: Commands) -> None:
    """Add the command."""
    clients = group(commands, "coa-client", "portals, billing systems and RADIUS servers that may send Disconnect- and CoA-Requests to netd")
    add = command(clients, "add", "let a system in; it works from its next packet on", _add)
    add.add_argument("name", metavar="NAME")
    _options(add, new=True)
    paging(command(clients, "list", "list them", _list))
    command(clients, "show", "show one", _show).add_argument("client", metavar="NAME")
    update = command(clients, "update", "change what one may do", _update)
    update.add_argument("client", metavar="NAME")
    _options(update, new=False)
    command(clients, "remove", "no longer let one in", _remove).add_argument("client", metavar="NAME")


def _options(parser: argparse.ArgumentParser, *, new: bool) -> None:
    option(parser, "--address", "address", "its address, or a prefix for many; the longest one that fits wins", required=new, metavar="CIDR")
    text = "the shared secret; what stands on a command line is seen in process lists, so better `--secret -`: read from standard input"
    option(parser, "--secret", "secret", text, secret, required=new, metavar="S")
    if not new:
        option(parser, "--name", "name", "a new name", metavar="NAME")
        option(parser, "--enabled", "enabled", "no: its packets are dropped", yes_no, metavar="yes|no")
    for member, text in SWITCHES.items():
        option(parser, "--" + member.replace("_", "-"), member, text, yes_no, metavar="yes|no")
    option(parser, "--description", "description", "free text", nullable(), metavar="TEXT")


def _row(found: dict[str, Any]) -> tuple[object, ...]:
    rights = [name.removeprefix("may_").replace("_", "-") for name in SWITCHES if name.startswith("may_") and found[name]]
    required = [label for label, member in (("signature", "require_message_authenticator"), ("time", "require_event_timestamp")) if found[member]]
    return found["id"], found["name"], found["address"], " ".join(rights), " ".join(required), found["enabled"]


def _add(arguments: argparse.Namespace) -> int:
    output.show(client.find().post("/radius/coa-clients", body(arguments, MEMBERS)), arguments.json)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    return show_list(client.find(), "/radius/coa-clients", arguments, ("ID", "NAME", "ADDRESS", "MAY", "REQUIRED", "ENABLED"), _row)


def _path(api: client.Client, name: str) -> str:
    return f"/radius/coa-clients/{api.one('/radius/coa-clients', 'CoA client', name=name)['id']}"


def _show(arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.get(_path(api, arguments.client)), arguments.json)
    return 0


def _update(arguments: argparse.Namespace) -> int:
    wanted = changes(arguments, MEMBERS)
    api = client.find()
    output.show(api.patch(_path(api, arguments.client), wanted), arguments.json)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_path(api, arguments.client)), arguments.json, f"CoA client {arguments.client} is removed")
