"""Passwords and keys on the wire: PAP, CHAP, MS-CHAP v1 and v2 with their MPPE keys, and salt encryption.

What RADIUS hides it hides by XOR with a chain of MD5 digests that starts at the shared secret. Octets of any kind raise WireError and
nothing else. DES comes from cryptography's TripleDES with three equal keys, the form its own deprecation notice asks for: 6 µs a block
against 41 µs for tables in Python. A FIPS provider refuses it, but that refuses MD5 too, without which there is no RADIUS.
"""

from collections.abc import Mapping
from hashlib import md5, sha1
from hmac import compare_digest
from typing import Final, NamedTuple, Protocol, Self

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from netd.errors import WireError
from netd.wire.md4 import md4

_int = int.from_bytes
_BLOCK: Final = 16
_MAX_USER_PASSWORD: Final = 128
_MAX_SALTED: Final = 239  # what fits, with its length octet, in whole blocks of a tagged attribute (RFC 2868 3.5) or of a vendor's (RFC 2548 2.4.2)
# Vendor types under Microsoft's number, 311 (RFC 2548).
MS_CHAP_RESPONSE = 1
MS_CHAP_ERROR = 2
MS_MPPE_ENCRYPTION_POLICY = 7
MS_MPPE_ENCRYPTION_TYPES = 8
MS_CHAP_CHALLENGE = 11
MS_CHAP_MPPE_KEYS = 12
MS_MPPE_SEND_KEY = 16
MS_MPPE_RECV_KEY = 17
MS_CHAP2_RESPONSE = 25
MS_CHAP2_SUCCESS = 26

SERVER_SENDS = b"On the client side, this is the receive key; on the server side, it is the send key."  # RFC 3079 3.4
SERVER_RECEIVES = b"On the client side, this is the send key; on the server side, it is the receive key."


class Md5(Protocol):
    """``hashlib.md5(secret)``: computed once per shared secret, copied for every packet.

    ``_md5.md5(secret)``, where the interpreter has it, copies in half the time of OpenSSL's.
    """

    def copy(self) -> Self: ...

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


def pap_decrypt(cipher: bytes, secret_md5: Md5, authenticator: bytes) -> bytes:
    """Reveal a User-Password (RFC 2865 5.2), its padding off.

    ``secret_md5`` is ``hashlib.md5(secret)``, left untouched; ``authenticator`` is the request's. A length other than 16, 32 … 128 raises
    WireError ``user_password_length``. A wrong secret cannot be noticed here: it yields a wrong password.
    """
    if len(cipher) == _BLOCK:  # nearly every password
        mask = secret_md5.copy()
        mask.update(authenticator)
        return (int.from_bytes(cipher, "big") ^ int.from_bytes(mask.digest(), "big")).to_bytes(16, "big").rstrip(b"\0")
    if not _BLOCK <= len(cipher) <= _MAX_USER_PASSWORD or len(cipher) % _BLOCK:
        raise WireError("user_password_length", f"{len(cipher)} octets")
    return _unchain(cipher, secret_md5, authenticator).rstrip(b"\0")


def pap_encrypt(plain: bytes, secret_md5: Md5, authenticator: bytes) -> bytes:
    """Hide a password (RFC 2865 5.2): 16 to 128 octets, a multiple of 16.

    More than 128 octets raise WireError ``user_password_length``. Octets of zero at the end do not survive the way back.
    """
    if len(plain) > _MAX_USER_PASSWORD:
        raise WireError("user_password_length", f"{len(plain)} octets")
    return _chain(_padded(plain) or bytes(_BLOCK), secret_md5, authenticator)


def chap_verify(chap_password: bytes, challenge: bytes, password: bytes) -> bool:
    """Tell whether a CHAP-Password (identifier and 16-octet response) answers ``challenge`` with ``password`` (RFC 2865 5.3).

    ``challenge`` is CHAP-Challenge, else the Request Authenticator. Any other length than 17 raises WireError ``chap_password_length``.
    """
    if len(chap_password) != 17:
        raise WireError("chap_password_length", f"{len(chap_password)} octets")
    return compare_digest(md5(chap_password[:1] + password + challenge).digest(), chap_password[1:])


def salt_encrypt(plain: bytes, secret: bytes, authenticator: bytes, salt: bytes) -> bytes:
    """Hide a tunnel password or MPPE key (RFC 2868 3.5, RFC 2548 2.4.2): the salt, then whole blocks.

    ``authenticator`` is that of the request being answered. ``salt`` is two octets, the first bit set, and differs among the attributes of one
    packet. WireError ``salt`` or ``salted_length`` (more than 239 octets) if it cannot be done.
    """
    if len(salt) != 2 or not salt[0] & 0x80:
        raise WireError("salt", "two octets with the first bit set are needed")
    if len(plain) > _MAX_SALTED:
        raise WireError("salted_length", f"{len(plain)} octets")
    return salt + _chain(_padded(bytes((len(plain),)) + plain), md5(secret), authenticator + salt)


def salt_decrypt(salted: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """Reveal what :func:`salt_encrypt` hid; ``salted`` begins with the salt.

    A salt without the first bit is let pass, as by other servers. WireError ``salted_length``: not whole blocks; ``salted_data_length``: the inner
    length does not fit, most often because the secret is not the one it was hidden with.
    """
    size = len(salted) - 2
    if not _BLOCK <= size <= _MAX_SALTED + 1 or size % _BLOCK:
        raise WireError("salted_length", f"{len(salted)} octets")
    plain = _unchain(salted[2:], md5(secret), authenticator + salted[:2])
    length = plain[0]
    if length >= size:
        raise WireError("salted_data_length", f"{length} octets of {size - 1}")
    return plain[1 : 1 + length]


def nt_hash(password: str) -> bytes:
    """Return the NtPasswordHash: MD4 of the password in UTF-16LE, 16 octets (RFC 2433 A.4). As good as the password itself to an attacker."""
    return md4(password.encode("utf-16-le", "surrogatepass"))


def lm_hash(password: str) -> bytes:
    """Return the LmPasswordHash, 16 octets (RFC 2433 A.3); zeros if the password has none: over 14 characters, or not ASCII."""
    if len(password) > 14 or not password.isascii():
        return bytes(16)
    key = password.upper().encode().ljust(14, b"\0")
    return _des(key[:7], b"KGS!@#$%") + _des(key[7:], b"KGS!@#$%")


def challenge_response(challenge: bytes, password_hash: bytes) -> bytes:
    """Return the 24-octet response of a 16-octet password hash to an 8-octet challenge (RFC 2433 A.5)."""
    _expect("mschap_challenge_length", challenge, 8)
    _expect("password_hash_length", password_hash, 16)
    key = password_hash.ljust(21, b"\0")
    return _des(key[:7], challenge) + _des(key[7:14], challenge) + _des(key[14:], challenge)


def mschap1_verify(response: bytes, challenge: bytes, nt: bytes) -> bool:
    """Tell whether an MS-CHAP-Response (RFC 2548 2.1.3) answers the 8-octet ``challenge`` with the password whose :func:`nt_hash` is ``nt``.

    ``response`` is the attribute's value: ident, flags, LM response, NT response; 50 octets, else WireError ``mschap_response_length``.
    One with the LM response only (flag not set) is never right: it would let a captured password be found in hours.
    """
    _expect("mschap_response_length", response, 50)
    expected = challenge_response(challenge, nt)
    return compare_digest(expected, response[26:]) and bool(response[1] & 1)


def mschap1_mppe_keys(nt: bytes, lm: bytes = bytes(16)) -> bytes:
    """Return the 24 octets that MS-CHAP-MPPE-Keys hides (RFC 2548 2.4.1), in the way of User-Password, as 32: LM key, NT key.

    The NT key is the hash of the NT hash, as servers send it and clients expect it, whatever the RFC's text says. 128-bit encryption
    needs no LM key: leave it zero.
    """
    _expect("password_hash_length", nt, 16)
    _expect("password_hash_length", lm, 16)
    return lm[:8] + md4(nt)


class MsChap2(NamedTuple):
    """What goes with the Access-Accept to a right MS-CHAPv2 response.

    ``success`` is MS-CHAP2-Success (ident and ``S=`` with 40 hex digits); the 16-octet keys are those of MS-MPPE-Send-Key and -Recv-Key before
    salt encryption, as the NAS sees the direction.
    """

    success: bytes
    send_key: bytes
    recv_key: bytes

    def __repr__(self) -> str:
        return "MsChap2(***)"


def mschap2_verify(response: bytes, challenge: bytes, username: bytes, nt: bytes) -> MsChap2 | None:
    """Check an MS-CHAP2-Response (RFC 2548 2.3.2); None if the password is wrong.

    ``response`` is the attribute's value: ident, flags, peer challenge (16), reserved (8), NT response (24); 50 octets, else WireError
    ``mschap_response_length``. ``challenge`` is MS-CHAP-Challenge, 16 octets. Clients hash their name without ``DOMAIN\\`` (RFC 2759 4),
    some with it: both are tried.
    """
    _expect("mschap_response_length", response, 50)
    _expect("mschap_challenge_length", challenge, 16)
    _expect("password_hash_length", nt, 16)
    peer_challenge, nt_response = response[2:18], response[26:]
    for name in dict.fromkeys((username, username.rpartition(b"\\")[2])):
        short = mschap2_challenge(peer_challenge, challenge, name)
        if compare_digest(challenge_response(short, nt), nt_response):
            hash_hash = md4(nt)
            master = mppe_master_key(hash_hash, nt_response)
            return MsChap2(
                success=response[:1] + _authenticator_response(hash_hash, nt_response, short),
                send_key=mppe_start_key(master, SERVER_SENDS),
                recv_key=mppe_start_key(master, SERVER_RECEIVES),
            )
    return None


def mschap2_challenge(peer_challenge: bytes, challenge: bytes, username: bytes) -> bytes:
    """Return the 8 octets that both challenges and the name come to (RFC 2759 8.2, ChallengeHash)."""
    return sha1(peer_challenge + challenge + username).digest()[:8]


def _authenticator_response(hash_hash: bytes, nt_response: bytes, challenge: bytes) -> bytes:
    """Prove to the client that the password is known here too (RFC 2759 8.7)."""
    digest = sha1(hash_hash + nt_response + b"Magic server to client signing constant").digest()
    return b"S=" + sha1(digest + challenge + b"Pad to make it do more than one iteration").hexdigest().upper().encode()


def mppe_master_key(hash_hash: bytes, nt_response: bytes) -> bytes:
    """Return the 16-octet master key from the hash of the NT hash and the 24-octet NT response (RFC 3079 3.4, GetMasterKey)."""
    return sha1(hash_hash + nt_response + b"This is the MPPE Master Key").digest()[:16]


def mppe_start_key(master: bytes, direction: bytes) -> bytes:
    """Return the 128-bit start key of one ``direction``, SERVER_SENDS or SERVER_RECEIVES (RFC 3079 3.4, GetAsymmetricStartKey)."""
    return sha1(master + bytes(40) + direction + b"\xf2" * 40).digest()[:16]


def mschap_error(ident: int, challenge: bytes, message: str = "Authentication failed", *, code: int = 691, retry: bool = False, version: int = 3) -> bytes:
    """Return an MS-CHAP-Error for an Access-Reject (RFC 2548 2.1.5, RFC 2759 6).

    ``challenge`` is 16 octets for v2 and 8 for v1, whose ``version`` is 2. WireError ``mschap_error_length`` if a vendor's attribute cannot hold it.
    """
    text = f"E={code} R={int(retry)} C={challenge.hex().upper()} V={version} M={message}".encode("utf-8", "replace")
    if len(text) > 246:
        raise WireError("mschap_error_length", f"{len(text)} octets")
    return bytes((ident & 0xFF,)) + text


def mschap(microsoft: Mapping[int, bytes], username: bytes, nt: bytes, secret: bytes, authenticator: bytes, salts: tuple[bytes, bytes]) -> tuple[bool, bytes]:
    """Check the MS-CHAP response among a request's Microsoft attributes; v2 counts if both versions stand there.

    ``microsoft`` is their values by vendor type, MS-CHAP-Challenge among them; ``nt`` the :func:`nt_hash` of the password. Returns whether the
    response is right, and the encoded attributes to answer with: success string and MPPE keys, or MS-CHAP-Error. Without a response: (False, b"").
    """
    challenge = microsoft[MS_CHAP_CHALLENGE]
    if MS_CHAP2_RESPONSE in microsoft:
        response = microsoft[MS_CHAP2_RESPONSE]
        right = mschap2_verify(response, challenge, username, nt)
        if right is None:
            return False, _microsoft(MS_CHAP_ERROR, mschap_error(response[0], challenge))
        send = _microsoft(MS_MPPE_SEND_KEY, salt_encrypt(right.send_key, secret, authenticator, salts[0]))
        receive = _microsoft(MS_MPPE_RECV_KEY, salt_encrypt(right.recv_key, secret, authenticator, salts[1]))
        return True, _microsoft(MS_CHAP2_SUCCESS, right.success) + _MPPE_40_OR_128_BIT + send + receive
    if MS_CHAP_RESPONSE in microsoft:
        response = microsoft[MS_CHAP_RESPONSE]
        if not mschap1_verify(response, challenge, nt):
            return False, _microsoft(MS_CHAP_ERROR, mschap_error(response[0], challenge, version=2))
        return True, _MPPE_128_BIT + _microsoft(MS_CHAP_MPPE_KEYS, pap_encrypt(mschap1_mppe_keys(nt), md5(secret), authenticator))
    return False, b""


def _microsoft(vendor_type: int, value: bytes) -> bytes:
    return bytes((26, len(value) + 8, 0, 0, 1, 55, vendor_type, len(value) + 2)) + value


# Encryption is allowed, not demanded (RFC 2548 2.4.4). 40 bits need an LM key in v1, which is never sent (2.4.5: bits 2 and 4).
_MPPE_128_BIT = _microsoft(MS_MPPE_ENCRYPTION_POLICY, b"\0\0\0\x01") + _microsoft(MS_MPPE_ENCRYPTION_TYPES, b"\0\0\0\x04")
_MPPE_40_OR_128_BIT = _microsoft(MS_MPPE_ENCRYPTION_POLICY, b"\0\0\0\x01") + _microsoft(MS_MPPE_ENCRYPTION_TYPES, b"\0\0\0\x06")


def _expect(reason: str, octets: bytes, length: int) -> None:
    if len(octets) != length:
        raise WireError(reason, f"{len(octets)} octets, not {length}")


def _des(key: bytes, block: bytes) -> bytes:
    """Encrypt 8 octets under 7 octets of key."""
    return Cipher(TripleDES(des_key(key) * 3), modes.ECB()).encryptor().update(block)


def des_key(seven: bytes) -> bytes:
    """Spread 56 bits over 8 octets, the last bit of each making its parity odd (RFC 2433 A.5)."""
    _expect("des_key_length", seven, 7)
    bits = _int(seven)
    septets = ((bits >> shift) & 0x7F for shift in range(49, -1, -7))
    return bytes(septet << 1 | ~septet.bit_count() & 1 for septet in septets)


def _padded(plain: bytes) -> bytes:
    return plain + bytes(-len(plain) % _BLOCK)


def _chain(plain: bytes, secret_md5: Md5, previous: bytes) -> bytes:
    """XOR each block with MD5(secret + the hidden block before it)."""
    out = []
    for start in range(0, len(plain), _BLOCK):
        previous = _xor(plain[start : start + _BLOCK], secret_md5, previous)
        out.append(previous)
    return b"".join(out)


def _unchain(cipher: bytes, secret_md5: Md5, previous: bytes) -> bytes:
    out = []
    for start in range(0, len(cipher), _BLOCK):
        hidden = cipher[start : start + _BLOCK]
        out.append(_xor(hidden, secret_md5, previous))
        previous = hidden
    return b"".join(out)


def _xor(block: bytes, secret_md5: Md5, previous: bytes) -> bytes:
    mask = secret_md5.copy()
    mask.update(previous)
    return (_int(block) ^ _int(mask.digest())).to_bytes(_BLOCK)
