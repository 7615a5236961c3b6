"""FRRouting's vtysh, for demonstrations where there is no real one."""

import re
from typing import ClassVar

from netd.simulate import Reply, command
from netd.simulate.hierarchical import Hierarchical


class Simulator(Hierarchical):
    """With the integrated configuration file."""

    pager = "--More--"
    sections: ClassVar[dict[str, str]] = {r"interface \S+": "if", r"router .+": "router"}
    words: ClassVar[tuple[str, ...]] = ("hostname", "description", "ip", "ipv6", "password", "neighbor", "network", "frr", "no")
    not_there = "% Refusing to remove a non-existent route"

    @command(r"show version")
    def version(self, match: re.Match[str]) -> Reply | str:
        return f"FRRouting {self.device.version} ({self.device.hostname}) on Linux(6.1.0).\nCopyright 1996-2005 Kunihiro Ishiguro, et al."

    @command(r"show running-config")
    def running(self, match: re.Match[str]) -> Reply | str:
        return f"Building configuration...\n\nCurrent configuration:\n!\nfrr version {self.device.version}\n{self.device.running.render('!', 'exit')}\n!\nend"

    @command(r"write memory")
    def write(self, match: re.Match[str]) -> Reply | str:
        self.device.saved()
        return "Note: this version of vtysh never writes vtysh.conf\nBuilding Configuration...\nIntegrated configuration saved to /etc/frr/frr.conf\n[OK]"

    def other(self, line: str) -> Reply | str:
        if self.mode != "config" or line.removeprefix("no ").split()[0] not in {*self.words, "interface", "router"}:
            return f"% Unknown command: {line}"
        return super().other(line)
