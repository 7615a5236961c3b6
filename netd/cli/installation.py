"""``netd serve``, ``check``, ``migrate`` and ``secret``: the installation itself. Heavy imports wait until a command needs them."""

import argparse
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from netd import compiled
from netd.cli import client, output
from netd.cli.arguments import Commands, command, group
from netd.errors import ConfigError, NetdError

if TYPE_CHECKING:
    from netd.config import Config

HEALTH_SECONDS = 5.0
CONFIG = "the configuration (NETD_CONFIG, else /etc/netd/netd.toml if there is one)"


def register(commands: Commands) -> None:
    """Add the commands."""
    serve = commands.add_parser("serve", help="run the daemon", description="run the daemon in the foreground until SIGTERM")
    serve.set_defaults(run=_serve)
    check = command(commands, "check", "look at configuration, keys, extensions, database and daemon, a line per finding", _check)
    migrate = command(commands, "migrate", "bring the database's schema up to date", _migrate)
    for parser in (serve, check, migrate):
        parser.add_argument("--config", type=Path, metavar="FILE", help=CONFIG)
    command(group(commands, "secret", "secrets at rest"), "rotate", "make a new key and seal every secret with it", _rotate)


def _serve(arguments: argparse.Namespace) -> int:
    from netd import daemon
    from netd.config import load

    code: int = daemon.run(load(arguments.config, os.environ))
    return code


def _migrate(arguments: argparse.Namespace) -> int:
    from netd.cli.direct import run
    from netd.config import load

    applied = run(_apply(load(arguments.config, client.environment(arguments.config))))
    if arguments.json:
        output.print_json(json.dumps({"applied": applied}).encode())
    else:
        print("\n".join(f"applied {name}" for name in applied) or "nothing to apply")
    return 0


async def _apply(config: "Config") -> list[str]:
    from netd.cli.direct import migrated, target

    async with target(config) as where:
        return await migrated(where, config)


def _rotate(arguments: argparse.Namespace) -> int:
    output.show(client.find().post("/secrets/rotate"), arguments.json)
    return 0


class Finding(NamedTuple):
    """One line of ``netd check``: a ``fault`` makes it end with 1."""

    level: Literal["ok", "note", "fault"]
    subject: str
    detail: str


def _check(arguments: argparse.Namespace) -> int:
    from netd.cli.direct import run
    from netd.config import load

    config = load(arguments.config, client.environment(arguments.config))
    databases = run(_database(config))
    findings = [
        Finding("ok", "configuration", f"data folder {config.data_dir}"),
        _keys(config),
        *_extensions(config),
        _engine(),
        *databases,
        *_journal(config),
        _daemon(config),
    ]
    if arguments.json:
        output.print_json(json.dumps([finding._asdict() for finding in findings]).encode())
    else:
        for finding in findings:
            print(output.printable(f"{finding.level:<5}  {finding.subject}: {finding.detail}"))
    return client.REFUSED if any(finding.level == "fault" for finding in findings) else 0


def _keys(config: "Config") -> Finding:
    from netd.keyring import Keyring

    try:
        if not config.key_file.exists():
            return Finding("note", "keys", f"{config.key_file} does not exist; the daemon makes it at its first start")
        ring = Keyring(config.key_file)
    except ConfigError as error:
        return Finding("fault", "keys", str(error))
    except PermissionError as error:
        return Finding("fault", "keys", f"{error.filename} may not be read: run this as the daemon's user")
    return Finding("ok", "keys", f"{config.key_file} holds {len(ring.ids)}, the newest is {ring.current_id}")


def _extensions(config: "Config") -> list[Finding]:
    from netd.extensions import Extensions

    found = Extensions.discover([Path(folder) for folder in config.extensions.folders], disabled=config.extensions.disabled)
    usable = Finding("ok", "extensions", "vendors " + (", ".join(sorted(found.vendors)) or "none"))
    return [usable, *(Finding("fault", "extensions", str(error)) for error in found.broken)]


def _engine() -> Finding:
    """Which engine a daemon started like this command runs."""
    missing = compiled.missing()
    if missing:
        return Finding("fault", "engine", f"{compiled.VARIABLE}: {missing}")
    engine = compiled.status()
    if engine.stale:
        return Finding("note", "engine", f"the compiled one is not used, {engine.detail}")
    return Finding("ok", "engine", engine.detail if engine.active else f"not compiled ({engine.detail})")


async def _database(config: "Config") -> list[Finding]:
    from netd.cli.direct import running_target
    from netd.share import share
    from netd.store import migrate
    from netd.store.database import connect

    try:
        where = await running_target(config)
        if where is None:
            return [Finding("note", "database", "embedded, does not run now; the daemon starts it and brings it up to date")]
        connection = await connect(where)
    except NetdError as error:
        return [Finding("fault", "database", str(error))]
    try:
        server = connection.get_server_version()
        pending = await migrate.pending(connection, share("sql"))
    except NetdError as error:
        return [Finding("fault", "database", str(error))]
    finally:
        await connection.close()
    reachable = Finding("ok", "database", f"PostgreSQL {server.major}.{server.micro} is reachable")
    if pending:
        return [reachable, Finding("note", "database", f"{len(pending)} migrations to apply (`netd migrate`, or the next start): {', '.join(pending)}")]
    return [reachable, Finding("ok", "database", "the schema is up to date")]


def _journal(config: "Config") -> list[Finding]:
    """What waits on this disk for the database; nothing is told of an empty journal."""
    from netd.radius.journal import refused, waiting
    from netd.radius.service import JOURNAL

    folder = config.data_dir / JOURNAL
    try:
        found = [
            Finding("note", "journal", f"{one.octets} octets of accounting wait since {_when(one.since)} for the database {one.database} in {folder}")
            for one in waiting(folder)
        ]
        aside = [
            Finding(
                "fault", "journal", f"records that the database refused are kept in {path}: see why there; `netd accounting retry-refused` has them tried again"
            )
            for path in refused(folder)
        ]
    except OSError as error:
        return [Finding("fault", "journal", f"{folder} may not be read: {error.strerror}")]
    return found + aside


def _when(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def _daemon(config: "Config") -> Finding:
    """What the daemon of this data folder says of its parts; that none runs is no fault of the installation."""
    file = config.data_dir / "api.url"
    try:
        url = file.read_text().strip()
    except FileNotFoundError:
        return Finding("note", "daemon", f"has not run here yet: {file} does not exist")
    except OSError as error:
        return Finding("fault", "daemon", f"{file} may not be read: {error.strerror}")
    try:
        bad = [part for part in _parts(url) if part["state"] != "ok"]
    except ConnectionRefusedError:
        return Finding("note", "daemon", f"does not run: nothing answers at {url}")
    except OSError as error:
        return Finding("fault", "daemon", f"no answer from {url}: {error}")
    except (ValueError, TypeError, KeyError):
        return Finding("fault", "daemon", f"what answers at {url} is not a netd daemon")
    if bad:
        return Finding("fault", "daemon", "; ".join(f"{part['name']} is {part['state']}" + f" ({part['detail']})" * bool(part["detail"]) for part in bad))
    return Finding("ok", "daemon", f"answers at {url}, and all its parts are well")


def _parts(url: str) -> list[dict[str, Any]]:
    """The parts that /health/ready lists. Raises OSError without an answer; ValueError, TypeError or KeyError for one that is none of netd's."""
    import http.client
    from urllib.parse import urlsplit

    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=HEALTH_SECONDS)
    try:
        connection.request("GET", "/health/ready")
        parts: list[dict[str, Any]] = json.loads(connection.getresponse().read())["parts"]
    except http.client.HTTPException as error:
        raise ValueError(str(error)) from None
    finally:
        connection.close()
    return parts
