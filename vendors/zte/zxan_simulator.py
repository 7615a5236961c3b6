"""A ZXA10 C320 that is not there."""

import re
from typing import ClassVar

from netd.simulate import Reply, command
from netd.simulate.hierarchical import Hierarchical


class Simulator(Hierarchical):
    """``facts``: ``model``, ``enable`` (the password of the privileged mode), ``onu_profile`` (ONUs that are bound to one refuse changes)."""

    first_mode = "user"
    unknown = "%Error 20201: Invalid input detected at '^' marker.Invalid command key word"
    incomplete = "%Error 20203: Incomplete command"
    not_there = "%Code 62397-GPONSRV: The entry is not existed."
    refusal = "%Error 20209: No username or bad password"
    sections: ClassVar[dict[str, str]] = {r"interface \S+": "if", r"pon-onu-mng \S+": "gpon-onu-mng"}
    words: ClassVar[tuple[str, ...]] = (
        "hostname",
        "name",
        "description",
        "onu",
        "tcont",
        "gemport",
        "service-port",
        "service",
        "vlan",
        "snmp-server",
        "wan-ip",
    )
    single: ClassVar[tuple[str, ...]] = ("hostname", "name", "description")
    changed = False

    def prompt(self) -> str:
        if self.mode == "config" and self.path:
            return f"{self.device.hostname}({'config-if' if self.path[-1].startswith('interface') else 'gpon-onu-mng'})#"
        return super().prompt()

    def greet(self) -> Reply:
        stars = "*" * 48
        return Reply(text=f"{stars}\nWelcome to ZXAN product C320 of ZTE Corporation\n{stars}\n")

    @command(r"enable", "user", "exec")
    def enable(self, match: re.Match[str]) -> Reply | str:
        def said(password: str) -> Reply | str:
            if password != self.device.facts.get("enable", "zxr10"):
                return "%Error 20208: Bad password"
            self.mode = "exec"
            return ""

        return "" if self.mode == "exec" else Reply(question="Password:", then=said)

    @command(r"exit")
    def exit(self, match: re.Match[str]) -> Reply | str:
        if self.mode == "config" or not self.changed:
            return super().exit(match)
        question = "The configuration is changed,confirm to logout without saving? [yes/no]:"
        return Reply(question=question, then=lambda said: Reply(closes=True) if said == "yes" else Reply())

    @command(r"show system-group")
    def system(self, match: re.Match[str]) -> Reply | str:
        days, hours, minutes, _ = self.uptime()
        return (
            f"System Description: {self.device.facts.get('model', 'C320')} Version {self.device.version} Software, Copyright (c) by ZTE Corporation Compiled\n"
            f"System ObjectId: .1.3.6.1.4.1.3902.1082.1001.320.2.1\nStarted before: {days} days, {hours} hours, {minutes} minutes\n"
            f"Contact with: noc\nSystem name:  {self.device.hostname}"
        )

    @command(r"show card")
    def card(self, match: re.Match[str]) -> Reply | str:
        return f"1    1     1    GTGH    GTGHG    16    V1.0.0  {self.device.version}          INSERVICE"

    @command(r"show running-config", "exec")
    def running(self, match: re.Match[str]) -> Reply | str:
        return f"Building configuration...\ntimestamp_write: 10:11:12 Fri Jul 19 2024\n!\n{self.device.running.render('!')}\n!\nend"

    @command(r"write", "exec")
    def write(self, match: re.Match[str]) -> Reply | str:
        self.device.saved()
        self.changed = False
        return "Building configuration...\n[OK]"

    @command(r"show pon power (onu-rx|onu-tx|olt-rx) (\S+)")
    def power(self, match: re.Match[str]) -> Reply | str:
        onus = [line.split()[1] for line in self.device.running.find((f"interface {match[2]}",), "onu ")]
        if not onus:
            return "%Code 62310-GPONSRV : No related information to show."
        level = {"onu-rx": -18.5, "onu-tx": 2.4, "olt-rx": -20.2}[match[1]]
        name = match[2].replace("olt", "onu")
        return "\n".join(["Onu                 Rx power", "-" * 36, *(f"{name}:{onu}    {level}(dbm)" for onu in onus)])

    @command(r"show gpon onu uncfg")
    def uncfg(self, match: re.Match[str]) -> Reply | str:
        return "%Code 62310-GPONSRV : No related information to show."

    def added(self, words: str) -> Reply | str:
        if "onu_profile" in self.device.facts and self.path and "onu_" in self.path[-1] and words.split()[0] in {"tcont", "gemport", "service"}:
            return "%Code 64007-GPONRM : Operation is forbidden for conflicting with some applied onu-profile."
        self.changed = True
        return super().added(words)
