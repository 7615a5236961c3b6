"""The yardstick: a UDP echo as bare as Python has it. Prints its port and echoes until it is ended."""

import socket


def main() -> None:
    """Echo for ever."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.bind(("127.0.0.1", 0))
    print(sock.getsockname()[1], flush=True)
    receive, send = sock.recvfrom, sock.sendto
    while True:
        data, source = receive(4096)
        send(data, source)


if __name__ == "__main__":
    main()
