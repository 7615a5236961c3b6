"""Values as operators type them."""

import argparse
import re
import sys

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgG]?)(?:bps|bit/s|bit)?", re.ASCII)
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def rate(text: str) -> int:
    """``64k``, ``100M``, ``2.5G`` or plain bit/s; powers of 1000."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate: write 64k, 100M, 2.5G or plain bit/s")
    from decimal import Decimal

    bps = Decimal(match[1]) * _FACTORS[match[2].lower()]
    if bps != int(bps) or bps <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of bit/s above 0")
    return int(bps)


def moment(text: str) -> str:
    """An ISO 8601 time or date as RFC 3339; without an offset it is taken as UTC."""
    from datetime import UTC, datetime

    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: write 2026-12-31 or 2026-12-31T23:59:59+01:00") from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).isoformat()


def days(text: str) -> int:
    """A number of days from now on, at most a hundred years."""
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= 36_500:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to 36500")
    return int(text)


def secret(text: str) -> str:
    """A secret from the command line, or with ``-`` the first line of standard input (not shown if it is a terminal)."""
    if text != "-":
        return text
    if sys.stdin.isatty():
        from getpass import getpass

        typed = getpass("Secret: ")
    else:
        typed = sys.stdin.readline().rstrip("\r\n")
    if not typed:
        raise argparse.ArgumentTypeError("no secret on standard input")
    return typed


def yes_or_no(text: str) -> bool:
    """``yes`` or ``no``."""
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")
    return text == "yes"


_REPLY = re.compile(r"\s*([A-Za-z0-9][\w./:-]*)\s*(:=|\+=|!\*|=)\s*(.*?)\s*", re.ASCII | re.DOTALL)


def reply(text: str) -> dict[str, str] | None:
    """``Framed-Pool := gold`` as a reply attribute; ``none`` is None."""
    if text.lower() == "none":
        return None
    match = _REPLY.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 'ATTRIBUTE := VALUE'")
    return {"attribute": match[1], "op": match[2], "value": match[3]}
