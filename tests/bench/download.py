"""Plain clients for one file from this host, from an address of choice: TFTP with windows, and HTTP. They keep nothing but the number of octets."""

import socket
from typing import Final

from netd.wire import tftp

HOST: Final = "127.0.0.1"
BUFFER_OCTETS: Final = 1 << 20
ASKED: Final = 10


def by_tftp(port: int, path: str, window: int, source: str = HOST) -> int:
    """Octets that a plain client gets; it acknowledges the last block of each window."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((source, 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.settimeout(1.0)
    options = {"blksize": "1428", "tsize": "0"} | ({"windowsize": str(window)} if window > 1 else {})
    data, server = _asked(sock, tftp.encode_request(tftp.Request(path, "octet", options)), port)
    if data[1] != tftp.OACK:
        raise RuntimeError(f"no options: {data[:60]!r}")
    words = data[2:].split(b"\0")
    agreed = dict(zip(words[::2], words[1::2], strict=False))
    window, block = int(agreed.get(b"windowsize", b"1")), int(agreed[b"blksize"])
    sock.connect(server)
    sock.send(b"\0\4\0\0")
    got, expected, since = 0, 1, 0
    while True:
        try:
            data = sock.recv(65_536)
        except TimeoutError:
            sock.send(b"\0\4" + ((expected - 1) & 0xFFFF).to_bytes(2, "big"))
            continue
        if data[1] != tftp.DATA or int.from_bytes(data[2:4], "big") != expected & 0xFFFF:
            continue
        got, since = got + len(data) - 4, since + 1
        last = len(data) - 4 < block
        if since == window or last:
            sock.send(b"\0\4" + (expected & 0xFFFF).to_bytes(2, "big"))
            since = 0
        if last:
            return got
        expected += 1


def _asked(sock: socket.socket, request: bytes, port: int) -> tuple[bytes, tuple[str, int]]:
    """The first answer and whose it is; a request may be lost, and is sent again. Raises TimeoutError."""
    for _ in range(ASKED):
        sock.sendto(request, (HOST, port))
        try:
            data, server = sock.recvfrom(65_536)
        except TimeoutError:
            continue
        return data, server
    raise TimeoutError(f"port {port} does not answer")


def by_http(port: int, path: str, source: str = HOST) -> int:
    """Octets that a plain HTTP client gets from a server that says Content-Length."""
    with socket.create_connection((HOST, port), 60, (source, 0)) as sock:
        sock.sendall(f"GET /{path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n".encode())
        buffer = bytearray(BUFFER_OCTETS)
        head = b""
        while b"\r\n\r\n" not in head:
            if not (more := sock.recv(65_536)):
                raise RuntimeError(f"no answer: {head!r}")
            head += more
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise RuntimeError(head.decode("latin-1"))
        octets = len(head.partition(b"\r\n\r\n")[2])
        while got := sock.recv_into(buffer):
            octets += got
        return octets
