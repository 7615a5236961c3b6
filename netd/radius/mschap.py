"""What an Access-Request with MS-CHAP is answered (RFC 2548): the proof of the password and the MPPE keys, or the error."""

from collections.abc import Mapping
from hashlib import md5

from netd.wire import passwords

CHAP_RESPONSE = 1
CHAP_ERROR = 2
MPPE_ENCRYPTION_POLICY = 7
MPPE_ENCRYPTION_TYPES = 8
CHAP_CHALLENGE = 11
CHAP_MPPE_KEYS = 12
MPPE_SEND_KEY = 16
MPPE_RECV_KEY = 17
CHAP2_RESPONSE = 25
CHAP2_SUCCESS = 26

_VENDOR = (311).to_bytes(4, "big")
_POLICY = ((MPPE_ENCRYPTION_POLICY, b"\0\0\0\1"), (MPPE_ENCRYPTION_TYPES, b"\0\0\0\6"))  # encryption allowed, 40 or 128 bit


def answer(
    microsoft: Mapping[int, bytes], username: bytes, nt: bytes, secret: bytes, authenticator: bytes, salts: tuple[bytes, bytes]
) -> tuple[bool, bytes] | None:
    """Check the response among the request's Microsoft attributes: (right or wrong, attributes for the answer); None without any.

    ``salts`` are two octets each, different, with the high bit set. Malformed attributes raise WireError.
    """
    challenge = microsoft.get(CHAP_CHALLENGE, b"")
    response = microsoft.get(CHAP2_RESPONSE)
    if response is not None:
        proof = passwords.mschap2_verify(response, challenge, username, nt)
        if proof is None:
            return False, _encode([(CHAP_ERROR, passwords.mschap_error(response[0], challenge))])
        send = passwords.salt_encrypt(proof.send_key, secret, authenticator, salts[0])
        recv = passwords.salt_encrypt(proof.recv_key, secret, authenticator, salts[1])
        return True, _encode([(CHAP2_SUCCESS, proof.success), *_POLICY, (MPPE_SEND_KEY, send), (MPPE_RECV_KEY, recv)])
    response = microsoft.get(CHAP_RESPONSE)
    if response is None:
        return None
    if not passwords.mschap1_verify(response, challenge, nt):
        return False, _encode([(CHAP_ERROR, passwords.mschap_error(response[0], challenge, version=2))])
    keys = passwords.pap_encrypt(passwords.mschap1_mppe_keys(nt), md5(secret), authenticator)
    return True, _encode([*_POLICY, (CHAP_MPPE_KEYS, keys.ljust(32, b"\0"))])


def _encode(attributes: list[tuple[int, bytes]]) -> bytes:
    return b"".join(bytes((26, len(value) + 8)) + _VENDOR + bytes((kind, len(value) + 2)) + value for kind, value in attributes)
