"""An ISAM 7360 that is not there: everything is typed from the root, and a dash turns while it thinks."""

import re
from typing import ClassVar

from netd.simulate import Behaviour, Reply, command

_TURNING = "".join(f"{character}\x1b[1D" for character in "/|\\-") + " \x1b[1D"


class Simulator(Behaviour):
    """``facts``: ``model``. Configuration lines are flat."""

    username_question: ClassVar[str] = "login: "
    password_question: ClassVar[str] = "password: "
    refusal: ClassVar[str] = "Login incorrect"
    pager: ClassVar[str] = "Press <space>(page)/<enter>(line)/q(quit) to continue..."
    unknown: ClassVar[str] = 'Error : invalid token "?"'
    changed = False

    def prompt(self) -> str:
        return f"{'*' if self.changed else ''}typ:{self.device.username}>#"

    def quits(self, line: str) -> bool:
        return line == "logout"

    @command(r"environment (.+)")
    def environment(self, match: re.Match[str]) -> Reply | str:
        if "no-more" in match[1]:
            self.page_lines = 0
        return ""

    @command(r"exit all")
    def root(self, match: re.Match[str]) -> Reply | str:
        return ""

    @command(r"logout")
    def logout(self, match: re.Match[str]) -> Reply | str:
        return Reply(closes=True)

    @command(r"show equipment isam")
    def isam(self, match: re.Match[str]) -> Reply | str:
        return f"{_TURNING}isam\n----\n  actual-type : {self.device.facts.get('model', '7360fx-8')}"

    @command(r"show software-mngt oswp")
    def oswp(self, match: re.Match[str]) -> Reply | str:
        rows = f"1     SW/{self.device.version}      enabled   active\n2     SW/L6GPAA64.431      enabled   not-active"
        return f"{_TURNING}index name                 overall   oper\n{rows}"

    @command(r"show core1-uptime")
    def core_uptime(self, match: re.Match[str]) -> Reply | str:
        days, hours, minutes, seconds = self.uptime()
        return f"System Up Time         : {days} days, {hours:02}:{minutes:02}:{seconds:02}.46 (hr:min:sec)"

    @command(r"info configure flat")
    def info(self, match: re.Match[str]) -> Reply | str:
        return _TURNING + "\n".join(self.device.running.lines)

    @command(r"show equipment ont status pon (\S+) detail")
    def onts(self, match: re.Match[str]) -> Reply | str:
        found = [re.match(rf"configure equipment ont interface {match[1]}/(\d+) sernum (\S+)", line) for line in self.device.running.lines]
        return "\n".join(
            f"pon : {match[1]}   ont : {match[1]}/{ont[1]}   sernum : {ont[2]}\nadmin-status : up   oper-status : up   "
            f"olt-rx-sig-level(dbm) : -18.{ont[1]}   ont-olt-distance(km) : 0.2   desc1 : x"
            for ont in found
            if ont is not None
        )

    @command(r"show vlan bridge-port-fdb")
    def addresses(self, match: re.Match[str]) -> Reply | str:
        rows = "1/1/1/1/5/14/1      301   96:db:56:32:48:64   learned\n1/1/1/1/6/14/1      301   00:02:03:34:42:9a   mgmt"
        return f"{_TURNING}{'=' * 40}\nbridge-port-fdb table\n{'=' * 40}\n{rows}\nbridge-port-fdb count : 2"

    @command(r"admin save")
    def save(self, match: re.Match[str]) -> Reply | str:
        self.device.saved()
        self.changed = False
        return ""

    @command(r"(configure (?:equipment|bridge|interface|system|vlan|qos) .+)")
    def configure(self, match: re.Match[str]) -> Reply | str:
        self.changed = True
        self.device.running.put((), match[1])
        return ""
