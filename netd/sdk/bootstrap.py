"""What a class of devices needs from DHCP to boot, as data: ``[[bootstrap]]`` in a vendor's ``manifest.toml``.

A profile says how its devices are recognised by what they send, what of that is a serial number or a model, and which options they act on. Option
numbers collide between vendors (143 is SZTP for one and the address of an FTP server for another), so an option is sent only by the profile
that names it. Values are templates: ``{url}`` stands for a variable, and nothing else is special.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from netd.model.boot import TRANSPORTS, Transport
from netd.model.dhcp import BootProfile, FirstFile
from netd.model.ztp import ClientIdentity
from netd.wire import dhcp, dhcpv6

Field = Literal["vendor_class", "user_class", "vendor_classes", "vendor_options", "client_id", "hostname"]
Kind = Literal["text", "address", "u8", "u16", "u32", "hex", "uris", "suboptions", "vendor"]
Evidence = Literal["document", "capture", "source", "assumed", "none"]

_VARIABLE: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_PORTS: Final[Mapping[str, str]] = {"http": "80", "https": "443", "tftp": "69", "ftp": "21", "sftp": "22"}
_WIDTHS: Final[Mapping[str, int]] = {"u8": 1, "u16": 2, "u32": 4}


class Pattern(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A regular expression that must fit the whole of a field (octets as Latin-1), and of ``enterprise`` where the field has several. Its groups
    ``serial`` and ``model`` are what the device says of itself."""

    field: Field
    pattern: str
    enterprise: int | None = None


class Member(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sub-option. Left out if a variable that it names is not there; and the whole option, if it is ``required``: without it the others mean nothing."""

    code: int
    value: str
    kind: Literal["text", "address", "u8", "u16", "u32", "hex"] = "text"
    required: bool = False


class BootOption(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An option. ``kind``: ``text``; ``address`` (one or several, by comma); numbers; ``hex``; ``uris``, the list of RFC 8572 8; ``suboptions``, the members
    one behind the other; ``vendor``, the members under ``enterprise`` (125, 17).

    Left out if a variable that it names is not there, unless ``required``: then the device gets no answer at all. ``always_send``: also to who does not
    ask for it in option 55. ``end``: sub-options are closed with 255.
    """

    code: int
    value: str = ""
    kind: Kind = "text"
    enterprise: int | None = None
    members: tuple[Member, ...] = ()
    always_send: bool = False
    required: bool = False
    end: bool = False


class Bootstrap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[bootstrap]]``: one class of devices. ``matches`` are alternatives; ``facts`` are looked at once a device is recognised. ``everybody`` fits any
    client, if no other profile does. ``file`` and ``next_server`` fill BOOTP's fields, for loaders that look there."""

    name: str  # vendor_family, lower case
    title: str
    evidence: Evidence
    made_from: tuple[str, ...]  # documents or captures
    note: str = ""  # what is not known
    matches: tuple[Pattern, ...] = ()
    facts: tuple[Pattern, ...] = ()
    everybody: bool = False
    options: tuple[BootOption, ...] = ()
    options6: tuple[BootOption, ...] = ()
    file: str = ""
    next_server: str = ""
    least_lease_seconds: int = 0
    transports: tuple[Transport, ...] = TRANSPORTS  # how its devices fetch that; the first is what they are told where nobody says otherwise
    first_file: FirstFile = "text"  # what its devices fetch first: nothing, a text as it is, one that begins as they want, or a list of further files


class Profile:
    """A Bootstrap made ready. Raises ValueError for one that cannot be used."""

    def __init__(self, data: Bootstrap, vendor: str = "") -> None:
        self.data = data
        self.name = data.name
        self.vendor = vendor
        self.everybody = data.everybody
        self._matches = [_compiled(pattern) for pattern in data.matches]
        self._facts = [_compiled(pattern) for pattern in data.facts]
        if not data.made_from:
            raise ValueError(f"{data.name} does not say what it was made from")
        if not data.transports:
            raise ValueError(f"{data.name} does not say how its devices fetch files")
        for option in (*data.options, *data.options6):
            _check(data.name, option)

    def shown(self) -> BootProfile:
        """What people see of it."""
        data = self.data
        return BootProfile(
            name=data.name, title=data.title, vendor=self.vendor, evidence=data.evidence, made_from=data.made_from, note=data.note,
            recognised=bool(data.matches), variables=tuple(sorted(self.variables())), options=tuple(option.code for option in data.options),
            options6=tuple(option.code for option in data.options6), first_file=data.first_file,
            transports=data.transports,
        )  # fmt: skip

    def recognise(self, seen: ClientIdentity) -> tuple[str, str] | None:
        """Serial number and model ("" where it does not say) if the client is of this class; None if it is not."""
        for pattern, expression in self._matches:
            found = _search(pattern, expression, seen)
            if found is not None:
                for other, wanted in self._facts:
                    found = (_search(other, wanted, seen) or {}) | {name: text for name, text in found.items() if text}
                return found.get("serial") or "", found.get("model") or ""
        return None

    def variables(self) -> frozenset[str]:
        """The names of all variables that its templates use."""
        options = (*self.data.options, *self.data.options6)
        texts = [self.data.file, self.data.next_server, *(o.value for o in options), *(m.value for o in options for m in o.members)]
        return frozenset(name for text in texts for name in _VARIABLE.findall(text))

    def options(self, variables: Mapping[str, str], requested: Sequence[int], family: Literal[4, 6] = 4) -> list[tuple[int, bytes]]:
        """What this client gets of it, in order; of several options with one code the first that can be made. Raises ValueError if something required
        cannot be made."""
        found: dict[int, bytes] = {}
        for option in self.data.options if family == 4 else self.data.options6:
            if option.code not in found and (option.always_send or option.required or option.code in requested):
                value = _value(self.name, option, variables, family)
                if value is not None:
                    found[option.code] = value
        return list(found.items())

    def fields(self, variables: Mapping[str, str]) -> tuple[bytes, int]:
        """BOOTP's file and next server. Raises ValueError for what cannot stand there."""
        file, server = filled(self.data.file, variables), filled(self.data.next_server, variables)
        if file and len(file.encode()) > 127:
            raise ValueError(f"{self.name}: a boot file name of {len(file.encode())} octets")
        return (file or "").encode(), int(IPv4Address(server)) if server else 0


def filled(template: str, variables: Mapping[str, str]) -> str | None:
    """The template with its variables; None if one is missing or empty. Raises ValueError for a value with a control character."""
    values = {name: variables.get(name, "") for name in _VARIABLE.findall(template)}
    if not all(values.values()):
        return None
    for name, value in values.items():
        if not value.isprintable():
            raise ValueError(f"{name} has a control character in it")
    return _VARIABLE.sub(lambda match: values[match[1]], template)


def url_variables(url: str) -> dict[str, str]:
    """``url`` and its parts, for devices that want these apart: ``url_server`` is scheme://host:port, ``url_host`` an address or name, ``url_path`` without
    the leading slash, ``url_dir`` that without the file's name: a device's other files are there, too. ``url_or_path``: a TFTP server knows no URLs."""
    if not url:
        return {}
    parts = urlsplit(url)
    path = parts.path.lstrip("/")
    return {
        "url": url, "url_scheme": parts.scheme, "url_host": parts.hostname or "", "url_server": f"{parts.scheme}://{parts.netloc}",
        "url_port": str(parts.port or _PORTS.get(parts.scheme, "")), "url_path": path,
        "url_dir": path.rpartition("/")[0], "url_or_path": path if parts.scheme == "tftp" else url,
    }  # fmt: skip


def _compiled(pattern: Pattern) -> tuple[Pattern, re.Pattern[str]]:
    try:
        return pattern, re.compile(pattern.pattern, re.DOTALL)
    except re.error as error:
        raise ValueError(f"{pattern.pattern!r} is no regular expression: {error}") from None


def _texts(pattern: Pattern, seen: ClientIdentity) -> Iterable[bytes]:
    if pattern.field == "vendor_class":
        return (seen.vendor_class,) if seen.vendor_class else ()
    if pattern.field == "user_class":
        return seen.user_classes
    if pattern.field == "client_id":
        return (seen.client_id,)
    if pattern.field == "hostname":
        return (seen.hostname,) if seen.hostname else ()
    members = seen.vendor_classes if pattern.field == "vendor_classes" else seen.vendor_options
    return [body for enterprise, body in members if pattern.enterprise in (None, enterprise)]


def _search(pattern: Pattern, expression: re.Pattern[str], seen: ClientIdentity) -> dict[str, str] | None:
    for text in _texts(pattern, seen):
        if len(text) <= 512 and (match := expression.fullmatch(text.decode("latin-1"))):
            return {name: value for name, value in match.groupdict().items() if value and value.isprintable()}
    return None


def _check(name: str, option: BootOption) -> None:
    if option.kind in ("suboptions", "vendor"):
        if not option.members or option.value:
            raise ValueError(f"{name}: option {option.code} of kind {option.kind} needs members, and no value")
        if (option.enterprise is None) == (option.kind == "vendor"):
            raise ValueError(f"{name}: option {option.code}: an enterprise goes with kind vendor")
    elif option.members or not option.value:
        raise ValueError(f"{name}: option {option.code} of kind {option.kind} needs a value, and no members")


def _value(name: str, option: BootOption, variables: Mapping[str, str], family: Literal[4, 6]) -> bytes | None:
    if option.kind in ("suboptions", "vendor"):
        made = [(m, _octets(m.kind, filled(m.value, variables))) for m in option.members]
        members = [] if any(m.required and value is None for m, value in made) else [(m.code, value) for m, value in made if value is not None]
        if members and option.kind == "suboptions":
            return dhcp.join_suboptions(members) + b"\xff" * option.end
        if members and family == 4:
            return dhcp.join_vendor_options([(option.enterprise or 0, dhcp.join_suboptions(members))])
        if members:
            return (option.enterprise or 0).to_bytes(4, "big") + dhcpv6.join(members)
        value = None
    else:
        value = _octets(option.kind, filled(option.value, variables))
    if value is None and option.required:
        raise ValueError(f"{name} needs {', '.join(_names(option, variables))} for option {option.code}")
    return value


def _names(option: BootOption, variables: Mapping[str, str]) -> list[str]:
    needed = [member for member in option.members if member.required] or option.members
    texts = (option.value, *(member.value for member in needed))
    return sorted({found for text in texts for found in _VARIABLE.findall(text) if not variables.get(found)})


def _octets(kind: Kind, text: str | None) -> bytes | None:
    if text is None:
        return None
    if kind == "text":
        return text.encode()
    if kind == "address":
        return b"".join(IPv4Address(part.strip()).packed for part in text.split(","))
    if kind == "hex":
        return bytes.fromhex(text)
    if kind == "uris":
        return dhcpv6.join_texts([part.encode() for part in text.split()])
    width = _WIDTHS[kind]
    number = int(text)
    if not 0 <= number < 1 << 8 * width:
        raise ValueError(f"{number} does not fit into {width} octets")
    return number.to_bytes(width, "big")
