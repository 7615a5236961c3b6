"""A ZXA10 C320 that is not there."""

import re
from typing import ClassVar

from netd.simulate import Reply, command
from netd.simulate.hierarchical import Hierarchical


class Simulator(Hierarchical):
    """``facts``: ``model`` (a C600 ends its configuration in its own way), ``enable`` (the password of the privileged mode), ``onu_profile`` (ONUs that are
    bound to one refuse changes)."""

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
        body = self.device.running.render("!")
        if self.device.facts.get("model") == "C600":
            return f"!<MSAN>\n!configuration saved at 10:11:12 Fri Jul 19 2024 by netd\n{body}\n!</MSAN>"
        return f"Building configuration...\ntimestamp_write: 10:11:12 Fri Jul 19 2024\n!\n{body}\n!\nend"

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

    @command(r"show mac", "exec")
    def macs(self, match: re.Match[str]) -> Reply | str:
        head = (
            "Total mac address : 1\n\nMac address      vlan  type      port                  vc\n--------------  ----  --------  --------------------  ------"
        )
        return f"{head}\n8cdc.0294.a5cd    88  Dynamic   gpon-onu_1/1/1:1      vport 1"

    @command(r"show arp", "exec")
    def arp(self, match: re.Match[str]) -> Reply | str:
        head = "Address          Age(min)  Hardware Addr   Interface\n-------------------------------------------------------"
        return f"{head}\n192.0.2.1        5         00d0.d0aa.bbcc  vlan100"

    @command(r"show lldp neighbor", "exec")
    def lldp(self, match: re.Match[str]) -> Reply | str:
        return "Local Interface    Chassis ID        Holdtime\n-------------------------------------\ngei_1/4/1          00d0.d0aa.bbcc    101"

    @command(r"show lldp entry interface gei_1/4/1", "exec")
    def lldp_entry(self, match: re.Match[str]) -> Reply | str:
        return (
            "Local Port: gei_1/4/1\nChassis ID: 00d0.d0aa.bbcc | MAC Address\nPeer Port: GigabitEthernet0/1 | Interface Name\n"
            "Holdtime: 120\nSystem Name: core1\nSystem Description: a router"
        )

    @command(r"show gpon onu uncfg")
    def uncfg(self, match: re.Match[str]) -> Reply | str:
        return "%Code 62310-GPONSRV : No related information to show."

    def added(self, words: str) -> Reply | str:
        if "onu_profile" in self.device.facts and self.path and "onu_" in self.path[-1] and words.split()[0] in {"tcont", "gemport", "service"}:
            return "%Code 64007-GPONRM : Operation is forbidden for conflicting with some applied onu-profile."
        self.changed = True
        return super().added(words)
