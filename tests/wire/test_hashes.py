"""Passwords known by their hash; the expected digests are of hashlib, the NT hash is RFC 2759's example."""

import hashlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netd.wire.hashes import SCHEMES, make_hash, parse_hash


def test_the_nt_hash_of_the_rfc():
    found = parse_hash("{nt}44EBBA8D5312B8D611474411F56989AE")
    assert found.verify(b"clientPass")
    assert not found.verify(b"clientpass")
    assert not found.verify(b"\xff\xfe")
    assert "44" not in repr(found)


@given(st.sampled_from([scheme for scheme in SCHEMES if scheme != "nt"]), st.binary(max_size=40), st.binary(min_size=1, max_size=16))
def test_every_scheme_in_both_notations(scheme, password, salt):
    salt = salt if scheme.startswith(("ss", "sm")) else b""
    name = {"md5": "md5", "smd5": "md5", "sha": "sha1", "ssha": "sha1"}.get(scheme) or scheme.removeprefix("s")
    octets = hashlib.new(name if name.startswith(("md", "sh")) else f"s{name}", password + salt).digest() + salt
    for text in (octets.hex(), b64encode(octets).decode(), b64encode(octets).decode().rstrip("=")):
        found = parse_hash(f"{{{scheme}}}{text}")
        assert found.verify(password)
        assert not found.verify(password + b"x")
        assert parse_hash(str(found)) == found, "what is stored is read again"


@pytest.mark.parametrize("text", ["", "plain", "{md5}", "{md5}abcd", "{crypt}$1$x$y", "{nt}" + "0" * 34, "{ssha}" + "0" * 40, "{MD5}" + "0" * 32, "{md5}!!"])
def test_what_is_no_hash_says_so_without_a_digit_of_it(text):
    with pytest.raises(ValueError) as raised:
        parse_hash(text)
    assert "abcd" not in str(raised.value)


def test_a_digest_of_base64_that_looks_like_hex_but_is_too_short_for_it_is_base64():
    octets = bytes.fromhex("d34d34d34d34d34d34d34d34d34d34d3")
    assert make_hash("md5", b64encode(octets).decode()).digest == octets
