"""Nokia ISAM OLTs by their command line and SNMP.

- Keep-alives lose output here, and a show over the whole chassis may take ten minutes.
- A configuration has no mark at its end that is known: what was read is whole as far as the prompt came back after it.
- It fetches software and databases from a server that it is told, by itself: neither is offered here.
"""

import re
from collections.abc import Sequence

from netd.model.device import MacEntry, OpticsSample
from netd.sdk import text as read
from netd.sdk.device import Oid
from netd.sdk.dialogue import Dialogue, say
from netd.sdk.ifmib import Columns
from netd.sdk.polled import Optics, Polled
from netd.sdk.shell import ConfigurationLines, Shell

_FIELD = re.compile(r"(?<![\w-])([\w-]++(?:\([\w.]+\))?)[ \t]+:[ \t]+(\S+)")
_ONT_LEVEL, _PON_LEVEL = 14, 13


class Driver(Shell, ConfigurationLines, Polled):
    """7302, 7330, 7342 and 7360."""

    def onu_optics(self, port: str) -> Dialogue[Sequence[OpticsSample]]:
        """What the command line says of a PON (``1/1/1/1``), where SNMP does not."""
        text = yield from say(f"show equipment ont status pon {port} detail", timeout_seconds=600)
        found: list[OpticsSample] = []
        for item in re.split(r"(?=\bpon[ \t]+:\s)", text):
            known = dict(_FIELD.findall(item))
            if "ont" not in known:
                continue
            kilometres = read.number(known.get("ont-olt-distance(km)"))
            found.append(
                OpticsSample(
                    interface=known["pon"],
                    onu=known["ont"].rpartition("/")[2],
                    olt_rx_dbm=read.number(known.get("olt-rx-sig-level(dbm)")),
                    distance_metres=None if kilometres is None else round(kilometres * 1000),
                )
            )
        return found

    def macs(self) -> Dialogue[Sequence[MacEntry]]:
        """What was learned behind bridge ports (``1/1/1/1/5/14/1``): port, VLAN and address lead each row, the state is in it."""
        text = yield from say("show vlan bridge-port-fdb", timeout_seconds=600)
        found = []
        for tokens in read.rows(text):
            mac = read.mac(tokens[2]) if len(tokens) >= 4 and "/" in tokens[0] and "learned" in tokens else None
            if mac is not None:
                found.append(MacEntry(mac=mac, interface=tokens[0], vlan=int(tokens[1]) if tokens[1].isdigit() else None))
        return found

    def place(self, table: Optics, index: Oid, tables: Columns) -> tuple[str, str | None]:
        return place(index[0])


def place(if_index: int) -> tuple[str, str | None]:
    """PON (``1/1/slot/pon``) and ONT of an ifIndex; of another level the number itself."""
    slot, level, pon, ont = (if_index >> 25 & 0x1F) - 1, if_index >> 21 & 0xF, (if_index >> 16 & 0x1F) + 1, (if_index >> 9 & 0x7F) + 1
    if level not in {_PON_LEVEL, _ONT_LEVEL}:
        return str(if_index), None
    return f"1/1/{slot}/{pon}", str(ont) if level == _ONT_LEVEL else None
