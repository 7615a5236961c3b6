"""TFTP without sockets: what is agreed, what is sent, and what an answer or a silence means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netd.errors import WireError
from netd.wire import tftp
from netd.wire.tftp import Request, Sending, Step, encode_request, parse_request


def ack(number: int) -> bytes:
    return b"\0\4" + number.to_bytes(2, "big")


def request(**options: str) -> Request:
    return Request("token/boot.cfg", "octet", options)


def fetched(sending: Sending, body: bytes, lose=lambda at: False) -> bytes:
    """All that a client puts together that acknowledges as RFC 7440 says; ``lose`` says which datagrams are lost on the way."""
    got, expected, datagrams = b"", 1, 0
    step = sending.begin()
    for _ in range(100_000):
        if step is Step.DONE:
            return got
        assert step is not Step.GIVE_UP
        if step is Step.ACKNOWLEDGE:
            step = sending.received(ack(0))
            continue
        if step is Step.WAIT:
            step = sending.silent()
            continue
        for block in sending.blocks():
            low, high = sending.span(block)
            datagrams += 1
            if lose(datagrams):
                continue
            data = sending.datagram(block, body[low:high])
            if int.from_bytes(data[2:4], "big") == sending._wire(expected) and block == expected:
                got, expected = got + data[4:], expected + 1
        step = sending.received(ack(sending._wire(expected - 1)))
    raise AssertionError("it goes on for ever")


def test_request():
    wanted = Request("abc/boot.cfg", "octet", {"blksize": "1428", "windowsize": "16"})
    assert parse_request(encode_request(wanted)) == wanted
    assert parse_request(b"\0\1name\0NetASCII\0BLKSIZE\x0064\0") == Request("name", "netascii", {"blksize": "64"})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\0\2name\0octet\0", "write"),
        (b"\0\3\0\1", "not_a_request"),
        (b"\0\1", "bad_length"),
        (b"\0\1name\0octet", "not_terminated"),
        (b"\0\1name\0mail\0", "bad_mode"),
        (b"\0\1name\0octet\0blksize\0", "bad_request"),
        (b"\0\1na\x07me\0octet\0", "bad_text"),
        (b"\0\1name\0octet\0tsize\x000\0TSIZE\x000\0", "repeated_option"),
        (b"\0\1" + bytes(2000), "bad_length"),
    ],
)
def test_malformed_requests(data, reason):
    with pytest.raises(WireError) as raised:
        parse_request(data)
    assert raised.value.reason == reason


def test_options_are_agreed_within_bounds():
    sending = Sending(request(blksize="9000", timeout="3", tsize="0", windowsize="500", multicast=""), 5000, most_block=1428)
    assert sending.begin() is Step.ACKNOWLEDGE
    assert sending.acknowledgement() == b"\0\6blksize\x001428\0timeout\x003\0tsize\x005000\0windowsize\x0064\0"
    assert (sending.block_octets, sending.window, sending.timeout_seconds) == (1428, 64, 3.0)


@pytest.mark.parametrize("options", [{"blksize": "7"}, {"blksize": "x"}, {"timeout": "0"}, {"windowsize": "0"}, {"windowsize": "-1"}, {}])
def test_what_is_not_agreed_is_not_acknowledged(options):
    sending = Sending(request(**options), 10)
    assert sending.begin() is Step.SEND
    assert (sending.agreed, sending.block_octets, sending.window) == ({}, 512, 1)


@pytest.mark.parametrize("octets", [0, 1, 511, 512, 513, 1024, 100_000])
@pytest.mark.parametrize("window", ["1", "16"])
def test_sizes(octets, window):
    body = bytes(range(256)) * (octets // 256 + 1)
    assert fetched(Sending(request(windowsize=window), octets), body[:octets]) == body[:octets]


@pytest.mark.parametrize(("rolls_to", "last"), [(0, 70_001 - 65_536), (1, 70_001 - 65_535)])
def test_block_numbers_roll_over(rolls_to, last):
    sending = Sending(request(blksize="8", windowsize="64"), 8 * 70_000, rolls_to=rolls_to)
    body = bytes(8 * 70_000)
    assert fetched(sending, body) == body
    assert sending.last == 70_001
    assert sending.datagram(sending.last, b"")[2:4] == last.to_bytes(2, "big")


@given(st.integers(0, 4000), st.sampled_from(["1", "4", "16", "64"]), st.sets(st.integers(1, 300), max_size=60))
def test_losses(octets, window, lost):
    body = bytes(index % 251 for index in range(octets))
    assert fetched(Sending(request(blksize="64", windowsize=window), octets), body, lambda at: at in lost) == body


def test_a_repeated_acknowledgement_does_not_double_what_is_sent():
    sending = Sending(request(), 5000)
    sending.begin()
    assert sending.received(ack(1)) is Step.SEND
    assert sending.received(ack(1)) is Step.WAIT  # the Sorcerer's Apprentice would send block 2 again, and be acknowledged twice for ever
    assert sending.silent() is Step.SEND


def test_a_window_whose_first_block_is_lost_goes_out_once_more():
    sending = Sending(request(windowsize="4"), 50_000)
    sending.begin()
    sending.received(ack(0))
    assert sending.received(ack(4)) is Step.SEND
    assert sending.received(ack(4)) is Step.SEND
    assert sending.received(ack(4)) is Step.WAIT
    assert list(sending.blocks()) == [5, 6, 7, 8]


def test_a_part_of_a_window_is_gone_on_from():
    sending = Sending(request(windowsize="4"), 50_000)
    sending.begin()
    sending.received(ack(0))
    assert sending.received(ack(2)) is Step.SEND
    assert list(sending.blocks()) == [3, 4, 5, 6]


def test_a_client_that_is_gone_is_given_up():
    sending = Sending(request(), 5000)
    sending.begin()
    assert [sending.silent() for _ in range(tftp.SENT_AT_MOST)] == [Step.SEND] * (tftp.SENT_AT_MOST - 1) + [Step.GIVE_UP]
    assert Sending(request(tsize="0"), 5000).received(b"\0\5\0\x08no\0") is Step.GIVE_UP


@pytest.mark.parametrize("data", [b"", b"\0\4\0", b"\0\4\0\1x", b"\0\3\0\1", b"\0\1ab\0octet\0"])
def test_strange_datagrams_end_nothing(data):
    sending = Sending(request(), 5000)
    sending.begin()
    with pytest.raises(WireError):
        sending.received(data)
    assert sending.received(ack(1)) is Step.SEND


@given(st.binary(max_size=60))
def test_arbitrary_octets(data):
    for call in (parse_request, Sending(request(windowsize="4"), 3000).received):
        try:
            call(data)
        except WireError as error:
            assert error.reason


def test_netascii():
    assert tftp.netascii(b"a\nb\r\nc\rd") == b"a\r\nb\r\nc\r\0d"


def test_patience_grows_with_each_sending() -> None:
    sending = Sending(Request("x", "octet", {}), 100)
    sending.begin()
    waited = [sending.timeout_seconds]
    while sending.silent() is not Step.GIVE_UP:
        waited.append(sending.timeout_seconds)
    assert waited == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    agreed = Sending(Request("x", "octet", {"timeout": "3"}), 100)
    agreed.begin()
    agreed.silent()
    assert agreed.timeout_seconds == 3.0
