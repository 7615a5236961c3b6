"""The RADIUS service's series on /metrics, read from its counters at each scrape."""

import time
from collections.abc import Callable, Mapping

from netd.metrics import Metrics
from netd.radius.accounting import Accounting
from netd.radius.allocator import Allocator
from netd.radius.directory import Directory
from netd.radius.enforce import Enforcer
from netd.radius.leases import Leases
from netd.radius.loader import Loader
from netd.radius.nas import NasRecord
from netd.radius.pools import Pools
from netd.radius.relay import Relay
from netd.radius.server import Server
from netd.radius.sessions import Sessions
from netd.radius.upkeep import Upkeep


def register(
    metrics: Metrics,
    directory: Directory,
    sessions: Sessions,
    server: Server,
    accounting: Accounting,
    enforcer: Enforcer,
    relay: Relay,
    upkeep: Upkeep,
    loader: Loader,
) -> None:
    """Add every series of the service to ``metrics``."""

    def per_nas(value: Callable[[NasRecord], int]) -> Callable[[], Mapping[tuple[str, str], float]]:
        return lambda: {(str(nas.tenant_id), nas.name): value(nas) for nas in directory.nas.values()}

    def by_reason(table: Callable[[NasRecord], Mapping[str, int]]) -> dict[tuple[str, ...], float]:
        return {(str(nas.tenant_id), nas.name, reason): count for nas in directory.nas.values() for reason, count in table(nas).items()}

    client = enforcer.client
    counter, gauge = metrics.counter_of, metrics.gauge
    counter("netd_radius_accepts", "Access-Accepts sent", per_nas(lambda nas: nas.accepts), ("tenant", "nas"))
    counter("netd_radius_rejects", "Access-Rejects by reason", lambda: by_reason(lambda nas: nas.rejects), ("tenant", "nas", "reason"))
    counter(
        "netd_radius_drops", "Packets dropped, by reason; nas is empty where the source is nobody's",
        lambda: by_reason(lambda nas: nas.drops) | {("", "", reason): count for reason, count in server.unknown.items()}, ("tenant", "nas", "reason"),
    )  # fmt: skip
    counter(
        "netd_radius_line_mismatches", "Log-ins from another line than the subscriber's, refused or only recorded",
        per_nas(lambda nas: nas.line_mismatches), ("tenant", "nas"),
    )  # fmt: skip
    counter("netd_radius_duplicates", "Retransmitted requests", per_nas(lambda nas: nas.duplicates), ("tenant", "nas"))
    counter("netd_radius_status_requests", "Status-Server requests answered", per_nas(lambda nas: nas.status), ("tenant", "nas"))
    counter(
        "netd_radius_accounting_responses",
        "Accounting requests acknowledged: committed, or in the journal",
        per_nas(lambda nas: nas.accounting),
        ("tenant", "nas"),
    )
    counter("netd_radius_accounting_batches", "Transactions that committed accounting", lambda: accounting.batches)
    counter("netd_radius_accounting_commit_seconds", "Time spent in those transactions", lambda: accounting.commit_seconds)
    counter("netd_radius_accounting_shed", "Accounting requests not taken because too many wait; their NAS repeats them", lambda: accounting.shed)
    counter("netd_radius_accounting_refused", "Accounting requests that the database refused; the log names them", lambda: accounting.failed)
    gauge("netd_radius_accounting_queue", "Accounting requests that wait for their commit", lambda: len(accounting))
    spool, journal = accounting.spool, accounting.spool.journal
    gauge("netd_radius_accounting_journal_records", "Accounting requests acknowledged from the journal that wait for the database", lambda: spool.waiting)
    gauge("netd_radius_accounting_journal_bytes", "Size of the journal's files", lambda: journal.octets)
    gauge(
        "netd_radius_accounting_journal_oldest_seconds", "How long the oldest record has waited in the journal",
        lambda: max(0.0, time.time() - spool.oldest_at) if spool.waiting else 0.0,
    )  # fmt: skip
    counter("netd_radius_accounting_journal_written", "Accounting requests written to the journal and acknowledged", lambda: spool.written)
    counter("netd_radius_accounting_journal_replayed", "Accounting requests brought from the journal into the database", lambda: spool.replayed)
    counter("netd_radius_accounting_journal_refused", "Accounting requests that the journal could not take", lambda: dict(spool.refused), ("reason",))
    gauge("netd_radius_accounting_journal_set_aside", "Records of it that the database refused; they are in refused.json", lambda: journal.kept_aside)
    counter("netd_radius_accounting_journal_damaged", "Places in it that could not be read", lambda: journal.damaged)
    counter("netd_radius_accounting_journal_fsyncs", "Times that it was brought to the disk", lambda: journal.fsyncs)
    counter("netd_radius_accounting_journal_fsync_seconds", "Time spent in that", lambda: journal.fsync_seconds)
    counter("netd_radius_postauth_lost", "Log-ins not recorded because the database was away too long", lambda: server.postauth_dropped)
    counter("netd_radius_sessions_reaped", "Sessions closed because they fell silent", lambda: upkeep.reaped)
    gauge("netd_radius_sessions", "Open sessions", lambda: len(sessions))
    gauge("netd_radius_subscribers", "Subscribers in the directory", lambda: len(directory.subscribers))
    gauge("netd_radius_directory_faults", "Rows that could not be loaded into the directory", lambda: len(directory.faults))
    counter("netd_radius_directory_changes", "Batches of the change feed applied", lambda: loader.applied)
    counter("netd_quota_crossings", "Quota stages reached, once in each period, since the start", lambda: accounting.quotas.crossings, ("tenant", "action"))
    counter("netd_coa_results", "Disconnect- and CoA-Requests by how they ended", lambda: client.results, ("action", "outcome"))
    gauge("netd_coa_waiting", "Disconnect- and CoA-Requests queued or unanswered", client.waiting, ("nas_address",))
    counter("netd_coa_discarded", "Answers to them that could not be believed", client.discarded, ("reason",))
    gauge("netd_coa_unreachable_since_seconds", "NAS that answer no Disconnect and CoA: since when, Unix time", client.unreachable, ("nas_address",))
    gauge(
        "netd_enforcement_sessions", "Live sessions by how enforcement stands with them, at the last sweep",
        lambda: {(str(tenant), state): count for (tenant, state), count in enforcer.states.items()}, ("tenant", "state"),
    )  # fmt: skip
    gauge(
        "netd_enforcement_held", "Live sessions that are not disconnected or walled before an operator confirms",
        lambda: {str(tenant): len(enforcer.guard.waves.held(tenant)) for tenant in enforcer.guard.waves.tenants()}, ("tenant",),
    )  # fmt: skip
    clients = relay.clients.by_id
    counter(
        "netd_relay_answers", "Disconnect- and CoA-Requests of other systems by how they were answered: ack, or nak with its Error-Cause",
        lambda: {(str(c.row.tenant_id), c.row.name, *key): count for c in clients.values() for key, count in c.results.items()},
        ("tenant", "client", "action", "outcome"),
    )  # fmt: skip
    counter(
        "netd_relay_drops", "Packets to the relay that were dropped, by reason; client is empty where the source is nobody's",
        lambda: {(str(c.row.tenant_id), c.row.name, reason): count for c in clients.values() for reason, count in c.drops.items()}
        | {("", "", reason): count for reason, count in relay.unknown.items()}, ("tenant", "client", "reason"),
    )  # fmt: skip
    counter(
        "netd_relay_duplicates", "Requests that other systems sent again",
        lambda: {(str(c.row.tenant_id), c.row.name): c.duplicates for c in clients.values()}, ("tenant", "client"),
    )  # fmt: skip
    counter("netd_relay_audit_lost", "Rows of relayed requests that the audit log lacks because the database was away too long", lambda: relay.audit_lost)
    counter("netd_extension_faults", "Calls into vendors and plugins that failed", lambda: directory.extensions.calls, ("extension", "kind"))


def register_pools(metrics: Metrics, pools: Pools, leases: Leases, allocator: Allocator) -> None:
    """Add the series of address pools."""

    def addresses() -> dict[tuple[str, ...], float]:
        found: dict[tuple[str, ...], float] = {}
        for pool in pools.by_id.values():
            states = {"total": pool.available, "used": pool.used, "free": max(0, pool.available - pool.used), "remembered": pool.remembered}
            found |= {(str(pool.tenant_id), pool.name, state): count for state, count in states.items()}
        return found

    counter, gauge = metrics.counter_of, metrics.gauge
    gauge(
        "netd_pool_addresses", "Addresses or prefixes of a pool: total and used, and free, some of which are remembered for their last holder",
        addresses, ("tenant", "pool", "state"),
    )  # fmt: skip
    counter("netd_pool_leases", "Addresses and prefixes given to who did not have them before", lambda: allocator.given)
    counter("netd_pool_refusals", "Log-ins without an address, by why", lambda: allocator.refused, ("cause",))
    counter("netd_pool_shed", "Log-ins left unanswered because too many waited for a lease", lambda: allocator.shed)
    gauge("netd_pool_waiting", "Log-ins that wait for a lease", lambda: len(allocator))
    counter("netd_pool_transactions", "Transactions that gave leases", lambda: allocator.batches)
    counter("netd_pool_transaction_seconds", "Time spent in them", lambda: allocator.seconds)
    counter("netd_pool_conflicts", "Sessions whose NAS uses another address than was leased", lambda: leases.conflict_count)
    counter("netd_pool_lost", "Live sessions whose address had become another's", lambda: leases.lost_count)
