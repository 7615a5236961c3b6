"""Nokia SR OS by its command line and SNMP. It has two command lines; which one a session speaks is asked before anything is done that depends on it.

- Model-driven: what is typed is a candidate that nobody else can edit, committed as a whole once every line was taken, and for a minute at first: what the
  same session does not confirm then, the router takes back by itself. A text is restored by ``load full-replace``.
- Classic: every line works at once. The way back is a rollback checkpoint of the router's own, if it was told where to keep them. Those are no texts, and
  no text can be loaded in place of what runs, so nothing else is restored there.
- Software: the classic command line only, and releases that are one file (``both.tim``), in a folder of its own on the flash that has the boot options. What
  ran before is named as the second image, which the router starts with if it cannot load the first. The boot loader stays as it is.
"""

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final, Literal

from netd.model.device import ArpEntry, Image, MacEntry, Neighbour, Outcome
from netd.sdk import text as read
from netd.sdk.device import Oid
from netd.sdk.dialogue import Dialogue, Get, Note, Put, Reconnect, say
from netd.sdk.ifmib import Columns
from netd.sdk.polled import Optics, Polled
from netd.sdk.shell import FINE, ConfigurationLines, Saying, Section, Shell
from netd.sdk.terminal import Refused

_HEAD = re.compile(r"^Lcl Port.*?(?P<port>Remote Port[ \t]+)(?P<name>Remote Sys Name)", re.MULTILINE)
_ROW = re.compile(r"^(?P<local>\S+)[ \t]+(?:NB|NTPMR|NC)[ \t]+(?P<chassis>\S+)[ \t]+\d+[ \t]+\S.*$", re.MULTILINE)
_NAME = re.compile(r"^[ \t]*System Name[ \t]*: *(\S.*)$", re.MULTILINE)
_STORED: Final = "cf3:/netd-restore.cfg"
_REVERT_SECONDS: Final = 600.0
_BACK_SECONDS: Final = 1200.0


class ModelDriven(Section, frozen=True, kw_only=True):
    """``[model_driven]`` of the data file. ``asks`` is a command that only this command line knows, and that changes nothing."""

    asks: str
    running: str
    enter: tuple[Saying, ...]
    exit: tuple[Saying, ...]
    commit: tuple[str, ...]
    confirm_seconds: float


class Driver(Shell, ConfigurationLines, Polled):
    """7750, 7450, 7705 and 7210; lines of configuration begin at the root: ``/configure system …``."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.model = ModelDriven.of(data, "model_driven")
        self.confirm_seconds = self.model.confirm_seconds

    def configuration(self, which: Literal["running", "startup"]) -> Dialogue[str]:
        data = self.family.configuration
        if which == "startup" or data.running is None:
            raise LookupError("the stored configuration is a file of a name that only its boot options tell")
        command = data.running
        text = yield from say(command, timeout_seconds=data.timeout_seconds, check=False, large=True)
        if self.terminal.classify(text[:400])[0] is Outcome.SYNTAX:
            command = self.model.running
            text = yield from say(command, timeout_seconds=data.timeout_seconds, check=False, large=True)
        return self.whole(text, command)

    def configure(self, lines: Sequence[str]) -> Dialogue[Sequence[tuple[str, Outcome, str]]]:
        if not (yield from self._model_driven()):
            return (yield from super().configure(lines))
        return (yield from self._committed(lines))

    def restore(self, text: str, *, save: bool = True) -> Dialogue[Outcome]:
        """Load the text in place of everything, and see that the router runs it then; refused over the classic command line."""
        if not (yield from self._model_driven()):
            raise Refused("the classic command line loads no configuration in place of the one that runs", Outcome.SYNTAX)
        sent = text.encode()
        yield Put(path=_STORED, content=sent)
        try:
            if (yield Get(path=_STORED)).encode("latin-1") != sent:
                raise Refused(f"{_STORED} was not stored as it was sent; nothing was changed", Outcome.UNVERIFIED)
            yield Note(text=f"{len(text)} characters are loaded in place of the configuration")
            done = yield from self._committed(("configure", f"load full-replace {_STORED.replace('/', chr(92))}"))
        finally:
            yield Put(path=_STORED)  # it had secrets
        line, outcome, said = done[-1]
        if outcome not in FINE:
            raise Refused(f"{line}: {said}; nothing was changed", outcome, said)
        if self.normal((yield from self.configuration("running"))) != self.normal(text):
            return Outcome.UNVERIFIED
        if save:
            yield from self.save()
        return Outcome.OK

    def checkpoint(self) -> Dialogue[bool]:
        """Not over the model-driven command line, which has a better way."""
        if (yield from self._model_driven()):
            return False
        text = yield from say("admin rollback save comment netd", timeout_seconds=_REVERT_SECONDS, check=False)
        outcome, said = self.terminal.classify(text)
        if outcome in FINE and re.search(r"\bOK\s*\Z", text):
            return True
        yield Note(text=f"the router keeps no rollback checkpoint: {said or text.strip()[-200:]}")
        return False

    def revert(self) -> Dialogue[None]:
        text = yield from say("admin rollback revert latest-rb now", timeout_seconds=_REVERT_SECONDS)
        if not re.search(r"^Finished in ", text, re.MULTILINE):
            raise Refused("the router did not say that it went back to the checkpoint", Outcome.UNVERIFIED, text.strip()[-200:])

    def neighbours(self) -> Dialogue[Sequence[Neighbour]]:
        """The table cuts long names, which are asked for once more."""
        text = yield from say("show system lldp neighbor")
        head = _HEAD.search(text)
        found = []
        for row in _ROW.finditer(text) if head is not None else ():
            assert head is not None
            begins, ends = head.start("port") - head.start(), head.start("name") - head.start()
            port, name = row[0][begins:ends].strip(), row[0][ends:].strip()
            if name.endswith("*"):
                name = yield from self._whole_name(row["local"], name[:-1])
            found.append(
                Neighbour(
                    local_interface=row["local"],
                    protocol="lldp",
                    remote_name=name or None,
                    remote_interface=port.partition(",")[0] if "," in port or not port.endswith("*") else None,  # behind the comma stands what it is
                    remote_mac=read.mac(row["chassis"]),
                )
            )
        return found

    def macs(self) -> Dialogue[Sequence[MacEntry]]:
        text = yield from say("show service fdb-mac")
        found = []
        for tokens in read.rows(text):
            mac = read.mac(tokens[1]) if len(tokens) >= 4 and tokens[0].isdigit() else None
            if mac is not None:
                found.append(MacEntry(mac=mac, interface=_port(tokens[2]), vlan=_vlan(tokens[2])))
        return found

    def arps(self) -> Dialogue[Sequence[ArpEntry]]:
        text = yield from say("show router arp")
        found = []
        for tokens in read.rows(text):
            if len(tokens) >= 5 and tokens[0].count(".") == 3 and (mac := read.mac(tokens[1])):
                found.append(ArpEntry(address=ip_address(tokens[0]), mac=mac, interface=tokens[-1]))
        return found

    def free_octets(self) -> Dialogue[int]:
        if (yield from self._model_driven()):
            raise Refused("its software is changed over the classic command line only; nothing was changed", Outcome.SYNTAX)
        drive = yield from self._drive()
        text = yield from say(f"file dir {drive}\\")
        free = re.search(r"(\d+) bytes free", text)
        if free is None:
            raise Refused(f"file dir {drive} says nothing of what is free", Outcome.UNVERIFIED, text.strip()[-200:])
        return int(free[1])

    def transfer(self, image: Image) -> Dialogue[None]:
        if not image.name.endswith(".tim"):
            raise Refused(f"{image.name} is no image of one file (.tim)", Outcome.BAD_REFERENCE)
        drive = yield from self._drive()
        yield from say(f"file md {drive}\\{_folder(image)}", check=False)  # it may be there; if it cannot be made, nothing can be stored in it
        yield Put(path=f"{drive}/{_folder(image)}/{image.name}", image=True)

    def verify(self, image: Image) -> Dialogue[Outcome]:
        """The router looks whether the file is sound, and says what is in it; a digest that could be compared it has not."""
        path = f"{(yield from self._drive())}\\{_folder(image)}\\{image.name}"
        text = yield from say(f"file version {path} check", check=False, timeout_seconds=_REVERT_SECONDS)
        sound = self.terminal.classify(text)[0] in FINE and re.search(rf"\bTiMOS-{re.escape(image.version)}(?!\S)", text)
        return Outcome.UNVERIFIED if sound else Outcome.FAILED

    def activate(self, image: Image) -> Dialogue[None]:
        """Name the image for the next start, which takes the saved configuration."""
        yield from self.save()
        now = re.search(r"^[ \t]*primary-image[ \t]+(cf\S+)", (yield from say("show bof")), re.MULTILINE)  # of a server's it shows no password
        path = f"{(yield from self._drive())}\\{_folder(image)}\\{image.name}"
        if now is not None and now[1] != path:
            yield from say(f"bof secondary-image {now[1]}")
        yield from say(f"bof primary-image {path}")
        text = yield from say("bof save")
        if not re.search(r"^Completed\.", text, re.MULTILINE):
            raise Refused("the router did not say that it saved its boot options", Outcome.UNVERIFIED, text.strip()[-200:])
        text = yield from say("admin redundancy synchronize boot-env", check=False, timeout_seconds=_BACK_SECONDS)
        outcome, said = self.terminal.classify(text)
        yield Note(text="the standby has the same boot options and images" if outcome in FINE else f"no standby was synchronised: {said}")

    def reboot(self) -> Dialogue[None]:
        yield from say("admin reboot now", drops=True)
        yield Reconnect(within_seconds=_BACK_SECONDS, settle_seconds=30)

    def place(self, table: Optics, index: Oid, tables: Columns) -> tuple[str, str | None]:
        return super().place(table, index[1:], tables)  # the chassis, then the ifIndex

    def _model_driven(self) -> Dialogue[bool]:
        text = yield from say(self.model.asks, check=False)
        return self.terminal.classify(text)[0] is not Outcome.SYNTAX

    def _drive(self) -> Dialogue[str]:
        """The flash that the router started from: ``cf3:``, ``cf1:``."""
        source = re.search(r"^BOF Source[ \t]*: *(cf\d:)", (yield from say("show system information")), re.MULTILINE)
        return source[1] if source else "cf3:"

    def _committed(self, lines: Sequence[str]) -> Dialogue[Sequence[tuple[str, Outcome, str]]]:
        return (yield from self.typed((*lines, *self.model.commit), self.model.enter, self.model.exit))

    def _whole_name(self, port: str, begins: str) -> Dialogue[str]:
        text = yield from say(f"show port {port} ethernet lldp remote-info", check=False)
        return next((name for name in _NAME.findall(text) if name.startswith(begins)), "")


def _folder(image: Image) -> str:
    return f"netd-{image.version}"


def _port(source: str) -> str:
    """``sap:1/1/c4/1:236`` is a port and what it is tagged with, ``sdp:17407:2002`` a tunnel and its circuit."""
    kind, _, rest = source.partition(":")
    port = rest.partition(":")[0]
    return port if kind == "sap" else f"{kind}:{port}"


def _vlan(source: str) -> int | None:
    """The outer tag of a SAP; 0 and ``*`` are none."""
    kind, _, rest = source.partition(":")
    tag = rest.partition(":")[2].partition(".")[0]
    return int(tag) if kind == "sap" and tag.isdigit() and 0 < int(tag) < 4095 else None
