"""A SmartAX OLT that is not there: MA5608T with one GPON board."""

import re
from collections.abc import Sequence
from typing import ClassVar

from netd.simulate import Objects, OnuLight, Reply, Simulated, Vitals, command, mib
from netd.simulate.hierarchical import Hierarchical

_FRAME = (1, 3, 6, 1, 4, 1, 2011, 2, 6, 7, 1, 1, 2, 1)
_SENSOR = (1, 3, 6, 1, 4, 1, 2011, 6, 3, 3, 2, 1, 13)
_GPON = (1, 3, 6, 1, 4, 1, 2011, 6, 128, 1, 1, 2)

_RULE = "  " + "-" * 77


class Simulator(Hierarchical):
    """``facts``: ``patch``, ``product``. Its ONUs stand in the configuration as ``ont add``."""

    first_mode = "user"
    pager = "---- More ( Press 'Q' to break ) ----"
    unknown = "                      ^\n  % Unknown command, the error locates at '^'"
    busy_text = "  Failure: System is busy, please retry after a while"
    username_question = ">>User name:"
    password_question = ">>User password:"
    refusal = "  Username or password invalid."
    quota_text = "  Reenter times have reached the upper limit."
    alarm = (
        "\n  ! 1 [2024-07-19 10:11:12+08:00]:\n\n  ALARM 11111 FAULT WARNING 0x2e112007 SERVICE QUALITY 19/07/2024 \n10:11:12+08:00\n"
        "  ALARM NAME  : The dying-gasp of GPON ONTi (DGi) is generated\n  SRVEFF      : SA\n"
        "  PARAMETERS  : FrameID: 0, SlotID: 1, PortID: 0, ONT ID: 3, Equipment ID: \n                1H\n"
        "  CAUSE       : (1) The ONT is powered off\n                (2) The power supply is faulty\n  --- END\n"
    )
    not_there = "  Failure: The object does not exist"
    incomplete = "                      ^\n  % Incomplete command, the error locates at '^'"
    negation = "undo"
    sections: ClassVar[dict[str, str]] = {r"interface gpon \d+/\d+": "gpon", r"ont-lineprofile gpon .+": "lineprofile"}
    words: ClassVar[tuple[str, ...]] = ("vlan", "sysname", "port", "ont", "service-port", "snmp-agent", "traffic")
    single: ClassVar[tuple[str, ...]] = ("sysname",)
    sys_object_id = "1.3.6.1.4.1.2011.2.248"

    @classmethod
    def sys_descr(cls, device: Simulated) -> str:
        return "Huawei Integrated Access Software (simulated)"

    @classmethod
    def managed(cls, device: Simulated, vitals: Vitals) -> Objects:
        return {
            (*_FRAME, 5, 0, 2): mib.number(vitals.cpu_percent), (*_FRAME, 10, 0, 2): mib.number((1 << 31) - 1),
            (*_SENSOR, 0, 1): mib.number(vitals.temperature_celsius), (*_SENSOR, 0, 2): mib.number(vitals.temperature_celsius - 4),
        }  # fmt: skip

    @classmethod
    def seen(cls, lights: Sequence[OnuLight]) -> Objects:
        found: Objects = {}
        for light in lights:
            at = (light.if_index, light.onu)
            of_onu = (
                light.temperature_celsius, 6, round(light.tx_dbm * 100), round(light.rx_dbm * 100), 3200, round(light.olt_rx_dbm * 100) + 10_000,
            )  # fmt: skip
            found |= {(*_GPON, 51, 1, column, *at): mib.number(value) for column, value in enumerate(of_onu, 1)}
            found[*_GPON, 46, 1, 20, *at] = mib.number(light.distance_metres)
            of_port = (45, 330, 18, 312)
            found |= {(*_GPON, 23, 1, column, light.if_index): mib.number(value) for column, value in enumerate(of_port, 1)}
        return found

    def greet(self) -> Reply:
        product = self.device.facts.get("product", "MA5608T")
        banner = f"\n\n  Huawei Integrated Access Software ({product}).\n  Copyright(C) Huawei Technologies Co., Ltd. All rights reserved.\n"
        if "yes_no" in self.device.facts:
            return Reply(
                text=banner,
                question="  Warning: the password expires soon. Continue? (yes/no): ",
                then=lambda said: "" if said == "yes" else Reply(closes=True),
            )
        return Reply(text=banner)

    def prompt(self) -> str:
        if self.mode == "config" and self.path and self.path[-1].startswith("interface gpon"):
            return f"{self.device.hostname}(config-if-gpon-{self.path[-1].split()[-1]})#"
        return super().prompt()

    @command(r"enable", "user")
    def enable(self, match: re.Match[str]) -> Reply | str:
        def then(said: str) -> Reply:
            self.mode = "exec" if said == self.device.facts.get("enable", said) else "user"
            return Reply()

        return Reply(question="  Password:", then=then) if "enable" in self.device.facts else then("")

    @command(r"config", "exec")
    def configure(self, match: re.Match[str]) -> Reply | str:
        if self.device.quirks.locked_by:
            return Reply(question=f"  All configuration by other user {self.device.quirks.locked_by}\n{{ <cr>||<K> }}:", then=self.take_lock)
        self.mode, self.path = "config", []
        return ""

    def take_lock(self, said: str) -> Reply:
        self.device.quirks.locked_by, self.mode, self.path = None, "config", []
        return Reply()

    @command(r"undo (?:smart|interactive)")
    def quiet(self, match: re.Match[str]) -> Reply | str:
        self.asks = False
        return ""

    @command(r"infoswitch cli OFF", "exec")
    def alarms_off(self, match: re.Match[str]) -> Reply | str:
        self.alarms = 0
        return ""

    @command(r"scroll(?: (\d+))?")
    def scroll(self, match: re.Match[str]) -> Reply | str:
        most = self.device.quirks.page_most or 512
        self.page_lines = min(int(match[1] or 512), most)
        return ""

    @command(r"quit")
    def exit(self, match: re.Match[str]) -> Reply | str:
        if self.mode != "config":
            return Reply(question="  Are you sure to log out? (y/n)[n]:", then=lambda said: Reply(closes=True) if said == "y" else Reply())
        return super().exit(match)

    @command(r"return", "config")
    def end(self, match: re.Match[str]) -> Reply | str:
        return super().end(match)

    @command(r"display version")
    def version(self, match: re.Match[str]) -> Reply | str:
        days, hours, minutes, seconds = self.uptime()
        facts = self.device.facts
        return self.asked(
            f"\n  VERSION : {self.device.version}\n  PATCH   : {facts.get('patch', 'SPH227')}\n  PRODUCT : {facts.get('product', 'MA5608T')}\n \n"
            f"  Active Mainboard Running Area Information: \n{_RULE}\n  Program Area A Version : {self.device.version} \n{_RULE}\n \n"
            f"  Uptime is {days} day(s), {hours} hour(s), {minutes} minute(s), {seconds} second(s)"
        )

    def asked(self, text: str) -> Reply:
        """What it asks before an output, until ``undo smart``."""
        if not self.asks:
            return Reply(text=text)
        return Reply(question="{ <cr>||<K> }:", then=lambda said: Reply(text=text))

    @command(r"display current-configuration")
    def current(self, match: re.Match[str]) -> Reply | str:
        return self.asked(f"[{self.device.version}: 20014]\n#\n{self.device.running.render('#')}\n#\nreturn")

    @command(r"display mac-address all")
    def macs(self, match: re.Match[str]) -> Reply | str:
        found = [
            f"       1     -  gpon 805e-0c5c-42{number:02x} dynamic  {place[0]} /{place[1]} /{place[2]}   {onu}    1          100"
            for number, (place, onu) in enumerate(self.onus())
        ]
        head = f"  It will take some time, please wait...\n{_RULE}\n   SRV-P BUNDLE TYPE MAC            MAC TYPE F /S /P   VPI  VCI   VLAN ID"
        return "\n".join([head, "   INDEX INDEX", _RULE, *found, _RULE, f"  Total: {len(found)}"])

    @command(r"display arp all")
    def arp(self, match: re.Match[str]) -> Reply | str:
        head = f"{_RULE}\n  IP Address      MAC Address     VLAN ID  Port      ONT  Type\n{_RULE}"
        return self.asked(f"{head}\n  192.0.2.1       00e0-fc12-8001  100      0 /9 /0   -    Dynamic\n{_RULE}\n  Total: 1")

    @command(r"display lldp neighbor brief")
    def lldp(self, match: re.Match[str]) -> Reply | str:
        head = f"{_RULE}\n  Local Intf      Neighbor Dev      Neighbor Intf      Exptime\n{_RULE}"
        return self.asked(f"{head}\n  ethernet0/9/0   core1             GE0/0/1            101\n{_RULE}")

    def onus(self) -> list[tuple[tuple[str, str, str], str]]:
        """Frame, slot and port of each ONU, and its number."""
        found = []
        for heading, below in self.device.running.lines.items():
            if place := re.fullmatch(r"interface gpon (\d+)/(\d+)", heading):
                for line in below.lines:
                    if onu := re.match(r"ont add (\d+) (\d+) ", line):
                        found.append(((place[1], place[2], onu[1]), onu[2]))
        return found

    @command(r"display ont optical-info (\d+) all", "config")
    def optics(self, match: re.Match[str]) -> Reply | str:
        head = f"{_RULE}\n  ONT  Rx power  Tx power  OLT Rx ONT  Temperature  Voltage  Current  Distance"
        head += f"\n  ID   (dBm)     (dBm)     power(dBm)  (C)          (V)      (mA)     (m)\n{_RULE}"
        rows = [
            f"    {onu}  -{20 + int(onu) % 8}.68    3.68      -22.68      38           3.200    6        {100 + int(onu)}"
            for place, onu in self.onus()
            if place[2] == match[1]
        ]
        return "\n".join([head, *rows, _RULE]) if rows else "  Failure: The ONT does not exist"

    @command(r"display ont autofind all")
    def autofind(self, match: re.Match[str]) -> Reply | str:
        return "  Failure: The automatically found ONTs do not exist"

    @command(r"save")
    def save(self, match: re.Match[str]) -> Reply | str:
        def done(said: str) -> Reply:
            self.device.saved()
            return Reply(text="\n  It will take several minutes to save configuration file, please wait...")

        return Reply(question="{ <cr>|configuration<K>|data<K> }:", then=done) if self.asks else done("")

    def added(self, words: str) -> Reply | str:
        if onu := re.fullmatch(r"ont add (\d+) (\d+) sn-auth (\S+) .+", words):
            every = [line for heading in self.device.running.lines.values() for line in heading.lines]
            if any(f"sn-auth {onu[3]} " in line for line in every):
                return "  Failure: SN already exists"
            if self.device.running.find(self.path, f"ont add {onu[1]} {onu[2]} "):
                return "  Failure: The ONT ID has already existed"
            self.device.running.put(self.path, words)
            return f"  Number of ONTs that can be added: 1, success: 1\n  PortID :{onu[1]}, ONTID :{onu[2]}"
        if self.device.quirks.busy_lines:
            self.device.quirks.busy_lines -= 1
            return self.busy_text
        return "" if self.device.running.put(self.path, words, self.single) else "  Failure: Make configuration repeatedly"
