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


_VOLUME = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgtp])(i?))?(?:b|octets)?", re.ASCII | re.IGNORECASE)
_SPAN = re.compile(r"(\d+)\s*([smhd]?)", re.ASCII | re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def volume(text: str) -> int:
    """``100G``, ``1.5TB`` (powers of 1000), ``50GiB`` (powers of 1024) or plain octets; 0 is allowed."""
    match = _VOLUME.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a volume: write 100G, 1.5T, 50GiB or plain octets")
    from decimal import Decimal

    power = "kmgtp".index(match[2].lower()) + 1 if match[2] else 0
    octets = Decimal(match[1]) * (1024 if match[3] else 1000) ** power
    if octets != int(octets):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of octets")
    return int(octets)


def span(text: str) -> int:
    """``10h``, ``90m``, ``2d``, ``3600s`` or plain seconds."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: write 10h, 90m, 2d or plain seconds")
    return int(match[1]) * _SECONDS[match[2].lower()]


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
