"""``netd health``"""

import argparse

from netd.cli import client, output
from netd.cli.arguments import Commands, command


def register(commands: Commands) -> None:
    """Add the command."""
    command(commands, "health", "every part of netd and every integration; exit code 1 if the daemon is down", _health)


def _health(arguments: argparse.Namespace) -> int:
    reply = client.find().get("/health")
    if arguments.json:
        output.print_json(reply.raw)
    else:
        rows = [
            (
                part["name"], part["state"], part["critical"], output.moment(part["since"]),
                None if part["latency_seconds"] is None else f"{part['latency_seconds'] * 1000:.0f} ms", part["detail"] or part["last_error"],
            )
            for part in reply.value["parts"]
        ]  # fmt: skip
        output.print_table(rows, ("PART", "STATE", "CRITICAL", "SINCE", "LATENCY", "DETAIL"))
    return client.REFUSED if reply.value["state"] == "down" else 0
