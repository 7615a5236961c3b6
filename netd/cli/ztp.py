"""``netd ztp``"""

import argparse
import sys
from typing import Any

from netd.cli import client, output
from netd.cli.arguments import Commands, body, changes, command, group, listed, nullable, option, paging
from netd.cli.lists import show_list
from netd.cli.values import json_object, moment, text, yes_no

MEMBERS = (
    "hostname", "profile", "serial", "mac", "circuit_id", "site", "vendor", "platform", "role", "transport", "address", "credential", "variables",
    "boot_template", "configuration", "target_version", "make_nas", "subscriber", "verify", "certificate", "certificate_folder", "opens_at", "closes_at",
)  # fmt: skip
RULE = ("name", "profiles", "hostname", "position", "site", "circuit_id", "model", "settings", "enabled")
STATES = ("expected", "seen", "offered", "fetching", "configured", "verified", "failed")


def register(commands: Commands) -> None:
    """Add the commands."""
    ztp = group(commands, "ztp", "devices that boot through netd: who is expected, how far each is, who came unexpected")
    add = command(ztp, "expect", "expect a device: it gets its address, files and configuration when it comes", _expect)
    add.add_argument("hostname", metavar="NAME")
    option(add, "--profile", "profile", "its boot profile (`netd dhcp profiles`)", required=True, metavar="NAME")
    _options(add)
    listing = command(ztp, "list", "list devices that are expected or have booted", _list)
    listing.add_argument("--state", choices=STATES, help="only those in this state")
    paging(listing)
    command(ztp, "show", "show a device", _show).add_argument("device", metavar="NAME")
    steps = command(ztp, "steps", "list a device's steps, and what shows each", _steps)
    steps.add_argument("device", metavar="NAME")
    paging(steps)
    update = command(ztp, "update", "change an expected device; its next packet and file are as it says", _update)
    update.add_argument("device", metavar="NAME")
    option(update, "--name", "hostname", "a new name", metavar="NAME")
    option(update, "--profile", "profile", "its boot profile", metavar="NAME")
    _options(update)
    command(ztp, "remove", "expect a device no longer: its URLs end at once", _remove).add_argument("device", metavar="NAME")
    preview = command(ztp, "preview", "print what a device would fetch and be typed afterwards, with tokens that are not its own", _preview)
    preview.add_argument("device", metavar="NAME")
    command(ztp, "check", "render the files of all devices that may still boot; exit code 1 if one cannot be", _check)
    retry = command(ztp, "retry", "let a device go on that is in quarantine, or configure a verified one anew", _retry)
    retry.add_argument("device", metavar="NAME")
    option(retry, "--days", "days", "open its window for so many days", int, metavar="N")
    retry.add_argument(
        "--boot", action="store_true", default=argparse.SUPPRESS, help="from the beginning, also if it has booted: what it was told is good no more"
    )
    retry.add_argument("--renew", action="store_true", default=argparse.SUPPRESS, help="with another certificate, although its own is good yet")
    _register_candidates(ztp)
    _register_rules(ztp)
    _register_certificates(ztp)


def _register_candidates(ztp: Commands) -> None:
    listing = command(ztp, "candidates", "list devices that came unexpected, and got nothing", _candidates)
    listing.add_argument("--state", choices=("new", "adopted", "ignored"), default="new", help="which (new)")
    paging(listing)
    command(ztp, "candidate", "show a candidate with all that it said", _candidate).add_argument("id", type=int, metavar="CANDIDATE")
    adopt = command(ztp, "adopt", "expect a candidate from now on", _adopt)
    adopt.add_argument("id", type=int, metavar="CANDIDATE")
    adopt.add_argument("hostname", metavar="NAME")
    option(adopt, "--profile", "profile", "another boot profile than it was recognised by", metavar="NAME")
    adopt.add_argument("--bind-line", dest="bind_line", action="store_true", default=argparse.SUPPRESS, help="only on the line that it came from")
    option(adopt, "--settings", "settings", "further members of the expected device, a JSON object, or @FILE", json_object, metavar="JSON")
    ignore = command(ztp, "ignore", "ignore a candidate", _ignore)
    ignore.add_argument("id", type=int, metavar="CANDIDATE")
    ignore.add_argument("--not", dest="again", action="store_true", help="it is new again")


def _register_rules(ztp: Commands) -> None:
    add = command(ztp, "add-rule", "let candidates be adopted that fit", _add_rule)
    add.add_argument("name", metavar="NAME")
    _rule_options(add, new=True)
    update = command(ztp, "update-rule", "change a rule; who was adopted stays", _update_rule)
    update.add_argument("rule", metavar="NAME")
    option(update, "--name", "name", "a new name", metavar="NAME")
    _rule_options(update, new=False)
    paging(command(ztp, "rules", "list rules", _rules))
    command(ztp, "remove-rule", "remove a rule; who was adopted stays", _remove_rule).add_argument("rule", metavar="NAME")


def _rule_options(parser: argparse.ArgumentParser, *, new: bool) -> None:
    option(parser, "--profiles", "profiles", "recognised as one of these, comma separated", listed, required=new, metavar="N,N")
    option(parser, "--hostname", "hostname", "name template: cpe-{serial}, {mac_plain}, {model}, {circuit_id}", required=new, metavar="TEMPLATE")
    option(parser, "--position", "position", "the first that fits counts (100)", int, metavar="N")
    option(parser, "--site", "site", "at this site", nullable(), metavar="NAME")
    option(parser, "--circuit-id", "circuit_id", "regular expression for the line", nullable(), metavar="RE")
    option(parser, "--model", "model", "regular expression for the model", nullable(), metavar="RE")
    option(parser, "--settings", "settings", "members of the expected device, a JSON object, or @FILE", json_object, metavar="JSON")
    option(parser, "--enabled", "enabled", "no: it adopts nobody", yes_no, metavar="yes|no")


def _register_certificates(ztp: Commands) -> None:
    listing = command(ztp, "certificates", "list certificates of devices", _certificates)
    listing.add_argument("--device", metavar="NAME", help="only those of this device")
    listing.add_argument("--ends-before", dest="ends_before", type=moment, metavar="TIME", help="only those that end before, as 2026-12-31")
    listing.add_argument("--replaced", action="store_true", help="also those that others have taken the place of")
    paging(listing)
    paging(command(ztp, "authorities", "list the certification authorities that signed them; the first one signs", _authorities))
    command(ztp, "authority", "print the certificate of the authority that signs, in PEM: what is to be trusted", _authority)
    add = command(ztp, "new-authority", "let another authority sign from now on: yours, or without options one that netd makes", _new_authority)
    option(add, "--certificate", "certificate", "its certificate in PEM, or @FILE", text, metavar="PEM")
    option(add, "--key", "key", "its unencrypted private key in PEM: @FILE, or - to read it from the standard input", _secret, metavar="@FILE|-")


def _secret(given: str) -> str:
    """A text that stands in no process list."""
    if given == "-":
        return sys.stdin.read()
    if not given.startswith("@"):
        raise argparse.ArgumentTypeError("is read from @FILE, or from the standard input with -")
    return text(given)


def _options(parser: argparse.ArgumentParser) -> None:
    option(parser, "--serial", "serial", "its serial number, as its profile reads it", nullable(), metavar="S")
    option(parser, "--mac", "mac", "its MAC address", nullable(), metavar="M")
    option(parser, "--circuit-id", "circuit_id", "regular expression for the line that its relay names", nullable(), metavar="RE")
    option(parser, "--site", "site", "the site that it is at", nullable(), metavar="NAME")
    option(parser, "--vendor", "vendor", "its vendor (the profile's)", metavar="NAME")
    option(parser, "--platform", "platform", "which driver logs in to it afterwards", nullable(), metavar="NAME")
    option(parser, "--role", "role", "its role", nullable(), metavar="NAME")
    option(parser, "--transport", "transport", "how it fetches (the first way that its profile knows)", choices=("http", "https", "tftp"))
    option(parser, "--address", "address", "a fixed address", nullable(), metavar="A")
    option(parser, "--credential", "credential", "what opens it once it is configured", nullable(), metavar="NAME")
    option(parser, "--variables", "variables", "for templates, a JSON object, or @FILE", json_object, metavar="JSON")
    option(parser, "--boot-template", "boot_template", "template of what it fetches (its role's), or @FILE", nullable(text), metavar="TEXT")
    option(parser, "--configuration", "configuration", "template of what it gets by SSH afterwards (its role's), or @FILE", nullable(text), metavar="TEXT")
    option(parser, "--target-version", "target_version", "the software that it must run to be verified; it fetches the image of it", nullable(), metavar="V")
    option(parser, "--subscriber", "subscriber", "user name of the customer whose it is: it boots while that has service", nullable(), metavar="NAME")
    option(parser, "--verify", "verify", "by what it is (facts), or where that cannot be read by that it answers (reach)", choices=("facts", "reach"))
    option(parser, "--certificate", "certificate", "give it a key of this kind with a certificate: ec or rsa", nullable(), metavar="KIND")
    where = "put certificate, key and authority there before its configuration, as netd.crt, netd.key and netd-ca.crt"
    option(parser, "--certificate-folder", "certificate_folder", where, nullable(), metavar="PATH")
    option(parser, "--closes-at", "closes_at", "until when it must come, as 2026-12-31 or 2026-12-31T12:00+01:00 (UTC)", moment, metavar="TIME")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--nas", dest="make_nas", action="store_true", default=argparse.SUPPRESS, help="make a NAS entry of it, with a secret of its own")
    either.add_argument("--no-nas", dest="make_nas", action="store_false", default=argparse.SUPPRESS, help="make none")


def _path(api: client.Client, name: str) -> str:
    return f"/ztp/devices/{api.one('/ztp/devices', 'expected device', hostname=name)['id']}"


def _row(device: dict[str, Any]) -> tuple[object, ...]:
    known = device["serial"] or device["mac"] or device["circuit_id"]
    return device["id"], device["hostname"], known, device["profile"], device["state"], output.moment(device["state_at"]), device["address_now"], _why(device)


def _why(device: dict[str, Any]) -> object:
    return device["reason"] or (None if device["armed"] else f"{device['subscriber']} has no service")


def _expect(arguments: argparse.Namespace) -> int:
    output.show(client.find().post("/ztp/devices", body(arguments, MEMBERS)), arguments.json)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    columns = ("ID", "NAME", "KNOWN BY", "PROFILE", "STATE", "SINCE", "ADDRESS", "WHY")
    return show_list(
        client.find(),
        "/ztp/devices",
        arguments,
        columns,
        _row,
        "no device is expected yet: netd ztp expect NAME --profile PROFILE --serial SERIAL",
        state=arguments.state,
    )


def _show(arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.get(_path(api, arguments.device)), arguments.json)
    return 0


def _steps(arguments: argparse.Namespace) -> int:
    api = client.find()

    def row(step: dict[str, Any]) -> tuple[object, ...]:
        told = {name: value for name, value in step["evidence"].items() if not isinstance(value, dict | list) and value != step["step"]}
        return output.moment(step["at"]), step["step"], ", ".join(f"{name}={output.plain(value)}" for name, value in told.items())

    return show_list(api, f"{_path(api, arguments.device)}/steps", arguments, ("WHEN", "STEP", "EVIDENCE"), row, "it was not heard of yet")


def _update(arguments: argparse.Namespace) -> int:
    wanted = changes(arguments, MEMBERS)
    api = client.find()
    output.show(api.patch(_path(api, arguments.device), wanted), arguments.json)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_path(api, arguments.device)), arguments.json, f"{arguments.device} is expected no longer")


def _preview(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = api.get(f"{_path(api, arguments.device)}/preview")
    if arguments.json:
        output.print_json(reply.raw)
        return 0
    found = reply.value
    if found["fault"]:
        raise client.CliError(found["fault"])
    for title, part in ((found["name"], found["text"]), ("configuration", found["configuration"]), ("afterwards, over its command line", found["follows"])):
        if part:
            print(f"--- {title}")
            print("\n".join(output.printable(line) for line in part.splitlines()))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    reply = client.find().post("/ztp/check", {})
    if arguments.json:
        output.print_json(reply.raw)
    else:
        print(f"{reply.value['rendered']} can be rendered, {len(reply.value['faults'])} cannot")
        for each in reply.value["faults"]:
            print(output.printable(f"{each['hostname']}: {each['fault']}"))
    return 1 if reply.value["faults"] else 0


def _retry(arguments: argparse.Namespace) -> int:
    api = client.find()
    output.show(api.post(f"{_path(api, arguments.device)}/retry", body(arguments, ("boot", "renew", "days"))), arguments.json)
    return 0


def _candidates(arguments: argparse.Namespace) -> int:
    def row(each: dict[str, Any]) -> tuple[object, ...]:
        return (
            each["id"], each["serial"], each["mac"], each["profile"], each["model"], each["subnet"], each["circuit_id"],
            output.moment(each["last_seen_at"]), each["packets"], each["state"],
        )  # fmt: skip

    columns = ("CANDIDATE", "SERIAL", "MAC", "PROFILE", "MODEL", "SUBNET", "LINE", "LAST SEEN", "PACKETS", "STATE")
    return show_list(client.find(), "/ztp/candidates", arguments, columns, row, f"there are no {arguments.state} candidates", {"state": arguments.state})


def _candidate(arguments: argparse.Namespace) -> int:
    output.show(client.find().get(f"/ztp/candidates/{arguments.id}"), arguments.json)
    return 0


def _adopt(arguments: argparse.Namespace) -> int:
    wanted = body(arguments, ("hostname", "profile", "bind_line", "settings"))
    output.show(client.find().post(f"/ztp/candidates/{arguments.id}/adopt", wanted), arguments.json)
    return 0


def _ignore(arguments: argparse.Namespace) -> int:
    output.show(client.find().patch(f"/ztp/candidates/{arguments.id}", {"ignored": not arguments.again}), arguments.json)
    return 0


def _add_rule(arguments: argparse.Namespace) -> int:
    output.show(client.find().post("/ztp/rules", body(arguments, RULE)), arguments.json)
    return 0


def _rules(arguments: argparse.Namespace) -> int:
    def row(each: dict[str, Any]) -> tuple[object, ...]:
        return (
            each["position"], each["name"], ",".join(each["profiles"]), each["site"], each["circuit_id"], each["model"], each["hostname"],
            each["enabled"],
        )  # fmt: skip

    return show_list(client.find(), "/ztp/rules", arguments, ("POSITION", "NAME", "PROFILES", "SITE", "LINE", "MODEL", "HOSTNAME", "ENABLED"), row)


def _rule(api: client.Client, name: str) -> str:
    return f"/ztp/rules/{api.one('/ztp/rules', 'rule', name=name)['id']}"


def _update_rule(arguments: argparse.Namespace) -> int:
    wanted = changes(arguments, RULE)
    api = client.find()
    output.show(api.patch(_rule(api, arguments.rule), wanted), arguments.json)
    return 0


def _remove_rule(arguments: argparse.Namespace) -> int:
    api = client.find()
    return output.done(api.delete(_rule(api, arguments.rule)), arguments.json, f"rule {arguments.rule} is removed")


def _certificates(arguments: argparse.Namespace) -> int:
    api = client.find()
    wanted = {"hostname": arguments.device, "not_after__lt": arguments.ends_before}
    usual = {} if arguments.replaced else {"replaced_at__null": True}

    def row(each: dict[str, Any]) -> tuple[object, ...]:
        return (
            each["id"],
            each["hostname"],
            each["serial"],
            each["algorithm"],
            output.moment(each["not_after"]),
            output.moment(each["installed_at"]),
            each["fingerprint"],
        )

    columns = ("ID", "DEVICE", "SERIAL", "KEY", "ENDS", "INSTALLED", "SHA-256")
    return show_list(api, "/ztp/certificates", arguments, columns, row, "no device has one: netd ztp expect … --certificate ec", usual, **wanted)


def _authorities(arguments: argparse.Namespace) -> int:
    def row(each: dict[str, Any]) -> tuple[object, ...]:
        return each["id"], each["subject"], "yours" if each["supplied"] else "netd's own", output.moment(each["not_after"]), each["fingerprint"]

    return show_list(client.find(), "/ztp/authorities", arguments, ("ID", "SUBJECT", "WHOSE", "ENDS", "SHA-256"), row)


def _authority(arguments: argparse.Namespace) -> int:
    reply = client.find().get("/ztp/authorities", limit=1)
    if arguments.json:
        output.print_json(reply.raw)
    elif not reply.value["items"]:
        raise client.CliError("there is none yet: it is made with the first certificate, or by `netd ztp new-authority`")
    else:
        print(reply.value["items"][0]["certificate"], end="")
    return 0


def _new_authority(arguments: argparse.Namespace) -> int:
    reply = client.find().post("/ztp/authorities", body(arguments, ("certificate", "key")))
    if arguments.json:
        output.print_json(reply.raw)
    else:
        output.print_fields({name: value for name, value in reply.value.items() if name != "certificate"})
    return 0
