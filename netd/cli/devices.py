"""``netd device`` and ``netd device-group``"""

import argparse
import json
import re
from typing import Any

from netd.cli import client, device_work, output, telemetry
from netd.cli.arguments import Commands, body, changes, command, group, listed, nullable, option, paging
from netd.cli.lists import show_list
from netd.cli.values import json_object, yes_no

PATH, GROUPS = "/devices", "/device-groups"
KINDS, STATES = ("router", "switch", "olt", "onu", "server", "other"), ("planned", "active", "maintenance", "retired")
MEMBERS = (
    "hostname", "mgmt_address", "vendor", "platform", "kind", "state", "model", "serial", "software_version", "target_version", "site", "parent", "nas",
    "credential", "subscriber", "role",
    "variables", "tags", "ports", "host_keys", "certificates", "legacy_algorithms", "sessions", "timeout_seconds", "polling", "poll_groups", "note",
)  # fmt: skip
FILTERS = ("vendor", "platform", "kind", "state", "model", "software_version", "site", "tag", "role")
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{4}([.-][0-9A-Fa-f]{4}){2}|[0-9A-Fa-f]{12}")
NONE = "no devices yet: netd device add NAME --address A --vendor V, or netd discovery start RANGE"
SELECTS = ("hostnames", "tags", "sites", "vendors", "platforms", "kinds", "roles", "models", "states")


def register(commands: Commands) -> None:
    """Add the commands."""
    device = group(commands, "device", "routers, switches, OLTs: what netd knows of them, and what they say of themselves")
    add = _named(device, "add", "let netd know a device", _add)
    _options(add, new=True)
    listing = command(device, "list", "list devices", _list)
    for name in FILTERS:
        choices = {"kind": KINDS, "state": STATES}.get(name)
        text = "only with this tag" if name == "tag" else f"only devices of this {name.replace('_', ' ')}"
        listing.add_argument(f"--{name.replace('_', '-')}", dest=name, choices=choices, metavar="X", help=text)
    listing.add_argument("--search", metavar="TEXT", help="only those with this in their name")
    paging(listing)
    _named(device, "show", "show a device: what was written of it, and what it says", _show)
    _options(_named(device, "update", "change a device", _update), new=False)
    _named(device, "remove", "forget a device and what was observed of it", _remove)
    interfaces = _named(device, "interfaces", "list its interfaces as last seen", _interfaces)
    interfaces.add_argument("--gone", action="store_true", help="also those that it shows no more")
    paging(interfaces)
    changed = _named(device, "update-interface", "say whether an interface is monitored, and more of it", _update_interface)
    changed.add_argument("interface", metavar="INTERFACE")
    option(changed, "--monitored", "monitored", "no: its figures are not kept, and raise no alarms", yes_no, metavar="yes|no")
    option(changed, "--note", "note", "free text", nullable(), metavar="TEXT")
    paging(_named(device, "links", "list its neighbours", _links))
    paging(_named(device, "history", "what changed of what it says, newest first", _history))
    telemetry.add(device)
    where = command(device, "where", "at which interfaces a MAC or IP address was seen, and when", _where)
    where.add_argument("address", metavar="ADDRESS", help="a MAC address in any notation, or an IP address")
    paging(where)
    device_work.register(device)
    _groups(group(commands, "device-group", "named selections of devices, for jobs and backup"))


def _named(commands: Commands, name: str, help_text: str, run: Any) -> argparse.ArgumentParser:
    parser = command(commands, name, help_text, run)
    parser.add_argument("device", metavar="NAME")
    return parser


def _ports(text: str) -> dict[str, int]:
    """``ssh=2222,snmp=1161``."""
    try:
        return {name: int(port) for name, _, port in (part.partition("=") for part in listed(text))}
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form ssh=2222,snmp=1161") from None


def _options(parser: argparse.ArgumentParser, *, new: bool) -> None:
    option(parser, "--address", "mgmt_address", "its management address", required=new, metavar="A")
    option(parser, "--vendor", "vendor", "mikrotik, huawei, zte, nokia, cisco, generic, or an extension's name", required=new, metavar="V")
    if not new:
        option(parser, "--hostname", "hostname", "a new name", metavar="NAME")
    option(parser, "--platform", "platform", "which driver speaks to it (the recognised one)", nullable(), metavar="P")
    option(parser, "--kind", "kind", f"{', '.join(KINDS)} (the platform's)", choices=KINDS, metavar="K")
    option(parser, "--state", "state", "planned, active (default), maintenance, retired: only an active one is polled", choices=STATES, metavar="S")
    for name in ("model", "serial", "software_version"):
        option(parser, f"--{name.replace('_', '-')}", name, "as written down; what it says itself is kept beside that", nullable(), metavar="TEXT")
    option(parser, "--target-version", "target_version", "the software that it should run", nullable(), metavar="TEXT")
    option(parser, "--site", "site", "name of the site where it is", nullable(), metavar="SITE")
    option(parser, "--parent", "parent", "name of the device that it is reached through", nullable(), metavar="NAME")
    option(parser, "--nas", "nas", "name of its NAS entry, where it speaks RADIUS", nullable(), metavar="NAME")
    option(parser, "--credential", "credential", "the only one of its protocol that is tried (the site's, then the tenant's)", nullable(), metavar="NAME")
    option(parser, "--subscriber", "subscriber", "user name of the customer whose it is", nullable(), metavar="NAME")
    option(parser, "--role", "role", "which template its configuration is made of", nullable(), metavar="TEXT")
    option(parser, "--variables", "variables", "for that template, a JSON object, or @FILE", json_object, metavar="JSON")
    option(parser, "--tags", "tags", "comma separated", listed, metavar="TAGS")
    option(parser, "--ports", "ports", "as ssh=2222,snmp=1161, where they are not the usual ones", _ports, metavar="PORTS")
    text = "pinned SSH host keys, comma separated; none: the next one that it shows is pinned"
    option(parser, "--host-keys", "host_keys", text, listed, metavar="KEYS")
    text = "pinned TLS certificates of its HTTP API, SHA-256 in hex, comma separated; none: the next one that it shows is pinned"
    option(parser, "--certificates", "certificates", text, listed, metavar="DIGESTS")
    option(parser, "--legacy-algorithms", "legacy_algorithms", "whether SSH may use group1-sha1, CBC and ssh-dss (no)", yes_no, metavar="yes|no")
    option(parser, "--sessions", "sessions", "how many at a time it bears (1)", int, metavar="N")
    option(parser, "--timeout", "timeout_seconds", "seconds (10)", float, metavar="S")
    option(parser, "--polling", "polling", "whether it is polled (yes)", yes_no, metavar="yes|no")
    option(parser, "--poll-groups", "poll_groups", "costly groups of telemetry that are read all the same: optics", listed, metavar="GROUPS")
    option(parser, "--note", "note", "free text", nullable(), metavar="TEXT")


def _seen(device: dict[str, Any], fact: str) -> object:
    observed = device["observed"].get(fact)
    return observed["value"] if observed else device.get(fact)


def _row(device: dict[str, Any]) -> tuple[object, ...]:
    seen = (_seen(device, "model"), _seen(device, "software_version"), output.moment(device["facts_at"]))
    return device["id"], device["hostname"], device["mgmt_address"], device["platform"] or _seen(device, "platform"), device["site"], device["state"], *seen


def _add(arguments: argparse.Namespace) -> int:
    return _print(client.find().post(PATH, {"hostname": arguments.device, **body(arguments, MEMBERS)}), arguments)


def _list(arguments: argparse.Namespace) -> int:
    header = ("ID", "NAME", "ADDRESS", "PLATFORM", "SITE", "STATE", "MODEL", "SOFTWARE", "INSPECTED")
    wanted = {name: getattr(arguments, name) for name in FILTERS} | {"q": arguments.search}
    return show_list(client.find(), PATH, arguments, header, _row, NONE, sort="hostname", **wanted)


def _id(api: client.Client, name: str) -> int:
    found: int = api.one(PATH, "device", hostname=name)["id"]
    return found


def _show(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.get(f"{PATH}/{_id(api, arguments.device)}")
    return _print(reply, arguments)


def _print(reply: client.Reply, arguments: argparse.Namespace) -> int:
    """A device, and what was observed of it as a table."""
    if arguments.json:
        output.print_json(reply.raw)
        return 0
    told = dict(reply.value)
    observed = told.pop("observed")
    output.print_fields(told)
    if observed:
        print()
        rows = [(fact, each["value"], each["source"], output.moment(each["at"])) for fact, each in observed.items()]
        output.print_table(rows, ("OBSERVED", "VALUE", "SOURCE", "SINCE"))
    return 0


def _update(arguments: argparse.Namespace) -> int:
    wanted = changes(arguments, MEMBERS)
    api = client.find()
    return _print(api.patch(f"{PATH}/{_id(api, arguments.device)}", wanted), arguments)


def _remove(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(f"{PATH}/{_id(api, arguments.device)}"), arguments.json, f"device {arguments.device} is removed")


def _state(up: object) -> str:
    return "-" if up is None else "up" if up else "down"


def _interface(row: dict[str, Any]) -> tuple[object, ...]:
    states = _state(row["admin_up"]), "gone" if row["gone_at"] else _state(row["oper_up"])
    return row["if_index"], row["name"], row["alias"], *states, output.rate(row["speed_bps"]), row["mac"], row["monitored"]


def _interfaces(arguments: argparse.Namespace) -> int:
    api = client.find()
    header = ("INDEX", "NAME", "ALIAS", "ADMIN", "OPER", "SPEED", "MAC", "MONITORED")
    usual = {"device_id": _id(api, arguments.device), "sort": "if_index", **({} if arguments.gone else {"gone_at__null": True})}
    return show_list(api, "/interfaces", arguments, header, _interface, f"none was seen yet: netd device inspect {arguments.device}", usual)


def _update_interface(arguments: argparse.Namespace) -> int:
    wanted = changes(arguments, ("monitored", "note"))
    api = client.find()
    found = api.one("/interfaces", "interface", name=arguments.interface, device_id=_id(api, arguments.device))
    output.show(api.patch(f"/interfaces/{found['id']}", wanted), arguments.json)
    return 0


def _link(row: dict[str, Any]) -> tuple[object, ...]:
    who = row["remote_device"] or row["remote_name"] or row["remote_mac"] or row["remote_address"]
    return row["local_interface"], row["protocol"], who, row["remote_interface"], bool(row["remote_device_id"]), output.moment(row["last_seen_at"])


def _links(arguments: argparse.Namespace) -> int:
    api = client.find()
    header = ("INTERFACE", "PROTOCOL", "NEIGHBOUR", "ITS INTERFACE", "KNOWN", "LAST SEEN")
    usual = {"device_id": _id(api, arguments.device), "sort": "local_interface"}
    return show_list(api, "/links", arguments, header, _link, f"none was heard yet: netd device inspect {arguments.device}", usual)


def _history(arguments: argparse.Namespace) -> int:
    api = client.find()
    return show_list(
        api, "/device-facts", arguments, ("AT", "OF", "FACT", "BEFORE", "AFTER", "SOURCE"),
        lambda row: (output.moment(row["at"]), row["subject"], row["fact"], output.brief(row["before"]), output.brief(row["after"]), row["source"]),
        "nothing changed yet", {"device_id": _id(api, arguments.device)},
    )  # fmt: skip


def _where(arguments: argparse.Namespace) -> int:
    by = "mac" if _MAC.fullmatch(arguments.address) else "address"
    return show_list(
        client.find(), "/endpoints", arguments, ("DEVICE", "INTERFACE", "VLAN", "MAC", "ADDRESS", "FIRST SEEN", "LAST SEEN"),
        lambda row: (row["device"], row["interface"], row["vlan"], row["mac"], row["address"],
                     output.moment(row["first_seen_at"]), output.moment(row["last_seen_at"])),
        f"{arguments.address} was seen nowhere", {"sort": "-last_seen_at", by: arguments.address},
    )  # fmt: skip


# -- groups --------------------------------------------------------------------------------------------------------------


def _groups(commands: Commands) -> None:
    def named(name: str, help_text: str, run: Any) -> argparse.ArgumentParser:
        parser = command(commands, name, help_text, run)
        parser.add_argument("group", metavar="NAME")
        return parser

    def selects(parser: argparse.ArgumentParser) -> None:
        for name in SELECTS:
            text = "all of them, comma separated" if name == "tags" else "comma separated: any of them"
            option(parser, f"--{name}", name, text + (" (active)" if name == "states" else ""), listed, metavar="X")
        option(parser, "--note", "note", "free text", nullable(), metavar="TEXT")

    selects(named("add", "make a group: what its conditions select whenever it is used", _group_add))
    paging(command(commands, "list", "list groups", _group_list))
    named("show", "show a group", _group_show)
    selects(named("update", "change a group; conditions that are given replace all of before", _group_update))
    named("remove", "remove a group; its devices stay", _group_remove)


def _selection(arguments: argparse.Namespace) -> dict[str, Any]:
    return body(arguments, SELECTS)


def _group_add(arguments: argparse.Namespace) -> int:
    wanted = {"name": arguments.group, "selector": _selection(arguments), **body(arguments, ("note",))}
    output.show(client.find().post(GROUPS, wanted), arguments.json)
    return 0


def _group_list(arguments: argparse.Namespace) -> int:
    def row(found: dict[str, Any]) -> tuple[object, ...]:
        return found["id"], found["name"], found["devices"], json.dumps(found["selector"]), found["note"]

    return show_list(
        client.find(), GROUPS, arguments, ("ID", "NAME", "DEVICES", "SELECTS", "NOTE"), row, "no groups yet: netd device-group add NAME --tags TAG"
    )


def _group_path(api: client.Client, name: str) -> str:
    return f"{GROUPS}/{api.one(GROUPS, 'device group', name=name)['id']}"


def _group_show(arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.get(_group_path(api, arguments.group)), arguments.json)
    return 0


def _group_update(arguments: argparse.Namespace) -> int:
    changes(arguments, (*SELECTS, "note"))
    selection = _selection(arguments)
    wanted = {**({"selector": selection} if selection else {}), **body(arguments, ("note",))}
    api = client.find()
    output.show(api.patch(_group_path(api, arguments.group), wanted), arguments.json)
    return 0


def _group_remove(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_group_path(api, arguments.group)), arguments.json, f"device group {arguments.group} is removed")
