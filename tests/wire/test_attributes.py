"""Attributes: octets that can be checked by eye, pyrad as a second implementation, and that nothing is lost or altered on the way through."""

import itertools
import socket
import subprocess
from collections.abc import Callable, Sequence
from io import StringIO
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyrad import dictionary as pyrad_dictionary
from pyrad import packet as pyrad_packet

from netd.errors import WireError
from netd.wire.attributes import Avp, Decoded, decode, encode, from_text
from netd.wire.dictionary import Dictionary, parse

SECRET = b"xyzzy5461"
AUTHENTICATOR = bytes(range(16))
SALTS = (b"\x80\x01", b"\x00\x02", b"\xff\xff")


def octets(text: str) -> bytes:
    return bytes.fromhex("".join(text.split()))


def avps(found: Sequence[Decoded]) -> list[Avp]:
    return [item.avp for item in found]


# Each is the one encoding of its attributes, and decodes to them.
VECTORS: dict[str, tuple[list[Avp], str]] = {
    "RFC 2865 7.1, answer": (
        [("Service-Type", 1), ("Login-Service", 0), ("Login-IP-Host", IPv4Address("192.168.1.3"))],
        "06 06 00000001 0f 06 00000000 0e 06 c0a80103",
    ),
    "RFC 2865 7.2, request": (
        [
            ("User-Name", "flopsy"),
            ("CHAP-Password", octets("16e9755 7c316185895f293ff6344077275")),
            ("NAS-IP-Address", IPv4Address("192.168.1.16")),
            ("NAS-Port", 20),
            ("Service-Type", 2),
            ("Framed-Protocol", 1),
        ],
        "01 08 666c6f707379 03 13 16e97557c316185895f293ff6344077275 04 06 c0a80110 05 06 00000014 06 06 00000002 07 06 00000001",
    ),
    "RFC 2865 7.2, answer": (
        [
            ("Service-Type", 2),
            ("Framed-Protocol", 1),
            ("Framed-IP-Address", IPv4Address("255.255.255.254")),
            ("Framed-Routing", 2),
            ("Framed-Compression", 1),
            ("Framed-MTU", 1500),
        ],
        "06 06 00000002 07 06 00000001 08 06 fffffffe 0a 06 00000002 0d 06 00000001 0c 06 000005dc",
    ),
    "RFC 2865 7.3, challenge": ([("Reply-Message", "Challenge 32769430.  Enter response at prompt."), ("State", b"32769430")], "12 30"
        + b"Challenge 32769430.  Enter response at prompt.".hex() + "18 0a 3332373639343330"),
    "nothing": ([], ""),
    "empty string": ([("User-Name", "")], "01 02"),
    "not UTF-8": ([("User-Name", b"caf\xe9")], "01 06 636166e9"),
    "IPv6": (
        [
            ("NAS-IPv6-Address", IPv6Address("2001:db8::1")),
            ("Framed-Interface-Id", octets("0000000000000001")),
            ("Framed-IPv6-Prefix", IPv6Network("2001:db8:1::/64")),
        ],
        "5f 12 20010db8000000000000000000000001 60 0a 0000000000000001 61 14 00 40 20010db8000100000000000000000000",
    ),
    "tagged string": ([("Tunnel-Private-Group-Id:1", "100")], "51 06 01 313030"),
    "untagged string": ([("Tunnel-Private-Group-Id", "100")], "51 05 313030"),
    "tagged integer": ([("Tunnel-Type:2", 13), ("Tunnel-Medium-Type", 6)], "40 06 02 00000d 41 06 00 000006"),
    "tagged, of a vendor": ([("ERX-Service-Activate:3", "filter(in)")], "1a 13 0000130a 41 0d 03" + b"filter(in)".hex()),
    "vendor": ([("Mikrotik-Rate-Limit", "20M/100M"), ("Mikrotik-Recv-Limit", 7)], "1a 10 00003a8c 08 0a 32304d2f3130304d 1a 0c 00003a8c 01 06 00000007"),
    "vendor 2,1": ([("Two-One-Text", "abc")], "1a 0c 0000fa01 0702 06 616263"),
    "vendor 2,2": ([("Two-Two-Text", "abc")], "1a 0d 0000fa02 0102 0007 616263"),
    "vendor 4,0": ([("Four-Zero-Number", 7)], "1a 0e 0000fa03 00bfbe12 00000007"),
    "vendor 1,0": ([("One-Zero-Text", "abc")], "1a 0a 0000fa04 01 616263"),
    "vendor with continuation octet": ([("Continued-Octets", b"ab")], "1a 0b 0000fa05 01 05 00 6162"),
    "vendor, cut": (
        [("Continued-Octets", b"a" * 246 + b"bb")],
        "1a ff 0000fa05 01 f9 80" + "61" * 246 + "1a 0b 0000fa05 01 05 00 6262",
    ),
    "vendor, TLV": ([("Continued-Text", "ab"), ("Continued-Number", 6809)], "1a 11 0000fa05 02 0b 00 01 04 6162 02 04 1a99"),
    "vendor, TLV in TLV, cut": (
        [("Continued-Text", "a" * 240), ("Continued-Deep", IPv6Network("::/0"))],
        "1a ff 0000fa05 02 f9 80 01 f2" + "61" * 240 + "03 16 01 14" + "1a 1b 0000fa05 02 15 00" + "00" * 18,
    ),
    "vendor, several addresses": ([("Usual-Addresses", IPv4Address("192.0.2.1")), ("Usual-Addresses", IPv4Address("192.0.2.2"))],
        "1a 10 0000fa06 05 0a c0000201 c0000202"),
    "extended": ([("Operator-NAS-Identifier", b"nas1")], "f1 07 08 6e617331"),
    "extended TLV": ([("IP-Port-Type", 1), ("IP-Port-Limit", 4000)], "f1 0f 05 01 06 00000001 02 06 00000fa0"),
    "extended, of a vendor": ([("Usual-Short-Extended", "abc")], "f1 0b 1a 0000fa06 01 616263"),
    "extended, of a vendor, TLV": ([("Usual-Short-Leaf", 7), ("Usual-Short-Leaf", 8)], "f1 10 1a 0000fa06 02 01 04 0007 01 04 0008"),
    "long extended": ([("Long-Text", "bob")], "f5 07 c8 00 626f62"),
    "long extended, full": ([("Long-Text", "a" * 251)], "f5 ff c8 00" + "61" * 251),
    "long extended, cut": ([("Long-Text", "a" * 251 + "b")], "f5 ff c8 80" + "61" * 251 + "f5 05 c8 00 62"),
    "long extended, of a vendor, cut": (
        [("Usual-Long-Extended", "a" * 246 + "b")],
        "f5 ff 1a 80 0000fa06 01" + "61" * 246 + "f5 05 1a 00 62",
    ),
    "long extended TLV, cut": (
        [("Long-Leaf", b"a" * 253), ("Long-Leaf", b"b")],
        "f5 ff c9 80 01 ff" + "61" * 249 + "f5 0b c9 00" + "61" * 4 + "01 03 62",
    ),
    "concat": ([("EAP-Message", b"a" * 253 + b"b")], "4f ff" + "61" * 253 + "4f 03 62"),
    "concat, full": ([("EAP-Message", b"a" * 253)], "4f ff" + "61" * 253),
    "concat, empty": ([("EAP-Message", b"")], "4f 02"),
    "without definition": ([("Attr-250", b"ab"), ("Vendor-77777-Attr-3", b"c"), ("Attr-241.77", b"d")], "fa 04 6162 1a 09 00012fd1 03 03 63 f1 04 4d 64"),
    "extended, of an unknown vendor": ([("Attr-241.26.77777.3", b"c")], "f1 09 1a 00012fd1 03 63"),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(dictionary: Dictionary, name: str) -> None:
    listed, text = VECTORS[name]
    wire = octets(text)
    assert encode(dictionary, listed) == wire
    found = decode(dictionary, wire)
    assert avps(found) == listed
    assert all(item.content is None and not item.splits for item in found)
    assert encode(dictionary, found) == wire


# What another program may send: decodes to these, and encodes again as it was.
OTHER_FORMS: dict[str, tuple[list[Avp], str]] = {
    "prefix cut short": ([("Framed-IPv6-Prefix", IPv6Network("2001:db8::/32"))], "61 08 00 20 20010db8"),
    "prefix with host bits": ([("Framed-IPv6-Prefix", IPv6Network("2001:db8::/32"))], "61 0a 00 20 20010db8 0001"),
    "prefix with reserved octet": ([("Framed-IPv6-Prefix", IPv6Network("2001:db8::/32"))], "61 08 07 20 20010db8"),
    "unused tag octet": ([("Tunnel-Private-Group-Id", "100")], "51 06 00 313030"),
    "several in one attribute 26": (
        [("Mikrotik-Recv-Limit", 7), ("Mikrotik-Xmit-Limit", 8), ("Vendor-14988-Attr-200", b"x")],
        "1a 15 00003a8c 01 06 00000007 02 06 00000008 c8 03 78",
    ),
    "TLVs each in its own": ([("Continued-Text", "a"), ("Continued-Number", 1)], "1a 0c 0000fa05 02 06 00 01 03 61 1a 0d 0000fa05 02 07 00 02 04 0001"),
    "TLVs each in its own, in one attribute 26": ([("Usual-Leaf", 1), ("Usual-Leaf", 2)], "1a 10 0000fa06 03 05 01 03 01 03 05 01 03 02"),
    "concat, cut elsewhere": ([("EAP-Message", b"aabb")], "4f 04 6161 4f 04 6262"),
    "concat, empty pieces": ([("EAP-Message", b"a")], "4f 02 4f 03 61 4f 02"),
    "long extended, cut elsewhere": ([("Long-Text", "ab")], "f5 05 c8 80 61 f5 05 c8 00 62"),
    "long extended TLV, cut elsewhere": ([("Long-Leaf", b"a"), ("Long-Leaf", b"b")], "f5 08 c9 80 01 03 61 01 f5 06 c9 00 03 62"),
    "continuation, cut elsewhere": ([("Continued-Octets", b"ab")], "1a 0a 0000fa05 01 04 80 61 1a 0a 0000fa05 01 04 00 62"),
}


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_other_forms(dictionary: Dictionary, name: str) -> None:
    listed, text = OTHER_FORMS[name]
    wire = octets(text)
    found = decode(dictionary, wire)
    assert avps(found) == listed
    assert encode(dictionary, found) == wire
    assert encode(dictionary, listed) != wire


# Well framed, but not what the definition says: octets under a raw name.
MISFITS: dict[str, tuple[list[Avp], str]] = {
    "short integer": ([("Attr-6", b"\0\0\2")], "06 05 000002"),
    "long address": ([("Attr-8", bytes(5))], "08 07 0000000000"),
    "prefix length": ([("Attr-97", octets("0081"))], "61 04 0081"),
    "octets of one length": ([("Vendor-311-Attr-1", b"a")], "1a 09 00000137 01 03 61"),
    "tag of an integer": ([("Attr-64", octets("2000000d"))], "40 06 2000000d"),
    "no vendor": ([("Attr-26", octets("000001"))], "1a 05 000001"),
    "vendor 0": ([("Attr-26", octets("00000000010361"))], "1a 09 00000000010361"),
    "vendor alone": ([("Attr-26", octets("00003a8c"))], "1a 06 00003a8c"),
    "sub-attribute too long": ([("Attr-26", octets("00003a8c0107000000"))], "1a 0b 00003a8c 0107 000000"),
    "sub-attribute too short": ([("Attr-26", octets("00003a8c0101"))], "1a 08 00003a8c 0101"),
    "half a header": ([("Attr-26", octets("00003a8c01"))], "1a 07 00003a8c 01"),
    "extended without a type": ([("Attr-241", b"")], "f1 02"),
    "extended vendor cut off": ([("Attr-241.26", octets("0000fa06"))], "f1 07 1a 0000fa06"),
    "long extended without flags": ([("Attr-245", b"\xc8")], "f5 03 c8"),
    "long extended, reserved flag": ([("Attr-245", octets("c80161"))], "f5 05 c8 01 61"),
    "long extended, reserved flag in a piece": ([("Attr-245", octets("c88161")), ("Long-Text", "b")], "f5 05 c8 81 61 f5 05 c8 00 62"),
    "long extended, no more comes": ([("Attr-245", octets("c88061")), ("User-Name", "a")], "f5 05 c8 80 61 01 03 61"),
    "long extended, another follows": ([("Attr-245", octets("c88061")), ("Long-Leaf", b"")], "f5 05 c8 80 61 f5 06 c9 00 01 02"),
    "TLV too long": ([("Attr-241.5", octets("010761"))], "f1 06 05 01 07 61"),
    "TLV empty": ([("Attr-241.5", b"")], "f1 03 05"),
    "TLV value too short": ([("Attr-241.5.1", b"a"), ("IP-Port-Limit", 1)], "f1 0c 05 01 03 61 02 06 00000001"),
    "continuation, reserved flag": (
        [("Attr-26", octets("0000fa0501048161")), ("Continued-Octets", b"b")],
        "1a 0a 0000fa05 01 04 81 61 1a 0a 0000fa05 01 04 00 62",
    ),
    "continuation, no more comes": ([("Attr-26", octets("0000fa0501048061"))], "1a 0a 0000fa05 01 04 80 61"),
    "continuation, in company": ([("Attr-26", octets("0000fa05010480610104 0062"))], "1a 0e 0000fa05 01 04 80 61 01 04 00 62"),
    "addresses, not whole": ([("Vendor-64006-Attr-5", bytes(5))], "1a 0d 0000fa06 05 07 0000000000"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_misfits_stay_octets(dictionary: Dictionary, name: str) -> None:
    listed, text = MISFITS[name]
    found = decode(dictionary, octets(text))
    assert avps(found) == listed
    assert encode(dictionary, found) == octets(text)


@pytest.mark.parametrize("text", ["01", "01 01 61", "01 00", "01 04 61", "01 03 61 02"])
def test_broken_framing_is_refused(dictionary: Dictionary, text: str) -> None:
    with pytest.raises(WireError) as caught:
        decode(dictionary, octets(text))
    assert caught.value.reason == "attribute_length"


@pytest.mark.parametrize(
    ("avp", "reason"),
    [
        (("User-Name", "a" * 254), "User-Name: 254 octets do not fit, 253 are the most"),
        (("Mikrotik-Group", "a" * 248), "Mikrotik-Group: 248 octets do not fit, 247 are the most"),
        (("Operator-NAS-Identifier", b"a" * 253), "Operator-NAS-Identifier: 253 octets do not fit"),
        (("Session-Timeout", -1), "Session-Timeout: -1 is not in 0..4294967295"),
        (("Session-Timeout", 2**32), "Session-Timeout: 4294967296 is not in"),
        (("Session-Timeout", "60"), "Session-Timeout: an integer is needed"),
        (("User-Name", 5), "User-Name: a string is needed"),
        (("User-Name", "\ud800"), "User-Name: the string cannot"),
        (("Class", "gold"), "Class: octets are needed"),
        (("Framed-IP-Address", IPv6Address("::1")), "Framed-IP-Address: an IPv4 address is needed"),
        (("Framed-IPv6-Prefix", IPv6Address("::1")), "Framed-IPv6-Prefix: an IPv6 network is needed"),
        (("MS-CHAP2-Response", b"a"), "MS-CHAP2-Response: 50 octets are needed, not 1"),
        (("Tunnel-Type:1", 1 << 24), "Tunnel-Type: with a tag the highest number"),
        (("Tunnel-Type:32", 1), "Tunnel-Type:32: a tag is"),
        (("Tunnel-Type:", 1), "Tunnel-Type:: a tag is"),
        (("User-Name:1", "a"), "User-Name: it takes no tag"),
        (("Attr-79", b"a" * 254), "Attr-79: 254 octets do not fit"),
        (("User-Password", "open sesame"), "User-Password: it is sent encrypted"),
        (("MS-MPPE-Send-Key", bytes(16)), "MS-MPPE-Send-Key: it is sent encrypted"),
        (("Usual-Ascend", "open sesame"), "Usual-Ascend: Ascend's own"),
    ],
)
def test_what_cannot_be_encoded_is_refused_without_showing_it(dictionary: Dictionary, avp: Avp, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        encode(dictionary, [avp])
    assert str(caught.value).startswith(reason)
    assert "sesame" not in str(caught.value)


def test_unknown_names_are_refused(dictionary: Dictionary) -> None:
    with pytest.raises(LookupError, match="unknown attribute Nonsense"):
        encode(dictionary, [("Nonsense", 1)])


HIDDEN: list[Avp] = [
    ("User-Password", "arctangent"),
    ("User-Password", "a password of more than sixteen octets"),
    ("Tunnel-Password:1", "tunnel"),
    ("Tunnel-Password", ""),
    ("MS-MPPE-Send-Key", bytes(range(32))),
    ("MS-CHAP-MPPE-Keys", bytes(range(16)) + bytes(8)),
    ("Usual-Hidden", 7),
]


def test_encrypted_attributes_come_back(dictionary: Dictionary) -> None:
    wire = encode(dictionary, HIDDEN, SECRET, AUTHENTICATOR, itertools.cycle(SALTS))
    found = decode(dictionary, wire, SECRET, AUTHENTICATOR)
    assert avps(found) == HIDDEN
    assert all(item.secret for item in found)
    assert "arctangent" not in repr(found)
    assert "***" in repr(found)


def test_without_the_secret_they_stay_as_they_are(dictionary: Dictionary) -> None:
    wire = encode(dictionary, HIDDEN, SECRET, AUTHENTICATOR, itertools.cycle(SALTS))
    found = decode(dictionary, wire)
    assert [item.name for item in found] == [name.partition(":")[0] for name, _ in HIDDEN]
    assert all(isinstance(item.value, bytes) for item in found)
    assert encode(dictionary, found) == wire


def test_what_does_not_decrypt_stays_octets(dictionary: Dictionary) -> None:
    wire = octets("02 05 616263 45 15 01 8001") + bytes(16)
    found = decode(dictionary, wire, b"not the secret", AUTHENTICATOR)
    assert [item.name for item in found] == ["Attr-2", "Attr-69"]
    assert encode(dictionary, found) == wire


def test_salts_have_their_first_bit_set(dictionary: Dictionary) -> None:
    wire = encode(dictionary, [("Usual-Hidden", 1)], SECRET, AUTHENTICATOR, iter([b"\x00\x02"]))
    assert wire[8:10] == b"\x80\x02"
    with pytest.raises(ValueError, match="a salt of two octets"):
        encode(dictionary, [("Usual-Hidden", 1)], SECRET, AUTHENTICATOR, iter([]))


def test_rfc_2865_password(dictionary: Dictionary) -> None:
    request = octets("02 12 0dbe708d93d413ce3196e43f782a0aee")
    authenticator = octets("0f403f94739780 57bd83d5cb98f4227a")
    assert avps(decode(dictionary, request, SECRET, authenticator)) == [("User-Password", "arctangent")]
    assert encode(dictionary, [("User-Password", "arctangent")], SECRET, authenticator) == request


def test_many_tlvs_take_as_many_containers_as_they_need(dictionary: Dictionary) -> None:
    listed: list[Avp] = [("IP-Port-Limit", number) for number in range(100)]
    wire = encode(dictionary, listed)
    assert avps(decode(dictionary, wire)) == listed
    assert wire[:2] == octets("f1 ff")  # 42 TLVs of 6 octets fill the 252 there are
    assert len(wire) == 600 + 3 * 3


def test_changed_values_are_encoded_anew_inside_their_containers(dictionary: Dictionary) -> None:
    wire = octets("1a 12 00003a8c 01 06 00000007 02 06 00000008")
    first, second = decode(dictionary, wire)
    assert encode(dictionary, [first, Decoded(second.name, 9, joined=second.joined)]) == wire[:-1] + b"\x09"


def test_what_grows_until_it_is_cut_leaves_its_container(dictionary: Dictionary) -> None:
    found = [Decoded("Continued-Octets", b"a"), Decoded("Continued-Text", "b", joined=1), Decoded("Continued-Text", "c" * 250, joined=2)]
    wire = encode(dictionary, found)
    assert wire.startswith(octets("1a 0a 0000fa05 01 04 00 61 1a ff 0000fa05 02 f9 80 01 03 62 01 fc"))
    assert avps(decode(dictionary, wire)) == avps(found)


# pyrad, an implementation by others, that reads our dictionaries by its own parser.


@pytest.fixture(scope="module")
def theirs(sources: list[tuple[str, str]]) -> pyrad_dictionary.Dictionary:
    dictionary = pyrad_dictionary.Dictionary()
    for _, text in sources:
        dictionary.ReadDictionary(StringIO(text))
    return dictionary


def pyrad_reply(dictionary: pyrad_dictionary.Dictionary) -> pyrad_packet.Packet:
    reply = pyrad_packet.AuthPacket(code=pyrad_packet.AccessAccept, secret=SECRET, dict=dictionary)
    reply.request_authenticator = AUTHENTICATOR
    return reply


# (name, our value, pyrad's value): one attribute of each type that pyrad knows, standard and of vendors
SAME: list[tuple[str, object, object]] = [
    ("User-Name", "zoë", "zoë"),
    ("Framed-IP-Address", IPv4Address("192.0.2.7"), "192.0.2.7"),
    ("Service-Type", 2, "Framed-User"),
    ("Session-Timeout", 86400, 86400),
    ("Class", b"\x00\xff", b"\x00\xff"),
    ("Event-Timestamp", 1767366245, 1767366245),
    ("Framed-IPv6-Address", IPv6Address("2001:db8::7"), "2001:db8::7"),
    ("Delegated-IPv6-Prefix", IPv6Network("2001:db8::/56"), "2001:db8::/56"),
    ("Framed-Interface-Id", octets("021122fffe000044"), "211:22ff:fe00:44"),
    ("PKM-SAID", 7, 7),
    ("MIP6-Feature-Vector", 2**40, 2**40),
    ("Tunnel-Type:1", 13, 13),
    ("Tunnel-Private-Group-Id:1", "100", "100"),
    ("Tunnel-Client-Endpoint", "192.0.2.1", "192.0.2.1"),
    ("Mikrotik-Rate-Limit", "20M/100M", "20M/100M"),
    ("Huawei-Output-Average-Rate", 100_000_000, 100_000_000),
    ("Cisco-AVPair", "ip:addr-pool=gold", "ip:addr-pool=gold"),
    ("Alc-Primary-Dns", IPv4Address("192.0.2.53"), "192.0.2.53"),
    ("Acct-Input-Octets-64", 2**40, 2**40),
    ("3GPP-RAT-Type", 6, 6),
    ("Usual-Signed", -5, -5),
    ("Usual-Ether", octets("00005e005301"), "00:00:5e:00:53:01"),
    ("IPv6-6rd-IPv4MaskLen", 8, 8),
    ("Usual-Leaf", 8, 8),
]  # fmt: skip


@pytest.mark.parametrize(("name", "ours", "other"), SAME, ids=[name for name, _, _ in SAME])
def test_pyrad_encodes_the_same(dictionary: Dictionary, theirs: pyrad_dictionary.Dictionary, name: str, ours: object, other: object) -> None:
    reply = pyrad_reply(theirs)
    reply.AddAttribute(name, other)
    assert encode(dictionary, [(name, ours)]) == reply._PktEncodeAttributes()  # type: ignore[list-item]


def test_pyrad_reads_what_we_hide(dictionary: Dictionary, theirs: pyrad_dictionary.Dictionary) -> None:
    hidden: list[Avp] = [("Tunnel-Password:1", "tunnel"), ("MS-MPPE-Send-Key", bytes(range(32))), ("MS-MPPE-Recv-Key", bytes(range(32, 64)))]
    wire = encode(dictionary, hidden, SECRET, AUTHENTICATOR, iter(SALTS))
    reply = pyrad_reply(theirs)
    reply.DecodePacket(bytes((2, 1)) + (20 + len(wire)).to_bytes(2, "big") + bytes(16) + wire)
    assert reply["Tunnel-Password:1"] == ["tunnel"]
    assert reply["MS-MPPE-Send-Key"] == [bytes(range(32))]
    assert reply["MS-MPPE-Recv-Key"] == [bytes(range(32, 64))]


@pytest.mark.parametrize("value", ["", "x", "x" * 15, "x" * 16, "x" * 200])
def test_we_read_what_pyrad_hides(dictionary: Dictionary, theirs: pyrad_dictionary.Dictionary, value: str) -> None:
    reply = pyrad_reply(theirs)
    reply.AddAttribute("Tunnel-Password:1", value)
    assert avps(decode(dictionary, reply._PktEncodeAttributes(), SECRET, AUTHENTICATOR)) == [("Tunnel-Password:1", value)]


# radclient, which knows what pyrad does not. (It refuses TLVs of the standard space, as RFC 6930 has them.)

RADCLIENT: list[tuple[str, str]] = [
    ("User-Name", "bob"),
    ("Tunnel-Type:1", "VLAN"),
    ("Tunnel-Private-Group-Id:1", "100"),
    ("Framed-IPv6-Prefix", "2001:db8::/64"),
    ("Framed-Interface-Id", "211:22ff:fe00:44"),
    ("PMIP6-Home-IPv4-HoA", "10.0.0.0/8"),
    ("Operator-NAS-Identifier", "0x6e617331"),
    ("IP-Port-Range-Type", "1"),
    ("IP-Port-Range-Alloc", "Allocation"),
    ("Short-Number", "5"),
    ("Two-One-Text", "gold"),
    ("Two-Two-Text", "gold"),
    ("Four-Zero-Number", "1234"),
    ("One-Zero-Text", "gold"),
    ("Continued-Octets", "0x" + "ab" * 300),
    ("Continued-Text", "a"),
    ("Continued-Number", "3"),
    ("Continued-Deep", "2001:db8::/32"),
    ("Usual-Tagged:3", "gold"),
    ("Usual-Address", "192.0.2.1"),
    ("Usual-Signed", "-5"),
    ("Usual-Ether", "00:00:5e:00:53:01"),
    ("Usual-Short-Extended", "gold"),
    ("Usual-Short-Leaf", "3"),
    ("Usual-Short-Leaf", "4"),
    ("Usual-Long-Extended", "gold" * 70),
    ("Long-Text", "gold" * 70),
    ("Long-Leaf", "0x61"),
    ("Long-Leaf", "0x62"),
]


def test_radclient_encodes_the_same(require_peer: Callable[[str], str], tmp_path: Path) -> None:
    radclient = require_peer("radclient")
    odd = Path(__file__).with_name("odd.dictionary").read_text("utf-8")
    (tmp_path / "odd").write_text("\n".join(line for line in odd.splitlines() if " bool" not in line))
    (tmp_path / "dictionary").write_text(f"$INCLUDE /usr/share/freeradius/dictionary\n$INCLUDE {tmp_path}/odd\n")
    standard = sorted(Path("/usr/share/freeradius").glob("dictionary.rfc*"))
    dictionary = parse([*((path.name, path.read_text("utf-8", "replace")) for path in standard), ("odd", odd)])
    listed = [(name, from_text(dictionary.attribute(name.partition(":")[0]), text)) for name, text in RADCLIENT]
    lines = "".join(f"{name} = {text}\n" for name, text in RADCLIENT)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        target = f"127.0.0.1:{receiver.getsockname()[1]}"
        command = [radclient, "-D", str(tmp_path), "-r", "1", "-t", "0.2", target, "acct", "secret"]
        subprocess.run(command, input=lines.encode(), stdout=subprocess.DEVNULL, timeout=20, check=False)  # nobody answers
        data = receiver.recv(4096)
    assert avps(decode(dictionary, data[20:])) == listed
    assert encode(dictionary, listed) == data[20:]


# Whatever decodes encodes to the same octets.


def attribute(code: int, body: bytes) -> bytes:
    return bytes((code, len(body) + 2)) + body


SHORT = st.sampled_from([b"", b"\0", b"\1", b"\x1f", b"\x20", bytes(4), bytes(16), b"\0\x40" + bytes(8), b"\0\x20 \1\r\xb8"]) | st.binary(max_size=20)
CODES = st.sampled_from([1, 2, 6, 8, 26, 64, 69, 79, 81, 97, 123, 155, 173, 255]) | st.integers(0, 255)
TLVS = st.recursive(SHORT, lambda inner: st.lists(st.builds(attribute, st.integers(0, 12), inner), max_size=4).map(b"".join), max_leaves=6).map(
    lambda body: body[:240]
)
FLAGS = st.sampled_from([b"\0", b"\0", b"\x80", b"\x80", b"\x81"])


@st.composite
def vendor_bodies(draw: st.DrawFn) -> bytes:
    vendor = draw(st.sampled_from([*range(64001, 64007), 64005, 64005, 311, 2352, 4874, 14988, 77777, 0]))
    types, lengths = {64001: (2, 1), 64002: (2, 2), 64003: (4, 0), 64004: (1, 0)}.get(vendor, (1, 1))
    out = vendor.to_bytes(4, "big")
    for _ in range(draw(st.integers(0, 3))):
        value = draw(TLVS)
        if vendor == 64005:
            value = draw(FLAGS) + value
        code = draw(st.sampled_from([1, 2, 3, 5, 65, 0x0702, 258, 0xBFBE12])) % 256**types
        length = types + lengths + len(value)
        out += code.to_bytes(types, "big") + (min(length, 255).to_bytes(lengths, "big") if lengths else b"") + value
    return bytes(out[:253])


@st.composite
def extended_bodies(draw: st.DrawFn, long: bool) -> bytes:
    kind = draw(st.sampled_from([1, 5, 6, 7, 8, 26, 200, 201]))
    vendor = (
        draw(st.sampled_from([b"", (64006).to_bytes(4, "big") + b"\1", (64006).to_bytes(4, "big") + b"\2", (9).to_bytes(4, "big") + b"\1"]))
        if kind == 26
        else b""
    )
    return (bytes((kind,)) + (draw(FLAGS) if long else b"") + vendor + draw(TLVS))[:253]


ATTRIBUTES = (
    st.builds(attribute, CODES, SHORT)
    | st.builds(attribute, st.just(26), vendor_bodies())
    | st.builds(attribute, st.sampled_from([241, 242, 244]), extended_bodies(long=False))
    | st.builds(attribute, st.sampled_from([245, 246]), extended_bodies(long=True))
    | st.builds(attribute, st.just(79), st.sampled_from([b"", b"a", bytes(252), bytes(253)]))
)
BODIES = st.lists(st.tuples(ATTRIBUTES, st.integers(1, 3)).map(lambda pair: pair[0] * pair[1]), max_size=8).map(b"".join)


@settings(max_examples=400, deadline=None)
@given(BODIES)
@example(octets("1a 0e 0000fa05 01 04 00 61 01 04 00 62"))
@example(octets("4f 02 4f 02"))
@example(octets("1a 08 0000fa06 05 02"))
def test_what_decodes_encodes_to_the_same(dictionary: Dictionary, body: bytes) -> None:
    assert encode(dictionary, decode(dictionary, body)) == body


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=120) | st.binary(min_size=254, max_size=700))
def test_any_octets_decode_or_raise_wire_error(dictionary: Dictionary, data: bytes) -> None:
    try:
        found = decode(dictionary, data)
    except WireError:
        return
    assert encode(dictionary, found) == data


@settings(max_examples=150, deadline=None)
@given(BODIES, st.binary(min_size=1, max_size=4))
def test_any_octets_decode_with_a_secret(dictionary: Dictionary, body: bytes, secret: bytes) -> None:
    decode(dictionary, body, secret, AUTHENTICATOR)


VALUES = {
    "User-Name": st.text(st.characters(codec="utf-8"), max_size=60),
    "Class": st.binary(max_size=253),
    "Session-Timeout": st.integers(0, 2**32 - 1),
    "Framed-IP-Address": st.ip_addresses(v=4),
    "Framed-IPv6-Address": st.ip_addresses(v=6),
    "Delegated-IPv6-Prefix": st.tuples(st.ip_addresses(v=6), st.integers(0, 128)).map(lambda pair: IPv6Network(pair, strict=False)),
    "EAP-Message": st.binary(min_size=1, max_size=800),
    "Tunnel-Type:3": st.integers(0, 2**24 - 1),
    "Tunnel-Private-Group-Id:31": st.text(st.characters(codec="utf-8"), max_size=30),
    "Mikrotik-Rate-Limit": st.text(st.characters(codec="utf-8"), max_size=60),
    "Two-Two-Text": st.text(st.characters(codec="utf-8"), max_size=60),
    "Four-Zero-Number": st.integers(0, 2**32 - 1),
    "Continued-Octets": st.binary(max_size=800),
    "Continued-Number": st.integers(0, 2**16 - 1),
    "Continued-Deep": st.just(IPv6Network("2001:db8::/32")),
    "IP-Port-Limit": st.integers(0, 2**32 - 1),
    "Usual-Short-Leaf": st.integers(0, 2**16 - 1),
    "Usual-Addresses": st.ip_addresses(v=4),
    "Long-Text": st.text(st.characters(codec="utf-8"), max_size=300),
    "Long-Leaf": st.binary(max_size=253),
    "Usual-Long-Extended": st.text(st.characters(codec="utf-8"), max_size=300),
    "Attr-250": st.binary(max_size=253),
    "Vendor-77777-Attr-1": st.binary(max_size=247),
}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(sorted(VALUES)).flatmap(lambda name: VALUES[name].map(lambda value: (name, value))), max_size=12))
def test_what_is_encoded_decodes_to_itself(dictionary: Dictionary, listed: list[Avp]) -> None:
    joined = [pair for pair in itertools.pairwise(listed) if pair[0][0] == pair[1][0] == "EAP-Message"]
    found = decode(dictionary, encode(dictionary, listed))
    assert joined or avps(found) == listed
    assert not any(item.content or item.splits for item in found if not joined)
