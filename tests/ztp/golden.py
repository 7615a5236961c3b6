"""Golden packets: what a device of each profile sends and what it must be answered. ``python -m tests.ztp.golden`` writes the answers anew."""

import sys
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from netd.config import DhcpConfig
from netd.extensions import Extensions
from netd.model.ranges import Span
from netd.model.ztp import BootAnswer, ClientIdentity
from netd.store.dhcp import SubnetRow
from netd.store.leases import PoolRow
from netd.wire import dhcp, dhcpv6
from netd.wire.dhcp import Message
from netd.ztp.asks import Ask
from netd.ztp.binding import Remembered
from netd.ztp.leasing6 import Ask6
from netd.ztp.limits import Limits
from netd.ztp.server4 import Arrival, Server4
from netd.ztp.server6 import Peer6, Server6
from netd.ztp.subnets import Subnets

FOLDER = Path(__file__).parent / "golden"
HTTP = "http://10.99.0.1:8069/boot/3q2-7wAAAAAAAAAAAAAAAA/device.cfg"
TFTP = "tftp://10.99.0.1/3q2-7wAAAAAAAAAAAAAAAA/device.cfg"
MAC = bytes.fromhex("00005e005301")
SUBNET = 1


class Device(NamedTuple):
    """What a device of a profile says, and what is known of it. ``serial`` and ``model`` are what must be read out of it."""

    profile: str
    options: dict[int, bytes]
    serial: str = ""
    model: str = ""
    variables: Mapping[str, str] = MappingProxyType({})
    url: str = ""
    everybody: bool = False  # answered without being expected
    recognised: bool = True  # by what it says; False: it is only bound to its profile


def member(value: bytes) -> bytes:
    return bytes((len(value),)) + value


def vendor(enterprise: int, body: bytes) -> bytes:
    return dhcp.join_vendor_options([(enterprise, body)])


DEVICES = (
    Device(
        "huawei_ne", {60: b"Huawei NE8000 M8", 61: b"\x002102353XXX10P3000012", 55: bytes((1, 3, 6, 66, 67, 150))}, "2102353XXX10P3000012", "NE8000 M8",
        url=TFTP,
    ),
    Device(
        "huawei_ar", {60: b"HUAWEI AR651", 55: bytes((1, 3, 66, 67))}, model="AR651", url=TFTP,
        variables={
            "tftp_address": "10.99.0.1", "image": "ar651.cc", "target_version": "V300R021", "http_url": "http://10.99.0.1/boot/x", "file_user": "boot",
            "file_password": "once",
        },
    ),
    Device("huawei_agile", {60: b"S5735", 55: bytes((1, 3))}, variables={"controller": "nce.example.net"}, recognised=False),
    Device("huawei_ap", {60: b"Huawei AP", 55: bytes((1, 3, 43))}, variables={"controllers": "10.99.0.5,10.99.0.6"}),
    Device("nokia_sros", {60: b"NOKIA: 7750 SR-1", 61: b"NS2012F0345", 55: bytes((1, 3, 66, 67))}, "NS2012F0345", "7750 SR-1", url=HTTP),
    Device("nokia_srlinux", {60: b"Nokia 7220 IXR-D3L srlinux", 55: bytes((1, 3, 66, 67))}, model="7220 IXR-D3L", url=HTTP),
    Device("mikrotik_routeros", {12: b"MikroTik", 55: bytes((1, 3, 6))}, recognised=False),
    Device("mikrotik_cap", {12: b"cap", 55: bytes((1, 3, 6))}, variables={"capsman_address": "10.99.0.7"}, recognised=False),
    Device("zte_zxr10", {60: b"ZXR10 5960", 55: bytes((1, 3, 150))}, model="5960", url=TFTP, variables={"tftp_address": "10.99.0.1"}),
    Device(
        "cisco_xr", {60: b"PXEClient:Arch:00009", 77: member(b"exr-config"), 124: vendor(9, member(b"SN:FOC2345R0AB;PID:5501SE")), 55: bytes((1, 3, 67))},
        "FOC2345R0AB", "5501SE", url=HTTP,
    ),
    Device(
        "cisco_ios", {60: b"ciscopnp", 61: b"\x00FOC1234A0BC", 55: bytes((1, 3, 6, 67, 150))}, "FOC1234A0BC", url=HTTP,
        variables={"tftp_address": "10.99.0.1", "image_list": "images.txt"},
    ),
    Device(
        "juniper_junos", {60: b"Juniper-qfx10002-36q-DN817", 55: bytes((1, 3, 43, 150))}, "DN817", "qfx10002-36q", url=HTTP, variables={"image": "junos.tgz"},
    ),
    Device("arista_eos", {60: b"Arista;DCS-7050S-64;01.23;JPE12221671", 55: bytes((1, 3, 67))}, "JPE12221671", "DCS-7050S-64", url=HTTP),
    Device("sonic", {60: b"SONiC-Device", 55: bytes((1, 3, 67, 239))}, url=HTTP),
    Device(
        "tr069_cpe",
        {
            60: b"dslforum.org", 125: vendor(3561, b"\1" + member(b"001122") + b"\2" + member(b"SER12") + b"\3" + member(b"CPE-1")),
            55: bytes((1, 3, 6, 43)),
        },
        "SER12", "CPE-1", everybody=True,
    ),
    Device("tr069_h3c", {60: b"H3C", 55: bytes((1, 3, 43))}, variables={"acs_user": "cpe", "acs_password": "once"}, recognised=False),
    Device("tr069_eltex", {60: b"[VENDOR:Eltex][DEVICE:NTU-RG]", 55: bytes((1, 3, 43))}, everybody=True),
    Device("ipxe", {60: b"PXEClient:Arch:00000:UNDI:002001", 77: b"iPXE", 55: bytes((1, 3, 67))}, url=HTTP),
    Device("plain", {12: b"host", 55: bytes((1, 3, 6, 15, 42))}, everybody=True),
    Device("generic_boot", {12: b"thing", 55: bytes((1, 3, 66, 67))}, url=HTTP, recognised=False),
    Device("sztp", {60: b"edge", 55: bytes((1, 3, 143))}, variables={"sztp_urls": "https://sztp.example.net:443 https://10.99.0.1"}, recognised=False),
)  # fmt: skip


class Straight:
    """Leases at once, without any database, always the same address."""

    def ask(self, ask: Ask) -> None:
        address = int(IPv4Address("10.1.0.20"))
        if ask.granted is not None:
            ask.granted(address)
        ask.done(ask, address, "")


class Kept:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, int]] = []

    def relay(self, data: bytes, address: int, local: int) -> None:
        self.sent.append(("relay", data, address))

    def client(self, data: bytes, address: int, local: int) -> None:
        self.sent.append(("client", data, address))

    def link(self, data: bytes, interface: str, hardware: bytes | None, address: int, local: int) -> None:
        self.sent.append(("link", data, address))


def number(text: str) -> int:
    return int(IPv4Address(text))


def subnet_row(profiles: tuple[str, ...], serves: str = "expected", variables: dict[str, str] | None = None, **more: Any) -> SubnetRow:
    row = SubnetRow(
        SUBNET, 1, "access", 4, number("10.1.0.0"), number("10.1.0.255"), 24, None, serves, profiles, 1, number("10.1.0.1"), (number("10.99.0.53"),),
        (number("10.99.0.123"),), "access.example", 3600, variables or {"acs_url": "https://acs.example.net/cwmp", "provisioning_code": "SITE7",
                                                                         "acs_retry_seconds": "5", "acs_retry_multiplier": "2000"}, "",
    )  # fmt: skip
    return row._replace(**more)


def server(extensions: Extensions, device: Device, **more: Any) -> tuple[Server4, Kept, Remembered]:
    """A responder for this one device: expected by its MAC address, unless everybody is answered."""
    subnets = Subnets(extensions.profiles)
    profiles = (device.profile,)
    row = subnet_row(profiles, "classes" if device.everybody else "expected", **more)
    subnets.put([row], [], [PoolRow(1, 1, "access", "ipv4", 32, 0, 1, [Span(number("10.1.0.10"), number("10.1.0.99"))], [])])
    expected = {} if device.everybody else {"00:00:5e:00:53:01": BootAnswer(profile=device.profile, variables=device.variables)}

    def url(seen: ClientIdentity, address: IPv4Address | IPv6Address) -> str:
        return device.url

    config = DhcpConfig(enabled=True)
    binding = Remembered(expected, url)
    made = Server4(subnets, Straight(), binding, Limits(config), config)  # type: ignore[arg-type]
    made.out = kept = Kept()
    return made, kept, binding


def discover(device: Device) -> bytes:
    """As it comes through a relay."""
    options = {53: b"\1", **device.options, 57: b"\x05\xdc", 82: b"\1\x14olt1 eth 1/1/4:100.7\2\6\0\0\x5e\0\x53\x02"}
    return dhcp.encode(Message(1, 0x12345678, MAC, options, giaddr=number("10.1.0.1"), hops=1))


def exchange(extensions: Extensions, device: Device) -> dict[str, bytes]:
    """The four packets of a boot."""
    made, kept, _ = server(extensions, device)
    first = discover(device)
    arrival = Arrival(number("10.1.0.1"), 67, number("10.99.0.1"), "")
    made.packet(first, arrival)
    assert kept.sent, f"{device.profile} was not answered: {dict(made.drops)}"
    offer = kept.sent.pop()[1]
    wanted = dhcp.parse(first)
    wanted.options = {**wanted.options, 53: b"\3", 50: dhcp.parse(offer).yiaddr.to_bytes(4, "big"), 54: dhcp.parse(offer).options[54]}
    request = dhcp.encode(wanted)
    made.packet(request, arrival)
    return {"discover": first, "offer": offer, "request": request, "ack": kept.sent.pop()[1]}


# What each says in DHCPv6, besides a DUID with its MAC address.
SAY6: dict[str, tuple[dhcpv6.Option, ...]] = {
    "nokia_sros": ((15, dhcpv6.join_texts([b"7750;TiMOS-23;ztp"])),),
    "cisco_xr": ((15, dhcpv6.join_texts([b"exr-config"])), (16, b"\0\0\0\x09" + dhcpv6.join_texts([b"SN:FOC2345R0AB;PID:5501SE"]))),
    "arista_eos": ((16, b"\0\0\x75\x71" + dhcpv6.join_texts([b"Arista;DCS-7050S-64;01.23;JPE12221671"])),),
    "sonic": ((15, dhcpv6.join_texts([b"sonic-ztp"])),),
    "tr069_cpe": ((16, b"\0\0\x0d\xe9" + dhcpv6.join_texts([b"dslforum.org"])),),
    "ipxe": ((15, dhcpv6.join_texts([b"iPXE"])),),
    "plain": (),
    "generic_boot": (),
    "sztp": (),
}
HTTP6 = "http://[2001:db8:99::1]:8069/boot/3q2-7wAAAAAAAAAAAAAAAA/device.cfg"


class Straight6:
    """The same for DHCPv6."""

    def ask(self, ask: Ask6) -> None:
        address = int(IPv6Address("2001:db8:1::20"))
        if ask.granted is not None:
            ask.granted(address)
        ask.done({("na", iaid): address for iaid in ask.addresses}, "")


def server6(extensions: Extensions, device: Device, sent: list[bytes]) -> Server6:
    subnets = Subnets(extensions.profiles)
    first = int(IPv6Address("2001:db8:1::"))
    row = subnet_row((device.profile,), "classes" if device.everybody else "expected")._replace(
        version=6, first=first, last=first + 2**64 - 1, prefix_length=64, pool_id=None, router=0, ntp_servers=(),
        dns_servers=(int(IPv6Address("2001:db8:99::53")),),
    )  # fmt: skip
    subnets.put([row], [], [])
    expected = {} if device.everybody else {"00:00:5e:00:53:01": BootAnswer(profile=device.profile, variables=device.variables)}
    binding = Remembered(expected, lambda seen, address: HTTP6 if device.url else "")
    config = DhcpConfig(enabled=True)
    made = Server6(subnets, Straight6(), binding, Limits(config), config, b"\0\4" + bytes(range(16)))  # type: ignore[arg-type]
    made.send = lambda data, peer: sent.append(data)
    return made


def exchange6(extensions: Extensions, device: Device) -> dict[str, bytes]:
    """The four messages of a boot by DHCPv6."""
    sent: list[bytes] = []
    made = server6(extensions, device, sent)
    relays = (dhcpv6.Relay(0, int(IPv6Address("2001:db8:1::1")), int(IPv6Address("fe80::200:5eff:fe00:5301")), ((18, b"eth 1/1/4"),)),)
    ia = (dhcpv6.IA_NA, dhcpv6.association_octets(dhcpv6.Association(1, 0, 0, ())))
    options = ((dhcpv6.CLIENT_ID, b"\0\3\0\1" + MAC), ia, (dhcpv6.OPTION_REQUEST, b"\0\x17\0\x18\0\x3b"), *SAY6[device.profile])
    solicit = dhcpv6.encode(dhcpv6.Message(dhcpv6.SOLICIT, 0x123456, options, relays), dhcpv6.RELAY_FORWARD)
    request = dhcpv6.encode(dhcpv6.Message(dhcpv6.REQUEST, 0x123457, (*options, (dhcpv6.SERVER_ID, made.duid)), relays), dhcpv6.RELAY_FORWARD)
    for data in (solicit, request):
        made.packet(data, Peer6("2001:db8:99::2", 547, 0, ""))
    assert len(sent) == 2, f"{device.profile} was not answered: {dict(made.drops)}"
    return {"solicit": solicit, "advertise": sent[0], "request6": request, "reply": sent[1]}


def files(device: Device) -> Iterator[tuple[str, Path]]:
    names6 = ("solicit", "advertise", "request6", "reply") if device.profile in SAY6 else ()
    for name in ("discover", "offer", "request", "ack", *names6):
        yield name, FOLDER / f"{device.profile}.{name}.hex"


def whole(extensions: Extensions, device: Device) -> dict[str, bytes]:
    """Every packet of a profile."""
    return exchange(extensions, device) | (exchange6(extensions, device) if device.profile in SAY6 else {})


def lines(data: bytes) -> str:
    return "".join(data[at : at + 32].hex() + "\n" for at in range(0, len(data), 32))


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    extensions = Extensions.discover()
    for device in DEVICES:
        made = whole(extensions, device)
        for name, path in files(device):
            path.write_text(lines(made[name]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
