"""Clients and relays that nobody here wrote, in network namespaces: busybox, ISC, dhcpcd."""

import asyncio
import re

from netd.config import DhcpConfig
from netd.ztp import service as service_module
from netd.ztp.sockets import Sockets4, Sockets6, bind4, bind6
from tests.ztp.conftest import Net, Site, until, within
from tests.ztp.links import wire

RELAYS = DhcpConfig(enabled=True, addresses=("0.0.0.0",))


async def served(net: Net, **more: object) -> int:
    pool = await net.pool("access", "10.1.0.10", "10.1.0.40")
    return await net.subnet("10.1.0.0/24", pool, router="10.1.0.1", dns_servers=["10.99.0.1"], domain="access.example", **more)


async def test_udhcpc_behind_a_relay_with_option_82(site: Site, net: Net, responder, require_peer):
    require_peer("udhcpc")
    await served(net)
    service = await responder(RELAYS)
    async with asyncio.TaskGroup() as group:
        started(service, site, group)
        site.start_relay(require_peer("dhcrelay"))
        told = await site.udhcpc()
        assert (told["ip"], told["subnet"], told["router"], told["dns"], told["lease"]) == ("10.1.0.10", "255.255.255.0", "10.1.0.1", "10.99.0.1", "600")
        assert (await net.leases())[0][:2] == ("10.1.0.10", "bound")
        raw = await net.connection.fetchval("select relay_info from leases where dhcp_state = 'bound'")
        assert b"down0" in raw
        again = await site.udhcpc()
        assert again["ip"] == "10.1.0.10"
        await service.stop()


def started(service, site: Site, group: asyncio.TaskGroup, interfaces: tuple[str, ...] = ()) -> tuple[Sockets4, Sockets6]:
    bound = within(site.server, lambda: (bind4(("0.0.0.0",), 67, interfaces), bind6(("::",), 547, interfaces)))
    service.start(group, *bound)
    assert bound[0] is not None and bound[1] is not None
    return bound[0], bound[1]


async def test_dhclient_and_dhcpcd_behind_the_same_relay(site: Site, net: Net, responder, require_peer):
    dhclient, dhcpcd = require_peer("dhclient"), require_peer("dhcpcd")
    await served(net)
    service = await responder(RELAYS)
    async with asyncio.TaskGroup() as group:
        started(service, site, group)
        site.start_relay(require_peer("dhcrelay"))
        folder = site.folder
        script = folder / "dhclient.sh"
        script.write_text(f'#!/bin/sh\n[ -n "$new_ip_address" ] && env > {folder}/new && mv {folder}/new {folder}/dhclient.env\nexit 0\n')
        script.chmod(0o755)
        (folder / "dhclient.conf").write_text('send vendor-class-identifier "anything";\nrequest subnet-mask, routers, domain-name, domain-name-servers;\n')
        command = (dhclient, "-4", "-1", "-d", "-cf", f"{folder}/dhclient.conf", "-lf", f"{folder}/leases", "-pf", f"{folder}/pid", "-sf", str(script), "eth0")
        process = site.client.start(*command, log=folder / "dhclient.log")
        await until(lambda: (folder / "dhclient.env").exists())
        told = dict(line.split("=", 1) for line in (folder / "dhclient.env").read_text().splitlines() if "=" in line)
        assert (told["new_ip_address"], told["new_routers"], told["new_domain_name"]) == ("10.1.0.10", "10.1.0.1", "access.example")
        process.kill()
        acknowledged = service.server4.sent["ack"]
        assert acknowledged >= 1  # more often for a client that had to ask again
        site.client.start(dhcpcd, "-4", "-1", "-B", "--noarp", "--noipv4ll", "--nodelay", "-c", "/bin/true", "eth0", log=folder / "dhcpcd.log")
        await until(lambda: bool(site.client.addresses("eth0")))
        assert site.client.addresses("eth0")[0].startswith("10.1.0.")
        assert service.server4.sent["ack"] > acknowledged
        await service.stop()


async def test_clients_on_the_servers_own_link(site: Site, net: Net, responder, require_peer):
    """No relay: an offer to who has no address yet goes out in a frame of its own; with the broadcast flag to everybody."""
    require_peer("udhcpc")
    pool = await net.pool("near", "10.99.0.10", "10.99.0.40")
    await net.subnet("10.99.0.0/24", pool, interface="up0", router="10.99.0.1")
    service = await responder(RELAYS)
    site.client = site.relay
    site.client.run("ip", "addr", "flush", "dev", "up0")
    async with asyncio.TaskGroup() as group:
        started(service, site, group, ("up0",))
        assert (await site.udhcpc(interface="up0"))["ip"] == "10.99.0.10"
        assert (await site.udhcpc("-B", interface="up0"))["ip"] == "10.99.0.10"
        assert service.server4.drops == {}
        await service.stop()


async def test_an_interface_that_is_made_anew_is_listened_on_again(site: Site, net: Net, responder, require_peer, monkeypatch):
    """Somebody changes a VLAN or a bond: its name stays, what a socket was bound to is gone."""
    require_peer("udhcpc")
    monkeypatch.setattr(service_module, "BOUND_SECONDS", 0.05)
    pool = await net.pool("near", "10.99.0.10", "10.99.0.40")
    await net.subnet("10.99.0.0/24", pool, interface="up0", router="10.99.0.1")
    service = await responder(RELAYS)
    site.client = site.relay
    async with asyncio.TaskGroup() as group:
        for sockets in started(service, site, group, ("up0",)):
            monkeypatch.setattr(sockets, "renew", lambda name, renew=sockets.renew: within(site.server, lambda: renew(name)))
        site.server.run("ip", "link", "delete", "up0")
        await until(lambda: service.parts()[0].detail.startswith("interface up0: No such device"))
        wire(site.server, "up0", site.relay, "up0")
        site.server.run("ip", "addr", "add", "10.99.0.1/24", "dev", "up0")
        await until(lambda: service.parts()[0].state == "ok")
        assert (await site.udhcpc(interface="up0"))["ip"] == "10.99.0.10"
        site.server.run("ip", "link", "set", "up0", "name", "up9")  # somebody renames it, and thinks better of it
        await until(lambda: service.parts()[0].state != "ok")
        site.server.run("ip", "link", "set", "up9", "name", "up0")
        await until(lambda: service.parts()[0].state == "ok")
        assert (await site.udhcpc(interface="up0"))["ip"] == "10.99.0.10"
        await service.stop()


async def test_an_interface_may_be_configured_by_another_of_its_names(site: Site, responder):
    site.server.run("ip", "link", "property", "add", "dev", "up0", "altname", "uplink")
    service = await responder(RELAYS)
    async with asyncio.TaskGroup() as group:
        bound = started(service, site, group, ("uplink",))
        assert sum(each.interface == "uplink" for sockets in bound for each in sockets.every()) == 2
        assert not any(each.deaf for sockets in bound for each in sockets.every())
        await service.stop()


async def test_dhclient_by_ipv6_through_iscs_relay(site: Site, net: Net, responder, require_peer):
    dhclient = require_peer("dhclient")
    pool = await net.pool("homes", "2001:db8:4000::", "2001:db8:4000:3ff:ffff:ffff:ffff:ffff", "delegated", 56)
    await net.subnet("2001:db8:1::/64", pool, dns_servers=["2001:db8:99::1"])
    service = await responder(RELAYS)
    async with asyncio.TaskGroup() as group:
        started(service, site, group)
        site.relays("dhcrelay6.log", "Socket/down0", require_peer("dhcrelay"), "-6", "-d", "--no-pid", "-l", "down0", "-u", "2001:db8:99::1%up0")
        folder = site.folder
        script = folder / "six.sh"
        script.write_text(f'#!/bin/sh\n[ -n "$new_ip6_address$new_ip6_prefix" ] && env >> {folder}/six.env\nexit 0\n')
        script.chmod(0o755)
        (folder / "six.conf").write_text("")
        command = (
            dhclient,
            "-6",
            "-1",
            "-d",
            "-N",
            "-P",
            "-cf",
            f"{folder}/six.conf",
            "-lf",
            f"{folder}/six.leases",
            "-pf",
            f"{folder}/six.pid",
            "-sf",
            str(script),
        )
        site.client.start(*command, "eth0", log=folder / "six.log")
        wanted = (r"(?m)^new_ip6_prefix=2001:db8:4000::/56$", r"(?m)^new_ip6_address=2001:db8:1:0?:", r"(?m)^new_dhcp6_name_servers=2001:db8:99::1$")
        told = folder / "six.env"
        await until(lambda: told.exists() and all(re.search(each, told.read_text()) for each in wanted))
        assert service.server6.drops == {}
        await service.stop()
