"""``netd user``: people who log in, what they may and where."""

import argparse
import sys
from typing import Any

from netd.cli import client, output
from netd.cli.arguments import Commands, changes, command, group, nullable, option, paging
from netd.cli.client import CliError, Reply
from netd.cli.lists import show_list
from netd.cli.values import secret

MEMBERS = ("name", "full_name", "email", "oidc_issuer", "oidc_subject")
STATES = (
    ("disable", "keep a user out at once, with all sessions", {"disabled": True}, "is disabled"),
    ("enable", "let a disabled user in again", {"disabled": False}, "may log in again"),
)


def register(commands: Commands) -> None:
    """Add the command."""
    user = group(commands, "user", "people who log in, what they may and where")
    add = command(user, "add", "make a user and print what sets the password, this once", _add)
    add.add_argument("name", metavar="NAME", help="lower-case letters, digits and . _ @ + -")
    _place(add, required=False)
    _members(add)
    listing = command(user, "list", "list users", _list)
    listing.add_argument("--search", metavar="WORD", help="in name, full name or mail address")
    paging(listing)
    _named(command(user, "show", "show a user", _show))
    update = command(user, "update", "change a user", _update)
    _named(update)
    option(update, "--name", "name", "a new name", metavar="NAME")
    _members(update)
    for verb, text, run in (
        ("grant", "give a role; holds from the next request on", _grant),
        ("revoke", "take a role away; holds from the next request on", _revoke),
    ):
        parser = command(user, verb, text, run)
        _named(parser)
        _place(parser, required=True)
    for verb, text, body, told in STATES:
        parser = command(user, verb, text, _set_state)
        parser.set_defaults(body=body, told=told)
        _named(parser)
    _named(command(user, "unlock", "lift a lock-out after failed log-ins; it would end by itself", _unlock))
    _named(command(user, "reset-password", "take the password away, end all sessions, and print what sets a new one", _reset_password))
    _named(command(user, "remove-totp", "take the second factor away, for who lost it", _remove_totp))
    _named(command(user, "remove", "remove a user", _remove))
    setup = command(user, "setup", "set a password with what `add` or `reset-password` printed", _setup)
    setup.add_argument("--token", type=secret, required=True, metavar="T", help="what was printed")
    setup.add_argument("--password", type=secret, required=True, metavar="P", help="12 characters or more; - reads it from standard input")
    paging(command(user, "lockouts", "failed log-ins by user name and by address", _lockouts))


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("user", metavar="NAME")


def _members(parser: argparse.ArgumentParser) -> None:
    option(parser, "--full-name", "full_name", "the person's name", nullable(), metavar="TEXT")
    option(parser, "--email", "email", "mail address", nullable(), metavar="ADDRESS")
    option(parser, "--oidc-issuer", "oidc_issuer", "provider of the account to link", nullable(), metavar="URL")
    option(parser, "--oidc-subject", "oidc_subject", "the account's subject (sub) there", nullable(), metavar="SUB")


def _place(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument("--role", required=required, metavar="ROLE", help="admin, operator, noc_engineer … (`netd role list`)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--organization", metavar="NAME", help="in this organization's sites only")
    where.add_argument("--site", metavar="NAME", help="at this site only")


def _grant_of(arguments: argparse.Namespace) -> dict[str, Any]:
    given = {name: getattr(arguments, name) for name in ("role", "organization", "site")}
    return {name: value for name, value in given.items() if value is not None}


def _path(api: client.Client, name: str) -> str:
    return f"/users/{api.one('/users', 'user', name=name)['id']}"


def _set_up(reply: Reply, as_json: bool) -> int:
    if as_json:
        output.print_json(reply.raw)
        return 0
    print(reply.value["setup_token"])
    name = reply.value["user"]["name"]
    print(f"netd: sets the password of {name}, once, within a day (`netd user setup --token …`); it is not shown again", file=sys.stderr)
    return 0


def _add(arguments: argparse.Namespace) -> int:
    given = vars(arguments)
    wanted = {name: given[name] for name in MEMBERS if given.get(name) is not None}
    grant = _grant_of(arguments)
    if grant and "role" not in grant:
        raise CliError("--organization and --site go with a --role", client.USAGE)
    return _set_up(client.find().post("/users", {**wanted, "grants": [grant] if grant else []}), arguments.json)


def _where(grant: dict[str, Any]) -> str:
    place = f"{grant['role']}@{grant['site'] or grant['organization']}" if grant["site"] or grant["organization"] else grant["role"]
    return output.printable(place)


def _state(user: dict[str, Any]) -> str:
    if user["disabled_at"]:
        return "disabled"
    if user["locked_until"]:
        return f"locked until {output.moment(user['locked_until'])}"
    return "good" if user["has_password"] or user["oidc_subject"] else "no password yet"


def _row(user: dict[str, Any]) -> tuple[object, ...]:
    grants = " ".join(_where(grant) for grant in user["grants"])
    return user["id"], user["name"], user["full_name"], grants, user["totp"], output.moment(user["last_login_at"]), _state(user)


def _list(arguments: argparse.Namespace) -> int:
    header = ("ID", "NAME", "FULL NAME", "ROLES", "TOTP", "LAST LOG-IN", "STATE")
    return show_list(client.find(), "/users", arguments, header, _row, q=arguments.search)


def _show(arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.get(_path(api, arguments.user)), arguments.json)
    return 0


def _update(arguments: argparse.Namespace) -> int:
    wanted = changes(arguments, MEMBERS)
    api = client.find()
    output.show(api.patch(_path(api, arguments.user), wanted), arguments.json)
    return 0


def _grant(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.post(f"{_path(api, arguments.user)}/grants", _grant_of(arguments))
    return output.done(reply, arguments.json, f"{arguments.user} has {' '.join(_where(grant) for grant in reply.value['grants'])}")


def _revoke(arguments: argparse.Namespace) -> int:
    api = client.find()
    user = api.one("/users", "user", name=arguments.user)

    def is_meant(grant: dict[str, Any]) -> bool:
        place = [(grant[name] or "").lower() for name in ("organization", "site")]
        return grant["role"] == arguments.role and place == [(getattr(arguments, name) or "").lower() for name in ("organization", "site")]

    found = [grant for grant in user["grants"] if is_meant(grant)]
    if not found:
        raise CliError(f"{arguments.user} does not have this role there: it has {' '.join(_where(grant) for grant in user['grants']) or 'none'}")
    reply = api.delete(f"/users/{user['id']}/grants/{found[0]['id']}")
    return output.done(reply, arguments.json, f"{arguments.user} has {' '.join(_where(grant) for grant in reply.value['grants']) or 'no role'}")


def _set_state(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.patch(_path(api, arguments.user), arguments.body), arguments.json, f"{arguments.user} {arguments.told}")


def _unlock(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.post(f"{_path(api, arguments.user)}/unlock"), arguments.json, f"{arguments.user} is not locked out")


def _reset_password(arguments: argparse.Namespace) -> int:
    api = client.find()
    return _set_up(api.post(f"{_path(api, arguments.user)}/reset-password"), arguments.json)


def _remove_totp(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(f"{_path(api, arguments.user)}/totp"), arguments.json, f"{arguments.user} has no second factor any more")


def _remove(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_path(api, arguments.user)), arguments.json, f"user {arguments.user} is removed")


def _setup(arguments: argparse.Namespace) -> int:
    reply = client.find().post("/login/setup", {"token": arguments.token.strip(), "password": arguments.password})
    return output.done(reply, arguments.json, "the password is set")


def _lockouts(arguments: argparse.Namespace) -> int:
    def row(found: dict[str, Any]) -> tuple[object, ...]:
        subject = found["subject"] or "(a name that nobody has)"
        return found["id"], found["kind"], subject, found["failures"], output.moment(found["failed_at"]), output.moment(found["locked_until"])

    return show_list(client.find(), "/lockouts", arguments, ("ID", "KIND", "OF", "FAILURES", "LAST", "LOCKED UNTIL"), row)
