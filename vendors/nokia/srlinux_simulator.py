"""An SR Linux router that is not there."""

import json
import re
from typing import ClassVar

from netd.simulate import Behaviour, Reply, Tree, command


class Simulator(Behaviour):
    """``facts``: ``model``, ``serial``. The configuration is flat ``set`` lines, shown as one JSON object."""

    unknown: ClassVar[str] = "Parsing error: Unknown token"
    candidate: Tree | None = None

    def prompt(self) -> str:
        state = "running" if self.candidate is None else "candidate private"
        return f"--{{ {state} }}--[  ]--\r\nA:{self.device.hostname}# "

    @command(r"environment .+")
    def environment(self, match: re.Match[str]) -> Reply | str:
        self.page_lines = 0
        return ""

    @command(r"quit")
    def quit(self, match: re.Match[str]) -> Reply | str:
        return Reply(closes=True)

    @command(r"show version")
    def version(self, match: re.Match[str]) -> Reply | str:
        return (
            f"Hostname             : {self.device.hostname}\nChassis Type         : {self.device.facts.get('model', '7220 IXR-D3L')}\n"
            f"Serial Number        : {self.device.facts.get('serial', 'Sim Serial No.')}\nSoftware Version     : {self.device.version}"
        )

    @command(r"info from running \| as json")
    def running(self, match: re.Match[str]) -> Reply | str:
        body: dict[str, str] = {}
        for line in self.device.running.lines:
            path, _, value = line.removeprefix("set / ").rpartition(" ")
            body[path.rpartition(" ")[2] if path.endswith("password") else path] = value
        return json.dumps(body, indent=2)

    @command(r"enter candidate private")
    def enter(self, match: re.Match[str]) -> Reply | str:
        if self.device.quirks.locked_by:
            return f"Error: Candidate is in use exclusively by {self.device.quirks.locked_by}"
        self.candidate = self.device.running.copy()
        return ""

    @command(r"(set / (?:interface|system|network-instance) .+)")
    def set(self, match: re.Match[str]) -> Reply | str:
        if self.candidate is None:
            return self.unknown
        self.candidate.put((), match[1])
        return ""

    @command(r"commit now")
    def commit(self, match: re.Match[str]) -> Reply | str:
        if self.candidate is None:
            return self.unknown
        self.device.running, self.candidate = self.candidate, None
        return "All changes have been committed. Leaving candidate mode."

    @command(r"discard now|enter running")
    def discard(self, match: re.Match[str]) -> Reply | str:
        self.candidate = None
        return ""

    @command(r"save startup")
    def save(self, match: re.Match[str]) -> Reply | str:
        self.device.saved()
        return ""
