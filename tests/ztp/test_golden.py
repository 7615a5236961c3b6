"""Each profile's packets, octet by octet, and what a dissector that nobody here wrote says of them."""

import json
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from netd.extensions import Extensions
from netd.sdk.bootstrap import Profile
from netd.wire import dhcp
from netd.ztp.client4 import identify, recognised, relay_info
from netd.ztp.server4 import Arrival
from netd.ztp.subnets import Subnets
from tests.ztp.golden import DEVICES, FOLDER, HTTP, TFTP, Device, discover, exchange, files, number, server, subnet_row, whole

BY_PROFILE = {device.profile: device for device in DEVICES}


def read(path: Path) -> bytes:
    return bytes.fromhex(path.read_text())


def test_every_profile_for_ipv4_has_its_packets(extensions: Extensions) -> None:
    assert set(BY_PROFILE) == set(extensions.profiles)
    assert {path.name for path in FOLDER.glob("*.hex")} == {path.name for device in DEVICES for _, path in files(device)}


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.profile)
def test_the_answers_are_those_that_were_written_down(device: Device, extensions: Extensions) -> None:
    made = whole(extensions, device)
    assert made == {name: read(path) for name, path in files(device)}


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.profile)
def test_devices_are_recognised_by_what_they_say(device: Device, extensions: Extensions) -> None:
    subnets = Subnets(extensions.profiles)
    subnets.put([subnet_row(("plain",) if device.profile == "plain" else ())], [], [])
    message = dhcp.parse(discover(device))
    seen = recognised(subnets, subnets.by_id[1], identify(message, relay_info(message), subnets.by_id[1]))
    assert (seen.profile == device.profile) == device.recognised
    if device.recognised:
        assert (seen.serial, seen.model) == (device.serial, device.model)


def test_143_goes_to_nobody_who_is_not_known_to_want_it(extensions: Extensions) -> None:
    """Huawei's NE runs SZTP alone once it sees it, whatever else is there; its AR takes it for an FTP server."""
    having = {device.profile for device in DEVICES if 143 in dhcp.parse(exchange(extensions, device)["ack"]).options}
    assert having == {"sztp"}


def test_options_that_a_device_did_not_ask_for_come_only_where_its_profile_says_so(extensions: Extensions) -> None:
    generic = BY_PROFILE["generic_boot"]
    unasked = generic._replace(options={12: b"thing", 55: bytes((1,))})
    told = dhcp.parse(exchange(extensions, unasked)["offer"]).options
    assert 67 in told  # always_send
    assert 66 not in told
    assert 66 in dhcp.parse(exchange(extensions, generic)["offer"]).options


def test_who_cannot_be_told_what_it_must_have_is_told_nothing(extensions: Extensions) -> None:
    made, kept, _ = server(extensions, BY_PROFILE["arista_eos"]._replace(url=""))
    made.packet(discover(BY_PROFILE["arista_eos"]), Arrival(number("10.1.0.1"), 67, number("10.99.0.1"), ""))
    assert not kept.sent
    assert made.drops == {"incomplete": 1}


def test_files_are_told_by_the_folder_of_the_token(extensions: Extensions) -> None:
    """What has no token in it is refused by the boot server."""
    folder = b"3q2-7wAAAAAAAAAAAAAAAA"
    juniper = dhcp.parse(exchange(extensions, BY_PROFILE["juniper_junos"])["ack"]).options[43]
    image = b"boot/" + folder + b"/junos.tgz"
    assert juniper.startswith(bytes((0, len(image))) + image)
    auto = BY_PROFILE["huawei_ar"]
    told = dhcp.parse(exchange(extensions, auto)["ack"]).options
    assert (told[66], told[145]) == (b"10.99.0.1", b"vrpfile=" + folder + b"/ar651.cc;vrpver=V300R021;") and 146 not in told
    own = {**auto.variables, "vrpfile": "a.cc", "vrpver": "V1", "patchfile": "a.pat", "opervalue": "1"}  # an FTP server of the operator's
    told = dhcp.parse(exchange(extensions, auto._replace(variables=own))["ack"]).options
    assert (told[145], told[146]) == (b"vrpfile=a.cc;vrpver=V1;patchfile=a.pat;", b"opervalue=1;")


def test_a_tftp_client_is_told_a_path_and_no_url(extensions: Extensions) -> None:
    cisco = BY_PROFILE["cisco_ios"]
    assert dhcp.parse(exchange(extensions, cisco._replace(url=TFTP))["ack"]).options[67] == b"3q2-7wAAAAAAAAAAAAAAAA/device.cfg"
    assert dhcp.parse(exchange(extensions, cisco)["ack"]).options[67].startswith(b"http://")


def test_junos_is_told_a_server_that_has_a_name_only(extensions: Extensions) -> None:
    """150 holds addresses; 66 names."""
    named = BY_PROFILE["juniper_junos"]._replace(url=HTTP.replace("10.99.0.1", "boot.example.net"), variables={})
    told = dhcp.parse(exchange(extensions, named)["ack"]).options
    assert (told[66], 150 in told) == (b"boot.example.net", False)


def test_ios_is_told_a_tftp_server_that_has_a_name_only(extensions: Extensions) -> None:
    cisco = BY_PROFILE["cisco_ios"]
    named = cisco._replace(options={**cisco.options, 55: bytes((1, 66, 67, 150))}, url=TFTP.replace("10.99.0.1", "boot.example.net"), variables={})
    told = dhcp.parse(exchange(extensions, named)["ack"]).options
    assert (told[66], told[67], 150 in told) == (b"boot.example.net", b"3q2-7wAAAAAAAAAAAAAAAA/device.cfg", False)


def test_an_acs_is_told_with_its_url_or_not_at_all(extensions: Extensions) -> None:
    (option,) = [each for each in extensions.profiles["tr069_cpe"].data.options if each.code == 125]
    profile = Profile(msgspec.structs.replace(extensions.profiles["tr069_cpe"].data, options=(option,)))
    assert profile.options({"provisioning_code": "x"}, (125,)) == []
    with pytest.raises(ValueError, match="needs acs_url for option 43"):
        extensions.profiles["tr069_cpe"].options({"provisioning_code": "x"}, ())


SIX = ("solicit", "advertise", "request6", "reply")


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pcap(packets: list[bytes], six: Sequence[bytes] = ()) -> bytes:
    """The packets as a capture: Ethernet, IPv4 or IPv6, UDP between a relay and a server."""
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for place, data in enumerate(packets):
        udp = struct.pack("!HHHH", 67, 67, 8 + len(data), 0) + data
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), place, 0, 64, 17, 0, bytes((10, 1, 0, 1)), bytes((10, 99, 0, 1)))
        head = head[:10] + checksum(head).to_bytes(2, "big") + head[12:]
        frame = bytes.fromhex("00005e00530200005e0053010800") + head + udp
        out += struct.pack("<IIII", place, 0, len(frame), len(frame)) + frame
    ends = bytes.fromhex("20010db8000100000000000000000001") + bytes.fromhex("20010db8009900000000000000000001")
    for data in six:
        udp = struct.pack("!HHHH", 547, 547, 8 + len(data), 0) + data
        total = checksum(ends + struct.pack("!II", len(udp), 17) + udp)
        udp = udp[:6] + total.to_bytes(2, "big") + udp[8:]
        frame = bytes.fromhex("00005e00530200005e00530186dd") + struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + ends + udp
        out += struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame
    return out


def dissected(tshark: str, capture: Path) -> list[dict[str, object]]:
    done = subprocess.run([tshark, "-r", str(capture), "-T", "json", "-Y", "dhcp or dhcpv6"], capture_output=True, text=True, timeout=240, check=True)
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


def complaints(value: object, path: str = "") -> list[str]:
    """Everything in a dissection that says that something is malformed or odd."""
    if isinstance(value, dict):
        return [found for name, inner in value.items() for found in complaints(inner, f"{path}/{name}")]
    if isinstance(value, list):
        return [found for inner in value for found in complaints(inner, path)]
    return [f"{path}: {value}"] if "_ws.malformed" in path or path.endswith("_ws.expert.message") or "_ws.short" in path else []


def test_tshark_decodes_all_of_them_without_complaint(tmp_path: Path, require_peer) -> None:
    tshark = require_peer("tshark")
    packets = [read(path) for device in DEVICES for name, path in files(device) if name not in SIX]
    six = [read(path) for device in DEVICES for name, path in files(device) if name in SIX]
    (tmp_path / "golden.pcap").write_bytes(pcap(packets, six))
    found = dissected(tshark, tmp_path / "golden.pcap")
    assert len(found) == len(packets) + len(six)
    assert complaints(found) == []
    broken = bytearray(packets[1])
    broken[241] = 200  # the length of the message type
    (tmp_path / "broken.pcap").write_bytes(pcap([bytes(broken)]))
    assert complaints(dissected(tshark, tmp_path / "broken.pcap")) != []
