"""radcheck rows against requests: FreeRADIUS's operators over every kind of value."""

import warnings
from ipaddress import IPv4Address, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netd.radius.checks import OPERATORS, compile_checks
from netd.wire.attributes import Decoded, decode, encode
from netd.wire.dictionary import parse

TEXT = """
ATTRIBUTE User-Name             1  string
ATTRIBUTE User-Password         2  string encrypt=1
ATTRIBUTE NAS-IP-Address        4  ipaddr
ATTRIBUTE NAS-Port              5  integer
ATTRIBUTE Service-Type          6  integer
ATTRIBUTE Class                 25 octets
ATTRIBUTE Called-Station-Id     30 string
ATTRIBUTE Calling-Station-Id    31 string
ATTRIBUTE Event-Timestamp       55 date
ATTRIBUTE Tunnel-Type           64 integer has_tag
ATTRIBUTE Tunnel-Password       69 string has_tag,encrypt=2
ATTRIBUTE NAS-IPv6-Address      95 ipv6addr
ATTRIBUTE Framed-IPv6-Prefix    97 ipv6prefix
VALUE Service-Type Login-User 1
VALUE Service-Type Framed-User 2
VALUE Tunnel-Type L2TP 3
VALUE Tunnel-Type VLAN 13
"""
DICTIONARY = parse([("test", TEXT)])

REQUEST = decode(
    DICTIONARY,
    encode(
        DICTIONARY,
        [
            ("User-Name", "bob"),
            ("NAS-IP-Address", IPv4Address("10.1.2.3")),
            ("NAS-Port", 7),
            ("Service-Type", 2),
            ("Class", b"\x01\xff"),
            ("Class", b"\x02"),
            ("Calling-Station-Id", "00-11-22-33-44-55"),
            ("Event-Timestamp", 1767225600),
            ("Tunnel-Type:1", 3),
            ("Tunnel-Type:2", 13),
            ("Framed-IPv6-Prefix", IPv6Network("2001:db8:1::/48")),
        ],
    ),
)


def failed(*rows):
    return compile_checks(DICTIONARY, rows).failed(REQUEST)


def rows(text):
    """Attribute, operator and value of each line that is no comment."""
    found = []
    for line in text.strip().splitlines():
        if not line.startswith("#"):
            name, op, *value = line.split(" ", 2)
            found.append((name, op, "".join(value)))
    return found


HOLD = rows(r"""
# strings
User-Name == bob
user-name == bob
User-Name != Bob
User-Name > alice
User-Name <= bob
Calling-Station-Id == 00-11-22-33-44-55
# numbers, by number and by name
NAS-Port == 7
NAS-Port < 10
NAS-Port <= 7
NAS-Port >= 7
NAS-Port > 6
NAS-Port != 8
Service-Type == Framed-User
Service-Type == 2
Service-Type != Login-User
# octets: any of several values
Class == 0x02
Class == 0x01ff
Class != 0x02
# dates
Event-Timestamp >= 2026-01-01T00:00:00Z
Event-Timestamp < 2026-01-02T00:00:00Z
# addresses and networks
NAS-IP-Address == 10.1.2.3
NAS-IP-Address > 9.255.255.255
NAS-IP-Address <= 10.0.0.0/8
NAS-IP-Address < 10.1.2.0/24
NAS-IP-Address >= 10.1.2.3/32
NAS-IP-Address == 10.1.2.3/32
NAS-IP-Address != 10.0.0.0/8
Framed-IPv6-Prefix == 2001:db8:1::/48
Framed-IPv6-Prefix < 2001:db8::/32
Framed-IPv6-Prefix > 2001:db8:1:2::/64
# patterns search, in what is shown
Calling-Station-Id =~ 22-33
Calling-Station-Id =~ (?i)^00-11
User-Name =~ ^b.b$
Service-Type =~ ^Framed
NAS-Port =~ ^7$
NAS-IP-Address =~ ^10\.1\.
Class =~ ^0x01
Class !~ ^0x01
User-Name !~ BOB
# presence
NAS-Port =* anything
Called-Station-Id !* anything
NAS-IPv6-Address !*
# tags
Tunnel-Type:1 == L2TP
Tunnel-Type:2 == VLAN
Tunnel-Type == VLAN
Tunnel-Type:3 !*
# by codes
Attr-31 == 00-11-22-33-44-55
Attr-99 !*
""")

FAIL = rows(r"""
User-Name == Bob
User-Name != bob
User-Name < bob
User-Name > bob
Calling-Station-Id == 00:11:22:33:44:55
NAS-Port < 7
NAS-Port > 7
NAS-Port >= 8
NAS-Port <= 6
Service-Type == Login-User
Class == 0x03
NAS-IP-Address <= 192.168.0.0/16
NAS-IP-Address < 10.1.2.3/32
NAS-IP-Address >= 10.0.0.0/8
NAS-IP-Address == 10.0.0.0/8
Framed-IPv6-Prefix < 2001:db8:1::/48
Framed-IPv6-Prefix <= 2001:db9::/32
User-Name =~ ^BOB
User-Name !~ b
NAS-Port =~ 8
NAS-Port !*
Called-Station-Id =*
Tunnel-Type:1 == VLAN
Tunnel-Type:3 =*
# absent attributes fulfil !* only
Called-Station-Id == x
Called-Station-Id != x
Called-Station-Id < x
Called-Station-Id <= x
Called-Station-Id > x
Called-Station-Id >= x
Called-Station-Id =~
Called-Station-Id !~ x
NAS-IPv6-Address <= 2001:db8::/32
""")


@pytest.mark.parametrize("row", HOLD, ids=" ".join)
def test_rows_that_hold(row):
    assert failed(row) is None


@pytest.mark.parametrize("row", FAIL, ids=" ".join)
def test_rows_that_fail(row):
    assert failed(row) is not None


def test_every_operator_is_tried_both_ways():
    assert {op for _, op, _ in HOLD} == {op for _, op, _ in FAIL} == OPERATORS


def test_blanks_count():
    assert failed(("User-Name", "==", "bob ")) is not None


def test_numbers_are_not_compared_as_text():
    assert failed(("NAS-Port", "<", "10")) is None  # "7" > "10"


def test_the_first_failing_row_is_told_with_what_there_is():
    text = failed(("NAS-Port", "==", "7"), ("Calling-Station-Id", "==", "66"), ("NAS-Port", "==", "8"))
    assert text == "Calling-Station-Id == '66': the request has '00-11-22-33-44-55'"
    assert failed(("Called-Station-Id", "=*", "")) == "Called-Station-Id =*: the request has none"
    assert failed(("Tunnel-Type:2", "==", "L2TP")) == "Tunnel-Type:2 == 'L2TP': the request has 'VLAN'"
    assert failed(("Class", "==", "0x03")) == "Class == '0x03': the request has '0x01ff', '0x02'"


def test_many_values_are_not_all_shown():
    checks = compile_checks(DICTIONARY, [("Class", "==", "0x03")])
    assert str(checks.failed([Decoded("Class", b"\x05")] * 6)).endswith("'0x05', '0x05', '0x05', '0x05' and 2 more")


def test_no_rows():
    assert failed() is None and not compile_checks(DICTIONARY, [])


def test_strings_that_are_not_utf_8():
    checks = compile_checks(DICTIONARY, [("User-Name", "=~", "^x.$"), ("User-Name", "==", "x")])
    text = checks.failed([Decoded("User-Name", b"x\xff")])
    assert text == r"User-Name == 'x': the request has 'x\\377'"


def test_a_malformed_value_fulfils_nothing():
    """Three octets for an address: the decoder names them by number."""
    request = decode(DICTIONARY, b"\x04\x05\x0a\x01\x02")
    for op in ("==", "!=", "<=", "=*"):
        assert compile_checks(DICTIONARY, [("NAS-IP-Address", op, "10.0.0.0")]).failed(request) is not None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("Nonsense", "==", "x"), "Nonsense: unknown attribute"),
        (("NAS-Port", "==", "seven"), "NAS-Port: "),
        (("NAS-IP-Address", "==", "10.0.0"), "NAS-IP-Address: "),
        (("NAS-IP-Address", "<=", "10.0.0.1/8"), "NAS-IP-Address: "),
        (("NAS-IP-Address", "<=", "2001:db8::/32"), "NAS-IP-Address: .* other address family"),
        (("Framed-IPv6-Prefix", "<=", "10.0.0.0/8"), "Framed-IPv6-Prefix: .* other address family"),
        (("User-Name", ":=", "x"), "User-Name: := does not compare"),
        (("User-Name", "", "x"), "User-Name: .* does not compare"),
        (("User-Name", "=~", "("), "User-Name: .* not a regular expression"),
        (("User-Name", "!~", "(a+)+$"), "User-Name: .* repeated group"),
        (("User-Password", "==", "hunter2"), "User-Password: is a secret"),
        (("Tunnel-Password", "=~", "hunter2"), "Tunnel-Password: is a secret"),
        (("User-Name", "==", "%{Class}"), "User-Name: .* not expanded"),
        (("User-Name:1", "==", "x"), "User-Name:1: takes no such tag"),
        (("Tunnel-Type:x", "==", "VLAN"), "Tunnel-Type:x: takes no such tag"),
        (("Tunnel-Type:32", "==", "VLAN"), "Tunnel-Type:32: takes no such tag"),
        (("Tunnel-Type:", "==", "VLAN"), "Tunnel-Type:: takes no such tag"),
        (("", "==", "x"), "unknown attribute"),
    ],
)
def test_bad_rows_name_the_attribute(row, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        compile_checks(DICTIONARY, [("NAS-Port", "==", "7"), row])
    assert "hunter2" not in str(caught.value)


names = st.sampled_from([attribute.name for attribute in DICTIONARY] + ["Tunnel-Type:1", "Attr-99", "x"])
values = st.one_of(st.text(max_size=30), st.integers(-5, 300).map(str), st.sampled_from(["10.0.0.0/8", "::/0", "0x00", "VLAN", "a+"]))


@given(row=st.tuples(names, st.sampled_from([*sorted(OPERATORS), ":="]), values), body=st.binary(max_size=60))
@settings(deadline=None, max_examples=300)
def test_any_row_against_any_request(row, body):
    """A row is refused with ValueError, or decides; no request makes it raise."""
    attributes = b""
    while len(body) > 1:  # a packet's worth of attributes
        length = body[1] % 20
        attributes += bytes((body[0], length + 2)) + body[2 : 2 + length].ljust(length, b"\0")
        body = body[2 + length :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            checks = compile_checks(DICTIONARY, [row])
        except ValueError:
            return
    for request in (REQUEST, decode(DICTIONARY, attributes)):
        text = checks.failed(request)
        assert text is None or text.startswith(row[0])
