"""``netd software``: images, which of them devices should run, and which do."""

import argparse
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from netd.cli import client, output
from netd.cli.arguments import Commands, command, group, paging
from netd.cli.client import REFUSED, USAGE, CliError
from netd.cli.lists import show_list


def register(commands: Commands) -> None:
    """Add the command."""
    software = group(commands, "software", "software images, which of them devices should run, and which do")
    paging(command(software, "images", "list images", _images))
    add = command(software, "add", "keep an image", _add)
    add.add_argument("file", type=Path, metavar="FILE")
    add.add_argument("--platform", required=True, metavar="P", help="for devices of which platform: mikrotik_routeros, …")
    add.add_argument("--version", dest="software_version", required=True, metavar="V", help="what devices say that run it: 7.16.2")
    add.add_argument("--name", metavar="NAME", help="what it is called on devices (the file's name)")
    add.add_argument("--note", metavar="TEXT")
    remove = command(software, "remove", "forget an image and its file", _remove)
    remove.add_argument("id", type=int, metavar="ID")
    paging(command(software, "targets", "list which software devices should run", _targets))
    want = command(software, "want", "say which software devices of a platform, or of a model, should run", _want)
    want.add_argument("platform", metavar="PLATFORM")
    want.add_argument("software_version", metavar="VERSION")
    want.add_argument("--reason", required=True, metavar="TEXT", help="why")
    want.add_argument("--model", metavar="MODEL", help="only devices of this model")
    unwant = command(software, "unwant", "say no longer which software devices should run", _unwant)
    unwant.add_argument("id", type=int, metavar="ID")
    recommend = command(software, "recommend", "which software models could run of which nobody said what they should, and why", _recommend)
    recommend.add_argument("--days", type=int, metavar="N", help="for how long others of the model run it without trouble (30)")
    recommend.add_argument("--percent", type=int, metavar="N", help="how many of the model's devices that are at the least (20)")
    recommend.add_argument("--platform", metavar="PLATFORM")
    recommend.add_argument("--model", metavar="MODEL")
    recommend.add_argument("--want", action="store_true", help="say that the devices of --platform and --model should run what is recommended")
    compliance = command(software, "compliance", "which devices do not run what they should, and why they should; exit code 1 if there is one", _compliance)
    compliance.add_argument("--every", action="store_true", help="also those that do")


def _images(arguments: argparse.Namespace) -> int:
    def row(each: dict[str, Any]) -> tuple[object, ...]:
        return each["id"], each["platform"], each["software_version"], each["file_name"], output.octets(each["octets"]), each["sha256"][:16], each["note"]

    none = "no images yet: netd software add FILE --platform P --version V"
    return show_list(client.find(), "/software-images", arguments, ("ID", "PLATFORM", "VERSION", "NAME", "SIZE", "SHA-256", "NOTE"), row, none)


def _add(arguments: argparse.Namespace) -> int:
    try:
        with arguments.file.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            query = {
                "platform": arguments.platform, "software_version": arguments.software_version, "file_name": arguments.name or arguments.file.name,
                "sha256": sha256, "note": arguments.note,
            }  # fmt: skip
            reply = client.find().call("POST", "/software-images", query=query, upload=("application/octet-stream", file))
    except OSError as error:
        raise CliError(f"{arguments.file} cannot be read: {error.strerror}", USAGE) from None
    return output.done(reply, arguments.json, f"image {reply.value['id']}: {reply.value['file_name']}, {output.octets(reply.value['octets'])}")


def _remove(arguments: argparse.Namespace) -> int:
    return output.done(client.find().delete(f"/software-images/{arguments.id}"), arguments.json, f"image {arguments.id} is removed")


def _targets(arguments: argparse.Namespace) -> int:
    def row(each: dict[str, Any]) -> tuple[object, ...]:
        return each["id"], each["platform"], each["model"], each["software_version"], each["reason"]

    none = "nobody said yet what devices should run: netd software want PLATFORM VERSION --reason TEXT"
    return show_list(client.find(), "/software-targets", arguments, ("ID", "PLATFORM", "MODEL", "VERSION", "WHY"), row, none)


def _want(arguments: argparse.Namespace) -> int:
    api = client.find()
    scope = {"platform": arguments.platform, **({"model": arguments.model} if arguments.model else {"model__null": True})}
    said = {"software_version": arguments.software_version, "reason": arguments.reason}
    known = api.get("/software-targets", **scope).value["items"]
    if known:
        reply = api.patch(f"/software-targets/{known[0]['id']}", said)
    else:
        reply = api.post("/software-targets", {**said, "platform": arguments.platform, "model": arguments.model})
    return output.done(reply, arguments.json, f"{arguments.model or arguments.platform} should run {arguments.software_version}")


def _unwant(arguments: argparse.Namespace) -> int:
    return output.done(client.find().delete(f"/software-targets/{arguments.id}"), arguments.json, f"target {arguments.id} is removed")


def _recommend(arguments: argparse.Namespace) -> int:
    api = client.find()
    asked = {name: getattr(arguments, name) for name in ("days", "percent", "platform", "model")}
    reply = api.get("/software-recommendations", **asked)
    if arguments.want:
        return _take(api, arguments, reply.value["items"])
    if arguments.json:
        output.print_json(reply.raw)
    else:
        rows = [(each["platform"], each["model"], each["devices"], each["software_version"], each["reason"]) for each in reply.value["items"]]
        output.table_or(rows, ("PLATFORM", "MODEL", "DEVICES", "RECOMMENDED", "WHY"), "there is no model of which nobody said what it should run")
    return 0


def _take(api: client.Client, arguments: argparse.Namespace, found: list[dict[str, Any]]) -> int:
    if not (arguments.platform and arguments.model):
        raise CliError("--want needs --platform and --model", USAGE)
    if not found or found[0]["software_version"] is None:
        why = found[0]["reason"] if found else "there is no such model, or it is said already what it should run"
        raise CliError(f"nothing is recommended for {arguments.model}: {why}", REFUSED)
    best = found[0]
    said = {name: best[name] for name in ("platform", "model", "software_version", "reason")}
    return output.done(api.post("/software-targets", said), arguments.json, f"{best['model']} should run {best['software_version']}: {best['reason']}")


def _compliance(arguments: argparse.Namespace) -> int:
    api = client.find()
    found = [each for page in api.pages("/compliance", compliant=None if arguments.every else False) for each in page.value["items"]]
    bad = Counter((each["wanted_version"], each["reason"]) for each in found if not each["compliant"])
    if arguments.json:
        output.print_json(json.dumps({"items": found, "next": None}, ensure_ascii=False).encode())
    else:
        rows = [(each["device"], each["model"], each["software_version"], each["wanted_version"], each["reason"], each["image_id"]) for each in found]
        header = ("DEVICE", "MODEL", "RUNS", "SHOULD RUN", "WHY", "IMAGE")
        output.table_or(rows, header, "no device runs anything else than it should, as far as somebody said: netd software targets")
        for (version, reason), count in sorted(bad.items()):
            print(output.printable(f"{count} {'device' if count == 1 else 'devices'} should move to {version}: {reason}"))
        for each in api.get("/software-recommendations").value["items"]:
            if each["software_version"] is not None:
                print(output.printable(f"nobody said what {each['model']} should run; recommended is {each['software_version']}: {each['reason']}"))
    return REFUSED if bad else 0
