"""ZTE routers with ZXROS by their command line and SNMP.

- Where a configuration ends is not documented. Newer releases put each module between ``!<name>`` and ``!</name>``: there a cut within a module is found,
  one between two modules is not. Older ones have no such marks, and what was read is not checked for being whole.
- A way back to an earlier configuration exists (``rollback-configuration``), but only to what the router kept itself, and it is off unless switched on.
"""

import re
from collections.abc import Sequence
from ipaddress import ip_address

from netd.model.device import ArpEntry, Neighbour, Outcome
from netd.sdk import text as read
from netd.sdk.dialogue import Dialogue, say
from netd.sdk.polled import Polled
from netd.sdk.shell import ConfigurationLines, Shell
from netd.sdk.terminal import Refused

_MODULE = re.compile(r"^!<(/?)([\w.-]+)>$", re.MULTILINE)
_SCOPES = {"NB", "NC", "NTPMR"}


class Driver(Shell, ConfigurationLines, Polled):
    """ZXR10 and ZXCTN."""

    def whole(self, text: str, command: str) -> str:
        body = super().whole(text, command)
        marks = _MODULE.findall(body)
        if not marks:
            return body
        opened = list[str]()
        for closes, name in marks:
            if not closes:
                opened.append(name)
            elif not opened or opened.pop() != name:
                raise Refused(f"{command}: module {name} ends and did not begin: it was cut", Outcome.UNVERIFIED)
        if opened or not re.search(r"^!</[\w.-]+>\n\Z", body, re.MULTILINE):
            raise Refused(f"{command}: {len(body)} characters end within a module: it was cut", Outcome.UNVERIFIED)
        return body

    def neighbours(self) -> Dialogue[Sequence[Neighbour]]:
        """One that is heard in several scopes is one."""
        text = yield from say("show lldp neighbor brief")
        found = []
        for tokens in read.rows(text):
            if len(tokens) < 5 or tokens[1] not in _SCOPES:
                continue
            local, _, remote, port = tokens[:4]
            name = tokens[5] if len(tokens) > 5 else None
            found.append(Neighbour(local_interface=local, protocol="lldp", remote_name=name, remote_interface=port, remote_mac=read.mac(remote)))
        return list(dict.fromkeys(found))

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
