"""What operations need of services that stand above them; the daemon hands the real ones in."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, Protocol

import msgspec

from netd.model.access import Reason
from netd.model.control import ControlResult, Enforcement
from netd.model.session import Session
from netd.model.target import Credential
from netd.model.telemetry import CurrentDevice


class SessionControl(Protocol):
    """Speaks to the NAS of a live session (RFC 5176)."""

    async def disconnect(self, session: Session) -> ControlResult:
        """Ask the session's NAS to end it; returns what the NAS said, never raises for what the NAS does."""
        ...


class EnforcementControl(Protocol):
    """Brings live sessions to what is wanted of them; holds what would disconnect or wall too many at once."""

    def standing(self, tenant_id: int) -> Enforcement:
        """How it stands with a tenant; from memory."""
        ...

    def confirm(self, tenant_id: int, sessions: int) -> int:
        """Do what is held, if it is about no more than ``sessions``; returns about how many it was. Raises Conflict."""
        ...

    def discard(self, tenant_id: int, sessions: int, who: str) -> int:
        """Leave what is held as it is until something else is wanted; the rest as ``confirm``."""
        ...


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What an Access-Request with these facts would be answered now. ``attributes`` are (name, text) of the reply, secrets left out."""

    accept: bool
    reason: Reason
    detail: str = ""
    attributes: tuple[tuple[str, str], ...] = ()


class AccessProbe(Protocol):
    """Asks the running engine for a decision, from the same memory and by the same code as a packet; nothing is counted or recorded."""

    def decide(self, tenant_id: int, username: str, password: str | None, nas_id: int | None = None) -> Verdict:
        """Decide for ``username``; ``password`` None skips the password check. ``nas_id`` None: the tenant's first NAS, else generic."""
        ...


class AttributeRules(Protocol):
    """Knows which rows of radcheck and radreply the engine can use; both raise ValueError, saying why not, for one that it cannot."""

    def validate_check(self, attribute: str, op: str, value: str) -> None:
        """Try a condition on Access-Requests."""
        ...

    def validate_reply(self, attribute: str, op: str, value: str) -> None:
        """Try an attribute for the Access-Accept."""
        ...


class SnmpAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What an SNMP agent said, and to which credential."""

    credential_id: int
    sys_object_id: str | None = None
    sys_descr: str | None = None
    sys_name: str | None = None
    serial: str | None = None


class SshAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What an SSH server says before anybody logs in; the host key as ``ssh-ed25519 AAAA…``, None if there was no agreement on one."""

    banner: str
    host_key: str | None = None


class Prober(Protocol):
    """Asks an address who is there. None is no answer; nothing is raised for what a device does."""

    async def ping(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether it answers an echo request, or where those cannot be sent, a TCP connection."""
        ...

    async def snmp(self, address: IPv4Address | IPv6Address, profiles: Sequence[Credential]) -> SnmpAnswer | None:
        """The first of the profiles that is answered, and what it is told."""
        ...

    async def ssh(self, address: IPv4Address | IPv6Address) -> SshAnswer | None:
        """What its SSH server says; nobody logs in."""
        ...


class Polling(Protocol):
    """Knows what devices do now; answers from memory."""

    def current(self, device_id: int) -> CurrentDevice | None:
        """A device of whatever tenant (who asks must be allowed to see it); None if this node does not poll it."""
        ...

    def kept_days(self) -> Mapping[str, int]:
        """For how many days samples (``raw``, ``optics``) and their sums (``5m``, ``1h``, ``1d``) are kept."""
        ...

    def reach_seconds(self) -> int:
        """How often it is asked whether a device is there."""
        ...

    def scrape_address(self, device_id: int) -> str:
        """Where Prometheus reaches the node that polls a device; "" if that is not known."""
        ...


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one part of the daemon for /health. A critical part that is down makes the daemon not ready."""

    name: str
    state: Literal["ok", "degraded", "down"]
    critical: bool = False
    since: float = 0.0  # Unix time of the last change of state
    detail: str = ""
    latency_seconds: float | None = None  # of the last look at it, where it is looked at from afar
    last_error: str = ""  # stays when it is over


class Health(Protocol):
    """Knows the state of every part; answers from memory."""

    def parts(self) -> list[Part]:
        """Every part with its state."""
        ...
