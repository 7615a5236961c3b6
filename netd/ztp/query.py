"""DHCPLEASEQUERY (RFC 4388): a relay that lost its memory asks who has an address, for filters it had learned."""

import asyncio
import logging
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Final

from netd.errors import StoreError
from netd.store import dhcp as store
from netd.store.database import Connection, Database
from netd.store.dhcp import Told
from netd.wire import dhcp
from netd.wire.dhcp import Message
from netd.ztp.client4 import identifier_key, off_line
from netd.ztp.server4 import Arrival, Server4

log = logging.getLogger(__name__)

WAITING: Final = 1000
"""Queries that may wait; what is beyond is dropped, and asked again."""


class LeaseQueries:
    """Answers queries one after the other, beside everything else: support must not slow devices down."""

    def __init__(self, database: Database, server: Server4) -> None:
        self.database = database
        self.server = server
        self._waiting: asyncio.Queue[tuple[Message, Arrival, list[int]]] = asyncio.Queue(WAITING)

    def offer(self, message: Message, arrival: Arrival, subnet_ids: list[int], tenant_id: int) -> None:
        """Take a query in."""
        try:
            self._waiting.put_nowait((message, arrival, subnet_ids))
        except asyncio.QueueFull:
            self.server.drops["too_busy"] += 1

    async def run(self) -> None:
        """Serve for ever."""
        while True:
            message, arrival, subnet_ids = await self._waiting.get()
            try:
                async with self.database.acquire() as conn:
                    found = await ask(conn, subnet_ids, message)
            except StoreError as error:
                log.warning("a lease query was not answered", extra={"error": str(error)})
                self.server.drops["database_away"] += 1
                continue
            subnet = self.server.subnets.find(message.ciaddr) if message.ciaddr else None
            ours = subnet is not None and subnet.row.id in subnet_ids and (message.ciaddr in subnet.reserved or subnet.may_have(message.ciaddr, 0))
            made = answer(message, arrival.local, found, ours=ours)
            if self.server.out is not None:
                self.server.sent[dhcp.TYPES[made.type]] += 1
                self.server.out.relay(dhcp.encode(made, 1472), message.giaddr, arrival.local)


async def ask(conn: Connection, subnet_ids: Sequence[int], message: Message) -> list[Told]:
    """What the query is about: an address, a hardware address, or a client identifier."""
    if message.ciaddr:
        return await store.find(conn, subnet_ids, address=str(IPv4Address(message.ciaddr)))
    if message.chaddr.strip(b"\0"):
        return await store.find(conn, subnet_ids, mac=message.chaddr.hex(":"))
    identifier = message.options.get(dhcp.CLIENT_ID, b"")
    return await store.find(conn, subnet_ids, client_id=identifier_key(identifier)) if identifier else []


def answer(request: Message, server: int, found: Sequence[Told], *, ours: bool) -> Message:
    """ACTIVE with what is known, UNASSIGNED for an address that nobody has and that is ``ours`` to give, UNKNOWN for the rest (RFC 4388 6.4)."""
    active = [told for told in found if told.left > 0 and told.state == "bound"]
    kind = dhcp.LEASEACTIVE if active else dhcp.LEASEUNASSIGNED if request.ciaddr and (found or ours) else dhcp.LEASEUNKNOWN
    options = {dhcp.MESSAGE_TYPE: bytes((kind,)), dhcp.SERVER_ID: server.to_bytes(4, "big")}
    made = Message(dhcp.BOOTREPLY, request.xid, request.chaddr, options, giaddr=request.giaddr, ciaddr=request.ciaddr)
    if not active:
        return made
    told = active[0]
    made.ciaddr = told.address
    made.chaddr = bytes.fromhex(told.mac.replace(":", ""))
    options[dhcp.LEASE_SECONDS] = int(told.left).to_bytes(4, "big")
    options[dhcp.CLIENT_LAST_TRANSACTION] = max(0, int(told.ago)).to_bytes(4, "big")
    client, _ = off_line(told.client_id)
    if "/" not in client:
        options[dhcp.CLIENT_ID] = bytes.fromhex(client)
    if not request.ciaddr and len(active) > 1:
        options[dhcp.ASSOCIATED_ADDRESSES] = dhcp.address_octets(other.address for other in active)
    if told.relay_info:
        options[dhcp.RELAY_AGENT] = told.relay_info
    return made
