"""Open responses: Server-Sent Events, or a WebSocket for who asks for one. What is sent comes in batches; an empty one shows that the line is alive."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar

import msgspec
from aiohttp import WSMsgType, hdrs, web

from netd.errors import StoreError
from netd.web import codec

T = TypeVar("T", bound=msgspec.Struct)

IDLE_SECONDS: Final = 15.0
"""A line at least this often, so that neither end takes the other for dead."""

RETRY_MS: Final = 2000

Batches = AsyncIterator[list[T] | None]
"""What is sent; an empty batch shows that the line is alive, None says that nothing more will ever come."""

Name = Callable[[T], tuple[str, str]]
"""An item's id, to go on behind, and its event's name."""


Encoded = Callable[[T, Callable[[T], bytes]], bytes]
"""The octets of an item, made by the function or known already."""


def _anew(item: T, encode: Callable[[T], bytes]) -> bytes:
    return encode(item)


async def sse(request: web.Request, batches: Batches[T], named: Name[T], encoded: Encoded[T] = _anew) -> web.StreamResponse:
    """Send batches as Server-Sent Events. An event ``end`` says that nothing more will come, so that the client does not come again."""

    def encode(item: T) -> bytes:
        return _event(item, *named(item))

    headers = {hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    try:
        await response.write(b"retry: %d\n\n" % RETRY_MS)
        async for batch in batches:
            if batch is None:
                await response.write(b"event: end\ndata: {}\n\n")
                break
            await response.write(b"".join([encoded(item, encode) for item in batch]) or b":\n\n")
    except (ConnectionResetError, StoreError):  # the client went, or the database: it comes again, with the last id that it saw
        return response
    return response


def _event(item: msgspec.Struct, id_: str, name: str) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (id_.encode(), name.encode(), codec.encode(item))


async def websocket(request: web.Request, batches: Batches[T]) -> web.StreamResponse:
    """Send batches over a WebSocket, an item a message; it is closed as done (1000) behind the last that will ever come, else as going away (1001)."""
    socket = web.WebSocketResponse(heartbeat=IDLE_SECONDS, compress=False)
    await socket.prepare(request)

    async def receive() -> None:
        """The client has nothing to say; reading notices when it goes, and answers its pings."""
        async for message in socket:
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                await socket.close(code=1003, message=b"nothing is expected from the client")

    reader = asyncio.create_task(receive())
    code = 1001
    try:
        async for batch in batches:
            if reader.done():
                break
            if batch is None:
                code = 1000
                break
            for item in batch:
                await socket.send_str(codec.encode(item).decode())
    except (ConnectionResetError, StoreError):
        return socket
    finally:
        reader.cancel()
        await socket.close(code=code)
    return socket
