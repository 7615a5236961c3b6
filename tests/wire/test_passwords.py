"""Passwords and keys: the RFCs' own vectors, what goes there and back, and that octets of any kind raise nothing but WireError."""

from contextlib import suppress
from hashlib import md5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netd.errors import WireError
from netd.wire import passwords as p
from netd.wire.md4 import md4

SECRET = b"xyzzy5461"
KEYED = md5(SECRET)
AUTHENTICATOR = bytes(range(16))
SALT = b"\x80\x01"

# RFC 2759 9.2
USER = b"User"
CHALLENGE_2 = bytes.fromhex("5B5D7C7D7B3F2F3E3C2C602132262628")
PEER_CHALLENGE = bytes.fromhex("21402324255E262A28295F2B3A337C7E")
NT_RESPONSE = bytes.fromhex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF")
RESPONSE_2 = b"\x07\x00" + PEER_CHALLENGE + bytes(8) + NT_RESPONSE

# MS-CHAPv1 of bob with password bob
CHALLENGE_1 = bytes.fromhex("b9634adc358b2ab3")
RESPONSE_1 = b"\x07\x01" + bytes(24) + bytes.fromhex("7a42408782f745ef90a86fd21b0d9294132750f4af66a419")

octets = st.binary(max_size=300)


def refused(reason, function, *arguments):
    with pytest.raises(WireError) as caught:
        function(*arguments)
    return caught.value.reason == reason


# PAP


@pytest.mark.parametrize(
    ("authenticator", "hidden", "password"),
    [
        ("0f403f9473978057bd83d5cb98f4227a", "0dbe708d93d413ce3196e43f782a0aee", b"arctangent"),  # RFC 2865 7.1
        ("f3a47a1f6a6d76710b947ab93041a039", "33657573778289b570885e15084825c5", b"challenge"),  # RFC 2865 7.3
        ("b122556d428a13d0d6253807c457ecf0", "692c1f205fc081b919b95195f561a581", b"99101462"),  # RFC 2865 7.3, second request
    ],
)
def test_pap_vectors(authenticator, hidden, password):
    assert p.pap_decrypt(bytes.fromhex(hidden), KEYED, bytes.fromhex(authenticator)) == password
    assert p.pap_encrypt(password, KEYED, bytes.fromhex(authenticator)) == bytes.fromhex(hidden)


@given(st.binary(max_size=128))
@settings(deadline=None, max_examples=200)
def test_pap_there_and_back(password):
    hidden = p.pap_encrypt(password, KEYED, AUTHENTICATOR)
    assert len(hidden) == max(16, -(-len(password) // 16) * 16)
    assert p.pap_decrypt(hidden, KEYED, AUTHENTICATOR) == password.rstrip(b"\0")


def test_pap_blocks_are_chained():
    """RFC 2865 5.2: the second block's mask hashes the first hidden block, computed here by hand."""
    hidden = p.pap_encrypt(b"a" * 32, KEYED, AUTHENTICATOR)
    mask = md5(SECRET + hidden[:16]).digest()
    assert bytes(a ^ b for a, b in zip(hidden[16:], mask, strict=True)) == b"a" * 16


def test_pap_leaves_the_prepared_hash_alone():
    before = KEYED.digest()
    p.pap_decrypt(bytes(16), KEYED, AUTHENTICATOR)
    p.pap_decrypt(bytes(48), KEYED, AUTHENTICATOR)
    assert KEYED.digest() == before


@pytest.mark.parametrize("length", [0, 1, 15, 17, 31, 127, 129, 144])
def test_pap_lengths(length):
    assert refused("user_password_length", p.pap_decrypt, bytes(length), KEYED, AUTHENTICATOR)


def test_pap_longest():
    assert p.pap_decrypt(p.pap_encrypt(b"x" * 128, KEYED, AUTHENTICATOR), KEYED, AUTHENTICATOR) == b"x" * 128
    assert refused("user_password_length", p.pap_encrypt, b"x" * 129, KEYED, AUTHENTICATOR)


# CHAP


def test_chap_vector():
    """RFC 2865 7.2: the request authenticator is the challenge."""
    response = bytes.fromhex("16e9755 7c316185895f293ff634407 7275".replace(" ", ""))
    challenge = bytes.fromhex("2aee86f08d0d55969ca5978e0d3367a2")
    assert p.chap_verify(response, challenge, b"arctangent")
    assert not p.chap_verify(response, challenge, b"arctangenT")
    assert not p.chap_verify(b"\x17" + response[1:], challenge, b"arctangent")
    assert not p.chap_verify(response, challenge[:-1] + b"\0", b"arctangent")


@pytest.mark.parametrize("length", [0, 16, 18])
def test_chap_lengths(length):
    assert refused("chap_password_length", p.chap_verify, bytes(length), AUTHENTICATOR, b"x")


# Salt encryption


@given(st.binary(max_size=239), st.binary(min_size=2, max_size=2))
@settings(deadline=None, max_examples=200)
def test_salted_there_and_back(plain, salt):
    salt = bytes((salt[0] | 0x80, salt[1]))
    hidden = p.salt_encrypt(plain, SECRET, AUTHENTICATOR, salt)
    assert hidden[:2] == salt and len(hidden) % 16 == 2
    assert p.salt_decrypt(hidden, SECRET, AUTHENTICATOR) == plain


def test_salted_first_mask():
    """RFC 2868 3.5: b(1) = MD5(secret + authenticator + salt), and the first octet hidden is the length."""
    hidden = p.salt_encrypt(b"key", SECRET, AUTHENTICATOR, SALT)
    mask = md5(SECRET + AUTHENTICATOR + SALT).digest()
    assert bytes(a ^ b for a, b in zip(hidden[2:], mask, strict=True)) == b"\x03key" + bytes(12)


def test_salted_is_not_revealed_by_another_secret():
    """What comes out is refused or is something else; which of them depends on the first octet."""
    hidden = p.salt_encrypt(b"0123456789abcdef", SECRET, AUTHENTICATOR, SALT)
    seen: set[bool | str] = set()
    for other in range(100):
        try:
            seen.add(p.salt_decrypt(hidden, b"%d" % other, AUTHENTICATOR) == b"0123456789abcdef")
        except WireError as error:
            seen.add(error.reason)
    assert seen <= {False, "salted_data_length"} and "salted_data_length" in seen


@pytest.mark.parametrize("salt", [b"", b"\x80", b"\x7f\xff", b"\x80\x00\x00"])
def test_salt_must_be_one(salt):
    assert refused("salt", p.salt_encrypt, b"key", SECRET, AUTHENTICATOR, salt)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 17, 19, 258])
def test_salted_lengths(length):
    assert refused("salted_length", p.salt_decrypt, bytes(length), SECRET, AUTHENTICATOR)


@pytest.mark.parametrize(("inner", "fits"), [(15, True), (16, False), (255, False)])
def test_salted_inner_length(inner, fits):
    """The length octet may not point beyond the blocks; salting is User-Password's chain over authenticator and salt."""
    hidden = SALT + p.pap_encrypt(bytes((inner,)) + b"x" * 15, KEYED, AUTHENTICATOR + SALT)
    if fits:
        assert p.salt_decrypt(hidden, SECRET, AUTHENTICATOR) == b"x" * 15
    else:
        assert refused("salted_data_length", p.salt_decrypt, hidden, SECRET, AUTHENTICATOR)


def test_salted_longest():
    assert refused("salted_length", p.salt_encrypt, bytes(240), SECRET, AUTHENTICATOR, SALT)


# Hashes and DES


def test_nt_hash():
    assert p.nt_hash("clientPass").hex() == "44ebba8d5312b8d611474411f56989ae"  # RFC 2759 9.2
    assert p.nt_hash("MyPw").hex() == "fc156af7edcd6c0edde3337d427f4eac"  # RFC 2433 B
    assert p.nt_hash("пароль€😀") == md4("пароль€😀".encode("utf-16-le"))


def test_lm_hash():
    """The values are smbencrypt's (Debian freeradius-utils)."""
    assert p.lm_hash("bob").hex() == "4318b176c3d8e3deaad3b435b51404ee"
    assert p.lm_hash("clientPass").hex() == "76a152936096d7830e2390227404afd2"
    assert p.lm_hash("BOB") == p.lm_hash("bob")
    assert p.lm_hash("fifteen letters") == p.lm_hash("größe") == bytes(16)


@pytest.mark.parametrize(
    ("key", "plain", "cipher"),
    [
        ("0101010101010101", "8000000000000000", "95f8a5e5dd31d900"),  # NBS SP 500-20: variable plaintext
        ("7ca110454a1a6e57", "01a1d6d039776742", "690f5b0d9a26939b"),  # the same: S-boxes
        ("0131d9619dc1376e", "5cd54ca83def57da", "7a389d10354bd271"),
        ("0123456789abcdef", "4e6f772069732074", "3fa40e8a984d4815"),  # FIPS 81: "Now is t"
    ],
)
def test_des_known_answers(key, plain, cipher):
    """The first 8 octets of a response are DES under the first 7 of the hash."""
    septets = "".join(f"{octet >> 1:07b}" for octet in bytes.fromhex(key))
    seven = int(septets, 2).to_bytes(7, "big")
    assert p.challenge_response(bytes.fromhex(plain), seven + bytes(9))[:8].hex() == cipher
    assert p.des_key(seven).hex() == key


def test_des_key_parity_is_odd():
    """RFC 2759 9.3: the expansion of the three parts of the hash, and oddness of every octet."""
    assert p.des_key(bytes.fromhex("FC156AF7EDCD6C")).hex() == "fd0b5b5e7f6e34d9"
    assert all(octet.bit_count() % 2 for octet in p.des_key(bytes(range(0, 70, 10))))


# MS-CHAPv1


def test_mschap1_vectors():
    nt = p.nt_hash("bob")
    assert p.mschap1_verify(RESPONSE_1, CHALLENGE_1, nt)
    assert p.mschap1_mppe_keys(nt, p.lm_hash("bob")).hex() == "4318b176c3d8e3de9a936faf344359a0f1e3c9b5585b9f1f"
    assert p.mschap1_mppe_keys(nt).hex() == "0000000000000000" + "9a936faf344359a0f1e3c9b5585b9f1f"
    # RFC 2433 B: password MyPw
    response = p.challenge_response(bytes.fromhex("102DB5DF085D3041"), p.nt_hash("MyPw"))
    assert response.hex() == "4e9d3c8f9cfd385d5bf4d3246791956ca4c351ab409a3d61"


def test_mschap1_keys_travel_as_a_user_password_does():
    keys = p.mschap1_mppe_keys(p.nt_hash("bob"), p.lm_hash("bob"))
    hidden = p.pap_encrypt(keys, KEYED, AUTHENTICATOR)
    assert len(hidden) == 32 and p.pap_decrypt(hidden, KEYED, AUTHENTICATOR) == keys


def test_mschap1_wrong():
    assert not p.mschap1_verify(RESPONSE_1, CHALLENGE_1, p.nt_hash("Bob"))
    assert not p.mschap1_verify(RESPONSE_1, bytes(8), p.nt_hash("bob"))


def test_mschap1_lm_only_is_never_right():
    lm_only = b"\x07\x00" + p.challenge_response(CHALLENGE_1, p.lm_hash("bob")) + RESPONSE_1[26:]
    assert not p.mschap1_verify(lm_only, CHALLENGE_1, p.nt_hash("bob"))


def test_mschap1_lengths():
    assert refused("mschap_response_length", p.mschap1_verify, RESPONSE_1[:-1], CHALLENGE_1, bytes(16))
    assert refused("mschap_challenge_length", p.mschap1_verify, RESPONSE_1, CHALLENGE_2, bytes(16))


# MS-CHAPv2


def test_mschap2_vectors():
    """RFC 2759 9.2 and, from the same hash and response, RFC 3079 3.5.3."""
    nt = p.nt_hash("clientPass")
    assert p.mschap2_challenge(PEER_CHALLENGE, CHALLENGE_2, USER).hex() == "d02e4386bce91226"
    right = p.mschap2_verify(RESPONSE_2, CHALLENGE_2, USER, nt)
    assert right is not None
    assert right.success == b"\x07S=407A5589115FD0D6209F510FE9C04566932CDA56"
    assert right.send_key.hex() == "8b7cdc149b993a1ba118cb153f56dccb"
    assert p.mppe_master_key(md4(nt), NT_RESPONSE).hex() == "fdece3717a8c838cb388e527ae3cdd31"


def test_mschap2_directions_differ():
    right = p.mschap2_verify(RESPONSE_2, CHALLENGE_2, USER, p.nt_hash("clientPass"))
    assert right is not None
    assert right.send_key != right.recv_key and len(right.recv_key) == 16
    assert right.recv_key == p.mppe_start_key(bytes.fromhex("FDECE3717A8C838CB388E527AE3CDD31"), p.SERVER_RECEIVES)


@pytest.mark.parametrize("name", [b"CORP\\User", b"\\User", b"a\\b\\User"])
def test_mschap2_domain_is_left_out_by_the_client(name):
    assert p.mschap2_verify(RESPONSE_2, CHALLENGE_2, name, p.nt_hash("clientPass")) is not None


def test_mschap2_domain_hashed_by_the_client():
    nt, name = p.nt_hash("clientPass"), b"CORP\\User"
    hashed = p.challenge_response(p.mschap2_challenge(PEER_CHALLENGE, CHALLENGE_2, name), nt)
    right = p.mschap2_verify(RESPONSE_2[:26] + hashed, CHALLENGE_2, name, nt)
    stripped = p.mschap2_verify(RESPONSE_2, CHALLENGE_2, name, nt)
    assert right is not None and stripped is not None
    assert right.success != stripped.success


def test_mschap2_wrong():
    nt = p.nt_hash("clientPass")
    assert p.mschap2_verify(RESPONSE_2, CHALLENGE_2, USER, p.nt_hash("clientpass")) is None
    assert p.mschap2_verify(RESPONSE_2, CHALLENGE_2, b"user", nt) is None
    assert p.mschap2_verify(RESPONSE_2[:-1] + b"\0", CHALLENGE_2, USER, nt) is None
    assert p.mschap2_verify(RESPONSE_2, bytes(16), USER, nt) is None


def test_mschap2_lengths():
    assert refused("mschap_response_length", p.mschap2_verify, RESPONSE_2 + b"\0", CHALLENGE_2, USER, bytes(16))
    assert refused("mschap_challenge_length", p.mschap2_verify, RESPONSE_2, CHALLENGE_1, USER, bytes(16))


def test_keys_are_not_shown():
    assert repr(p.mschap2_verify(RESPONSE_2, CHALLENGE_2, USER, p.nt_hash("clientPass"))) == "MsChap2(***)"


def test_mschap_error():
    assert p.mschap_error(7, CHALLENGE_2, "no") == b"\x07E=691 R=0 C=5B5D7C7D7B3F2F3E3C2C602132262628 V=3 M=no"
    assert p.mschap_error(7, CHALLENGE_1, code=648, retry=True, version=2).startswith(b"\x07E=648 R=1 C=B9634ADC358B2AB3 V=2 M=")
    assert refused("mschap_error_length", p.mschap_error, 7, CHALLENGE_2, "x" * 250)


# The answer to an Access-Request with MS-CHAP


def vendor_attributes(encoded):
    """Microsoft's attributes of an encoded body, each in its own Vendor-Specific."""
    found = {}
    while encoded:
        assert encoded[0] == 26 and encoded[2:6] == bytes.fromhex("00000137") and encoded[7] == encoded[1] - 6
        found[encoded[6]] = encoded[8 : encoded[1]]
        encoded = encoded[encoded[1] :]
    return found


def answer(microsoft, password, username=USER):
    proved, encoded = p.mschap(microsoft, username, p.nt_hash(password), SECRET, AUTHENTICATOR, (b"\x80\x02", b"\x80\x03"))
    return proved, vendor_attributes(encoded)


def test_mschap_answers_v2():
    proved, found = answer({11: CHALLENGE_2, 25: RESPONSE_2}, "clientPass")
    assert proved and set(found) == {26, 7, 8, 16, 17}
    assert found[26] == b"\x07S=407A5589115FD0D6209F510FE9C04566932CDA56"
    assert (found[7], found[8]) == (bytes((0, 0, 0, 1)), bytes((0, 0, 0, 6)))
    right = p.mschap2_verify(RESPONSE_2, CHALLENGE_2, USER, p.nt_hash("clientPass"))
    assert right is not None
    assert found[16][:2] == b"\x80\x02" and p.salt_decrypt(found[16], SECRET, AUTHENTICATOR) == right.send_key
    assert found[17][:2] == b"\x80\x03" and p.salt_decrypt(found[17], SECRET, AUTHENTICATOR) == right.recv_key


def test_mschap_answers_v1():
    proved, found = answer({11: CHALLENGE_1, 1: RESPONSE_1}, "bob")
    assert proved and set(found) == {12, 7, 8} and found[8] == bytes((0, 0, 0, 4)) and len(found[12]) == 32
    assert p.pap_decrypt(found[12], KEYED, AUTHENTICATOR) == p.mschap1_mppe_keys(p.nt_hash("bob"))


def test_mschap_answers_wrong():
    assert answer({11: CHALLENGE_2, 25: RESPONSE_2}, "x") == (False, {2: p.mschap_error(7, CHALLENGE_2)})
    assert answer({11: CHALLENGE_1, 1: RESPONSE_1}, "x") == (False, {2: p.mschap_error(7, CHALLENGE_1, version=2)})
    assert answer({11: CHALLENGE_1}, "x") == (False, {})


def test_mschap_v2_counts_before_v1():
    """A right v1 response beside a wrong v2 one would be a way down to the weaker method."""
    assert not answer({11: CHALLENGE_2, 1: RESPONSE_1, 25: RESPONSE_2[:-1] + b"\0"}, "clientPass")[0]


# Octets of any kind

HOSTILE = {
    "pap_decrypt": lambda a, b, c: p.pap_decrypt(a, KEYED, b),
    "pap_encrypt": lambda a, b, c: p.pap_encrypt(a, KEYED, b),
    "chap_verify": p.chap_verify,
    "salt_encrypt": lambda a, b, c: p.salt_encrypt(a, b, AUTHENTICATOR, c[:2]),
    "salt_decrypt": p.salt_decrypt,
    "challenge_response": lambda a, b, c: p.challenge_response(a, b),
    "mschap1_verify": p.mschap1_verify,
    "mschap1_mppe_keys": lambda a, b, c: p.mschap1_mppe_keys(a, b),
    "mschap2_verify": lambda a, b, c: p.mschap2_verify(a, b, c, bytes(16)),
    "mschap2_challenge": p.mschap2_challenge,
    "mppe_master_key": lambda a, b, c: p.mppe_master_key(a, b),
    "mppe_start_key": lambda a, b, c: p.mppe_start_key(a, b),
    "mschap_error": lambda a, b, c: p.mschap_error(len(a), b, c.decode("utf-8", "surrogateescape")),
    "mschap": lambda a, b, c: p.mschap({11: a, 25: b} if len(c) % 2 else {11: a, 1: b}, c, bytes(16), a, b, (SALT, SALT)),
    "des_key": lambda a, b, c: p.des_key(a),
}
likely = st.one_of(octets, *(st.binary(min_size=n, max_size=n) for n in (7, 8, 16, 17, 34, 50)))


@pytest.mark.parametrize("name", sorted(HOSTILE))
@given(a=likely, b=likely, c=likely)
@settings(deadline=None, max_examples=120)
def test_octets_of_any_kind_raise_wire_error_only(name, a, b, c):
    with suppress(WireError):
        HOSTILE[name](a, b, c)


@given(st.text(st.characters(), max_size=300))
@settings(deadline=None, max_examples=100)
def test_any_text_has_hashes(password):
    assert len(p.nt_hash(password)) == len(p.lm_hash(password)) == 16


def test_every_function_is_put_to_octets():
    public = {
        name
        for name, value in vars(p).items()
        if callable(value) and getattr(value, "__module__", "") == p.__name__ and not name.startswith("_") and name.islower()
    }
    assert public == {*HOSTILE, "nt_hash", "lm_hash"}
