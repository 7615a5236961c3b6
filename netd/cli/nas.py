"""``netd nas``"""

import argparse
from typing import Any

from netd.cli import client, output
from netd.cli.arguments import Commands, body, changes, command, group, listed, nullable, option, paging
from netd.cli.lists import show_list
from netd.cli.values import secret, yes_no

MEMBERS = (
    "name", "address", "secret", "vendor", "coa_address", "coa_port", "require_message_authenticator", "limit_proxy_state", "enabled", "description",
    "line_login", "line_login_passwords", "line_login_password",
    "site", "vrf",
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


def _forms(text: str) -> list[str]:
    """Comma separated; here ``none`` is a form, and nothing at all is an empty text."""
    return [each.strip() for each in text.split(",") if each.strip()]


def _options(parser: argparse.ArgumentParser, *, new: bool) -> None:
    option(parser, "--address", "address", "its address, or a prefix for many; the longest one that fits wins", required=new, metavar="CIDR")
    text = "the shared secret; what stands on a command line is seen in process lists, so better `--secret -`: read from standard input"
    option(parser, "--secret", "secret", text, secret, required=new, metavar="S")
    option(parser, "--vendor", "vendor", "mikrotik, huawei, zte, nokia, cisco, juniper, generic, or an extension's name", required=new, metavar="V")
    if not new:
        option(parser, "--name", "name", "a new name", metavar="NAME")
        option(parser, "--enabled", "enabled", "no: its packets are dropped", yes_no, metavar="yes|no")
    option(parser, "--coa-address", "coa_address", "where Disconnect and CoA go (where the packets came from)", nullable(), metavar="A")
    option(parser, "--coa-port", "coa_port", "UDP port for Disconnect and CoA (the vendor's)", nullable(int), metavar="P")
    text = "yes (default), no, or auto: from the first valid one on"
    option(parser, "--require-message-authenticator", "require_message_authenticator", text, choices=("yes", "no", "auto"))
    option(parser, "--limit-proxy-state", "limit_proxy_state", "yes (default), no or auto", choices=("yes", "no", "auto"))
    text = "by what devices may log in that have no user name: mac, circuit_id, comma separated; none (default)"
    option(parser, "--line-login", "line_login", text, listed, metavar="WHAT")
    text = "what then counts as the password: same (as the user name), secret (the shared secret), fixed (the next option), none (no password): comma separated"
    option(parser, "--line-login-passwords", "line_login_passwords", text, _forms, metavar="FORMS")
    option(parser, "--line-login-password", "line_login_password", "the fixed text; - reads it from standard input", nullable(secret), metavar="TEXT")
    option(parser, "--site", "site", "name of the site where it is", nullable(), metavar="SITE")
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
