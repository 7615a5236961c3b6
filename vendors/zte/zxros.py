"""ZTE routers with ZXROS by their command line and SNMP. Where a configuration ends is not documented: what was read is not checked for being whole."""

from collections.abc import Sequence
from ipaddress import ip_address

from netd.model.device import ArpEntry
from netd.sdk import text as read
from netd.sdk.dialogue import Dialogue, say
from netd.sdk.polled import Polled
from netd.sdk.shell import ConfigurationLines, Shell


class Driver(Shell, ConfigurationLines, Polled):
    """ZXR10 and ZXCTN."""

    def arps(self) -> Dialogue[Sequence[ArpEntry]]:
        """An interface's name goes on in the next line, where it does not fit its column."""
        text = yield from say("show arp")
        found: list[ArpEntry] = []
        for tokens in read.rows(text):
            if found and tokens[0][0] in "./" and len(tokens) <= 2:
                last = found.pop()
                found.append(ArpEntry(address=last.address, mac=last.mac, interface=last.interface + tokens[0]))
            elif len(tokens) >= 4 and (mac := read.mac(tokens[2])) and tokens[0].count(".") == 3:
                found.append(ArpEntry(address=ip_address(tokens[0]), mac=mac, interface=tokens[3]))
        return found
