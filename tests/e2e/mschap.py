"""The subscriber's side of MS-CHAPv2, from RFC 1320, 2759 and 3079, sharing nothing with netd.

MD4 is ours (OpenSSL 3 hides it) and is compared with FreeRADIUS's smbencrypt; DES is OpenSSL's.
"""

import hashlib
import struct

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes


def md4(message: bytes) -> bytes:
    """RFC 1320."""
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    padded = message + b"\x80" + bytes((55 - len(message)) % 64) + struct.pack("<Q", len(message) * 8)
    mixes = (
        (lambda x, y, z: x & y | ~x & z, 0, (3, 7, 11, 19), list(range(16))),
        (lambda x, y, z: x & y | x & z | y & z, 0x5A827999, (3, 5, 9, 13), [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15]),
        (lambda x, y, z: x ^ y ^ z, 0x6ED9EBA1, (3, 9, 11, 15), [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15]),
    )
    for at in range(0, len(padded), 64):
        words = struct.unpack("<16I", padded[at : at + 64])
        a, b, c, d = state
        for mix, constant, shifts, order in mixes:
            for step, index in enumerate(order):
                total = (a + mix(b, c, d) + words[index] + constant) & 0xFFFFFFFF
                shift = shifts[step % 4]
                a, b, c, d = d, (total << shift | total >> (32 - shift)) & 0xFFFFFFFF, b, c
        state = [(old + new) & 0xFFFFFFFF for old, new in zip(state, (a, b, c, d), strict=True)]
    return struct.pack("<4I", *state)


def nt_hash(password: str) -> bytes:
    """NtPasswordHash (RFC 2759 8.3)."""
    return md4(password.encode("utf-16-le"))


def _des(key: bytes, clear: bytes) -> bytes:
    bits = int.from_bytes(key, "big")
    spread = bytes((bits >> (49 - 7 * i) & 0x7F) << 1 for i in range(8))
    encryptor = Cipher(TripleDES(spread * 3), modes.ECB()).encryptor()
    return encryptor.update(clear) + encryptor.finalize()


def nt_response(authenticator_challenge: bytes, peer_challenge: bytes, username: str, password: str) -> bytes:
    """GenerateNTResponse (RFC 2759 8.1), 24 octets."""
    challenge = hashlib.sha1(peer_challenge + authenticator_challenge + username.encode()).digest()[:8]
    key = nt_hash(password).ljust(21, b"\0")
    return b"".join(_des(key[at : at + 7], challenge) for at in (0, 7, 14))


def authenticator_response(authenticator_challenge: bytes, peer_challenge: bytes, username: str, password: str, response: bytes) -> str:
    """GenerateAuthenticatorResponse (RFC 2759 8.7): what only one who knows the password can answer."""
    digest = hashlib.sha1(md4(nt_hash(password)) + response + b"Magic server to client signing constant").digest()
    challenge = hashlib.sha1(peer_challenge + authenticator_challenge + username.encode()).digest()[:8]
    return "S=" + hashlib.sha1(digest + challenge + b"Pad to make it do more than one iteration").hexdigest().upper()


def session_keys(password: str, response: bytes) -> tuple[bytes, bytes]:
    """The server's (send, receive) keys of 128 bits before RC4 (RFC 3079 3.3), as MS-MPPE-Send-Key and -Recv-Key carry them."""
    master = hashlib.sha1(md4(nt_hash(password)) + response + b"This is the MPPE Master Key").digest()[:16]
    client_sends = b"On the client side, this is the send key; on the server side, it is the receive key."
    client_receives = b"On the client side, this is the receive key; on the server side, it is the send key."

    def derived(magic: bytes) -> bytes:
        return hashlib.sha1(master + bytes(40) + magic + b"\xf2" * 40).digest()[:16]

    return derived(client_receives), derived(client_sends)
