"""Nokia SR Linux by its command line and SNMP.

Its configuration is read as one JSON object, which is whole or cannot be parsed; so are the tables of its state. What is typed is a private candidate,
discarded if a line of it was refused, and committed for a minute at first: what the same session does not confirm then, the router takes back by itself.

Its software is not handled here: how much room it has and whether a file arrived whole, its documents have no command for.
"""

import json
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any, Final

from netd.model.device import ArpEntry, MacEntry, Neighbour, Outcome
from netd.sdk import text as read
from netd.sdk.dialogue import Command, Dialogue, Note, Put, say
from netd.sdk.polled import Polled
from netd.sdk.shell import FINE, ConfigurationLines, Section, Shell, routine
from netd.sdk.terminal import Refused

_STORED: Final = "/tmp/netd-restore.json"  # on the router

Done = Sequence[tuple[str, Outcome, str]]


class Candidate(Section, frozen=True, kw_only=True):
    """``[candidate]`` of the data file. Each member is tried where the release does not know the one before it."""

    commit: tuple[str, ...]
    confirm: tuple[str, ...]
    confirm_seconds: float


class Driver(Shell, ConfigurationLines, Polled):
    """7220 IXR, 7250 IXR and containers."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.candidate = Candidate.of(data, "candidate")
        self.confirm_seconds = self.candidate.confirm_seconds

    def whole(self, text: str, command: str) -> str:
        body = super().whole(text, command)
        _object(body, command)
        return body

    def configure(self, lines: Sequence[str]) -> Dialogue[Done]:
        """The lines, and what committed and confirmed them."""
        data = self.family.configuration
        yield from routine(data.enter)
        try:
            done = list((yield from self.typed(lines, (), ())))
            if all(outcome in FINE for _, outcome, _ in done):
                done += yield from self._commit()
        finally:
            yield from routine(data.exit)
        return done

    def restore(self, text: str, *, save: bool = True) -> Dialogue[Outcome]:
        """Load the text into an empty candidate; only if that is then the text, it is committed."""
        data, wanted = self.family.configuration, _object(text, "the text")
        yield Put(path=_STORED, content=text.encode(), private=True)  # others may read what lies there
        try:
            yield from routine(data.enter)
            try:
                yield from say("delete /")
                yield from say(f"load file {_STORED}", timeout_seconds=data.timeout_seconds)
                loaded = yield from say("info | as json", timeout_seconds=data.timeout_seconds)
                if _object(loaded, "info | as json") != wanted:
                    raise Refused("what the router loaded is not the text; nothing was changed", Outcome.UNVERIFIED)
                yield Note(text="the candidate is the text: it is committed")
                line, outcome, said = (yield from self._commit())[-1]
                if outcome not in FINE:
                    raise Refused(f"{line}: {said}", outcome, said)
            finally:
                yield from routine(data.exit)
        finally:
            yield Put(path=_STORED, private=True)  # it had secrets
        if _object((yield from self.configuration("running")), "the configuration") != wanted:
            return Outcome.UNVERIFIED
        if save:
            yield from self.save()
        return Outcome.OK

    def neighbours(self) -> Dialogue[Sequence[Neighbour]]:
        state = yield from self._state("system lldp interface * neighbor *")
        return [_neighbour(str(port.get("name")), peer) for port in _all(state, "interface") for peer in _all(port, "neighbor")]

    def macs(self) -> Dialogue[Sequence[MacEntry]]:
        """What a bridge has behind its own subinterfaces; what others told it of is theirs."""
        state = yield from self._state("network-instance * bridge-table mac-table mac *")
        found = []
        for entry in _all(state, "mac"):
            mac, interface = read.mac(str(entry.get("address"))), entry.get("destination")
            if mac is not None and isinstance(interface, str) and _plain(str(entry.get("destination-type"))) == "sub-interface":
                found.append(MacEntry(mac=mac, interface=interface))
        return found

    def arps(self) -> Dialogue[Sequence[ArpEntry]]:
        found = []
        for path, name in (("ipv4 arp", "ipv4-address"), ("ipv6 neighbor-discovery", "ipv6-address")):
            state = yield from self._state(f"interface * subinterface * {path} neighbor *")
            for port in _all(state, "interface"):
                for sub in _all(port, "subinterface"):
                    for entry in _all(sub, "neighbor"):
                        mac = read.mac(str(entry.get("link-layer-address")))
                        if mac is not None and name in entry:
                            found.append(ArpEntry(address=ip_address(str(entry[name])), mac=mac, interface=f"{port.get('name')}.{sub.get('index')}"))
        return found

    def _commit(self) -> Dialogue[list[tuple[str, Outcome, str]]]:
        """Commit the candidate, and confirm it: what came of each."""
        done = [(yield from self._first_known(self.candidate.commit))]
        if done[-1][1] in FINE and "confirmed" in done[-1][0]:
            done.append((yield from self._first_known(self.candidate.confirm)))
        return done

    def _first_known(self, commands: Sequence[str]) -> Dialogue[tuple[str, Outcome, str]]:
        """Type the first of these that the release knows."""
        *others, last = commands
        for command in others:
            outcome, said = yield from self._tried(command)
            if outcome is not Outcome.SYNTAX:
                return command, outcome, said
        return last, *(yield from self._tried(last))

    def _tried(self, command: str) -> Dialogue[tuple[Outcome, str]]:
        text = yield Command(text=command, check=False, timeout_seconds=self.family.configuration.timeout_seconds)
        outcome, said = self.terminal.classify(text)
        return outcome, self.masked(said)

    def _state(self, path: str) -> Dialogue[Any]:
        """Of the state; nothing where there is none of it."""
        command = f"info from state / {path} | as json"
        text = yield from say(command, timeout_seconds=self.family.configuration.timeout_seconds)
        return _object(text, command) if text.strip() else {}


def _object(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Refused(f"{what}: {len(text)} characters are no whole JSON object: it was cut", Outcome.UNVERIFIED) from None


def _plain(name: str) -> str:
    """A name without its module's."""
    return name.rpartition(":")[2]


def _all(value: Any, name: str, levels: int = 30) -> Iterator[dict[str, Any]]:
    """The entries of the lists of that name below a value, whatever containers are between; none within each other, nor more ``levels`` down than there are."""
    for key, below in value.items() if isinstance(value, dict) and levels else ():
        if _plain(key) == name and isinstance(below, list):
            yield from (entry for entry in below if isinstance(entry, dict))
        else:
            for each in below if isinstance(below, list) else (below,):
                yield from _all(each, name, levels - 1)


def _neighbour(interface: str, peer: dict[str, Any]) -> Neighbour:
    address = next((entry.get("address") for entry in _all(peer, "management-address")), None)
    return Neighbour(
        local_interface=interface,
        protocol="lldp",
        remote_name=peer.get("system-name") or None,
        remote_interface=peer.get("port-id") or None,
        remote_address=_address(address),
        remote_mac=read.mac(str(peer.get("chassis-id"))),
        remote_description=peer.get("system-description") or None,
    )


def _address(text: Any) -> Any:
    try:
        return None if text is None else ip_address(str(text))
    except ValueError:
        return None
