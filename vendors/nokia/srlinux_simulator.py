"""An SR Linux router that is not there."""

import json
import re
from typing import Any, ClassVar

from netd.simulate import Behaviour, Reply, Simulated, Tree, command

_PEER = {"id": "1A:35:01:FF:00:00", "system-name": "srl2", "chassis-id": "1A:35:01:FF:00:00", "port-id": "ethernet-1/1", "port-description": ""}
_ADDRESS = {"address": "1A:35:01:FF:00:03", "destination-type": "sub-interface", "type": "learnt", "destination": "ethernet-1/3.0"}
_ARP = {"ipv4-address": "10.0.0.2", "link-layer-address": "1A:35:01:FF:00:01", "origin": "dynamic"}
_STATE: dict[str, Any] = {
    "system lldp interface * neighbor *": {"system": {"lldp": {"interface": [{"name": "ethernet-1/1", "neighbor": [_PEER]}, {"name": "mgmt0"}]}}},
    "network-instance * bridge-table mac-table mac *": {"network-instance": [{"name": "bridge1", "bridge-table": {"mac-table": {"mac": [_ADDRESS]}}}]},
    "interface * subinterface * ipv4 arp neighbor *": {
        "interface": [{"name": "ethernet-1/1", "subinterface": [{"index": 0, "ipv4": {"arp": {"neighbor": [_ARP]}}}]}]
    },
    "interface * subinterface * ipv6 neighbor-discovery neighbor *": {},
}


class Simulator(Behaviour):
    """``facts``: ``model``, ``serial``; ``refuses`` is what a commit is refused with; ``cuts`` is a word that cuts the management session off once a line
    with it works. The configuration is flat ``set`` lines, shown as one JSON object."""

    unknown: ClassVar[str] = "Parsing error: Unknown token"

    def __init__(self, device: Simulated) -> None:
        super().__init__(device)
        self.candidate: Tree | None = None
        self.unconfirmed: Tree | None = None  # what ran before a commit that is not confirmed

    def prompt(self) -> str:
        state = "running" if self.candidate is None else "candidate private"
        return f"--{{ {state} }}--[  ]--\r\nA:{self.device.hostname}# "

    def closed(self) -> None:
        """Time passes quickly here: what was not confirmed does not stay."""
        if self.unconfirmed is not None:
            self.device.running, self.unconfirmed = self.unconfirmed, None

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

    @command(r"info from state / (.+) \| as json")
    def state(self, match: re.Match[str]) -> Reply | str:
        found = _STATE.get(match[1])
        return self.unknown if found is None else json.dumps(found, indent=2)

    @command(r"info from running \| as json")
    def running(self, match: re.Match[str]) -> Reply | str:
        return _shown(self.device.running)

    @command(r"info \| as json")
    def info(self, match: re.Match[str]) -> Reply | str:
        return _shown(self.device.running if self.candidate is None else self.candidate)

    @command(r"enter candidate private")
    def enter(self, match: re.Match[str]) -> Reply | str:
        if self.device.quirks.locked_by:
            return f"Error: Candidate is in use exclusively by {self.device.quirks.locked_by}"
        self.candidate = self.device.running.copy()
        return ""

    @command(r"delete /")
    def empty(self, match: re.Match[str]) -> Reply | str:
        if self.candidate is None:
            return self.unknown
        self.candidate = Tree()
        return ""

    @command(r"load file (\S+)")
    def load(self, match: re.Match[str]) -> Reply | str:
        content = self.device.files.get(match[1].lstrip("/"))
        if self.candidate is None or content is None:
            return self.unknown
        for name, value in json.loads(content).items():
            self.candidate.put((), f"set / {_PASSWORD} {value}" if name == "password" else f"set / {name} {value}")
        return ""

    @command(r"(set / (?:interface|system|network-instance) .+)")
    def set(self, match: re.Match[str]) -> Reply | str:
        if self.candidate is None:
            return self.unknown
        self.candidate.put((), match[1])
        return ""

    @command(r"commit (now|confirmed timeout \d+)")
    def commit(self, match: re.Match[str]) -> Reply | str:
        if self.candidate is None:
            return self.unknown
        if refusal := self.device.facts.get("refuses"):
            return refusal
        before, self.device.running = self.device.running, self.candidate
        cuts = self.device.facts.get("cuts")
        if match[1] == "now":
            self.candidate = None
            return "All changes have been committed. Leaving candidate mode."
        self.unconfirmed, self.candidate = before, self.device.running.copy()
        return Reply(text="Commit confirmed", closes=cuts is not None and cuts in "\n".join(self.device.running.lines))

    @command(r"tools system configuration confirmed-accept|commit confirmed accept")
    def accept(self, match: re.Match[str]) -> Reply | str:
        if self.unconfirmed is None:
            return "Error: no commit is to be confirmed"
        self.unconfirmed = None
        return ""

    @command(r"discard now|enter running")
    def discard(self, match: re.Match[str]) -> Reply | str:
        self.candidate = None
        return ""

    @command(r"save startup")
    def save(self, match: re.Match[str]) -> Reply | str:
        self.device.saved()
        return "/system:\n    Saved current running configuration as initial (startup) configuration '/etc/opt/srlinux/config.json'"


_PASSWORD = "system aaa password"


def _shown(tree: Tree) -> str:
    body: dict[str, str] = {}
    for line in tree.lines:
        path, _, value = line.removeprefix("set / ").rpartition(" ")
        body[path.rpartition(" ")[2] if path.endswith("password") else path] = value
    return json.dumps(body, indent=2)
