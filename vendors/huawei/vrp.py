"""Huawei routers and switches with VRP 5 and 8 by their command line and SNMP.

- VRP 8 types into a candidate, which is thrown away if a line is refused. Else it is committed on trial (``commit trial``), and for good once somebody has
  logged in anew: the device takes it back by itself after two minutes, or when the session ends. Releases without a trial ask on the way out whether to commit.
- A whole configuration: VRP 8 rolls back to a stored file (``rollback configuration to file``), wholly or telling what is left, and back again if then nobody
  can log in. VRP 5 takes one only when it starts (``startup saved-configuration``, ``reboot fast``, which saves nothing): an operator may ask for that, a
  failed change is not taken back so.
- Of a stored image the device shows the length, and checks its signature when it is chosen for the next start: netd cannot call it verified.
"""

import re
from collections.abc import Sequence
from ipaddress import ip_address

from netd.errors import PeerError
from netd.model.device import ArpEntry, Image, MacEntry, Neighbour, Outcome
from netd.sdk import text as read
from netd.sdk.dialogue import Answer, Dialogue, Get, LogIn, Note, Pause, Put, Reconnect, say
from netd.sdk.polled import Polled
from netd.sdk.shell import FINE, ConfigurationLines, Shell
from netd.sdk.terminal import Refused

_YES = Answer(question=r"(?:\[[Yy]/[Nn]\]|\([Yy]/[Nn]\)(?:\[[YyNn]\])?):? ?\s*\Z", text="y")
_INTERFACE = re.compile(r"\d*[A-Za-z]{2}[\w-]*\d(?:/\d+)+(?:\.\d+)?|(?:Vlanif|Vbdif|Eth-Trunk|Virtual-[A-Za-z]+|Tunnel|Bridge-if|LoopBack)[\d./:]+")
_FREE = re.compile(r"\(([\d,]+) ([KMG]?)B free\)")
_NEXT_CONFIGURATION = re.compile(r"^[ \t]*Next startup saved-configuration file[ \t]*: *(\S+)$", re.MULTILINE)
_RESTORE = "netd-restore.cfg"
_TRIAL_SECONDS = 120
_SLOW_SECONDS, _BACK_SECONDS = 1800.0, 1200.0


class Driver(Shell, ConfigurationLines, Polled):
    """NE, ME, NetEngine, AR, ATN, S and CE."""

    def neighbours(self) -> Dialogue[Sequence[Neighbour]]:
        text = yield from say("display lldp neighbor brief")
        found = []
        for tokens in read.rows(text):
            local = next((token for token in tokens if _INTERFACE.fullmatch(token)), None)
            if local != tokens[0] or len(tokens) < 4:
                continue
            times = [place for place in (1, 3) if place < len(tokens) and tokens[place].isdigit()]  # the expiry stands second or last
            if not times:
                continue
            rest = [token for place, token in enumerate(tokens) if place not in {0, times[0]}]
            remote, name = (rest[0], rest[1]) if times[0] == 1 else (rest[1], rest[0])
            found.append(
                Neighbour(
                    local_interface=tokens[0],
                    protocol="lldp",
                    remote_name=name,
                    remote_interface=remote,
                    remote_mac=read.mac(remote),
                )
            )
        return found

    def macs(self) -> Dialogue[Sequence[MacEntry]]:
        text = yield from say("display mac-address")
        found = []
        for tokens in read.rows(text):
            mac = read.mac(tokens[0])
            interface = next((token for token in tokens[2:] if _INTERFACE.fullmatch(token)), None)
            if mac and interface:
                vlan = tokens[1].split("/")[0]
                found.append(MacEntry(mac=mac, interface=interface, vlan=int(vlan) if vlan.isdigit() else None))
        return found

    def arps(self) -> Dialogue[Sequence[ArpEntry]]:
        text = yield from say("display arp all")
        found = []
        for tokens in read.rows(text):
            if tokens[0].count(".") != 3 or len(tokens) < 3:
                continue
            mac, interface = read.mac(tokens[1]), next((token for token in tokens[2:] if _INTERFACE.fullmatch(token)), None)
            if mac and interface:
                found.append(ArpEntry(address=ip_address(tokens[0]), mac=mac, interface=interface))
        return found

    def settled(self, outcomes: Sequence[Outcome]) -> Dialogue[None]:
        if not (yield from self._rolls_back()):
            return
        if any(outcome not in FINE for outcome in outcomes):
            yield from self.dropped()
            return
        command = f"commit trial {_TRIAL_SECONDS}"
        said = yield from say(command, check=False, timeout_seconds=_SLOW_SECONDS)
        outcome, line = self.terminal.classify(said)
        if outcome not in FINE and outcome is not Outcome.SYNTAX:
            yield from self.dropped()
            raise Refused(f"{command}: {self.masked(line)}", outcome, self.masked(line))
        if "enters the trial configuration mode" in said:
            yield from self._log_in("abort trial")
            yield from say("commit", timeout_seconds=_SLOW_SECONDS)

    def dropped(self) -> Dialogue[None]:
        """Else what was typed is committed on the way out. VRP 5 does not know the words: there each line has worked at once."""
        yield from say("clear configuration candidate", check=False)

    def _log_in(self, back: str) -> Dialogue[None]:
        """See that somebody is still let in, or go back."""
        try:
            yield LogIn()
        except PeerError as error:
            yield from say(back, _YES, check=False, timeout_seconds=_SLOW_SECONDS)
            raise Refused(f"with the new configuration nobody can log in ({error}); the device went back to what it had", Outcome.FAILED) from error

    def restore(self, text: str, *, save: bool = True) -> Dialogue[Outcome]:
        """By a rollback to this text with VRP 8, by a restart with it with VRP 5; saved only if what runs then is the same."""
        if (yield from self._rolls_back()):
            return (yield from self._rolled_back(text, save=save))
        return (yield from self._started(text))

    def take_back(self, before: str, *, save: bool) -> Dialogue[Outcome]:
        if not (yield from self._rolls_back()):
            raise PeerError("VRP 5 takes a whole configuration only with a restart, which is left to you: `netd device restore`")
        try:
            return (yield from self._rolled_back(before, save=save))
        except Refused as refused:
            if "trial" not in f"{refused} {refused.said}":
                raise
        yield Note(text="what was changed is still on trial, in a session that is gone: the device takes it back by itself")
        yield Pause(seconds=_TRIAL_SECONDS)
        return Outcome.OK if self.normal((yield from self.configuration("running"))) == self.normal(before) else Outcome.UNVERIFIED

    def _rolls_back(self) -> Dialogue[bool]:
        return re.search(r"^VRP \(R\) software, Version 8\.", (yield from say("display version")), re.MULTILINE) is not None

    def _rolled_back(self, text: str, *, save: bool) -> Dialogue[Outcome]:
        yield from self._store(text)
        try:
            said = yield from say(f"rollback configuration to file {_RESTORE}", _YES, timeout_seconds=_SLOW_SECONDS)
            if "rollback succeeded" not in said:
                left = yield from say("display configuration rollback result", check=False)
                yield Note(text=f"the device does not say that the rollback succeeded: {self.masked(left.strip())[-400:] or 'nothing'}")
            yield from self._log_in("rollback configuration last 1")
        finally:
            yield from self._delete()
        return (yield from self._kept(text, save=save))

    def _started(self, text: str) -> Dialogue[Outcome]:
        """Start with the text. If it does what was wanted, the file that the device started with before gets it."""
        before = _NEXT_CONFIGURATION.search((yield from say("display startup")))
        if before is None:
            raise Refused("display startup does not say which configuration is the next", Outcome.UNVERIFIED)
        name = before[1].rpartition("/")[2]
        stored = _RESTORE if name != _RESTORE else f"2-{_RESTORE}"  # it may start with what an earlier restoration left
        yield from self._store(text, stored)
        restarts = False
        try:
            yield from say(f"startup saved-configuration {stored}", _YES)
            then = _NEXT_CONFIGURATION.search((yield from say("display startup")))
            if then is None or not then[1].endswith(f"/{stored}"):
                raise Refused(f"the next start does not take {stored}; nothing was restarted", Outcome.UNVERIFIED)
            yield Note(text=f"the device restarts with the stored text; what it would have started with is {before[1]}")
            yield from say("reboot fast", _YES, drops=True, timeout_seconds=120)
            restarts = True
        finally:
            if not restarts and name != "NULL":  # else the next start, in a year, takes it
                yield from say(f"startup saved-configuration {name}", _YES)
                yield from self._delete(stored)
        yield Reconnect(within_seconds=_BACK_SECONDS, settle_seconds=30)
        if self.normal((yield from self.configuration("running"))) != self.normal(text) or name == "NULL":
            return Outcome.UNVERIFIED
        said = yield from say(f"save {name}", _YES, timeout_seconds=_SLOW_SECONDS)
        yield from say(f"startup saved-configuration {name}", _YES)
        if "success" not in said.lower():
            raise Refused("the device did not say that it saved its configuration", Outcome.UNVERIFIED, said.strip()[-200:])
        yield from self._delete(stored)
        return Outcome.OK

    def _store(self, text: str, path: str = _RESTORE) -> Dialogue[None]:
        yield Put(path=path, content=text.encode())
        if (yield Get(path=path)).encode("latin-1") != text.encode():
            yield from self._delete(path)
            raise Refused(f"{path} was not stored as it was sent; nothing was changed", Outcome.UNVERIFIED)

    def _delete(self, path: str = _RESTORE) -> Dialogue[None]:
        yield from say(f"delete /unreserved /quiet {path}", _YES, check=False)  # it has secrets

    def _kept(self, text: str, *, save: bool) -> Dialogue[Outcome]:
        if self.normal((yield from self.configuration("running"))) != self.normal(text):
            return Outcome.UNVERIFIED
        if save:
            yield from self.save()
        return Outcome.OK

    def free_octets(self) -> Dialogue[int]:
        text = yield from say("dir")
        free = _FREE.search(text)
        if free is None:
            raise Refused("dir says nothing of what is free", Outcome.UNVERIFIED, text.strip()[-200:])
        return int(free[1].replace(",", "")) << 10 * " KMG".index(free[2] or " ")

    def transfer(self, image: Image) -> Dialogue[None]:
        yield Put(path=image.name, image=True)

    def verify(self, image: Image) -> Dialogue[Outcome]:
        text = yield from say(f"dir {image.name}")
        for tokens in read.rows(text):
            if tokens[-1] == image.name:
                size = next((token.replace(",", "") for token in tokens[2:] if token.replace(",", "").isdigit()), "")
                return Outcome.UNVERIFIED if size == str(image.octets) else Outcome.FAILED
        return Outcome.NOT_FOUND

    def activate(self, image: Image) -> Dialogue[None]:
        yield from say(f"startup system-software {image.name}", _YES, timeout_seconds=600)
        text = yield from say("display startup")
        if not re.search(rf"^[ \t]*Next startup system software[ \t]*: *\S*{re.escape(image.name)}$", text, re.MULTILINE):
            raise Refused(f"the next start does not take {image.name}", Outcome.UNVERIFIED, text.strip()[-400:])

    def reboot(self) -> Dialogue[None]:
        """Its questions are whether to keep the configuration, and whether to go on: yes."""
        yield from say("reboot", _YES, drops=True, timeout_seconds=120)
        yield Reconnect(within_seconds=_BACK_SECONDS, settle_seconds=30)
