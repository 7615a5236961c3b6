"""An IOS router that is not there."""

import re
from typing import ClassVar

from netd.simulate import Reply, command
from netd.simulate.configuration import Tree
from netd.simulate.hierarchical import Hierarchical

_DENIES = "access-class NOBODY in"
_NO_ARCHIVE = "%Turn config archive on before using Rollback Confirmed Change"


class Simulator(Hierarchical):
    """``facts``: ``model``, ``serial``, ``enable`` (the password of the privileged mode; without it a session begins there), ``flash_octets``, ``image``.

    ``packages``: it starts packages instead of an image. ``path_list``: it keeps what it starts beside its configuration, and one image only. ``members``: so
    many switches are a stack. A software image is a file whose first line is its version. A line ``access-class NOBODY in`` lets nobody new in.
    """

    first_mode = "user"
    pager = " --More-- "
    unknown = "                 ^\n% Invalid input detected at '^' marker.\n"
    refusal = "% Login invalid\n"
    one_channel = True
    alarm = "*Jul 19 10:11:12.123: %LINK-3-UPDOWN: Interface GigabitEthernet0/1, changed state to down"
    sections: ClassVar[dict[str, str]] = {r"interface \S+": "if", r"router .+": "router", r"line .+": "line", r"vlan \d+": "vlan", r"archive": "archive"}
    words: ClassVar[tuple[str, ...]] = (
        *(
            "hostname",
            "description",
            "ip",
            "name",
            "shutdown",
            "snmp-server",
            "username",
            "password",
            "version",
            "ntp",
            "enable",
            "boot",
            "path",
            "access-class",
        ),
    )
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
            f"{self.device.hostname} uptime is {days} days, {hours} hours, {minutes} minutes\n"
            f'System image file is "flash:{"packages.conf" if "packages" in facts else facts.get("image", "c2900-old.bin")}"\n\n'
            f"Cisco {facts.get('model', 'CISCO2911/K9')} (revision 1.0) with 2539456K/81920K bytes of memory.\n"
            f"Processor board ID {facts.get('serial', 'FTXSIMULATED')}{self.stack()}"
        )

    def stack(self) -> str:
        rows = [f"\n{' *'[number == 1]}    {number} 28    WS-C3750G-24TS-1U   {self.device.version}   C3750-X" for number in self.members()]
        return "\n\nSwitch Ports Model   SW Version   SW Image\n------ ----- -----   ----------   --------" + "".join(rows) if rows else ""

    def members(self) -> range:
        return range(1, int(self.device.facts.get("members", "0")) + 1)

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

    @command(r"show lldp neighbors detail", "exec")
    def lldp(self, match: re.Match[str]) -> Reply | str:
        return "% LLDP is not enabled"

    @command(r"dir", "exec")
    def dir(self, match: re.Match[str]) -> Reply | str:
        files = {name: len(content) for name, content in self.device.files.items() if name.startswith("flash:")}
        rows = [f"{place:>5}  -rw-  {size:>12}  Jul 19 2024 10:11:12 +00:00  {name[6:]}" for place, (name, size) in enumerate(files.items(), 2)]
        total = int(self.device.facts.get("flash_octets", "256487424"))
        return "\n".join(["Directory of flash:/", "", *rows, "", f"{total} bytes total ({total - sum(files.values())} bytes free)"])

    @command(r"delete /force (\S+)", "exec")
    def delete(self, match: re.Match[str]) -> Reply | str:
        return "" if self.device.files.pop(match[1], None) is not None else f"%Error deleting {match[1]} (No such file or directory)"

    @command(r"verify /md5 (\S+) (\w+)", "exec")
    def verify(self, match: re.Match[str]) -> Reply | str:
        digest = self.device.md5(match[1])
        if digest is None:
            return f"%Error opening {match[1]} (No such file or directory)"
        if digest != match[2]:
            return f"....Done!\n%Error verifying {match[1]}\nComputed signature  = {digest}\nSubmitted signature = {match[2]}"
        return f"....Done!\nVerified ({match[1]}) = {digest}"

    @command(r"show running-config \| include \^boot system", "exec")
    def boot_lines(self, match: re.Match[str]) -> Reply | str:
        return "\n".join(self.device.running.find((), "boot system "))

    @command(r"show boot", "exec")
    def boot(self, match: re.Match[str]) -> Reply | str:
        if "path_list" not in self.device.facts:
            return self.unknown
        return f"BOOT path-list      : {self.device.facts['path_list']}\nConfig file         : flash:/config.text\nManual Boot         : no"

    def added(self, words: str) -> Reply | str:
        if "path_list" in self.device.facts and words.startswith("boot system "):
            self.device.facts["path_list"] = words.split()[-1]
            return ""
        self.device.shut |= words == _DENIES
        return super().added(words)

    def dropped(self, words: str) -> Reply | str:
        if "path_list" in self.device.facts and words.startswith("boot system"):
            self.device.facts["path_list"] = ""
            return ""
        return super().dropped(words)

    def starts(self) -> str | None:
        """The image of the next start."""
        if "path_list" in self.device.facts:
            return self.device.facts["path_list"]
        return next((line.split()[-1] for line in self.device.startup.find((), "boot system ")), None)

    @command(r"show archive config rollback timer", "exec")
    def timer(self, match: re.Match[str]) -> Reply | str:
        if "revert" not in self.device.facts:
            return "%No Rollback Confirmed Change pending"
        facts = self.device.facts
        told = f"Timer value: {facts.get('revert_minutes', '10')} min\nUser: {facts.get('revert_user', self.device.username)}"
        return f"Time configured(UTC): 10:11:12 UTC Fri Jul 19 2024\nTimer type: absolute timer\n{told}"

    @command(r"show users", "exec")
    def users(self, match: re.Match[str]) -> Reply | str:
        head = "    Line       User       Host(s)              Idle       Location\n   0 con 0     noc        idle                 00:00:12\n"
        own = f"*  2 vty 0     {self.device.username:<10} idle                 00:00:00 192.0.2.5\n"
        return f"{head}{own}\n  Interface    User               Mode         Idle     Peer Address"

    def archives(self) -> bool:
        return "archive" in self.device.running.lines and bool(self.device.running.find(("archive",), "path "))

    def keep(self) -> str:
        """Where what it runs is kept, for the timer."""
        path = f"flash:{self.device.hostname}-Jul-19-10-11-12.123-UTC-0"
        self.device.files[path] = self.device.running.render().encode()
        self.device.facts["revert"] = path
        return path

    @command(r"configure terminal revert timer \d+", "exec")
    def configure_timed(self, match: re.Match[str]) -> Reply | str:
        if not self.archives():
            return _NO_ARCHIVE
        if self.device.quirks.locked_by:
            return self.configure(match)
        self.configure(match)
        return f"Rollback Confirmed Change: Backing up current running config to {self.keep()}\n\nEnter configuration commands, one per line.  End with CNTL/Z."

    @command(r"configure replace (\S+) force( revert trigger error timer \d+)?", "exec")
    def replace(self, match: re.Match[str]) -> Reply | str:
        path, timed = match[1], match[2] is not None
        if timed and not self.archives():
            return _NO_ARCHIVE
        if self.device.quirks.locked_by:
            return f"% Configuration mode is locked by process '1' user '{self.device.quirks.locked_by}' from terminal '0'. Please try later."
        if path not in self.device.files:
            return f"%Error opening {path} (No such file or directory)"
        text = self.device.files[path].decode()
        if not text.rstrip().endswith("end"):
            return "The input file is not a valid config file."
        refused = [line for line in self.device.quirks.refuses if line in text]
        tree = Tree.parse("\n".join(line for line in text.splitlines() if line.strip() not in refused))
        return self.replaced_or_not(tree, refused) if timed else self.replaced(tree, refused)

    def replaced_or_not(self, tree: Tree, refused: list[str]) -> str:
        """With a timer and an archive: wholly or not at all."""
        kept = self.keep()
        head = f"Rollback Confirmed Change: Backing up current running config to {kept}\n\n"
        if refused:
            del self.device.facts["revert"]
            return (
                f"{head}Failed to apply command {refused[0]}\nAborting Rollback.\n\n"
                f"Rollback failed.Reverting back to the original configuration: {kept} ...\n\n"
                "Total number of passes: 1\nRollback Done\n\nThe original configuration has been successfully restored."
            )
        return f"{head}{self.replaced(tree, refused)}"

    def replaced(self, tree: Tree, refused: list[str]) -> str:
        """All but what it refuses."""
        passes = int(tree.render() != self.device.running.render())
        self.run_now(tree)
        if not refused:
            return f"\nTotal number of passes: {passes}\nRollback Done\n"
        told = "\n".join(refused)
        return (
            f"The rollback configlet from the last pass is listed below:\n********\n!List of Rollback Commands:\n{told}\nend\n********\n\n\n"
            f"Rollback aborted after 5 passes\nThe following commands are failed to apply to the IOS image.\n********\n{told}\n********\n"
        )

    def run_now(self, tree: Tree) -> None:
        """Let it run a whole configuration."""
        self.device.running = tree
        self.device.shut = _DENIES in tree.render()
        for line in tree.find((), "hostname "):
            self.device.hostname = line.split()[1]

    @command(r"configure (confirm|revert now)", "exec")
    def decide(self, match: re.Match[str]) -> Reply | str:
        kept = self.device.facts.pop("revert", None)
        if kept is None:
            return "%No Rollback Confirmed Change pending"
        if match[1] == "confirm":
            return ""
        self.run_now(Tree.parse(self.device.files[kept].decode()))
        return f"Rollback Confirmed Change: Rolling to: {kept}\n\nTotal number of passes: 1\nRollback Done"

    @command(r"reload", "exec")
    def reload(self, match: re.Match[str]) -> Reply | str:
        def now(said: str) -> Reply:
            starts = self.starts()
            if starts is not None and starts in self.device.files and "packages" not in self.device.facts:
                self.device.next_version = self.version_of(starts)
            return Reply(restarts=True)

        def saved(said: str) -> Reply:
            if said == "yes":
                self.device.saved()
            return Reply(question="Proceed with reload? [confirm]", then=now)

        if self.device.running.render() == self.device.startup.render():
            return saved("no")
        return Reply(text="", question="System configuration has been modified. Save? [yes/no]: ", then=saved)

    def version_of(self, path: str) -> str:
        """Of an image file."""
        return self.device.files[path].partition(b"\n")[0].decode("latin-1")

    @command(r"show install summary", "exec")
    def summary(self, match: re.Match[str]) -> Reply | str:
        facts, rule = self.device.facts, "-" * 80
        states = {self.device.version: "U" if facts.get("uncommitted") == self.device.version else "C"}
        if "added" in facts and facts["added"] not in states:
            states[facts["added"]] = "I"
        rows = [f"IMG   {state}    {version}.0.6" for version, state in states.items()]
        active = "active on install_activate" if "U" in states.values() else "inactive"
        return "\n".join(
            [
                "[ Switch 1 ] Installed Package(s) Information:\nState (St): I - Inactive, U - Activated & Uncommitted,",
                f"            C - Activated & Committed, D - Deactivated & Uncommitted\n{rule}\nType  St   Filename/Version\n{rule}",
                *rows,
                f"{rule}\nAuto abort timer: {active}\n{rule}",
            ]
        )

    @command(r"install add file (\S+)", "exec")
    def install_add(self, match: re.Match[str]) -> Reply | str:
        head = "install_add: START Fri Jul 19 10:11:12 UTC 2024\ninstall_add: Adding IMG\n"
        if match[1] not in self.device.files or self.device.running.render() != self.device.startup.render():
            why = "Path does not exist" if match[1] not in self.device.files else "System configuration has been modified. Please save configuration"
            return f"{head}  [1]  R0 FAILED: {why}\nFAILED: install_add Fri Jul 19 10:11:13 UTC 2024"
        self.device.facts["added"] = self.version_of(match[1])
        return (
            f"{head}--- Starting Add ---\nPerforming Add on all members\nChecking status of Add on [R0]\nAdd: Passed on [R0]\n"
            f"Image added. Version: {self.device.facts['added']}.0.6\nFinished Add\nSUCCESS: install_add Fri Jul 19 10:15:12 UTC 2024"
        )

    @command(r"install activate", "exec")
    def install_activate(self, match: re.Match[str]) -> Reply | str:
        def now(said: str) -> Reply:
            if said != "y":
                return Reply(text="FAILED: install_activate was given up")
            self.device.next_version = self.device.facts["uncommitted"] = self.device.facts.pop("added")
            return Reply(text="--- Starting Activate ---\nSUCCESS: install_activate Fri Jul 19 10:20:12 UTC 2024", restarts=True)

        if "added" not in self.device.facts:
            return "FAILED: install_activate : No package to activate"
        question = "This operation may require a reload of the system. Do you want to proceed? [y/n]"
        return Reply(text="install_activate: START\ninstall_activate: Activating IMG", question=question, then=now)

    @command(r"install commit", "exec")
    def install_commit(self, match: re.Match[str]) -> Reply | str:
        if self.device.facts.pop("uncommitted", None) is None:
            return "FAILED: install_commit : No package to commit"
        return "install_commit: START\nSUCCESS: install_commit Fri Jul 19 10:30:12 UTC 2024"
