"""RouterOS' REST API (version 7): records as texts, over :mod:`netd.device.http`. Certificates are pinned as host keys are: routers sign their own."""

import asyncio
import base64
import hashlib
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from netd.device.http import Client
from netd.errors import PeerError, PeerUnreachable
from netd.model.target import Credential, HttpLogin, Target

INTEGRATION: Final = "routeros"
MOST_OCTETS: Final = 32 << 20

Record = dict[str, str]
"""All values are texts, as RouterOS prints them; ``.id`` names the record."""


class CertificateChanged(PeerUnreachable):
    """The device shows a certificate that is not a pinned one: another device, or somebody between."""

    def __init__(self, name: str, pinned: Sequence[str], shown: str) -> None:
        super().__init__(
            f"{name} shows the certificate {shown}, but {', '.join(pinned)} is pinned: if it was replaced, forget the pinned one", "host_key"
        )  # fmt: skip
        self.shown = shown


class RestTransport:
    """Makes sessions over the daemon's HTTP client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def connect(self, target: Target) -> "Rest":
        """A session with the first HTTP login that is accepted; ``credential`` and ``certificate`` are to be kept.

        Raises PeerUnreachable: ``credentials`` if none is; CertificateChanged if the device shows another than the pinned one. Where one
        is pinned, or a host key, nothing is sent without TLS: it would go to whoever answers instead of the device.
        """
        failure = PeerUnreachable(f"{target.called} has no HTTP login", "invalid")
        for credential in target.credentials:
            if not isinstance(credential.login, HttpLogin):
                continue
            if not credential.login.tls and (target.certificates or target.host_keys):
                failure = PeerUnreachable(f"{target.called} has a pinned certificate or host key, and {credential.name} is for HTTP without TLS", "host_key")
                continue
            session = Rest(self._client, target, credential, credential.login)
            try:
                await session.open()
            except PeerUnreachable as error:
                failure = error
                if error.reason != "credentials":
                    break
            else:
                return session
        try:
            raise failure
        finally:
            del failure  # its traceback holds this frame


class Rest:
    """One router. Raises PeerError with the router's words, PeerUnreachable without an answer."""

    def __init__(self, client: Client, target: Target, credential: Credential, login: HttpLogin) -> None:
        self.target = target
        self.credential = credential
        self.certificate = ""  # SHA-256 in hex of what the router shows; empty without TLS
        self._client = client
        self._login = login
        self._port = credential.port or (443 if login.tls else 80)
        host = f"[{target.address}]" if target.address.version == 6 else str(target.address)
        self._base = f"{'https' if login.tls else 'http'}://{host}:{self._port}/rest"
        self._headers = {
            "Authorization": "Basic " + base64.b64encode(f"{login.username}:{login.password.reveal()}".encode()).decode(),
            "Content-Type": "application/json",
        }

    async def open(self) -> None:
        """See whether the router lets us in; nothing of the login is sent before its certificate is known to be the pinned one, or the first."""
        if self._login.tls:
            self.certificate = await self._shown()
            if self.target.certificates and self.certificate not in self.target.certificates:
                raise CertificateChanged(self.target.called, self.target.certificates, self.certificate)
        await self.one("/system/resource")

    async def all(self, path: str, *, properties: Sequence[str] = (), query: Sequence[str] = ()) -> list[Record]:
        """The records of a menu (``/interface``); ``query`` in RouterOS' form, ``type=ether``."""
        if not properties and not query:
            return _records(await self._ask("GET", path))
        return _records(
            await self._ask("POST", f"{path}/print", {".proplist": list(properties), ".query": list(query)} if query else {".proplist": list(properties)})
        )

    async def one(self, path: str) -> Record:
        """A menu without a list, or one record by ``/menu/*1``."""
        found = _records(await self._ask("GET", path))
        if len(found) != 1:
            raise PeerError(f"{self.target.called}: {path} is {len(found)} records")
        return found[0]

    async def create(self, path: str, values: Mapping[str, str]) -> Record:
        """Add a record; returns it as it is now."""
        return _records(await self._ask("PUT", path, values))[0]

    async def change(self, path: str, values: Mapping[str, str]) -> Record:
        """Change a record by ``/menu/*1``; returns it as it is now."""
        return _records(await self._ask("PATCH", path, values))[0]

    async def remove(self, path: str) -> None:
        """Remove a record by ``/menu/*1``."""
        await self._ask("DELETE", path)

    async def command(self, path: str, values: Mapping[str, str] | None = None) -> list[Record]:
        """Do what a console command does (``/system/reboot``)."""
        return _records(await self._ask("POST", path, values or {}))

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        reply = await self._client.call(
            INTEGRATION, method, self._base + path, headers=self._headers, body=None if body is None else msgspec.json.encode(body),
            deadline_seconds=self.target.timeout_seconds, most_octets=MOST_OCTETS, peer=self.target.key, called=self.target.called,
            certificate=bytes.fromhex(self.certificate) if self.certificate else None,
        )  # fmt: skip
        try:
            value = msgspec.json.decode(reply.body) if reply.body else None
        except msgspec.DecodeError:
            raise PeerError(f"{self.target.called}: {path}: status {reply.status}, and no JSON") from None
        if reply.status == 401:
            raise PeerUnreachable(f"{self.target.called} refuses {self.credential.name}", "credentials")
        if reply.status >= 300:
            said = str(value.get("detail") or value.get("message", "")) if isinstance(value, dict) else ""
            raise PeerError(f"{self.target.called}: {path}: {said or f'status {reply.status}'}", said)
        return value

    async def _shown(self) -> str:
        """The certificate's fingerprint, before a word is said."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # it is looked at here, and pinned
        try:
            async with asyncio.timeout(self.target.timeout_seconds):
                _, writer = await asyncio.open_connection(str(self.target.address), self._port, ssl=context)
        except TimeoutError:
            raise PeerUnreachable(f"{self.target.called} did not answer within {self.target.timeout_seconds:g} s", "timeout") from None
        except ssl.SSLError as error:
            raise PeerUnreachable(f"{self.target.called} does not speak TLS as it should: {error.reason}", "tls") from None
        except OSError as error:
            raise PeerUnreachable(f"{self.target.called}: {error.strerror or 'cannot be reached'}", "connect") from None
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        return hashlib.sha256(certificate or b"").hexdigest()


def _records(value: Any) -> list[Record]:
    match value:
        case None:
            return []
        case dict():
            return [{str(key): str(each) for key, each in value.items()}]
        case list() if all(isinstance(each, dict) for each in value):
            return [{str(key): str(item) for key, item in each.items()} for each in value]
        case _:
            raise PeerError("the router answered something that is no record")
