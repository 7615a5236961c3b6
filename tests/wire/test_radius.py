"""Packets: the printed packets of the RFCs, forged and malformed ones, and every octet string there is."""

import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netd.errors import WireError
from netd.wire import radius
from netd.wire.radius import SharedSecret

SECRET = SharedSecret(b"xyzzy5461")


def octets(text: str) -> bytes:
    return bytes.fromhex(text)


# RFC 2865 7.1 to 7.3, RFC 5997 6.1 to 6.3 with their two misprints mended: (request, answer)
PAIRS = {
    "2865 7.1 nemo": (
        "01 00 00 38 0f 40 3f 94 73 97 80 57 bd 83 d5 cb 98 f4 22 7a 01 06 6e 65 6d 6f 02 12 0d be 70 8d 93 d4 13 ce 31 96 e4 3f 78 2a 0a ee"
        " 04 06 c0 a8 01 10 05 06 00 00 00 03",
        "02 00 00 26 86 fe 22 0e 76 24 ba 2a 10 05 f6 bf 9b 55 e0 b2 06 06 00 00 00 01 0f 06 00 00 00 00 0e 06 c0 a8 01 03",
    ),
    "2865 7.2 flopsy": (
        "01 01 00 47 2a ee 86 f0 8d 0d 55 96 9c a5 97 8e 0d 33 67 a2 01 08 66 6c 6f 70 73 79 03 13 16 e9 75 57 c3 16 18 58 95 f2 93 ff 63 44 07 72 75"
        " 04 06 c0 a8 01 10 05 06 00 00 00 14 06 06 00 00 00 02 07 06 00 00 00 01",
        "02 01 00 38 15 ef bc 7d ab 26 cf a3 dc 34 d9 c0 3c 86 01 a4 06 06 00 00 00 02 07 06 00 00 00 01 08 06 ff ff ff fe 0a 06 00 00 00 02"
        " 0d 06 00 00 00 01 0c 06 00 00 05 dc",
    ),
    "2865 7.3 mopsy": (
        "01 03 00 43 b1 22 55 6d 42 8a 13 d0 d6 25 38 07 c4 57 ec f0 01 07 6d 6f 70 73 79 02 12 69 2c 1f 20 5f c0 81 b9 19 b9 51 95 f5 61 a5 81"
        " 04 06 c0 a8 01 10 05 06 00 00 00 07 18 0a 33 32 37 36 39 34 33 30",
        "03 03 00 14 a4 2f 4f ca 45 91 6c 4e 09 c8 34 0f 9e 74 6a a0",
    ),
    "5997 6.1 authentication port": (
        "0c da 00 26 8a 54 f4 68 6f b3 94 c5 28 66 e3 02 18 5d 06 23 50 12 5a 66 5e 2e 1e 84 11 f3 e2 43 82 20 97 c8 4f a3",
        "02 da 00 14 ef 0d 55 2a 4b f2 d6 93 ec 2b 6f e8 b5 41 1d 66",
    ),
    "5997 6.2 accounting port": (
        "0c b3 00 26 92 5f 6b 66 dd 5f ed 57 1f cb 1d b7 ad 38 82 60 50 12 e8 d6 ea bd a9 10 87 5c d9 1f da de 26 36 78 58",
        "05 b3 00 14 0f 6f 92 14 5f 10 7e 2f 50 4e 86 0a 48 60 66 9c",
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_printed_packets_verify(name: str) -> None:
    question, answer = (radius.parse(octets(text)) for text in PAIRS[name])
    assert radius.response_authenticator_ok(answer, SECRET, question.authenticator)
    assert not radius.response_authenticator_ok(answer, SharedSecret(b"other"), question.authenticator)
    if question.code == radius.STATUS_SERVER:
        assert radius.message_authenticator_ok(question, SECRET)
        assert not radius.message_authenticator_ok(question, SharedSecret(b"other"))


@pytest.mark.parametrize("name", PAIRS)
def test_printed_answers_are_reproduced(name: str) -> None:
    question, answer = octets(PAIRS[name][0]), octets(PAIRS[name][1])
    assert radius.reply(answer[0], answer[1], question[4:20], answer[20:], SECRET, sign=False) == answer


def test_answers_begin_with_a_message_authenticator() -> None:
    question = radius.parse(octets(PAIRS["2865 7.1 nemo"][0]))
    answer = radius.parse(radius.reply(radius.ACCESS_ACCEPT, question.identifier, question.authenticator, b"\x06\x06\0\0\0\x02", SECRET))
    assert answer.data[20:22] == b"\x50\x12"
    assert radius.message_authenticator_ok(answer, SECRET, question.authenticator)
    assert radius.response_authenticator_ok(answer, SECRET, question.authenticator)
    assert not radius.message_authenticator_ok(answer, SECRET, bytes(16))


@pytest.mark.parametrize("code", [radius.ACCOUNTING_REQUEST, radius.DISCONNECT_REQUEST, radius.COA_REQUEST])
def test_computed_authenticators(code: int) -> None:
    data = radius.request(code, 7, b"\x01\x05bob", SECRET)
    packet = radius.parse(data)
    assert radius.request_authenticator_ok(packet, SECRET)
    assert radius.message_authenticator_ok(packet, SECRET)
    # independently, as RFC 5176 2.3 and 3.4 word it
    zeroed = data[:4] + bytes(16) + data[20:22] + bytes(16) + data[38:]
    assert data[22:38] == hmac.new(b"xyzzy5461", zeroed, "md5").digest()
    assert data[4:20] == hashlib.md5(data[:4] + bytes(16) + data[20:] + b"xyzzy5461").digest()
    for at in range(4, len(data)):
        broken = bytearray(data)
        broken[at] ^= 1
        try:
            damaged = radius.parse(bytes(broken))
        except WireError:
            continue
        assert not radius.request_authenticator_ok(damaged, SECRET)


def test_access_requests_need_a_random_authenticator_and_others_none() -> None:
    with pytest.raises(ValueError, match="needs an authenticator"):
        radius.request(radius.ACCESS_REQUEST, 1, b"", SECRET)
    with pytest.raises(ValueError, match="computes its"):
        radius.request(radius.ACCOUNTING_REQUEST, 1, b"", SECRET, bytes(16))


@given(key=st.binary(max_size=200), message=st.binary(max_size=300))
@settings(deadline=None, max_examples=200)
def test_hmac_is_rfc_2104(key: bytes, message: bytes) -> None:
    assert SharedSecret(key).hmac_md5(message) == hmac.new(key, message, "md5").digest()


def header(length: int, code: int = 1) -> bytes:
    return bytes((code, 9)) + length.to_bytes(2, "big") + bytes(16)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "packet_too_short"),
        (header(20)[:19], "packet_too_short"),
        (header(19), "length_mismatch"),
        (header(21), "length_mismatch"),
        (header(20, code=99), "unknown_code"),
        (header(21) + b"\x01", "attribute_length"),
        (header(22) + b"\x01\x01", "attribute_length"),
        (header(22) + b"\x01\x00", "attribute_length"),
        (header(23) + b"\x01\x04a", "attribute_length"),
        (header(22) + b"\x00\x02", "attribute_zero"),
        (header(37) + b"\x50\x11" + bytes(15), "message_authenticator_length"),
        (header(56) + (b"\x50\x12" + bytes(16)) * 2, "message_authenticator_length"),
        (header(20 + 201 * 2) + b"\x01\x02" * 201, "too_many_attributes"),
    ],
)
def test_malformed_packets_are_named(data: bytes, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        radius.parse(data)
    assert caught.value.reason == reason


def test_octets_after_the_length_are_padding() -> None:
    packet = radius.parse(header(25) + b"\x01\x05bob" + b"padding")
    assert packet.attributes == {1: b"bob"}
    assert packet.data == header(25) + b"\x01\x05bob"


def test_repeated_attributes_keep_their_order() -> None:
    packet = radius.parse(header(32) + b"\x21\x03a\x01\x03b\x21\x03c\x21\x03d")
    assert packet.values(33) == [b"a", b"c", b"d"]
    assert packet.values(1) == [b"b"]
    assert packet.values(2) == []


@given(st.binary(max_size=120) | st.binary(max_size=80).map(lambda body: header(20 + len(body)) + body))
@settings(deadline=None, max_examples=500)
def test_any_octets_parse_or_raise_wire_error(data: bytes) -> None:
    try:
        packet = radius.parse(data)
    except WireError:
        return
    assert packet.data[:20] + radius.join(radius.split(packet.data[20:])) == packet.data
    radius.message_authenticator_ok(packet, SECRET)
    radius.vendor_attributes(packet, 311)


@given(st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=253)), max_size=12))
@settings(deadline=None, max_examples=200)
def test_split_undoes_join(attributes: list[tuple[int, bytes]]) -> None:
    assert radius.split(radius.join(attributes)) == attributes


def test_an_answer_never_exceeds_the_largest_packet() -> None:
    with pytest.raises(ValueError, match="4096"):
        radius.reply(2, 1, bytes(16), bytes(4060), SECRET)


def test_a_secret_does_not_show() -> None:
    assert "xyzzy" not in repr(SECRET)
