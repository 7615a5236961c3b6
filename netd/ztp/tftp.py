"""TFTP over UDP: a request is judged by :mod:`netd.domain.bootfiles`, then each transfer has a socket and a timer of its own.

No task per transfer: a datagram wakes its object, which sends the next window from what was read ahead; only reading from the disk waits, in a thread.
"""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Sequence
from typing import Final

from netd.config import BootConfig
from netd.domain.bootfiles import BootFile, BootFiles, source_of
from netd.errors import BootRefused, ConfigError, NetdError, StoreError, TooOften, WireError
from netd.metrics import Counts, Metrics
from netd.wire import tftp
from netd.wire.tftp import Request, Sending, Step

log = logging.getLogger(__name__)

READ_OCTETS: Final = 1 << 20
REQUESTS_AT_ONCE: Final = 64
"""Datagrams taken from the port before others get their turn."""

OF_A_SOURCE: Final = 8
"""Transfers of one address at a time."""

NETASCII_OCTETS: Final = 4 << 20
DRAIN_OCTETS: Final = 65_536
IP_PKTINFO: Final = 8  # Linux; Python's socket module has no name for it

Address = tuple[str, int] | tuple[str, int, int, int]


class Transfer:
    """A file on its way to one ``client``, which asked for it with ``request``."""

    def __init__(
        self, service: "TftpService", sock: socket.socket, client: Address, request: Request, sending: Sending, file: BootFile, body: bytes | None,
        descriptor: int,
    ) -> None:  # fmt: skip
        self.client = client
        self._request = request
        self._service = service
        self._socket = sock
        self._sending = sending
        self.file = file
        self._whole = body is not None
        self._buffer = memoryview(body or b"")
        self._start = 0  # where the buffer begins in the file
        self._descriptor = descriptor
        self._timer: asyncio.TimerHandle | None = None
        self._reading: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def repeats(self, request: Request) -> bool:
        """Whether this is what its client asked for already, and has nothing of yet: the answer is on its way, or comes again with the timer."""
        return request == self._request and not self._sending.acknowledged

    def give_way(self) -> None:
        """Its client begins anew from the same port, as loaders do after a restart: nobody is there any more for this one."""
        self._end("restarted")

    def begin(self) -> None:
        """Send the first thing."""
        self._loop.add_reader(self._socket.fileno(), self._readable)
        self._do(self._sending.begin())

    def _readable(self) -> None:
        for _ in range(REQUESTS_AT_ONCE):
            try:
                data = self._socket.recv(DRAIN_OCTETS)
            except BlockingIOError:
                return
            except OSError:  # ICMP: nobody listens there any more
                self._end("gone")
                return
            try:
                step = self._sending.received(data)
            except WireError as error:
                self._service.drops[error.reason] += 1
                continue
            if step is not Step.WAIT:
                self._do(step)
                if self._descriptor == -2:
                    return

    def _silent(self) -> None:
        self._timer = None
        self._do(self._sending.silent(), silent=True)

    def _do(self, step: Step, *, silent: bool = False) -> None:
        if step is Step.ACKNOWLEDGE:
            self._send(self._sending.acknowledgement())
            self._wait()
        elif step is Step.SEND:
            self._window()
        elif step is Step.DONE:
            self._end("done")
        elif step is Step.GIVE_UP:
            self._end("silent" if silent else "aborted")

    def _window(self) -> None:
        sending = self._sending
        blocks = sending.blocks()
        first, end = sending.span(blocks[0])[0], sending.span(blocks[-1])[1]
        if first < self._start or end > self._start + len(self._buffer):
            if self._reading is None:
                self._reading = self._loop.create_task(self._read(first), name="tftp read")
            return
        for block in blocks:
            low, high = sending.span(block)
            if not self._send(sending.datagram(block, self._buffer[low - self._start : high - self._start])):
                break  # no room in the socket: as lost as on the way, and asked for again like it
        self._wait()

    async def _read(self, at: int) -> None:
        try:
            wanted = max(READ_OCTETS, self._sending.window * self._sending.block_octets)
            self._buffer = memoryview(await asyncio.to_thread(os.pread, self._descriptor, wanted, at))
            self._start = at
        except OSError as error:
            log.error("a boot file cannot be read", extra={"file": self.file.name, "error": str(error)})
            self._send(tftp.error(tftp.NOT_DEFINED, "cannot be read"))
            self._end("unreadable")
            return
        finally:
            self._reading = None
        blocks = self._sending.blocks()
        if self._sending.span(blocks[-1])[1] > self._start + len(self._buffer):  # it became shorter meanwhile
            self._send(tftp.error(tftp.NOT_DEFINED, "changed"))
            self._end("unreadable")
            return
        self._window()

    def _send(self, data: bytes) -> bool:
        try:
            self._socket.send(data)
        except BlockingIOError:
            return False
        except OSError:  # told by ICMP; the next receipt ends it
            return False
        return True

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._sending.timeout_seconds, self._silent)

    def _end(self, how: str) -> None:
        self.close()
        sending = self._sending
        sent = sending.all_sent and how in ("done", "silent", "gone")
        self._service.ended(self, how, sending.span(sending.acknowledged)[1] if sending.acknowledged else 0, sent=sent)

    def close(self) -> None:
        """Let go of everything; safe to call again."""
        if self._descriptor == -2:
            return
        self._loop.remove_reader(self._socket.fileno())
        if self._timer is not None:
            self._timer.cancel()
        if self._reading is not None and self._reading is not asyncio.current_task():
            self._reading.cancel()
        self._socket.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -2


class TftpService:
    """Listens for requests."""

    def __init__(self, files: BootFiles, config: BootConfig) -> None:
        self.transfers: set[Transfer] = set()
        self.outcomes: Counts = Counts()
        self.drops: Counts = Counts()
        self._files = files
        self._config = config
        self._sockets: list[socket.socket] = []
        self._asking: dict[tuple[str, int, bytes], asyncio.Task[None]] = {}  # retransmissions of what is being looked at are absorbed
        self._settling: set[asyncio.Task[None]] = set()

    def register(self, metrics: Metrics) -> None:
        """Add the series."""
        metrics.counter_of("netd_tftp_transfers", "TFTP transfers by how they ended", lambda: self.outcomes, ("outcome",))
        metrics.counter_of("netd_tftp_drops", "TFTP datagrams dropped by reason", lambda: self.drops, ("reason",))
        metrics.gauge("netd_tftp_open", "TFTP transfers at work", lambda: len(self.transfers))

    def start(self, sockets: Sequence[socket.socket]) -> None:
        """Read requests from these."""
        self._sockets = list(sockets)
        for sock in sockets:
            asyncio.get_running_loop().add_reader(sock.fileno(), self._readable, sock)

    async def stop(self) -> None:
        """End all; devices try again elsewhere, or later."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.remove_reader(sock.fileno())
        for task in list(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        for transfer in list(self.transfers):
            transfer.close()
        self.transfers.clear()
        await asyncio.gather(*self._settling, return_exceptions=True)

    def _readable(self, sock: socket.socket) -> None:
        for _ in range(REQUESTS_AT_ONCE):
            try:
                data, ancillary, _, client = sock.recvmsg(tftp.LONGEST_REQUEST + 1, 256)
            except BlockingIOError:
                return
            except OSError as error:
                log.warning("TFTP port not read", extra={"error": str(error)})
                return
            try:
                self._take(sock, data, client, _local(ancillary))
            except WireError as error:
                self.drops[error.reason] += 1
                if error.reason in ("write", "bad_mode"):
                    _answer(sock, client, tftp.error(tftp.ACCESS_VIOLATION if error.reason == "write" else tftp.ILLEGAL_OPERATION, error.reason))

    def _take(self, sock: socket.socket, data: bytes, client: Address, local: str) -> None:
        request = tftp.parse_request(data)
        key = (client[0], client[1], data)
        if key in self._asking:
            self.drops["repeated"] += 1
            return
        if any(each.client == client and each.repeats(request) for each in self.transfers):
            self.drops["repeated"] += 1
            return
        source = source_of(client[0])
        if len(self.transfers) + len(self._asking) >= self._config.transfers:
            self.drops["too_many"] += 1
            return
        if sum(each.file.source == source for each in self.transfers) + sum(host == client[0] for host, _, _ in self._asking) >= OF_A_SOURCE:
            self.drops["too_many_of_source"] += 1
            return
        task = asyncio.get_running_loop().create_task(self._answer(sock, request, client, source, local), name="tftp request")
        self._asking[key] = task
        task.add_done_callback(lambda _: self._asking.pop(key, None))

    async def _answer(self, sock: socket.socket, request: Request, client: Address, source: str, local: str) -> None:
        try:
            file = await self._files.ask(request.file, source, "tftp")
        except BootRefused:
            _answer(sock, client, tftp.error(tftp.NOT_FOUND, "no such file"))
            return
        except StoreError as error:
            log.warning("a boot file is not served", extra={"source": source, "error": str(error)})
            self.outcomes["database_away"] += 1
            return  # it asks again
        except TooOften:
            self.outcomes["too_busy"] += 1
            return  # likewise
        try:
            self._begin(sock, request, file, client, local)
        except (OSError, NetdError) as error:
            log.warning("a TFTP transfer did not begin", extra={"file": file.name, "source": source, "error": str(error)})
            self.outcomes["not_begun"] += 1
            _answer(sock, client, tftp.error(tftp.NOT_DEFINED, "not now"))

    def _begin(self, sock: socket.socket, request: Request, file: BootFile, client: Address, local: str) -> None:
        body, octets, descriptor = file.body, file.octets, -1
        if request.mode == "netascii":
            if body is None:
                raise BootRefused("netascii_image")  # an image is no text
            body = tftp.netascii(body)
            octets = len(body)
        config = self._config
        sending = Sending(request, octets, most_block=config.block_octets, rolls_to=config.block_rolls_to)
        own = socket.socket(sock.family, socket.SOCK_DGRAM)
        try:
            own.setblocking(False)
            own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
            if local:
                own.bind((local, 0))
            own.connect(client)
            if body is None and file.path is not None:
                descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            own.close()
            raise
        for each in [each for each in self.transfers if each.client == client]:
            each.give_way()
        transfer = Transfer(self, own, client, request, sending, file, body, descriptor)
        self.transfers.add(transfer)
        transfer.begin()

    def ended(self, transfer: Transfer, how: str, octets: int, *, sent: bool) -> None:
        """A transfer is over: the device's step is written. ``sent``: all of it was on the way, whatever came of it."""
        self.transfers.discard(transfer)
        self.outcomes[how] += 1
        file = transfer.file
        octets = file.octets if how == "done" else octets
        task = asyncio.get_running_loop().create_task(self._settled(file, octets, whole=how == "done", sent=sent), name="tftp settled")
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settled(self, file: BootFile, octets: int, *, whole: bool, sent: bool) -> None:
        try:
            if whole:
                await self._files.delivered(file, octets, "tftp", whole=True)
            else:
                await self._files.ended(file, octets, "tftp", sent=sent)
        except StoreError as error:  # that it began is written: the sweep takes it from there
            log.error("a delivered boot file is not recorded", extra={"file": file.name, "ztp_device": file.ztp_device_id, "error": str(error)})


def _local(ancillary: Sequence[tuple[int, int, bytes]]) -> str:
    """The address that the datagram was sent to: the answer comes from there."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            return socket.inet_ntop(socket.AF_INET, struct.unpack("=I4s4s", data[:12])[1])
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            found = socket.inet_ntop(socket.AF_INET6, data[:16])
            return "" if found.startswith("fe80:") else found
    return ""


def _answer(sock: socket.socket, client: Address, data: bytes) -> None:
    try:
        sock.sendto(data, client)
    except OSError as error:
        log.debug("a TFTP error was not sent", extra={"error": str(error)})


def bind(addresses: Sequence[str], port: int, setting: str = "boot.tftp_port") -> list[socket.socket]:
    """Sockets on these addresses. Raises ConfigError."""
    made: list[socket.socket] = []
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        made.append(sock)
        try:
            sock.setblocking(False)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            sock.bind((address, port or made[0].getsockname()[1]))
        except OSError as error:
            for each in made:
                each.close()
            raise ConfigError("configuration", setting, f"cannot listen on {address} port {port}/udp: {error.strerror}") from error
    return made
