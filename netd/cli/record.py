"""``netd record``: what a real device says, as files that its driver can be tested against, without what tells whose device it is."""

import argparse
import asyncio
import re
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netd.cli import client
from netd.cli.arguments import Commands, command
from netd.cli.client import CliError
from netd.cli.freeradius import extensions
from netd.cli.values import secret

if TYPE_CHECKING:
    from netd.model.target import Credential, Target
    from netd.sdk.device import Oid, Varbind
    from netd.sdk.recording import Recording


def register(commands: Commands) -> None:
    """Add the command."""
    text = "read of a device what its driver can read, by its command line and SNMP, and write it down without secrets and addresses"
    parser = command(commands, "record", text, _record)
    parser.add_argument(
        "device", metavar="DEVICE", help="its name in the inventory (on the daemon's machine, as its user), or its address and, below, what opens it"
    )
    parser.add_argument("--platform", metavar="NAME", help="huawei_smartax, mikrotik_routeros …: whose driver speaks to it (the inventory's)")
    parser.add_argument("--username", metavar="USER")
    parser.add_argument("--password", type=secret, metavar="P", help="- reads it from standard input")
    parser.add_argument("--enable", type=secret, metavar="P", help="for the privileged mode, where that has another; - reads it from standard input")
    parser.add_argument("--port", type=int, metavar="PORT")
    parser.add_argument("--telnet", action="store_true", help="speak Telnet, where it has no SSH: the password goes over the wire in the clear")
    parser.add_argument("--legacy", action="store_true", help="accept SSH algorithms that are broken, where it has no others")
    parser.add_argument("--community", type=secret, metavar="C", help="SNMP v2c; - reads it from standard input. For SNMPv3 add the device to the inventory")
    parser.add_argument("--snmp-port", type=int, metavar="PORT")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration that names the database of the inventory")
    parser.add_argument(
        "--word", action="append", default=[], metavar="WORD", help="a name that must not be in the recording (place, customer); may be repeated"
    )
    parser.add_argument("--folder", type=Path, default=Path(), metavar="DIR", help="where to make HARDWARE_FIRMWARE with session.txt and agent.snmprec (here)")


def _record(arguments: argparse.Namespace) -> int:
    from netd.cli.direct import run

    platforms = extensions().platforms
    target, platform, words = _typed(arguments) if _is_address(arguments.device) else run(_kept(arguments))
    if platform not in platforms:
        raise CliError(f"there is no platform {platform!r}; there are {', '.join(sorted(platforms))}", client.USAGE)
    recording, objects = asyncio.run(_read(target, platform, platforms[platform].driver, [*arguments.word, *words]))
    folder = arguments.folder / f"{_plain(recording.hardware)}_{_plain(recording.firmware)}"
    for path in _write(folder, recording, objects):
        print(path)
    print("netd: read it before you give it away: what no pattern knows is still in it", file=sys.stderr)
    return 0


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _typed(arguments: argparse.Namespace) -> "tuple[Target, str, list[str]]":
    """The device as the command line says it, its platform, and the words that opened it."""
    from netd.config import Secret
    from netd.model.target import Credential, SnmpCommunity, SshLogin, Target, TelnetLogin

    if arguments.platform is None:
        raise CliError("an address needs --platform", client.USAGE)
    if (arguments.username is None) != (arguments.password is None) or (arguments.username is None and arguments.community is None):
        raise CliError("an address needs --username and --password, or --community, or all of them", client.USAGE)
    credentials: list[Credential] = []
    if arguments.username is not None:
        enable = Secret(arguments.enable) if arguments.enable else None
        kind = TelnetLogin if arguments.telnet else SshLogin
        login = kind(username=arguments.username, password=Secret(arguments.password), enable=enable)
        credentials.append(Credential(id=0, name="command line", login=login, port=arguments.port))
    if arguments.community is not None:
        community = SnmpCommunity(version="2c", community=Secret(arguments.community))
        credentials.append(Credential(id=0, name="command line", login=community, port=arguments.snmp_port))
    address = ip_address(arguments.device)
    target = Target(key=str(address), address=address, credentials=tuple(credentials), legacy_algorithms=arguments.legacy)
    return target, arguments.platform, _words(credentials)


async def _kept(arguments: argparse.Namespace) -> "tuple[Target, str, list[str]]":
    """The same of a device of the inventory, by the database itself: no answer of the API has its secrets."""
    from netd.cli.direct import tokens_database
    from netd.config import load
    from netd.domain import targets
    from netd.keyring import Keyring
    from netd.store import devices

    if any((arguments.username, arguments.password, arguments.community)):
        raise CliError("a device of the inventory is opened with its own credentials: leave --username, --password and --community out", client.USAGE)
    config = load(arguments.config, client.environment(arguments.config))
    async with tokens_database(config) as (database, tenant_id):
        async with database.transaction() as conn:
            found = await devices.id_by_hostname(conn, tenant_id, arguments.device)
            device = None if found is None else await devices.get(conn, tenant_id, found)
        if device is None:
            raise CliError(f"there is no device {arguments.device!r} in the inventory")
        target = (await targets.targets(database, Keyring(config.key_file), tenant_id, [device.id]))[device.id]
    if not target.credentials:
        raise CliError(f"no credential fits {device.hostname} at {device.mgmt_address}: netd credential add")
    platform = arguments.platform or device.platform
    if platform is None:
        raise CliError(f"the platform of {device.hostname} is not known: say --platform", client.USAGE)
    return target, platform, [device.hostname, *([device.site] if device.site else []), *_words(target.credentials)]


def _words(credentials: "list[Credential] | tuple[Credential, ...]") -> list[str]:
    """Users' names and secrets."""
    from netd.config import Secret

    said = [getattr(credential.login, member) for credential in credentials for member in credential.login.__struct_fields__]
    secrets = [each.reveal() for each in said if isinstance(each, Secret)]
    return [name for credential in credentials if (name := getattr(credential.login, "username", None))] + secrets


async def _read(target: "Target", platform: str, driver: Any, words: list[str]) -> "tuple[Recording, dict[Oid, Varbind]]":
    from netd.device.recorder import Recorder

    recorder = Recorder(platform, driver, lambda line: print(f"netd: {line}", file=sys.stderr))
    await recorder.read(target)
    return recorder.made(words)


def _write(folder: Path, recording: "Recording", objects: "dict[Oid, Varbind]") -> list[Path]:
    from netd.sdk.recording import snmprec

    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "session.txt"]
    written[0].write_text(recording.dump(), "utf-8")
    if objects:
        written.append(folder / "agent.snmprec")
        written[1].write_text(snmprec(objects), "utf-8")
    return written


def _plain(text: str) -> str:
    return re.sub(r"[^\w.()-]+", "-", text).strip("-") or "unknown"
