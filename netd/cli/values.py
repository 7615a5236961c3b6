"""Values as operators type them."""

import argparse
import json
import re
import sys
from typing import Any

from netd.cli import files

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgG]?)(?:bps|bit/s|bit)?", re.ASCII)
_LEVEL = re.compile(r"([-+]?\d+(?:\.\d+)?)([kKmMgG]?)", re.ASCII)
_ATTRIBUTE = re.compile(r"([A-Za-z0-9][\w.:-]*?)\s*(==|!=|>=|<=|=~|!~|=\*|!\*|:=|\+=|=|>|<)\s*(.*)", re.ASCII | re.DOTALL)
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


def level(text: str) -> float:
    """A level of any metric: ``-27``, ``0.5``, ``800M``; powers of 1000."""
    match = _LEVEL.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a level: write -27, 0.5, 90 or 800M")
    return float(match[1]) * _FACTORS[match[2].lower()]


def contention(text: str) -> int:
    """How many share a committed rate: ``1:20`` or ``20``."""
    ratio = text.strip().removeprefix("1:")
    if not (ratio.isascii() and ratio.isdecimal()) or not 1 <= int(ratio) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a contention ratio from 1:1 to 1:1000")
    return int(ratio)


LINE_MEMBERS = {"nas": "nas", "circuit": "circuit_id", "remote": "remote_id", "port": "nas_port_id", "mac": "mac"}


def line(text: str) -> dict[str, str]:
    """A line: ``circuit=…``, ``remote=…``, ``port=…``, ``mac=…`` and ``nas=…``, those that must hold, with semicolons between."""
    found: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.strip().partition("=")
        if name not in LINE_MEMBERS or not equals or not value or LINE_MEMBERS[name] in found:
            raise argparse.ArgumentTypeError(f"{text!r} is not a line: write circuit=ID;nas=NAME, of {', '.join(LINE_MEMBERS)}, each once")
        found[LINE_MEMBERS[name]] = value
    return found


def yes_no(text: str) -> bool:
    """``yes`` or ``no``."""
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")
    return text == "yes"


def text(given: str) -> str:
    """A text, or with ``@FILE`` what a file holds."""
    return files.text(given[1:]) if given.startswith("@") else given


def json_object(given: str) -> dict[str, Any]:
    """A JSON object, or with ``@FILE`` the one in a file."""
    try:
        found = json.loads(text(given))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError("is not a JSON object")
    return found


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


def day(text: str) -> str:
    """A day as 2026-12-31."""
    from datetime import date

    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day: write 2026-12-31") from None


def days(text: str) -> int:
    """A number of days from now on, at most a hundred years."""
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= 36_500:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to 36500")
    return int(text)


def attribute(text: str) -> dict[str, str]:
    """A check or reply attribute as FreeRADIUS writes it: ``NAS-Port-Id == "eth1"``, ``Filter-Id := slow``, ``Calling-Station-Id =*``."""
    match = _ATTRIBUTE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an attribute: write NAME, an operator such as == or :=, and a value")
    name, op, value = match[1], match[2], match[3]
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return {"attribute": name, "op": op, "value": value}


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
