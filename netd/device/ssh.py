"""SSH to a device, over asyncssh: host keys pinned, algorithms that are broken only where somebody said so, nothing read from files of the account.

The server's key is judged before anything of a credential is sent. asyncssh's window of 2 MiB is left as it is: RouterOS cuts exports with a small one.
"""

import asyncio
import logging
from collections import deque
from typing import Any, Final

import asyncssh

from netd.device.pump import Pump, arrived
from netd.errors import PeerError, PeerUnreachable
from netd.model.target import Credential, SshLogin, Target

PORT: Final = 22
MOST_BUFFERED: Final = 1 << 20
LEGACY_KEX: Final = "+diffie-hellman-group-exchange-sha1,diffie-hellman-group1-sha1"
LEGACY_CIPHERS: Final = "+aes128-cbc,aes192-cbc,aes256-cbc,3des-cbc"
LEGACY_MACS: Final = "+hmac-md5,hmac-sha1-96"
HOST_KEYS: Final = (
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-ed448", "rsa-sha2-512", "rsa-sha2-256", "ssh-rsa",
)  # fmt: skip
LEGACY_HOST_KEYS: Final = ("ssh-dss",)
RSA: Final = frozenset(("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"))

# Its own log names users and addresses at every connection; what matters is in netd's errors.
logging.getLogger("asyncssh").setLevel(logging.CRITICAL)


class HostKeyChanged(PeerUnreachable):
    """The device shows a host key that is not the pinned one: another device, or somebody between."""

    def __init__(self, name: str, pinned: str, shown: str) -> None:
        super().__init__(f"{name} shows the host key {shown}, but {pinned} is pinned: if it was replaced, forget the pinned one", "host_key")
        self.pinned = pinned
        self.shown = shown


class CredentialsRefused(PeerUnreachable):
    """It was reached and did not let us in."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, "credentials")


def fingerprint(key: str) -> str:
    """``SHA256:…`` of a key in OpenSSH's form."""
    return asyncssh.import_public_key(key).get_fingerprint()


class _Client(asyncssh.SSHClient):
    """Judges the server's key: a pinned one, or the first one seen."""

    def __init__(self, pinned: tuple[str, ...]) -> None:
        self._pinned = pinned
        self.shown = ""
        self.changed = False

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.shown = " ".join(key.export_public_key("openssh").decode().split()[:2])
        self.changed = bool(self._pinned) and self.shown not in self._pinned
        return not self.changed


class Channel(asyncssh.SSHClientSession[bytes]):
    """A shell or command on a connection: octets in, octets out, and no more waiting in memory than MOST_BUFFERED."""

    def __init__(self, pump: Pump, connection: object) -> None:
        self._pump = pump
        self._connection = connection  # asyncssh's channel knows it only until it ends
        self._channel: asyncssh.SSHClientChannel[bytes]
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self._ended = False
        self._closed = asyncio.Event()
        self._fault: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered > MOST_BUFFERED and not self._paused:
            self._paused = True
            self._channel.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended, self._fault = True, exc
        self._closed.set()
        self._wake()

    async def read(self) -> bytes:
        """What came; empty at the end. Raises PeerUnreachable ``lost`` if the connection broke."""
        while not self._chunks and not self._ended:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._chunks:
            data = self._chunks.popleft()
            self._buffered -= len(data)
            if self._paused and self._buffered < MOST_BUFFERED // 2:
                self._paused = False
                self._channel.resume_reading()
            return data
        if self._fault is not None:
            raise PeerUnreachable(f"the connection was lost: {_words(self._fault)}", "lost")
        return b""

    async def catch_up(self) -> None:
        """Return when what has come by now can be read, also what waited for its turn in the pump."""
        await arrived()
        await self._pump.catch_up(self._connection)
        await asyncio.sleep(0)  # asyncssh ends a channel a turn after it was told

    async def ended(self, within_seconds: float) -> str:
        """How a command ended, after its last octet: ``[exit status 2]``, ``[killed by KILL]``, "" if well or if the device does not say in that time."""
        try:
            async with asyncio.timeout(within_seconds):
                await self._closed.wait()
        except TimeoutError:
            await self.catch_up()
            if not self._closed.is_set():
                return ""
        signal, status = self._channel.get_exit_signal(), self._channel.get_exit_status()
        return f"[killed by {signal[0]}]" if signal else f"[exit status {status}]" if status else ""

    async def write(self, data: bytes) -> None:
        """Send. Raises PeerUnreachable ``lost``."""
        try:
            self._channel.write(data)
        except (OSError, asyncssh.Error) as error:
            raise PeerUnreachable(f"the connection was lost: {_words(error)}", "lost") from None

    async def close(self) -> None:
        """Close the channel; its connection stays."""
        self._channel.close()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class SshConnection:
    """A connection that has logged in. ``host_key`` is what the device showed."""

    def __init__(self, connection: asyncssh.SSHClientConnection, pump: Pump, host_key: str, banner: str, timeout_seconds: float = 30.0) -> None:
        self.connection = connection
        self._pump = pump
        self._timeout_seconds = timeout_seconds  # for a channel to be opened
        self.host_key = host_key
        self.banner = banner  # the server's identification, to recognise it by

    async def shell(self, columns: int, rows: int, *, pty: bool) -> Channel:
        """A shell, with a terminal if ``pty``. Raises PeerUnreachable."""
        return await self._open(term_type="vt100" if pty else None, term_size=(columns, rows) if pty else None)

    async def execute(self, command: str) -> Channel:
        """One command on a channel of its own; reading ends when it is done. Raises PeerUnreachable."""
        return await self._open(command=command)

    async def _open(self, **options: Any) -> Channel:
        try:
            session = Channel(self._pump, self.connection)
            async with asyncio.timeout(self._timeout_seconds):
                await self.connection.create_session(lambda: session, encoding=None, **options)
        except TimeoutError:
            raise PeerUnreachable(f"no channel was opened within {self._timeout_seconds:g} s", "timeout") from None
        except (OSError, asyncssh.Error) as error:
            raise PeerUnreachable(f"no channel was opened: {_words(error)}", "protocol") from None
        return session

    def close(self) -> None:
        """Close at once."""
        self.connection.abort()


async def connect(target: Target, credential: Credential, pump: Pump, *, username_suffix: str = "", keepalive_seconds: float = 0.0) -> SshConnection:
    """Connect and log in with one credential, within the target's time. Raises PeerUnreachable, HostKeyChanged, CredentialsRefused."""
    login = credential.login
    if not isinstance(login, SshLogin):
        raise PeerUnreachable(f"{credential.name} is no SSH login", "invalid")
    port = credential.port or PORT
    name = f"{target.called} ({target.address} port {port})"
    client = _Client(target.host_keys)
    try:
        await pump.turn()
        async with asyncio.timeout(target.timeout_seconds):
            connection = await asyncssh.connect(
                str(target.address), port, tunnel=pump, client_factory=lambda: client, known_hosts=_unknown, config=None, agent_path=None, gss_host=None,
                username=login.username + username_suffix, password=login.password.reveal() if login.password else None,
                client_keys=[await _key(name, login)] if login.private_key else None, passphrase=None,
                keepalive_interval=keepalive_seconds, login_timeout=0, connect_timeout=None, x509_trusted_certs=None,
                **_algorithms(target),
            )  # fmt: skip
    except TimeoutError:
        raise PeerUnreachable(f"{name} did not let us in within {target.timeout_seconds:g} s", "timeout") from None
    except asyncssh.HostKeyNotVerifiable:
        pinned = ", ".join(fingerprint(key) for key in target.host_keys)
        raise HostKeyChanged(name, pinned, fingerprint(client.shown)) from None
    except asyncssh.PermissionDenied:
        raise CredentialsRefused(f"{name} refuses {credential.name}") from None
    except asyncssh.KeyExchangeFailed as error:
        hint = "" if target.legacy_algorithms else "; if it is too old for better ones, allow legacy algorithms for this device"
        raise PeerUnreachable(f"{name}: no algorithms in common: {_words(error)}{hint}", "protocol") from None
    except asyncssh.Error as error:
        raise PeerUnreachable(f"{name}: {_words(error)}", "protocol" if isinstance(error, asyncssh.ProtocolError) else "lost") from None
    except OSError as error:
        raise PeerUnreachable(f"{name}: {error.strerror or 'cannot be reached'}", "connect") from None
    return SshConnection(connection, pump, client.shown, str(connection.get_extra_info("server_version", "")), target.timeout_seconds)


def _unknown(host: str, addr: str, port: int | None) -> tuple[list[Any], ...]:
    """No known hosts: the client's own callback judges."""
    return ([], [], [], [], [], [], [])


def _algorithms(target: Target) -> dict[str, Any]:
    """The pinned keys' algorithms come first, so that a device with several keys shows the one that is known."""
    kinds = {key.split()[0] for key in target.host_keys}
    wanted = [*HOST_KEYS, *(LEGACY_HOST_KEYS if target.legacy_algorithms else ())]
    first = [name for name in wanted if name in kinds or ("ssh-rsa" in kinds and name in RSA)]
    names = [*first, *(name for name in wanted if name not in first)]
    if not target.legacy_algorithms:
        return {"server_host_key_algs": names}
    return {"server_host_key_algs": names, "kex_algs": LEGACY_KEX, "encryption_algs": LEGACY_CIPHERS, "mac_algs": LEGACY_MACS}


async def _key(name: str, login: SshLogin) -> asyncssh.SSHKey:
    """The private key, decrypted in a thread: a good passphrase takes a second of work."""
    if login.private_key is None:
        raise PeerError(f"{name}: no private key")
    passphrase = login.passphrase.reveal() if login.passphrase else None
    try:
        return await asyncio.to_thread(asyncssh.import_private_key, login.private_key.reveal(), passphrase)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError):
        raise PeerUnreachable(f"{name}: the private key or its passphrase is not good", "invalid") from None


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]
