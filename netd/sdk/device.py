"""What a driver can do with a device: the capabilities of a platform.

A platform is a family of devices with one command line and one way of being read: ``huawei_smartax``, ``mikrotik_routeros``. A vendor's
``manifest.toml`` names its platforms (:class:`Platform`); each has a file with its data (:class:`netd.sdk.terminal.Terminal` under ``[terminal]``, all else
is the driver's own) and a module with a class ``Driver``, made with that table: ``Driver(data)``. What it has methods for, it can do; netd looks
at the methods' names (``isinstance`` with these protocols) and offers nothing else.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from netd.model.device import ArpEntry, Facts, Image, MacEntry, Neighbour, OpticsSample, Outcome, Reading
from netd.sdk.dialogue import Dialogue
from netd.sdk.terminal import Terminal

Oid = tuple[int, ...]
Varbind = int | bytes | Oid | None
"""An SNMP value: INTEGER and all counters as int, OCTET STRING and IpAddress as bytes, OBJECT IDENTIFIER as a tuple; None: no such object."""


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a platform is recognised; the longest sysObjectID wins, then a sysDescr, then a banner."""

    sys_object_id: tuple[str, ...] = ()  # prefixes, dotted, without the leading dot
    sys_descr: tuple[str, ...] = ()  # regular expressions
    banner: tuple[str, ...] = ()  # of SSH's identification or a Telnet greeting


class Platform(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[platforms]]`` of a manifest."""

    name: str  # vendor_family, lower case
    title: str
    kind: Literal["router", "switch", "olt", "onu", "server", "other"]
    driver: str  # module file beside the manifest, with a class Driver
    data: str  # TOML file beside the manifest
    simulator: str | None = None  # module file beside the manifest, with a class Simulator (:mod:`netd.simulate`): for tests and demonstrations
    match: Match = msgspec.field(default_factory=Match)
    settings: dict[str, dict[str, Any]] = {}  # what differs from the data file, by table: for relatives of a platform that share its driver


class SnmpGroup(msgspec.Struct, frozen=True, kw_only=True):
    """What is read together, and how often at the most. ``tables`` are column OIDs that are walked; ``bulk`` False for agents without GETBULK."""

    name: Literal["system", "interfaces", "optics"]
    period_seconds: int
    scalars: tuple[Oid, ...] = ()
    tables: tuple[Oid, ...] = ()
    bulk: bool = True
    opt_in: bool = False  # costly for the device: only if an operator says so


@runtime_checkable
class CommandLine(Protocol):
    """Every driver that is spoken to over SSH or Telnet."""

    terminal: Terminal

    def prepare(self) -> Dialogue[None]:
        """After the login: privileged mode, no pager, no alarms between the lines."""
        ...

    def leave(self) -> Dialogue[None]:
        """Before the session is closed, so that the device frees it at once."""
        ...


@runtime_checkable
class Inspect(Protocol):
    """Says what it is."""

    def facts(self) -> Dialogue[Facts]: ...


@runtime_checkable
class Neighbours(Protocol):
    """Says whom it hears."""

    def neighbours(self) -> Dialogue[Sequence[Neighbour]]: ...


@runtime_checkable
class Macs(Protocol):
    """Says behind which interface a MAC address is."""

    def macs(self) -> Dialogue[Sequence[MacEntry]]: ...


@runtime_checkable
class Arps(Protocol):
    """Says which MAC address an IP address has."""

    def arps(self) -> Dialogue[Sequence[ArpEntry]]: ...


@runtime_checkable
class Tables(Macs, Arps, Protocol):
    """Both: an OLT has the one, a host without a bridge the other."""


@runtime_checkable
class Records(Protocol):
    """Says what it is, whom it hears and where addresses are over an HTTP API as well: as records whose values are texts, of which no screen is read."""

    def menus(self) -> Mapping[str, Sequence[str]]:
        """Of ``facts``, ``neighbours``, ``macs``, ``arps``, as far as it says them, the paths of the menus that are asked for."""
        ...

    def recorded(self, what: str, records: Sequence[Mapping[str, str]]) -> Any:
        """What the records of all its menus, in order, say: as the method of that name gives it. What makes no sense is left out."""
        ...


@runtime_checkable
class OnuOptics(Protocol):
    """Says what light the ONUs of a PON have, by the command line: for agents that do not tell."""

    def onu_optics(self, port: str) -> Dialogue[Sequence[OpticsSample]]:
        """``port`` as the vendor names it: ``0/1/0``, ``gpon-olt_1/1/1``. An ONU that is off is there with None for its figures."""
        ...


@runtime_checkable
class Backup(Protocol):
    """Gives its configuration."""

    def configuration(self, which: Literal["running", "startup"]) -> Dialogue[str]:
        """The whole text with its secrets, as it could be given back. Refused(UNVERIFIED) if its end marker is missing, LookupError if there is no such one."""
        ...

    def normal(self, text: str) -> str:
        """Without what changes by itself (dates, counters): what two versions are compared by."""
        ...

    def masked(self, text: str) -> str:
        """With every secret replaced by ``<secret>``: what people are shown."""
        ...


@runtime_checkable
class Configure(Protocol):
    """Takes changes. Both end with what the device saved for its next start."""

    def configure(self, lines: Sequence[str]) -> Dialogue[Sequence[tuple[str, Outcome, str]]]:
        """Type configuration lines; each line with its outcome and what was said, up to the first that failed. Leaves the mode whatever happens."""
        ...

    def save(self) -> Dialogue[None]:
        """Keep the running configuration over a restart."""
        ...


@runtime_checkable
class Restore(Protocol):
    """Takes a whole configuration in place of its own."""

    def restore(self, text: str, *, save: bool = True) -> Dialogue[Outcome]:
        """Let it run the text; with ``save`` over a restart, too, else what it would start with stays as it is, where a device can tell the two apart."""
        ...


@runtime_checkable
class TakeBack(Protocol):
    """Undoes a change that failed in a gentler way than :class:`Restore`, which may restart: nobody asked for that when he asked for the change.

    A driver without it restores what was there before.
    """

    def take_back(self, before: str, *, save: bool) -> Dialogue[Outcome]:
        """Let it run ``before`` again; ``save`` as :meth:`Restore.restore` has it. PeerError, in words for the operator, where there is no gentler way."""
        ...


@runtime_checkable
class Checkpoint(Protocol):
    """Keeps what it runs in a place of its own, and can be told to run that again."""

    def checkpoint(self) -> Dialogue[bool]:
        """Keep it; False where the device has no place for it."""
        ...

    def revert(self) -> Dialogue[None]:
        """Run again what was kept last. What it runs then has to be read."""
        ...


@runtime_checkable
class Confirms(Protocol):
    """Takes a change back by itself that is not confirmed in the session that made it: one that cuts netd off from the device does not stay."""

    confirm_seconds: float  # so long after the change at the latest


@runtime_checkable
class Firmware(Protocol):
    """Changes its software. netd calls these in this order, and compares the version afterwards; the way back is the same with the old image."""

    def free_octets(self) -> Dialogue[int]: ...

    def transfer(self, image: Image) -> Dialogue[None]:
        """Bring the image onto the device (:class:`netd.sdk.dialogue.Put`)."""
        ...

    def verify(self, image: Image) -> Dialogue[Outcome]:
        """Compare what lies on the device with the image: UNVERIFIED if the device cannot say."""
        ...

    def activate(self, image: Image) -> Dialogue[None]:
        """Let the next start take it."""
        ...

    def reboot(self) -> Dialogue[None]:
        """Restart and come back (:class:`netd.sdk.dialogue.Reconnect`)."""
        ...


@runtime_checkable
class Telemetry(Protocol):
    """Is read by SNMP."""

    def groups(self) -> Sequence[SnmpGroup]: ...

    def read(self, group: str, scalars: Mapping[Oid, Varbind], tables: Mapping[Oid, Mapping[Oid, Varbind]]) -> Reading:
        """Make samples of what came back; ``tables`` is column -> index -> value. What is missing is None, never 0."""
        ...


@runtime_checkable
class SnmpFacts(Protocol):
    """Says by SNMP what it is, beyond SNMPv2-MIB and ENTITY-MIB."""

    def snmp_facts(self, scalars: Mapping[Oid, Varbind]) -> Facts: ...

    def fact_oids(self) -> Sequence[Oid]: ...
