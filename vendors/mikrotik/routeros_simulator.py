"""A RouterOS router that is not there. What is set stays: its running configuration is the stored one, as a list of menus with their lines."""

import re
from typing import ClassVar

from netd.simulate import Attributes, Behaviour, Objects, Rates, Reply, Simulated, Vitals, command, mib
from netd.simulate.configuration import Tree

_MIKROTIK = (1, 3, 6, 1, 4, 1, 14988, 1, 1)
_HEALTH = (*_MIKROTIK, 3, 100, 1)
_UNITS = {"": 1, "k": 1000, "M": 1_000_000, "G": 1_000_000_000}
_LICENSE = "Do you want to see the software license? [Y/n]: "


class Simulator(Behaviour):
    """``facts``: ``model``, ``board``, ``serial``, ``routerboot``; ``software_license`` asks at the first log-in."""

    username_question: ClassVar[str] = "Login: "
    password_question: ClassVar[str] = "Password: "
    refusal: ClassVar[str] = "Login failed, incorrect username or password"
    pager: ClassVar[str] = "-- [Q quit|D dump|down]"
    alarm: ClassVar[str] = "17:20:06 echo: system,error,critical login failure for user root from 192.0.2.66 via ssh"
    sys_object_id: ClassVar[str] = "1.3.6.1.4.1.14988.1"

    @classmethod
    def sys_descr(cls, device: Simulated) -> str:
        return f"RouterOS {device.facts.get('model', 'RB750Gr3')}"

    @classmethod
    def managed(cls, device: Simulated, vitals: Vitals) -> Objects:
        sensors = (("temperature", vitals.temperature_celsius, 1), ("voltage", 242, 3))
        found = mib.host(vitals) | {
            (*_MIKROTIK, 4, 4, 0): mib.text(device.version), (*_MIKROTIK, 7, 3, 0): mib.text(device.facts.get("serial", "SIMULATED01")),
        }  # fmt: skip
        for index, (name, value, unit) in enumerate(sensors, 13):
            found |= {(*_HEALTH, 2, index): mib.text(name), (*_HEALTH, 3, index): mib.number(value), (*_HEALTH, 4, index): mib.number(unit)}
        return found

    @classmethod
    def granted(cls, attributes: Attributes) -> Rates | None:
        """The first field of Mikrotik-Rate-Limit: rx/tx, the router's view."""
        said = re.match(r"(\d+)([kMG]?)/(\d+)([kMG]?)(?: |$)", str(attributes.get("Mikrotik-Rate-Limit", "")))
        if said is None:
            return super().granted(attributes)
        return Rates(down_bps=int(said[3]) * _UNITS[said[4]], up_bps=int(said[1]) * _UNITS[said[2]])

    def greet(self) -> Reply:
        banner = f"\n  MikroTik RouterOS {self.device.version} (c) 1999-2024       https://www.mikrotik.com/\n"
        if self.device.facts.pop("software_license", None):
            return Reply(text=banner, question=_LICENSE, keys="ynYN", then=lambda said: "")
        return Reply(text=banner)

    def account(self, name: str) -> str:
        """Behind a plus sign stand options of the console."""
        return name.partition("+")[0]

    def prompt(self) -> str:
        return f"[{self.device.username}@{self.device.hostname}] {self.path[0] if self.path else ''}> "

    def painted_prompt(self) -> str:
        return f"\r{self.prompt()}\x1b[9999B\r{self.prompt()}"

    @command(r"/system resource print(?: without-paging)?")
    def resource(self, match: re.Match[str]) -> Reply | str:
        days, hours, minutes, seconds = self.uptime()
        span = (f"{days // 7}w" if days >= 7 else "") + (f"{days % 7}d" if days else "") + f"{hours}h{minutes}m{seconds}s"
        free = 64.0 - sum(map(len, self.device.files.values())) / (1 << 20)
        return _pairs(uptime=span, version=f"{self.device.version} (stable)", board_name=self.device.facts.get("board", "hEX"), free_hdd_space=f"{free:.1f}MiB")

    @command(r"/system routerboard print(?: without-paging)?")
    def routerboard(self, match: re.Match[str]) -> Reply | str:
        facts = self.device.facts
        boot = facts.setdefault("routerboot", self.device.version)
        return _pairs(
            routerboard="yes",
            model=facts.get("model", "RB750Gr3"),
            serial_number=facts.get("serial", "SIMULATED01"),
            current_firmware=boot,
            upgrade_firmware=self.device.version,
        )

    @command(r"/system identity print(?: without-paging)?")
    def identity(self, match: re.Match[str]) -> Reply | str:
        return _pairs(name=self.device.hostname)

    @command(r'/export( show-sensitive)?; :put "(.*)"')
    def export(self, match: re.Match[str]) -> Reply | str:
        if match[1] and self.device.version.startswith("6."):
            return "expected end of command (line 1 column 9)"
        shown = bool(match[1]) or self.device.version.startswith("6.")
        body = re.sub(r" (?:\S*password|\S*secret|\S*key)=\S+", lambda found: found.group() if shown else "", self.device.running.render("", indent=""))
        date = "jul/19/2024 10:11:12" if self.device.version.startswith("6.") else "2024-07-19 10:11:12"
        body = "\n".join(line for line in body.splitlines() if line)
        return f"# {date} by RouterOS {self.device.version}\n# software id = SIMU-LATE\n{body}\n/system identity\nset name={self.device.hostname}\n{match[2]}"

    @command(r"/ip neighbor print detail without-paging")
    def neighbors(self, match: re.Match[str]) -> Reply | str:
        return (
            ' 0 interface=ether1 address=192.0.2.2 address4=192.0.2.2 mac-address=12:34:56:78:90:AB identity="core1" platform="MikroTik" '
            'version="7.15.1 (stable)" age=17s uptime=1w5d2h31m30s board="RB450Gx4" interface-name="ether2" discovered-by=cdp,lldp,mndp'
        )

    @command(r"/interface bridge host print terse without-paging")
    def hosts(self, match: re.Match[str]) -> Reply | str:
        return (
            "0 D E mac-address=0C:22:33:44:55:01 interface=ether4 bridge=lan on-interface=ether4\n"
            "1 DL  mac-address=0C:22:33:44:55:04 interface=lan bridge=lan on-interface=lan"
        )

    @command(r"/ip arp print terse without-paging")
    def arp(self, match: re.Match[str]) -> Reply | str:
        return " 0 DC address=192.0.2.2 mac-address=12:34:56:78:90:AB interface=ether1 published=no"

    @command(r"/system reboot")
    def reboot(self, match: re.Match[str]) -> Reply | str:
        def now(said: str) -> Reply:
            if said != "y":
                return Reply()
            self.install(older=False)
            return Reply(text="system will reboot shortly", restarts=True)

        return Reply(question="Reboot, yes? [y/N]: ", then=now)

    @command(r"/system package downgrade")
    def downgrade(self, match: re.Match[str]) -> Reply | str:
        def now(said: str) -> Reply:
            if said != "y":
                return Reply()
            self.install(older=True)
            return Reply(text="system will reboot shortly", restarts=True)

        return Reply(question="Router will be rebooted. Continue? [y/N]: ", then=now)

    @command(r"/system routerboard upgrade")
    def routerboot(self, match: re.Match[str]) -> Reply | str:
        def now(said: str) -> Reply:
            if said == "y":
                self.device.facts["routerboot"] = self.device.version
            return Reply(text="echo: system,info,critical Firmware upgraded successfully, please reboot for changes to take effect!" if said == "y" else "")

        return Reply(question="Do you really want to upgrade firmware? [y/n] ", then=now)

    def install(self, *, older: bool) -> None:
        """What the loader does with packages in the root folder: newer ones are taken, older ones only after ``downgrade``."""
        for path in [path for path in self.device.files if re.fullmatch(r"/?routeros-\S+\.npk", path)]:
            version = path.rpartition("routeros-")[2].removesuffix(".npk")
            if (_numbers(version) < _numbers(self.device.version)) == older:
                self.device.next_version = version
            del self.device.files[path]

    @command(r"/system reset-configuration .*run-after-reset=(\S+)")
    def reset(self, match: re.Match[str]) -> Reply | str:
        def now(said: str) -> Reply:
            text = self.device.files.get(match[1])
            if said != "y" or text is None:
                return Reply()
            self.device.startup = _tree(text.decode())
            if names := self.device.startup.lines.pop("/system identity", Tree()).lines:
                self.device.hostname = next(iter(names)).partition("name=")[2]
            return Reply(text="system configuration will be reset", restarts=True)

        return Reply(question="Dangerous! Reset anyway? [y/N]: ", then=now)

    @command(r':put \[:len \[/file find name="flash"\]\]')
    def has_flash(self, match: re.Match[str]) -> Reply | str:
        return "1" if "flash" in self.device.facts else "0"

    @command(r"/file remove (\S+)")
    def remove(self, match: re.Match[str]) -> Reply | str:
        return "" if self.device.files.pop(match[1], None) is not None else "no such item"

    @command(r"/quit|quit")
    def quit(self, match: re.Match[str]) -> Reply | str:
        return Reply(text="interrupted", closes=True)

    @command(r"/")
    def top(self, match: re.Match[str]) -> Reply | str:
        self.path = []
        return ""

    def other(self, line: str) -> Reply | str:
        menu, verb, rest = _parts(line, self.path[0] if self.path else "")
        if not menu.startswith(("/ip ", "/interface", "/ppp", "/snmp", "/system", "/queue", "/radius")):
            return f"bad command name {line.split()[0].strip('/')} (line 1 column 1)"
        if not verb:
            self.path = [menu]
            return ""
        interface = re.search(r"(?<![\w-])interface=(\S+)", rest)
        if interface and not re.fullmatch(r"ether[1-5]|lan", interface[1]):
            return "input does not match any value of interface"
        if verb == "remove":
            return "" if self.device.running.drop((menu,), f"add {rest}") else "no such item"
        if (menu, verb) == ("/system identity", "set"):
            self.device.hostname = rest.partition("name=")[2]
            return ""
        if not self.device.running.put((menu,), f"{verb} {rest}"):
            return "failure: already have such entry"
        self.device.startup = self.device.running.copy()
        return ""


def _parts(line: str, within: str) -> tuple[str, str, str]:
    """Menu, verb and the rest of a line."""
    found = re.fullmatch(r"(/[a-z][\w /-]*?)?(?:(?:^|(?<=\S) )(add|set|remove) (.*))?", line)
    if found is None:
        return "", "", ""
    return (found[1] or within).strip(), found[2] or "", found[3] or ""


def _tree(export: str) -> Tree:
    tree, menu = Tree(), ""
    for line in export.splitlines():
        if line.startswith("/"):
            menu = line
            tree.at((menu,))
        elif line and not line.startswith("#"):
            tree.put((menu,), line)
    return tree


def _pairs(**values: str) -> str:
    return "\n".join(f"{name.replace('_', '-'):>18}: {value}" for name, value in values.items())


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split()[0]))
