"""A VRP router that is not there, of VRP 5 or, with the fact ``two_stage``, VRP 8."""

import re
from typing import ClassVar

from netd.simulate import Attributes, Objects, Rates, Reply, Simulated, Vitals, command, mib
from netd.simulate.access import pair
from netd.simulate.configuration import Tree
from netd.simulate.hierarchical import Hierarchical

_BOARD = (1, 3, 6, 1, 4, 1, 2011, 5, 25, 31, 1, 1, 1, 1)
_DENIES = "acl NOBODY inbound"


class Simulator(Hierarchical):
    """``facts``: ``model``, ``esn``, ``next`` (the image of the next start), ``next_configuration`` (its configuration file). A line ``acl NOBODY inbound``
    lets nobody new in."""

    pager = "  ---- More ----"
    unknown = "               ^\nError: Unrecognized command found at '^' position."
    incomplete = "               ^\nError: Incomplete command found at '^' position."
    not_there = "Error: The configuration does not exist."
    refusal = "Error: Failed to log in."
    quota_text = "All user interfaces are used, please try later!"
    alarm = "Jul 19 2024 10:11:12 NE1 %%01IFNET/4/IF_STATE(l)[12]:Interface GigabitEthernet0/1/1 has turned into DOWN state."
    negation = "undo"
    sections: ClassVar[dict[str, str]] = {r"interface \S+": "if", r"vlan \d+": "vlan", r"aaa": "aaa", r"user-interface .+": "ui"}
    words: ClassVar[tuple[str, ...]] = ("sysname", "description", "ip", "snmp-agent", "local-user", "shutdown", "port", "acl")
    single: ClassVar[tuple[str, ...]] = ("sysname", "description")
    sys_object_id = "1.3.6.1.4.1.2011.2.88.2"
    changed = False
    before: Tree

    @classmethod
    def sys_descr(cls, device: Simulated) -> str:
        model = device.facts.get("model", "NE40E")
        return f"Huawei Versatile Routing Platform Software VRP (R) software, Version 8.180 ({model} {device.version}) simulated"

    @classmethod
    def managed(cls, device: Simulated, vitals: Vitals) -> Objects:
        return {
            (*_BOARD, 5, 17367040): mib.number(max(vitals.cpu_percent, 1)), (*_BOARD, 11, 17367040): mib.number(vitals.temperature_celsius),
        }  # fmt: skip

    @classmethod
    def granted(cls, attributes: Attributes) -> Rates | None:
        """The peak rates; input is what comes from the subscriber."""
        return pair(attributes, "Huawei-Output-Peak-Rate", "Huawei-Input-Peak-Rate") or super().granted(attributes)

    def prompt(self) -> str:
        name = self.device.hostname
        if self.mode != "config":
            return f"<{name}>"
        mark = ("*" if self.changed else "~") if "two_stage" in self.device.facts else ""
        where = f"-{self.path[-1].replace('interface ', '')}" if self.path else ""
        return f"[{mark}{name}{where}]"

    @command(r"screen-length 0 temporary")
    def screen(self, match: re.Match[str]) -> Reply | str:
        self.page_lines = 0
        return "Info: The configuration takes effect on the current user terminal interface only."

    @command(r"system-view", "exec")
    def configure(self, match: re.Match[str]) -> Reply | str:
        if self.device.quirks.locked_by:
            return f"Error: The configuration is locked by {self.device.quirks.locked_by}."
        self.mode, self.path, self.before = "config", [], self.device.running.copy()
        return "Enter system view, return user view with Ctrl+Z."

    @command(r"commit trial \d+", "config")
    def commit_trial(self, match: re.Match[str]) -> Reply | str:
        if "two_stage" not in self.device.facts:
            return self.unknown
        if not self.changed:
            return ""
        self.changed = False
        self.run_now(self.device.running)
        return (
            "Info: The system enters the trial configuration mode.\n"
            f"The system will revert to previous configuration if the trial configuration is not confirmed in {match[0].split()[-1]} seconds."
        )

    @command(r"commit", "config")
    def commit(self, match: re.Match[str]) -> Reply | str:
        self.changed, self.before = False, self.device.running.copy()
        return "" if "two_stage" in self.device.facts else self.unknown

    @command(r"abort trial", "config")
    def abort_trial(self, match: re.Match[str]) -> Reply | str:
        def now(said: str) -> Reply:
            if said == "y":
                self.run_now(self.before)
            return Reply(text="Info: The trial configuration rollback succeeded.")

        return Reply(question="Warning: The trial configuration will be rolled back. Continue? [Y/N]:", then=now)

    @command(r"clear configuration candidate", "config")
    def clear_candidate(self, match: re.Match[str]) -> Reply | str:
        if "two_stage" not in self.device.facts:
            return self.unknown
        self.run_now(self.before)
        self.changed = False
        return ""

    def run_now(self, tree: Tree) -> None:
        """Let it run a whole configuration."""
        self.device.running = tree.copy()
        self.device.shut = _DENIES in tree.render()
        for line in tree.find((), "sysname "):
            self.device.hostname = line.split()[1]

    @command(r"return", "config")
    def end(self, match: re.Match[str]) -> Reply | str:
        def out(said: str) -> Reply:
            self.mode, self.path, self.changed = "exec", [], False
            return Reply()

        if self.changed and "two_stage" in self.device.facts:
            return Reply(question="Warning: Uncommitted configurations found. Are you sure to commit them before exiting? [Y(yes)/N(no)/C(cancel)]:", then=out)
        return out("")

    def added(self, words: str) -> Reply | str:
        self.changed = True
        if words.startswith("sysname "):
            self.device.hostname = words.split()[1]
        return super().added(words)

    @command(r"display version")
    def version(self, match: re.Match[str]) -> Reply | str:
        days, hours, minutes, _ = self.uptime()
        model, platform = self.device.facts.get("model", "NE40E"), "8.180" if "two_stage" in self.device.facts else "5.170"
        return (
            f"Huawei Versatile Routing Platform Software\nVRP (R) software, Version {platform} ({model} {self.device.version})\n"
            f"HUAWEI {model} uptime is {days} days, {hours} hours, {minutes} minutes"
        )

    @command(r"display esn")
    def esn(self, match: re.Match[str]) -> Reply | str:
        return f"ESN of device: {self.device.facts.get('esn', '2102SIMULATED')}"

    @command(r"display current-configuration \| include sysname")
    def sysname(self, match: re.Match[str]) -> Reply | str:
        return f" sysname {self.device.hostname}"

    @command(r"display current-configuration")
    def running(self, match: re.Match[str]) -> Reply | str:
        return (
            f"!Software Version {self.device.version}\n!Last configuration was updated at 2024-07-19 10:11:12\n#\n{self.device.running.render('#')}\n#\nreturn"
        )

    @command(r"display saved-configuration")
    def startup(self, match: re.Match[str]) -> Reply | str:
        return f"#\n{self.device.startup.render('#')}\n#\nreturn"

    @command(r"save(?: (\S+))?")
    def save(self, match: re.Match[str]) -> Reply | str:
        def done(said: str) -> Reply:
            if said != "y":
                return Reply()
            if match[1] is None or match[1] == self.next_configuration:
                self.device.saved()
            if match[1] is not None:
                self.device.files[match[1]] = self.device.running.render("#").encode()
            return Reply(text="Now saving the current configuration to the slot 0.\nInfo: Save the configuration successfully.")

        return Reply(text="The current configuration will be written to the device.", question="Are you sure to continue?[Y/N]", then=done)

    @command(r"dir(?: (\S+))?")
    def dir(self, match: re.Match[str]) -> Reply | str:
        rows = [
            f"  {place:>3}  -rw-  {len(content):>13,}  Oct 21 2019 15:21:23   {name}"
            for place, (name, content) in enumerate(self.device.files.items())
            if match[1] in {None, name}
        ]
        head = "Directory of flash:/\n\n  Idx  Attr     Size(Byte)  Date        Time       FileName\n"
        return head + "\n".join([*rows, "", "2,994,228 KB total (801,664 KB free)"])

    @property
    def next_configuration(self) -> str:
        return self.device.facts.get("next_configuration", "vrpcfg.zip")

    @command(r"startup saved-configuration (\S+)", "exec")
    def startup_configuration(self, match: re.Match[str]) -> Reply | str:
        if match[1] not in self.device.files:
            return "Error: The file does not exist."
        self.device.startup = self.taken(match[1])
        self.device.facts["next_configuration"] = match[1]
        return "Info: Succeeded in setting the configuration for booting system."

    def taken(self, name: str) -> Tree:
        """What it makes of a file's lines."""
        lines = self.device.files[name].decode().splitlines()
        return Tree.parse("\n".join(line for line in lines if line.strip() not in self.device.quirks.refuses))

    @command(r"delete /unreserved /quiet (\S+)", "exec")
    def delete(self, match: re.Match[str]) -> Reply | str:
        return "" if self.device.files.pop(match[1], None) is not None else "Error: The file does not exist."

    @command(r"reboot fast", "exec")
    def reboot_fast(self, match: re.Match[str]) -> Reply | str:
        return Reply(question="System will reboot! Continue ? [y/n]:", then=lambda said: Reply(restarts=said == "y"))

    @command(r"rollback configuration to file (\S+)", "exec")
    def rollback(self, match: re.Match[str]) -> Reply | str:
        def now(said: str) -> Reply:
            if said != "y":
                return Reply()
            self.before = self.device.running.copy()
            self.run_now(self.taken(match[1]))
            steps = "Checking changes...\nLoading rollback changes\nCommitting\nCheck rollback result\n"
            if self.device.quirks.refuses:
                return Reply(text=steps)
            return Reply(text=f"{steps}Configuration rollback succeeded.\nPlease use 'display configuration commit changes last 1' to view the changes.")

        if "two_stage" not in self.device.facts:
            return self.unknown
        if self.device.quirks.locked_by:
            return f"Error: The configuration is locked by {self.device.quirks.locked_by}."
        if match[1] not in self.device.files:
            return "Error: The file does not exist."
        question = f"Warning: This operation will revert configuration changes to the file {match[1]}. Continue? [Y/N]:"
        return Reply(question=question, then=now)

    @command(r"rollback configuration last 1", "exec")
    def rollback_last(self, match: re.Match[str]) -> Reply | str:
        def now(said: str) -> Reply:
            if said == "y":
                self.run_now(self.before)
            return Reply(text="Loading rollback changes\nCommitting\nCheck rollback result\nConfiguration rollback succeeded.")

        question = "Warning: This operation will revert configuration changes to the previous status. Continue? [Y/N]:"
        return Reply(question=question, then=now)

    @command(r"display configuration rollback result")
    def rollback_result(self, match: re.Match[str]) -> Reply | str:
        told = "\n".join(f"+ {line}" for line in self.device.quirks.refuses)
        return f"!There are still several differences as follow:\n{told}" if told else ""

    @command(r"startup system-software (\S+)", "exec")
    def startup_software(self, match: re.Match[str]) -> Reply | str:
        if match[1] not in self.device.files:
            return "Error: The file does not exist."
        self.device.facts["next"] = match[1]
        return "Info: Succeeded in setting the software for booting system."

    @command(r"display startup")
    def shown_startup(self, match: re.Match[str]) -> Reply | str:
        following = self.device.facts.get("next", "old.cc")
        return (
            f"MainBoard: \n  Startup system software:                   flash:/old.cc\n  Next startup system software:              flash:/{following}\n"
            f"  Next startup saved-configuration file:     flash:/{self.next_configuration}"
        )

    @command(r"reboot", "exec")
    def reboot(self, match: re.Match[str]) -> Reply | str:
        def now(said: str) -> Reply:
            if said != "y":
                return Reply()
            if image := self.device.facts.get("next"):
                self.device.next_version = image.removesuffix(".cc")
            return Reply(restarts=True)

        def saved(said: str) -> Reply:
            if said == "y":
                self.device.saved()
            return Reply(question="System will reboot! Continue?[Y/N]:", then=now)

        text = "Info: The system is now comparing the configuration, please wait."
        return Reply(text=text, question="Warning: All the configuration will be saved to the next startup configuration. Continue?[Y/N]:", then=saved)

    @command(r"display arp all")
    def arp(self, match: re.Match[str]) -> Reply | str:
        return "192.0.2.2       00e0-fc12-8002  16        D-0         Eth-Trunk3       RCT"

    @command(r"display mac-address")
    def macs(self, match: re.Match[str]) -> Reply | str:
        return "b8d6-f6ff-7390 10/-/-                            XGE0/0/1            dynamic"

    @command(r"display lldp neighbor brief")
    def lldp(self, match: re.Match[str]) -> Reply | str:
        return "10GE1/0/45                    101  10GE1/0/45              TEST-LM01"
