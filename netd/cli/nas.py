"""``netd nas``"""

import argparse
from typing import Any

from netd.cli import client, output
from netd.cli.arguments import Commands, body, changes, command, group, nullable, option, paging
from netd.cli.lists import show_list
from netd.cli.values import secret

MEMBERS = (
    "name", "address", "secret", "vendor", "coa_address", "coa_port", "require_message_authenticator", "limit_proxy_state", "enabled", "site", "vrf",
    "description",
)  # fmt: skip


def register(commands: Commands) -> None:
    """Add the command."""
    nas = group(commands, "nas", "the devices that may speak RADIUS to netd")
    add = command(nas, "add", "let a NAS in; it works from its next packet on", _add)
    add.add_argument("name", metavar="NAME")
    _options(add, new=True)
    paging(command(nas, "list", "list NASes", _list))
    command(nas, "show", "show a NAS", _show).add_argument("nas", metavar="NAME")
    update = command(nas, "update", "change a NAS", _update)
    update.add_argument("nas", metavar="NAME")
    _options(update, new=False)
    command(nas, "remove", "no longer let a NAS in", _remove).add_argument("nas", metavar="NAME")


def _switch(text: str) -> bool:
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")
    return text == "yes"


def _options(parser: argparse.ArgumentParser, *, new: bool) -> None:
    option(parser, "--address", "address", "its address, or a prefix for many; the longest one that fits wins", required=new, metavar="CIDR")
    text = "the shared secret; what stands on a command line is seen in process lists, so better `--secret -`: read from standard input"
    option(parser, "--secret", "secret", text, secret, required=new, metavar="S")
    option(parser, "--vendor", "vendor", "mikrotik, huawei, zte, nokia, cisco, juniper, generic, or an extension's name", required=new, metavar="V")
    if not new:
        option(parser, "--name", "name", "a new name", metavar="NAME")
        option(parser, "--enabled", "enabled", "no: its packets are dropped", _switch, metavar="yes|no")
    option(parser, "--coa-address", "coa_address", "where Disconnect and CoA go (where the packets came from)", nullable(), metavar="A")
    option(parser, "--coa-port", "coa_port", "UDP port for Disconnect and CoA (the vendor's)", nullable(int), metavar="P")
    text = "yes (default), no, or auto: from the first valid one on"
    option(parser, "--require-message-authenticator", "require_message_authenticator", text, choices=("yes", "no", "auto"))
    option(parser, "--limit-proxy-state", "limit_proxy_state", "yes (default), no or auto", choices=("yes", "no", "auto"))
    option(parser, "--site", "site", "where it stands; address pools can be assigned by it", nullable(), metavar="NAME")
    option(parser, "--vrf", "vrf", "routing table that its subscribers' addresses are in", nullable(), metavar="NAME")
    option(parser, "--description", "description", "free text", nullable(), metavar="TEXT")


def _row(nas: dict[str, Any]) -> tuple[object, ...]:
    return nas["id"], nas["name"], nas["address"], nas["vendor"], nas["coa_port"], nas["require_message_authenticator"], nas["enabled"]


def _add(arguments: argparse.Namespace) -> int:
    output.show(client.find().post("/radius/nas", body(arguments, MEMBERS)), arguments.json)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    return show_list(client.find(), "/radius/nas", arguments, ("ID", "NAME", "ADDRESS", "VENDOR", "COA PORT", "MESSAGE-AUTHENTICATOR", "ENABLED"), _row)


def _path(api: client.Client, name: str) -> str:
    return f"/radius/nas/{api.one('/radius/nas', 'NAS', name=name)['id']}"


def _show(arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.get(_path(api, arguments.nas)), arguments.json)
    return 0


def _update(arguments: argparse.Namespace) -> int:
    wanted = changes(arguments, MEMBERS)
    api = client.find()
    output.show(api.patch(_path(api, arguments.nas), wanted), arguments.json)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_path(api, arguments.nas)), arguments.json, f"NAS {arguments.nas} is removed")
