"""ICMP echo as octets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netd.wire.icmp import EchoReply, checksum, echo_reply, echo_request


def test_a_request_as_ping_sends_it():
    octets = echo_request(4, 0x1234, 7, b"abcdefgh")
    assert octets.hex() == "0800" + f"{checksum(bytes.fromhex('0800000012340007') + b'abcdefgh'):04x}" + "12340007" + b"abcdefgh".hex()
    assert checksum(octets) == 0  # RFC 1071: over the whole, checksum included
    assert echo_request(6, 1, 1, b"")[0] == 128
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D  # RFC 1071 section 3, complemented


@pytest.mark.parametrize(("version", "kind"), [(4, 0), (6, 129)])
def test_replies(version, kind):
    octets = bytes((kind, 0, 9, 9)) + bytes.fromhex("12340007") + b"token"
    assert echo_reply(version, octets) == EchoReply(0x1234, 7, b"token")
    for other in (bytes((8, 0)) + octets[2:], bytes((kind, 1)) + octets[2:], octets[:7], b""):
        assert echo_reply(version, other) is None


def test_behind_a_header():
    octets = bytes((0, 0, 0, 0, 0, 1, 0, 2)) + b"x"
    assert echo_reply(4, b"\x46" + bytes(23) + octets, header=True) == EchoReply(1, 2, b"x")  # 24 octets: with options
    for short in (b"", b"\x45" * 10, b"\x41" + bytes(40), b"\x4f" + bytes(20)):
        assert echo_reply(4, short, header=True) is None


@given(st.sampled_from((4, 6)), st.binary(max_size=80), st.booleans())
def test_any_octets(version, octets, header):
    assert echo_reply(version, octets, header=header) is None or isinstance(echo_reply(version, octets, header=header), EchoReply)
