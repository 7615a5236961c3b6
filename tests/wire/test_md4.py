"""MD4 against the test suite of RFC 1320 A.5."""

import pytest

from netd.wire.md4 import md4


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        ("", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        ("a", "bde52cb31de33e46245e05fbdbd6fb24"),
        ("abc", "a448017aaf21d8525fc10ae87aa6729d"),
        ("message digest", "d9130a8164549fe818874806e1c7014b"),
        ("abcdefghijklmnopqrstuvwxyz", "d79e1c308aa5bbcdeea8ed63df412da9"),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "043f8582f241db351ce627e153e7f0e4"),
        ("12345678901234567890123456789012345678901234567890123456789012345678901234567890", "e33b4ddc9c38f2199c3e7b164fcc0536"),
    ],
)
def test_rfc_1320_suite(text, digest):
    assert md4(text.encode()).hex() == digest


def test_padding_at_every_length_around_a_block():
    """55, 56 and 64 octets are where the padding needs another block; a fault there gives equal digests or an error."""
    assert len({md4(bytes(length)) for length in range(200)}) == 200
