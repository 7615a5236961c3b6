"""Signed messages between netd and other systems: ``X-Netd-Signature: t=<Unix time>,v1=<hex>``, an HMAC-SHA256 over ``<t>.<body>``.

While a secret is being replaced there are two ``v1``; one that fits is enough.
"""

import hmac
from collections.abc import Sequence
from typing import Final

HEADER: Final = "X-Netd-Signature"
WINDOW_SECONDS: Final = 300
MOST_SIGNATURES: Final = 8


def sign(secrets: Sequence[str], body: bytes, at: int) -> str:
    """The header's value; ``at`` is the Unix time."""
    return ",".join((f"t={at}", *(f"v1={_digest(secret, body, at)}" for secret in secrets)))


def fault(header: str, secrets: Sequence[str], body: bytes, now: float) -> str:
    """What is wrong with a signed message; empty if nothing is. How long that takes does not depend on where a signature differs."""
    fields = [part.strip().partition("=")[::2] for part in header[:2000].split(",")]
    times = [value for name, value in fields if name == "t"]
    given = [value for name, value in fields if name == "v1"][:MOST_SIGNATURES]
    if len(times) != 1 or not given or not (times[0].isascii() and times[0].isdecimal()) or len(times[0]) > 12:
        return f"{HEADER} must be t=<Unix time>,v1=<hex HMAC-SHA256 of t.body>"
    at = int(times[0])
    good = False
    for secret in secrets:
        expected = _digest(secret, body, at).encode()
        for each in given:
            good |= hmac.compare_digest(expected, each.encode())
    if not good:
        return "the signature does not fit: is it made with this hook's secret, over t, a dot and the body as it is sent?"
    if abs(now - at) > WINDOW_SECONDS:
        return f"the message is older than {WINDOW_SECONDS} s, or one of the two clocks is wrong"
    return ""


def _digest(secret: str, body: bytes, at: int) -> str:
    return hmac.new(secret.encode(), b"%d." % at + body, "sha256").hexdigest()
