"""RouterOS 6 and 7 by its command line and SNMP; what version 7 says of itself also by its REST API.

- What is typed works at once and stays: there is nothing to save, and no startup configuration beside the running one.
- An export has no end marker of its own, and large ones were cut by routers: it is followed by one that the router itself prints.
- Version 7 leaves secrets out of an export unless asked for them; version 6 does not know that word.
- Packages are installed by the restart after they were stored, if they are newer; older ones by ``/system package downgrade``, which restarts, too.
  RouterBOOT comes with the packages and takes another restart.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Literal

from netd.model.device import ArpEntry, Facts, Image, MacEntry, Neighbour, Outcome
from netd.sdk import text as read
from netd.sdk.dialogue import Answer, Dialogue, Get, Note, Pause, Put, Reconnect, say
from netd.sdk.patterns import compiled, substituted
from netd.sdk.polled import Polled
from netd.sdk.shell import SECRET, ConfigurationLines, Shell
from netd.sdk.terminal import Refused

_YES = Answer(question=r"\[[yY]/[nN]\]:? ?\s*\Z", text="y")
_ITEM = re.compile(r"^[ \t]*\d+\s", re.MULTILINE)
_BACK_SECONDS = 600.0


class Driver(Shell, ConfigurationLines, Polled):
    """Routers, switches with RouterOS and CHR."""

    def configuration(self, which: Literal["running", "startup"]) -> Dialogue[str]:
        if which == "startup":
            raise LookupError("RouterOS has no startup configuration: what is set stays")
        version = yield from self._version()
        command = "/export show-sensitive" if version >= (7,) else "/export"
        text = yield from say(f'{command}; :put "# netd: end of export"', check=False, timeout_seconds=self.family.configuration.timeout_seconds, large=True)
        return self.whole(text, command)

    def masked(self, text: str) -> str:
        text = super().masked(text)
        parts, at = [], 0
        for found in self._menus.finditer(text):
            end = text.find("\n/", found.end())
            end = len(text) if end < 0 else end + 1
            within = compiled(self.data["configuration_menus"][found.group()])
            parts += [text[at : found.start()], substituted([within], _masked, text[found.start() : end])]
            at = end
        return "".join((*parts, text[at:]))

    @cached_property
    def _menus(self) -> re.Pattern[str]:
        """Menus in which a name is a secret."""
        return re.compile(rf"^(?:{'|'.join(map(re.escape, self.data['configuration_menus']))})(?= |$)", re.MULTILINE)

    def restore(self, text: str, *, save: bool = True) -> Dialogue[Outcome]:
        """Start with nothing but the users and this text; what the router shows then must be it. What is set stays, so ``save`` makes no difference.

        The text is read back before anything is reset: where there is a folder ``flash``, all else is gone with the restart.
        """
        folder = "flash/" if (yield from say(':put [:len [/file find name="flash"]]')).strip() == "1" else ""
        path = f"{folder}netd-restore.rsc"
        yield Put(path=path, content=text.encode())
        try:
            if (yield Get(path=path)).encode("latin-1") != text.encode():
                raise Refused(f"{path} was not stored as it was sent; nothing was reset", Outcome.UNVERIFIED)
            yield Note(text="resetting the configuration; the router restarts and runs the stored text")
            reset = f"/system reset-configuration keep-users=yes no-defaults=yes skip-backup=yes run-after-reset={path}"
            yield from say(reset, _YES, drops=True)
        except Refused:  # nothing else: a router that was told to reset must find the file when it starts
            yield from self._remove(path)
            raise
        yield Reconnect(within_seconds=_BACK_SECONDS, settle_seconds=15)
        yield from self._remove(path)
        shown = yield from self.configuration("running")
        return Outcome.OK if self.normal(shown) == self.normal(text) else Outcome.UNVERIFIED

    def _remove(self, path: str) -> Dialogue[None]:
        yield from say(f"/file remove {path}", check=False)  # it has secrets

    def neighbours(self) -> Dialogue[Sequence[Neighbour]]:
        text = yield from say("/ip neighbor print detail without-paging")
        return [each for item in _ITEM.split(text)[1:] if (each := _neighbour(read.attributes(item)))]

    def macs(self) -> Dialogue[Sequence[MacEntry]]:
        text = yield from say("/interface bridge host print terse without-paging")
        found = []
        for line in text.splitlines():
            flags = line.split("mac-address=")[0].split()[1:]
            if not any("L" in flag for flag in flags) and (entry := _host(read.attributes(line))):  # L: the bridge's own
                found.append(entry)
        return found

    def arps(self) -> Dialogue[Sequence[ArpEntry]]:
        text = yield from say("/ip arp print terse without-paging")
        return [entry for line in text.splitlines() if (entry := _arp(read.attributes(line)))]

    def menus(self) -> Mapping[str, Sequence[str]]:
        return {
            "facts": ("/system/routerboard", "/system/resource", "/system/identity"), "neighbours": ("/ip/neighbor",),
            "macs": ("/interface/bridge/host",), "arps": ("/ip/arp",),
        }  # fmt: skip

    def recorded(self, what: str, records: Sequence[Mapping[str, str]]) -> Any:
        """Of the REST API of version 7: the console's properties by their names, flags as ``true`` and ``false``."""
        match what:
            case "facts":
                return _facts({name: value for record in records for name, value in record.items()})
            case "neighbours":
                return [each for record in records if (each := _neighbour(record))]
            case "macs":
                return [host for record in records if record.get("local") != "true" and (host := _host(record))]
            case _:
                return [arp for record in records if (arp := _arp(record))]

    def free_octets(self) -> Dialogue[int]:
        text = yield from say("/system resource print without-paging")
        free = read.octets(read.pairs(text).get("free-hdd-space", ""))
        if free is None:
            raise Refused("/system resource print says nothing of free-hdd-space", Outcome.UNVERIFIED, text.strip()[-200:])
        return free

    def transfer(self, image: Image) -> Dialogue[None]:
        yield Put(path=image.name, image=True)

    def verify(self, image: Image) -> Dialogue[Outcome]:
        """Read it back: the router has no checksum of its own to be asked for."""
        content = yield Get(path=image.name)
        return Outcome.OK if hashlib.sha256(content.encode("latin-1")).hexdigest() == image.sha256 else Outcome.FAILED

    def activate(self, image: Image) -> Dialogue[None]:
        """Nothing, for a newer one. An older one is installed here, for the command that allows it restarts the router at once."""
        installed = yield from self._version()
        if _numbers(image.version) < installed:
            yield Note(text=f"{image.version} is older than what runs: downgrade, which restarts the router")
            yield from say("/system package downgrade", _YES, drops=True)
            yield Reconnect(within_seconds=_BACK_SECONDS, settle_seconds=15)

    def reboot(self) -> Dialogue[None]:
        yield from say("/system reboot", _YES, drops=True)
        yield Reconnect(within_seconds=_BACK_SECONDS, settle_seconds=15)
        try:
            board = read.pairs((yield from say("/system routerboard print without-paging")))
        except Refused:
            return  # CHR and PCs have no RouterBOOT
        current, upgrade = board.get("current-firmware"), board.get("upgrade-firmware")
        if current is None or upgrade is None or current == upgrade:
            return
        yield Note(text=f"RouterBOOT {current} -> {upgrade}, which takes another restart")
        yield from say("/system routerboard upgrade", _YES)
        yield Pause(seconds=5)
        yield from say("/system reboot", _YES, drops=True)
        yield Reconnect(within_seconds=_BACK_SECONDS, settle_seconds=15)

    def _version(self) -> Dialogue[tuple[int, ...]]:
        text = yield from say("/system resource print without-paging")
        return _numbers(read.pairs(text).get("version", ""))


def _facts(known: Mapping[str, str]) -> Facts:
    return Facts(
        hostname=known.get("name") or None, model=known.get("model") or known.get("board-name") or None, serial=known.get("serial-number") or None,
        software_version=known.get("version", "").partition(" ")[0] or None, hardware_revision=known.get("revision") or None,
        uptime_seconds=read.seconds(known.get("uptime", "")),
    )  # fmt: skip


def _neighbour(known: Mapping[str, str]) -> Neighbour | None:
    if not known.get("interface"):
        return None
    by = known.get("discovered-by", "")
    return Neighbour(
        local_interface=known["interface"].split(",")[0], protocol="lldp" if "lldp" in by else "cdp" if "cdp" in by else "mndp",
        remote_name=known.get("identity") or None, remote_interface=known.get("interface-name") or None,
        remote_address=_address(known.get("address") or known.get("address6") or ""), remote_mac=read.mac(known.get("mac-address", "")),
        remote_description=known.get("system-description") or None,
    )  # fmt: skip


def _host(known: Mapping[str, str]) -> MacEntry | None:
    mac, interface = read.mac(known.get("mac-address", "")), known.get("on-interface") or known.get("interface")
    if not mac or not interface:
        return None
    return MacEntry(mac=mac, interface=interface, vlan=int(known["vid"]) if known.get("vid", "").isdecimal() else None)


def _arp(known: Mapping[str, str]) -> ArpEntry | None:
    mac, address = read.mac(known.get("mac-address", "")), _address(known.get("address", ""))
    return ArpEntry(address=address, mac=mac, interface=known["interface"]) if mac and address and known.get("interface") else None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _masked(match: re.Match[str]) -> str:
    return match.group().replace(match.group(1), SECRET)


def _numbers(version: str) -> tuple[int, ...]:
    """``7.16.2 (stable)`` in an order that can be compared; a beta is before the release."""
    found = re.match(r"(\d+(?:\.\d+)*)(beta|rc)?(\d+)?", version)
    if found is None:
        return ()
    numbers = [int(part) for part in found.group(1).split(".")]
    numbers += [0] * (3 - len(numbers))
    return (*numbers, {"beta": -2, "rc": -1}.get(found.group(2) or "", 0), int(found.group(3) or 0))
