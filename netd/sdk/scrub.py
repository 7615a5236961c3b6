"""Takes out of a recording what tells whose device it is, and keeps what makes it useful: the same address becomes the same other one, in the same notation.

What is replaced: secrets (by the driver's own ``masked``), IP addresses (subnets stay together), MAC addresses, serial numbers of ONUs, descriptions of
interfaces that come by SNMP, and every word that the caller names (host names, users, customers, serial numbers). What no pattern knows stays: a recording is
to be read before it is given away.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

import msgspec

from netd.sdk.device import Oid, Varbind
from netd.sdk.ifmib import IF_ALIAS
from netd.sdk.recording import Recording

_IPV4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])", re.IGNORECASE)
_MAC = re.compile(
    r"(?<![\w:.-])(?:(?:[0-9a-f]{2}:){5}[0-9a-f]{2}|(?:[0-9a-f]{2}-){5}[0-9a-f]{2}|(?:[0-9a-f]{4}[.-]){2}[0-9a-f]{4})(?![\w:.-]*[0-9a-f])", re.IGNORECASE
)
_ONU = re.compile(r"(?<![0-9A-Za-z])((?:[A-Z]{4}[:-]?)|(?:(?:4[1-9A-F]|5[0-9A]){4}))([0-9A-F]{8})(?![0-9A-Za-z])")


class Scrubber:
    """``key`` decides what becomes what: the same key gives the same replacements, another one others, and nobody without it finds the way back."""

    def __init__(self, key: bytes, *, masked: Callable[[str], str] | None = None, words: Mapping[str, str] | None = None) -> None:
        """``words`` -> what stands for them; longer ones are replaced first."""
        self._key = key
        self._masked = masked
        self._words = sorted((words or {}).items(), key=lambda item: -len(item[0]))

    def text(self, text: str) -> str:
        """A text without all that."""
        if self._masked is not None:
            text = self._masked(text)
        for word, other in self._words:
            text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", lambda match, other=other: other, text)  # type: ignore[misc]
        text = _MAC.sub(self._mac, text)
        text = _IPV6.sub(self._ipv6, text)
        text = _IPV4.sub(self._ipv4, text)
        return _ONU.sub(lambda match: match[1] + self._digest("onu", match[2], 4).hex().upper(), text)

    def varbinds(self, found: Mapping[Oid, Varbind]) -> dict[Oid, Varbind]:
        """An agent's objects. What operators wrote at interfaces (ifAlias) goes altogether; addresses and serial numbers that are octets as those in texts."""
        return {name: self._octets(name, value) if isinstance(value, bytes) else value for name, value in found.items()}

    def _octets(self, name: Oid, value: bytes) -> bytes:
        if name[: len(IF_ALIAS)] == IF_ALIAS:
            return b"alias " + ".".join(map(str, name[len(IF_ALIAS) :])).encode() if value else value
        if all(octet in b"\t\r\n" or 32 <= octet < 127 for octet in value):
            return self.text(value.decode()).encode()
        if len(value) == 4:
            return IPv4Address(self.text(str(IPv4Address(value)))).packed
        if len(value) == 6:
            return bytes.fromhex(self.text(value.hex(":")).replace(":", ""))
        if len(value) == 8 and value[:4].isalpha() and value[:4].isupper():
            return value[:4] + self._digest("onu", value[4:].hex().upper(), 4)
        return value

    def recording(self, recording: Recording) -> Recording:
        """Every command, text, file name and content."""
        return msgspec.structs.replace(
            recording,
            exchanges=tuple((self.text(command), self.text(text)) for command, text in recording.exchanges),
            files={self.text(name): self.text(content) for name, content in recording.files.items()},
        )

    def _digest(self, kind: str, value: str, octets: int) -> bytes:
        return hmac.digest(self._key, f"{kind}:{value}".encode(), hashlib.sha256)[:octets]

    def _ipv4(self, match: re.Match[str]) -> str:
        """Into 198.18.0.0/15 (RFC 2544), the last octet as it was; masks, loopback, multicast and 0.0.0.0 stay."""
        try:
            address = IPv4Address(match[0])
        except ValueError:
            return match[0]
        if int(address) == 0 or address.is_loopback or address.is_multicast or address.packed[0] == 255 or _is_wildcard(int(address)):
            return match[0]
        subnet = self._digest("v4", match[0].rpartition(".")[0], 2)
        return f"198.{18 + subnet[0] % 2}.{subnet[1]}.{address.packed[3]}"

    def _ipv6(self, match: re.Match[str]) -> str:
        """Into 2001:db8::/32 (RFC 3849), /64s stay together; link-local ones stay such."""
        try:
            address = ip_address(match[0])
        except ValueError:
            return match[0]
        if not isinstance(address, IPv6Address) or address.is_loopback or address.is_unspecified or address.is_multicast:
            return match[0]
        host = self._digest("v6", address.exploded, 8)
        if address.is_link_local:
            return str(IPv6Address(address.packed[:8] + host))
        return str(IPv6Address(b"\x20\x01\x0d\xb8" + self._digest("v6net", address.exploded[:19], 4) + host))

    def _mac(self, match: re.Match[str]) -> str:
        """Locally administered, in the same notation and case; broadcast, multicast and zero stay."""
        digits = re.sub(r"[^0-9a-fA-F]", "", match[0])
        if int(digits[:2], 16) & 1 or not int(digits, 16):
            return match[0]
        other = iter("02" + self._digest("mac", digits.lower(), 5).hex())
        made = "".join(next(other) if character.isalnum() else character for character in match[0])
        return made.upper() if match[0] != match[0].lower() else made


def _is_wildcard(address: int) -> bool:
    """0.0.0.255 and the like."""
    return address & (address + 1) == 0
