"""``netd config``: what devices are configured as, and how that stands; ``netd template``: what they should be."""

import argparse
import json
import sys
from typing import Any

from netd.cli import client, files, output
from netd.cli.arguments import Commands, body, command, group, nullable, option, paging
from netd.cli.client import REFUSED, USAGE, Client, CliError
from netd.cli.device_work import version_of
from netd.cli.lists import show_list

NOTHING_READ = "no configuration was read yet: netd device backup --all"
TEMPLATE = ("role", "site", "compare", "note")


def register(commands: Commands) -> None:
    """Add the commands."""
    config = group(commands, "config", "what devices are configured as, and what that differs from")
    listing = command(config, "list", "list versions, newest first", _list)
    listing.add_argument("--device", metavar="NAME", help="only of this device")
    listing.add_argument("--which", choices=("running", "startup"), help="only of what runs, or of what a device would start with")
    paging(listing)
    show = command(config, "show", "show a version of a device's configuration, without secrets", _show)
    show.add_argument("device", metavar="NAME")
    show.add_argument("number", type=int, nargs="?", metavar="VERSION", help="the latest, unless one is given")
    show.add_argument("--startup", action="store_true", help="of what it would start with, not of what it runs")
    show.add_argument("--reveal", action="store_true", help="with secrets; it is recorded that you saw them")
    status = command(config, "status", "how devices stand: what they differ from, and which could not be read", _status)
    status.add_argument("--drifted", action="store_true", help="only those that differ from something")
    status.add_argument("--failed", action="store_true", help="only those that could not be read")
    paging(status)
    _templates(group(commands, "template", "templates of configurations: of a role, of a role at a site, or for others to include"))


def _list(arguments: argparse.Namespace) -> int:
    def row(each: dict[str, Any]) -> tuple[object, ...]:
        approved = f"{each['approved_by']}, {output.moment(each['approved_at'])}" if each["approved_at"] else None
        return (
            each["device"], each["which"], each["number"], each["lines"], output.moment(each["first_seen_at"]), output.moment(each["last_seen_at"]),
            each["source"], approved,
        )  # fmt: skip

    header = ("DEVICE", "WHICH", "VERSION", "LINES", "FROM", "TO", "SOURCE", "APPROVED")
    return show_list(client.find(), "/configurations", arguments, header, row, NOTHING_READ, device=arguments.device, which=arguments.which)


def _show(arguments: argparse.Namespace) -> int:
    api = client.find()
    which = "startup" if arguments.startup else "running"
    path = f"/configurations/{version_of(api, arguments.device, which, arguments.number)['id']}"
    reply = api.post(f"{path}/reveal") if arguments.reveal else api.get(path)
    if arguments.json:
        output.print_json(reply.raw)
    else:
        for line in reply.value["text"].splitlines():
            print(output.printable(line))
    return 0


def _status(arguments: argparse.Namespace) -> int:
    def row(each: dict[str, Any]) -> tuple[object, ...]:
        drift = ", ".join(each["drift"]) or None
        error = each["error"] or (each["intended"] and f"its template does not render: {each['intended']}")
        return each["device"], each["site"], drift, output.moment(each["drifted_at"]), output.moment(each["backed_up_at"]), error

    header = ("DEVICE", "SITE", "DIFFERS FROM", "SINCE", "READ", "ERROR")
    wanted: dict[str, Any] = {"drifted": arguments.drifted or None, "failed": arguments.failed or None}
    return show_list(client.find(), "/configuration-states", arguments, header, row, NOTHING_READ, **wanted)


# -- templates -----------------------------------------------------------------------------------------------------------


def _templates(template: Commands) -> None:
    paging(command(template, "list", "list templates", _template_list))
    _named(template, "show", "show what a template says", _template_show)
    put = _named(template, "set", "make a template, or change it", _template_set)
    put.add_argument("--body", metavar="FILE", help="what it says; - is standard input")
    option(put, "--role", "role", "of which role's devices it is; none: for others to include", nullable(), metavar="ROLE")
    option(put, "--site", "site", "of the role's devices at this site only", nullable(), metavar="SITE")
    option(put, "--purpose", "purpose", "of a new one: configuration (default), or boot for files that devices start with", choices=("configuration", "boot"))
    option(put, "--compare", "compare", "contains (default), whole or off", choices=("contains", "whole", "off"))
    option(put, "--note", "note", "anything", nullable(), metavar="TEXT")
    _named(template, "remove", "remove a template", _template_remove)
    preview = _named(template, "preview", "what a template renders for a device", _template_preview)
    preview.add_argument("device", metavar="DEVICE")
    check = command(template, "check", "render every device's template; exit code 1 if one does not", _template_check)
    check.add_argument("--group", metavar="NAME", help="only a group's devices")
    values = command(template, "variables", "list variables, or with --set replace those of a role, a site or both", _variables)
    values.add_argument("--role", metavar="ROLE")
    values.add_argument("--site", metavar="SITE")
    values.add_argument("--set", dest="value", metavar="JSON", help="an object with all variables; - reads it from standard input")
    paging(values)


def _named(commands: Commands, name: str, help_text: str, run: Any) -> argparse.ArgumentParser:
    parser = command(commands, name, help_text, run)
    parser.add_argument("name", metavar="NAME")
    return parser


def _path(api: Client, name: str) -> str:
    return f"/templates/{api.one('/templates', 'template', name=name)['id']}"


def _template_list(arguments: argparse.Namespace) -> int:
    def row(each: dict[str, Any]) -> tuple[object, ...]:
        return each["id"], each["name"], each["role"], each["site"], each["compare"], each["number"], output.moment(each["updated_at"]), each["note"]

    header = ("ID", "NAME", "ROLE", "SITE", "COMPARED", "VERSION", "CHANGED", "NOTE")
    return show_list(client.find(), "/templates", arguments, header, row, "no templates yet: netd template set NAME --role ROLE --body FILE")


def _template_show(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.get(_path(api, arguments.name))
    if arguments.json:
        output.print_json(reply.raw)
    else:
        sys.stdout.write(reply.value["body"])
    return 0


def _template_set(arguments: argparse.Namespace) -> int:
    api, wanted = client.find(), body(arguments, TEMPLATE)
    if arguments.body is not None:
        wanted["body"] = files.text(arguments.body)
    known = api.get("/templates", name=arguments.name).value["items"]
    if known:
        reply = api.patch(f"/templates/{known[0]['id']}", wanted)
    elif "body" not in wanted:
        raise CliError("a new template needs --body", USAGE)
    else:
        reply = api.post("/templates", {"name": arguments.name, **wanted, **body(arguments, ("purpose",))})
    return output.done(reply, arguments.json, f"template {arguments.name} is at version {reply.value['number']}")


def _template_remove(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_path(api, arguments.name)), arguments.json, f"template {arguments.name} is removed")


def _template_preview(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.post(f"{_path(api, arguments.name)}/preview", {"device": arguments.device})
    if arguments.json:
        output.print_json(reply.raw)
    elif reply.value["error"] is not None:
        raise CliError(f"it does not render: {reply.value['error']}")
    else:
        sys.stdout.write(reply.value["text"])
    return 0


def _template_check(arguments: argparse.Namespace) -> int:
    reply = client.find().post("/templates/check", {"group": arguments.group} if arguments.group else {"selector": {}})
    if arguments.json:
        output.print_json(reply.raw)
    else:
        broken = len(reply.value["faults"]) + len(reply.value["without"])
        print(f"for {reply.value['rendered']} of {reply.value['rendered'] + broken} devices there is a template that renders")
        for each in reply.value["faults"]:
            print(output.printable(f"{each['device']}: {each['error']}"))
        for name in reply.value["without"]:
            print(output.printable(f"{name}: there is no template of its role"))
    return REFUSED if reply.value["faults"] else 0


def _variables(arguments: argparse.Namespace) -> int:
    api = client.find()
    if arguments.value is None:

        def row(each: dict[str, Any]) -> tuple[object, ...]:
            return each["id"], each["role"], each["site"], json.dumps(each["variables"], ensure_ascii=False)

        header, none = ("ID", "ROLE", "SITE", "VARIABLES"), "no variables yet: netd template variables --role ROLE --set JSON"
        return show_list(api, "/template-variables", arguments, header, row, none, role=arguments.role, site=arguments.site)
    try:
        value = json.loads(sys.stdin.read() if arguments.value == "-" else arguments.value)
    except ValueError as error:
        raise CliError(f"--set is not JSON: {error}", USAGE) from None
    scope = {
        **({"role": arguments.role} if arguments.role else {"role__null": True}), **({"site": arguments.site} if arguments.site else {"site__null": True})
    }  # fmt: skip
    known = api.get("/template-variables", **scope).value["items"]
    if known:
        reply = api.patch(f"/template-variables/{known[0]['id']}", {"variables": value})
    else:
        reply = api.post("/template-variables", {"variables": value, "role": arguments.role, "site": arguments.site})
    output.show(reply, arguments.json)
    return 0
