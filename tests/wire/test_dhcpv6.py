"""DHCP for IPv6: what is decoded is encoded again, what is malformed is refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netd.errors import WireError
from netd.wire import dhcpv6
from netd.wire.dhcpv6 import Association, Leased, Message, Relay

HELLO = Message(dhcpv6.SOLICIT, 0xABCDEF, ((1, b"\0\3\0\1abcdef"), (6, b"\0\x3b\0\x11")))


def test_a_message_comes_out_of_its_relays_and_goes_back() -> None:
    """RFC 8415 19: the innermost message, and for each relay its addresses, hop count and Interface-Id."""
    sent = HELLO._replace(relays=(Relay(1, 0, 5, ((18, b"outer"), (37, b"\0\0\0\x09id"))), Relay(0, 1 << 120, 7, ((18, b"inner"), (79, b"\0\1abcdef")))))
    found = dhcpv6.parse(dhcpv6.encode(sent, dhcpv6.RELAY_FORWARD))
    assert found == sent
    answer = Message(dhcpv6.ADVERTISE, 0xABCDEF, (), dhcpv6.back(found.relays))
    data = dhcpv6.encode(answer)
    assert data[0] == dhcpv6.RELAY_REPLY
    assert dhcpv6.parse(data).relays == (Relay(1, 0, 5, ((18, b"outer"),)), Relay(0, 1 << 120, 7, ((18, b"inner"),)))


def wrapped(data: bytes, times: int, kind: int = 12) -> bytes:
    for _ in range(times):
        data = bytes((kind, 0)) + bytes(32) + dhcpv6.option(9, data)
    return data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "short"),
        (b"\1\0\0", "short"),
        (b"\x0c" + bytes(20), "short"),
        (b"\x00\0\0\0", "bad_type"),
        (b"\x0e\0\0\0", "bad_type"),
        (b"\1\0\0\0\0", "bad_option"),
        (b"\1\0\0\0\0\1\0\5abc", "bad_option"),
        (b"\x0c" + bytes(33), "no_message"),
        (wrapped(b"\1\0\0\0", 9), "too_deep"),
        (wrapped(wrapped(b"\1\0\0\0", 1, 13), 1, 12), "bad_type"),
        (b"\x0c" + bytes(33) + dhcpv6.option(9, b"\1\0\0\0") * 2, "bad_option"),
    ],
)
def test_malformed_is_refused_by_name(data: bytes, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        dhcpv6.parse(data)
    assert caught.value.reason == reason


def test_eight_relays_are_taken() -> None:
    assert len(dhcpv6.parse(wrapped(b"\1\0\0\0", 8)).relays) == 8


def test_associations_with_addresses_prefixes_and_status() -> None:
    address = Leased(0x20010DB8 << 96, 128, 10, 20, (dhcpv6.status(dhcpv6.SUCCESS, "fine"),))
    prefix = Leased(0x20010DB8 << 96, 56, 10, 20)
    assert dhcpv6.leased_address(dhcpv6.leased_option(address, False)[1]) == address
    assert dhcpv6.leased_prefix(dhcpv6.leased_option(prefix, True)[1]) == prefix
    whole = Association(1, 2, 3, (dhcpv6.leased_option(prefix, True),))
    assert dhcpv6.association(dhcpv6.association_octets(whole)) == whole
    assert dhcpv6.status_of(dhcpv6.status(dhcpv6.NO_BINDING, "gone")[1]) == (3, "gone")
    for read, wrong in (
        (dhcpv6.association, bytes(11)), (dhcpv6.leased_address, bytes(23)), (dhcpv6.leased_prefix, bytes(24)),
        (dhcpv6.leased_prefix, bytes(8) + b"\x81" + bytes(16)),
        (dhcpv6.status_of, b"\0"), (dhcpv6.texts, b"\0\5abc"), (dhcpv6.texts, b"\0"), (dhcpv6.vendor_class, b"\0\0"), (dhcpv6.vendor_options, b"\0\0"),
    ):  # fmt: skip
        with pytest.raises(WireError):
            read(wrong)
    with pytest.raises(WireError):
        dhcpv6.requested(HELLO._replace(options=((6, b"\0"),)))


def test_identifiers() -> None:
    assert dhcpv6.hardware_address(b"\0\1\0\1\0\0\0\1abcdef") == b"abcdef"
    assert dhcpv6.hardware_address(b"\0\3\0\1abcdef") == b"abcdef"
    assert dhcpv6.hardware_address(b"\0\4" + bytes(16)) == b""
    assert dhcpv6.enterprise_identifier(b"\0\2\0\0\x19\x7fNS123") == (6527, b"NS123")
    assert dhcpv6.enterprise_identifier(b"\0\2\0\0\x19\x7f") is None


options = st.lists(st.tuples(st.integers(0, 65535).filter(lambda code: code != 9), st.binary(max_size=40)), max_size=6).map(tuple)
relays = st.lists(st.builds(Relay, st.integers(0, 255), st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1), options), max_size=4).map(tuple)
messages = st.builds(Message, st.integers(1, 11), st.integers(0, 2**24 - 1), options, relays)


@given(messages)
def test_what_is_encoded_is_decoded_as_it_was(message: Message) -> None:
    assert dhcpv6.parse(dhcpv6.encode(message, dhcpv6.RELAY_FORWARD)) == message


@given(st.binary(max_size=200))
def test_octets_raise_nothing_but_wire_errors(data: bytes) -> None:
    for each in (data, b"\1" + data, b"\x0c" + bytes(33) + data):
        try:
            found = dhcpv6.parse(each)
        except WireError:
            continue
        assert dhcpv6.parse(dhcpv6.encode(found, dhcpv6.RELAY_FORWARD)) == found
