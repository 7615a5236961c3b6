"""``netd organization`` and ``netd site``"""

import argparse
from functools import partial
from typing import Any, NamedTuple

from netd.cli import client, output
from netd.cli.arguments import Commands, body, changes, command, group, nullable, option, paging
from netd.cli.lists import show_list


class Kind(NamedTuple):
    """Organizations and sites differ in a few words."""

    noun: str
    path: str
    above: str  # the member that names the organization it belongs to
    help_text: str


KINDS = (
    Kind("organization", "/organizations", "parent", "parts of the business, to which sites belong and in which permissions may hold"),
    Kind("site", "/sites", "organization", "places of the network, where subscribers and NASes are and permissions may hold"),
)


def register(commands: Commands) -> None:
    """Add the commands."""
    for kind in KINDS:
        actions = group(commands, kind.noun, kind.help_text)
        add = command(actions, "add", f"make one {kind.noun}", partial(_add, kind))
        add.add_argument("name", metavar="NAME")
        _options(add, kind)
        paging(command(actions, "list", f"list {kind.noun}s", partial(_list, kind)))
        command(actions, "show", f"show one {kind.noun}", partial(_show, kind)).add_argument("thing", metavar="NAME")
        update = command(actions, "update", f"change one {kind.noun}", partial(_update, kind))
        update.add_argument("thing", metavar="NAME")
        option(update, "--name", "name", "a new name", metavar="NAME")
        _options(update, kind)
        command(actions, "remove", f"remove one {kind.noun} to which nothing belongs", partial(_remove, kind)).add_argument("thing", metavar="NAME")


def _options(parser: argparse.ArgumentParser, kind: Kind) -> None:
    option(parser, f"--{kind.above}", kind.above, "name of the organization that it belongs to", nullable(), metavar="NAME")
    option(parser, "--note", "note", "free text", nullable(), metavar="TEXT")


def _path(api: client.Client, kind: Kind, name: str) -> str:
    return f"{kind.path}/{api.one(kind.path, kind.noun, name=name)['id']}"


def _add(kind: Kind, arguments: argparse.Namespace) -> int:
    output.show(client.find().post(kind.path, body(arguments, ("name", kind.above, "note"))), arguments.json)
    return 0


def _list(kind: Kind, arguments: argparse.Namespace) -> int:
    def row(each: dict[str, Any]) -> tuple[object, ...]:
        return each["id"], each["name"], each[kind.above], each["note"]

    return show_list(client.find(), kind.path, arguments, ("ID", "NAME", kind.above.upper(), "NOTE"), row, f"no {kind.noun}s yet: netd {kind.noun} add NAME")


def _show(kind: Kind, arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.get(_path(api, kind, arguments.thing)), arguments.json)
    return 0


def _update(kind: Kind, arguments: argparse.Namespace) -> int:
    wanted = changes(arguments, ("name", kind.above, "note"))
    api = client.find()
    output.show(api.patch(_path(api, kind, arguments.thing), wanted), arguments.json)
    return 0


def _remove(kind: Kind, arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_path(api, kind, arguments.thing)), arguments.json, f"{kind.noun} {arguments.thing} is removed")
