"""Cisco IOS and IOS XE by their command line and SNMP."""

import re
from collections.abc import Sequence
from ipaddress import ip_address

from netd.model.device import ArpEntry, MacEntry, Neighbour, Outcome
from netd.sdk import text as read
from netd.sdk.dialogue import Dialogue, say
from netd.sdk.polled import Polled
from netd.sdk.shell import ConfigurationLines, Shell
from netd.sdk.terminal import Refused

_CDP = re.compile(r"^-{5,}[ \t]*$", re.MULTILINE)


class Driver(Shell, ConfigurationLines, Polled):
    """Routers and switches."""

    def neighbours(self) -> Dialogue[Sequence[Neighbour]]:
        """By CDP; who has switched that off hears nobody."""
        text = yield from say("show cdp neighbors detail", check=False)
        if "CDP is not enabled" in text:
            return []
        outcome, said = self.terminal.classify(text)
        if outcome is not Outcome.OK:
            raise Refused(f"show cdp neighbors detail: {said}", outcome, said)
        return [found for item in _CDP.split(text) if (found := _neighbour(item)) is not None]

    def macs(self) -> Dialogue[Sequence[MacEntry]]:
        text = yield from say("show mac address-table")
        found = []
        for tokens in read.rows(text):
            place = next((place for place, token in enumerate(tokens) if read.mac(token)), None)
            if place is None or tokens[-1] in {"CPU", "Router", "Switch"} or len(tokens) <= place + 2:
                continue
            vlan = next((token for token in tokens[:place] if token.isdigit()), None)
            found.append(MacEntry(mac=str(read.mac(tokens[place])), interface=tokens[-1], vlan=int(vlan) if vlan else None))
        return list(dict.fromkeys(found))  # a modular switch shows what each of its cards knows

    def arps(self) -> Dialogue[Sequence[ArpEntry]]:
        text = yield from say("show ip arp")
        found = []
        for tokens in read.rows(text):
            mac = next((mac for token in tokens if (mac := read.mac(token))), None)
            if tokens[0] == "Internet" and mac and len(tokens) >= 6:
                found.append(ArpEntry(address=ip_address(tokens[1]), mac=mac, interface=tokens[-1]))
        return found


def _neighbour(item: str) -> Neighbour | None:
    def said(pattern: str) -> str | None:
        match = re.search(pattern, item, re.MULTILINE)
        return match.group(1).strip() if match else None

    local = said(r"^Interface: ([^,\n]+)")
    if local is None:
        return None
    address = said(r"^[ \t]*IP(?:v4)? address: (\S+)")
    return Neighbour(
        local_interface=local,
        protocol="cdp",
        remote_name=said(r"^Device ID: *(\S+)"),
        remote_interface=said(r"Port ID \(outgoing port\): *(\S.*)$"),
        remote_address=ip_address(address) if address else None,
        remote_description=said(r"^Platform: *([^,\n]+)"),
    )
