"""Cisco IOS and IOS XE by their command line and SNMP.

- Files go by SCP (``ip scp server enable``, a user of privilege 15), each over a connection of its own: IOS has one channel in a connection and no SFTP.
- Where the router has an archive (``archive``, ``path``), it takes every change back by itself unless that is confirmed within ten minutes: after somebody
  has logged in anew.
- ``configure replace`` makes a stored text the running configuration: with an archive wholly or not at all; without, what it refuses stays undone.
- A router that starts an image gets it as the first of its ``boot system`` lines, the one that runs stays the second. One that starts packages
  (``packages.conf``) unpacks it, activates it with the restart, and goes back by itself some hours later unless it is committed.
"""

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from netd.errors import PeerError, PeerUnreachable
from netd.model.device import ArpEntry, Image, MacEntry, Neighbour, Outcome
from netd.sdk import text as read
from netd.sdk.dialogue import Answer, Dialogue, Get, LogIn, Note, Put, Reconnect, say
from netd.sdk.polled import Polled
from netd.sdk.shell import FINE, ConfigurationLines, Shell
from netd.sdk.terminal import Refused

_CDP = re.compile(r"^-{5,}[ \t]*$", re.MULTILINE)
_LLDP = re.compile(r"^(?=Local Intf: )", re.MULTILINE)
_DIRECTORY = re.compile(r"^Directory of ([\w-]+:)", re.MULTILINE)
_FREE = re.compile(r"\((\d+) bytes free\)")
_PATH_LIST = re.compile(r"^BOOT path-list *: *(\S+)", re.MULTILINE)
_MEMBER = re.compile(r"^[* ] +\d+ +\d+ +\S+ +\d\S+ +\S+ *\S*$", re.MULTILINE)
_IMAGE_FILE = re.compile(r'^System image file is "([^"\n]+)"', re.MULTILINE)
_PACKAGE = re.compile(r"^IMG +([IUCD]) +(\S+)", re.MULTILINE)
_NOT_REPLACED = re.compile(r"^.*(?:Failed to apply command (?P<line>.*)|Rollback aborted.*|Rollback failed.*|not a valid config file.*)$", re.MULTILINE)
_MINUTES = re.compile(r"^Timer value: *(\d+) min", re.MULTILINE)
_USER = re.compile(r"^User: *(\S+)", re.MULTILINE)
_NO_ARCHIVE = re.compile(r"[Tt]urn config archive on|Invalid input detected")

_YES = Answer(question=r"\[y/n\]:? ?\s*\Z", text="y")
_UNSAVED = (Answer(question=r"Save\? \[yes/no\]:? ?\s*\Z", text="no"), Answer(question=r"\[y/n/q\]:? ?\s*\Z", text="n"))  # what others left unsaved stays so
_CONFIRM = Answer(question=r"\[confirm\] ?\s*\Z", text="")
_REVERT_MINUTES = 10
_NAME_COLUMN = 10  # characters of a name that `show users` has room for
_SLOW_SECONDS, _BACK_SECONDS, _SETTLE_SECONDS = 1800.0, 1800.0, 30.0


class Driver(Shell, ConfigurationLines, Polled):
    """Routers and switches."""

    def neighbours(self) -> Dialogue[Sequence[Neighbour]]:
        """By CDP, and by LLDP those of whom CDP says nothing; who has switched one of them off hears nobody by it."""
        heard = yield from self._heard("show cdp neighbors detail")
        found = [each for item in _CDP.split(heard) if (each := _by_cdp(item)) is not None]
        known = {(_short(each.local_interface), each.remote_name) for each in found}
        heard = yield from self._heard("show lldp neighbors detail", Outcome.SYNTAX)
        by_lldp = [each for item in _LLDP.split(heard) if (each := _by_lldp(item)) is not None]
        return [*found, *(each for each in by_lldp if (_short(each.local_interface), each.remote_name) not in known)]

    def _heard(self, command: str, *lacking: Outcome) -> Dialogue[str]:
        text = yield from say(command, check=False)
        outcome, said = self.terminal.classify(text)
        if re.search(r"(?:CDP|LLDP) is not enabled", text) or outcome in lacking:
            return ""
        if outcome is not Outcome.OK:
            raise Refused(f"{command}: {said}", outcome, said)
        return text

    def macs(self) -> Dialogue[Sequence[MacEntry]]:
        text = yield from say("show mac address-table")
        found = []
        for tokens in read.rows(text):
            place = next((place for place, token in enumerate(tokens) if read.mac(token)), None)
            if place is None or tokens[-1] in {"CPU", "Router", "Switch"} or len(tokens) <= place + 2:
                continue
            vlan = next((token for token in tokens[:place] if token.isdigit()), None)
            found.append(MacEntry(mac=str(read.mac(tokens[place])), interface=tokens[-1], vlan=int(vlan) if vlan else None))
        return list(dict.fromkeys(found))  # a modular switch shows what each of its cards knows

    def arps(self) -> Dialogue[Sequence[ArpEntry]]:
        text = yield from say("show ip arp")
        found = []
        for tokens in read.rows(text):
            mac = next((mac for token in tokens if (mac := read.mac(token))), None)
            if tokens[0] == "Internet" and mac and len(tokens) >= 6:
                found.append(ArpEntry(address=ip_address(tokens[1]), mac=mac, interface=tokens[-1]))
        return found

    def configure(self, lines: Sequence[str]) -> Dialogue[Sequence[tuple[str, Outcome, str]]]:
        """Where the router has an archive, with a timer that ends only when somebody could log in anew."""
        timed = yield from self._timed()
        try:
            done = yield from super().configure(lines)
        except PeerUnreachable:
            raise
        except PeerError:
            if timed:
                yield from self._revert()
            raise
        if timed and all(outcome in FINE for _, outcome, _ in done):
            yield from self._confirm()
        elif timed:
            yield from self._revert()
        return done

    def _timed(self) -> Dialogue[bool]:
        """Start the timer, if there can be one; Refused where somebody else configures."""
        yield from self._nothing_pending()
        command = f"configure terminal revert timer {_REVERT_MINUTES}"
        said = yield from say(command, check=False)
        if _NO_ARCHIVE.search(said):
            return False
        outcome, line = self.terminal.classify(said)
        if outcome not in FINE:
            raise Refused(f"{command}: {line}", outcome, line)
        yield from say("end")
        return "Rollback Confirmed Change" in said

    def take_back(self, before: str, *, save: bool) -> Dialogue[Outcome]:
        """What the timer kept, if netd's runs; else by this text. Somebody else's timer is his, and what he is about."""
        timer = yield from self._timer()
        if timer:
            if (whose := (yield from self._others(timer))) is not None:
                raise Refused(f"a change of {whose} waits to be confirmed: to take back anything would take back that", Outcome.BUSY)
            yield from self._revert()
            if self.normal((yield from self.configuration("running"))) == self.normal(before):
                return Outcome.OK
        return (yield from self.restore(before, save=save))

    def _timer(self) -> Dialogue[str]:
        """What the router says of the timer that runs; nothing if none does."""
        said = yield from say("show archive config rollback timer", check=False)
        return said if "Timer value:" in said else ""

    def _others(self, timer: str) -> Dialogue[str | None]:
        """Whose a timer is that netd did not start, as far as the router tells."""
        minutes, user = _MINUTES.search(timer), _USER.search(timer)
        own = _own_name((yield from say("show users", check=False)))
        mine = user is None or not own or user[1] == own or (len(own) >= _NAME_COLUMN and user[1].startswith(own[:_NAME_COLUMN]))
        if (minutes is None or int(minutes[1]) == _REVERT_MINUTES) and mine:
            return None
        return user[1] if user else "somebody else"

    def _nothing_pending(self) -> Dialogue[None]:
        if (yield from self._timer()):
            raise Refused("a change waits to be confirmed: the router takes that back by itself, and all that is done until then", Outcome.BUSY)

    def _revert(self) -> Dialogue[None]:
        yield from say("configure revert now", check=False, timeout_seconds=_SLOW_SECONDS)

    def restore(self, text: str, *, save: bool = True) -> Dialogue[Outcome]:
        """Replace the configuration by this text, read back from the router before and compared afterwards; saved only if it is the same."""
        yield from self._nothing_pending()
        flash, _ = yield from self._flash()
        path = f"{flash}netd-restore.cfg"
        yield Put(path=path, content=text.encode())
        try:
            if (yield Get(path=path)).encode("latin-1") != text.encode():
                raise Refused(f"{path} was not stored as it was sent; nothing was replaced", Outcome.UNVERIFIED)
            yield from self._replace(path)
        finally:
            yield from say(f"delete /force {path}", check=False)  # it has secrets
        if self.normal((yield from self.configuration("running"))) != self.normal(text):
            return Outcome.UNVERIFIED
        if save:
            yield from self.save()
        return Outcome.OK

    def _replace(self, path: str) -> Dialogue[None]:
        """Raises Refused where nothing was replaced, or all of it was taken back."""
        command = f"configure replace {path} force"
        said = yield from say(f"{command} revert trigger error timer {_REVERT_MINUTES}", check=False, timeout_seconds=_SLOW_SECONDS)
        timed = _NO_ARCHIVE.search(said) is None
        if not timed:
            yield Note(text="the router has no archive: it cannot go back by itself")
            said = yield from say(command, check=False, timeout_seconds=_SLOW_SECONDS)
        failed = _NOT_REPLACED.search(said)
        why = self._why(failed, said) if failed else ""
        if failed is None and "Rollback Done" not in said:
            outcome, line = self.terminal.classify(said)
            raise Refused(f"{command}: {self.masked(line) or 'the router did not say that it is done'}", Outcome.UNVERIFIED if outcome in FINE else outcome)
        if failed is not None and not timed:
            yield Note(text=f"not all of it was taken: {why}")
        elif failed is not None:
            if "successfully restored" not in said:
                yield from self._revert()
            raise Refused(f"not taken: {why}; the router went back to what it had", Outcome.FAILED)
        if timed:
            yield from self._confirm()

    def _why(self, failed: re.Match[str], said: str) -> str:
        """The commands that a replacement could not apply, or what it says instead of them."""
        lines = [failed["line"]] if failed["line"] else _refused_lines(said)
        return "; ".join(self._each_masked(lines)) if lines else failed.group().strip()

    def _confirm(self) -> Dialogue[None]:
        """Keep what was changed, if it still lets somebody in."""
        try:
            yield LogIn()
        except PeerError as error:
            yield from self._revert()
            raise Refused(f"with the new configuration nobody can log in ({error}); the router went back to what it had", Outcome.FAILED) from error
        said = yield from say("configure confirm", check=False)
        outcome, line = self.terminal.classify(said)
        if outcome not in FINE:
            raise Refused(f"configure confirm: {line}", Outcome.UNVERIFIED, line)

    def free_octets(self) -> Dialogue[int]:
        _, free = yield from self._flash()
        if free is None:
            raise Refused("dir says nothing of what is free", Outcome.UNVERIFIED)
        return free

    def transfer(self, image: Image) -> Dialogue[None]:
        running, members = yield from self._image_file()
        if members > 1 and not running.endswith("packages.conf"):
            raise Refused(f"a stack of {members} switches that starts images: each would need this one; nothing was sent", Outcome.FAILED)
        flash, _ = yield from self._flash()
        yield Put(path=f"{flash}{image.name}", image=True)

    def verify(self, image: Image) -> Dialogue[Outcome]:
        """By its MD5, which the router computes."""
        flash, _ = yield from self._flash()
        text = yield from say(f"verify /md5 {flash}{image.name} {image.md5}", check=False, timeout_seconds=_SLOW_SECONDS)
        if "%Error verifying" in text:
            return Outcome.FAILED
        if re.search(rf"Verified .*= *{image.md5}\b", text, re.IGNORECASE):
            return Outcome.OK
        outcome, _ = self.terminal.classify(text)
        return outcome if outcome is Outcome.NOT_FOUND else Outcome.UNVERIFIED

    def activate(self, image: Image) -> Dialogue[None]:
        flash, _ = yield from self._flash()
        path = f"{flash}{image.name}"
        running, _ = yield from self._image_file()
        if running.endswith("packages.conf"):
            yield from self._add(path, image)
            return
        before = yield from self._boot_lines()
        first, second = f"boot system {path}", f"boot system {running}"
        if not (yield from self._starts(image, [first, second])) and not (yield from self._starts(image, [first])):  # a Catalyst keeps the last one only
            yield from super().configure(["no boot system", *before])
            raise Refused(f"the next start does not take {path}", Outcome.UNVERIFIED)
        yield from self.save()

    def _starts(self, image: Image, lines: Sequence[str]) -> Dialogue[bool]:
        """Type these lines instead of what was there; whether the next start then tries the image first."""
        done = yield from super().configure(["no boot system", *lines])
        shown = yield from self._boot_lines()
        return all(outcome in FINE for _, outcome, _ in done) and bool(shown) and shown[0].partition(";")[0].endswith(image.name)

    def reboot(self) -> Dialogue[None]:
        """Into what was activated; packages are committed once the router lets somebody in again."""
        running, _ = yield from self._image_file()
        if not running.endswith("packages.conf") or not (yield from self._packages("I")):
            yield from say("reload", *_UNSAVED, _CONFIRM, drops=True, timeout_seconds=120)
            yield Reconnect(within_seconds=_BACK_SECONDS, settle_seconds=_SETTLE_SECONDS)
            return
        _succeeded(
            "install activate", (yield from say("install activate", _YES, *_UNSAVED, drops=True, check=False, timeout_seconds=_SLOW_SECONDS)), must_say=False
        )
        yield Reconnect(within_seconds=_BACK_SECONDS, settle_seconds=_SETTLE_SECONDS)
        if (yield from self._packages("U")):
            _succeeded("install commit", (yield from say("install commit", _YES, check=False, timeout_seconds=_SLOW_SECONDS)))

    def _add(self, path: str, image: Image) -> Dialogue[None]:
        """Unpack the image; what somebody else unpacked is left to him."""
        for version in (yield from self._packages("I")):
            if not _same(version, image.version):
                raise Refused(f"{version} was added and not activated: activate it, or «install remove inactive»", Outcome.CONFLICT)
            return
        yield from self.save()
        _succeeded(f"install add file {path}", (yield from say(f"install add file {path}", _YES, check=False, timeout_seconds=_SLOW_SECONDS)))

    def _flash(self) -> Dialogue[tuple[str, int | None]]:
        """The file system that the router stores files in, and how many octets of it are free."""
        text = yield from say("dir")
        place, free = _DIRECTORY.search(text), _FREE.search(text)
        if place is None:
            raise Refused("dir does not say which file system it shows", Outcome.UNVERIFIED, text.strip()[-200:])
        return place[1], int(free[1]) if free else None

    def _image_file(self) -> Dialogue[tuple[str, int]]:
        """What it started, and how many switches of a stack did."""
        text = yield from say("show version")
        found = _IMAGE_FILE.search(text)
        if found is None:
            raise Refused("show version does not say which image runs", Outcome.UNVERIFIED)
        return found[1], len(_MEMBER.findall(text))

    def _boot_lines(self) -> Dialogue[list[str]]:
        """What says which images the next start tries; an older Catalyst keeps that beside its configuration."""
        text = yield from say("show running-config | include ^boot system")
        lines = [line.strip() for line in text.splitlines() if line.startswith("boot system")]
        if not lines and (kept := _PATH_LIST.search((yield from say("show boot", check=False)))):
            lines = [f"boot system {kept[1]}"]
        return lines

    def _packages(self, state: str) -> Dialogue[list[str]]:
        """Versions of packages in this state: I was added, U activated, C committed."""
        text = yield from say("show install summary")
        return [version for found, version in _PACKAGE.findall(text) if found == state]


def _succeeded(command: str, said: str, *, must_say: bool = True) -> None:
    """Raise Refused unless an ``install`` command said that it went well; one that restarts the router may not come to say it."""
    failed = next((line.strip() for line in said.splitlines() if "FAILED" in line or "already running" in line), None)
    if failed is not None:
        raise Refused(f"{command}: {failed}", Outcome.BUSY if "already running" in failed else Outcome.FAILED, failed)
    if must_say and "SUCCESS:" not in said:
        raise Refused(f"{command}: the router did not say that it is done", Outcome.UNVERIFIED, said.strip()[-200:])


def _own_name(users: str) -> str:
    """Who the session is of that a star marks, by the column in which ``show users`` has names; a line without log-in names nobody."""
    head = re.search(r"^[ \t]*Line[ \t]+(?=User[ \t]+(?=Host))", users, re.MULTILINE)
    own = re.search(r"^\*.*", users, re.MULTILINE)
    if head is None or own is None:
        return ""
    line = users[head.start() :].partition("\n")[0]
    return own.group()[line.index("User") : line.index("Host")].strip()


def _refused_lines(said: str) -> list[str]:
    """They stand between two rows of asterisks at the end."""
    parts = re.split(r"^\*{4,}[ \t]*$", said.partition("failed to apply")[2], flags=re.MULTILINE)
    return [line.strip() for line in parts[1].splitlines() if line.strip()] if len(parts) > 1 else []


def _same(package: str, version: str) -> bool:
    """Whether ``17.09.04a.0.6`` is of ``17.9.4a``."""
    found, wanted = list(_parts(package)), list(_parts(version))
    return found[: len(wanted)] == wanted


def _parts(version: str) -> Iterator[str]:
    for part in version.lower().split("."):
        yield part.lstrip("0") or "0"


def _short(interface: str) -> str:
    """``Gi0/1`` of ``GigabitEthernet0/1``."""
    return re.sub(r"^([A-Za-z]{2})[A-Za-z-]*(?=\d)", r"\1", interface)


def _said(item: str, pattern: str) -> str | None:
    match = re.search(pattern, item, re.MULTILINE)
    return match.group(1).strip() if match else None


def _by_cdp(item: str) -> Neighbour | None:
    local = _said(item, r"^Interface: ([^,\n]+)")
    if local is None:
        return None
    address = _said(item, r"^[ \t]*IP(?:v4)? address: (\S+)")
    return Neighbour(
        local_interface=local,
        protocol="cdp",
        remote_name=_said(item, r"^Device ID: *(\S+)"),
        remote_interface=_said(item, r"Port ID \(outgoing port\): *(\S.*)$"),
        remote_address=ip_address(address) if address else None,
        remote_description=_said(item, r"^Platform: *([^,\n]+)"),
    )


def _by_lldp(item: str) -> Neighbour | None:
    local = _said(item, r"^Local Intf: *(\S+)")
    if local is None:
        return None
    address = _said(item, r"^[ \t]*IP: *([\d.]+)$")
    return Neighbour(
        local_interface=local,
        protocol="lldp",
        remote_name=_said(item, r"^System Name: *(\S.*)$"),
        remote_interface=_said(item, r"^Port id: *(\S.*)$"),
        remote_address=ip_address(address) if address else None,
        remote_mac=read.mac(_said(item, r"^Chassis id: *(\S+)") or ""),
        remote_description=_said(item, r"^System Description: *\n(\S.*)$"),
    )
