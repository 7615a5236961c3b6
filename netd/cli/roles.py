"""``netd role`` and ``netd whoami``"""

import argparse
from typing import Any

from netd.cli import client, output
from netd.cli.arguments import Commands, changes, command, group, option, paging
from netd.cli.lists import show_list

MEMBERS = ("name", "title", "permissions")


def register(commands: Commands) -> None:
    """Add the commands."""
    role = group(commands, "role", "what tokens may do")
    add = command(role, "add", "make a role of permissions (`netd role permissions`)", _add)
    add.add_argument("name", metavar="NAME", help="lower-case letters, digits and _")
    add.add_argument("--title", metavar="TEXT", help="what people call it")
    add.add_argument("--permission", action="append", dest="permissions", required=True, metavar="P", help="may be repeated")
    paging(command(role, "list", "list roles", _list))
    command(role, "show", "show a role", _show).add_argument("role", metavar="NAME")
    command(role, "permissions", "list every permission and what it is for", _permissions)
    update = command(role, "update", "change a role; holds from the next request on", _update)
    update.add_argument("role", metavar="NAME")
    option(update, "--name", "name", "a new name", metavar="NAME")
    option(update, "--title", "title", "what people call it", metavar="TEXT")
    option(update, "--permission", "permissions", "in place of those that it has; may be repeated", action="append", metavar="P")
    command(role, "remove", "remove a role that nobody has", _remove).add_argument("role", metavar="NAME")
    command(commands, "whoami", "whom the token in use speaks for", _whoami)


def _path(api: client.Client, name: str) -> str:
    return f"/roles/{api.one('/roles', 'role', name=name)['id']}"


def _add(arguments: argparse.Namespace) -> int:
    wanted = {"name": arguments.name, "title": arguments.title or arguments.name, "permissions": arguments.permissions}
    output.show(client.find().post("/roles", wanted), arguments.json)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    def row(role: dict[str, Any]) -> tuple[object, ...]:
        return role["id"], role["name"], role["title"], role["built_in"], " ".join(role["permissions"])

    return show_list(client.find(), "/roles", arguments, ("ID", "NAME", "TITLE", "BUILT IN", "PERMISSIONS"), row)


def _show(arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.get(_path(api, arguments.role)), arguments.json)
    return 0


def _permissions(arguments: argparse.Namespace) -> int:
    reply = client.find().get("/permissions")
    if arguments.json:
        output.print_json(reply.raw)
    else:
        output.print_table([(each["name"], each["allows"]) for each in reply.value["items"]], ("PERMISSION", "ALLOWS TO"))
    return 0


def _update(arguments: argparse.Namespace) -> int:
    wanted = changes(arguments, MEMBERS)
    api = client.find()
    output.show(api.patch(_path(api, arguments.role), wanted), arguments.json)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_path(api, arguments.role)), arguments.json, f"role {arguments.role} is removed")


def _whoami(arguments: argparse.Namespace) -> int:
    output.show(client.find().get("/whoami"), arguments.json)
    return 0
