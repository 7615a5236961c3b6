"""Where a subscriber comes from: MAC addresses in any notation, circuit ids (DHCP option 82, PPPoE tags), and the lines that it may use."""

import re
from datetime import datetime
from typing import Literal

import msgspec

LineMode = Literal["ignore", "log", "enforce"]
"""What a log-in from another line than the subscriber's comes to: nothing, a record, or a reject."""

IdentityKind = Literal["mac", "circuit_id"]
"""What a device is known by that logs in without a user name and password of its own (IPoE)."""

_GROUPS = re.compile(
    r"(?:1:)?([0-9a-f]{12}|[0-9a-f]{1,2}(?::[0-9a-f]{1,2}){5}|[0-9a-f]{2}(?:-[0-9a-f]{2}){5}|[0-9a-f]{4}(?:[.:-][0-9a-f]{4}){2}|[0-9a-f]{6}-[0-9a-f]{6})"
)
_SEPARATOR = re.compile(r"[.:-]")


def mac_or_none(text: str) -> str | None:
    """A MAC address as ``aa:bb:cc:dd:ee:ff``; None if ``text`` is none.

    Read are aabbccddeeff, groups of two with : or -, of four with ``.``, - or : and of six with -, in any case; a ``1:`` before it is DHCP's
    hardware type (option 61), whose form RouterOS uses without leading zeros.
    """
    match = _GROUPS.fullmatch(text.strip().lower())
    if match is None:
        return None
    groups = _SEPARATOR.split(match[1])
    digits = "".join(group.zfill(2) for group in groups)
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def mac(text: str) -> str:
    """``mac_or_none`` for what a person typed. Raises ValueError; also for an address that no single device has."""
    found = mac_or_none(text)
    if found is None:
        raise ValueError(f"{text!r} is not a MAC address such as 00:11:22:aa:bb:cc")
    if found == "00:00:00:00:00:00" or int(found[:2], 16) & 1:
        raise ValueError(f"{text!r} is no single device's address")
    return found


def circuit(octets: bytes) -> str:
    """Octets from the wire as text: themselves where they are printable ASCII, else ``0x`` and hex. No two values have one text."""
    if octets.isascii() and (text := octets.decode("ascii")).isprintable() and text[:2].lower() != "0x" and text == text.strip() and text:
        return text
    return "0x" + octets.hex()


def circuit_typed(text: str) -> str:
    """The form of ``circuit`` for what a person typed, text or ``0x`` and hex. Raises ValueError."""
    text = text.strip()
    if text[:2].lower() != "0x":
        if not text or not text.isascii() or not text.isprintable() or len(text) > 253:
            raise ValueError(f"{text!r} is not an id: 1 to 253 printable ASCII characters, or 0x and hex for octets that are not")
        return text
    try:
        octets = bytes.fromhex(text[2:])
    except ValueError:
        octets = b""
    if not 1 <= len(octets) <= 253:
        raise ValueError(f"{text!r} is not 0x and the hex of 1 to 253 octets")
    return circuit(octets)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line that a subscriber may come from: what is named must all be so, the rest is free. ``learned_at`` is when the engine bound it."""

    nas: str | None = None
    circuit_id: str | None = None
    remote_id: str | None = None
    nas_port_id: str | None = None
    mac: str | None = None
    learned_at: datetime | None = None
