"""``netd dhcp``"""

import argparse
from typing import Any

from netd.cli import client, output
from netd.cli.arguments import Commands, body, changes, command, group, listed, nullable, option, paging
from netd.cli.lists import show_list
from netd.cli.values import span

MEMBERS = (
    "name", "prefix", "serves", "profiles", "pool", "site", "router", "dns_servers", "ntp_servers", "domain", "lease_seconds", "variables", "interface",
    "enabled", "description",
)  # fmt: skip
FILLED = ("url", "tftp_address", "image", "target_version")
"""How those variables of profiles begin that netd fills in."""
KINDS = ("mac", "client_id", "circuit_id", "remote_id", "serial")


def register(commands: Commands) -> None:
    """Add the commands."""
    dhcp = group(commands, "dhcp", "what DHCP serves: subnets, addresses set aside, classes of devices that boot")
    add = command(dhcp, "serve", "serve a subnet; addresses come from a pool (`netd pool add`)", _serve)
    add.add_argument("name", metavar="NAME")
    option(add, "--prefix", "prefix", "the link's prefix: its relay's address, or RFC 3527's link selection, is in it", required=True, metavar="P")
    _options(add)
    paging(command(dhcp, "list", "list the subnets that are served", _list))
    command(dhcp, "show", "show a subnet", _show).add_argument("subnet", metavar="NAME")
    update = command(dhcp, "update", "change a subnet; the next packet is answered by it", _update)
    update.add_argument("subnet", metavar="NAME")
    option(update, "--name", "name", "a new name", metavar="NAME")
    _options(update)
    command(dhcp, "remove", "serve a subnet no longer; its clients keep their addresses until their leases end", _remove).add_argument("subnet", metavar="NAME")
    _register_reservations(dhcp)
    command(dhcp, "profiles", "list the classes of devices that can boot, and what is known of each", _profiles)


def _register_reservations(dhcp: Commands) -> None:
    reserve = command(dhcp, "reserve", "set an address aside for a client", _reserve)
    reserve.add_argument("subnet", metavar="SUBNET")
    reserve.add_argument("address", metavar="ADDRESS")
    reserve.add_argument("kind", choices=KINDS, help="what the client is found by; circuit_id and remote_id: a regular expression")
    reserve.add_argument("value", metavar="VALUE")
    option(reserve, "--description", "description", "free text", metavar="TEXT")
    listing = command(dhcp, "reservations", "list addresses that are set aside", _reservations)
    listing.add_argument("subnet", nargs="?", metavar="SUBNET", help="only of this subnet")
    paging(listing)
    command(dhcp, "free", "set an address aside no longer", _free).add_argument("id", type=int, metavar="RESERVATION")


def _variables(text: str) -> dict[str, str]:
    found = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            raise argparse.ArgumentTypeError(f"{part!r} is not NAME=VALUE")
        found[name.strip()] = value.strip()
    return found


def _options(parser: argparse.ArgumentParser) -> None:
    option(
        parser, "--serves", "serves", "expected: devices that somebody expects (as is); classes: any client of the profiles", choices=("expected", "classes")
    )
    option(parser, "--profiles", "profiles", "boot profiles that are answered, comma separated; plain: any client", listed, metavar="N,N")
    option(parser, "--pool", "pool", "pool of the addresses (IPv6: of the delegated prefixes)", nullable(), metavar="NAME")
    option(parser, "--site", "site", "the site that it is at", nullable(), metavar="NAME")
    option(parser, "--router", "router", "the gateway", nullable(), metavar="A")
    option(parser, "--dns", "dns_servers", "resolvers, comma separated", listed, metavar="A,A")
    option(parser, "--ntp", "ntp_servers", "time servers, comma separated", listed, metavar="A,A")
    option(parser, "--domain", "domain", "domain of the clients", nullable(), metavar="NAME")
    option(parser, "--lease", "lease_seconds", "how long a lease is good: 1h, 1d, or seconds (1h)", span, metavar="TIME")
    option(parser, "--variables", "variables", "what the profiles' templates are filled with", _variables, metavar="NAME=VALUE,…")
    option(parser, "--interface", "interface", "network interface where its clients are attached directly", nullable(), metavar="NAME")
    option(parser, "--description", "description", "free text", nullable(), metavar="TEXT")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--disable", dest="enabled", action="store_false", default=argparse.SUPPRESS, help="answer nobody in it")
    either.add_argument("--enable", dest="enabled", action="store_true", default=argparse.SUPPRESS, help="answer again")


def _row(subnet: dict[str, Any]) -> tuple[object, ...]:
    serves = subnet["serves"], ",".join(subnet["profiles"])
    return subnet["id"], subnet["name"], subnet["prefix"], *serves, subnet["pool"], output.span(subnet["lease_seconds"]), subnet["enabled"]


def _path(api: client.Client, name: str) -> str:
    return f"/dhcp/subnets/{api.one('/dhcp/subnets', 'subnet', name=name)['id']}"


def _serve(arguments: argparse.Namespace) -> int:
    output.show(client.find().post("/dhcp/subnets", body(arguments, MEMBERS)), arguments.json)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    none = "no subnet is served yet: netd dhcp serve NAME --prefix P --pool POOL"
    return show_list(client.find(), "/dhcp/subnets", arguments, ("ID", "NAME", "PREFIX", "SERVES", "PROFILES", "POOL", "LEASE", "ENABLED"), _row, none)


def _show(arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.get(_path(api, arguments.subnet)), arguments.json)
    return 0


def _update(arguments: argparse.Namespace) -> int:
    wanted = changes(arguments, MEMBERS)
    api = client.find()
    output.show(api.patch(_path(api, arguments.subnet), wanted), arguments.json)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_path(api, arguments.subnet)), arguments.json, f"subnet {arguments.subnet} is served no longer")


def _reserve(arguments: argparse.Namespace) -> int:
    wanted = body(arguments, ("subnet", "address", "kind", "value", "description"))
    output.show(client.find().post("/dhcp/reservations", wanted), arguments.json)
    return 0


def _reservations(arguments: argparse.Namespace) -> int:
    api = client.find()
    subnet_id = None if arguments.subnet is None else api.one("/dhcp/subnets", "subnet", name=arguments.subnet)["id"]

    def row(each: dict[str, Any]) -> tuple[object, ...]:
        return each["id"], each["subnet"], each["address"], each["kind"], each["value"], each["description"]

    return show_list(api, "/dhcp/reservations", arguments, ("RESERVATION", "SUBNET", "ADDRESS", "BY", "VALUE", "NOTE"), row, subnet_id=subnet_id)


def _free(arguments: argparse.Namespace) -> int:
    return output.done(client.find().delete(f"/dhcp/reservations/{arguments.id}"), arguments.json, f"reservation {arguments.id} is removed")


def _profiles(arguments: argparse.Namespace) -> int:
    reply = client.find().get("/dhcp/profiles")
    if arguments.json:
        output.print_json(reply.raw)
        return 0
    rows = [
        (
            each["name"],
            each["title"],
            each["evidence"],
            "its packets" if each["recognised"] else "whoever expects it",
            "-" if each["first_file"] == "none" else ",".join(each["transports"]),
            ",".join(name for name in each["variables"] if not name.startswith(FILLED)),
        )
        for each in reply.value["items"]
    ]
    output.print_table(rows, ("PROFILE", "DEVICES", "EVIDENCE", "KNOWN BY", "FETCHES BY", "YOUR VARIABLES"))
    return 0
