"""Boot files by HTTP(S), on ports of their own: nothing of the API is there, and nothing of this is at the API's.

Images go from the disk to the socket by sendfile, in ranges where a device goes on after a break; a small file is sent from memory.
"""

import asyncio
import logging
import math
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from netd.config import BootConfig
from netd.domain.bootfiles import BootFile, BootFiles, bucket, source_of
from netd.domain.certificates import LISTS
from netd.errors import BootRefused, ConfigError, StoreError, TooOften
from netd.model.boot import Transport
from netd.web.app import Listening
from netd.web.gate import Gate, listening

log = logging.getLogger(__name__)

CHUNK_OCTETS: Final = 256 << 10
LINGER_SECONDS: Final = 5.0
SILENT_SECONDS: Final = 10.0
"""A connection without a request is open so long."""

OCTET_STREAM: Final = "application/octet-stream"


def create(files: BootFiles, via: Transport, asked: Callable[[web.Request], None] = lambda request: None) -> web.Application:
    """An application that serves boot files and nothing else; ``asked`` is told of each request."""
    app = web.Application(client_max_size=1024)

    async def serve(request: web.Request) -> web.StreamResponse:
        asked(request)
        # The path as it came: what is hidden in an encoding is refused, not decoded.
        try:
            file = await files.ask(request.raw_path, source_of(request.remote or "0.0.0.0"), via, begins=request.method == "GET")
        except BootRefused as error:
            return _refused(error)
        except (StoreError, TooOften):
            return web.Response(status=503, headers={"Retry-After": "10"})
        return Image(files, file, via) if file.path is not None else await _text(request, files, file, via)

    async def serve_list(request: web.Request) -> web.StreamResponse:
        asked(request)
        try:
            found = await files.revocation_list(request.match_info["name"], source_of(request.remote or "0.0.0.0"), via)
        except BootRefused as error:
            return _refused(error)
        except StoreError:
            return web.Response(status=503, headers={"Retry-After": "10"})
        return web.Response(body=found, content_type="application/pkix-crl")

    app.router.add_get(f"/{LISTS}/{{name}}", serve_list)
    app.router.add_route("GET", "/{path:.*}", serve)
    app.router.add_route("HEAD", "/{path:.*}", serve)
    app.on_response_prepare.append(_headers)
    return app


def _refused(error: BootRefused) -> web.Response:
    if error.reason == "too_fast":
        return web.Response(status=429, headers={"Retry-After": "5"})
    return web.Response(status=404)


async def _headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "netd"
    response.headers["Cache-Control"] = "no-store"


async def _text(request: web.Request, files: BootFiles, file: BootFile, via: Transport) -> web.StreamResponse:
    response = web.Response(body=file.body, content_type=OCTET_STREAM)
    try:
        await response.prepare(request)
        await response.write_eof()
    except OSError:  # it went away
        await _recorded(files, file, via, 0, whole=False)
        raise
    if request.method == "GET":
        await _recorded(files, file, via, file.octets, whole=True)
    return response


async def _recorded(files: BootFiles, file: BootFile, via: Transport, octets: int, *, whole: bool) -> None:
    try:
        await files.delivered(file, octets, via, whole=whole)
    except StoreError as error:  # that it began is written: the sweep takes it from there
        log.error("a delivered boot file is not recorded", extra={"file": file.name, "ztp_device": file.ztp_device_id, "error": str(error)})


class Image(web.FileResponse):
    """A file from the disk. The end of it counts as delivered once all octets of this answer are with the kernel."""

    def __init__(self, files: BootFiles, file: BootFile, via: Transport) -> None:
        super().__init__(file.path or Path(), chunk_size=CHUNK_OCTETS, headers={"Content-Type": OCTET_STREAM})
        self._files = files
        self._file = file
        self._via = via

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send it, and say how far that came."""
        condition = request.headers.get("If-Range")
        if condition is not None and not await asyncio.to_thread(self._same, condition):
            headers = request.headers.copy()
            headers.popall("Range", None)
            request = request.clone(headers=headers)  # RFC 9110 13.1.5: it has a part of something else, and gets all of this
        octets, whole = 0, False
        try:
            writer = await super().prepare(request)
            if self.status in (200, 206):
                first, last = _span(self.headers.get("Content-Range", ""), self._file.octets)
                octets, whole = last - first, last == self._file.octets
        finally:
            if request.method == "GET":
                await _recorded(self._files, self._file, self._via, octets, whole=whole)
        return writer

    def _same(self, condition: str) -> bool:
        """Whether a part that a client has is of this file: by its strong entity tag as aiohttp makes it, or by the very date."""
        try:
            found = (self._file.path or Path()).stat()
        except OSError:
            return False
        if condition.startswith(('"', "W/")):
            return condition == f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
        return condition == formatdate(math.ceil(found.st_mtime), usegmt=True)


def _span(content_range: str, octets: int) -> tuple[int, int]:
    """Which octets an answer has: from, and up to but not including."""
    if not content_range.startswith("bytes "):
        return 0, octets
    first, _, last = content_range.removeprefix("bytes ").partition("/")[0].partition("-")
    return int(first), int(last) + 1


def encryption(certificate: str, key: str) -> ssl.SSLContext | None:
    """TLS with these files, None without. Raises ConfigError. TLS 1.2 stays: SR OS has nothing newer."""
    if not certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("configuration", "boot.certificate", f"cannot be used: {error.strerror or error}") from error
    return context


@asynccontextmanager
async def serve(files: BootFiles, config: BootConfig, port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[list[Listening]]:
    """Serve while the context lasts, by HTTPS with ``context``. Raises ConfigError if the port is taken."""
    gates: list[Gate] = []

    def asked(request: web.Request) -> None:
        for gate in gates:
            gate.asked(request.transport)

    runner = web.AppRunner(
        create(files, "https" if context else "http", asked), access_log=None, shutdown_timeout=LINGER_SECONDS, handle_signals=False,
        keepalive_timeout=SILENT_SECONDS,
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        server = runner.server
        if server is None:
            raise RuntimeError("aiohttp has no server after its set-up")
        made: list[Listening] = []
        for address in config.addresses:
            wanted = port or (made[0].port if made else 0)
            try:
                sock = listening(address, wanted)
            except OSError as error:
                setting = "boot.https_port" if context else "boot.http_port"
                raise ConfigError("configuration", setting, f"cannot listen on {address} port {wanted}/tcp: {error.strerror}") from error
            gate = Gate(
                sock, server, key=bucket, refused=files.connections, most=config.connections, most_of_source=config.connections_of_source,
                silent_seconds=SILENT_SECONDS, context=context,
            )  # fmt: skip
            gates.append(gate)
            stack.push_async_callback(gate.stop)
            gate.start()
            made.append(Listening(address, sock.getsockname()[1]))
        yield made
