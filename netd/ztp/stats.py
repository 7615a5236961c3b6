"""The DHCP responder's series on /metrics, read from its counters at each scrape."""

from netd.metrics import Metrics
from netd.ztp.leasing import Leasing
from netd.ztp.server4 import Server4
from netd.ztp.server6 import Server6
from netd.ztp.subnets import Subnets


def register(metrics: Metrics, server: Server4, server6: Server6, leasing: Leasing, subnets: Subnets) -> None:
    """Add every series of the service to ``metrics``."""
    counter, gauge = metrics.counter_of, metrics.gauge
    counter("netd_dhcp_received", "DHCPv4 messages of clients by type", lambda: server.received, ("type",))
    counter("netd_dhcp_sent", "DHCPv4 messages sent by type", lambda: server.sent, ("type",))
    counter("netd_dhcp_drops", "DHCPv4 packets that were not answered, by reason", lambda: server.drops, ("reason",))
    counter("netd_dhcpv6_received", "DHCPv6 messages of clients by type", lambda: server6.received, ("type",))
    counter("netd_dhcpv6_sent", "DHCPv6 messages sent by type", lambda: server6.sent, ("type",))
    counter("netd_dhcpv6_drops", "DHCPv6 packets that were not answered, by reason", lambda: server6.drops, ("reason",))
    counter("netd_dhcp_leases", "Leases by what became of them", lambda: leasing.given, ("event",))
    counter("netd_dhcp_in_use", "Addresses that a probe found in use", lambda: leasing.found_in_use)
    counter("netd_dhcp_transactions", "Transactions that gave or renewed leases", lambda: leasing.batches)
    counter("netd_dhcp_transaction_seconds", "Time spent in them", lambda: leasing.seconds)
    gauge("netd_dhcp_declined", "Addresses set aside because clients say that they are in use", leasing.limits.all_declined)
    gauge("netd_dhcp_waiting", "Packets that wait for their lease to be committed", lambda: len(leasing))
    gauge("netd_dhcp_subnets", "Subnets that are served", lambda: len(subnets.by_id))
