"""Rows of radreply, and of a plan's replies: what they make of the attributes that are granted."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

from netd.radius.checks import compile_checks
from netd.sdk import Avp
from netd.wire.attributes import encode, from_text
from netd.wire.dictionary import Attribute, Dictionary
from netd.wire.framing import Vendor as VendorFormat

Reply = tuple[str, str, str]
"""A row: attribute, operator, value as text."""

Place = tuple[int, bytes]
"""Where an attribute stands in a packet: type, and the octets that the value begins with (vendor and vendor type; extended type)."""

Replaced = frozenset[Place]
"""Attributes that stand in for what a driver grants."""

_RESERVED: Final = frozenset(((24,), (33,), (79,), (80,)))
"""State, Proxy-State, EAP-Message, Message-Authenticator: parts of the protocol, not of what is granted."""


class AttributeRows:
    """netd.domain.ports.AttributeRules over a dictionary."""

    def __init__(self, dictionary: Dictionary) -> None:
        self.dictionary = dictionary

    def extend(self, avps: list[Avp], replies: Iterable[Reply]) -> Replaced:
        """Add reply rows: ``+=`` adds one more value, ``:=`` and ``=`` replace what there is of that attribute, ``!*`` takes it away.

        Raises LookupError and ValueError for what cannot be sent.
        """
        replaced = set()
        for name, op, text in replies:
            attribute = self._attribute(name)
            if attribute.oid in _RESERVED:
                raise ValueError(f"{attribute.name} is netd's own to send")
            if op != "+=":
                replaced.add(self._place(attribute))
                avps[:] = [avp for avp in avps if self._attribute(avp[0]).oid != attribute.oid]
            if op != "!*":
                avps.append((name, from_text(attribute, text)))
        return frozenset(replaced)

    def places(self, avps: Iterable[Avp]) -> Replaced:
        """Where these stand."""
        return frozenset(self._place(self._attribute(name)) for name, _ in avps)

    def _attribute(self, name: str) -> Attribute:
        """By its name, which may have a tag behind it."""
        return self.dictionary.attribute(name.partition(":")[0])

    def _place(self, attribute: Attribute) -> Place:
        """One inside another's TLV stands for all of that."""
        oid = attribute.oid
        if oid[0] == 26 and len(oid) > 2:
            form = self.dictionary.vendors.get(oid[1]) or VendorFormat(oid[1])
            return 26, oid[1].to_bytes(4) + oid[2].to_bytes(form.type_octets)
        return oid[0], bytes(oid[1:2])

    def validate_check(self, attribute: str, op: str, value: str) -> None:
        """AttributeRules: what loading a radcheck row would refuse. Raises ValueError."""
        compile_checks(self.dictionary, [(attribute, op, value)])

    def validate_reply(self, attribute: str, op: str, value: str) -> None:
        """AttributeRules: what loading a radreply row would refuse. Raises ValueError."""
        avps: list[Avp] = []
        try:
            self.extend(avps, [(attribute, op, value)])
            encode(self.dictionary, avps)
        except LookupError as error:
            raise ValueError(str(error)) from None


def is_replaced(kind: int, value: bytes, replaced: Iterable[Place]) -> bool:
    """Whether an encoded attribute is one of ``replaced``."""
    return any(kind == other and value.startswith(begin) for other, begin in replaced)


def fingerprint(avps: Sequence[Avp], replies: Iterable[Reply]) -> str:
    """What stands for attributes in a policy: what is granted, not how it is encoded; and what is taken away."""
    stated = [f"{name}={value!r}" for name, value in avps] + [f"-{name}" for name, op, _ in replies if op == "!*"]
    return blake2b("\0".join(stated).encode(), digest_size=4).hexdigest()
