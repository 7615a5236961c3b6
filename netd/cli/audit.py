"""``netd audit``"""

import argparse
from typing import Any

from netd.cli import client, output
from netd.cli.arguments import Commands, command, group, paging
from netd.cli.lists import show_list


def register(commands: Commands) -> None:
    """Add the command."""
    audit = group(commands, "audit", "who changed what, for the role admin")
    parser = command(audit, "list", "list changes and refused attempts, newest first", _list)
    parser.add_argument("--type", metavar="TYPE", help="only about this sort of object: plan, subscriber, nas, session, token …")
    parser.add_argument("--object", metavar="ID", help="only about the object with this id")
    paging(parser)
    command(audit, "verify", "is the log whole? exit code 1 if a row was changed or removed", _verify)


def _verify(arguments: argparse.Namespace) -> int:
    reply = client.find().get("/audit/verify")
    found = reply.value
    if arguments.json:
        output.print_json(reply.raw)
    elif found["whole"]:
        print(f"{found['rows']} rows, none changed or removed; the last is {found['last_id']} with hash {found['head']}")
    else:
        print(output.printable(f"the log is not whole: {found['detail']}"))
    return 0 if found["whole"] else client.REFUSED


def _row(row: dict[str, Any]) -> tuple[object, ...]:
    return output.moment(row["at"]), row["actor"], row["address"], row["action"], f"{row['object_type']} {row['object_id']}", row["result"], _change(row)


def _change(row: dict[str, Any]) -> str:
    """What was changed: ``member: before -> after``."""
    before, after = row["before"] or {}, row["after"] or {}
    return ", ".join(f"{name}: {output.brief(before.get(name))} -> {output.brief(after.get(name))}" for name in dict.fromkeys([*before, *after]))


def _list(arguments: argparse.Namespace) -> int:
    header = ("AT", "ACTOR", "FROM", "ACTION", "OBJECT", "RESULT", "CHANGE")
    return show_list(client.find(), "/audit", arguments, header, _row, object_type=arguments.type, object_id=arguments.object)
