"""What the simulated devices are configured as, in their vendors' words. The secrets in it open nothing."""

from collections.abc import Sequence
from typing import Final

BNG1: Final = """\
/interface ethernet
 set [ find default-name=ether1 ] comment="simulated uplink"
 set [ find default-name=ether2 ] comment="simulated, to sim-olt1"
/ip address
 add address=198.18.1.2/30 interface=ether1
/ppp profile
 add name=pppoe local-address=198.18.1.2 use-compression=no
/ppp aaa
 set accounting=yes interim-update=15s use-radius=yes
/radius
 add address=127.0.0.1 service=ppp secret=simulated-not-a-secret
/radius incoming
 set accept=yes
/snmp community
 set [ find default=yes ] name=simulated
/snmp
 set contact="simulated by netd demo" enabled=yes location="simulated town"
"""

BNG2: Final = """\
sysname sim-bng2
radius-server group netd
 radius-server authentication 127.0.0.1 1812
 radius-server accounting 127.0.0.1 1813
 radius-server shared-key cipher %#%#simulated-not-a-secret%#%#
aaa
 accounting-scheme netd
 authentication-scheme netd
 domain simulated.example
interface GigabitEthernet0/1/0
 description simulated uplink
 ip address 198.18.2.2 255.255.255.252
interface GigabitEthernet0/1/1
 description simulated, to sim-olt1
 undo shutdown
interface GigabitEthernet0/1/3
 description simulated spare
 shutdown
snmp-agent sys-info contact simulated by netd demo
snmp-agent community read cipher %#%#simulated%#%#
"""

BEHIND: Final = (
    "system-view",
    "interface GigabitEthernet0/1/3",
    "description simulated: changed on the router itself, behind netd's back",
    "ip address 198.18.99.1 255.255.255.0",
    "return",
)
"""What somebody types at sim-bng2's console, and does not save."""


def olt(site: str, onus: Sequence[tuple[int, int, str]]) -> str:
    """A SmartAX with these ONUs: PON, number, whose."""
    lines = ["sysname sim-olt1", f"snmp-agent sys-info location {site}", "snmp-agent community read simulated", "vlan 100 smart", "vlan 101 smart"]
    lines += [f"port vlan {number} 0/2 {number - 100}" for number in (100, 101)]
    lines += ["interface gpon 0/1"]
    for pon, onu, username in sorted(onus):
        lines.append(
            f' ont add {pon} {onu} sn-auth 53494D55{pon:04X}{onu:04X} omci ont-lineprofile-id 1 ont-srvprofile-id 1 desc "simulated {username}"'
        )  # fmt: skip
    return "\n".join(lines) + "\n"
