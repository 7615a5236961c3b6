"""``netd enforcement``"""

import argparse
from typing import Any

from netd.cli import client, output
from netd.cli.arguments import Commands, command, group


def register(commands: Commands) -> None:
    """Add the command."""
    enforcement = group(commands, "enforcement", "bringing live sessions to what is wanted of them")
    command(enforcement, "show", "how live sessions and NAS stand, and what is held for confirmation", _show)
    for name, text in (("confirm", "disconnect or wall the sessions that are held"), ("discard", "leave the sessions that are held as they are")):
        decide = command(enforcement, name, text, _decide)
        text = "how many are held, as `show` told; the command is refused if there are more by now"
        decide.add_argument("sessions", type=int, metavar="SESSIONS", help=text)
        decide.set_defaults(decision=name)


def _show(arguments: argparse.Namespace) -> int:
    reply = client.find().get("/radius/enforcement")
    if arguments.json:
        output.print_json(reply.raw)
        return 0
    _print(reply.value)
    return 0


def _decide(arguments: argparse.Namespace) -> int:
    reply = client.find().post(f"/radius/enforcement/{arguments.decision}", {"sessions": arguments.sessions})
    return output.done(reply, arguments.json, f"{arguments.decision}ed: {arguments.sessions} sessions")


def _print(value: dict[str, Any]) -> None:
    sessions = value["sessions"]
    print("live sessions: " + (", ".join(f"{count} {state}" for state, count in sorted(sessions.items())) or "none"))
    held = value["held"]
    if held is not None:
        print(f"HELD since {output.moment(held['since'])}: {held['sessions']} of {held['live']} live sessions would be disconnected or walled")
        for cause, count in held["causes"].items():
            print(f"  {count} because {output.printable(cause)}")
        print(f"  netd enforcement confirm {held['sessions']}   or   netd enforcement discard {held['sessions']}")
    if value["queues"]:
        header = ("NAS", "ADDRESS", "PORT", "WAITING", "UNANSWERED", "WINDOW", "UNREACHABLE SINCE")
        output.print_table([_queue(queue) for queue in value["queues"]], header)


def _queue(queue: dict[str, Any]) -> tuple[object, ...]:
    since = queue["unreachable_since"]
    return (
        queue["nas"], queue["address"], queue["port"], queue["waiting"], queue["in_flight"], queue["window"], output.moment(since) if since else None,
    )  # fmt: skip
