"""``netd pool`` and ``netd route``"""

import argparse
from collections.abc import Iterable
from typing import Any

from netd.cli import client, files, output
from netd.cli.arguments import Commands, body, changes, command, group, listed, nullable, option, paging
from netd.cli.lists import show_list

KINDS = ("ipv4", "ipv6", "delegated")
MEMBERS = ("name", "kind", "prefix_length", "ranges", "exclusions", "vrf", "gateway", "grace_seconds", "description")
CONDITIONS = ("plan", "nas", "site", "vrf")


def register(commands: Commands) -> None:
    """Add the commands."""
    pool = group(commands, "pool", "addresses and prefixes that netd gives to subscribers")
    add = command(pool, "add", "make a pool; `netd pool assign` says who is served from it", _add)
    add.add_argument("name", metavar="NAME")
    _options(add, new=True)
    listing = command(pool, "list", "list pools", _list)
    listing.add_argument("--kind", choices=KINDS)
    paging(listing)
    command(pool, "show", "show a pool, its rules and how full it is", _show).add_argument("pool", metavar="NAME")
    update = command(pool, "update", "change a pool; what is leased stays so until its session ends", _update)
    update.add_argument("pool", metavar="NAME")
    _options(update, new=False)
    command(pool, "remove", "remove a pool that nothing is leased from", _remove).add_argument("pool", metavar="NAME")
    ranges = command(pool, "import", "add the ranges of a file to a pool: one a line, with ! before it to exclude it; # begins a comment", _import)
    ranges.add_argument("pool", metavar="NAME")
    ranges.add_argument("file", metavar="FILE", help="the file; - for standard input")
    _register_rules(pool)
    _register_leases(pool)
    _register_routes(commands)


def _register_rules(pool: Commands) -> None:
    assign = command(pool, "assign", "serve log-ins from a pool: all, or those that fulfil every condition given; the most specific rule wins", _assign)
    assign.add_argument("pool", metavar="NAME")
    for name, text in (("plan", "with this plan"), ("nas", "on this NAS"), ("site", "on a NAS of this site"), ("vrf", "on a NAS of this VRF")):
        option(assign, f"--{name}", name, f"only log-ins {text}", metavar="NAME")
    rules = command(pool, "rules", "list the rules that assign pools", _rules)
    rules.add_argument("--pool", metavar="NAME", help="only this pool's")
    paging(rules)
    command(pool, "unassign", "remove a rule", _unassign).add_argument("id", type=int, metavar="RULE")


def _register_leases(pool: Commands) -> None:
    leases = command(pool, "leases", "list what is leased, in its grace time, or remembered for its last holder", _leases)
    leases.add_argument("pool", nargs="?", metavar="NAME", help="only from this pool")
    leases.add_argument("--username", metavar="U", help="only this subscriber's")
    leases.add_argument("--ip", metavar="A", help="only the one with this address in it")
    leases.add_argument("--state", choices=("in_use", "grace", "remembered", "conflict"), help="conflict: the NAS used another address")
    paging(leases)
    who = command(pool, "who", "who has an address, or what has a subscriber: fixed, routed or leased", _who)
    who.add_argument("ip", nargs="?", metavar="ADDRESS")
    who.add_argument("--username", metavar="U")
    release = command(pool, "release", "take an address from its holder, so that anybody may get it now", _release)
    release.add_argument("ip", metavar="ADDRESS")
    release.add_argument("--force", action="store_true", help="also from a live session, which is then disconnected")


def _register_routes(commands: Commands) -> None:
    route = group(commands, "route", "networks behind subscribers (Framed-Route, Framed-IPv6-Route)")
    add = command(route, "add", "route a network to a subscriber; a live session must log in again", _add_route)
    add.add_argument("username", metavar="USERNAME")
    add.add_argument("prefix", metavar="PREFIX")
    option(add, "--gateway", "gateway", "next hop (the subscriber's own address)", metavar="A")
    option(add, "--metric", "metric", "metric (1)", int, metavar="N")
    command(route, "list", "list a subscriber's networks", _list_routes).add_argument("username", metavar="USERNAME")
    remove = command(route, "remove", "route a network no longer", _remove_route)
    remove.add_argument("username", metavar="USERNAME")
    remove.add_argument("prefix", metavar="PREFIX")


def _options(parser: argparse.ArgumentParser, *, new: bool) -> None:
    if new:
        option(parser, "--kind", "kind", "ipv4, ipv6 (prefix of the link) or delegated (prefix of the network behind)", required=True, choices=KINDS)
        option(parser, "--prefix-length", "prefix_length", "length of what one subscriber gets (ipv6: 64, delegated: 56)", int, metavar="N")
        option(parser, "--vrf", "vrf", "routing table that the addresses are in", metavar="NAME")
    else:
        option(parser, "--name", "name", "a new name", metavar="NAME")
    text = "first-last, prefixes (of IPv4 their hosts) or addresses, comma separated"
    option(parser, "--ranges", "ranges", text, listed, required=new, metavar="R,R")
    option(parser, "--exclude", "exclusions", "what is never given out, in the same form; none: nothing", listed, metavar="R,R")
    option(parser, "--gateway", "gateway", "the gateway's address, never given out", nullable(), metavar="A")
    option(parser, "--grace", "grace_seconds", "seconds for which nobody else gets an address after a session's end (300)", int, metavar="N")
    option(parser, "--description", "description", "free text", nullable(), metavar="TEXT")


def _row(pool: dict[str, Any]) -> tuple[object, ...]:
    return pool["id"], pool["name"], pool["kind"], f"/{pool['prefix_length']}", pool["vrf"], _shortened(pool["ranges"])


def _shortened(ranges: list[str]) -> str:
    return ", ".join(ranges[:3]) + (f" and {len(ranges) - 3} more" if len(ranges) > 3 else "")


def _add(arguments: argparse.Namespace) -> int:
    output.show(client.find().post("/pools", body(arguments, MEMBERS)), arguments.json)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    return show_list(client.find(), "/pools", arguments, ("ID", "NAME", "KIND", "LENGTH", "VRF", "RANGES"), _row, kind=arguments.kind)


def _path(api: client.Client, name: str) -> str:
    return f"/pools/{api.one('/pools', 'pool', name=name)['id']}"


def _show(arguments: argparse.Namespace) -> int:
    api = client.find()
    path = _path(api, arguments.pool)
    pool, usage = api.get(path), api.get(f"{path}/usage").value
    rules = api.get("/pools/rules", pool=pool.value["name"]).value["items"]
    told = {**pool.value, "rules": [_conditions(rule) for rule in rules], **{name: usage[name] for name in ("total", "used", "free", "remembered")}}
    if arguments.json:
        output.print_json(pool.raw)
    else:
        output.print_fields(told)
    return 0


def _update(arguments: argparse.Namespace) -> int:
    wanted = changes(arguments, MEMBERS)
    api = client.find()
    output.show(api.patch(_path(api, arguments.pool), wanted), arguments.json)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_path(api, arguments.pool)), arguments.json, f"pool {arguments.pool} is removed")


def _import(arguments: argparse.Namespace) -> int:
    ranges, exclusions = _ranges(files.text(arguments.file).splitlines())
    if not ranges and not exclusions:
        raise client.CliError(f"{arguments.file} has no range in it", client.USAGE)
    api = client.find()
    reply = api.post(f"{_path(api, arguments.pool)}/ranges", {"ranges": ranges, "exclusions": exclusions})
    return output.done(reply, arguments.json, f"pool {arguments.pool}: {len(ranges)} ranges and {len(exclusions)} exclusions are added")


def _ranges(lines: Iterable[str]) -> tuple[list[str], list[str]]:
    ranges: list[str] = []
    exclusions: list[str] = []
    for line in lines:
        text = line.partition("#")[0].strip()
        if text.startswith("!"):
            exclusions.append(text[1:].strip())
        elif text:
            ranges.append(text)
    return ranges, exclusions


def _conditions(rule: dict[str, Any]) -> str:
    given = [f"{name} {rule[name]}" for name in CONDITIONS if rule[name] is not None]
    return " and ".join(given) or "everybody"


def _assign(arguments: argparse.Namespace) -> int:
    output.show(client.find().post("/pools/rules", {"pool": arguments.pool, **body(arguments, CONDITIONS)}), arguments.json)
    return 0


def _rules(arguments: argparse.Namespace) -> int:
    def row(rule: dict[str, Any]) -> tuple[object, ...]:
        return rule["id"], rule["pool"], rule["kind"], rule["plan"], rule["nas"], rule["site"], rule["vrf"]

    return show_list(client.find(), "/pools/rules", arguments, ("RULE", "POOL", "KIND", "PLAN", "NAS", "SITE", "VRF"), row, pool=arguments.pool)


def _unassign(arguments: argparse.Namespace) -> int:
    return output.done(client.find().delete(f"/pools/rules/{arguments.id}"), arguments.json, f"rule {arguments.id} is removed")


def _lease_row(lease: dict[str, Any]) -> tuple[object, ...]:
    holder = lease["username"] or (f"device {lease['device_id']}" if lease["device_id"] else lease["mac"])
    return (
        _plain(lease["prefix"]), lease["pool"], holder, lease["client_id"], lease["state"], output.moment(lease["leased_at"]),
        output.moment(lease["until_at"]), lease["conflict"],
    )  # fmt: skip


def _plain(prefix: str) -> str:
    return prefix.removesuffix("/32")


def _leases(arguments: argparse.Namespace) -> int:
    header = ("ADDRESS", "POOL", "HOLDER", "LINE", "STATE", "LEASED", "UNTIL", "CONFLICT")
    wanted = {"pool": arguments.pool, "username": arguments.username, "ip": arguments.ip, "state": arguments.state}
    return show_list(client.find(), "/pools/leases", arguments, header, _lease_row, **wanted)


def _who(arguments: argparse.Namespace) -> int:
    if (arguments.ip is None) == (arguments.username is None):
        raise client.CliError("give an ADDRESS or --username", client.USAGE)
    reply = client.find().get("/addresses", ip=arguments.ip, username=arguments.username)
    if arguments.json:
        output.print_json(reply.raw)
        return 0
    rows = [
        (_plain(each["prefix"]), each["username"], each["source"], each["pool"], each["state"], output.moment(each["since"])) for each in reply.value["items"]
    ]
    output.print_table(rows, ("ADDRESS", "SUBSCRIBER", "BY", "POOL", "STATE", "SINCE"))
    return 0


def _release(arguments: argparse.Namespace) -> int:
    api = client.find()
    lease = api.one("/pools/leases", "lease of", ip=arguments.ip)
    reply = api.post(f"/pools/leases/{lease['id']}/release", {"force": arguments.force})
    return output.done(reply, arguments.json, f"{_plain(lease['prefix'])} is released" + (f" by {lease['username']}" if lease["username"] else ""))


def _routes_path(api: client.Client, username: str) -> str:
    return f"/subscribers/{api.one('/subscribers', 'subscriber', username=username)['id']}/routes"


def _add_route(arguments: argparse.Namespace) -> int:
    api = client.find()
    wanted = {"prefix": arguments.prefix, **body(arguments, ("gateway", "metric"))}
    output.show(api.post(_routes_path(api, arguments.username), wanted), arguments.json)
    return 0


def _list_routes(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.get(_routes_path(api, arguments.username))
    if arguments.json:
        output.print_json(reply.raw)
    else:
        output.print_table([(each["prefix"], each["gateway"], each["metric"]) for each in reply.value["items"]], ("PREFIX", "GATEWAY", "METRIC"))
    return 0


def _remove_route(arguments: argparse.Namespace) -> int:
    api = client.find()
    path = _routes_path(api, arguments.username)
    found = next((each for each in api.get(path).value["items"] if each["prefix"] == arguments.prefix), None)
    if found is None:
        raise client.CliError(f"{arguments.prefix} is not routed to {arguments.username}")
    return output.done(api.delete(f"{path}/{found['id']}"), arguments.json, f"{arguments.prefix} is routed to {arguments.username} no longer")
