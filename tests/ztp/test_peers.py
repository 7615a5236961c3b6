"""Clients and relays that nobody here wrote, in network namespaces: busybox, ISC, dhcpcd."""

import asyncio
import re

from netd.config import DhcpConfig
from netd.ztp.sockets import bind4
from tests.ztp.conftest import Net, Site, within

RELAYS = DhcpConfig(enabled=True, addresses=("0.0.0.0",))


async def served(net: Net, **more: object) -> int:
    pool = await net.pool("access", "10.1.0.10", "10.1.0.40")
    return await net.subnet("10.1.0.0/24", pool, router="10.1.0.1", dns_servers=["10.99.0.1"], domain="access.example", **more)


async def test_udhcpc_behind_a_relay_with_option_82(site: Site, net: Net, responder, require_peer):
    require_peer("udhcpc")
    await served(net)
    service = await responder(RELAYS)
    async with asyncio.TaskGroup() as group:
        service.start(group, within(site.server, lambda: bind4(("0.0.0.0",), 67, ())))
        site.start_relay(require_peer("dhcrelay"))
        told = await site.udhcpc()
        assert (told["ip"], told["subnet"], told["router"], told["dns"], told["lease"]) == ("10.1.0.10", "255.255.255.0", "10.1.0.1", "10.99.0.1", "600")
        assert (await net.leases())[0][:2] == ("10.1.0.10", "bound")
        raw = await net.connection.fetchval("select relay_info from leases where dhcp_state = 'bound'")
        assert b"down0" in raw
        again = await site.udhcpc()
        assert again["ip"] == "10.1.0.10"
        assert re.search(r"^", (site.folder / "dhcrelay.log").read_text())
        await service.stop()
