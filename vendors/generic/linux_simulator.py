"""A Linux host that is not there: each command on an SSH channel of its own."""

import re

from netd.simulate import Behaviour, Reply, command


class Simulator(Behaviour):
    """``facts``: ``model``."""

    unknown = "sh: 1: not found"

    @command(r"hostname")
    def hostname(self, match: re.Match[str]) -> Reply | str:
        return self.device.hostname

    @command(r"cat (\S+)")
    def cat(self, match: re.Match[str]) -> Reply | str:
        if match[1] == "/etc/os-release":
            return f'PRETTY_NAME="{self.device.version}"'
        if match[1] == "/sys/class/dmi/id/product_name":
            return self.device.facts.get("model", "Standard PC")
        return f"cat: {match[1]}: Permission denied"

    @command(r"uname -m")
    def machine(self, match: re.Match[str]) -> Reply | str:
        return "x86_64"

    @command(r"sed .* /proc/uptime")
    def up(self, match: re.Match[str]) -> Reply | str:
        return f"{self.device.uptime_seconds} s"

    @command(r"lldpctl -f keyvalue")
    def lldp(self, match: re.Match[str]) -> Reply | str:
        return "lldp.eth0.via=LLDP\nlldp.eth0.chassis.mac=00:11:22:33:44:55\nlldp.eth0.chassis.name=sw1\nlldp.eth0.port.ifname=eth7"

    @command(r"bridge fdb show")
    def fdb(self, match: re.Match[str]) -> Reply | str:
        return "52:54:00:aa:bb:cc dev eth1 vlan 30 master br0"

    @command(r"ip neighbour show")
    def neighbours(self, match: re.Match[str]) -> Reply | str:
        return "192.0.2.2 dev eth0 lladdr 00:11:22:33:44:55 REACHABLE"
