"""Time-based one-time passwords (RFC 6238) as authenticator apps know them: HMAC-SHA-1, 6 digits, 30 seconds. Pure."""

import base64
import hashlib
import hmac
import struct
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlencode

STEP_SECONDS: Final = 30
DIGITS: Final = 6
SECRET_OCTETS: Final = 20
DRIFT_STEPS: Final = 1
"""How many steps the user's clock may be off, either way."""


def step_of(now: datetime) -> int:
    """The number of the time step."""
    return int(now.timestamp()) // STEP_SECONDS


def code(secret: bytes, step: int) -> str:
    """The code of a time step (RFC 4226 section 5.3)."""
    digest = hmac.digest(secret, struct.pack(">Q", step), hashlib.sha1)
    at = digest[-1] & 0x0F
    number = struct.unpack_from(">I", digest, at)[0] & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def matching_step(secret: bytes, given: str, now: datetime) -> int | None:
    """The time step whose code this is, newest first; None if it is none of now. Whether it was used before is for the caller to find out."""
    current, found = step_of(now), None
    for step in range(current - DRIFT_STEPS, current + DRIFT_STEPS + 1):  # all of them, so that the time tells nothing
        if hmac.compare_digest(code(secret, step).encode(), given.encode("utf-8", "replace")):
            found = step
    return found


def text(secret: bytes) -> str:
    """The secret as people type it."""
    return base64.b32encode(secret).decode().rstrip("=")


def uri(secret: bytes, issuer: str, account: str) -> str:
    """What goes into the QR code (the Key URI format that authenticator apps read)."""
    query = urlencode({"secret": text(secret), "issuer": issuer, "algorithm": "SHA1", "digits": DIGITS, "period": STEP_SECONDS}, quote_via=quote)
    return f"otpauth://totp/{quote(issuer, safe='')}:{quote(account, safe='')}?{query}"
