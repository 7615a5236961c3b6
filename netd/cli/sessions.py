"""``netd session``"""

import argparse
import json
from typing import Any

from netd.cli import client, output
from netd.cli.arguments import Commands, body, command, group, option, paging
from netd.cli.lists import show_list
from netd.cli.values import moment


def register(commands: Commands) -> None:
    """Add the command."""
    session = group(commands, "session", "who is connected")
    parser = command(session, "list", "list sessions", _list)
    parser.add_argument("--state", choices=("open", "closed", "all"), help="open (default), closed or all (default with --at)")
    parser.add_argument("--username", metavar="U", help="only this subscriber's")
    parser.add_argument("--nas", metavar="NAME", help="only on this NAS")
    parser.add_argument("--ip", metavar="A", help="only with this address")
    option(parser, "--at", "at", "only those open at this time, with --ip or --username: who had this address then?", moment, metavar="TIME")
    states = ("applied", "pending", "refused", "unreachable", "unverified")
    option(parser, "--enforce-state", "enforce_state", "only open ones whose enforcement stands like this", choices=states)
    paging(parser)
    had = command(session, "who-had", "whose an address was at a moment, by open and closed sessions", _who_had)
    had.add_argument("ip", metavar="ADDRESS", help="IPv4 or IPv6, also one inside a prefix that was handed out")
    option(had, "--at", "at", "the moment (now)", moment, metavar="TIME")
    option(had, "--slack", "slack_seconds", "also show, marked, what missed the moment by this many seconds (60)", int, metavar="S")
    command(session, "show", "show a session", _show).add_argument("id", type=int, metavar="ID")
    text = "ask the NAS to end a session; exit code 0 only if it said yes"
    disconnect = command(session, "disconnect", text, _disconnect)
    disconnect.add_argument("id", type=int, nargs="?", metavar="ID")
    disconnect.add_argument("--username", metavar="U", help="every open session of this subscriber")
    disconnect.add_argument("--nas", metavar="NAME", help="every open session on this NAS")


def _row(session: dict[str, Any]) -> tuple[object, ...]:
    address = session["framed_ip_address"] or session["framed_ipv6_prefix"] or session["delegated_ipv6_prefix"]
    return (
        session["id"], session["username"], session["nas"] or session["nas_ip_address"], address, output.moment(session["started_at"]),
        output.duration(session["session_seconds"]), output.octets(session["down_octets"]), output.octets(session["up_octets"]),
        _state(session),
    )  # fmt: skip


def _state(session: dict[str, Any]) -> str:
    """Open or closed; for an open session that is not as it should be what hinders that: pending, refused, unreachable."""
    if session["stopped_at"] is not None:
        return f"closed: {session['terminate_cause'] or session['closed_by']}"
    return "open" if session["enforce_state"] in (None, "applied") else str(session["enforce_state"])


def _list(arguments: argparse.Namespace) -> int:
    header = ("ID", "USERNAME", "NAS", "ADDRESS", "STARTED", "DURATION", "DOWN", "UP", "STATE")
    wanted = {"state": arguments.state, "username": arguments.username, "nas": arguments.nas, "ip": arguments.ip}
    return show_list(client.find(), "/radius/sessions", arguments, header, _row, **wanted, **body(arguments, ("at", "enforce_state")))


def _who_had(arguments: argparse.Namespace) -> int:
    """Exit code 0 only if there is one answer without doubt, so that no script takes a guess for one."""
    reply = client.find().get("/radius/sessions/who-had", ip=arguments.ip, **body(arguments, ("at", "slack_seconds")))
    had = reply.value
    if arguments.json:
        output.print_json(reply.raw)
        return client.REFUSED if had["ambiguous"] or not had["holders"] else 0
    if not had["holders"]:
        print(f"nobody had {had['ip']} at {output.moment(had['at'])}, as far as accounting tells")
        return client.REFUSED
    header = ("ID", "USERNAME", "SUBSCRIBER", "NAS", "PORT", "MAC", "STARTED", "STOPPED", "SURE")
    output.print_table([_holder(holder) for holder in had["holders"]], header)
    for holder in had["holders"]:
        for doubt in holder["doubts"]:
            print(f"session {holder['session']['id']}: {output.printable(doubt)}")
    return client.REFUSED if had["ambiguous"] else 0


def _holder(holder: dict[str, Any]) -> tuple[object, ...]:
    session = holder["session"]
    return (
        session["id"], session["username"], session["subscriber_id"], session["nas"] or session["nas_ip_address"], session["nas_port_id"],
        session["calling_station_id"], output.moment(session["started_at"]), output.moment(session["stopped_at"]),
        "yes" if holder["had_it"] and not holder["doubts"] else "no",
    )  # fmt: skip


def _show(arguments: argparse.Namespace) -> int:
    output.show(client.find().get(f"/radius/sessions/{arguments.id}"), arguments.json)
    return 0


def _disconnect(arguments: argparse.Namespace) -> int:
    many = arguments.username is not None or arguments.nas is not None
    if (arguments.id is not None) == many:
        raise client.CliError("give the ID of a session, or --username, --nas or both", client.USAGE)
    api = client.find()
    if many:
        return _disconnect_many(api, arguments)
    raw, result = _ask(api, arguments.id)
    if arguments.json:
        output.print_json(raw)
    else:
        print(said(arguments.id, result))
    return 0 if result["outcome"] == "ack" else client.REFUSED


def _disconnect_many(api: client.Client, arguments: argparse.Namespace) -> int:
    """Every open session of a subscriber, on a NAS, or both; one after the other, each told as soon as it is known."""
    pages = api.pages("/radius/sessions", state="open", username=arguments.username, nas=arguments.nas)
    sessions = [session["id"] for page in pages for session in page.value["items"]]
    if not sessions:
        raise client.CliError(f"no open session of {arguments.username or 'anybody'}" + (f" on {arguments.nas}" if arguments.nas else ""))
    answers: list[Any] = []
    refused = False
    for session in sessions:
        try:
            raw, result = _ask(api, session)
            refused |= result["outcome"] != "ack"
            text = said(session, result)
        except client.ApiError as error:
            if error.status not in (404, 409):
                raise
            raw, text = error.raw, output.printable(f"session {session}: {error}")  # it ended by itself meanwhile
        answers.append(json.loads(raw))
        if not arguments.json:
            print(text, flush=True)
    if arguments.json:
        output.print_json(json.dumps(answers).encode())
    return client.REFUSED if refused else 0


def _ask(api: client.Client, session: int) -> tuple[bytes, dict[str, Any]]:
    """What the API said, and the NAS's result in it. A refusal of the NAS is an answer, not an error of the API."""
    try:
        reply = api.post(f"/radius/sessions/{session}/disconnect")
    except client.ApiError as error:
        if "outcome" not in error.problem:
            raise
        return error.raw, error.problem["outcome"]
    return reply.raw, reply.value


def said(session: int, result: dict[str, Any]) -> str:
    """The NAS's answer as a sentence."""
    tries = f"{result['attempts']} attempt{'s' if result['attempts'] != 1 else ''}, {result['duration_seconds']:.2f} s"
    match result["outcome"]:
        case "ack":
            text = f"the NAS acknowledged ({tries})"
        case "nak":
            cause = result["error_cause_name"] or result["error_cause"]
            text = "the NAS refused" + (f": {cause}" if cause else " without saying why") + f" ({tries})"
        case "timeout":
            text = f"the NAS did not answer ({tries}); whether the session goes on is unknown"
        case _:
            text = f"the NAS could not be asked: {result['detail'] or 'no reason known'}"
    closed = "; the session is closed here" if result["session_closed"] else ""
    return output.printable(f"session {session}: {text}{closed}")
