"""Passwords and keys on the wire: PAP, CHAP, and the salt encryption of tunnel passwords and MPPE keys.

Everything that RADIUS hides is hidden by XOR with a chain of MD5 digests that starts at the shared secret. What comes from a peer raises
:class:`WireError` and nothing else. MS-CHAP stands in :mod:`netd.wire.mschap`.
"""

from hashlib import md5
from hmac import compare_digest
from typing import Protocol, Self

from netd.errors import WireError

_int = int.from_bytes
_BLOCK = 16
_MAX_USER_PASSWORD = 128
_MAX_SALTED = 239  # what fits, with its length octet, in whole blocks of a tagged attribute (RFC 2868 3.5) or of a vendor's (RFC 2548 2.4.2)


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
        return (_int(cipher) ^ _int(mask.digest())).to_bytes(16).rstrip(b"\0")
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
