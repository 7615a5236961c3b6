"""``netd shadow``: the same log-ins to netd and to another RADIUS server, and every difference between the answers."""

import argparse
import asyncio
import csv
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from ipaddress import ip_network
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from netd.cli import client, freeradius, output
from netd.cli.arguments import Commands, command

if TYPE_CHECKING:
    from netd.extensions import Extensions
    from netd.freeradius.compare import Difference, Login
    from netd.freeradius.shadow import Shadow
    from netd.sdk import Avp

DIFFERENT = 1
AUTH_PORT = 1812
STATION = "netd-shadow"


def register(commands: Commands) -> None:
    """Add the command."""
    parser = command(commands, "shadow", "ask netd and another RADIUS server the same, and print what differs (exit 0: nothing, 1: something)", _shadow)
    parser.add_argument("--peer", required=True, type=_address, metavar="HOST:PORT", help="the other server")
    parser.add_argument("--netd", default=("127.0.0.1", AUTH_PORT), type=_address, metavar="HOST:PORT", help="this one (127.0.0.1:1812)")
    parser.add_argument("--secret-file", required=True, metavar="FILE", help="file with the shared secret that both know this machine by")
    parser.add_argument("--users", metavar="FILE", help="CSV with a header: username,password and, if wanted, attributes by name; - for standard input")
    parser.add_argument("--listen", type=_address, metavar="HOST:PORT", help="serve real NAS here: they get the peer's answer, netd is asked beside it")
    parser.add_argument("--allow", action="append", default=[], type=ip_network, metavar="PREFIX", help="with --listen: the NAS; may be repeated")
    freeradius.source_options(parser, optional=True)
    parser.add_argument("--methods", default="pap", metavar="M,M", help="pap (default), chap, mschapv2")
    parser.add_argument("--attribute", action="append", default=[], metavar="'NAME = VALUE'", help="an attribute for every request; may be repeated")
    parser.add_argument("--ignore-reply", action="append", default=[], metavar="ATTRIBUTE", help="an attribute of answers that may differ; may be repeated")
    parser.add_argument("--slack", type=int, default=0, metavar="SECONDS", help="by how much a Session-Timeout may differ (it may count down to an end)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N users")
    parser.add_argument("--window", type=int, default=64, metavar="N", help="requests under way at a time (64)")
    parser.add_argument("--timeout", type=float, default=3.0, metavar="SECONDS", help="for an answer, of which each is asked for three times (3)")


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal() and int(port) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form HOST:PORT")
    return host.strip("[]"), int(port)


def _shadow(arguments: argparse.Namespace) -> int:
    from netd.freeradius.compare import IGNORED, METHODS
    from netd.freeradius.shadow import Shadow

    given = [name for name in ("users", "dsn", "listen") if getattr(arguments, name) is not None]
    if len(given) != 1:
        raise client.CliError("where do the log-ins come from? Give one of --users, --from and --listen", client.USAGE)
    if arguments.listen is not None and not arguments.allow:
        raise client.CliError("--listen needs --allow: whoever may send here may try passwords at the peer", client.USAGE)
    methods = [method for method in METHODS if method in arguments.methods.split(",")]
    if len(methods) != len(arguments.methods.split(",")):
        raise client.CliError(f"--methods: there are {', '.join(METHODS)}", client.USAGE)
    secret = freeradius.secret_of(arguments.secret_file).encode()
    known = freeradius.extensions()
    shadow = Shadow(
        known.dictionary, arguments.netd, arguments.peer, secret, ignored=(*IGNORED, *arguments.ignore_reply), slack_seconds=arguments.slack,
        timeout_seconds=arguments.timeout,
    )  # fmt: skip
    with ExitStack() as stack:
        if arguments.listen is not None:
            differences = shadow.mirror(arguments.listen, arguments.allow, _tell_address)
        else:
            common = [_attribute(known, text) for text in arguments.attribute]
            logins = _from_file(arguments, known, common) if arguments.users is not None else _from_source(arguments, known, common, stack)
            differences = shadow.replay(islice(logins, arguments.limit), methods, max(1, arguments.window))
        with suppress(KeyboardInterrupt, asyncio.CancelledError):  # how mirroring ends
            asyncio.run(_follow(differences, arguments.json))
    return _summary(shadow, as_json=arguments.json)


def _tell_address(address: tuple[str, int]) -> None:
    print(f"netd: serving on {address[0]} port {address[1]} until interrupted", file=sys.stderr, flush=True)


async def _follow(differences: "AsyncIterator[Difference]", as_json: bool) -> None:
    import msgspec

    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async for difference in differences:
        if as_json:
            output.print_json(msgspec.json.encode(difference))
        else:
            print(output.printable(difference.text), flush=True)


def _summary(shadow: "Shadow", *, as_json: bool) -> int:
    told = {
        "compared": shadow.compared, "identical": shadow.compared - shadow.differing, "accepted_by_both": shadow.accepted, "different": shadow.differing,
        "unanswered": shadow.unanswered, "skipped": shadow.skipped,
    }  # fmt: skip
    if as_json:
        output.print_json(json.dumps(told).encode())
    else:
        print(
            f"{told['compared']} requests compared: {told['identical']} answered alike ({told['accepted_by_both']} accepted), {told['different']} not, "
            f"{told['unanswered']} without an answer, {told['skipped']} skipped"
        )
    if not shadow.compared or shadow.unanswered == shadow.compared:
        print("netd: nothing was compared: no answer came" if shadow.compared else "netd: nothing was compared", file=sys.stderr)
        return client.USAGE
    return DIFFERENT if shadow.differing else 0


def _attribute(known: "Extensions", text: str) -> "Avp":
    from netd.wire.attributes import from_text

    name, equals, value = text.partition("=")
    try:
        if not equals:
            raise ValueError("is not of the form 'NAME = VALUE'")
        attribute = known.dictionary.attribute(name.strip())
        return attribute.name, from_text(attribute, value.strip().strip('"'))
    except (LookupError, ValueError) as error:
        raise client.CliError(f"{text}: {error}", client.USAGE) from None


def _completed(known: "Extensions", own: "list[Avp]", common: "list[Avp]") -> "tuple[Avp, ...]":
    """A request's attributes: the user's own, the common ones, and what makes it a NAS's request of one line."""
    found = [*own, *(avp for avp in common if avp[0] not in {name for name, _ in own})]
    names = {name for name, _ in found}
    if not names & {"NAS-IP-Address", "NAS-IPv6-Address", "NAS-Identifier"}:
        found.append(("NAS-Identifier", STATION))
    if "Calling-Station-Id" not in names:  # one line: a second log-in is not a second session
        found.append(("Calling-Station-Id", STATION))
    return tuple(found)


def _from_file(arguments: argparse.Namespace, known: "Extensions", common: "list[Avp]") -> "Iterator[Login]":
    from netd.freeradius.compare import Login

    with ExitStack() as stack:
        try:
            file = sys.stdin if arguments.users == "-" else stack.enter_context(Path(arguments.users).open(newline="", encoding="utf-8"))
            reader = csv.DictReader(file)
            if reader.fieldnames is None or not {"username", "password"} <= set(reader.fieldnames):
                raise client.CliError(f"{arguments.users}: the header must have username and password", client.USAGE)
            for row in reader:
                own = [_attribute(known, f"{name}={value}") for name, value in row.items() if name not in ("username", "password") and value]
                yield Login(row["username"] or "", row["password"] or "", _completed(known, own, common))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise client.CliError(f"{arguments.users}: {getattr(error, 'strerror', None) or 'is not CSV in UTF-8'}", client.USAGE) from None


def _from_source(arguments: argparse.Namespace, known: "Extensions", common: "list[Avp]", stack: ExitStack) -> "Iterator[Login]":
    """Every user whose password FreeRADIUS's tables have in clear, with a request that fulfils the ``==`` rows of its radcheck."""
    from netd.freeradius.translate import logins

    source = freeradius.open_source(arguments)
    stack.callback(source.close)
    reading = freeradius.translation(arguments, source, known)
    from netd.freeradius.compare import Login

    for username, password, own in logins(reading, source):
        yield Login(username, password, _completed(known, list(own), common))
