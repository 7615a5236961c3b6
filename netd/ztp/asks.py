"""What a DHCPv4 client asks of the leases."""

from collections.abc import Callable
from typing import Literal

from netd.model.ztp import Granted
from netd.ztp.limits import Source
from netd.ztp.subnets import Subnet

Kind = Literal["offer", "bind", "release", "decline"]
Done = Callable[["Ask", int, str], None]


class Ask:
    """What a client wants: an address (``address`` is what it names, 0: none; ``reserved`` what is set aside for it, ``fixed``: by its device's record).
    ``client`` is its name in the table, made of ``base`` and ``line``; ``unicast``: it speaks from the address itself, and the lease says its line.
    ``done`` is called once with this ask, the address it has, or 0 and the reason. It must not hold the ask itself: a cycle for each packet is what the
    garbage collector would have to find."""

    __slots__ = (
        "address", "at", "base", "client", "device_id", "done", "fixed", "granted", "hostname", "kind", "line", "mac", "probes", "profile", "relay",
        "relay_info", "reserved", "seconds", "subnet", "unicast", "waited",
    )  # fmt: skip

    def __init__(self, kind: Kind, subnet: Subnet, client: str, address: int, done: Done) -> None:
        self.kind = kind
        self.subnet = subnet
        self.client = client
        self.base = client
        self.line = ""
        self.unicast = False
        self.address = address
        self.at = 0.0  # when it came, be it read later
        self.waited = 0.0  # seconds before it was read
        self.done = done
        self.reserved = 0
        self.fixed = False
        self.seconds = subnet.row.lease_seconds
        self.mac = ""
        self.profile = ""
        self.hostname = ""
        self.relay: Source = 0
        self.relay_info = b""
        self.device_id: int | None = None
        self.granted: Callable[[int], Granted] | None = None  # of an expected device: what is to be recorded with this address
        self.probes = 0
