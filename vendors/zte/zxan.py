"""ZTE ZXA10 OLTs (C300, C320, C600, C650) by their command line and SNMP.

- Of the ONUs there are two trees of objects, chosen by the firmware; both are asked for, and who has one has not the other. Their ifIndexes differ from each
  other and from IF-MIB's.
- "Nothing to show" comes with different numbers in different releases: its words are looked for, not the number.
- One C320 cut its configuration at 120 kB: it is only taken with its ``end``, or what a C600 has instead.
- A list of neighbours names only one's own port: each is asked for by itself.
- How it gets software, and how a configuration is loaded, is not documented in public: neither is offered here.
"""

import re
from collections.abc import Sequence
from ipaddress import ip_address

from netd.model.device import ArpEntry, MacEntry, Neighbour, OpticsSample
from netd.sdk import text as read
from netd.sdk.device import Oid
from netd.sdk.dialogue import Dialogue, say
from netd.sdk.ifmib import Columns
from netd.sdk.polled import Optics, Polled
from netd.sdk.shell import ConfigurationLines, Shell

_LEARNT = {"dynamic", "static"}
_PORT = re.compile(r"\w+[_-]\d+(?:/\d+)+")
_ONU = re.compile(r"(gpon[-_]onu[-_]\d+/\d+/\d+):(\d+)")


class Driver(Shell, ConfigurationLines, Polled):
    """C300, C320, C600 and C650."""

    def neighbours(self) -> Dialogue[Sequence[Neighbour]]:
        text = yield from say("show lldp neighbor")
        found = []
        for local in dict.fromkeys(tokens[0] for tokens in read.rows(text) if _PORT.fullmatch(tokens[0])):
            entry = yield from say(f"show lldp entry interface {local}")
            said = {key: value.partition("|")[0].strip() or None for key, value in read.pairs(entry).items()}
            remote = said.get("Chassis ID")
            found.append(
                Neighbour(
                    local_interface=local,
                    protocol="lldp",
                    remote_name=said.get("System Name"),
                    remote_interface=said.get("Peer Port"),
                    remote_mac=read.mac(remote) if remote else None,
                    remote_description=said.get("System Description"),
                )
            )
        return found

    def macs(self) -> Dialogue[Sequence[MacEntry]]:
        text = yield from say("show mac")
        found = []
        for tokens in read.rows(text):
            mac, place = read.mac(tokens[0]), next((place for place, token in enumerate(tokens) if token.lower() in _LEARNT), None)
            if mac and place is not None and place + 1 < len(tokens):
                found.append(MacEntry(mac=mac, interface=tokens[place + 1], vlan=int(tokens[1]) if tokens[1].isdigit() else None))
        return found

    def arps(self) -> Dialogue[Sequence[ArpEntry]]:
        text = yield from say("show arp")
        found = []
        for tokens in read.rows(text):
            if len(tokens) >= 4 and tokens[0].count(".") == 3 and (mac := read.mac(tokens[2])):
                found.append(ArpEntry(address=ip_address(tokens[0]), mac=mac, interface=tokens[3]))
        return found

    def onu_optics(self, port: str) -> Dialogue[Sequence[OpticsSample]]:
        """What the command line says of a PON port (``gpon-olt_1/1/1``, ``gpon_olt-1/3/1``), where SNMP does not."""
        columns: list[dict[str, float | None]] = []
        for what in ("onu-rx", "onu-tx", "olt-rx"):
            text = yield from say(f"show pon power {what} {port}")
            columns.append({})
            for tokens in read.rows(text):
                if len(tokens) >= 2 and (onu := _ONU.fullmatch(tokens[0])):
                    columns[-1][onu.group(2)] = read.number(tokens[1])
        onus = sorted({onu for column in columns for onu in column}, key=int)
        rx, tx, olt = columns
        return [OpticsSample(interface=port, onu=onu, rx_dbm=rx.get(onu), tx_dbm=tx.get(onu), olt_rx_dbm=olt.get(onu)) for onu in onus]

    def place(self, table: Optics, index: Oid, tables: Columns) -> tuple[str, str | None]:
        onu = str(index[1]) if len(index) > 1 else None
        if table.table == "1012":
            return f"gpon-olt_1/{index[0] >> 16 & 0xFF}/{index[0] >> 8 & 0xFF}", onu
        return f"gpon_olt-1/{index[0] >> 8 & 0xFF}/{index[0] & 0xFF}", onu
