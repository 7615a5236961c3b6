"""MD4 (RFC 1320), which NT password hashes are made with. OpenSSL 3 no longer offers it by default; for nothing else is it fit."""

from struct import unpack

_MASK = 0xFFFFFFFF


def md4(data: bytes) -> bytes:
    """Return the 16-octet MD4 digest of ``data``."""
    padded = data + b"\x80" + bytes((55 - len(data)) % 64) + (8 * len(data)).to_bytes(8, "little")
    state = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
    for start in range(0, len(padded), 64):
        state = _block(state, unpack("<16I", padded[start : start + 64]))
    return b"".join(word.to_bytes(4, "little") for word in state)


def _block(state: tuple[int, int, int, int], x: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Mix one block of sixteen words into the state: three rounds of sixteen steps (RFC 1320 3.4)."""
    a, b, c, d = state
    for i in (0, 4, 8, 12):
        a = _rotate(a + (b & c | ~b & d) + x[i], 3)
        d = _rotate(d + (a & b | ~a & c) + x[i + 1], 7)
        c = _rotate(c + (d & a | ~d & b) + x[i + 2], 11)
        b = _rotate(b + (c & d | ~c & a) + x[i + 3], 19)
    for i in (0, 1, 2, 3):
        a = _rotate(a + (b & c | b & d | c & d) + x[i] + 0x5A827999, 3)
        d = _rotate(d + (a & b | a & c | b & c) + x[i + 4] + 0x5A827999, 5)
        c = _rotate(c + (d & a | d & b | a & b) + x[i + 8] + 0x5A827999, 9)
        b = _rotate(b + (c & d | c & a | d & a) + x[i + 12] + 0x5A827999, 13)
    for i in (0, 2, 1, 3):
        a = _rotate(a + (b ^ c ^ d) + x[i] + 0x6ED9EBA1, 3)
        d = _rotate(d + (a ^ b ^ c) + x[i + 8] + 0x6ED9EBA1, 9)
        c = _rotate(c + (d ^ a ^ b) + x[i + 4] + 0x6ED9EBA1, 11)
        b = _rotate(b + (c ^ d ^ a) + x[i + 12] + 0x6ED9EBA1, 15)
    return (state[0] + a) & _MASK, (state[1] + b) & _MASK, (state[2] + c) & _MASK, (state[3] + d) & _MASK


def _rotate(value: int, bits: int) -> int:
    value &= _MASK
    return (value << bits | value >> (32 - bits)) & _MASK
