"""Huawei SmartAX OLTs by their command line and SNMP.

- A refused command returns the usual prompt: only the text tells. Any ``{…}:`` stops the reader; those that offer ``<cr>`` are answered with it.
- One session at a time: a second one of the same user is turned away (``Reenter times``), and the terminal is free some seconds after the first has logged out.
- ``save`` returns before it is done; until then the OLT is busy, which is waited for.
- How boards get software is not documented in public, and a stored configuration is only loaded from a TFTP server: neither is offered here.
"""

import re
from collections.abc import Sequence
from ipaddress import ip_address

from netd.model.device import ArpEntry, MacEntry, Neighbour, OpticsSample, Outcome
from netd.sdk import ifmib
from netd.sdk import text as read
from netd.sdk.device import Oid
from netd.sdk.dialogue import Dialogue, Pause, say
from netd.sdk.ifmib import Columns
from netd.sdk.polled import Optics, Polled
from netd.sdk.shell import ConfigurationLines, Shell, routine
from netd.sdk.terminal import Refused

_PLACE = re.compile(r"(?<!\d)(\d{1,4})[ \t]{0,8}/[ \t]{0,8}(\d{1,4})[ \t]{0,8}/[ \t]{0,8}(\d{1,4})")
_UPLINK = re.compile(r"(?:[a-z]+)?\d+/\d+/\d+", re.IGNORECASE)
_GPON_TYPE = 125
_SAVE_LOOKS, _SAVE_PAUSE_SECONDS = 60, 10.0


class Driver(Shell, ConfigurationLines, Polled):
    """MA5600T, MA5603T, MA5608T, MA5680T, MA5683T, MA5800 and EA5800."""

    def save(self) -> Dialogue[None]:
        yield from routine(self.family.configuration.save)
        for _ in range(_SAVE_LOOKS):
            yield Pause(seconds=_SAVE_PAUSE_SECONDS)
            outcome, said = self.terminal.classify((yield from say("display version", check=False)))
            if outcome is Outcome.OK:
                return
            if outcome is not Outcome.BUSY:
                raise Refused(f"after save: {said}", outcome, said)
        raise Refused("the OLT is still busy, ten minutes after save", Outcome.UNVERIFIED)

    def macs(self) -> Dialogue[Sequence[MacEntry]]:
        """Of an ONU's addresses the interface is ``F/S/P:ONT``."""
        text = yield from say("display mac-address all")
        found = []
        for line in text.splitlines():
            place = _PLACE.search(line)
            before = line[: place.start()].split() if place else []
            mac = next((mac for token in before if (mac := read.mac(token))), None)
            if place is None or mac is None:
                continue
            after = line[place.end() :].split()
            port = "/".join(place.groups())
            onu = after[0] if len(after) >= 3 and after[0].isdigit() and "gpon" in before else None
            found.append(MacEntry(mac=mac, interface=port if onu is None else f"{port}:{onu}", vlan=int(after[-1]) if after and after[-1].isdigit() else None))
        return found

    def arps(self) -> Dialogue[Sequence[ArpEntry]]:
        """Where it was learnt on no port, the interface is that of its VLAN."""
        text = yield from say("display arp all")
        found = []
        for line in text.splitlines():
            tokens, place = line.split(), _PLACE.search(line)
            mac = read.mac(tokens[1]) if len(tokens) >= 3 else None
            if mac is None or tokens[0].count(".") != 3:
                continue
            vlan = next((token for token in tokens[2:3] if token.isdigit()), None)
            interface = "/".join(place.groups()) if place else f"vlanif{vlan}" if vlan else None
            if interface:
                found.append(ArpEntry(address=ip_address(tokens[0]), mac=mac, interface=interface))
        return found

    def neighbours(self) -> Dialogue[Sequence[Neighbour]]:
        """A neighbour that does not say its name has a dash there."""
        text = yield from say("display lldp neighbor brief")
        found = []
        for tokens in read.rows(text):
            if len(tokens) < 4 or not _UPLINK.fullmatch(tokens[0]) or not tokens[-1].isdigit():
                continue
            name, remote = " ".join(tokens[1:-2]), tokens[-2]
            found.append(
                Neighbour(
                    local_interface=tokens[0],
                    protocol="lldp",
                    remote_name=None if name == "-" else name,
                    remote_interface=remote,
                    remote_mac=read.mac(remote),
                )
            )
        return found

    def onu_optics(self, port: str) -> Dialogue[Sequence[OpticsSample]]:
        """What the command line says of a PON port (``0/1/0``), where SNMP does not."""
        frame, slot, number = port.split("/")
        yield from routine(self.family.configuration.enter)
        try:
            yield from say(f"interface gpon {frame}/{slot}")
            text = yield from say(f"display ont optical-info {number} all")
        finally:
            yield from routine(self.family.configuration.exit)
        found = []
        for tokens in read.rows(text):
            if len(tokens) != 8 or not tokens[0].isdigit():
                continue
            rx, tx, olt, celsius, volts, bias, metres = (read.number(token) for token in tokens[1:])
            found.append(
                OpticsSample(
                    interface=port,
                    onu=tokens[0],
                    rx_dbm=rx,
                    tx_dbm=tx,
                    olt_rx_dbm=olt,
                    temperature_celsius=celsius,
                    voltage_volts=volts,
                    bias_milliamperes=bias,
                    distance_metres=None if metres is None else round(metres),
                )
            )
        return found

    def place(self, table: Optics, index: Oid, tables: Columns) -> tuple[str, str | None]:
        onu = str(index[1]) if len(index) > 1 else None
        name = ifmib.text(tables.get(ifmib.IF_NAME, {}).get(index[:1])) or ifmib.text(tables.get(ifmib.IF_DESCR, {}).get(index[:1]))
        if found := _PLACE.search(name):
            return "/".join(found.groups()), onu
        return pon_name(index[0]), onu


def pon_name(if_index: int) -> str:
    """``frame/slot/port`` of a GPON port's ifIndex; of anything else the number itself."""
    if if_index >> 25 != _GPON_TYPE:
        return str(if_index)
    return f"{if_index >> 19 & 0x3F}/{if_index >> 13 & 0x3F}/{if_index >> 8 & 0x1F}"
