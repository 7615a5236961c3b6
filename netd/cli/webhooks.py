"""``netd webhook`` and ``netd billing-hook``"""

import argparse
import sys
from typing import Any

from netd.cli import client, output
from netd.cli.arguments import Commands, body, changes, command, group, listed, nullable, option, paging
from netd.cli.client import Reply
from netd.cli.lists import show_list

HOOK, BILLING = ("webhook", "/webhooks"), ("billing hook", "/billing-hooks")


def register(commands: Commands) -> None:
    """Add the commands."""
    _webhooks(group(commands, "webhook", "systems that are told of events"))
    _billing_hooks(group(commands, "billing-hook", "what billing systems call when an invoice is overdue or paid"))


def _named(commands: Commands, name: str, help_text: str, run: Any) -> argparse.ArgumentParser:
    parser = command(commands, name, help_text, run)
    parser.add_argument("hook", metavar="NAME")
    return parser


def _webhooks(hook: Commands) -> None:
    add = _named(hook, "add", "make a webhook and print its secret, this once", _add)
    option(add, "--url", "url", "where to send events", metavar="URL", required=True)
    option(add, "--types", "types", "only these, as quota.*,subscriber.suspended", listed, metavar="TYPES")
    option(add, "--site", "site", "only what happens at this site", metavar="NAME")
    option(add, "--note", "note", "free text", nullable(), metavar="TEXT")
    paging(command(hook, "list", "list webhooks", _list))
    _named(hook, "show", "show a webhook and how far it is", _show)
    update = _named(hook, "update", "change, disable or enable a webhook", _update)
    option(update, "--name", "name", "a new name", metavar="NAME")
    option(update, "--url", "url", "where to send events", metavar="URL")
    option(update, "--types", "types", "only these; none: all", listed, metavar="TYPES")
    option(update, "--note", "note", "free text", nullable(), metavar="TEXT")
    _switch(update)
    _named(hook, "remove", "remove a webhook and its log", _remove)
    _named(hook, "test", "send a webhook.test now, and tell how that went", _test)
    _named(hook, "rotate", "make a new secret and print it, this once; the one before signs beside it for 24 h", _rotate)
    replay = _named(hook, "replay", "send everything again from an event on", _replay)
    replay.add_argument("--from", dest="event_id", required=True, metavar="EVENT", help="id of the first event to be sent again")
    log = _named(hook, "deliveries", "what was sent and what was answered, newest first", _deliveries)
    log.add_argument("--failed", action="store_true", help="only what was not delivered")
    paging(log)


def _billing_hooks(hook: Commands) -> None:
    add = _named(hook, "add", "make a billing hook and print its path and secret, this once", _billing_add)
    option(add, "--mode", "mode", "what the lock overdue does: reject (default) or walled", choices=("reject", "walled"), metavar="MODE")
    option(add, "--note", "note", "free text", nullable(), metavar="TEXT")
    paging(command(hook, "list", "list billing hooks", _billing_list))
    _named(hook, "show", "show a billing hook", _billing_show)
    update = _named(hook, "update", "change, disable or enable a billing hook", _billing_update)
    option(update, "--name", "name", "a new name", metavar="NAME")
    option(update, "--mode", "mode", "of locks to come: reject or walled", choices=("reject", "walled"), metavar="MODE")
    option(update, "--note", "note", "free text", nullable(), metavar="TEXT")
    _switch(update)
    _named(hook, "remove", "remove a billing hook", _billing_remove)
    _named(hook, "rotate", "make a new secret and print it, this once; the one before is good for 24 h", _billing_rotate)


def _switch(parser: argparse.ArgumentParser) -> None:
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--enable", dest="enabled", action="store_true", default=argparse.SUPPRESS, help="go on where it was")
    either.add_argument("--disable", dest="enabled", action="store_false", default=argparse.SUPPRESS, help="stop for now")


def _path(api: client.Client, kind: tuple[str, str], name: str) -> str:
    noun, path = kind
    return f"{path}/{api.one(path, noun, name=name)['id']}"


def _print_secret(reply: Reply, arguments: argparse.Namespace, said: str) -> int:
    if arguments.json:
        output.print_json(reply.raw)
    else:
        print(reply.value["secret"])
        print(f"netd: {said}; keep the secret, it is not shown again", file=sys.stderr)
    return 0


def _add(arguments: argparse.Namespace) -> int:
    wanted = {"name": arguments.hook, **body(arguments, ("url", "types", "site", "note"))}
    reply = client.find().post("/webhooks", wanted)
    return _print_secret(reply, arguments, f"webhook {arguments.hook} tells {reply.value['webhook']['url']} from now on")


def _list(arguments: argparse.Namespace) -> int:
    def row(hook: dict[str, Any]) -> tuple[object, ...]:
        types = " ".join(hook["types"]) or "all"
        return hook["id"], hook["name"], hook["url"], types, _state(hook), output.moment(hook["last_delivered_at"])

    return show_list(client.find(), "/webhooks", arguments, ("ID", "NAME", "URL", "TYPES", "STATE", "LAST DELIVERED"), row)


def _state(hook: dict[str, Any]) -> str:
    if not hook["enabled"]:
        return f"disabled: {hook['disabled_reason']}" if hook["disabled_reason"] else "disabled"
    if hook["failing_since"]:
        return f"failing since {output.moment(hook['failing_since'])}, next attempt {output.moment(hook['due_at'])}: {hook['last_error']}"
    return "good"


def _show(arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.get(_path(api, HOOK, arguments.hook)), arguments.json)
    return 0


def _update(arguments: argparse.Namespace) -> int:
    wanted = changes(arguments, ("name", "url", "types", "note", "enabled"))
    api = client.find()
    output.show(api.patch(_path(api, HOOK, arguments.hook), wanted), arguments.json)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_path(api, HOOK, arguments.hook)), arguments.json, f"webhook {arguments.hook} is removed")


def _test(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.post(_path(api, HOOK, arguments.hook) + "/test")
    output.show(reply, arguments.json)
    return 0 if reply.value["delivered"] else client.REFUSED


def _rotate(arguments: argparse.Namespace) -> int:
    api = client.find()
    return _print_secret(api.post(_path(api, HOOK, arguments.hook) + "/rotate"), arguments, "the secret before signs beside it for 24 h")


def _replay(arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.post(_path(api, HOOK, arguments.hook) + "/replay", {"event_id": arguments.event_id}), arguments.json)
    return 0


def _deliveries(arguments: argparse.Namespace) -> int:
    def row(each: dict[str, Any]) -> tuple[object, ...]:
        how = "delivered" if each["delivered"] else each["error"]
        return output.moment(each["at"]), each["event_id"], each["event_type"], each["attempt"], each["status"], f"{each['seconds']:.3f} s", how

    api = client.find()
    header = ("AT", "EVENT", "TYPE", "ATTEMPT", "STATUS", "TOOK", "RESULT")
    return show_list(api, _path(api, HOOK, arguments.hook) + "/deliveries", arguments, header, row, delivered=False if arguments.failed else None)


def _billing_add(arguments: argparse.Namespace) -> int:
    reply = client.find().post("/billing-hooks", {"name": arguments.hook, **body(arguments, ("mode", "note"))})
    return _print_secret(reply, arguments, f"the billing system calls POST /api/v1/hooks/{reply.value['hook']['public_id']}")


def _billing_list(arguments: argparse.Namespace) -> int:
    def row(hook: dict[str, Any]) -> tuple[object, ...]:
        state = "good" if hook["enabled"] else "disabled"
        return hook["id"], hook["name"], f"/api/v1/hooks/{hook['public_id']}", hook["mode"], state, output.moment(hook["last_used_at"])

    return show_list(client.find(), "/billing-hooks", arguments, ("ID", "NAME", "PATH", "MODE", "STATE", "LAST USED"), row)


def _billing_show(arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.get(_path(api, BILLING, arguments.hook)), arguments.json)
    return 0


def _billing_update(arguments: argparse.Namespace) -> int:
    wanted = changes(arguments, ("name", "mode", "note", "enabled"))
    api = client.find()
    output.show(api.patch(_path(api, BILLING, arguments.hook), wanted), arguments.json)
    return 0


def _billing_remove(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_path(api, BILLING, arguments.hook)), arguments.json, f"billing hook {arguments.hook} is removed")


def _billing_rotate(arguments: argparse.Namespace) -> int:
    api = client.find()
    return _print_secret(api.post(_path(api, BILLING, arguments.hook) + "/rotate"), arguments, "the secret before is good for 24 h")
