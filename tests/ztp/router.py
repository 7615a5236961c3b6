"""A router's advertisements (RFC 4861): addresses of the link come by DHCPv6 only. Run in a namespace: ``python -m tests.ztp.router INTERFACE PREFIX``."""

import socket
import struct
import sys
import time

MANAGED_AND_OTHER = 0xC0
ON_LINK = 0x80  # and not autonomous: nobody makes an address of his own
PREFIX_INFORMATION = 3


def advertisement(prefix: str) -> bytes:
    """Of one /64; the kernel fills in the checksum."""
    head = struct.pack("!BBHBBHII", 134, 0, 0, 64, MANAGED_AND_OTHER, 1800, 0, 0)
    return head + struct.pack("!BBBBIII", PREFIX_INFORMATION, 4, 64, ON_LINK, 3600, 3600, 0) + socket.inet_pton(socket.AF_INET6, prefix)


def main(interface: str, prefix: str) -> None:
    """Advertise until killed."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        while True:
            sock.sendto(advertisement(prefix), ("ff02::1", 0, 0, socket.if_nametoindex(interface)))
            time.sleep(0.5)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
