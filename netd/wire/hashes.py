"""Passwords of which only a hash is kept, as other servers store them (RFC 2307 5.3 and FreeRADIUS's rlm_pap).

A hash is written ``{scheme}digest``, salt behind the digest, in base64 or hexadecimal digits. PAP can be checked against every one of them, MS-CHAP
only against ``{nt}``, CHAP against none. ``{crypt}`` is not among them on purpose: it is slow by design, and log-ins are decided in the loop that
answers everybody.
"""

import binascii
import hashlib
import re
from base64 import b64decode, b64encode
from hmac import compare_digest
from typing import Final

import msgspec

from netd.wire.md4 import md4

_ALGORITHMS: Final = {
    "md5": "md5", "smd5": "md5", "sha": "sha1", "ssha": "sha1", "sha224": "sha224", "ssha224": "sha224", "sha256": "sha256", "ssha256": "sha256",
    "sha384": "sha384", "ssha384": "sha384", "sha512": "sha512", "ssha512": "sha512",
}  # fmt: skip
_SALTED: Final = frozenset(("smd5", "ssha", "ssha224", "ssha256", "ssha384", "ssha512"))
_LENGTHS: Final = {"nt": 16, **{scheme: hashlib.new(name, usedforsecurity=False).digest_size for scheme, name in _ALGORITHMS.items()}}
SCHEMES: Final = tuple(_LENGTHS)
_WRITTEN: Final = re.compile(r"\{([a-z0-9]{1,8})\}([A-Za-z0-9+/=]{1,400})", re.ASCII)
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+", re.ASCII)


class PasswordHash(msgspec.Struct, frozen=True, gc=False):
    """A hash to check passwords against. ``digest`` of an ``nt`` one is the NtPasswordHash."""

    scheme: str
    digest: bytes
    salt: bytes = b""

    def __repr__(self) -> str:
        return f"PasswordHash({self.scheme!r}, ***)"

    def __str__(self) -> str:
        return f"{{{self.scheme}}}{b64encode(self.digest + self.salt).decode()}"

    def verify(self, plain: bytes) -> bool:
        """Tell whether ``plain``, a password as PAP carries it, is the one that was hashed."""
        if self.scheme == "nt":
            try:
                found = md4(plain.decode().encode("utf-16-le"))
            except UnicodeDecodeError:
                return False
        else:
            found = hashlib.new(_ALGORITHMS[self.scheme], plain + self.salt, usedforsecurity=False).digest()
        return compare_digest(found, self.digest)


def parse_hash(written: str) -> PasswordHash:
    """Read ``{scheme}digest``. ValueError says what is wrong, without a character of the digest."""
    match = _WRITTEN.fullmatch(written)
    if match is None:
        raise ValueError("is not of the form {scheme}digest, the digest in base64 or hexadecimal digits")
    scheme = match[1]
    if scheme not in _LENGTHS:
        raise ValueError(f"{{{scheme}}} cannot be checked here; " + " ".join(f"{{{each}}}" for each in SCHEMES) + " can")
    return make_hash(scheme, match[2])


def make_hash(scheme: str, text: str) -> PasswordHash:
    """Read the digest of a ``scheme`` of ``SCHEMES``. ValueError as of ``parse_hash``."""
    length = _LENGTHS[scheme]
    octets = b""
    if _HEX.fullmatch(text) and len(text) >= 2 * length:
        octets = bytes.fromhex(text)
    else:
        try:
            octets = b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("its digest is neither base64 nor hexadecimal digits") from None
    salted = scheme in _SALTED
    if len(octets) < length + salted or (len(octets) > length and not salted):
        raise ValueError(f"{{{scheme}}} has {length} octets{' and a salt' if salted else ''}, not {len(octets)}")
    return PasswordHash(scheme, octets[:length], octets[length:])
