"""Telnet to a device: a TCP connection and :mod:`netd.wire.telnet`. Everything, passwords too, goes over the wire in the clear."""

import asyncio
from typing import Final

from netd.device.pump import arrived
from netd.errors import PeerUnreachable, WireError
from netd.model.target import Credential, Target
from netd.wire.telnet import Telnet

PORT: Final = 23
READ_OCTETS: Final = 64 << 10


class TelnetChannel:
    """A connection: text in, text out, negotiations answered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, codec: Telnet) -> None:
        self._reader = reader
        self._writer = writer
        self._codec = codec

    async def read(self) -> bytes:
        """What came; empty at the end. Raises PeerUnreachable ``lost``, ``protocol``."""
        while True:
            try:
                data = await self._reader.read(READ_OCTETS)
                if not data:
                    return b""
                text, answer = self._codec.receive(data)
                if answer:
                    self._writer.write(answer)
            except WireError as error:
                raise PeerUnreachable(f"no Telnet: {error.detail}", "protocol") from None
            except OSError as error:
                raise PeerUnreachable(f"the connection was lost: {error.strerror or type(error).__name__}", "lost") from None
            if text:
                return text

    async def catch_up(self) -> None:
        """Return when what has come by now can be read."""
        await arrived()

    async def write(self, data: bytes) -> None:
        """Send. Raises PeerUnreachable ``lost``."""
        try:
            self._writer.write(self._codec.encode(data))
            await self._writer.drain()
        except OSError as error:
            raise PeerUnreachable(f"the connection was lost: {error.strerror or type(error).__name__}", "lost") from None

    async def close(self) -> None:
        """Close at once: what was written and not sent is given up."""
        self._writer.transport.abort()


async def connect(target: Target, credential: Credential, columns: int, rows: int) -> TelnetChannel:
    """Connect, not log in. Raises PeerUnreachable."""
    port = credential.port or PORT
    name = f"{target.called} ({target.address} port {port})"
    try:
        async with asyncio.timeout(target.timeout_seconds):
            reader, writer = await asyncio.open_connection(str(target.address), port)
    except TimeoutError:
        raise PeerUnreachable(f"{name} did not answer within {target.timeout_seconds:g} s", "timeout") from None
    except OSError as error:
        raise PeerUnreachable(f"{name}: {error.strerror or 'cannot be reached'}", "connect") from None
    codec = Telnet(columns=columns, rows=rows or 24)
    writer.write(codec.opening())
    return TelnetChannel(reader, writer, codec)
