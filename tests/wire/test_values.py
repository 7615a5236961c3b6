"""Values and their text: FreeRADIUS's forms, and back."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netd.wire.attributes import Value, from_text, to_text
from netd.wire.dictionary import Attribute, Dictionary


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("User-Name", "alice@example.net", "alice@example.net"),
        ("User-Name", "zoë", "zoë"),
        ("User-Name", "a\tb\r\n\\\x01", "a\\tb\\r\\n\\\\\\001"),
        ("User-Name", b"caf\xe9", "caf\\351"),
        ("User-Name", "", ""),
        ("Class", b"gold", "0x676f6c64"),
        ("Class", b"", "0x"),
        ("Service-Type", 2, "Framed-User"),
        ("Service-Type", 200, "200"),
        ("Acct-Status-Type", 3, "Interim-Update"),
        ("Tunnel-Medium-Type", 1, "IPv4"),
        ("Session-Timeout", 86400, "86400"),
        ("Acct-Input-Octets-64", 2**64 - 1, "18446744073709551615"),
        ("Usual-Signed", -5, "-5"),
        ("3GPP-RAT-Type", 6, "EUTRAN"),
        ("PKM-SAID", 65535, "65535"),
        ("Usual-Bool", 1, "yes"),
        ("Usual-Bool", 0, "no"),
        ("Event-Timestamp", 0, "Jan  1 1970 00:00:00 UTC"),
        ("Event-Timestamp", 1767366245, "Jan  2 2026 15:04:05 UTC"),
        ("Event-Timestamp", 0xFFFFFFFF, "Feb  7 2106 06:28:15 UTC"),
        ("Framed-IP-Address", IPv4Address("192.0.2.7"), "192.0.2.7"),
        ("Framed-IPv6-Address", IPv6Address("2001:db8::7"), "2001:db8::7"),
        ("Delegated-IPv6-Prefix", IPv6Network("2001:db8::/56"), "2001:db8::/56"),
        ("PMIP6-Home-IPv4-HoA", IPv4Network("10.0.0.0/8"), "10.0.0.0/8"),
        ("Usual-Address", IPv4Address("192.0.2.7"), "192.0.2.7"),
        ("Usual-Address", IPv6Address("::1"), "::1"),
        ("Framed-Interface-Id", bytes.fromhex("0211 22ff fe00 0044"), "211:22ff:fe00:44"),
        ("Usual-Ether", bytes.fromhex("00005e005301"), "00:00:5e:00:53:01"),
        ("MS-CHAP-MPPE-Keys", bytes(24), "0x" + "00" * 24),
    ],
)
def test_text_there_and_back(dictionary: Dictionary, name: str, value: Value, text: str) -> None:
    attribute = dictionary.attribute(name)
    assert to_text(attribute, value) == text
    assert from_text(attribute, text) == value


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("Service-Type", "framed-user", 2),
        ("Service-Type", "0x0002", 2),
        ("Acct-Status-Type", "Alive", 3),
        ("Session-Timeout", " 60 ", 60),
        ("Class", "gold", b"gold"),
        ("Class", "0XfF", b"\xff"),
        ("User-Name", "EXAMPLE\\alice", "EXAMPLE\\alice"),
        ("User-Name", 'say \\"hi\\"', 'say "hi"'),
        ("Framed-IPv6-Prefix", "2001:db8::1", IPv6Network("2001:db8::1/128")),
        ("Event-Timestamp", "1767366245", 1767366245),
        ("Event-Timestamp", "2026-01-02T15:04:05Z", 1767366245),
        ("Event-Timestamp", "2026-01-02T16:04:05+01:00", 1767366245),
        ("Event-Timestamp", "2026-01-02", 1767312000),
        ("Event-Timestamp", "2 Jan 2026 15:04", 1767366240),
        ("Event-Timestamp", "Jan 2 2026", 1767312000),
        ("Usual-Ether", "0-0-5E-0-53-1", bytes.fromhex("00005e005301")),
        ("Usual-Bool", "TRUE", 1),
    ],
)
def test_other_forms_are_read(dictionary: Dictionary, name: str, text: str, value: Value) -> None:
    assert from_text(dictionary.attribute(name), text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Service-Type", "Framed"),
        ("Service-Type", "4294967296"),
        ("Service-Type", "-1"),
        ("Service-Type", "1_0"),
        ("Service-Type", "٣"),
        ("PKM-SAID", "65536"),
        ("Class", "0xabc"),
        ("Class", "0xzz"),
        ("Framed-IP-Address", "192.0.2"),
        ("Framed-IP-Address", "pool.example.net"),
        ("Framed-IPv6-Address", "fe80::1%eth0"),
        ("Framed-IPv6-Prefix", "2001:db8::1/64"),
        ("Framed-IPv6-Prefix", "2001:db8::/129"),
        ("Framed-Interface-Id", "1:2:3"),
        ("Usual-Ether", "00:00:5e:00:53"),
        ("Usual-Ether", "00:00-5e:00:53:01"),
        ("Usual-Bool", "maybe"),
        ("Event-Timestamp", "yesterday"),
        ("Event-Timestamp", "Foo  2 2026"),
        ("Event-Timestamp", "2200-01-01"),
        ("MS-CHAP-MPPE-Keys", "0x00"),
        ("User-Name", "\ud800"),
    ],
)
def test_bad_text_names_the_attribute(dictionary: Dictionary, name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        from_text(dictionary.attribute(name), text)


def test_what_could_not_be_decrypted_shows_as_hex(dictionary: Dictionary) -> None:
    assert to_text(dictionary.attribute("Usual-Hidden"), b"\x80\x01abc") == "0x8001616263"


def _attribute(kind: str) -> Attribute:
    return Attribute(name="X", path=(1,), oid=(1,), type=kind)


@settings(max_examples=200, deadline=None)
@given(st.text() | st.binary())
def test_every_string_survives_its_text(value: str | bytes) -> None:
    attribute = _attribute("string")
    text = to_text(attribute, value)
    assert text.isprintable() or not text.isascii()
    back = from_text(attribute, text)
    assert back == (value.decode() if isinstance(value, bytes) and isinstance(back, str) else value)


KINDS = [
    "byte",
    "short",
    "integer",
    "integer64",
    "signed",
    "date",
    "bool",
    "ipaddr",
    "ipv6addr",
    "ipv6prefix",
    "ipv4prefix",
    "ifid",
    "ether",
    "combo-ip",
    "octets",
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(KINDS), st.binary(max_size=20))
def test_what_octets_decode_to_survives_text_and_encoding(kind: str, octets: bytes) -> None:
    attribute = _attribute(kind)
    data_type = attribute.data_type
    try:
        value = data_type.decode(octets)
    except ValueError:
        return
    assert from_text(attribute, to_text(attribute, value)) == value
    encoded = data_type.encode(value)
    assert data_type.decode(encoded) == value
    assert encoded == octets or not data_type.exact


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*KINDS, "string"]), st.text(max_size=30))
def test_any_text_is_read_or_refused(kind: str, text: str) -> None:
    attribute = _attribute(kind)
    try:
        value = from_text(attribute, text)
    except ValueError as error:
        assert str(error).startswith("X: ")
    else:
        assert attribute.data_type.decode(attribute.data_type.encode(value)) == value
