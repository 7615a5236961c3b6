"""A Linux host: a software router, a server of the provider. Nothing is configured through this driver; what runs on the host has one of its own."""

import re
from collections.abc import Sequence
from ipaddress import ip_address

from netd.model.device import ArpEntry, MacEntry, Neighbour
from netd.sdk import text as read
from netd.sdk.dialogue import Dialogue, say
from netd.sdk.polled import Polled
from netd.sdk.shell import Shell

_LLDP = re.compile(r"^lldp\.([^=\n]+?)\.(via|chassis\.[\w-]+|port\.[\w-]+)=(.*)", re.MULTILINE)


class Driver(Shell, Polled):
    """Any distribution with iproute2; neighbours with lldpd."""

    def neighbours(self) -> Dialogue[Sequence[Neighbour]]:
        text = yield from say("lldpctl -f keyvalue")
        heard: list[tuple[str, dict[str, str]]] = []
        for interface, key, value in _LLDP.findall(text):
            if key == "via" or not heard or heard[-1][0] != interface:  # each neighbour's lines begin with via
                heard.append((interface, {}))
            heard[-1][1].setdefault(key, value)
        return [_neighbour(interface, known) for interface, known in heard]

    def macs(self) -> Dialogue[Sequence[MacEntry]]:
        text = yield from say("bridge fdb show")
        found = []
        for tokens in read.rows(text):
            mac = read.mac(tokens[0])
            if mac is None or "permanent" in tokens or "self" in tokens or "dev" not in tokens[:-1]:
                continue
            vlan = tokens[tokens.index("vlan") + 1] if "vlan" in tokens[:-1] else ""
            found.append(MacEntry(mac=mac, interface=tokens[tokens.index("dev") + 1], vlan=int(vlan) if vlan.isdigit() else None))
        return found

    def arps(self) -> Dialogue[Sequence[ArpEntry]]:
        text = yield from say("ip neighbour show")
        found = []
        for tokens in read.rows(text):
            mac = read.mac(tokens[tokens.index("lladdr") + 1]) if "lladdr" in tokens[:-1] else None
            if mac and "dev" in tokens[:-1] and "FAILED" not in tokens:
                found.append(ArpEntry(address=ip_address(tokens[0]), mac=mac, interface=tokens[tokens.index("dev") + 1]))
        return found


def _neighbour(interface: str, known: dict[str, str]) -> Neighbour:
    address = known.get("chassis.mgmt-ip")
    via = known.get("via", "").lower()
    return Neighbour(
        local_interface=interface,
        protocol="cdp" if via.startswith("cdp") else "lldp",
        remote_name=known.get("chassis.name"),
        remote_interface=known.get("port.ifname") or known.get("port.local") or known.get("port.descr"),
        remote_address=ip_address(address) if address else None,
        remote_mac=read.mac(known.get("chassis.mac", "")),
        remote_description=known.get("chassis.descr"),
    )
