"""MAC addresses in any notation, and circuit ids as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netd.model.line import circuit, circuit_typed, mac, mac_or_none


def notations(octets: bytes):
    plain = octets.hex()
    yield plain
    yield from (octets.hex(separator) for separator in ":-")
    yield from (separator.join(plain[at : at + 4] for at in (0, 4, 8)) for separator in ".-:")
    yield f"{plain[:6]}-{plain[6:]}"
    yield "1:" + ":".join(f"{octet:x}" for octet in octets)  # RouterOS's DHCP client id


@given(st.binary(min_size=6, max_size=6))
def test_every_notation_is_the_same_address(octets: bytes) -> None:
    for text in notations(octets):
        assert mac_or_none(text) == mac_or_none(text.upper()) == mac_or_none(f" {text}\n") == octets.hex(":"), text


@given(st.text(max_size=20))
def test_whatever_is_read_is_an_address(text: str) -> None:
    found = mac_or_none(text)
    assert found is None or mac_or_none(found) == found


@pytest.mark.parametrize(
    "text", ["", "alice", "00:11:22:33:44", "00:11:22:33:44:55:66", "00-11:22-33-44-55", "0011223344556", "00.11.22.33.44.55", "1:2:3:4:5"]
)
def test_what_is_none(text: str) -> None:
    assert mac_or_none(text) is None
    with pytest.raises(ValueError, match="not a MAC"):
        mac(text)


@pytest.mark.parametrize("text", ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"])
def test_what_no_device_has(text: str) -> None:
    with pytest.raises(ValueError, match="single device"):
        mac(text)


@given(st.binary(min_size=1, max_size=253), st.binary(min_size=1, max_size=253))
def test_two_ids_are_one_text_only_if_they_are_one(one: bytes, other: bytes) -> None:
    assert (circuit(one) == circuit(other)) == (one == other)
    assert circuit_typed(circuit(one)) == circuit(one)
    assert circuit_typed("0X" + one.hex().upper()) == circuit(one)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"olt1 eth 0/1/3:100.7", "olt1 eth 0/1/3:100.7"),
        (bytes.fromhex("000400640001"), "0x000400640001"),
        (b"0x41", "0x30783431"),
        (b" a", "0x2061"),
    ],
)
def test_circuit_ids(octets: bytes, text: str) -> None:
    assert circuit(octets) == text


@pytest.mark.parametrize("text", ["", "  ", "0x", "0xa", "0xzz", "ä", "a\nb", "a" * 254])
def test_what_is_no_circuit_id(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        circuit_typed(text)
