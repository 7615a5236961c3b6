"""The REST API of a simulated RouterOS router, over HTTPS with a certificate that it signed itself: what its console says, as records."""

import base64
import datetime
import hashlib
import ssl
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from netd.simulate import Simulated


def own_certificate(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A context with it, and its SHA-256 in hex."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "router")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
    certificate = made.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    (folder / "certificate").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate", folder / "key")
    return context, hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


class RestRouter:
    """Serves one. ``refused`` are menus that it does not have; ``asked`` is what it was asked for with the right password."""

    def __init__(self, device: Simulated, folder: Path) -> None:
        self._context, self.fingerprint = own_certificate(folder)
        self._device = device
        self.refused: set[str] = set()
        self.asked: list[str] = []
        self.knocked = 0
        self.port = 0

    async def __aenter__(self) -> "RestRouter":
        app = web.Application()
        app.router.add_route("*", "/rest/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._context).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.knocked += 1
        right = f"{self._device.username}:{self._device.password}".encode()
        if request.headers.get("Authorization") != "Basic " + base64.b64encode(right).decode():
            return web.json_response({"error": 401, "message": "Unauthorized"}, status=401)
        path = "/" + request.match_info["path"]
        self.asked.append(path)
        found = self._menus().get(path)
        if found is None or path in self.refused:
            return web.json_response({"error": 400, "message": "Bad Request", "detail": "no such command or directory"}, status=400)
        return web.json_response(found)

    def _menus(self) -> dict[str, Any]:
        facts = self._device.facts
        heard = {
            ".id": "*1", "interface": "ether1", "address": "192.0.2.2", "address4": "192.0.2.2", "mac-address": "12:34:56:78:90:AB", "identity": "core1",
            "platform": "MikroTik", "version": "7.15.1 (stable)", "age": "17s", "interface-name": "ether2", "discovered-by": "cdp,lldp,mndp",
        }  # fmt: skip
        return {
            "/system/resource": {"version": f"{self._device.version} (stable)", "board-name": facts.get("board", "hEX"), "uptime": "1d2h3m4s", "cpu-load": 3},
            "/system/routerboard": {"routerboard": "true", "model": facts.get("model", "RB750Gr3"), "serial-number": facts.get("serial", "SIMULATED01")},
            "/system/identity": {"name": self._device.hostname},
            "/ip/neighbor": [heard, {".id": "*2", "mac-address": "12:34:56:78:90:AC"}],
            "/interface/bridge/host": [
                {".id": "*1", "mac-address": "0C:22:33:44:55:01", "interface": "ether4", "bridge": "lan", "on-interface": "ether4", "local": "false"},
                {".id": "*2", "mac-address": "0C:22:33:44:55:04", "interface": "lan", "bridge": "lan", "on-interface": "lan", "local": "true"},
            ],
            "/ip/arp": [
                {".id": "*1", "address": "192.0.2.2", "mac-address": "12:34:56:78:90:AB", "interface": "ether1", "complete": "true"},
                {".id": "*2", "address": "192.0.2.3", "interface": "ether1", "complete": "false"}, {".id": "*3", "address": "?", "mac-address": "x"},
            ],
        }  # fmt: skip
