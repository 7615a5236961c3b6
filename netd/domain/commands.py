"""Which commands only show something, and how secrets get into lines that are typed. Pure.

What is allowed is a short list by the first words; what could do more than show, whatever the words before it, is refused: a shell's and RouterOS's
brackets and substitutions, redirections, several commands in one line, output that goes to a file or never ends. Of RouterOS' menus those are known that hold
nothing secret, or hold it where it can be masked: their words are looked at one by one, for an item may have a verb's name, and a verb may be cut short.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from netd.config import CommandsConfig
from netd.errors import ConfigError

SHOWING: Final = (
    r"(?:do )?show\b", r"display\b", r"info\b(?! configure)", r"admin display-config\b", r"ping\b", r"traceroute\b", r"tracert\b",
    r"/[a-z0-9-]+(?:[ /][a-z0-9-]+)*[ /]print\b", r"(?:uname|uptime|lsmod|lsblk)(?: -[a-zA-Z]+)*$", r"df(?: -[a-zA-Z]+)*(?: /[\w./-]*)?$",
    r"free(?: -[bkmghltwv]+)*$", r"hostname$", r"ip (?:-[46] )?(?:-[sdo] )*(?:addr|link|route|neigh)(?: show\b|$)",
)  # fmt: skip
"""How a command begins that only shows something."""

NEVER: Final = (
    r"[;`$<>&\\{}\[\]()\x00-\x1f]", r"\b(?:redirect|append|tee|save|file=|follow|interval|tech-support|without-paging=no)", r"\bdiag",
    r"^(?:do )?show (?:history|archive)\b", r"^trac\w*\b.*(?: -[qNf]\b| probe\b)",
)  # fmt: skip
"""What a command that only shows something has not in it: who looks at what others typed may see a secret."""

MOST_PINGS: Final = 100
LARGEST_PING: Final = 10_000

MENU_WORDS: Final = frozenset((
    "aaa", "access-list", "active", "active-peers", "address", "address-list", "advertisements", "area", "arp", "binding", "board", "bonding",
    "bridge", "bgp", "bfd", "cache", "caps-man", "certificate", "clock", "connection", "cookie", "cpu", "dhcp-client", "dhcp-relay", "dhcp-server",
    "disk", "dns", "dot1x", "eoip", "ethernet", "filter", "firewall", "forwarding-table", "gre", "group", "health", "history", "host", "hotspot",
    "identity", "igmp-proxy", "input", "installed-sa", "instance", "interface", "interface-template", "ip", "ip-binding", "ipip", "ipsec", "ipv6",
    "irq", "l2tp-client", "l2tp-server", "lacp", "layer7-protocol", "ldp", "lease", "license", "list", "log", "logging", "lsa", "lte", "mac-server",
    "macsec", "mangle", "mdb", "member", "mlag", "mode-config", "mpls", "msti", "nat", "nd", "neighbor", "netwatch", "network", "note", "ntp",
    "option", "option-sets", "ospf", "ovpn-client", "ovpn-server", "package", "pci", "peer", "peers", "policy", "pool", "port", "ppp", "pppoe-client",
    "pppoe-server", "pptp-client", "pptp-server", "prefix", "profile", "proposal", "proxy", "queue", "radius", "raw", "registration-table",
    "resource", "rip", "route", "routerboard", "routing", "rule", "secret", "security", "security-profiles", "server", "servers", "service",
    "service-port", "session", "sessions", "settings", "simple", "sms", "snmp", "sstp-client", "sstp-server", "static", "statistics", "status",
    "switch", "system", "table", "template", "tool", "tree", "type", "upnp", "ups", "usb", "used", "user", "user-manager", "veth", "vlan", "vrf",
    "vrrp", "vpls", "vteps", "vxlan", "walled-garden", "watchdog", "wifi", "wireguard", "wireless",
))  # fmt: skip
"""What RouterOS' menus are called; none of these is a verb. In /snmp community the names are the secrets; scripts and files have any."""

IN_FULL: Final = frozenset((
    "ppp secret", "radius", "user-manager user", "user-manager", "tool sms", "interface wireless security-profiles", "interface wifi security",
    "caps-man security", "interface wireguard", "interface wireguard peers", "interface dot1x", "ip ipsec identity", "ip ipsec peer",
    "ip ipsec installed-sa", "ip hotspot user", "interface pppoe-client", "interface l2tp-client", "interface pptp-client", "interface sstp-client",
    "interface ovpn-client",
))  # fmt: skip
"""Menus that hold secrets: by name and value, which is masked, they are shown; as tables, whose columns shift, they are not."""

_PIPE = re.compile(r"\s*(?:include|exclude|begin|section|count|match|no-more|as|in|i|e|b)\b[^|]*", re.IGNORECASE)
_PLACE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]{0,63})\}")
_PRINT = re.compile(r"/(.*?)[ /]print\b(.*)", re.IGNORECASE)
_SECRET_WORD = re.compile(r"(?i)pass|secret|community|key|loid|token")
_PING_COUNTS: Final = ("-c", "repeat", "count")
_PING_OPTIONS: Final = frozenset((
    *_PING_COUNTS, "-s", "size", "-i", "-I", "-a", "-S", "-W", "-w", "-t", "-vpn-instance", "source", "timeout", "vrf", "router", "router-instance",
    "network-instance", "ttl", "interface", "src-address", "routing-table", "address",
))  # fmt: skip
_PING_FLAGS: Final = frozenset(("-4", "-6", "-n", "-q", "ip", "ipv6", "df-bit", "do-not-fragment"))


class ShowRules:
    """The rules, with an operator's own: regular expressions; ``allow`` is matched at the beginning, ``deny`` anywhere. Raises re.error."""

    def __init__(self, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> None:
        self._own = [re.compile(each, re.IGNORECASE) for each in allow]
        self._allow = [re.compile(each, re.IGNORECASE) for each in SHOWING]
        self._deny = [re.compile(each, re.IGNORECASE) for each in (*NEVER, *deny)]

    def refuses(self, command: str) -> str:
        """Why a command is not known to only show something; "" if it is."""
        first, *piped = (each.strip() for each in command.split("|"))
        own = any(each.match(first) for each in self._own)
        if not own and not any(each.match(first) for each in self._allow):
            return "is not known to only show something"
        if not all(_PIPE.fullmatch(each) for each in piped):
            return "pipes its output into something else than a filter"
        found = next((match for each in self._deny if (match := each.search(command))), None)
        if found is not None:
            return f"has {found.group()!r} in it, with which more can be done than show something"
        return "" if own else _menu(first) or _ping(first)


def _menu(command: str) -> str:
    """What is wrong with a ``print`` of RouterOS."""
    found = _PRINT.match(command)
    if found is None:
        return ""
    words = re.split(r"[ /]+", found[1].lower())
    unknown = next((word for place, word in enumerate(words) if word not in MENU_WORDS or (word == "ip" and place)), None)  # ip, elsewhere: ip-scan
    if unknown is not None:
        return f"has {unknown!r} in it, which is not known to be a menu that only shows something"
    menu, how = " ".join(words), found[2].lower().split()
    if menu in IN_FULL and not {"detail", "terse"} & set(how):
        return f"shows the secrets of /{menu} in a table: say print detail"
    return ""


def _ping(command: str) -> str:
    """What is wrong with a ``ping``: without a count some never end, and some can be made to flood."""
    verb, *words = command.replace("=", " ").split() or [""]
    if verb.lower() != "ping":
        return ""
    counted, hosts = False, 0
    given = iter(words)
    for word in given:
        if word in _PING_FLAGS:
            continue
        if word not in _PING_OPTIONS:
            hosts += 1
            if word.startswith("-") or hosts > 1:
                return f"pings with {word!r}, which is not known to be harmless"
            continue
        value = next(given, "")
        if word in _PING_COUNTS:
            counted = True
            if not value.isdecimal() or not 1 <= int(value) <= MOST_PINGS:
                return f"pings more than {MOST_PINGS} times"
        elif word in ("-s", "size") and not (value.isdecimal() and int(value) <= LARGEST_PING):
            return f"pings with more than {LARGEST_PING} octets"
        elif word == "-i" and (value[:1].isdecimal() or value[:1] in ("", ".")) and not re.fullmatch(r"[1-9]\d*(?:\.\d+)?", value):
            return "pings more than once a second"
    return "" if counted else f"pings without an end: say how often, up to {MOST_PINGS} times (-c, repeat or count)"


_TITLE = re.compile(r"(?i)(?:.*[ _-])?(?:passwords?|passwd|secret|passphrase|community|community[ -]?name|(?:pre-?)?shared[ -]?(?:secret|key)|"
                    r"(?:private|auth|authentication|encryption|priv|wpa2?-?pre-shared)-key|key-string|loid|token)\Z")  # fmt: skip


def without_tables(text: str) -> str:
    """A command's text, without what follows a table's heading with a secret's column: columns shift, so that nobody knows where in a line it is."""
    lines = text.split("\n")
    for place, line in enumerate(lines):
        if _is_heading(line):
            kept = (each if re.fullmatch(r"[-=+| \t\r]*", each) or _is_heading(each) else "<secret>" for each in lines[place + 1 :])
            return "\n".join((*lines[: place + 1], *kept))
    return text


def _is_heading(line: str) -> bool:
    if len(line) > 500 or not _SECRET_WORD.search(line) or any(each in line for each in "=<"):
        return False
    titles = [title.strip(" ,:") for title in (line.split() if line.isupper() else re.split(r"[ \t]{2,}|\t|\|", line)) if title.strip(" ,:#")]
    return len(titles) > 1 and any(_TITLE.match(title) for title in titles)


def show_rules(config: CommandsConfig) -> ShowRules:
    """The rules as the configuration wants them. Raises ConfigError for an expression that is none."""
    try:
        return ShowRules(config.show_allow, config.show_deny)
    except re.error as error:
        raise ConfigError("configuration", "commands", f"{error.pattern!r} is no regular expression: {error}") from error


def secrets_of(text: str) -> dict[str, str]:
    """``name=value`` lines. Raises ValueError."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, equals, value = line.partition("=")
        if not line.strip():
            continue
        if not equals or not _PLACE.fullmatch(f"${{{name.strip()}}}") or not value:
            raise ValueError(f"line {number} is not of the form name=value")
        found[name.strip()] = value
    return found


def places(lines: Iterable[str]) -> set[str]:
    """The names of the secrets that lines ask for with ``${name}``."""
    return {name for line in lines for name in _PLACE.findall(line)}


def filled(lines: Sequence[str], secrets: Mapping[str, str]) -> list[str]:
    """The lines with their secrets. Raises KeyError for a name that is not there."""
    return [_PLACE.sub(lambda match: secrets[match.group(1)], line) for line in lines]
