"""DHCP for IPv4: what is decoded is encoded again, what is malformed is refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netd.errors import WireError
from netd.wire import dhcp
from netd.wire.dhcp import Message

COOKIE = b"\x63\x82\x53\x63"


def packet(options: bytes, *, sname: bytes = b"", file: bytes = b"", op: int = 1, hlen: int = 6) -> bytes:
    head = bytes((op, 1, hlen, 0)) + bytes(24) + bytes(range(6)) + bytes(10)
    return head + sname.ljust(64, b"\0") + file.ljust(128, b"\0") + COOKIE + options


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "short"),
        (bytes(239), "short"),
        (bytes(240), "no_cookie"),
        (packet(b"\xff", op=3), "bad_op"),
        (packet(b"\xff", hlen=17), "bad_hardware_address"),
        (packet(b"\x35"), "bad_option"),
        (packet(b"\x35\x02\x01"), "bad_option"),
        (packet(b"\x35\x02\x01\x01\xff"), "bad_type"),
        (packet(b"\x34\x01\x04\xff"), "bad_overload"),
        (packet(b"\x34\x01\x01\xff", file=b"\x34\x01\x02\xff"), "bad_overload"),
        (packet(b"\x34\x01\x02\xff", sname=b"\x0c\x40"), "bad_option"),
    ],
)
def test_malformed_is_refused_by_name(data: bytes, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        dhcp.parse(data)
    assert caught.value.reason == reason


def test_options_are_read_from_file_and_sname_too() -> None:
    """RFC 2131 4.1 and RFC 3396: the options field first, then file, then sname; what is repeated is one."""
    found = dhcp.parse(packet(b"\x35\x01\x01\x34\x01\x03\x0c\x02ab\xff", file=b"\x0c\x01c\xff\x0c\x01x", sname=b"\x00\x0c\x01d\xff"))
    assert found.options == {53: b"\1", 12: b"abcd"}
    assert (found.file, found.sname) == (b"", b"")


def test_text_fields_stay_text() -> None:
    found = dhcp.parse(packet(b"\x35\x01\x01\xff", file=b"boot.cfg", sname=b"server"))
    assert (found.file, found.sname, found.type) == (b"boot.cfg", b"server", dhcp.DISCOVER)


def test_what_does_not_fit_goes_into_file_and_sname() -> None:
    options = {53: b"\2", 43: b"v" * 300, 67: b"u" * 100, 12: b"h" * 50, 82: b"\1\2ab"}
    message = Message(2, 7, bytes(6), options)
    data = dhcp.encode(message, 548)
    assert len(data) <= 548
    assert dhcp.parse(data).options == options
    assert data.rstrip(b"\0").endswith(b"\x52\x04\1\2ab\xff")  # the relay agent's information last, where relays look for it
    with pytest.raises(ValueError, match="do not fit"):
        dhcp.encode(Message(2, 7, bytes(6), {43: b"v" * 600}), 548)
    with pytest.raises(ValueError, match="do not fit"):
        dhcp.encode(Message(2, 7, bytes(6), {43: b"v" * 300, 67: b"u" * 100}, file=b"boot", sname=b"next"), 500)


def test_a_short_message_is_filled_up() -> None:
    assert len(dhcp.encode(Message(2, 7, bytes(6), {53: b"\2"}))) == 300


def test_relay_information_is_raw() -> None:
    assert dhcp.suboptions(b"\1\4\0\xff\0\1\2\0\x05\4\x0a\0\0\1") == [(1, b"\0\xff\0\1"), (2, b""), (5, b"\x0a\0\0\1")]
    for wrong in (b"\1", b"\1\2x", b"\1\1x\2"):
        with pytest.raises(WireError, match="bad_suboption"):
            dhcp.suboptions(wrong)


def test_vendor_identifying_options() -> None:
    """RFC 3925: several enterprises, several members."""
    members = [(9, b"\4SN:1\5PID:2"), (3561, b"\3abc")]
    data = dhcp.join_vendor_options(members)
    assert dhcp.vendor_classes(data) == [(9, b"SN:1PID:2"), (3561, b"abc")]
    assert dhcp.vendor_options(data) == members
    for wrong in (b"\0\0\0\x09", b"\0\0\0\x09\x05abcd"):
        with pytest.raises(WireError, match="bad_vendor"):
            dhcp.vendor_options(wrong)
    with pytest.raises(WireError, match="bad_vendor"):
        dhcp.vendor_classes(b"\0\0\0\x09\2\5x")


@pytest.mark.parametrize(("data", "classes"), [(b"\4iPXE", [b"iPXE"]), (b"iPXE", [b"iPXE"]), (b"\2ab\1c", [b"ab", b"c"]), (b"\0", [b"\0"]), (b"", [])])
def test_user_classes_are_a_list_or_bare_text(data: bytes, classes: list[bytes]) -> None:
    assert dhcp.user_classes(data) == classes


messages = st.builds(
    Message,
    st.sampled_from((1, 2)), st.integers(0, 2**32 - 1), st.binary(max_size=16),
    st.dictionaries(st.integers(1, 254).filter(lambda code: code not in (52, 53)), st.binary(max_size=600), max_size=8),
    htype=st.integers(0, 255), hops=st.integers(0, 255), secs=st.integers(0, 65535), flags=st.integers(0, 65535),
    ciaddr=st.integers(0, 2**32 - 1), yiaddr=st.integers(0, 2**32 - 1), siaddr=st.integers(0, 2**32 - 1), giaddr=st.integers(0, 2**32 - 1),
    sname=st.binary(max_size=64).map(lambda text: text.replace(b"\0", b"")), file=st.binary(max_size=128).map(lambda text: text.replace(b"\0", b"")),
)  # fmt: skip


@given(messages)
def test_what_is_encoded_is_decoded_as_it_was(message: Message) -> None:
    assert dhcp.parse(dhcp.encode(message)) == message


@given(st.binary(max_size=400))
def test_octets_raise_nothing_but_wire_errors(tail: bytes) -> None:
    for data in (tail, packet(tail), packet(b"\x34\1\3" + tail, file=tail[:128], sname=tail[:64])):
        try:
            found = dhcp.parse(data)
        except WireError:
            continue
        assert dhcp.parse(dhcp.encode(found)) == found
