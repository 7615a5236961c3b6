"""``netd token``: by the API where there is one to speak to, else in the database itself (the first token, or the last one lost)."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netd.cli import client, output
from netd.cli.arguments import Commands, command, group, paging
from netd.cli.client import CliError, Reply
from netd.cli.lists import show_list
from netd.cli.values import days

if TYPE_CHECKING:
    from datetime import datetime


def register(commands: Commands) -> None:
    """Add the command."""
    token = group(commands, "token", "who may use the API")
    text = "make a token and print it, this once; without a daemon or an admin's token in the database itself"
    create = command(token, "create", text, _create)
    create.add_argument("--role", default="admin", metavar="ROLE", help="admin (default), operator, read_only … (`netd role list`)")
    create.add_argument("--permission", action="append", dest="permissions", metavar="P", help="only this of the role's permissions; may be repeated")
    bound = create.add_mutually_exclusive_group()
    bound.add_argument("--organization", metavar="NAME", help="good in this organization's sites only")
    bound.add_argument("--site", metavar="NAME", help="good at this site only")
    bound.add_argument("--subscriber", metavar="USERNAME", help="good for this subscriber's own account only, with --role self_service")
    create.add_argument("--name", default="cli", help="whom or what it is for", metavar="NAME")
    create.add_argument("--expires-days", type=days, metavar="N", help="days for which it is good; without it until revoked")
    create.add_argument("--config", type=Path, metavar="FILE", help="the configuration that names the database, if no daemon can be asked")
    paging(command(token, "list", "list tokens", _list))
    command(token, "revoke", "revoke a token for ever", _revoke).add_argument("id", type=int, metavar="ID")


def _row(token: dict[str, Any]) -> tuple[object, ...]:
    state = f"revoked {output.moment(token['revoked_at'])}" if token["revoked_at"] else "good"
    expires, used = output.moment(token["expires_at"]), output.moment(token["last_used_at"])
    return token["id"], token["public_id"], token["name"], token["role"], _where(token), output.moment(token["created_at"]), expires, used, state


def _where(token: dict[str, Any]) -> str | None:
    return next((f"{name} {token[f'{name}_id']}" for name in ("organization", "site", "subscriber") if token[f"{name}_id"] is not None), None)


def _list(arguments: argparse.Namespace) -> int:
    return show_list(client.find(), "/tokens", arguments, ("ID", "TOKEN", "NAME", "ROLE", "WHERE", "CREATED", "EXPIRES", "LAST USED", "STATE"), _row)


def _revoke(arguments: argparse.Namespace) -> int:
    reply = client.find().delete(f"/tokens/{arguments.id}")
    return output.done(reply, arguments.json, f"token {reply.value['public_id']} ({reply.value['name']}) is revoked")


def _create(arguments: argparse.Namespace) -> int:
    from datetime import UTC, datetime, timedelta

    expires_at = datetime.now(UTC) + timedelta(days=arguments.expires_days) if arguments.expires_days is not None else None
    reply = _by_api(arguments, expires_at)
    if reply is None:
        from netd.cli.direct import run

        reply = run(_by_database(arguments, expires_at))
    if arguments.json:
        output.print_json(reply.raw)
    else:
        print(reply.value["text"])
        token = reply.value["token"]
        print(f"netd: role {token['role']}, id {token['id']}; keep it, it is not shown again", file=sys.stderr)
    return 0


def _wanted(arguments: argparse.Namespace) -> dict[str, Any]:
    given = vars(arguments)
    bound = {name: given[name] for name in ("organization", "site", "subscriber", "permissions") if given[name] is not None}
    return {"name": arguments.name, "role": arguments.role, **bound}


def _by_api(arguments: argparse.Namespace, expires_at: "datetime | None") -> Reply | None:
    """None if the API cannot do it and this machine's database might: no daemon, or no token that is good."""
    wanted = {**_wanted(arguments), "expires_at": expires_at.isoformat() if expires_at else None}
    try:
        return client.find().post("/tokens", wanted)
    except client.ApiError as error:
        if os.environ.get("NETD_URL") or error.status not in (401, 403):
            raise
    except CliError as error:
        if os.environ.get("NETD_URL") or error.code == client.USAGE:
            raise
    return None


async def _by_database(arguments: argparse.Namespace, expires_at: "datetime | None") -> Reply:
    from datetime import UTC, datetime

    import msgspec

    from netd.cli.direct import tokens_database
    from netd.config import load
    from netd.domain import tokens
    from netd.domain.actor import system
    from netd.domain.conversion import convert, validation_fault

    config = load(arguments.config, client.environment(arguments.config))
    async with tokens_database(config) as (database, tenant_id):
        try:
            new = convert({**_wanted(arguments), "expires_at": expires_at}, tokens.NewToken)
        except msgspec.ValidationError as error:
            fault = validation_fault(str(error))
            raise CliError(f"{fault.where.lstrip('/')}: {fault.what}", client.USAGE) from None
        issued = await tokens.create(database, system(tenant_id, "netd token create"), new, datetime.now(UTC))
    raw = msgspec.json.encode(issued)
    return Reply(json.loads(raw), raw)
