"""The parts that the subcommands' argument parsers share."""

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from netd.cli.client import USAGE, CliError

Commands = Any  # argparse's subparsers action, whose class is private
Run = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other fault of the command line is told. What it parses knows what the command is ``called``."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.set_defaults(called=self.prog)

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        print(f"netd: {message} (see `{self.prog} --help`)", file=sys.stderr)
        raise SystemExit(USAGE)


def group(commands: Commands, name: str, help_text: str) -> Commands:
    """A command that has subcommands only."""
    return commands.add_parser(name, help=help_text, description=help_text).add_subparsers(dest="action", required=True, metavar="ACTION")


def command(commands: Commands, name: str, help_text: str, run: Run) -> argparse.ArgumentParser:
    """A command that runs ``run``; every one can answer in JSON."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help_text, description=help_text)
    parser.add_argument("--json", action="store_true", help="print the API's answer as it is")
    parser.set_defaults(run=run)
    return parser


def nullable(kind: Callable[[str], Any] = str) -> Callable[[str], Any]:
    """A type that also takes ``none``, for no value."""

    def convert(text: str) -> Any:
        return None if text.lower() == "none" else kind(text)

    convert.__name__ = getattr(kind, "__name__", "value")  # argparse names it when the text does not fit
    return convert


def listed(text: str) -> list[str]:
    """Comma separated values; ``none`` for no value."""
    return [] if text.lower() == "none" else [item.strip() for item in text.split(",") if item.strip()]


def option(parser: argparse.ArgumentParser, flag: str, member: str, help_text: str, kind: Callable[[str], Any] = str, **more: Any) -> None:
    """An option whose value becomes a member of the request's body, if it is given at all."""
    parser.add_argument(flag, dest=member, type=kind, help=help_text, default=argparse.SUPPRESS, **more)


def hours(parser: argparse.ArgumentParser, when: str) -> None:
    """--hours, --time-zone and --vlan, which plans and subscribers have in common."""
    text = f"{when}: 'Mo-Fr 08:00-17:00, Sa 22:00-06:00', or as FreeRADIUS's Login-Time 'Wk0800-1659'; Al: always"
    option(parser, "--hours", "access_hours", text, nullable(), metavar="HOURS")
    option(parser, "--time-zone", "time_zone", "time zone of the hours, such as Europe/Berlin (radius.time_zone)", nullable(), metavar="ZONE")
    option(parser, "--vlan", "vlan", "VLAN number, or name on the switch", nullable(), metavar="VLAN")


def body(arguments: argparse.Namespace, members: Iterable[str]) -> dict[str, Any]:
    """Those members that were given."""
    given = vars(arguments)
    return {member: given[member] for member in members if member in given}


def changes(arguments: argparse.Namespace, members: Iterable[str]) -> dict[str, Any]:
    """``body`` of an update, which must change something: who forgot the option should not be told that all is well."""
    given = body(arguments, members)
    if not given:
        raise CliError("nothing to change is given (--help shows the options)", USAGE)
    return given


class Replies(argparse.Action):
    """Gathers ``--reply`` options in a list; ``none`` (an empty value) empties it."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: str | None = None) -> None:
        """Take one."""
        before = getattr(namespace, self.dest, []) if values else []
        setattr(namespace, self.dest, [*before, values] if values else [])


def paging(parser: argparse.ArgumentParser) -> None:
    """--limit and --all of a list command."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--limit", type=int, default=100, metavar="N", help="at most N rows (default 100)")
    either.add_argument("--all", action="store_true", help="all rows, page by page")
