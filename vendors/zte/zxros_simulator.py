"""A ZXROS router that is not there."""

import re
from typing import ClassVar

from netd.simulate import Reply, command
from netd.simulate.hierarchical import Hierarchical


class Simulator(Hierarchical):
    """``facts``: ``model``, ``modules`` (its configuration stands between marks)."""

    unknown = "%Error 20201: Invalid input detected at '^' marker."
    incomplete = "%Error 20203: Incomplete command"
    not_there = "%Error 20300: The object does not exist"
    sections: ClassVar[dict[str, str]] = {r"interface \S+": "if"}
    words: ClassVar[tuple[str, ...]] = ("hostname", "description", "ip", "snmp-server")

    @command(r"enable")
    def enable(self, match: re.Match[str]) -> Reply | str:
        return ""

    @command(r"show version")
    def version(self, match: re.Match[str]) -> Reply | str:
        days, hours, minutes, _ = self.uptime()
        model = self.device.facts.get("model", "ZXCTN 6120H-S")
        return (
            f"{model}\nZTE {model.split()[0]} Software, Version: {model.split()[-1]} {self.device.version}, Release software\n"
            f"System uptime is {days} day(s), {hours} hour(s), {minutes} minute(s)"
        )

    @command(r"show arp")
    def arp(self, match: re.Match[str]) -> Reply | str:
        return (
            "IP                       Hardware                    Exter  Inter  Sub\n"
            "10.10.255.1    H        744a.a42b.2010 xgei-1/1/0/1 201    N/A    N/A\n                                        .201"
        )

    @command(r"show lldp neighbor brief")
    def lldp(self, match: re.Match[str]) -> Reply | str:
        rows = [f"xgei-1/1/0/1      {scope:<5}  744a.a42b.1fe8  xgei-1/1/0/2      101       P2" for scope in ("NB", "NC")]
        return "\n".join(["Local Interface   Scope  Chassis ID      Port ID           Holdtime  System Name", "-" * 80, *rows])

    @command(r"show running-config", "exec")
    def running(self, match: re.Match[str]) -> Reply | str:
        if "modules" in self.device.facts:
            return f"!<mim>\nversion {self.device.version}\n!</mim>\n!<if-intf>\n{self.device.running.render('$', '$')}\n!</if-intf>"
        return f"Building configuration...\n!\n{self.device.running.render('!')}\n!"

    @command(r"write", "exec")
    def write(self, match: re.Match[str]) -> Reply | str:
        self.device.saved()
        return "Building configuration...\n[OK]"
