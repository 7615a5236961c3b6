"""An SR OS router that is not there: the classic command line or, with the fact ``model_driven``, the other one.

Further facts: ``model``, ``serial``; ``rollbacks`` is where checkpoints are kept, without it there are none; ``refuses`` is what a commit is refused with;
``cuts`` is a word that cuts the management session off once a line with it works; ``flash_octets`` is how large its flash is; ``standby`` says that it has two
control cards.
"""

import re
from collections.abc import Iterator
from typing import ClassVar

from netd.simulate import Behaviour, Reply, Simulated, Tree, command

_RULE = "=" * 79
_NEIGHBOURS = """\
Link Layer Discovery Protocol (LLDP) System Information

{rule}
NB = nearest-bridge   NTPMR = nearest-non-tpmr   NC = nearest-customer
{rule}
Lcl Port      Scope Remote Chassis ID  Index  Remote Port     Remote Sys Name
{dashes}
1/1/c11/1     NB    0C:00:2B:0F:FB:00  1      1/1/c11/1, 100* p2
1/1/c12/1     NB    24:21:24:DA:F6:3F  2      3/2/c5/1        aggregation-rou*
{rule}
* indicates that the corresponding row element may have been truncated.
Number of neighbors : 2"""
_ADDRESSES = """\
{rule}
Service Forwarding Database
{rule}
ServId    MAC               Source-Identifier        Type   Last Change
                                                     Age
{dashes}
236       96:db:56:32:48:64 sap:1/1/c4/1:236         L/30   02/28/26 03:25:47
316       00:02:03:34:42:9a sdp:11590:316            L/75   02/11/14 12:50:18
{dashes}
No. of MAC Entries: 2
{rule}"""


class Simulator(Behaviour):
    """Configuration is kept under the first word of each line."""

    username_question: ClassVar[str] = "Login: "
    password_question: ClassVar[str] = "Password: "
    refusal: ClassVar[str] = "Login incorrect"
    pager: ClassVar[str] = "Press any key to continue (Q to quit)"

    def __init__(self, device: Simulated) -> None:
        super().__init__(device)
        self.changed = False
        self.candidate: Tree | None = None
        self.within = ""
        self.unconfirmed: Tree | None = None  # what ran before a commit that is not confirmed
        self.images = {"primary": f"cf3:\\TiMOS-{device.version}\\both.tim", "secondary": ""}
        self.saved_images = dict(self.images)

    def other(self, line: str) -> Reply | str:
        return f"MINOR: MGMT_CORE #2201: Unknown element - '{line.split()[0]}'" if self.driven else "Error: Bad command."

    @property
    def driven(self) -> bool:
        return "model_driven" in self.device.facts

    def prompt(self) -> str:
        mark = "*" if self.changed else ""
        if not self.driven:
            return f"{mark}A:{self.device.hostname}# "
        mode = "" if self.candidate is None else "(ex)"
        return f"{mark}{mode}[/{self.within}]\r\nA:{self.device.username}@{self.device.hostname}# "

    def closed(self) -> None:
        """What was not confirmed in its session does not stay."""
        if self.unconfirmed is not None:
            self.device.running, self.unconfirmed = self.unconfirmed, None

    @command(r"environment (no more|more false)")
    def environment(self, match: re.Match[str]) -> Reply | str:
        if (match[1] == "more false") != self.driven:
            return self.other(match[0])
        self.page_lines = 0
        return ""

    @command(r"logout")
    def logout(self, match: re.Match[str]) -> Reply | str:
        return Reply(closes=True)

    @command(r"exit all")
    def root(self, match: re.Match[str]) -> Reply | str:
        self.within = ""
        return ""

    @command(r"show system information")
    def system(self, match: re.Match[str]) -> Reply | str:
        days, hours, minutes, seconds = self.uptime()
        return (
            f"{_RULE}\nSystem Information\n{_RULE}\nSystem Name            : {self.device.hostname}\n"
            f"System Type            : {self.device.facts.get('model', '7750 SR-12')}\nSystem Version         : {self.device.version}\n"
            f"System Up Time         : {days} days, {hours:02}:{minutes:02}:{seconds:02}.00 (hr:min:sec)\nBOF Source             : cf3:\n{_RULE}"
        )

    @command(r"show chassis")
    def chassis(self, match: re.Match[str]) -> Reply | str:
        return f"  Hardware Data\n    Serial number                     : {self.device.facts.get('serial', 'NSSIMULATED')}"

    @command(r"admin display-config|admin show configuration configure full-context")
    def running(self, match: re.Match[str]) -> Reply | str:
        if ("display-config" in match[0]) == self.driven:
            return self.other(match[0])
        head = f"# TiMOS-{self.device.version} both/i386 ALCATEL SR 7750\n# Generated FRI JUL 19 10:11:12 2024 UTC\n"
        if self.driven:
            body = "\n".join(f"/configure {line}" for line in _flat(self.device.running))
        else:
            rendered = self.device.running.render("", "exit", indent="    ").replace("\n\n", "\n")
            body = f"\nexit all\nconfigure\n{rendered}\nexit all\n"
        return f"{head}{body}\n# Finished FRI JUL 19 10:11:20 2024 UTC"

    @command(r"show router arp")
    def arp(self, match: re.Match[str]) -> Reply | str:
        return "10.0.1.2        00:03:fa:11:22:34 03h59m10s Dyn[I] to-p1"

    @command(r"show system lldp neighbor")
    def neighbours(self, match: re.Match[str]) -> Reply | str:
        return _NEIGHBOURS.format(rule=_RULE, dashes="-" * 79)

    @command(r"show port (\S+) ethernet lldp remote-info")
    def remote(self, match: re.Match[str]) -> Reply | str:
        return f"Port {match[1]} Bridge nearest-bridge Remote Peer Information\nSystem Name           : aggregation-router-west-1\nSystem Description    : x"

    @command(r"show service fdb-mac")
    def fdb(self, match: re.Match[str]) -> Reply | str:
        return _ADDRESSES.format(rule=_RULE, dashes="-" * 79)

    @command(r"admin save")
    def save(self, match: re.Match[str]) -> Reply | str:
        self.device.saved()
        self.changed = False
        return "Writing configuration to cf3:\\config.cfg\nSaving configuration ... OK\nCompleted."

    @command(r"admin rollback save comment \S+")
    def checkpoint(self, match: re.Match[str]) -> Reply | str:
        place = self.device.facts.get("rollbacks")
        if self.driven or place is None:  # what a router says that has no place for it is not documented
            return self.other(match[0])
        self.device.files[f"{place}.rb"] = self.device.running.render("", "exit").encode()
        return f"Saving rollback configuration to {place}.rb... OK"

    @command(r"admin rollback revert latest-rb now")
    def revert(self, match: re.Match[str]) -> Reply | str:
        place = f"{self.device.facts.get('rollbacks')}.rb"
        if self.driven or place not in self.device.files:
            return self.other(match[0])
        self.device.running = Tree.parse(self.device.files[place].decode())
        return (
            f"Restoring rollback configuration {place}\nProcessing current config... 0.060 s\nProcessing {place}... 0.060 s\n"
            "Resolving dependencies... 0.000 s\nTearing setup down... 0.010 s\nRebuilding setup... 0.020 s\nFinished in 0.160 s"
        )

    @command(r"file dir cf3:\\")
    def directory(self, match: re.Match[str]) -> Reply | str:
        used = sum(map(len, self.device.files.values()))
        rows = "".join(f"07/15/2025  04:57p  {len(content):>18} {name}\n" for name, content in self.device.files.items())
        free = int(self.device.facts.get("flash_octets", 1 << 28)) - used
        return (
            f"Volume in drive cf3 on slot A has no label.\n\nDirectory of cf3:\\\n\n{rows}"
            f"{len(self.device.files):>16} File(s) {used:>24} bytes.\n{0:>16} Dir(s) {free:>25} bytes free."
        )

    @command(r"file md cf3:\\(\S+)")
    def folder(self, match: re.Match[str]) -> Reply | str:
        return self.other(match[0]) if self.driven else ""

    @command(r"file version (\S+) check")
    def sound(self, match: re.Match[str]) -> Reply | str:
        version = self.version_of(match[1])
        if version is None:
            return f"MINOR: CLI Could not access {match[1]}"
        return f"TiMOS-{version} both/hops Nokia SAR 7705 Copyright (c) 2000-2024 Nokia."

    def version_of(self, path: str) -> str | None:
        """What an image is, None if there is none of that name or it is none."""
        found = re.match(rb"TiMOS-(\S+)", self.device.files.get(path.replace("\\", "/"), b""))
        return found[1].decode() if found else None

    @command(r"show bof")
    def bof(self, match: re.Match[str]) -> Reply | str:
        rows = "".join(f"    {which}-image      {path}\n" for which, path in self.images.items() if path)
        return f"{_RULE}\nBOF (Memory)\n{_RULE}\n{rows}    primary-config     cf3:\\config.cfg\n{_RULE}"

    @command(r"bof (primary|secondary)-image (\S+)")
    def image(self, match: re.Match[str]) -> Reply | str:
        self.images[match[1]] = match[2]
        return ""

    @command(r"bof save")
    def save_bof(self, match: re.Match[str]) -> Reply | str:
        self.saved_images = dict(self.images)
        return "Writing BOF to cf3:/bof.cfg ... OK\nCompleted."

    @command(r"admin redundancy synchronize boot-env")
    def synchronize(self, match: re.Match[str]) -> Reply | str:
        if "standby" not in self.device.facts:
            return self.other(match[0])
        return "Syncing Boot environment\n    boot option file : cf3:\\bof.cfg ... OK\n    boot loader      : cf3:\\boot.ldr ... OK"

    @command(r"admin reboot now")
    def reboot(self, match: re.Match[str]) -> Reply | str:
        self.device.next_version = self.version_of(self.saved_images["primary"])  # else it starts with the second, which is what ran
        return Reply(restarts=True)

    @command(r"edit-config exclusive")
    def enter(self, match: re.Match[str]) -> Reply | str:
        if not self.driven:
            return self.other(match[0])
        if self.device.quirks.locked_by:
            return f"MINOR: MGMT_CORE #2052: Exclusive datastore access unavailable - {self.device.quirks.locked_by} editing global candidate"
        self.candidate = self.device.running.copy()
        return "INFO: CLI #2060: Entering exclusive configuration mode\nINFO: CLI #2061: Uncommitted changes are discarded on configuration mode exit"

    @command(r"configure")
    def section(self, match: re.Match[str]) -> Reply | str:
        if self.driven:
            self.within = "configure"
        return ""

    @command(r"load full-replace (\S+)")
    def load(self, match: re.Match[str]) -> Reply | str:
        if self.candidate is None or self.within != "configure":
            return self.other(match[0])
        content = self.device.files.get(match[1].replace("\\", "/"))
        if content is None:
            return self.other(match[0])
        lines = [line.removeprefix("/configure ") for line in content.decode().splitlines() if line.startswith("/configure ")]
        self.candidate = _tree("\n".join(lines))
        return f"Loaded {len(lines)} lines in 0.0 seconds from file {match[1]}"

    @command(r"commit confirmed (1|accept)")
    def commit(self, match: re.Match[str]) -> Reply | str:
        if match[1] == "accept" and self.unconfirmed is not None:
            self.unconfirmed = None
            return ""
        if self.candidate is None or match[1] == "accept":
            return self.other(match[0])
        if refusal := self.device.facts.get("refuses"):
            return refusal
        self.unconfirmed, self.device.running = self.device.running, self.candidate
        self.candidate = self.device.running.copy()
        cuts = self.device.facts.get("cuts")
        return Reply(closes=cuts is not None and cuts in "\n".join(_flat(self.device.running)))

    @command(r"discard|quit-config")
    def discard(self, match: re.Match[str]) -> Reply | str:
        if self.candidate is None:
            return self.other(match[0])
        self.candidate = None if match[0] == "quit-config" else self.device.running.copy()
        return ""

    @command(r"/configure ((?:system|router|service|port) .+)")
    def configure(self, match: re.Match[str]) -> Reply | str:
        section, _, line = match[1].partition(" ")
        if self.driven and self.candidate is None:
            return "MINOR: MGMT_CORE #2069: Operation not allowed - not in configuration mode"
        (self.device.running if self.candidate is None else self.candidate).put((section,), line)
        self.changed = not self.driven
        return ""


def _flat(tree: Tree, above: str = "") -> Iterator[str]:
    """Every innermost line with what it stands in."""
    for line, below in tree.lines.items():
        if below.lines:
            yield from _flat(below, f"{above}{line} ")
        else:
            yield above + line


def _tree(flat: str) -> Tree:
    tree = Tree()
    for line in flat.splitlines():
        section, _, rest = line.partition(" ")
        tree.put((section,), rest)
    return tree
