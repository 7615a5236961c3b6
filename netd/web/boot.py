"""Boot files by HTTP(S), on ports of their own: nothing of the API is there, and nothing of this is at the API's.

Images go from the disk to the socket by sendfile, in ranges where a device goes on after a break; a small file is sent from memory.
"""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from aiohttp import web

from netd.domain.bootfiles import BootFile, BootFiles, source_of
from netd.errors import BootRefused, ConfigError, StoreError
from netd.model.boot import Transport
from netd.web.app import Listening

CHUNK_OCTETS: Final = 256 << 10
LINGER_SECONDS: Final = 5.0
OCTET_STREAM: Final = "application/octet-stream"


def create(files: BootFiles, via: Transport) -> web.Application:
    """An application that serves boot files and nothing else."""
    app = web.Application(client_max_size=1024)

    async def serve(request: web.Request) -> web.StreamResponse:
        # The path as it came: what is hidden in an encoding is refused, not decoded.
        try:
            file = await files.ask(request.raw_path, source_of(request.remote or "0.0.0.0"), via)
        except BootRefused as error:
            return web.Response(status=429 if error.reason == "too_fast" else 404, headers={"Retry-After": "5"} if error.reason == "too_fast" else None)
        except StoreError:
            return web.Response(status=503, headers={"Retry-After": "10"})
        return await (_image(request, files, file, via) if file.path is not None else _text(request, files, file, via))

    app.router.add_route("GET", "/{path:.*}", serve)
    app.router.add_route("HEAD", "/{path:.*}", serve)
    app.on_response_prepare.append(_headers)
    return app


async def _headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "netd"
    response.headers["Cache-Control"] = "no-store"


async def _text(request: web.Request, files: BootFiles, file: BootFile, via: Transport) -> web.StreamResponse:
    response = web.Response(body=file.body, content_type=OCTET_STREAM)
    await response.prepare(request)
    await response.write_eof()
    if request.method == "GET":
        await files.delivered(file, file.octets, via, whole=True)
    return response


async def _image(request: web.Request, files: BootFiles, file: BootFile, via: Transport) -> web.StreamResponse:
    """A file from the disk. The end of it counts as delivered once all octets of this answer are with the kernel."""
    response = web.FileResponse(file.path or Path(), chunk_size=CHUNK_OCTETS, headers={"Content-Type": OCTET_STREAM})
    await response.prepare(request)
    if request.method == "GET" and response.status in (200, 206):
        first, last = _span(response.headers.get("Content-Range", ""), file.octets)
        await files.delivered(file, last - first, via, whole=last == file.octets)
    return response


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
async def serve(files: BootFiles, addresses: Sequence[str], port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[list[Listening]]:
    """Serve while the context lasts, by HTTPS with ``context``. Raises ConfigError if the port is taken."""
    runner = web.AppRunner(create(files, "https" if context else "http"), access_log=None, shutdown_timeout=LINGER_SECONDS, handle_signals=False)
    async with AsyncExitStack() as stack:
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        made: list[Listening] = []
        for address in addresses:
            wanted = port or (made[0].port if made else 0)
            site = web.TCPSite(runner, address, wanted, ssl_context=context, reuse_address=True)
            try:
                await site.start()
            except OSError as error:
                setting = "boot.https_port" if context else "boot.http_port"
                raise ConfigError("configuration", setting, f"cannot listen on {address} port {wanted}/tcp: {error.strerror}") from error
            made.append(Listening(address, runner.addresses[-1][1]))
        yield made
