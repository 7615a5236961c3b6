"""Huawei routers and switches with VRP 5 and 8 by their command line and SNMP.

- VRP 8 types into a candidate; it asks on the way out whether to commit, which is answered with yes: a line that was refused never got into it.
- Of a stored image the device shows the length, and checks its signature when it is chosen for the next start: netd cannot call it verified.
"""

import re
from collections.abc import Sequence
from ipaddress import ip_address

from netd.model.device import ArpEntry, Image, MacEntry, Neighbour, Outcome
from netd.sdk import text as read
from netd.sdk.dialogue import Answer, Dialogue, Put, Reconnect, say
from netd.sdk.polled import Polled
from netd.sdk.shell import ConfigurationLines, Shell
from netd.sdk.terminal import Refused

_YES = Answer(question=r"(?:\[[Yy]/[Nn]\]|\([Yy]/[Nn]\)(?:\[[YyNn]\])?):? ?\s*\Z", text="y")
_INTERFACE = re.compile(r"\d*[A-Za-z]{2}[\w-]*\d(?:/\d+)+(?:\.\d+)?|(?:Vlanif|Vbdif|Eth-Trunk|Virtual-[A-Za-z]+|Tunnel|Bridge-if|LoopBack)[\d./:]+")
_FREE = re.compile(r"\(([\d,]+) ([KMG]?)B free\)")


class Driver(Shell, ConfigurationLines, Polled):
    """NE, ME, NetEngine, AR, ATN, S and CE."""

    def neighbours(self) -> Dialogue[Sequence[Neighbour]]:
        text = yield from say("display lldp neighbor brief")
        found = []
        for tokens in read.rows(text):
            local = next((token for token in tokens if _INTERFACE.fullmatch(token)), None)
            if local != tokens[0] or len(tokens) < 4:
                continue
            times = [place for place in (1, 3) if place < len(tokens) and tokens[place].isdigit()]  # the expiry stands second or last
            if not times:
                continue
            rest = [token for place, token in enumerate(tokens) if place not in {0, times[0]}]
            remote, name = (rest[0], rest[1]) if times[0] == 1 else (rest[1], rest[0])
            found.append(
                Neighbour(
                    local_interface=tokens[0],
                    protocol="lldp",
                    remote_name=name,
                    remote_interface=remote,
                    remote_mac=read.mac(remote),
                )
            )
        return found

    def macs(self) -> Dialogue[Sequence[MacEntry]]:
        text = yield from say("display mac-address")
        found = []
        for tokens in read.rows(text):
            mac = read.mac(tokens[0])
            interface = next((token for token in tokens[2:] if _INTERFACE.fullmatch(token)), None)
            if mac and interface:
                vlan = tokens[1].split("/")[0]
                found.append(MacEntry(mac=mac, interface=interface, vlan=int(vlan) if vlan.isdigit() else None))
        return found

    def arps(self) -> Dialogue[Sequence[ArpEntry]]:
        text = yield from say("display arp all")
        found = []
        for tokens in read.rows(text):
            if tokens[0].count(".") != 3 or len(tokens) < 3:
                continue
            mac, interface = read.mac(tokens[1]), next((token for token in tokens[2:] if _INTERFACE.fullmatch(token)), None)
            if mac and interface:
                found.append(ArpEntry(address=ip_address(tokens[0]), mac=mac, interface=interface))
        return found

    def free_octets(self) -> Dialogue[int]:
        text = yield from say("dir")
        free = _FREE.search(text)
        if free is None:
            raise Refused("dir says nothing of what is free", Outcome.UNVERIFIED, text.strip()[-200:])
        return int(free[1].replace(",", "")) << 10 * " KMG".index(free[2] or " ")

    def transfer(self, image: Image) -> Dialogue[None]:
        yield Put(path=image.name, image=True)

    def verify(self, image: Image) -> Dialogue[Outcome]:
        text = yield from say(f"dir {image.name}")
        for tokens in read.rows(text):
            if tokens[-1] == image.name:
                size = next((token.replace(",", "") for token in tokens[2:] if token.replace(",", "").isdigit()), "")
                return Outcome.UNVERIFIED if size == str(image.octets) else Outcome.FAILED
        return Outcome.NOT_FOUND

    def activate(self, image: Image) -> Dialogue[None]:
        yield from say(f"startup system-software {image.name}", _YES, timeout_seconds=600)
        text = yield from say("display startup")
        if not re.search(rf"^[ \t]*Next startup system software[ \t]*: *\S*{re.escape(image.name)}$", text, re.MULTILINE):
            raise Refused(f"the next start does not take {image.name}", Outcome.UNVERIFIED, text.strip()[-400:])

    def reboot(self) -> Dialogue[None]:
        """Its questions are whether to keep the configuration, and whether to go on: yes."""
        yield from say("reboot", _YES, drops=True, timeout_seconds=120)
        yield Reconnect(within_seconds=1200, settle_seconds=30)
