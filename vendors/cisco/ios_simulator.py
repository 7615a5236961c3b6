"""An IOS router that is not there."""

import re
from typing import ClassVar

from netd.simulate import Reply, command
from netd.simulate.hierarchical import Hierarchical


class Simulator(Hierarchical):
    """``facts``: ``model``, ``serial``, ``enable`` (the password of the privileged mode; without it a session begins there)."""

    first_mode = "user"
    pager = " --More-- "
    unknown = "                 ^\n% Invalid input detected at '^' marker.\n"
    refusal = "% Login invalid\n"
    alarm = "*Jul 19 10:11:12.123: %LINK-3-UPDOWN: Interface GigabitEthernet0/1, changed state to down"
    sections: ClassVar[dict[str, str]] = {r"interface \S+": "if", r"router .+": "router", r"line .+": "line", r"vlan \d+": "vlan"}
    words: ClassVar[tuple[str, ...]] = ("hostname", "description", "ip", "name", "shutdown", "snmp-server", "username", "password", "version", "ntp", "enable")
    single: ClassVar[tuple[str, ...]] = ("hostname", "description", "version")
    not_there = ""

    def greet(self) -> Reply:
        if "enable" not in self.device.facts:
            self.mode = "exec"
        return Reply()

    @command(r"enable", "user", "exec")
    def enable(self, match: re.Match[str]) -> Reply | str:
        def said(password: str) -> Reply | str:
            if password != self.device.facts["enable"]:
                return "% Access denied"
            self.mode = "exec"
            return ""

        return "" if self.mode == "exec" else Reply(question="Password: ", then=said)

    @command(r"terminal width \d+")
    def width(self, match: re.Match[str]) -> Reply | str:
        return ""

    @command(r"show version")
    def version(self, match: re.Match[str]) -> Reply | str:
        days, hours, minutes, _ = self.uptime()
        facts = self.device.facts
        return (
            f"Cisco IOS Software, C2900 Software (C2900-UNIVERSALK9-M), Version {self.device.version}, RELEASE SOFTWARE (fc1)\n\n"
            f"{self.device.hostname} uptime is {days} days, {hours} hours, {minutes} minutes\n\n"
            f"Cisco {facts.get('model', 'CISCO2911/K9')} (revision 1.0) with 2539456K/81920K bytes of memory.\n"
            f"Processor board ID {facts.get('serial', 'FTXSIMULATED')}"
        )

    @command(r"show running-config", "exec")
    def running(self, match: re.Match[str]) -> Reply | str:
        body = self.device.running.render()
        head = f"Building configuration...\n\nCurrent configuration : {len(body)} bytes\n!\n! Last configuration change at 10:11:12 UTC Fri Jul 19 2024"
        return f"{head}\n!\n{body}\nend"

    @command(r"show startup-config", "exec")
    def startup(self, match: re.Match[str]) -> Reply | str:
        body = self.device.startup.render()
        return f"Using {len(body)} out of 262136 bytes\n!\n{body}\nend"

    @command(r"write memory|wr", "exec")
    def write(self, match: re.Match[str]) -> Reply | str:
        self.device.saved()
        return "Building configuration...\n[OK]"

    @command(r"show ip arp", "exec")
    def arp(self, match: re.Match[str]) -> Reply | str:
        head = "Protocol  Address          Age (min)  Hardware Addr   Type   Interface\n"
        return head + "Internet  192.0.2.9               5   5254.00aa.bbcc  ARPA   GigabitEthernet0/1"

    @command(r"show mac address-table", "exec")
    def macs(self, match: re.Match[str]) -> Reply | str:
        head = "          Mac Address Table\n-------------------------------------------\nVlan    Mac Address       Type        Ports\n"
        return head + " All    0100.0ccc.cccc    STATIC      CPU\n  30    5254.00aa.bbcc    DYNAMIC     Gi0/1"

    @command(r"show cdp neighbors detail", "exec")
    def cdp(self, match: re.Match[str]) -> Reply | str:
        return (
            "-------------------------\nDevice ID: sw1\nEntry address(es): \n  IP address: 192.0.2.20\nPlatform: cisco WS-C2960S,  Capabilities: Switch IGMP \n"
            "Interface: GigabitEthernet0/1,  Port ID (outgoing port): GigabitEthernet1/0/1\nHoldtime : 155 sec"
        )
