"""``netd device backup | inspect | diff | drift | approve | show-commands | run | change | restore | upgrade``: jobs, followed to their end."""

import argparse
import json
import sys
from typing import Any

from netd.cli import client, files, output
from netd.cli.arguments import Commands, command
from netd.cli.client import REFUSED, USAGE, ApiError, Client, CliError, Reply
from netd.cli.jobs import Log, follow, got


def register(device: Commands) -> None:
    """Add the commands to ``netd device``."""
    _many(device, "backup", "read and keep what devices are configured as", _backup)
    _many(device, "compare", "compare what devices ran when they were read last with what their templates say now", _compare)
    _many(device, "inspect", "ask devices what they are, whom they hear, and where addresses are; a backup asks that, too", _inspect)
    for name, help_text in (("show-commands", "type commands that only show something"), ("run", "type any commands")):
        run = _many(device, name, help_text, _run)
        run.add_argument("--command", "-c", action="append", required=True, metavar="TEXT", help="a command; several are typed one after the other")
        run.set_defaults(kind="device.show" if name == "show-commands" else "device.run")
    change = _many(device, "change", "type lines of configuration; without --commit only what that would change is shown", _change)
    change.add_argument("--lines", required=True, metavar="FILE", help="the lines; - is standard input. A secret is ${name} there")
    change.add_argument("--secrets", metavar="FILE", help="name=value for each secret")
    change.add_argument("--expect", action="append", default=[], metavar="LINE", help="must stand in the configuration afterwards, else all is taken back")
    _batches(change)
    change.add_argument("--commit", action="store_true", help="do it")
    restore = _one(device, "restore", "let a device run an older version again; without --commit only what that would change is shown", _restore)
    restore.add_argument("number", type=int, metavar="VERSION", help="see `netd config list --device NAME`")
    restore.add_argument("--commit", action="store_true", help="do it")
    restore.add_argument("--detach", action="store_true", help="do not wait for its end")
    upgrade = _many(device, "upgrade", "bring devices to a software image", _upgrade)
    upgrade.add_argument("--image", required=True, type=int, metavar="ID", help="see `netd software images`")
    upgrade.add_argument("--unverified", action="store_true", help="also where the device cannot say whether the image arrived whole")
    _batches(upgrade)
    diff = _one(device, "diff", "how a version of its configuration became another: the last two, unless numbers are given", _diff)
    diff.add_argument("before", type=int, nargs="?", metavar="VERSION")
    diff.add_argument("after", type=int, nargs="?", metavar="VERSION")
    diff.add_argument("--startup", action="store_true", help="of what it would start with, not of what it runs")
    _one(device, "drift", "what its configuration differs from: approved, saved, intended; exit code 1 if from any", _drift)
    approve = _one(device, "approve", "say that its configuration is as it should be", _approve)
    approve.add_argument("number", type=int, nargs="?", metavar="VERSION", help="what runs now")
    approve.add_argument("--note", metavar="TEXT", help="why")


def _many(commands: Commands, name: str, help_text: str, run: Any) -> argparse.ArgumentParser:
    parser = command(commands, name, help_text, run)
    parser.add_argument("devices", nargs="*", metavar="NAME", help="devices; else --group or --all")
    parser.add_argument("--group", metavar="NAME", help="the devices of a group")
    parser.add_argument("--all", action="store_true", help="every active device")
    parser.add_argument("--at-once", type=int, metavar="N", help="with so many at the same time")
    parser.add_argument("--detach", action="store_true", help="do not wait for its end")
    return parser


def _one(commands: Commands, name: str, help_text: str, run: Any) -> argparse.ArgumentParser:
    parser = command(commands, name, help_text, run)
    parser.add_argument("device", metavar="NAME")
    parser.set_defaults(detach=False)
    return parser


def _batches(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--first", type=int, metavar="N", help="begin with so many, none of which may fail (1)")
    parser.add_argument("--most-failed", type=float, metavar="SHARE", help="of which share of all may have failed for it to go on (0.1)")


def _chosen(arguments: argparse.Namespace) -> dict[str, Any]:
    """Which devices, as jobs take them."""
    wanted: dict[str, Any] = {}
    if arguments.devices:
        wanted["devices"] = arguments.devices
    if arguments.group:
        wanted["group"] = arguments.group
    if arguments.all:
        wanted["selector"] = {}
    if not wanted:
        raise CliError("name devices, or a --group, or --all", USAGE)
    for name in ("at_once", "first", "most_failed"):
        if getattr(arguments, name, None) is not None:
            wanted[name] = getattr(arguments, name)
    return wanted


def _started(arguments: argparse.Namespace, kind: str, args: dict[str, Any], shows: str = "") -> int:
    """Let a job be done and follow it; ``shows`` is the member of targets' results that is what somebody wants to see."""
    api = client.find()
    job = api.post("/jobs", {"kind": kind, "args": args}).value
    waits = job["state"] == "awaiting_approval"
    if waits or arguments.detach:
        if arguments.json:
            _print_job(job, [])
        elif waits:
            print(f"job {job['id']} waits for the approval of somebody else: netd job approve {job['id']}")
        else:
            print(f"job {job['id']} is {job['state']}: netd job log {job['id']} --follow")
        return 0 if arguments.detach else REFUSED  # nothing is done yet
    code = follow(api, job["id"], None if arguments.json else Log(api, job["id"], as_json=False, stream=sys.stderr))
    targets = [target for page in api.pages(f"/jobs/{job['id']}/targets") for target in page.value["items"]]
    if arguments.json:
        _print_job(got(api, job["id"]).value, targets)
        return code
    for target in targets:
        _print_target(target, shows)
    if not targets:
        print("netd: no device is among them", file=sys.stderr)
    return code


def _print_job(job: dict[str, Any], targets: list[dict[str, Any]]) -> None:
    """The job as the API shows it, and what it did to each device."""
    print(json.dumps({"job": job, "targets": targets}, ensure_ascii=False))


def _print_target(target: dict[str, Any], shows: str) -> None:
    said = (target["said"] or "").removeprefix(f"{target['name']}: ")
    print(output.printable(f"{target['name']}: {target['state']}{': ' + said if said else ''}"))
    result = target["result"] if isinstance(target["result"], dict) else {}
    for each in result.get("outputs", ()):
        print(output.printable(f"{target['name']}> {each['command']}"))
        _print_text(each["output"])
    if shows and result.get(shows):
        _print_text(result[shows])


def _print_text(text: str) -> None:
    for line in text.splitlines():
        print(output.printable(line))


def _backup(arguments: argparse.Namespace) -> int:
    return _started(arguments, "config.backup", _chosen(arguments))


def _compare(arguments: argparse.Namespace) -> int:
    return _started(arguments, "config.compare", _chosen(arguments))


def _inspect(arguments: argparse.Namespace) -> int:
    return _started(arguments, "device.inspect", _chosen(arguments))


def _run(arguments: argparse.Namespace) -> int:
    return _started(arguments, arguments.kind, {**_chosen(arguments), "commands": arguments.command})


def _change(arguments: argparse.Namespace) -> int:
    args = {**_chosen(arguments), "lines": [line for line in files.text(arguments.lines).splitlines() if line.strip()]}
    if arguments.secrets is not None:
        args["secrets"] = files.text(arguments.secrets)
    if arguments.expect:
        args["expected"] = arguments.expect
    return _started(arguments, "config.change" if arguments.commit else "config.change.preview", args, "diff")


def _restore(arguments: argparse.Namespace) -> int:
    version = version_of(client.find(), arguments.device, "running", arguments.number)
    args = {"device": arguments.device, "configuration_id": version["id"]}
    return _started(arguments, "config.restore" if arguments.commit else "config.restore.preview", args, "diff")


def _upgrade(arguments: argparse.Namespace) -> int:
    return _started(arguments, "device.upgrade", {**_chosen(arguments), "image_id": arguments.image, "unverified": arguments.unverified})


def version_of(api: Client, device: str, which: str, number: int | None) -> dict[str, Any]:
    """The version of that number, or the latest. Raises CliError."""
    found = api.get("/configurations", device=device, which=which, number=number, sort="-number", limit=1).value["items"]
    if not found and number is None:
        raise _unread(api, device)
    if not found:
        device_id(api, device)
        raise CliError(f"there is no version {number} of what {device} {_does(which)}")
    version: dict[str, Any] = found[0]
    return version


def _does(which: str) -> str:
    return "runs" if which == "running" else "starts with"


def _unread(api: Client, device: str) -> CliError:
    """That a device was never read; raises CliError if there is no such device."""
    device_id(api, device)
    return CliError(f"no version of {device} is known: netd device backup {device}")


def _diff(arguments: argparse.Namespace) -> int:
    api, which = client.find(), "startup" if arguments.startup else "running"
    latest = api.get("/configurations", device=arguments.device, which=which, sort="-number", limit=1).value["items"]
    if not latest:
        raise _unread(api, arguments.device)
    after = arguments.after or latest[0]["number"]
    before = arguments.before or after - 1
    if not before:
        raise CliError(f"there is only one version of what {arguments.device} {_does(which)}")
    pair = [version_of(api, arguments.device, which, number)["id"] for number in (before, after)]
    reply = api.get(f"/configurations/{pair[0]}/diff/{pair[1]}")
    if arguments.json:
        output.print_json(reply.raw)
    else:
        _print_text(reply.value["text"] or "they do not differ in what counts")
    return 0


def _of_device(api: Client, device: str, what: str) -> Reply:
    """Something of a device's configuration. Raises CliError, also if it was never read."""
    try:
        return api.get(f"/devices/{device_id(api, device)}/{what}")
    except ApiError as error:
        raise _unread(api, device) if error.status == 404 else error from None


def device_id(api: Client, name: str) -> int:
    """Its id. Raises CliError."""
    found: int = api.one("/devices", "device", hostname=name)["id"]
    return found


def _drift(arguments: argparse.Namespace) -> int:
    api = client.find()
    reply = _of_device(api, arguments.device, "drift")
    state = reply.value["state"]
    unknown = state["running_id"] is None
    if arguments.json:
        output.print_json(reply.raw)
        return REFUSED if state["drift"] or unknown else 0
    for text, fault in ((f"it could not be read at {output.moment(state['tried_at'])}", state["error"]), ("its template does not render", state["intended"])):
        if fault:
            print(output.printable(f"netd: {text}: {fault}"), file=sys.stderr)
    if unknown:
        raise _unread(api, arguments.device)
    for name in ("approved", "saved", "intended"):
        found = reply.value[name]
        if found is not None and (found["added"] or found["removed"]):
            print(f"what it runs differs from what is {name}:")
            _print_text(found["text"])
    if not state["drift"]:
        print(_undrifted(arguments.device, reply.value))
    return REFUSED if state["drift"] else 0


def _undrifted(device: str, told: dict[str, Any]) -> str:
    """What it does not differ from: nothing may look right only because nobody said what is right."""
    state = told["state"]
    known = {"approved": state["approved_id"], "saved": state["startup_id"], "intended": told["template"]}
    named = [name for name, value in known.items() if value is not None]
    if not named:
        return f"nothing says how {device} should be configured: netd device approve {device}"
    return f"{device} is configured as it should be: as {' and '.join(named)}, read at {output.moment(state['backed_up_at'])}"


def _approve(arguments: argparse.Namespace) -> int:
    api = client.find()
    if arguments.number is None:
        version = _of_device(api, arguments.device, "configuration").value["running_id"]
    else:
        version = version_of(api, arguments.device, "running", arguments.number)["id"]
    if version is None:
        raise _unread(api, arguments.device)
    reply = api.post(f"/configurations/{version}/approve", {"note": arguments.note})
    return output.done(reply, arguments.json, f"version {reply.value['number']} of {arguments.device} is approved")
