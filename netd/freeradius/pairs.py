"""Attribute lists as FreeRADIUS 3.2 builds them: reading a row (rlm_sql's sql_fr_pair_list_afrom_str) and merging lists (radius_pairmove)."""

from collections.abc import Iterable
from typing import NamedTuple

from netd.freeradius.rows import Row
from netd.wire.attributes import Value, from_text
from netd.wire.dictionary import Attribute, Dictionary

OPERATORS = frozenset(("+=", "-=", ":=", "=", "!=", ">=", ">", "<=", "<", "=~", "!~", "=*", "!*", "=="))
ASSIGNMENTS = frozenset((":=", "+="))

SERVER_ITEMS = {
    name.casefold(): name
    for name in (
        "Auth-Type", "Autz-Type", "Acct-Type", "Session-Type", "Post-Auth-Type", "Strip-User-Name", "Fall-Through", "Simultaneous-Use", "Expiration",
        "Login-Time", "Current-Time", "Time-Of-Day", "Pool-Name", "Pool-Action", "User-Profile", "SQL-Group", "Group", "Group-Name", "Huntgroup-Name", "Hint",
        "Prefix", "Suffix", "User-Category", "Proxy-To-Realm", "Replicate-To-Realm", "Realm", "Client-IP-Address", "Packet-Src-IP-Address",
        "Packet-Dst-IP-Address", "Stripped-User-Name", "SQL-User-Name", "Exec-Program", "Exec-Program-Wait", "Response-Packet-Type", "Module-Failure-Message",
        "Virtual-Server", "Cache-Status-Only", "SMB-Account-CTRL", "SMB-Account-CTRL-TEXT", "Max-Daily-Session", "Max-All-Session", "Max-Monthly-Session",
        "Max-Weekly-Session", "Cleartext-Password", "User-Password", "Crypt-Password", "MD5-Password", "SMD5-Password", "SHA-Password", "SHA1-Password",
        "SSHA-Password", "SSHA1-Password", "SHA2-Password", "SSHA2-224-Password", "SSHA2-256-Password", "SSHA2-384-Password", "SSHA2-512-Password",
        "NT-Password", "LM-Password", "Password-With-Header", "NS-MTA-MD5-Password", "PBKDF2-Password", "Digest-HA1",
    )
}  # fmt: skip
"""Attributes that never are in a packet's text form: they steer the server."""


class Unreadable(ValueError):
    """FreeRADIUS cannot read the row, and then refuses whoever it concerns; or netd cannot."""


class Pair(NamedTuple):
    """A row that was understood. ``name`` is the dictionary's spelling, with the tag. ``value`` is None for what netd has no definition of."""

    row: Row
    name: str
    op: str
    text: str
    attribute: Attribute | None = None
    value: Value | None = None

    @property
    def same(self) -> str:
        """What is equal for pairs of the same attribute, tag included."""
        return self.name.casefold()

    @property
    def content(self) -> tuple[str, Value | None]:
        """What is equal for pairs that look the same in a packet."""
        return self.same, self.text if self.value is None else self.value


def read(dictionary: Dictionary, row: Row) -> Pair:
    """Understand a row. Raises Unreadable, saying why."""
    op = row.op.strip() or "=="
    if op not in OPERATORS:
        raise Unreadable(f"{row.op!r} is no operator")
    text = _unquoted(row.value)
    written = row.attribute.strip()
    server = SERVER_ITEMS.get(written.casefold())
    if server is not None:
        return Pair(row, server, op, text)
    name, colon, tag = written.partition(":")
    try:
        attribute = dictionary.attribute(name)
    except LookupError:
        raise Unreadable("no dictionary here knows this attribute") from None
    shown = attribute.name + (colon + tag if attribute.has_tag and tag not in ("", "0") else "")
    if op in ("=~", "!~"):
        if attribute.type != "string":
            raise Unreadable("FreeRADIUS loses the pattern of what is no string")
        return Pair(row, shown, op, text, attribute)
    if op in ("=*", "!*") and not text:
        return Pair(row, shown, op, text, attribute)
    try:
        value = from_text(attribute, text)
    except ValueError as error:
        said = str(error).removeprefix(f"{attribute.name}: ")
        raise Unreadable(f"{said}; where FreeRADIUS cannot read it either, it rejects the user") from None
    return Pair(row, shown, op, text, attribute, None if op in ("=*", "!*") else value)


def _unquoted(value: str) -> str:
    """A value wholly in quotes stands without them. What some versions expand at each request, or run, netd cannot say beforehand."""
    if value.startswith("`") and value.endswith("`") and len(value) > 1:
        raise Unreadable("FreeRADIUS may run a program for this value, depending on its version and settings")
    quoted = len(value) > 1 and value[0] in "'\"" and value[-1] == value[0]
    if quoted and value[0] == '"' and "%{" in value:
        raise Unreadable("FreeRADIUS may expand this value at each request, depending on its version and settings")
    return value[1:-1] if quoted else value


def merge(to: list[Pair], rows: Iterable[Pair]) -> list[Pair]:
    """The list ``to`` after the pairs of one query were merged into it (radius_pairmove).

    Operators act on what was in the list before, not on what the same query adds: two ``:=`` of one attribute both stay.
    """
    slots: list[Pair | None] = list(to)
    edited = [False] * len(slots)
    added: list[Pair] = []
    for pair in rows:
        if pair.op == "+=":
            added.append(pair)
            continue
        found = moved = False
        for at, other in enumerate(slots):
            if edited[at] or other is None or _bare(other) != _bare(pair):
                continue
            if pair.op == ":=":
                slots[at], edited[at], moved = pair, True, True
                break
            if pair.op == "=":
                found = True
                break
            if pair.op == "!*" or (pair.op == "-=" and other.content == pair.content) or (pair.op == "==" and other.content != pair.content):
                slots[at] = None
        if not found and not moved and pair.op in (":=", "="):
            added.append(pair)
    return [pair for pair in slots if pair is not None] + added


def _bare(pair: Pair) -> str:
    """The attribute without its tag: FreeRADIUS compares definitions."""
    return pair.name.partition(":")[0].casefold()
