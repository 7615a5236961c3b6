"""Addresses that one client is to have for ever: by a reservation, or by the record of an expected device. Checked where they are written; the responder
checks again where it gives them."""

from ipaddress import IPv4Address, IPv6Address

from netd.domain.inputs import Faults
from netd.model.dhcp import Subnet
from netd.store import dhcp, subnets
from netd.store import expected as store
from netd.store.database import Connection


def unusable(subnet: Subnet, address: IPv4Address | IPv6Address) -> str:
    """Why no client of the subnet can have this address; "" if one can."""
    if address.version != subnet.prefix.version or address not in subnet.prefix:
        return f"is not in {subnet.prefix}"
    if address == subnet.router:
        return "is the router's own"
    if address.version == 4 and subnet.prefix.prefixlen < 31 and address in (subnet.prefix.network_address, subnet.prefix.broadcast_address):
        return "is the subnet's own"
    return ""


async def check(
    conn: Connection, faults: Faults, tenant_id: int, address: IPv4Address | IPv6Address, *, mac: str | None, serial: str | None, device: int | None
) -> None:
    """Report an address that the expected device (None: a new one) with this MAC address and serial number cannot have."""
    subnet = await subnets.around(conn, tenant_id, address)
    if subnet is None:
        faults.add("/address", "is in no subnet that DHCP serves")
        return
    fault = unusable(subnet, address)
    reserved = await subnets.reserved(conn, tenant_id, address)
    if not fault and reserved is not None and (reserved.kind, reserved.value) not in (("mac", mac), ("serial", serial)):
        fault = "is reserved for another client"
    if not fault and await dhcp.fixed(conn, tenant_id, [str(address)]):
        fault = "is a subscriber's"
    if not fault and await store.with_address(conn, tenant_id, address, device):
        fault = "is another expected device's"
    if fault:
        faults.add("/address", fault)
