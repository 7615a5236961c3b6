"""``netd accounting``: what was acknowledged and is not in the database. Works on the data folder, so it is for who may read it."""

import argparse
import json
import os
from pathlib import Path

from netd.cli import client, output
from netd.cli.arguments import Commands, command, group


def register(commands: Commands) -> None:
    """Add the command."""
    accounting = group(commands, "accounting", "accounting records that are not in the database")
    retry = command(accounting, "retry-refused", "have the daemon try again what the database refused; the reason must be gone", _retry_refused)
    retry.add_argument("--config", type=Path, metavar="FILE", help="the configuration (NETD_CONFIG, else /etc/netd/netd.toml if there is one)")


def _retry_refused(arguments: argparse.Namespace) -> int:
    from netd.config import load
    from netd.radius.journal import AGAIN, ask_again
    from netd.radius.service import JOURNAL

    count, busy = ask_again(load(arguments.config, client.environment(arguments.config)).data_dir / JOURNAL)
    if arguments.json:
        output.print_json(json.dumps({"records": count, "busy": [os.fspath(folder) for folder in busy]}).encode())
    else:
        for folder in busy:
            print(f"{folder / AGAIN}: an earlier wish is not fulfilled yet; does the daemon run?")
        print(f"{count} records are tried again within seconds by the daemon; its log says how many the database took" if count else "nothing to try again")
    return client.REFUSED if busy else 0
