"""``netd tenant``"""

import argparse
import sys

from netd.cli import client, output
from netd.cli.arguments import Commands, command, group, paging
from netd.cli.lists import show_list


def register(commands: Commands) -> None:
    """Add the command."""
    tenant = group(commands, "tenant", "the providers that this netd serves; for admins of the tenant default")
    add = command(tenant, "add", "make a tenant and print its first token, this once", _add)
    add.add_argument("name", metavar="NAME", help="lower-case letters, digits and hyphens")
    paging(command(tenant, "list", "list tenants", _list))
    rename = command(tenant, "rename", "give a tenant another name", _rename)
    rename.add_argument("tenant", metavar="NAME")
    rename.add_argument("name", metavar="NEW")


def _add(arguments: argparse.Namespace) -> int:
    reply = client.find().post("/tenants", {"name": arguments.name})
    if arguments.json:
        output.print_json(reply.raw)
        return 0
    print(reply.value["token"])
    print(f"netd: the token of {reply.value['tenant']['name']}'s admin; keep it, it is not shown again", file=sys.stderr)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    return show_list(client.find(), "/tenants", arguments, ("ID", "NAME", "CREATED"), lambda t: (t["id"], t["name"], output.moment(t["created_at"])))


def _rename(arguments: argparse.Namespace) -> int:
    api = client.find()
    found = api.one("/tenants", "tenant", name=arguments.tenant)
    reply = api.patch(f"/tenants/{found['id']}", {"name": arguments.name})
    return output.done(reply, arguments.json, f"tenant {arguments.tenant} is now {arguments.name}")
