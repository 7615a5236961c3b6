"""A NAS in a thread, made of pyrad: told to disconnect, it acknowledges, refuses or is silent."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pyrad import packet as pyrad
from pyrad.dictionary import Dictionary

NAMES = Dictionary(str(Path(__file__).parent.parent / "radius" / "nas.dictionary"))
Say = Callable[[pyrad.CoAPacket], pyrad.CoAPacket | None]


def ack(request: pyrad.CoAPacket) -> pyrad.CoAPacket:
    """Yes."""
    return request.CreateReply()


def nak(cause: int) -> Say:
    """No, and this Error-Cause."""

    def say(request: pyrad.CoAPacket) -> pyrad.CoAPacket:
        answer = request.CreateReply()
        answer.code = pyrad.DisconnectNAK if request.code == pyrad.DisconnectRequest else pyrad.CoANAK
        answer["Error-Cause"] = cause
        return answer

    return say


def silence(request: pyrad.CoAPacket) -> None:
    """Nothing."""


@dataclass
class Device:
    """Listens for Disconnect- and CoA-Requests; ``told`` are those that were rightly signed."""

    address: str
    secret: bytes
    say: Say = ack
    told: list[pyrad.CoAPacket] = field(default_factory=list)
    forged: int = 0
    port: int = 0

    def serve(self, sock: socket.socket) -> None:
        """Answer until the socket is closed."""
        while True:
            try:
                data, source = sock.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            request = pyrad.CoAPacket(secret=self.secret, dict=NAMES, packet=data)
            if not (request.VerifyCoARequest() and request.verify_message_authenticator(secret=self.secret)):
                self.forged += 1
                continue
            self.told.append(request)
            answer = self.say(request)
            if answer is not None:
                sock.sendto(answer.ReplyPacket(), source)


@contextlib.contextmanager
def device(address: str, secret: bytes = b"testing123", say: Say = ack) -> Iterator[Device]:
    """A NAS that listens at ``address``, on a port of its own."""
    made = Device(address, secret, say)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        made.port = sock.getsockname()[1]
        thread = threading.Thread(target=made.serve, args=(sock,), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", (address, made.port))
            thread.join(5)
