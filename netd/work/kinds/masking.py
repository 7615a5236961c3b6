"""Secrets in lines that somebody wants typed: what a driver would mask in them has no place in a job's arguments, which are shown."""

from collections.abc import Collection, Sequence
from typing import Final

from netd.domain import commands
from netd.domain.inputs import Faults
from netd.sdk.device import Backup
from netd.sdk.shell import SECRET
from netd.work.kinds.tools import Tools

_STAND_IN: Final = "netdnetd"
"""What no pattern takes for anything but a word; long enough to be taken for a secret."""


def secret_lines(reads: Backup, lines: Sequence[str]) -> list[int]:
    """Which lines have a secret besides those that they ask for with ``${name}``. Pure."""
    names = sorted(commands.places(lines))
    typed = commands.filled(lines, dict.fromkeys(names, _STAND_IN))
    shown = reads.masked("\n".join(typed)).split("\n")
    if len(shown) != len(lines):  # some were joined
        shown = [reads.masked(line) for line in typed]
    asked = commands.filled(lines, dict.fromkeys(names, SECRET))
    return [place for place, (line, masked) in enumerate(zip(asked, shown, strict=True)) if _bare(masked.replace(_STAND_IN, SECRET)) != _bare(line)]


def _bare(line: str) -> str:
    """Drivers take a secret with its quotation marks."""
    return line.replace('"', "")


def unmasked(tools: Tools, platforms: Collection[str | None], lines: Sequence[str], member: str) -> None:
    """Refuse a secret that stands in what is to be typed itself, which is shown with the job: by the drivers of these platforms. Raises InvalidInput."""
    faults = Faults()
    for platform in tools.sessions.platforms.values() if tools.sessions is not None else ():
        if platform.platform.name not in platforms or not isinstance(platform.driver, Backup):
            continue
        for place in secret_lines(platform.driver, lines):
            faults.add(f"/args/{member}/{place}", "has a secret in it: write ${name} for it, and name=value in secrets")
    faults.check()
