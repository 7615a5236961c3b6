"""How to reach a device: its address and what it is logged in with, secrets in the clear. Lives in memory only, is never stored, sent or logged."""

from ipaddress import IPv4Address, IPv6Address
from typing import Literal

import msgspec

from netd.config import Secret


class SshLogin(msgspec.Struct, frozen=True, kw_only=True):
    """For SSH; ``private_key`` in OpenSSH's or PEM form, tried before the password."""

    username: str
    password: Secret | None = None
    private_key: Secret | None = None
    passphrase: Secret | None = None
    enable: Secret | None = None  # for the privileged mode, where that has a password of its own


class TelnetLogin(msgspec.Struct, frozen=True, kw_only=True):
    """For Telnet: everything goes over the wire in the clear."""

    username: str
    password: Secret
    enable: Secret | None = None


class SnmpCommunity(msgspec.Struct, frozen=True, kw_only=True):
    """SNMP v1 or v2c."""

    version: Literal["1", "2c"]
    community: Secret


class SnmpUser(msgspec.Struct, frozen=True, kw_only=True):
    """SNMP v3 (RFC 3414, 3826, 7860). ``priv_protocol`` None is authNoPriv, ``auth_protocol`` None noAuthNoPriv."""

    username: str
    auth_protocol: Literal["md5", "sha", "sha224", "sha256", "sha384", "sha512"] | None = None
    auth_key: Secret | None = None
    priv_protocol: Literal["des", "aes128", "aes192", "aes256"] | None = None
    priv_key: Secret | None = None
    context: str = ""


class HttpLogin(msgspec.Struct, frozen=True, kw_only=True):
    """For an HTTP API of a device (RouterOS REST)."""

    username: str
    password: Secret
    tls: bool = True
    verify: bool = True


Login = SshLogin | TelnetLogin | SnmpCommunity | SnmpUser | HttpLogin


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A stored set of logins that may fit; several are tried in order and the one that worked is remembered by its id."""

    id: int
    name: str
    login: Login
    port: int | None = None  # None: the protocol's


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A device as the transports see it. ``key`` names it in queues, logs and metrics, ``name`` in what people are told."""

    key: str
    address: IPv4Address | IPv6Address
    credentials: tuple[Credential, ...]
    host_keys: tuple[str, ...] = ()  # pinned SSH host keys, "ssh-ed25519 AAAA…"; none: the first one seen is reported and pinned
    certificates: tuple[str, ...] = ()  # SHA-256 of pinned TLS certificates in hex; none: the first one seen is reported and pinned
    legacy_algorithms: bool = False  # group1-sha1, CBC, ssh-dss: only where somebody said so
    timeout_seconds: float = 10.0
    sessions: int = 1
    snmp_bulk: int | None = None  # max-repetitions that is known to work, None: 25 to begin with
    name: str = ""

    @property
    def called(self) -> str:
        """What errors call it."""
        return self.name or self.key
