"""``netd credential``"""

import argparse
from typing import Any

from netd.cli import client, files, output
from netd.cli.arguments import Commands, body, changes, command, group, listed, nullable, option, paging
from netd.cli.lists import show_list
from netd.cli.values import secret, yes_no

PATH = "/credentials"
TYPES = ("ssh", "telnet", "snmp_community", "snmp_user", "http")
MEMBERS = (
    "name", "type", "username", "password", "private_key", "passphrase", "enable", "community", "snmp_version", "auth_protocol", "auth_key", "priv_protocol",
    "priv_key", "context", "tls", "verify", "port", "site", "networks", "position", "enabled", "note",
)  # fmt: skip


def register(commands: Commands) -> None:
    """Add the command."""
    credential = group(commands, "credential", "what opens devices: log-ins and SNMP communities, of which netd shows no secret again")
    add = command(credential, "add", "keep a credential; it is tried from the next session on", _add)
    add.add_argument("name", metavar="NAME")
    option(add, "--type", "type", "ssh, telnet, snmp_community, snmp_user or http", required=True, choices=TYPES, metavar="TYPE")
    _options(add)
    paging(command(credential, "list", "list credentials, in the order in which they are tried", _list))
    command(credential, "show", "show a credential without its secrets", _show).add_argument("credential", metavar="NAME")
    update = command(credential, "update", "change a credential", _update)
    update.add_argument("credential", metavar="NAME")
    option(update, "--name", "name", "a new name", metavar="NAME")
    option(update, "--enabled", "enabled", "no: is not tried", yes_no, metavar="yes|no")
    _options(update)
    command(credential, "remove", "remove a credential that no device names", _remove).add_argument("credential", metavar="NAME")


def _options(parser: argparse.ArgumentParser) -> None:
    hidden = "; - reads it from standard input, for what stands on a command line is seen in process lists"
    option(parser, "--username", "username", "user name", nullable(), metavar="NAME")
    option(parser, "--password", "password", "password" + hidden, nullable(secret), metavar="S")
    option(parser, "--private-key", "private_key", "file with a private key, in OpenSSH's or PEM form", nullable(files.text), metavar="FILE")
    option(parser, "--passphrase", "passphrase", "of the private key" + hidden, nullable(secret), metavar="S")
    option(parser, "--enable", "enable", "password of the privileged mode" + hidden, nullable(secret), metavar="S")
    option(parser, "--community", "community", "SNMP community" + hidden, nullable(secret), metavar="S")
    option(parser, "--snmp-version", "snmp_version", "of a community: 2c (default) or 1", choices=("1", "2c"))
    option(parser, "--auth-protocol", "auth_protocol", "SNMPv3: md5, sha, sha224, sha256, sha384, sha512", nullable(), metavar="P")
    option(parser, "--auth-key", "auth_key", "SNMPv3 authentication password" + hidden, nullable(secret), metavar="S")
    option(parser, "--priv-protocol", "priv_protocol", "SNMPv3: des, aes128, aes192, aes256", nullable(), metavar="P")
    option(parser, "--priv-key", "priv_key", "SNMPv3 privacy password" + hidden, nullable(secret), metavar="S")
    option(parser, "--context", "context", "SNMPv3 context", nullable(), metavar="NAME")
    option(parser, "--tls", "tls", "HTTP: yes (default) or no", yes_no, metavar="yes|no")
    option(parser, "--verify", "verify", "HTTP: whether the device's certificate must be good (yes)", yes_no, metavar="yes|no")
    option(parser, "--port", "port", "where it is not the usual one", nullable(int), metavar="P")
    option(parser, "--site", "site", "for devices at this site only; before those of everywhere", nullable(), metavar="SITE")
    option(parser, "--networks", "networks", "is sent to addresses in these only, comma separated (anywhere)", listed, metavar="CIDRS")
    option(parser, "--position", "position", "lower ones are tried first (100)", int, metavar="N")
    option(parser, "--note", "note", "free text", nullable(), metavar="TEXT")


def _row(credential: dict[str, Any]) -> tuple[object, ...]:
    networks = ", ".join(credential["networks"])
    return (
        credential["position"], credential["name"], credential["type"], credential["username"], credential["site"], networks, credential["enabled"],
    )  # fmt: skip


def _add(arguments: argparse.Namespace) -> int:
    output.show(client.find().post(PATH, body(arguments, MEMBERS)), arguments.json)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    none = "no credentials yet: netd credential add NAME --type ssh --username USER --password -"
    return show_list(client.find(), PATH, arguments, ("POSITION", "NAME", "TYPE", "USERNAME", "SITE", "NETWORKS", "ENABLED"), _row, none, sort="position")


def _path(api: client.Client, name: str) -> str:
    return f"{PATH}/{api.one(PATH, 'credential', name=name)['id']}"


def _show(arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.get(_path(api, arguments.credential)), arguments.json)
    return 0


def _update(arguments: argparse.Namespace) -> int:
    wanted = changes(arguments, MEMBERS)
    api = client.find()
    output.show(api.patch(_path(api, arguments.credential), wanted), arguments.json)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_path(api, arguments.credential)), arguments.json, f"credential {arguments.credential} is removed")
