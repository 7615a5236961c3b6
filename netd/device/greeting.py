"""What an SSH server says before anybody logs in: its identification and its host key. No user name is sent, and nothing that opens anything."""

import asyncio
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple

import asyncssh

from netd.device.ssh import HOST_KEYS, LEGACY_CIPHERS, LEGACY_HOST_KEYS, LEGACY_KEX, LEGACY_MACS, PORT


class Greeting(NamedTuple):
    """``host_key`` as "ssh-ed25519 AAAA…", None where there were no algorithms in common."""

    banner: str
    host_key: str | None


class _Witness(asyncssh.SSHClient):
    """Looks at the server's key and goes."""

    def __init__(self) -> None:
        self.connection: asyncssh.SSHClientConnection | None = None
        self.key: str | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.connection = conn

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.key = " ".join(key.export_public_key("openssh").decode().split()[:2])
        return False

    @property
    def banner(self) -> str:
        return str(self.connection.get_extra_info("server_version", "")) if self.connection is not None else ""


def _nobody(host: str, addr: str, port: int | None) -> tuple[list[Any], ...]:
    return ([], [], [], [], [], [], [])


async def ssh_greeting(address: IPv4Address | IPv6Address, port: int = PORT, seconds: float = 5.0) -> Greeting | None:
    """The greeting; None if there is no SSH server, or it says nothing within ``seconds``. Old algorithms will do: nothing secret is at stake."""
    witness = _Witness()
    try:
        async with asyncio.timeout(seconds):
            connection = await asyncssh.connect(
                str(address), port, client_factory=lambda: witness, known_hosts=_nobody, config=None, agent_path=None, gss_host=None, username="",
                password=None, client_keys=None, login_timeout=0, connect_timeout=None, x509_trusted_certs=None,
                server_host_key_algs=[*HOST_KEYS, *LEGACY_HOST_KEYS], kex_algs=LEGACY_KEX, encryption_algs=LEGACY_CIPHERS, mac_algs=LEGACY_MACS,
            )  # fmt: skip
    except (TimeoutError, OSError, asyncssh.Error):  # it ends with the key, or before: what was said until then counts
        return Greeting(witness.banner, witness.key) if witness.banner else None
    connection.abort()
    return Greeting(witness.banner, witness.key)
