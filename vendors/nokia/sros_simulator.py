"""An SR OS router that is not there: the classic command line, or, with the fact ``model_driven``, the other one, for reading."""

import re
from typing import ClassVar

from netd.simulate import Behaviour, Reply, command


class Simulator(Behaviour):
    """``facts``: ``model``, ``serial``."""

    username_question: ClassVar[str] = "Login: "
    password_question: ClassVar[str] = "Password: "
    refusal: ClassVar[str] = "Login incorrect"
    pager: ClassVar[str] = "Press any key to continue (Q to quit)"
    changed = False

    def other(self, line: str) -> Reply | str:
        return f"MINOR: MGMT_CORE #2201: Unknown element - '{line}'" if self.driven else "Error: Bad command."

    @property
    def driven(self) -> bool:
        return "model_driven" in self.device.facts

    def prompt(self) -> str:
        mark = "*" if self.changed else ""
        return f"{mark}[/]\r\nA:{self.device.username}@{self.device.hostname}# " if self.driven else f"{mark}A:{self.device.hostname}# "

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
        return ""

    @command(r"show system information")
    def system(self, match: re.Match[str]) -> Reply | str:
        days, hours, minutes, seconds = self.uptime()
        return (
            f"{'=' * 79}\nSystem Information\n{'=' * 79}\nSystem Name            : {self.device.hostname}\n"
            f"System Type            : {self.device.facts.get('model', '7750 SR-12')}\nSystem Version         : {self.device.version}\n"
            f"System Up Time         : {days} days, {hours:02}:{minutes:02}:{seconds:02}.00 (hr:min:sec)\n{'=' * 79}"
        )

    @command(r"show chassis")
    def chassis(self, match: re.Match[str]) -> Reply | str:
        return f"  Hardware Data\n    Serial number                     : {self.device.facts.get('serial', 'NSSIMULATED')}"

    @command(r"admin display-config|admin show configuration configure full-context")
    def running(self, match: re.Match[str]) -> Reply | str:
        if ("display-config" in match[0]) == self.driven:
            return self.other(match[0])
        body = self.device.running.render("", "exit", indent="    ").replace("\n\n", "\n")
        head = f"# TiMOS-{self.device.version} both/i386 ALCATEL SR 7750\n# Generated FRI JUL 19 10:11:12 2024 UTC\n"
        return f"{head}\nexit all\nconfigure\n{body}\nexit all\n\n# Finished FRI JUL 19 10:11:20 2024 UTC"

    @command(r"show router arp")
    def arp(self, match: re.Match[str]) -> Reply | str:
        return "10.0.1.2        00:03:fa:11:22:34 03h59m10s Dyn[I] to-p1"

    @command(r"admin save")
    def save(self, match: re.Match[str]) -> Reply | str:
        self.device.saved()
        self.changed = False
        return "Writing configuration to cf3:\\config.cfg\nSaving configuration ... OK\nCompleted."

    @command(r"/configure (system|router|service|port) (.+)")
    def configure(self, match: re.Match[str]) -> Reply | str:
        self.changed = True
        self.device.running.put((match[1],), match[2])
        return ""
