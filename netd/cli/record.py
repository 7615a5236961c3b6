"""``netd record``: a session with a real device, as a file that its driver can be tested against, without what tells whose device it is."""

import argparse
import asyncio
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netd.cli import client
from netd.cli.arguments import Commands, command
from netd.cli.client import CliError
from netd.cli.freeradius import extensions
from netd.cli.values import secret

if TYPE_CHECKING:
    from netd.device.cli import CliSession
    from netd.model.target import Target
    from netd.sdk.recording import Recording


def register(commands: Commands) -> None:
    """Add the command."""
    parser = command(commands, "record", "log in to a device, read what its driver can read, and write it down without secrets and addresses", _record)
    parser.add_argument("address", type=ip_address, metavar="ADDRESS", help="the device; it need not be in the inventory, and the daemon need not run")
    parser.add_argument("--platform", required=True, metavar="NAME", help="huawei_smartax, mikrotik_routeros …: whose driver speaks to it")
    parser.add_argument("--username", required=True, metavar="USER")
    parser.add_argument("--password", required=True, type=secret, metavar="P", help="- reads it from standard input")
    parser.add_argument("--enable", type=secret, metavar="P", help="for the privileged mode, where that has another; - reads it from standard input")
    parser.add_argument("--port", type=int, metavar="PORT")
    parser.add_argument("--telnet", action="store_true", help="speak Telnet, where it has no SSH: the password goes over the wire in the clear")
    parser.add_argument("--legacy", action="store_true", help="accept SSH algorithms that are broken, where it has no others")
    parser.add_argument(
        "--word", action="append", default=[], metavar="WORD", help="a name that must not be in the recording (place, customer); may be repeated"
    )
    parser.add_argument("--folder", type=Path, default=Path(), metavar="DIR", help="where to make HARDWARE_FIRMWARE/session.txt (here)")


def _record(arguments: argparse.Namespace) -> int:
    found = extensions().platforms
    if arguments.platform not in found:
        raise CliError(f"there is no platform {arguments.platform!r}; there are {', '.join(sorted(found))}", client.USAGE)
    driver: Any = found[arguments.platform].driver
    recording = asyncio.run(_read(_target(arguments), driver, arguments))
    path = arguments.folder / f"{_plain(recording.hardware)}_{_plain(recording.firmware)}" / "session.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(recording.dump(), "utf-8")
    print(path)
    print("netd: read it before you give it away: what no pattern knows is still in it", file=sys.stderr)
    return 0


def _target(arguments: argparse.Namespace) -> "Target":
    from netd.config import Secret
    from netd.model.target import Credential, SshLogin, Target, TelnetLogin

    enable = Secret(arguments.enable) if arguments.enable else None
    kind = TelnetLogin if arguments.telnet else SshLogin
    login = kind(username=arguments.username, password=Secret(arguments.password), enable=enable)
    credential = Credential(id=0, name="command line", login=login, port=arguments.port)
    return Target(key=str(arguments.address), address=arguments.address, credentials=(credential,), legacy_algorithms=arguments.legacy)


async def _read(target: "Target", driver: Any, arguments: argparse.Namespace) -> "Recording":
    """All that the driver can read, scrubbed."""
    from netd.device.cli import CliTransport
    from netd.sdk.recording import Recording
    from netd.sdk.scrub import Scrubber

    exchanges: list[tuple[str, str]] = []
    async with CliTransport().session(target, driver) as session:
        facts = await _look(session, "facts", driver.facts, exchanges)
        for name, look in _looks(driver):
            await _look(session, name, look, exchanges)
    words = {word: f"name{number}" for number, word in enumerate([*arguments.word, arguments.username, arguments.password], 1)}
    if facts is not None:
        words |= {word: f"{member}1" for member in ("hostname", "serial") if (word := getattr(facts, member))}
    recording = Recording(
        platform=arguments.platform,
        hardware=(facts and facts.model) or "unknown",
        firmware=(facts and facts.software_version) or "unknown",
        made_from="a device",
        sources=("netd record",),
        exchanges=tuple(exchanges),
    )
    masked: Callable[[str], str] | None = getattr(driver, "masked", None)
    return Scrubber(secrets.token_bytes(32), masked=masked, words=words).recording(recording)


def _looks(driver: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    for name in ("neighbours", "macs", "arps"):
        if hasattr(driver, name):
            yield name, getattr(driver, name)
    if hasattr(driver, "configuration"):
        yield "running configuration", lambda: driver.configuration("running")
        yield "startup configuration", lambda: driver.configuration("startup")


async def _look(session: "CliSession", name: str, look: Callable[[], Any], exchanges: list[tuple[str, str]]) -> Any:
    """One dialogue; what a device refuses is recorded, too, and told."""
    from netd.errors import PeerError, PeerUnreachable
    from netd.sdk.recording import recorded

    try:
        return await session.run(recorded(look(), exchanges))
    except LookupError:
        return None  # the platform has no such configuration
    except PeerUnreachable:
        raise
    except PeerError as error:
        print(f"netd: {name}: {error}", file=sys.stderr)
        return None


def _plain(text: str) -> str:
    return re.sub(r"[^\w.()-]+", "-", text).strip("-") or "unknown"
